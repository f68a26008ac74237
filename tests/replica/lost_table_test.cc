// Tables that cannot be read: a partition lets go of them and is whole again by
// itself, and in between nobody takes what was in them for absent.
#include <doctest/doctest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "replica/keys.h"
#include "replica/lost_tables.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr crdt::Type kSet = crdt::Type::kSet;
constexpr uint64_t kTable = 12;
const std::string kSuspect = SuspectKey(PartitionId{0});

crdt::ReadSpec SetOf(const std::string& key) {
  crdt::ReadSpec spec;
  spec.object = {"b", key, kSet};
  return spec;
}

// Three replicas with k0 ... k19 = {x}, all on stable storage and out of the
// logs. No slow scrub: what finds the damage is a reader.
struct Three {
  Cluster cluster;
  std::string table_first;

  explicit Three(size_t cache = 0) : cluster(3, 1, Options(cache)) {
    for (int i = 0; i < 20; ++i) {
      REQUIRE(cluster.Write(0, AddTo(absl::StrCat("k", i), {"x"})).ok());
    }
    REQUIRE(cluster.Settle().has_value());
  }
  static ShardOptions Options(size_t cache) {
    ShardOptions options;
    options.row_cache_bytes = cache;
    options.scrub_rows_per_round = 0;
    return options;
  }
  // All that node 1 has of a family is in one table.
  void FailAllOf(Family family) {
    const auto& keys = cluster.disk(1).keys(family);
    cluster.disk(1).FailTable(kTable, family, keys.begin()->first,
                              keys.rbegin()->first);
    table_first = keys.begin()->first;
  }
  bool Quarantined() { return cluster.at(1).stats().quarantined == 1; }
  // Rounds of time and delivery until it is (not) in quarantine.
  void UntilQuarantined(bool is) {
    for (int i = 0; i < 200 && Quarantined() != is; ++i) {
      cluster.Advance(absl::Milliseconds(100));
      cluster.DeliverAll();
    }
    REQUIRE(Quarantined() == is);
  }
  // Until the table has left the database; nothing is delivered meanwhile.
  void GiveUp(Family family) {
    for (int i = 0;
         i < 200 && cluster.disk(1).keys(family).contains(table_first); ++i) {
      cluster.Advance(absl::Milliseconds(100));
    }
    REQUIRE_FALSE(cluster.disk(1).keys(family).contains(table_first));
  }
  void CheckWhole() {
    UntilQuarantined(false);
    REQUIRE(cluster.Settle(60).has_value());
    for (int i = 0; i < 20; ++i) {
      CHECK(cluster.Show(1, kSet, absl::StrCat("k", i)) == "{x}");
    }
    CHECK(cluster.at(1).VerifyDigests().ok());
    CHECK(cluster.disk(1).keys(Family::kRows) ==
          cluster.disk(0).keys(Family::kRows));
    CHECK(cluster.disk(1).keys(Family::kIndex) ==
          cluster.disk(0).keys(Family::kIndex));
    const auto& meta = cluster.disk(1).keys(Family::kMeta);
    CHECK_FALSE(meta.contains(kSuspect));
  }
};

TEST_CASE("Lost table: its rows come back from the other owners") {
  Three three;
  three.FailAllOf(Family::kRows);
  CHECK(absl::IsDataLoss(three.cluster.Read(1, SetOf("k3")).status()));
  CHECK(three.Quarantined());
  CHECK(three.cluster.Read(0, SetOf("k3")).ok());
  three.CheckWhole();
}

// What was cached was held to be on the disk, and so was not written again.
TEST_CASE("Lost table: rows that were cached come back, too") {
  Three three(1 << 20);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(three.cluster.Show(1, kSet, absl::StrCat("k", i)) == "{x}");
  }
  three.FailAllOf(Family::kRows);
  three.cluster.Scrub(1);
  CHECK(three.Quarantined());
  three.CheckWhole();
}

TEST_CASE("Lost table: a restart takes nothing in it for absent") {
  Three three;
  three.FailAllOf(Family::kRows);
  CHECK(absl::IsDataLoss(three.cluster.Read(1, SetOf("k3")).status()));
  SUBCASE("before it has left the database") {
    const auto& meta = three.cluster.disk(1).keys(Family::kMeta);
    for (int i = 0; i < 200 && !meta.contains(kSuspect); ++i) {
      three.cluster.Advance(absl::Milliseconds(100));
    }
    REQUIRE(meta.contains(kSuspect));
    REQUIRE_FALSE(three.cluster.disk(1).keys(Family::kRows).empty());
  }
  SUBCASE("after that") { three.GiveUp(Family::kRows); }
  three.cluster.Crash(1);
  REQUIRE(three.cluster.Start(1).ok());
  CHECK(three.Quarantined());
  CHECK(absl::IsDataLoss(three.cluster.Read(1, SetOf("k3")).status()));
  three.CheckWhole();
}

