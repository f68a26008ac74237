// Requests while partitions are on their way to new owners: what is asked of
// whom, and what an answer is worth.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "tests/replica/moving.h"

namespace dovetail::replica {
namespace {

TEST_CASE(
    "Filling: a quorum sees what was acknowledged before and since, whoever "
    "coordinates") {
  Moving world(kFirst);
  world.Rounds(1);
  // At A and B alone; C is out of reach.
  for (uint32_t node : {0u, 1u}) world.Part(node, 2);
  world.Write(0, "before", 5);
  for (uint32_t node : {0u, 1u}) world.Meet(node, 2);
  world.Place(kSecond);
  world.cluster.network().clear();
  // At D and C alone.
  world.Part(2, 1);
  world.Part(3, 1);
  world.Write(2, "since", 7);
  world.Meet(2, 1);
  world.Meet(3, 1);
  for (uint32_t node = 0; node < 4; ++node) {
    world.CheckReads(node, "before", 5);
    world.CheckReads(node, "since", 7);
    world.CheckReads(node, "nothing", 0);
  }
  CHECK(world.Incomplete(3) == 1);
}

TEST_CASE("Filling: with one owner down a former one stands for what was") {
  Moving world(kFirst);
  world.Rounds(1);
  for (uint32_t node : {0u, 2u}) world.Part(node, 1);
  world.Write(0, "before", 5);  // at A and C
  for (uint32_t node : {0u, 2u}) world.Meet(node, 1);
  world.Place(kSecond);
  world.cluster.network().clear();
  world.Part(2, 1);
  world.Part(3, 1);
  world.Write(2, "since", 7);  // at D and C
  world.Meet(2, 1);
  world.Meet(3, 1);
  world.cluster.Crash(2);
  // B and D are not enough: D has nothing of before, and does not say it has.
  const RequestId id =
      world.cluster.BeginRead(1, SpecOf("before"), Strict(Level::Quorum()));
  world.cluster.DeliverAll([](const InFlight& item) {
    return !IsRequest(item) || sim::SeatOf(item.to) == 0;
  });
  CHECK_FALSE(world.cluster.Take(id).has_value());
  world.Requests();
  REQUIRE(world.cluster.Take(id).has_value());
  for (uint32_t node : {0u, 1u, 3u}) {
    world.CheckReads(node, "before", 5);
    world.CheckReads(node, "since", 7);
  }
}

TEST_CASE("Filling: one that is filled says at R=1 what others know") {
  Moving world(kFirst);
  world.FillWith(1);
  world.Place(kSecond);
  world.cluster.network().clear();
  const auto read = world.Read(3, "k0", Strict(Level::One()));
  REQUIRE_MESSAGE(read.ok(), read.status().ToString());
  CHECK(*read == 1);
  for (uint32_t node : {0u, 1u, 2u}) world.cluster.Crash(node);
  CHECK_FALSE(world.Read(3, "k0", Strict(Level::One())).ok());
  const auto sloppy = world.Read(3, "k0", Cluster::R(1));
  CHECK(absl::IsUnavailable(sloppy.status()));
  // What it has itself, it shows.
  RequestOptions one = Cluster::W(1);
  one.quorums = Quorums::kSloppy;
  const RequestId id = world.cluster.Begin(3, {Count("mine", 2)}, one);
  REQUIRE(world.cluster.Take(id)->body.ok());
  const auto mine = world.Read(3, "mine", Cluster::R(1));
  REQUIRE_MESSAGE(mine.ok(), mine.status().ToString());
  CHECK(*mine == 2);
}

TEST_CASE("Filling: listings name what only owners of before hold") {
  Moving world(kFirst);
  for (uint32_t node : {0u, 1u}) world.Part(node, 2);
  world.FillWith(3);  // at A and B
  for (uint32_t node : {0u, 1u}) world.Meet(node, 2);
  world.Place(kSecond);
  world.cluster.network().clear();
  for (uint32_t node = 0; node < 4; ++node) {
    ListRequest list;
    list.bucket = "b";
    list.limit = 100;
    const RequestId id =
        world.cluster.BeginList(node, list, Strict(Level::Quorum()));
    if (node == 3) {  // it and C are not enough
      world.cluster.DeliverAll([](const InFlight& item) {
        return !IsRequest(item) || sim::SeatOf(item.to) == 1;
      });
      CHECK_FALSE(world.cluster.Take(id).has_value());
    }
    world.Requests();
    const auto reply = world.cluster.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
    CHECK(std::get<ListReply>(*reply->body).objects.size() == 3);
  }
}

TEST_CASE("Filling: a mutation goes to an owner that sees what is there") {
  Moving world(kFirst);
  const RequestId added =
      world.cluster.Begin(0, {AddTo("s", {"x"})}, Strict(Level::One()));
  world.Requests();
  REQUIRE(world.cluster.Take(added)->body.ok());
  world.Place(kSecond);
  world.cluster.network().clear();
  const RequestId removed =
      world.cluster.Begin(3, {RemoveFrom("s", {"x"})}, Strict(Level::One()));
  world.Requests();
  REQUIRE(world.cluster.Take(removed)->body.ok());
  CHECK(world.cluster.Show(1, crdt::Type::kSet, "s") == "{}");
}

TEST_CASE("Filling: fewer owners than before know together what they knew") {
  Moving world(kFirst, 3);
  for (uint32_t node : {1u, 2u}) world.Part(node, 0);
  world.Write(1, "theirs", 3);  // not at A
  for (uint32_t node : {1u, 2u}) world.Meet(node, 0);
  world.cluster.network().clear();
  world.Place({2, {0}, {0, 1, 2}});
  world.cluster.network().clear();
  CHECK(world.Incomplete(0) == 1);
  world.CheckReads(0, "theirs", 3);
  world.Rounds(10);
  world.CheckMoved({0});
  world.CheckReads(0, "theirs", 3);
}

TEST_CASE("Filling: a write that a newer ring acknowledged is sent again") {
  Moving world(kFirst);
  const Placement second = Made(4, kSecond);
  // B and C have heard of the ring, A has not.
  world.cluster.at(1).HandlePlacement(second, world.cluster.now());
  world.cluster.at(2).HandlePlacement(second, world.cluster.now());
  const RequestId id =
      world.cluster.Begin(0, {Count("k", 5)}, Strict(Level::One()));
  world.Requests();
  CHECK_FALSE(world.cluster.Take(id).has_value());
  const RequestId read =
      world.cluster.BeginRead(0, SpecOf("k"), Strict(Level::Quorum()));
  world.Requests();
  CHECK_FALSE(world.cluster.Take(read).has_value());
  world.Place(kSecond);
  world.Requests();
  REQUIRE(world.cluster.Take(id).has_value());
  const auto reply = world.cluster.Take(read);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  CHECK(std::get<ReadReply>(*reply->body).result.view.number == 5);
}

}  // namespace
}  // namespace dovetail::replica
