#include "replica/partition.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "crdt/register.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/log_entry.h"

namespace dovetail::replica {
namespace {

// What is known here of the dots of one row: more than E ∪ X where a sync by
// ranges has been (the cursor rule of range_sync.h).
struct Known {
  const crdt::Context& context;
  const RangeProgress& progress;
  const std::string& key;
  bool Contains(crdt::Dot dot) const {
    return context.Contains(dot) || progress.Covers(key, dot);
  }
};

crdt::JoinResult JoinLeaf(crdt::Leaf& mine, const Known& known,
                          const crdt::DeltaLeaf& leaf,
                          const crdt::DeltaLeafContext& theirs) {
  if (DOVETAIL_MUTANT("join: looks at the events alone")) {
    return crdt::Join(mine, known.context.applied, leaf.store, theirs);
  }
  if (!known.progress.active ||
      DOVETAIL_MUTANT("ranges: no cursor rule for what comes late")) {
    return crdt::Join(mine, known.context, leaf.store, theirs);
  }
  return crdt::Join(mine, known, leaf.store, theirs);
}

// Planted bugs in what a join has made of a leaf.
void SpoilJoin(const crdt::DeltaLeaf& theirs, crdt::Leaf& joined) {
  if (theirs.store.empty() &&
      DOVETAIL_MUTANT("apply: a removal takes what it had not seen")) {
    joined = crdt::Leaf();
  }
  const bool is_register =
      crdt::LeafTypeOf(theirs.object.type, theirs.path.bytes()) ==
      crdt::Type::kRegister;
  if (!is_register || theirs.store.empty() || joined.size() < 2) return;
  if (DOVETAIL_MUTANT("register: the last to arrive wins")) {
    joined = theirs.store;
  }
  if (DOVETAIL_MUTANT("register: losers are pruned")) {
    const crdt::Leaf all = joined;
    for (const auto& [dot, payload] : all.entries()) {
      if (&std::get<crdt::Stamped>(payload) != crdt::WinnerOf(all)) continue;
      joined = crdt::Leaf(dot, payload);
    }
  }
}

}  // namespace

Partition::Partition(PartitionId id, uint32_t partitions, crdt::ActorId actor,
                     const ShardOptions& options, RowStore& rows,
                     Storage& storage)
    : id_(id),
      partitions_(partitions),
      actor_(actor),
      storage_(storage),
      rows_(rows),
      options_(options),
      pieces_(id, partitions, options),
      objects_(rows, options, pieces_) {}

absl::Status Partition::Available() const {
  if (emptying_) {
    return absl::UnavailableError(
        absl::StrCat("partition ", Index(id_),
                     " was handed over to its owners and is being removed from "
                     "this node; try again"));
  }
  if (!quarantined_) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("partition ", Index(id_),
                   " is quarantined on this node: ", quarantine_reason_));
}

absl::Status Partition::MayMint() const {
  DOVETAIL_RETURN_IF_ERROR(Available());
  if (!progress_.mending) return absl::OkStatus();
  DOVETAIL_MARK("mend: a write has to go elsewhere");
  return absl::UnavailableError(
      absl::StrCat("partition ", Index(id_),
                   " is being mended on this node after damage; write to "
                   "another owner"));
}

absl::Status Partition::Readable() const {
  DOVETAIL_RETURN_IF_ERROR(Available());
  if (!progress_.filling ||
      DOVETAIL_MUTANT("ranges: reads while it is being filled")) {
    return absl::OkStatus();
  }
  DOVETAIL_MARK("read: while it is being filled");
  return absl::UnavailableError(
      absl::StrCat("partition ", Index(id_),
                   " is being filled from its other owners on this node; read "
                   "it from these"));
}

void Partition::Quarantine(const absl::Status& why, bool mendable) {
  if (quarantined_) return;
  DOVETAIL_MARK("partition: quarantined");
  quarantined_ = true;
  ++quarantines_;
  mendable_ = mendable;
  quarantine_reason_ = std::string(why.message());
}

