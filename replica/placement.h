// Which nodes own a partition, and who stands in for one that cannot be
// reached: the one question everything else asks of the cluster's membership.
//
// A value. It is made of a committed ring (or of a fixed list, where every
// member owns everything) and replaced as a whole when the ring changes; its
// stamp says which of two is newer. Who can be *reached* is another question
// (ShardCore::IsUp), and it never changes who owns.
#ifndef DOVETAIL_REPLICA_PLACEMENT_H_
#define DOVETAIL_REPLICA_PLACEMENT_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "crdt/check.h"
#include "replica/ids.h"
#include "replica/ring_stamp.h"

namespace dovetail::replica {

class Placement {
 public:
  // What requests need to know of a node.
  struct Member {
    NodeId id{};
    std::string name;
    std::string zone;
    std::string region;
  };
  // One partition: the owners in order of preference, then those who stand in
  // for owners that cannot be reached, in the order in which they are asked.
  struct Row {
    std::vector<NodeId> nodes;
    uint32_t owners = 0;
    // Who owned it by the ring before, in order of preference, but for those
    // whose disks are lost; and how many these were with them.
    std::vector<NodeId> before = {};
    uint32_t owners_before = 0;
  };

  // Members are NodeId 0 .. members-1 and own every partition; `partitions` is
  // Q. The place in the list rotates with the partition, so that no node is
  // everyone's first choice.
  Placement(uint32_t members, uint32_t partitions) {
    for (uint32_t i = 0; i < members; ++i) {
      members_[NodeId{i}] = {NodeId{i}, absl::StrCat(i), "", ""};
    }
    for (uint32_t p = 0; p < partitions; ++p) {
      Row row;
      row.owners = members;
      for (uint32_t i = 0; i < members; ++i) {
        row.nodes.push_back(NodeId{(p + i) % members});
      }
      rows_.push_back(std::move(row));
    }
  }
  // Whether new owners may still have to be filled from those of before.
  enum class Transfers : bool { kDone, kUnderWay };
  // One row for each partition. Requires: members of all nodes in the rows.
  Placement(const RingLineage& lineage, absl::Span<const Member> members,
            std::vector<Row> rows, Transfers transfers)
      : lineage_(lineage),
        moves_(transfers == Transfers::kUnderWay),
        rows_(std::move(rows)) {
    for (const Member& member : members) {
      members_[member.id] = member;
      one_region_ = one_region_ && member.region == members.front().region;
    }
    for (const Row& row : rows_) {
      DOVETAIL_CHECK(row.owners <= row.nodes.size());
      DOVETAIL_CHECK(row.before.size() <= row.owners_before);
      DOVETAIL_CHECK(moves_ || row.owners_before == 0);
      for (NodeId node : row.nodes) DOVETAIL_CHECK(members_.contains(node));
      for (NodeId node : row.before) DOVETAIL_CHECK(members_.contains(node));
    }
  }

  // Of rings that are named by their epochs alone, each grown from the one
  // before. `epoch_before`: of the ring before, while transfers are under way.
  Placement(uint64_t epoch, absl::Span<const Member> members,
            std::vector<Row> rows, uint64_t epoch_before = 0)
      : Placement(RingLineage{{epoch, {}},
                              {epoch > 0 ? epoch - 1 : 0, {}},
                              {epoch > 1 ? epoch - 2 : 0, {}}},
                  members, std::move(rows),
                  epoch_before != 0 ? Transfers::kUnderWay : Transfers::kDone) {
    DOVETAIL_CHECK(epoch_before == 0 || epoch_before + 1 == epoch);
  }

  const RingStamp& ring() const { return lineage_.ring; }
  uint64_t epoch() const { return ring().epoch; }
  // The ring before, also when its data has come; and the one before that.
  const RingStamp& parent() const { return lineage_.parent; }
  const RingStamp& grandparent() const { return lineage_.grandparent; }
  // Whether owners may have to be filled: not by a first ring, and no longer
  // once all have said that they are complete.
  bool moves() const { return moves_; }
  // Whether what a node says by the ring `by` counts for requests by this one.
  // That of the ring before does, while its owners are asked, too. By any other
  // ring, one that lost to this among them, the node may hold what it has for
  // owners who are none here, and give it up when these have it.
  bool Counts(const RingStamp& by) const {
    return SameRing(by, ring()) || (moves_ && SameRing(by, parent()));
  }
  uint32_t partitions() const { return static_cast<uint32_t>(rows_.size()); }
  // How many replicas the partition has: N, or fewer where there are not so
  // many nodes.
  uint32_t replicas(PartitionId partition) const {
    return rows_[Index(partition)].owners;
  }

  absl::Span<const NodeId> Owners(PartitionId partition) const {
    const Row& row = rows_[Index(partition)];
    return absl::MakeConstSpan(row.nodes).first(row.owners);
  }
  absl::Span<const NodeId> StandIns(PartitionId partition) const {
    const Row& row = rows_[Index(partition)];
    return absl::MakeConstSpan(row.nodes).subspan(row.owners);
  }
  bool Owns(NodeId node, PartitionId partition) const {
    const absl::Span<const NodeId> owners = Owners(partition);
    return std::find(owners.begin(), owners.end(), node) != owners.end();
  }
  // Those of before whose disks are not lost; some mostly still own it.
  absl::Span<const NodeId> Before(PartitionId partition) const {
    return rows_[Index(partition)].before;
  }
  uint32_t replicas_before(PartitionId partition) const {
    return rows_[Index(partition)].owners_before;
  }
  bool OwnedBefore(NodeId node, PartitionId partition) const {
    const absl::Span<const NodeId> owners = Before(partition);
    return std::find(owners.begin(), owners.end(), node) != owners.end();
  }
  // Owners, and who owned it before.
  bool Concerns(NodeId node, PartitionId partition) const {
    return Owns(node, partition) || OwnedBefore(node, partition);
  }

  const std::map<NodeId, Member>& members() const { return members_; }
  bool one_region() const { return one_region_; }
  // nullptr for a node that is no member.
  const Member* Find(NodeId node) const {
    const auto it = members_.find(node);
    return it == members_.end() ? nullptr : &it->second;
  }
  std::string NameOf(NodeId node) const {
    const Member* member = Find(node);
    return member == nullptr ? absl::StrCat("node ", Index(node))
                             : member->name;
  }
  // Empty for who is no member, and where there is one region only.
  const std::string& RegionOf(NodeId node) const {
    static const std::string* const kNone = new std::string;
    const Member* member = Find(node);
    return member == nullptr ? *kNone : member->region;
  }

 private:
  RingLineage lineage_;
  bool moves_ = false;
  bool one_region_ = true;
  std::map<NodeId, Member> members_;
  std::vector<Row> rows_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PLACEMENT_H_
