// When and where something in the cluster's configuration was changed: a total
// order in which a change comes after every change that its node had heard of.
#ifndef DOVETAIL_REPLICA_STAMP_H_
#define DOVETAIL_REPLICA_STAMP_H_

#include <compare>
#include <cstdint>

#include "replica/ids.h"

namespace dovetail::replica {

// Of epochs and stamps: far away, and one more is still a number.
inline constexpr uint64_t kCounterMax = uint64_t{1} << 62;

struct Stamp {
  uint64_t counter = 0;
  NodeId node{};
  friend auto operator<=>(const Stamp&, const Stamp&) = default;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_STAMP_H_
