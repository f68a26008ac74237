// What the parts of a shard share: its partitions, its clock, and the outputs
// of the turn that is under way. No rules live here; the parts do not know one
// another and meet in shard.cc.
#ifndef DOVETAIL_REPLICA_SHARD_CORE_H_
#define DOVETAIL_REPLICA_SHARD_CORE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "crdt/hlc.h"
#include "replica/partition.h"
#include "replica/shard.h"

namespace dovetail::replica {

struct ShardCore {
  ShardCore(const ShardOptions& options_in, const Placement& placement_in,
            const Shard::Identity& identity_in, Storage& storage_in)
      : options(options_in),
        placement(placement_in),
        identity(identity_in),
        storage(storage_in),
        rows(storage_in, options_in.row_cache_bytes) {}

  const ShardOptions& options;
  const Placement& placement;
  const Shard::Identity identity;
  Storage& storage;
  RowStore rows;
  crdt::HybridClock clock;
  ShardStats stats;

  // Partition p is at p / shards; this shard owns those with
  // p mod shards == identity.shard.
  std::vector<std::unique_ptr<Partition>> partitions;
  bool Owns(PartitionId partition) const {
    return Index(partition) < placement.partitions() &&
           Index(partition) % identity.shards == identity.shard;
  }
  Partition& Get(PartitionId partition) {
    DOVETAIL_CHECK(Owns(partition));
    return *partitions[Index(partition) / identity.shards];
  }
  const Partition& Get(PartitionId partition) const {
    DOVETAIL_CHECK(Owns(partition));
    return *partitions[Index(partition) / identity.shards];
  }

  // Links that are up, by node; grown on demand, since members may be added.
  std::vector<bool> peer_up;
  bool IsUp(NodeId node) const {
    return node == identity.self ||
           (Index(node) < peer_up.size() && peer_up[Index(node)]);
  }
  void SetUp(NodeId node, bool up) {
    if (Index(node) >= peer_up.size()) peer_up.resize(Index(node) + 1);
    peer_up[Index(node)] = up;
  }

  // The owners of a partition without this node, in order of preference.
  std::vector<NodeId> OtherOwners(PartitionId partition) const {
    std::vector<NodeId> owners = placement.Owners(partition);
    std::erase(owners, identity.self);
    return owners;
  }

  // --- The turn ---
  Output output;
  // The turn's commit must reach stable storage before its outputs leave.
  bool turn_synced = false;

  // Partitions that this turn changed, each at least once.
  std::vector<PartitionId> touched;

  // What the shard says to itself; it is heard before the turn ends.
  std::deque<Message> to_self;

  // A message to this node about a partition of another shard goes out like
  // those to peers, and the driver brings it there.
  template <class Body>
  void Send(NodeId to, PartitionId partition, Body body) {
    if (to == identity.self && Owns(partition)) {
      to_self.push_back(Message{partition, std::move(body)});
      return;
    }
    output.messages.push_back({to, Message{partition, std::move(body)}});
  }
  void Reply(RequestId id, absl::Status error) {
    output.replies.push_back({id, std::move(error)});
  }
  template <class Body>
  void Reply(RequestId id, Body body) {
    output.replies.push_back(
        {id, std::variant<WriteReply, ReadReply, ListReply>(std::move(body))});
  }
};

// The number of replicas a level means; InvalidArgument if there are not that
// many. `fallback` is the default of the options, 0 for a majority.
absl::StatusOr<uint32_t> ResolveLevel(const Level& level, uint32_t fallback,
                                      uint32_t replicas, const char* name);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SHARD_CORE_H_
