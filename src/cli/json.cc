#include "src/cli/json.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "crdt/text.h"
#include "replica/hash.h"
#include "src/cli/operation.h"
#include "src/cli/words.h"

namespace dovetail::cli {
namespace {

using Json = nlohmann::ordered_json;

// --- Out -------------------------------------------------------------------

Json BytesOut(const std::string& bytes) {
  if (crdt::IsUtf8(bytes)) return bytes;
  return {{"base64", absl::Base64Escape(bytes)}};
}

std::string FieldOut(const Field& field) {
  return absl::StrCat(
      crdt::IsUtf8(field.name)
          ? field.name
          : absl::StrCat("base64 ", absl::Base64Escape(field.name)),
      ":", crdt::TypeName(field.type));
}

Json ViewOut(const View& view) {
  switch (view.type) {
    case Type::kRegister:
      return view.values.empty() ? Json(nullptr) : BytesOut(view.values[0]);
    case Type::kMultiValue:
    case Type::kSet:
    case Type::kRemoveSet:
    case Type::kGrowSet: {
      Json out = Json::array();
      for (const std::string& value : view.values) {
        out.push_back(BytesOut(value));
      }
      return out;
    }
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      return view.flag;
    case Type::kCounter:
      return view.number;
    case Type::kMap: {
      Json out = Json::object();
      for (const auto& [field, child] : view.fields) {
        out[FieldOut(field)] = ViewOut(child);
      }
      return out;
    }
    case Type::kExpiry:
      break;  // of no object
  }
  return nullptr;
}

Json ObjectOut(const ObjectId& object) {
  return {{"bucket", BytesOut(object.bucket)},
          {"key", BytesOut(object.key)},
          {"type", std::string(crdt::TypeName(object.type))}};
}

void ErrorOut(const absl::Status& status, OperationKind kind, Json& out) {
  out["ok"] = false;
  out["code"] = CodeName(status);
  const std::string message(status.message());
  out["message"] = crdt::IsUtf8(message) ? message : absl::CHexEscape(message);
  out["maybe"] = kind == OperationKind::kMutation && MayHaveTakenEffect(status);
}

void WriteOut(const replica::WriteReply& reply, Json& out) {
  out["ok"] = true;
  if (reply.not_observed.size() == 1) {
    out["not_observed"] = bool{reply.not_observed.front()};
  } else {
    out["not_observed"] = reply.not_observed;
  }
  out["acks"] = reply.receipt.nodes.size();
}

void ReadOut(const replica::ReadReply& reply, OperationKind kind, Json& out) {
  const View& view = reply.result.view;
  out["ok"] = true;
  out["present"] = view.present;
  out["value"] =
      kind == OperationKind::kProbe ? Json(view.flag) : ViewOut(view);
  if (reply.result.more) out["more"] = true;
  if (reply.result.expires_ms > 0) out["expires_ms"] = reply.result.expires_ms;
  if (reply.result.token.has_value()) {
    out["token"] = TokenText(*reply.result.token);
  }
}

std::string Dump(const Json& json) { return json.dump(); }

// As text: 64 bits are more than a number of JavaScript holds.
std::string IdText(replica::NodeId id) {
  return absl::StrFormat("%016x", replica::Index(id));
}

std::string Hex(const replica::Hash128& hash) {
  return absl::StrFormat("%016x%016x", hash.high, hash.low);
}

// --- In --------------------------------------------------------------------

absl::Status Wrong(absl::string_view member, absl::string_view must_be) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", member, "\" must be ", must_be));
}

absl::StatusOr<std::string> BytesIn(const Json& json,
                                    absl::string_view member) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.size() == 1 && json.contains("base64") &&
      json["base64"].is_string()) {
    std::string bytes;
    if (absl::Base64Unescape(json["base64"].get<std::string>(), &bytes)) {
      return bytes;
    }
  }
  return Wrong(member, "a string or {\"base64\":\"…\"}");
}

absl::StatusOr<int64_t> IntegerIn(const Json& json, absl::string_view member) {
  if (json.is_number_unsigned()) {
    const uint64_t number = json.get<uint64_t>();
    if (number <= uint64_t{INT64_MAX}) return static_cast<int64_t>(number);
  } else if (json.is_number_integer()) {
    return json.get<int64_t>();
  }
  return Wrong(member, "a whole number of 64 bits");
}

absl::StatusOr<std::vector<std::string>> ListIn(const Json& json,
                                                absl::string_view member,
                                                size_t max) {
  if (!json.is_array()) return Wrong(member, "a list of strings");
  if (json.size() > max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "\"", member, "\" has ", json.size(), " members, the limit is ", max));
  }
  std::vector<std::string> out;
  for (const Json& item : json) {
    DOVETAIL_ASSIGN_OR_RETURN(std::string bytes, BytesIn(item, member));
    out.push_back(std::move(bytes));
  }
  return out;
}

