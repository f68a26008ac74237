// A plan that fails → a small plan that fails alike. Delta debugging (Zeller,
// Hildebrandt, "Simplifying and isolating failure-inducing input", TSE 2002):
// drop half of the faults, then a quarter …; likewise the operations, then
// nodes, then what the options changed; again until nothing can go.
#ifndef DOVETAIL_TESTS_SIM_SHRINK_H_
#define DOVETAIL_TESTS_SIM_SHRINK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/sim/plan.h"

namespace dovetail::sim {

struct ShrinkTools {
  // Whether a plan still fails in the way that counts.
  std::function<bool(const Plan& plan)> fails;
  // Asked before each try.
  std::function<bool()> out_of_time;
};

// Never larger than `plan`. REQUIRES: `plan` fails.
Plan Shrink(Plan plan, const ShrinkTools& tools);

// The plan without `node`: its operations go to another one, what struck it is
// dropped, quorums fit. nullopt if what is left could not be judged: somebody
// must keep his disk, or no write is safe.
std::optional<Plan> WithoutNode(const Plan& plan, uint32_t node);

struct ShrinkSettings {
  double seconds = 60;
  std::string mutant;
  std::string file;     // where the result goes
  std::string comment;  // where the plan came from; one line
};
// Shrinks, with each run in a process of its own, writes the file, and prints
// what is left. The exit status: 1, for the plan fails; 2 if it does not.
int RunShrink(const Plan& plan, const ShrinkSettings& settings);

// The plan as the draft of a scenario; empty if it is too large for one, or
// has what the language cannot say. Time is lost: deltas arrive at once, or at
// the end of what kept them.
std::string ScenarioDraft(const Plan& plan);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SHRINK_H_
