// Cuts what a turn says to other nodes into frames.
#ifndef DOVETAIL_NET_CUT_FRAMES_H_
#define DOVETAIL_NET_CUT_FRAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "replica/ids.h"
#include "replica/message.h"
#include "replica/ring_stamp.h"

namespace dovetail::net {

// One frame to a peer: EncodeMessages().
struct OutgoingFrame {
  replica::NodeId to{};
  std::string bytes;
};

// One series of frames for each peer, in order. `ring` placed the messages.
// Counts what could not be encoded in `unsent`.
std::vector<OutgoingFrame> CutFrames(
    const std::vector<replica::Envelope>& messages,
    const replica::RingStamp& ring, uint64_t& unsent);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_CUT_FRAMES_H_
