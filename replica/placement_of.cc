#include "replica/placement_of.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace dovetail::replica {

Placement PlacementOf(const Ring& ring) {
  std::vector<Placement::Member> members;
  for (const RingMember& member : ring.spec().members) {
    members.push_back({member.id, member.name, member.zone, member.region});
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
    rows.push_back(std::move(row));
  }
  return Placement(ring.epoch(), members, std::move(rows));
}

}  // namespace dovetail::replica
