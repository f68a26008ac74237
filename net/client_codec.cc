// The encoding half; client_codec_decode.cc is the other.
#include "net/client_codec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "crdt/check.h"

namespace dovetail::net {
namespace {

using crdt::Verb;

capnp::Data::Reader AsData(absl::string_view bytes) {
  return capnp::Data::Reader(reinterpret_cast<const kj::byte*>(bytes.data()),
                             bytes.size());
}

capnp::Text::Reader AsText(const std::string& text) {
  return capnp::Text::Reader(text.c_str(), text.size());
}

unsigned Size(size_t size) {
  DOVETAIL_CHECK(size <= std::numeric_limits<unsigned>::max());
  return static_cast<unsigned>(size);
}

// The numbers of the schema are those of crdt/type.h.
wire::ObjectType AsWire(crdt::Type type) {
  static_assert(static_cast<int>(wire::ObjectType::REGISTER) ==
                static_cast<int>(crdt::Type::kRegister));
  static_assert(static_cast<int>(wire::ObjectType::MAP) ==
                static_cast<int>(crdt::Type::kMap));
  return static_cast<wire::ObjectType>(type);
}

wire::ErrorCode AsWire(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return wire::ErrorCode::INVALID_ARGUMENT;
    case absl::StatusCode::kDataLoss:
      return wire::ErrorCode::DATA_LOSS;
    case absl::StatusCode::kUnavailable:
      return wire::ErrorCode::UNAVAILABLE;
    case absl::StatusCode::kDeadlineExceeded:
      return wire::ErrorCode::DEADLINE_EXCEEDED;
    case absl::StatusCode::kFailedPrecondition:
      return wire::ErrorCode::FAILED_PRECONDITION;
    case absl::StatusCode::kResourceExhausted:
      return wire::ErrorCode::RESOURCE_EXHAUSTED;
    case absl::StatusCode::kPermissionDenied:
      return wire::ErrorCode::PERMISSION_DENIED;
    default:  // no other codes exist in this code base
      DOVETAIL_CHECK(false && "a status code that the schema has no name for");
  }
  return wire::ErrorCode::NONE;
}

}  // namespace

void EncodeError(const absl::Status& status, wire::Error::Builder out) {
  out.setCode(AsWire(status.code()));
  out.setMessage(AsText(std::string(status.message())));
  out.setMaybe(MayHaveTakenEffect(status));
  if (const auto after = replica::RetryAfterOf(status)) {
    out.setRetryAfterMs(
        static_cast<uint32_t>(absl::ToInt64Milliseconds(*after)));
  }
}

