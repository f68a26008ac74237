// What this node holds for others: when may a stand-in forget?
//
// A node that owns nothing of a partition may hold deltas of it: a coordinator
// could not reach an owner and left them here, or it was an owner itself before
// the ring changed. Sync hands them to the owners (hinted handoff). They are
// forgotten, all at once, when every owner has said that it has all of them on
// stable storage. An owner that stays away holds that up; after
// ShardOptions::hint_age_max a majority of the owners is enough, since
// anti-entropy between owners does the rest. Nothing is ever forgotten before.
//
// Of what it took as an owner (Partition::tenure) nothing is given up by age,
// nor counted against what a node may hold for others: it is dropped when each
// owner of the newest ring has all of it on stable storage, and says that it is
// complete.
//
// What is forgotten includes the context. So a late message may bring a removed
// value back to this node, for as long as it stands in again; it stays a
// partial state that is joined with what owners hold, and these know better.
#ifndef DOVETAIL_REPLICA_HINTS_H_
#define DOVETAIL_REPLICA_HINTS_H_

#include <map>

#include "replica/shard_core.h"
#include "replica/sync.h"

namespace dovetail::replica {

class Hints {
 public:
  // The references must outlive it.
  Hints(ShardCore& core, const Sync& sync) : core_(core), sync_(sync) {}

  // Looks at every partition that this node holds for others, and goes on
  // emptying those that were given up. Once a maintenance round.
  // Cost: O(partitions), and O(empty_rows_per_turn) rows.
  void Round(Now now);
  // Goes on between two rounds, while there is more than one turn removes.
  void OnTimers(Now now);
  absl::Duration next_deadline() const { return next_slice_; }

 private:
  bool MayForget(const Partition& partition, Now now);

  ShardCore& core_;
  const Sync& sync_;
  // Since when something is held.
  std::map<PartitionId, absl::Duration> since_;
  absl::Duration next_slice_ = absl::InfiniteDuration();
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_HINTS_H_
