// What the checker knows of nodes that stand in for owners: whom a receipt may
// name, and when a stand-in may forget what it holds.
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
  // A read of one replica is of this one, whatever it owns.
  const bool strict =
      plan_.options.strict != 0 && (!pending.spec || receipt.required > 1);
  const uint32_t counted =
      strict ? owners : static_cast<uint32_t>(nodes.size());
  if (receipt.stand_ins.size() != nodes.size() - owners) {
    OnViolation(absl::StrCat(Story(pending), ": its receipt names ",
                             receipt.stand_ins.size(), " stand-ins of ",
                             nodes.size() - owners));
  }
  if (nodes.size() != receipt.nodes.size() || counted < receipt.required ||
      !nodes.contains(pending.node)) {
    OnViolation(absl::StrCat(Story(pending), ": its receipt names ",
                             nodes.size(), " nodes of ", receipt.required));
  }
}

void Checker::CheckHandedOver(uint32_t node, Shard& shard) {
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (Owns(node, partition) ||
        &cluster_->ShardOf(node, partition) != &shard) {
      continue;
    }
    crdt::EventSet& held = held_[{node, partition}];
    const crdt::EventSet& now = shard.ContextOf(partition).applied;
    if (!held.empty() && now.empty()) {
      uint32_t have = 0;
      uint32_t owners = 0;
      for (uint32_t owner = 0; owner < cluster_->size(); ++owner) {
        if (!Owns(owner, partition)) continue;
        ++owners;
        // Of who is down, or was since it said so, nothing can be said.
        const bool unknown =
            !cluster_->node(owner).running() || !ends_[owner].empty();
        have += unknown || held.IsSubsetOf(cluster_->ShardOf(owner, partition)
                                               .DurableOf(partition))
                    ? 1
                    : 0;
      }
      if (2 * have <= owners) {
        OnViolation(absl::StrCat("node ", node, " forgets what it held of ",
                                 "partition ", p, ", which ", have, " of ",
                                 owners, " owners have on disk"));
      }
      OnForgotten(node, partition);
    }
    held = now;
  }
}

// Its owners answer for what was acknowledged from now on.
void Checker::OnForgotten(uint32_t node, PartitionId partition) {
  for (Acknowledged& write : acknowledged_) {
    if (write.partition != partition || write.holders.erase(node) == 0) {
      continue;
    }
    AddOwnersThatHold(write);
  }
}

void Checker::AddOwnersThatHold(Acknowledged& write) {
  for (uint32_t owner = 0; owner < cluster_->size(); ++owner) {
    if (Owns(owner, write.partition) && cluster_->node(owner).running() &&
        Holds(owner, write.partition, write.events)) {
      write.holders.insert(owner);
    }
  }
}

}  // namespace dovetail::sim
