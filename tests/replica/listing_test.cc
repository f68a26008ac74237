// Listings: what R nodes show, joined, and what decides where they disagree.
#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/hash.h"
#include "replica/list_cover.h"
#include "replica/shard.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using crdt::Type;
using crdt::Verb;

ListRequest InB(uint32_t limit = 1000) {
  ListRequest list;
  list.bucket = "b";
  list.limit = limit;
  return list;
}

// "k1:set k2:counter", with " ..." if there is more.
std::string Names(const ListReply& reply) {
  std::string names;
  for (const crdt::ObjectId& object : reply.objects) {
    CHECK(object.bucket == "b");
    absl::StrAppend(&names, names.empty() ? "" : " ", object.key, ":",
                    crdt::TypeName(object.type));
  }
  if (reply.more) absl::StrAppend(&names, " ...");
  return names;
}

std::string TakeNames(Cluster& cluster, RequestId id) {
  std::optional<ClientReply> reply = cluster.Take(id);
  if (!reply) return "no reply";
  if (!reply->body.ok()) return std::string(reply->body.status().message());
  return Names(std::get<ListReply>(*reply->body));
}

// No repair: the replicas stay as they are.
bool Repairs(const Cluster::InFlight& item) {
  return std::holds_alternative<Summary>(item.message.body);
}

// With everything delivered that it asks for.
std::string List(Cluster& cluster, uint32_t node, uint32_t r,
                 ListRequest list = InB()) {
  std::deque<Cluster::InFlight> others = std::move(cluster.network());
  cluster.network().clear();
  const RequestId id = cluster.BeginList(node, std::move(list), Cluster::R(r));
  cluster.DeliverAll(Repairs);
  cluster.network() = std::move(others);
  return TakeNames(cluster, id);
}

TEST_CASE("Listing: what W of N acknowledged is in every listing at R") {
  for (uint32_t asked = 0; asked < 3; ++asked) {
    CAPTURE(asked);
    Cluster cluster(3);
    const RequestId write =
        cluster.Begin(1, {AddTo("k", {"x"})}, Cluster::W(2));
    cluster.DeliverAll([](const auto& item) { return item.to == NodeId{0}; });
    REQUIRE(cluster.Take(write)->body.ok());
    cluster.network().clear();
    CHECK(List(cluster, asked, 2) == "k:set");
    // One alone is asked for what it holds.
    CHECK(List(cluster, asked, 1) == (asked == 0 ? "" : "k:set"));
  }
}

TEST_CASE("Listing: what one of R knows to be deleted is in none") {
  for (uint32_t asked = 0; asked < 3; ++asked) {
    CAPTURE(asked);
    Cluster cluster(3);
    REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
    REQUIRE(cluster.Write(0, AddTo("stays", {"x"})).ok());
    cluster.DeliverAll();
    REQUIRE(cluster.Write(1, RemoveFrom("k", {"x"})).ok());
    cluster.DeliverAll([](const auto& item) { return item.to == NodeId{0}; });
    cluster.network().clear();
    CHECK(List(cluster, asked, 2) == "stays:set");
    CHECK(List(cluster, asked, 3) == "stays:set");
    CHECK(List(cluster, 0, 1) == "k:set stays:set");
  }
}

TEST_CASE("Listing: equal pages travel as \"the same\"") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  REQUIRE(cluster.Write(0, Count("k", 2)).ok());
  cluster.DeliverAll();
  const RequestId id = cluster.BeginList(0, InB(), Cluster::R(3));
  REQUIRE(cluster.network().size() == 2);
  cluster.Deliver(0);
  const auto answer =
      std::get<ListAnswer>(cluster.network().back().message.body);
  CHECK(answer.same);
  CHECK(answer.objects.empty());
  CHECK(TakeNames(cluster, id) == "no reply");
  cluster.DeliverAll();
  CHECK(TakeNames(cluster, id) == "k:set k:counter");
}

