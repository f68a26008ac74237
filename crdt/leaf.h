// A leaf: the smallest thing that is stored, digested and joined by itself.
// One row of a large object, one register, one counter, one set element.
//
// All types share one shape, DotFun<Payload>; the type of the leaf says which
// alternative its payloads hold:
//
//   set gset ewflag dwflag   Unit      the dot alone says it
//   rwset                    Polarity  added or removed
//   mv                       Value
//   register                 Stamped   value with the writer's timestamp
//   counter                  Tally     joins pointwise, the others do not join
//   expiry                   Expiry    when the object expires
#ifndef DOVETAIL_CRDT_LEAF_H_
#define DOVETAIL_CRDT_LEAF_H_

#include <cstdint>
#include <map>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "crdt/dot_store.h"
#include "crdt/hlc.h"
#include "crdt/path.h"
#include "crdt/type.h"

namespace dovetail::crdt {

enum class Polarity : uint8_t { kRemoved = 0, kAdded = 1 };

struct Value {
  std::string bytes;
  friend auto operator<=>(const Value&, const Value&) = default;
};

struct Stamped {
  Timestamp stamp;
  std::string bytes;
  friend auto operator<=>(const Stamped&, const Stamped&) = default;
};

// One writer's cumulative additions and subtractions, and how much of each a
// reset has observed. Only the writer raises the first two; a reset raises
// the last two to what it saw. value = (added - reset_added) -
// (subtracted - reset_subtracted).
struct Tally {
  uint64_t added = 0;
  uint64_t subtracted = 0;
  uint64_t reset_added = 0;
  uint64_t reset_subtracted = 0;
  bool fully_reset() const {
    return added == reset_added && subtracted == reset_subtracted;
  }
  friend auto operator<=>(const Tally&, const Tally&) = default;
};

struct Expiry {
  uint64_t at_ms = 0;  // wall clock, milliseconds since 1970; never 0
  friend auto operator<=>(const Expiry&, const Expiry&) = default;
};

using Payload = std::variant<Unit, Polarity, Value, Stamped, Tally, Expiry>;

// Tallies join by pointwise maximum. Every other payload belongs to its dot
// for good: two different ones under one dot are dot reuse, and false.
bool JoinPayload(Payload& mine, const Payload& theirs);

using Leaf = DotFun<Payload>;
// A whole object (or the part of it that a delta or a reply carries).
using Store = DotMap<Path, Leaf>;

// Whether `payload` holds the alternative of `leaf_type`'s leaves.
bool PayloadMatches(Type leaf_type, const Payload& payload);

// Whether a reader can see this leaf: an element that is in its set, a flag
// written, a register or a counter that is there. A remove-wins element with a
// removal, a counter entry that is wholly reset and when an object expires are
// rows, yet not visible.
bool IsVisible(Type leaf_type, const Leaf& leaf);

// Grammar: docs/formats.md, "leaf". A leaf without entries is not encodable.
void AppendLeaf(Writer& out, Type leaf_type, const Leaf& leaf);
// Fails the reader on anything that is not canonical or over a limit.
Leaf ReadLeaf(Reader& in, Type leaf_type);
// The same where no entries are a possibility (in a delta).
void AppendEntries(Writer& out, Type leaf_type, const Leaf& leaf);
Leaf ReadEntries(Reader& in, Type leaf_type);
// At least what AppendPayload appends.
size_t PayloadBytesMax(const Payload& payload);
// One payload alone, as it stands inside a leaf.
void AppendPayload(Writer& out, const Payload& payload);
Payload ReadPayload(Reader& in, Type leaf_type);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_LEAF_H_
