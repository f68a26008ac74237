#include "crdt/text.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace dovetail::crdt {
namespace {

// The length of the well-formed UTF-8 sequence of two bytes or more at the
// front of `in`, or 0: no overlong forms, no surrogates, nothing past U+10FFFF.
size_t Utf8Length(absl::string_view in) {
  const auto at = [&](size_t i) {
    return i < in.size() ? static_cast<uint8_t>(in[i]) : uint8_t{0};
  };
  const auto tail = [&](size_t i) { return (at(i) & 0xc0) == 0x80; };
  const uint8_t lead = at(0);
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (lead == 0xe0 && at(1) < 0xa0) return 0;
    if (lead == 0xed && at(1) > 0x9f) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (lead == 0xf0 && at(1) < 0x90) return 0;
    if (lead == 0xf4 && at(1) > 0x8f) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

bool IsBare(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::string_view("_.:@/+-").find(c) != absl::string_view::npos;
}

void AppendAscii(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
  }
  if (c < 0x20 || c == 0x7f) {
    absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
  } else {
    out += c;
  }
}

}  // namespace

bool IsUtf8(absl::string_view bytes) {
  while (!bytes.empty()) {
    size_t length = 1;
    if (static_cast<uint8_t>(bytes.front()) >= 0x80) {
      length = Utf8Length(bytes);
      if (length == 0) return false;
    }
    bytes.remove_prefix(length);
  }
  return true;
}

std::string QuoteJson(absl::string_view bytes) {
  std::string out = "\"";
  while (!bytes.empty()) {
    const auto lead = static_cast<uint8_t>(bytes.front());
    size_t length = 1;
    if (lead < 0x80) {
      AppendAscii(out, bytes.front());
    } else if (length = Utf8Length(bytes); length > 0) {
      out.append(bytes.data(), length);
    } else {
      length = 1;
      absl::StrAppendFormat(&out, "\\udc%02x", static_cast<unsigned>(lead));
    }
    bytes.remove_prefix(length);
  }
  out += '"';
  return out;
}

std::string Word(absl::string_view bytes) {
  const bool bare =
      !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), IsBare);
  return bare ? std::string(bytes) : QuoteJson(bytes);
}

}  // namespace dovetail::crdt
