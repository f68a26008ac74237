// Event sets and the hybrid clock.
#include "crdt/event_set.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "crdt/codec.h"
#include "crdt/hlc.h"
#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

constexpr ActorId kA{1};
constexpr ActorId kB{2};

TEST_CASE("EventSet: insertion order does not matter and gaps stay gaps") {
  std::vector<Dot> dots{{kA, 3}, {kA, 1}, {kB, 2}, {kA, 2}};
  std::sort(dots.begin(), dots.end());
  EventSet expected;
  expected.InsertRun({kA, 1, 3});
  expected.Insert({kB, 2});
  int orders = 0;
  do {
    EventSet set;
    for (const Dot dot : dots) set.Insert(dot);
    CHECK(set == expected);
    CHECK_FALSE(set.Contains({kB, 1}));
    CHECK(set.interval_count() == 2);
    ++orders;
  } while (std::next_permutation(dots.begin(), dots.end()));
  CHECK(orders == 24);
}

EventSet Of(const std::set<Dot>& dots) {
  EventSet out;
  for (const Dot dot : dots) out.Insert(dot);
  return out;
}

TEST_CASE("EventSet: behaves as a std::set of dots") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    std::set<Dot> twins[2];
    EventSet sets[2];
    for (int k = 0; k < 2; ++k) {
      for (int i = 0; i < 8; ++i) {
        const DotRun run{ActorId{random() % 2}, 1 + random() % 30,
                         1 + random() % 6};
        const bool erase = random() % 3 == 0;
        for (uint64_t c = run.first; c <= run.last(); ++c) {
          if (erase) {
            twins[k].erase({run.actor, c});
          } else {
            twins[k].insert({run.actor, c});
          }
        }
        if (erase) {
          sets[k].EraseRun(run);
        } else {
          sets[k].InsertRun(run);
        }
      }
      CHECK(sets[k] == Of(twins[k]));
      CHECK(sets[k].dot_count() == twins[k].size());
    }
    std::set<Dot> common, left, all = twins[0];
    all.insert(twins[1].begin(), twins[1].end());
    for (const Dot dot : twins[0]) {
      (twins[1].count(dot) ? common : left).insert(dot);
    }
    EventSet united = sets[0];
    united.UnionWith(sets[1]);
    EventSet subtracted = sets[0];
    subtracted.Subtract(sets[1]);
    CHECK(united == Of(all));
    CHECK(subtracted == Of(left));
    CHECK(sets[0].Minus(sets[1]) == Of(left));
    CHECK(sets[0].Intersect(sets[1]) == Of(common));
    CHECK(sets[0].IsSubsetOf(sets[1]) == left.empty());
    CHECK(sets[0].IsSubsetOf(united));
    for (uint64_t first = 1; first < 35; ++first) {
      const DotRun run{ActorId{1}, first, 3};
      int held = 0;
      for (uint64_t c = first; c < first + 3; ++c) {
        held += sets[0].Contains({ActorId{1}, c}) ? 1 : 0;
      }
      CHECK(sets[0].ContainsRun(run) == (held == 3));
      CHECK(sets[0].IntersectsRun(run) == (held > 0));
    }
    const auto decoded = EventSet::Decode(united.Encode());
    REQUIRE(decoded.ok());
    CHECK(*decoded == united);
  }
}

TEST_CASE("EventSet: the whole range of counters is representable") {
  EventSet set;
  set.InsertRun({kA, 1, ~uint64_t{0}});
  set.Insert({kB, ~uint64_t{0}});
  CHECK(set.Contains({kA, ~uint64_t{0}}));
  CHECK(set.dot_count() == ~uint64_t{0});
  CHECK(*EventSet::Decode(set.Encode()) == set);
}

TEST_CASE("EventSet: only the canonical encoding decodes") {
  const auto encode = [](auto write) {
    std::string bytes;
    Writer out(&bytes);
    out.Byte(kCodecVersion);
    write(out);
    return bytes;
  };
  const auto refused = [](const std::string& bytes) {
    return EventSet::Decode(bytes).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  const auto one = [&](uint64_t actor) {
    return encode([&](Writer& out) {
      out.Varint(1);
      out.Fixed64(actor);
      for (const uint64_t n : {1, 0, 0}) out.Varint(n);
    });
  };
  CHECK(EventSet::Decode(one(uint64_t{2} << 62)).ok());
  CHECK(refused(one(uint64_t{3} << 62)));
  CHECK(refused(one(1) + '\0'));
  const std::string good = one(1);
  for (size_t size = 0; size < good.size(); ++size) {
    CHECK(refused(good.substr(0, size)));
  }
  CHECK(refused(encode([](Writer& out) {  // no intervals
    out.Varint(1);
    out.Fixed64(1);
    out.Varint(0);
  })));
  CHECK(refused(encode([](Writer& out) {  // actors out of order
    out.Varint(2);
    for (const uint64_t actor : {2, 1}) {
      out.Fixed64(actor);
      for (const uint64_t n : {1, 0, 0}) out.Varint(n);
    }
  })));
  CHECK(refused(encode([](Writer& out) {  // past the last counter
    out.Varint(1);
    out.Fixed64(1);
    out.Varint(1);
    out.Varint(1);
    out.Varint(~uint64_t{0});
  })));
  CHECK(refused(encode([](Writer& out) { out.Varint(uint64_t{1} << 40); })));
}

TEST_CASE("HybridClock: goes past what it accepts and never runs back") {
  HybridClock clock({100, 5});
  CHECK(clock.Receive({100, 9}, 100));
  CHECK(clock.Next(100) >= Timestamp{100, 10});
  CHECK(clock.Receive({103, 2}, 100));
  CHECK(clock.Next(100) >= Timestamp{103, 3});
  CHECK(clock.Next(50) > Timestamp{103, 3});
  CHECK(clock.Next(200) == Timestamp{200, 0});
}

TEST_CASE("HybridClock: a timestamp beyond the drift moves nothing") {
  HybridClock clock({100, 0});
  CHECK_FALSE(clock.Receive({100 + HybridClock::kDriftMaxMs + 1, 0}, 100));
  CHECK_FALSE(clock.Receive({~uint64_t{0}, 0xffff}, 100));
  CHECK(clock.last() == Timestamp{100, 0});
  CHECK(clock.Receive({100 + HybridClock::kDriftMaxMs, 0}, 100));
}

TEST_CASE("HybridClock: 65536 events in a millisecond borrow the next") {
  HybridClock clock({100, 0xffff});
  CHECK(clock.Next(100) == Timestamp{101, 0});
}

}  // namespace
}  // namespace dovetail::crdt::testing