TEST_CASE("Listing: pages that end at different objects miss none") {
  // Node 0 has the odd ones, node 1 the even ones, node 2 nothing.
  Cluster cluster(3);
  std::vector<std::string> expected;
  for (int i = 10; i < 30; ++i) {
    const std::string key = absl::StrCat("k", i);
    REQUIRE(cluster.Write(i % 2 == 0 ? 1 : 0, Count(key, 1)).ok());
    expected.push_back(absl::StrCat(key, ":counter"));
  }
  REQUIRE(cluster.Write(0, Count("other", 1)).ok());
  cluster.network().clear();
  for (uint32_t limit : {1, 2, 3, 7, 100}) {
    CAPTURE(limit);
    std::vector<std::string> found;
    ListRequest list = InB(limit);
    list.prefix = "k";
    for (bool more = true; more;) {
      const RequestId id = cluster.BeginList(0, list, Cluster::R(2));
      cluster.DeliverAll();
      auto reply = cluster.Take(id);
      REQUIRE(reply.has_value());
      REQUIRE(reply->body.ok());
      const auto& page = std::get<ListReply>(*reply->body);
      CHECK(page.objects.size() <= limit);
      for (const auto& object : page.objects) {
        found.push_back(absl::StrCat(object.key, ":counter"));
      }
      more = page.more;
      REQUIRE((!more || !page.objects.empty()));
      if (more) list.after = page.objects.back();
    }
    CHECK(found == expected);
  }
}

TEST_CASE("Listing: reads of one page are few, and a page is never empty") {
  ShardOptions options;
  options.list_reads_max = 2;
  Cluster cluster(2, 1, options);
  for (int i = 10; i < 17; ++i) {
    REQUIRE(cluster.Write(0, AddTo(absl::StrCat("k", i), {"x"})).ok());
  }
  cluster.DeliverAll();
  for (int i = 10; i < 17; ++i) {
    REQUIRE(cluster.Write(1, RemoveFrom(absl::StrCat("k", i), {"x"})).ok());
  }
  REQUIRE(cluster.Write(0, AddTo("k17", {"x"})).ok());
  REQUIRE(cluster.Write(0, AddTo("k18", {"x"})).ok());
  cluster.network().clear();
  // Seven that are gone go by in pages of two reads, then k17 with the last.
  const RequestId id = cluster.BeginList(0, InB(), Cluster::R(2));
  size_t reads = 0;
  while (!cluster.network().empty()) {
    const auto& body = cluster.network().front().message.body;
    if (std::holds_alternative<ReadQuery>(body)) ++reads;
    CHECK(cluster.network().size() <= 4);  // two reads and their nudges
    cluster.Deliver(0);
    std::erase_if(cluster.network(), [](const auto& item) {
      return std::holds_alternative<Summary>(item.message.body);
    });
  }
  CHECK(reads == 8);
  CHECK(TakeNames(cluster, id) == "k17:set ...");
}

TEST_CASE("Listing: an owner that goes down is replaced by another") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(2, AddTo("k", {"x"})).ok());
  cluster.network().clear();
  const RequestId id = cluster.BeginList(0, InB(), Cluster::R(2));
  REQUIRE(cluster.network().size() == 1);
  REQUIRE(cluster.network()[0].to == NodeId{1});
  cluster.network().clear();
  cluster.Crash(1);
  cluster.DeliverAll(Repairs);
  cluster.network().clear();
  CHECK(TakeNames(cluster, id) == "k:set");
  cluster.Crash(2);
  CHECK(List(cluster, 0, 1) == "");
  CHECK(List(cluster, 0, 2) ==
        "R=2: 1 of 3 replicas reachable, of partition 0");
}

TEST_CASE("Listing: a silent node is joined by others, then time runs out") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(2, AddTo("k", {"x"})).ok());
  cluster.DeliverAll([](const auto& item) { return item.to == NodeId{0}; });
  cluster.network().clear();
  RequestOptions options = Cluster::R(2);
  options.timeout = absl::Milliseconds(300);
  const RequestId hedged = cluster.BeginList(0, InB(), options);
  cluster.network().clear();
  cluster.Advance(absl::Milliseconds(60));
  cluster.DeliverAll(Repairs);
  cluster.network().clear();
  CHECK(TakeNames(cluster, hedged) == "k:set");
  const RequestId late = cluster.BeginList(0, InB(), options);
  cluster.network().clear();
  cluster.Advance(absl::Milliseconds(60));
  cluster.network().clear();
  cluster.Advance(absl::Milliseconds(300));
  const auto reply = cluster.Take(late);
  REQUIRE(reply.has_value());
  CHECK(absl::IsDeadlineExceeded(reply->body.status()));
  // What comes after that meets nobody.
  CHECK(List(cluster, 0, 2) == "k:set");
}

