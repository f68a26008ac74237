// Listings with a session: the part of the list coordinator that sees to it
// that a page shows all that its client has seen.
//
// A page cannot be joined from two that lack different events, as a read's is.
// So of each partition in the session one node must have applied all that was
// seen of it, and be among those whose pages count:
//
//   - what all of these show, it shows too, so it is there;
//   - what none of them shows, it does not show either, so it is not;
//   - what only some show is decided by a read with that session.
//
// The index is the node's, what was applied is known to a partition's shard. So
// a node says that it covers a session before its page is asked for, and again
// once that is there: between the two it may have restarted without what it had
// not fsynced, or have handed the partition over to others. A node only ever
// grows otherwise, so its page of in between has all of it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/hooks.h"
#include "replica/list_coordinator.h"

namespace dovetail::replica {
namespace {

bool Has(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace

bool ListCoordinator::Counts(const Job& job, NodeId node,
                             PartitionId partition) const {
  if (job.here) return node == core_.identity.self;
  return core_.placement.Concerns(node, partition);
}

std::vector<NodeId> ListCoordinator::MayCover(const Job& job,
                                              PartitionId partition) const {
  const NodeId self = core_.identity.self;
  std::vector<NodeId> nodes;
  const auto add = [&](NodeId node) {
    if (Counts(job, node, partition) && core_.IsUp(node) &&
        !Has(job.pageless, node) && !Has(nodes, node)) {
      nodes.push_back(node);
    }
  };
  add(self);
  for (NodeId node : core_.placement.Owners(partition)) add(node);
  for (NodeId node : core_.placement.Before(partition)) add(node);
  return nodes;
}

void ListCoordinator::FindCover(Job job, Now now) {
  for (auto& [partition, seen] : job.seen) {
    seen.covered_by.clear();
    seen.lacking.clear();
    seen.asked_all = false;
  }
  job.covering = true;
  job.deciding = false;
  job.undecided = job.unconfirmed = 0;
  job.pause = core_.options.session_ask_again_min;
  job.hedge_at = std::min(now.steady + job.pause, job.deadline);
  const uint64_t sequence = next_sequence_++;
  auto it = jobs_.emplace(sequence, std::move(job)).first;
  Job& placed = it->second;
  timers_.emplace(placed.deadline, sequence);
  timers_.emplace(placed.hedge_at, sequence);
  for (auto& [partition, seen] : placed.seen) {
    const std::vector<NodeId> nodes = MayCover(placed, partition);
    if (nodes.empty()) {
      DOVETAIL_MARK("list: nobody in reach could cover its session");
      absl::Status why = absl::UnavailableError(
          absl::StrCat("the session has seen ", seen.token.events.dot_count(),
                       " events of partition ", Index(partition),
                       ", and no owner of it can be reached"));
      return Fail(it, placed.pageless.empty() ? why : placed.last_error);
    }
    if (nodes.front() == core_.identity.self) {
      AskCover(sequence, partition, seen, nodes.front());
    } else {
      AskAllForCover(sequence, placed, partition, seen);
    }
  }
}

void ListCoordinator::CoverAnew(Jobs::iterator it, Now now) {
  Job job = std::move(it->second);
  EraseJob(it, job);
  FindCover(std::move(job), now);
}

void ListCoordinator::AskCover(uint64_t sequence, PartitionId partition,
                               const Seen& seen, NodeId node) {
  core_.Send(node, partition,
             CoverQuery{{core_.identity.actor, sequence}, seen.token.events});
}

void ListCoordinator::AskAllForCover(uint64_t sequence, const Job& job,
                                     PartitionId partition, Seen& seen) {
  seen.asked_all = true;
  for (NodeId node : MayCover(job, partition)) {
    AskCover(sequence, partition, seen, node);
  }
}

void ListCoordinator::AskAgainForCover(uint64_t sequence, Job& job) {
  for (auto& [partition, seen] : job.seen) {
    if (!seen.covered_by.empty()) continue;
    DOVETAIL_MARK("list: nobody who was asked covers its session yet");
    AskAllForCover(sequence, job, partition, seen);
  }
}

void ListCoordinator::OnCoverAnswer(NodeId from, const CoverAnswer& answer,
                                    Now now) {
  if (answer.ticket.incarnation != core_.identity.actor) return;
  auto it = jobs_.find(answer.ticket.sequence);
  if (it == jobs_.end() || !it->second.seen.contains(answer.partition)) return;
  if (it->second.covering) {
    OnCover(it, from, answer);
  } else if (it->second.deciding) {
    OnConfirmed(it, from, answer, now);
  }
}

void ListCoordinator::OnCover(Jobs::iterator it, NodeId from,
                              const CoverAnswer& answer) {
  Job& job = it->second;
  Seen& seen = job.seen.at(answer.partition);
  const auto is_from = [&](const Vouch& vouch) { return vouch.node == from; };
  if (!Counts(job, from, answer.partition) || Has(job.pageless, from) ||
      std::any_of(seen.covered_by.begin(), seen.covered_by.end(), is_from)) {
    return;
  }
  if (!answer.status.ok() || answer.missing > 0) {
    if (answer.status.ok()) {
      seen.lacking[from] = answer.missing;
    } else {
      job.last_error = answer.status;
    }
    if (seen.asked_all || job.here) return;
    DOVETAIL_MARK("list: this node does not cover its session");
    return AskAllForCover(it->first, job, answer.partition, seen);
  }
  seen.covered_by.push_back({from, answer.process});
  if (seen.covered_by.size() > 1) return;
  const bool all = std::none_of(
      job.seen.begin(), job.seen.end(),
      [](const auto& entry) { return entry.second.covered_by.empty(); });
  if (all) covered_.push_back(it->first);
}

void ListCoordinator::LaunchCovered(Now now) {
  for (uint64_t sequence : std::exchange(covered_, {})) {
    auto it = jobs_.find(sequence);
    if (it == jobs_.end()) continue;
    Job job = std::move(it->second);
    EraseJob(it, job);
    job.covering = false;
    Launch(std::move(job), now);
  }
}

const ListCoordinator::Vouch* ListCoordinator::VouchAmong(
    const Job& job, PartitionId partition, const Seen& seen,
    const std::vector<NodeId>& nodes) const {
  for (const Vouch& vouch : seen.covered_by) {
    if (Has(nodes, vouch.node) && Counts(job, vouch.node, partition)) {
      return &vouch;
    }
  }
  return nullptr;
}

bool ListCoordinator::CoversSeen(const Job& job, PartitionId partition,
                                 NodeId node) const {
  const auto seen = job.seen.find(partition);
  return seen != job.seen.end() &&
         VouchAmong(job, partition, seen->second, {node}) != nullptr;
}

bool ListCoordinator::ShowsSeen(const Job& job,
                                const std::vector<NodeId>& nodes) const {
  return std::all_of(job.seen.begin(), job.seen.end(), [&](const auto& entry) {
    return VouchAmong(job, entry.first, entry.second, nodes) != nullptr;
  });
}

bool ListCoordinator::MayShowSeen(const Job& job) const {
  if (job.deciding) {
    return std::all_of(job.seen.begin(), job.seen.end(),
                       [&](const auto& entry) {
                         const Seen& seen = entry.second;
                         return seen.confirmed || core_.IsUp(seen.vouch.node);
                       });
  }
  std::vector<NodeId> hoped = job.asked;
  std::erase_if(hoped, [&](NodeId node) {
    return Has(job.failed, node) || !core_.IsUp(node);
  });
  return ShowsSeen(job, hoped);
}

std::vector<NodeId> ListCoordinator::WithCover(
    const Job& job, std::vector<NodeId> nodes) const {
  for (const auto& [partition, seen] : job.seen) {
    if (VouchAmong(job, partition, seen, nodes) != nullptr) continue;
    for (const Vouch& vouch : seen.covered_by) {
      if (!core_.IsUp(vouch.node) || Has(job.asked, vouch.node) ||
          !Counts(job, vouch.node, partition)) {
        continue;
      }
      DOVETAIL_MARK("list: another node covers its session");
      nodes.push_back(vouch.node);
      break;
    }
  }
  return nodes;
}

void ListCoordinator::BeginToConfirm(uint64_t sequence, Job& job) {
  for (auto& [partition, seen] : job.seen) {
    const Vouch* vouch = VouchAmong(job, partition, seen, job.answered);
    DOVETAIL_CHECK(vouch != nullptr);
    seen.vouch = *vouch;
    seen.confirmed = false;
  }
  job.unconfirmed = job.seen.size();
  AskToConfirm(sequence, job);
}

void ListCoordinator::AskToConfirm(uint64_t sequence, const Job& job) {
  for (const auto& [partition, seen] : job.seen) {
    if (!seen.confirmed) AskCover(sequence, partition, seen, seen.vouch.node);
  }
}

void ListCoordinator::OnConfirmed(Jobs::iterator it, NodeId from,
                                  const CoverAnswer& answer, Now now) {
  Job& job = it->second;
  Seen& seen = job.seen.at(answer.partition);
  if (seen.confirmed || from != seen.vouch.node) return;
  if (!answer.status.ok() || answer.missing > 0 ||
      answer.process != seen.vouch.process) {
    DOVETAIL_MARK("list: who covered its session does not any more");
    return CoverAnew(it, now);
  }
  seen.confirmed = true;
  --job.unconfirmed;
  if (job.undecided == 0 && job.unconfirmed == 0) Finish(it, now);
}

absl::Status ListCoordinator::DeadlineOf(const Job& job) const {
  if (!job.covering) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the listing was not complete in time: ", job.answered.size(), " of ",
        job.asked.size(), " nodes answered, ", job.undecided,
        " objects undecided"));
  }
  DOVETAIL_MARK("list: its session waits in vain");
  const auto open = std::find_if(
      job.seen.begin(), job.seen.end(),
      [](const auto& entry) { return entry.second.covered_by.empty(); });
  if (open == job.seen.end()) {
    return absl::DeadlineExceededError("the listing was not complete in time");
  }
  const auto& [partition, seen] = *open;
  if (seen.lacking.empty()) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the session has seen ", seen.token.events.dot_count(),
        " events of partition ", Index(partition),
        ", and no owner of it has answered in time",
        job.last_error.ok() ? "" : "; ", job.last_error.message()));
  }
  uint64_t fewest = seen.lacking.begin()->second;
  for (const auto& [node, lacks] : seen.lacking) {
    fewest = std::min(fewest, lacks);
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "the session has seen ", fewest, " events of partition ",
      Index(partition),
      " that the best of those who answered in time has not applied: ",
      absl::StrJoin(seen.lacking, " ",
                    [&](std::string* out, const auto& entry) {
                      absl::StrAppend(out, core_.placement.NameOf(entry.first));
                    })));
}

}  // namespace dovetail::replica
