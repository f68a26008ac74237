// The end of a turn, and what time makes a shard do by itself.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "replica/bent_output.h"
#include "replica/keys.h"
#include "replica/shard_state.h"

namespace dovetail::replica {

Output Shard::EndTurn(Now now) {
  State& s = *state_;
  ShardCore& core = s.core;
  core.SetTime(now);
  while (!core.to_self.empty()) {
    Message message = std::move(core.to_self.front());
    core.to_self.pop_front();
    s.OnMessage(core.identity.self, std::move(message), now);
  }
  if (core.rows.dirty() && DOVETAIL_BUGGIFY("turn: fsynced unasked")) {
    core.turn_synced = true;
  }
  // Before it is known whether there is anything to commit: a sync by ranges
  // may have ended, or damage have been mended, without changing a row.
  for (PartitionId partition : core.touched) {
    core.Get(partition).FlushTurn();
    if (core.Get(partition).unlisted()) core.unlisted->Set(partition, true);
  }
  if (core.rows.dirty() || core.turn_synced) {
    s.SaveClock();
    const bool synced = core.turn_synced;
    const absl::Status status =
        core.rows.Commit(synced && !DOVETAIL_MUTANT("turn: never fsynced")
                             ? CommitMode::kSynced
                             : CommitMode::kWritten);
    ++core.stats.commits;
    if (status.ok()) {
      s.OnTurnCommitted(synced, now);
    } else {
      s.FailTurn(status);
      // A full disk may have refused the turn before it wrote any of it; then
      // the log still works, and what was committed earlier can be synced. Of
      // any other failure nobody knows what a restart will find: neither "done"
      // nor "without effect" would be true.
      const absl::Status log =
          absl::IsResourceExhausted(status) ? SyncToDisk() : status;
      if (!log.ok()) {
        DOVETAIL_MARK("turn: the log is broken");
        core.output = {};
        core.output.fatal = log;
      }
    }
  } else {
    s.writes.OnTurnCommitted();
  }
  s.fsync_due |= s.range_source.WaitsForFsync() && !s.fsync_running;
  if (s.fsync_due && core.output.fatal.ok()) s.AskForFsync();
  core.output.notices = s.diary.EndTurn();
  for (PartitionId partition : core.touched) {
    core.unlisted->Set(partition, core.Get(partition).unlisted());
  }
  core.touched.clear();
  core.turn_synced = false;
  s.applied_in_turn.clear();
  core.stats.cache_hits = core.rows.hits();
  core.stats.cache_misses = core.rows.misses();
  s.forwards.Divert(core.output);
  Output out = std::exchange(core.output, {});
  if (DOVETAIL_SIMULATED) BendMessages(out.messages, core.output.messages);
  return out;
}

void Shard::State::OnTurnCommitted(bool synced, Now now) {
  if (synced) {
    ++core.stats.fsyncs;
    for (const auto& partition : core.partitions) partition->AllSynced();
    range_source.OnFsynced();
    unsynced = false;
    next_fsync = absl::InfiniteDuration();
  } else if (!unsynced) {
    unsynced = true;
    next_fsync = now.steady + core.options.fsync_period;
  }
  if (DOVETAIL_MUTANT("durable: as soon as written")) {
    for (const auto& p : core.partitions) p->AllSynced();
  }
  writes.OnTurnCommitted();
}

void Shard::State::FailTurn(const absl::Status& why) {
  DOVETAIL_MARK("turn: failed and reloaded");
  ++core.stats.commits_failed;
  Output turn = std::exchange(core.output, {});
  // What the turn touched goes back to what is on disk; only the mint counters
  // stay, so that the dots of this turn are never used again.
  std::sort(core.touched.begin(), core.touched.end());
  core.touched.erase(std::unique(core.touched.begin(), core.touched.end()),
                     core.touched.end());
  for (PartitionId partition : core.touched) {
    if (DOVETAIL_MUTANT("turn: a failed one keeps its context")) break;
    absl::Status loaded = core.Get(partition).Load();
    if (!loaded.ok()) {
      DOVETAIL_MARK("turn: failed, and what is on disk cannot be read");
      ++core.stats.corruptions;
      core.output.fatal = loaded;
      return;
    }
  }
  filling.OnTurnFailed();
  clock_saved = {};
  const absl::Status write_failed(
      why.code(),
      absl::StrCat("the write could not be committed: ", why.message()));
  // A read may be tried again, here or elsewhere, whatever ails the disk.
  const absl::Status read_failed = absl::UnavailableError(
      absl::StrCat("a write beside this read could not be committed, and it "
                   "may have shown it; try again (",
                   why.message(), ")"));
  if (DOVETAIL_MUTANT("turn: answers though the commit failed")) {
    core.output = std::move(turn);
  } else {
    Salvage(std::move(turn), write_failed, read_failed);
  }
  writes.OnTurnFailed(write_failed);
  reads.OnTurnFailed(read_failed);
  lists.OnTurnFailed(read_failed);
  ranges.OnTurnFailed();
  range_source.OnTurnFailed();
  reaper.OnTurnFailed();
  lost_tables.OnTurnFailed();
  core.to_self.clear();  // it was for those
  for (const Applied& applied : applied_in_turn) {
    DOVETAIL_MARK("turn: failed, and takes back acknowledgements");
    const crdt::Context& on_disk = core.Get(applied.partition).context();
    if (on_disk.applied.ContainsRun(applied.events)) {
      // A duplicate: an earlier turn committed it.
      core.Send(applied.from, applied.partition,
                Ack{applied.events, false, core.placement.ring()});
    } else {
      core.Send(applied.from, applied.partition,
                Refuse{applied.events, write_failed});
    }
  }
}

void Shard::State::Salvage(Output turn, const absl::Status& write_failed,
                           const absl::Status& read_failed) {
  for (ClientReply& reply : turn.replies) {
    // An error claims nothing. A write that others' acknowledgements completed
    // was committed by an earlier turn. A listing may rest on reads.
    if (reply.body.ok()) {
      if (std::holds_alternative<ReadReply>(*reply.body) ||
          std::holds_alternative<ListReply>(*reply.body)) {
        reply.body = read_failed;
      } else if (writes.RanInTurn(reply.id)) {
        reply.body = write_failed;
      }
    }
    core.output.replies.push_back(std::move(reply));
  }
  for (Envelope& envelope : turn.messages) {
    auto& body = envelope.message.body;
    if (const auto* answer = std::get_if<ReadAnswer>(&body)) {
      ReadAnswer failed;
      failed.ticket = answer->ticket;
      failed.status = read_failed;
      core.Send(envelope.to, envelope.message.partition, std::move(failed));
    } else if (const auto* page = std::get_if<ListAnswer>(&body)) {
      ListAnswer failed;
      failed.ticket = page->ticket;
      failed.status = read_failed;
      core.Send(envelope.to, envelope.message.partition, std::move(failed));
    } else if (const auto* presence = std::get_if<PresenceAnswer>(&body)) {
      core.Send(envelope.to, envelope.message.partition,
                PresenceAnswer{presence->ticket, presence->place, read_failed,
                               false});
    } else if (auto* cover = std::get_if<CoverAnswer>(&body)) {
      cover->status = read_failed;
      core.output.messages.push_back(std::move(envelope));
    } else if (std::holds_alternative<Refuse>(body) ||
               std::holds_alternative<Forward>(body)) {
      core.output.messages.push_back(std::move(envelope));
    }
  }
}

void Shard::HandleTimers(Now now) {
  State& s = *state_;
  s.core.SetTime(now);
  s.writes.OnTimers(now);
  s.sessions.OnTimers(now);
  s.reads.OnTimers(now);
  s.forwards.OnTimers(now);
  s.lists.OnTimers(now);
  s.sync.OnTimers(now);
  s.ranges.OnTimers(now);
  s.range_source.OnTimers(now);
  s.reaper.OnTimers(now);
  if (now.steady >= s.FsyncDeadline()) {
    if (DOVETAIL_BUGGIFY("timers: the fsync comes late")) {
      s.next_fsync = now.steady + s.core.options.fsync_period;
    } else if (s.core.options.background_fsync) {
      s.fsync_due = true;
    } else {
      s.core.turn_synced = true;
    }
  }
  if (DOVETAIL_BUGGIFY("timers: a checkpoint now")) CheckpointAll();
  const auto truncate = [&](bool regular) {
    s.next_truncation = s.TruncateIdleOrFull(regular)
                            ? now.steady + s.core.options.truncate_again_after
                            : absl::InfiniteDuration();
  };
  if (now.steady >= s.next_maintenance) {
    s.next_maintenance = now.steady + s.core.options.sync_period_min;
    s.LookAtLogs(now);
    truncate(/*regular=*/true);
    s.filling.Round();
    s.hints.Round(now);
    s.lost_tables.Round();
    s.scrub.Round();
    s.RoundOfRanges(now);
    s.reaper.Round(now);
    // Last: what a turn has changed the others leave alone.
    s.scrub.DivideLeaves();
    s.diary.Round();
    return;
  }
  s.hints.OnTimers(now);
  if (now.steady >= s.next_truncation) truncate(/*regular=*/false);
}

void Shard::State::RoundOfRanges(Now now) {
  ranges.Round(now, [this](PartitionId id) { return sync.SaidByOwners(id); });
}

void Shard::HandleRequestTimes(const RequestTimes& times) {
  state_->ranges.OnRequestTimes(times);
  state_->range_source.OnRequestTimes(times);
  state_->sync.OnRequestTimes(times);
}

absl::Duration Shard::next_deadline() const {
  const State& s = *state_;
  return std::min({s.writes.next_deadline(), s.sessions.next_deadline(),
                   s.reads.next_deadline(), s.forwards.next_deadline(),
                   s.lists.next_deadline(), s.sync.next_deadline(),
                   s.ranges.next_deadline(), s.range_source.next_deadline(),
                   s.reaper.next_deadline(), s.hints.next_deadline(),
                   s.FsyncDeadline(), s.next_maintenance, s.next_truncation});
}

void Shard::State::AskWhenExpires(PartitionId partition,
                                  const crdt::ObjectId& object, Now now) {
  ReadRequest read;
  read.spec.object = object;
  // One page of what a delete takes at once; equal pages are not shipped.
  read.spec.limit = crdt::kDotsPerClearDelta;
  RequestOptions options;
  options.read = Level::Quorum();
  if (DOVETAIL_MUTANT("reaper: an extension elsewhere is not asked about")) {
    options.read = Level::One();
  }
  options.quorums = Quorums::kStrict;
  options.timeout = core.options.request_timeout_default;
  reads.Start(ReadCoordinator::ForReaper{partition, object}, options, partition,
              std::move(read), now);
}

void Shard::State::RemoveExpired(RequestId id, PartitionId partition,
                                 const crdt::ObjectId& object, Now now) {
  crdt::Operation gone;
  gone.object = object;
  gone.verb = crdt::Verb::kDelete;
  WriteRequest write;
  write.operations.push_back(std::move(gone));
  RequestOptions options;
  // Who misses it hears of it by the next summary.
  options.write = Level::One();
  options.quorums = Quorums::kStrict;
  options.timeout = core.options.request_timeout_max;
  writes.Start(id, options, partition, std::move(write), now);
}

absl::Duration Shard::State::FsyncDeadline() const {
  return unsynced && !fsync_running ? next_fsync : absl::InfiniteDuration();
}

// After the turn's commit: the fsync covers it, and what is committed later may
// not be covered.
void Shard::State::AskForFsync() {
  fsync_due = false;
  if (!unsynced) return;  // this very turn was synced
  unsynced = false;
  next_fsync = absl::InfiniteDuration();
  fsync_running = true;
  for (const auto& partition : core.partitions) partition->MarkSyncing();
  core.output.fsync_due = true;
}

void Shard::HandleFsynced() {
  State& s = *state_;
  DOVETAIL_CHECK(s.fsync_running);
  s.fsync_running = false;
  ++s.core.stats.fsyncs;
  for (const auto& partition : s.core.partitions) partition->MarkedSynced();
  s.range_source.OnFsynced();
}

void Shard::State::LookAtLogs(Now now) {
  log_bytes = 0;
  for (const auto& partition : core.partitions) {
    const PartitionId id = partition->id();
    if (!core.IsOwner(id)) {
      lacking_since.erase(id);
      continue;
    }
    log_bytes += partition->log_bytes();
    if (partition->settled().IsSubsetOf(sync.StableEvents(id))) {
      lacking_since.erase(id);
    } else {
      lacking_since.try_emplace(id, now.steady);
    }
  }
}

Shard::State::Removable Shard::State::RemovableOf(
    const Partition& partition) const {
  using KeptFor = Sync::KeptFor;
  Removable removable{sync.StableEvents(partition.id()), {}};
  if (!core.IsOwner(partition.id())) return removable;
  const auto since = lacking_since.find(partition.id());
  const bool old = since != lacking_since.end() &&
                   core.steady - since->second >= core.options.log_age_max;
  crdt::EventSet more;
  if (log_bytes > 2 * core.options.log_bytes_max) {
    more = partition.durable();
  } else if (old || log_bytes > core.options.log_bytes_max) {
    more = sync.StableEvents(partition.id(), KeptFor::kReachable);
  }
  removable.given_up = more.Minus(removable.events);
  DOVETAIL_MARK_IF("truncate: an owner is given up",
                   !removable.given_up.empty());
  removable.events.UnionWith(more);
  return removable;
}

bool Shard::State::TruncateIdleOrFull(bool regular) {
  if (DOVETAIL_BUGGIFY("truncate: nothing in this round")) return false;
  size_t budget = core.options.truncate_entries_per_turn;
  if (DOVETAIL_BUGGIFY("truncate: one entry at the most")) {
    budget = std::min<size_t>(budget, 1);
  }
  const bool may_remove = budget > 0;
  for (const auto& partition : core.partitions) {
    bool idle = false;
    if (regular) {
      uint64_t& seen = sequence_at_round[partition->id()];
      idle = seen == partition->sequence();
      seen = partition->sequence();
    }
    const bool full =
        partition->log_entries() >= core.options.checkpoint_deltas ||
        log_bytes > core.options.log_bytes_max ||
        DOVETAIL_BUGGIFY("truncate: neither idle nor full");
    DOVETAIL_MARK_IF("truncate: full and never idle", full && !idle);
    if (budget > 0 && (idle || full)) budget -= Truncate(*partition, budget);
  }
  return may_remove && budget == 0;
}

size_t Shard::State::Truncate(Partition& partition, size_t max) {
  if (partition.log_entries() == 0 || partition.quarantined()) return 0;
  const Removable removable = RemovableOf(partition);
  if (removable.events.empty()) return 0;
  core.touched.push_back(partition.id());  // even if it fails half-way
  const uint64_t kept_before =
      partition.logged().Intersect(removable.given_up).dot_count();
  const uint64_t bytes_before = partition.log_bytes();
  absl::StatusOr<size_t> removed = partition.Truncate(removable.events, max);
  if (!removed.ok()) {
    DOVETAIL_MARK("truncate: the log cannot be read");
    ++core.stats.corruptions;
    return 0;
  }
  log_bytes -= std::min(log_bytes, bytes_before - partition.log_bytes());
  core.stats.log_given_up +=
      kept_before -
      partition.logged().Intersect(removable.given_up).dot_count();
  return *removed;
}

void Shard::TruncateLogs() {
  for (const auto& partition : state_->core.partitions) {
    state_->Truncate(*partition, partition->log_entries());
  }
}

void Shard::ScrubAll(Now now) {
  state_->scrub.All();
  state_->RoundOfRanges(now);
}

absl::Status Shard::ForgetLog(PartitionId id, const crdt::EventSet& kept) {
  Partition& partition = state_->core.Get(id);
  state_->core.touched.push_back(id);
  return partition
      .Truncate(partition.logged().Minus(kept), partition.log_entries())
      .status();
}

void Shard::CheckpointAll() {
  for (const auto& partition : state_->core.partitions) {
    if (partition->deltas_since_checkpoint() == 0) continue;
    state_->core.touched.push_back(partition->id());
    partition->Checkpoint();
  }
}

absl::Status Shard::SyncToDisk() {
  DOVETAIL_RETURN_IF_ERROR(state_->core.storage.Sync());
  ++state_->core.stats.fsyncs;
  for (const auto& partition : state_->core.partitions) partition->AllSynced();
  state_->unsynced = false;
  state_->next_fsync = absl::InfiniteDuration();
  return absl::OkStatus();
}

absl::Status Shard::State::LoadClock() {
  crdt::Timestamp last;
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(
      core.storage.Scan(Family::kMeta, ClockPrefix(), RangeEnd(ClockPrefix()),
                        [&](absl::string_view, absl::string_view value) {
                          crdt::Reader in(value);
                          in.ExpectVersion();
                          crdt::Timestamp stamp;
                          stamp.wall_ms = in.Fixed64();
                          stamp.logical = static_cast<uint16_t>(in.Varint());
                          damage = in.Finish();
                          last = std::max(last, stamp);
                          return damage.ok();
                        }));
  if (!damage.ok()) {
    return absl::DataLossError(
        absl::StrCat("the stored clock does not decode: ", damage.message()));
  }
  core.clock = crdt::HybridClock(last);
  clock_saved = last;
  return absl::OkStatus();
}

void Shard::State::SaveClock() {
  if (core.clock.last() == clock_saved) return;
  if (DOVETAIL_MUTANT("clock: not written")) return;
  std::string value;
  crdt::Writer out(&value);
  out.Byte(crdt::kCodecVersion);
  out.Fixed64(core.clock.last().wall_ms);
  out.Varint(core.clock.last().logical);
  core.rows.PutOther(Family::kMeta, ClockKey(core.identity.shard), value);
  clock_saved = core.clock.last();
}

}  // namespace dovetail::replica