namespace {

void EncodeObject(const crdt::ObjectId& object, wire::Object::Builder out) {
  out.setBucket(AsData(object.bucket));
  out.setKey(AsData(object.key));
  out.setType(AsWire(object.type));
}

void EncodeField(const crdt::Field& field, wire::Field::Builder out) {
  out.setName(AsData(field.name));
  out.setType(AsWire(field.type));
}

void EncodeFields(const std::vector<crdt::Field>& fields,
                  capnp::List<wire::Field>::Builder out) {
  for (unsigned i = 0; i < out.size(); ++i) EncodeField(fields[i], out[i]);
}

void EncodeBytes(const std::vector<std::string>& values,
                 capnp::List<capnp::Data>::Builder out) {
  for (unsigned i = 0; i < out.size(); ++i) out.set(i, AsData(values[i]));
}

void EncodeAction(const crdt::Operation& operation,
                  wire::Mutation::Action::Builder out) {
  const unsigned elements = Size(operation.elements.size());
  switch (operation.verb) {
    case Verb::kAdd:
      if (operation.target_type() == crdt::Type::kCounter) {
        return out.setIncrement(operation.amount);
      }
      return EncodeBytes(operation.elements, out.initAdd(elements));
    case Verb::kRemove:
      return EncodeBytes(operation.elements, out.initRemove(elements));
    case Verb::kClear:
      return out.setClear();
    case Verb::kWrite:
      return out.setWrite(AsData(operation.value));
    case Verb::kWriteBlind:
      return out.setWriteBlind(AsData(operation.value));
    case Verb::kEnable:
      return out.setEnable();
    case Verb::kDisable:
      return out.setDisable();
    case Verb::kReset:
      return out.setReset();
    case Verb::kRemoveField:
      return EncodeField(operation.child, out.initRemoveField());
    case Verb::kDelete:
      return out.setDelete();
    case Verb::kExpireIn:
      return out.setExpireIn(operation.amount);
    case Verb::kExpireAt:
      return out.setExpireAt(operation.amount);
    case Verb::kPersist:
      return out.setPersist();
  }
}

void EncodeMutation(const crdt::Operation& operation,
                    wire::Mutation::Builder out) {
  EncodeObject(operation.object, out.initObject());
  if (!operation.fields.empty()) {
    EncodeFields(operation.fields,
                 out.initFields(Size(operation.fields.size())));
  }
  EncodeAction(operation, out.getAction());
  if (operation.observed.has_value()) {
    out.setToken(AsData(operation.observed->Encode()));
  }
}

void EncodeRead(const replica::ReadRequest& request, wire::Read::Builder out) {
  const crdt::ReadSpec& spec = request.spec;
  EncodeObject(spec.object, out.initObject());
  if (!spec.fields.empty()) {
    EncodeFields(spec.fields, out.initFields(Size(spec.fields.size())));
  }
  if (spec.element.has_value()) out.setElement(AsData(*spec.element));
  if (spec.after_element.has_value()) {
    out.setAfterElement(AsData(*spec.after_element));
  }
  if (spec.after_field.has_value()) {
    EncodeField(*spec.after_field, out.initAfterField());
  }
  out.setLimit(spec.limit);
  out.setWantToken(spec.want_token);
  if (!request.only.empty()) {
    auto only = out.initOnly(Size(request.only.size()));
    for (unsigned i = 0; i < only.size(); ++i) {
      only.set(i, replica::Index(request.only[i]));
    }
  }
}

void EncodeOperation(const ClientOperation& operation,
                     wire::Operation::Builder out) {
  std::visit(
      [&](const auto& request) {
        if (request.session) out.setSession(AsData(request.session->Encode()));
      },
      operation);
  if (const auto* read = std::get_if<replica::ReadRequest>(&operation)) {
    return EncodeRead(*read, out.initRead());
  }
  const auto& write = std::get<replica::WriteRequest>(operation);
  if (write.id) {
    auto id = out.initId();
    id.setSession(crdt::ActorBits(write.id->first.actor));
    id.setSequence(write.id->first.counter);
    id.setWallMs(write.id->stamp.wall_ms);
    id.setLogical(write.id->stamp.logical);
  }
  const auto& mutations = write.operations;
  if (mutations.size() == 1) {
    return EncodeMutation(mutations.front(), out.initMutation());
  }
  auto list = out.initBatch().initMutations(Size(mutations.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    EncodeMutation(mutations[i], list[i]);
  }
}

// Whole milliseconds, rounded up, so that a short timeout is not "default".
uint32_t TimeoutMs(absl::Duration timeout) {
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
  if (timeout <= absl::ZeroDuration()) return 0;
  const int64_t ms =
      absl::ToInt64Milliseconds(absl::Ceil(timeout, absl::Milliseconds(1)));
  return static_cast<uint32_t>(std::min(ms, kMax));
}

void EncodeReceipt(const replica::Receipt& receipt,
                   wire::Receipt::Builder out) {
  auto nodes = out.initNodes(Size(receipt.nodes.size()));
  for (unsigned i = 0; i < nodes.size(); ++i) {
    nodes.set(i, replica::Index(receipt.nodes[i]));
  }
  if (!receipt.stand_ins.empty()) {
    auto stand_ins = out.initStandIns(Size(receipt.stand_ins.size()));
    for (unsigned i = 0; i < stand_ins.size(); ++i) {
      stand_ins.set(i, replica::Index(receipt.stand_ins[i]));
    }
  }
  out.setRequired(receipt.required);
  out.setDurability(net::AsWire(receipt.durability));
}

void EncodeView(const crdt::View& view, wire::View::Builder out) {
  out.setType(AsWire(view.type));
  out.setPresent(view.present);
  out.setFlag(view.flag);
  out.setNumber(view.number);
  if (!view.values.empty()) {
    EncodeBytes(view.values, out.initValues(Size(view.values.size())));
  }
  if (view.fields.empty()) return;
  auto fields = out.initFields(Size(view.fields.size()));
  for (unsigned i = 0; i < fields.size(); ++i) {
    EncodeField(view.fields[i].first, fields[i].initField());
    EncodeView(view.fields[i].second, fields[i].initView());
  }
}

// `session` is the encoded one of `reply`.
void EncodeWriteReply(const replica::WriteReply& reply,
                      const std::string& session,
                      wire::WriteResult::Builder out) {
  EncodeReceipt(reply.receipt, out.initReceipt());
  auto not_observed = out.initNotObserved(Size(reply.not_observed.size()));
  for (unsigned i = 0; i < not_observed.size(); ++i) {
    not_observed.set(i, reply.not_observed[i]);
  }
  out.setDeltas(reply.deltas);
  if (reply.session) out.setSession(AsData(session));
}

// What a view takes on the wire, from above: pointers, struct words and the
// padding of each string to whole words.
size_t WireBytes(const crdt::View& view) {
  size_t bytes = 48;
  for (const std::string& value : view.values) bytes += value.size() + 16;
  for (const auto& [field, child] : view.fields) {
    bytes += field.name.size() + 48 + WireBytes(child);
  }
  return bytes;
}

absl::Status TooLong(size_t bytes) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "answer of ", bytes, " bytes is over reply_wire_bytes_max = ",
      kReplyWireBytesMax, "; read it in pages, with a limit"));
}

