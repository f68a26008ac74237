// The letters of the scenario language: words, quotes, comments and ranges.
//
// A word ends at a space. A part of it in double quotes is a JSON string:
// everything in it is meant literally, so that "a b" is one word, "#" no
// comment and the slash of "a/b" no path. A bare `e{1..3}` stands for the
// words e1 e2 e3.
#ifndef DOVETAIL_TESTS_SCENARIO_LEXER_H_
#define DOVETAIL_TESTS_SCENARIO_LEXER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dovetail::scenario {

// "This line does not parse" and "this line will mean something later".
absl::Status CannotParse(absl::string_view why);
absl::Status NotSupported(absl::string_view what);
bool IsNotSupported(const absl::Status& status);

// One word, its quotes resolved.
struct Word {
  std::string text;
  // For each byte of `text` whether it stood in quotes; same length.
  std::vector<bool> quoted;
  // There was a quoted part, perhaps an empty one.
  bool has_quotes = false;
  // Where the word starts in the line.
  size_t offset = 0;

  // Exactly this bare word: `"with"` is an element, `with` is syntax.
  bool Is(absl::string_view bare) const { return !has_quotes && text == bare; }
  // The first, or last, unquoted place of `byte` at `from` or after.
  std::optional<size_t> Find(char byte, size_t from = 0) const;
  std::optional<size_t> FindLast(char byte) const;
  Word Slice(size_t begin, size_t end) const;
  // The parts between unquoted `separator`s; at least one.
  std::vector<Word> Split(char separator) const;
};

// Reads a line from left to right.
class Cursor {
 public:
  // `line` must outlive the cursor.
  explicit Cursor(absl::string_view line, size_t offset = 0)
      : line_(line), at_(offset) {}

  void SkipSpaces();
  // Skips spaces first, as all below.
  bool AtEnd();
  size_t offset() const { return at_; }
  absl::string_view rest() const { return line_.substr(at_); }
  // Consumes `literal` if it comes next.
  bool Consume(absl::string_view literal);
  // The next word; it ends at a space or at an unquoted byte of `stops`,
  // but not within braces that it opened itself. An error if there is none.
  absl::StatusOr<Word> NextWord(absl::string_view stops = "");

 private:
  absl::Status ReadQuoted(Word& word);
  absl::Status ReadEscape(Word& word);

  absl::string_view line_;
  size_t at_;
};

// The line without its comment. An unclosed quote is left for the words.
absl::string_view StripComment(absl::string_view line);

// All words of a line.
absl::StatusOr<std::vector<Word>> SplitWords(absl::string_view line);

// What is between the `{` at `open` and its `}`, and the offset after that.
absl::StatusOr<std::pair<absl::string_view, size_t>> Braced(
    absl::string_view line, size_t open);
// The parts of `text` between unquoted semicolons.
std::vector<absl::string_view> SplitStatements(absl::string_view text);

// `e{1..3}` → e1 e2 e3, `e{01..10}` with leading zeros, `{1..2}{a..` as it
// is. A word without a range is itself. Errors: more than a million words.
absl::StatusOr<std::vector<std::string>> ExpandRanges(const Word& word);

// A whole bare word as a number; "+5" counts. nullopt if it is none.
std::optional<int64_t> ParseNumber(const Word& word);

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_LEXER_H_
