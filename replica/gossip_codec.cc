// The bytes of replica/gossip_message.h, where their grammar stands.
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "replica/gossip_message.h"

namespace dovetail::replica {
namespace {

using crdt::Reader;
using crdt::Writer;

enum class Kind : uint8_t {
  kPing = 1,
  kPingReq,
  kPingAck,
  kPingNack,
  kCompare,
  kStateRequest,
  kStateReply,
};

constexpr uint8_t kHasInfo = 0x80;
// id, incarnation and state: the least that a rumor takes.
constexpr size_t kRumorBytesMin = 10;

using NodeIdBits = std::underlying_type_t<NodeId>;

void Put(Writer& out, NodeId id) { out.Fixed64(static_cast<uint64_t>(id)); }

void Put(Writer& out, const Hash128& hash) {
  out.Fixed64(hash.high);
  out.Fixed64(hash.low);
}

void Put(Writer& out, const ConfigDigest& config) {
  out.Varint(config.epoch);
  Put(out, config.digest);
}

void Put(Writer& out, const Rumor& rumor) {
  Put(out, rumor.id);
  out.Varint(rumor.incarnation);
  const auto state = static_cast<uint8_t>(rumor.state);
  out.Byte(rumor.info ? state | kHasInfo : state);
  DOVETAIL_CHECK(rumor.accusers.empty() ==
                 (rumor.state != MemberState::kSuspect));
  if (rumor.state == MemberState::kSuspect) {
    out.Varint(rumor.accusers.size());
    for (const NodeId accuser : rumor.accusers) Put(out, accuser);
  }
  if (!rumor.info) return;
  DOVETAIL_CHECK(rumor.info->id == rumor.id);
  out.Bytes(rumor.info->name);
  out.Bytes(rumor.info->peer_address);
  out.Bytes(rumor.info->client_address);
  out.Bytes(rumor.info->zone);
  out.Bytes(rumor.info->region);
  out.Bytes(rumor.info->payload);
}

void Put(Writer& out, const std::vector<Rumor>& rumors) {
  out.Varint(rumors.size());
  for (const Rumor& rumor : rumors) Put(out, rumor);
}

struct BodyWriter {
  void operator()(const Ping& m) { Probe(Kind::kPing, m); }
  void operator()(const PingReq& m) { Probe(Kind::kPingReq, m); }
  void operator()(const PingAck& m) { Answer(Kind::kPingAck, m.seq); }
  void operator()(const PingNack& m) { Answer(Kind::kPingNack, m.seq); }
  void operator()(const Compare& m) {
    out.Byte(static_cast<uint8_t>(Kind::kCompare));
    Put(out, m.view);
    Put(out, m.config);
  }
  void operator()(const StateRequest& m) { State(Kind::kStateRequest, m); }
  void operator()(const StateReply& m) { State(Kind::kStateReply, m); }

  template <class M>
  void Probe(Kind kind, const M& m) {
    Answer(kind, m.seq);
    Put(out, m.target);
  }
  void Answer(Kind kind, uint64_t seq) {
    out.Byte(static_cast<uint8_t>(kind));
    out.Varint(seq);
  }
  template <class M>
  void State(Kind kind, const M& m) {
    out.Byte(static_cast<uint8_t>(kind));
    Put(out, m.config);
    Put(out, m.rows);
  }

