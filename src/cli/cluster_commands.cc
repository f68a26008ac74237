#include "src/cli/cluster_commands.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "crdt/check.h"
#include "replica/cluster_config.h"
#include "replica/hash.h"
#include "replica/placement_of.h"
#include "replica/ring.h"
#include "src/cli/words.h"

namespace dovetail::cli {
namespace {

using Json = nlohmann::ordered_json;
using net::ClusterMember;
using replica::NodeId;

// A report that is younger is as good as new: they come once a second.
constexpr absl::Duration kFresh = absl::Seconds(5);

// Bytes that are not UTF-8 must not end the program: they are replaced.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string IdText(NodeId id) {
  return absl::StrFormat("%016x", replica::Index(id));
}

// The ring of what a node answered.
struct Seen {
  ClusterView view;
  replica::ClusterConfig config;
  replica::Ring ring;
};

absl::StatusOr<Seen> See(Client& client) {
  DOVETAIL_ASSIGN_OR_RETURN(ClusterView view, client.Cluster());
  DOVETAIL_ASSIGN_OR_RETURN(replica::ClusterConfig config,
                            replica::DecodeClusterConfig(view.config));
  if (!config.ring.has_value()) {
    return absl::FailedPreconditionError("the node has no ring");
  }
  DOVETAIL_ASSIGN_OR_RETURN(replica::Ring ring,
                            replica::Ring::Compute(config.ring->ring()));
  return Seen{std::move(view), std::move(config), std::move(ring)};
}

std::string NameIn(const replica::Ring& ring, NodeId id) {
  const replica::RingMember* member = ring.Find(id);
  return member == nullptr ? IdText(id) : member->name;
}

std::string AddressIn(const ClusterView& view, NodeId id) {
  for (const ClusterMember& member : view.members) {
    if (member.id == id) return member.client_address;
  }
  return "";
}

// "alive", "dead for 12s", "alive, no link"
std::string ConditionText(const ClusterMember& member) {
  std::string text(net::ToString(member.condition));
  if (member.condition != net::Condition::kAlive &&
      member.condition != net::Condition::kUnknown) {
    absl::StrAppend(
        &text, " for ",
        absl::FormatDuration(absl::Trunc(member.since, absl::Seconds(1))));
  }
  if (member.condition == net::Condition::kAlive && !member.reachable) {
    absl::StrAppend(&text, ", no link");
  }
  return text;
}

std::string PlaceText(const ClusterMember& member) {
  if (member.zone.empty() && member.region.empty()) return "";
  if (member.region.empty()) return absl::StrCat(" in zone ", member.zone);
  return absl::StrCat(" in zone ", member.zone, " of region ", member.region);
}

// What it said last that it carries, or that nothing is known.
std::string LoadText(const ClusterMember& member) {
  if (!member.load.has_value()) return "load unknown";
  const replica::NodeLoad& load = *member.load;
  std::string text =
      absl::StrCat(BytesText(load.data_bytes), ", ", load.entries, " entries");
  if (load.filling > 0) {
    absl::StrAppend(&text, ", filling ", load.filling, " partitions");
  }
  if (load.hints > 0) {
    absl::StrAppend(&text, ", holds ", load.hints, " deltas (",
                    BytesText(load.hint_bytes), ") for others");
  }
  if (!member.slow_for.empty()) {
    absl::StrAppend(&text, ", slow for ", absl::StrJoin(member.slow_for, " "));
  }
  if (member.load_age >= kFresh) {
    absl::StrAppend(
        &text, ", as of ",
        absl::FormatDuration(absl::Trunc(member.load_age, absl::Seconds(1))),
        " ago");
  }
  return text;
}

Json LoadJson(const ClusterMember& member) {
  if (!member.load.has_value()) return nullptr;
  const replica::NodeLoad& load = *member.load;
  return {{"age_ms", absl::ToInt64Milliseconds(member.load_age)},
          {"epoch", load.epoch},
          {"data_bytes", load.data_bytes},
          {"entries", load.entries},
          {"hints", load.hints},
          {"hint_bytes", load.hint_bytes},
          {"partitions_held", load.held},
          {"partitions_filling", load.filling}};
}

Json MemberJson(const ClusterMember& member) {
  Json json = {{"id", IdText(member.id)},
               {"name", member.name},
               {"zone", member.zone},
               {"region", member.region},
               {"weight", member.weight},
               {"address", member.client_address},
               {"peer_address", member.peer_address},
               {"state", std::string(net::ToString(member.condition))},
               {"since_ms", absl::ToInt64Milliseconds(member.since)},
               {"reachable", member.reachable},
               {"epoch", member.epoch},
               {"member", member.in_ring},
               {"partitions", member.partitions},
               {"staged", member.staged},
               {"load", LoadJson(member)},
               {"slow_for", member.slow_for}};
  return json;
}

Json StatusJson(const Seen& seen) {
  Json members = Json::array();
  for (const ClusterMember& member : seen.view.members) {
    members.push_back(MemberJson(member));
  }
  Json json = {{"cluster", seen.view.cluster},
               {"node", seen.view.node_name},
               {"epoch", seen.ring.epoch()},
               {"partitions", seen.ring.partitions()},
               {"replicas", seen.ring.replicas()},
               {"members", members},
               {"hints", seen.view.hints},
               {"hint_bytes", seen.view.hint_bytes},
               {"data_bytes", seen.view.data_bytes},
               {"transfers_paused", seen.view.transfers_paused}};
  if (seen.view.superseded_epoch != 0) {
    json["superseded"] = {{"epoch", seen.view.superseded_epoch},
                          {"committed_at", seen.view.superseded_by}};
  }
  return json;
}

// ", about 1.2 MiB come, 3.4 MiB go"
std::string MovedText(const net::PlanNode& node) {
  std::vector<std::string> parts;
  if (node.bytes_in > 0) {
    parts.push_back(absl::StrCat(BytesText(node.bytes_in), " come"));
  }
  if (node.bytes_out > 0) {
    parts.push_back(absl::StrCat(BytesText(node.bytes_out), " go"));
  }
  return parts.empty() ? ""
                       : absl::StrCat(", about ", absl::StrJoin(parts, ", "));
}

void PrintPlan(const PlanView& plan, bool committed, std::ostream& out) {
  if (!plan.planned) {
    out << "nothing is staged; the ring is at epoch " << plan.epoch << "\n";
    return;
  }
  out << (committed ? "committed: the ring is at epoch "
                    : "staged on the ring of epoch ")
      << plan.epoch;
  if (!plan.staged.empty()) {
    // A node of before says names alone.
    out << ": "
        << absl::StrJoin(plan.changes.empty() ? plan.staged : plan.changes,
                         ", ");
  }
  out << "\n"
      << (committed ? "owners changed of " : "owners would change of ")
      << plan.partitions_moved << " partitions\n";
  for (const net::PlanNode& node : plan.nodes) {
    const replica::NodeChange& change = node.change;
    out << absl::StrFormat("  %-12s %4d -> %4d partitions (+%d -%d)%s\n",
                           change.name, change.before, change.after,
                           change.gained, change.lost, MovedText(node));
  }
  if (plan.bytes_unknown > 0) {
    out << "  of " << plan.bytes_unknown
        << " partitions no owner has said how large it is\n";
  }
  if (plan.meanwhile) {
    out << "  at the limit of its rate that takes the slowest "
        << absl::FormatDuration(absl::Ceil(*plan.meanwhile, absl::Seconds(1)))
        << (plan.transfers_paused ? ", once transfers are resumed" : "")
        << "\n";
  }
  if (plan.below_n_meanwhile > 0) {
    out << "  until it is carried out, " << plan.below_n_meanwhile
        << " partitions have fewer than N owners that can be reached\n";
  }
  if (plan.below_n > 0) {
    out << "  " << plan.below_n << " partitions have fewer owners than asked "
        << "for: there are too few members\n";
  }
  if (plan.zones_shared > 0) {
    out << "  " << plan.zones_shared
        << " partitions have owners that share a zone: there are too few "
           "zones\n";
  }
  if (!committed) out << "`dovetail cluster commit` makes it so\n";
}

std::string PlanJson(const PlanView& plan, bool committed) {
  Json json = {{"epoch", plan.epoch},
               {"committed", committed},
               {"staged", plan.staged},
               {"changes", plan.changes},
               {"transfers_paused", plan.transfers_paused}};
  if (plan.planned) {
    Json nodes = Json::array();
    for (const net::PlanNode& node : plan.nodes) {
      nodes.push_back({{"id", IdText(node.change.id)},
                       {"name", node.change.name},
                       {"before", node.change.before},
                       {"after", node.change.after},
                       {"gained", node.change.gained},
                       {"lost", node.change.lost},
                       {"bytes_in", node.bytes_in},
                       {"bytes_out", node.bytes_out}});
    }
    json["partitions_moved"] = plan.partitions_moved;
    json["nodes"] = nodes;
    json["below_n"] = plan.below_n;
    json["zones_shared"] = plan.zones_shared;
    json["bytes_unknown"] = plan.bytes_unknown;
    json["below_n_meanwhile"] = plan.below_n_meanwhile;
    if (plan.meanwhile) json["seconds"] = absl::ToInt64Seconds(*plan.meanwhile);
  }
  return Dump(json);
}

}  // namespace

