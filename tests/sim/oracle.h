// What must a reader see? An independent model of one partition, for the
// simulator's checker: it is told every write (the batch, the events it minted,
// and the events that its replica had applied before), and answers for any set
// of events what a replica that has applied exactly these must show.
//
// It is sequential history and counting; there are no deltas, contexts or joins
// in it (oracle_history.h). It shares no code with crdt/ or replica/, not even
// names of types.
//
// One oracle for each partition: events are counted by partition.
//
// Rules for the caller:
//  - Record in an order in which every write comes after those it has seen,
//    and the writes of one actor in the order of their events.
//  - Record also what a failed commit minted: it may reappear after a restart.
//    What never reappears does no harm, since no replica's events contain it.
//
// Not modelled: clears of more than 1,000 dots, which take several deltas, but
// for those of a set that is no part of a map (the process ends); other limits
// (an operation that is refused is none: do not record it); tokens of a page
// that was not all of its place; counters near the ends of int64.
#ifndef DOVETAIL_TESTS_SIM_ORACLE_H_
#define DOVETAIL_TESTS_SIM_ORACLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/oracle_history.h"
#include "tests/sim/oracle_types.h"

namespace dovetail::oracle {

// One thing that a token lists: an event, or what a writer's additions to a
// counter had come to and how much of it was reset.
struct Listed {
  uint64_t actor = 0;
  uint64_t counter = 0;  // 0: a counter's
  int64_t total = 0;
  int64_t reset = 0;
  friend auto operator<=>(const Listed&, const Listed&) = default;
};

// What somebody read at a place, exactly.
struct Sight {
  Object object;
  std::vector<size_t> facts;
  std::map<size_t, Tally> tallies;
};

class Oracle {
 public:
  // --- What happens ---

  // What the batch will do at a replica that has applied `before`, with
  // `actor` for its writer.
  Expectation Expect(const std::vector<Mutation>& batch, uint64_t actor,
                     const Events& before) const;

  // It happened, and minted the events first … first + count - 1 of `actor`.
  // Requires: count >= 1.
  void Record(const std::vector<Mutation>& batch, uint64_t actor,
              uint64_t first, uint64_t count, const Events& before);

  // Something happened of which nobody can say what it saw. The caller must not
  // ask about its objects any more.
  void Skip(uint64_t actor, uint64_t first, uint64_t count) {
    all_.Insert(actor, first, count);
  }

  // Somebody read `object` at `fields`, or one element there, from a replica
  // that had applied `visible`, or from several that had so together, and took
  // a token. (A token of one element serves for no other, so whether it saw the
  // others is all the same.)
  SightId See(const Object& object, const std::vector<Field>& fields,
              const Events& visible);

  // What a token of that sight must list, in order.
  std::vector<Listed> ListOf(SightId sight) const;

  // The timestamp that a write to a register was given, which may be known
  // only after Record.
  void SetStamp(const Object& object, uint64_t actor, uint64_t counter,
                Stamp stamp);
  // Likewise the time that a kExpire set, in wall clock milliseconds. Until
  // then it counts as never.
  void SetTime(const Object& object, uint64_t actor, uint64_t counter,
               uint64_t at_ms);

  // --- What must be seen ---

  // At a replica that has applied `visible`, or at the join of several that
  // have so together. Cost: O(writes of the object).
  View Read(const Object& object, const std::vector<Field>& fields,
            const Events& visible) const;

  // When it expires for whoever has applied `visible`, 0: never. Time hides it
  // then, and nothing else: Read shows what is there.
  uint64_t ExpiresAt(const Object& object, const Events& visible) const;
  // The times set that nothing in `visible` has replaced, each by its event.
  struct Setting {
    uint64_t actor = 0;
    uint64_t counter = 0;
    uint64_t at_ms = 0;
  };
  std::vector<Setting> SettingsOf(const Object& object,
                                  const Events& visible) const;

  // Every object that was ever written, in order.
  std::vector<Object> Objects() const;
  // How many writes changed it, and whether a replica that has applied
  // `visible` has all of them.
  size_t WritesOf(const Object& object) const;
  bool HasAllWritesOf(const Object& object, const Events& visible) const;
  // The events of all writes recorded.
  const Events& AllEvents() const { return all_; }

 private:
  std::map<Object, History> histories_;
  std::vector<Sight> sights_;
  Events all_;
};

}  // namespace dovetail::oracle

#endif  // DOVETAIL_TESTS_SIM_ORACLE_H_