absl::StatusOr<ApplyOutcome> Partition::Apply(const crdt::Delta& delta,
                                              absl::string_view encoded) {
  DOVETAIL_RETURN_IF_ERROR(Available());
  if (context_.applied.ContainsRun(delta.events)) {
    DOVETAIL_RETURN_IF_ERROR(CheckDuplicate(delta.events, encoded));
    if (!DOVETAIL_MUTANT("apply: a duplicate is logged again")) {
      return ApplyOutcome::kDuplicate;
    }
  }
  const crdt::Dot first{delta.events.actor, delta.events.first};
  if (context_.applied.IntersectsRun(delta.events) &&
      !DOVETAIL_MUTANT("apply: a duplicate is logged again")) {
    return DotReuse(first, absl::StrCat("its ", delta.events.count,
                                        " events overlap another delta"));
  }
  if (delta.events.actor == actor_ && delta.events.last() >= next_counter_) {
    return absl::DataLossError(absl::StrCat(
        "events from ", crdt::ToString(first),
        " claim to be of this incarnation, which has not minted them"));
  }
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    if (PartitionOf(leaf.object.bucket, leaf.object.key, partitions_) != id_) {
      return absl::InvalidArgumentError(absl::StrCat(
          crdt::ToString(leaf.object), " is not in partition ", Index(id_)));
    }
  }

  SumChanges changes;
  rows_.Mark();
  if (absl::Status status = ApplyLeaves(delta, changes); !status.ok()) {
    DOVETAIL_MARK("apply: damage here takes the delta back");
    rows_.RollBack();
    pieces_.RollBack();
    if (absl::IsDataLoss(status)) Quarantine(status);
    return status;
  }
  std::string value =
      EncodeLogValue({delta.events, sequence_ + 1, changes, encoded});
  log_bytes_ += value.size();
  if (delta.events.actor == actor_ ||
      !DOVETAIL_MUTANT("log: deltas of others are not kept")) {
    rows_.PutOther(Family::kLog, LogKey(id_, first), std::move(value));
  }

  AddToContext(delta);
  AddToSums(changes);
  ++sequence_;
  ++log_entries_;
  logged_.InsertRun(delta.events);
  if (crdt::KindOf(delta.events.actor) == crdt::ActorKind::kSession) {
    once_in_turn_[delta.events] = HashBytes(encoded);
  }
  ++version_;
  return ApplyOutcome::kApplied;
}

absl::Status Partition::ApplyLeaves(const crdt::Delta& delta,
                                    SumChanges& changes) {
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    if (leaf.store.empty() && delta.events.actor != actor_ &&
        DOVETAIL_MUTANT("apply: another's removal changes nothing")) {
      continue;
    }
    const crdt::DeltaLeafContext their_context(delta.events, leaf);
    std::string row_key;
    if (progress_.active) {
      const ObjectKey key = MakeObjectKey(leaf.object);
      row_key = key.LeafKey(leaf.path);
      if (watching_) {
        DOVETAIL_RETURN_IF_ERROR(Watch(key, leaf.object, leaf.path));
      }
    }
    DOVETAIL_RETURN_IF_ERROR(objects_.Update(
        leaf.object, leaf.path, partitions_,
        [&](crdt::Leaf& mine) {
          const crdt::JoinResult joined = JoinLeaf(
              mine, Known{context_, progress_, row_key}, leaf, their_context);
          if (DOVETAIL_MUTATED) SpoilJoin(leaf, mine);
          if (joined == crdt::JoinResult::kOk) return absl::OkStatus();
          return absl::DataLossError(absl::StrCat(
              "one dot has two payloads at ", crdt::ToString(leaf.object)));
        },
        changes));
  }
  return absl::OkStatus();
}

void Partition::AddToContext(const crdt::Delta& delta) {
  context_.applied.InsertRun(delta.events);
  if (DOVETAIL_MUTANT("events: one implies all before it")) {
    context_.applied.InsertRun({delta.events.actor, 1, delta.events.last()});
  }
  crdt::EventSet& superseded = context_.superseded;
  if (superseded.IntersectsRun(delta.events)) {
    DOVETAIL_MARK("apply: an event some dots of which were superseded already");
    if (!DOVETAIL_MUTANT("superseded: kept after its event has come")) {
      superseded.EraseRun(delta.events);
    }
    superseded_changed_ = true;
  }
  auto know = [&](crdt::Dot dot) {
    if (DOVETAIL_MUTANT("superseded: not remembered")) return;
    if (context_.Contains(dot)) return;
    DOVETAIL_MARK("apply: a dot is known before its event");
    DOVETAIL_MARK_IF("token: it names an event that has not come here",
                     delta.events.actor == actor_);
    superseded.Insert(dot);
    superseded_changed_ = true;
  };
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    for (const crdt::Leaf::Entry& entry : leaf.store.entries()) {
      DOVETAIL_MARK_IF("counter: extended before its first event came",
                       !context_.Contains(entry.first));
      know(entry.first);
    }
    for (crdt::Dot dot : leaf.superseded) know(dot);
  }
}

