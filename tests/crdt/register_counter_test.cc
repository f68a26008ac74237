// Registers and counters.
#include <algorithm>
#include <limits>

#include "crdt/counter.h"
#include "crdt/limits.h"
#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

Operation Write(std::string value) {
  return WriteOf(Type::kMultiValue, Verb::kWrite, std::move(value));
}
Operation WriteBlind(std::string value) {
  return WriteOf(Type::kMultiValue, Verb::kWriteBlind, std::move(value));
}
Operation WriteRegister(std::string value) {
  return WriteOf(Type::kRegister, Verb::kWrite, std::move(value));
}
Operation Count(int64_t amount) { return Amount(Type::kCounter, amount); }
const Operation kReset = Op(Type::kCounter, Verb::kReset);

TEST_CASE("MultiValue: a write supersedes its token, not a blind sibling") {
  ToyReplica a(1);
  a.Do(Write("v1"));
  const ObservedToken token = a.Token(Type::kMultiValue);
  a.Do(WriteBlind("v2"));
  a.Do(With(token, Write("v3")));
  CHECK(a.Show(Type::kMultiValue) == "{\"v2\", \"v3\"}");
  a.Do(Op(Type::kMultiValue, Verb::kClear));
  CHECK(a.store.empty());
}

TEST_CASE("MultiValue: blind writes stop at the limit of siblings") {
  ToyReplica a(1);
  for (size_t i = 0; i < kSiblingsMax; ++i) a.Do(WriteBlind("v"));
  CHECK(a.Show(Type::kMultiValue) == "{\"v\"}");
  CHECK(a.Try({WriteBlind("w")}).status().code() ==
        absl::StatusCode::kResourceExhausted);
  a.Do(Write("w"));
  CHECK(a.Show(Type::kMultiValue) == "{\"w\"}");
}

TEST_CASE("Register: equal timestamps have one winner in every order") {
  ToyReplica a(1), b(2), c(3);
  a.wall_ms = 5;
  b.wall_ms = c.wall_ms = 6;
  std::vector<Delta> deltas{*a.Do(WriteRegister("foo")),
                            *b.Do(WriteRegister("bar")),
                            *c.Do(WriteRegister("baz"))};
  std::vector<size_t> order{0, 1, 2};
  do {
    ToyReplica d(4);
    for (const size_t i : order) d.Apply(deltas[i]);
    CHECK(d.Show(Type::kRegister) == "\"baz\"");
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Register: a write at time 0 is a write") {
  ToyReplica a(1);
  CHECK(a.Show(Type::kRegister) == "absent");
  a.Do(WriteRegister("v"));
  CHECK(a.Show(Type::kRegister) == "\"v\"");
}

TEST_CASE("Register: causality beats a clock that runs ahead") {
  ToyReplica a(1), b(2);
  a.wall_ms = 1000;
  a.Do(WriteRegister("ahead"));
  b.Merge(a);
  b.Do(WriteRegister("later"));
  a.Merge(b);
  CHECK(a.Show(Type::kRegister) == "\"later\"");
}

TEST_CASE("Counter: deltas delivered twice count once") {
  ToyReplica a(1), b(2);
  for (int i = 0; i < 100; ++i) {
    const auto delta = a.Do(Count(1));
    b.Apply(*delta);
    b.Apply(*delta);
  }
  CHECK(b.Show(Type::kCounter) == "100");
  b.Apply(*a.Do(Count(-5)));
  CHECK(a.Show(Type::kCounter) == "95");
  CHECK(b.Show(Type::kCounter) == "95");
  CHECK(a.store.children().begin()->second.size() == 1);
}

TEST_CASE("Counter: a reset takes exactly what it observed") {
  ToyReplica a(1), b(2);
  a.Do(Count(5));
  b.Merge(a);
  a.Do(Count(1));
  b.Do(kReset);
  CHECK(b.Show(Type::kCounter) == "0");
  a.Merge(b);
  b.Merge(a);
  CHECK(a.Show(Type::kCounter) == "1");
  CHECK(a.SameAs(b));
}

TEST_CASE("Counter: its own wholly reset entry is replaced by a fresh one") {
  ToyReplica a(1), b(2);
  a.Do(Count(-5));
  b.Merge(a);
  b.Do(kReset);
  a.Merge(b);
  CHECK(a.Show(Type::kCounter) == "0");
  CHECK_FALSE(a.Do(kReset).has_value());
  a.Do(Count(3));
  CHECK(a.store.children().begin()->second.size() == 1);
  b.Merge(a);
  CHECK(b.Show(Type::kCounter) == "3");
  a.Do(kReset);
  CHECK(a.store.empty());
  b.Merge(a);
  CHECK(b.store.empty());
}

TEST_CASE("Counter: a batch can count, reset and count again") {
  ToyReplica a(1), b(2);
  const auto first = a.Do(Count(5));
  const auto batch = a.Do({Count(2), kReset, Count(4)});
  CHECK(a.Show(Type::kCounter) == "4");
  b.Apply(*batch);
  CHECK(b.Show(Type::kCounter) == "4");
  b.Apply(*first);
  CHECK(b.SameAs(a));
}

TEST_CASE("Counter: a token resets what it saw at a replica without it") {
  ToyReplica a(1), b(2);
  const auto five = a.Do(Count(5));
  const ObservedToken token = a.Token(Type::kCounter);
  const auto one = a.Do(Count(1));
  b.Do(With(token, kReset));
  CHECK(b.Show(Type::kCounter) == "0");
  b.Apply(*one);
  CHECK(b.Show(Type::kCounter) == "1");
  b.Apply(*five);
  CHECK(b.Show(Type::kCounter) == "1");
}

TEST_CASE("Counter: amounts at the ends are refused or exact, never wrapped") {
  ToyReplica a(1), b(2), c(3);
  CHECK(a.Try({Count(0)}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(a.Try({Count(std::numeric_limits<int64_t>::min())}).status().code() ==
        absl::StatusCode::kResourceExhausted);
  const auto most = static_cast<int64_t>(kTallyMax);
  a.Do(Count(most));
  CHECK(a.Try({Count(1)}).status().code() ==
        absl::StatusCode::kResourceExhausted);
  b.Do(Count(most));
  c.Do(Count(most));
  a.Merge(b);
  a.Merge(c);
  CHECK(a.Show(Type::kCounter) == "9223372036854775807");
  a.Do(Count(-most));
  CHECK(a.Show(Type::kCounter) == "9223372036854775807");
}

}  // namespace
}  // namespace dovetail::crdt::testing
