// The decoding half of peer_codec.h. Readers below may throw on a pointer that
// leads nowhere; DecodePeerFrame is the one place that catches it. Nothing is
// reserved for a length that was only announced: a list of empty structs costs
// its sender nothing.
#include <capnp/serialize.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/leaf.h"
#include "crdt/limits.h"
#include "crdt/operation.h"
#include "crdt/path.h"
#include "net/client_codec.h"
#include "net/peer.capnp.h"
#include "net/peer_codec.h"
#include "net/peer_parts.h"

namespace dovetail::net {
namespace {

using peer_parts::AsView;
using peer_parts::DecodeActor;
using peer_parts::DecodeBytes;
using peer_parts::DecodeEvents;
using peer_parts::DecodeObject;
using peer_parts::DecodeStatus;
using peer_parts::DecodeText;
using peer_parts::DecodeTicket;
using peer_parts::DecodeType;
using peer_parts::Malformed;
using replica::Message;

// A frame has at most 8 levels (frame, messages, message, page, leaves, leaf,
// path); 16 leaves room for fields to come.
// As deep as a client's request or a view may be, and what stands around it.
constexpr int kPeerNestingMax = 64;
absl::StatusOr<crdt::DotRun> DecodeRun(peer_wire::DotRun::Reader in) {
  crdt::DotRun run;
  DOVETAIL_ASSIGN_OR_RETURN(run.actor, DecodeActor(in.getActor()));
  run.first = in.getFirst();
  run.count = in.getCount();
  if (run.first == 0 || run.count == 0 ||
      run.count - 1 > std::numeric_limits<uint64_t>::max() - run.first) {
    return Malformed("a run of events that is empty or has no end");
  }
  return run;
}

absl::StatusOr<std::string> DecodeDelta(capnp::Data::Reader in) {
  if (in.size() == 0) return Malformed("an empty delta");
  return DecodeBytes(in, "a delta", crdt::kDeltaBytesMax);
}

absl::StatusOr<crdt::Field> DecodeField(peer_wire::Field::Reader in) {
  crdt::Field field;
  DOVETAIL_ASSIGN_OR_RETURN(
      field.name, DecodeBytes(in.getName(), "a field", crdt::kFieldBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(field.type, DecodeType(in.getType()));
  return field;
}

absl::StatusOr<crdt::ReadSpec> DecodeSpec(peer_wire::ReadSpec::Reader in) {
  crdt::ReadSpec spec;
  DOVETAIL_ASSIGN_OR_RETURN(
      spec.object.bucket,
      DecodeBytes(in.getBucket(), "a bucket", crdt::kBucketBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      spec.object.key, DecodeBytes(in.getKey(), "a key", crdt::kKeyBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(spec.object.type, DecodeType(in.getType()));
  if (in.getFields().size() > crdt::kNestingMax) {
    return Malformed(absl::StrCat("a path of ", in.getFields().size(),
                                  " fields; the limit is ", crdt::kNestingMax));
  }
  for (const auto field : in.getFields()) {
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Field decoded, DecodeField(field));
    spec.fields.push_back(std::move(decoded));
  }
  if (in.getElement().isSome()) {
    DOVETAIL_ASSIGN_OR_RETURN(
        spec.element, DecodeBytes(in.getElement().getSome(), "an element",
                                  crdt::kElementBytesMax));
  }
  if (in.getAfterElement().isSome()) {
    DOVETAIL_ASSIGN_OR_RETURN(
        spec.after_element, DecodeBytes(in.getAfterElement().getSome(),
                                        "an element", crdt::kElementBytesMax));
  }
  if (in.getAfterField().isSome()) {
    DOVETAIL_ASSIGN_OR_RETURN(spec.after_field,
                              DecodeField(in.getAfterField().getSome()));
  }
  spec.limit = in.getLimit();
  spec.want_token = in.getWantToken();
  const absl::Status valid = crdt::ValidateTarget(spec.object, spec.fields);
  if (!valid.ok()) return Malformed(valid.message());
  return spec;
}

absl::StatusOr<crdt::Leaf> DecodeLeaf(peer_wire::PageLeaf::Reader in) {
  crdt::Type type = crdt::Type::kExpiry;
  if (in.getType() != static_cast<uint8_t>(type)) {
    DOVETAIL_ASSIGN_OR_RETURN(type, DecodeType(in.getType()));
  }
  if (type == crdt::Type::kMap) return Malformed("a leaf of a map");
  crdt::Reader reader(AsView(in.getLeaf()));
  crdt::Leaf leaf = crdt::ReadLeaf(reader, type);
  const absl::Status status = reader.Finish();
  if (!status.ok()) return Malformed(status.message());
  return leaf;
}

absl::StatusOr<crdt::LeafPage> DecodePage(peer_wire::LeafPage::Reader in) {
  crdt::LeafPage page;
  std::optional<crdt::Path> previous;
  for (const auto entry : in.getLeaves()) {
    DOVETAIL_ASSIGN_OR_RETURN(
        std::string bytes,
        DecodeBytes(entry.getPath(), "a path", crdt::kPathBytesMax));
    const crdt::Path path = crdt::Path::FromTrustedBytes(std::move(bytes));
    if (previous && !(*previous < path)) {
      return Malformed("leaves that are not in ascending order");
    }
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Leaf leaf, DecodeLeaf(entry));
    page.leaves.Set(path, std::move(leaf));
    previous = path;
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      std::string end, DecodeBytes(in.getEnd(), "a path", crdt::kPathBytesMax));
  page.end = crdt::Path::FromTrustedBytes(std::move(end));
  page.truncated = in.getTruncated();
  return page;
}

absl::StatusOr<replica::Refuse> DecodeRefuse(
    peer_wire::PeerMessage::Refuse::Reader in) {
  replica::Refuse refuse;
  DOVETAIL_ASSIGN_OR_RETURN(refuse.events, DecodeRun(in.getEvents()));
  DOVETAIL_RETURN_IF_ERROR(DecodeStatus(in.getReason(), refuse.reason));
  if (refuse.reason.ok()) return Malformed("a refusal without a reason");
  return refuse;
}

absl::StatusOr<replica::Standing> DecodeStanding(uint8_t byte) {
  if (byte > static_cast<uint8_t>(replica::Standing::kPartial)) {
    return Malformed("a standing that there is none of");
  }
  return static_cast<replica::Standing>(byte);
}

template <class Body>
replica::RingStamp DecodeRing(Body in) {
  return {in.getEpoch(), {in.getRingHigh(), in.getRingLow()}};
}

absl::StatusOr<replica::Summary> DecodeSummary(
    peer_wire::PeerMessage::Summary::Reader in) {
  replica::Summary summary;
  DOVETAIL_ASSIGN_OR_RETURN(summary.applied, DecodeEvents(in.getApplied()));
  DOVETAIL_ASSIGN_OR_RETURN(summary.durable, DecodeEvents(in.getDurable()));
  if (!summary.durable.IsSubsetOf(summary.applied)) {
    return Malformed("a summary with durable events that are not applied");
  }
  summary.answer = in.getAnswer();
  summary.periodic = in.getPeriodic();
  summary.pull = in.getPull();
  summary.ring = DecodeRing(in);
  summary.state = {in.getStateHigh(), in.getStateLow()};
  DOVETAIL_ASSIGN_OR_RETURN(summary.standing, DecodeStanding(in.getStanding()));
  if (in.getWallMs() > crdt::kExpiresMsMax) {
    return Malformed("a clock that cannot be");
  }
  summary.wall_ms = in.getWallMs();
  return summary;
}

absl::StatusOr<replica::SyncDeltas> DecodeSyncDeltas(
    peer_wire::PeerMessage::SyncDeltas::Reader in) {
  replica::SyncDeltas sync;
  for (const auto delta : in.getDeltas()) {
    DOVETAIL_ASSIGN_OR_RETURN(std::string bytes, DecodeDelta(delta));
    sync.deltas.push_back(std::move(bytes));
  }
  sync.more = in.getMore();
  if (in.hasUnlogged()) {
    DOVETAIL_ASSIGN_OR_RETURN(sync.unlogged, DecodeEvents(in.getUnlogged()));
  }
  return sync;
}

absl::StatusOr<replica::RangeQuery> DecodeRangeQuery(
    peer_wire::PeerMessage::RangeQuery::Reader in) {
  replica::RangeQuery query;
  DOVETAIL_ASSIGN_OR_RETURN(query.ticket, DecodeTicket(in.getTicket()));
  query.salt = in.getSalt();
  query.context_print = in.getContextPrint();
  DOVETAIL_ASSIGN_OR_RETURN(query.asks,
                            replica::DecodeRangeAsks(AsView(in.getAsks())));
  return query;
}

absl::StatusOr<replica::RangeAnswer> DecodeRangeAnswer(
    peer_wire::PeerMessage::RangeAnswer::Reader in) {
  replica::RangeAnswer answer;
  DOVETAIL_ASSIGN_OR_RETURN(answer.ticket, DecodeTicket(in.getTicket()));
  DOVETAIL_RETURN_IF_ERROR(DecodeStatus(in.getStatus(), answer.status));
  if (!answer.status.ok()) return answer;
  answer.context_same = !in.hasApplied() && !in.hasSuperseded();
  if (!answer.context_same) {
    DOVETAIL_ASSIGN_OR_RETURN(answer.context.applied,
                              DecodeEvents(in.getApplied()));
    DOVETAIL_ASSIGN_OR_RETURN(answer.context.superseded,
                              DecodeEvents(in.getSuperseded()));
    if (!answer.context.applied.Intersect(answer.context.superseded).empty()) {
      return Malformed("a context that contradicts itself");
    }
  }
  if (in.hasAhead()) {
    DOVETAIL_ASSIGN_OR_RETURN(answer.ahead, DecodeEvents(in.getAhead()));
  }
  DOVETAIL_ASSIGN_OR_RETURN(answer.parts,
                            replica::DecodeRangeParts(AsView(in.getParts())));
  return answer;
}

absl::StatusOr<replica::ReadAnswer> DecodeReadAnswer(
    peer_wire::PeerMessage::ReadAnswer::Reader in) {
  replica::ReadAnswer answer;
  DOVETAIL_ASSIGN_OR_RETURN(answer.ticket, DecodeTicket(in.getTicket()));
  DOVETAIL_RETURN_IF_ERROR(DecodeStatus(in.getStatus(), answer.status));
  answer.same = in.getSame();
  answer.ring = DecodeRing(in);
  if (!answer.status.ok()) return answer;
  DOVETAIL_ASSIGN_OR_RETURN(answer.standing, DecodeStanding(in.getStanding()));
  if (!answer.same) {
    DOVETAIL_ASSIGN_OR_RETURN(answer.page, DecodePage(in.getPage()));
  } else if (!in.hasApplied() && !in.hasSuperseded()) {
    return answer;
  }
  DOVETAIL_ASSIGN_OR_RETURN(answer.context.applied,
                            DecodeEvents(in.getApplied()));
  DOVETAIL_ASSIGN_OR_RETURN(answer.context.superseded,
                            DecodeEvents(in.getSuperseded()));
  return answer;
}

absl::StatusOr<replica::ListQuery> DecodeListQuery(
    peer_wire::PeerMessage::ListQuery::Reader in) {
  replica::ListQuery query;
  DOVETAIL_ASSIGN_OR_RETURN(query.ticket, DecodeTicket(in.getTicket()));
  DOVETAIL_ASSIGN_OR_RETURN(
      query.request.bucket,
      DecodeBytes(in.getBucket(), "a bucket", crdt::kBucketBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      query.request.prefix,
      DecodeBytes(in.getPrefix(), "a prefix", crdt::kKeyBytesMax));
  if (in.getAfter().isSome()) {
    DOVETAIL_ASSIGN_OR_RETURN(query.request.after,
                              DecodeObject(in.getAfter().getSome()));
  }
  query.request.limit = in.getLimit();
  if (query.request.limit == 0) return Malformed("a listing without objects");
  query.digest = {in.getDigestHigh(), in.getDigestLow()};
  return query;
}

absl::StatusOr<replica::ListAnswer> DecodeListAnswer(
    peer_wire::PeerMessage::ListAnswer::Reader in) {
  replica::ListAnswer answer;
  DOVETAIL_ASSIGN_OR_RETURN(answer.ticket, DecodeTicket(in.getTicket()));
  DOVETAIL_RETURN_IF_ERROR(DecodeStatus(in.getStatus(), answer.status));
  answer.same = in.getSame();
  if (!answer.status.ok()) return answer;
  for (const uint16_t entry : in.getUnlisted()) {
    const replica::PartitionId partition{entry};
    if (!answer.unlisted.empty() && !(answer.unlisted.back() < partition)) {
      return Malformed("partitions that are not in ascending order");
    }
    answer.unlisted.push_back(partition);
  }
  if (answer.same) return answer;
  for (const auto entry : in.getObjects()) {
    replica::Listed object;
    DOVETAIL_ASSIGN_OR_RETURN(
        object.key, DecodeBytes(entry.getKey(), "a key", crdt::kKeyBytesMax));
    DOVETAIL_ASSIGN_OR_RETURN(object.type, DecodeType(entry.getType()));
    if (!answer.objects.empty() && !(answer.objects.back() < object)) {
      return Malformed("objects that are not in ascending order");
    }
    answer.objects.push_back(std::move(object));
  }
  answer.more = in.getMore();
  return answer;
}

absl::StatusOr<replica::PresenceQuery> DecodePresenceQuery(
    peer_wire::PeerMessage::PresenceQuery::Reader in) {
  replica::PresenceQuery query;
  DOVETAIL_ASSIGN_OR_RETURN(query.ticket, DecodeTicket(in.getTicket()));
  query.place = in.getPlace();
  DOVETAIL_ASSIGN_OR_RETURN(query.object, DecodeObject(in.getObject()));
  query.required = in.getRequired();
  query.timeout = absl::Microseconds(static_cast<int64_t>(std::min<uint64_t>(
      in.getTimeoutUs(), std::numeric_limits<int64_t>::max())));
  if (in.hasSession()) {
    auto session = replica::SessionToken::Decode(AsView(in.getSession()));
    if (!session.ok()) return Malformed(session.status().message());
    query.session = *std::move(session);
  }
  return query;
}

absl::StatusOr<replica::PresenceAnswer> DecodePresenceAnswer(
    peer_wire::PeerMessage::PresenceAnswer::Reader in) {
  replica::PresenceAnswer answer;
  DOVETAIL_ASSIGN_OR_RETURN(answer.ticket, DecodeTicket(in.getTicket()));
  answer.place = in.getPlace();
  DOVETAIL_RETURN_IF_ERROR(DecodeStatus(in.getStatus(), answer.status));
  answer.present = in.getPresent();
  return answer;
}

absl::StatusOr<replica::CoverQuery> DecodeCoverQuery(
    peer_wire::PeerMessage::CoverQuery::Reader in) {
  replica::CoverQuery query;
  DOVETAIL_ASSIGN_OR_RETURN(query.ticket, DecodeTicket(in.getTicket()));
  DOVETAIL_ASSIGN_OR_RETURN(query.seen, DecodeEvents(in.getSeen()));
  return query;
}

absl::StatusOr<replica::CoverAnswer> DecodeCoverAnswer(
    peer_wire::PeerMessage::CoverAnswer::Reader in) {
  replica::CoverAnswer answer;
  DOVETAIL_ASSIGN_OR_RETURN(answer.ticket, DecodeTicket(in.getTicket()));
  // One that is none is of no session, and the listing passes over it.
  answer.partition = replica::PartitionId{in.getPartition()};
  DOVETAIL_RETURN_IF_ERROR(DecodeStatus(in.getStatus(), answer.status));
  answer.missing = in.getMissing();
  DOVETAIL_ASSIGN_OR_RETURN(answer.process, DecodeActor(in.getProcess()));
  return answer;
}

absl::StatusOr<replica::Forward> DecodeForward(
    peer_wire::PeerMessage::Forward::Reader in) {
  replica::Forward forward;
  DOVETAIL_ASSIGN_OR_RETURN(forward.ticket, DecodeTicket(in.getTicket()));
  forward.number = in.getNumber();
  DOVETAIL_ASSIGN_OR_RETURN(forward.receiver, DecodeActor(in.getReceiver()));
  DOVETAIL_ASSIGN_OR_RETURN(ExecuteCall call, DecodeExecute(in.getRequest()));
  if (forward.number == 0 || call.operations.size() != 1) {
    return Malformed("a forwarded request that is not one operation");
  }
  DOVETAIL_ASSIGN_OR_RETURN(ClientOperation operation,
                            std::move(call.operations.front()));
  forward.options = call.options;
  forward.body = std::move(operation);
  return forward;
}

absl::StatusOr<replica::Forwarded> DecodeForwarded(
    peer_wire::PeerMessage::Forwarded::Reader in) {
  replica::Forwarded forwarded;
  DOVETAIL_ASSIGN_OR_RETURN(forwarded.ticket, DecodeTicket(in.getTicket()));
  DOVETAIL_ASSIGN_OR_RETURN(std::vector<ClientResult> results,
                            DecodeResults(in.getReply()));
  if (results.size() != 1) return Malformed("a reply that is not one result");
  forwarded.reply = std::move(results.front());
  return forwarded;
}

absl::StatusOr<decltype(Message::body)> DecodeBody(
    peer_wire::PeerMessage::Reader in) {
  switch (in.which()) {
    case peer_wire::PeerMessage::REPLICATE: {
      replica::Replicate replicate;
      DOVETAIL_ASSIGN_OR_RETURN(replicate.delta,
                                DecodeDelta(in.getReplicate().getDelta()));
      replicate.sync = in.getReplicate().getSync();
      return replicate;
    }
    case peer_wire::PeerMessage::ACK: {
      replica::Ack ack;
      DOVETAIL_ASSIGN_OR_RETURN(ack.events, DecodeRun(in.getAck().getEvents()));
      ack.synced = in.getAck().getSynced();
      ack.ring = DecodeRing(in.getAck());
      return ack;
    }
    case peer_wire::PeerMessage::REFUSE:
      return DecodeRefuse(in.getRefuse());
    case peer_wire::PeerMessage::SUMMARY:
      return DecodeSummary(in.getSummary());
    case peer_wire::PeerMessage::SYNC_DELTAS:
      return DecodeSyncDeltas(in.getSyncDeltas());
    case peer_wire::PeerMessage::READ_QUERY: {
      const auto body = in.getReadQuery();
      replica::ReadQuery query;
      DOVETAIL_ASSIGN_OR_RETURN(query.ticket, DecodeTicket(body.getTicket()));
      DOVETAIL_ASSIGN_OR_RETURN(query.spec, DecodeSpec(body.getSpec()));
      query.digest = {body.getDigestHigh(), body.getDigestLow()};
      query.want_context = body.getWantContext();
      return query;
    }
    case peer_wire::PeerMessage::READ_ANSWER:
      return DecodeReadAnswer(in.getReadAnswer());
    case peer_wire::PeerMessage::LIST_QUERY:
      return DecodeListQuery(in.getListQuery());
    case peer_wire::PeerMessage::LIST_ANSWER:
      return DecodeListAnswer(in.getListAnswer());
    case peer_wire::PeerMessage::PRESENCE_QUERY:
      return DecodePresenceQuery(in.getPresenceQuery());
    case peer_wire::PeerMessage::PRESENCE_ANSWER:
      return DecodePresenceAnswer(in.getPresenceAnswer());
    case peer_wire::PeerMessage::COVER_QUERY:
      return DecodeCoverQuery(in.getCoverQuery());
    case peer_wire::PeerMessage::COVER_ANSWER:
      return DecodeCoverAnswer(in.getCoverAnswer());
    case peer_wire::PeerMessage::FORWARD:
      return DecodeForward(in.getForward());
    case peer_wire::PeerMessage::RANGE_QUERY:
      return DecodeRangeQuery(in.getRangeQuery());
    case peer_wire::PeerMessage::RANGE_ANSWER:
      return DecodeRangeAnswer(in.getRangeAnswer());
    case peer_wire::PeerMessage::FORWARDED:
      return DecodeForwarded(in.getForwarded());
  }
  return Malformed("an unknown message");
}

absl::StatusOr<std::vector<replica::Message>> DecodeMessages(
    capnp::List<peer_wire::PeerMessage>::Reader in, uint32_t partitions) {
  std::vector<replica::Message> messages;
  for (const auto entry : in) {
    if (entry.getPartition() >= partitions) {
      return Malformed(
          absl::StrCat("partition ", entry.getPartition(), " of ", partitions));
    }
    auto body = DecodeBody(entry);
    if (!body.ok()) return body.status();
    messages.push_back(
        {replica::PartitionId{entry.getPartition()}, *std::move(body)});
  }
  if (messages.empty()) return Malformed("no messages");
  return messages;
}

absl::StatusOr<PeerHello> DecodeHello(peer_wire::Hello::Reader in) {
  PeerHello hello;
  hello.protocol = in.getProtocol();
  DOVETAIL_ASSIGN_OR_RETURN(
      hello.cluster,
      DecodeText(in.getCluster(), "a cluster name", kClusterNameBytesMax));
  hello.node = replica::NodeId{in.getNode()};
  hello.partitions = in.getPartitions();
  DOVETAIL_ASSIGN_OR_RETURN(hello.incarnation,
                            DecodeActor(in.getIncarnation()));
  DOVETAIL_ASSIGN_OR_RETURN(
      hello.name,
      DecodeText(in.getName(), "a name", replica::kMemberTextBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      hello.peer_address,
      DecodeText(in.getPeerAddress(), "an address", kAddressBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      hello.client_address,
      DecodeText(in.getClientAddress(), "an address", kAddressBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      hello.zone,
      DecodeText(in.getZone(), "a zone", replica::kMemberTextBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      hello.region,
      DecodeText(in.getRegion(), "a region", replica::kMemberTextBytesMax));
  hello.expands = in.getExpands();
  return hello;
}

absl::StatusOr<PeerFrame> Decode(peer_wire::PeerFrame::Reader in,
                                 uint32_t partitions) {
  using Kind = replica::ClusterEnvelope::Kind;
  switch (in.which()) {
    case peer_wire::PeerFrame::HELLO:
      return DecodeHello(in.getHello());
    case peer_wire::PeerFrame::REFUSED: {
      PeerRefusal refusal;
      DOVETAIL_ASSIGN_OR_RETURN(
          refusal.reason,
          DecodeText(in.getRefused(), "a reason", kStatusBytesMax));
      return refusal;
    }
    case peer_wire::PeerFrame::MESSAGES: {
      PeerMessages out;
      DOVETAIL_ASSIGN_OR_RETURN(out.messages,
                                DecodeMessages(in.getMessages(), partitions));
      out.ring = {in.getRingEpoch(),
                  {in.getRingDigestHigh(), in.getRingDigestLow()}};
      return out;
    }
    case peer_wire::PeerFrame::KEEPALIVE: {
      PeerKeepalive keepalive;
      if (in.hasLoad()) {
        DOVETAIL_ASSIGN_OR_RETURN(keepalive.load, DecodeLoad(in.getLoad()));
      }
      return keepalive;
    }
    case peer_wire::PeerFrame::GOSSIP:
      return PeerGossip{Kind::kGossip, std::string(AsView(in.getGossip()))};
    case peer_wire::PeerFrame::CLUSTER_CONFIG:
      return PeerGossip{Kind::kConfig,
                        std::string(AsView(in.getClusterConfig()))};
    case peer_wire::PeerFrame::CONFIG_REQUEST:
      return PeerGossip{Kind::kConfigRequest, ""};
    case peer_wire::PeerFrame::COMPRESSED:
      return PeerCompressed{std::string(AsView(in.getCompressed()))};
  }
  return Malformed("an unknown kind of frame");
}

}  // namespace

absl::StatusOr<PeerFrame> DecodePeerFrame(const FrameWords& frame,
                                          uint32_t partitions) {
  try {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = 2 * frame.size() + 1024;
    options.nestingLimit = kPeerNestingMax;
    capnp::FlatArrayMessageReader reader(
        kj::arrayPtr(reinterpret_cast<const capnp::word*>(frame.data()),
                     frame.size()),
        options);
    return Decode(reader.getRoot<peer_wire::PeerFrame>(), partitions);
  } catch (const kj::Exception& error) {
    return Malformed(error.getDescription().cStr());
  }
}

}  // namespace dovetail::net
