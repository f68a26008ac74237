// The end of a turn, and what time makes a shard do by itself.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "replica/keys.h"
#include "replica/shard_state.h"

namespace dovetail::replica {

Output Shard::EndTurn(Now now) {
  State& s = *state_;
  ShardCore& core = s.core;
  if (core.rows.dirty() || core.turn_synced) {
    for (PartitionId partition : core.touched) core.Get(partition).FlushTurn();
    s.SaveClock();
    const bool synced = core.turn_synced;
    const absl::Status status =
        core.rows.Commit(synced ? CommitMode::kSynced : CommitMode::kWritten);
    ++core.stats.commits;
    if (status.ok()) {
      if (synced) {
        ++core.stats.fsyncs;
        for (const auto& partition : core.partitions) {
          partition->TurnCommitted(true);
        }
        s.unsynced = false;
        s.next_fsync = absl::InfiniteDuration();
      } else if (!s.unsynced) {
        s.unsynced = true;
        s.next_fsync = now.steady + core.options.fsync_period;
      }
      s.writes.OnTurnCommitted();
    } else {
      s.FailTurn(status);
      // A full disk may have refused the turn before it wrote any of it; then
      // the log still works, and what was committed earlier can be synced. Of
      // any other failure nobody knows what a restart will find: neither "done"
      // nor "without effect" would be true.
      const absl::Status log =
          absl::IsResourceExhausted(status) ? SyncToDisk() : status;
      if (!log.ok()) {
        core.output = {};
        core.output.fatal = log;
      }
    }
  } else {
    s.writes.OnTurnCommitted();
  }
  core.touched.clear();
  core.turn_synced = false;
  s.applied_in_turn.clear();
  core.stats.cache_hits = core.rows.hits();
  core.stats.cache_misses = core.rows.misses();
  return std::exchange(core.output, {});
}

void Shard::State::FailTurn(const absl::Status& why) {
  ++core.stats.commits_failed;
  std::vector<ClientReply> held = std::move(core.output.replies);
  core.output = {};
  // Everything in memory goes back to what is on disk; only the mint counters
  // stay, so that the dots of this turn are never used again.
  for (const auto& partition : core.partitions) {
    absl::Status loaded = partition->Load();
    if (!loaded.ok()) {
      ++core.stats.corruptions;
      core.output.fatal = loaded;
      return;
    }
  }
  clock_saved = {};
  const absl::Status failed(
      why.code(),
      absl::StrCat("the write could not be committed: ", why.message()));
  // What was read in this turn may have been written in it.
  const absl::Status unread = absl::UnavailableError(
      absl::StrCat("beside a write that could not be committed; try again (",
                   why.message(), ")"));
  writes.OnTurnFailed(failed);
  reads.OnTurnFailed(unread);
  absl::flat_hash_set<RequestId> answered;
  for (const ClientReply& reply : core.output.replies) {
    answered.insert(reply.id);
  }
  for (ClientReply& reply : held) {
    if (!answered.insert(reply.id).second) continue;
    if (reply.body.ok()) {
      core.Reply(reply.id, unread);
    } else {
      core.output.replies.push_back(std::move(reply));  // as true as before
    }
  }
  for (const Applied& applied : applied_in_turn) {
    core.Send(applied.from, applied.partition, Refuse{applied.events, failed});
  }
}

void Shard::HandleTimers(Now now) {
  State& s = *state_;
  s.writes.OnTimers(now);
  s.reads.OnTimers(now);
  s.sync.OnTimers(now);
  if (s.unsynced && now.steady >= s.next_fsync) s.core.turn_synced = true;
  if (now.steady >= s.next_maintenance) {
    s.next_maintenance = now.steady + s.core.options.sync_period_min;
    s.TruncateIdleOrFull();
  }
}

absl::Duration Shard::next_deadline() const {
  const State& s = *state_;
  return std::min({s.writes.next_deadline(), s.reads.next_deadline(),
                   s.sync.next_deadline(),
                   s.unsynced ? s.next_fsync : absl::InfiniteDuration(),
                   s.next_maintenance});
}

void Shard::State::TruncateIdleOrFull() {
  size_t budget = core.options.truncate_entries_per_turn;
  for (const auto& partition : core.partitions) {
    uint64_t& seen = sequence_at_round[partition->id()];
    const bool idle = seen == partition->sequence();
    seen = partition->sequence();
    const bool full =
        partition->log_entries() >= core.options.checkpoint_deltas;
    if (budget > 0 && (idle || full)) budget -= Truncate(*partition, budget);
  }
}

size_t Shard::State::Truncate(Partition& partition, size_t max) {
  if (partition.log_entries() == 0 || partition.quarantined()) return 0;
  const crdt::EventSet stable = sync.StableEvents(partition.id());
  absl::StatusOr<size_t> removed = partition.Truncate(stable, max);
  if (!removed.ok()) {
    ++core.stats.corruptions;
    return 0;
  }
  return *removed;
}

void Shard::TruncateLogs() {
  for (const auto& partition : state_->core.partitions) {
    state_->Truncate(*partition, partition->log_entries());
  }
}

void Shard::CheckpointAll() {
  for (const auto& partition : state_->core.partitions) {
    if (partition->deltas_since_checkpoint() > 0) partition->Checkpoint();
  }
}

absl::Status Shard::SyncToDisk() {
  DOVETAIL_RETURN_IF_ERROR(state_->core.storage.Sync());
  ++state_->core.stats.fsyncs;
  for (const auto& partition : state_->core.partitions) {
    partition->TurnCommitted(true);
  }
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
  std::string value;
  crdt::Writer out(&value);
  out.Byte(crdt::kCodecVersion);
  out.Fixed64(core.clock.last().wall_ms);
  out.Varint(core.clock.last().logical);
  core.rows.PutOther(Family::kMeta, ClockKey(core.identity.shard), value);
  clock_saved = core.clock.last();
}

}  // namespace dovetail::replica
