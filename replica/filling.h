// When is a new owner complete?
//
// A ring that gives a partition to other nodes takes effect at once: writes go
// to the new owners, and count. What was written before comes by sync, from the
// owners of before (the log first, then ranges). Until this node knows that it
// has all of it, it is being *filled*: what it shows is a part of the truth
// (standing.h), reads also ask those of before, and none of these drops
// anything.
//
// It is complete when its events cover what the others said, by this ring or a
// newer one, and
//   1. of those whose word is whole (owned it before, or are complete owners)
//      as many have said so as make a majority of the owners of before, or all
//      whose disks are not lost: any write that was acknowledged before at a
//      majority is known to one of them; and
//   2. so has everyone of these that can be reached; and
//   3. no sync by ranges is under way, and nothing is damaged.
// Where too few are whole (disks were lost, a ring was forced on another): when
// all of them have been heard, whole or not.
//
// That it is complete is written down in the turn that finds it so (Tenure),
// fsynced before anybody hears of it: those of before drop what they hold on
// the strength of it. What is not written down is not so: an owner without that
// record is being filled, whenever it crashed. Who owned it before and was
// complete stays complete, unless there are fewer owners than before: then one
// of them alone may have to know what a majority knew.
//
// A first ring has no other before it, and later the one before is forgotten:
// then all owners are complete, but for those that were loaded with nothing
// (Partition::newborn). Their disks may have been lost, and what they say of it
// before anybody has told them is nothing. Such an owner answers no reads until
// it has had all that each other owner said that it has which is in reach, or
// has spoken since the start (Partition::unheard). It is complete, and writes
// that down, when that goes for all others. Who has never been reached is not
// waited for, so a new cluster of which one node never came is of use; when it
// comes after all, it is.
#ifndef DOVETAIL_REPLICA_FILLING_H_
#define DOVETAIL_REPLICA_FILLING_H_

#include <set>
#include <utility>

#include "replica/shard_core.h"
#include "replica/sync.h"

namespace dovetail::replica {

class Filling {
 public:
  // The references must outlive it.
  Filling(ShardCore& core, Sync& sync) : core_(core), sync_(sync) {}

  // The placement changes from `core.placement` to `next`: who is complete by
  // the one may have to be filled by the other. Call right before and after.
  void BeforePlacement(const Placement& next);
  void OnPlacement();
  // The shard has been opened; peers count as out of reach only some time later
  // (newborn_patience).
  void Open();
  // A peer has come or gone.
  void OnPeers();
  // A peer has said what it has of the partition, or some of it has come.
  void OnWord(PartitionId partition);
  // What was written down in this turn is not: its commit has failed, and what
  // it touched is as it is on disk. Call before anything else changes it.
  void OnTurnFailed();
  // Looks whether anything has become complete. Once a maintenance round.
  // Cost: O(partitions), and of those being filled, of their events.
  void Round();

 private:
  void WriteDown(Partition& partition, bool complete);
  bool HasAll(const Partition& partition) const;
  void LookAtNewborn(Partition& partition);
  // Of a newborn one; writes down what it is.
  bool WaitsForAWord(Partition& partition);
  // Whether it has ever had all that `node` said that it has; now that is
  // `word`.
  bool HasCaughtUp(const Partition& partition, NodeId node,
                   const Sync::Word& word);

  ShardCore& core_;
  Sync& sync_;
  absl::Duration opened_at_ = -absl::InfiniteDuration();
  // Of newborn partitions. Since Open.
  std::set<std::pair<PartitionId, NodeId>> caught_up_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_FILLING_H_
