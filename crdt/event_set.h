// A set of dots, kept as sorted disjoint intervals per actor.
//
// This is the causal context of the papers (version vector plus dot cloud) in
// one form: the gaps that crashed actors leave are permanent, and an interval
// costs the same 16 bytes however many events it covers. "I hold event n" is
// never widened to "I hold 1..n".
//
// Canonical: intervals are never empty, never touch, and an actor without
// events has no entry, so equal sets compare and encode equal.
//
// Source: Almeida, Shoker, Baquero, "Delta State Replicated Data Types",
// arXiv:1603.01529, section 7.2 (causal contexts and their compression).
#ifndef DOVETAIL_CRDT_EVENT_SET_H_
#define DOVETAIL_CRDT_EVENT_SET_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/dot.h"

namespace dovetail::crdt {

class Writer;
class Reader;

class EventSet {
 public:
  // Closed interval of counters, 1 <= first <= last.
  struct Interval {
    uint64_t first = 0;
    uint64_t last = 0;
    friend bool operator==(const Interval&, const Interval&) = default;
  };

  EventSet() = default;

  // Cost of each: O(log actors + log intervals), plus O(intervals of the
  // actor) where an interval is inserted or removed in the middle.
  bool Contains(Dot dot) const;
  bool ContainsRun(const DotRun& run) const;
  bool IntersectsRun(const DotRun& run) const;
  void Insert(Dot dot) { InsertRun({dot.actor, dot.counter, 1}); }
  // Requires: run.first >= 1, run.count >= 1, no overflow of the counter.
  void InsertRun(const DotRun& run);
  void EraseRun(const DotRun& run);

  // Set algebra. Cost: O(intervals of both).
  void UnionWith(const EventSet& other);
  void Subtract(const EventSet& other);
  EventSet Minus(const EventSet& other) const;
  EventSet Intersect(const EventSet& other) const;
  bool IsSubsetOf(const EventSet& other) const;

  bool empty() const { return intervals_.empty(); }
  size_t actor_count() const { return intervals_.size(); }
  size_t interval_count() const;
  uint64_t dot_count() const;
  // The events of one actor alone.
  EventSet OfActor(ActorId actor) const;

  // Visits maximal runs in (actor, counter) order; stops when `visit` returns
  // false.
  void ForEachRun(absl::FunctionRef<bool(const DotRun&)> visit) const;

  // Grammar: docs/formats.md, "event set". Decode refuses anything that is not
  // the one canonical encoding. Errors: InvalidArgument with the byte offset.
  void AppendTo(Writer& out) const;
  static absl::StatusOr<EventSet> ReadFrom(Reader& in);
  std::string Encode() const;
  static absl::StatusOr<EventSet> Decode(absl::string_view bytes);

  friend bool operator==(const EventSet&, const EventSet&) = default;

 private:
  // Invariant: every vector is non-empty, sorted, and neighbours are at least
  // two counters apart.
  std::map<ActorId, std::vector<Interval>> intervals_;
};

// Any set of dots that can answer "is this dot covered?": what the causal join
// needs of a context.
template <class T>
concept DotCover = requires(const T& cover, Dot dot) {
  { cover.Contains(dot) } -> std::same_as<bool>;
};

// The context of a partition replica: E, the events applied here, and X, the
// dots known to be superseded whose events have not been applied. The join
// looks at E ∪ X; synchronisation looks at E alone. One set for both loses
// data: docs/ARCHITECTURE.md, "Two sets".
struct Context {
  EventSet applied;     // E
  EventSet superseded;  // X, disjoint from E
  bool Contains(Dot dot) const {
    return applied.Contains(dot) || superseded.Contains(dot);
  }
  friend bool operator==(const Context&, const Context&) = default;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_EVENT_SET_H_
