// Does the client go straight to owners, and stay right when owners, rings and
// connections change under it? Against fake nodes that show it a cluster.
#include "src/client/router.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "replica/hash.h"
#include "replica/ring.h"
#include "src/cli/command_line.h"
#include "src/client/client.h"
#include "src/client/routes.h"
#include "src/client/steady_clock.h"
#include "tests/client/fake_cluster.h"
#include "tests/client/fake_node.h"
#include "tests/client/submitting.h"

namespace dovetail {
namespace {

std::vector<NodeId> OrderOf(const internal::Routes& routes, uint16_t p) {
  std::vector<NodeId> nodes;
  for (const auto& owner : routes.Owners(PartitionId{p})) {
    nodes.push_back(owner.node);
  }
  return nodes;
}

TEST_CASE("Routes: the near zone, the region, the rest; else as in the ring") {
  const auto ring = replica::Ring::Compute(
      RingOf({Member(1, "a", "eu"), Member(2, "b", "eu"), Member(3, "a", "us"),
              Member(4, "b", "us")},
             2)
          .ring());
  REQUIRE(ring.ok());
  const internal::Routes eu_b(*ring, {"b", "eu"});
  const internal::Routes us(*ring, {"", "us"});
  const internal::Routes nowhere(*ring, {"a", ""});
  bool rotates = false;
  for (uint16_t p = 0; p < kPartitions; ++p) {
    const auto owners = ring->Owners(PartitionId{p});
    REQUIRE(owners.size() == 4);
    CHECK(OrderOf(nowhere, p) ==
          std::vector<NodeId>(owners.begin(), owners.end()));
    const std::vector<NodeId> from_eu = OrderOf(eu_b, p);
    CHECK(from_eu[0] == NodeId{2});
    CHECK(from_eu[1] == NodeId{1});
    const std::vector<NodeId> from_us = OrderOf(us, p);
    CHECK(std::max(from_us[0], from_us[1]) == NodeId{4});
    CHECK(std::min(from_us[0], from_us[1]) == NodeId{3});
    rotates |= from_us[0] != OrderOf(us, 0)[0];
  }
  CHECK(rotates);
}

TEST_CASE("Router: each operation goes to the owner of its partition") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 1));
  auto db = Open({cluster.address(1)});
  for (uint64_t id : {1u, 2u, 3u}) {
    AwaitRoute(*db, cluster, id, cluster.KeyOf(id));
  }
  std::map<uint64_t, size_t> before;
  for (uint64_t id : {1u, 2u, 3u}) before[id] = cluster.node(id).keys().size();
  for (int i = 0; i < 60; ++i) {
    const std::string key = absl::StrCat("key", i);
    CHECK(db->bucket("b").counter(key).Add(1).ok());
    CHECK(db->bucket("b").counter(key).Read()->value == 1);
    Batch batch;
    batch.bucket("b").counter(absl::StrCat("{", key, "}c")).Add(2);
    batch.bucket("b").set(absl::StrCat("{", key, "}s")).Add("x");
    CHECK(db->Run(batch).ok());
  }
  size_t seen = 0;
  for (uint64_t id : {1u, 2u, 3u}) {
    const std::vector<std::string> keys = cluster.node(id).keys();
    for (size_t i = before[id]; i < keys.size(); ++i, ++seen) {
      CHECK_MESSAGE(cluster.FirstOwner(keys[i]) == NodeId{id}, keys[i]);
    }
    // The home connection is that to its node, too.
    CHECK(cluster.node(id).connections() == 1);
  }
  CHECK(seen == 180);
}

TEST_CASE(
    "Router: listings, inspection and what is meant for one node go home") {
  FakeCluster cluster(RingOf({Member(1), Member(2)}, 1));
  auto db = Open({cluster.address(1)});
  const std::string key = cluster.KeyOf(2);
  AwaitRoute(*db, cluster, 2, key);
  CHECK(db->List("b", "").ok());
  CHECK(db->Status().ok());
  CHECK(db->Digests().ok());
  CHECK(db->Cluster()->node == NodeId{1});
  CHECK(cluster.node(1).lists() == 1);
  CHECK(db->node() == cluster.address(1));

  const size_t before = cluster.Asked(1, key);
  CallOptions here;
  here.here = true;
  CHECK(Start(*db, ReadCounter(key), here).get().ok());
  CHECK(cluster.Asked(1, key) == before + 1);
  replica::ReadRequest only;
  only.spec.object = {"b", key, Type::kCounter};
  only.only = {NodeId{1}, NodeId{2}};
  CHECK(Start(*db, only).get().ok());
  CHECK(cluster.Asked(1, key) == before + 2);
}

