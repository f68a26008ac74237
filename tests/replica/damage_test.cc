// Damage that no read tells of: what finds it, and that mending ends. Random
// schedules with damage are in range_test.cc.
#include <doctest/doctest.h>

#include <iterator>
#include <string>
#include <variant>

#include "replica/keys.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr PartitionId kZero{0};
constexpr crdt::Type kSet = crdt::Type::kSet;

ShardOptions LargeAtOnce() {
  ShardOptions options;
  options.inline_leaves_max = 1;     // two elements have rows of their own
  options.scrub_rows_per_round = 0;  // it is looked at when a test says so
  return options;
}

std::string HeaderOf(const std::string& key) {
  return MakeObjectKey({"b", key, kSet}).HeaderKey();
}

// All hold {a, b} in k and {c} in l, and have no logs.
struct Pair {
  Cluster cluster;

  explicit Pair(uint32_t nodes = 2) : cluster(nodes, 1, LargeAtOnce()) {
    REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
    REQUIRE(cluster.Write(0, AddTo("k", {"b"})).ok());
    REQUIRE(cluster.Write(0, AddTo("l", {"c"})).ok());
    REQUIRE(cluster.Settle(50).has_value());
    REQUIRE(cluster.disk(1).keys(Family::kRows).contains(HeaderOf("k")));
  }
  void LoseHeader() {
    cluster.Crash(1);
    cluster.disk(1).Damage(HeaderOf("k"), std::nullopt);
    REQUIRE(cluster.Start(1).ok());
    cluster.DeliverAll();
  }
  bool Mending() {
    return cluster.disk(1).keys(Family::kMeta).contains(RangesKey(kZero));
  }
};

// Its leaves still added up to the digest, and readers began at the header.
TEST_CASE("Damage: the lost header of a large object is found") {
  Pair pair;
  pair.LoseHeader();
  CHECK_FALSE(pair.cluster.at(1).VerifyDigests().ok());
  pair.cluster.Scrub(1);
  REQUIRE(pair.cluster.Settle(50).has_value());
  CHECK(pair.cluster.Show(1, kSet, "k") == "{a, b}");
}

// What is written next begins a small object, beside rows that nobody sees.
TEST_CASE("Damage: a header that was lost is found after a write, too") {
  Pair pair;
  pair.LoseHeader();
  REQUIRE(pair.cluster.Write(1, AddTo("k", {"d"})).ok());
  CHECK(pair.cluster.Show(1, kSet, "k") == "{d}");
  CHECK_FALSE(pair.cluster.at(1).VerifyDigests().ok());
  pair.cluster.Scrub(1);
  REQUIRE(pair.cluster.Settle(50).has_value());
  CHECK(pair.cluster.Show(0, kSet, "k") == "{a, b, d}");
  CHECK(pair.cluster.Show(1, kSet, "k") == "{a, b, d}");
  CHECK(pair.cluster.Differences() == "");
}

// The leaf was cleared and nothing of it was lost: the turn that ended the
// mending changed no row, and so its end was not recorded until the next write.
TEST_CASE("Damage: mending ends though it changes no row") {
  Pair pair;
  pair.LoseHeader();
  pair.cluster.Scrub(1);
  REQUIRE(pair.Mending());
  REQUIRE(pair.cluster.Settle(50).has_value());
  CHECK_FALSE(pair.Mending());
  CHECK(pair.cluster.Show(1, kSet, "k") == "{a, b}");
  CHECK(pair.cluster.Write(1, AddTo("k", {"d"})).ok());
}

// The digest on disk was still that of what the damage had left.
TEST_CASE("Damage: what was mended adds up after a restart") {
  Pair pair;
  pair.cluster.Crash(1);
  pair.cluster.disk(1).Damage(HeaderOf("l"), std::nullopt);
  REQUIRE(pair.cluster.Start(1).ok());
  pair.cluster.Scrub(1);
  REQUIRE(pair.Mending());
  // Not longer: an idle partition writes its digest by itself.
  while (pair.Mending()) {
    pair.cluster.Advance(absl::Milliseconds(100));
    pair.cluster.DeliverAll();
  }
  REQUIRE(pair.cluster.Show(1, kSet, "l") == "{c}");
  pair.cluster.Crash(1);
  REQUIRE(pair.cluster.Start(1).ok());
  CHECK(pair.cluster.at(1).VerifyDigests().ok());
}

// Its rows show an event that only the peer had in a log which is gone: it
// waited for that for ever, and was no source for anybody meanwhile.
TEST_CASE("Damage: what mended it and then lost its disk is not waited for") {
  Pair pair(3);
  Cluster& cluster = pair.cluster;
  REQUIRE(cluster.Write(0, AddTo("l", {"d"})).ok());
  cluster.network().clear();
  cluster.Crash(1);
  cluster.disk(1).Damage(HeaderOf("l"), std::nullopt);
  REQUIRE(cluster.Start(1).ok());
  cluster.Part(1, 2);  // so that it is mended by the one that has this
  cluster.Scrub(1);
  // The mending comes through, and no log does.
  const auto logs = [](const Cluster::InFlight& item) {
    return std::holds_alternative<SyncDeltas>(item.message.body) ||
           std::holds_alternative<Replicate>(item.message.body);
  };
  for (int i = 0; i < 100 && cluster.at(1).stats().mended == 0; ++i) {
    cluster.Advance(absl::Milliseconds(100));
    cluster.DeliverAll(logs);
  }
  REQUIRE(cluster.at(1).stats().mended == 1);
  REQUIRE(cluster.at(1).ContextOf(kZero).applied.dot_count() == 3);
  cluster.network().clear();
  cluster.Meet(1, 2);
  cluster.Crash(0);
  cluster.disk(0).Wipe();
  REQUIRE(cluster.Start(0).ok());
  for (int i = 0; i < 120; ++i) {
    cluster.Advance(absl::Seconds(1));
    cluster.DeliverAll();
  }
  REQUIRE(cluster.Settle(50).has_value());
  for (const uint32_t node : {0, 1, 2}) {
    CHECK(cluster.Show(node, kSet, "k") == "{a, b}");
    CHECK(cluster.Show(node, kSet, "l") == "{c, d}");
  }
}

