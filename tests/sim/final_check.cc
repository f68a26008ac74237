// What must hold when everything has healed and time has passed without any
// client: all owners are identical, agree with the oracle, and hold what was
// acknowledged.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "replica/keys.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {
namespace {

bool HasRowsOf(const SimDisk& disk, const crdt::ObjectId& object) {
  const std::string prefix = replica::MakeObjectKey(object).prefix;
  const SimDisk::Keys& rows = disk.keys(replica::Family::kRows);
  const auto row = rows.lower_bound(prefix);
  return row != rows.end() && absl::StartsWith(row->first, prefix);
}

}  // namespace

using replica::NodeId;
using replica::PartitionId;

bool Checker::Agree(uint64_t nodes) {
  const auto asked = [&](uint32_t id) { return ((nodes >> id) & 1) != 0; };
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    if (asked(node) && !cluster_->node(node).running()) return false;
  }
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const crdt::EventSet* first = nullptr;
    for (const NodeId owner : cluster_->placement().Owners(partition)) {
      if (!asked(SeatOf(owner))) continue;
      const crdt::EventSet& its = cluster_->ShardOf(SeatOf(owner), partition)
                                      .ContextOf(partition)
                                      .applied;
      if (first == nullptr) first = &its;
      if (!(its == *first)) return false;
    }
    // Without an owner there is nobody to whom to hand anything over.
    if (first == nullptr) continue;
    for (uint32_t node = 0; node < cluster_->size(); ++node) {
      if (asked(node) && !cluster_->ShardOf(node, partition)
                              .ContextOf(partition)
                              .applied.IsSubsetOf(*first)) {
        return false;
      }
    }
  }
  return true;
}

bool Checker::Converged() {
  if (AnyAwaited() || !cluster_->GossipDiffers().empty() ||
      !Agree(~uint64_t{0})) {
    return false;
  }
  if (plan_.options.may_lose == 0 && !AllExact()) return false;
  if (!cluster_->RingUnsettled().empty()) return false;
  if (plan_.options.may_lose == 0 && !Overdue().empty()) return false;
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    for (const Lane& lane : cluster_->node(node).process->lanes) {
      const replica::ShardStats stats = lane.shard->stats();
      if (stats.emptying > 0 || stats.incomplete > 0) return false;
    }
    for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
      const PartitionId partition{static_cast<uint16_t>(p)};
      if (!Owns(node, partition) && !cluster_->ShardOf(node, partition)
                                         .ContextOf(partition)
                                         .applied.empty()) {
        return false;
      }
    }
  }
  const bool truncates = plan_.options.truncate_entries_per_turn > 0;
  if (!truncates) return true;
  // What is stable everywhere leaves the logs.
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    for (const Lane& lane : cluster_->node(node).process->lanes) {
      for (const replica::PartitionDigest& digest : lane.shard->Digests()) {
        if (digest.log_entries > 0) return false;
      }
    }
  }
  return true;
}

uint32_t Checker::FirstOwner(PartitionId partition) const {
  uint32_t node = 0;
  while (!Owns(node, partition)) ++node;
  return node;
}

void Checker::ProbeAll() {
  for (oracle::Oracle& oracle : oracles_) {
    for (const oracle::Object& object : oracle.Objects()) {
      for (uint32_t node = 0; node < cluster_->size(); ++node) {
        Probe(node, object);
      }
    }
  }
  replica::ListRequest all;
  all.bucket = "b";
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    for (const uint32_t r :
         {1u, cluster_->placement().replicas(PartitionId{0})}) {
      lists_.Submit(*cluster_, node, r, all);
    }
  }
}

void Checker::FinalCheck(bool converged) {
  if (!violation_.empty()) return;
  CheckAnswered();
  if (!converged) {
    if (plan_.options.may_lose != 0 && LossIsLoud()) return;
    std::vector<std::string> parts;
    if (const std::string gossip = cluster_->GossipDiffers(); !gossip.empty()) {
      parts.push_back(gossip);
    }
    if (std::string ring = cluster_->RingUnsettled(); !ring.empty()) {
      parts.push_back(std::move(ring));
    }
    if (std::string overdue = Overdue(); !overdue.empty()) {
      parts.push_back(std::move(overdue));
    }
    for (uint32_t node = 0; node < cluster_->size(); ++node) {
      if (!cluster_->node(node).running()) {
        parts.push_back(absl::StrCat("node ", node, " is down"));
        continue;
      }
      for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
        const PartitionId partition{static_cast<uint16_t>(p)};
        if (Exact(node, partition)) continue;
        parts.push_back(absl::StrCat("n", node, "/p", p, " is not exact: ",
                                     WhyInexact(node, partition)));
      }
      for (const Lane& lane : cluster_->node(node).process->lanes) {
        if (const absl::Status sums = lane.shard->VerifyDigests(); !sums.ok()) {
          parts.push_back(absl::StrCat("n", node, ": ", sums.message()));
        }
        const replica::ShardStats stats = lane.shard->stats();
        if (stats.emptying > 0 || stats.incomplete > 0) {
          parts.push_back(absl::StrCat("n", node, " has ", stats.emptying,
                                       " partitions to drop and ",
                                       stats.incomplete, " incomplete"));
        }
        for (const replica::Transfer& transfer : lane.shard->Transfers()) {
          parts.push_back(absl::StrCat(
              "n", node, "/p", Index(transfer.partition),
              " is being filled, lacks ", transfer.events_lacking, " events"));
        }
        for (const replica::PartitionDigest& d : lane.shard->Digests()) {
          parts.push_back(absl::StrCat("n", node, "/p", Index(d.partition), " ",
                                       d.events, " events, ", d.log_entries,
                                       " logged"));
        }
      }
    }
    return OnViolation(absl::StrCat("the nodes do not converge: ",
                                    absl::StrJoin(parts, "; ")));
  }
  CheckReplicas();
  CheckIndexes();
  CheckAcknowledged();
  CheckExact();
  CheckUnique();
}

