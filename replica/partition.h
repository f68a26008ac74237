// One replica of one partition: the heart. A partition is one causal map, key
// → typed value, with one context for all of it, and everything that changes
// it is a delta:
//
//   Mutate   operation + what is here → delta (minting its dots) → Apply
//   Apply    for each leaf: join with E ∪ X as it was before;
//            then E ∪= events, X = (X ∪ context of the delta) ∖ E,
//            log the delta, add to the sums: all in the turn's one batch
//
// Invariants (N1 to N3 are checked by tests, N4 by CHECK):
//  N1. E and X are disjoint, and every live dot is in E ∪ X.
//  N2. Replicas with equal E have equal rows, X and sums, byte for byte.
//  N3. Every event in E whose delta some owner may lack is in the log.
//  N4. A dot is minted once: counters only grow, also over failed turns.
//
// Sources: Gonçalves et al., "DottedDB" (2017) for the node clock and the log
// of dots; Almeida, Shoker, Baquero, arXiv:1603.01529 for deltas; why the
// applied events (E) and the known dots (X) must be two sets is told in
// docs/ARCHITECTURE.md, "Two sets".
#ifndef DOVETAIL_REPLICA_PARTITION_H_
#define DOVETAIL_REPLICA_PARTITION_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "crdt/delta.h"
#include "crdt/event_set.h"
#include "crdt/hlc.h"
#include "crdt/mutate.h"
#include "crdt/operation.h"
#include "crdt/session.h"
#include "replica/bucket_properties.h"
#include "replica/digest.h"
#include "replica/ids.h"
#include "replica/key_ranges.h"
#include "replica/object_rows.h"
#include "replica/options.h"
#include "replica/pieces.h"
#include "replica/range_message.h"
#include "replica/range_progress.h"
#include "replica/range_question.h"
#include "replica/ring_stamp.h"
#include "replica/row_store.h"
#include "replica/storage.h"

namespace dovetail::replica {

struct LogEntry;
struct Remains;

enum class ApplyOutcome : uint8_t { kApplied, kDuplicate };

// Beside a partition that this node owns, or owned and has not handed over: by
// which ring, and whether it was complete by that. Nothing there: it was never
// an owner by a ring that had another before it (filling.h).
struct Tenure {
  RingStamp ring;
  RingStamp parent;  // of that ring; epoch 0: none, or not known
  bool complete = false;
  friend bool operator==(const Tenure&, const Tenure&) = default;
};

// How far a pass over the rows of a partition has come: to that digest leaf,
// and within it to the piece where that row is.
struct ScrubPlace {
  uint32_t leaf = 0;
  std::string piece;
  bool at_end() const { return leaf == kLeavesPerPartition; }
};

// By what time objects have expired (crdt/expiry.h) for a mutation, and how
// long those live that it begins.
struct ExpiryClock {
  uint64_t now_ms = 0;  // 0: nothing has, and nothing will
  // Enough peers go by it that content may be removed for it.
  bool sure = true;
  const BucketDefaults* buckets = nullptr;  // null: none says anything
  // The mutation removes what it finds expired, and does nothing else: what is
  // written there while a large object goes in parts is none of it.
  bool only_expired = false;
};

// What a mutation did. Without `delta` it changed nothing and minted nothing.
struct MutateOutcome {
  struct Minted {
    crdt::DotRun events;
    std::string delta;  // encoded
  };
  std::optional<Minted> minted;
  // An operation with an id that had been applied here before; `minted` is
  // what it minted then.
  bool duplicate = false;
  std::vector<bool> not_observed;  // per operation
  bool more = false;               // a clear that goes on after `resume_after`
  crdt::Path resume_after;
};

class Partition {
 public:
  // The references must outlive the partition. `actor` mints here.
  Partition(PartitionId id, uint32_t partitions, crdt::ActorId actor,
            const ShardOptions& options, RowStore& rows, Storage& storage);

  // Loads checkpoint, log, X and sums. Also after a failed turn: everything
  // but the mint counter goes back to what is on disk.
  absl::Status Load();

  // --- Changes; they become part of the turn ---

