#include "replica/replica_set.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

uint32_t MajorityOf(uint32_t replicas) { return replicas / 2 + 1; }

// How many of `replicas` owners a level wants, of those that count for it.
uint32_t WantedOf(const Level& level, uint32_t fallback, uint32_t replicas) {
  switch (level.kind) {
    case Level::Kind::kDefault:
      return fallback == 0 ? MajorityOf(replicas)
                           : std::min(fallback, replicas);
    case Level::Kind::kCount:
      return level.count;
    case Level::Kind::kLocalOne:
      return 1;
    case Level::Kind::kQuorum:
    case Level::Kind::kLocalQuorum:
    case Level::Kind::kEachQuorum:
      return MajorityOf(replicas);
    case Level::Kind::kAll:
      return replicas;
  }
  DOVETAIL_CHECK(false);
}

}  // namespace

bool IsLocal(const Level& level) {
  return level.kind == Level::Kind::kLocalOne ||
         level.kind == Level::Kind::kLocalQuorum;
}

absl::StatusOr<uint32_t> ResolveCount(const Level& level, uint32_t fallback,
                                      uint32_t replicas,
                                      absl::string_view name) {
  const uint32_t wanted = WantedOf(level, fallback, replicas);
  if (wanted >= 1 && wanted <= replicas) return wanted;
  return absl::InvalidArgumentError(absl::StrCat(
      name, "=", ToString(level), ": there are ", replicas, " replicas"));
}

absl::StatusOr<ReplicaSet> ReplicaSet::Resolve(
    const ShardCore& core, PartitionId partition, const Level& level,
    uint32_t fallback, const RequestOptions& options, absl::string_view name) {
  ReplicaSet set(core, partition);
  const Quorums quorums = options.quorums == Quorums::kDefault
                              ? core.options.quorums_default
                              : options.quorums;
  set.strict_ = quorums == Quorums::kStrict;
  const absl::Span<const NodeId> owners = core.placement.Owners(partition);
  const std::string& here = core.Region();
  if (level.kind == Level::Kind::kEachQuorum) {
    std::set<std::string> regions;
    for (NodeId owner : owners) regions.insert(core.placement.RegionOf(owner));
    for (const std::string& region : regions) {
      set.demands_.push_back({.everywhere = false, .region = region});
    }
  } else {
    const bool local = IsLocal(level);
    set.demands_.push_back(
        {.everywhere = !local, .region = local ? here : std::string()});
  }
  for (NodeId owner : owners) {
    const size_t demand = set.DemandOf(owner);
    if (demand != Tally::kNoDemand) ++set.demands_[demand].owners;
  }
  for (Demand& demand : set.demands_) {
    if (demand.owners == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, "=", ToString(level),
                       ": no replica is in region \"", demand.region, "\""));
    }
    DOVETAIL_ASSIGN_OR_RETURN(
        demand.required, ResolveCount(level, fallback, demand.owners, name));
  }
  const bool by_number =
      level.kind == Level::Kind::kCount || level.kind == Level::Kind::kDefault;
  set.asked_as_ = absl::StrCat(
      name, "=", by_number ? absl::StrCat(set.required()) : ToString(level),
      set.strict_ ? " strict" : "");
  set.ListNodes();
  if (core.placement.moves()) set.DemandOfOthersBefore(level, fallback);
  set.self_counts_ = core.IsOwner(partition) || set.missing_owners_ > 0 ||
                     (options.here && set.required() == 1);
  return set;
}

void ReplicaSet::DemandOfOthersBefore(const Level& level, uint32_t fallback) {
  const ShardCore& core = *core_;
  const Placement& placement = core.placement;
  const absl::Span<const NodeId> before = placement.Before(partition_);
  for (NodeId node : before) {
    if (node == core.identity.self || !core.IsUp(node) ||
        placement.Owns(node, partition_)) {
      continue;
    }
    former_.push_back(node);
  }
  for (Demand& demand : demands_) {
    const auto in_region = [&](NodeId node) {
      return demand.everywhere || placement.RegionOf(node) == demand.region;
    };
    auto left = static_cast<uint32_t>(
        std::count_if(before.begin(), before.end(), in_region));
    // In a region that had none, whatever is known comes from others.
    demand.before_everywhere = demand.everywhere || left == 0;
    if (left == 0) left = static_cast<uint32_t>(before.size());
    if (left == 0) continue;  // nothing is left of what was
    const uint32_t all =
        demand.before_everywhere ? placement.replicas_before(partition_) : left;
    demand.before = std::min(WantedOf(level, fallback, all), left);
    if (strict_) continue;
    const auto counts = [&](NodeId node) {
      return core.IsUp(node) && core.IsProbablyWhole(node, partition_) &&
             (demand.before_everywhere || in_region(node));
    };
    uint32_t reachable = 0;
    for (NodeId node : placement.Owners(partition_)) {
      reachable += counts(node) ? 1 : 0;
    }
    for (NodeId node : before) {
      reachable += !placement.Owns(node, partition_) && counts(node) ? 1 : 0;
    }
    demand.before = std::min(demand.before, reachable);
  }
}