  Writer& out;
};

NodeId GetId(Reader& in) {
  const uint64_t bits = in.Fixed64();
  const auto id = static_cast<NodeIdBits>(bits);
  if (id != bits) in.Fail("a node id that does not fit");
  return NodeId{id};
}

Hash128 GetHash(Reader& in) {
  Hash128 hash;
  hash.high = in.Fixed64();
  hash.low = in.Fixed64();
  return hash;
}

ConfigDigest GetConfig(Reader& in) {
  ConfigDigest config;
  config.epoch = in.Varint();
  config.digest = GetHash(in);
  return config;
}

void GetAccusers(Reader& in, std::vector<NodeId>& accusers) {
  const size_t count = in.Count(8);
  if (count == 0 || count > kAccusersMax) {
    return in.Fail(absl::StrCat("a suspicion by ", count, " accusers"));
  }
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const NodeId accuser = GetId(in);
    if (!accusers.empty() && accuser <= accusers.back()) {
      in.Fail("accusers are not in order");
    }
    accusers.push_back(accuser);
  }
}

MemberInfo GetInfo(Reader& in, NodeId id) {
  const auto text = [&in] {
    return std::string(in.Bytes(kMemberTextBytesMax));
  };
  MemberInfo info;
  info.id = id;
  info.name = text();
  info.peer_address = text();
  info.client_address = text();
  info.zone = text();
  info.region = text();
  info.payload = std::string(in.Bytes(kMemberPayloadBytesMax));
  return info;
}

Rumor GetRumor(Reader& in) {
  Rumor rumor;
  rumor.id = GetId(in);
  rumor.incarnation = in.Varint();
  if (rumor.incarnation > kIncarnationMax) in.Fail("incarnation too large");
  const uint8_t byte = in.Byte();
  const uint8_t state = byte & static_cast<uint8_t>(~kHasInfo);
  if (state >= kMemberStates) {
    in.Fail(absl::StrCat("no state ", state));
    return rumor;
  }
  rumor.state = static_cast<MemberState>(state);
  const bool has_info = (byte & kHasInfo) != 0;
  if (rumor.state == MemberState::kSuspect) GetAccusers(in, rumor.accusers);
  if (rumor.state == MemberState::kAlive && !has_info) {
    in.Fail("alive, but not who it is");
  }
  if (has_info) rumor.info = GetInfo(in, rumor.id);
  return rumor;
}

enum class Order { kAny, kAscending };

std::vector<Rumor> GetRumors(Reader& in, size_t count_max, Order order) {
  std::vector<Rumor> rumors;
  const size_t count = in.Count(kRumorBytesMin);
  if (count > count_max) {
    in.Fail(absl::StrCat(count, " rumors; the limit is ", count_max));
  }
  for (size_t i = 0; i < count && in.ok(); ++i) {
    rumors.push_back(GetRumor(in));
    if (order == Order::kAny || !in.ok()) continue;
    if (!rumors.back().info) in.Fail("a row that does not say who it is");
    if (i > 0 && rumors[i].id <= rumors[i - 1].id) {
      in.Fail("rows are not in order");
    }
  }
  return rumors;
}

template <class M>
M GetState(Reader& in) {
  M m;
  m.config = GetConfig(in);
  m.rows = GetRumors(in, kMembersMax, Order::kAscending);
  return m;
}

template <class M>
M GetProbe(Reader& in) {
  M m;
  m.seq = in.Varint();
  m.target = GetId(in);
  return m;
}

void GetBody(Reader& in, GossipMessage& message) {
  const uint8_t kind = in.Byte();
  switch (static_cast<Kind>(kind)) {
    case Kind::kPing:
      message.body = GetProbe<Ping>(in);
      return;
    case Kind::kPingReq:
      message.body = GetProbe<PingReq>(in);
      return;
    case Kind::kPingAck:
      message.body = PingAck{in.Varint()};
      return;
    case Kind::kPingNack:
      message.body = PingNack{in.Varint()};
      return;
    case Kind::kCompare: {
      Compare compare;
      compare.view = GetHash(in);
      compare.config = GetConfig(in);
      message.body = compare;
      return;
    }
    case Kind::kStateRequest:
      message.body = GetState<StateRequest>(in);
      return;
    case Kind::kStateReply:
      message.body = GetState<StateReply>(in);
      return;
  }
  in.Fail(absl::StrCat("no message of kind ", kind));
}

absl::Status CheckText(absl::string_view field, absl::string_view text,
                       size_t bytes_max) {
  if (text.size() <= bytes_max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, " is ", text.size(), " bytes; the limit is ", bytes_max));
}

}  // namespace

std::string EncodeGossip(const GossipMessage& message) {
  std::string bytes;
  Writer out(&bytes);
  out.Byte(kGossipVersion);
  std::visit(BodyWriter{out}, message.body);
  Put(out, message.rumors);
  return bytes;
}

absl::StatusOr<GossipMessage> DecodeGossip(absl::string_view bytes) {
  Reader in(bytes);
  const uint8_t version = in.Byte();
  if (in.ok() && version != kGossipVersion) {
    in.Fail(
        absl::StrCat("gossip version is ", version, ", not ", kGossipVersion));
  }
  GossipMessage message;
  if (in.ok()) GetBody(in, message);
  message.rumors = GetRumors(in, kRumorsMax, Order::kAny);
  if (auto status = in.Finish(); !status.ok()) return status;
  return message;
}

size_t EncodedBytes(const Rumor& rumor) {
  std::string bytes;
  Writer out(&bytes);
  Put(out, rumor);
  return bytes.size();
}

absl::Status CheckInfo(const MemberInfo& info) {
  const std::pair<absl::string_view, absl::string_view> texts[] = {
      {"name", info.name},
      {"peer address", info.peer_address},
      {"client address", info.client_address},
      {"zone", info.zone},
      {"region", info.region}};
  for (const auto& [field, text] : texts) {
    DOVETAIL_RETURN_IF_ERROR(CheckText(field, text, kMemberTextBytesMax));
  }
  return CheckText("payload", info.payload, kMemberPayloadBytesMax);
}

}  // namespace dovetail::replica
