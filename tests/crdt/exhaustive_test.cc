// Small scope, all of it: two writers, a third replica that only listens, and
// four operations from a small alphabet.
//
// What is enumerated, for each type:
//   - how the writers share the four operations: 4+0, 3+1, 2+2, 1+3, 0+4;
//   - every word of four letters of the alphabet;
//   - every interleaving: a writer's life is its own operations in order and
//     the other's deltas in any order at any place among them, early, late or
//     after everything. A pair of such lives stands for all interleavings that
//     differ only in the order of independent steps; impossible pairs (a delta
//     received before it was made, in a circle) are left out. 209 pairs remain;
//   - every order of arrival at the listener. All 24 go through the 16 sets of
//     deltas it may have; each set is entered from every set that is one
//     smaller, and each time must give the same state.
//
// What is checked: every state of the listener, and thereby of the writers,
// who must be in the same state whenever they have the same events, against
// the naive specification; that two complementary halves join to the whole as
// states; and that in the end all three are the same bytes. A case is a word
// under a pair of lives: 209 x 3^4 = 16,929 for an alphabet of three letters,
// 209 x 4^4 = 53,504 for one of four. The number is asserted, so that it cannot
// shrink unnoticed.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "crdt/query.h"
#include "tests/crdt/model.h"
#include "tests/crdt/replica_model.h"
#include "tests/crdt/subject.h"

namespace dovetail::crdt::model {
namespace {

constexpr size_t kOperations = 4;
constexpr size_t kSets = size_t{1} << kOperations;

struct Letter {
  Operation operation;
  uint64_t stamp = 1;
};

// A step of a writer: it makes delta `delta`, or receives it.
struct WriterStep {
  size_t writer = 0;
  size_t delta = 0;
  bool makes = false;
};
using Interleaving = std::vector<WriterStep>;

// Deltas are numbered with the first writer's first: [0, first) are its own.
bool IsOwn(size_t writer, size_t delta, size_t first) {
  return (delta < first) == (writer == 0);
}

// All orders of the deltas in which the writer's own ones ascend.
std::vector<std::vector<size_t>> LivesOf(size_t writer, size_t first) {
  std::vector<std::vector<size_t>> lives;
  std::vector<size_t> life{0, 1, 2, 3};
  do {
    std::vector<size_t> own;
    for (size_t delta : life) {
      if (IsOwn(writer, delta, first)) own.push_back(delta);
    }
    if (std::is_sorted(own.begin(), own.end())) lives.push_back(life);
  } while (std::next_permutation(life.begin(), life.end()));
  return lives;
}

// One interleaving of two lives; empty if there is none.
Interleaving Interleave(const std::array<const std::vector<size_t>*, 2>& lives,
                        size_t first) {
  Interleaving steps;
  std::array<size_t, 2> at{};
  std::array<bool, kOperations> made{};
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t writer = 0; writer < 2; ++writer) {
      while (at[writer] < kOperations) {
        const size_t delta = (*lives[writer])[at[writer]];
        const bool makes = IsOwn(writer, delta, first);
        if (!makes && !made[delta]) break;
        made[delta] = true;
        steps.push_back({writer, delta, makes});
        ++at[writer];
        moved = true;
      }
    }
  }
  return steps.size() == 2 * kOperations ? steps : Interleaving();
}

std::vector<Interleaving> AllInterleavings(size_t first) {
  std::vector<Interleaving> all;
  const auto first_lives = LivesOf(0, first);
  const auto second_lives = LivesOf(1, first);
  for (const auto& a : first_lives) {
    for (const auto& b : second_lives) {
      Interleaving steps = Interleave({&a, &b}, first);
      if (!steps.empty()) all.push_back(std::move(steps));
    }
  }
  return all;
}

// One word under one interleaving.
class Case {
 public:
  Case(const ObjectId& object, const std::array<const Letter*, 4>& word)
      : object_(object), word_(word), spec_(2) {}

  // "" or what is wrong.
  std::string Run(const Interleaving& steps);

 private:
  std::string Make(const WriterStep& step);
  std::string Listen();
  std::string CheckAgainstSpec(size_t set) const;

  struct Passed {
    size_t set = 0;
    Replica replica;
  };

  const ObjectId& object_;
  const std::array<const Letter*, 4>& word_;
  Spec spec_;
  std::vector<Replica> writers_{Replica(MakeActorId(ActorKind::kNode, 1)),
                                Replica(MakeActorId(ActorKind::kNode, 2))};
  // Absent where an operation had nothing to do.
  std::array<std::optional<Delta>, kOperations> deltas_;
  std::array<GroupId, kOperations> groups_{};
  std::vector<Passed> passed_;     // the states of the writers on the way
  std::vector<Replica> listener_;  // by set of deltas
};

