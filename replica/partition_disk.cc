// Partition and the disk: loading, checkpoints, the log and its truncation.
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "replica/keys.h"
#include "replica/log_entry.h"
#include "replica/partition.h"

namespace dovetail::replica {
namespace {

// Visits the log entries that begin at an event of `wanted`, with the size of
// their values, in (actor, counter) order, until `visit` returns false.
absl::Status ScanLog(
    Storage& storage, PartitionId partition, const crdt::EventSet& wanted,
    absl::FunctionRef<bool(const LogEntry&, size_t value_bytes)> visit) {
  absl::Status damage;
  bool go_on = true;
  wanted.ForEachRun([&](const crdt::DotRun& run) {
    const std::string begin = LogKey(partition, {run.actor, run.first});
    std::string end = LogKey(partition, {run.actor, run.last()});
    end.push_back('\0');
    absl::Status scanned = storage.Scan(
        Family::kLog, begin, end,
        [&](absl::string_view key, absl::string_view value) {
          absl::StatusOr<LogEntry> entry = DecodeLogEntry(key, value);
          if (!entry.ok()) {
            damage = entry.status();
            return false;
          }
          go_on = visit(*entry, value.size());
          return go_on;
        });
    damage.Update(scanned);
    return go_on && damage.ok();
  });
  return damage;
}

}  // namespace

absl::Status Partition::Load() {
  context_ = {};
  logged_ = {};
  settled_ = {};
  settled_before_ = {};
  sums_ = {};
  ForgetPieces();
  sequence_ = checkpoint_ = log_entries_ = log_bytes_ = 0;
  superseded_changed_ = false;
  once_in_turn_.clear();
  progress_ = {};
  progress_changed_ = false;
  watching_ = false;
  watched_.clear();
  ++loads_;
  DOVETAIL_RETURN_IF_ERROR(LoadTenure());
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> emptying,
                            storage_.Get(Family::kMeta, EmptyingKey(id_)));
  emptying_ = emptying.has_value();
  if (emptying_) {
    DOVETAIL_MARK("load: goes on being emptied");
    ++version_;
    return absl::OkStatus();
  }
  DOVETAIL_ASSIGN_OR_RETURN(std::optional<std::string> checkpoint,
                            storage_.Get(Family::kMeta, CheckpointKey(id_)));
  if (checkpoint) {
    crdt::Reader in(*checkpoint);
    in.ExpectVersion();
    checkpoint_ = in.Varint();
    DOVETAIL_ASSIGN_OR_RETURN(context_.applied, crdt::EventSet::ReadFrom(in));
    DOVETAIL_RETURN_IF_ERROR(in.Finish());
    for (uint32_t block = 0; block < kDigestBlocks; ++block) {
      const auto index = static_cast<uint8_t>(block);
      DOVETAIL_ASSIGN_OR_RETURN(
          std::optional<std::string> bytes,
          storage_.Get(Family::kMeta, SumsKey(id_, index)));
      if (bytes) DOVETAIL_RETURN_IF_ERROR(sums_.LoadBlock(index, *bytes));
    }
  }
  sequence_ = checkpoint_;
  DOVETAIL_RETURN_IF_ERROR(LoadSuspicion());
  if (suspect_) {
    // Nothing has been applied since the checkpoint that it began with.
    Note(RecountLog());
  } else {
    DOVETAIL_RETURN_IF_ERROR(LoadLog(checkpoint_));
  }
  if (DOVETAIL_MUTANT("actor: kept over restarts")) {
    context_.applied.OfActor(actor_).ForEachRun([&](const crdt::DotRun& run) {
      next_counter_ = std::max(next_counter_, run.last() + 1);
      return true;
    });
  }

  DOVETAIL_RETURN_IF_ERROR(LoadContext());
  newborn_ = tenure_ ? !tenure_->complete : empty() && !suspect_;
  DOVETAIL_RETURN_IF_ERROR(LoadPieces());
  DOVETAIL_MARK_IF("load: a log without a checkpoint",
                   !checkpoint && log_entries_ > 0);
  DOVETAIL_MARK_IF("load: a checkpoint and deltas after it",
                   checkpoint && sequence_ > checkpoint_);
  DOVETAIL_MARK_IF("load: all of the log was truncated",
                   checkpoint && log_entries_ == 0);
  ++version_;
  return absl::OkStatus();
}

