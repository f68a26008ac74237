// The algebraic laws of every type, on reachable states only: what a random
// schedule of three replicas leads to (operations, batches, tokens, deliveries
// out of order and twice, deltas withheld, whole states joined). States are
// compared in full: rows, E, X and bytes. By their numbers in the messages:
//
//   P1   join is idempotent, commutative, associative; bottom is neutral
//   P2   m(X) is X joined with its delta, and X is below it
//   P3   deltas may be joined into groups in any way and order
//   P4   dots of rows are in the context; E and X are exactly what was applied
//   P5   no event dot in two deltas, no dot with two payloads
//   P6   equal events give equal rows, contexts and bytes
//   P9   a dot that left a replica never comes back
//   P10  every dot that leaves is superseded by some delta
//   P11  rows and reads are those of the naive specification (model.h)
//   P12  a difference is exact and minimal
//   P13  sums kept along equal sums recomputed
//   P14  decode of encode is the identity (codec_laws_test.cc has the rest)
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "tests/crdt/law.h"
#include "tests/crdt/world.h"

namespace dovetail::crdt::model {
namespace {

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

DOVETAIL_LAW("every state is the specified one and replicas heal", 500, Heals)
DOVETAIL_LAW("the join of states is a lattice", 120, JoinIsALattice)
DOVETAIL_LAW("deltas may be grouped in any way", 250, GroupsOfDeltasAreOneDelta)
DOVETAIL_LAW("a difference is exact and minimal", 120,
             DifferencesAreExactAndMinimal)

// How often a schedule came by what the laws are about.
struct Occurrences {
  int with_x = 0;  // replicas that know of dots whose events they lack
  int with_token = 0;
  int without_delta = 0;
};

void CountIn(const std::vector<Move>& schedule, const Subject& subject,
             Occurrences& count) {
  World world(subject, kReplicas, World::Checks::kOnDemand);
  for (const Move& move : schedule) {
    const size_t lines = world.story().size();
    const size_t deltas = world.deltas().size();
    REQUIRE(world.Do(move) == "");
    const bool mutates = move.kind % 16 < 7;
    if (mutates && world.deltas().size() == deltas) ++count.without_delta;
    for (size_t i = lines; i < world.story().size(); ++i) {
      if (world.story()[i].find("(with a token)") != std::string::npos) {
        ++count.with_token;
      }
    }
    for (const Replica& replica : world.replicas()) {
      if (!replica.context().superseded.empty()) ++count.with_x;
    }
  }
}

// Laws that hold on dull states prove little.
TEST_CASE("Schedules: the states that matter do occur") {
  std::minstd_rand random(1);
  for (const Subject& subject : Subjects()) {
    CAPTURE(subject.name);
    Occurrences count;
    for (int i = 0; i < 20; ++i) {
      std::vector<Move> schedule(50);
      for (Move& move : schedule) {
        for (uint8_t* field : {&move.kind, &move.who, &move.target, &move.verb,
                               &move.detail, &move.stamp}) {
          *field = static_cast<uint8_t>(random() >> 8);
        }
      }
      CountIn(schedule, subject, count);
    }
    CHECK(count.with_x > 200);
    CHECK(count.with_token > 30);
    if (subject.name != "gset") CHECK(count.without_delta > 5);
  }
}

}  // namespace
}  // namespace dovetail::crdt::model
