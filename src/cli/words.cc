#include "src/cli/words.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"
#include "crdt/text.h"

namespace dovetail::cli {
namespace {

absl::Status NotA(absl::string_view what, absl::string_view word,
                  absl::string_view may_be) {
  return absl::InvalidArgumentError(
      absl::StrCat("not a ", what, ": ", crdt::QuoteJson(word), "; ", may_be));
}

bool IsHex(absl::string_view word) {
  return !word.empty() && word.size() % 2 == 0 &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c));
         });
}

}  // namespace

absl::StatusOr<Type> ParseType(absl::string_view word) {
  if (const auto type = crdt::TypeFromName(word); type.has_value()) {
    return *type;
  }
  return NotA("type", word,
              "types are register, mv, set, rwset, gset, ewflag, dwflag, "
              "counter, map");
}

absl::StatusOr<Field> ParseField(absl::string_view word) {
  const size_t colon = word.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) {
    return NotA("field", word, "fields look like NAME:TYPE, as in tags:set");
  }
  DOVETAIL_ASSIGN_OR_RETURN(const Type type, ParseType(word.substr(colon + 1)));
  return Field{std::string(word.substr(0, colon)), type};
}

absl::StatusOr<std::vector<Field>> ParsePath(absl::string_view word) {
  std::vector<Field> fields;
  for (absl::string_view part : absl::StrSplit(word, '/')) {
    DOVETAIL_ASSIGN_OR_RETURN(Field field, ParseField(part));
    fields.push_back(std::move(field));
  }
  return fields;
}

absl::StatusOr<Level> ParseLevel(absl::string_view word) {
  if (word == "default") return Level{};
  if (word == "quorum") return Level::Quorum();
  if (word == "all") return Level::All();
  if (word == "one") return Level::One();
  if (word == "local_one") return Level::LocalOne();
  if (word == "local_quorum") return Level::LocalQuorum();
  if (word == "each_quorum") return Level::EachQuorum();
  uint32_t count = 0;
  if (absl::SimpleAtoi(word, &count) && count > 0) return Level::Count(count);
  return NotA("level", word,
              "levels are default, one, quorum, all, local_one, local_quorum, "
              "each_quorum, or a number from 1");
}

absl::StatusOr<Quorums> ParseQuorums(absl::string_view word) {
  if (word == "default") return Quorums::kDefault;
  if (word == "sloppy") return Quorums::kSloppy;
  if (word == "strict") return Quorums::kStrict;
  return NotA("kind of quorum", word, "they are default, sloppy and strict");
}

absl::StatusOr<Durability> ParseDurability(absl::string_view word) {
  if (word == "wal") return Durability::kWal;
  if (word == "fsync") return Durability::kFsync;
  return NotA("durability", word, "it is wal or fsync");
}

absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view word) {
  absl::Duration timeout;
  if (absl::ParseDuration(word, &timeout) && timeout > absl::ZeroDuration() &&
      timeout <= absl::Hours(1)) {
    return timeout;
  }
  return NotA("timeout", word, "it has a unit, as in 500ms or 2s, up to 1h");
}

absl::StatusOr<int64_t> ParseTtl(absl::string_view word) {
  absl::Duration ttl;
  int64_t days = 0;
  absl::string_view number = word;
  if (absl::ConsumeSuffix(&number, "d") && absl::SimpleAtoi(number, &days) &&
      days < 10'000'000) {
    ttl = days * absl::Hours(24);
  } else if (!absl::ParseDuration(word, &ttl)) {
    ttl = absl::ZeroDuration();
  }
  if (ttl >= absl::Milliseconds(1) && ttl < absl::Hours(24) * 2'900'000) {
    return absl::ToInt64Milliseconds(ttl);
  }
  return NotA("time to live", word, "it has a unit, as in 90s, 24h or 30d");
}

absl::StatusOr<int64_t> ParseAmount(absl::string_view word) {
  int64_t amount = 0;
  if (absl::SimpleAtoi(word, &amount)) return amount;
  return NotA("amount", word, "amounts are whole numbers of 64 bits");
}

absl::StatusOr<Token> ParseToken(absl::string_view word) {
  if (IsHex(word)) {
    auto token = Token::Decode(absl::HexStringToBytes(word));
    if (token.ok()) return token;
  }
  std::string bytes;
  if (!absl::Base64Unescape(word, &bytes)) {
    return NotA("token", word, "tokens are base64 or hexadecimal");
  }
  return Token::Decode(bytes);
}

std::string TokenText(const Token& token) {
  return absl::Base64Escape(token.Encode());
}

std::string BytesText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat(unit == 0 ? "%.0f %s" : "%.1f %s", value,
                         kUnits[unit]);
}

}  // namespace dovetail::cli
