// The encoding half of peer_codec.h; peer_codec_decode.cc is the other.
#include "net/peer_codec.h"

#include <capnp/message.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/leaf.h"
#include "net/client_codec.h"
#include "net/peer.capnp.h"

namespace dovetail::net {
namespace {

using replica::Message;

constexpr size_t kWordBytes = sizeof(capnp::word);
// Structs and pointers of one message without its blobs; generous.
constexpr size_t kMessageBytes = 256;
constexpr size_t kPageLeafBytes = 64;
constexpr size_t kListedBytes = 32;
constexpr size_t kFrameOverheadBytes = 64;

capnp::Data::Reader AsData(absl::string_view bytes) {
  return capnp::Data::Reader(reinterpret_cast<const uint8_t*>(bytes.data()),
                             bytes.size());
}

capnp::Text::Reader AsText(const std::string& text) {
  return capnp::Text::Reader(text.c_str(), text.size());
}

absl::StatusOr<std::string> ToFrame(capnp::MessageBuilder& message) {
  const auto segments = message.getSegmentsForOutput();
  absl::InlinedVector<size_t, kSegmentsMax> sizes;
  size_t bytes = 0;
  for (const auto& segment : segments) {
    sizes.push_back(segment.size());
    bytes += segment.asBytes().size();
  }
  if (sizes.size() > kSegmentsMax || bytes > kPeerFrameBytesMax - 1024) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a frame of ", bytes, " bytes in ", sizes.size(),
        " segments for a peer; the limit is ", kPeerFrameBytesMax));
  }
  std::string frame;
  frame.reserve(bytes + 8 * sizes.size() + 8);
  AppendFrameTable(frame, sizes);
  for (const auto& segment : segments) {
    const auto chars = segment.asChars();
    frame.append(chars.begin(), chars.size());
  }
  return frame;
}

// A frame that is small whatever is in it.
std::string ToSmallFrame(capnp::MessageBuilder& message) {
  auto frame = ToFrame(message);
  DOVETAIL_CHECK(frame.ok());
  return *std::move(frame);
}

void Encode(const crdt::DotRun& run, peer_wire::DotRun::Builder out) {
  out.setActor(crdt::ActorBits(run.actor));
  out.setFirst(run.first);
  out.setCount(run.count);
}

void Encode(const absl::Status& status, peer_wire::Status::Builder out) {
  out.setCode(static_cast<uint8_t>(status.code()));
  const std::string text(status.message().substr(0, kStatusBytesMax));
  if (!text.empty()) out.setText(AsText(text));
}

void Encode(const replica::ReadTicket& ticket,
            peer_wire::ReadTicket::Builder out) {
  out.setIncarnation(crdt::ActorBits(ticket.incarnation));
  out.setSequence(ticket.sequence);
}

void Encode(const crdt::Field& field, peer_wire::Field::Builder out) {
  out.setName(AsData(field.name));
  out.setType(static_cast<uint8_t>(field.type));
}

void Encode(const crdt::ReadSpec& spec, peer_wire::ReadSpec::Builder out) {
  out.setBucket(AsData(spec.object.bucket));
  out.setKey(AsData(spec.object.key));
  out.setType(static_cast<uint8_t>(spec.object.type));
  auto fields = out.initFields(static_cast<unsigned>(spec.fields.size()));
  for (unsigned i = 0; i < fields.size(); ++i) {
    Encode(spec.fields[i], fields[i]);
  }
  if (spec.element) out.getElement().setSome(AsData(*spec.element));
  if (spec.after_element) {
    out.getAfterElement().setSome(AsData(*spec.after_element));
  }
  if (spec.after_field) {
    Encode(*spec.after_field, out.getAfterField().initSome());
  }
  out.setLimit(spec.limit);
  out.setWantToken(spec.want_token);
}

void Encode(const crdt::ObjectId& object, peer_wire::Object::Builder out) {
  out.setBucket(AsData(object.bucket));
  out.setKey(AsData(object.key));
  out.setType(static_cast<uint8_t>(object.type));
}

