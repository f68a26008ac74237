// One run of one plan: sets the stage, lets it play, heals everything, and
// asks the checker.
#ifndef DOVETAIL_TESTS_SIM_SIMULATION_H_
#define DOVETAIL_TESTS_SIM_SIMULATION_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "tests/sim/checker.h"
#include "tests/sim/network.h"
#include "tests/sim/plan.h"
#include "tests/sim/transfer_phase.h"

namespace dovetail::sim {

struct RunSettings {
  // Prints the trace from this event on.
  uint64_t trace_from = UINT64_MAX;
  // Stops after this event.
  uint64_t until = UINT64_MAX;
  std::string mutant;  // a planted bug; empty: none
};

// What the cluster was doing when a fault struck.
enum class Phase {
  kQuiet,        // nothing of the below
  kRequests,     // clients wait for the node
  kRecovering,   // it started less than two seconds ago
  kPartitioned,  // some link of it is cut
  kCatchingUp,   // it lacks events that a peer has
};
inline constexpr int kPhases = 5;
const char* PhaseName(Phase phase);

struct Outcome {
  std::string violation;  // empty: none
  uint64_t trace_hash = 0;
  uint64_t events = 0;
  int64_t virtual_us = 0;
  int64_t converged_after_us = 0;  // of the heal
  uint64_t turns = 0;
  uint64_t deltas = 0;
  ClientStats clients;
  NetworkStats network;
  // How often each kind of fault struck in each phase.
  std::array<std::array<uint64_t, kPhases>, kEventKinds> faults{};
  // And how far the transfers at its node were, for each phase that any was in.
  std::array<std::array<uint64_t, kTransferPhases>, kEventKinds> transfers{};
  std::map<std::string, uint64_t> marks;
  std::map<std::string, uint64_t> buggified;
  uint64_t mutant_passes = 0;
};

Outcome RunPlan(const Plan& plan, const RunSettings& settings = {});

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SIMULATION_H_
