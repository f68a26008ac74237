// The closed list of types, and what a leaf of each carries.
#ifndef DOVETAIL_CRDT_TYPE_H_
#define DOVETAIL_CRDT_TYPE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace dovetail::crdt {

// The byte is on disk and on the wire: never renumber (docs/formats.md).
enum class Type : uint8_t {
  kRegister = 1,  // last write wins, causality first
  kMultiValue = 2,
  kSet = 3,        // add wins
  kRemoveSet = 4,  // remove wins
  kGrowSet = 5,
  kEnableFlag = 6,   // enable wins
  kDisableFlag = 7,  // disable wins
  kCounter = 8,
  kMap = 9,
  // Of one leaf of any object, never of an object or a field: when it expires
  // (expiry.h). No name, and no byte that TypeFromByte knows.
  kExpiry = 255,
};

// In the order of their bytes.
inline constexpr Type kAllTypes[] = {
    Type::kRegister, Type::kMultiValue, Type::kSet,
    Type::kRemoveSet, Type::kGrowSet,   Type::kEnableFlag,
    Type::kDisableFlag, Type::kCounter, Type::kMap};

// The name users write: register mv set rwset gset ewflag dwflag counter map.
absl::string_view TypeName(Type type);
std::optional<Type> TypeFromName(absl::string_view name);
std::optional<Type> TypeFromByte(uint8_t byte);

// Whether its leaves have an element in their path (sets of all kinds).
constexpr bool HasElements(Type type) {
  return type == Type::kSet || type == Type::kRemoveSet ||
         type == Type::kGrowSet;
}

// The identity of an object: the type is part of it, so two clients that
// create "x" as a set and as a counter make two objects that cannot clash.
struct ObjectId {
  std::string bucket;
  std::string key;
  Type type = Type::kRegister;
  friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
};

// "shop/cart:1:set", escaped; for logs and errors.
std::string ToString(const ObjectId& object);

// A field of a map; like an object's, its type is part of its identity.
struct Field {
  std::string name;
  Type type = Type::kRegister;
  friend auto operator<=>(const Field&, const Field&) = default;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_TYPE_H_
