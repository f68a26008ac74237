#include "tests/sim/list_watch.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/hash.h"
#include "tests/sim/convert.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using crdt::ObjectId;
using replica::PartitionId;
using replica::RequestId;

namespace {

// What can be said of a page without knowing what should be in it.
std::string CheckForm(const replica::ListRequest& request,
                      const replica::ListReply& reply) {
  if (reply.objects.size() > request.limit) return "is longer than its limit";
  if (reply.more && reply.objects.empty()) return "has no end to go on from";
  const ObjectId* before = request.after ? &*request.after : nullptr;
  for (const ObjectId& object : reply.objects) {
    if (object.bucket != request.bucket) return "shows another bucket";
    if (before != nullptr && !(*before < object)) return "is out of order";
    before = &object;
  }
  return "";
}

bool NothingMoves(SimCluster& cluster) {
  for (uint32_t node = 0; node < cluster.size(); ++node) {
    if (!cluster.node(node).running()) continue;
    for (const Lane& lane : cluster.node(node).process->lanes) {
      if (lane.placement->moves()) return false;
    }
  }
  return true;
}

bool MovesAt(SimCluster& cluster, uint32_t node) {
  const auto& lanes = cluster.node(node).process->lanes;
  return std::all_of(lanes.begin(), lanes.end(),
                     [](const Lane& lane) { return lane.placement->moves(); });
}

}  // namespace

void ListWatch::Submit(SimCluster& cluster, uint32_t node, uint32_t r,
                       replica::ListRequest request) {
  if (!cluster.node(node).running()) return;
  const RequestId id{next_request_++};
  Asked asked;
  asked.node = node;
  asked.at_us = cluster.now_us();
  asked.moves = MovesAt(cluster, node);
  asked.still = NothingMoves(cluster);
  asked.r = r;
  asked.request = request;
  for (const replica::SessionToken& token : request.session) {
    asked.seen[token.partition] = ToOracle(token.events);
  }
  Learn(cluster, asked);
  asked_.emplace(id, std::move(asked));
  replica::ClientRequest message;
  message.id = id;
  message.options.read = replica::Level::Count(r);
  message.options.timeout = absl::Seconds(2);
  message.body = std::move(request);
  if (!cluster.Submit(node, std::move(message))) asked_.erase(id);
}

void ListWatch::SubmitAny(SimCluster& cluster, uint32_t node, Stream& chance) {
  // Nodes that differ may need many messages for one, and each turn may ask for
  // another: without a bound they could beget each other for ever.
  constexpr size_t kAtOnceMax = 2;
  constexpr uint64_t kEverMax = 500;
  if (asked_.size() >= kAtOnceMax || pages_ >= kEverMax) return;
  replica::ListRequest request;
  request.bucket = "b";
  request.limit = chance.Half() ? 1'000 : 1 + chance.Below32(5);
  if (chance.OneIn(3)) {
    std::vector<oracle::Object> objects =
        oracles_[static_cast<size_t>(chance.Below(oracles_.size()))].Objects();
    if (!objects.empty()) request.after = FromOracle(chance.Pick(objects));
  }
  const uint32_t replicas = cluster.placement().replicas(PartitionId{0});
  uint32_t r = 1 + chance.Below32(replicas);
  if (chance.Half()) {
    request.session = AnySession(cluster, chance);
    if (chance.Half()) r = 1;
  }
  Submit(cluster, node, r, std::move(request));
}

// What reads at R = 1 would have told: of some partitions all that some node
// has applied.
std::vector<replica::SessionToken> ListWatch::AnySession(SimCluster& cluster,
                                                         Stream& chance) const {
  std::vector<replica::SessionToken> session;
  for (uint32_t p = 0; p < cluster.partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const uint32_t node = chance.Below32(cluster.size());
    if (chance.OneIn(3) || !cluster.node(node).running()) continue;
    session.push_back(
        {cluster.partitions(),
         partition,
         cluster.ShardOf(node, partition).ContextOf(partition).applied,
         {}});
  }
  return session;
}