  // Joins a delta. `encoded` must be delta.Encode(). On an error nothing of it
  // is applied. Errors: InvalidArgument (it names a key of another partition),
  // DataLoss (damage here, or a dot with two meanings: the partition is then
  // quarantined).
  absl::StatusOr<ApplyOutcome> Apply(const crdt::Delta& delta,
                                     absl::string_view encoded);

  // Runs the operations as one atomic batch. `resume_after` continues a clear.
  // What they find expired they remove first: in the same delta, or of a large
  // object in others, which then are all that this call makes (`more`, and
  // nothing in `not_observed`). Unavailable: the clock is not sure of it.
  absl::StatusOr<MutateOutcome> Mutate(
      absl::Span<const crdt::Operation> operations,
      const crdt::Path& resume_after,
      absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp,
      const ExpiryClock& clock = {});

  // The same under a client's operation id: applies the one delta that they
  // make everywhere, or finds it applied. `stamp` must return id.stamp. What
  // has expired is removed in a delta of this node's, before it.
  // Errors, beside those of BuildSessionDelta: InvalidArgument (the id was
  // used for another operation, as far back as the log goes).
  absl::StatusOr<MutateOutcome> MutateOnce(
      absl::Span<const crdt::Operation> operations, const crdt::OperationId& id,
      absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp,
      const ExpiryClock& clock = {});

  // Writes what changed outside rows and log (X) into the turn; call once at
  // its end.
  void FlushTurn();
  // Writes context and sums into the turn.
  void Checkpoint();
  // Removes the log entries whose events are all in `stable`, at most `max` of
  // them, checkpointing in the same batch. Returns how many.
  absl::StatusOr<size_t> Truncate(const crdt::EventSet& stable, size_t max);

  // Gives up all that is held here, context and all; what was held must be at
  // the owners. Refuses everything (Available) until EmptySome has removed the
  // last row. Requires: not quarantined.
  void BeginEmptying();
  bool emptying() const { return emptying_; }
  // Removes up to `max` rows and log entries, at least one at a time; returns
  // how many. DataLoss: a row that cannot be read. Requires: max > 0.
  absl::StatusOr<size_t> EmptySome(size_t max);

  // As it stands on disk, or will after the next turn that touches this.
  const std::optional<Tenure>& tenure() const { return tenure_; }
  bool tenure_unwritten() const { return tenure_changed_; }
  void SetTenure(const Tenure& tenure);
  // It was loaded with nothing, or so soon after that it has not become
  // complete since: its disk may have been lost. Durable as a tenure.
  bool newborn() const { return newborn_; }
  // Such a one that has yet to hear what there is (filling.h).
  bool unheard() const { return unheard_; }
  void SetUnheard(bool unheard);
  // Its rows are on their way here, or may have gone with a table or with the
  // disk; so may entries of the index (unlisted_board.h).
  bool unlisted() const { return progress_.filling || suspect_ || unheard_; }

  // What was committed so far survives a power loss.
  void AllSynced();
  // The same in two steps, around an fsync during which more is committed.
  void MarkSyncing();
  void MarkedSynced();

  // --- Sync by ranges (range_sync.h), as of this turn ---

  // A question that finds out where `range`, or the first part of it, differs.
  // `range` is of whole digest leaves, or lies within one.
  // Cost: digest leaves and their pieces, none but arithmetic; else the rows in
  // it.
  absl::StatusOr<RangeQuestion> Ask(const KeyRange& range, uint64_t salt,
                                    uint8_t print_bytes);
  // A question for all rows that differ. `range` lies within one digest leaf.
  // Whole prints where there are many.
  absl::StatusOr<RangeQuestion> AskForRows(const KeyRange& range, uint64_t salt,
                                           uint8_t print_bytes);
  // At least one row, and no more after `bytes_max` of them. Rows that have to
  // be read for sums are taken off `sum_rows`; beyond, what would take more is
  // said to differ.
  absl::StatusOr<RangePart> Answer(const RangeAsk& ask, uint64_t salt,
                                   size_t bytes_max, uint64_t& sum_rows);

