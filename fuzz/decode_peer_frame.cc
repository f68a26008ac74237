// Any frame from a peer decodes or is refused. What decodes can be encoded
// again, and then decodes to the same bytes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "crdt/check.h"
#include "net/frame.h"
#include "net/peer_codec.h"

namespace {

constexpr uint32_t kPartitions = 256;

std::string Encode(const dovetail::net::PeerMessages& messages) {
  std::vector<const dovetail::replica::Message*> pointers;
  for (const auto& message : messages.messages) pointers.push_back(&message);
  auto wire = dovetail::net::EncodeMessages(pointers, messages.ring);
  DOVETAIL_CHECK(wire.ok());
  return *std::move(wire);
}

dovetail::net::FrameWords Cut(absl::string_view wire) {
  dovetail::net::FrameParser parser(dovetail::net::kPeerFrameBytesMax);
  auto frame = parser.Next(wire);
  DOVETAIL_CHECK(frame.ok());
  DOVETAIL_CHECK(frame->has_value());
  return **std::move(frame);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::string_view wire(reinterpret_cast<const char*>(data), size);
  dovetail::net::FrameParser parser(dovetail::net::kPeerFrameBytesMax);
  while (true) {
    auto frame = parser.Next(wire);
    if (!frame.ok() || !frame->has_value()) return 0;
    auto decoded = dovetail::net::DecodePeerFrame(**frame, kPartitions);
    if (!decoded.ok()) continue;
    const auto* messages = std::get_if<dovetail::net::PeerMessages>(&*decoded);
    if (messages == nullptr) continue;
    const std::string once = Encode(*messages);
    auto again = dovetail::net::DecodePeerFrame(Cut(once), kPartitions);
    DOVETAIL_CHECK(again.ok());
    DOVETAIL_CHECK(Encode(std::get<dovetail::net::PeerMessages>(*again)) ==
                   once);
  }
}
