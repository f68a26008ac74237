// What happened, as a hash that two runs of one seed must share, and as text
// for who looks at one of them.
#ifndef DOVETAIL_TESTS_SIM_TRACE_H_
#define DOVETAIL_TESTS_SIM_TRACE_H_

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/sim/stream.h"

namespace dovetail::sim {

inline uint64_t HashOf(absl::string_view bytes) {
  uint64_t hash = bytes.size();
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t n = bytes.size() < 8 ? bytes.size() : 8;
    for (size_t i = 0; i < n; ++i) {
      word |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    hash = Mix(hash ^ word) + 0x9E3779B97F4A7C15u;
    bytes.remove_prefix(n);
  }
  return hash;
}

class Trace {
 public:
  // Prints each event from number `print_from` on.
  explicit Trace(uint64_t print_from = UINT64_MAX) : print_from_(print_from) {}

  bool printing() const { return events_ >= print_from_; }
  uint64_t events() const { return events_; }
  uint64_t hash() const { return hash_; }

  // `text` is asked for only if somebody looks.
  template <class Text>
  void Add(int64_t at_us, const char* what, uint64_t a, uint64_t b, uint64_t c,
           const Text& text) {
    hash_ = Mix(hash_ ^ static_cast<uint64_t>(at_us)) + a;
    hash_ = Mix(hash_ ^ b) + c;
    if (printing()) {
      std::fprintf(stderr, "%8llu %11.6fs %-10s %s\n",
                   static_cast<unsigned long long>(events_),
                   static_cast<double>(at_us) / 1e6, what,
                   std::string(text()).c_str());
    }
    ++events_;
  }

 private:
  const uint64_t print_from_;
  uint64_t events_ = 0;
  uint64_t hash_ = 0;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_TRACE_H_
