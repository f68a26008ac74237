// What this node knows of its peers' wall clocks, and what time it takes from
// all of them together. Summaries carry the clock of their sender (sync.h).
//
// What is heard is kept as "their clock at steady time zero of mine": that
// holds on while both clocks run, and shows a jump of this node's own clock at
// once. A message that was long on its way makes a peer look behind, so of what
// came within a minute the latest clock counts.
//
// Of an odd number of clocks the middle one is right as long as most of them
// are. Of an even number the earlier of the two in the middle is taken: in
// doubt an object lives longer.
#ifndef DOVETAIL_REPLICA_PEER_CLOCKS_H_
#define DOVETAIL_REPLICA_PEER_CLOCKS_H_

#include <cstdint>
#include <map>
#include <optional>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "replica/ids.h"

namespace dovetail::replica {

class PeerClocks {
 public:
  // Said by a peer in a message that has just come; 0: it does not say.
  void Heard(NodeId peer, uint64_t wall_ms, Now now);

  // The clock of the peer against this node's own, in milliseconds; nullopt if
  // it has not said anything for an hour.
  std::optional<int64_t> OffsetMs(NodeId peer, Now now) const;

  // The time by this node's clock and all that it knows of. Cost: O(peers).
  uint64_t Time(Now now) const;

  enum class Agreement : uint8_t {
    kAgrees,   // with this clock, a majority of those asked about
    kDiffers,  // from so many that no majority can agree
    kUnknown,  // of too many nothing is known
  };
  // Whether this node and `peers` (it may be one of them) agree to within
  // `within`.
  Agreement Ask(NodeId self, absl::Span<const NodeId> peers,
                absl::Duration within, Now now) const;

  // Whether the clocks of a majority of this node and `peers` are known.
  bool KnowsMost(NodeId self, absl::Span<const NodeId> peers, Now now) const;

 private:
  struct Clock {
    int64_t base_ms = 0;  // at steady time zero
    absl::Duration heard;
  };
  const Clock* Find(NodeId peer, Now now) const;

  std::map<NodeId, Clock> clocks_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PEER_CLOCKS_H_
