// The world that a scenario plays in: processes with disks and clocks, and a
// network in which nothing moves by itself.
//
// It drives replica::Shard, the state machine of production, and holds no rule
// about data. Every verb ends its turns at once; what a turn lets out is
// delivered, queued or dropped as the verb that caused it says (Traffic), and
// time stands still except in Settle().
#ifndef DOVETAIL_TESTS_SCENARIO_WORLD_H_
#define DOVETAIL_TESTS_SCENARIO_WORLD_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "replica/options.h"
#include "replica/placement.h"
#include "replica/shard.h"
#include "tests/scenario/network.h"
#include "tests/sim/disk.h"

namespace dovetail::scenario {

struct WorldOptions {
  // Makes the disks: in memory, or RocksDB in temporary directories.
  std::function<std::unique_ptr<sim::Disk>()> make_disk;
  // Of the actors' bits. No expectation may depend on it.
  uint64_t seed = 1;
};

class World {
 public:
  using NodeId = replica::NodeId;

  explicit World(WorldOptions options) : options_(std::move(options)) {}

  // --- The cast; before Begin() ---
  void AddNode(std::string name);
  void SetPartitions(uint32_t partitions) { partitions_ = partitions; }
  // N; never said, every node owns every partition.
  void SetOwners(uint32_t owners) { owners_ = owners; }
  // From now on, as all nodes know it.
  void SetBucketTtl(const std::string& bucket, int64_t ttl_ms);
  // Starts all nodes. Once.
  absl::Status Begin();
  bool begun() const { return begun_; }

  // --- Names and states ---
  std::optional<NodeId> Find(const std::string& name) const;
  const std::string& NameOf(NodeId node) const { return At(node).name; }
  bool IsRunning(NodeId node) const { return At(node).shard != nullptr; }
  std::vector<NodeId> RunningNodes() const;
  // Those of them that own the partition.
  std::vector<NodeId> RunningOwners(replica::PartitionId partition) const;
  bool Owns(NodeId node, replica::PartitionId partition) const {
    return placement_.Owns(node, partition);
  }
  uint32_t partitions() const { return partitions_; }

  // --- Operations. Unavailable at a stopped node. ---
  // How far the messages that a request causes travel.
  enum class Reach { kQueue, kAtOnce };
  absl::StatusOr<replica::WriteReply> Write(
      NodeId who, replica::WriteRequest request,
      const replica::RequestOptions& options, Reach reach);
  absl::StatusOr<crdt::ReadResult> Read(NodeId who,
                                        replica::ReadRequest request,
                                        const replica::RequestOptions& options);
  absl::StatusOr<std::vector<crdt::ObjectId>> List(NodeId who,
                                                   const std::string& bucket);
  void SetClock(NodeId who, int64_t offset_ms);
  // Time goes on for everybody; timers that are due then wait for Settle.
  void Pass(absl::Duration time) { steady_ += time; }
  // A client's clock, which is right.
  uint64_t WallMs() const;

  // --- Messages ---
  Network& network() { return network_; }
  // Whether a message sent now would arrive.
  bool Reaches(Network::Way way) const;
  // Delivers the delta at `index` of the queue if it can arrive; false if not.
  // It leaves the queue unless `keep`; its answer is lost unless `answered`.
  struct ShipTerms {
    bool keep = false;
    bool answered = true;
  };
  bool ShipOne(Network::Way way, size_t index, ShipTerms terms);
  // Anti-entropy between two nodes until neither says anything more.
  void SyncPair(NodeId a, NodeId b);
  // The same between all, until no delta is applied any more.
  void SyncAll();
  // By ranges alone: `stale` learns what `healthy` has, up to the row key
  // `until`.
  void RangeSync(NodeId healthy, NodeId stale,
                 const std::optional<std::string>& until);
  // `node` looks for damage, and mends what it finds with its peers' help.
  void Scrub(NodeId node);
  // What `node` lacks is in nobody's log any more.
  absl::Status MakeStale(NodeId node);
  // Lets everything run until nothing moves. Fails if that does not happen.
  absl::Status Settle();

  // --- Faults. Stop needs a running node, the others a stopped one. ---
  void Stop(NodeId node);
  void LoseDeltas(NodeId node, size_t count);
  absl::Status Start(NodeId node);
  absl::Status MakeDurable(NodeId node);
  std::unique_ptr<sim::Disk> CopyDisk(NodeId node);
  void ReplaceDisk(NodeId node, std::unique_ptr<sim::Disk> disk);
  void WipeDisk(NodeId node);
  // The object's rows are gone, or have a bit flipped each; how many.
  absl::StatusOr<size_t> DamageRows(NodeId node, const crdt::ObjectId& object,
                                    bool flips);
  // A further owner on a copy of that disk, which is started.
  absl::Status Clone(NodeId node, std::string name);

