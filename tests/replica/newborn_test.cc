// A disk that was lost, where no partitions move: an owner that starts with
// nothing is not one that knows that there is nothing.
#include <string>

#include "absl/status/status.h"
#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using crdt::Type;

RequestOptions Here() {
  RequestOptions options = Cluster::R(1);
  options.here = true;
  return options;
}

crdt::ReadSpec SpecOf(const std::string& key) {
  crdt::ReadSpec spec;
  spec.object = {"b", key, Type::kSet};
  return spec;
}

absl::Status ReadHere(Cluster& cluster, uint32_t node) {
  return cluster.Read(node, SpecOf("k"), Here()).status();
}

// Three owners have {a} in k; the last one comes back with an empty disk.
struct Wiped {
  explicit Wiped(ShardOptions options = {}) : cluster(3, 1, options) {
    REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
    cluster.DeliverAll();
    cluster.Crash(2);
    cluster.disk(2).Wipe();
  }
  Cluster cluster;
};

TEST_CASE(
    "Newborn: an owner with an empty disk answers no read before it has "
    "what there is") {
  Wiped world;
  Cluster& cluster = world.cluster;
  REQUIRE(cluster.Start(2).ok());
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  CHECK(cluster.at(2).Load().filling == 1);
  // Who asks it is answered by another owner.
  const RequestId read = cluster.BeginRead(2, SpecOf("k"));
  cluster.DeliverAll();
  const auto reply = cluster.Take(read);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  CHECK(crdt::ToString(std::get<ReadReply>(*reply->body).result.view) == "{a}");
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(2, Type::kSet, "k") == "{a}");
  CHECK(cluster.at(2).Load().filling == 0);
}

TEST_CASE(
    "Newborn: a write that comes first does not make it one that has all") {
  Wiped world;
  Cluster& cluster = world.cluster;
  REQUIRE(cluster.Start(2).ok());
  cluster.network().clear();
  RequestOptions here = Cluster::W(1);
  here.here = true;
  REQUIRE(cluster.Write(2, AddTo("k", {"b"}), here).ok());
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  SUBCASE("also over a restart") {
    cluster.network().clear();
    cluster.Crash(2);
    REQUIRE(cluster.Start(2).ok());
    CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  }
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(2, Type::kSet, "k") == "{a, b}");
}

TEST_CASE("Newborn: one owner's word is not that of another in reach") {
  Wiped world;
  Cluster& cluster = world.cluster;
  REQUIRE(cluster.Start(2).ok());
  const auto is_between = [](uint32_t node) {
    return [node](const Cluster::InFlight& item) {
      return item.from == NodeId{node} || item.to == NodeId{node};
    };
  };
  cluster.DeliverAll(is_between(0));
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  SUBCASE("until that is heard") { cluster.DeliverAll(); }
  SUBCASE("or cannot be reached any more") { cluster.Part(2, 0); }
  CHECK(ReadHere(cluster, 2).ok());
  CHECK(cluster.Show(2, Type::kSet, "k") == "{a}");
}

TEST_CASE(
    "Newborn: who comes later is waited for again, and a node that is "
    "alone is of use in time") {
  ShardOptions options;
  options.newborn_patience = absl::Seconds(5);
  Wiped world(options);
  Cluster& cluster = world.cluster;
  cluster.Crash(0);
  cluster.Crash(1);
  REQUIRE(cluster.Start(2).ok());
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  cluster.Advance(absl::Seconds(4));
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  cluster.Advance(absl::Seconds(2));
  CHECK(ReadHere(cluster, 2).ok());
  REQUIRE(cluster.Start(1).ok());
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  cluster.DeliverAll();
  CHECK(ReadHere(cluster, 2).ok());
  CHECK(cluster.Show(2, Type::kSet, "k") == "{a}");
  REQUIRE(cluster.Start(0).ok());
  CHECK(absl::IsUnavailable(ReadHere(cluster, 2)));
  REQUIRE(cluster.Settle().has_value());
  CHECK(ReadHere(cluster, 2).ok());
  // It is complete now, and that is on its disk: nobody need come again.
  cluster.Crash(0);
  cluster.Crash(1);
  cluster.Crash(2);
  REQUIRE(cluster.Start(2).ok());
  CHECK(ReadHere(cluster, 2).ok());
}

}  // namespace
}  // namespace dovetail::replica
