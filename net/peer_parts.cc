#include "net/peer_parts.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "crdt/limits.h"
#include "net/peer_codec.h"

namespace dovetail::net::peer_parts {

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("peer frame: ", what));
}

absl::string_view AsView(capnp::Data::Reader data) {
  return absl::string_view(reinterpret_cast<const char*>(data.begin()),
                           data.size());
}

absl::StatusOr<std::string> DecodeBytes(capnp::Data::Reader data,
                                        absl::string_view what,
                                        size_t bytes_max) {
  if (data.size() > bytes_max) {
    return Malformed(absl::StrCat(what, " of ", data.size(),
                                  " bytes; the limit is ", bytes_max));
  }
  return std::string(AsView(data));
}

absl::StatusOr<std::string> DecodeText(capnp::Text::Reader text,
                                       absl::string_view what,
                                       size_t bytes_max) {
  return DecodeBytes(text.asBytes(), what, bytes_max);
}

absl::StatusOr<crdt::ActorId> DecodeActor(uint64_t bits) {
  if ((bits >> 62) > static_cast<uint64_t>(crdt::ActorKind::kSession)) {
    return Malformed("an actor of an unknown kind");
  }
  return crdt::ActorId{bits};
}

absl::Status DecodeStatus(peer_wire::Status::Reader in, absl::Status& out) {
  const auto code = static_cast<absl::StatusCode>(in.getCode());
  DOVETAIL_ASSIGN_OR_RETURN(
      std::string text,
      DecodeText(in.getText(), "the text of a status", kStatusBytesMax));
  switch (code) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
      out = absl::Status(code, text);
      return absl::OkStatus();
    default:  // the codes that are not ours, and numbers that are no code
      return Malformed(absl::StrCat("unknown status code ", in.getCode()));
  }
}

absl::StatusOr<crdt::EventSet> DecodeEvents(capnp::Data::Reader in) {
  auto events = crdt::EventSet::Decode(AsView(in));
  if (!events.ok()) return Malformed(events.status().message());
  return events;
}

absl::StatusOr<replica::ReadTicket> DecodeTicket(
    peer_wire::ReadTicket::Reader in) {
  replica::ReadTicket ticket;
  DOVETAIL_ASSIGN_OR_RETURN(ticket.incarnation,
                            DecodeActor(in.getIncarnation()));
  ticket.sequence = in.getSequence();
  return ticket;
}

absl::StatusOr<crdt::Type> DecodeType(uint8_t byte) {
  const auto type = crdt::TypeFromByte(byte);
  if (!type) return Malformed(absl::StrCat("unknown type ", byte));
  return *type;
}

absl::StatusOr<crdt::ObjectId> DecodeObject(peer_wire::Object::Reader in) {
  crdt::ObjectId object;
  DOVETAIL_ASSIGN_OR_RETURN(
      object.bucket,
      DecodeBytes(in.getBucket(), "a bucket", crdt::kBucketBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      object.key, DecodeBytes(in.getKey(), "a key", crdt::kKeyBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(object.type, DecodeType(in.getType()));
  return object;
}

}  // namespace dovetail::net::peer_parts
