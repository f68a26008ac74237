#include "crdt/type.h"

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/text.h"

namespace dovetail::crdt {

absl::string_view TypeName(Type type) {
  switch (type) {
    case Type::kRegister:
      return "register";
    case Type::kMultiValue:
      return "mv";
    case Type::kSet:
      return "set";
    case Type::kRemoveSet:
      return "rwset";
    case Type::kGrowSet:
      return "gset";
    case Type::kEnableFlag:
      return "ewflag";
    case Type::kDisableFlag:
      return "dwflag";
    case Type::kCounter:
      return "counter";
    case Type::kMap:
      return "map";
    case Type::kExpiry:
      return "expiry";
  }
  return "unknown";
}

std::optional<Type> TypeFromName(absl::string_view name) {
  for (const Type type : kAllTypes) {
    if (TypeName(type) == name) return type;
  }
  return std::nullopt;
}

std::optional<Type> TypeFromByte(uint8_t byte) {
  for (const Type type : kAllTypes) {
    if (static_cast<uint8_t>(type) == byte) return type;
  }
  return std::nullopt;
}

std::string ToString(const ObjectId& object) {
  return absl::StrCat(Word(object.bucket), "/", Word(object.key), ":",
                      TypeName(object.type));
}

}  // namespace dovetail::crdt