TEST_CASE("Lost table: one whose suspicion could not be written waits") {
  Three three;
  three.FailAllOf(Family::kRows);
  CHECK(absl::IsDataLoss(three.cluster.Read(1, SetOf("k3")).status()));
  three.cluster.disk(1).FailCommit(1, absl::ResourceExhaustedError("full"));
  for (int i = 0; i < 200 && three.cluster.at(1).stats().commits_failed == 0;
       ++i) {
    three.cluster.Advance(absl::Milliseconds(100));
  }
  REQUIRE(three.cluster.at(1).stats().commits_failed == 1);
  CHECK_FALSE(three.cluster.disk(1).keys(Family::kRows).empty());
  CHECK(three.Quarantined());
  three.CheckWhole();
}

TEST_CASE("Lost table: without its log a replica still has all of its events") {
  Three three;
  Cluster& cluster = three.cluster;
  REQUIRE(cluster.Write(1, AddTo("k3", {"y"})).ok());
  cluster.network().clear();
  const uint64_t events = cluster.at(1).Digests()[0].events;
  three.FailAllOf(Family::kLog);
  three.UntilQuarantined(true);
  three.GiveUp(Family::kLog);
  CHECK(cluster.at(1).Digests()[0].events == events);
  three.UntilQuarantined(false);
  CHECK(cluster.at(1).Digests()[0].log_entries == 0);
  REQUIRE(cluster.Settle(200).has_value());
  for (const uint32_t node : {0, 1, 2}) {
    CHECK(cluster.Show(node, kSet, "k3") == "{x, y}");
  }
}

TEST_CASE("Lost table: one of the index costs no listing an object") {
  Three three;
  three.FailAllOf(Family::kIndex);
  ListRequest list;
  list.bucket = "b";
  const RequestId id = three.cluster.BeginList(1, list, Cluster::R(1));
  three.cluster.DeliverAll();
  const auto reply = three.cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK_FALSE(reply->body.ok());
  three.cluster.Scrub(1);
  CHECK(three.Quarantined());
  three.CheckWhole();
}

TEST_CASE("Lost table: the only copy stays until an operator lets it go") {
  for (const bool accepts : {false, true}) {
    CAPTURE(accepts);
    ShardOptions options = Three::Options(0);
    options.accept_loss = accepts;
    Cluster cluster(1, 1, options);
    REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
    REQUIRE(cluster.Settle().has_value());
    const std::string row = cluster.disk(0).keys(Family::kRows).begin()->first;
    cluster.disk(0).FailTable(kTable, Family::kRows, row, row);
    CHECK(absl::IsDataLoss(cluster.Read(0, SetOf("k")).status()));
    for (int i = 0; i < 60; ++i) cluster.Advance(absl::Seconds(1));
    CHECK(cluster.disk(0).keys(Family::kRows).contains(row) != accepts);
    if (!accepts) continue;
    CHECK(cluster.Show(0, kSet, "k") == "{}");
    CHECK(cluster.Write(0, AddTo("k", {"y"})).ok());
  }
}

TEST_CASE("Lost table: it stays while no other owner can be reached") {
  Three three;
  three.cluster.Part(1, 0);
  three.cluster.Part(1, 2);
  three.FailAllOf(Family::kRows);
  CHECK(absl::IsDataLoss(three.cluster.Read(1, SetOf("k3")).status()));
  for (int i = 0; i < 60; ++i) three.cluster.Advance(absl::Seconds(1));
  CHECK_FALSE(three.cluster.disk(1).keys(Family::kRows).empty());
  three.cluster.network().clear();
  three.cluster.Meet(1, 2);
  three.cluster.Meet(1, 0);
  three.CheckWhole();
}

// A replica that had given up a partition finds entries of its log again which
// the table had covered: they are no events that it has.
TEST_CASE("Lost table: what it had covered in the log is no news") {
  Three three;
  Cluster& cluster = three.cluster;
  REQUIRE(cluster.Write(0, AddTo("k3", {"y"})).ok());
  const auto [key, value] = *cluster.disk(0).keys(Family::kLog).begin();
  cluster.network().clear();
  REQUIRE(cluster.Write(1, AddTo("k4", {"z"})).ok());
  cluster.network().clear();
  three.FailAllOf(Family::kLog);
  three.UntilQuarantined(true);
  three.GiveUp(Family::kLog);
  cluster.Crash(1);
  {
    sim::SimStorage uncovering(cluster.disk(1));
    WriteBatch batch;
    batch.Put(Family::kLog, key, value);
    REQUIRE(uncovering.Commit(batch, CommitMode::kSynced).ok());
  }
  const auto& log = cluster.disk(1).keys(Family::kLog);
  REQUIRE(cluster.Start(1).ok());
  REQUIRE(cluster.Settle(200).has_value());
  CHECK(log.empty());
  for (const uint32_t node : {0, 1, 2}) {
    CHECK(cluster.Show(node, kSet, "k3") == "{x, y}");
    CHECK(cluster.Show(node, kSet, "k4") == "{x, z}");
  }
}

}  // namespace
}  // namespace dovetail::replica
