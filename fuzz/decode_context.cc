// Bytes of a peer as an event set: refused, or the one encoding of what they
// say. Two of them (the input is cut at the place its first byte names) obey
// the algebra of sets.
#include <algorithm>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "crdt/event_set.h"
#include "tests/crdt/canonical.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using dovetail::crdt::EventSet;
  using dovetail::crdt::model::IsCanonical;
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data + 1),
                                size - 1);
  const size_t cut = std::min<size_t>(data[0], bytes.size());
  const auto a = EventSet::Decode(bytes.substr(0, cut));
  if (a.ok()) DOVETAIL_CHECK(a->Encode() == bytes.substr(0, cut));
  const auto b = EventSet::Decode(bytes.substr(cut));
  if (b.ok()) DOVETAIL_CHECK(b->Encode() == bytes.substr(cut));
  if (!a.ok() || !b.ok()) return 0;
  DOVETAIL_CHECK(IsCanonical(*a) && IsCanonical(*b));

  EventSet both = *a;
  both.UnionWith(*b);
  EventSet again = *b;
  again.UnionWith(*a);
  DOVETAIL_CHECK(both == again);
  DOVETAIL_CHECK(a->IsSubsetOf(both) && b->IsSubsetOf(both));
  const EventSet common = a->Intersect(*b);
  DOVETAIL_CHECK(common == b->Intersect(*a));
  DOVETAIL_CHECK(common.IsSubsetOf(*a) && common.IsSubsetOf(*b));
  const EventSet rest = a->Minus(*b);
  DOVETAIL_CHECK(rest.Intersect(*b).empty());
  EventSet whole = rest;
  whole.UnionWith(common);
  DOVETAIL_CHECK(whole == *a);
  DOVETAIL_CHECK(rest.empty() == a->IsSubsetOf(*b));
  EventSet less = both;
  less.Subtract(*b);
  DOVETAIL_CHECK(less == rest);
  const auto decoded = EventSet::Decode(both.Encode());
  DOVETAIL_CHECK(decoded.ok() && *decoded == both && IsCanonical(both));
  return 0;
}