TEST_CASE("Router: owners in the client's zone are asked first") {
  FakeCluster cluster(
      RingOf({Member(1, "a"), Member(2, "b"), Member(3, "c")}, 3));
  ClientOptions options;
  options.zone = "b";
  auto db = Open({cluster.address(1)}, options);
  AwaitRoute(*db, cluster, 2, "k");
  const size_t before = cluster.node(2).keys().size();
  for (int i = 0; i < 50; ++i) {
    CHECK(db->bucket("b").counter(absl::StrCat("key", i)).Add(1).ok());
  }
  CHECK(cluster.node(2).keys().size() == before + 50);
}

TEST_CASE("Router: a level of the own region is asked of no other region") {
  // One owner in each region; home and client are in `eu`.
  FakeCluster cluster(RingOf({Member(1, "", "eu"), Member(2, "", "us")}, 1));
  ClientOptions options;
  options.view_refresh = absl::Milliseconds(5);
  auto db = Open({cluster.address(1)}, options);
  const std::string key = cluster.KeyOf(2);
  AwaitRoute(*db, cluster, 1, key);
  cluster.SetCondition(1, net::Condition::kDead);
  cluster.Publish();
  AwaitRoute(*db, cluster, 2, key);
  const size_t before = cluster.Asked(1, key);
  CallOptions local;
  local.read = Level::LocalOne();
  local.write = Level::Quorum();
  CHECK(Start(*db, ReadCounter(key), local).get().ok());
  CHECK(cluster.Asked(1, key) == before + 1);
  local.write = Level::LocalQuorum();
  CHECK(Start(*db, AddOne(key), local).get().ok());
  CHECK(cluster.Asked(1, key) == before + 2);
}

TEST_CASE("Router: of a dead owner reads go on elsewhere, mutations do not") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 3));
  auto db = Open({cluster.address(1)}, {.calls_in_flight_max = 1});
  const std::string key = cluster.KeyOf(2);
  AwaitRoute(*db, cluster, 2, key);
  cluster.node(2).Hold();
  auto added = Start(*db, AddOne(cluster.KeyOf(2, 1)));
  Await([&] { return cluster.Asked(2, cluster.KeyOf(2, 1)) == 1; });
  auto unsent = Start(*db, AddOne(cluster.KeyOf(2, 2)));
  cluster.Kill(2);
  CHECK(MayHaveTakenEffect(added.get().status()));
  CHECK(unsent.get().ok());
  CHECK(cluster.Asked(1, cluster.KeyOf(2, 1)) == 0);
  CHECK(cluster.Asked(3, cluster.KeyOf(2, 1)) == 0);
  CHECK(cluster.Asked(1, cluster.KeyOf(2, 2)) +
            cluster.Asked(3, cluster.KeyOf(2, 2)) ==
        1);

  // The next owner takes its part, though home could.
  const std::vector<NodeId> owners = cluster.Owners(key);
  AwaitRoute(*db, cluster, replica::Index(owners[1]), key);

  // A read that was on its way.
  cluster.Restart(2);
  AwaitRoute(*db, cluster, 2, key);
  cluster.node(2).Hold();
  const size_t asked = cluster.Asked(2, key);
  auto read = Start(*db, ReadCounter(key));
  Await([&] { return cluster.Asked(2, key) > asked; });
  cluster.Kill(2);
  const Result answered = read.get();
  CHECK_MESSAGE(answered.ok(), answered.status().ToString());
}

TEST_CASE("Router: an owner that is taken for dead is passed over") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 2));
  ClientOptions options;
  options.view_refresh = absl::Milliseconds(5);
  auto db = Open({cluster.address(1)}, options);
  const std::string key = cluster.KeyOf(2);
  AwaitRoute(*db, cluster, 2, key);
  for (net::Condition condition :
       {net::Condition::kSuspect, net::Condition::kDead,
        net::Condition::kLeft}) {
    cluster.SetCondition(2, condition);
    cluster.Publish();
    AwaitRoute(*db, cluster, replica::Index(cluster.Owners(key)[1]), key);
    cluster.SetCondition(2, net::Condition::kAlive);
    cluster.Publish();
    AwaitRoute(*db, cluster, 2, key);
  }
}

