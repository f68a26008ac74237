#include "net/cut_frames.h"

#include <algorithm>
#include <utility>

#include "net/frame.h"
#include "net/peer_codec.h"

namespace dovetail::net {
namespace {

// Frames to a peer are cut near this size: large enough to share the cost, far
// below the limit, so that an estimate that is somewhat off does no harm.
constexpr size_t kFrameBytesTarget = 1 << 20;
static_assert(4 * kFrameBytesTarget <= kPeerFrameBytesMax);

}  // namespace

std::vector<OutgoingFrame> CutFrames(
    const std::vector<replica::Envelope>& messages,
    const replica::RingStamp& ring, uint64_t& unsent) {
  struct Open {
    replica::NodeId to{};
    size_t bytes = 0;
    std::vector<const replica::Message*> messages;
  };
  std::vector<OutgoingFrame> frames;
  std::vector<Open> open;
  const auto close = [&](Open& frame) {
    if (frame.messages.empty()) return;
    auto bytes = EncodeMessages(frame.messages, ring);
    if (bytes.ok()) {
      frames.push_back({frame.to, *std::move(bytes)});
    } else {
      unsent += frame.messages.size();
    }
    frame.messages.clear();
    frame.bytes = 0;
  };
  for (const replica::Envelope& envelope : messages) {
    auto it = std::find_if(open.begin(), open.end(), [&](const Open& frame) {
      return frame.to == envelope.to;
    });
    if (it == open.end()) it = open.insert(open.end(), {envelope.to, 0, {}});
    const size_t bytes = EstimateBytes(envelope.message);
    if (it->bytes + bytes > kFrameBytesTarget) close(*it);
    it->messages.push_back(&envelope.message);
    it->bytes += bytes;
  }
  for (Open& frame : open) close(frame);
  return frames;
}

}  // namespace dovetail::net
