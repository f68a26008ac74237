// What must a reader see? The naive specification of every type, to compare
// the real one with: all events that ever happened, and for each of them what
// it had seen. It shares no code with the join, the mutators or the queries of
// crdt/; only plain data (ObjectId, Field, Operation, View) is common.
//
// The idea. A mutation is a group of facts that travel together; a fact is
// what somebody can see later: an element put in or put out, a value written,
// an amount added. A replica is nothing but the set of groups that reached it,
// in whatever order. Everything else follows by counting:
//
//   live      a fact of a group in the set that no group in the set saw
//   register  the live write with the greatest (stamp, replica, sequence)
//   mv        all live writes
//   set gset  an element with a live add
//   rwset     an element with a live add and no live remove
//   ewflag    a live enable; dwflag: no live disable
//   counter   the sum of the amounts known to the set that no reset saw
//   map       its fields with something live in them, recursively
//
// A mutation sees what is live at its replica or, with a token, exactly what
// was live where and when the token was read.
//
// Amounts are special, as they travel cumulatively. A writer's amounts to a
// counter form entries. Each amount brings along those before it in its entry,
// with what is known of their resets, and a reset covers those before the ones
// it saw. Where all of an entry is known to be reset, its writer retires it:
// by a reset of its own without a token, or when it adds again, to a new entry.
#ifndef DOVETAIL_TESTS_CRDT_MODEL_H_
#define DOVETAIL_TESTS_CRDT_MODEL_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "crdt/operation.h"
#include "crdt/query.h"
#include "crdt/type.h"

namespace dovetail::crdt::model {

// Where a fact is: the map fields, then the element (sets only).
struct Place {
  ObjectId object;
  std::vector<Field> fields;
  std::string element;
  Type leaf_type() const {
    return fields.empty() ? object.type : fields.back().type;
  }
  friend auto operator<=>(const Place&, const Place&) = default;
};

// Both count from 0 in the order of creation.
using FactId = size_t;
using GroupId = size_t;

struct Fact {
  enum class Kind { kMark, kPutIn, kPutOut, kWrite, kAmount };
  GroupId group = 0;
  size_t replica = 0;
  Place place;
  Kind kind = Kind::kMark;
  std::string value;   // kWrite
  uint64_t stamp = 0;  // kWrite to a register
  int64_t amount = 0;  // kAmount, and the first amount of its entry:
  FactId entry = 0;
};

// What reached a replica.
using Reached = std::set<GroupId>;
// What a read saw.
using Sight = std::set<FactId>;

struct Group {
  size_t replica = 0;
  std::vector<FactId> written;
  // Facts of the groups before it, or of itself, that it saw and replaced
  // or removed; never amounts.
  Sight seen;
  // Amounts: those that come along with its own, those it resets or knows to
  // be reset, and the entries that it retires, named by their first amount.
  Sight carried;
  Sight reset;
  Sight retired;
};

// One operation of a batch.
struct Step {
  Operation operation;  // `observed` is ignored:
  const Sight* token = nullptr;
  uint64_t stamp = 0;  // what the clock says if the operation asks
};

class Spec {
 public:
  explicit Spec(size_t replicas) : reached_(replicas) {}

  // Runs `steps` as one atomic batch at `replica`. Returns for each whether it
  // was to remove something and saw nothing of it. The group is made only if
  // some step did something. If it has no `effect`, its steps undid each other
  // and nothing need travel: Withdraw() then.
  struct Outcome {
    bool made = false;
    bool effect = false;
    GroupId group = 0;
    std::vector<bool> not_observed;
  };
  Outcome Mutate(size_t replica, const std::vector<Step>& steps);
  // Forgets the newest group.
  void Withdraw();

  void Deliver(GroupId group, size_t replica) {
    reached_[replica].insert(group);
  }
  void JoinState(size_t from, size_t into) {
    reached_[into].insert(reached_[from].begin(), reached_[from].end());
  }

  const Reached& reached(size_t replica) const { return reached_[replica]; }
  const Fact& fact(FactId id) const { return facts_[id]; }
  const Group& group(GroupId id) const { return groups_[id]; }
  size_t group_count() const { return groups_.size(); }

  // All live facts and unreset amounts, in order of creation.
  Sight Live(const Reached& reached) const;
  // Of those, what lies at or below a place.
  Sight See(const Reached& reached, const ObjectId& object,
            const std::vector<Field>& fields) const;
  View Read(const Reached& reached, const ObjectId& object,
            const std::vector<Field>& fields) const;

 private:
  bool HasEffect(GroupId group) const;
  // The step's effect on `group`, which the replica already counts as reached.
  // Returns whether it did anything.
  bool Run(size_t replica, GroupId group, const Step& step);
  bool RunOnElements(size_t replica, GroupId group, const Step& step);
  void Write(GroupId group, const Place& place, Fact fact);
  void WriteAmount(GroupId group, const Place& place, int64_t amount);
  // Takes what is in `sight` into what the group saw or reset.
  bool Observe(GroupId group, const Sight& sight, const Step& step);
  // Amounts known to be reset, and entries known to be retired.
  Sight KnownReset(const Reached& reached) const;
  Sight KnownRetired(const Reached& reached) const;
  // What the step sees at or below the place; one element if given.
  Sight SightOf(size_t replica, const Step& step,
                const std::vector<Field>& fields,
                const std::string* element) const;
  View ViewOf(const Sight& live, const ObjectId& object,
              const std::vector<Field>& fields) const;
  void ViewSet(const Sight& here, View& view) const;
  void ViewValues(const Sight& here, View& view) const;

  std::vector<Fact> facts_;
  std::vector<Group> groups_;
  std::vector<Reached> reached_;
};

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_MODEL_H_