absl::Status Partition::LoadSuspicion() {
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> suspect,
                            storage_.Get(Family::kMeta, SuspectKey(id_)));
  suspect_ = suspect.has_value();
  if (!suspect_) return absl::OkStatus();
  DOVETAIL_MARK("load: rows may have gone with a table");
  Quarantine(absl::DataLossError(
      "a table file of its database could not be read and was given up"));
  return absl::OkStatus();
}

absl::Status Partition::LoadTenure() {
  tenure_.reset();
  tenure_changed_ = false;
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                            storage_.Get(Family::kMeta, TenureKey(id_)));
  if (!bytes) return absl::OkStatus();
  crdt::Reader in(*bytes);
  in.ExpectVersion();
  Tenure tenure;
  const uint8_t complete = in.Byte();
  if (complete > 1) in.Fail("neither complete nor not");
  tenure.complete = complete == 1;
  if (in.remaining() < kRingStampBytesMin) {
    // Of an earlier version, which named rings by their epochs.
    tenure.ring.epoch = in.Varint();
  } else {
    tenure.ring = ReadRingStamp(in);
    tenure.parent = ReadRingStamp(in);
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  tenure_ = tenure;
  return absl::OkStatus();
}

void Partition::SetTenure(const Tenure& tenure) {
  tenure_ = tenure;
  newborn_ = !tenure.complete;
  tenure_changed_ = true;
  ++version_;  // peers are told
}

void Partition::SetUnheard(bool unheard) {
  unheard_ = unheard;
  ++version_;  // peers are told
}

void Partition::WriteTenure() {
  if (!tenure_changed_) return;
  tenure_changed_ = false;
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Byte(tenure_->complete ? 1 : 0);
  AppendRingStamp(out, tenure_->ring);
  AppendRingStamp(out, tenure_->parent);
  rows_.PutOther(Family::kMeta, TenureKey(id_), bytes);
}

// X, and how far a sync by ranges has come.
absl::Status Partition::LoadContext() {
  DOVETAIL_ASSIGN_OR_RETURN(std::optional<std::string> superseded,
                            storage_.Get(Family::kMeta, SupersededKey(id_)));
  if (superseded) {
    DOVETAIL_ASSIGN_OR_RETURN(context_.superseded,
                              crdt::EventSet::Decode(*superseded));
  }
  DOVETAIL_ASSIGN_OR_RETURN(std::optional<std::string> progress,
                            storage_.Get(Family::kMeta, RangesKey(id_)));
  if (progress) {
    DOVETAIL_ASSIGN_OR_RETURN(progress_, RangeProgress::Decode(*progress));
    DOVETAIL_MARK_IF("load: a sync by ranges under way", progress_.active);
  }
  if (!context_.superseded.Intersect(context_.applied).empty()) {
    return absl::DataLossError(absl::StrCat("the context of partition ",
                                            Index(id_), " contradicts itself"));
  }
  DOVETAIL_MARK_IF("load: dots known before their events",
                   !context_.superseded.empty());
  return absl::OkStatus();
}

absl::Status Partition::CountLog(
    absl::FunctionRef<bool(const LogEntry&)> counts) {
  logged_ = {};
  log_entries_ = log_bytes_ = 0;
  const std::string prefix = LogPrefix(id_);
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(storage_.Scan(
      Family::kLog, prefix, RangeEnd(prefix),
      [&](absl::string_view key, absl::string_view value) {
        const absl::StatusOr<LogEntry> entry = DecodeLogEntry(key, value);
        damage = entry.status();
        if (!damage.ok()) return false;
        if (!counts(*entry)) return true;
        logged_.InsertRun(entry->events);
        ++log_entries_;
        log_bytes_ += value.size();
        return true;
      }));
  return damage;
}

