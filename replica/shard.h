// The way into a node's data: a deterministic state machine that owns a fixed
// subset of the partitions (partition mod shards) and is driven by one thread.
//
// Inputs bring the time with them; outputs wait for the end of the turn:
//
//   shard.HandleRequest(request, now);      any number of inputs
//   shard.HandleMessage(from, message, now);
//   shard.HandleTimers(now);                when next_deadline() has come
//   Output out = shard.EndTurn(now);        commits, then releases
//   send(out.messages); reply(out.replies);
//
// The output rule: nothing leaves before the writes it vouches for are as
// durable as it says they are. So a turn's outputs are held until its one
// batch is committed; if that fails, the turn's writes and reads fail, its
// caches, contexts and sums are reloaded, and the dots it minted stay burnt.
//
// There are no rules about data in here: partition.h applies and mutates,
// coordinator.h counts answers, sync.h finds and fills gaps.
#ifndef DOVETAIL_REPLICA_SHARD_H_
#define DOVETAIL_REPLICA_SHARD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crdt/dot.h"
#include "crdt/event_set.h"
#include "replica/bucket_properties.h"
#include "replica/ids.h"
#include "replica/message.h"
#include "replica/node_load.h"
#include "replica/options.h"
#include "replica/peer_times.h"
#include "replica/placement.h"
#include "replica/request.h"
#include "replica/storage.h"
#include "replica/sync_lag.h"
#include "replica/transfer_pace.h"
#include "replica/unlisted_board.h"

namespace dovetail::replica {

// What a turn lets out, in this order.
struct Output {
  std::vector<Envelope> messages;
  std::vector<ClientReply> replies;
  // Only with ShardOptions::background_fsync: call Storage::Sync(), then
  // HandleFsynced; if it fails, the process must end. Turns go on meanwhile.
  bool fsync_due = false;
  // Not OK: the log could not be made durable. The process must end (a failed
  // fsync is never tried again and trusted).
  absl::Status fatal;
  // Lines for the log of the node (repair_diary.h).
  std::vector<std::string> notices;
};

// One partition as seen from outside, for `digest`, tests and the simulator.
struct PartitionDigest {
  PartitionId partition{};
  Hash128 rows;              // sum over all (object, path, dot, payload)
  uint64_t row_entries = 0;  // summands in it
  Hash128 context;           // hash of E and X
  uint64_t events = 0;       // dots in E
  uint64_t log_entries = 0;
  uint64_t log_bytes = 0;
  friend bool operator==(const PartitionDigest&,
                         const PartitionDigest&) = default;
};

// Counters since the start; for `status` and metrics.
struct ShardStats {
  uint64_t deltas_applied = 0;
  uint64_t deltas_duplicate = 0;
  uint64_t operations_minted = 0;
  uint64_t commits = 0;
  uint64_t commits_failed = 0;
  uint64_t fsyncs = 0;
  uint64_t cache_hits = 0;
  uint64_t cache_misses = 0;
  uint64_t sync_deltas_sent = 0;
  uint64_t read_mismatches = 0;
  uint64_t clock_refusals = 0;  // foreign timestamps too far ahead
  uint64_t corruptions = 0;     // rows or deltas that did not decode or agree
  uint64_t log_gaps = 0;        // a peer lacked events that no log here holds
  uint64_t log_given_up = 0;  // events removed from logs that an owner may lack
  uint64_t range_syncs = 0;   // begun, since logs did not reach
  uint64_t range_syncs_done = 0;
  uint64_t scrubbed_leaves = 0;   // digest leaves whose rows were compared
  uint64_t damaged_leaves = 0;    // of those, with rows lost or altered
  uint64_t divergences = 0;       // a peer with the same events had other rows
  uint64_t mended = 0;            // partitions put right after damage
  uint64_t restored = 0;          // values that these had lost
  uint64_t losses_accepted = 0;   // ranges of these that nobody could give back
  uint64_t filling = 0;           // partitions that are read elsewhere, now
  uint64_t range_rows = 0;        // rows that these brought
  uint64_t range_bytes_sent = 0;  // in answers to others
  // Bytes a second that ranges may take in now, and how often transfers became
  // slower for the sake of requests (transfer_pace.h).
  uint64_t transfer_pace = 0;
  uint64_t transfer_yields = 0;
  uint64_t quarantined = 0;  // partitions that refuse service: damaged
  uint64_t hints = 0;        // deltas held for other nodes, now
  uint64_t hint_bytes = 0;   // and their bytes
  uint64_t handed_over = 0;  // partitions given up, since the owners have it
  uint64_t emptying = 0;     // of those, not yet removed altogether
  uint64_t ids_reused = 0;   // operation ids used for two operations
  // Partitions that this node owns and does not yet have all of; and those that
  // it has come to have since the start.
  uint64_t incomplete = 0;
  uint64_t filled = 0;
  uint64_t held = 0;             // partitions here that have had an event
  uint64_t expired_removed = 0;  // objects
  // 1 while something that may have expired stays, since this node's clock
  // does not agree with those of enough owners.
  uint64_t expiry_held_back = 0;
};

// A partition that this node owns and does not yet have all of.
struct Transfer {
  PartitionId partition{};
  // Whom it is being read from by ranges; absent while logs bring it, while it
  // waits for its turn, or for a source.
  std::optional<NodeId> source;
  uint64_t events_lacking = 0;  // of what others have said that they have
  double ranges_done = 0;  // of a sync by ranges, as a fraction of the keys
  uint64_t bytes = 0;      // that ranges have brought since the start
  friend bool operator==(const Transfer&, const Transfer&) = default;
};

class Shard {
 public:
  struct Identity {
    NodeId self{};
    // Drawn at random at this start of the process and recorded (RecordActor)
    // before the shard exists.
    crdt::ActorId actor{};
    uint32_t shard = 0;
    uint32_t shards = 1;
    // Its label. Counts while it is no member: else the ring says it.
    std::string region = {};
    // What the node's shards have in common. Null: it has no other.
    std::shared_ptr<UnlistedBoard> unlisted = nullptr;
  };

