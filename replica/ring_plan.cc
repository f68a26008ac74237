#include "replica/ring_plan.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

using Members = std::map<NodeId, RingMember>;

absl::Status Refuse(NodeId id, const RingMember* member,
                    absl::string_view why) {
  const std::string name =
      member != nullptr && !member->name.empty()
          ? absl::StrCat("\"", member->name, "\"")
          : absl::StrCat("node ", static_cast<uint64_t>(id));
  return absl::InvalidArgumentError(absl::StrCat(name, " ", why));
}

// A new member must not stand where another does: a member that was replaced
// finds its own place taken when it comes back. The next free one by hashing.
uint64_t FreePlace(uint64_t wanted, const Members& members) {
  std::set<uint64_t> taken;
  for (const auto& [id, member] : members) taken.insert(PlaceOf(member));
  uint64_t place = wanted;
  while (place == 0 || taken.contains(place)) {
    std::string bytes;
    crdt::Writer(&bytes).Fixed64(place);
    place = HashBytes(bytes).high;
  }
  return place;
}

absl::Status AddMember(RingMember member, uint64_t place, Members& members) {
  const auto found = members.find(member.id);
  if (found != members.end()) {
    return Refuse(member.id, &found->second, "is a member already");
  }
  member.place = place;
  const NodeId id = member.id;
  members.emplace(id, std::move(member));
  return absl::OkStatus();
}

// All but joins, of whoever is a member now.
absl::Status ApplyToOld(const StagedChange& change, const Members& old,
                        Members& members) {
  if (change.kind == ChangeKind::kJoin) return absl::OkStatus();
  const auto found = old.find(change.subject);
  if (found == old.end()) {
    return Refuse(change.subject, nullptr,
                  change.kind == ChangeKind::kLeave
                      ? "is to leave, but is no member"
                  : change.kind == ChangeKind::kRemove
                      ? "is to be removed, but is no member"
                  : change.kind == ChangeKind::kWeight
                      ? "is to change its weight, but is no member"
                      : "is to be replaced, but is no member");
  }
  switch (change.kind) {
    case ChangeKind::kJoin:
      break;
    case ChangeKind::kLeave:
    case ChangeKind::kRemove:
      members.erase(change.subject);
      break;
    case ChangeKind::kWeight:
      members.at(change.subject).weight = change.weight;
      break;
    case ChangeKind::kReplace: {
      const auto by = old.find(change.member.id);
      if (by != old.end()) {
        return Refuse(by->first, &by->second,
                      "is to replace another, but is a member already");
      }
      members.erase(change.subject);
      return AddMember(change.member, PlaceOf(found->second), members);
    }
  }
  return absl::OkStatus();
}

std::map<NodeId, NodeChange> CountNodes(const Ring& before, const Ring& after) {
  std::map<NodeId, NodeChange> nodes;
  for (const Ring* ring : {&before, &after}) {
    for (const RingMember& member : ring->spec().members) {
      nodes[member.id].id = member.id;
      nodes[member.id].name = member.name;
    }
    for (uint32_t p = 0; p < ring->partitions(); ++p) {
      for (const NodeId owner : ring->Owners(static_cast<PartitionId>(p))) {
        ++(ring == &before ? nodes[owner].before : nodes[owner].after);
      }
    }
  }
  return nodes;
}

// Who is in `these` and not in `those`, in order.
std::vector<NodeId> Without(absl::Span<const NodeId> these,
                            absl::Span<const NodeId> those) {
  std::vector<NodeId> rest;
  for (const NodeId id : these) {
    if (std::find(those.begin(), those.end(), id) == those.end()) {
      rest.push_back(id);
    }
  }
  std::sort(rest.begin(), rest.end());
  return rest;
}

void FindShortfalls(const Ring& ring, Plan& plan) {
  for (uint32_t p = 0; p < ring.partitions(); ++p) {
    const auto partition = static_cast<PartitionId>(p);
    for (const std::string& region : ring.regions()) {
      std::set<std::string> zones;
      uint32_t owners = 0;
      for (const NodeId owner : ring.Owners(partition)) {
        const RingMember* member = ring.Find(owner);
        if (member->region != region) continue;
        ++owners;
        zones.insert(member->zone);
      }
      const Shortfall found{partition, region, ring.replicas_wanted(region),
                            owners, static_cast<uint32_t>(zones.size())};
      if (found.owners < found.wanted) plan.below_n.push_back(found);
      if (found.zones < found.owners) plan.zones_shared.push_back(found);
    }
  }
}

