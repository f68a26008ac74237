#include "replica/sync_lag.h"

#include <algorithm>
#include <vector>

#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

// What node 0 says of node 1.
SyncLag LagOf(Cluster& cluster) {
  const std::vector<SyncLag> lags = cluster.at(0).SyncLags();
  REQUIRE(lags.size() == 1);
  CHECK(lags[0].peer == NodeId{1});
  return lags[0];
}

absl::Duration Age(Cluster& cluster, const SyncLag& lag) {
  return std::max(absl::ZeroDuration(),
                  cluster.now().steady - lag.has_all_until);
}

void Pass(Cluster& cluster, absl::Duration time) {
  const absl::Duration until = cluster.now().steady + time;
  while (cluster.now().steady < until) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(100));
  }
}

TEST_CASE("SyncLag: a peer cut off lags by what it misses, since it does") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  Pass(cluster, absl::Seconds(90));
  CHECK(LagOf(cluster).events == 0);
  CHECK(LagOf(cluster).partitions_unheard == 0);
  CHECK(Age(cluster, LagOf(cluster)) == absl::ZeroDuration());

  cluster.Part(0, 1);
  cluster.network().clear();
  Pass(cluster, absl::Seconds(90));
  // Cut off, and missing nothing: no lag.
  CHECK(LagOf(cluster).events == 0);
  CHECK(LagOf(cluster).partitions_behind == 0);
  for (const char* element : {"y", "z"}) {
    REQUIRE(cluster.Write(0, AddTo("k", {element})).ok());
    cluster.network().clear();
  }
  CHECK(LagOf(cluster).events == 2);
  CHECK(LagOf(cluster).partitions_behind == 1);
  CHECK(Age(cluster, LagOf(cluster)) <= absl::Seconds(1));
  Pass(cluster, absl::Seconds(30));
  CHECK(Age(cluster, LagOf(cluster)) >= absl::Seconds(30));
  CHECK(Age(cluster, LagOf(cluster)) <= absl::Seconds(31));

  cluster.Meet(0, 1);
  Pass(cluster, absl::Seconds(3));
  CHECK(LagOf(cluster).events == 0);
  CHECK(LagOf(cluster).partitions_behind == 0);
  CHECK(Age(cluster, LagOf(cluster)) == absl::ZeroDuration());
}

TEST_CASE("SyncLag: under steady load a healthy peer stays seconds behind") {
  // The time since both were last equal grew for as long as the load lasted.
  Cluster cluster(2);
  for (int i = 0; i < 300; ++i) {
    REQUIRE(cluster.Write(0, Count("c", 1)).ok());
    Pass(cluster, absl::Milliseconds(100));
    if (i > 30) CHECK(Age(cluster, LagOf(cluster)) <= absl::Seconds(4));
  }
}

TEST_CASE("SyncLag: of a peer that has said nothing, nothing is claimed") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  Pass(cluster, absl::Seconds(5));
  cluster.Crash(1);
  cluster.Crash(0);
  REQUIRE(cluster.Start(0).ok());
  cluster.network().clear();
  Pass(cluster, absl::Seconds(5));
  CHECK(LagOf(cluster).partitions_unheard == 1);
  CHECK(LagOf(cluster).events == 0);
  REQUIRE(cluster.Start(1).ok());
  Pass(cluster, absl::Seconds(5));
  CHECK(LagOf(cluster).partitions_unheard == 0);
}

TEST_CASE("LagMark: what is older than a mark that is there, is there") {
  const auto events = [](uint64_t last) {
    crdt::EventSet set;
    set.InsertRun({crdt::ActorId{1}, 1, last});
    return set;
  };
  LagMark mark;
  CHECK(mark.has_all_until() == absl::InfiniteDuration());
  mark.Look(events(5), 5, events(5), absl::Seconds(1));
  CHECK(mark.has_all_until() == absl::Seconds(1));
  mark.Look(events(5), 5, events(5), absl::Seconds(9));
  CHECK(mark.has_all_until() == absl::Seconds(9));
  mark.Look(events(8), 8, events(5), absl::Seconds(10));  // the mark
  mark.Look(events(9), 9, events(7), absl::Seconds(11));
  CHECK(mark.has_all_until() == absl::Seconds(9));
  mark.Look(events(11), 11, events(8), absl::Seconds(12));
  CHECK(mark.has_all_until() == absl::Seconds(10));
  mark.Look(events(11), 11, events(11), absl::Seconds(13));
  CHECK(mark.has_all_until() == absl::Seconds(13));
  // A peer that was restored says less than before.
  mark.OnTheirs();
  mark.Look(events(11), 11, events(4), absl::Seconds(14));
  CHECK(mark.has_all_until() == absl::Seconds(13));
}

}  // namespace
}  // namespace dovetail::replica
