// Anti-entropy by the delta log: two replicas tell each other which events
// they have applied (Summary), and each streams from its log what the other
// lacks (SyncDeltas). Nothing is hashed and nothing is scanned; the cost is
// that of the difference.
//
// Only E is compared, never E ∪ X: a replica that knows of a dot because
// somebody superseded it has not applied that dot's delta, and if nobody sent
// it again the replicas would differ for ever.
//
//   on reconnect               a summary of everything, at once
//   on a nudge                 the same; to one peer again after 10, 20, 40 …
//                              ms at the soonest, while that brings nothing
//   while things change        a summary each sync_period_min
//   equal and idle             nothing, but for one each sync_period_max
//   not known to be equal      again after 1, 2, 4 … times the minimum
//
// Events applied within the last period are left out of answers to periodic
// summaries: most of them are on their way already. So is what was streamed to
// the same peer within the last 10, 20, 40 … ms: whoever stood still, or was
// behind a link that did, has many summaries waiting for it, of which the first
// is answered.
//
// Deltas have no limit in bytes a second, but give way to requests like ranges
// do (transfer_pace.h): then a stream waits for its time. While nothing moves
// to new owners what is streamed is what peers missed of late, and readers wait
// for it: then it gives way to a higher minimum. A new owner may get
// much of a partition so.
//
// A stand-in, which owns nothing of the partition but holds something, sends
// summaries to the owners too and streams what they lack; it takes nothing in
// return. What all owners have on stable storage it may forget (hints.h). So
// does an owner of before; and an owner that is being filled (filling.h) asks
// these for their summaries until it is complete.
//
// The summaries also say which events survive a power loss at the peer; what
// does so at all owners is truncated from the log.
#ifndef DOVETAIL_REPLICA_SYNC_H_
#define DOVETAIL_REPLICA_SYNC_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "crdt/event_set.h"
#include "replica/ring_stamp.h"
#include "replica/shard_core.h"
#include "replica/sync_lag.h"
#include "replica/transfer_pace.h"

namespace dovetail::replica {

class Sync {
 public:
  // `start_ranges` is told of a partition that no log can bring up to date, and
  // who has what it lacks.
  using StartRanges = std::function<void(NodeId, PartitionId, Now)>;
  // `unite` of one with the same events and other rows.
  Sync(ShardCore& core, StartRanges start_ranges, StartRanges unite)
      : core_(core),
        start_ranges_(std::move(start_ranges)),
        unite_(std::move(unite)),
        to_new_owners_(Unlimited(core.options, 1)),
        missed_(Unlimited(core.options, kMissedFactor)),
        pace_to_new_owners_(to_new_owners_, core.identity.shards),
        pace_missed_(missed_, core.identity.shards) {}

  void OnPeerUp(NodeId peer, Now now);
  void OnPeerDown(NodeId peer);
  // Exchanges everything with `peer` now, if that is an owner and there is
  // something to exchange.
  void Start(NodeId peer);
  // The same of one partition, on the occasion of a request. Not if `peer` was
  // nudged a moment ago: any number of reads that meet one difference is one
  // exchange, and what a nudge leaves undone the next one or a round does.
  void Nudge(NodeId peer, PartitionId partition);
  // As Nudge; an owner also asks a stand-in for what it holds.
  void PullFrom(NodeId peer, PartitionId partition);

  void OnSummary(NodeId from, PartitionId partition, const Summary& summary,
                 Now now);
  // A chunk of `from` was dealt with. `progress`: something of it was new here;
  // `more`: there is more where it came from.
  void OnChunkApplied(NodeId from, PartitionId partition, bool progress,
                      bool more, Now now);
  // What `from` has and cannot stream. Where no owner that can be reached can,
  // ranges have to bring it.
  void OnUnlogged(NodeId from, PartitionId partition,
                  const crdt::EventSet& unlogged, Now now);
  void OnTimers(Now now);
  absl::Duration next_deadline() const {
    return waiting_.empty() ? next_round_
                            : std::min(next_round_, pace().free_at());
  }
  void OnRequestTimes(const RequestTimes& times) {
    pace_to_new_owners_.OnRequestTimes(times);
    pace_missed_.OnRequestTimes(times);
  }
  uint64_t yields() const {
    return pace_to_new_owners_.yields() + pace_missed_.yields();
  }
  // Sets the first round; later ones follow by themselves.
  void Open(Now now);