std::string Case::Make(const WriterStep& step) {
  const Letter& letter = *word_[step.delta];
  Operation operation = letter.operation;
  if (!operation.value.empty()) operation.value += std::to_string(step.delta);
  const auto expected =
      spec_.Mutate(step.writer, {{operation, nullptr, letter.stamp}});
  auto made = writers_[step.writer].Mutate({operation}, [&letter](Timestamp) {
    return Timestamp{letter.stamp, 0};
  });
  if (!made.ok()) return std::string(made.status().message());
  if (made->delta.has_value() != expected.made) {
    return "mints when it should not, or the other way round";
  }
  deltas_[step.delta] = std::move(made->delta);
  groups_[step.delta] = expected.group;
  return "";
}

std::string Case::CheckAgainstSpec(size_t set) const {
  Reached reached;
  for (size_t i = 0; i < kOperations; ++i) {
    if ((set >> i & 1) != 0 && deltas_[i]) reached.insert(groups_[i]);
  }
  ObjectsView state = listener_[set].view();
  ReadSpec read;
  read.object = object_;
  const auto result = Query(state, read);
  if (!result.ok()) return std::string(result.status().message());
  const View expected = spec_.Read(reached, object_, {});
  if (result->view == expected) return "";
  return "reads " + ToString(result->view) + ", specified is " +
         ToString(expected);
}

std::string Case::Listen() {
  for (size_t set = 0; set < kSets; ++set) {
    listener_.emplace_back(MakeActorId(ActorKind::kNode, 3));
    bool entered = false;
    for (size_t i = 0; i < kOperations; ++i) {
      if ((set >> i & 1) == 0) continue;
      Replica next = listener_[set ^ (size_t{1} << i)];
      if (deltas_[i] && next.Apply(*deltas_[i]) != Replica::Applied::kNew) {
        return "a new delta is not taken as new";
      }
      if (!entered) {
        listener_[set] = std::move(next);
      } else if (!listener_[set].SameState(next)) {
        return "the order of arrival matters";
      }
      entered = true;
    }
    std::string wrong = CheckAgainstSpec(set);
    if (!wrong.empty()) return wrong;
  }
  for (size_t set = 0; set < kSets / 2; ++set) {
    Replica joined = listener_[set];
    if (joined.JoinState(listener_[kSets - 1 - set]) != JoinResult::kOk ||
        !joined.SameState(listener_[kSets - 1])) {
      return "two halves do not join to the whole";
    }
  }
  return "";
}

std::string Case::Run(const Interleaving& steps) {
  std::array<size_t, 2> sets{};
  for (const WriterStep& step : steps) {
    Replica& writer = writers_[step.writer];
    if (step.makes) {
      std::string wrong = Make(step);
      if (!wrong.empty()) return wrong;
    } else if (deltas_[step.delta]) {
      if (writer.Apply(*deltas_[step.delta]) != Replica::Applied::kNew) {
        return "a new delta is not taken as new";
      }
      spec_.Deliver(groups_[step.delta], step.writer);
    }
    sets[step.writer] |= size_t{1} << step.delta;
    passed_.push_back({sets[step.writer], writer});
  }
  std::string wrong = Listen();
  if (!wrong.empty()) return wrong;
  for (const Passed& passed : passed_) {
    if (!passed.replica.SameState(listener_[passed.set])) {
      return "a writer and the listener differ with equal events";
    }
  }
  const std::string bytes = listener_[kSets - 1].Encode();
  if (writers_[0].Encode() != bytes || writers_[1].Encode() != bytes) {
    return "in the end the replicas are not the same bytes";
  }
  return "";
}

std::string Tell(const std::array<const Letter*, 4>& word,
                 const Interleaving& steps) {
  std::string text;
  for (size_t i = 0; i < kOperations; ++i) {
    text += std::to_string(i) + " = " + Describe(word[i]->operation) + "\n";
  }
  for (const WriterStep& step : steps) {
    text += "writer " + std::to_string(step.writer) +
            (step.makes ? " makes " : " receives ") +
            std::to_string(step.delta) + "\n";
  }
  return text;
}

// Runs all cases and returns how many there were; stops at the first failure.
size_t CheckAll(const ObjectId& object, const std::vector<Letter>& alphabet) {
  size_t words = 1;
  for (size_t i = 0; i < kOperations; ++i) words *= alphabet.size();
  size_t cases = 0;
  for (size_t first = 0; first <= kOperations; ++first) {
    const std::vector<Interleaving> interleavings = AllInterleavings(first);
    for (size_t number = 0; number < words; ++number) {
      std::array<const Letter*, 4> word{};
      size_t rest = number;
      for (const Letter*& letter : word) {
        letter = &alphabet[rest % alphabet.size()];
        rest /= alphabet.size();
      }
      for (const Interleaving& steps : interleavings) {
        ++cases;
        std::string wrong = Case(object, word).Run(steps);
        if (wrong.empty()) continue;
        FAIL_CHECK(wrong << "\n" << Tell(word, steps));
        return cases;
      }
    }
  }
  return cases;
}