ShardOptions Accepting(bool accepts) {
  ShardOptions options = LargeAtOnce();
  options.accept_loss = accepts;
  return options;
}

void MinutesPass(Cluster& cluster) {
  for (int i = 0; i < 120; ++i) {
    cluster.Advance(absl::Seconds(1));
    cluster.DeliverAll();
  }
}

TEST_CASE("Damage: the only copy is given up if an operator says so") {
  for (const bool accepts : {false, true}) {
    CAPTURE(accepts);
    Cluster cluster(1, 1, Accepting(accepts));
    REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
    REQUIRE(cluster.Write(0, AddTo("l", {"c"})).ok());
    REQUIRE(cluster.Settle().has_value());
    cluster.Crash(0);
    cluster.disk(0).Damage(HeaderOf("l"), std::nullopt);
    REQUIRE(cluster.Start(0).ok());
    cluster.Scrub(0);
    MinutesPass(cluster);
    crdt::ReadSpec k;
    k.object = {"b", "k", kSet};
    CHECK(cluster.Read(0, k).ok() == accepts);
    CHECK(cluster.at(0).stats().losses_accepted == (accepts ? 1 : 0));
    if (!accepts) continue;
    CHECK(cluster.Show(0, kSet, "k") == "{a}");
    CHECK(cluster.Show(0, kSet, "l") == "{}");
    CHECK(cluster.at(0).VerifyDigests().ok());
    REQUIRE(cluster.Write(0, AddTo("l", {"d"})).ok());
    CHECK(cluster.Show(0, kSet, "l") == "{d}");
  }
}

// {d} in l was written at one of two, forgotten by its log before the other had
// it, and damaged.
TEST_CASE("Damage: what no owner has is given up, and nothing else is") {
  for (const bool accepts : {false, true}) {
    CAPTURE(accepts);
    Cluster cluster(2, 1, Accepting(accepts));
    REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
    REQUIRE(cluster.Write(0, AddTo("l", {"c"})).ok());
    REQUIRE(cluster.Settle().has_value());
    REQUIRE(cluster.Write(1, AddTo("l", {"d"})).ok());
    REQUIRE(cluster.Write(1, AddTo("k", {"e"})).ok());
    cluster.network().clear();
    cluster.ForgetLog(1);
    cluster.Crash(1);
    for (const char* element : {"c", "d"}) {
      const std::string row = MakeObjectKey({"b", "l", kSet})
                                  .LeafKey(crdt::Path().Element(element));
      REQUIRE(cluster.disk(1).keys(Family::kRows).contains(row));
      cluster.disk(1).Damage(row, std::nullopt);
    }
    REQUIRE(cluster.Start(1).ok());
    cluster.Scrub(1);
    MinutesPass(cluster);
    crdt::ReadSpec k;
    k.object = {"b", "k", kSet};
    RequestOptions here = Cluster::R(1);
    here.here = true;
    CHECK(cluster.Read(1, k, here).ok() == accepts);
    if (!accepts) continue;
    REQUIRE(cluster.Settle(50).has_value());
    for (const uint32_t node : {0, 1}) {
      CHECK(cluster.Show(node, kSet, "k") == "{a, e}");
      CHECK(cluster.Show(node, kSet, "l") == "{c}");
    }
  }
}

// Of the page that was taken back, the dots of its first rows stayed known:
// once the disk could be read again, what the source had there was held to have
// been removed here, until the two were found to differ.
TEST_CASE("Damage: a page of rows that one row stops leaves no dots behind") {
  ShardOptions options = LargeAtOnce();
  options.row_cache_bytes = 0;  // so that each read meets the disk
  Cluster cluster(2, 1, options);
  REQUIRE(cluster.Write(0, AddTo("k", {"b", "c"})).ok());
  REQUIRE(cluster.Settle().has_value());
  REQUIRE(cluster.disk(1).keys(Family::kRows).size() == 3);
  const std::string row_of_b =
      std::next(cluster.disk(1).keys(Family::kRows).begin())->first;
  REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
  REQUIRE(cluster.Write(0, AddTo("k", {"b"})).ok());
  cluster.network().clear();
  cluster.ForgetLog(0);
  cluster.StartRanges(1, 0);
  cluster.DeliverAll([&](const Cluster::InFlight& item) {
    const auto* answer = std::get_if<RangeAnswer>(&item.message.body);
    if (answer == nullptr || answer->parts.empty()) return false;
    if (answer->parts[0].rows.empty()) return false;
    REQUIRE(answer->parts[0].rows.size() == 2);
    cluster.disk(1).FailRead(Family::kRows, row_of_b);
    return false;
  });
  REQUIRE(cluster.at(1).stats().quarantined == 1);
  CHECK(cluster.at(1).ContextOf(kZero).superseded.empty());
  cluster.disk(1).ClearFaults();
  cluster.Scrub(1);
  REQUIRE(cluster.at(1).stats().quarantined == 0);
  REQUIRE(cluster.Settle(50).has_value());
  CHECK(cluster.Show(0, kSet, "k") == "{a, b, c}");
  CHECK(cluster.Show(1, kSet, "k") == "{a, b, c}");
}

}  // namespace
}  // namespace dovetail::replica