absl::Status Partition::CheckDuplicate(const crdt::DotRun& events,
                                       absl::string_view encoded) {
  DOVETAIL_MARK_IF("apply: a duplicate of what was truncated",
                   !logged_.ContainsRun(events));
  if (!logged_.ContainsRun(events)) return absl::OkStatus();
  const crdt::Dot first{events.actor, events.first};
  if (const auto it = once_in_turn_.find(events); it != once_in_turn_.end()) {
    DOVETAIL_MARK("once: a retry within the turn");
    if (it->second == HashBytes(encoded)) return absl::OkStatus();
    return DotReuse(first, "it came with another content before");
  }
  DOVETAIL_ASSIGN_OR_RETURN(std::optional<std::string> value,
                            storage_.Get(Family::kLog, LogKey(id_, first)));
  DOVETAIL_MARK_IF("apply: a duplicate within one turn", !value);
  if (!value && crdt::KindOf(first.actor) == crdt::ActorKind::kSession) {
    return DotReuse(first, "it is part of another operation");
  }
  // Applied earlier in this very turn, and so not on disk yet.
  if (!value) return absl::OkStatus();
  DOVETAIL_ASSIGN_OR_RETURN(const LogEntry entry,
                            DecodeLogEntry(LogKey(id_, first), *value));
  if (entry.delta == encoded) return absl::OkStatus();
  return DotReuse(first, "it arrived with another content than was applied");
}

absl::StatusOr<MutateOutcome> Partition::Mutate(
    absl::Span<const crdt::Operation> operations,
    const crdt::Path& resume_after,
    absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp,
    const ExpiryClock& clock) {
  DOVETAIL_RETURN_IF_ERROR(MayMint());
  if (DOVETAIL_BUGGIFY("mint: some dots are burnt")) next_counter_ += 3;
  MutateOutcome outcome;
  if (operations.size() > 1 && DOVETAIL_MUTANT("batch: split in two")) {
    DOVETAIL_ASSIGN_OR_RETURN(outcome,
                              Mutate(operations.first(1), resume_after, stamp));
    operations.remove_prefix(1);
  }
  Expired expired;
  if (resume_after.bytes().empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(expired, ExpiredIn(operations, clock));
  }
  if (expired.large) return MutateFirst({&*expired.large, 1}, stamp);
  if (clock.only_expired) operations = {};
  crdt::DeltaBuilder builder(objects_, {actor_, next_counter_}, stamp);
  for (const crdt::Operation& gone : expired.small) {
    DOVETAIL_RETURN_IF_ERROR(builder.Add(gone).status());
  }
  for (const crdt::Operation& operation : operations) {
    absl::StatusOr<crdt::MutationOutcome> added =
        builder.Add(operation, resume_after);
    if (!added.ok()) {
      if (absl::IsDataLoss(added.status())) Quarantine(added.status());
      return added.status();
    }
    outcome.not_observed.push_back(added->not_observed);
    if (added->more) {
      if (operations.size() > 1) {
        return absl::ResourceExhaustedError(
            absl::StrCat("a clear of more than ", crdt::kDotsPerClearDelta,
                         " elements cannot be part of an atomic batch "
                         "(kDotsPerClearDelta)"));
      }
      outcome.more = true;
      outcome.resume_after = added->resume_after;
    }
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::vector<crdt::Operation> times,
      TimesByBucket(operations, outcome.not_observed, expired, clock));
  for (const crdt::Operation& time : times) {
    DOVETAIL_RETURN_IF_ERROR(builder.Add(time).status());
  }
  std::optional<crdt::Delta> delta = builder.Finish();
  if (!delta) return outcome;
  std::string encoded = delta->Encode();
  if (encoded.size() > crdt::kDeltaBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the operation writes ", encoded.size(), " bytes; the limit is ",
        crdt::kDeltaBytesMax, " (kDeltaBytesMax)"));
  }
  DOVETAIL_CHECK(delta->events.first == next_counter_);
  next_counter_ += delta->events.count;
  DOVETAIL_ASSIGN_OR_RETURN(const ApplyOutcome applied, Apply(*delta, encoded));
  DOVETAIL_CHECK(applied == ApplyOutcome::kApplied);
  outcome.minted = {delta->events, std::move(encoded)};
  return outcome;
}

void Partition::MarkSettled() {
  settled_before_ = std::move(settled_);
  settled_ = context_.applied;
}

void Partition::AllSynced() {
  MarkSyncing();
  MarkedSynced();
}

void Partition::MarkSyncing() { syncing_ = context_.applied; }

void Partition::MarkedSynced() {
  // A later fsync may have overtaken the one that was marked.
  if (!syncing_) return;
  if (DOVETAIL_MUTANT("durable: what came while the fsync ran")) {
    syncing_ = context_.applied;
  }
  if (!(durable_ == *syncing_)) {
    durable_ = *std::move(syncing_);
    ++version_;
  }
  syncing_.reset();
}

}  // namespace dovetail::replica
