// Where in an object a leaf is: the map fields that lead to it, then the
// element if its type has elements. One canonical byte string, whose order is
// the order of iteration, so it serves as the tail of a row key.
//
//   path      = { field } [ element ]
//   field     = escaped(name) 00 01 type:8
//   element   = escaped(element) 00 01
//   escaped   = each byte as it is, but 00 as 00 FF
//
// What follows a field is decided by its type: map → a field, a set of any
// kind → one element, all others → the end. Hence every path belongs to
// exactly one leaf of one type, and no path is a prefix of another leaf's.
//   set at the top:          "milk" 00 01
//   map field "tags" (set):  "tags" 00 01 03 "red" 00 01
//
// One leaf stands beside these in any object: when it expires (expiry.h), at
// 00 02, which begins no component. A scan of a whole object comes upon it.
#ifndef DOVETAIL_CRDT_PATH_H_
#define DOVETAIL_CRDT_PATH_H_

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "crdt/type.h"

namespace dovetail::crdt {

// Appends escaped(`raw`) 00 01.
void AppendEscaped(std::string& out, absl::string_view raw);
// Consumes one escaped component from the front of `in`; nullopt if malformed.
std::optional<std::string> ConsumeEscaped(absl::string_view& in);

// A leaf path or a prefix of some; a value.
class Path {
 public:
  Path() = default;
  // Of the leaf that says when an object expires.
  static Path OfExpiry();
  static Path OfFields(absl::Span<const Field> fields);
  // Takes bytes that are known to be well formed (our own rows, a decoded
  // delta); ParsePath checks foreign ones.
  static Path FromTrustedBytes(std::string bytes) {
    Path path;
    path.bytes_ = std::move(bytes);
    return path;
  }

  Path ChildField(const Field& field) const;
  Path Element(absl::string_view element) const;

  const std::string& bytes() const { return bytes_; }
  bool HasPrefix(const Path& prefix) const;
  bool IsExpiry() const;

  friend auto operator<=>(const Path&, const Path&) = default;

 private:
  std::string bytes_;
};

// A leaf path taken apart.
struct ParsedPath {
  std::vector<Field> fields;
  std::optional<std::string> element;
  Type leaf_type = Type::kRegister;
};

// Takes a *leaf* path of an object of type `root` apart. Errors:
// InvalidArgument (not canonical, unknown type, ends early, too long, deeper
// than kNestingMax, over a limit of limits.h).
absl::StatusOr<ParsedPath> ParseLeafPath(Type root, absl::string_view bytes);

// The same for the path of any place of an object: a leaf, or a map or set on
// the way to some (`leaf_type` is then the type of that place).
absl::StatusOr<ParsedPath> ParsePlace(Type root, absl::string_view bytes);

// The type of the leaf at a well-formed leaf path. Cost: O(bytes).
Type LeafTypeOf(Type root, absl::string_view bytes);

// For errors and logs: "tags:set/red".
std::string DebugString(Type root, const Path& path);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_PATH_H_
