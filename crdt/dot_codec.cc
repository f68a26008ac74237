#include "crdt/dot_codec.h"

namespace dovetail::crdt {

ActorId ReadActor(Reader& in) {
  const uint64_t bits = in.Fixed64();
  if (bits >> 62 == 3) in.Fail("actor of an unknown kind");
  return ActorId{bits};
}

void AppendDot(Writer& out, Dot dot) {
  AppendActor(out, dot.actor);
  out.Varint(dot.counter);
}

Dot ReadDot(Reader& in) {
  Dot dot;
  dot.actor = ReadActor(in);
  dot.counter = in.Varint();
  if (in.ok() && dot.counter == 0) in.Fail("dot with counter 0");
  return dot;
}

void AppendDots(Writer& out, const std::vector<Dot>& dots) {
  out.Varint(dots.size());
  for (const Dot dot : dots) AppendDot(out, dot);
}

std::vector<Dot> ReadDots(Reader& in) {
  std::vector<Dot> dots;
  const size_t count = in.Count(kDotBytesMin);
  dots.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Dot dot = ReadDot(in);
    if (!in.ok()) return {};
    if (!dots.empty() && !(dots.back() < dot)) {
      in.Fail("dots are not in ascending order");
      return {};
    }
    dots.push_back(dot);
  }
  return dots;
}

}  // namespace dovetail::crdt
