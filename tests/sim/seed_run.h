// One seed or plan, run with care: repeated where asked, to see that it is
// determined, and put into words that pass through a pipe.
#ifndef DOVETAIL_TESTS_SIM_SEED_RUN_H_
#define DOVETAIL_TESTS_SIM_SEED_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/sim/plan.h"
#include "tests/sim/simulation.h"

namespace dovetail::sim {

// Of wall time. A seed takes 50 ms of a core; of 1,500, one in a hundred more
// than 0.43 s, and the heaviest 0.78 s. A machine may be busy with others.
inline constexpr double kSeedSecondsMax = 30;

struct SeedResult {
  uint64_t seed = 0;
  std::string profile;
  std::string failure;  // one line; empty: none
  int64_t nodes = 0;
  double core_seconds = 0;
  bool rechecked = false;
  Outcome outcome;
};

// "mixed" is a profile drawn for the seed; any other is itself.
std::string ProfileOf(uint64_t seed, const std::string& profile);
// What --profile takes.
std::vector<std::string> ProfileChoices();

struct SeedSettings {
  std::string profile = "swarm";
  std::string mutant;
  // So many of 1000 seeds are run three times: twice here, once by a fresh
  // process; all must leave the same trace.
  int64_t recheck_permille = 0;
};
// Dies with the simulation if that does.
SeedResult RunSeed(uint64_t seed, const SeedSettings& settings);

std::string ToText(const SeedResult& result);
// REQUIRES: ToText wrote `text`.
SeedResult ParseSeedResult(const std::string& text);

// RunPlan in a process of its own; a death or a hang is a violation.
Outcome RunPlanIsolated(const Plan& plan, const RunSettings& settings = {});

// What kind of failure a violation is: two runs that fail alike have the same.
std::string KindOfViolation(const std::string& violation);

// "build/dev/bin/dovetail-sim": this program, as one would type it here.
std::string ProgramName();
// " --mutant=…", for a shell; empty without one.
std::string MutantArgument(const std::string& mutant);
std::string ReplayCommand(uint64_t seed, const std::string& profile,
                          const std::string& mutant);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SEED_RUN_H_
