// How long is a log kept for an owner that lacks what is in it?
#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

ShardOptions Options() {
  ShardOptions options;
  options.checkpoint_deltas = 8;
  options.log_bytes_max = 20'000;
  return options;
}

uint64_t LogBytes(Cluster& cluster, uint32_t node) {
  uint64_t bytes = 0;
  for (const auto& digest : cluster.at(node).Digests()) {
    bytes += digest.log_bytes;
  }
  return bytes;
}

// Delivers all but what goes to or comes from `away`, which is lost.
void Deliver(Cluster& cluster, std::optional<uint32_t> away) {
  const auto lost = [away](const Cluster::InFlight& message) {
    return away &&
           (message.to == NodeId{*away} || message.from == NodeId{*away});
  };
  cluster.DeliverAll(lost);
  std::erase_if(cluster.network(), lost);
}

// Writes of `bytes` together at node 0.
void Write(Cluster& cluster, size_t bytes, std::optional<uint32_t> away) {
  static int next = 0;
  for (size_t written = 0; written < bytes; written += 500) {
    REQUIRE(
        cluster
            .Write(0, WriteTo(absl::StrCat("r", next++), std::string(400, 'x')))
            .ok());
    Deliver(cluster, away);
  }
}

void Pass(Cluster& cluster, int seconds, std::optional<uint32_t> away) {
  for (int i = 0; i < seconds; ++i) {
    cluster.Advance(absl::Seconds(1));
    Deliver(cluster, away);
  }
}

void Part(Cluster& cluster, uint32_t node) {
  for (uint32_t other = 0; other < cluster.size(); ++other) {
    if (other != node) cluster.Part(node, other);
  }
}

TEST_CASE("Log budget: within it a log waits for an owner that is away") {
  Cluster cluster(3, 2, Options());
  Part(cluster, 2);
  Write(cluster, 10'000, 2);
  Pass(cluster, 20, 2);
  CHECK(LogBytes(cluster, 0) > 8'000);
  CHECK(cluster.at(0).stats().log_given_up == 0);
  cluster.Meet(0, 2);
  cluster.Meet(1, 2);
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.at(2).stats().range_syncs == 0);
  CHECK(LogBytes(cluster, 0) == 0);
}

TEST_CASE(
    "Log budget: beyond it the owner is given up, and ranges bring it up") {
  Cluster cluster(3, 2, Options());
  Part(cluster, 2);
  Write(cluster, 30'000, 2);
  Pass(cluster, 20, 2);
  for (uint32_t node : {0u, 1u}) {
    CHECK(LogBytes(cluster, node) <= Options().log_bytes_max);
    CHECK(cluster.at(node).stats().log_given_up > 0);
  }
  cluster.Meet(0, 2);
  cluster.Meet(1, 2);
  REQUIRE(cluster.Settle(200).has_value());
  CHECK(cluster.at(2).stats().range_syncs > 0);
  CHECK(cluster.Differences() == "");
}

TEST_CASE(
    "Log budget: an owner that can be reached is waited for, up to twice") {
  Cluster cluster(3, 2, Options());
  cluster.DeliverAll();
  // It is up, and hears nothing of what is written.
  Write(cluster, 30'000, 2);
  Pass(cluster, 20, 2);
  CHECK(LogBytes(cluster, 0) > 25'000);
  CHECK(cluster.at(0).stats().log_given_up == 0);
  Write(cluster, 30'000, 2);
  Pass(cluster, 20, 2);
  CHECK(LogBytes(cluster, 0) <= 2 * Options().log_bytes_max);
  CHECK(cluster.at(0).stats().log_given_up > 0);
  REQUIRE(cluster.Settle(200).has_value());
  CHECK(cluster.Differences() == "");
}

TEST_CASE("Log budget: two that gave each other up heal by two syncs") {
  Cluster cluster(2, 2, Options());
  cluster.Part(0, 1);
  for (int i = 0; i < 100; ++i) {
    for (uint32_t node : {0u, 1u}) {
      REQUIRE(cluster
                  .Write(node, AddTo(absl::StrCat("s", i % 7),
                                     {absl::StrCat("from-", node, "-", i,
                                                   std::string(400, 'x'))}))
                  .ok());
      Deliver(cluster, 1);
    }
  }
  Pass(cluster, 20, 1);
  for (uint32_t node : {0u, 1u}) {
    CHECK(cluster.at(node).stats().log_given_up > 0);
  }
  cluster.Meet(0, 1);
  REQUIRE(cluster.Settle(400).has_value());
  CHECK(cluster.Differences() == "");
  for (uint32_t node : {0u, 1u}) {
    CHECK(cluster.at(node).stats().range_syncs > 0);
  }
}

TEST_CASE("Log budget: who is away for longer than its age is given up") {
  ShardOptions options = Options();
  options.log_bytes_max = 1 << 30;
  options.log_age_max = absl::Minutes(10);
  Cluster cluster(3, 2, options);
  Part(cluster, 2);
  Write(cluster, 2'000, 2);
  Pass(cluster, 500, 2);
  CHECK(LogBytes(cluster, 0) > 1'500);
  Pass(cluster, 200, 2);
  CHECK(LogBytes(cluster, 0) == 0);
  CHECK(cluster.at(0).stats().log_given_up > 0);
  // Writes go on, and the log is not kept for it any longer.
  Write(cluster, 2'000, 2);
  Pass(cluster, 5, 2);
  CHECK(LogBytes(cluster, 0) == 0);
  cluster.Meet(0, 2);
  cluster.Meet(1, 2);
  REQUIRE(cluster.Settle(200).has_value());
  CHECK(cluster.Differences() == "");
}

TEST_CASE("Log budget: what is more than one turn removes goes soon after") {
  ShardOptions options = Options();
  options.truncate_entries_per_turn = 10;
  Cluster cluster(1, 1, options);
  Write(cluster, 100 * 500, std::nullopt);
  CHECK(LogBytes(cluster, 0) > 30'000);
  Pass(cluster, 4, std::nullopt);  // not 10 entries a second
  CHECK(LogBytes(cluster, 0) == 0);
}

}  // namespace
}  // namespace dovetail::replica
