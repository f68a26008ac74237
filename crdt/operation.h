// One typed mutation, as clients ask for it: data, no behaviour.
#ifndef DOVETAIL_CRDT_OPERATION_H_
#define DOVETAIL_CRDT_OPERATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "crdt/token.h"
#include "crdt/type.h"

namespace dovetail::crdt {

enum class Verb : uint8_t {
  kAdd,         // set, rwset, gset: `elements`; counter: `amount`, any sign
  kRemove,      // set, rwset: `elements`
  kClear,       // set, rwset, register, mv, map: all that was observed
  kWrite,       // register, mv: `value`; supersedes what was observed
  kWriteBlind,  // mv: `value`; supersedes nothing
  kEnable,      // ewflag, dwflag
  kDisable,     // ewflag, dwflag
  kReset,       // counter
  kRemoveField,  // map: `child`, all of it that was observed
  kDelete,      // the whole object, any type; `fields` must be empty
  // The whole object, any type (expiry.h); `fields` must be empty.
  kExpireIn,  // `amount` milliseconds from now
  kExpireAt,  // at the wall clock time `amount`, milliseconds since 1970
  kPersist,   // never: what was observed of when it expires is removed
};

absl::string_view VerbName(Verb verb);

struct Operation {
  ObjectId object;
  // The map fields from the object to what is changed; empty = the object.
  std::vector<Field> fields;
  Verb verb = Verb::kAdd;
  std::vector<std::string> elements;
  std::string value;
  int64_t amount = 0;
  Field child;
  // Acts on exactly what this observed, whether or not the replica holds it.
  // Without it: on what the coordinating replica holds.
  std::optional<ObservedToken> observed;

  // The type the verb acts on: of the last field, or of the object.
  Type target_type() const {
    return fields.empty() ? object.type : fields.back().type;
  }
};

// Errors: InvalidArgument (verb and type do not go together, a field below
// something that is no map, empty key or bucket, amount 0, token of another
// object or of a place that does not contain the target) or ResourceExhausted
// (a named limit of limits.h, with its name, the value and the limit).
absl::Status Validate(const Operation& operation);

// The parts that reads share with mutations.
absl::Status ValidateTarget(const ObjectId& object,
                            const std::vector<Field>& fields);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_OPERATION_H_
