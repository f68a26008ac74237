// Dots as bytes, for the encodings of leaves, deltas and tokens.
//
//   actor = fixed64, its kind one of ActorKind
//   dot   = actor, counter:varint >= 1
//   dots  = count:varint, dot..., strictly ascending
#ifndef DOVETAIL_CRDT_DOT_CODEC_H_
#define DOVETAIL_CRDT_DOT_CODEC_H_

#include <vector>

#include "crdt/codec.h"
#include "crdt/dot.h"

namespace dovetail::crdt {

// The shortest encoded dot: what a count of dots is checked against.
inline constexpr size_t kDotBytesMin = 9;
// The longest: for bounds on the size of what is yet to be encoded.
inline constexpr size_t kDotBytesMax = 18;

// Each read fails the reader on anything that the grammar does not allow.
inline void AppendActor(Writer& out, ActorId actor) {
  out.Fixed64(ActorBits(actor));
}
ActorId ReadActor(Reader& in);

void AppendDot(Writer& out, Dot dot);
Dot ReadDot(Reader& in);

// Requires: `dots` strictly ascending.
void AppendDots(Writer& out, const std::vector<Dot>& dots);
std::vector<Dot> ReadDots(Reader& in);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_DOT_CODEC_H_