// Some type whose leaves carry this payload, so that a page can be decoded by
// who does not know the object it is of.
crdt::Type TypeOfPayload(const crdt::Payload& payload) {
  struct Visitor {
    crdt::Type operator()(crdt::Unit) { return crdt::Type::kSet; }
    crdt::Type operator()(crdt::Polarity) { return crdt::Type::kRemoveSet; }
    crdt::Type operator()(const crdt::Value&) {
      return crdt::Type::kMultiValue;
    }
    crdt::Type operator()(const crdt::Stamped&) {
      return crdt::Type::kRegister;
    }
    crdt::Type operator()(const crdt::Tally&) { return crdt::Type::kCounter; }
    crdt::Type operator()(crdt::Expiry) { return crdt::Type::kExpiry; }
  };
  return std::visit(Visitor{}, payload);
}

void Encode(const crdt::LeafPage& page, peer_wire::LeafPage::Builder out) {
  const auto& leaves = page.leaves.children();
  auto list = out.initLeaves(static_cast<unsigned>(leaves.size()));
  unsigned i = 0;
  std::string bytes;
  for (const auto& [path, leaf] : leaves) {
    DOVETAIL_CHECK(!leaf.empty());
    const crdt::Type type = TypeOfPayload(leaf.entries().front().second);
    bytes.clear();
    crdt::Writer writer(&bytes);
    crdt::AppendLeaf(writer, type, leaf);
    list[i].setPath(AsData(path.bytes()));
    list[i].setType(static_cast<uint8_t>(type));
    list[i].setLeaf(AsData(bytes));
    ++i;
  }
  out.setEnd(AsData(page.end.bytes()));
  out.setTruncated(page.truncated);
}

template <class Body>
void EncodeRing(const replica::RingStamp& ring, Body body) {
  body.setEpoch(ring.epoch);
  body.setRingHigh(ring.digest.high);
  body.setRingLow(ring.digest.low);
}

// One overload for each message, in the order of replica/message.h.
struct BodyEncoder {
  peer_wire::PeerMessage::Builder out;

