// Small strong types that everything in replica/ shares.
#ifndef DOVETAIL_REPLICA_IDS_H_
#define DOVETAIL_REPLICA_IDS_H_

#include <compare>
#include <cstdint>

#include "absl/time/time.h"

namespace dovetail::replica {

// A node of the cluster: a hash of its name (NodeIdOf in replica/hash.h). Who
// comes back under its name is the same member, at another address and on an
// empty disk too; unlike an actor, which is new with every start. Tests number
// nodes as they like.
enum class NodeId : uint64_t {};

// Members of a cluster; also the rows of a full exchange of gossip.
inline constexpr uint32_t kMembersMax = 4096;

// 0 <= partition < Q.
enum class PartitionId : uint16_t {};

constexpr uint64_t Index(NodeId node) { return static_cast<uint64_t>(node); }
constexpr uint16_t Index(PartitionId partition) {
  return static_cast<uint16_t>(partition);
}

// The time as an input brings it. replica/ reads no clock.
struct Now {
  // Since some fixed point of this process; never jumps. Deadlines and timers.
  absl::Duration steady;
  // Milliseconds since the Unix epoch; may jump. Only the hybrid clock uses it.
  uint64_t wall_ms = 0;
};

// 128 bits of XXH3, or a sum of such.
struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const Hash128&, const Hash128&) = default;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_IDS_H_
