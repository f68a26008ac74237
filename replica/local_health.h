// Is it me? A node that misses answers which it had reason to expect is perhaps
// slow itself, and then must take its time before it calls others dead.
//
// One number: 0 is healthy; it grows by one for each sign of an own fault (an
// asked relay that did not even send its nack, a probe that failed with nobody
// to ask, a suspicion of this node that had to be refuted) and falls by one for
// each probe that succeeds. Timeouts and periods of probes are multiplied by it
// plus one. A probe that failed while all relays answered is no sign: then it
// is the target.
// Source: Dadgar, Phillips, Currey, "Lifeguard", arXiv:1707.00788, LHA-Probe.
#ifndef DOVETAIL_REPLICA_LOCAL_HEALTH_H_
#define DOVETAIL_REPLICA_LOCAL_HEALTH_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace dovetail::replica {

class LocalHealth {
 public:
  explicit LocalHealth(uint32_t score_max) : score_max_(score_max) {}

  void Worsen(uint32_t by) {
    score_ = by < score_max_ - score_ ? score_ + by : score_max_;
  }
  void Improve() { score_ = std::max(score_, 1u) - 1; }

  uint32_t score() const { return score_; }
  absl::Duration Scale(absl::Duration base) const {
    return base * (static_cast<int64_t>(score_) + 1);
  }

 private:
  uint32_t score_max_;
  uint32_t score_ = 0;  // <= score_max_
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_LOCAL_HEALTH_H_