Exit RunClusterStatus(Client& client, const Output& output) {
  const auto seen = See(client);
  if (!seen.ok()) return Fail(output, OperationKind::kRead, seen.status());
  if (output.json) {
    output.out << Dump(StatusJson(*seen)) << "\n";
    return Exit::kOk;
  }
  const ClusterView& view = seen->view;
  output.out << "cluster " << view.cluster << " as " << view.node_name
             << " sees it: ring of epoch " << seen->ring.epoch() << " with "
             << seen->ring.spec().members.size() << " members, "
             << seen->ring.partitions() << " partitions, "
             << seen->ring.replicas() << " owners each\n";
  bool staged = false;
  for (const ClusterMember& member : view.members) {
    staged |= member.staged;
    output.out << absl::StrFormat(
        "  %-12s %-16s %-22s %s%s%s; %s\n", member.name, ConditionText(member),
        member.client_address.empty() ? "-" : member.client_address,
        member.in_ring ? absl::StrCat("owns ", member.partitions)
                       : "no member: owns nothing",
        PlaceText(member),
        member.epoch != 0 && member.epoch != seen->ring.epoch()
            ? absl::StrCat(", still at epoch ", member.epoch)
            : "",
        LoadText(member));
  }
  if (view.transfers_paused) {
    output.out << "transfers by ranges are paused: `dovetail cluster resume`\n";
  }
  if (staged) {
    output.out << "changes are staged: see `dovetail cluster plan`\n";
  }
  if (view.superseded_epoch != 0) {
    output.out << "void: a ring of epoch " << view.superseded_epoch
               << " that was committed at the same time as another"
               << (view.superseded_by.empty()
                       ? ""
                       : absl::StrCat(", at ", view.superseded_by))
               << "\n";
  }
  return Exit::kOk;
}

