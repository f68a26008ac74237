// Time that never jumps, for deadlines and measurements.
#ifndef DOVETAIL_SRC_CLIENT_STEADY_CLOCK_H_
#define DOVETAIL_SRC_CLIENT_STEADY_CLOCK_H_

#include <chrono>

#include "absl/time/time.h"

namespace dovetail::internal {

// Since some fixed point of this machine.
inline absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_STEADY_CLOCK_H_
