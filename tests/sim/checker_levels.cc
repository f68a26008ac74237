// What the checker knows of consistency levels: who must have answered, and
// when a request may not fail.
#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/sim/checker.h"
#include "tests/sim/seat.h"
#include "tests/sim/sim_ring.h"

namespace dovetail::sim {

using replica::Level;
using replica::NodeId;
using replica::PartitionId;

Level Checker::LevelFor(const PlanEvent& event, std::optional<uint32_t> number,
                        PartitionId partition) const {
  switch (LevelOf(event.value)) {
    case WayLevel::kLocalOne:
      return Level::LocalOne();
    case WayLevel::kLocalQuorum:
      return Level::LocalQuorum();
    case WayLevel::kEachQuorum:
      return Level::EachQuorum();
    case WayLevel::kQuorum:
      return Level::Quorum();
    case WayLevel::kAll:
      return Level::All();
    case WayLevel::kSaid:
      break;
  }
  return Level::Count(
      std::min(number.value_or(1), cluster_->placement().replicas(partition)));
}

std::vector<Checker::Demand> Checker::DemandsOf(const Level& level,
                                                uint32_t node,
                                                PartitionId partition) const {
  const replica::Placement& placement = cluster_->placement();
  // A node that is no member has its label alone.
  const bool member = placement.Find(NodeId{node}) != nullptr;
  const std::string here = member || placement.one_region()
                               ? placement.RegionOf(NodeId{node})
                               : RegionOf(plan_, node);
  const bool each = level.kind == Level::Kind::kEachQuorum;
  const bool local = level.kind == Level::Kind::kLocalOne ||
                     level.kind == Level::Kind::kLocalQuorum;
  // By region, or in one for all.
  std::map<std::string, Demand> demands;
  for (uint32_t id = 0; id < cluster_->size(); ++id) {
    const std::string& its = placement.RegionOf(NodeId{id});
    if (local && its != here && id != node) continue;
    Demand& demand = demands[each ? its : ""];
    demand.nodes |= uint64_t{1} << id;
    demand.owners += Owns(id, partition) ? 1 : 0;
  }
  std::vector<Demand> result;
  for (auto& [region, demand] : demands) {
    switch (level.kind) {
      case Level::Kind::kCount:
        demand.required = level.count;
        break;
      case Level::Kind::kLocalOne:
        demand.required = 1;
        break;
      case Level::Kind::kAll:
        demand.required = demand.owners;
        break;
      default:
        demand.required = demand.owners / 2 + 1;
    }
    // A region that owns nothing of it is not asked.
    if (demand.owners > 0) result.push_back(demand);
  }
  return result;
}

void Checker::CheckLevel(const Pending& pending,
                         const replica::Receipt& receipt) {
  // What was passed on was local to whoever coordinated it.
  const uint32_t coordinator = SeatOf(receipt.nodes.front());
  uint32_t required = 0;
  for (const Demand& demand :
       DemandsOf(pending.level, coordinator, pending.partition)) {
    required += demand.required;
    // A read of one replica is of this one, whatever it is and wherever.
    if (pending.spec && receipt.required == 1) continue;
    uint32_t counted = 0;
    for (const NodeId node : receipt.nodes) {
      const bool here = ((demand.nodes >> SeatOf(node)) & 1) != 0;
      const bool counts =
          plan_.options.strict == 0 || Owns(SeatOf(node), pending.partition);
      counted += here && counts ? 1 : 0;
    }
    if (counted >= demand.required) continue;
    OnViolation(absl::StrCat(Story(pending), " at level ",
                             replica::ToString(pending.level),
                             " was answered by ", counted, " of the ",
                             demand.required, " nodes that it takes"));
  }
  if (required != receipt.required) {
    OnViolation(absl::StrCat(Story(pending), " at level ",
                             replica::ToString(pending.level), " required ",
                             receipt.required, " answers, not ", required));
  }
}

// A core that a shrinker has cut may be too small for what it is asked, and it
// need not hold owners of every partition.
bool Checker::MustSucceed(const Pending& pending) const {
  // A frame that vanishes is not sent again while its link is up.
  if (plan_.options.loss_permille > 0 || plan_.options.late_permille > 0) {
    return false;
  }
  if (((core_ >> pending.node) & 1) == 0 || !pending.session.empty() ||
      pending.submitted_us < core_from_us_) {
    return false;
  }
  const auto enough = [&](const Demand& demand) {
    uint32_t owners = 0, nodes = 0;
    for (uint32_t node = 0; node < cluster_->size(); ++node) {
      if (((demand.nodes & core_) >> node & 1) == 0) continue;
      owners += Owns(node, pending.partition) ? 1 : 0;
      // Who is in no ring stands in for nobody, but where it is asked itself.
      const bool member = cluster_->placement().Find(NodeId{node}) != nullptr;
      nodes += member || node == pending.node ? 1 : 0;
    }
    if (demand.required <= owners) return true;
    if (plan_.options.strict != 0 || demand.required > nodes) return false;
    // Stand-ins make up the number: of a read beside an owner, since they
    // cannot say that there is nothing; of a write if there is room.
    return pending.spec ? owners > 0 : !HintsAreShort();
  };
  const std::vector<Demand> demands =
      DemandsOf(pending.level, pending.node, pending.partition);
  return !demands.empty() &&
         std::all_of(demands.begin(), demands.end(), enough);
}

// What may keep a healthy majority from answering.
bool Checker::Excuses(const Pending& pending,
                      const absl::Status& status) const {
  if (absl::IsResourceExhausted(status)) {
    return plan_.options.requests_in_flight_max <
               PlanOptions().requests_in_flight_max ||
           (HintsAreShort() && !Owns(pending.node, pending.partition));
  }
  // What this node has after it lost its disk, before it has heard what there
  // is, it keeps to itself.
  if ((absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) &&
      absl::StrContains(status.message(), "has not heard yet")) {
    return true;
  }
  // A stand-in that is done refuses until it has removed the last row.
  return (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) &&
         absl::StrContains(status.message(), "was handed over to its owners");
}

}  // namespace dovetail::sim
