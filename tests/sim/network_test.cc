#include "tests/sim/network.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dovetail::sim {
namespace {

struct Arrival {
  int64_t at_us = 0;
  uint32_t from = 0;
  uint32_t to = 0;
  std::string bytes;
  friend bool operator==(const Arrival&, const Arrival&) = default;
};

// Two nodes, and what arrived.
struct Bench {
  explicit Bench(const Plan& its) : plan(its) {}

  void Send(int count) {
    for (int i = 0; i < count; ++i) network.Send(0, 1, absl::StrCat(i));
  }
  const std::vector<Arrival>& Run(int64_t until_us = -1) {
    if (until_us < 0) until_us = scheduler.now_us() + 3'600'000'000;
    while (scheduler.RunOne(until_us)) {
    }
    return arrived;
  }

  Plan plan;
  Scheduler scheduler{plan.seed};
  std::vector<Arrival> arrived;
  Network network{scheduler, plan,
                  [this](uint32_t from, uint32_t to, const Frame& frame) {
                    arrived.push_back({scheduler.now_us(), from, to, *frame});
                  }};
};

Plan PlanOfSeed(uint64_t seed) {
  Plan plan;
  plan.seed = seed;
  plan.options.nodes = 2;
  return plan;
}

TEST_CASE("Network: in good weather every frame arrives once, not too early") {
  Bench bench(PlanOfSeed(1));
  bench.Send(200);
  CHECK(bench.Run().size() == 200);
  std::map<std::string, int> times;
  for (const Arrival& arrival : bench.arrived) {
    CHECK(arrival.at_us >= bench.plan.options.delay_min_us);
    CHECK(arrival.from == 0);
    CHECK(arrival.to == 1);
    ++times[arrival.bytes];
  }
  CHECK(times.size() == 200);
}

TEST_CASE("Network: frames overtake one another") {
  Bench bench(PlanOfSeed(1));
  bench.Send(50);
  bench.Run();
  bool overtaken = false;
  for (size_t i = 1; i < bench.arrived.size(); ++i) {
    overtaken |= std::stoi(bench.arrived[i].bytes) <
                 std::stoi(bench.arrived[i - 1].bytes);
  }
  CHECK(overtaken);
}

TEST_CASE("Network: the same seed brings the same frames at the same times") {
  Plan plan = PlanOfSeed(3);
  plan.options.loss_permille = 200;
  plan.options.duplicate_permille = 200;
  plan.options.late_permille = 200;
  Bench one(plan);
  Bench two(plan);
  one.Send(100);
  two.Send(100);
  CHECK(one.Run() == two.Run());
  plan.seed = 4;
  Bench other(plan);
  other.Send(100);
  CHECK_FALSE(other.Run() == one.arrived);
}

TEST_CASE("Network: losing, doubling and delaying happen as often as told") {
  Plan plan = PlanOfSeed(5);
  plan.options.loss_permille = 300;
  plan.options.duplicate_permille = 100;
  plan.options.late_permille = 50;
  Bench bench(plan);
  bench.Send(2000);
  bench.Run();
  const NetworkStats& stats = bench.network.stats();
  CHECK(stats.sent == 2000);
  CHECK(stats.lost > 500);
  CHECK(stats.lost < 700);
  CHECK(stats.doubled > 90);
  CHECK(stats.late > 40);
  CHECK(stats.delivered == stats.sent - stats.lost + stats.doubled);
  CHECK(stats.delivered == bench.arrived.size());
}

TEST_CASE("Network: what one frame meets does not depend on those before") {
  // Without loss the delays are the same as with it, for who arrives.
  Plan plan = PlanOfSeed(6);
  Bench calm(plan);
  plan.options.loss_permille = 500;
  Bench lossy(plan);
  calm.Send(100);
  lossy.Send(100);
  calm.Run();
  lossy.Run();
  std::map<std::string, int64_t> times;
  for (const Arrival& arrival : calm.arrived) {
    times[arrival.bytes] = arrival.at_us;
  }
  CHECK(lossy.arrived.size() < 80);
  for (const Arrival& arrival : lossy.arrived) {
    CHECK(times.at(arrival.bytes) == arrival.at_us);
  }
}

TEST_CASE("Network: a cut takes what is under way too, and only one way") {
  Bench bench(PlanOfSeed(7));
  bench.Send(10);
  bench.network.Cut(0, 1, 1'000'000);
  bench.network.Send(1, 0, "back");
  CHECK(bench.network.IsCut(0, 1));
  CHECK_FALSE(bench.network.IsCut(1, 0));
  bench.Run(1'000'001);
  REQUIRE(bench.arrived.size() == 1);
  CHECK(bench.arrived[0].bytes == "back");
  CHECK_FALSE(bench.network.IsCut(0, 1));
  bench.Send(1);
  CHECK(bench.Run().size() == 2);
}

TEST_CASE("Network: a clog holds frames back and loses none") {
  Bench bench(PlanOfSeed(8));
  bench.network.Clog(0, 1, 500'000);
  bench.Send(10);
  CHECK(bench.Run(499'999).empty());
  CHECK(bench.Run().size() == 10);
}

TEST_CASE("Network: a replay brings only what was sent before") {
  Bench bench(PlanOfSeed(9));
  bench.network.Replay(0, 1);
  CHECK(bench.Run().empty());
  bench.Send(5);
  bench.Run();
  bench.network.Replay(0, 1);
  CHECK(bench.Run().size() == 8);
}

TEST_CASE("Network: once healed, nothing happens to a frame any more") {
  Plan plan = PlanOfSeed(10);
  plan.options.loss_permille = 1000;
  Bench bench(plan);
  bench.network.Cut(0, 1, INT64_MAX);
  bench.Send(10);
  CHECK(bench.Run(1'000).empty());
  bench.network.HealAll();
  bench.Send(10);
  CHECK(bench.Run().size() == 10);
}

}  // namespace
}  // namespace dovetail::sim