  // The references must outlive the shard.
  Shard(const ShardOptions& options, const Placement& placement,
        const Identity& identity, Storage& storage);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // Loads contexts and sums. Call once, before anything else. DataLoss if what
  // is on disk does not decode or does not add up.
  absl::Status Open(Now now);

  // --- Inputs ---
  void HandleRequest(ClientRequest request, Now now);
  void HandleMessage(NodeId from, Message message, Now now);
  // The link to `peer` came up: summaries are exchanged at once. It went down
  // or refused a send: what it lacks is found at the next reconnect.
  // `incarnation` is the actor of the peer's process.
  void HandlePeerUp(NodeId peer, Now now, crdt::ActorId incarnation = {});
  void HandlePeerDown(NodeId peer, Now now);
  void HandleTimers(Now now);
  // The ring has changed. Requests in flight are asked anew of those who own it
  // now.
  // Requires: as many partitions as before.
  void HandlePlacement(Placement placement, Now now);
  // The properties of buckets have changed, for requests that come from now on.
  void HandleBuckets(std::shared_ptr<const BucketDefaults> buckets);
  // The Sync() that an Output asked for has returned OK.
  void HandleFsynced();

  // How long what this node was asked took in the short while that is over:
  // transfers yield to it (transfer_pace.h).
  void HandleRequestTimes(const RequestTimes& times);

  // While paused no sync by ranges begins or goes on, but for repair of what is
  // damaged here. Not remembered over a restart.
  void PauseTransfers(bool paused);

  // Commits the turn and releases what it may let out.
  Output EndTurn(Now now);

  // When HandleTimers wants to be called, at the latest.
  absl::Duration next_deadline() const;

  // --- Direct controls, for tests, the simulator and administration ---
  // Starts anti-entropy with `peer` on all partitions now, without leaving out
  // what may be on its way.
  void StartSync(NodeId peer, Now now);
  // Brings this node up to date by ranges with what `source` has, though logs
  // may reach; of each partition the rows before `until`, where it is said.
  void StartRanges(NodeId source, Now now,
                   const std::optional<std::string>& until = std::nullopt);
  // Fsyncs, and with it moves what counts as durable.
  absl::Status SyncToDisk();
  // Writes checkpoints of all partitions that changed into this turn.
  void CheckpointAll();
  // Looks at every row and mends what is damaged, in one turn; what peers have
  // to bring comes after it (scrub.h).
  void ScrubAll(Now now);
  // Forgets what is logged and not in `kept`, whoever may need it.
  absl::Status ForgetLog(PartitionId partition, const crdt::EventSet& kept);
  // Truncates logs as far as stability allows, in this turn.
  void TruncateLogs();

  // --- Queries; between turns only ---
  std::vector<PartitionDigest> Digests() const;
  ShardStats stats() const;
  // This shard's part of it.
  NodeLoad Load() const;
  // By partition.
  std::vector<Transfer> Transfers() const;
  // By which ring it goes.
  uint64_t PlacementEpoch() const;
  // How far each other owner is behind, by NodeId (sync.h).
  std::vector<SyncLag> SyncLags() const;
  // How quickly each peer answers reads, by NodeId; of those asked of late.
  std::vector<PeerTime> PeerAnswerTimes() const;
  // How far the hybrid clock is ahead of `wall_ms`, in milliseconds.
  int64_t ClockAheadMs(uint64_t wall_ms) const;
  // Names of buckets after `after` of which the node (not this shard alone)
  // holds an object, in order, the first `max` of them.
  absl::StatusOr<std::vector<std::string>> BucketsInUse(
      const std::optional<std::string>& after, size_t max) const;
  // The context of one of this shard's partitions.
  const crdt::Context& ContextOf(PartitionId partition) const;
  // The part of its applied events that survives a power loss.
  const crdt::EventSet& DurableOf(PartitionId partition) const;
  // Every row in logical form, in order: "object|path|dot|payload" lines. For
  // comparing replicas byte by byte.
  absl::StatusOr<std::vector<std::string>> DumpRows(PartitionId partition);
  // Recomputes the sums from the rows; equal to Digests() or DataLoss.
  absl::Status VerifyDigests();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Records `actor` in `storage`, fsynced: required before a shard mints with
// it. One call per start of the process.
absl::Status RecordActor(Storage& storage, crdt::ActorId actor);
// Every actor recorded there, oldest first.
absl::StatusOr<std::vector<crdt::ActorId>> RecordedActors(Storage& storage);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SHARD_H_