template <class Reply>
std::string EncodedSession(const Reply& reply) {
  return reply.session.has_value() ? reply.session->Encode() : std::string();
}

absl::Status SessionTooLong(size_t bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat("a session token of ", bytes, " bytes: the limits are ",
                   replica::kSessionTokenBytesMax,
                   " (session_token_bytes_max) and, for a "
                   "whole reply, ",
                   kReplyWireBytesMax, " (reply_wire_bytes_max)"));
}

std::string EncodedToken(const replica::ReadReply& reply) {
  return reply.result.token.has_value() ? reply.result.token->Encode()
                                        : std::string();
}

// `token` and `session` are the encoded ones of `reply`.
void EncodeReadReply(const replica::ReadReply& reply, const std::string& token,
                     const std::string& session,
                     wire::ReadResult::Builder out) {
  EncodeReceipt(reply.receipt, out.initReceipt());
  EncodeView(reply.result.view, out.initView());
  out.setMore(reply.result.more);
  // What has expired is absent to clients, and has no time.
  out.setExpiresMs(reply.result.expired ? 0 : reply.result.expires_ms);
  if (reply.result.token.has_value()) out.setToken(AsData(token));
  if (reply.session.has_value()) out.setSession(AsData(session));
}

void EncodeOptions(const replica::RequestOptions& options,
                   wire::Options::Builder out) {
  EncodeLevel(options.read, out.initR());
  EncodeLevel(options.write, out.initW());
  out.setDurability(
      net::AsWire(options.durability.value_or(replica::Durability::kWal)));
  out.setDurabilityUnsaid(!options.durability.has_value());
  out.setTimeoutMs(TimeoutMs(options.timeout));
  out.setQuorums(net::AsWire(options.quorums));
  out.setHere(options.here);
}

