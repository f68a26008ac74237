// Writes in flight, in path order:
//
//   Start     mutate the local replica; the delta goes to every other owner,
//             and to a stand-in for each that cannot be reached
//   OnAck     count; at W, reply (or queue the next part of a long clear)
//   OnRefuse  count against, and ask a stand-in; when W cannot be met any more,
//             say so. A peer that goes down counts like one that refused
//   OnTimers  mint the next parts of long clears, one a turn; ask stand-ins
//             for owners that are slow; send the delta again to who stays
//             silent, each time after twice as long, for deltas and
//             acknowledgements may get lost; past the deadline: an error that
//             says the write may still take effect
//
// A write with a client's operation id may be a retry of what is applied here;
// it is sent and counted like the first time, since who else has it is not
// known. Several requests may then wait for one delta.
//
// The local write counts as acknowledged at once, since no output leaves the
// shard before the turn is committed. Who counts for what: replica_set.h.
#ifndef DOVETAIL_REPLICA_WRITE_COORDINATOR_H_
#define DOVETAIL_REPLICA_WRITE_COORDINATOR_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/dot.h"
#include "crdt/operation.h"
#include "crdt/path.h"
#include "crdt/session.h"
#include "replica/partition.h"
#include "replica/quorum.h"
#include "replica/replica_set.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

class WriteCoordinator {
 public:
  explicit WriteCoordinator(ShardCore& core) : core_(core) {}

  // `partition` is that of all operations.
  void Start(RequestId id, const RequestOptions& options, PartitionId partition,
             WriteRequest request, Now now);
  void OnAck(NodeId from, PartitionId partition, const Ack& ack);
  void OnRefuse(NodeId from, PartitionId partition, const Refuse& refuse);
  // Its acknowledgements will not come.
  void OnPeerDown(NodeId peer);
  void OnTimers(Now now);
  // The turn's commit failed: what ran in it and still waits fails with `why`.
  void OnTurnFailed(const absl::Status& why);
  void OnTurnCommitted() { ran_in_turn_.clear(); }
  // Whether this turn mutated, or looked for something to mutate, for `id`:
  // then a reply that claims success vouches for this turn.
  bool RanInTurn(RequestId id) const;

  // By a newer ring others may have to have it: what waits is sent again.
  void OnPlacement(Now now);

  // When OnTimers has something to do; infinite if nothing waits.
  absl::Duration next_deadline() const;
  size_t in_flight() const { return jobs_.size(); }

 private:
  struct Job {
    explicit Job(ReplicaSet who) : set(std::move(who)) {}

    ReplicaSet set;
    PartitionId partition{};
    RequestOptions options;
    Durability durability = Durability::kWal;
    absl::Duration deadline;
    std::vector<crdt::Operation> operations;  // kept while a clear goes on
    bool only_expired = false;                // the reaper's
    std::optional<crdt::OperationId> once;
    WriteReply reply;
    bool more = false;
    crdt::Path resume_after;
    crdt::Dot waiting_for;  // first event of the delta under way
    std::string delta;      // that one
    size_t stand_ins_asked = 0;
    absl::Duration pause;  // before the silent are sent it again
    Tally tally;
  };
  using Jobs = std::map<RequestId, Job>;
  // A delta under way, by partition and first event.
  using DeltaName = std::pair<PartitionId, crdt::Dot>;

  // Runs the job's operations, the next part of them if they take several.
  absl::StatusOr<MutateOutcome> Mutate(const Job& job, Now now);
  // Mutates and sends; false if the job ended (it has been replied to).
  bool Mint(RequestId id, Job& job, Now now);
  void AddToSession(Job& job,
                    const std::optional<MutateOutcome::Minted>& minted);
  // Sends the delta that was minted to everybody concerned.
  void Spread(RequestId id, Job& job, std::string delta, Now now);
  // Sends it to the next stand-in, if one is left.
  void AskStandIn(Job& job);
  // Unless nobody waits for `absent`.
  void AskStandInFor(NodeId absent, Job& job);
  void SendDelta(const Job& job, NodeId node);
  void HedgeDue(Now now);
  void SendAgainDue(Now now);
  void OnVerdict(Jobs::iterator job, Verdict verdict,
                 const absl::Status& refusal);
  void End(Jobs::iterator job);
  // Those that wait for this delta.
  std::vector<RequestId> Waiting(PartitionId partition,
                                 const crdt::DotRun& events) const;

  ShardCore& core_;
  Jobs jobs_;
  std::set<std::pair<DeltaName, RequestId>> by_delta_;
  std::set<std::pair<absl::Duration, RequestId>> deadlines_;
  // When stand-ins are asked for who is slow, and since which event the job
  // waits; in order, for all wait equally long.
  struct Hedge {
    absl::Duration at;
    RequestId id{};
    crdt::Dot waiting_for;
  };
  std::deque<Hedge> hedges_;
  // When what waits still is sent again; the few that are left of those.
  std::multimap<absl::Duration, Hedge> again_;
  // Long clears whose last part has met its W.
  std::vector<RequestId> to_continue_;
  // Also those that have been replied to; long clears perhaps twice.
  std::vector<RequestId> ran_in_turn_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_WRITE_COORDINATOR_H_
