#include "replica/ring.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::replica {
namespace {

uint64_t Bits(NodeId id) { return static_cast<uint64_t>(id); }

// A number below `below` that is anything but aligned with the partition's.
uint32_t Scatter(uint32_t partition, size_t below) {
  return static_cast<uint32_t>(DistanceOf(0, 1, partition).tie % below);
}

// The first of each list, the second of each, and so on; `start` goes first.
void AppendInTurn(const std::vector<std::vector<NodeId>>& lists, size_t start,
                  std::vector<NodeId>& out) {
  for (size_t rank = 0, added = 1; added > 0; ++rank) {
    added = 0;
    for (size_t i = 0; i < lists.size(); ++i) {
      const std::vector<NodeId>& list = lists[(start + i) % lists.size()];
      if (rank >= list.size()) continue;
      out.push_back(list[rank]);
      ++added;
    }
  }
}

absl::Status CheckMembers(const RingSpec& spec) {
  std::set<NodeId> ids;
  std::set<uint64_t> places;
  std::set<std::string> regions;
  bool weighs = false;
  for (const RingMember& member : spec.members) {
    if (!ids.insert(member.id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", Bits(member.id), " is twice in the ring"));
    }
    if (!places.insert(PlaceOf(member)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", Bits(member.id), " has the place ",
                       PlaceOf(member), " of another member"));
    }
    if (member.weight > kWeightMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", Bits(member.id), " has weight ", member.weight,
                       "; the limit is ", kWeightMax));
    }
    regions.insert(member.region);
    weighs |= member.weight > 0;
  }
  if (!weighs) {
    return absl::InvalidArgumentError(
        "no member has a weight above 0, so nobody would own anything");
  }
  if (regions.size() > kRegionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(regions.size(), " regions; the limit is ", kRegionsMax));
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t PlaceOf(const RingMember& member) {
  return member.place == 0 ? Bits(member.id) : member.place;
}

absl::Status CheckRingSpec(const RingSpec& spec) {
  if (!std::has_single_bit(spec.partitions) ||
      spec.partitions > kPartitionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(spec.partitions, " partitions: it must be a power of two,",
                     " at most ", kPartitionsMax));
  }
  if (spec.members.size() > kMembersMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        spec.members.size(), " members; the limit is ", kMembersMax));
  }
  if (spec.replicas < 1 || spec.replicas > kReplicasMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        spec.replicas, " replicas: it must be 1 to ", kReplicasMax));
  }
  if (spec.replicas_in_region.size() > kRegionsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(spec.replicas_in_region.size(), " regions with their own ",
                     "number of replicas; the limit is ", kRegionsMax));
  }
  for (const auto& [region, replicas] : spec.replicas_in_region) {
    if (replicas <= kReplicasMax) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(replicas, " replicas in region \"", region,
                     "\"; the limit is ", kReplicasMax));
  }
  return CheckMembers(spec);
}

absl::StatusOr<Ring> Ring::Compute(RingSpec spec) {
  DOVETAIL_RETURN_IF_ERROR(CheckRingSpec(spec));
  std::sort(spec.members.begin(), spec.members.end(),
            [](const RingMember& a, const RingMember& b) {
              return Bits(a.id) < Bits(b.id);
            });
  Ring ring;
  ring.spec_ = std::move(spec);
  ring.FindRegions();
  ring.Place();
  return ring;
}

void Ring::FindRegions() {
  std::map<std::string, Region> regions;
  for (uint32_t i = 0; i < spec_.members.size(); ++i) {
    const RingMember& member = spec_.members[i];
    Region& region = regions[member.region];
    region.name = member.region;
    if (member.weight > 0) region.members.push_back(i);
  }
  for (auto& [name, region] : regions) {
    region.replicas = std::min(replicas_wanted(name),
                               static_cast<uint32_t>(region.members.size()));
    replicas_ += region.replicas;
    regions_.push_back(std::move(region));
  }
}

