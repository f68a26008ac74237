// What the checker knows of requests that are not done where and when they
// arrive: those that a node which owns nothing, or not all of it yet, passes on
// to an owner, and writes that wait until a node has what their session saw.
//
// A request that is passed on is known by its ticket, and where it arrives by a
// number of that node's own (crdt/hooks.h tells both). There it begins like one
// of a client. If it is lost its client hears nothing, or that it may have
// taken effect: so a write is remembered until nobody can do it any more
// (MayGoOn).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "net/peer_codec.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::Shard;

Checker::PendingMap::iterator Checker::ByTicket(
    PartitionId partition, const replica::ReadTicket& ticket) {
  // Each shard of a node counts for itself.
  return std::find_if(pending_.begin(), pending_.end(), [&](const auto& item) {
    return item.second.ticket == ticket && item.second.partition == partition;
  });
}

void Checker::OnPassedOn(uint32_t, uint32_t to, replica::RequestId id,
                         const replica::ReadTicket& ticket) {
  const auto it = pending_.find(id);
  if (it == pending_.end()) {
    return;  // a read of a session; session_watch.h judges it
  }
  Pending& pending = it->second;
  // A read is begun anew where the ring, or the receiver, has gone meanwhile.
  if (!pending.spec && pending.ticket && *pending.ticket != ticket) {
    return OnViolation(absl::StrCat(Story(pending), " is passed on twice"));
  }
  pending.ticket = ticket;
  pending.passed_to = to;
}

void Checker::OnForwardedSent(PartitionId partition,
                              const replica::Forwarded& forwarded) {
  const auto it = ByTicket(partition, forwarded.ticket);
  if (it != pending_.end() && !it->second.spec) Settle(it);
}

void Checker::Settle(PendingMap::iterator it) {
  it->second.settled = true;
  if (it->second.abandoned) pending_.erase(it);
}

void Checker::BeforeForward(uint32_t node, PartitionId partition,
                            const replica::Forward& forward,
                            const crdt::EventSet& applied) {
  const auto it = ByTicket(partition, forward.ticket);
  if (it == pending_.end()) return;
  const Pending& pending = it->second;
  // The same message once more changes nothing.
  if (!pending.spec &&
      (pending.settled || (pending.handled && pending.minted))) {
    return;
  }
  Begin(node, it->second, applied);
}

void Checker::BeforePeerDown(uint32_t node, Shard& shard) {
  for (auto& [id, pending] : pending_) {
    if (!pending.spec ||
        &cluster_->ShardOf(node, pending.partition) != &shard) {
      continue;
    }
    const crdt::EventSet& applied = shard.ContextOf(pending.partition).applied;
    if (pending.node == node && pending.ticket) {
      // Passed on, perhaps to it: then it is done here at once.
      Begin(node, pending, applied);
    } else if (pending.at == node && pending.handled) {
      // What has answered may be enough now, with what is held here by now.
      pending.tries.push_back(
          {node, cluster_->node(node).process->actor, applied});
    }
  }
}

// Reads begin anew, with what is held here by now.
void Checker::BeforePlacement(uint32_t node, Shard& shard) {
  for (auto& [id, pending] : pending_) {
    if (!pending.spec || pending.at != node || !pending.handled ||
        &cluster_->ShardOf(node, pending.partition) != &shard) {
      continue;
    }
    pending.tries.push_back({node, cluster_->node(node).process->actor,
                             shard.ContextOf(pending.partition).applied});
  }
}

// Whatever its session saw, a write must come after: it must have been there.
void Checker::CheckSession(const Pending& pending) {
  if (pending.session.IsSubsetOf(pending.visible)) return;
  OnViolation(absl::StrCat(Story(pending), " was taken by node ", pending.at,
                           ", which lacks ",
                           pending.session.Minus(pending.visible).dot_count(),
                           " events that its session had seen"));
}

bool Checker::AnyAwaited() const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [](const auto& item) { return !item.second.abandoned; });
}

}  // namespace dovetail::sim
