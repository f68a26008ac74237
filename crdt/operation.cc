#include "crdt/operation.h"

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/limits.h"

namespace dovetail::crdt {
namespace {

absl::Status CheckSize(absl::string_view what, size_t bytes, size_t bytes_max,
                       absl::string_view limit) {
  if (bytes <= bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(what, " is ", bytes, " bytes; the limit is ", bytes_max,
                   " (", limit, ")"));
}

absl::Status CheckField(const Field& field) {
  if (field.name.empty()) {
    return absl::InvalidArgumentError("field name is empty");
  }
  if (!TypeFromByte(static_cast<uint8_t>(field.type))) {
    return absl::InvalidArgumentError("field is of an unknown type");
  }
  return CheckSize("field name", field.name.size(), kFieldBytesMax,
                   "kFieldBytesMax");
}

absl::Status CheckNesting(size_t depth) {
  if (depth <= kNestingMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("path is ", depth, " fields deep; the limit is ",
                   kNestingMax, " (kNestingMax)"));
}

bool Fits(Verb verb, Type type) {
  switch (verb) {
    case Verb::kAdd:
      return HasElements(type) || type == Type::kCounter;
    case Verb::kRemove:
      return type == Type::kSet || type == Type::kRemoveSet;
    case Verb::kClear:
      return type == Type::kSet || type == Type::kRemoveSet ||
             type == Type::kRegister || type == Type::kMultiValue ||
             type == Type::kMap;
    case Verb::kWrite:
      return type == Type::kRegister || type == Type::kMultiValue;
    case Verb::kWriteBlind:
      return type == Type::kMultiValue;
    case Verb::kEnable:
    case Verb::kDisable:
      return type == Type::kEnableFlag || type == Type::kDisableFlag;
    case Verb::kReset:
      return type == Type::kCounter;
    case Verb::kRemoveField:
      return type == Type::kMap;
    case Verb::kDelete:
    case Verb::kExpireIn:
    case Verb::kExpireAt:
    case Verb::kPersist:
      return true;
  }
  return false;
}

absl::Status CheckElements(const std::vector<std::string>& elements) {
  if (elements.empty()) return absl::InvalidArgumentError("no elements");
  if (elements.size() > kElementsPerOperationMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(elements.size(), " elements; the limit is ",
                     kElementsPerOperationMax, " (kElementsPerOperationMax)"));
  }
  size_t bytes = 0;
  for (const std::string& element : elements) {
    DOVETAIL_RETURN_IF_ERROR(CheckSize("element", element.size(),
                                       kElementBytesMax, "kElementBytesMax"));
    bytes += element.size();
  }
  // They become one delta.
  return CheckSize("all elements together", bytes, kDeltaBytesMax,
                   "kDeltaBytesMax");
}

absl::Status CheckWholeObject(const Operation& operation) {
  if (operation.fields.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(VerbName(operation.verb), " takes no fields"));
}

absl::Status CheckArguments(const Operation& operation) {
  switch (operation.verb) {
    case Verb::kAdd:
      if (operation.target_type() == Type::kCounter) {
        if (operation.amount != 0) return absl::OkStatus();
        return absl::InvalidArgumentError("amount is 0");
      }
      return CheckElements(operation.elements);
    case Verb::kRemove:
      return CheckElements(operation.elements);
    case Verb::kWrite:
    case Verb::kWriteBlind:
      return CheckSize("value", operation.value.size(), kValueBytesMax,
                       "kValueBytesMax");
    case Verb::kRemoveField:
      DOVETAIL_RETURN_IF_ERROR(CheckField(operation.child));
      return CheckNesting(operation.fields.size() + 1);
    case Verb::kExpireIn:
    case Verb::kExpireAt:
      if (operation.amount < 1 ||
          operation.amount > static_cast<int64_t>(kExpiresMsMax)) {
        return absl::InvalidArgumentError(
            absl::StrCat("a time of ", operation.amount,
                         " ms; it is from 1 to ", kExpiresMsMax));
      }
      return CheckWholeObject(operation);
    case Verb::kDelete:
    case Verb::kPersist:
      return CheckWholeObject(operation);
    case Verb::kClear:
    case Verb::kEnable:
    case Verb::kDisable:
    case Verb::kReset:
      return absl::OkStatus();
  }
  return absl::InvalidArgumentError("unknown verb");
}

// The token must have read the target, or a place around it.
absl::Status CheckToken(const Operation& operation) {
  if (!operation.observed) return absl::OkStatus();
  const ObservedToken& token = *operation.observed;
  if (token.object != operation.object) {
    return absl::InvalidArgumentError(
        absl::StrCat("token of ", ToString(token.object), " used for ",
                     ToString(operation.object)));
  }
  const auto check = [&](const Path& target) {
    if (target.HasPrefix(token.scope)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "token of a read of \"", DebugString(token.object.type, token.scope),
        "\" does not contain \"", DebugString(token.object.type, target),
        "\""));
  };
  const Path place = Path::OfFields(operation.fields);
  if (operation.verb == Verb::kRemoveField) {
    return check(place.ChildField(operation.child));
  }
  const bool by_element =
      HasElements(operation.target_type()) &&
      (operation.verb == Verb::kAdd || operation.verb == Verb::kRemove);
  if (!by_element) return check(place);
  for (const std::string& element : operation.elements) {
    DOVETAIL_RETURN_IF_ERROR(check(place.Element(element)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view VerbName(Verb verb) {
  switch (verb) {
    case Verb::kAdd:
      return "add";
    case Verb::kRemove:
      return "remove";
    case Verb::kClear:
      return "clear";
    case Verb::kWrite:
      return "write";
    case Verb::kWriteBlind:
      return "write-blind";
    case Verb::kEnable:
      return "enable";
    case Verb::kDisable:
      return "disable";
    case Verb::kReset:
      return "reset";
    case Verb::kRemoveField:
      return "remove-field";
    case Verb::kDelete:
      return "delete";
    case Verb::kExpireIn:
      return "expire";
    case Verb::kExpireAt:
      return "expire-at";
    case Verb::kPersist:
      return "persist";
  }
  return "unknown";
}

absl::Status ValidateTarget(const ObjectId& object,
                            const std::vector<Field>& fields) {
  if (object.bucket.empty()) {
    return absl::InvalidArgumentError("bucket is empty");
  }
  if (object.key.empty()) return absl::InvalidArgumentError("key is empty");
  DOVETAIL_RETURN_IF_ERROR(CheckSize("bucket", object.bucket.size(),
                                     kBucketBytesMax, "kBucketBytesMax"));
  DOVETAIL_RETURN_IF_ERROR(
      CheckSize("key", object.key.size(), kKeyBytesMax, "kKeyBytesMax"));
  if (!TypeFromByte(static_cast<uint8_t>(object.type))) {
    return absl::InvalidArgumentError("object is of an unknown type");
  }
  DOVETAIL_RETURN_IF_ERROR(CheckNesting(fields.size()));
  Type above = object.type;
  for (const Field& field : fields) {
    if (above != Type::kMap) {
      return absl::InvalidArgumentError(
          absl::StrCat("a ", TypeName(above), " has no fields"));
    }
    DOVETAIL_RETURN_IF_ERROR(CheckField(field));
    above = field.type;
  }
  return absl::OkStatus();
}

absl::Status Validate(const Operation& operation) {
  DOVETAIL_RETURN_IF_ERROR(ValidateTarget(operation.object, operation.fields));
  if (!Fits(operation.verb, operation.target_type())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", TypeName(operation.target_type()), " has no ",
                     VerbName(operation.verb)));
  }
  DOVETAIL_RETURN_IF_ERROR(CheckArguments(operation));
  return CheckToken(operation);
}

}  // namespace dovetail::crdt