absl::Status Partition::LoadLog(uint64_t checkpoint) {
  return CountLog([&](const LogEntry& entry) {
    context_.applied.InsertRun(entry.events);
    if (entry.sequence > checkpoint ||
        (entry.sequence == checkpoint &&
         DOVETAIL_MUTANT("load: the checkpoint's last delta counts twice"))) {
      sums_.Apply(entry.changes);
    }
    sequence_ = std::max(sequence_, entry.sequence);
    return true;
  });
}

absl::Status Partition::RecountLog() {
  return CountLog([&](const LogEntry& entry) {
    if (context_.applied.ContainsRun(entry.events)) return true;
    // Of a time before this replica gave up what it held.
    rows_.DeleteOther(Family::kLog,
                      LogKey(id_, {entry.events.actor, entry.events.first}));
    return false;
  });
}

void Partition::FlushTurn() {
  once_in_turn_.clear();
  FlushPieces();
  WriteTenure();
  WriteProgress();
  if (!superseded_changed_) return;
  superseded_changed_ = false;
  if (DOVETAIL_MUTANT("superseded: not written")) return;
  if (context_.superseded.empty()) {
    DOVETAIL_MARK("superseded: all of their events have come");
    rows_.DeleteOther(Family::kMeta, SupersededKey(id_));
  } else {
    rows_.PutOther(Family::kMeta, SupersededKey(id_),
                   context_.superseded.Encode());
  }
}

void Partition::Checkpoint() {
  std::string value;
  crdt::Writer out(&value);
  out.Byte(crdt::kCodecVersion);
  out.Varint(sequence_);
  context_.applied.AppendTo(out);
  rows_.PutOther(Family::kMeta, CheckpointKey(id_), value);
  sums_.ForEachDirtyBlock([&](uint8_t block, const std::string& bytes) {
    if (DOVETAIL_MUTANT("checkpoint: without the sums")) return;
    rows_.PutOther(Family::kMeta, SumsKey(id_, block), bytes);
  });
  if (DOVETAIL_MUTANT("pieces: written at checkpoints alone")) {
    pieces_.Write(rows_);
  }
  // If the turn fails, Load() takes all three back.
  sums_.ClearDirty();
  checkpoint_ = sequence_;
}

absl::StatusOr<size_t> Partition::Truncate(const crdt::EventSet& stable,
                                           size_t max) {
  const crdt::EventSet removable = logged_.Intersect(stable);
  if (removable.empty()) return 0;
  DOVETAIL_MARK_IF("truncate: checkpoints first", checkpoint_ != sequence_);
  // Entries newer than the checkpoint are all that restores their sums.
  if (checkpoint_ != sequence_ &&
      !DOVETAIL_MUTANT("truncate: without a checkpoint")) {
    Checkpoint();
  }
  std::vector<crdt::DotRun> gone;
  uint64_t bytes = 0;
  const absl::Status scanned = ScanLog(
      storage_, id_, removable, [&](const LogEntry& entry, size_t value_bytes) {
        DOVETAIL_MARK_IF("truncate: no more in this turn", gone.size() >= max);
        if (gone.size() >= max) return false;
        if (!removable.ContainsRun(entry.events)) return true;
        rows_.DeleteOther(Family::kLog, LogKey(id_, {entry.events.actor,
                                                     entry.events.first}));
        gone.push_back(entry.events);
        bytes += value_bytes;
        return true;
      });
  // What was deleted before the disk failed is gone with this turn.
  for (const crdt::DotRun& events : gone) logged_.EraseRun(events);
  log_entries_ -= gone.size();
  log_bytes_ -= bytes;
  DOVETAIL_MARK_IF("truncate: somebody still needs some", log_entries_ > 0);
  DOVETAIL_RETURN_IF_ERROR(scanned);
  return gone.size();
}

absl::Status Partition::ReadLog(
    const crdt::EventSet& wanted,
    absl::FunctionRef<bool(const crdt::DotRun&, absl::string_view)> visit)
    const {
  return ScanLog(storage_, id_, wanted, [&](const LogEntry& entry, size_t) {
    return visit(entry.events, entry.delta);
  });
}

}  // namespace dovetail::replica
