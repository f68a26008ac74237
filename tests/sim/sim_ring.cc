// The ring of a simulated cluster: how it changes, and who has heard of that.
#include "tests/sim/sim_ring.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/placement_of.h"
#include "replica/ring_plan.h"
#include "tests/sim/sim_cluster.h"

namespace dovetail::sim {

using replica::NodeId;

namespace {

// The place in the list of nodes rotates with the partition.
replica::Placement Rotating(const PlanOptions& plan) {
  const auto nodes = static_cast<uint32_t>(plan.nodes);
  const auto partitions = static_cast<uint32_t>(plan.partitions);
  const replica::Placement all(nodes, partitions);
  if (plan.owners == 0) return all;
  std::vector<replica::Placement::Member> members;
  for (const auto& [id, member] : all.members()) members.push_back(member);
  std::vector<replica::Placement::Row> rows;
  for (uint32_t p = 0; p < partitions; ++p) {
    const auto order =
        all.Owners(replica::PartitionId{static_cast<uint16_t>(p)});
    rows.push_back({{order.begin(), order.end()},
                    std::min(nodes, static_cast<uint32_t>(plan.owners))});
  }
  return replica::Placement(1, members, std::move(rows));
}

std::string Name(const char* kind, uint64_t number) {
  return absl::StrCat(kind, number);
}

}  // namespace

std::string RegionOf(const Plan& plan, uint32_t node) {
  const auto regions =
      static_cast<uint64_t>(std::max<int64_t>(plan.options.regions, 1));
  if (node < regions) return Name("region", node);
  return Name("region", Stream(plan.seed, "region", node).Below(regions));
}

std::string ZoneOf(const Plan& plan, uint32_t node) {
  const auto zones =
      static_cast<uint64_t>(std::max<int64_t>(plan.options.zones, 1));
  return Name("zone", Stream(plan.seed, "zone", node).Below(zones));
}

replica::RingMember MemberOf(const Plan& plan, uint32_t node) {
  replica::RingMember member;
  member.id = NodeId{node};
  member.name = Name("n", node);
  member.zone = ZoneOf(plan, node);
  member.region = RegionOf(plan, node);
  return member;
}

replica::CommittedRing FirstRingOf(const Plan& plan) {
  const PlanOptions& options = plan.options;
  DOVETAIL_CHECK(options.ring != 0);
  const int64_t owners = options.owners == 0 ? options.nodes : options.owners;
  const int64_t far = options.owners_far == 0 ? owners : options.owners_far;
  replica::RingSpec spec;
  spec.partitions = static_cast<uint32_t>(options.partitions);
  spec.replicas = static_cast<uint32_t>(owners);
  for (int64_t region = 1; region < options.regions; ++region) {
    spec.replicas_in_region[Name("region", static_cast<uint64_t>(region))] =
        static_cast<uint32_t>(far);
  }
  const int64_t members = std::max<int64_t>(options.nodes - options.joiners, 1);
  for (uint32_t node = 0; node < members; ++node) {
    replica::RingMember member = MemberOf(plan, node);
    member.place = Stream(plan.seed, "place", node).Next();
    spec.members.push_back(std::move(member));
  }
  auto ring = replica::FirstRing(std::move(spec), NodeId{});
  DOVETAIL_CHECK(ring.ok());
  return *std::move(ring);
}

replica::ClusterEvent::NewRing NewRingOf(const replica::CommittedRing& ring) {
  const auto computed = [](const replica::RingSpec& spec) {
    auto made = replica::Ring::Compute(spec);
    DOVETAIL_CHECK(made.ok());
    return std::make_shared<const replica::Ring>(*std::move(made));
  };
  replica::ClusterEvent::NewRing event{
      computed(ring.ring()), ring.lineage(), nullptr, {}};
  if (ring.before()) {
    event.before = computed(ring.before()->ring);
    event.gone = ring.before()->gone;
  }
  return event;
}

std::shared_ptr<const replica::Placement> FirstPlacement(const Plan& plan) {
  if (plan.options.ring == 0) {
    return std::make_shared<replica::Placement>(Rotating(plan.options));
  }
  const replica::CommittedRing first = FirstRingOf(plan);
  const auto ring = replica::Ring::Compute(first.ring());
  DOVETAIL_CHECK(ring.ok());
  return std::make_shared<replica::Placement>(
      replica::PlacementOf(*ring, first.lineage()));
}

uint64_t SimCluster::RegionMates(uint32_t node) const {
  uint64_t mates = 0;
  for (uint32_t id = 0; id < size(); ++id) {
    const bool same = RegionOf(plan_, id) == RegionOf(plan_, node);
    mates |= same ? uint64_t{1} << id : 0;
  }
  return mates;
}

uint64_t SimCluster::ZoneMates(uint32_t node) const {
  uint64_t mates = 0;
  for (uint32_t id = 0; id < size(); ++id) {
    const bool same = ZoneOf(plan_, id) == ZoneOf(plan_, node);
    mates |= same ? uint64_t{1} << id : 0;
  }
  return mates & RegionMates(node);
}

const replica::Placement& SimCluster::PlacementAt(
    uint32_t id, replica::PartitionId partition) const {
  return *nodes_[id].process->lanes[LaneOf(id, partition)].placement;
}

bool SimCluster::IsBeingFilled(uint32_t id, replica::PartitionId partition) {
  const auto transfers = ShardOf(id, partition).Transfers();
  return std::any_of(transfers.begin(), transfers.end(),
                     [&](const replica::Transfer& transfer) {
                       return transfer.partition == partition;
                     });
}

const replica::RingStamp& SimCluster::RingAt(
    uint32_t id, replica::PartitionId partition) const {
  return nodes_[id].process->lanes[LaneOf(id, partition)].ring;
}

bool SimCluster::RingKnownSince(int64_t at_us) const {
  if (ring_heard_us_ > at_us) return false;
  if (plan_.options.ring == 0) return true;
  for (const Node& node : nodes_) {
    if (!node.running()) continue;
    for (const Lane& lane : node.process->lanes) {
      if (lane.ring != newest_ring_) return false;
    }
  }
  return true;
}

bool SimCluster::AllKnow(const replica::RingStamp& ring) const {
  if (plan_.options.ring == 0) return true;
  for (const Node& node : nodes_) {
    if (!node.running()) continue;
    for (const Lane& lane : node.process->lanes) {
      if (lane.ring != ring && lane.ring.epoch <= ring.epoch) return false;
    }
  }
  return true;
}

}  // namespace dovetail::sim
