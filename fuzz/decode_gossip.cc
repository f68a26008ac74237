// Any bytes are refused, or are the only encoding of the message they decode
// to; and a node that gets that message goes on.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "replica/membership.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dovetail::replica;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto message = DecodeGossip(bytes);
  if (!message.ok()) return 0;
  DOVETAIL_CHECK(EncodeGossip(*message) == bytes);

  MemberInfo self;
  self.id = NodeId{1};
  self.name = "a";
  Membership membership({}, self, 1, 1, absl::ZeroDuration());
  for (int second = 0; second < 8; ++second) {
    const absl::Duration now = absl::Seconds(second);
    membership.HandleTimers(now);
    membership.HandleMessage(NodeId{2}, *message, now);
    for (const GossipEnvelope& envelope : membership.TakeMessages()) {
      const auto again = DecodeGossip(EncodeGossip(envelope.message));
      DOVETAIL_CHECK(again.ok());
      DOVETAIL_CHECK(*again == envelope.message);
    }
  }
  return 0;
}
