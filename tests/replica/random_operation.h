// Random operations on a few objects of all types, for schedules.
#ifndef DOVETAIL_TESTS_REPLICA_RANDOM_OPERATION_H_
#define DOVETAIL_TESTS_REPLICA_RANDOM_OPERATION_H_

#include <cstdint>

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
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(Next() % n); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// Three keys of each type, few fields and elements: conflicts are the rule.
crdt::Operation RandomOperation(Rng& rng);

// The number in the environment variable `name`.
uint64_t FromEnvironment(const char* name, uint64_t otherwise);

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_RANDOM_OPERATION_H_
