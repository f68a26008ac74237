// How far behind is a peer, as far as this node can tell from its summaries?
//
// In events: what was applied here and not there. In time: how old the oldest
// of these may be. No event carries the time at which it was applied, so once a
// second the events of that moment are kept as a mark; when the peer has said
// that it has all of a mark, everything older than the mark is there. So the
// answer is right to a second, and under steady load it stays at about the two
// seconds between an event and the summary that tells of it.
#ifndef DOVETAIL_REPLICA_SYNC_LAG_H_
#define DOVETAIL_REPLICA_SYNC_LAG_H_

#include <cstdint>

#include "absl/time/time.h"
#include "crdt/event_set.h"
#include "replica/ids.h"

namespace dovetail::replica {

// Of one peer, over the partitions of a shard that it owns.
struct SyncLag {
  NodeId peer{};
  uint64_t events = 0;  // applied here, and not there
  // All events from before are there; infinite future if it lacks none.
  absl::Duration has_all_until = absl::InfiniteDuration();
  uint32_t partitions_behind = 0;
  // It has said nothing about them since this process started, so that they
  // are not in the numbers above.
  uint32_t partitions_unheard = 0;
};

// The marks of one peer's replica of one partition.
class LagMark {
 public:
  // Compares. `mine`: the events here, which change only if `version` does.
  // `theirs`: what the peer said last. To be called about once a second.
  // Cost: nothing while nothing changes, else O(intervals of both).
  void Look(const crdt::EventSet& mine, uint64_t version,
            const crdt::EventSet& theirs, absl::Duration now);
  // The peer has said something new.
  void OnTheirs() { level_ = false; }
  // What was here before is there; infinite before the first look.
  absl::Duration has_all_until() const { return has_all_until_; }

 private:
  bool looked_ = false;
  bool level_ = false;  // it had all of `version_`
  uint64_t version_ = 0;
  absl::Duration has_all_until_ = absl::InfiniteDuration();
  // Only while not level: the events of `marked_at_`.
  bool marked_ = false;
  crdt::EventSet mark_;
  absl::Duration marked_at_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SYNC_LAG_H_
