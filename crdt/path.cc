#include "crdt/path.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/limits.h"
#include "crdt/text.h"

namespace dovetail::crdt {
namespace {

constexpr char kZero = '\x00';
constexpr char kEscape = '\xff';      // after 00: it was a 00
constexpr char kTerminator = '\x01';  // after 00: the component ends
constexpr absl::string_view kExpiryPath("\x00\x02", 2);

absl::Status Malformed(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("path: ", why));
}

absl::StatusOr<Field> ConsumeField(absl::string_view& in) {
  std::optional<std::string> name = ConsumeEscaped(in);
  if (!name) return Malformed("malformed field name");
  if (name->empty()) return Malformed("empty field name");
  if (name->size() > kFieldBytesMax) {
    return Malformed(absl::StrCat("field name is ", name->size(),
                                  " bytes; the limit is ", kFieldBytesMax,
                                  " (kFieldBytesMax)"));
  }
  if (in.empty()) return Malformed("ends before the type of a field");
  const auto byte = static_cast<uint8_t>(in.front());
  const std::optional<Type> type = TypeFromByte(byte);
  if (!type) return Malformed(absl::StrCat("unknown type ", byte));
  in.remove_prefix(1);
  return Field{*std::move(name), *type};
}

// Takes apart as much as there is, up to a whole leaf path.
absl::StatusOr<ParsedPath> Parse(Type root, absl::string_view in) {
  ParsedPath parsed;
  parsed.leaf_type = root;
  while (parsed.leaf_type == Type::kMap && !in.empty()) {
    if (parsed.fields.size() == kNestingMax) {
      return Malformed(absl::StrCat("more than ", kNestingMax,
                                    " fields deep (kNestingMax)"));
    }
    DOVETAIL_ASSIGN_OR_RETURN(Field field, ConsumeField(in));
    parsed.leaf_type = field.type;
    parsed.fields.push_back(std::move(field));
  }
  if (HasElements(parsed.leaf_type) && !in.empty()) {
    parsed.element = ConsumeEscaped(in);
    if (!parsed.element) return Malformed("malformed element");
    if (parsed.element->size() > kElementBytesMax) {
      return Malformed(absl::StrCat("element is ", parsed.element->size(),
                                    " bytes; the limit is ", kElementBytesMax,
                                    " (kElementBytesMax)"));
    }
  }
  if (!in.empty()) return Malformed("bytes left over");
  return parsed;
}

// Skips one escaped component of a well-formed path.
void SkipEscaped(absl::string_view& in) {
  for (;;) {
    const size_t zero = in.find(kZero);
    DOVETAIL_CHECK(zero != absl::string_view::npos && zero + 1 < in.size());
    const bool ends = in[zero + 1] == kTerminator;
    in.remove_prefix(zero + 2);
    if (ends) return;
  }
}

}  // namespace

void AppendEscaped(std::string& out, absl::string_view raw) {
  for (;;) {
    const size_t zero = raw.find(kZero);
    absl::StrAppend(&out, raw.substr(0, zero));
    if (zero == absl::string_view::npos) break;
    out += kZero;
    out += kEscape;
    raw.remove_prefix(zero + 1);
  }
  out += kZero;
  out += kTerminator;
}

std::optional<std::string> ConsumeEscaped(absl::string_view& in) {
  std::string raw;
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i] != kZero) {
      raw += in[i];
      continue;
    }
    if (++i == in.size()) return std::nullopt;
    if (in[i] == kTerminator) {
      in.remove_prefix(i + 1);
      return raw;
    }
    if (in[i] != kEscape) return std::nullopt;
    raw += kZero;
  }
  return std::nullopt;
}

Path Path::OfExpiry() { return FromTrustedBytes(std::string(kExpiryPath)); }

bool Path::IsExpiry() const { return bytes_ == kExpiryPath; }

Path Path::OfFields(absl::Span<const Field> fields) {
  Path path;
  for (const Field& field : fields) path = path.ChildField(field);
  return path;
}

Path Path::ChildField(const Field& field) const {
  Path path = *this;
  AppendEscaped(path.bytes_, field.name);
  path.bytes_ += static_cast<char>(field.type);
  return path;
}

Path Path::Element(absl::string_view element) const {
  Path path = *this;
  AppendEscaped(path.bytes_, element);
  return path;
}

bool Path::HasPrefix(const Path& prefix) const {
  return absl::StartsWith(bytes_, prefix.bytes_);
}

absl::StatusOr<ParsedPath> ParseLeafPath(Type root, absl::string_view bytes) {
  if (bytes == kExpiryPath) {
    ParsedPath expiry;
    expiry.leaf_type = Type::kExpiry;
    return expiry;
  }
  DOVETAIL_ASSIGN_OR_RETURN(ParsedPath parsed, Parse(root, bytes));
  if (parsed.leaf_type == Type::kMap) return Malformed("ends at a map");
  if (HasElements(parsed.leaf_type) && !parsed.element) {
    return Malformed("ends before an element");
  }
  return parsed;
}

absl::StatusOr<ParsedPath> ParsePlace(Type root, absl::string_view bytes) {
  return Parse(root, bytes);
}

Type LeafTypeOf(Type root, absl::string_view bytes) {
  if (bytes == kExpiryPath) return Type::kExpiry;
  Type type = root;
  while (type == Type::kMap) {
    SkipEscaped(bytes);
    DOVETAIL_CHECK(!bytes.empty());
    type = static_cast<Type>(bytes.front());
    bytes.remove_prefix(1);
  }
  return type;
}

std::string DebugString(Type root, const Path& path) {
  if (path.IsExpiry()) return "(expiry)";
  const absl::StatusOr<ParsedPath> parsed = ParsePlace(root, path.bytes());
  if (!parsed.ok()) return QuoteJson(path.bytes());
  std::string out;
  const auto separate = [&] {
    if (!out.empty()) out += '/';
  };
  for (const Field& field : parsed->fields) {
    separate();
    absl::StrAppend(&out, Word(field.name), ":", TypeName(field.type));
  }
  if (parsed->element) {
    separate();
    out += Word(*parsed->element);
  }
  return out;
}

}  // namespace dovetail::crdt
