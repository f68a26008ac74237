// Writes of sessions that wait, because this replica has not yet applied all
// that its session has seen: only then does a write supersede that, and come
// after it everywhere (monotonic writes, writes follow reads).
//
//   Write      covered: on to the write coordinator at once. Else it waits, and
//              whoever may have what is missing is asked for it
//   OnApplied  something came: what is covered now goes on. That may itself be
//              what another waits for (an operation with an id, tried again)
//   OnTimers   goes on if what was missing came by another way, a sync by
//              ranges or a mended disk; else asks again; past the deadline:
//              Unavailable, for nothing was written and it may safely be tried
//              again
//
//   OnCoverQuery  a listing asks whether this replica has applied what its
//              session saw: the page of one that has shows all of that
//              (list_session.cc). One that has not asks whoever may have it
//
// A replica that only stands in takes nothing over from others, so there is
// nothing to wait for: it refuses. Reads wait in the read coordinator, for
// they can be covered by the answers of others.
#ifndef DOVETAIL_REPLICA_SESSION_WAIT_H_
#define DOVETAIL_REPLICA_SESSION_WAIT_H_

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "replica/shard_core.h"

namespace dovetail::replica {

class SessionWait {
 public:
  struct Write {
    RequestId id{};
    RequestOptions options;
    PartitionId partition{};
    WriteRequest request;
  };
  // `start` runs a write; `pull(peer, partition)` asks a peer for what is
  // missing here.
  SessionWait(ShardCore& core, std::function<void(Write, Now)> start,
              std::function<void(NodeId, PartitionId)> pull)
      : core_(core), start_(std::move(start)), pull_(std::move(pull)) {}

  // Requires: a session that fits the partition, or none.
  void Start(Write write, Now now);
  void OnApplied(PartitionId partition, Now now);
  void OnTimers(Now now);
  void OnCoverQuery(NodeId from, PartitionId partition,
                    const CoverQuery& query);

  absl::Duration next_deadline() const {
    return timers_.empty() ? absl::InfiniteDuration() : timers_.begin()->first;
  }
  size_t in_flight() const { return waiting_.size(); }

 private:
  struct Waiting {
    Write write;
    absl::Duration deadline;
    absl::Duration again_at;  // when others are asked again
    absl::Duration pause;     // after the last time
  };
  using Key = std::pair<PartitionId, RequestId>;

  // How many events of its session are missing here.
  uint64_t MissingFor(const Write& write) const;
  void AskOthers(const Key& key, Waiting& waiting, Now now);
  // Asks whoever may have what is missing here.
  void Pull(PartitionId partition);
  void GoOn(std::map<Key, Waiting>::iterator it, Now now);
  // Ends the wait.
  Waiting Remove(std::map<Key, Waiting>::iterator it);

  ShardCore& core_;
  const std::function<void(Write, Now)> start_;
  const std::function<void(NodeId, PartitionId)> pull_;
  std::map<Key, Waiting> waiting_;
  std::set<std::pair<absl::Duration, Key>> timers_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SESSION_WAIT_H_
