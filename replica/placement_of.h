// From a ring to what requests ask of it (placement.h): owners in the ring's
// order, and behind them those who stand in.
#ifndef DOVETAIL_REPLICA_PLACEMENT_OF_H_
#define DOVETAIL_REPLICA_PLACEMENT_OF_H_

#include <cstddef>
#include <vector>

#include "replica/placement.h"
#include "replica/ring.h"
#include "replica/ring_stamp.h"

namespace dovetail::replica {

// Of one partition. More nodes than that are not all out of reach at once
// unless the cluster is; fewer rows keep a placement small: with 4096
// partitions about a megabyte.
inline constexpr size_t kStandInsMax = 16;

// Every member of the ring is known to it by name, zone and region; stand-ins
// are the next in the ring's order of preference, kStandInsMax at the most.
// `before` is the ring before, null if nothing moves; of it, `gone` have lost
// their disks. `lineage` is of `ring`. Cost: O(partitions * m log m) in the
// members. Requires: rings of as many partitions.
Placement PlacementOf(const Ring& ring, const RingLineage& lineage,
                      const Ring* before = nullptr,
                      const std::vector<NodeId>& gone = {});

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PLACEMENT_OF_H_
