#include "net/cluster_view.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "crdt/check.h"
#include "replica/plan_estimate.h"

namespace dovetail::net {
namespace {

using replica::NodeId;

Condition ConditionOf(replica::MemberState state) {
  switch (state) {
    case replica::MemberState::kAlive:
      return Condition::kAlive;
    case replica::MemberState::kSuspect:
      return Condition::kSuspect;
    case replica::MemberState::kDead:
      return Condition::kDead;
    case replica::MemberState::kLeft:
      return Condition::kLeft;
  }
  return Condition::kUnknown;
}

std::string NameOf(const replica::Cluster& cluster, NodeId id) {
  const auto& members = cluster.membership().members();
  const auto found = members.find(id);
  return found != members.end() ? found->second.info.name
                                : absl::StrFormat("%016x", replica::Index(id));
}

// `member` is null for who is none.
std::string InWords(const replica::StagedChange& change,
                    const std::string& name,
                    const replica::RingMember* member) {
  switch (change.kind) {
    case replica::ChangeKind::kJoin:
      return absl::StrCat(name, " joins");
    case replica::ChangeKind::kRemove:
      return absl::StrCat(name, " is removed, its disk is lost");
    case replica::ChangeKind::kLeave:
      return absl::StrCat(name, " leaves");
    case replica::ChangeKind::kReplace:
      return absl::StrCat(change.member.name, " takes the place of ", name);
    case replica::ChangeKind::kWeight:
      return absl::StrCat(name, " weighs ", change.weight,
                          member == nullptr
                              ? ""
                              : absl::StrCat(" instead of ", member->weight));
  }
  return name;
}

PlanView PlanOf(const replica::Cluster& cluster) {
  PlanView view;
  view.epoch = cluster.config().epoch();
  view.transfers_paused = cluster.config().transfers.paused;
  std::map<std::string, std::string> changes;
  for (const auto& [subject, change] : cluster.config().staged.Effective()) {
    const replica::RingMember* member = cluster.ring().Find(subject);
    const std::string& name =
        member != nullptr ? member->name : change.member.name;
    changes[name] = InWords(change, name, member);
  }
  for (auto& [name, words] : changes) {
    view.staged.push_back(name);
    view.changes.push_back(std::move(words));
  }
  return view;
}

// Adds what `plan` would do or has done.
void Show(const replica::Plan& plan, PlanView& view) {
  view.planned = true;
  view.partitions_moved = plan.moves.size();
  for (const replica::NodeChange& change : plan.nodes) {
    view.nodes.push_back({change, 0, 0});
  }
  const auto partitions = [](const auto& shortfalls) {
    std::set<replica::PartitionId> distinct;
    for (const auto& one : shortfalls) distinct.insert(one.partition);
    return distinct.size();
  };
  view.below_n = partitions(plan.below_n);
  view.zones_shared = partitions(plan.zones_shared);
}

// Adds what `plan`, which is not committed yet, will cost.
void ShowCost(const replica::Plan& plan, const replica::Cluster& cluster,
              PlanView& view) {
  const NodeId self = cluster.membership().self().info.id;
  const replica::PlanEstimate estimate =
      replica::Estimate(plan, cluster.ring(), cluster.loads(), [&](NodeId id) {
        const bool gone = std::find(plan.gone.begin(), plan.gone.end(), id) !=
                          plan.gone.end();
        return !gone && (id == self || cluster.IsReachable(id));
      });
  for (PlanNode& node : view.nodes) {
    const auto moved = estimate.bytes.find(node.change.id);
    if (moved == estimate.bytes.end()) continue;
    node.bytes_in = moved->second.in;
    node.bytes_out = moved->second.out;
  }
  view.bytes_unknown = estimate.unknown;
  view.below_n_meanwhile = estimate.below_n_meanwhile;
  view.meanwhile = estimate.time;
}

}  // namespace

std::vector<ClusterMember> MembersOf(const replica::Cluster& cluster,
                                     absl::Duration now) {
  std::map<NodeId, ClusterMember> members;
  const replica::Ring& ring = cluster.ring();
  for (const replica::RingMember& owner : ring.spec().members) {
    ClusterMember& member = members[owner.id];
    member.name = owner.name;
    member.zone = owner.zone;
    member.region = owner.region;
    member.weight = owner.weight;
    member.in_ring = true;
  }
  for (uint32_t p = 0; p < ring.partitions(); ++p) {
    const replica::PartitionId partition{static_cast<uint16_t>(p)};
    for (NodeId owner : ring.Owners(partition)) ++members[owner].partitions;
  }
  for (const auto& [id, known] : cluster.membership().members()) {
    ClusterMember& member = members[id];
    member.name = known.info.name;
    if (!member.in_ring) {
      member.zone = known.info.zone;
      member.region = known.info.region;
    }
    member.client_address = known.info.client_address;
    member.peer_address = known.info.peer_address;
    member.condition = ConditionOf(known.state);
    member.since = absl::Trunc(now - known.since, absl::Milliseconds(1));
  }
  for (const auto& [subject, change] : cluster.config().staged.Effective()) {
    const auto member = members.find(subject);
    if (member != members.end()) member->second.staged = true;
  }
  std::vector<ClusterMember> out;
  const NodeId self = cluster.membership().self().info.id;
  for (auto& [id, member] : members) {
    member.id = id;
    member.reachable = id == self || cluster.IsReachable(id);
    member.epoch = cluster.EpochOf(id);
    if (const auto* known = cluster.loads().Of(id)) {
      member.load = known->load;
      member.load_age = absl::Trunc(now - known->at, absl::Milliseconds(1));
    }
    for (const NodeId finder : cluster.loads().SlowFor(id, now)) {
      member.slow_for.push_back(NameOf(cluster, finder));
    }
    out.push_back(std::move(member));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::tie(a.name, a.id) < std::tie(b.name, b.id);
  });
  return out;
}