  void operator()(const replica::Replicate& m) {
    auto body = out.initReplicate();
    body.setDelta(AsData(m.delta));
    body.setSync(m.sync);
  }
  void operator()(const replica::Ack& m) {
    auto body = out.initAck();
    Encode(m.events, body.initEvents());
    body.setSynced(m.synced);
    EncodeRing(m.ring, body);
  }
  void operator()(const replica::Refuse& m) {
    auto body = out.initRefuse();
    Encode(m.events, body.initEvents());
    Encode(m.reason, body.initReason());
  }
  void operator()(const replica::Summary& m) {
    auto body = out.initSummary();
    body.setApplied(AsData(m.applied.Encode()));
    body.setDurable(AsData(m.durable.Encode()));
    body.setAnswer(m.answer);
    body.setPeriodic(m.periodic);
    body.setPull(m.pull);
    EncodeRing(m.ring, body);
    body.setStateHigh(m.state.high);
    body.setStateLow(m.state.low);
    body.setStanding(static_cast<uint8_t>(m.standing));
    body.setWallMs(m.wall_ms);
  }
  void operator()(const replica::SyncDeltas& m) {
    auto body = out.initSyncDeltas();
    auto list = body.initDeltas(static_cast<unsigned>(m.deltas.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      list.set(i, AsData(m.deltas[i]));
    }
    body.setMore(m.more);
    if (!m.unlogged.empty()) body.setUnlogged(AsData(m.unlogged.Encode()));
  }
  void operator()(const replica::ReadQuery& m) {
    auto body = out.initReadQuery();
    Encode(m.ticket, body.initTicket());
    Encode(m.spec, body.initSpec());
    body.setDigestHigh(m.digest.high);
    body.setDigestLow(m.digest.low);
    body.setWantContext(m.want_context);
  }
  void operator()(const replica::ReadAnswer& m) {
    auto body = out.initReadAnswer();
    Encode(m.ticket, body.initTicket());
    Encode(m.status, body.initStatus());
    body.setSame(m.same);
    EncodeRing(m.ring, body);
    if (!m.status.ok()) return;
    body.setStanding(static_cast<uint8_t>(m.standing));
    if (!m.same) Encode(m.page, body.initPage());
    if (m.same && m.context == crdt::Context()) return;  // it was not wanted
    body.setApplied(AsData(m.context.applied.Encode()));
    body.setSuperseded(AsData(m.context.superseded.Encode()));
  }
  void operator()(const replica::ListQuery& m) {
    auto body = out.initListQuery();
    Encode(m.ticket, body.initTicket());
    body.setBucket(AsData(m.request.bucket));
    body.setPrefix(AsData(m.request.prefix));
    if (m.request.after) {
      Encode(*m.request.after, body.getAfter().initSome());
    }
    body.setLimit(m.request.limit);
    body.setDigestHigh(m.digest.high);
    body.setDigestLow(m.digest.low);
  }
  void operator()(const replica::ListAnswer& m) {
    auto body = out.initListAnswer();
    Encode(m.ticket, body.initTicket());
    Encode(m.status, body.initStatus());
    body.setSame(m.same);
    if (!m.status.ok()) return;
    auto unlisted = body.initUnlisted(static_cast<unsigned>(m.unlisted.size()));
    for (unsigned i = 0; i < unlisted.size(); ++i) {
      unlisted.set(i, Index(m.unlisted[i]));
    }
    if (m.same) return;
    auto list = body.initObjects(static_cast<unsigned>(m.objects.size()));
    for (unsigned i = 0; i < list.size(); ++i) {
      list[i].setKey(AsData(m.objects[i].key));
      list[i].setType(static_cast<uint8_t>(m.objects[i].type));
    }
    body.setMore(m.more);
  }
  void operator()(const replica::PresenceQuery& m) {
    auto body = out.initPresenceQuery();
    Encode(m.ticket, body.initTicket());
    body.setPlace(m.place);
    Encode(m.object, body.initObject());
    body.setRequired(m.required);
    body.setTimeoutUs(static_cast<uint64_t>(
        std::max<int64_t>(0, absl::ToInt64Microseconds(m.timeout))));
    if (m.session) body.setSession(AsData(m.session->Encode()));
  }
  void operator()(const replica::PresenceAnswer& m) {
    auto body = out.initPresenceAnswer();
    Encode(m.ticket, body.initTicket());
    body.setPlace(m.place);
    Encode(m.status, body.initStatus());
    body.setPresent(m.present);
  }
  void operator()(const replica::CoverQuery& m) {
    auto body = out.initCoverQuery();
    Encode(m.ticket, body.initTicket());
    body.setSeen(AsData(m.seen.Encode()));
  }
  void operator()(const replica::CoverAnswer& m) {
    auto body = out.initCoverAnswer();
    Encode(m.ticket, body.initTicket());
    body.setPartition(replica::Index(m.partition));
    Encode(m.status, body.initStatus());
    body.setMissing(m.missing);
    body.setProcess(crdt::ActorBits(m.process));
  }
  void operator()(const replica::Forward& m) {
    auto body = out.initForward();
    Encode(m.ticket, body.initTicket());
    body.setNumber(m.number);
    body.setReceiver(crdt::ActorBits(m.receiver));
    const ClientOperation operation = std::visit(
        [](const auto& request) { return ClientOperation(request); }, m.body);
    const ClientOperation* const operations[] = {&operation};
    EncodeExecute(operations, m.options, body.initRequest());
  }
  void operator()(const replica::Forwarded& m) {
    auto body = out.initForwarded();
    Encode(m.ticket, body.initTicket());
    const ClientResult results[] = {m.reply};
    EncodeResults(results, body.initReply());
  }
  void operator()(const replica::RangeQuery& m) {
    auto body = out.initRangeQuery();
    Encode(m.ticket, body.initTicket());
    body.setSalt(m.salt);
    body.setContextPrint(m.context_print);
    body.setAsks(AsData(replica::EncodeRangeAsks(m.asks)));
  }
  void operator()(const replica::RangeAnswer& m) {
    auto body = out.initRangeAnswer();
    Encode(m.ticket, body.initTicket());
    Encode(m.status, body.initStatus());
    if (!m.status.ok()) return;
    if (!m.context_same) {
      body.setApplied(AsData(m.context.applied.Encode()));
      body.setSuperseded(AsData(m.context.superseded.Encode()));
    }
    if (!m.ahead.empty()) body.setAhead(AsData(m.ahead.Encode()));
    body.setParts(AsData(replica::EncodeRangeParts(m.parts)));
  }
};

size_t EstimateBytes(const crdt::EventSet& events) {
  return 24 * events.interval_count() + 16 * events.actor_count() + 16;
}

struct BlobBytes {
  size_t operator()(const replica::Replicate& m) { return m.delta.size(); }
  size_t operator()(const replica::Ack&) { return 0; }
  size_t operator()(const replica::Refuse& m) {
    return m.reason.message().size();
  }
  size_t operator()(const replica::Summary& m) {
    return EstimateBytes(m.applied) + EstimateBytes(m.durable);
  }
  size_t operator()(const replica::SyncDeltas& m) {
    size_t bytes = 0;
    for (const std::string& delta : m.deltas) bytes += delta.size() + 16;
    return bytes + EstimateBytes(m.unlogged);
  }
  size_t operator()(const replica::ReadQuery& m) {
    size_t bytes = m.spec.object.bucket.size() + m.spec.object.key.size();
    for (const auto& field : m.spec.fields) bytes += field.name.size() + 32;
    if (m.spec.element) bytes += m.spec.element->size();
    if (m.spec.after_element) bytes += m.spec.after_element->size();
    if (m.spec.after_field) bytes += m.spec.after_field->name.size();
    return bytes;
  }
  size_t operator()(const replica::ReadAnswer& m) {
    size_t bytes = m.status.message().size() + m.page.end.bytes().size() +
                   EstimateBytes(m.context.applied) +
                   EstimateBytes(m.context.superseded);
    for (const auto& [path, leaf] : m.page.leaves.children()) {
      bytes += path.bytes().size() + kPageLeafBytes;
      for (const auto& [dot, payload] : leaf.entries()) {
        bytes += 64;
        if (const auto* value = std::get_if<crdt::Value>(&payload)) {
          bytes += value->bytes.size();
        } else if (const auto* stamped = std::get_if<crdt::Stamped>(&payload)) {
          bytes += stamped->bytes.size();
        }
      }
    }
    return bytes;
  }
  size_t operator()(const replica::ListQuery& m) {
    size_t bytes = m.request.bucket.size() + m.request.prefix.size();
    if (m.request.after) {
      bytes += m.request.after->bucket.size() + m.request.after->key.size();
    }
    return bytes;
  }
  size_t operator()(const replica::ListAnswer& m) {
    size_t bytes =
        m.status.message().size() + m.unlisted.size() * sizeof(uint16_t);
    for (const replica::Listed& object : m.objects) {
      bytes += object.key.size() + kListedBytes;
    }
    return bytes;
  }
  size_t operator()(const replica::PresenceQuery& m) {
    return m.object.bucket.size() + m.object.key.size() +
           (m.session ? EstimateBytes(m.session->events) : 0);
  }
  size_t operator()(const replica::PresenceAnswer& m) {
    return m.status.message().size();
  }
  size_t operator()(const replica::CoverQuery& m) {
    return EstimateBytes(m.seen);
  }
  size_t operator()(const replica::CoverAnswer& m) {
    return m.status.message().size();
  }
  size_t operator()(const replica::Forward& m) {
    const auto* write = std::get_if<replica::WriteRequest>(&m.body);
    if (write == nullptr) return 0;
    size_t bytes = 0;
    for (const crdt::Operation& operation : write->operations) {
      bytes += 256 + operation.object.key.size() + operation.value.size();
      for (const std::string& element : operation.elements) {
        bytes += 16 + element.size();
      }
      if (operation.observed) bytes += 128 * operation.observed->leaves.size();
    }
    return bytes;
  }
  size_t operator()(const replica::Forwarded& m) {
    if (!m.reply.ok()) return m.reply.status().message().size();
    const auto* read = std::get_if<replica::ReadReply>(&*m.reply);
    if (read == nullptr) return 0;
    size_t bytes = 0;
    for (const std::string& value : read->result.view.values) {
      bytes += 16 + value.size();
    }
    return bytes + 256 * read->result.view.fields.size();
  }
  size_t operator()(const replica::RangeQuery& m) {
    size_t bytes = 64;
    for (const replica::RangeAsk& ask : m.asks) {
      bytes += replica::BytesOf(ask);
    }
    return bytes;
  }
  size_t operator()(const replica::RangeAnswer& m) {
    size_t bytes = 64 + m.status.message().size() +
                   EstimateBytes(m.context.applied) +
                   EstimateBytes(m.context.superseded) + EstimateBytes(m.ahead);
    for (const replica::RangePart& part : m.parts) {
      bytes += replica::BytesOf(part);
    }
    return bytes;
  }
};

}  // namespace

