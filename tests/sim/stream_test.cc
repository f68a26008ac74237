#include "tests/sim/stream.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

namespace dovetail::sim {
namespace {

TEST_CASE("Stream: the same numbers in every build") {
  // A change of these changes what every seed means.
  Stream stream(7, "operations", 1, 2);
  CHECK(stream.Next() == 9493069118514668692u);
  CHECK(stream.Next() == 288115621158917421u);
}

TEST_CASE("Stream: seed, domain and both ids each make another stream") {
  std::set<uint64_t> first;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    for (const char* domain : {"", "a", "b", "ab"}) {
      for (uint64_t a = 0; a < 4; ++a) {
        for (uint64_t b = 0; b < 4; ++b) {
          first.insert(Stream(seed, domain, a, b).Next());
        }
      }
    }
  }
  CHECK(first.size() == 4 * 4 * 4 * 4);
}

TEST_CASE("Stream: ranges include both of their ends and nothing beyond") {
  Stream stream(1, "test");
  std::set<int64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(stream.Between(-2, 2));
  CHECK(seen == std::set<int64_t>{-2, -1, 0, 1, 2});
  for (int i = 0; i < 1000; ++i) {
    const int64_t spread = stream.LogBetween(1, 1'000'000);
    REQUIRE(spread >= 1);
    REQUIRE(spread <= 1'000'000);
    REQUIRE(stream.Exponential(10) >= 0);
    REQUIRE(stream.Exponential(10) < 400);
  }
}

TEST_CASE("Stream: LogBetween gives each order of magnitude its share") {
  Stream stream(1, "test");
  std::vector<int> decades(6);
  for (int i = 0; i < 6000; ++i) {
    const int64_t x = stream.LogBetween(1, 999'999);
    size_t decade = 0;
    for (int64_t bound = 10; x >= bound; bound *= 10) ++decade;
    ++decades[decade];
  }
  for (const int count : decades) {
    CHECK(count > 700);
    CHECK(count < 1300);
  }
}

TEST_CASE("Stream: permille is a share of a thousand") {
  Stream stream(1, "test");
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) hits += stream.Permille(250) ? 1 : 0;
  CHECK(hits > 2300);
  CHECK(hits < 2700);
  CHECK_FALSE(stream.Permille(0));
  CHECK(stream.Permille(1000));
}

}  // namespace
}  // namespace dovetail::sim
