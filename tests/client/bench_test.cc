// The benchmark's own arithmetic: a benchmark that counts wrong is worse than
// none.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "src/bench/histogram.h"
#include "src/bench/runner.h"
#include "src/bench/workload.h"
#include "src/client/steady_clock.h"
#include "tests/client/fake_node.h"

namespace dovetail::bench {
namespace {

TEST_CASE("Histogram: percentiles are within 1.6% of the exact ones") {
  Histogram histogram;
  for (int i = 1; i <= 100'000; ++i) {
    histogram.Record(absl::Microseconds(i));
  }
  for (const double percent : {0.001, 1.0, 50.0, 95.0, 99.0, 99.9, 100.0}) {
    const double got =
        absl::ToDoubleMicroseconds(histogram.Percentile(percent));
    const double exact = percent * 1000;
    CHECK(got >= exact);
    CHECK(got <= exact * 1.016);
  }
  CHECK(histogram.max() == absl::Milliseconds(100));
  CHECK(histogram.count() == 100'000);
  CHECK(histogram.mean() == absl::Nanoseconds(50'000'500));
  Histogram other;
  other.Record(absl::Hours(1));
  other.Record(-absl::Seconds(1));
  histogram.Merge(other);
  CHECK(histogram.max() == absl::Hours(1));
  CHECK(histogram.Percentile(100) == absl::Hours(1));
  CHECK(Histogram().Percentile(99) == absl::ZeroDuration());
}

TEST_CASE("Zipfian: the frequencies follow the law") {
  const uint64_t n = 1000;
  const Zipfian zipfian(n);
  std::mt19937_64 random(7);
  std::map<uint64_t, double> seen;
  const int draws = 200'000;
  for (int i = 0; i < draws; ++i) {
    const uint64_t drawn = zipfian.Draw(random);
    REQUIRE(drawn < n);
    seen[drawn] += 1.0 / draws;
  }
  double zeta = 0;
  for (uint64_t i = 1; i <= n; ++i) {
    zeta += 1 / std::pow(static_cast<double>(i), 0.99);
  }
  CHECK(seen[0] == doctest::Approx(1 / zeta).epsilon(0.05));
  CHECK(seen[1] == doctest::Approx(std::pow(0.5, 0.99) / zeta).epsilon(0.05));
  double tail = 0;
  double exact_tail = 0;
  for (uint64_t i = 100; i < n; ++i) {
    tail += seen[i];
    exact_tail += 1 / std::pow(static_cast<double>(i + 1), 0.99) / zeta;
  }
  CHECK(tail == doctest::Approx(exact_tail).epsilon(0.05));
}

TEST_CASE("Workload: steps come in the shares of the workload") {
  const auto workload = WorkloadByName("d");
  REQUIRE(workload.ok());
  const Zipfian zipfian(1000);
  std::atomic<uint64_t> records{1000};
  Chooser chooser(*workload, zipfian, records, 1);
  int inserts = 0;
  uint64_t newest_tenth = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Step step = chooser.Next();
    if (step.kind == Kind::kInsert) {
      ++inserts;
    } else {
      REQUIRE(step.record < records);
      newest_tenth += step.record >= records - records / 10 ? 1 : 0;
    }
  }
  CHECK(inserts == doctest::Approx(500).epsilon(0.2));
  CHECK(records == 1000 + static_cast<uint64_t>(inserts));
  CHECK(newest_tenth > 5000);  // "latest": most reads go to what is new
  CHECK_FALSE(WorkloadByName("z").ok());
}

TEST_CASE("Runner: what it says it did, the node did") {
  for (const char* name :
       {"a", "b", "c", "d", "e", "f", "set-add", "counter-add", "map-update"}) {
    FakeNode node;
    RunOptions options;
    options.nodes = {node.address()};
    options.connections = 2;
    options.in_flight = 5;
    options.operations = 300;
    options.server_pids = {static_cast<int>(getpid())};
    auto runner = Runner::Open(options);
    REQUIRE(runner.ok());
    const auto workload = WorkloadByName(name);
    const Report load = (*runner)->Load(*workload, 100);
    CHECK(load.operations == 100);
    CHECK(load.errors.empty());
    size_t loaded = 0;
    for (size_t size : node.call_sizes()) loaded += size;
    CHECK(loaded == 100);
    auto client = Client::Connect({node.address()});
    CHECK((*client)->List("bench", "", std::nullopt, 1000)->objects.size() ==
          100);
    const Report run = (*runner)->Run(*workload, 100);
    CHECK_MESSAGE(run.operations == 300, name);
    CHECK(run.errors.empty());
    CHECK(run.all.count() == 300);
    CHECK(run.server_cpu >= absl::ZeroDuration());
    CHECK(run.client_cpu > absl::ZeroDuration());
  }
}

TEST_CASE(
    "Runner: an open loop keeps the rate and counts from when it was due") {
  FakeNode node;
  RunOptions options;
  options.nodes = {node.address()};
  options.connections = 2;
  options.rate = 1000;
  options.operations = 200;
  options.in_flight = 1;
  auto runner = Runner::Open(options);
  REQUIRE(runner.ok());
  const auto workload = WorkloadByName("counter-add");
  const Report run = (*runner)->Run(*workload, 100);
  CHECK(run.operations == 200);
  CHECK(run.elapsed >= absl::Milliseconds(190));

  // A node that answers nothing for 150 of the 200 ms in which operations fall
  // due: a closed loop would report one slow operation on each connection, here
  // all that were due in the first 120 ms waited 30 ms or more.
  const size_t calls = node.call_sizes().size();
  node.Hold();
  std::thread stall([&node, calls] {
    while (node.call_sizes().size() == calls) std::this_thread::yield();
    const absl::Duration end = internal::SteadyNow() + absl::Milliseconds(150);
    while (internal::SteadyNow() < end) std::this_thread::yield();
    node.Release();
  });
  const Report stalled = (*runner)->Run(*workload, 100);
  stall.join();
  CHECK(stalled.all.Percentile(60) > absl::Milliseconds(30));
}

TEST_CASE("Runner: an open loop starts what is due while nothing is answered") {
  FakeNode node;
  RunOptions options;
  options.nodes = {node.address()};
  options.connections = 1;
  options.rate = 2000;
  options.operations = 300;
  auto runner = Runner::Open(options);
  REQUIRE(runner.ok());
  node.Hold();
  std::thread stall([&node] {
    while (node.call_sizes().empty()) std::this_thread::yield();
    const absl::Duration end = internal::SteadyNow() + absl::Milliseconds(200);
    while (internal::SteadyNow() < end) std::this_thread::yield();
    node.Release();
  });
  const Report run = (*runner)->Run(*WorkloadByName("counter-add"), 100);
  stall.join();
  CHECK(run.operations == 300);
  // Of the 300 all but those of the first few calls waited in the client, more
  // than a closed loop has in flight, and left together.
  const std::vector<size_t> sizes = node.call_sizes();
  CHECK(*std::max_element(sizes.begin(), sizes.end()) >
        options.InFlight(Loop::kClosed));
}

TEST_CASE("CpuTime: a process that is not there is an error") {
  CHECK(CpuTime({static_cast<int>(getpid())}).ok());
  CHECK(absl::IsInvalidArgument(CpuTime({-1}).status()));
}

}  // namespace
}  // namespace dovetail::bench
