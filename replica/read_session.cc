// Reads with a session: the part of the read coordinator that sees to it that
// an answer shows all that its client has seen.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/hooks.h"
#include "replica/read_coordinator.h"

namespace dovetail::replica {

bool ReadCoordinator::Covered(const Job& job) {
  return !job.session ||
         job.session->seen.events.IsSubsetOf(job.session->answered) ||
         DOVETAIL_MUTANT("session: a read answers what it has");
}

void ReadCoordinator::AskMore(Jobs::iterator it) {
  Job& job = it->second;
  Session& session = *job.session;
  session.missing = session.seen.events.Minus(session.answered).dot_count();
  const auto ask = [&](absl::Span<const NodeId> nodes) {
    for (NodeId node : nodes) {
      if (job.tally.WasAsked(node) || !core_.IsUp(node)) continue;
      DOVETAIL_MARK("session: a read asks more replicas");
      if (core_.IsOwner(job.partition)) pull_(node, job.partition);
      Ask(it->first, job, node);
    }
  };
  if (!job.only) {
    ask(core_.placement.Owners(job.partition));
    if (!job.set.strict()) ask(core_.placement.StandIns(job.partition));
  }
  if (AnySilent(job) && session.again_at < absl::InfiniteDuration()) return;
  to_ask_again_.push_back(it->first);
}

bool ReadCoordinator::AnySilent(const Job& job) const {
  return job.tally.AnySilent([&](NodeId node) { return core_.IsUp(node); });
}

void ReadCoordinator::AskAgain(Jobs::iterator it) {
  DOVETAIL_MARK("session: a read asks again");
  Job again = std::move(it->second);
  EraseJob(it, again);
  Launch(std::move(again));
}

std::optional<SessionToken> ReadCoordinator::TokenOf(
    const Job& job, const crdt::LeafPage& page) const {
  if (!job.session) return std::nullopt;
  SessionToken token{core_.placement.partitions(), job.partition,
                     job.session->answered, core_.clock.last()};
  if (DOVETAIL_MUTANT("session: a read's token is what is here")) {
    token.events = core_.Get(job.partition).context().applied;
  }
  // The joined page has the local one of now.
  if (!job.different.empty()) {
    token.events.UnionWith(core_.Get(job.partition).context().applied);
  }
  token.events.UnionWith(job.session->passed_over);
  for (const auto& [path, leaf] : page.leaves.children()) {
    for (const crdt::Leaf::Entry& entry : leaf.entries()) {
      if (const auto* stamped = std::get_if<crdt::Stamped>(&entry.second)) {
        token.stamp = std::max(token.stamp, stamped->stamp);
      }
    }
  }
  return token;
}

absl::Status ReadCoordinator::DeadlineOf(const Job& job) const {
  if (!job.session || job.session->missing == 0) {
    return absl::DeadlineExceededError(absl::StrCat(
        "R=", job.tally.required(),
        " not met in time: ", job.tally.succeeded().size(), " answered",
        job.last_error.ok() ? "" : "; ", job.last_error.message()));
  }
  DOVETAIL_MARK("session: a read waits in vain");
  return absl::DeadlineExceededError(absl::StrCat(
      "the session has seen ", job.session->missing, " events of partition ",
      Index(job.partition),
      " that none of those who answered in time has applied: ",
      absl::StrJoin(job.tally.succeeded(), " ",
                    [&](std::string* out, NodeId node) {
                      absl::StrAppend(out, core_.placement.NameOf(node));
                    })));
}

void ReadCoordinator::ScheduleAskingAgain(Now now) {
  for (uint64_t sequence : std::exchange(to_ask_again_, {})) {
    auto it = jobs_.find(sequence);
    if (it == jobs_.end()) continue;
    Session& session = *it->second.session;
    timers_.erase({session.again_at, sequence});
    if (AnySilent(it->second)) {  // they may be far away: longer every time
      session.again_at = now.steady + session.patience;
      session.patience *= 2;
    } else {
      DOVETAIL_MARK("session: nobody who was asked covers it");
      session.again_at = now.steady + session.pause;
      session.pause =
          std::min(2 * session.pause, core_.options.session_ask_again_max);
    }
    timers_.emplace(session.again_at, sequence);
  }
}

}  // namespace dovetail::replica