TEST_CASE(
    "Router: an owner that answers slowly is passed over until it is quick") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 3));
  const auto client = Open({cluster.address(1)});
  for (uint64_t id = 1; id <= 3; ++id) {
    AwaitRoute(*client, cluster, id, cluster.KeyOf(id));
  }
  const auto read_all = [&] {
    std::vector<std::future<Result>> reads;
    for (uint64_t id = 1; id <= 3; ++id) {
      reads.push_back(Start(*client, ReadCounter(cluster.KeyOf(id))));
    }
    for (auto& read : reads) REQUIRE(read.get().ok());
  };
  cluster.node(2).SetDelay(absl::Milliseconds(300));
  const std::string key = cluster.KeyOf(2);
  const auto elsewhere = [&] {
    return cluster.Asked(1, key) + cluster.Asked(3, key);
  };
  Await([&] {
    const size_t before = elsewhere();
    read_all();
    return elsewhere() > before;
  });
  // Mutations, too; all but probes, which are reads, and wait for nobody.
  const std::string other = cluster.KeyOf(2, 1);
  const Result written = Start(*client, AddOne(other)).get();
  REQUIRE(written.ok());
  CHECK(cluster.Asked(1, other) + cluster.Asked(3, other) == 1);
  // Nobody tells the client that it is quick again: it finds out.
  cluster.node(2).SetDelay(absl::ZeroDuration());
  Await([&] {
    const size_t before = elsewhere();
    read_all();
    return elsewhere() == before;
  });
}

TEST_CASE("Router: a newer ring is followed as soon as a hello names it") {
  const auto three = RingOf({Member(1), Member(2), Member(3)}, 1);
  const auto two = RingOf({Member(1), Member(2)}, 1, 2, {three.digest()});
  FakeCluster cluster(three);
  ClientOptions options;
  options.view_refresh = absl::Milliseconds(5);
  auto db = Open({cluster.address(1)}, options);
  const std::string key = cluster.KeyOf(3);
  AwaitRoute(*db, cluster, 3, key);
  AwaitRoute(*db, cluster, 2, cluster.KeyOf(2));
  // What is on its way at the node that leaves is still answered.
  cluster.node(3).Hold();
  const size_t held = cluster.Asked(3, key);
  auto slow = Start(*db, AddOne(key));
  Await([&] { return cluster.Asked(3, key) > held; });

  // Only node 2 knows: it is asked, not the home node, which lags behind.
  cluster.CommitAt(2, two);
  cluster.node(2).HangUpAll();
  const auto ring = replica::Ring::Compute(two.ring());
  const NodeId owner =
      ring->Owners(replica::PartitionOf("b", key, kPartitions))[0];
  Await([&] {
    const size_t asked = cluster.Asked(3, key);
    const size_t before = cluster.Asked(replica::Index(owner), key);
    // Not waited for: as long as it goes to node 3 it is held.
    auto read = Start(*db, ReadCounter(key));
    Await([&] {
      return cluster.Asked(3, key) > asked ||
             cluster.Asked(replica::Index(owner), key) > before;
    });
    return cluster.Asked(replica::Index(owner), key) > before;
  });
  cluster.node(3).Release();
  CHECK(slow.get().ok());

  // A view of the old ring does not bring it back.
  const size_t old = cluster.node(3).keys().size();
  const size_t views = cluster.node(1).views();
  Await([&] { return cluster.node(1).views() > views + 1; });
  for (int i = 0; i < 50; ++i) {
    CHECK(Start(*db, ReadCounter(absl::StrCat("key", i))).get().ok());
  }
  CHECK(cluster.node(3).keys().size() == old);
}

TEST_CASE("Router: without a ring everything goes to one node") {
  FakeNode node;
  FakeNode other;
  SUBCASE("of a node that does not know the call") {}
  SUBCASE("of a node that has none yet") {
    net::ClusterView view;
    view.config = replica::EncodeClusterConfig({});
    node.SetView(view);
  }
  SUBCASE("of a node whose ring is not understood") {
    net::ClusterView view;
    view.config = "what is this";
    node.SetView(view);
  }
  ClientOptions options;
  options.view_refresh = absl::Milliseconds(1);
  auto db = Open({node.address(), other.address()}, options);
  for (int i = 0; i < 50; ++i) {
    CHECK(db->bucket("b").counter(absl::StrCat(i)).Add(1).ok());
  }
  CHECK(node.keys().size() == 50);
  CHECK(node.connections() == 1);
  CHECK(other.connections() == 0);
}

TEST_CASE("Router: a client that is told not to route has one connection") {
  FakeCluster cluster(RingOf({Member(1), Member(2)}, 1));
  ClientOptions options;
  options.route = false;
  options.view_refresh = absl::Milliseconds(1);
  auto db = Open({cluster.address(1)}, options);
  for (int i = 0; i < 50; ++i) {
    CHECK(db->bucket("b").counter(absl::StrCat(i)).Add(1).ok());
  }
  CHECK(cluster.node(1).keys().size() == 50);
  CHECK(cluster.node(2).connections() == 0);
}