std::vector<Hash128> AncestorsOfNext(const CommittedRing& ring) {
  std::vector<Hash128> ancestors = {ring.digest()};
  for (const Hash128& older : ring.ancestors()) {
    if (ancestors.size() < kAncestorsMax) ancestors.push_back(older);
  }
  return ancestors;
}

}  // namespace

absl::StatusOr<CommittedRing> FirstRing(RingSpec ring, NodeId committed_by) {
  ring.epoch = 1;
  return CommittedRing::Make(std::move(ring), committed_by, {});
}

absl::StatusOr<Plan> PlanFor(const CommittedRing& current, RingSpec target) {
  if (target.partitions != current.ring().partitions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the cluster has ", current.ring().partitions, " partitions, not ",
        target.partitions, ": their number is fixed when it is created"));
  }
  target.epoch = current.epoch() + 1;
  DOVETAIL_ASSIGN_OR_RETURN(const CommittedRing next,
                            CommittedRing::Make(std::move(target), NodeId{},
                                                AncestorsOfNext(current)));
  DOVETAIL_ASSIGN_OR_RETURN(const Ring before, Ring::Compute(current.ring()));
  DOVETAIL_ASSIGN_OR_RETURN(const Ring after, Ring::Compute(next.ring()));
  Plan plan;
  plan.base_epoch = current.epoch();
  plan.base_digest = current.digest();
  plan.target = next.ring();
  auto nodes = CountNodes(before, after);
  for (uint32_t p = 0; p < after.partitions(); ++p) {
    const auto partition = static_cast<PartitionId>(p);
    PartitionMove move{
        partition, Without(after.Owners(partition), before.Owners(partition)),
        Without(before.Owners(partition), after.Owners(partition))};
    for (const NodeId id : move.gains) ++nodes[id].gained;
    for (const NodeId id : move.losses) ++nodes[id].lost;
    if (!move.gains.empty() || !move.losses.empty()) {
      plan.moves.push_back(std::move(move));
    }
  }
  for (auto& [id, change] : nodes) plan.nodes.push_back(std::move(change));
  FindShortfalls(after, plan);
  return plan;
}

absl::StatusOr<Plan> MakePlan(const ClusterConfig& config) {
  if (!config.ring.has_value()) {
    return absl::FailedPreconditionError(
        "this node has not heard of a committed ring yet");
  }
  if (config.staged.empty()) {
    return absl::InvalidArgumentError("nothing is staged");
  }
  Members old;
  for (const RingMember& member : config.ring->ring().members) {
    old.emplace(member.id, member);
  }
  // Joins come last: the name or place of one who leaves may be taken.
  Members members = old;
  const std::map<NodeId, StagedChange> changes = config.staged.Effective();
  for (const auto& [subject, change] : changes) {
    DOVETAIL_RETURN_IF_ERROR(ApplyToOld(change, old, members));
  }
  for (const auto& [subject, change] : changes) {
    if (change.kind != ChangeKind::kJoin) continue;
    const uint64_t place = FreePlace(PlaceOf(change.member), members);
    DOVETAIL_RETURN_IF_ERROR(AddMember(change.member, place, members));
  }
  RingSpec target = config.ring->ring();
  target.members.clear();
  for (auto& [id, member] : members) target.members.push_back(member);
  DOVETAIL_ASSIGN_OR_RETURN(Plan plan,
                            PlanFor(*config.ring, std::move(target)));
  for (const auto& [key, change] : config.staged.entries()) {
    plan.included.insert(key);
  }
  for (const auto& [subject, change] : changes) {
    // In vain where it has joined again by the same commit.
    const bool joined = members.contains(subject);
    if (change.kind == ChangeKind::kRemove && !joined) {
      plan.gone.push_back(subject);
    }
  }
  return plan;
}

absl::Status Commit(ClusterConfig& config, const Plan& plan,
                    NodeId committed_by) {
  if (!config.ring.has_value() || config.epoch() != plan.base_epoch) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ring is at epoch ", config.epoch(),
                     " by now; look at the plan again"));
  }
  if (config.ring->digest() != plan.base_digest) {
    return absl::FailedPreconditionError(
        absl::StrCat("another ring of epoch ", config.epoch(),
                     " has been committed meanwhile; look at the plan again"));
  }
  for (const StagedChanges::Key& key : plan.included) {
    if (config.staged.entries().contains(key)) continue;
    return absl::FailedPreconditionError(
        "what is staged has changed since; look at the plan again");
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      config.ring, CommittedRing::Make(
                       plan.target, committed_by, AncestorsOfNext(*config.ring),
                       RingBefore{config.ring->ring(), plan.gone}));
  config.staged.Clear(plan.included);
  return absl::OkStatus();
}

}  // namespace dovetail::replica
