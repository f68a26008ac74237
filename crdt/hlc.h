// Hybrid logical clock: timestamps close to wall time that never run backwards
// on one node and never fall behind what it has accepted. They decide only
// between *concurrent* register writes; causality decides everything else.
//
// Source: Kulkarni et al., "Logical Physical Clocks" (2014), with a bound on
// drift: a foreign timestamp further ahead than `drift_max` stays in its
// payload as it is and never moves this clock.
#ifndef DOVETAIL_CRDT_HLC_H_
#define DOVETAIL_CRDT_HLC_H_

#include <compare>
#include <cstdint>

namespace dovetail::crdt {

struct Timestamp {
  uint64_t wall_ms = 0;  // milliseconds since the Unix epoch
  uint16_t logical = 0;
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

class HybridClock {
 public:
  // 500 ms: far above NTP's error between healthy machines.
  static constexpr uint64_t kDriftMaxMs = 500;

  HybridClock() = default;
  // Continues after `last`, the value stored with the latest commit.
  explicit HybridClock(Timestamp last) : last_(last) {}

  // A new timestamp, greater than every one returned or accepted before.
  Timestamp Next(uint64_t wall_ms);
  // Moves the clock past `remote`. False, and no change, if `remote` is more
  // than kDriftMaxMs ahead of `wall_ms`.
  [[nodiscard]] bool Receive(Timestamp remote, uint64_t wall_ms);

  Timestamp last() const { return last_; }

 private:
  Timestamp last_;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_HLC_H_