// A loss that the plan was allowed to cause must at least show somewhere.
bool Checker::LossIsLoud() {
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    if (!cluster_->node(node).running()) return true;
    for (const Lane& lane : cluster_->node(node).process->lanes) {
      const replica::ShardStats stats = lane.shard->stats();
      if (stats.log_gaps + stats.quarantined + stats.corruptions +
              stats.filling >
          0) {
        return true;
      }
    }
  }
  return false;
}

void Checker::CheckAnswered() {
  for (const auto& [id, pending] : pending_) {
    if (pending.abandoned) continue;
    return OnViolation(absl::StrCat(Story(pending), " was never answered",
                                    pending.handled ? "" : ", nor begun"));
  }
}

// A sync by ranges, or a mended disk, waits for what no disk has any more.
bool Checker::Unfinished(PartitionId partition) const {
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    if (!Exact(node, partition)) return true;
  }
  return false;
}

void Checker::CheckReplicas() {
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    for (const Lane& lane : cluster_->node(node).process->lanes) {
      const absl::Status sums = lane.shard->VerifyDigests();
      if (!sums.ok()) {
        return OnViolation(absl::StrCat("node ", node, ": ", sums.ToString()));
      }
    }
  }
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (Unfinished(partition)) {
      if (LossIsLoud()) continue;
      return OnViolation(
          absl::StrCat("partition ", p, " waits for what is lost, in silence"));
    }
    const uint32_t first_node = FirstOwner(partition);
    replica::Shard& first = cluster_->ShardOf(first_node, partition);
    const auto rows = first.DumpRows(partition);
    if (!rows.ok()) return OnViolation(rows.status().ToString());
    // The first event of a session's counter entry may never have come.
    bool node_missing = false;
    first.ContextOf(partition).superseded.ForEachRun(
        [&](const crdt::DotRun& run) {
          node_missing |= crdt::KindOf(run.actor) != crdt::ActorKind::kSession;
          return true;
        });
    if (!losses_ && node_missing) {
      return OnViolation(absl::StrCat(
          "partition ", p, ": X is not empty although nothing was lost"));
    }
    for (uint32_t node = 0; node < cluster_->size(); ++node) {
      replica::Shard& shard = cluster_->ShardOf(node, partition);
      if (!Owns(node, partition)) {
        const auto left = shard.DumpRows(partition);
        if (left.ok() && left->empty()) continue;
        return OnViolation(absl::StrCat("node ", node, " still has rows of ",
                                        "partition ", p,
                                        ", which it handed over"));
      }
      if (!(shard.ContextOf(partition) == first.ContextOf(partition))) {
        return OnViolation(absl::StrCat("partition ", p, ": nodes ", first_node,
                                        " and ", node,
                                        " have different contexts"));
      }
      const auto theirs = shard.DumpRows(partition);
      if (!theirs.ok() || *theirs != *rows) {
        return OnViolation(absl::StrCat("partition ", p, ": nodes ", first_node,
                                        " and ", node, " have different rows"));
      }
    }
  }
}

