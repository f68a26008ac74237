// Operations and results as lines of JSON: the formats of `exec` and `--json`.
//
// Operation:
//   {"type":"set","verb":"add","bucket":"b","key":"k","path":["f:set"],
//    "elements":["x","y"]}
// `type` is that of what the verb acts on; with a `path` the object is a map.
// Besides: "amount" (counter add), "value" (write, write-blind), "field"
// (remove-field), "token" (any mutation), and for reads "element", "after",
// "limit", "want_token". {"batch":[operation,…]} is one atomic batch.
//
// Values: register string or null, mv and sets arrays, flags booleans, counter
// number, map {"f:set":[…],"g:counter":3}. Bytes that are not UTF-8 are
// {"base64":"…"}, in operations as in values; the name of such a field is
// written "base64 …:TYPE".
#ifndef DOVETAIL_SRC_CLI_JSON_H_
#define DOVETAIL_SRC_CLI_JSON_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/client/types.h"

namespace dovetail::cli {

// Errors: InvalidArgument (no JSON, an unknown member, a member of the wrong
// kind, and those of MakeOperation), ResourceExhausted.
absl::StatusOr<Operation> ParseOperation(absl::string_view line);

// What a result answers. Only a mutation can have "maybe":true; the value of a
// probe (a read of one element) is whether it is there.
enum class OperationKind : uint8_t { kRead, kProbe, kMutation };
OperationKind KindOf(const Operation& operation);

// {"line":1,"ok":true,…}, without a newline; without "line" if that is nullopt.
std::string ResultJson(std::optional<uint64_t> line, OperationKind kind,
                       const Result& result);

// {"present":true,"expires_ms":1767225600000,"ttl_ms":1500}; the last two only
// of what expires.
std::string TtlJson(bool present, std::optional<uint64_t> expires_ms,
                    absl::Duration left);
std::string ViewJson(const View& view);
// {"bucket":…,"key":…,"type":…}
std::string ObjectJson(const ObjectId& object);
std::string StatusJson(const NodeStatus& status);
std::string DigestsJson(const NodeDigests& digests);
// {"ok":false,"code":…,"message":…,"maybe":…}
std::string ErrorJson(OperationKind kind, const absl::Status& status);

// "UNAVAILABLE"
std::string CodeName(const absl::Status& status);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_JSON_H_
