// The decoding half of client_codec.h. Every reader below may throw on a
// pointer that leads nowhere; Guarded() is the one place that catches it.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "net/client_codec.h"
#include "net/guarded.h"

namespace dovetail::net {
namespace {

using crdt::Verb;

absl::Status OverLimit(absl::string_view what, absl::string_view limit,
                       size_t size, size_t max) {
  return absl::ResourceExhaustedError(
      absl::StrCat(what, ": ", size, " is over ", limit, " = ", max));
}

absl::StatusOr<std::string> DecodeBytes(capnp::Data::Reader in,
                                        absl::string_view what,
                                        absl::string_view limit, size_t max) {
  if (in.size() > max) return OverLimit(what, limit, in.size(), max);
  return std::string(reinterpret_cast<const char*>(in.begin()), in.size());
}

absl::StatusOr<crdt::Type> DecodeType(wire::ObjectType type) {
  const auto number = static_cast<uint16_t>(type);
  if (number <= std::numeric_limits<uint8_t>::max()) {
    const auto known = crdt::TypeFromByte(static_cast<uint8_t>(number));
    if (known.has_value()) return *known;
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown type ", number));
}

absl::StatusCode DecodeCode(wire::ErrorCode code) {
  switch (code) {
    case wire::ErrorCode::DATA_LOSS:
      return absl::StatusCode::kDataLoss;
    case wire::ErrorCode::UNAVAILABLE:
      return absl::StatusCode::kUnavailable;
    case wire::ErrorCode::DEADLINE_EXCEEDED:
      return absl::StatusCode::kDeadlineExceeded;
    case wire::ErrorCode::FAILED_PRECONDITION:
      return absl::StatusCode::kFailedPrecondition;
    case wire::ErrorCode::RESOURCE_EXHAUSTED:
      return absl::StatusCode::kResourceExhausted;
    case wire::ErrorCode::PERMISSION_DENIED:
      return absl::StatusCode::kPermissionDenied;
    case wire::ErrorCode::NONE:
    case wire::ErrorCode::INVALID_ARGUMENT:
      break;
  }
  return absl::StatusCode::kInvalidArgument;  // also a code of a later version
}

}  // namespace

absl::Status DecodeError(wire::Error::Reader in) {
  absl::Status status(DecodeCode(in.getCode()), AsString(in.getMessage()));
  const absl::Duration after = absl::Milliseconds(in.getRetryAfterMs());
  const bool maybe = in.getMaybe() || MayHaveTakenEffect(status);
  if (after > absl::ZeroDuration() && !maybe &&
      absl::IsResourceExhausted(status)) {
    return replica::WithRetryAfter(std::move(status), after);
  }
  if (!in.getMaybe() || MayHaveTakenEffect(status)) return status;
  return MarkMaybe(std::move(status));
}

namespace {

absl::StatusOr<crdt::ObjectId> DecodeObject(wire::Object::Reader in) {
  crdt::ObjectId object;
  DOVETAIL_ASSIGN_OR_RETURN(
      object.bucket, DecodeBytes(in.getBucket(), "bucket", "bucket_bytes_max",
                                 crdt::kBucketBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(
      object.key,
      DecodeBytes(in.getKey(), "key", "key_bytes_max", crdt::kKeyBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(object.type, DecodeType(in.getType()));
  return object;
}

absl::StatusOr<crdt::Field> DecodeField(wire::Field::Reader in) {
  crdt::Field field;
  DOVETAIL_ASSIGN_OR_RETURN(
      field.name, DecodeBytes(in.getName(), "field", "field_bytes_max",
                              crdt::kFieldBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(field.type, DecodeType(in.getType()));
  return field;
}

absl::StatusOr<std::vector<crdt::Field>> DecodeFields(
    capnp::List<wire::Field>::Reader in) {
  if (in.size() > crdt::kNestingMax) {
    return OverLimit("fields in the path", "nesting_max", in.size(),
                     crdt::kNestingMax);
  }
  std::vector<crdt::Field> fields;
  fields.reserve(in.size());
  for (wire::Field::Reader item : in) {
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Field field, DecodeField(item));
    fields.push_back(std::move(field));
  }
  return fields;
}

absl::StatusOr<std::string> DecodeElement(capnp::Data::Reader in) {
  return DecodeBytes(in, "element", "element_bytes_max",
                     crdt::kElementBytesMax);
}

absl::StatusOr<std::string> DecodeValue(capnp::Data::Reader in) {
  return DecodeBytes(in, "value", "value_bytes_max", crdt::kValueBytesMax);
}

absl::StatusOr<std::vector<std::string>> DecodeElements(
    capnp::List<capnp::Data>::Reader in) {
  if (in.size() > crdt::kElementsPerOperationMax) {
    return OverLimit("elements", "elements_per_operation_max", in.size(),
                     crdt::kElementsPerOperationMax);
  }
  std::vector<std::string> elements;
  elements.reserve(in.size());
  for (capnp::Data::Reader item : in) {
    DOVETAIL_ASSIGN_OR_RETURN(std::string element, DecodeElement(item));
    elements.push_back(std::move(element));
  }
  return elements;
}

absl::StatusOr<crdt::ObservedToken> DecodeToken(capnp::Data::Reader in) {
  if (in.size() > crdt::kTokenBytesMax) {
    return OverLimit("token", "token_bytes_max", in.size(),
                     crdt::kTokenBytesMax);
  }
  return crdt::ObservedToken::Decode(
      absl::string_view(reinterpret_cast<const char*>(in.begin()), in.size()));
}

absl::Status DecodeAction(wire::Mutation::Action::Reader in,
                          crdt::Operation& out) {
  const auto set = [&out](Verb verb) {
    out.verb = verb;
    return absl::OkStatus();
  };
  switch (in.which()) {
    case wire::Mutation::Action::ADD: {
      if (out.target_type() == crdt::Type::kCounter) {
        return absl::InvalidArgumentError(
            "`add` takes elements; a counter takes `increment`");
      }
      DOVETAIL_ASSIGN_OR_RETURN(out.elements, DecodeElements(in.getAdd()));
      return set(Verb::kAdd);
    }
    case wire::Mutation::Action::REMOVE: {
      DOVETAIL_ASSIGN_OR_RETURN(out.elements, DecodeElements(in.getRemove()));
      return set(Verb::kRemove);
    }
    case wire::Mutation::Action::INCREMENT: {
      if (out.target_type() != crdt::Type::kCounter) {
        return absl::InvalidArgumentError("`increment` is for counters only");
      }
      out.amount = in.getIncrement();
      return set(Verb::kAdd);
    }
    case wire::Mutation::Action::RESET:
      return set(Verb::kReset);
    case wire::Mutation::Action::WRITE: {
      DOVETAIL_ASSIGN_OR_RETURN(out.value, DecodeValue(in.getWrite()));
      return set(Verb::kWrite);
    }
    case wire::Mutation::Action::WRITE_BLIND: {
      DOVETAIL_ASSIGN_OR_RETURN(out.value, DecodeValue(in.getWriteBlind()));
      return set(Verb::kWriteBlind);
    }
    case wire::Mutation::Action::CLEAR:
      return set(Verb::kClear);
    case wire::Mutation::Action::ENABLE:
      return set(Verb::kEnable);
    case wire::Mutation::Action::DISABLE:
      return set(Verb::kDisable);
    case wire::Mutation::Action::REMOVE_FIELD: {
      DOVETAIL_ASSIGN_OR_RETURN(out.child, DecodeField(in.getRemoveField()));
      return set(Verb::kRemoveField);
    }
    case wire::Mutation::Action::DELETE:
      return set(Verb::kDelete);
    case wire::Mutation::Action::EXPIRE_IN:
      out.amount = in.getExpireIn();
      return set(Verb::kExpireIn);
    case wire::Mutation::Action::EXPIRE_AT:
      out.amount = in.getExpireAt();
      return set(Verb::kExpireAt);
    case wire::Mutation::Action::PERSIST:
      return set(Verb::kPersist);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown action ", static_cast<uint16_t>(in.which())));
}

absl::StatusOr<crdt::Operation> DecodeMutation(wire::Mutation::Reader in) {
  crdt::Operation out;
  DOVETAIL_ASSIGN_OR_RETURN(out.object, DecodeObject(in.getObject()));
  DOVETAIL_ASSIGN_OR_RETURN(out.fields, DecodeFields(in.getFields()));
  DOVETAIL_RETURN_IF_ERROR(DecodeAction(in.getAction(), out));
  if (in.hasToken()) {
    DOVETAIL_ASSIGN_OR_RETURN(out.observed, DecodeToken(in.getToken()));
  }
  return out;
}

absl::StatusOr<replica::WriteRequest> DecodeBatch(wire::Batch::Reader in) {
  const auto mutations = in.getMutations();
  if (mutations.size() == 0) {
    return absl::InvalidArgumentError("batch without operations");
  }
  if (mutations.size() > crdt::kOperationsPerBatchMax) {
    return OverLimit("operations in the batch", "operations_per_batch_max",
                     mutations.size(), crdt::kOperationsPerBatchMax);
  }
  replica::WriteRequest out;
  out.operations.reserve(mutations.size());
  for (wire::Mutation::Reader mutation : mutations) {
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Operation operation,
                              DecodeMutation(mutation));
    out.operations.push_back(std::move(operation));
  }
  return out;
}

absl::StatusOr<ClientOperation> DecodeRead(wire::Read::Reader in) {
  replica::ReadRequest out;
  crdt::ReadSpec& spec = out.spec;
  DOVETAIL_ASSIGN_OR_RETURN(spec.object, DecodeObject(in.getObject()));
  DOVETAIL_ASSIGN_OR_RETURN(spec.fields, DecodeFields(in.getFields()));
  if (in.hasElement()) {
    DOVETAIL_ASSIGN_OR_RETURN(spec.element, DecodeElement(in.getElement()));
  }
  if (in.hasAfterElement()) {
    DOVETAIL_ASSIGN_OR_RETURN(spec.after_element,
                              DecodeElement(in.getAfterElement()));
  }
  if (in.hasAfterField()) {
    DOVETAIL_ASSIGN_OR_RETURN(spec.after_field,
                              DecodeField(in.getAfterField()));
  }
  spec.limit = in.getLimit();
  spec.want_token = in.getWantToken();
  const auto only = in.getOnly();
  if (only.size() > kReadNodesMax) {
    return OverLimit("nodes to read from", "read_nodes_max", only.size(),
                     kReadNodesMax);
  }
  for (uint64_t node : only) out.only.push_back(replica::NodeId{node});
  return out;
}

// Whether it is a session's is left to crdt::Validate.
std::optional<crdt::OperationId> DecodeId(wire::Operation::Reader in) {
  if (!in.hasId()) return std::nullopt;
  const wire::OperationId::Reader id = in.getId();
  return crdt::OperationId{{crdt::ActorId{id.getSession()}, id.getSequence()},
                           {id.getWallMs(), id.getLogical()}};
}

// Of a request or a result that has one.
template <class Reader>
absl::Status DecodeSession(Reader in,
                           std::optional<replica::SessionToken>& out) {
  if (!in.hasSession()) return absl::OkStatus();
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::string bytes,
      DecodeBytes(in.getSession(), "session token", "session_token_bytes_max",
                  replica::kSessionTokenBytesMax));
  DOVETAIL_ASSIGN_OR_RETURN(out, replica::SessionToken::Decode(bytes));
  return absl::OkStatus();
}

absl::StatusOr<ClientOperation> DecodeBody(wire::Operation::Reader in) {
  switch (in.which()) {
    case wire::Operation::MUTATION: {
      DOVETAIL_ASSIGN_OR_RETURN(crdt::Operation operation,
                                DecodeMutation(in.getMutation()));
      replica::WriteRequest out;
      out.operations.push_back(std::move(operation));
      out.id = DecodeId(in);
      return out;
    }
    case wire::Operation::BATCH: {
      DOVETAIL_ASSIGN_OR_RETURN(replica::WriteRequest out,
                                DecodeBatch(in.getBatch()));
      out.id = DecodeId(in);
      return out;
    }
    case wire::Operation::READ:
      if (in.hasId()) {
        return absl::InvalidArgumentError("a read with an operation id");
      }
      return DecodeRead(in.getRead());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown operation ", static_cast<uint16_t>(in.which())));
}

absl::StatusOr<ClientOperation> DecodeOperation(wire::Operation::Reader in) {
  DOVETAIL_ASSIGN_OR_RETURN(ClientOperation out, DecodeBody(in));
  DOVETAIL_RETURN_IF_ERROR(std::visit(
      [&](auto& request) { return DecodeSession(in, request.session); }, out));
  return out;
}

// Mutations and reads; never throws for what has not been looked at.
size_t CountOperations(wire::Operation::Reader in) {
  return in.isBatch() ? in.getBatch().getMutations().size() : 1;
}

absl::StatusOr<replica::RequestOptions> DecodeOptions(
    wire::Options::Reader in) {
  replica::RequestOptions out;
  DOVETAIL_ASSIGN_OR_RETURN(out.read, DecodeLevel(in.getR()));
  DOVETAIL_ASSIGN_OR_RETURN(out.write, DecodeLevel(in.getW()));
  if (!in.getDurabilityUnsaid()) {
    DOVETAIL_ASSIGN_OR_RETURN(out.durability,
                              DecodeDurability(in.getDurability()));
  }
  out.timeout = absl::Milliseconds(in.getTimeoutMs());
  DOVETAIL_ASSIGN_OR_RETURN(out.quorums, DecodeQuorums(in.getQuorums()));
  out.here = in.getHere();
  return out;
}

absl::StatusOr<replica::Receipt> DecodeReceipt(wire::Receipt::Reader in) {
  replica::Receipt out;
  for (uint64_t node : in.getNodes()) {
    out.nodes.push_back(replica::NodeId{node});
  }
  for (uint64_t node : in.getStandIns()) {
    out.stand_ins.push_back(replica::NodeId{node});
  }
  out.required = in.getRequired();
  DOVETAIL_ASSIGN_OR_RETURN(out.durability,
                            DecodeDurability(in.getDurability()));
  return out;
}

// `depth` maps enclose it.
absl::StatusOr<crdt::View> DecodeView(wire::View::Reader in, size_t depth) {
  if (depth > crdt::kNestingMax) {
    return OverLimit("maps in the view", "nesting_max", depth,
                     crdt::kNestingMax);
  }
  crdt::View out;
  DOVETAIL_ASSIGN_OR_RETURN(out.type, DecodeType(in.getType()));
  out.present = in.getPresent();
  out.flag = in.getFlag();
  out.number = in.getNumber();
  for (capnp::Data::Reader value : in.getValues()) {
    DOVETAIL_ASSIGN_OR_RETURN(std::string bytes, DecodeValue(value));
    out.values.push_back(std::move(bytes));
  }
  for (wire::FieldView::Reader item : in.getFields()) {
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Field field, DecodeField(item.getField()));
    DOVETAIL_ASSIGN_OR_RETURN(crdt::View view,
                              DecodeView(item.getView(), depth + 1));
    out.fields.emplace_back(std::move(field), std::move(view));
  }
  return out;
}

absl::StatusOr<replica::WriteReply> DecodeWriteReply(
    wire::WriteResult::Reader in) {
  replica::WriteReply out;
  DOVETAIL_ASSIGN_OR_RETURN(out.receipt, DecodeReceipt(in.getReceipt()));
  for (bool not_observed : in.getNotObserved()) {
    out.not_observed.push_back(not_observed);
  }
  out.deltas = in.getDeltas();
  DOVETAIL_RETURN_IF_ERROR(DecodeSession(in, out.session));
  return out;
}

absl::StatusOr<replica::ReadReply> DecodeReadReply(
    wire::ReadResult::Reader in) {
  replica::ReadReply out;
  DOVETAIL_ASSIGN_OR_RETURN(out.receipt, DecodeReceipt(in.getReceipt()));
  DOVETAIL_ASSIGN_OR_RETURN(out.result.view, DecodeView(in.getView(), 0));
  out.result.more = in.getMore();
  out.result.expires_ms = in.getExpiresMs();
  if (in.hasToken()) {
    DOVETAIL_ASSIGN_OR_RETURN(out.result.token, DecodeToken(in.getToken()));
  }
  DOVETAIL_RETURN_IF_ERROR(DecodeSession(in, out.session));
  return out;
}

// The node did something, but what it says of it does not decode.
absl::Status Unreadable(absl::Status status) {
  return IsDeferredRead(status) ? status : MarkMaybe(std::move(status));
}

ClientResult DecodeResult(wire::Result::Reader in) {
  switch (in.which()) {
    case wire::Result::ERROR:
      return DecodeError(in.getError());
    case wire::Result::WRITE: {
      DOVETAIL_ASSIGN_OR_RETURN(auto write, DecodeWriteReply(in.getWrite()));
      return write;
    }
    case wire::Result::READ: {
      DOVETAIL_ASSIGN_OR_RETURN(auto read, DecodeReadReply(in.getRead()));
      return read;
    }
    case wire::Result::DEFERRED:
      return DeferredRead();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown result ", static_cast<uint16_t>(in.which())));
}

}  // namespace

absl::StatusOr<ExecuteCall> DecodeExecute(wire::ExecuteRequest::Reader in) {
  return Guarded([&]() -> absl::StatusOr<ExecuteCall> {
    ExecuteCall out;
    const auto operations = in.getOperations();
    size_t count = operations.size();
    if (count <= crdt::kOperationsPerCallMax) {
      count = 0;
      for (wire::Operation::Reader item : operations) {
        count += CountOperations(item);
      }
    }
    if (count > crdt::kOperationsPerCallMax) {
      return OverLimit("operations in the call", "operations_per_call_max",
                       count, crdt::kOperationsPerCallMax);
    }
    DOVETAIL_ASSIGN_OR_RETURN(out.options, DecodeOptions(in.getOptions()));
    out.operations.reserve(operations.size());
    for (wire::Operation::Reader item : operations) {
      out.operations.push_back(Guarded([&] { return DecodeOperation(item); }));
    }
    return out;
  });
}

namespace {

absl::StatusOr<std::vector<replica::SessionToken>> DecodeListSession(
    capnp::List<capnp::Data>::Reader in) {
  std::vector<replica::SessionToken> session;
  size_t bytes = 0;
  for (capnp::Data::Reader item : in) {
    bytes += item.size();
    DOVETAIL_RETURN_IF_ERROR(CheckListSession(bytes));
    DOVETAIL_ASSIGN_OR_RETURN(
        replica::SessionToken token,
        replica::SessionToken::Decode(absl::string_view(
            reinterpret_cast<const char*>(item.begin()), item.size())));
    if (token.partitions == 0) continue;  // it has seen nothing
    if (!session.empty() && token.partition <= session.back().partition) {
      return absl::InvalidArgumentError(
          "session of the listing: partitions are not in ascending order");
    }
    session.push_back(std::move(token));
  }
  return session;
}

}  // namespace

absl::Status CheckListSession(size_t bytes) {
  if (bytes <= replica::kListSessionBytesMax) return absl::OkStatus();
  return OverLimit("session of the listing, in bytes", "list_session_bytes_max",
                   bytes, replica::kListSessionBytesMax);
}

absl::StatusOr<ListCall> DecodeList(wire::ListRequest::Reader in) {
  return Guarded([&]() -> absl::StatusOr<ListCall> {
    ListCall call;
    replica::ListRequest& out = call.request;
    DOVETAIL_ASSIGN_OR_RETURN(
        out.bucket, DecodeBytes(in.getBucket(), "bucket", "bucket_bytes_max",
                                crdt::kBucketBytesMax));
    DOVETAIL_ASSIGN_OR_RETURN(
        out.prefix, DecodeBytes(in.getPrefix(), "prefix", "key_bytes_max",
                                crdt::kKeyBytesMax));
    if (in.hasAfter()) {
      DOVETAIL_ASSIGN_OR_RETURN(out.after, DecodeObject(in.getAfter()));
    }
    if (in.getLimit() != 0) out.limit = in.getLimit();
    DOVETAIL_ASSIGN_OR_RETURN(call.options, DecodeOptions(in.getOptions()));
    DOVETAIL_ASSIGN_OR_RETURN(out.session, DecodeListSession(in.getSession()));
    return call;
  });
}

absl::StatusOr<std::vector<ClientResult>> DecodeResults(
    wire::ExecuteReply::Reader in) {
  if (in.isError()) {
    const auto error =
        Guarded([&]() -> ClientResult { return DecodeError(in.getError()); });
    return error.status();
  }
  auto results = Guarded([&]() -> absl::StatusOr<std::vector<ClientResult>> {
    if (!in.isResults()) {
      return absl::InvalidArgumentError("reply of an unknown kind");
    }
    std::vector<ClientResult> out;
    const auto list = in.getResults();
    if (list.size() > crdt::kOperationsPerCallMax) {
      return OverLimit("results in the reply", "operations_per_call_max",
                       list.size(), crdt::kOperationsPerCallMax);
    }
    out.reserve(list.size());
    for (wire::Result::Reader item : list) {
      out.push_back(Guarded([&] { return DecodeResult(item); }));
      if (!out.back().ok() && !item.isError()) {
        out.back() = Unreadable(out.back().status());
      }
    }
    return out;
  });
  if (!results.ok()) return MarkMaybe(results.status());
  return results;
}

absl::StatusOr<replica::ListReply> DecodeListReply(wire::ListReply::Reader in) {
  return Guarded([&]() -> absl::StatusOr<replica::ListReply> {
    if (in.isError()) return DecodeError(in.getError());
    if (!in.isPage()) {
      return absl::InvalidArgumentError("reply of an unknown kind");
    }
    replica::ListReply out;
    for (wire::Object::Reader item : in.getPage().getObjects()) {
      DOVETAIL_ASSIGN_OR_RETURN(crdt::ObjectId object, DecodeObject(item));
      out.objects.push_back(std::move(object));
    }
    out.more = in.getPage().getMore();
    return out;
  });
}

}  // namespace dovetail::net