// What has been read of an operation so far.
struct Draft {
  std::string type;
  std::string verb;
  Target target;
  Arguments arguments;
};

absl::Status PathIn(const Json& json, Draft& draft) {
  DOVETAIL_ASSIGN_OR_RETURN(const auto words,
                            ListIn(json, "path", crdt::kNestingMax));
  for (const std::string& word : words) {
    DOVETAIL_ASSIGN_OR_RETURN(Field field, ParseField(word));
    draft.target.fields.push_back(std::move(field));
  }
  return absl::OkStatus();
}

absl::Status ArgumentIn(const std::string& name, const Json& json,
                        Arguments& out) {
  if (name == "elements") {
    DOVETAIL_ASSIGN_OR_RETURN(
        out.elements, ListIn(json, name, crdt::kElementsPerOperationMax));
  } else if (name == "amount") {
    DOVETAIL_ASSIGN_OR_RETURN(out.amount, IntegerIn(json, name));
  } else if (name == "ttl_ms" || name == "at_ms") {
    DOVETAIL_ASSIGN_OR_RETURN(out.time_ms, IntegerIn(json, name));
  } else if (name == "value") {
    DOVETAIL_ASSIGN_OR_RETURN(out.value, BytesIn(json, name));
  } else if (name == "field") {
    DOVETAIL_ASSIGN_OR_RETURN(const std::string word, BytesIn(json, name));
    DOVETAIL_ASSIGN_OR_RETURN(out.field, ParseField(word));
  } else if (name == "token") {
    DOVETAIL_ASSIGN_OR_RETURN(const std::string word, BytesIn(json, name));
    DOVETAIL_ASSIGN_OR_RETURN(out.token, ParseToken(word));
  } else if (name == "element") {
    DOVETAIL_ASSIGN_OR_RETURN(out.element, BytesIn(json, name));
  } else if (name == "after") {
    DOVETAIL_ASSIGN_OR_RETURN(out.after, BytesIn(json, name));
  } else if (name == "limit") {
    DOVETAIL_ASSIGN_OR_RETURN(const int64_t limit, IntegerIn(json, name));
    if (limit < 0) return Wrong(name, "0 or greater");
    out.limit = static_cast<uint64_t>(limit);
  } else if (name == "want_token") {
    if (!json.is_boolean()) return Wrong(name, "true or false");
    out.want_token = json.get<bool>();
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown member ", crdt::QuoteJson(name)));
  }
  return absl::OkStatus();
}

absl::Status MemberIn(const std::string& name, const Json& json, Draft& draft) {
  if (name == "type" || name == "verb") {
    if (!json.is_string()) return Wrong(name, "a string");
    (name == "type" ? draft.type : draft.verb) = json.get<std::string>();
  } else if (name == "bucket") {
    DOVETAIL_ASSIGN_OR_RETURN(draft.target.object.bucket, BytesIn(json, name));
  } else if (name == "key") {
    DOVETAIL_ASSIGN_OR_RETURN(draft.target.object.key, BytesIn(json, name));
  } else if (name == "path") {
    return PathIn(json, draft);
  } else {
    return ArgumentIn(name, json, draft.arguments);
  }
  return absl::OkStatus();
}

absl::StatusOr<Operation> OperationIn(const Json& json) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError("an operation is a JSON object");
  }
  Draft draft;
  for (const auto& [name, member] : json.items()) {
    DOVETAIL_RETURN_IF_ERROR(MemberIn(name, member, draft));
  }
  for (const char* name : {"type", "verb", "bucket", "key"}) {
    if (!json.contains(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("an operation needs \"", name, "\""));
    }
  }
  // Either alone would be taken for the other.
  if (json.contains("ttl_ms") && draft.verb != "expire") {
    return absl::InvalidArgumentError("\"ttl_ms\" goes with expire");
  }
  if (json.contains("at_ms") && draft.verb != "expire-at") {
    return absl::InvalidArgumentError("\"at_ms\" goes with expire-at");
  }
  DOVETAIL_ASSIGN_OR_RETURN(const Type type, ParseType(draft.type));
  if (draft.target.fields.empty()) {
    draft.target.object.type = type;
  } else {
    // `type` names what the path leads to, or the map that it starts from.
    draft.target.object.type = Type::kMap;
    if (type != Type::kMap && type != draft.target.type()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"type\" is ", draft.type, ", but the path leads to a ",
                       crdt::TypeName(draft.target.type())));
    }
  }
  return MakeOperation(draft.target, draft.verb, draft.arguments);
}