  // Begins to bring this replica up to date, whatever it holds now.
  void BeginRanges();
  // Ends that before it is done; what was joined stays.
  void AbandonRanges();
  // What rows show of events that are not here, nor `elsewhere`, is all that is
  // left of these: they are not waited for.
  void GiveUpAhead(const crdt::EventSet& elsewhere);
  // Questions are asked of the rows as they are now: from here on rows that
  // change are remembered as they were, so that an answer of "the same" can
  // still be told apart from "what it is now".
  void WatchAgain();
  void StopWatching();
  // Too much has changed; the answer must not be used.
  bool watched_too_much() const;
  // Joins what a source holds of `range`, which must have been asked about
  // since WatchAgain: `theirs`, and nothing of the rows `differ`, and else the
  // same. `context` is the source's, of the same moment. On an error nothing
  // of it is done. Errors: InvalidArgument, DataLoss as in Apply.
  absl::Status JoinRange(const KeyRange& range,
                         const std::vector<RangeRow>& theirs,
                         const std::vector<std::string>& differ,
                         const crdt::Context& context);
  // `theirs` is the context of a source whose rows are joined in this turn.
  void ReadFrom(const crdt::Context& theirs, const crdt::EventSet& ahead);
  bool RangesDone() const;
  // What the sources had is this replica's. Requires: RangesDone().
  void FinishRanges();
  const RangeProgress& progress() const { return progress_; }
  // Joins what a source with the same E has of `range`: whatever either has is
  // kept. Requires: the same E. Errors: as JoinRange.
  absl::Status UniteRange(const KeyRange& range,
                          const std::vector<RangeRow>& theirs);
  // Takes over what a source with the same E knows to be superseded.
  void UniteSuperseded(const crdt::EventSet& theirs);
  // The hash of rows and X, the same on all replicas with the same E; zero if
  // the rows are not those of E.
  Hash128 StateDigest() const;
  // Whether the rows are those of E.
  bool exact() const;
  // Counts Load(): what was asked before it is void.
  uint64_t loads() const { return loads_; }

  // --- Damage (scrub.h), as of this turn ---

  // Goes on dividing a leaf that is big (pieces.h), by about `rows` rows.
  // False: there is none, or damage is in the way.
  bool DivideSome(uint64_t rows);
  // Looks at about `rows` rows from `place` on, and moves it behind them: whole
  // digest leaves, or pieces of one. The leaves of these whose rows do not
  // decode, do not add up, or show what the index on disk does not name.
  // Requires: this turn has not changed it; rows > 0. Cost: O(rows). DataLoss:
  // the disk does not let go of them, and `place` is where it was.
  absl::StatusOr<std::vector<uint32_t>> FindDamage(ScrubPlace& place,
                                                   uint64_t rows);
  // Quarantines the partition if rows of digest leaves or pieces that lie in
  // `range`, in part or as a whole, do not decode or do not add up: DataLoss.
  // What was looked at is not again until VouchAgain: one with a large object
  // is asked about in many parts. Cost: O(rows of those).
  absl::Status Vouch(const KeyRange& range);
  // The front of `range` that has about `rows` of them by the digest: whole
  // digest leaves or, if those may be cut, pieces; one at the least. Takes them
  // off `rows`. Errors: InvalidArgument if `range` is of another partition.
  absl::StatusOr<KeyRange> FrontOf(const KeyRange& range, uint64_t& rows,
                                   bool whole_leaves) const;
  void VouchAgain() {
    vouched_.clear();
    vouched_pieces_ = {};
  }
  // Removes what does not decode, makes the rest consistent, and remembers the
  // leaf as lost. Returns how many rows did not decode.
  absl::StatusOr<uint64_t> ClearDamage(uint32_t leaf);
  // Puts back what a source has of what this replica had in `range`, a part of
  // `question`'s; `theirs` and `differ` as of JoinRange. False: the source
  // lacks events that cannot be replayed, and nothing was done. With
  // `accept_loss` what these made there is lost.
  absl::StatusOr<bool> MendRange(const RangeQuestion& question,
                                 const KeyRange& range,
                                 const std::vector<RangeRow>& theirs,
                                 const std::vector<std::string>& differ,
                                 const crdt::Context& context,
                                 bool accept_loss);
  // What was damaged and not put back is lost.
  void AcceptLoss();
  // Whether the rows show anything of `object`, so that it belongs in the
  // index.
  absl::StatusOr<bool> Lists(const crdt::ObjectId& object) {
    return objects_.IsListed(object);
  }
  // All of it has been looked at, and is readable again.
  void EndQuarantine();
  // A reader came upon damage.
  void Note(const absl::Status& status) {
    if (absl::IsDataLoss(status)) Quarantine(status);
  }
  // Whether damage is the reason, and not that nodes contradict one another,
  // and there is something to mend it with.
  bool mendable() const {
    return quarantined_ && mendable_ && tables_awaited_.empty();
  }
  // A table with keys that are about this partition cannot be read
  // (lost_tables.h). Quarantines it until TableIsGone, over restarts too, and
  // then until all of it has been looked at. Requires: not emptying().
  void Suspect(uint64_t table);
  void TableIsGone(const DamagedTable& table);
  // How often it was put into quarantine, and why, the last time.
  uint64_t quarantines() const { return quarantines_; }
  const std::string& quarantine_reason() const { return quarantine_reason_; }
  // Values that were lost here and put back.
  uint64_t restored() const { return restored_; }

