// A dot names one event: the counter-th event of one actor in one partition.
//
// An actor is one incarnation of one writer: a process start of a node, or one
// life of an edge replica's storage. Actors are random and never reused, so a
// dot never names two events, whatever crashes, restores or copies of disks
// happen (docs/ARCHITECTURE.md, "Identity").
#ifndef DOVETAIL_CRDT_DOT_H_
#define DOVETAIL_CRDT_DOT_H_

#include <compare>
#include <cstdint>
#include <string>

namespace dovetail::crdt {

// 64 bits: 2 for the kind of the writer, 62 random ones. A strong type, so
// that a counter is never passed where an actor is meant.
enum class ActorId : uint64_t {};

// The kind of writer in the two top bits of an ActorId.
enum class ActorKind : uint8_t { kNode = 0, kEdge = 1, kSession = 2 };

constexpr ActorId MakeActorId(ActorKind kind, uint64_t random_bits) {
  return ActorId{(static_cast<uint64_t>(kind) << 62) |
                 (random_bits & ((uint64_t{1} << 62) - 1))};
}
constexpr ActorKind KindOf(ActorId actor) {
  return static_cast<ActorKind>(static_cast<uint64_t>(actor) >> 62);
}
constexpr uint64_t ActorBits(ActorId actor) {
  return static_cast<uint64_t>(actor);
}

// Counters start at 1; 0 is no event.
struct Dot {
  ActorId actor{};
  uint64_t counter = 0;
  friend auto operator<=>(const Dot&, const Dot&) = default;
};

// Consecutive events [first, first + count) of one actor; count >= 1.
struct DotRun {
  ActorId actor{};
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t last() const { return first + count - 1; }
  bool Contains(Dot dot) const {
    return dot.actor == actor && dot.counter >= first &&
           dot.counter - first < count;
  }
  friend auto operator<=>(const DotRun&, const DotRun&) = default;
};

// "3f2a…:17", hexadecimal actor and decimal counter; for logs and errors.
std::string ToString(Dot dot);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_DOT_H_
