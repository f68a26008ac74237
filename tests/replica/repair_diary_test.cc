// What the log of a node says about repair: each step once, in order.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "replica/keys.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr crdt::Type kSet = crdt::Type::kSet;

// 20 sets on each of two nodes, and nothing in the logs.
void Fill(Cluster& cluster) {
  for (int i = 0; i < 20; ++i) {
    REQUIRE(cluster.Write(0, AddTo(absl::StrCat("k", i), {"x"})).ok());
  }
  REQUIRE(cluster.Settle(50).has_value());
  REQUIRE(cluster.said(1).empty());
}

// `beginnings` of lines, in order, and no other line.
void CheckSaid(const Cluster& cluster,
               const std::vector<std::string>& beginnings) {
  const std::vector<std::string>& said = cluster.said(1);
  CAPTURE(absl::StrJoin(said, "\n"));
  REQUIRE(said.size() == beginnings.size());
  for (size_t i = 0; i < said.size(); ++i) {
    CHECK(absl::StartsWith(said[i], beginnings[i]));
  }
}

TEST_CASE("Diary: a node without trouble says nothing") {
  Cluster cluster(2, 1);
  Fill(cluster);
  cluster.Crash(1);
  REQUIRE(cluster.Start(1).ok());
  REQUIRE(cluster.Settle(50).has_value());
  CheckSaid(cluster, {});
}

TEST_CASE("Diary: a lost disk is said to be filled, and to have been") {
  Cluster cluster(2, 1);
  Fill(cluster);
  cluster.Crash(1);
  cluster.disk(1).Wipe();
  REQUIRE(cluster.Start(1).ok());
  REQUIRE(cluster.Settle(50).has_value());
  CheckSaid(cluster,
            {"partition 0: no log reaches what it lacks; it reads that from "
             "0, and answers no reads until then",
             "partition 0: has what it lacked, by ranges"});
}

TEST_CASE("Diary: quarantine has a reason and an end, and so has mending") {
  ShardOptions options;
  options.scrub_rows_per_round = 0;
  Cluster cluster(2, 1, options);
  Fill(cluster);
  const auto& rows = cluster.disk(1).keys(Family::kRows);
  cluster.Crash(1);
  cluster.disk(1).Damage(rows.begin()->first, "no row");
  REQUIRE(cluster.Start(1).ok());
  cluster.DeliverAll();
  for (int i = 0; i < 20; ++i) {
    crdt::ReadSpec spec;
    spec.object = {"b", absl::StrCat("k", i), kSet};
    cluster.Read(1, spec).status().IgnoreError();
  }
  REQUIRE(cluster.at(1).stats().quarantined == 1);
  REQUIRE(cluster.Settle(60).has_value());
  REQUIRE(cluster.Differences() == "");
  CheckSaid(
      cluster,
      {"partition 0: in quarantine, answers and takes nothing: ",
       "partition 0: out of quarantine, all its rows were looked at",
       "partition 0: rows were lost or altered; other owners say what they "
       "were",
       "partition 0: mended, with 1 values put back"});
}

}  // namespace
}  // namespace dovetail::replica
