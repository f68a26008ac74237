// How fast data may move, by what requests take.
#include "replica/transfer_pace.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/request_window.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr uint64_t kMost = 32 << 20;
constexpr uint64_t kLeast = 256 << 10;
constexpr RequestTimes kQuick{100, absl::Milliseconds(2)};
constexpr RequestTimes kSlow{100, absl::Milliseconds(60)};
constexpr RequestTimes kNone{};

// What moves all the time, and the look that follows.
class Moving {
 public:
  explicit Moving(const ShardOptions& options = {}, uint32_t shards = 1)
      : options_(options), pace_(options_, shards) {}

  uint64_t After(const RequestTimes& times, int looks = 1) {
    for (int i = 0; i < looks; ++i) {
      pace_.Moved(1, 1, absl::ZeroDuration());
      pace_.OnRequestTimes(times);
    }
    return pace_.bytes_per_second();
  }
  TransferPace& pace() { return pace_; }

 private:
  const ShardOptions options_;
  TransferPace pace_;
};

TEST_CASE("Pace: who never measures has the limit alone") {
  const ShardOptions options;
  TransferPace pace(options, 2);
  CHECK(pace.bytes_per_second() == kMost / 2);
  pace.Moved(1, kMost / 2, absl::Seconds(7));
  CHECK(pace.free_at() == absl::Seconds(8));
  // What was free meanwhile is not saved up.
  pace.Moved(1, kMost / 4, absl::Seconds(20));
  CHECK(pace.free_at() == absl::Seconds(20) + absl::Milliseconds(500));
  // Many small rows take longer than their bytes.
  pace.Moved(kMost / 256, 1000, absl::Seconds(30));
  CHECK(pace.free_at() == absl::Seconds(32));
}

TEST_CASE("Pace: what begins to move begins slowly, and gets to the limit") {
  Moving moving;
  moving.pace().OnRequestTimes(kQuick);  // nothing has moved
  CHECK(moving.pace().bytes_per_second() == kLeast);
  CHECK(moving.After(kQuick) == kLeast * 3 / 2);
  CHECK(moving.After(kQuick, 20) == kMost);
  CHECK(moving.pace().yields() == 0);
  moving.pace().OnRequestTimes(kQuick);
  CHECK(moving.pace().bytes_per_second() == kLeast);
}

TEST_CASE(
    "Pace: it halves while requests take longer than usual, and no more "
    "than to the minimum") {
  Moving moving;
  moving.pace().OnRequestTimes(kQuick);
  moving.After(kQuick, 20);
  CHECK(moving.After(kSlow) == kMost / 2);
  CHECK(moving.After(kSlow) == kMost / 4);
  CHECK(moving.After(kQuick) == kMost * 3 / 8);
  CHECK(moving.After(kSlow, 10) == kLeast);
  CHECK(moving.pace().yields() == 12);
}

TEST_CASE("Pace: below the floor, or with nothing asked, nothing is slow") {
  Moving moving;
  moving.pace().OnRequestTimes({100, absl::Microseconds(100)});
  // A hundred times what is usual, and yet hardly anything.
  CHECK(moving.After({100, absl::Milliseconds(10)}, 20) == kMost);
  CHECK(moving.After(kNone, 3) == kMost);
}

TEST_CASE("Pace: a node whose requests are slow anyway does not crawl") {
  SUBCASE("seen while nothing moved") {
    Moving moving;
    for (int i = 0; i < 20; ++i) moving.pace().OnRequestTimes(kSlow);
    CHECK(moving.After(kSlow, 20) == kMost);
    // It yields to what is slow for it.
    CHECK(moving.After({100, absl::Milliseconds(130)}) == kMost / 2);
  }
  SUBCASE("never seen but while something moved") {
    Moving moving;
    CHECK(moving.After(kSlow, 8) == kLeast);
    CHECK(moving.After(kSlow, 40) == kMost);
  }
}

TEST_CASE("Pace: without a limit it begins slowly and yields as well") {
  ShardOptions options;
  options.transfer_bytes_per_second = 0;
  Moving moving(options);
  CHECK(moving.pace().bytes_per_second() == 0);
  moving.pace().Moved(1, 1 << 30, absl::ZeroDuration());
  CHECK(moving.pace().free_at() < absl::ZeroDuration());
  moving.pace().OnRequestTimes(kNone);
  moving.pace().OnRequestTimes(kQuick);
  CHECK(moving.pace().bytes_per_second() == kLeast);
  const uint64_t fast = moving.After(kQuick, 60);
  CHECK(fast > 10 * kMost);
  CHECK(moving.After(kSlow) == fast / 2);
}

TEST_CASE("Pace: an infinite floor means that nothing ever yields") {
  ShardOptions options;
  options.transfer_yield_floor = absl::InfiniteDuration();
  Moving moving(options);
  moving.pace().OnRequestTimes(kQuick);
  CHECK(moving.After(kSlow, 5) == kMost);
}

TEST_CASE("Pace: a log that is streamed waits for its time") {
  ShardOptions options;
  options.sync_chunk_bytes = 20'000;
  Cluster cluster(2, 1, options);
  cluster.Part(0, 1);
  const std::string large(1000, 'v');
  for (int i = 0; i < 400; ++i) {
    REQUIRE(cluster.Write(0, AddTo("k", {absl::StrCat(i, large)})).ok());
  }
  cluster.network().clear();
  cluster.at(0).HandleRequestTimes(kQuick);
  cluster.Meet(0, 1);
  cluster.DeliverAll();
  // No time has passed: all but the first of it waits.
  CHECK(cluster.at(1).Digests()[0].events < 400);
  // Once it goes on, a tenth of a second: 4 MiB a second, for what a peer
  // missed. At the minimum of transfers to new owners it were 1.6 s.
  const uint64_t first = cluster.at(1).Digests()[0].events;
  int steps = 0;
  for (int i = 0; i < 1000 && cluster.at(1).Digests()[0].events < 400; ++i) {
    cluster.Advance(absl::Milliseconds(5));
    cluster.DeliverAll();
    steps += cluster.at(1).Digests()[0].events > first ? 1 : 0;
  }
  CHECK(steps <= 40);
  CHECK(cluster.at(1).Digests()[0].events == 400);
}

TEST_CASE("Request window: the 99th percentile of a quarter of a second") {
  RequestWindow window;
  absl::Duration now = absl::Seconds(100);
  auto times = window.Look(now);  // the first one begins
  REQUIRE(times.has_value());
  CHECK(times->requests == 0);
  for (int i = 1; i <= 200; ++i) window.Add(absl::Milliseconds(i));
  CHECK_FALSE(window.Look(now + absl::Milliseconds(249)).has_value());
  times = window.Look(now + absl::Milliseconds(250));
  REQUIRE(times.has_value());
  CHECK(times->requests == 200);
  CHECK(times->p99 == absl::Milliseconds(199));
  // Nothing of it is left.
  window.Add(absl::Milliseconds(3));
  times = window.Look(now + absl::Milliseconds(500));
  REQUIRE(times.has_value());
  CHECK(times->requests == 1);
  CHECK(times->p99 == absl::Milliseconds(3));
}

TEST_CASE("Request window: more than it keeps are counted all the same") {
  RequestWindow window;
  window.Look(absl::ZeroDuration());
  for (int i = 0; i < 10'000; ++i) window.Add(absl::Milliseconds(5));
  const auto times = window.Look(absl::Seconds(1));
  REQUIRE(times.has_value());
  CHECK(times->requests == 10'000);
  CHECK(times->p99 == absl::Milliseconds(5));
}

}  // namespace
}  // namespace dovetail::replica