TEST_CASE("Listing: a node that cannot answer, or answers nonsense, is left") {
  const auto with = [](const std::function<void(ListAnswer&)>& spoil) {
    Cluster cluster(3);
    REQUIRE(cluster.Write(1, AddTo("k1", {"x"})).ok());
    REQUIRE(cluster.Write(1, AddTo("k2", {"x"})).ok());
    cluster.DeliverAll([](const auto& item) { return item.to == NodeId{0}; });
    cluster.network().clear();
    const RequestId id = cluster.BeginList(0, InB(), Cluster::R(2));
    cluster.Deliver(0);
    spoil(std::get<ListAnswer>(cluster.network().back().message.body));
    cluster.DeliverAll();
    return TakeNames(cluster, id);
  };
  CHECK(with([](ListAnswer&) {}) == "k1:set k2:set");
  CHECK(with([](ListAnswer& answer) {
          answer.status = absl::UnavailableError("not now");
        }) == "k1:set k2:set");
  CHECK(with([](ListAnswer& answer) {
          std::swap(answer.objects[0], answer.objects[1]);
        }) == "k1:set k2:set");
  CHECK(with([](ListAnswer& answer) {
          answer.objects.clear();
          answer.more = true;
        }) == "k1:set k2:set");
  // From a coordinator of before the restart, it is no answer at all.
  CHECK(with([](ListAnswer& answer) {
          answer.ticket.incarnation = crdt::ActorId{99};
        }) == "no reply");
}

TEST_CASE("Listing: if R cannot answer, the reason is given at once") {
  Cluster cluster(2);
  const RequestId id = cluster.BeginList(0, InB(), Cluster::R(2));
  cluster.Deliver(0);
  std::get<ListAnswer>(cluster.network().back().message.body).status =
      absl::DataLossError("its index is damaged");
  cluster.DeliverAll();
  CHECK(TakeNames(cluster, id) == "its index is damaged");
  CHECK(List(cluster, 0, 3) != "");
  CHECK(List(cluster, 0, 1, InB(0)) == "a listing of no objects at the most");
}

TEST_CASE("Listing: against a joined read of each object, at random") {
  const uint64_t seed = 20;
  MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  const auto below = [&](size_t n) { return random() % n; };
  const std::vector<std::string> keys{"a", "b", "{a}c", "d"};
  const Type types[] = {Type::kSet, Type::kRemoveSet, Type::kDisableFlag};
  size_t decided = 0;
  for (int round = 0; round < 150; ++round) {
    Cluster cluster(3, 4);
    for (int step = 0; step < 25; ++step) {
      const std::string& key = keys[below(keys.size())];
      const Type type = types[below(3)];
      const auto node = static_cast<uint32_t>(below(3));
      const bool adds = below(2) == 0;
      crdt::Operation operation =
          type == Type::kDisableFlag
              ? Op(type, adds ? Verb::kDisable : Verb::kEnable, key)
              : Op(type, adds ? Verb::kAdd : Verb::kRemove, key);
      if (type != Type::kDisableFlag) {
        operation.elements = {below(2) == 0 ? "x" : "y"};
      }
      REQUIRE(cluster.Write(node, operation).ok());
      for (size_t i = below(4); i > 0 && !cluster.network().empty(); --i) {
        cluster.Deliver(below(cluster.network().size()));
      }
    }
    cluster.network().clear();
    std::set<crdt::ObjectId> listed;
    ListRequest list = InB(static_cast<uint32_t>(1 + below(5)));
    for (bool more = true; more;) {
      const RequestId id = cluster.BeginList(static_cast<uint32_t>(below(3)),
                                             list, Cluster::R(3));
      cluster.DeliverAll(Repairs);
      cluster.network().clear();
      auto reply = cluster.Take(id);
      REQUIRE(reply.has_value());
      REQUIRE(reply->body.ok());
      const auto& page = std::get<ListReply>(*reply->body);
      for (const auto& object : page.objects) {
        CHECK((listed.empty() || *listed.rbegin() < object));
        listed.insert(object);
      }
      more = page.more;
      if (more) list.after = page.objects.back();
    }
    for (const std::string& key : keys) {
      for (Type type : types) {
        const crdt::ObjectId object{"b", key, type};
        crdt::ReadSpec spec;
        spec.object = object;
        const RequestId id = cluster.BeginRead(0, spec, Cluster::R(3));
        cluster.DeliverAll(Repairs);
        cluster.network().clear();
        const bool there =
            std::get<ReadReply>(*cluster.Take(id)->body).result.view.present;
        size_t shown = 0;
        for (uint32_t node = 0; node < 3; ++node) {
          shown += cluster.Read(node, spec)->view.present ? 1 : 0;
        }
        CAPTURE(crdt::ToString(object));
        // What all show is listed, each for its own reason.
        CHECK(listed.contains(object) == (there || shown == 3));
        decided += shown > 0 && shown < 3 ? 1 : 0;
      }
    }
  }
  CHECK(decided > 300);
}

