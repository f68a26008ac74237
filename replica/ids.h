// Small strong types that everything in replica/ shares.
#ifndef DOVETAIL_REPLICA_IDS_H_
#define DOVETAIL_REPLICA_IDS_H_

#include <compare>
#include <cstdint>

#include "absl/time/time.h"

namespace dovetail::replica {

// A node of the cluster, for as long as its data directory lives: drawn at
// random once and kept over restarts and changes of address. Members of a
// fixed list are numbered from 0 instead. Unlike an actor it may come back.
enum class NodeId : uint64_t {};

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
