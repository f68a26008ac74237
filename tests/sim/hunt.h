// The proof that the simulator finds bugs: bugs planted in the product
// (DOVETAIL_MUTANT in crdt/hooks.h), each brought to life alone and hunted with
// seed after seed until a violation shows.
#ifndef DOVETAIL_TESTS_SIM_HUNT_H_
#define DOVETAIL_TESTS_SIM_HUNT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dovetail::sim {

// The planted bugs of this build, sorted.
std::vector<std::string> Mutants();
// The one of that name, or the only one whose name has `text` in it.
absl::StatusOr<std::string> MutantOf(const std::string& text);
// "all", "random:4" (drawn from `seed`), or any texts that MutantOf takes.
absl::StatusOr<std::vector<std::string>> ChooseMutants(
    const std::vector<std::string>& texts, uint64_t seed);

struct HuntSettings {
  std::vector<std::string> mutants;
  std::string profile = "mixed";
  uint64_t from = 1;
  uint64_t seeds = 500;  // a mutant that outlives them has survived
  int jobs = 1;
  std::string json_file;
};

// Prints a table. The exit status: 1 if a mutant survives.
int RunHunt(const HuntSettings& settings);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_HUNT_H_
