#include "src/cli/operation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/operation.h"
#include "crdt/query.h"
#include "crdt/text.h"
#include "src/cli/words.h"

namespace dovetail::cli {
namespace {

using crdt::Verb;

constexpr Verb kAllVerbs[] = {
    Verb::kAdd,         Verb::kRemove, Verb::kClear,    Verb::kWrite,
    Verb::kWriteBlind,  Verb::kEnable, Verb::kDisable,  Verb::kReset,
    Verb::kRemoveField, Verb::kDelete, Verb::kExpireIn, Verb::kExpireAt,
    Verb::kPersist};

std::optional<Verb> VerbFromName(absl::string_view name) {
  for (Verb verb : kAllVerbs) {
    if (crdt::VerbName(verb) == name) return verb;
  }
  return std::nullopt;
}

absl::Status Refuse(absl::string_view verb, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("`", verb, "` ", why));
}

absl::StatusOr<Operation> MakeRead(const Target& target,
                                   const Arguments& arguments) {
  if (!arguments.elements.empty() || arguments.value.has_value() ||
      arguments.amount.has_value() || arguments.field.has_value() ||
      arguments.token.has_value() || arguments.time_ms.has_value()) {
    return Refuse("read", "takes only element, after, limit and want_token");
  }
  replica::ReadRequest read;
  read.spec.object = target.object;
  read.spec.fields = target.fields;
  read.spec.element = arguments.element;
  read.spec.limit = arguments.limit;
  read.spec.want_token = arguments.want_token;
  if (arguments.after.has_value()) {
    if (target.type() == Type::kMap) {
      DOVETAIL_ASSIGN_OR_RETURN(read.spec.after_field,
                                ParseField(*arguments.after));
    } else {
      read.spec.after_element = arguments.after;
    }
  }
  DOVETAIL_RETURN_IF_ERROR(crdt::Validate(read.spec));
  return read;
}

// Whether `verb` was given what belongs to it, and nothing else.
absl::Status CheckGiven(Verb verb, Type type, const Arguments& arguments) {
  const absl::string_view name = crdt::VerbName(verb);
  if (arguments.element.has_value() || arguments.after.has_value() ||
      arguments.limit != 0 || arguments.want_token) {
    return Refuse(name, "takes no element, after, limit or want_token");
  }
  const bool timed = verb == Verb::kExpireIn || verb == Verb::kExpireAt;
  if (arguments.time_ms.has_value() != timed) {
    return Refuse(name, verb == Verb::kExpireIn   ? "needs ttl_ms"
                        : verb == Verb::kExpireAt ? "needs at_ms"
                                                  : "takes no time");
  }
  const bool counts = verb == Verb::kAdd && type == Type::kCounter;
  const bool has_elements =
      (verb == Verb::kAdd || verb == Verb::kRemove) && !counts;
  const bool has_value = verb == Verb::kWrite || verb == Verb::kWriteBlind;
  const bool has_field = verb == Verb::kRemoveField;
  if (arguments.amount.has_value() != counts) {
    return Refuse(name, counts ? "needs an amount" : "takes no amount here");
  }
  if (arguments.elements.empty() == has_elements) {
    return Refuse(name, has_elements ? "needs elements" : "takes no elements");
  }
  if (arguments.value.has_value() != has_value) {
    return Refuse(name, has_value ? "needs a value" : "takes no value");
  }
  if (arguments.field.has_value() != has_field) {
    return Refuse(name, has_field ? "needs a field" : "takes no field");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Operation> MakeOperation(const Target& target,
                                        absl::string_view verb_name,
                                        const Arguments& arguments) {
  if (verb_name == "read") return MakeRead(target, arguments);
  const auto verb = VerbFromName(verb_name);
  if (!verb.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no such verb: ", crdt::QuoteJson(verb_name),
        "; verbs are read, add, remove, clear, write, write-blind, enable, "
        "disable, reset, remove-field, delete, expire, expire-at, persist"));
  }
  DOVETAIL_RETURN_IF_ERROR(CheckGiven(*verb, target.type(), arguments));
  Mutation mutation;
  mutation.object = target.object;
  mutation.fields = target.fields;
  mutation.verb = *verb;
  mutation.elements = arguments.elements;
  mutation.value = arguments.value.value_or("");
  mutation.amount = arguments.amount.value_or(arguments.time_ms.value_or(0));
  mutation.child = arguments.field.value_or(Field{});
  mutation.observed = arguments.token;
  DOVETAIL_RETURN_IF_ERROR(crdt::Validate(mutation));
  replica::WriteRequest request;
  request.operations.push_back(std::move(mutation));
  return request;
}

absl::Status AddTtl(absl::string_view ttl, Operation& operation) {
  auto* write = std::get_if<replica::WriteRequest>(&operation);
  if (write == nullptr) return Refuse("read", "takes no --ttl");
  Mutation expire;
  expire.object = write->operations.front().object;
  expire.verb = Verb::kExpireIn;
  DOVETAIL_ASSIGN_OR_RETURN(expire.amount, ParseTtl(ttl));
  write->operations.push_back(std::move(expire));
  return absl::OkStatus();
}

absl::StatusOr<Arguments> ArgumentsFromWords(
    Type type, std::string& verb, absl::Span<const std::string> words) {
  Arguments out;
  const auto one = [&](absl::string_view what) -> absl::Status {
    if (words.size() == 1) return absl::OkStatus();
    return Refuse(verb,
                  absl::StrCat("takes one ", what, ", not ", words.size()));
  };
  if (verb == "contains") {
    DOVETAIL_RETURN_IF_ERROR(one("element"));
    out.element = words.front();
    verb = "read";
  } else if (verb == "add" && type == Type::kCounter) {
    DOVETAIL_RETURN_IF_ERROR(one("amount"));
    DOVETAIL_ASSIGN_OR_RETURN(out.amount, ParseAmount(words.front()));
  } else if (type == Type::kMap &&
             (verb == "remove" || verb == "remove-field")) {
    verb = "remove-field";
    DOVETAIL_RETURN_IF_ERROR(one("field, NAME:TYPE"));
    DOVETAIL_ASSIGN_OR_RETURN(out.field, ParseField(words.front()));
  } else if (verb == "add" || verb == "remove") {
    out.elements.assign(words.begin(), words.end());
  } else if (verb == "write" || verb == "write-blind") {
    DOVETAIL_RETURN_IF_ERROR(one("value"));
    out.value = words.front();
  } else if (!words.empty()) {
    return Refuse(verb, "takes nothing more here");
  }
  return out;
}

}  // namespace dovetail::cli
