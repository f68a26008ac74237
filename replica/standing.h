// What a node's word about a partition is worth while partitions move.
//
// After a commit of a ring a new owner lacks what the old ones hold. It takes
// writes and counts for them, but what it shows is a part of the truth until it
// has heard what there is, and has it. Who owned the partition before holds all
// of what was acknowledged before, and nothing needs to be told to it any more.
#ifndef DOVETAIL_REPLICA_STANDING_H_
#define DOVETAIL_REPLICA_STANDING_H_

#include <cstdint>

namespace dovetail::replica {

enum class Standing : uint8_t {
  // An owner that lacks nothing an owner is to have.
  kComplete = 0,
  // It owned the partition by the ring before, and has what such an owner has.
  kBefore = 1,
  // What it holds is joined with what others hold: an owner that is being
  // filled, a node that stands in.
  kPartial = 2,
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_STANDING_H_
