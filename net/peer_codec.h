// The frames between nodes: replica::Message to bytes and back.
//
// What comes from a peer is checked as if it came from anybody: a frame decodes
// as a whole or not at all, every number is in its range and every size under
// its limit when the replica sees it, and no exception leaves. Two things are
// left to who can judge them: deltas are decoded where they are applied, and
// whether the paths of a page are leaf paths is known only with the object that
// was read (crdt::ParseLeafPath).
#ifndef DOVETAIL_NET_PEER_CODEC_H_
#define DOVETAIL_NET_PEER_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "crdt/dot.h"
#include "net/frame.h"
#include "replica/cluster.h"
#include "replica/ids.h"
#include "replica/message.h"
#include "replica/node_load.h"
#include "replica/ring_stamp.h"

namespace dovetail::net {

// Raised when nodes of two versions could misunderstand each other.
inline constexpr uint32_t kPeerProtocol = 6;

// How a node introduces itself on a connection between nodes.
struct PeerHello {
  uint32_t protocol = kPeerProtocol;
  std::string cluster;
  replica::NodeId node{};
  uint32_t partitions = 0;      // Q
  crdt::ActorId incarnation{};  // of this start of the process
  std::string name;             // `node` is its hash
  std::string peer_address;     // HOST:PORT for the other nodes
  std::string client_address;   // and for clients
  std::string zone;
  std::string region;
  bool expands = true;  // it understands PeerCompressed
  friend bool operator==(const PeerHello&, const PeerHello&) = default;
};
struct PeerRefusal {
  std::string reason;
  friend bool operator==(const PeerRefusal&, const PeerRefusal&) = default;
};
struct PeerKeepalive {
  std::optional<replica::NodeLoad> load;  // of the sender, if it says
  friend bool operator==(const PeerKeepalive&, const PeerKeepalive&) = default;
};
struct PeerMessages {
  std::vector<replica::Message> messages;
  // The ring that placed them; epoch 0: the sender did not say.
  replica::RingStamp ring;
};
// What Cluster (replica/cluster.h) has to say; its bytes are decoded there.
struct PeerGossip {
  replica::ClusterEnvelope::Kind kind{};
  std::string bytes;
  friend bool operator==(const PeerGossip&, const PeerGossip&) = default;
};
// A batch for an Expander (compression.h), of frames, cut anywhere.
struct PeerCompressed {
  std::string bytes;
  friend bool operator==(const PeerCompressed&,
                         const PeerCompressed&) = default;
};
using PeerFrame = std::variant<PeerHello, PeerRefusal, PeerMessages,
                               PeerKeepalive, PeerGossip, PeerCompressed>;

inline constexpr size_t kClusterNameBytesMax = 256;
inline constexpr size_t kAddressBytesMax = 300;
// The text of a status or a refusal; what is longer is cut where it is sent.
inline constexpr size_t kStatusBytesMax = 4 << 10;

std::string EncodeHello(const PeerHello& hello);
std::string EncodeRefusal(const PeerRefusal& refusal);
std::string EncodeKeepalive(const PeerKeepalive& keepalive);

std::string EncodeCompressed(absl::string_view batch);

// Errors of both: ResourceExhausted if it is over kPeerFrameBytesMax.
absl::StatusOr<std::string> EncodeGossip(const PeerGossip& gossip);
// One frame of all `messages`, in order. Requires: at least one.
absl::StatusOr<std::string> EncodeMessages(
    absl::Span<const replica::Message* const> messages,
    const replica::RingStamp& ring = {});

// About how many bytes `message` takes in a frame, for cutting frames.
size_t EstimateBytes(const replica::Message& message);

// Requires: `frame` comes from a FrameParser. `partitions` is Q.
// Errors: InvalidArgument. Cost: O(bytes).
absl::StatusOr<PeerFrame> DecodePeerFrame(const FrameWords& frame,
                                          uint32_t partitions);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_PEER_CODEC_H_