absl::StatusOr<Operation> BatchIn(const Json& json) {
  if (json.size() != 1 || !json["batch"].is_array()) {
    return absl::InvalidArgumentError(
        "a batch is {\"batch\":[operation,…]} and nothing else");
  }
  replica::WriteRequest request;
  for (const Json& item : json["batch"]) {
    DOVETAIL_ASSIGN_OR_RETURN(Operation operation, OperationIn(item));
    auto* write = std::get_if<replica::WriteRequest>(&operation);
    if (write == nullptr) {
      return absl::InvalidArgumentError("a batch has no reads");
    }
    request.operations.push_back(std::move(write->operations.front()));
  }
  if (request.operations.empty()) {
    return absl::InvalidArgumentError("a batch needs operations");
  }
  return request;
}

}  // namespace

OperationKind KindOf(const Operation& operation) {
  const auto* read = std::get_if<replica::ReadRequest>(&operation);
  if (read == nullptr) return OperationKind::kMutation;
  return read->spec.element.has_value() ? OperationKind::kProbe
                                        : OperationKind::kRead;
}

std::string CodeName(const absl::Status& status) {
  return absl::StatusCodeToString(status.code());
}

absl::StatusOr<Operation> ParseOperation(absl::string_view line) {
  const Json json = Json::parse(line.begin(), line.end(), nullptr,
                                /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("not JSON");
  if (json.is_object() && json.contains("batch")) return BatchIn(json);
  return OperationIn(json);
}

std::string ResultJson(std::optional<uint64_t> line, OperationKind kind,
                       const Result& result) {
  Json out = Json::object();
  if (line.has_value()) out["line"] = *line;
  if (!result.ok()) {
    ErrorOut(result.status(), kind, out);
  } else if (const auto* write = std::get_if<replica::WriteReply>(&*result)) {
    WriteOut(*write, out);
  } else {
    const auto& read = std::get<replica::ReadReply>(*result);
    ReadOut(read, kind, out);
  }
  return Dump(out);
}

std::string TtlJson(bool present, std::optional<uint64_t> expires_ms,
                    absl::Duration left) {
  Json out = {{"ok", true}, {"present", present}};
  if (expires_ms.has_value()) {
    out["expires_ms"] = *expires_ms;
    out["ttl_ms"] = absl::ToInt64Milliseconds(left);
  }
  return Dump(out);
}

std::string ViewJson(const View& view) { return Dump(ViewOut(view)); }

std::string ObjectJson(const ObjectId& object) {
  return Dump(ObjectOut(object));
}

std::string ErrorJson(OperationKind kind, const absl::Status& status) {
  Json out = Json::object();
  ErrorOut(status, kind, out);
  return Dump(out);
}

std::string StatusJson(const NodeStatus& status) {
  Json members = Json::array();
  for (const net::MemberStatus& member : status.members) {
    members.push_back({{"id", IdText(member.id)},
                       {"name", member.name},
                       {"address", member.address},
                       {"up", member.up}});
  }
  Json shards = Json::array();
  for (const replica::ShardStats& shard : status.shards) {
    shards.push_back({{"deltas_applied", shard.deltas_applied},
                      {"deltas_duplicate", shard.deltas_duplicate},
                      {"operations_minted", shard.operations_minted},
                      {"commits", shard.commits},
                      {"commits_failed", shard.commits_failed},
                      {"fsyncs", shard.fsyncs},
                      {"cache_hits", shard.cache_hits},
                      {"cache_misses", shard.cache_misses},
                      {"sync_deltas_sent", shard.sync_deltas_sent},
                      {"read_mismatches", shard.read_mismatches},
                      {"clock_refusals", shard.clock_refusals},
                      {"corruptions", shard.corruptions},
                      {"log_gaps", shard.log_gaps},
                      {"quarantined", shard.quarantined},
                      {"ids_reused", shard.ids_reused}});
  }
  Json storage = Json::object();
  for (const auto& [name, value] : status.storage) storage[name] = value;
  const Json out = {
      {"id", IdText(status.id)},
      {"name", status.name},
      {"version", status.version},
      {"uptime_seconds", absl::ToDoubleSeconds(status.uptime)},
      {"actor", absl::StrFormat("%016x", crdt::ActorBits(status.actor))},
      {"partitions", status.partitions},
      {"members", members},
      {"shards", shards},
      {"storage", storage}};
  return Dump(out);
}

std::string DigestsJson(const NodeDigests& digests) {
  Json partitions = Json::array();
  for (const replica::PartitionDigest& digest : digests.partitions) {
    partitions.push_back({{"partition", replica::Index(digest.partition)},
                          {"rows", Hex(digest.rows)},
                          {"row_entries", digest.row_entries},
                          {"context", Hex(digest.context)},
                          {"events", digest.events},
                          {"log_entries", digest.log_entries},
                          {"log_bytes", digest.log_bytes}});
  }
  return Dump({{"id", IdText(digests.id)},
               {"name", digests.name},
               {"partitions", partitions}});
}

}  // namespace dovetail::cli
