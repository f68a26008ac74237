// Bringing a replica up to date where the logs no longer reach: one that was
// away too long, lost its disk, was set back to an old backup, or is new.
//
// The replica (B) asks one that has what it lacks (A), which remembers nothing
// about it (range_source.h). B compares digest leaves from sums, eight ways at
// a time, then rows within the leaves that differ; only rows that differ
// travel. Each answer carries A's context of the same moment, and B joins row
// by row:
//
//   rows_B[key] = join(rows_B[key], cc_B, rows_A[key], cc_A)
//
// Absence deletes: what A's context covers and its row lacks goes away at B.
//
// When the last range is joined, B has all events that every answer's context
// had: E_B ∪= ∩ E_A. Two rules make that true.
//
//   Cursor rule   A delta that comes meanwhile for a key that is dealt with is
//                 joined as if B had known A's context already, or a write
//                 that A has seen removed would come back there for ever.
//   Answers       are about the rows as they were asked about. A row that has
//                 changed since is joined with what it was then, where A says
//                 "the same", and with what A has, where it does not.
//
// A may change between two answers, restart, or be replaced by another source:
// rows then show more events than B claims in the end (RangeProgress::ahead);
// those come by the log, as all events after the first answer do. What B has
// done is on disk with the rows, and goes on from there after a crash.
//
// Source: the recursive comparison of fingerprints is that of "Range-Based Set
// Reconciliation", Meyer, arXiv:2212.13567; sums and the cursor rule are told
// in docs/ARCHITECTURE.md, "Sync by ranges".
#ifndef DOVETAIL_REPLICA_RANGE_SYNC_H_
#define DOVETAIL_REPLICA_RANGE_SYNC_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "replica/shard_core.h"
#include "replica/transfer_pace.h"

namespace dovetail::replica {

class RangeSync {
 public:
  // A source that does not answer is asked again after this.
  static constexpr absl::Duration kPatience = absl::Seconds(2);

  explicit RangeSync(ShardCore& core)
      : core_(core), pace_(core.options, core.identity.shards) {}

  // Begins with `source`, or goes on with it where an earlier sync of the
  // partition has come to. With `until` only up to that row key: the rest waits
  // for the next Start. Nothing, while one is under way, or the partition is
  // quarantined or being given up.
  void Start(NodeId source, PartitionId partition, Now now,
             const std::optional<std::string>& until = std::nullopt);
  // `peer` has applied the same events, and holds something else: damage that
  // was copied, or what is left of events that were lost for ever. Both keep
  // what either has.
  void Unite(NodeId peer, PartitionId partition, Now now);
  bool Running(PartitionId partition) const {
    return sessions_.contains(partition);
  }
  // Whether one more may begin: not while paused, nor while as many are under
  // way as may be at once (ShardOptions::transfers_at_once).
  bool HasRoom() const;
  void Pause(bool paused) { paused_ = paused; }
  // How far the partition has come; only what ranges know of.
  Transfer ProgressOf(PartitionId partition) const;

  void OnAnswer(NodeId from, PartitionId partition, RangeAnswer answer,
                Now now);
  // Goes on with what nothing else will go on with. Once a maintenance round.
  // `said_by_owners`: the events that other owners have said that they have.
  void Round(Now now,
             absl::FunctionRef<crdt::EventSet(PartitionId)> said_by_owners);
  void OnPeerDown(NodeId peer);
  void OnPlacement();
  void OnTurnFailed();
  // Sends what waits for its time, and asks again what was not answered.
  void OnTimers(Now now);
  absl::Duration next_deadline() const;
  void OnRequestTimes(const RequestTimes& times) {
    pace_.OnRequestTimes(times);
  }
  const TransferPace& pace() const { return pace_; }

 private:
  enum class Kind : uint8_t {
    kCatchUp,  // gets what the source has, and loses what it has lost
    kMend,     // puts back what was damaged here
    kUnite,    // the two have applied the same and differ: keeps all
  };
  struct Session {
    NodeId source{};
    std::optional<std::string> until;
    Kind kind = Kind::kCatchUp;
    uint64_t loads = 0;
    // What is still to be asked about.
    struct Todo {
      KeyRange range;
      bool rows = false;  // it is known to differ
      uint8_t print_bytes = kPrintBytesShort;
    };
    std::deque<Todo> todo;
    // What was asked, of ticket `sequence`; empty if nothing.
    std::vector<RangeQuestion> asked;
    uint64_t sequence = 0;
    uint64_t salt = 0;
    // Of the last answer.
    crdt::Context context;
    // When to ask, or to ask again.
    absl::Duration deadline;
    int failures = 0;
    // Nothing is asked before the deadline, so as not to take in too much.
    bool waits = false;
    // What this source lacks is in no log here, nor does another have it.
    bool accepts_loss = false;
  };

  void Open(NodeId source, PartitionId partition, Now now,
            const std::optional<std::string>& until, Kind kind);
  void Plan(Session& session, const Partition& partition);
  void Ask(PartitionId partition, Session& session, Now now);
  void Resend(PartitionId partition, Session& session, Now now);
  absl::Status Take(Partition& partition, Session& session,
                    const RangeAnswer& answer);
  absl::Status TakePart(Partition& partition, Session& session,
                        const RangeQuestion& question, const RangePart& part);
  absl::Status TakeRows(Partition& partition, Session& session,
                        const RangeQuestion& question, const RangePart& part);
  absl::Status TakeEqual(Partition& partition, const Session& session,
                         const KeyRange& range);
  // Counts what came, and returns when the next question may be asked.
  absl::Duration Pace(PartitionId partition, const RangeAnswer& answer,
                      Now now);
  // Which of `nodes`, those of this ring and the one before, may be read from
  // now; where none of them is whole, also who holds some from before that.
  std::vector<NodeId> SourcesAmong(std::vector<NodeId> nodes,
                                   PartitionId partition, bool mends) const;
  // Whether rows here show, for long, events that nobody has brought.
  bool WaitsInVain(const Partition& partition);
  void End(PartitionId partition);
  void EndWhere(absl::FunctionRef<bool(PartitionId, const Session&)> over);
  void Finish(PartitionId partition);

  ShardCore& core_;
  std::map<PartitionId, Session> sessions_;
  uint64_t next_sequence_ = 1;
  uint64_t rounds_ = 0;
  // Whether damage here is to be mended with what `sources` have, though these
  // have all been asked and lack some of it.
  bool AcceptsLoss(PartitionId partition,
                   const std::vector<NodeId>& sources) const;

  // Sources that lack what damage took here, by partition.
  std::map<PartitionId, std::set<NodeId>> lacking_;
  // Since which round a partition is ahead of its events (WaitsInVain).
  std::map<PartitionId, uint64_t> ahead_since_;
  // Events that were waited for in vain, and that no owner says that it has.
  std::map<PartitionId, crdt::EventSet> let_go_;
  bool paused_ = false;
  TransferPace pace_;
  std::map<PartitionId, uint64_t> bytes_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RANGE_SYNC_H_