Operation Of(const ObjectId& object, Verb verb) {
  Operation operation;
  operation.object = object;
  operation.verb = verb;
  return operation;
}

Operation OnElement(const ObjectId& object, Verb verb, const char* element) {
  Operation operation = Of(object, verb);
  operation.elements = {element};
  return operation;
}

Operation WriteOf(const ObjectId& object, Verb verb, const char* value) {
  Operation operation = Of(object, verb);
  operation.value = value;
  return operation;
}

Operation AddTo(const ObjectId& object, int64_t amount) {
  Operation operation = Of(object, Verb::kAdd);
  operation.amount = amount;
  return operation;
}

constexpr size_t kCasesOfThreeLetters = 209 * 81;
constexpr size_t kCasesOfFourLetters = 209 * 256;

TEST_CASE("Small scope: set") {
  const ObjectId set{"b", "k", Type::kSet};
  const std::vector<Letter> alphabet{{OnElement(set, Verb::kAdd, "x")},
                                     {OnElement(set, Verb::kRemove, "x")},
                                     {OnElement(set, Verb::kAdd, "y")},
                                     {Of(set, Verb::kClear)}};
  CHECK(CheckAll(set, alphabet) == kCasesOfFourLetters);
}

TEST_CASE("Small scope: rwset") {
  const ObjectId set{"b", "k", Type::kRemoveSet};
  const std::vector<Letter> alphabet{{OnElement(set, Verb::kAdd, "x")},
                                     {OnElement(set, Verb::kRemove, "x")},
                                     {Of(set, Verb::kClear)}};
  CHECK(CheckAll(set, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: gset") {
  const ObjectId set{"b", "k", Type::kGrowSet};
  const std::vector<Letter> alphabet{{OnElement(set, Verb::kAdd, "x")},
                                     {OnElement(set, Verb::kAdd, "y")},
                                     {Of(set, Verb::kDelete)}};
  CHECK(CheckAll(set, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: ewflag") {
  const ObjectId flag{"b", "k", Type::kEnableFlag};
  const std::vector<Letter> alphabet{{Of(flag, Verb::kEnable)},
                                     {Of(flag, Verb::kDisable)},
                                     {Of(flag, Verb::kDelete)}};
  CHECK(CheckAll(flag, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: dwflag") {
  const ObjectId flag{"b", "k", Type::kDisableFlag};
  const std::vector<Letter> alphabet{{Of(flag, Verb::kEnable)},
                                     {Of(flag, Verb::kDisable)},
                                     {Of(flag, Verb::kDelete)}};
  CHECK(CheckAll(flag, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: counter") {
  const ObjectId counter{"b", "k", Type::kCounter};
  const std::vector<Letter> alphabet{
      {AddTo(counter, 5)}, {AddTo(counter, -2)}, {Of(counter, Verb::kReset)}};
  CHECK(CheckAll(counter, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: register") {
  const ObjectId name{"b", "k", Type::kRegister};
  // A clock that is behind writes p, one that is ahead writes q.
  const std::vector<Letter> alphabet{{WriteOf(name, Verb::kWrite, "p"), 1},
                                     {WriteOf(name, Verb::kWrite, "q"), 2},
                                     {Of(name, Verb::kClear)}};
  CHECK(CheckAll(name, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: mv") {
  const ObjectId name{"b", "k", Type::kMultiValue};
  const std::vector<Letter> alphabet{{WriteOf(name, Verb::kWrite, "p")},
                                     {WriteOf(name, Verb::kWriteBlind, "q")},
                                     {Of(name, Verb::kClear)}};
  CHECK(CheckAll(name, alphabet) == kCasesOfThreeLetters);
}

TEST_CASE("Small scope: map") {
  const ObjectId map{"b", "k", Type::kMap};
  const Field inner{"m", Type::kMap};
  const Field set{"s", Type::kSet};
  const Field counter{"c", Type::kCounter};
  Operation add = OnElement(map, Verb::kAdd, "x");
  add.fields = {inner, set};
  Operation count = AddTo(map, 3);
  count.fields = {inner, counter};
  Operation remove_set = Of(map, Verb::kRemoveField);
  remove_set.fields = {inner};
  remove_set.child = set;
  Operation remove_all = Of(map, Verb::kRemoveField);
  remove_all.child = inner;
  const std::vector<Letter> alphabet{
      {add}, {count}, {remove_set}, {remove_all}};
  CHECK(CheckAll(map, alphabet) == kCasesOfFourLetters);
}

}  // namespace
}  // namespace dovetail::crdt::model
