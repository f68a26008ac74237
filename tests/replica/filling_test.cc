// Partitions on their way to new owners: when these are complete, and when
// those of before may drop what they hold.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "tests/replica/moving.h"

namespace dovetail::replica {
namespace {

TEST_CASE("Filling: a new owner gets all, and only then the old one drops it") {
  Moving world(kFirst);
  SUBCASE("by the log") { world.FillWith(20); }
  SUBCASE("by ranges, where the logs are short") {
    world.FillWith(20);
    world.Rounds(5);
    for (uint32_t node = 0; node < 3; ++node) {
      CHECK(world.cluster.at(node).Digests()[0].log_entries == 0);
    }
  }
  world.Place(kSecond);
  CHECK(world.Incomplete(3) == 1);
  CHECK(world.Incomplete(1) == 0);
  REQUIRE(world.cluster.at(3).Transfers().size() == 1);
  CHECK(world.cluster.at(3).Transfers()[0].partition == kOnly);
  for (int i = 0; i < 30 && world.Holds(0); ++i) {
    // Nothing is dropped before the new owner says that it is complete.
    const bool complete = world.Incomplete(3) == 0;
    world.Rounds(1);
    if (!complete && world.Incomplete(3) > 0) CHECK(world.Holds(0));
  }
  world.Rounds(3);
  world.CheckMoved({3, 1, 2});
  CHECK(world.cluster.at(3).Transfers().empty());
  for (int i = 0; i < 20; ++i) {
    world.CheckReads(3, std::string("k") + std::to_string(i), i + 1);
  }
}

TEST_CASE("Filling: an empty partition is complete, too") {
  Moving world(kFirst);
  world.Place(kSecond);
  CHECK(world.Incomplete(3) == 1);
  world.Rounds(3);
  world.CheckMoved({3, 1, 2});
}

TEST_CASE("Filling: a majority of those of before has to be heard") {
  Moving world(kFirst);
  for (uint32_t node : {0u, 1u}) world.Part(node, 2);
  world.FillWith(3);  // not at C
  for (uint32_t node : {0u, 1u}) world.Meet(node, 2);
  world.Place(kSecond);
  world.cluster.Crash(0);
  world.cluster.Crash(1);
  world.cluster.network().clear();
  world.Rounds(10);  // C alone is heard, and covered
  CHECK(world.Incomplete(3) == 1);
  REQUIRE(world.cluster.Start(1).ok());
  world.Rounds(10);
  CHECK(world.Incomplete(3) == 0);
  world.CheckReads(3, "k0", 1);
}

TEST_CASE("Filling: who can be reached has to be heard, majority or not") {
  Moving world(kFirst);
  world.Place(kSecond);
  world.cluster.network().clear();
  world.Part(0, 1);
  world.Part(0, 2);
  // A alone has it, and D hears of A's summaries last.
  const RequestId id = world.cluster.Begin(0, {Count("late", 4)}, [] {
    auto here = Cluster::W(1);
    here.here = true;
    return here;
  }());
  REQUIRE(world.cluster.Take(id)->body.ok());
  const auto from_a = [](const InFlight& item) {
    return sim::SeatOf(item.from) == 0;
  };
  for (int i = 0; i < 5; ++i) {
    world.cluster.Advance(absl::Seconds(1));
    world.cluster.DeliverAll(from_a);
  }
  CHECK(world.Incomplete(3) == 1);
  world.Rounds(5);
  CHECK(world.Incomplete(3) == 0);
  world.CheckReads(3, "late", 4);
}

TEST_CASE("Filling: an old owner does not take all events for all there is") {
  Moving world(kFirst);
  world.FillWith(3);
  world.Place(kSecond);
  world.cluster.network().clear();
  // D hears of A alone. It gets all from it, and cannot know that it is all.
  const auto apart = [](const InFlight& item) {
    const uint32_t from = sim::SeatOf(item.from);
    const uint32_t to = sim::SeatOf(item.to);
    return (from == 3 && to != 0) || (to == 3 && from != 0);
  };
  for (int i = 0; i < 10; ++i) {
    world.cluster.DeliverAll(apart);
    world.cluster.Advance(absl::Seconds(1));
  }
  CHECK(world.cluster.at(3).DurableOf(kOnly) ==
        world.cluster.at(0).ContextOf(kOnly).applied);
  CHECK(world.Incomplete(3) == 1);
  CHECK(world.Holds(0));
  world.Rounds(10);
  world.CheckMoved({3, 1, 2});
}

TEST_CASE("Filling: whose disk is lost is not waited for") {
  Moving world(kFirst);
  world.FillWith(5);
  world.Rounds(3);
  world.cluster.Crash(0);
  world.cluster.Crash(1);
  world.cluster.network().clear();
  // Two of three are gone for good: what the third has is all there is.
  world.Place({2, {3, 2}, {0, 1, 2}, {0, 1}});
  world.Rounds(10);
  CHECK(world.Incomplete(3) == 0);
  CHECK(world.Incomplete(2) == 0);
  for (int i = 0; i < 5; ++i) {
    world.CheckReads(3, std::string("k") + std::to_string(i), i + 1);
  }
}

TEST_CASE("Filling: a former owner's data is no hint, however old") {
  ShardOptions options;
  options.hint_age_max = absl::Seconds(1);
  options.hint_bytes_max = 1;
  Moving world(kFirst, 4, options);
  world.FillWith(5);
  world.Place(kSecond);
  world.cluster.Crash(3);
  world.cluster.network().clear();
  world.Rounds(20);
  CHECK(world.Holds(0));
  CHECK(world.cluster.at(0).stats().hints == 0);
  REQUIRE(world.cluster.Start(3).ok());
  world.Rounds(10);
  world.CheckMoved({3, 1, 2});
}

TEST_CASE("Filling: a crash at any commit only makes it begin again there") {
  // Of the new owner; each round one more of its turns is lost, or none.
  for (size_t crash_at = 1; crash_at <= 24; ++crash_at) {
    CAPTURE(crash_at);
    ShardOptions options;
    options.range_chunk_bytes = 1;
    options.sync_chunk_bytes = 1;
    Moving world(kFirst, 4, options);
    world.FillWith(6);
    if (crash_at % 2 == 0) world.Rounds(4);  // logs are short
    world.Place(kSecond);
    size_t steps = 0;
    while (world.Incomplete(3) > 0 && steps++ < 2000) {
      if (world.cluster.network().empty()) {
        world.cluster.Advance(absl::Seconds(1));
      } else {
        world.cluster.Deliver(0);
      }
      if (steps % crash_at == 0 && steps < 400) {
        const uint32_t victim = steps % (2 * crash_at) == 0 ? 3 : 0;
        world.cluster.Crash(victim,
                            world.cluster.disk(victim).unsynced_batches() / 2);
        REQUIRE(world.cluster.Start(victim).ok());
      }
    }
    world.Rounds(20);
    world.CheckMoved({3, 1, 2});
    for (int i = 0; i < 6; ++i) {
      world.CheckReads(3, std::string("k") + std::to_string(i), i + 1);
    }
  }
}

TEST_CASE("Filling: whose disk was lost is filled, though its disk is full") {
  // A turn that fails takes back that it is to be filled; a write that came
  // before the next round made it "an owner that holds something", which was
  // complete by the first ring.
  Moving world(kFirst);
  world.FillWith(5);
  world.cluster.Crash(1);
  world.Place(kSecond);
  sim::SimDisk& disk = world.cluster.disk(1);
  disk.Wipe();
  // After that of its actor.
  disk.FailCommit(2, absl::ResourceExhaustedError("no space left on device"));
  REQUIRE(world.cluster.Start(1).ok());
  REQUIRE(world.cluster.at(1).stats().commits_failed == 1);
  CHECK(world.Incomplete(1) == 1);
  world.cluster.network().clear();
  world.Write(2, "since", 9);
  CHECK(world.Holds(1));
  CHECK(world.Incomplete(1) == 1);
  SUBCASE("over a restart, too") {
    world.cluster.Crash(1);
    REQUIRE(world.cluster.Start(1).ok());
    CHECK(world.Incomplete(1) == 1);
  }
  world.Rounds(10);
  world.CheckMoved({3, 1, 2});
  world.CheckReads(1, "k4", 5);
  world.CheckReads(1, "since", 9);
}

TEST_CASE("Filling: it is complete on stable storage before it says so") {
  Moving world(kFirst);
  world.FillWith(3);
  world.Place(kSecond);
  for (int i = 0; i < 30 && world.Incomplete(3) > 0; ++i) world.Rounds(1);
  REQUIRE(world.Incomplete(3) == 0);
  world.cluster.Crash(3, world.cluster.disk(3).unsynced_batches());
  REQUIRE(world.cluster.Start(3).ok());
  CHECK(world.Incomplete(3) == 0);
}

TEST_CASE("Filling: rings that follow one another move all of it") {
  Moving world(kFirst, 7);
  world.FillWith(5);
  world.Place({2, {3, 1, 2}, {0, 1, 2}});
  world.Rounds(10);
  world.Place({3, {3, 4, 2}, {3, 1, 2}});
  world.Rounds(10);
  world.Place({4, {3, 4, 5}, {3, 4, 2}});
  world.Rounds(10);
  world.CheckMoved({3, 4, 5});
  world.CheckReads(5, "k4", 5);
}

TEST_CASE("Filling: a ring forced on another loses nothing") {
  Moving world(kFirst, 7);
  world.FillWith(5);
  world.Place({2, {3, 4, 2}, {0, 1, 2}});
  // Before anything has moved.
  world.Place({3, {3, 5, 6}, {3, 4, 2}});
  world.Rounds(30);
  world.CheckMoved({3, 5, 6});
  for (int i = 0; i < 5; ++i) {
    world.CheckReads(6, std::string("k") + std::to_string(i), i + 1);
  }
}

TEST_CASE(
    "Filling: a ring forced over an owner that has nothing loses nothing") {
  Moving world({1, {0}}, 3);
  world.FillWith(5);
  SUBCASE("by the log") {}
  SUBCASE("by ranges, where the logs are short") {
    world.Rounds(5);
    REQUIRE(world.cluster.at(0).Digests()[0].log_entries == 0);
  }
  world.Place({2, {1}, {0}});
  world.Place({3, {2}, {1}});
  for (int i = 0; i < 60; ++i) {
    world.Rounds(1);
    // Nobody who lacks some of it says that it has all.
    const auto read = world.Read(2, "k4", Strict(Level::Quorum()));
    if (read.ok()) CHECK(*read == 5);
  }
  world.CheckMoved({2});
  for (int i = 0; i < 5; ++i) {
    world.CheckReads(2, std::string("k") + std::to_string(i), i + 1);
  }
}

TEST_CASE("Filling: what no log has comes from whoever has it") {
  ShardOptions options;
  options.log_bytes_max = 1;  // nobody out of reach is waited for
  Moving world(kFirst, 4, options);
  for (uint32_t node : {1u, 2u, 3u}) world.Part(0, node);
  world.cluster.network().clear();
  RequestOptions here = Cluster::W(1);
  here.here = true;
  const RequestId id = world.cluster.Begin(0, {Count("late", 4)}, here);
  REQUIRE(world.cluster.Take(id)->body.ok());
  world.Rounds(5);
  REQUIRE(world.cluster.at(0).Digests()[0].log_entries == 0);
  // It is taken for one that is gone, and owns nothing by this ring or the
  // last.
  world.Place({2, {3, 1, 2}, {0, 1, 2}, {0}});
  world.Rounds(10);
  CHECK(world.Incomplete(3) == 0);
  for (uint32_t node : {1u, 2u, 3u}) world.Meet(0, node);
  world.Rounds(30);
  world.CheckMoved({3, 1, 2});
  world.CheckReads(3, "late", 4);
}

TEST_CASE("Filling: where nobody is whole, each gets what another has") {
  ShardOptions options;
  options.log_bytes_max = 1;
  Moving world({1, {0, 1}}, 4, options);
  world.Write(0, "a", 1);
  world.Rounds(5);
  // C and D take the place of A and B, and hear nothing of what was before.
  for (uint32_t before : {0u, 1u}) {
    for (uint32_t after : {2u, 3u}) world.Part(before, after);
  }
  world.cluster.network().clear();
  world.Place({2, {2, 3}, {0, 1}});
  world.Write(2, "c", 3);
  world.Rounds(5);
  REQUIRE(world.cluster.at(0).Digests()[0].log_entries == 0);
  REQUIRE(world.cluster.at(2).Digests()[0].log_entries == 0);
  // A comes back as one that has to be filled, by who never was.
  world.Place({3, {0, 2, 3}, {2, 3}});
  for (uint32_t before : {0u, 1u}) {
    for (uint32_t after : {2u, 3u}) world.Meet(before, after);
  }
  // So long that whoever is asked is given up, and the next one is looked for.
  for (int i = 0; i < 10; ++i) {
    world.Deliver([](const InFlight& item) {
      return !std::holds_alternative<RangeAnswer>(item.message.body);
    });
    world.cluster.network().clear();
    world.cluster.Advance(absl::Seconds(1));
  }
  world.Rounds(60);
  world.CheckMoved({0, 2, 3});
  world.CheckReads(3, "a", 1);
  world.CheckReads(0, "c", 3);
}

TEST_CASE("Filling: who was away during the commit still has what it had") {
  Moving world(kFirst);
  world.FillWith(5);
  world.cluster.Crash(1);
  world.Place(kSecond);
  world.Rounds(5);
  // Of A and C; B is not needed for a majority.
  CHECK(world.Incomplete(3) == 0);
  CHECK(world.Holds(0));  // B did not say yet that it has all
  REQUIRE(world.cluster.Start(1).ok());
  CHECK(world.Incomplete(1) == 0);
  world.Rounds(10);
  world.CheckMoved({3, 1, 2});
}

TEST_CASE("Filling: an owner that comes back is filled anew") {
  Moving world(kFirst);
  world.FillWith(5);
  world.Place(kSecond);
  world.Part(0, 1);
  world.Part(0, 2);
  world.Part(0, 3);
  world.cluster.network().clear();
  world.Rounds(5);
  world.Write(1, "since", 9);
  world.Meet(0, 1);
  world.Meet(0, 2);
  world.Meet(0, 3);
  world.cluster.network().clear();
  world.Place({3, {0, 1, 2}, {3, 1, 2}});
  CHECK(world.Incomplete(0) == 1);
  world.CheckReads(0, "since", 9);
  world.Rounds(10);
  world.CheckMoved({0, 1, 2});
}

TEST_CASE("Filling: ranges take in no more bytes a second than they may") {
  constexpr uint64_t kRate = 1000;
  ShardOptions options;
  options.range_chunk_bytes = 1;
  options.transfer_bytes_per_second = kRate;
  Moving world(kFirst, 4, options);
  world.FillWith(20);
  world.Rounds(4);
  world.Place(kSecond);
  const absl::Duration began = world.cluster.now().steady;
  absl::Duration took;
  uint64_t bytes = 0;
  while (world.Incomplete(3) > 0 && took < absl::Minutes(2)) {
    bytes = world.cluster.at(3).Transfers()[0].bytes;
    world.cluster.Advance(absl::Milliseconds(5));
    world.cluster.DeliverAll();
    took = world.cluster.now().steady - began;
  }
  CHECK(world.Incomplete(3) == 0);
  CHECK(bytes > 500);
  CHECK(took >= absl::Seconds(static_cast<double>(bytes) / kRate));
  world.Rounds(5);
  world.CheckMoved({3, 1, 2});
}

TEST_CASE("Filling: a source does not answer who has given up on it") {
  ShardOptions options;
  options.transfer_bytes_per_second = 450;  // the rows take more than 11 s
  Moving world({1, {0}}, 3, options);
  world.FillWith(20);
  world.cluster.ForgetLog(0);
  world.Place({2, {1, 2}, {0}});
  // C asks once, when A has just answered B, and is not heard again.
  bool rows_at_b = false;
  int asked = 0, answered = 0;
  const auto arrives = [&](const InFlight& item) {
    const auto& body = item.message.body;
    if (std::holds_alternative<RangeQuery>(body) &&
        sim::SeatOf(item.from) == 2) {
      return rows_at_b && asked++ == 0;
    }
    if (const auto* answer = std::get_if<RangeAnswer>(&body)) {
      for (const RangePart& part : answer->parts) {
        rows_at_b = rows_at_b || !part.rows.empty();
      }
      answered += sim::SeatOf(item.to) == 2 ? 1 : 0;
    }
    return true;
  };
  for (int i = 0; i < 60; ++i) {
    world.cluster.Advance(absl::Milliseconds(500));
    world.Deliver(arrives);
  }
  CHECK(world.Incomplete(1) == 0);
  CHECK(asked > 1);
  CHECK(answered == 0);
  world.Rounds(60);
  world.CheckMoved({1, 2});
}

TEST_CASE(
    "Filling: a part of a write stays hidden when another source is read") {
  ShardOptions options;
  options.range_chunk_bytes = 1;  // a row an answer
  Moving world(kFirst, 3, options);
  for (uint32_t other : {0u, 2u}) world.Part(1, other);
  world.cluster.network().clear();
  RequestOptions here = Cluster::W(1);
  here.here = true;
  std::vector<crdt::Operation> one_write;
  for (int i = 0; i < 5; ++i) {
    one_write.push_back(Count(std::string("k") + std::to_string(i), 1));
  }
  const RequestId at_b = world.cluster.Begin(1, one_write, here);
  REQUIRE(world.cluster.Take(at_b)->body.ok());
  world.cluster.ForgetLog(1);
  world.Meet(1, 0);
  // A reads some of it from B, which is gone then.
  int answers = 0;
  for (int i = 0; i < 20 && answers < 3; ++i) {
    world.Deliver([&](const InFlight& item) {
      const bool answer =
          std::holds_alternative<RangeAnswer>(item.message.body);
      if (answer && answers == 3) return false;
      answers += answer ? 1 : 0;
      return true;
    });
    if (answers < 3) world.cluster.Advance(absl::Milliseconds(500));
  }
  REQUIRE(answers == 3);
  world.cluster.Crash(1);
  world.cluster.network().clear();
  world.Rounds(5);  // C has nothing
  const RequestId at_c = world.cluster.Begin(2, {Count("c", 1)}, here);
  REQUIRE(world.cluster.Take(at_c)->body.ok());
  world.cluster.ForgetLog(2);
  world.cluster.network().clear();
  world.Rounds(5);
  const auto shown = [&](std::string counter) {
    const auto read = world.Read(0, std::move(counter), Strict(Level::One()));
    return read.ok() ? *read : 0;
  };
  for (int i = 0; i < 5; ++i) {
    CHECK(shown(std::string("k") + std::to_string(i)) == 0);
  }
  REQUIRE(world.cluster.Start(1).ok());
  world.Rounds(20);
  for (int i = 0; i < 5; ++i) {
    CHECK(shown(std::string("k") + std::to_string(i)) == 1);
  }
  CHECK(shown("c") == 1);
}

TEST_CASE("Filling: so many partitions at once, and no more") {
  ShardOptions options;
  options.transfers_at_once = 2;
  std::vector<Placement::Member> members;
  for (uint32_t i = 0; i < 2; ++i) {
    members.push_back(
        {NodeId{i}, std::string(1, static_cast<char>('A' + i)), "", ""});
  }
  constexpr uint32_t kPartitions = 8;
  Placement::Row first{{NodeId{0}, NodeId{1}}, 1};
  Placement::Row second{{NodeId{1}, NodeId{0}}, 1, {NodeId{0}}, 1};
  Cluster cluster(
      Placement(1, members, std::vector<Placement::Row>(kPartitions, first)),
      options);
  for (int i = 0; i < 60; ++i) {
    REQUIRE(
        cluster.Write(0, Count(std::string("k") + std::to_string(i), 1)).ok());
  }
  cluster.DeliverAll();
  cluster.ForgetLog(0);
  cluster.Place(Placement(2, members,
                          std::vector<Placement::Row>(kPartitions, second), 1));
  size_t most = 0;
  for (int i = 0; i < 40 && cluster.at(1).stats().incomplete > 0; ++i) {
    while (!cluster.network().empty()) {
      cluster.Deliver(0);
      size_t running = 0;
      for (const Transfer& transfer : cluster.at(1).Transfers()) {
        running += transfer.source.has_value() ? 1 : 0;
      }
      most = std::max(most, running);
    }
    cluster.Advance(absl::Seconds(1));
  }
  CHECK(cluster.at(1).stats().incomplete == 0);
  CHECK(cluster.at(1).stats().filled == kPartitions);
  CHECK(most == 2);
}

TEST_CASE("Filling: paused, ranges bring nothing, and then they do") {
  ShardOptions options;
  Moving world(kFirst, 4, options);
  world.FillWith(20);
  world.Rounds(4);
  world.cluster.at(3).PauseTransfers(true);
  world.Place(kSecond);
  world.Rounds(10);
  CHECK(world.Incomplete(3) == 1);
  CHECK(world.cluster.at(3).Transfers()[0].bytes == 0);
  world.cluster.at(3).PauseTransfers(false);
  world.Rounds(70);
  world.CheckMoved({3, 1, 2});
}

}  // namespace
}  // namespace dovetail::replica
