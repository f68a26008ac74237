// How far the transfers of partitions at a node are: the other side of the
// table of faults, which must strike in each phase.
#ifndef DOVETAIL_TESTS_SIM_TRANSFER_PHASE_H_
#define DOVETAIL_TESTS_SIM_TRANSFER_PHASE_H_

#include <cstdint>

namespace dovetail::sim {

class SimCluster;

// Of one partition at one node.
enum class TransferPhase {
  kUnheard,   // the node has not heard of the newest ring
  kWaiting,   // a new owner lacks nothing it was told of, and waits for a word
  kLogs,      // logs bring a new owner what it lacks
  kRanges,    // ranges do
  kComplete,  // a new owner has all; others do not, or it has not heard so
  kFormer,    // an owner of before holds it until all owners have it
  kDropping,  // it has been handed over and is being removed
};
inline constexpr int kTransferPhases = 7;
const char* TransferPhaseName(TransferPhase phase);

constexpr uint32_t BitOf(TransferPhase phase) {
  return uint32_t{1} << static_cast<int>(phase);
}

// A bit for each phase that some partition is in at `node`. None if nothing
// moves there, or the node does not run.
uint32_t TransferPhasesOf(SimCluster& cluster, uint32_t node);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_TRANSFER_PHASE_H_
