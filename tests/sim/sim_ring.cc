// The ring of a simulated cluster: how it changes, and who has heard of that.
#include <algorithm>
#include <memory>
#include <utility>

#include "tests/sim/sim_cluster.h"

namespace dovetail::sim {

using replica::NodeId;

const replica::Placement& SimCluster::PlacementAt(
    uint32_t id, replica::PartitionId partition) const {
  return *nodes_[id].process->lanes[LaneOf(id, partition)].placement;
}

bool SimCluster::RingKnownSince(int64_t at_us) const {
  if (ring_heard_us_ > at_us) return false;
  for (const Node& node : nodes_) {
    if (!node.running()) continue;
    for (const Lane& lane : node.process->lanes) {
      if (lane.placement != placement_) return false;
    }
  }
  return true;
}

void SimCluster::ChangeRing(uint64_t draw, int64_t spread_us) {
  Stream stream(plan_.seed, "ring", draw);
  std::vector<replica::Placement::Member> members;
  for (const auto& [id, member] : placement_->members()) {
    members.push_back(member);
  }
  std::vector<replica::Placement::Row> rows;
  for (uint32_t p = 0; p < partitions(); ++p) {
    const replica::PartitionId partition{static_cast<uint16_t>(p)};
    replica::Placement::Row row;
    for (const NodeId node : placement_->Owners(partition)) {
      row.nodes.push_back(node);
    }
    row.owners = static_cast<uint32_t>(row.nodes.size());
    for (const NodeId node : placement_->StandIns(partition)) {
      row.nodes.push_back(node);
    }
    if (stream.Half()) {
      for (size_t i = row.nodes.size(); i > 1; --i) {
        std::swap(row.nodes[i - 1], row.nodes[stream.Below(i)]);
      }
    }
    rows.push_back(std::move(row));
  }
  placement_ = std::make_shared<replica::Placement>(placement_->epoch() + 1,
                                                    members, std::move(rows));
  for (uint32_t id = 0; id < size(); ++id) {
    const int64_t after = stream.Between(1, std::max<int64_t>(spread_us, 1));
    scheduler_.After(after, [this, id, ring = placement_] {
      if (!nodes_[id].running()) return;  // it starts with the newest
      for (uint32_t lane = 0; lane < nodes_[id].process->lanes.size(); ++lane) {
        Push(id, lane, RingChange{ring});
      }
    });
  }
}

}  // namespace dovetail::sim
