// The messages of membership, and their bytes.
//
//   message  = version kind body count(rumors) rumor*
//   Ping     = varint seq, id target
//   PingReq  = varint seq, id target        "ping it for me"
//   Ack      = varint seq                   also relayed by who was asked to
//   Nack     = varint seq                   "I am here, but it did not answer"
//   Compare  = hash view, config            first step of a full exchange
//   StateRequest, StateReply = config, count(rows), rumor*   ids ascending
//   config   = varint epoch, hash
//   rumor    = id, varint incarnation, byte state | 0x80 if it has an info,
//              [suspect: count(accusers), id* ascending],
//              [info: bytes name, peer address, client address, zone, region,
//               payload]
//   id, each half of a hash = fixed64
//
// Primitives: crdt/codec.h. Equal messages have equal bytes; all else is
// refused. Who sent a message is not in it: the link knows.
#ifndef DOVETAIL_REPLICA_GOSSIP_MESSAGE_H_
#define DOVETAIL_REPLICA_GOSSIP_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/member.h"

namespace dovetail::replica {

inline constexpr uint8_t kGossipVersion = 1;
// Of a name, an address, a zone, a region.
inline constexpr size_t kMemberTextBytesMax = 255;
inline constexpr size_t kMemberPayloadBytesMax = 256;
inline constexpr size_t kRumorsMax = 256;
// Room above it lets a refutation be larger than any incarnation heard of.
inline constexpr uint64_t kIncarnationMax = uint64_t{1} << 62;

struct Ping {
  uint64_t seq = 0;
  NodeId target{};  // a link to a reused address is found out by it
  friend bool operator==(const Ping&, const Ping&) = default;
};
struct PingReq {
  uint64_t seq = 0;
  NodeId target{};
  friend bool operator==(const PingReq&, const PingReq&) = default;
};
struct PingAck {
  uint64_t seq = 0;
  friend bool operator==(const PingAck&, const PingAck&) = default;
};
struct PingNack {
  uint64_t seq = 0;
  friend bool operator==(const PingNack&, const PingNack&) = default;
};
struct Compare {
  Hash128 view;  // MemberTable::Digest
  ConfigDigest config;
  friend bool operator==(const Compare&, const Compare&) = default;
};
struct StateRequest {
  ConfigDigest config;
  std::vector<Rumor> rows;
  friend bool operator==(const StateRequest&, const StateRequest&) = default;
};
struct StateReply {
  ConfigDigest config;
  std::vector<Rumor> rows;  // none: the views were equal
  friend bool operator==(const StateReply&, const StateReply&) = default;
};

using GossipBody = std::variant<Ping, PingReq, PingAck, PingNack, Compare,
                                StateRequest, StateReply>;

struct GossipMessage {
  GossipBody body;
  std::vector<Rumor> rumors;  // piggybacked
  friend bool operator==(const GossipMessage&, const GossipMessage&) = default;
};

std::string EncodeGossip(const GossipMessage& message);
// Returns: InvalidArgument for anything that EncodeGossip does not make.
absl::StatusOr<GossipMessage> DecodeGossip(absl::string_view bytes);

// What `rumor` adds to a message.
size_t EncodedBytes(const Rumor& rumor);

// InvalidArgument, naming the field, for an info that no message can carry.
absl::Status CheckInfo(const MemberInfo& info);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_GOSSIP_MESSAGE_H_
