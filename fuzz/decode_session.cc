// Bytes of a client as a session token: refused, or the one encoding of what
// they say. Two of them (the input is cut at the place its first byte names)
// unite to one that both fit into.
#include <algorithm>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "replica/session_token.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using dovetail::replica::SessionToken;
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data + 1),
                                size - 1);
  const size_t cut = std::min<size_t>(data[0], bytes.size());
  const auto a = SessionToken::Decode(bytes.substr(0, cut));
  if (a.ok()) DOVETAIL_CHECK(a->Encode() == bytes.substr(0, cut));
  const auto b = SessionToken::Decode(bytes.substr(cut));
  if (b.ok()) DOVETAIL_CHECK(b->Encode() == bytes.substr(cut));
  if (!a.ok() || !b.ok()) return 0;
  DOVETAIL_CHECK(a->partitions != 0 || *a == SessionToken{});
  if (!a->CheckFits(b->partition, b->partitions).ok() ||
      (b->partitions == 0 && a->partitions != 0)) {
    return 0;
  }
  SessionToken both = *a;
  both.MergeFrom(*b);
  SessionToken again = *b;
  again.MergeFrom(*a);
  DOVETAIL_CHECK(both == again);
  DOVETAIL_CHECK(a->events.IsSubsetOf(both.events));
  DOVETAIL_CHECK(b->events.IsSubsetOf(both.events));
  DOVETAIL_CHECK(a->stamp <= both.stamp && b->stamp <= both.stamp);
  const auto decoded = SessionToken::Decode(both.Encode());
  DOVETAIL_CHECK(decoded.ok() && *decoded == both);
  return 0;
}