  // --- Reads, as of this turn ---

  // Fails with DataLoss while quarantined, with Unavailable while it is being
  // emptied.
  absl::Status Available() const;
  // Also Unavailable while it has not yet all that it had or is to have.
  absl::Status Readable() const;
  // Also Unavailable while it is being mended.
  absl::Status MayMint() const;
  crdt::StateView& view() { return objects_; }
  absl::StatusOr<ObjectRows::Expiring> ExpiryOf(const crdt::ObjectId& object) {
    return objects_.ExpiryOf(object);
  }
  // Grows with every time of expiry that is set here.
  uint64_t expiries_set() const { return objects_.expiries_set(); }
  const crdt::Context& context() const { return context_; }
  // Nothing was ever applied here, or all of it was given up.
  bool empty() const {
    return context_.applied.empty() && context_.superseded.empty();
  }
  // The part of E that survives a power loss.
  const crdt::EventSet& durable() const { return durable_; }
  // E as it was at the last and at the second last MarkSettled.
  const crdt::EventSet& settled() const { return settled_before_; }
  void MarkSettled();

  // Visits encoded log entries with an event in `wanted`, in (actor, counter)
  // order, until `visit` returns false.
  absl::Status ReadLog(const crdt::EventSet& wanted,
                       absl::FunctionRef<bool(const crdt::DotRun& events,
                                              absl::string_view delta)>
                           visit) const;
  const crdt::EventSet& logged() const { return logged_; }

  // Grows with every change of E or of what is durable.
  uint64_t version() const { return version_; }
  // Deltas ever applied here.
  uint64_t sequence() const { return sequence_; }
  uint64_t deltas_since_checkpoint() const { return sequence_ - checkpoint_; }

  PartitionId id() const { return id_; }
  const DigestSums& sums() const { return sums_; }
  uint64_t log_entries() const { return log_entries_; }
  uint64_t log_bytes() const { return log_bytes_; }
  bool quarantined() const { return quarantined_; }
  // Deltas of sessions that were refused here: their ids had been used for
  // another operation.
  uint64_t ids_reused() const { return ids_reused_; }

  // Recomputes the sums from the rows. DataLoss if they differ.
  absl::Status VerifySums();
  KeyRange RowRange() const { return RowsOfPartition(id_, partitions_); }

