// From a verb and its arguments to a typed operation: what the command line
// and the lines of exec have in common.
#ifndef DOVETAIL_SRC_CLI_OPERATION_H_
#define DOVETAIL_SRC_CLI_OPERATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "src/client/types.h"

namespace dovetail::cli {

// What an operation is about: an object, or a place in a map.
struct Target {
  ObjectId object;
  std::vector<Field> fields;
  Type type() const {
    return fields.empty() ? object.type : fields.back().type;
  }
};

// All that a verb may be given; most take little of it.
struct Arguments {
  std::vector<std::string> elements;
  std::optional<std::string> value;
  std::optional<int64_t> amount;
  std::optional<Field> field;  // remove-field
  std::optional<Token> token;  // mutations
  std::optional<int64_t> time_ms;  // expire: from now; expire-at: since 1970
  // Reads:
  std::optional<std::string> element;
  std::optional<std::string> after;  // an element, or NAME:TYPE for maps
  uint64_t limit = 0;
  bool want_token = false;
};

// Verbs: those of crdt::VerbName, and `read`. Errors: InvalidArgument (unknown
// verb, one that does not go with the type, or with arguments it does not take
// or without those it needs) and ResourceExhausted (limits), before anything
// is sent.
absl::StatusOr<Operation> MakeOperation(const Target& target,
                                        absl::string_view verb,
                                        const Arguments& arguments);

// Makes a write an atomic batch with an `expire` of its whole object. Errors:
// InvalidArgument (a read, or no time).
absl::Status AddTtl(absl::string_view ttl, Operation& operation);

// The words that follow a verb on the command line, put where they belong:
// elements, an amount, a value, a field. Adds `contains ELEMENT`, which is a
// read; `verb` then becomes `read`. Errors: InvalidArgument, which says how
// the verb is used.
absl::StatusOr<Arguments> ArgumentsFromWords(
    Type type, std::string& verb, absl::Span<const std::string> words);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_OPERATION_H_
