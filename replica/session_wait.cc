#include "replica/session_wait.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"

namespace dovetail::replica {

uint64_t SessionWait::MissingFor(const Write& write) const {
  if (!write.request.session) return 0;
  const crdt::Context& mine = core_.Get(write.partition).context();
  const crdt::EventSet& seen = write.request.session->events;
  if (seen.IsSubsetOf(mine.applied)) return 0;
  if (DOVETAIL_MUTANT("session: a write waits for nothing")) return 0;
  return seen.Minus(AppliedAt(mine)).dot_count();
}

void SessionWait::Start(Write write, Now now) {
  // A damaged copy says so itself.
  const uint64_t missing =
      core_.Get(write.partition).Available().ok() ? MissingFor(write) : 0;
  if (missing == 0) return start_(std::move(write), now);
  if (!core_.IsOwner(write.partition)) {
    DOVETAIL_MARK("session: a stand-in does not cover it");
    return core_.Reply(
        write.id,
        absl::UnavailableError(absl::StrCat(
            "the session has seen ", missing, " events of partition ",
            Index(write.partition), " that ",
            core_.placement.NameOf(core_.identity.self),
            ", which stands in for its owners, does not have; nothing was "
            "written")));
  }
  DOVETAIL_MARK("session: a write waits for what its session saw");
  const Key key{write.partition, write.id};
  const absl::Duration deadline = now.steady + write.options.timeout;
  auto [it, inserted] =
      waiting_.emplace(key, Waiting{std::move(write), deadline, now.steady,
                                    core_.options.session_ask_again_min});
  DOVETAIL_CHECK(inserted);
  timers_.emplace(deadline, key);
  AskOthers(key, it->second, now);
}

void SessionWait::OnCoverQuery(NodeId from, PartitionId partition,
                               const CoverQuery& query) {
  CoverAnswer answer{query.ticket, partition, core_.MayAnswer(partition), 0,
                     core_.identity.actor};
  if (answer.status.ok() && DOVETAIL_BUGGIFY("session: no word of its cover")) {
    answer.status = absl::UnavailableError("as if it could not say");
  }
  if (answer.status.ok()) {
    const crdt::Context& mine = core_.Get(partition).context();
    answer.missing = query.seen.Minus(AppliedAt(mine)).dot_count();
  }
  if (answer.missing > 0) {
    DOVETAIL_MARK("session: a listing asks who lacks what it saw");
    Pull(partition);
  }
  core_.Send(from, PartitionId{0}, std::move(answer));
}

void SessionWait::Pull(PartitionId partition) {
  const auto ask = [&](absl::Span<const NodeId> nodes) {
    for (NodeId node : nodes) {
      if (node != core_.identity.self && core_.IsUp(node)) {
        pull_(node, partition);
      }
    }
  };
  ask(core_.placement.Owners(partition));
  ask(core_.placement.StandIns(partition));
}

void SessionWait::AskOthers(const Key& key, Waiting& waiting, Now now) {
  Pull(key.first);
  waiting.again_at = now.steady + waiting.pause;
  waiting.pause =
      std::min(2 * waiting.pause, core_.options.session_ask_again_max);
  timers_.emplace(waiting.again_at, key);
}

SessionWait::Waiting SessionWait::Remove(std::map<Key, Waiting>::iterator it) {
  timers_.erase({it->second.deadline, it->first});
  timers_.erase({it->second.again_at, it->first});
  Waiting ended = std::move(it->second);
  waiting_.erase(it);
  return ended;
}

void SessionWait::GoOn(std::map<Key, Waiting>::iterator it, Now now) {
  DOVETAIL_MARK("session: a write goes on");
  Waiting waiting = Remove(it);
  waiting.write.options.timeout = waiting.deadline - now.steady;
  start_(std::move(waiting.write), now);
}

void SessionWait::OnApplied(PartitionId partition, Now now) {
  std::vector<Key> covered;
  do {
    covered.clear();
    for (auto it = waiting_.lower_bound({partition, RequestId{0}});
         it != waiting_.end() && it->first.first == partition; ++it) {
      if (MissingFor(it->second.write) == 0) covered.push_back(it->first);
    }
    for (const Key& key : covered) GoOn(waiting_.find(key), now);
  } while (!covered.empty());
}

void SessionWait::OnTimers(Now now) {
  while (!timers_.empty() && timers_.begin()->first <= now.steady) {
    const Key key = timers_.begin()->second;
    timers_.erase(timers_.begin());
    auto it = waiting_.find(key);
    if (it == waiting_.end()) continue;
    const uint64_t missing = MissingFor(it->second.write);
    if (it->second.deadline > now.steady) {
      DOVETAIL_MARK_IF("session: what was missing came by another way",
                       missing == 0);
      if (missing == 0) {
        OnApplied(key.first, now);
      } else {
        AskOthers(key, it->second, now);
      }
      continue;
    }
    DOVETAIL_MARK("session: a write waits in vain");
    Remove(it);
    core_.Reply(key.second,
                absl::UnavailableError(absl::StrCat(
                    "the session has seen ", missing, " events of partition ",
                    Index(key.first), " that did not reach ",
                    core_.placement.NameOf(core_.identity.self),
                    " in time; nothing was written")));
  }
}

}  // namespace dovetail::replica
