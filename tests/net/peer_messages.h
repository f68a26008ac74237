// What tests of the codec between nodes share: messages there and back, and
// messages that are spoilt on the way.
#ifndef DOVETAIL_TESTS_NET_PEER_MESSAGES_H_
#define DOVETAIL_TESTS_NET_PEER_MESSAGES_H_

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "net/peer.capnp.h"
#include "net/peer_codec.h"

namespace dovetail::net {

using replica::Message;

inline constexpr uint32_t kQ = 256;

inline FrameWords Cut(const std::string& wire) {
  FrameParser parser(kPeerFrameBytesMax);
  absl::string_view in = wire;
  auto frame = parser.Next(in);
  REQUIRE(frame.ok());
  REQUIRE(frame->has_value());
  REQUIRE(in.empty());
  return **std::move(frame);
}

inline std::string Encoded(const std::vector<Message>& messages) {
  std::vector<const Message*> pointers;
  for (const Message& message : messages) pointers.push_back(&message);
  auto wire = EncodeMessages(pointers);
  REQUIRE(wire.ok());
  return *std::move(wire);
}

// Decodes what `message` encodes to, and checks that nothing is lost.
inline Message RoundTrip(const Message& message) {
  const std::string wire = Encoded({message});
  auto frame = DecodePeerFrame(Cut(wire), kQ);
  REQUIRE_MESSAGE(frame.ok(), frame.status().ToString());
  auto& messages = std::get<PeerMessages>(*frame).messages;
  REQUIRE(messages.size() == 1);
  CHECK(Encoded(messages) == wire);
  CHECK(messages[0].partition == message.partition);
  return std::move(messages[0]);
}

// The status of decoding one message that `fill` spoils.
inline absl::Status DecodeSpoilt(
    const std::function<void(peer_wire::PeerMessage::Builder)>& fill) {
  capnp::MallocMessageBuilder message;
  fill(message.initRoot<peer_wire::PeerFrame>().initMessages(1)[0]);
  const auto array = capnp::messageToFlatArray(message);
  const auto bytes = array.asChars();
  return DecodePeerFrame(Cut(std::string(bytes.begin(), bytes.size())), kQ)
      .status();
}

using Spoil = std::function<void(peer_wire::PeerMessage::Builder)>;

inline kj::ArrayPtr<const kj::byte> Bytes(const char* text) {
  return kj::StringPtr(text).asBytes();
}

inline void CheckRefused(
    const std::vector<std::pair<const char*, Spoil>>& cases) {
  for (const auto& [expected, spoil] : cases) {
    const absl::Status status = DecodeSpoilt(spoil);
    CHECK_MESSAGE(status.code() == absl::StatusCode::kInvalidArgument,
                  std::string(expected));
    CHECK_MESSAGE(status.message().find(expected) != absl::string_view::npos,
                  status.ToString());
  }
}

}  // namespace dovetail::net

#endif  // DOVETAIL_TESTS_NET_PEER_MESSAGES_H_
