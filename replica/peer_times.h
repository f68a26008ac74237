// How long does each peer take to answer a read, and is one of them so much
// slower than the others that it is better left alone for a while?
//
// Answers are counted in buckets a quarter of an octave wide. All counts are
// halved when there are many or when time has passed, so that the past fades
// and memory stays what it is. Of a question that nobody answers it is known
// that it took longer than it has been waiting for: without that, a peer that
// has stopped would be judged by what it answered before.
//
// A peer is slow when its 95th percentile is over a floor and a factor over
// the median of the others: of those in its region, for a far region is far and
// not sick; of all, where it is alone. Were there no others, it might be this
// node or the network that is slow, and leaving a peer alone would not help.
// Who is slow is asked last (replica_set.h), but a few reads ask it on top of
// those they need; several quick answers in a row, and it is like the others
// again, with nothing kept of the past.
//
// What this says only chooses whom to ask first. It changes neither who counts
// nor who gets writes.
#ifndef DOVETAIL_REPLICA_PEER_TIMES_H_
#define DOVETAIL_REPLICA_PEER_TIMES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "replica/ids.h"
#include "replica/options.h"
#include "replica/placement.h"

namespace dovetail::replica {

// The answer times of one peer, of late.
class AnswerTimes {
 public:
  void Add(absl::Duration took, absl::Duration now);
  // Those of another shard; to show them, not to go on counting.
  void Add(const AnswerTimes& other);

  // How many answers the estimate rests on, those that faded in part.
  uint64_t answers() const { return total_ / kWeight; }
  // At most this long took 95 of 100: the upper end of a bucket, so up to a
  // fifth too much. Requires: answers() > 0.
  absl::Duration p95() const;

 private:
  // An answer's weight, so that it fades in four steps.
  static constexpr uint32_t kWeight = 16;
  // 64 µs × 2^(k/4) for k = 0..59: up to 1.8 s. The last one has no end.
  static constexpr size_t kBuckets = 60;
  void Halve();

  std::array<uint32_t, kBuckets> buckets_{};
  uint32_t total_ = 0;
  absl::Duration halved_at_ = -absl::InfiniteDuration();
};

// Of one peer, for metrics and `status`.
struct PeerTime {
  NodeId peer{};
  AnswerTimes times;
  bool slow = false;
};

class PeerTimes {
 public:
  // Both must outlive it.
  PeerTimes(const ShardOptions& options, const Placement& placement)
      : options_(options), placement_(placement) {}

  // `question` names it among those of this process.
  void Asked(NodeId peer, uint64_t question, absl::Duration now);
  // Also long after who asked has gone on without it; what was not asked, or
  // was answered, is ignored.
  void Answered(NodeId peer, uint64_t question, absl::Duration now);
  // It has come or gone: another process, perhaps another machine.
  void Forget(NodeId peer);

  // When to ask somebody else too: the peer's 95th percentile, between
  // read_hedge_min and read_hedge_after; the latter while too little is known.
  absl::Duration HedgeAfter(NodeId peer) const;
  // When to ask it again, for the question or the answer may be lost: its 95th
  // percentile, however long that is (it may be far away), at least
  // read_hedge_min; read_hedge_after while too little is known.
  absl::Duration AskAgainAfter(NodeId peer) const;
  bool IsSlow(NodeId peer) const {
    if (slow_ == 0) return false;  // the rule
    const auto it = peers_.find(peer);
    return it != peers_.end() && it->second.slow;
  }
  // Absent while too little is known.
  std::optional<absl::Duration> P95(NodeId peer) const;
  bool any_slow() const { return slow_ > 0; }
  // Whether a read is to ask this slow peer on top of those it needs.
  bool TakeProbe(NodeId peer, absl::Duration now);

  std::vector<PeerTime> Measures() const;

 private:
  struct Peer {
    AnswerTimes times;
    std::map<uint64_t, absl::Duration> open;  // questions, and when
    bool slow = false;
    uint32_t quick_in_a_row = 0;  // while slow
    absl::Duration probed_at = -absl::InfiniteDuration();
  };
  using Peers = std::map<NodeId, Peer>;

  void Count(Peers::iterator peer, absl::Duration took, absl::Duration now);
  // What counts as slow for it, if there are others to compare it with.
  std::optional<absl::Duration> LimitFor(NodeId peer) const;
  uint64_t AnswersWanted() const;

  const ShardOptions& options_;
  const Placement& placement_;
  Peers peers_;
  size_t slow_ = 0;  // of `peers_`
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PEER_TIMES_H_