 private:
  // Deletes of those objects of `operations` that have expired.
  struct Expired {
    std::vector<crdt::Operation> small;
    std::optional<crdt::Operation> large;  // the first of those
  };
  absl::StatusOr<Expired> ExpiredIn(
      absl::Span<const crdt::Operation> operations, const ExpiryClock& clock);
  // Settings of when objects expire that `operations` begin here, where neither
  // these say it nor does anything here, and their bucket does. `not_observed`
  // of the operations: those have begun nothing.
  absl::StatusOr<std::vector<crdt::Operation>> TimesByBucket(
      absl::Span<const crdt::Operation> operations,
      const std::vector<bool>& not_observed, const Expired& expired,
      const ExpiryClock& clock);
  // Does that in a delta of its own, and asks to be called again.
  absl::StatusOr<MutateOutcome> MutateFirst(
      absl::Span<const crdt::Operation> operations,
      absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp);
  // The sums and pieces of what was done to rows.
  void AddToSums(const SumChanges& changes);
  // Cuts the rows of `range` where pieces begin; in at most about `rows` rows,
  // and then `rest` is where it goes on.
  absl::StatusOr<Pieces::Cut> CutRows(const KeyRange& range, uint64_t rows,
                                      std::optional<std::string>& rest);
  absl::Status DivideLeaf(uint32_t leaf, uint64_t rows);
  void FlushPieces();
  absl::Status LoadPieces();
  void ForgetPieces() {
    pieces_.Forget();
    undivided_.clear();
    crossed_.clear();
  }
  absl::Status VerifyPieces();
  // Of a divided leaf the pieces from that on in which `from` lies, about
  // `rows` rows; from its first one, if that is empty.
  KeyRange PiecesFrom(uint32_t leaf, absl::string_view from,
                      uint64_t rows) const;
  // Whether the rows of `range`, whole pieces of a leaf, decode, add up, and
  // those of objects that begin there fit their headers.
  absl::StatusOr<bool> PiecesFit(
      uint32_t leaf, const KeyRange& range,
      absl::FunctionRef<void(uint32_t leaf, Family family, std::string key)>
          listed);
  absl::Status CountBeyond(uint32_t leaf, const std::string& from,
                           Remains& remains);
  // A question of the sums of pieces, where `range` has several.
  absl::StatusOr<std::optional<RangeQuestion>> AskPieces(uint32_t leaf,
                                                         const KeyRange& range,
                                                         uint64_t salt,
                                                         uint8_t print_bytes);
  // Of the rows in `range`, from sums as far as there are such. Nullopt: more
  // than `rows` would have to be read.
  absl::StatusOr<std::optional<LeafSum>> SumOfRange(const KeyRange& range,
                                                    uint64_t& rows);
  absl::StatusOr<RangePart> AnswerCuts(const AskCuts& ask, uint64_t salt,
                                       uint64_t& rows);
  // Where the front of `range` ends, within a divided leaf, that has `rows`.
  std::string FrontOfPieces(uint32_t leaf, const KeyRange& range,
                            uint64_t& rows) const;
  absl::StatusOr<bool> VouchForPieces(uint32_t leaf, const KeyRange& range);
  absl::StatusOr<bool> VouchForLeaves(LeafSpan leaves);
  bool IsBig(uint32_t leaf) const;
  absl::Status LoadContext();
  absl::Status LoadTenure();
  void WriteTenure();
  absl::Status LoadSuspicion();
  // Visits every log entry; those of which `counts` says so are in the log.
  absl::Status CountLog(absl::FunctionRef<bool(const LogEntry&)> counts);
  absl::Status LoadLog(uint64_t checkpoint);
  // After entries may have gone or come back: E is what it was.
  absl::Status RecountLog();
  LeafSum SumOfLeaves(LeafSpan leaves) const;
  // In which `range`, of this partition, lies.
  absl::StatusOr<LeafSpan> LeavesAround(const KeyRange& range) const;
  std::vector<LeafSum> SumsOfSpans(LeafSpan leaves, size_t spans) const;
  void AddRow(const FoundLeaf& found, uint64_t salt, AskRows& list,
              RangeQuestion& question) const;
  LeafSum SumOfRow(const FoundLeaf& found) const;
  absl::StatusOr<RangePart> AnswerRows(const AskRows& ask, uint64_t salt,
                                       size_t bytes_max);
  absl::Status Watch(const ObjectKey& key, const crdt::ObjectId& object,
                     const crdt::Path& path);
  absl::Status CheckRows(const KeyRange& range,
                         const std::vector<RangeRow>& rows) const;
  // What a source holds of the rows that it named: `theirs`, and nothing of
  // those at `differ` beyond them. By row key.
  using SourceRows = std::map<std::string, RangeRow>;
  static absl::StatusOr<SourceRows> NamedRows(
      const std::vector<RangeRow>& theirs,
      const std::vector<std::string>& differ);
  absl::Status JoinRow(const RangeRow& row, const crdt::Context& theirs,
                       SumChanges& changes);
  void KnowLive(crdt::Dot dot);
  // What taking over rows of a source changes beside rows and sums.
  struct BesideRows {
    crdt::EventSet superseded;
    bool superseded_changed;
    uint64_t restored;
  };
  BesideRows MarkRows();
  // The rows and `before`: a dot that stayed known would read as removed here.
  void RollBackRows(BesideRows before);
  void WriteProgress();
  bool KnowsAll(const FoundRow& row) const;
  absl::StatusOr<std::vector<bool>> CompareRows(
      LeafSpan leaves,
      absl::FunctionRef<void(uint32_t leaf, Family family, std::string key)>
          listed);
  // By row key: what the deltas that a source lacks do to it.
  using Replay =
      std::map<std::string,
               std::vector<std::pair<crdt::DotRun, crdt::DeltaLeaf>>>;
  // Nullopt if some of it is in no log here, but for `partly`, or it is too
  // much.
  absl::StatusOr<std::optional<Replay>> ReplayOver(const crdt::Context& theirs,
                                                   bool partly) const;
  absl::StatusOr<crdt::Leaf> Belongs(const std::string& key, crdt::Leaf theirs,
                                     const crdt::Context& context,
                                     const Replay& replay) const;
  absl::Status Restore(const RangeRow& row, const crdt::Leaf& belongs,
                       const crdt::Context& theirs, SumChanges& changes);
  absl::Status ApplyLeaves(const crdt::Delta& delta, SumChanges& changes);
  // A duplicate must be the delta that was applied, not another one under the
  // same dots.
  absl::Status CheckDuplicate(const crdt::DotRun& events,
                              absl::string_view encoded);
  // Two deltas under one dot: a session's are refused, anybody else's are
  // damage.
  absl::Status DotReuse(crdt::Dot dot, absl::string_view what);
  // Before a session's delta is applied at its coordinator.
  absl::Status CheckOnce(const crdt::Delta& delta);
  void AddToContext(const crdt::Delta& delta);
  void Quarantine(const absl::Status& why, bool mendable = true);
  // Everything in memory but the mint counter.
  void Forget();

