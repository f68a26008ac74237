// Does the client follow a ring that only the answers to its calls name?
#include <doctest/doctest.h>

#include <future>
#include <string>
#include <vector>

#include "replica/cluster_config.h"
#include "tests/client/fake_cluster.h"
#include "tests/client/submitting.h"

namespace dovetail {
namespace {

TEST_CASE("Router: a newer ring is followed as soon as an answer names it") {
  const auto three = RingOf({Member(1), Member(2), Member(3)}, 1);
  const auto holds = RingOf({Member(1), Member(2)}, 1, 2, {three.digest()});
  constexpr uint64_t stays = 2;
  constexpr uint64_t left = 3;
  FakeCluster cluster(three);
  ClientOptions options;
  options.view_refresh = absl::Hours(1);
  auto db = Open({cluster.address(1)}, options);
  const std::string key = cluster.KeyOf(left);
  const std::string kept = cluster.KeyOf(stays);
  AwaitRoute(*db, cluster, left, key);
  AwaitRoute(*db, cluster, stays, kept);
  CHECK(cluster.node(stays).last_ring() == three.stamp());
  SUBCASE("that grew from its own") {}
  SUBCASE("of the epoch of its own") {
    auto loses =
        RingOf({Member(1), Member(2), Member(3)}, 1, 2, {three.digest()});
    for (uint64_t by = 2; !Precedes(loses, holds); ++by) {
      loses = *replica::CommittedRing::Make(loses.ring(), NodeId{by},
                                            loses.ancestors());
    }
    cluster.CommitAt(1, loses);
    Await([&] {
      CHECK(Start(*db, ReadCounter(cluster.KeyOf(1))).get().ok());
      return cluster.node(1).last_ring() == loses.stamp();
    });
  }
  const size_t views = cluster.node(stays).views();
  cluster.CommitAt(stays, holds);
  std::vector<std::future<Result>> reads;
  for (int i = 0; i < 100; ++i) reads.push_back(Start(*db, ReadCounter(kept)));
  for (auto& read : reads) CHECK(read.get().ok());
  Await([&] {
    CHECK(Start(*db, ReadCounter(kept)).get().ok());
    return cluster.node(stays).last_ring() == holds.stamp();
  });
  // However many answers said so, it was asked for once.
  CHECK(cluster.node(stays).views() == views + 1);
  const size_t before = cluster.Asked(left, key);
  for (int i = 0; i < 20; ++i) {
    CHECK(Start(*db, ReadCounter(key)).get().ok());
  }
  CHECK(cluster.Asked(left, key) == before);
}

TEST_CASE("Router: listings name their ring, and a newer one is followed") {
  const auto two = RingOf({Member(1), Member(2)}, 1);
  const auto holds = RingOf({Member(1)}, 1, 2, {two.digest()});
  FakeCluster cluster(two);
  ClientOptions options;
  options.view_refresh = absl::Hours(1);
  auto db = Open({cluster.address(1)}, options);
  Await([&] {
    CHECK(db->List("b", "").ok());
    return cluster.node(1).last_list_ring() == two.stamp();
  });
  cluster.CommitAt(1, holds);
  Await([&] {
    CHECK(db->List("b", "").ok());
    return cluster.node(1).last_list_ring() == holds.stamp();
  });
}

}  // namespace
}  // namespace dovetail
