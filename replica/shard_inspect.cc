// What a shard tells about itself, and the register of actors on its disk.
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/shard_state.h"

namespace dovetail::replica {

std::vector<PartitionDigest> Shard::Digests() const {
  std::vector<PartitionDigest> digests;
  for (const auto& partition : state_->core.partitions) {
    PartitionDigest digest;
    digest.partition = partition->id();
    digest.rows = partition->sums().total().sum;
    digest.row_entries = static_cast<uint64_t>(partition->sums().total().count);
    std::string context;
    crdt::Writer out(&context);
    partition->context().applied.AppendTo(out);
    partition->context().superseded.AppendTo(out);
    digest.context = HashBytes(context);
    digest.events = partition->context().applied.dot_count();
    digest.log_entries = partition->log_entries();
    digest.log_bytes = partition->log_bytes();
    digests.push_back(digest);
  }
  return digests;
}

absl::StatusOr<std::vector<std::string>> Shard::BucketsInUse(
    const std::optional<std::string>& after, size_t max) const {
  std::vector<std::string> buckets;
  // From the end of one bucket to the first object of the next.
  std::string begin = after ? IndexRange(*after, "").end : "";
  while (buckets.size() < max) {
    absl::StatusOr<crdt::ObjectId> first = crdt::ObjectId{};
    DOVETAIL_RETURN_IF_ERROR(state_->core.storage.Scan(
        Family::kIndex, begin, "",
        [&](absl::string_view key, absl::string_view) {
          first = ParseIndexKey(key);
          return false;
        }));
    DOVETAIL_RETURN_IF_ERROR(first.status());
    if (first->bucket.empty()) break;  // there is none
    begin = IndexRange(first->bucket, "").end;
    buckets.push_back(std::move(first->bucket));
  }
  return buckets;
}

ShardStats Shard::stats() const {
  ShardStats stats = state_->core.stats;
  for (const auto& partition : state_->core.partitions) {
    stats.quarantined += partition->quarantined() ? 1 : 0;
    const PartitionId id = partition->id();
    const bool owner = state_->core.IsOwner(id);
    if (!owner && !partition->tenure()) {
      stats.hints += partition->log_entries();
    }
    stats.held += partition->context().applied.empty() ? 0 : 1;
    const bool complete = state_->core.StandingOf(id) == Standing::kComplete;
    stats.incomplete += owner && !complete ? 1 : 0;
    stats.ids_reused += partition->ids_reused();
    stats.restored += partition->restored();
    stats.filling += partition->progress().filling ? 1 : 0;
    stats.emptying += partition->emptying() ? 1 : 0;
  }
  stats.hint_bytes = state_->core.HintBytes();
  stats.transfer_pace = state_->ranges.pace().bytes_per_second();
  stats.transfer_yields = state_->ranges.pace().yields() +
                          state_->range_source.pace().yields() +
                          state_->sync.yields();
  return stats;
}

NodeLoad Shard::Load() const {
  const ShardStats counted = stats();
  NodeLoad load;
  load.hints = counted.hints;
  load.hint_bytes = counted.hint_bytes;
  load.held = static_cast<uint32_t>(counted.held);
  const ShardCore& core = state_->core;
  for (const auto& partition : core.partitions) {
    load.entries += static_cast<uint64_t>(partition->sums().total().count);
    const PartitionId id = partition->id();
    const bool whole =
        !core.IsOwner(id) || core.StandingOf(id) == Standing::kComplete;
    load.filling += whole && !partition->progress().filling ? 0 : 1;
  }
  for (const PeerTime& peer : PeerAnswerTimes()) {
    if (peer.slow) load.slow.push_back(peer.peer);
  }
  return load;
}

std::vector<Transfer> Shard::Transfers() const {
  std::vector<Transfer> transfers;
  const ShardCore& core = state_->core;
  for (const auto& partition : core.partitions) {
    const PartitionId id = partition->id();
    if (!core.IsOwner(id) || core.StandingOf(id) == Standing::kComplete) {
      continue;
    }
    Transfer transfer = state_->ranges.ProgressOf(id);
    transfer.events_lacking = state_->sync.LackingOf(id);
    transfers.push_back(transfer);
  }
  return transfers;
}

uint64_t Shard::PlacementEpoch() const {
  return state_->core.placement.epoch();
}

void Shard::PauseTransfers(bool paused) { state_->ranges.Pause(paused); }

std::vector<SyncLag> Shard::SyncLags() const { return state_->sync.Lags(); }

std::vector<PeerTime> Shard::PeerAnswerTimes() const {
  return state_->core.peer_times.Measures();
}

int64_t Shard::ClockAheadMs(uint64_t wall_ms) const {
  return static_cast<int64_t>(state_->core.clock.last().wall_ms) -
         static_cast<int64_t>(wall_ms);
}

const crdt::Context& Shard::ContextOf(PartitionId partition) const {
  return state_->core.Get(partition).context();
}

const crdt::EventSet& Shard::DurableOf(PartitionId partition) const {
  return state_->core.Get(partition).durable();
}

absl::StatusOr<std::vector<std::string>> Shard::DumpRows(
    PartitionId partition) {
  std::vector<std::string> lines;
  DOVETAIL_RETURN_IF_ERROR(ForEachLeaf(
      state_->core.rows, state_->core.Get(partition).RowRange(),
      [&](const crdt::ObjectId& object, const crdt::Path& path,
          const crdt::Leaf& leaf) {
        for (const crdt::Leaf::Entry& entry : leaf.entries()) {
          std::string payload;
          crdt::Writer out(&payload);
          crdt::AppendPayload(out, entry.second);
          lines.push_back(absl::StrCat(
              crdt::ToString(object), "|", absl::CHexEscape(path.bytes()), "|",
              crdt::ToString(entry.first), "|", absl::CHexEscape(payload)));
        }
      }));
  return lines;
}

absl::Status Shard::VerifyDigests() {
  for (const auto& partition : state_->core.partitions) {
    DOVETAIL_RETURN_IF_ERROR(partition->VerifySums());
  }
  return absl::OkStatus();
}

absl::Status RecordActor(Storage& storage, crdt::ActorId actor) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::vector<crdt::ActorId> recorded,
                            RecordedActors(storage));
  for (crdt::ActorId other : recorded) {
    if (other == actor) {
      return absl::FailedPreconditionError(
          "the drawn actor was used here before: the random source is broken");
    }
  }
  std::string value;
  crdt::Writer(&value).Fixed64(crdt::ActorBits(actor));
  WriteBatch batch;
  batch.Put(Family::kMeta, ActorKey(static_cast<uint32_t>(recorded.size())),
            value);
  return storage.Commit(batch, CommitMode::kSynced);
}

absl::StatusOr<std::vector<crdt::ActorId>> RecordedActors(Storage& storage) {
  std::vector<crdt::ActorId> actors;
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(
      storage.Scan(Family::kMeta, ActorPrefix(), RangeEnd(ActorPrefix()),
                   [&](absl::string_view, absl::string_view value) {
                     crdt::Reader in(value);
                     actors.push_back(crdt::ActorId{in.Fixed64()});
                     damage = in.Finish();
                     return damage.ok();
                   }));
  if (!damage.ok()) {
    return absl::DataLossError(
        absl::StrCat("a recorded actor does not decode: ", damage.message()));
  }
  return actors;
}

}  // namespace dovetail::replica
