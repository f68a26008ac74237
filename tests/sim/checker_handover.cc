// What the checker knows of nodes that stand in for owners: whom a receipt may
// name, and when a stand-in may forget what it holds.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "replica/keys.h"
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
    Held& held = held_[{node, partition}];
    const crdt::EventSet& now = shard.ContextOf(partition).applied;
    if (!held.events.empty() && now.empty()) {
      const std::string why_not = WhyNotForget(node, partition, held);
      if (!why_not.empty()) {
        OnViolation(absl::StrCat("node ", node, " forgets what it held of ",
                                 "partition ", p, ": ", why_not));
      }
      OnForgotten(node, partition);
    }
    const bool as_owner = cluster_->node(node)
                              .disk.keys(replica::Family::kMeta)
                              .contains(replica::TenureKey(partition));
    held = {now, as_owner};
  }
}

bool Checker::GoesBySame(uint32_t node, uint32_t other,
                         PartitionId partition) const {
  return cluster_->node(other).running() &&
         cluster_->RingAt(node, partition) ==
             cluster_->RingAt(other, partition);
}

// A stand-in, when a majority of the owners by the ring that it knows have it;
// who took it as an owner, when all have, and have all that there is.
std::string Checker::WhyNotForget(uint32_t node, PartitionId partition,
                                  const Held& held) {
  const replica::Placement& known = cluster_->PlacementAt(node, partition);
  std::vector<std::string> lacking;
  for (const NodeId id : known.Owners(partition)) {
    const uint32_t owner = SeatOf(id);
    // Of who is down, or was since it said so, or has met a bad row since,
    // nothing can be said; who has heard of a newer ring may have handed it
    // over.
    if (!GoesBySame(node, owner, partition) || !ends_[owner].empty() ||
        cluster_->node(owner).disk.bad()) {
      continue;
    }
    const replica::Shard& shard = cluster_->ShardOf(owner, partition);
    if (!held.events.IsSubsetOf(shard.DurableOf(partition))) {
      lacking.push_back(absl::StrCat("node ", owner, " does not hold it"));
    } else if (held.as_owner && cluster_->IsBeingFilled(owner, partition)) {
      lacking.push_back(absl::StrCat("node ", owner, " is being filled"));
    }
  }
  const size_t owners = known.replicas(partition);
  const size_t have = owners - lacking.size();
  if (held.as_owner ? have == owners : 2 * have > owners) return "";
  return absl::StrJoin(lacking, ", ");
}

void Checker::CheckFilled(uint32_t node, Shard& shard) {
  if (plan_.options.ring == 0) return;
  for (const Lane& lane : cluster_->node(node).process->lanes) {
    if (lane.shard.get() != &shard || !lane.placement->moves()) continue;
    std::set<PartitionId> left;
    for (const replica::Transfer& transfer : shard.Transfers()) {
      left.insert(transfer.partition);
      filled_[{node, transfer.partition}] = lane.ring;
    }
    for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
      const PartitionId partition{static_cast<uint16_t>(p)};
      const auto was = filled_.find({node, partition});
      if (was == filled_.end() || left.contains(partition) ||
          &cluster_->ShardOf(node, partition) != &shard) {
        continue;
      }
      const bool same = was->second == lane.ring;
      filled_.erase(was);
      if (!same || !lane.placement->Owns(NodeId{node}, partition)) continue;
      for (const Acknowledged& write : acknowledged_) {
        if (write.partition != partition || !write.at_quorum_of ||
            write.at_quorum_of->epoch >= lane.ring.epoch ||
            write.at_us <= cluster_->loose_us() ||
            Holds(node, partition, write.events)) {
          continue;
        }
        return OnViolation(absl::StrCat(
            "node ", node, " says that it has all of partition ", p,
            " and lacks \"", plan_.events[write.event].text,
            "\", which a quorum acknowledged by a ring of before"));
      }
    }
  }
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
