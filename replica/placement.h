// Which nodes own a partition. The one question everything else asks of the
// cluster's membership; a ring answers it later from gossip, today it is fixed
// by configuration: every member owns every partition.
#ifndef DOVETAIL_REPLICA_PLACEMENT_H_
#define DOVETAIL_REPLICA_PLACEMENT_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "replica/ids.h"

namespace dovetail::replica {

class Placement {
 public:
  // Members are NodeId 0 .. members-1; `partitions` is Q, a power of two.
  Placement(uint32_t members, uint32_t partitions)
      : members_(members), partitions_(partitions) {}

  uint32_t members() const { return members_; }
  uint32_t partitions() const { return partitions_; }
  // N of the partition.
  uint32_t replicas(PartitionId) const { return members_; }

  // The owners in order of preference: the place in the list rotates with the
  // partition, so that no node is everyone's first choice.
  std::vector<NodeId> Owners(PartitionId partition) const {
    std::vector<NodeId> owners;
    owners.reserve(members_);
    for (uint32_t i = 0; i < members_; ++i) {
      owners.push_back(NodeId{(Index(partition) + i) % members_});
    }
    return owners;
  }
  bool Owns(NodeId node, PartitionId) const { return Index(node) < members_; }

 private:
  uint32_t members_;
  uint32_t partitions_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PLACEMENT_H_
