// What frames between nodes are made of, decoded: the small things that most
// messages have. For peer_codec_decode.cc, which says what may be thrown here
// and who catches it.
#ifndef DOVETAIL_NET_PEER_PARTS_H_
#define DOVETAIL_NET_PEER_PARTS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/dot.h"
#include "crdt/event_set.h"
#include "crdt/operation.h"
#include "crdt/type.h"
#include "net/peer.capnp.h"
#include "replica/message.h"

namespace dovetail::net::peer_parts {

// InvalidArgument.
absl::Status Malformed(absl::string_view what);

absl::string_view AsView(capnp::Data::Reader data);
absl::StatusOr<std::string> DecodeBytes(capnp::Data::Reader data,
                                        absl::string_view what,
                                        size_t bytes_max);
absl::StatusOr<std::string> DecodeText(capnp::Text::Reader text,
                                       absl::string_view what,
                                       size_t bytes_max);
absl::StatusOr<crdt::ActorId> DecodeActor(uint64_t bits);
// The result is no StatusOr<Status>: in that, an error would be a value.
absl::Status DecodeStatus(peer_wire::Status::Reader in, absl::Status& out);
absl::StatusOr<crdt::EventSet> DecodeEvents(capnp::Data::Reader in);
absl::StatusOr<replica::ReadTicket> DecodeTicket(
    peer_wire::ReadTicket::Reader in);
absl::StatusOr<crdt::Type> DecodeType(uint8_t byte);
absl::StatusOr<crdt::ObjectId> DecodeObject(peer_wire::Object::Reader in);

}  // namespace dovetail::net::peer_parts

#endif  // DOVETAIL_NET_PEER_PARTS_H_