  const PartitionId id_;
  const uint32_t partitions_;
  const crdt::ActorId actor_;
  Storage& storage_;
  RowStore& rows_;
  const ShardOptions& options_;
  Pieces pieces_;
  // Big leaves without pieces, and those that became big in this turn, or
  // small.
  std::set<uint32_t> undivided_;
  std::set<uint32_t> crossed_;
  ObjectRows objects_;

  uint64_t next_counter_ = 1;  // never set back: N4
  crdt::Context context_;
  crdt::EventSet durable_;
  std::optional<crdt::EventSet> syncing_;  // E as it was at MarkSyncing
  crdt::EventSet settled_;
  crdt::EventSet settled_before_;
  crdt::EventSet logged_;
  DigestSums sums_;
  uint64_t sequence_ = 0;    // deltas applied, ever
  uint64_t checkpoint_ = 0;  // sequence_ at the last checkpoint
  uint64_t log_entries_ = 0;
  uint64_t log_bytes_ = 0;
  std::set<uint32_t> vouched_;  // digest leaves, since VouchAgain
  KeyRanges vouched_pieces_;    // of others
  uint64_t version_ = 1;
  bool superseded_changed_ = false;
  // Deltas of sessions that this turn applied: their log entries cannot be
  // read before its commit.
  std::map<crdt::DotRun, Hash128> once_in_turn_;
  uint64_t ids_reused_ = 0;
  RangeProgress progress_;
  bool progress_changed_ = false;
  uint64_t loads_ = 0;
  // Rows that have changed since they were asked about, as they were then.
  bool watching_ = false;
  std::map<std::string, RangeRow> watched_;
  size_t watched_bytes_ = 0;
  bool quarantined_ = false;
  bool mendable_ = true;
  // Rows may have gone with a table, and which tables are still to go.
  bool suspect_ = false;
  std::set<uint64_t> tables_awaited_;
  uint64_t restored_ = 0;
  bool emptying_ = false;
  std::optional<Tenure> tenure_;
  bool tenure_changed_ = false;
  bool newborn_ = false;
  bool unheard_ = false;
  uint64_t quarantines_ = 0;
  std::string quarantine_reason_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PARTITION_H_