  // --- The ring; all that run hear of it at once, data does not move yet ---
  // A further node, which is started.
  absl::Status Join(std::string name);
  // `node` is no member any more; if `gone`, it has to be stopped, and its disk
  // is not counted on. InvalidArgument: it is no member, or the last owner.
  absl::Status Leave(NodeId node, bool gone);
  // `by` takes the place of `node`. A node of that name that is no member, or a
  // further one, which is started.
  absl::Status Replace(NodeId node, std::string by);
  // It stays a member; with 0 it owns nothing.
  absl::Status SetWeight(NodeId node, uint64_t weight);

  // --- Inspection ---
  // Requires: running.
  replica::Shard& ShardOf(NodeId node);
  replica::Storage& StorageOf(NodeId node);
  int64_t ClockAheadMs(NodeId node);
  // Over all lives of the node.
  uint64_t CorruptionsOf(NodeId node) const;
  uint64_t ActorsThatMinted(NodeId node) const;
  // All actors the node has had.
  const std::vector<crdt::ActorId>& ActorsOf(NodeId node) const {
    return At(node).actors;
  }
  // The first error that ended a process, or made one refuse to go on. A bug,
  // or damage that the script did not ask for.
  const absl::Status& fatal() const { return fatal_; }

 private:
  struct Node {
    std::string name;
    std::unique_ptr<sim::Disk> disk;
    std::unique_ptr<replica::Storage> storage;
    std::unique_ptr<replica::Shard> shard;
    std::vector<crdt::ActorId> actors;
    bool clone = false;
    int64_t clock_offset_ms = 0;
    uint64_t corruptions_before = 0;  // of earlier lives
    uint64_t minting_lives = 0;       // of earlier lives
  };
  struct InFlight {
    NodeId from{};
    replica::Envelope envelope;
  };
  enum class Fate { kDeliver, kQueue, kDrop };
  // What becomes of a message that a turn lets out.
  using Traffic = std::function<Fate(NodeId from, const replica::Envelope&)>;

  Node& At(NodeId node) { return nodes_[replica::Index(node)]; }
  const Node& At(NodeId node) const { return nodes_[replica::Index(node)]; }
  // Who owns what among the nodes there are now.
  replica::Placement MakePlacement() const;
  // The node of that name; if there is none, a further one, not started.
  NodeId FindOrAdd(std::string name);
  // Makes the next ring of `members`, without the disks of `gone`.
  absl::Status Commit(std::vector<NodeId> members, std::vector<NodeId> gone);
  replica::Now NowOf(const Node& node) const;
  crdt::ActorId DrawActor();
  // Ends the turn of `node` and everything that follows from it.
  void EndTurn(NodeId node, const Traffic& traffic);
  void Release(NodeId node, const Traffic& traffic);
  // Tells `who` which peers it can send to.
  void TellReachable(NodeId who, const Traffic& traffic);
  absl::StatusOr<replica::ClientReply> Request(NodeId who,
                                               replica::ClientRequest request,
                                               const Traffic& traffic);
  uint64_t DeltasApplied() const;
  void DeliverQueues(const Traffic& traffic);
  bool FireTimers(const Traffic& traffic);
  std::vector<std::vector<replica::PartitionDigest>> Fingerprint() const;

  const WorldOptions options_;
  // No time passes but by `wait`: nothing is to wait for bytes to pass, either.
  static replica::ShardOptions Unpaced() {
    replica::ShardOptions options;
    options.transfer_bytes_per_second = 0;
    return options;
  }
  const replica::ShardOptions shard_options_ = Unpaced();
  uint32_t partitions_ = 1;
  bool begun_ = false;
  uint32_t owners_ = 0;  // 0: all
  replica::Placement placement_{0, 1};
  // The ring: its members in order, and what was before.
  uint64_t epoch_ = 1;
  std::vector<NodeId> members_;
  std::set<NodeId> weightless_;
  std::vector<std::vector<NodeId>> owners_before_;  // by partition
  std::set<NodeId> gone_;
  std::vector<Node> nodes_;
  Network network_;
  std::deque<InFlight> in_flight_;
  std::map<replica::RequestId, replica::ClientReply> replies_;
  uint64_t next_request_ = 1;
  uint64_t actors_drawn_ = 0;
  absl::Duration steady_ = absl::ZeroDuration();
  std::shared_ptr<const replica::BucketDefaults> buckets_ =
      std::make_shared<const replica::BucketDefaults>();
  absl::Status fatal_;
};

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_WORLD_H_
