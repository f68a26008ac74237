// What the checker knows of nodes that stand in for owners: whom a receipt may
// name, and when a stand-in may forget what it holds.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/checker.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using replica::NodeId;
using replica::PartitionId;
using replica::Shard;

void Checker::CheckReceipt(const Pending& pending,
                           const replica::Receipt& receipt) {
  std::set<uint32_t> nodes;
  for (const NodeId node : receipt.nodes) nodes.insert(SeatOf(node));
  const replica::PartitionId partition = pending.partition;
  uint32_t owners = 0;
  for (uint32_t node : nodes) owners += Owns(node, partition) ? 1 : 0;
  const bool sure = cluster_->RingKnownSince(pending.submitted_us);
  // A read of one replica is of this one, whatever it owns.
  const bool strict =
      plan_.options.strict != 0 && (!pending.spec || receipt.required > 1);
  const uint32_t counted =
      strict && sure ? owners : static_cast<uint32_t>(nodes.size());
  if (sure && receipt.stand_ins.size() != nodes.size() - owners) {
    OnViolation(absl::StrCat(Story(pending), ": its receipt names ",
                             receipt.stand_ins.size(), " stand-ins of ",
                             nodes.size() - owners));
  }
  if (nodes.empty() || nodes.size() != receipt.nodes.size() ||
      counted < receipt.required ||
      !MayCoordinate(pending, SeatOf(receipt.nodes.front()))) {
    return OnViolation(absl::StrCat(
        Story(pending), ": its receipt names ", nodes.size(), " nodes of ",
        receipt.required, ", node ", SeatOf(receipt.nodes.front()),
        " first; taken by node ", pending.at));
  }
  if (sure && pending.event != kProbe) CheckLevel(pending, receipt);
}

bool Checker::MayCoordinate(const Pending& pending, uint32_t node) {
  if (!pending.spec) {
    return pending.at == node && (node == pending.node || pending.ticket);
  }
  return std::any_of(pending.tries.begin(), pending.tries.end(),
                     [&](const Pending::Try& one) { return one.node == node; });
}

bool Checker::MayKnowAbsence(const Pending& pending,
                             const std::vector<NodeId>& nodes) const {
  if (!cluster_->RingKnownSince(pending.submitted_us)) return true;
  return std::any_of(nodes.begin(), nodes.end(), [&](NodeId node) {
    return cluster_->placement().OwnedBefore(node, pending.partition);
  });
}

void Checker::CheckHandedOver(uint32_t node, Shard& shard) {
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (&cluster_->ShardOf(node, partition) != &shard ||
        cluster_->PlacementAt(node, partition).Owns(NodeId{node}, partition)) {
      continue;
    }
    crdt::EventSet& held = held_[{node, partition}];
    const crdt::EventSet& now = shard.ContextOf(partition).applied;
    if (!held.empty() && now.empty()) {
      if (!MayForget(node, partition, held)) {
        OnViolation(absl::StrCat("node ", node, " forgets what it held of ",
                                 "partition ", p,
                                 ", which is not on the owners' disks"));
      }
      OnForgotten(node, partition);
    }
    held = now;
  }
}

bool Checker::GoesBySame(uint32_t node, uint32_t other,
                         PartitionId partition) const {
  return cluster_->node(other).running() &&
         cluster_->RingAt(node, partition) ==
             cluster_->RingAt(other, partition);
}

// A stand-in, when a majority of the owners by the ring that it knows have it;
// who owned it before, when all have.
bool Checker::MayForget(uint32_t node, PartitionId partition,
                        const crdt::EventSet& held) {
  const replica::Placement& known = cluster_->PlacementAt(node, partition);
  uint32_t have = 0;
  for (const NodeId id : known.Owners(partition)) {
    const uint32_t owner = SeatOf(id);
    // Of who is down, or was since it said so, nothing can be said; who has
    // heard of a newer ring may have handed it over.
    const bool unknown =
        !GoesBySame(node, owner, partition) || !ends_[owner].empty();
    const bool its =
        unknown || held.IsSubsetOf(cluster_->ShardOf(owner, partition)
                                              .DurableOf(partition));
    have += its ? 1 : 0;
  }
  const uint32_t owners = known.replicas(partition);
  return known.OwnedBefore(NodeId{node}, partition) ? have == owners
                                                    : 2 * have > owners;
}

// Others answer for what was acknowledged from now on.
void Checker::OnForgotten(uint32_t node, PartitionId partition) {
  for (Acknowledged& write : acknowledged_) {
    if (write.partition != partition || write.holders.erase(node) == 0) {
      continue;
    }
    AddHolders(write);
  }
}

void Checker::AddHolders(Acknowledged& write) {
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    if (!cluster_->node(node).running()) continue;
    const bool holds = write.fsync ? cluster_->ShardOf(node, write.partition)
                                         .DurableOf(write.partition)
                                         .ContainsRun(write.events)
                                   : Holds(node, write.partition, write.events);
    if (holds) write.holders.insert(node);
  }
}

}  // namespace dovetail::sim
