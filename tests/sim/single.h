// One seed or plan, told in brief.
#ifndef DOVETAIL_TESTS_SIM_SINGLE_H_
#define DOVETAIL_TESTS_SIM_SINGLE_H_

#include <cstdint>
#include <string>

#include "tests/sim/plan.h"
#include "tests/sim/simulation.h"

namespace dovetail::sim {

struct SingleSettings {
  std::string mutant;
  bool trace = false;
  uint64_t until = UINT64_MAX;  // stops after this event
  uint64_t last = 100;          // prints so many events before the end
  bool hash_only = false;
  bool expect_violation = false;  // turns the exit status round
};

// Prints the story. `replay` is the command that plays it again. The exit
// status: 0 if nothing was wrong.
int RunSingle(const Plan& plan, const SingleSettings& settings,
              const std::string& replay);

// What was drawn and what came of it, a few lines.
std::string Story(const Plan& plan, const Outcome& outcome);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SINGLE_H_
