#include "tests/scenario/lexer.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "crdt/check.h"

namespace dovetail::scenario {
namespace {

constexpr size_t kRangeWordsMax = 1'000'000;

bool IsSpace(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

void Append(Word& word, char byte, bool quoted) {
  word.text.push_back(byte);
  word.quoted.push_back(quoted);
}

void AppendUtf8(Word& word, uint32_t rune) {
  const auto put = [&](uint32_t byte) {
    Append(word, static_cast<char>(byte), true);
  };
  if (rune >= 0xDC80 && rune <= 0xDCFF) {
    put(rune & 0xFF);  // alone it stands for one byte that is no UTF-8
  } else if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xC0 | (rune >> 6));
    put(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    put(0xE0 | (rune >> 12));
    put(0x80 | ((rune >> 6) & 0x3F));
    put(0x80 | (rune & 0x3F));
  } else {
    put(0xF0 | (rune >> 18));
    put(0x80 | ((rune >> 12) & 0x3F));
    put(0x80 | ((rune >> 6) & 0x3F));
    put(0x80 | (rune & 0x3F));
  }
}

// The four hexadecimal digits at the front of `in`.
std::optional<uint32_t> ParseHex4(absl::string_view in) {
  uint32_t value = 0;
  if (in.size() < 4) return std::nullopt;
  for (char digit : in.substr(0, 4)) {
    if (!std::isxdigit(static_cast<unsigned char>(digit))) return std::nullopt;
    const int lower = std::tolower(static_cast<unsigned char>(digit));
    value = value * 16 + static_cast<uint32_t>(lower <= '9' ? lower - '0'
                                                            : lower - 'a' + 10);
  }
  return value;
}

// Walks `text` and calls `visit(offset)` for each byte outside of quotes until
// it returns false.
template <class Visit>
void ForEachBare(absl::string_view text, size_t from, Visit visit) {
  bool quoted = false;
  for (size_t i = from; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && !visit(i)) {
      return;
    }
  }
}

struct Range {
  size_t begin = 0;  // of the `{` in the word
  size_t end = 0;    // after the `}`
  int64_t first = 0;
  int64_t last = 0;
  size_t width = 0;  // digits, for leading zeros
};

std::optional<Range> FindRange(const Word& word) {
  for (auto open = word.Find('{'); open; open = word.Find('{', *open + 1)) {
    const auto close = word.Find('}', *open);
    if (!close) return std::nullopt;
    const std::string inside = word.text.substr(*open + 1, *close - *open - 1);
    const size_t dots = inside.find("..");
    if (dots == std::string::npos) continue;
    Range range{.begin = *open, .end = *close + 1};
    const std::string first = inside.substr(0, dots);
    if (!absl::SimpleAtoi(first, &range.first) ||
        !absl::SimpleAtoi(inside.substr(dots + 2), &range.last)) {
      continue;
    }
    if (first.size() > 1 && first[0] == '0') range.width = first.size();
    return range;
  }
  return std::nullopt;
}

absl::Status ExpandInto(const Word& word, std::vector<std::string>& out) {
  const std::optional<Range> range = FindRange(word);
  if (!range) {
    if (out.size() >= kRangeWordsMax) return CannotParse("range too large");
    out.push_back(word.text);
    return absl::OkStatus();
  }
  const int64_t step = range->first <= range->last ? 1 : -1;
  for (int64_t i = range->first;; i += step) {
    Word one = word.Slice(0, range->begin);
    const std::string digits =
        absl::StrFormat("%0*d", static_cast<int>(range->width), i);
    for (char digit : digits) Append(one, digit, true);
    const Word tail = word.Slice(range->end, word.text.size());
    for (size_t j = 0; j < tail.text.size(); ++j) {
      Append(one, tail.text[j], tail.quoted[j]);
    }
    DOVETAIL_RETURN_IF_ERROR(ExpandInto(one, out));
    if (i == range->last) return absl::OkStatus();
  }
}

}  // namespace

absl::Status CannotParse(absl::string_view why) {
  return absl::InvalidArgumentError(why);
}
absl::Status NotSupported(absl::string_view what) {
  return absl::UnavailableError(what);
}
bool IsNotSupported(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable;
}

std::optional<size_t> Word::Find(char byte, size_t from) const {
  for (size_t i = from; i < text.size(); ++i) {
    if (text[i] == byte && !quoted[i]) return i;
  }
  return std::nullopt;
}

std::optional<size_t> Word::FindLast(char byte) const {
  for (size_t i = text.size(); i > 0; --i) {
    if (text[i - 1] == byte && !quoted[i - 1]) return i - 1;
  }
  return std::nullopt;
}

Word Word::Slice(size_t begin, size_t end) const {
  DOVETAIL_CHECK(begin <= end && end <= text.size());
  Word slice;
  slice.text = text.substr(begin, end - begin);
  for (size_t i = begin; i < end; ++i) slice.quoted.push_back(quoted[i]);
  slice.has_quotes = std::find(slice.quoted.begin(), slice.quoted.end(),
                               true) != slice.quoted.end();
  slice.offset = offset + begin;
  return slice;
}

