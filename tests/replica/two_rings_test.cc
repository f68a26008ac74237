// Two operators who commit at once make two rings of one epoch. The order of
// their digests decides, but not everywhere at the same moment: what was
// acknowledged, answered or completed by the one says nothing by the other.
#include <cstdint>
#include <string>

#include "doctest/doctest.h"
#include "tests/replica/moving.h"

namespace dovetail::replica {
namespace {

constexpr uint64_t kLoses = 1;
constexpr uint64_t kHolds = 2;
// By the one D takes A's place, by the other E and F those of A and B.
const RingOf kVoid{2, {3, 1, 2}, {0, 1, 2}, {}, kLoses};
const RingOf kWinner{2, {4, 5, 2}, {0, 1, 2}, {}, kHolds};

// Only these hear of it.
void Tell(Moving& world, const RingOf& ring, const std::vector<uint32_t>& who) {
  world.cluster.Announce(Made(world.nodes_, ring));
  for (uint32_t node : who) world.cluster.Tell(node);
  world.cluster.network().clear();
}

TEST_CASE("Two rings: an epoch alone names none") {
  const RingStamp loses{7, {kLoses, 0}};
  const RingStamp holds{7, {kHolds, 0}};
  CHECK_FALSE(SameRing(loses, holds));
  CHECK(IsNewerRing(holds, loses));
  CHECK_FALSE(IsNewerRing(loses, holds));
  CHECK(IsNewerRing({8, {}}, holds));
  // Who does not say its digest is taken at its epoch.
  CHECK(SameRing({7, {}}, holds));
  CHECK_FALSE(IsNewerRing(holds, {7, {}}));
}

TEST_CASE("Two rings: what the one acknowledges, the other does not count") {
  Moving world(kFirst, 6);
  Tell(world, kVoid, {0, 1, 2, 3});
  Tell(world, kWinner, {0, 2, 3, 4, 5});
  // B goes by the ring that is void, C and D by the one that holds.
  const RequestId id =
      world.cluster.Begin(1, {Count("k", 5)}, Strict(Level::One()));
  world.Requests();
  CHECK_FALSE(world.cluster.Take(id).has_value());
  const RequestId read =
      world.cluster.BeginRead(1, SpecOf("k"), Strict(Level::Quorum()));
  world.Requests();
  CHECK_FALSE(world.cluster.Take(read).has_value());
  // It hears of the other: the same epoch, and both begin anew by it.
  world.cluster.Tell(1);
  world.Requests();
  const auto written = world.cluster.Take(id);
  REQUIRE(written.has_value());
  CHECK_MESSAGE(written->body.ok(), written->body.status().ToString());
  const auto reply = world.cluster.Take(read);
  REQUIRE(reply.has_value());
  REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  CHECK(std::get<ReadReply>(*reply->body).result.view.number == 5);
  world.CheckReads(4, "k", 5);
}

TEST_CASE("Two rings: who still goes by the void one is asked until it does") {
  Moving world(kFirst, 6);
  Tell(world, kVoid, {0, 1, 2, 4, 5});
  Tell(world, kWinner, {2});
  // E and F hold what C sends them for others, by their ring.
  const RequestId id =
      world.cluster.Begin(2, {Count("k", 5)}, Strict(Level::One()));
  world.Requests();
  CHECK_FALSE(world.cluster.Take(id).has_value());
  Tell(world, kWinner, {0, 1, 3, 4, 5});
  for (int i = 0; i < 5; ++i) {
    world.cluster.Advance(absl::Milliseconds(200));
    world.Requests();
  }
  const auto reply = world.cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  world.CheckReads(5, "k", 5);
}

TEST_CASE("Two rings: who was complete by the one is filled by the other") {
  // Two in each half of a cluster: E completes by one that knows nothing of
  // what the other half wrote.
  const RingOf left2{2, {0, 1, 3}, {0, 1, 2}, {}, kLoses};
  const RingOf left3{3, {0, 3, 4}, {0, 1, 3}, {}, kLoses, kLoses};
  const RingOf right2{2, {1, 2, 5}, {0, 1, 2}, {}, kHolds};
  const RingOf right3{3, {2, 5, 4}, {1, 2, 5}, {}, kHolds, kHolds};
  Moving world(kFirst, 6);
  for (uint32_t a : {0u, 1u, 3u, 4u}) {
    for (uint32_t b : {2u, 5u}) world.Part(a, b);
  }
  world.cluster.network().clear();
  Tell(world, right2, {2, 5});
  world.Write(2, "k", 5);  // at C and F
  Tell(world, left2, {0, 1, 3, 4});
  world.Rounds(10);
  Tell(world, left3, {0, 1, 3, 4});
  world.Rounds(10);
  CHECK(world.Incomplete(4) == 0);
  for (uint32_t a : {0u, 1u, 3u, 4u}) {
    for (uint32_t b : {2u, 5u}) world.Meet(a, b);
  }
  world.Place(right3);
  world.cluster.network().clear();
  CHECK(world.Incomplete(4) == 1);
  const auto read = world.Read(4, "k", Strict(Level::One()));
  CHECK_MESSAGE(read.ok(), read.status().ToString());
  if (read.ok()) CHECK(*read == 5);
  world.Rounds(20);
  world.CheckMoved({2, 5, 4});
  world.CheckReads(4, "k", 5);
}

TEST_CASE("Two rings: by the ring before, an answer counts while data moves") {
  const Placement by = Made(6, {3, {2, 5, 4}, {1, 2, 5}, {}, kHolds, kHolds});
  CHECK(by.Counts({3, {kHolds, 0}}));
  CHECK(by.Counts({2, {kHolds, 0}}));
  CHECK_FALSE(by.Counts({3, {kLoses, 0}}));
  CHECK_FALSE(by.Counts({2, {kLoses, 0}}));
  CHECK_FALSE(by.Counts({1, {}}));
  CHECK_FALSE(by.Counts({4, {kHolds, 0}}));
  // Once all has come nobody of before is asked.
  const Placement settled = Made(6, {3, {2, 5, 4}, {}, {}, kHolds, kHolds});
  CHECK_FALSE(settled.Counts({2, {kHolds, 0}}));
}

TEST_CASE(
    "Two rings: whoever went by the void one still is an owner of before") {
  Moving world(kFirst, 6);
  world.FillWith(5);
  Tell(world, kVoid, {0, 1, 2, 3});
  world.Rounds(1);
  Tell(world, kWinner, {0, 1, 2, 3, 4, 5});
  // C owned it by all three; A and B by the first, whose word E and F need.
  CHECK(world.Incomplete(2) == 0);
  CHECK(world.Incomplete(4) == 1);
  world.CheckReads(4, "k4", 5);
  world.Rounds(20);
  world.CheckMoved({4, 5, 2});
  world.CheckReads(5, "k4", 5);
}

TEST_CASE("Two rings: a restart still knows by which an owner was complete") {
  Moving world(kFirst, 6);
  world.FillWith(3);
  Tell(world, kVoid, {0, 1, 2, 3});
  world.Rounds(5);
  CHECK(world.Incomplete(3) == 0);
  const RingOf with_d{2, {3, 5, 2}, {0, 1, 2}, {}, kHolds};
  world.Place(with_d);
  world.cluster.network().clear();
  CHECK(world.Incomplete(3) == 1);
  world.cluster.Crash(3);
  REQUIRE(world.cluster.Start(3).ok());
  CHECK(world.Incomplete(3) == 1);
  world.Rounds(10);
  CHECK(world.Incomplete(3) == 0);
  world.cluster.Crash(3);
  REQUIRE(world.cluster.Start(3).ok());
  CHECK(world.Incomplete(3) == 0);
  world.CheckMoved({3, 5, 2});
}

}  // namespace
}  // namespace dovetail::replica
