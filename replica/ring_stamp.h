// Which ring? Two operators who commit at once make two rings of one epoch, so
// an epoch alone names none: what was acknowledged, answered or completed by
// the one says nothing about the other.
//
// A stamp is the epoch and the digest of the committed ring. The greater of two
// holds everywhere in the end (cluster_config.h, Precedes). A digest of zero is
// not said: by a first ring that was listed and never committed, or by an
// earlier version, whose word is taken by the epoch alone.
#ifndef DOVETAIL_REPLICA_RING_STAMP_H_
#define DOVETAIL_REPLICA_RING_STAMP_H_

#include <cstddef>
#include <cstdint>

#include "crdt/codec.h"
#include "replica/ids.h"

namespace dovetail::replica {

struct RingStamp {
  uint64_t epoch = 0;  // 0: no ring
  Hash128 digest;

  friend bool operator==(const RingStamp&, const RingStamp&) = default;
};

inline bool SameRing(const RingStamp& a, const RingStamp& b) {
  return a.epoch == b.epoch && (a.digest == b.digest || a.digest == Hash128{} ||
                                b.digest == Hash128{});
}

// Whether everybody ends with `a` rather than with `b`.
inline bool IsNewerRing(const RingStamp& a, const RingStamp& b) {
  if (SameRing(a, b)) return false;
  return a.epoch != b.epoch ? a.epoch > b.epoch : a.digest > b.digest;
}

// On disk; more than any epoch alone takes.
inline constexpr size_t kRingStampBytesMin = 1 + 16;
inline void AppendRingStamp(crdt::Writer& out, const RingStamp& ring) {
  out.Varint(ring.epoch);
  out.Fixed64(ring.digest.high);
  out.Fixed64(ring.digest.low);
}
inline RingStamp ReadRingStamp(crdt::Reader& in) {
  RingStamp ring;
  ring.epoch = in.Varint();
  ring.digest.high = in.Fixed64();
  ring.digest.low = in.Fixed64();
  return ring;
}

// A ring, and the two that it grew from.
struct RingLineage {
  RingStamp ring;
  RingStamp parent;       // epoch 0: a first ring
  RingStamp grandparent;  // epoch 0: the parent is one
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RING_STAMP_H_