std::optional<Tally> ReplicaSet::NewTallyOfBefore() const {
  Tally tally;
  bool any = false;
  for (const Demand& demand : demands_) {
    if (demand.before == 0) continue;
    tally.AddDemand(demand.before);
    any = true;
  }
  if (!any) return std::nullopt;
  return tally;
}

size_t ReplicaSet::DemandOfBefore(NodeId node) const {
  const Placement& placement = core_->placement;
  if (!placement.Concerns(node, partition_)) return Tally::kNoDemand;
  size_t at = 0;
  for (const Demand& demand : demands_) {
    if (demand.before == 0) continue;
    if (demand.before_everywhere || demand.region == placement.RegionOf(node)) {
      return at;
    }
    ++at;
  }
  return Tally::kNoDemand;
}

void ReplicaSet::ListNodes() {
  const ShardCore& core = *core_;
  const Placement& placement = core.placement;
  const std::string& here = core.Region();
  std::set<std::string> missing_in;
  for (NodeId owner : placement.Owners(partition_)) {
    if (owner != core.identity.self) other_owners_.push_back(owner);
    if (core.IsUp(owner)) continue;
    // Who stood in for owners of another region at a local level would be
    // counted for those of this one, which miss nobody; and what these have is
    // all that the others will lack.
    if (DemandOf(owner) == Tally::kNoDemand) continue;
    ++missing_owners_;
    missing_in.insert(placement.RegionOf(owner));
  }
  const PeerTimes& times = core.peer_times;
  // Mostly all can be reached, none is slow and there is one region: nothing to
  // sort.
  if (missing_owners_ > 0 || times.any_slow() || !placement.one_region()) {
    const auto rank = [&](NodeId node) {
      return std::tuple(!core.IsUp(node), times.IsSlow(node),
                        placement.RegionOf(node) != here);
    };
    std::stable_sort(other_owners_.begin(), other_owners_.end(),
                     [&](NodeId a, NodeId b) { return rank(a) < rank(b); });
  }
  if (strict_) return;
  for (NodeId node : placement.StandIns(partition_)) {
    if (node != core.identity.self && core.IsUp(node)) {
      stand_ins_.push_back(node);
    }
  }
  if (times.any_slow()) {
    std::stable_partition(stand_ins_.begin(), stand_ins_.end(),
                          [&](NodeId node) { return !times.IsSlow(node); });
  }
  if (missing_in.empty()) return;
  std::stable_partition(stand_ins_.begin(), stand_ins_.end(), [&](NodeId node) {
    return missing_in.contains(placement.RegionOf(node));
  });
}

size_t ReplicaSet::DemandOf(NodeId node) const {
  const Placement& placement = core_->placement;
  if (strict_ && !placement.Owns(node, partition_) &&
      !DOVETAIL_MUTANT("strict: a stand-in counts")) {
    return Tally::kNoDemand;
  }
  if (node == core_->identity.self && !self_counts_) return Tally::kNoDemand;
  for (size_t i = 0; i < demands_.size(); ++i) {
    if (demands_[i].everywhere ||
        demands_[i].region == placement.RegionOf(node) ||
        DOVETAIL_MUTANT("level: other regions count")) {
      return i;
    }
  }
  return Tally::kNoDemand;
}

absl::Status ReplicaSet::CheckReachable(absl::string_view effect) const {
  const ShardCore& core = *core_;
  // At most as many as there are owners ever count.
  std::vector<uint32_t> reachable(demands_.size());
  std::vector<std::string> names;
  const auto add = [&](NodeId node) {
    if (!core.IsUp(node)) return;
    const size_t demand = DemandOf(node);
    if (demand == Tally::kNoDemand) return;
    ++reachable[demand];
    names.push_back(core.placement.NameOf(node));
  };
  for (NodeId owner : core.placement.Owners(partition_)) add(owner);
  if (!core.placement.Owns(core.identity.self, partition_)) {
    add(core.identity.self);
  }
  for (NodeId node : stand_ins_) add(node);
  for (size_t i = 0; i < demands_.size(); ++i) {
    const Demand& demand = demands_[i];
    if (reachable[i] >= demand.required) continue;
    std::sort(names.begin(), names.end());
    return absl::UnavailableError(absl::StrCat(
        asked_as_, ": ", reachable[i], " of ", demand.owners,
        strict_ ? " owners" : " replicas", " reachable",
        demand.everywhere ? ""
                          : absl::StrCat(" in region \"", demand.region, "\""),
        names.empty() ? "" : ": ", absl::StrJoin(names, " "), effect));
  }
  return absl::OkStatus();
}

Tally ReplicaSet::NewTally() const {
  Tally tally;
  for (const Demand& demand : demands_) tally.AddDemand(demand.required);
  return tally;
}

uint32_t ReplicaSet::required() const {
  uint32_t sum = 0;
  for (const Demand& demand : demands_) sum += demand.required;
  return sum;
}

}  // namespace dovetail::replica
