// World::Settle: the one verb in which time passes.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "tests/scenario/world.h"

namespace dovetail::scenario {

using replica::Index;
using replica::NodeId;

namespace {

// Longer than the longest pause between two summaries (60 s), twice, so that
// whatever is still to be found out is.
constexpr absl::Duration kQuiet = absl::Seconds(130);
// Far more than any script needs.
constexpr absl::Duration kPatience = absl::Hours(4);

}  // namespace

std::vector<std::vector<replica::PartitionDigest>> World::Fingerprint() const {
  std::vector<std::vector<replica::PartitionDigest>> digests;
  for (const Node& node : nodes_) {
    if (node.shard) digests.push_back(node.shard->Digests());
  }
  return digests;
}

void World::DeliverQueues(const Traffic& traffic) {
  for (uint32_t from = 0; from < nodes_.size(); ++from) {
    for (uint32_t to = 0; to < nodes_.size(); ++to) {
      const Network::Way way{NodeId{from}, NodeId{to}};
      if (from == to || !Reaches(way)) continue;
      Network::Queue& queue = network_.queue(way);
      while (!queue.empty()) {
        replica::Message message{queue.front().partition,
                                 std::move(queue.front().replicate)};
        queue.pop_front();
        ShardOf(way.second)
            .HandleMessage(way.first, std::move(message),
                           NowOf(At(way.second)));
        EndTurn(way.second, traffic);
      }
    }
  }
}

// Goes to the next moment at which a timer fires. False if there is none.
bool World::FireTimers(const Traffic& traffic) {
  const std::vector<NodeId> running = RunningNodes();
  absl::Duration next = absl::InfiniteDuration();
  for (NodeId node : running) {
    next = std::min(next, ShardOf(node).next_deadline());
  }
  if (next == absl::InfiniteDuration()) return false;
  steady_ = std::max(steady_, next);
  for (NodeId node : running) {
    if (ShardOf(node).next_deadline() > steady_) continue;
    ShardOf(node).HandleTimers(NowOf(At(node)));
    EndTurn(node, traffic);
  }
  return true;
}

absl::Status World::Settle() {
  const Traffic everything = [](NodeId, const replica::Envelope&) {
    return Fate::kDeliver;
  };
  for (NodeId node : RunningNodes()) TellReachable(node, everything);
  const absl::Duration start = steady_;
  absl::Duration changed = steady_;
  auto fingerprint = Fingerprint();
  while (steady_ - changed < kQuiet) {
    DeliverQueues(everything);
    if (!FireTimers(everything)) return absl::OkStatus();
    if (auto now = Fingerprint(); now != fingerprint) {
      fingerprint = std::move(now);
      changed = steady_;
    }
    if (!fatal_.ok()) return fatal_;
    if (steady_ - start > kPatience) {
      return absl::DeadlineExceededError(
          absl::StrCat("did not settle in ", absl::FormatDuration(kPatience)));
    }
  }
  return absl::OkStatus();
}

}  // namespace dovetail::scenario
