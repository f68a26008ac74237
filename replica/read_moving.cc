// ReadCoordinator: who is asked, and asked again, and what an answer is worth
// while partitions are on their way from one ring's owners to the next one's.
#include <algorithm>
#include <utility>
#include <vector>

#include "crdt/hooks.h"
#include "replica/read_coordinator.h"

namespace dovetail::replica {

void ReadCoordinator::ListOthers(Job& job, std::vector<NodeId> named) {
  job.others = job.only ? std::move(named) : job.set.other_owners();
  std::erase(job.others, core_.identity.self);
  // Reachable ones first, else in order of preference.
  const auto unreachable =
      std::stable_partition(job.others.begin(), job.others.end(),
                            [&](NodeId node) { return core_.IsUp(node); });
  if (job.only) return;
  const std::vector<NodeId>& extra = job.set.stand_ins();
  const size_t wanted =
      std::min<size_t>(job.set.missing_owners(), extra.size());
  job.others.insert(unreachable, extra.begin(),
                    extra.begin() + static_cast<std::ptrdiff_t>(wanted));
  std::erase_if(job.others, [&](NodeId node) {
    return job.set.DemandOf(node) == Tally::kNoDemand;
  });
  if (!core_.placement.moves()) return;
  for (NodeId node : job.set.former()) {
    if (std::find(job.others.begin(), job.others.end(), node) !=
        job.others.end()) {
      continue;
    }
    job.former.push_back(node);
    job.others.push_back(node);
  }
  // One that is whole counts for both demands.
  std::stable_sort(
      job.others.begin(), job.others.end(), [&](NodeId a, NodeId b) {
        const auto rank = [&](NodeId node) {
          return std::pair(!core_.IsUp(node),
                           !core_.IsProbablyWhole(node, job.partition));
        };
        return rank(a) < rank(b);
      });
}

size_t ReadCoordinator::DemandOf(const Job& job, NodeId node) const {
  if (job.only) return 0;
  const bool former =
      std::find(job.former.begin(), job.former.end(), node) != job.former.end();
  return former ? Tally::kNoDemand : job.set.DemandOf(node);
}

bool ReadCoordinator::Wants(const Job& job, NodeId node) const {
  if (job.tally.Wants(DemandOf(job, node))) return true;
  return job.before && job.before->Wants(job.set.DemandOfBefore(node)) &&
         core_.IsProbablyWhole(node, job.partition);
}

void ReadCoordinator::Count(Job& job, NodeId node, Standing standing) {
  job.tally.AddSuccess(node);
  if (!job.before) return;
  DOVETAIL_MARK_IF("read: a former owner stands for what was before",
                   standing == Standing::kBefore);
  DOVETAIL_MARK_IF("read: an owner that is being filled says what it has",
                   standing == Standing::kPartial &&
                       core_.placement.Owns(node, job.partition));
  if (DOVETAIL_MUTANT("moves: a part is taken for the whole")) {
    standing = Standing::kComplete;
  }
  if (standing == Standing::kPartial) {
    job.before->AddFailure(node);
  } else {
    job.before->Ask(node, job.set.DemandOfBefore(node));
    job.before->AddSuccess(node);
  }
  if (standing == Standing::kComplete) {
    job.complete.AddSuccess(node);
  } else {
    job.complete.AddFailure(node);
  }
}

Verdict ReadCoordinator::VerdictOf(const Job& job) {
  const Verdict verdict = job.tally.verdict();
  if (!job.before || verdict != Verdict::kMet) return verdict;
  const Verdict before = job.before->verdict();
  const Verdict complete = job.complete.verdict();
  if (before == Verdict::kMet || complete == Verdict::kMet) {
    return Verdict::kMet;
  }
  return before == Verdict::kPending || complete == Verdict::kPending
             ? Verdict::kPending
             : Verdict::kImpossible;
}

void ReadCoordinator::OnPlacement(Now now) {
  for (Jobs jobs = std::exchange(jobs_, {}); auto& [sequence, job] : jobs) {
    DOVETAIL_MARK("read: begun anew by a newer ring");
    timers_.erase({job.deadline, sequence});
    timers_.erase({job.hedge_at, sequence});
    if (job.session) timers_.erase({job.session->again_at, sequence});
    RequestOptions options = job.options;
    options.timeout =
        std::max(absl::Milliseconds(1), job.deadline - now.steady);
    ReadRequest request;
    request.spec = std::move(job.spec);
    request.spec.limit = job.limit;
    request.only = std::move(job.named);
    if (job.session) request.session = std::move(job.session->seen);
    Start(job.asker, options, job.partition, std::move(request), now);
  }
}

void ReadCoordinator::AskWanted(uint64_t sequence, Job& job) {
  while (job.before) {
    const auto next =
        std::find_if(job.not_asked.begin(), job.not_asked.end(),
                     [&](NodeId node) { return Wants(job, node); });
    if (next == job.not_asked.end()) return;
    Ask(sequence, job, *next);
  }
}

bool ReadCoordinator::CountsByRing(const RingStamp& ring) const {
  const bool ahead = IsNewerRing(ring, core_.placement.ring());
  const bool counts = core_.placement.Counts(ring);
  DOVETAIL_MARK_IF("read: answered by a newer ring", ahead);
  DOVETAIL_MARK_IF("read: answered by a ring that is void or long past",
                   !counts && !ahead);
  return counts ||
         (ahead && DOVETAIL_MUTANT("moves: an answer by a newer ring counts"));
}

void ReadCoordinator::Hedge(uint64_t sequence, Job& job, Now now) {
  if (!job.not_asked.empty()) {
    DOVETAIL_MARK("read: hedged");
    while (!job.not_asked.empty()) Ask(sequence, job, job.not_asked.front());
  } else {
    // The tally counts each node once, however often it answers.
    std::vector<NodeId> again = job.tally.Silent();
    if (job.before) {
      for (NodeId node : job.before->Silent()) {
        if (std::count(again.begin(), again.end(), node) == 0) {
          again.push_back(node);
        }
      }
    }
    again.insert(again.end(), job.refused.begin(), job.refused.end());
    for (NodeId node : again) {
      if (!core_.IsUp(node)) continue;
      DOVETAIL_MARK("read: who has not answered is asked again");
      Send(sequence, job, node);
    }
    job.pause *= 2;
  }
  job.hedge_at = now.steady + job.pause;
  if (job.hedge_at < job.deadline) timers_.emplace(job.hedge_at, sequence);
}

}  // namespace dovetail::replica
