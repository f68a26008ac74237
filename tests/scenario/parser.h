// Text → statements. The language is a contract (tests/scenarios/README.md): it
// may grow, but what parses today keeps its meaning.
//
// A parser knows the names of the nodes, so that a misspelt one is found before
// anything runs; it knows nothing of what the statements do.
#ifndef DOVETAIL_TESTS_SCENARIO_PARSER_H_
#define DOVETAIL_TESTS_SCENARIO_PARSER_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tests/scenario/lexer.h"
#include "tests/scenario/statement.h"

namespace dovetail::scenario {

class Parser {
 public:
  // One line; nullopt if there is nothing on it. Lines are given in order.
  // Errors: CannotParse, NotSupported (lexer.h).
  absl::StatusOr<std::optional<Statement>> ParseLine(absl::string_view line,
                                                     int number);

  // The statement that `repeat` stands for in one round, from 1.
  absl::StatusOr<Statement> ParseRound(const Repeat& repeat, uint64_t round,
                                       int number);

  // --- For the parts of the grammar in other files ---
  // A node's name that is known by now.
  absl::StatusOr<std::string> Name(const Word& word) const;
  absl::StatusOr<Link> ParseLink(const Word& word) const;

 private:
  using Words = std::vector<Word>;

  absl::StatusOr<Action> ParseAction(absl::string_view line, int number);
  absl::StatusOr<Action> ParseCast(const Words& words);
  absl::StatusOr<Action> ParseRepeat(absl::string_view line, const Words& words,
                                     int number);
  absl::StatusOr<Action> ParseMessages(const Words& words) const;
  absl::StatusOr<Action> ParseCutOrHeal(const Words& words) const;
  absl::StatusOr<Action> ParseFault(const Words& words);
  absl::StatusOr<Action> ParseRing(const Words& words);

  std::set<std::string> names_;
  // Something happened; the cast is complete.
  bool begun_ = false;
};

// parse_operation.cc: `A set add k x`, `A batch {…}`, `T = A set read k`.
absl::StatusOr<Action> ParseOperation(const Parser& parser,
                                      absl::string_view line);
// parse_expect.cc: the line without its first word.
absl::StatusOr<Action> ParseExpectation(const Parser& parser,
                                        absl::string_view line);

// `k` or, of a map, `k/f:map/g:set`.
struct Place {
  std::string key;
  std::vector<crdt::Field> fields;
};
absl::StatusOr<Place> ParsePlace(const Word& word, crdt::Type root);
// `60s`, `+10y`, `-5ms`, as milliseconds.
absl::StatusOr<int64_t> ParseMilliseconds(const Word& word);
// `k:set`.
absl::StatusOr<crdt::ObjectId> ParseObject(const Word& word);
// Sets what `after=x` or `limit=3` says; false if `word` is neither.
absl::StatusOr<bool> ParsePaging(const Word& word, crdt::ReadSpec& spec);
// The type that `spec` reads.
crdt::Type TargetType(const crdt::ReadSpec& spec);

// A whole file, or the first line that is wrong.
struct Script {
  std::vector<Statement> statements;
  Parser parser;  // goes on with the rounds of `repeat`
};
struct ParseFailure {
  int line = 0;
  absl::Status status;
};
// `failure` is set when the result is nullopt.
std::optional<Script> ParseScript(absl::string_view text,
                                  ParseFailure& failure);

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_PARSER_H_