void EncodeStats(const replica::ShardStats& stats,
                 wire::ShardStats::Builder out) {
  out.setDeltasApplied(stats.deltas_applied);
  out.setDeltasDuplicate(stats.deltas_duplicate);
  out.setOperationsMinted(stats.operations_minted);
  out.setCommits(stats.commits);
  out.setCommitsFailed(stats.commits_failed);
  out.setFsyncs(stats.fsyncs);
  out.setCacheHits(stats.cache_hits);
  out.setCacheMisses(stats.cache_misses);
  out.setSyncDeltasSent(stats.sync_deltas_sent);
  out.setReadMismatches(stats.read_mismatches);
  out.setClockRefusals(stats.clock_refusals);
  out.setCorruptions(stats.corruptions);
  out.setLogGaps(stats.log_gaps);
  out.setQuarantined(stats.quarantined);
  out.setHints(stats.hints);
  out.setHintBytes(stats.hint_bytes);
  out.setHandedOver(stats.handed_over);
  out.setEmptying(stats.emptying);
  out.setIdsReused(stats.ids_reused);
}

}  // namespace

void EncodeExecute(absl::Span<const ClientOperation* const> operations,
                   const replica::RequestOptions& options,
                   wire::ExecuteRequest::Builder out) {
  auto list = out.initOperations(Size(operations.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    EncodeOperation(*operations[i], list[i]);
  }
  EncodeOptions(options, out.initOptions());
}

void EncodeList(const replica::ListRequest& request,
                const replica::RequestOptions& options,
                wire::ListRequest::Builder out) {
  out.setBucket(AsData(request.bucket));
  out.setPrefix(AsData(request.prefix));
  if (request.after.has_value()) EncodeObject(*request.after, out.initAfter());
  out.setLimit(request.limit);
  EncodeOptions(options, out.initOptions());
  if (request.session.empty()) return;
  auto session = out.initSession(Size(request.session.size()));
  for (unsigned i = 0; i < session.size(); ++i) {
    session.set(i, AsData(request.session[i].Encode()));
  }
}

void EncodeResults(absl::Span<const ClientResult> results,
                   wire::ExecuteReply::Builder out) {
  auto list = out.initResults(Size(results.size()));
  size_t left = kReplyWireBytesMax;
  bool first_read = true;
  for (unsigned i = 0; i < list.size(); ++i) {
    const ClientResult& result = results[i];
    if (IsDeferredRead(result.status())) {
      list[i].setDeferred();
    } else if (!result.ok()) {
      EncodeError(result.status(), list[i].initError());
    } else if (const auto* write = std::get_if<replica::WriteReply>(&*result)) {
      const std::string session = EncodedSession(*write);
      if (session.size() > std::min(left, replica::kSessionTokenBytesMax)) {
        // Without it the client could not know that it must see this write.
        EncodeError(MarkMaybe(SessionTooLong(session.size())),
                    list[i].initError());
        continue;
      }
      left -= session.size();
      EncodeWriteReply(*write, session, list[i].initWrite());
    } else {
      const auto& read = std::get<replica::ReadReply>(*result);
      const std::string token = EncodedToken(read);
      const std::string session = EncodedSession(read);
      const size_t bytes =
          WireBytes(read.result.view) + token.size() + session.size();
      if (session.size() > replica::kSessionTokenBytesMax) {
        EncodeError(SessionTooLong(session.size()), list[i].initError());
      } else if (bytes > kReplyWireBytesMax) {
        EncodeError(TooLong(bytes), list[i].initError());
      } else if (bytes > left && !first_read) {
        list[i].setDeferred();
      } else {
        EncodeReadReply(read, token, session, list[i].initRead());
        left -= std::min(left, bytes);
        first_read = false;
      }
    }
  }
}

void EncodeFailure(const absl::Status& status,
                   wire::ExecuteReply::Builder out) {
  EncodeError(status, out.initError());
}

void EncodeListReply(const absl::StatusOr<replica::ListReply>& reply,
                     wire::ListReply::Builder out) {
  if (!reply.ok()) return EncodeError(reply.status(), out.initError());
  size_t fits = 0;
  size_t bytes = 0;
  for (; fits < reply->objects.size(); ++fits) {
    const crdt::ObjectId& object = reply->objects[fits];
    bytes += object.bucket.size() + object.key.size() + 48;
    if (bytes > kReplyWireBytesMax) break;
  }
  auto page = out.initPage();
  auto objects = page.initObjects(Size(fits));
  for (unsigned i = 0; i < objects.size(); ++i) {
    EncodeObject(reply->objects[i], objects[i]);
  }
  page.setMore(reply->more || fits < reply->objects.size());
}

void EncodeHello(const Hello& hello, wire::HelloReply::Builder out) {
  out.setProtocolVersion(hello.protocol_version);
  out.setOldestProtocolVersion(hello.oldest_protocol_version);
  out.setServer(AsText(hello.server));
  out.setNodeId(replica::Index(hello.node));
  out.setNodeName(AsText(hello.node_name));
  out.setPartitions(hello.partitions);
  out.setEpoch(hello.epoch);
}

void EncodeStatus(const NodeStatus& status, wire::NodeStatus::Builder out) {
  out.setNodeId(replica::Index(status.id));
  out.setNodeName(AsText(status.name));
  out.setVersion(AsText(status.version));
  out.setUptimeMs(static_cast<uint64_t>(
      std::max<int64_t>(0, absl::ToInt64Milliseconds(status.uptime))));
  out.setActor(AsText(absl::StrFormat("%016x", crdt::ActorBits(status.actor))));
  out.setPartitions(status.partitions);
  auto members = out.initMembers(Size(status.members.size()));
  for (unsigned i = 0; i < members.size(); ++i) {
    members[i].setId(replica::Index(status.members[i].id));
    members[i].setName(AsText(status.members[i].name));
    members[i].setAddress(AsText(status.members[i].address));
    members[i].setUp(status.members[i].up);
  }
  auto shards = out.initShards(Size(status.shards.size()));
  for (unsigned i = 0; i < shards.size(); ++i) {
    EncodeStats(status.shards[i], shards[i]);
  }
  auto storage = out.initStorage(Size(status.storage.size()));
  for (unsigned i = 0; i < storage.size(); ++i) {
    storage[i].setName(AsText(status.storage[i].first));
    storage[i].setValue(status.storage[i].second);
  }
  auto transfers = out.initTransfers(Size(status.transfers.size()));
  for (unsigned i = 0; i < transfers.size(); ++i) {
    EncodeTransfer(status.transfers[i], transfers[i]);
  }
}

void EncodeDigests(const NodeDigests& digests, uint32_t first,
                   wire::NodeDigests::Builder out) {
  constexpr size_t kDigestWireBytes = 80;
  const auto begin =
      std::find_if(digests.partitions.begin(), digests.partitions.end(),
                   [first](const replica::PartitionDigest& digest) {
                     return replica::Index(digest.partition) >= first;
                   });
  const auto there = static_cast<size_t>(digests.partitions.end() - begin);
  const size_t fits = std::min(there, kReplyWireBytesMax / kDigestWireBytes);
  out.setNodeId(replica::Index(digests.id));
  out.setNodeName(AsText(digests.name));
  out.setMore(digests.more || fits < there);
  auto list = out.initPartitions(Size(fits));
  for (unsigned i = 0; i < list.size(); ++i) {
    const replica::PartitionDigest& digest = begin[i];
    list[i].setPartition(replica::Index(digest.partition));
    list[i].setRowsHigh(digest.rows.high);
    list[i].setRowsLow(digest.rows.low);
    list[i].setRowEntries(digest.row_entries);
    list[i].setContextHigh(digest.context.high);
    list[i].setContextLow(digest.context.low);
    list[i].setEvents(digest.events);
    list[i].setLogEntries(digest.log_entries);
    list[i].setLogBytes(digest.log_bytes);
  }
}

}  // namespace dovetail::net