ClusterView ViewOf(const replica::Cluster& cluster, absl::Duration now) {
  ClusterView view;
  view.node = cluster.membership().self().info.id;
  view.node_name = cluster.membership().self().info.name;
  // Clients go by the ring, also those that know no properties of buckets.
  view.config = replica::EncodeClusterConfig(
      {cluster.config().ring, cluster.config().staged, {}, {}});
  view.members = MembersOf(cluster, now);
  view.transfers_paused = cluster.config().transfers.paused;
  if (cluster.superseded().has_value()) {
    view.superseded_epoch = cluster.superseded()->epoch();
    const NodeId by = cluster.superseded()->committed_by();
    for (const ClusterMember& member : view.members) {
      if (member.id == by) view.superseded_by = member.name;
    }
  }
  return view;
}

absl::StatusOr<PlanView> Administer(replica::Cluster& cluster,
                                    const ClusterAdmin& admin, uint64_t wall_ms,
                                    absl::Duration now) {
  if (const auto* stage = std::get_if<StageJoins>(&admin)) {
    DOVETAIL_RETURN_IF_ERROR(cluster.StageJoins(stage->names, now).status());
  } else if (std::holds_alternative<AbortStaged>(admin)) {
    cluster.Abort(now);
  } else if (const auto* pause = std::get_if<PauseTransfers>(&admin)) {
    cluster.PauseTransfers(pause->paused, wall_ms, now);
  } else if (const auto* change = std::get_if<replica::NamedChange>(&admin)) {
    DOVETAIL_RETURN_IF_ERROR(cluster.StageNamed(*change, now));
  } else if (const auto* commit = std::get_if<CommitPlan>(&admin)) {
    DOVETAIL_ASSIGN_OR_RETURN(const replica::Plan plan, cluster.MakePlan());
    DOVETAIL_RETURN_IF_ERROR(
        cluster.Commit(commit->base_epoch, now, commit->force));
    PlanView view = PlanOf(cluster);
    Show(plan, view);
    return view;
  }
  PlanView view = PlanOf(cluster);
  if (view.staged.empty()) return view;
  DOVETAIL_ASSIGN_OR_RETURN(const replica::Plan plan, cluster.MakePlan());
  Show(plan, view);
  ShowCost(plan, cluster, view);
  return view;
}

}  // namespace dovetail::net
