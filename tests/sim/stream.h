// Random numbers for a simulation, in streams that do not disturb one another:
// each is drawn from (seed, domain, ids) alone, so that removing an operation
// from a plan does not reshuffle the delays of a link.
//
// The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable
// pseudorandom number generators", OOPSLA 2014). No distribution of the
// standard library: those differ between implementations.
#ifndef DOVETAIL_TESTS_SIM_STREAM_H_
#define DOVETAIL_TESTS_SIM_STREAM_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dovetail::sim {

// Spreads every bit of `x` over the result.
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

class Stream {
 public:
  Stream(uint64_t seed, std::string_view domain, uint64_t a = 0,
         uint64_t b = 0) {
    uint64_t state = Mix(seed + 0x9E3779B97F4A7C15u);
    for (const char c : domain) {
      state = Mix(state ^ static_cast<unsigned char>(c)) + 1;
    }
    state_ = Mix(Mix(state ^ a) ^ (b + 0x632BE59BD9B4E019u));
  }

  uint64_t Next() { return Mix(state_ += 0x9E3779B97F4A7C15u); }
  // 0 <= result < n. Requires: n > 0.
  uint64_t Below(uint64_t n) { return Next() % n; }
  uint32_t Below32(uint32_t n) { return static_cast<uint32_t>(Below(n)); }
  // lowest <= result <= highest.
  int64_t Between(int64_t lowest, int64_t highest) {
    return lowest + static_cast<int64_t>(
                        Below(static_cast<uint64_t>(highest - lowest) + 1));
  }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  bool Permille(int64_t p) { return static_cast<int64_t>(Below(1000)) < p; }
  bool Half() { return (Next() & 1) != 0; }
  // Exponentially distributed around `mean`, at most 20 times it.
  int64_t Exponential(int64_t mean) {
    const double unit = static_cast<double>((Next() >> 11) + 1) / 0x1p53;
    return static_cast<int64_t>(-std::log(unit) * static_cast<double>(mean));
  }
  // Spread evenly over the orders of magnitude between the two.
  int64_t LogBetween(int64_t lowest, int64_t highest) {
    const double from = std::log(static_cast<double>(lowest));
    const double to = std::log(static_cast<double>(highest));
    const double unit = static_cast<double>(Next() >> 11) / 0x1p53;
    return static_cast<int64_t>(std::exp(from + (to - from) * unit) + 0.5);
  }
  template <class T>
  const T& Pick(const std::vector<T>& items) {
    return items[static_cast<size_t>(Below(items.size()))];
  }

 private:
  uint64_t state_ = 0;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_STREAM_H_