void Ring::Place() {
  // By region and partition, indexes into the region's members.
  std::vector<std::vector<std::vector<uint32_t>>> placed;
  for (const Region& region : regions_) {
    std::map<std::string, uint32_t> zones;
    for (const uint32_t i : region.members) zones[spec_.members[i].zone] = 0;
    uint32_t count = 0;
    for (auto& [name, index] : zones) index = count++;
    std::vector<PlaceNode> nodes;
    for (const uint32_t i : region.members) {
      const RingMember& member = spec_.members[i];
      nodes.push_back({PlaceOf(member), member.weight, zones[member.zone]});
    }
    placed.push_back(
        PlaceRegion(nodes, count, spec_.partitions, region.replicas));
  }
  owners_.reserve(size_t{spec_.partitions} * replicas_);
  for (uint32_t partition = 0; partition < spec_.partitions; ++partition) {
    std::vector<std::vector<NodeId>> lists;
    for (size_t r = 0; r < regions_.size(); ++r) {
      std::vector<uint32_t>& owners = placed[r][partition];
      if (owners.empty()) continue;
      // Turned by the partition: owners of the same partitions are first in
      // turn.
      std::rotate(owners.begin(), owners.begin() + partition % owners.size(),
                  owners.end());
      lists.emplace_back();
      for (const uint32_t owner : owners) {
        lists.back().push_back(spec_.members[regions_[r].members[owner]].id);
      }
    }
    if (lists.empty()) continue;
    AppendInTurn(lists, Scatter(partition, lists.size()), owners_);
  }
}

uint32_t Ring::replicas_wanted(absl::string_view region) const {
  const auto found = spec_.replicas_in_region.find(std::string(region));
  return found == spec_.replicas_in_region.end() ? spec_.replicas
                                                 : found->second;
}

uint32_t Ring::replicas(absl::string_view region) const {
  for (const Region& known : regions_) {
    if (known.name == region) return known.replicas;
  }
  return 0;
}

std::vector<std::string> Ring::regions() const {
  std::vector<std::string> names;
  for (const Region& region : regions_) names.push_back(region.name);
  return names;
}

absl::Span<const NodeId> Ring::Owners(PartitionId partition) const {
  DOVETAIL_CHECK(Index(partition) < spec_.partitions);
  return absl::MakeConstSpan(owners_).subspan(
      size_t{Index(partition)} * replicas_, replicas_);
}

bool Ring::Owns(NodeId node, PartitionId partition) const {
  const absl::Span<const NodeId> owners = Owners(partition);
  return std::find(owners.begin(), owners.end(), node) != owners.end();
}

std::vector<NodeId> Ring::Others(PartitionId partition,
                                 const RingMember* absent) const {
  // Zones that have an owner, by region.
  std::set<std::pair<absl::string_view, absl::string_view>> used;
  for (const NodeId owner : Owners(partition)) {
    const RingMember* member = Find(owner);
    if (member == absent) continue;
    used.emplace(member->region, member->zone);
  }
  using Rank = std::tuple<bool, Distance, uint64_t>;
  std::map<absl::string_view, std::vector<std::pair<Rank, NodeId>>> ranked;
  std::vector<std::pair<Rank, NodeId>> weightless;
  for (const RingMember& member : spec_.members) {
    if (Owns(member.id, partition)) continue;
    const Distance distance = DistanceOf(
        PlaceOf(member), std::max(member.weight, 1u), Index(partition));
    const Rank rank{used.contains({member.region, member.zone}), distance,
                    Bits(member.id)};
    (member.weight == 0 ? weightless : ranked[member.region])
        .emplace_back(rank, member.id);
  }
  std::vector<std::vector<NodeId>> lists;
  std::vector<NodeId> others;
  for (auto& [region, list] : ranked) {
    std::sort(list.begin(), list.end());
    lists.emplace_back();
    for (const auto& [rank, id] : list) lists.back().push_back(id);
  }
  if (!lists.empty()) {
    AppendInTurn(lists, Scatter(Index(partition), lists.size()), others);
  }
  std::sort(weightless.begin(), weightless.end());
  for (const auto& [rank, id] : weightless) others.push_back(id);
  return others;
}

std::vector<NodeId> Ring::Preference(PartitionId partition) const {
  const absl::Span<const NodeId> owners = Owners(partition);
  std::vector<NodeId> all(owners.begin(), owners.end());
  for (const NodeId other : Others(partition, nullptr)) all.push_back(other);
  return all;
}

std::vector<NodeId> Ring::StandIns(PartitionId partition, NodeId owner) const {
  const RingMember* absent = Find(owner);
  DOVETAIL_CHECK(absent != nullptr);
  std::vector<NodeId> others = Others(partition, absent);
  std::stable_partition(others.begin(), others.end(), [&](NodeId id) {
    const RingMember* member = Find(id);
    return member->region == absent->region && member->weight > 0;
  });
  return others;
}

const RingMember* Ring::Find(NodeId id) const {
  const auto at = std::lower_bound(spec_.members.begin(), spec_.members.end(),
                                   id, [](const RingMember& member, NodeId it) {
                                     return Bits(member.id) < Bits(it);
                                   });
  return at == spec_.members.end() || at->id != id ? nullptr : &*at;
}

}  // namespace dovetail::replica
