// How long a suspected member has to refute: long while one node accuses it,
// for that one may be at fault itself, and shorter with each other node whose
// own probes fail, too.
// Source: Dadgar, Phillips, Currey, "Lifeguard", arXiv:1707.00788,
// LHA-Suspicion.
#ifndef DOVETAIL_REPLICA_SUSPICION_H_
#define DOVETAIL_REPLICA_SUSPICION_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "crdt/check.h"
#include "replica/ids.h"
#include "replica/member.h"

namespace dovetail::replica {

struct SuspicionLaw {
  absl::Duration timeout_min;
  absl::Duration timeout_max;
  // Accusers beyond the first that bring it down to the least. 0: the least
  // from the start, for there is nobody to confirm.
  size_t confirmations = 0;
};

// max - (max - min) log(c + 1) / log(k + 1), in whole milliseconds, so that no
// last digit of a logarithm can make two builds differ.
inline absl::Duration SuspicionTimeout(const SuspicionLaw& law,
                                       size_t confirmed) {
  if (confirmed >= law.confirmations) return law.timeout_min;
  const double share = std::log(static_cast<double>(confirmed) + 1) /
                       std::log(static_cast<double>(law.confirmations) + 1);
  const absl::Duration timeout =
      law.timeout_max - share * (law.timeout_max - law.timeout_min);
  return std::max(absl::Floor(timeout, absl::Milliseconds(1)), law.timeout_min);
}

class Suspicion {
 public:
  // Requires: `accuser` is the first of them.
  Suspicion(const SuspicionLaw& law, NodeId accuser, absl::Duration now)
      : law_(law), started_(now), accusers_{accuser} {
    DOVETAIL_CHECK(law.confirmations < kAccusersMax);
  }

  // Whether that is news, and worth passing on: another accuser, and not yet
  // as many as make a difference.
  bool Confirm(NodeId accuser) {
    if (accusers_.size() > law_.confirmations) return false;
    const auto at =
        std::lower_bound(accusers_.begin(), accusers_.end(), accuser);
    if (at != accusers_.end() && *at == accuser) return false;
    accusers_.insert(at, accuser);
    return true;
  }

  // For time in which this node could not have heard a refutation.
  void Extend(absl::Duration by) { started_ += by; }

  absl::Duration deadline() const {
    return started_ + SuspicionTimeout(law_, accusers_.size() - 1);
  }
  // Sorted.
  const std::vector<NodeId>& accusers() const { return accusers_; }

 private:
  SuspicionLaw law_;
  absl::Duration started_;
  std::vector<NodeId> accusers_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SUSPICION_H_