Exit RunClusterMembers(Client& client, const Output& output) {
  const auto view = client.Cluster();
  if (!view.ok()) return Fail(output, OperationKind::kRead, view.status());
  Json json = Json::array();
  for (const ClusterMember& member : view->members) {
    if (output.json) {
      json.push_back(MemberJson(member));
      continue;
    }
    output.out << absl::StrFormat(
        "%-12s %s clients %-22s peers %-22s%s%s\n", member.name,
        IdText(member.id),
        member.client_address.empty() ? "-" : member.client_address,
        member.peer_address.empty() ? "-" : member.peer_address,
        PlaceText(member),
        member.in_ring ? absl::StrCat(" weight ", member.weight)
                       : " (no member)");
  }
  if (output.json) output.out << Dump(json) << "\n";
  return Exit::kOk;
}

Exit RunClusterRing(Client& client, const Output& output) {
  const auto seen = See(client);
  if (!seen.ok()) return Fail(output, OperationKind::kRead, seen.status());
  Json partitions = Json::array();
  for (uint32_t p = 0; p < seen->ring.partitions(); ++p) {
    std::vector<std::string> owners;
    for (NodeId id :
         seen->ring.Owners(replica::PartitionId{static_cast<uint16_t>(p)})) {
      owners.push_back(NameIn(seen->ring, id));
    }
    if (output.json) {
      partitions.push_back(owners);
    } else {
      output.out << absl::StrFormat("%5d  %s\n", p, absl::StrJoin(owners, " "));
    }
  }
  if (output.json) {
    output.out << Dump({{"epoch", seen->ring.epoch()},
                        {"partitions", partitions}})
               << "\n";
  }
  return Exit::kOk;
}

Exit RunClusterWhere(Client& client, const std::string& bucket,
                     const std::string& key, const Output& output) {
  const auto seen = See(client);
  if (!seen.ok()) return Fail(output, OperationKind::kRead, seen.status());
  const replica::PartitionId partition =
      replica::PartitionOf(bucket, key, seen->ring.partitions());
  const replica::Placement placement = replica::PlacementOf(
      seen->ring,
      {.ring = {seen->ring.epoch(), {}}, .parent = {}, .grandparent = {}});
  const auto list = [&](absl::Span<const NodeId> ids) {
    Json json = Json::array();
    for (NodeId id : ids) {
      const std::string address = AddressIn(seen->view, id);
      if (output.json) {
        json.push_back({{"name", placement.NameOf(id)}, {"address", address}});
      } else {
        output.out << "  " << placement.NameOf(id) << " "
                   << (address.empty() ? "-" : address) << "\n";
      }
    }
    return json;
  };
  if (output.json) {
    output.out << Dump({{"partition", replica::Index(partition)},
                        {"epoch", seen->ring.epoch()},
                        {"owners", list(placement.Owners(partition))},
                        {"stand_ins", list(placement.StandIns(partition))}})
               << "\n";
    return Exit::kOk;
  }
  output.out << "partition " << replica::Index(partition) << ", owned by\n";
  list(placement.Owners(partition));
  if (!placement.StandIns(partition).empty()) {
    output.out << "in their stead, in this order\n";
    list(placement.StandIns(partition));
  }
  return Exit::kOk;
}

Exit RunClusterAdmin(Client& client, const ClusterAdmin& admin,
                     const Output& output) {
  const auto plan = client.Administer(admin);
  if (!plan.ok()) return Fail(output, OperationKind::kMutation, plan.status());
  const bool committed = std::holds_alternative<net::CommitPlan>(admin);
  if (output.json) {
    output.out << PlanJson(*plan, committed) << "\n";
  } else if (std::holds_alternative<net::PauseTransfers>(admin)) {
    output.out << (plan->transfers_paused
                       ? "transfers by ranges rest, at each node as soon as it "
                         "hears of it\n"
                       : "transfers by ranges go on\n");
  } else {
    PrintPlan(*plan, committed, output.out);
  }
  return Exit::kOk;
}

}  // namespace dovetail::cli
