// The algebraic laws of every type, on reachable states only: what a random
// schedule of three replicas leads to (operations, tokens, deliveries out of
// order and twice, deltas withheld, whole states joined). States are compared
// in full: rows, E, X and bytes. The numbers are those of docs/testing.md.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "tests/crdt/property.h"
#include "tests/crdt/world.h"

namespace dovetail::crdt::model {
namespace {

constexpr size_t kReplicas = 3;

std::string Play(World& world, const std::vector<Move>& schedule) {
  for (const Move& move : schedule) {
    std::string wrong = world.Do(move);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

// A law takes a world at the end of a schedule and returns what is wrong.
using Law = std::string (*)(World& world, uint32_t salt);

void CheckLaw(const std::string& test, const char* subject, int runs, Law law) {
  CHECK(HoldsFor(test, runs, [&] {
    const auto schedule = *AnySchedule();
    const auto salt = *rc::gen::arbitrary<uint32_t>();
    World world(SubjectNamed(subject), kReplicas);
    std::string wrong = Play(world, schedule);
    if (wrong.empty()) wrong = law(world, salt);
    if (wrong.empty()) return;
    RC_LOG() << "\nThe story:\n";
    for (const std::string& line : world.story()) RC_LOG() << line << "\n";
    RC_FAIL(wrong);
  }));
}

// The final states of all replicas, some on the way, and bottom.
std::vector<Replica> StatesOf(const World& world) {
  std::vector<Replica> states = world.replicas();
  states.insert(states.end(), world.snapshots().begin(),
                world.snapshots().end());
  states.emplace_back(MakeActorId(ActorKind::kSession, 7));
  return states;
}

Replica Joined(Replica a, const Replica& b) {
  DOVETAIL_CHECK(a.JoinState(b) == JoinResult::kOk);
  return a;
}

// P4, P5, P6, P9, P10, P11 and P2, which every step checks, and healing.
std::string Heals(World& world, uint32_t salt) { return world.Heal(salt); }

// P1.
std::string JoinIsALattice(World& world, uint32_t) {
  const std::vector<Replica> states = StatesOf(world);
  const Replica bottom = states.back();
  for (const Replica& x : states) {
    if (!Joined(x, x).SameState(x)) return "P1: join is not idempotent";
    if (!Joined(x, bottom).SameState(x) || !Joined(bottom, x).SameState(x)) {
      return "P1: bottom is not neutral";
    }
    for (const Replica& y : states) {
      const Replica xy = Joined(x, y);
      std::string wrong = Differences(xy, Joined(y, x));
      if (!wrong.empty()) return "P1: not commutative: " + wrong;
      if (!Joined(x, xy).SameState(xy)) return "P1: X is not below X join Y";
      for (const Replica& z : states) {
        wrong = Differences(Joined(xy, z), Joined(x, Joined(y, z)));
        if (!wrong.empty()) return "P1: not associative: " + wrong;
      }
    }
  }
  return "";
}

// P3.
std::string GroupsOfDeltasAreOneDelta(World& world, uint32_t salt) {
  std::minstd_rand random(salt + 1);
  Replica one_by_one = world.replicas()[0];
  for (const Delta& delta : world.deltas()) one_by_one.Apply(delta);
  // Every delta goes to one group or two, and there in any order.
  const size_t count = 1 + random() % 4;
  std::vector<std::vector<const Delta*>> groups(count);
  for (const Delta& delta : world.deltas()) {
    groups[random() % count].push_back(&delta);
    if (random() % 3 == 0) groups[random() % count].push_back(&delta);
  }
  std::vector<Replica> joined;
  for (std::vector<const Delta*>& group : groups) {
    joined.emplace_back(MakeActorId(ActorKind::kSession, 7));
    for (size_t i = group.size(); i > 1; --i) {
      std::swap(group[i - 1], group[random() % i]);
    }
    for (const Delta* delta : group) joined.back().Apply(*delta);
  }
  // Groups of groups, and again.
  if (count > 1) joined[0] = Joined(joined[0], joined[1]);
  Replica grouped = world.replicas()[0];
  for (size_t i = 0; i < 2 * count; ++i) {
    grouped = Joined(grouped, joined[random() % count]);
  }
  for (const Replica& group : joined) grouped = Joined(grouped, group);
  const std::string wrong = Differences(one_by_one, grouped);
  return wrong.empty() ? "" : "P3: grouped otherwise, " + wrong;
}

// What Y has to tell X: the entries that X lacks or has less of, and the dots
// that X has to drop.
struct Difference {
  std::vector<std::pair<ObjectId, Store>> entries;  // one entry each
  std::vector<Dot> drops;
};

Difference DifferenceOf(const Replica& y, const Replica& x) {
  Difference difference;
  ObjectsView x_view = x.view();
  ObjectsView y_view = y.view();
  for (const auto& [object, store] : y.objects()) {
    for (const auto& [path, leaf] : store.children()) {
      const Leaf mine = *x_view.Get(object, path);
      for (const auto& [dot, payload] : leaf.entries()) {
        const Payload* known = mine.Find(dot);
        Payload joined = known == nullptr ? payload : *known;
        if (known == nullptr && x.context().Contains(dot)) continue;
        if (known != nullptr &&
            (!JoinPayload(joined, payload) || joined == *known)) {
          continue;
        }
        Store entry;
        entry.Set(path, Leaf(dot, payload));
        difference.entries.emplace_back(object, std::move(entry));
      }
    }
  }
  for (const auto& [object, store] : x.objects()) {
    for (const auto& [path, leaf] : store.children()) {
      const Leaf theirs = *y_view.Get(object, path);
      for (const auto& [dot, payload] : leaf.entries()) {
        if (!theirs.Contains(dot) && y.context().Contains(dot)) {
          difference.drops.push_back(dot);
        }
      }
    }
  }
  return difference;
}

// The rows of x joined with the difference, less its part number `without`.
Objects JoinedRows(const Replica& x, const Difference& difference,
                   size_t without) {
  EventSet drops;
  for (size_t i = 0; i < difference.drops.size(); ++i) {
    if (i + difference.entries.size() != without) {
      drops.Insert(difference.drops[i]);
    }
  }
  Objects rows = x.objects();
  for (auto& [object, store] : rows) {
    DOVETAIL_CHECK(Join(store, x.context(), Store(), drops) == JoinResult::kOk);
  }
  for (size_t i = 0; i < difference.entries.size(); ++i) {
    if (i == without) continue;
    const auto& [object, entry] = difference.entries[i];
    EventSet known;
    for (Dot dot : entry.children().begin()->second.Dots()) known.Insert(dot);
    DOVETAIL_CHECK(Join(rows[object], x.context(), entry, known) ==
                   JoinResult::kOk);
  }
  std::erase_if(rows, [](const auto& object) { return object.second.empty(); });
  return rows;
}

// P12.
std::string DifferencesAreExactAndMinimal(World& world, uint32_t) {
  const std::vector<Replica> states = StatesOf(world);
  for (const Replica& x : states) {
    for (const Replica& y : states) {
      const Replica expected = Joined(x, y);
      // By the log: the deltas whose events x lacks.
      Replica by_log = x;
      for (const Delta& delta : world.deltas()) {
        if (y.context().applied.ContainsRun(delta.events) &&
            !x.context().applied.ContainsRun(delta.events)) {
          by_log.Apply(delta);
        }
      }
      std::string wrong = Differences(by_log, expected);
      if (!wrong.empty()) return "P12: by the log, " + wrong;
      const Difference difference = DifferenceOf(y, x);
      const size_t parts = difference.entries.size() + difference.drops.size();
      if (JoinedRows(x, difference, parts) != expected.objects()) {
        return "P12: X join difference is not X join Y";
      }
      for (size_t i = 0; i < parts; ++i) {
        if (JoinedRows(x, difference, i) == expected.objects()) {
          return "P12: the difference is not minimal";
        }
      }
    }
  }
  return "";
}

// One test for each kind of state; the runs keep each under some seconds.
#define DOVETAIL_LAW_OF(subject, sentence, runs, law)    \
  TEST_CASE(subject ": " sentence) {                     \
    CheckLaw(subject ": " sentence, subject, runs, law); \
  }
#define DOVETAIL_LAW(sentence, runs, law)              \
  DOVETAIL_LAW_OF("register", sentence, runs, law)     \
  DOVETAIL_LAW_OF("mv", sentence, runs, law)           \
  DOVETAIL_LAW_OF("set", sentence, runs, law)          \
  DOVETAIL_LAW_OF("rwset", sentence, runs, law)        \
  DOVETAIL_LAW_OF("gset", sentence, runs, law)         \
  DOVETAIL_LAW_OF("ewflag", sentence, runs, law)       \
  DOVETAIL_LAW_OF("dwflag", sentence, runs, law)       \
  DOVETAIL_LAW_OF("counter", sentence, runs, law)      \
  DOVETAIL_LAW_OF("map", sentence, runs, law)          \
  DOVETAIL_LAW_OF("nested", sentence, (runs) / 2, law) \
  DOVETAIL_LAW_OF("mixed", sentence, (runs) / 2, law)

DOVETAIL_LAW("every state is the specified one and replicas heal", 500, Heals)
DOVETAIL_LAW("the join of states is a lattice", 120, JoinIsALattice)
DOVETAIL_LAW("deltas may be grouped in any way", 250, GroupsOfDeltasAreOneDelta)
DOVETAIL_LAW("a difference is exact and minimal", 120,
             DifferencesAreExactAndMinimal)

}  // namespace
}  // namespace dovetail::crdt::model
