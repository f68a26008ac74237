// Random numbers from a seed, for protocols whose runs must be repeatable: the
// same seed gives the same numbers in every build.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014.
#ifndef DOVETAIL_REPLICA_SPLITMIX_H_
#define DOVETAIL_REPLICA_SPLITMIX_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "crdt/check.h"

namespace dovetail::replica {

class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t x = state_ += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }
  // 0 <= result < n. The bias of the remainder is below n / 2^64.
  size_t Below(size_t n) {
    DOVETAIL_CHECK(n > 0);
    return static_cast<size_t>(Next() % n);
  }
  // Moves `count` items drawn at random to the front; the rest is kept in some
  // order. All of them: a shuffle (Fisher and Yates).
  template <class T>
  void DrawToFront(std::vector<T>& items, size_t count) {
    for (size_t i = 0; i < count && i + 1 < items.size(); ++i) {
      std::swap(items[i], items[i + Below(items.size() - i)]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SPLITMIX_H_
