// What time nodes can take it to be, from outside: the middle one of their own
// clock and of those that they have heard of (replica/peer_clocks.h says which
// of several words of one peer counts; here any of them may). So of each node
// there is an earliest and a latest time, and whether an object has expired for
// it is yes, no, or open.
#ifndef DOVETAIL_TESTS_SIM_EXPIRY_WATCH_H_
#define DOVETAIL_TESTS_SIM_EXPIRY_WATCH_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "replica/ids.h"

namespace dovetail::sim {

// Wall clock milliseconds.
struct TimeSpan {
  uint64_t least = 0;
  uint64_t most = 0;

  void Include(const TimeSpan& other) {
    least = std::min(least, other.least);
    most = std::max(most, other.most);
  }
};

enum class Has { kNot, kMaybe, kExpired };
// Of an object that expires at `at_ms`; 0: never.
Has HasExpiredBy(uint64_t at_ms, const TimeSpan& now);

class ExpiryWatch {
 public:
  // A shard of a node has got a message that says what its sender's clock was.
  void Heard(uint32_t node, uint32_t shard, uint32_t from, uint64_t wall_ms,
             replica::Now now);
  // The node's process ended, and what it knew.
  void OnStopped(uint32_t node);
  // Its turn is over: what it hears from now on is not of it.
  void OnTurnEnded(uint32_t node, uint32_t shard);

  // At this moment; its own clock is `now`.
  TimeSpan TimeAt(uint32_t node, uint32_t shard, replica::Now now) const;
  // At some moment of this turn.
  TimeSpan TimeInTurn(uint32_t node, uint32_t shard, replica::Now now) const;

  // Whether a majority of `owners`, the node among them, may agree with its
  // clock to within `within_ms`, as far as it can know.
  bool MayAgree(uint32_t node, uint32_t shard,
                absl::Span<const replica::NodeId> owners, int64_t within_ms,
                replica::Now now) const;

 private:
  // Their clocks at steady time zero of the node that heard them. (What was
  // heard counts for an hour; no run is that long.)
  struct Bases {
    int64_t least = 0;
    int64_t most = 0;
  };
  struct Ears {
    std::map<uint32_t, Bases> peers;
    std::optional<TimeSpan> in_turn;  // before the last word that came in it
  };

  std::map<std::pair<uint32_t, uint32_t>, Ears> ears_;  // by node and shard
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_EXPIRY_WATCH_H_
