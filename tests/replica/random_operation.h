// Random operations on a few objects of all types, for schedules.
#ifndef DOVETAIL_TESTS_REPLICA_RANDOM_OPERATION_H_
#define DOVETAIL_TESTS_REPLICA_RANDOM_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "crdt/operation.h"

namespace dovetail::replica {

// SplitMix64 (Steele, Lea, Flood 2014).
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  uint32_t Below(size_t n) { return static_cast<uint32_t>(Next() % n); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }
  bool Percent(uint32_t percent) { return Below(100) < percent; }

 private:
  uint64_t state_;
};

// Three keys of each type, few fields and elements: conflicts are the rule.
crdt::Operation RandomOperation(Rng& rng);

// The number in the environment variable `name`.
uint64_t FromEnvironment(const char* name, uint64_t otherwise);

// Runs `schedule` for each seed from 1 to `count`, or for those that the
// variables DOVETAIL_SEED and DOVETAIL_SEEDS name, and says how to replay one
// that fails. `test` is a filter for the test case.
void RunSeeds(const std::string& test, uint64_t count,
              absl::FunctionRef<void(uint64_t seed)> schedule);

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_RANDOM_OPERATION_H_
