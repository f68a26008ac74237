// Who is asked in a sync by ranges (range_sync.h): answers from what this node
// holds in that turn, and remembers nothing about who asks.
//
// What the asker takes for the truth is compared with the digest first: a row
// that was lost here would be removed there. So an answer is about no more rows
// than can be compared without holding up requests, and says where the rest
// begins. Questions wait while answers have taken as much as they may
// (transfer_pace.h): one for each partition and asker, which asks again when it
// has waited too long. Who does not any more has asked another one meanwhile:
// an answer would be thrown away, and others would wait for it.
//
// What the asker claims on the strength of an answer must not be lost here. So
// an answer waits until the events of its context are on stable storage, by an
// fsync beside the turns where there is such (ShardOptions::background_fsync):
// requests that share the turn do not wait for it.
#ifndef DOVETAIL_REPLICA_RANGE_SOURCE_H_
#define DOVETAIL_REPLICA_RANGE_SOURCE_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "replica/shard_core.h"
#include "replica/transfer_pace.h"

namespace dovetail::replica {

class RangeSource {
 public:
  explicit RangeSource(ShardCore& core)
      : core_(core), pace_(core.options, core.identity.shards) {}

  void OnQuery(NodeId from, PartitionId partition, RangeQuery query, Now now);
  void OnTimers(Now now);
  void OnPeerDown(NodeId peer);
  // What was committed when the last fsync began is on stable storage.
  void OnFsynced();
  void OnTurnFailed() { unsynced_.clear(); }
  bool WaitsForFsync() const { return !unsynced_.empty(); }
  // What is asked meanwhile waits.
  absl::Duration next_deadline() const;
  void OnRequestTimes(const RequestTimes& times) {
    pace_.OnRequestTimes(times);
  }
  const TransferPace& pace() const { return pace_; }

 private:
  struct Waiting {
    NodeId from{};
    PartitionId partition{};
    RangeQuery query;
    absl::Duration asked_at;  // last
  };

  // An answer whose events are not on stable storage yet.
  struct Unsynced {
    NodeId to{};
    PartitionId partition{};
    RangeAnswer answer;
    crdt::EventSet events;
    int fsyncs = 0;  // that have ended since
  };

  bool MayAnswer(Now now) const;
  void Answer(NodeId from, PartitionId partition, const RangeQuery& query,
              Now now);
  // `ask`'s answer, or that to the front of it.
  absl::StatusOr<RangePart> PartOf(Partition& partition, const RangeAsk& ask,
                                   uint64_t salt, size_t bytes_max,
                                   uint64_t& rows_left, uint64_t& sum_rows);

  ShardCore& core_;
  TransferPace pace_;
  std::deque<Waiting> waiting_;
  std::vector<Unsynced> unsynced_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RANGE_SOURCE_H_