size_t EstimateBytes(const Message& message) {
  return kMessageBytes + std::visit(BlobBytes{}, message.body);
}

std::string EncodeHello(const PeerHello& hello) {
  capnp::MallocMessageBuilder message(128);
  auto out = message.initRoot<peer_wire::PeerFrame>().initHello();
  out.setProtocol(hello.protocol);
  out.setCluster(AsText(hello.cluster));
  out.setNode(replica::Index(hello.node));
  out.setPartitions(hello.partitions);
  out.setIncarnation(crdt::ActorBits(hello.incarnation));
  out.setName(AsText(hello.name));
  out.setPeerAddress(AsText(hello.peer_address));
  out.setClientAddress(AsText(hello.client_address));
  out.setZone(AsText(hello.zone));
  out.setRegion(AsText(hello.region));
  out.setExpands(hello.expands);
  return ToSmallFrame(message);
}

std::string EncodeRefusal(const PeerRefusal& refusal) {
  capnp::MallocMessageBuilder message(128);
  message.initRoot<peer_wire::PeerFrame>().setRefused(AsText(refusal.reason));
  return ToSmallFrame(message);
}

std::string EncodeKeepalive(const PeerKeepalive& keepalive) {
  capnp::MallocMessageBuilder message(32);
  auto out = message.initRoot<peer_wire::PeerFrame>();
  out.setKeepalive();
  if (keepalive.load.has_value()) EncodeLoad(*keepalive.load, out.initLoad());
  return ToSmallFrame(message);
}

