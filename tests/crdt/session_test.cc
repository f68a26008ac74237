// Operations of exactly-once sessions: one delta wherever they are built.
#include "crdt/session.h"

#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

const ActorId kSession = MakeActorId(ActorKind::kSession, 77);
constexpr Timestamp kStamp{1'000, 3};

SessionDelta Build(const SessionWriter::Prepared& prepared) {
  absl::StatusOr<SessionDelta> built = BuildSessionDelta(
      prepared.operations, prepared.id, [](Timestamp) { return kStamp; });
  REQUIRE_MESSAGE(built.ok(), built.status().ToString());
  return *std::move(built);
}

SessionWriter::Prepared Prepare(SessionWriter& writer,
                                std::vector<Operation> operations) {
  auto prepared = writer.Prepare(std::move(operations), kStamp);
  REQUIRE_MESSAGE(prepared.ok(), prepared.status().ToString());
  return *std::move(prepared);
}

// Prepares the operation and applies its delta.
SessionWriter::Prepared Run(SessionWriter& writer, ToyReplica& at,
                            Operation operation) {
  auto prepared = Prepare(writer, {std::move(operation)});
  const SessionDelta built = Build(prepared);
  REQUIRE(built.delta.has_value());
  at.Apply(*built.delta);
  return prepared;
}

TEST_CASE("Session: numbers follow each other over deltas of all sizes") {
  SessionWriter writer(kSession);
  const auto three =
      Prepare(writer, {Elements(Type::kSet, Verb::kAdd, {"a", "b", "c"})});
  const auto one = Prepare(writer, {Amount(Type::kCounter, 5)});
  const auto extended = Prepare(writer, {Amount(Type::kCounter, -2)});
  CHECK(Build(three).delta->events == DotRun{kSession, 1, 3});
  CHECK(Build(one).delta->events == DotRun{kSession, 4, 1});
  CHECK(Build(extended).delta->events == DotRun{kSession, 5, 1});
}

TEST_CASE("Session: a counter has one entry, which each delta carries whole") {
  SessionWriter writer(kSession);
  ToyReplica a(1);
  Run(writer, a, Amount(Type::kCounter, 5));
  Run(writer, a, Amount(Type::kCounter, -2));
  const auto last = Prepare(writer, {Amount(Type::kCounter, 4)});
  const Delta delta = *Build(last).delta;
  REQUIRE(delta.leaves.size() == 1);
  const Leaf& store = delta.leaves[0].store;
  REQUIRE(store.size() == 1);
  CHECK(store.entries()[0].first == Dot{kSession, 1});
  CHECK(std::get<Tally>(store.entries()[0].second) == Tally{9, 2, 0, 0});
  // One that has seen nothing of the first two learns all from the last.
  ToyReplica b(2);
  b.Apply(delta);
  CHECK(b.Show(Type::kCounter) == "7");
}

TEST_CASE("Session: an addition in doubt takes effect with the next, once") {
  SessionWriter writer(kSession);
  ToyReplica a(1);
  ToyReplica b(2);
  const auto doubtful = Prepare(writer, {Amount(Type::kCounter, 5)});
  const auto next = Prepare(writer, {Amount(Type::kCounter, 1)});
  a.Apply(*Build(next).delta);
  CHECK(a.Show(Type::kCounter) == "6");
  b.Apply(*Build(doubtful).delta);
  a.Merge(b);
  CHECK(a.Show(Type::kCounter) == "6");
}

TEST_CASE("Session: what was refused everywhere leaves no trace in the entry") {
  SessionWriter writer(kSession);
  ToyReplica a(1);
  Run(writer, a, Amount(Type::kCounter, 5));
  const auto refused = Prepare(writer, {Amount(Type::kCounter, 100)});
  writer.Forget(refused);
  Run(writer, a, Amount(Type::kCounter, 1));
  CHECK(a.Show(Type::kCounter) == "6");
  // Had the refusal been wrong, nothing would drown in it.
  a.Apply(*Build(refused).delta);
  CHECK(a.Show(Type::kCounter) == "106");
}

TEST_CASE("Session: a reset by token, then additions, with one entry left") {
  SessionWriter writer(kSession);
  ToyReplica a(1);
  a.Do(Amount(Type::kCounter, 10));
  Run(writer, a, Amount(Type::kCounter, 5));
  Run(writer, a,
      With(a.Token(Type::kCounter), Op(Type::kCounter, Verb::kReset)));
  CHECK(a.Show(Type::kCounter) == "0");
  Run(writer, a, Amount(Type::kCounter, 3));
  CHECK(a.Show(Type::kCounter) == "3");
  // The writer itself has retired the entry that was wholly reset.
  size_t own = 0;
  for (const auto& [path, leaf] : a.store.children()) {
    for (const auto& [dot, payload] : leaf.entries())
      own += dot.actor == kSession;
  }
  CHECK(own == 1);
}

TEST_CASE("Session: a reset that had not seen an addition leaves it") {
  SessionWriter writer(kSession);
  ToyReplica a(1);
  Run(writer, a, Amount(Type::kCounter, 5));
  const ObservedToken before = a.Token(Type::kCounter);
  Run(writer, a, Amount(Type::kCounter, 2));
  Run(writer, a, With(before, Op(Type::kCounter, Verb::kReset)));
  CHECK(a.Show(Type::kCounter) == "2");
  Run(writer, a, Amount(Type::kCounter, 1));
  CHECK(a.Show(Type::kCounter) == "3");
}

TEST_CASE("Session: an element added again and again keeps one dot") {
  SessionWriter writer(kSession);
  ToyReplica a(1);
  for (int i = 0; i < 5; ++i) {
    Run(writer, a, Elements(Type::kSet, Verb::kAdd, {"x"}));
  }
  REQUIRE(a.store.children().size() == 1);
  CHECK(a.store.children().begin()->second.size() == 1);
}

TEST_CASE("Session: without a token a removal observes and mints nothing") {
  SessionWriter writer(kSession);
  for (const Operation& operation :
       {Elements(Type::kSet, Verb::kRemove, {"x"}),
        Op(Type::kSet, Verb::kClear), Op(Type::kCounter, Verb::kReset),
        Op(Type::kEnableFlag, Verb::kDisable), Op(Type::kSet, Verb::kDelete)}) {
    CHECK(NeedsToken(operation));
    const SessionDelta built = Build(Prepare(writer, {operation}));
    CHECK_FALSE(built.delta.has_value());
    CHECK(built.not_observed == std::vector<bool>{true});
  }
  // None of them used up a number.
  const auto next = Prepare(writer, {Amount(Type::kCounter, 1)});
  CHECK(next.id.first.counter == 1);
}

TEST_CASE("Session: a batch is one delta under one id") {
  SessionWriter writer(kSession);
  const auto batch =
      Prepare(writer, {Amount(Type::kCounter, 2), Amount(Type::kCounter, 3),
                       Elements(Type::kSet, Verb::kAdd, {"x"})});
  const Delta delta = *Build(batch).delta;
  CHECK(delta.events == DotRun{kSession, 1, 3});
  CHECK(delta.leaves.size() == 2);
  CHECK(Build(batch).delta->Encode() == delta.Encode());
}

TEST_CASE("Session: an id that is none is refused") {
  const auto check = [](Dot first) {
    return BuildSessionDelta({}, {first, kStamp},
                             [](Timestamp) { return kStamp; })
        .status();
  };
  CHECK(check({kSession, 1}).ok());
  CHECK(absl::IsInvalidArgument(check({kSession, 0})));
  CHECK(absl::IsInvalidArgument(check({kSession, ~uint64_t{0}})));
  // Nobody mints in the name of a node or of an edge.
  CHECK(absl::IsInvalidArgument(check({MakeActorId(ActorKind::kNode, 77), 1})));
  CHECK(absl::IsInvalidArgument(check({MakeActorId(ActorKind::kEdge, 77), 1})));
}

TEST_CASE("Session: a token may not name what the session has yet to do") {
  ObservedToken token{kSetObject, {}, {}};
  token.leaves[Path().Element("x")].dots = {{kSession, 5}};
  const OperationId id{{kSession, 5}, kStamp};
  const Operation remove =
      With(token, Elements(Type::kSet, Verb::kRemove, {"x"}));
  CHECK(absl::IsInvalidArgument(BuildSessionDelta({remove}, id, [](Timestamp) {
                                  return kStamp;
                                }).status()));
}

TEST_CASE("Session: removing more than one delta holds is refused with an id") {
  ToyReplica a(1);
  std::vector<std::string> elements;
  for (int i = 0; i < 1'000; ++i) elements.push_back("a" + std::to_string(i));
  a.Do(Elements(Type::kSet, Verb::kAdd, elements));
  a.Do(Elements(Type::kSet, Verb::kAdd, {"one more"}));
  SessionWriter writer(kSession);
  const auto clear = writer.Prepare(
      {With(a.Token(Type::kSet), Op(Type::kSet, Verb::kClear))}, kStamp);
  CHECK(absl::IsInvalidArgument(clear.status()));
}

TEST_CASE("Session: of two payloads under one dot the greater stays") {
  const Dot dot{kSession, 1};
  const auto join = [&](std::string mine, const std::string& theirs) {
    Leaf leaf(dot, Value{std::move(mine)});
    const EventSet none;
    REQUIRE(Join(leaf, none, Leaf(dot, Value{theirs}), none) ==
            JoinResult::kOk);
    return std::get<Value>(*leaf.Find(dot)).bytes;
  };
  CHECK(join("a", "b") == "b");
  CHECK(join("b", "a") == "b");
  // From anybody else it is damage.
  const Dot node{MakeActorId(ActorKind::kNode, 1), 1};
  Leaf leaf(node, Value{"a"});
  const EventSet none;
  CHECK(Join(leaf, none, Leaf(node, Value{"b"}), none) ==
        JoinResult::kDotReuse);
}

}  // namespace
}  // namespace dovetail::crdt::testing
