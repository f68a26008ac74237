#include "replica/placement_of.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "crdt/check.h"

namespace dovetail::replica {

Placement PlacementOf(const Ring& ring, const RingLineage& lineage,
                      const Ring* before, const std::vector<NodeId>& gone) {
  DOVETAIL_CHECK(lineage.ring.epoch == ring.epoch());
  std::vector<Placement::Member> members;
  const auto add = [&](const RingMember& member) {
    members.push_back({member.id, member.name, member.zone, member.region});
  };
  for (const RingMember& member : ring.spec().members) add(member);
  if (before != nullptr) {
    DOVETAIL_CHECK(before->partitions() == ring.partitions());
    for (const RingMember& member : before->spec().members) {
      if (ring.Find(member.id) == nullptr) add(member);
    }
  }
  std::vector<Placement::Row> rows;
  rows.reserve(ring.partitions());
  for (uint32_t p = 0; p < ring.partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    Placement::Row row;
    row.owners = static_cast<uint32_t>(ring.Owners(partition).size());
    row.nodes = ring.Preference(partition);
    row.nodes.resize(std::min(row.nodes.size(), row.owners + kStandInsMax));
    row.nodes.shrink_to_fit();
    if (before != nullptr) {
      for (const NodeId node : before->Owners(partition)) {
        ++row.owners_before;
        const bool lost =
            std::find(gone.begin(), gone.end(), node) != gone.end();
        if (!lost) row.before.push_back(node);
      }
    }
    rows.push_back(std::move(row));
  }
  return Placement(lineage, members, std::move(rows),
                   before != nullptr ? Placement::Transfers::kUnderWay
                                     : Placement::Transfers::kDone);
}

}  // namespace dovetail::replica