std::string EncodeCompressed(absl::string_view batch) {
  capnp::MallocMessageBuilder message(
      static_cast<unsigned>(batch.size() / kWordBytes + 16));
  message.initRoot<peer_wire::PeerFrame>().setCompressed(AsData(batch));
  return ToSmallFrame(message);
}

absl::StatusOr<std::string> EncodeGossip(const PeerGossip& gossip) {
  using Kind = replica::ClusterEnvelope::Kind;
  capnp::MallocMessageBuilder message(
      static_cast<unsigned>(gossip.bytes.size() / kWordBytes + 16));
  auto out = message.initRoot<peer_wire::PeerFrame>();
  switch (gossip.kind) {
    case Kind::kGossip:
      out.setGossip(AsData(gossip.bytes));
      break;
    case Kind::kConfig:
      out.setClusterConfig(AsData(gossip.bytes));
      break;
    case Kind::kConfigRequest:
      out.setConfigRequest();
      break;
  }
  return ToFrame(message);
}

absl::StatusOr<std::string> EncodeMessages(
    absl::Span<const Message* const> messages, const replica::RingStamp& ring) {
  DOVETAIL_CHECK(!messages.empty());
  size_t estimate = kFrameOverheadBytes;
  for (const Message* message : messages) estimate += EstimateBytes(*message);
  capnp::MallocMessageBuilder builder(
      static_cast<unsigned>(estimate / kWordBytes));
  auto frame = builder.initRoot<peer_wire::PeerFrame>();
  frame.setRingEpoch(ring.epoch);
  frame.setRingDigestHigh(ring.digest.high);
  frame.setRingDigestLow(ring.digest.low);
  auto list = frame.initMessages(static_cast<unsigned>(messages.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    list[i].setPartition(replica::Index(messages[i]->partition));
    std::visit(BodyEncoder{list[i]}, messages[i]->body);
  }
  return ToFrame(builder);
}

}  // namespace dovetail::net
