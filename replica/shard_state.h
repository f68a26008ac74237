// The insides of a shard: its parts and the bookkeeping of a turn. Private to
// shard*.cc.
#ifndef DOVETAIL_REPLICA_SHARD_STATE_H_
#define DOVETAIL_REPLICA_SHARD_STATE_H_

#include <map>
#include <utility>
#include <vector>

#include "replica/filling.h"
#include "replica/forwarder.h"
#include "replica/hints.h"
#include "replica/list_coordinator.h"
#include "replica/lost_tables.h"
#include "replica/range_source.h"
#include "replica/range_sync.h"
#include "replica/read_coordinator.h"
#include "replica/reaper.h"
#include "replica/repair_diary.h"
#include "replica/scrub.h"
#include "replica/session_wait.h"
#include "replica/shard.h"
#include "replica/shard_core.h"
#include "replica/sync.h"
#include "replica/write_coordinator.h"

namespace dovetail::replica {

struct Shard::State {
  State(const ShardOptions& options, const Placement& placement,
        const Identity& identity, Storage& storage)
      : core(options, placement, identity, storage),
        writes(core),
        reads(
            core,
            [this](NodeId peer, PartitionId partition) {
              sync.Nudge(peer, partition);
            },
            [this](NodeId peer, PartitionId partition) {
              sync.PullFrom(peer, partition);
            }),
        sessions(
            core,
            [this](SessionWait::Write write, Now now) {
              writes.Start(write.id, write.options, write.partition,
                           std::move(write.request), now);
            },
            [this](NodeId peer, PartitionId partition) {
              sync.PullFrom(peer, partition);
            }),
        lists(core),
        forwards(core),
        ranges(core),
        range_source(core),
        diary(core, ranges),
        sync(
            core,
            [this](NodeId source, PartitionId partition, Now now) {
              if (ranges.HasRoom()) ranges.Start(source, partition, now);
            },
            [this](NodeId peer, PartitionId partition, Now now) {
              ranges.Unite(peer, partition, now);
            }),
        filling(core, sync),
        hints(core, sync),
        scrub(core),
        lost_tables(core),
        reaper(
            core,
            [this](PartitionId partition, const crdt::ObjectId& object,
                   Now now) { AskWhenExpires(partition, object, now); },
            [this](RequestId id, PartitionId partition,
                   const crdt::ObjectId& object,
                   Now now) { RemoveExpired(id, partition, object, now); }) {}

  absl::Status LoadClock();
  void SaveClock();

  // --- Requests ---
  // Here, or at an owner.
  void Coordinate(ClientRequest request, PartitionId partition, Now now);
  absl::StatusOr<PartitionId> PartitionOfWrite(const WriteRequest& write);
  // Makes times to live absolute, by the clock of the coordinator and its
  // peers.
  void SetTimesOfExpiry(WriteRequest& write) const;
  absl::Status CheckSession(const std::optional<SessionToken>& session,
                            PartitionId partition) const;

  // --- Messages ---
  void OnMessage(NodeId from, Message message, Now now);
  void OnPresenceQuery(NodeId from, PartitionId partition, PresenceQuery query,
                       Now now);
  void OnForward(NodeId from, PartitionId partition, Forward forward, Now now);
  void OnReplicate(NodeId from, PartitionId partition,
                   const Replicate& replicate, Now now);
  void OnSyncDeltas(NodeId from, PartitionId partition, const SyncDeltas& chunk,
                    Now now);
  absl::StatusOr<ApplyOutcome> Apply(PartitionId partition,
                                     const crdt::Delta& delta,
                                     absl::string_view encoded, Now now);

  // --- What has expired (reaper.h) ---
  void AskWhenExpires(PartitionId partition, const crdt::ObjectId& object,
                      Now now);
  void RemoveExpired(RequestId id, PartitionId partition,
                     const crdt::ObjectId& object, Now now);

  void RoundOfRanges(Now now);

  // --- The turn ---
  void OnTurnCommitted(bool synced, Now now);
  void FailTurn(const absl::Status& why);
  // Of a failed turn's output: what is true without its commit stays, what
  // somebody waits for becomes an error, the rest is lost.
  void Salvage(Output turn, const absl::Status& write_failed,
               const absl::Status& read_failed);

  // When the background fsync is to begin.
  absl::Duration FsyncDeadline() const;
  void AskForFsync();
  // `regular`: a round in which idle partitions are looked at too. Returns
  // whether there may be more to remove than one turn does.
  bool TruncateIdleOrFull(bool regular);
  size_t Truncate(Partition& partition, size_t max);
  // What may go of its log, and what an owner may lack of that.
  struct Removable {
    crdt::EventSet events;
    crdt::EventSet given_up;
  };
  Removable RemovableOf(const Partition& partition) const;
  // Notes since when some owner lacks what is not new.
  void LookAtLogs(Now now);

  ShardCore core;
  WriteCoordinator writes;
  ReadCoordinator reads;
  SessionWait sessions;
  ListCoordinator lists;
  Forwarder forwards;
  RangeSync ranges;
  RangeSource range_source;
  RepairDiary diary;
  Sync sync;
  Filling filling;
  Hints hints;
  Scrub scrub;
  LostTables lost_tables;
  Reaper reaper;

  crdt::Timestamp clock_saved;
  // Commits since the last fsync (began), and when the next one is due.
  bool unsynced = false;
  absl::Duration next_fsync = absl::InfiniteDuration();
  // The driver's fsync: to be asked for at the end of this turn; running.
  bool fsync_due = false;
  bool fsync_running = false;
  absl::Duration next_maintenance;
  absl::Duration next_truncation;
  // Of all logs of partitions that are owned, at the last round.
  uint64_t log_bytes = 0;
  // Since when some owner has lacked what was not new then.
  std::map<PartitionId, absl::Duration> lacking_since;
  // Deltas ever applied per partition at the last maintenance round: one that
  // did not move is idle.
  std::map<PartitionId, uint64_t> sequence_at_round;
  // Deltas of others that this turn applied: refused if the commit fails.
  struct Applied {
    NodeId from{};
    PartitionId partition{};
    crdt::DotRun events;
  };
  std::vector<Applied> applied_in_turn;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SHARD_STATE_H_