std::vector<Word> Word::Split(char separator) const {
  std::vector<Word> parts;
  size_t begin = 0;
  for (auto at = Find(separator); at; at = Find(separator, begin)) {
    parts.push_back(Slice(begin, *at));
    begin = *at + 1;
  }
  parts.push_back(Slice(begin, text.size()));
  return parts;
}

void Cursor::SkipSpaces() {
  while (at_ < line_.size() && IsSpace(line_[at_])) ++at_;
}

bool Cursor::AtEnd() {
  SkipSpaces();
  return at_ == line_.size();
}

bool Cursor::Consume(absl::string_view literal) {
  SkipSpaces();
  if (line_.substr(at_, literal.size()) != literal) return false;
  at_ += literal.size();
  return true;
}

absl::Status Cursor::ReadEscape(Word& word) {
  if (at_ >= line_.size()) return CannotParse("unfinished escape");
  const char escape = line_[at_++];
  static constexpr absl::string_view kFrom = "\"\\/bfnrt";
  static constexpr absl::string_view kTo = "\"\\/\b\f\n\r\t";
  if (const size_t i = kFrom.find(escape); i != absl::string_view::npos) {
    Append(word, kTo[i], true);
    return absl::OkStatus();
  }
  if (escape != 'u') {
    return CannotParse(
        absl::StrCat("unknown escape \\", absl::string_view(&escape, 1)));
  }
  std::optional<uint32_t> rune = ParseHex4(line_.substr(at_));
  if (!rune) return CannotParse("\\u needs four hexadecimal digits");
  at_ += 4;
  if (*rune >= 0xD800 && *rune < 0xDC00 && line_.substr(at_, 2) == "\\u") {
    const std::optional<uint32_t> low = ParseHex4(line_.substr(at_ + 2));
    if (low && *low >= 0xDC00 && *low < 0xE000) {
      rune = 0x10000 + ((*rune - 0xD800) << 10) + (*low - 0xDC00);
      at_ += 6;
    }
  }
  AppendUtf8(word, *rune);
  return absl::OkStatus();
}

absl::Status Cursor::ReadQuoted(Word& word) {
  word.has_quotes = true;
  while (at_ < line_.size()) {
    const char byte = line_[at_++];
    if (byte == '"') return absl::OkStatus();
    if (byte == '\\') {
      DOVETAIL_RETURN_IF_ERROR(ReadEscape(word));
    } else {
      Append(word, byte, true);
    }
  }
  return CannotParse("a quote is not closed");
}

absl::StatusOr<Word> Cursor::NextWord(absl::string_view stops) {
  SkipSpaces();
  Word word;
  word.offset = at_;
  int depth = 0;
  while (at_ < line_.size() && !IsSpace(line_[at_])) {
    const char byte = line_[at_];
    if (depth == 0 && absl::StrContains(stops, byte)) break;
    ++at_;
    if (byte == '"') {
      DOVETAIL_RETURN_IF_ERROR(ReadQuoted(word));
      continue;
    }
    if (byte == '{') ++depth;
    if (byte == '}' && depth > 0) --depth;
    Append(word, byte, false);
  }
  if (word.text.empty() && !word.has_quotes) {
    return CannotParse(at_ == line_.size()
                           ? std::string("the line ends too early")
                           : absl::StrCat("a word is missing before \"",
                                          line_.substr(at_), "\""));
  }
  return word;
}

absl::string_view StripComment(absl::string_view line) {
  size_t end = line.size();
  ForEachBare(line, 0, [&](size_t i) {
    if (line[i] != '#') return true;
    end = i;
    return false;
  });
  return line.substr(0, end);
}

absl::StatusOr<std::vector<Word>> SplitWords(absl::string_view line) {
  std::vector<Word> words;
  Cursor cursor(line);
  while (!cursor.AtEnd()) {
    DOVETAIL_ASSIGN_OR_RETURN(Word word, cursor.NextWord());
    words.push_back(std::move(word));
  }
  return words;
}

absl::StatusOr<std::pair<absl::string_view, size_t>> Braced(
    absl::string_view line, size_t open) {
  DOVETAIL_CHECK(line[open] == '{');
  int depth = 0;
  std::optional<size_t> close;
  ForEachBare(line, open, [&](size_t i) {
    if (line[i] == '{') ++depth;
    if (line[i] == '}' && --depth == 0) close = i;
    return !close.has_value();
  });
  if (!close) return CannotParse("a brace is not closed");
  return std::make_pair(line.substr(open + 1, *close - open - 1), *close + 1);
}

std::vector<absl::string_view> SplitStatements(absl::string_view text) {
  std::vector<absl::string_view> parts;
  size_t begin = 0;
  ForEachBare(text, 0, [&](size_t i) {
    if (text[i] == ';') {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
    return true;
  });
  parts.push_back(text.substr(begin));
  return parts;
}

absl::StatusOr<std::vector<std::string>> ExpandRanges(const Word& word) {
  std::vector<std::string> out;
  DOVETAIL_RETURN_IF_ERROR(ExpandInto(word, out));
  return out;
}

std::optional<int64_t> ParseNumber(const Word& word) {
  int64_t number = 0;
  if (word.has_quotes || word.text.empty() || IsSpace(word.text.front()) ||
      !absl::SimpleAtoi(word.text, &number)) {
    return std::nullopt;
  }
  return number;
}

}  // namespace dovetail::scenario