TEST_CASE("Router: the command line asks the node that it is told to ask") {
  FakeCluster cluster(RingOf({Member(1), Member(2)}, 1));
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream error;
  for (int i = 0; i < 20; ++i) {
    CHECK(cli::RunCommandLine({"--node", cluster.address(1), "counter", "add",
                               "b", absl::StrCat("k", i), "1"},
                              {in, out, error}) == 0);
  }
  CHECK(cluster.node(1).keys().size() == 20);
  CHECK(cluster.node(1).views() == 0);
  CHECK(cluster.node(2).connections() == 0);

  // `exec --route` asks for the ring, and all lines succeed on the way to it.
  std::istringstream lines(
      R"({"type":"counter","verb":"add","bucket":"b","key":"k","amount":1})");
  CHECK(cli::RunCommandLine({"--node", cluster.address(1), "exec", "--route"},
                            {lines, out, error}) == 0);
  CHECK(cluster.node(1).views() == 1);
}

TEST_CASE("Router: owners that only the nodes can reach cost nothing") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 1));
  {
    FakeNode gone;
    cluster.SetAddress(2, gone.address());
  }
  // Another node than the ring says answers there.
  FakeNode stranger;
  stranger.SetHello(NodeId{9}, 1);
  cluster.SetAddress(3, stranger.address());
  cluster.Publish();
  auto db = Open({cluster.address(1)}, {.timeout = absl::Seconds(1)});
  const auto read = [&](uint64_t id) {
    return Start(*db, ReadCounter(cluster.KeyOf(id))).get().ok();
  };
  Await([&] {
    CHECK(read(2));
    CHECK(read(3));
    return stranger.connections() > 0;
  });
  for (int i = 0; i < 50; ++i) {
    CHECK(read(2));
    CHECK(read(3));
  }
  CHECK(stranger.keys().empty());
}

TEST_CASE("Router: home falls back to members that the user did not name") {
  FakeCluster cluster(RingOf({Member(1), Member(2)}, 1));
  auto db = Open({cluster.address(1)});
  AwaitRoute(*db, cluster, 2, cluster.KeyOf(2));
  cluster.Kill(1);
  CHECK(db->List("b", "").ok());
  CHECK(db->node() == cluster.address(2));
  CHECK(Start(*db, ReadCounter(cluster.KeyOf(1))).get().ok());
}

TEST_CASE("Router: the limits are those of all connections together") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 1));
  auto db = Open({cluster.address(1)}, {.operations_in_flight_max = 3});
  for (uint64_t id : {1u, 2u, 3u}) {
    AwaitRoute(*db, cluster, id, cluster.KeyOf(id));
  }
  for (uint64_t id : {1u, 2u, 3u}) cluster.node(id).Hold();
  std::vector<std::future<Result>> some;
  for (uint64_t id : {1u, 2u, 3u}) {
    some.push_back(Start(*db, AddOne(cluster.KeyOf(id))));
  }
  CHECK(absl::IsResourceExhausted(
      Start(*db, AddOne(cluster.KeyOf(1))).get().status()));
  for (uint64_t id : {1u, 2u, 3u}) cluster.node(id).Release();
  for (auto& each : some) CHECK(each.get().ok());
  CHECK(Start(*db, AddOne(cluster.KeyOf(1))).get().ok());
}

TEST_CASE("Router: closing answers what is in flight on every connection") {
  FakeCluster cluster(RingOf({Member(1), Member(2), Member(3)}, 1));
  auto db = Open({cluster.address(1)}, {.calls_in_flight_max = 1});
  std::vector<std::future<Result>> sent;
  std::vector<std::future<Result>> unsent;
  for (uint64_t id : {1u, 2u, 3u}) {
    AwaitRoute(*db, cluster, id, cluster.KeyOf(id));
  }
  for (uint64_t id : {1u, 2u, 3u}) {
    const std::string key = cluster.KeyOf(id);
    cluster.node(id).Hold();
    const size_t before = cluster.Asked(id, key);
    sent.push_back(Start(*db, AddOne(key)));
    Await([&] { return cluster.Asked(id, key) > before; });
    unsent.push_back(Start(*db, AddOne(key)));
  }
  db.reset();
  for (auto& each : sent) CHECK(MayHaveTakenEffect(each.get().status()));
  for (auto& each : unsent) {
    const Result never = each.get();
    CHECK(absl::IsUnavailable(never.status()));
    CHECK_FALSE(MayHaveTakenEffect(never.status()));
  }
}

}  // namespace
}  // namespace dovetail
