// What operators see of transfers, and the switch that lets them rest.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "replica/cluster.h"
#include "replica/cluster_config.h"
#include "replica/node_load.h"
#include "replica/plan_estimate.h"
#include "replica/ring_plan.h"
#include "replica/transfer_rates.h"

namespace dovetail::replica {
namespace {

Transfer At(uint16_t partition, uint64_t bytes, double done) {
  Transfer transfer;
  transfer.partition = PartitionId{partition};
  transfer.bytes = bytes;
  transfer.ranges_done = done;
  return transfer;
}

TEST_CASE("Transfer rates: bytes a second of late, and the time that is left") {
  TransferRates rates;
  absl::Duration now = absl::Seconds(100);
  std::vector<TransferProgress> progress;
  for (int i = 0; i <= 40; ++i, now += absl::Seconds(1)) {
    progress =
        rates.Look({At(3, 1'000 * static_cast<uint64_t>(i), i / 100.0)}, now);
    // Of the first look nobody can tell.
    CHECK(progress[0].left.has_value() == (i > 0));
  }
  REQUIRE(progress.size() == 1);
  CHECK(progress[0].bytes_per_second > 980);
  CHECK(progress[0].bytes_per_second <= 1'000);
  // 60 % of the keys lack, and 40 % took 40,000 bytes.
  CHECK(*progress[0].left > absl::Seconds(59));
  CHECK(*progress[0].left < absl::Seconds(63));
  // It rests: the rate goes down, the time up, until nobody can tell.
  const absl::Duration before = *progress[0].left;
  progress = rates.Look({At(3, 40'000, 0.4)}, now += absl::Seconds(1));
  CHECK(progress[0].bytes_per_second < 980);
  CHECK(*progress[0].left > before);
  progress = rates.Look({At(3, 40'000, 0.4)}, now += absl::Seconds(10));
  CHECK(progress[0].bytes_per_second == 0);
  CHECK_FALSE(progress[0].left.has_value());
}

TEST_CASE("Transfer rates: what begins anew is a new transfer") {
  TransferRates rates;
  rates.Look({At(1, 5'000, 0.5)}, absl::Seconds(1));
  CHECK(rates.Look({}, absl::Seconds(2)).empty());
  CHECK(rates.Look({At(1, 9'000, 0.1)}, absl::Seconds(3))[0].bytes_per_second ==
        0);
  // As after a restart of the node: fewer bytes than before.
  CHECK(rates.Look({At(1, 10, 0.1)}, absl::Seconds(4))[0].bytes_per_second ==
        0);
}

RingSpec SpecOf(uint64_t members) {
  RingSpec spec;
  spec.partitions = 16;
  for (uint64_t id = 1; id <= members; ++id) {
    RingMember member;
    member.id = NodeId{id};
    member.name = std::string(1, static_cast<char>('a' + id - 1));
    spec.members.push_back(member);
  }
  return spec;
}

ClusterConfig Switched(uint64_t counter, uint64_t node, bool paused) {
  ClusterConfig config;
  config.ring = *FirstRing(SpecOf(3), NodeId{1});
  config.transfers = {{counter, NodeId{node}}, paused};
  return config;
}

TEST_CASE("Transfer switch: who said so last holds, whoever meets whom") {
  const ClusterConfig never = Switched(0, 0, false);
  const ClusterConfig paused = Switched(10, 1, true);
  const ClusterConfig resumed = Switched(11, 1, false);
  const ClusterConfig elsewhere = Switched(11, 2, true);
  std::vector<const ClusterConfig*> order = {&never, &paused, &resumed,
                                             &elsewhere};
  for (int turn = 0; turn < 4; ++turn) {
    ClusterConfig mine = *order[0];
    for (const ClusterConfig* theirs : order) Merge(mine, *theirs);
    CHECK(mine.transfers == elsewhere.transfers);
    CHECK_FALSE(Merge(mine, *order[1]).changed);
    std::rotate(order.begin(), order.begin() + 1, order.end());
  }
}

TEST_CASE("Transfer switch: it is stored behind the buckets, if it was used") {
  const ClusterConfig never = Switched(0, 0, false);
  const ClusterConfig paused = Switched(10, 1, true);
  ClusterConfig with_bucket = paused;
  REQUIRE(with_bucket.buckets.Create(NodeId{1}, 5, "b", {}).ok());
  for (const ClusterConfig& config : {never, paused, with_bucket}) {
    const auto back = DecodeClusterConfig(EncodeClusterConfig(config));
    REQUIRE_MESSAGE(back.ok(), back.status().ToString());
    CHECK(*back == config);
  }
  // Earlier nodes go on understanding what was not used.
  const std::string bytes = EncodeClusterConfig(paused);
  CHECK(bytes.substr(0, EncodeClusterConfig(never).size()) ==
        EncodeClusterConfig(never));
  // No bytes but these: neither less nor a third state.
  for (size_t size = EncodeClusterConfig(never).size() + 1; size < bytes.size();
       ++size) {
    CHECK_FALSE(DecodeClusterConfig(bytes.substr(0, size)).ok());
  }
  std::string third = bytes;
  third.back() = 2;
  CHECK_FALSE(DecodeClusterConfig(third).ok());
}

// What `cluster` told of the switch since it was asked last.
std::vector<bool> Told(Cluster& cluster) {
  std::vector<bool> told;
  for (const ClusterEvent::Any& event : cluster.TakeEvents()) {
    const auto* pause = std::get_if<ClusterEvent::PauseTransfers>(&event);
    if (pause != nullptr) told.push_back(pause->paused);
  }
  return told;
}

TEST_CASE("Transfer switch: each node tells its shards once, a new one too") {
  const absl::Duration now = absl::Seconds(1);
  const MemberInfo info_of_a{NodeId{1}, "a", "127.0.0.1:1", "", "", "", ""};
  const MemberInfo info_of_b{NodeId{2}, "b", "127.0.0.1:2", "", "", "", ""};
  Cluster a({}, info_of_a, 1, 1, Switched(0, 0, false), now);
  Cluster b({}, info_of_b, 1, 2, Switched(0, 0, false), now);
  CHECK(Told(a).empty());
  a.PauseTransfers(true, 1'000, now);
  CHECK(Told(a) == std::vector<bool>{true});
  CHECK(a.TakeUnsaved());
  for (int times = 0; times < 2; ++times) {
    REQUIRE(
        b.HandleConfig(NodeId{1}, EncodeClusterConfig(a.config()), now).ok());
  }
  CHECK(Told(b) == std::vector<bool>{true});
  // A clock that is behind does not make a later word the older one.
  b.PauseTransfers(false, 10, now);
  CHECK(Told(b) == std::vector<bool>{false});
  REQUIRE(a.HandleConfig(NodeId{2}, EncodeClusterConfig(b.config()), now).ok());
  CHECK(Told(a) == std::vector<bool>{false});
  // After a restart: what was stored.
  Cluster again({}, info_of_a, 2, 1, Switched(10, 1, true), now);
  CHECK(Told(again) == std::vector<bool>{true});
}

TEST_CASE("Plan estimate: bytes by what owners carry, time by the slowest") {
  ClusterConfig config;
  config.ring = *FirstRing(SpecOf(4), NodeId{1});
  REQUIRE(config.staged.Stage(NodeId{1}, Leave(NodeId{4})).ok());
  const auto plan = MakePlan(config);
  REQUIRE(plan.ok());
  const auto ring = Ring::Compute(config.ring->ring());
  const auto all = [](NodeId) { return true; };
  LoadTable loads;
  CHECK(Estimate(*plan, *ring, loads, all).unknown == plan->moves.size());
  CHECK_FALSE(Estimate(*plan, *ring, loads, all).time.has_value());
  NodeLoad load;
  load.held = 10;
  load.data_bytes = 10'000;
  load.transfer_rate_max = 500;
  for (uint64_t id = 1; id <= 4; ++id) {
    loads.Heard(NodeId{id}, load, absl::ZeroDuration());
  }
  const PlanEstimate estimate = Estimate(*plan, *ring, loads, all);
  CHECK(estimate.unknown == 0);
  CHECK(estimate.below_n_meanwhile == 0);
  uint64_t in = 0;
  uint64_t most = 0;
  for (const auto& [id, bytes] : estimate.bytes) {
    in += bytes.in;
    most = std::max(most, bytes.in);
  }
  CHECK(in == 1'000 * plan->moves.size());
  CHECK(estimate.bytes.at(NodeId{4}).out == in);
  CHECK(*estimate.time == absl::Seconds(static_cast<int64_t>(most / 500)));
  // One without a limit: who knows how long it takes?
  load.transfer_rate_max = 0;
  for (uint64_t id = 1; id <= 3; ++id) {
    loads.Heard(NodeId{id}, load, absl::ZeroDuration());
  }
  CHECK_FALSE(Estimate(*plan, *ring, loads, all).time.has_value());
  // Its partitions have a copy less while it cannot be reached.
  CHECK(Estimate(*plan, *ring, loads, [](NodeId id) {
          return id != NodeId{4};
        }).below_n_meanwhile == plan->moves.size());
}

}  // namespace
}  // namespace dovetail::replica