// One node in two shards on one disk, as a host runs it.
struct Halves {
  Halves(uint32_t self, const Placement& placement) {
    const crdt::ActorId actor =
        crdt::MakeActorId(crdt::ActorKind::kNode, self + 1);
    REQUIRE(RecordActor(storage, actor).ok());
    const auto unlisted =
        std::make_shared<UnlistedBoard>(placement.partitions());
    for (uint32_t i = 0; i < 2; ++i) {
      shards.push_back(std::make_unique<Shard>(
          options, placement,
          Shard::Identity{NodeId{self}, actor, i, 2, "", unlisted}, storage));
      REQUIRE(shards[i]->Open({}).ok());
    }
  }
  const ShardOptions options;
  sim::SimDisk disk;
  sim::SimStorage storage{disk};
  std::vector<std::unique_ptr<Shard>> shards;
};

TEST_CASE("Listing: the shard of an object's partition decides about it") {
  const Placement placement(2, 2);
  Halves a(0, placement);
  Halves b(1, placement);
  Halves* nodes[] = {&a, &b};
  std::deque<Cluster::InFlight> network;
  std::vector<ClientReply> replies;
  const auto end_turn = [&](uint32_t node, size_t shard) {
    Output output = nodes[node]->shards[shard]->EndTurn({});
    for (Envelope& envelope : output.messages) {
      network.push_back(
          {NodeId{node}, envelope.to, std::move(envelope.message)});
    }
    for (ClientReply& reply : output.replies) replies.push_back(reply);
  };
  const auto request = [&](uint32_t node, size_t shard, ClientRequest what) {
    nodes[node]->shards[shard]->HandleRequest(std::move(what), {});
    end_turn(node, shard);
  };
  size_t to_self = 0;
  const auto deliver_all = [&] {
    while (!network.empty()) {
      const Cluster::InFlight item = network.front();
      network.pop_front();
      to_self += item.from == item.to ? 1 : 0;
      const size_t shard = Index(item.message.partition) % 2;
      nodes[Index(item.to)]->shards[shard]->HandleMessage(item.from,
                                                          item.message, {});
      end_turn(static_cast<uint32_t>(Index(item.to)), shard);
    }
  };
  for (uint32_t node = 0; node < 2; ++node) {
    for (size_t shard = 0; shard < 2; ++shard) {
      nodes[node]->shards[shard]->HandlePeerUp(NodeId{1 - node}, {});
      end_turn(node, shard);
    }
  }
  deliver_all();
  // Of each partition, an object that only node 1 has.
  std::set<size_t> halves;
  for (int i = 0; i < 8; ++i) {
    const std::string key = absl::StrCat("k", i);
    const size_t shard = Index(PartitionOf("b", key, 2));
    halves.insert(shard);
    request(1, shard,
            {RequestId{1}, Cluster::W(1), WriteRequest{{Count(key, 1)}}});
  }
  REQUIRE(halves.size() == 2);
  network.clear();
  replies.clear();
  request(0, 0, {RequestId{2}, Cluster::R(2), InB()});
  deliver_all();
  REQUIRE(replies.size() == 1);
  REQUIRE(replies[0].body.ok());
  CHECK(std::get<ListReply>(*replies[0].body).objects.size() == 8);
  CHECK(to_self > 0);
}

TEST_CASE("Listing: an object's question is refused where it does not belong") {
  Cluster cluster(2, 2);
  PresenceQuery query;
  query.ticket = {crdt::ActorId{5}, 1};
  query.place = 3;
  query.object = {"b", "k", Type::kSet};
  query.timeout = absl::Seconds(1);
  const uint32_t its = Index(PartitionOf("b", "k", 2));
  const auto ask = [&](uint32_t partition) {
    cluster.network().push_back(
        {NodeId{1},
         NodeId{0},
         {PartitionId{static_cast<uint16_t>(partition)}, query}});
    cluster.Deliver(cluster.network().size() - 1);
    return std::get<PresenceAnswer>(cluster.network().back().message.body);
  };
  cluster.network().clear();
  CHECK(absl::IsInvalidArgument(ask(1 - its).status));
  const PresenceAnswer answer = ask(its);
  CHECK(answer.status.ok());
  CHECK(answer.place == 3);
  CHECK(answer.ticket == query.ticket);
  CHECK_FALSE(answer.present);
  query.required = 3;
  CHECK(absl::IsInvalidArgument(ask(its).status));
}

