// The operator of a simulated cluster, and nodes that are to join it.
#include <utility>

#include "absl/strings/str_cat.h"
#include "replica/ring_plan.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_ring.h"

namespace dovetail::sim {

using replica::Cluster;
using replica::NodeId;

namespace {

// Before it asks again whom it is to join (src/server/start.cc).
constexpr int64_t kJoinRetryUs = 1'000'000;

std::optional<replica::StagedChange> ChangeOf(const Plan& plan,
                                              const replica::Ring& ring,
                                              uint32_t subject,
                                              int64_t change) {
  switch (change % 8) {
    case kStageJoin:
      return replica::Join(MemberOf(plan, subject));
    case kStageLeave:
      return replica::Leave(NodeId{subject});
    case kStageReplace:
      for (uint32_t node = 0; node < plan.options.nodes; ++node) {
        if (ring.Find(NodeId{node}) != nullptr) continue;
        return replica::Replace(NodeId{subject}, MemberOf(plan, node));
      }
      return std::nullopt;
    case kStageRemove:
      return replica::Remove(NodeId{subject});
    case kStageWeight:
      return replica::SetWeight(NodeId{subject},
                                static_cast<uint32_t>(change / 8));
    default:
      return std::nullopt;
  }
}

}  // namespace

void SimCluster::Stage(uint32_t id, uint32_t subject, int64_t change) {
  if (!nodes_[id].running() || plan_.options.ring == 0) return;
  OnStrand(
      id, [this, id, subject, change](Cluster& cluster, absl::Duration now) {
        auto staged = ChangeOf(plan_, cluster.ring(), subject, change);
        if (!staged) return;
        const absl::Status status = cluster.Stage(*std::move(staged), now);
        if (!status.ok()) {
          observer_.OnViolation(
              absl::StrCat("node ", id, " cannot stage: ", status.ToString()));
        }
      });
}

// What the others said of their data may be a moment old; what this node says,
// not.
void SimCluster::Commit(uint32_t id, bool force) {
  if (!nodes_[id].running() || plan_.options.ring == 0) return;
  LookForData(id, [this, id, force](Cluster& cluster, absl::Duration now) {
    const uint64_t epoch = cluster.config().epoch();
    absl::Status status = cluster.Commit(0, now);
    const bool refused = absl::IsFailedPrecondition(status);
    if (force && refused) status = cluster.Commit(0, now, true);
    const auto& ring = cluster.config().ring;
    if (status.ok() && ring->epoch() > epoch &&
        (refused || !ring->before()->gone.empty())) {
      loose_us_ = scheduler_.now_us();
    }
    trace_.Add(scheduler_.now_us(), "commit", id, cluster.config().epoch(),
               static_cast<uint64_t>(status.code()), [&] {
                 return absl::StrCat("node ", id, force ? ", forced: " : ": ",
                                     status.ToString());
               });
  });
}

bool SimCluster::WaitsToJoin(uint32_t id) {
  if (plan_.options.ring == 0 || StartConfig(id)) return false;
  const int64_t at = scheduler_.now_us() + kJoinRetryUs;
  nodes_[id].start_at_us = at;
  scheduler_.At(at, [this, id, at] {
    if (nodes_[id].start_at_us == at) Start(id);
  });
  return true;
}

}  // namespace dovetail::sim
