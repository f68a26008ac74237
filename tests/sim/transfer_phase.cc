#include "tests/sim/transfer_phase.h"

#include <map>

#include "tests/sim/sim_cluster.h"

namespace dovetail::sim {
namespace {

using replica::NodeId;
using replica::PartitionId;

uint32_t PhasesOfOwner(const Lane& lane, PartitionId partition, NodeId self,
                       const std::map<PartitionId, replica::Transfer>& coming) {
  const auto transfer = coming.find(partition);
  if (transfer == coming.end()) {
    return lane.placement->OwnedBefore(self, partition)
               ? 0
               : BitOf(TransferPhase::kComplete);
  }
  if (transfer->second.source) return BitOf(TransferPhase::kRanges);
  return BitOf(transfer->second.events_lacking > 0 ? TransferPhase::kLogs
                                                   : TransferPhase::kWaiting);
}

}  // namespace

const char* TransferPhaseName(TransferPhase phase) {
  switch (phase) {
    case TransferPhase::kUnheard:
      return "unheard";
    case TransferPhase::kWaiting:
      return "waiting";
    case TransferPhase::kLogs:
      return "logs";
    case TransferPhase::kRanges:
      return "ranges";
    case TransferPhase::kComplete:
      return "complete";
    case TransferPhase::kFormer:
      return "former";
    case TransferPhase::kDropping:
      return "dropping";
  }
  return "";
}

uint32_t TransferPhasesOf(SimCluster& cluster, uint32_t node) {
  if (!cluster.node(node).running() || !cluster.ring_changed()) return 0;
  const NodeId self{node};
  uint32_t phases = 0;
  const auto& lanes = cluster.node(node).process->lanes;
  for (size_t i = 0; i < lanes.size(); ++i) {
    const Lane& lane = lanes[i];
    if (lane.ring != cluster.newest_ring()) {
      phases |= BitOf(TransferPhase::kUnheard);
    }
    if (lane.shard->stats().emptying > 0) {
      phases |= BitOf(TransferPhase::kDropping);
    }
    if (!lane.placement->moves()) continue;
    std::map<PartitionId, replica::Transfer> coming;
    for (const replica::Transfer& transfer : lane.shard->Transfers()) {
      coming.emplace(transfer.partition, transfer);
    }
    for (size_t p = i; p < cluster.partitions(); p += lanes.size()) {
      const PartitionId partition{static_cast<uint16_t>(p)};
      if (lane.placement->Owns(self, partition)) {
        phases |= PhasesOfOwner(lane, partition, self, coming);
      } else if (lane.placement->OwnedBefore(self, partition) &&
                 !lane.shard->ContextOf(partition).applied.empty()) {
        phases |= BitOf(TransferPhase::kFormer);
      }
    }
  }
  return phases;
}

}  // namespace dovetail::sim
