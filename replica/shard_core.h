// What the parts of a shard share: its partitions, its clock, and the outputs
// of the turn that is under way. No rules live here; the parts do not know one
// another and meet in shard.cc.
#ifndef DOVETAIL_REPLICA_SHARD_CORE_H_
#define DOVETAIL_REPLICA_SHARD_CORE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "crdt/hlc.h"
#include "replica/partition.h"
#include "replica/peer_clocks.h"
#include "replica/peer_times.h"
#include "replica/shard.h"

namespace dovetail::replica {

struct ShardCore {
  ShardCore(const ShardOptions& options_in, const Placement& placement_in,
            const Shard::Identity& identity_in, Storage& storage_in)
      : options(options_in),
        placement(placement_in),
        identity(identity_in),
        storage(storage_in),
        unlisted(
            identity_in.unlisted != nullptr
                ? identity_in.unlisted
                : std::make_shared<UnlistedBoard>(placement_in.partitions())),
        rows(storage_in, options_in.row_cache_bytes),
        peer_times(options_in, placement) {}

  const ShardOptions& options;
  Placement placement;
  std::shared_ptr<const BucketDefaults> buckets =
      std::make_shared<const BucketDefaults>();
  const Shard::Identity identity;
  Storage& storage;
  const std::shared_ptr<UnlistedBoard> unlisted;
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

  // Nodes that can be reached.
  std::map<NodeId, crdt::ActorId> peers_up;  // with their incarnations
  bool IsUp(NodeId node) const {
    return node == identity.self || peers_up.contains(node);
  }

  // How quickly they answer.
  PeerTimes peer_times;

  // Whose replicas a local level at this node means. Empty while there is one
  // region only.
  const std::string& Region() const {
    const bool member = placement.Find(identity.self) != nullptr;
    return member || placement.one_region() ? placement.RegionOf(identity.self)
                                            : identity.region;
  }

  // What is known of their clocks; by these objects expire.
  PeerClocks peer_clocks;
  ExpiryClock ExpiryClockOf(PartitionId partition) const {
    return {
        peer_clocks.Time(time),
        peer_clocks.KnowsMost(identity.self, placement.Owners(partition), time),
        buckets.get()};
  }

  // The owners of a partition without this node, in order of preference.
  std::vector<NodeId> OtherOwners(PartitionId partition) const {
    const absl::Span<const NodeId> all = placement.Owners(partition);
    std::vector<NodeId> owners(all.begin(), all.end());
    std::erase(owners, identity.self);
    return owners;
  }
  // These, and who owned it by the ring before.
  std::vector<NodeId> OwnersAndBefore(PartitionId partition) const {
    std::vector<NodeId> nodes = OtherOwners(partition);
    for (NodeId node : placement.Before(partition)) {
      if (node == identity.self || placement.Owns(node, partition)) continue;
      nodes.push_back(node);
    }
    return nodes;
  }
  // Whether this node is to hold all of the partition. If not, it stands in
  // for owners: it holds what reached it until they have it.
  bool IsOwner(PartitionId partition) const {
    return placement.Owns(identity.self, partition);
  }
  // What this node's word about the partition is worth (filling.h).
  Standing StandingOf(PartitionId partition) const;
  // Whether what is here of the partition may be told as such. While partitions
  // move, it is known to be a part of the truth.
  absl::Status MayAnswer(PartitionId partition) const {
    const Partition& mine = Get(partition);
    const RangeProgress& progress = mine.progress();
    const bool part =
        placement.moves() && !progress.mending && progress.lost.empty();
    return part ? mine.Available() : Readable(partition);
  }
  // Whether what is here of the partition is what there is.
  absl::Status Readable(PartitionId partition) const;
  // What others have said of theirs by this placement.
  std::map<std::pair<PartitionId, NodeId>, Standing> standings;
  // Whether what `node` holds is probably not a part of the truth alone. Who
  // has said nothing yet is taken at what the placement makes it.
  bool IsProbablyWhole(NodeId node, PartitionId partition) const;
  // Whether that is so of anybody but this node, within reach or not.
  bool AnotherIsWhole(PartitionId partition) const;

  // ResourceExhausted if this node holds as much for other nodes as it may, and
  // this would be more of it.
  absl::Status RoomToStandIn(PartitionId partition) const;
  // Bytes of deltas held for others.
  uint64_t HintBytes() const;
  // The registers of `leaf` move the clock; a timestamp too far ahead stays in
  // its payload and moves none.
  void ReceiveStamps(const crdt::Leaf& leaf, Now now);
  // Who vouches, for a receipt.
  Receipt ReceiptOf(PartitionId partition, const std::vector<NodeId>& nodes,
                    uint32_t required, Durability durability) const {
    Receipt receipt{nodes, {}, required, durability};
    for (NodeId node : nodes) {
      if (!placement.Owns(node, partition)) receipt.stand_ins.push_back(node);
    }
    return receipt;
  }

  // --- The turn ---
  // Of the input that is being handled.
  absl::Duration steady;
  Now time;
  void SetTime(Now input) {
    time = input;
    steady = input.steady;
  }
  Output output;
  // The turn's commit must reach stable storage before its outputs leave.
  bool turn_synced = false;

  // Requests that the shard makes itself (reaper.h) have ids that no driver
  // gives, nor the forwarder, whose top bits are 10; no reply to them leaves.
  // Those that have come to their end.
  static constexpr uint64_t kOwnRequests = uint64_t{3} << 62;
  static bool IsOwnRequest(RequestId id) {
    return static_cast<uint64_t>(id) >= kOwnRequests;
  }
  std::vector<RequestId> own_done;
  // What came of reads that asked whether an object may be removed.
  struct Reaped {
    PartitionId partition{};
    crdt::ObjectId object;
    uint64_t expires_ms = 0;  // 0: not now
  };
  std::vector<Reaped> reaped;

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
    if (IsOwnRequest(id)) return own_done.push_back(id);
    output.replies.push_back({id, std::move(error)});
  }
  template <class Body>
  void Reply(RequestId id, Body body) {
    if (IsOwnRequest(id)) return own_done.push_back(id);
    output.replies.push_back(
        {id, std::variant<WriteReply, ReadReply, ListReply>(std::move(body))});
  }
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SHARD_CORE_H_