void ListWatch::Learn(SimCluster& cluster, Asked& asked) const {
  for (uint32_t node = 0; node < cluster.size(); ++node) {
    asked.starts.push_back(cluster.node(node).starts);
  }
  for (size_t p = 0; p < oracles_.size(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const std::vector<oracle::Object> objects = oracles_[p].Objects();
    const auto seen = asked.seen.find(partition);
    for (const oracle::Object& object : objects) {
      Known& known = asked.known[FromOracle(object)];
      known.writes = oracles_[p].WritesOf(object);
      known.seen = seen != asked.seen.end() &&
                   oracles_[p].HasAllWritesOf(object, seen->second);
    }
    for (uint32_t node = 0; node < cluster.size(); ++node) {
      const replica::NodeId id{node};
      // Only these are asked.
      const bool owns = cluster.placement().Owns(id, partition);
      const bool before = cluster.placement().OwnedBefore(id, partition);
      if (!cluster.node(node).running() || (!owns && !before)) continue;
      const bool filled = cluster.IsBeingFilled(node, partition);
      // Else it only waits for a word of others, who may have nothing to say.
      const bool surely =
          filled && (!asked.still ||
                     cluster.ShardOf(node, partition).stats().filling > 0);
      const oracle::Events applied = ToOracle(
          cluster.ShardOf(node, partition).ContextOf(partition).applied);
      for (const oracle::Object& object : objects) {
        Known& known = asked.known[FromOracle(object)];
        const bool has = oracles_[p].HasAllWritesOf(object, applied);
        if (owns && has) known.holders.push_back(node);
        if (owns && !has && !surely) ++known.lacking;
        if (owns && has && !filled) known.kept = true;
        if (before && has) known.before.push_back(node);
      }
    }
  }
}

bool ListWatch::SomeLack(SimCluster& cluster, PartitionId partition,
                         const oracle::Object& object) const {
  const absl::Span<const replica::NodeId> owners =
      cluster.placement().Owners(partition);
  return std::any_of(
      owners.begin(), owners.end(), [&](const replica::NodeId owner) {
        const uint32_t node = SeatOf(owner);
        return cluster.node(node).running() &&
               !cluster.IsBeingFilled(node, partition) &&
               !oracles_[Index(partition)].HasAllWritesOf(
                   object, ToOracle(cluster.ShardOf(node, partition)
                                        .ContextOf(partition)
                                        .applied));
      });
}

std::optional<bool> ListWatch::Expect(SimCluster& cluster, const Asked& asked,
                                      const ObjectId& id,
                                      const Known& known) const {
  const PartitionId partition =
      replica::PartitionOf(id.bucket, id.key, cluster.partitions());
  const oracle::Oracle& oracle = oracles_[Index(partition)];
  const oracle::Object object = ToOracle(id);
  if (oracle.WritesOf(object) != known.writes) return std::nullopt;
  const bool present = oracle.Read(object, {}, oracle.AllEvents()).present;
  if (known.seen) return present;
  // Else it may have asked nodes that own nothing any more.
  if (!cluster.RingKnownSince(asked.at_us)) return std::nullopt;
  const auto still = [&](const std::vector<uint32_t>& nodes) {
    return static_cast<uint32_t>(
        std::count_if(nodes.begin(), nodes.end(), [&](uint32_t node) {
          return cluster.node(node).running() &&
                 cluster.node(node).starts == asked.starts[node];
        }));
  };
  const replica::Placement& placement = cluster.placement();
  const uint32_t n = placement.replicas(partition);
  // R of those of before have one of these among them, or R owners are enough,
  // since they are complete: then they have it, too, for it was at a majority.
  const uint32_t n_before = placement.replicas_before(partition);
  const uint32_t had = still(known.before);
  const bool before = asked.moves && MovesAt(cluster, asked.node) &&
                      known.lacking == 0 && 2 * had > n_before &&
                      had + asked.r > n_before;
  if (still(known.holders) + asked.r > n || before) return present;
  // An owner that is being filled counts for nothing, so it was some other one.
  std::vector<uint32_t> owners;
  for (const replica::NodeId owner : placement.Owners(partition)) {
    owners.push_back(SeatOf(owner));
  }
  const bool whole = asked.still && NothingMoves(cluster) && known.kept &&
                     known.lacking == 0 && still(owners) == n &&
                     !SomeLack(cluster, partition, object);
  if (whole) return present;
  return std::nullopt;
}

std::string ListWatch::Judge(
    SimCluster& cluster, RequestId id, const replica::ListReply& reply,
    absl::FunctionRef<bool(const ObjectId&, int64_t)> is_known) {
  const auto it = asked_.find(id);
  DOVETAIL_CHECK(it != asked_.end());
  const Asked asked = std::move(it->second);
  asked_.erase(it);
  ++pages_;
  const std::string story =
      absl::StrCat("a listing at node ", asked.node, " with R=", asked.r,
                   asked.seen.empty() ? " " : " and a session ");
  const std::string wrong = CheckForm(asked.request, reply);
  if (!wrong.empty()) return absl::StrCat(story, wrong);
  const std::set<ObjectId> listed(reply.objects.begin(), reply.objects.end());
  for (const ObjectId& object : listed) {
    const PartitionId partition =
        replica::PartitionOf(object.bucket, object.key, cluster.partitions());
    if (oracles_[Index(partition)].WritesOf(ToOracle(object)) == 0 &&
        is_known(object, asked.at_us)) {
      return absl::StrCat(story, "shows ", crdt::ToString(object),
                          ", which nobody wrote");
    }
  }
  for (const auto& [object, known] : asked.known) {
    if (asked.request.after && object <= *asked.request.after) continue;
    if (reply.more && reply.objects.back() < object) break;
    const std::optional<bool> expected = Expect(cluster, asked, object, known);
    if (!expected || !is_known(object, asked.at_us)) continue;
    ++judged_;
    if (*expected != listed.contains(object)) {
      return absl::StrCat(
          story, *expected ? "lacks " : "shows ", crdt::ToString(object),
          *expected ? ", which is there" : ", which is not there");
    }
  }
  return "";
}

void ListWatch::OnStopped(uint32_t node) {
  std::erase_if(asked_,
                [&](const auto& item) { return item.second.node == node; });
}

}  // namespace dovetail::sim