// The index of each node names the objects that are there, of what it owns, and
// no other.
void Checker::CheckIndexes() {
  // Its key → its partition, whose it is, and when it expires.
  struct Entry {
    PartitionId partition{};
    std::string object;
    uint64_t expires_ms = 0;
  };
  std::map<std::string, Entry> expected;
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (Unfinished(partition)) continue;
    const oracle::Events applied =
        ToOracle(cluster_->ShardOf(FirstOwner(partition), partition)
                     .ContextOf(partition)
                     .applied);
    const oracle::Oracle& oracle = OracleOf(partition);
    for (const oracle::Object& object : oracle.Objects()) {
      if (!IsJudged(FromOracle(object)) ||
          !oracle.Read(object, {}, applied).present) {
        continue;
      }
      expected.emplace(replica::IndexKey(FromOracle(object)),
                       Entry{partition, oracle::ToString(object),
                             oracle.ExpiresAt(object, applied)});
    }
  }
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    const auto& index = cluster_->node(node).disk.keys(replica::Family::kIndex);
    for (const auto& [key, object] : expected) {
      if (!Owns(node, object.partition)) continue;
      const auto entry = index.find(key);
      if (entry == index.end()) {
        return OnViolation(
            absl::StrCat("the index of node ", node, " lacks ", object.object));
      }
      const uint64_t at_ms = replica::ExpiresOfIndexValue(entry->second);
      if (at_ms != object.expires_ms) {
        return OnViolation(absl::StrCat(
            "by the index of node ", node, " ", object.object, " expires at ",
            at_ms, "; the events say ", object.expires_ms));
      }
    }
    for (const auto& [key, nothing] : index) {
      const auto its = expected.find(key);
      if (its != expected.end() && Owns(node, its->second.partition)) continue;
      const auto object = replica::ParseIndexKey(key);
      if (object.ok() &&
          (!IsJudged(*object) || Unfinished(PartitionOf(*object)))) {
        continue;
      }
      // A value may outlive its event: where the only disk is lost that has
      // that, after a sync by ranges has brought the row elsewhere.
      if (object.ok() && losses_ &&
          HasRowsOf(cluster_->node(node).disk, *object)) {
        continue;
      }
      return OnViolation(absl::StrCat(
          "the index of node ", node, " has ",
          object.ok() ? crdt::ToString(*object) : "what does not decode",
          ", which is not there"));
    }
  }
}

void Checker::CheckAcknowledged() {
  for (const Acknowledged& write : acknowledged_) {
    if (write.holders.empty() || plan_.options.may_lose != 0) continue;
    if (!Holds(FirstOwner(write.partition), write.partition, write.events)) {
      return OnViolation(absl::StrCat(
          "\"", plan_.events[write.event].text,
          "\" was acknowledged, its copies are intact, and it is gone"));
    }
  }
}

// The counter that is only added to: between what was acknowledged (and cannot
// have been lost) and what was tried.
void Checker::CheckExact() {
  int64_t at_least = 0;
  std::set<uint64_t> counted;  // operation ids
  for (const Acknowledged& write : acknowledged_) {
    const auto amount = exact_acknowledged_.find(write.event);
    if (amount == exact_acknowledged_.end() || write.holders.empty()) continue;
    const auto& id = std::get<scenario::Operate>(*actions_[write.event]).id;
    if (!id || counted.insert(*id).second) at_least += amount->second;
  }
  crdt::ObjectId object{"b", "exact", crdt::Type::kCounter};
  const PartitionId partition = PartitionOf(object);
  if (plan_.options.may_lose != 0 || !IsJudged(object)) return;
  const oracle::View view = OracleOf(partition).Read(
      ToOracle(object), {},
      ToOracle(cluster_->ShardOf(FirstOwner(partition), partition)
                   .ContextOf(partition)
                   .applied));
  if (view.number < at_least || view.number > exact_attempted_) {
    OnViolation(absl::StrCat("counter \"exact\" is ", view.number,
                             "; acknowledged were ", at_least, " of ",
                             exact_attempted_, " tried"));
  }
}

// The set of elements that are added once: what was acknowledged and never
// tried to remove is there.
void Checker::CheckUnique() {
  if (plan_.options.may_lose != 0) return;
  std::set<std::string> removed;
  for (const std::optional<scenario::Action>& action : actions_) {
    if (!action) continue;
    const auto* operate = std::get_if<scenario::Operate>(&*action);
    if (operate == nullptr) continue;
    const crdt::Operation& operation = operate->steps.front().operation;
    if (operation.object.key == "unique" &&
        operation.verb == crdt::Verb::kRemove) {
      removed.insert(operation.elements.front());
    }
  }
  crdt::ObjectId object{"b", "unique", crdt::Type::kSet};
  if (!IsJudged(object)) return;
  const PartitionId partition = PartitionOf(object);
  const oracle::View view = OracleOf(partition).Read(
      ToOracle(object), {},
      ToOracle(cluster_->ShardOf(FirstOwner(partition), partition)
                   .ContextOf(partition)
                   .applied));
  for (const Acknowledged& write : acknowledged_) {
    const auto& operate = std::get<scenario::Operate>(*actions_[write.event]);
    const crdt::Operation& operation = operate.steps.front().operation;
    if (operation.object.key != "unique" || write.holders.empty()) continue;
    const std::string& element = operation.elements.front();
    const bool present = std::find(view.values.begin(), view.values.end(),
                                   element) != view.values.end();
    if (operation.verb == crdt::Verb::kAdd && !removed.contains(element) &&
        !present) {
      return OnViolation(
          absl::StrCat("set \"unique\" lacks ", element,
                       ", which was acknowledged and never removed"));
    }
  }
}

}  // namespace dovetail::sim