  // Whom a log is kept for.
  enum class KeptFor : uint8_t { kAllOwners, kReachable };
  // What all these owners have on stable storage, as far as they have said.
  crdt::EventSet StableEvents(PartitionId partition,
                              KeptFor kept_for = KeptFor::kAllOwners) const;
  // How many owners have all of `events` on stable storage, as far as they
  // have said.
  uint32_t OwnersThatHave(PartitionId partition,
                          const crdt::EventSet& events) const;
  // The same of those that are complete besides: nobody else needs to hold it.
  uint32_t CompleteOwnersThatHave(PartitionId partition,
                                  const crdt::EventSet& events) const;
  // What a node has said by this ring or a newer one, owner or not; events are
  // null if nothing.
  struct Word {
    const crdt::EventSet* events = nullptr;
    Standing standing = Standing::kPartial;
  };
  Word WordOfAny(NodeId node, PartitionId partition) const;
  // The nodes within reach that have said that they hold events which this one
  // lacks, though neither this ring nor the one before gives it to them. They
  // may have let go of these since: then nobody says so unasked. Cost:
  // O(intervals of all of these).
  std::vector<NodeId> OutsidersAhead(PartitionId partition) const;
  // All that the other owners, and those of before, have said that they have.
  crdt::EventSet SaidByOwners(PartitionId partition) const;
  // How many events this node lacks of what others have said that they have.
  uint64_t LackingOf(PartitionId partition) const;
  // A summary of the partition to everybody whom it concerns.
  void TellAll(PartitionId partition);
  // How far each other owner is behind this node, by NodeId. Cost: O(intervals
  // of both) for each partition and owner.
  std::vector<SyncLag> Lags() const;
  // The owners have changed: what others said matters no more.
  void OnPlacement(Now now);

 private:
  // What is known of one peer's replica of one partition.
  struct PeerState {
    crdt::EventSet applied;
    crdt::EventSet durable;
    crdt::EventSet unlogged;  // of what this node lacked then, not in its log
    bool heard = false;
    bool owner = false;  // it said that it is one, by `ring`
    RingStamp ring;
    Standing standing = Standing::kComplete;
    uint64_t sent_version = 0;  // Partition::version() in the last summary
    absl::Duration next_send;   // not before, while nothing changes
    absl::Duration period;      // the wait after that
    // Of nudges: none before that; the wait after the next one.
    absl::Duration next_nudge = -absl::InfiniteDuration();
    absl::Duration nudge_pause;
    // What was streamed to it lately; not again before that, and so much later
    // if it is.
    crdt::EventSet streamed;
    absl::Duration stream_again_at = -absl::InfiniteDuration();
    absl::Duration stream_pause;
    bool waits = false;  // to be streamed to (waiting_)
    LagMark lag;         // once heard
  };
  // A catch-up under way: one source at a time, so that two peers do not both
  // stream the same backlog.
  struct Pull {
    NodeId from{};
    absl::Duration since;
  };

  void SendSummary(NodeId peer, PartitionId partition, bool answer,
                   bool periodic);
  // Without what is on its way already; or later, if it is not the time for it.
  void Stream(NodeId peer, PartitionId partition, crdt::EventSet missing);
  void StreamWaiting(Now now);
  // With the default minimum of 256 KiB, 16 of them: 16,000 small deltas a
  // second, about what one core applies.
  static constexpr uint64_t kMissedFactor = 16;
  static ShardOptions Unlimited(ShardOptions options, uint64_t factor) {
    options.transfer_bytes_per_second = 0;
    options.transfer_bytes_per_second_min *= factor;
    return options;
  }
  const TransferPace& pace() const {
    return core_.placement.moves() ? pace_to_new_owners_ : pace_missed_;
  }
  TransferPace& pace() {
    return core_.placement.moves() ? pace_to_new_owners_ : pace_missed_;
  }
  void NoteStreamed(PeerState& peer, const crdt::EventSet& events);
  void Round(NodeId peer, Partition& partition, Now now);
  void LookAtLag(NodeId peer, const Partition& partition, Now now);
  void Answer(NodeId from, const Partition& partition, const Summary& summary,
              Now now);
  // Whether it is time for another nudge, which is then taken to be sent.
  bool TakeNudge(NodeId peer, PartitionId partition);
  // What a peer that has lost it from its log may be asked for by ranges.
  bool MayBeSource(NodeId node, PartitionId partition) const;
  bool MayPullFrom(NodeId peer, PartitionId partition, Now now);
  // What an owner has said under this node's ring or a newer one; nullptr if
  // nothing. Who says that it has something, and is no owner by its own ring,
  // is about to hand it over, perhaps to this node; and what an owner had under
  // an older ring it may have handed over since.
  const PeerState* WordOf(NodeId owner, PartitionId partition) const;
  // Whether there is a reason to send `peer` summaries of the partition.
  bool Concerns(NodeId peer, const Partition& partition) const;

  ShardCore& core_;
  const StartRanges start_ranges_;
  const StartRanges unite_;
  std::map<std::pair<PartitionId, NodeId>, PeerState> peers_;
  std::map<PartitionId, Pull> pulls_;
  const ShardOptions to_new_owners_;
  const ShardOptions missed_;
  TransferPace pace_to_new_owners_;
  TransferPace pace_missed_;
  // Who is to be streamed what, in this order.
  std::deque<std::pair<PartitionId, NodeId>> waiting_;
  absl::Duration next_round_ = absl::InfiniteDuration();
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SYNC_H_
