// Removes what has expired (crdt/expiry.h): one owner, by an ordinary delete of
// what it observes, so that replicas differ by nothing but events.
//
//   Round        once a second: each partition whose first whole owner in reach
//                is this node, and which has something that expired more than
//                `expiry_grace` ago: is this clock right? Then a quorum of the
//                owners is asked about each such object
//   OnTimers     those of which all who answered hold the same are deleted; a
//                large one in parts. Else it is asked again in a later round
//
// The clock is right if a majority of the partition's owners, this node among
// them, agree to within `expiry_clock_agreement`. Otherwise nothing is removed,
// and `clock_differs` says so. The grace is longer than clocks that agree may
// differ, and than a write is mostly on its way: an extension that was
// acknowledged in time is seen by the quorum.
//
// What expires is found by an index by time: a round costs a seek for each
// partition in which a time was set since the last one, and then only the
// entries that are due. Two nodes may take themselves for the first owner for a
// while; both deletes observe the same.
#ifndef DOVETAIL_REPLICA_REAPER_H_
#define DOVETAIL_REPLICA_REAPER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "crdt/type.h"
#include "replica/partition.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

class Reaper {
 public:
  // `ask` puts a read for the reaper (ReadCoordinator::ForReaper), which ends
  // in ShardCore::reaped; `remove` starts a delete, which ends in `own_done`.
  Reaper(ShardCore& core,
         std::function<void(PartitionId, const crdt::ObjectId&, Now)> ask,
         std::function<void(RequestId, PartitionId, const crdt::ObjectId&, Now)>
             remove)
      : core_(core), ask_(std::move(ask)), remove_(std::move(remove)) {}

  // Once a second.
  void Round(Now now);
  void OnTimers(Now now);
  absl::Duration next_deadline() const;
  // What is on disk may not be what was seen.
  void OnTurnFailed() { seen_.clear(); }

 private:
  // A part of a round, so that no turn is long.
  void Turn(Now now);
  // The first entry of a partition, as of so many times set.
  struct Seen {
    uint64_t expiries_set = 0;
    std::optional<uint64_t> first_ms;
  };

  // The first owner in reach that has all of it.
  bool IsMine(const Partition& partition) const;
  // Whether anything was due by then, as far as is known.
  absl::StatusOr<bool> AnyUntil(Partition& partition, uint64_t until_ms);
  // Asks about what is due, at most `max` objects; how many it looked at.
  size_t AskDue(Partition& partition, uint64_t until_ms, size_t max, Now now);
  void OnAnswer(const ShardCore::Reaped& answer, Now now);
  // Until when what expires may be removed now; 0: nothing.
  uint64_t UntilMs(PartitionId partition, Now now) const;

  ShardCore& core_;
  std::function<void(PartitionId, const crdt::ObjectId&, Now)> ask_;
  std::function<void(RequestId, PartitionId, const crdt::ObjectId&, Now)>
      remove_;
  std::map<PartitionId, Seen> seen_;
  // Asked about, or being removed.
  std::set<crdt::ObjectId> busy_;
  std::map<RequestId, crdt::ObjectId> removing_;
  uint64_t next_request_ = ShardCore::kOwnRequests;
  size_t left_ = 0;  // objects that this round may still look at
  absl::Duration next_turn_ = absl::InfiniteDuration();
  size_t next_partition_ = 0;  // where a round begins: each has its turn
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REAPER_H_