TEST_CASE("Listing: nodes are chosen until each partition has R among them") {
  const Placement placement(5, 8);
  const auto required = RequiredOwners(placement, Level::Count(3), 0, "");
  REQUIRE(required.ok());
  CHECK(*required == std::vector<uint32_t>(8, 3));
  CHECK(RequiredOwners(placement, Level::Quorum(), 0, "")->front() == 3);
  CHECK(absl::IsInvalidArgument(
      RequiredOwners(placement, Level::Count(6), 0, "").status()));
  const auto up = [](NodeId node) { return Index(node) != 1; };
  const auto all = [](NodeId, PartitionId) { return true; };
  const Cover cover = GrowCover(placement, *required, {NodeId{4}}, up, all);
  CHECK(cover.lacking.ok());
  CHECK(cover.nodes == std::vector<NodeId>{NodeId{4}, NodeId{0}, NodeId{2}});
  CHECK(Covers(placement, *required, cover.nodes, all));
  CHECK_FALSE(Covers(placement, *required, {NodeId{4}, NodeId{0}}, all));
  const Cover poor = GrowCover(
      placement, *required, {NodeId{4}},
      [](NodeId node) { return Index(node) == 3; }, all);
  CHECK(absl::IsUnavailable(poor.lacking));
  CHECK(poor.nodes == std::vector<NodeId>{NodeId{4}, NodeId{3}});
}

TEST_CASE("Listing: a node that is being filled covers nothing of that") {
  const Placement placement(3, 2);
  const std::vector<uint32_t> required = {1, 1};
  const auto up = [](NodeId) { return true; };
  const auto has_all = [](NodeId node, PartitionId partition) {
    return Index(node) != 0 || Index(partition) != 1;
  };
  CHECK_FALSE(Covers(placement, required, {NodeId{0}}, has_all));
  const Cover cover = GrowCover(placement, required, {NodeId{0}}, up, has_all);
  CHECK(cover.lacking.ok());
  CHECK(cover.nodes.size() == 2);
  const auto none = [](NodeId, PartitionId) { return false; };
  const Cover poor = GrowCover(placement, required, {}, up, none);
  CHECK(poor.lacking.message() ==
        "R=1: 0 of 3 replicas reachable, of partition 0; 3 are being filled");
}

// Its index is empty, and listings at R = 1 were answered from it.
TEST_CASE("Listing: a node whose disk was lost lists what the others have") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  REQUIRE(cluster.Write(0, AddTo("l", {"x"})).ok());
  REQUIRE(cluster.Settle(50).has_value());
  cluster.Crash(2);
  cluster.disk(2).Wipe();
  REQUIRE(cluster.Start(2).ok());
  const auto rows = [](const Cluster::InFlight& item) {
    return std::holds_alternative<RangeAnswer>(item.message.body);
  };
  for (int i = 0; i < 50 && cluster.at(2).stats().filling == 0; ++i) {
    cluster.Advance(absl::Milliseconds(100));
    cluster.DeliverAll(rows);
  }
  REQUIRE(cluster.at(2).stats().filling > 0);
  cluster.network().clear();
  CHECK(List(cluster, 2, 1) == "k:set l:set");
  CHECK(List(cluster, 2, 2) == "k:set l:set");
  ListRequest here = InB();
  RequestOptions options = Cluster::R(1);
  options.here = true;
  const RequestId id = cluster.BeginList(2, here, options);
  CHECK(TakeNames(cluster, id) == "");
  SUBCASE("alone it says that it cannot") {
    cluster.Crash(0);
    cluster.Crash(1);
    CHECK(absl::StrContains(List(cluster, 2, 1), "are being filled"));
  }
  SUBCASE("until it has all of it") {
    REQUIRE(cluster.Settle(50).has_value());
    CHECK(cluster.at(2).stats().filling == 0);
    const RequestId own = cluster.BeginList(2, here, Cluster::R(1));
    CHECK(TakeNames(cluster, own) == "k:set l:set");
  }
}

}  // namespace
}  // namespace dovetail::replica
