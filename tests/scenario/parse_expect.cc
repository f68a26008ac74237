// Expectations: who is asked, what about, and what the answer must be.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "tests/scenario/parser.h"
#include "tests/scenario/value.h"

namespace dovetail::scenario {
namespace {

using crdt::Type;
using What = ExpectNumber::What;

absl::Status ExpectEnd(Cursor& cursor) {
  if (cursor.AtEnd()) return absl::OkStatus();
  return CannotParse(absl::StrCat("\"", cursor.rest(), "\" is too much"));
}

absl::StatusOr<Predicate> ParseContains(Cursor& cursor, Type type,
                                        bool wanted) {
  ContainsElement contains;
  contains.wanted = wanted;
  DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord());
  if (type == Type::kMap) {
    DOVETAIL_ASSIGN_OR_RETURN(contains.field, ParseField(word));
  } else if (type == Type::kMultiValue || crdt::HasElements(type)) {
    contains.element = word.text;
  } else {
    return CannotParse(
        absl::StrCat("a ", crdt::TypeName(type), " contains nothing"));
  }
  return contains;
}

absl::StatusOr<Predicate> ParsePredicate(Cursor& cursor, Type type) {
  if (cursor.Consume("size")) {
    SizeIs size;
    DOVETAIL_ASSIGN_OR_RETURN(size.size, ParseComparison(cursor));
    if (!size.size.unit.empty()) return CannotParse("a size has no unit");
    return size;
  }
  if (cursor.Consume("contains ")) return ParseContains(cursor, type, true);
  if (cursor.Consume("lacks ")) return ParseContains(cursor, type, false);
  cursor.SkipSpaces();
  if (cursor.rest().substr(0, 1) == "=") {
    DOVETAIL_CHECK(cursor.Consume("="));
    EqualsView equals;
    do {
      DOVETAIL_ASSIGN_OR_RETURN(crdt::View view, ParseView(cursor, type));
      equals.any_of.push_back(std::move(view));
    } while (cursor.Consume("|"));
    return equals;
  }
  if (type != Type::kCounter) {
    return CannotParse("=, size, contains or lacks is missing");
  }
  ComparesTo compares;
  DOVETAIL_ASSIGN_OR_RETURN(compares.value, ParseComparison(cursor));
  if (!compares.value.unit.empty()) return CannotParse("a counter has no unit");
  return compares;
}

absl::StatusOr<Action> ParseObjectExpectation(Cursor& cursor,
                                              std::vector<std::string> who,
                                              Type type) {
  ExpectObject expect{.who = std::move(who), .spec = {}, .predicate = {}};
  DOVETAIL_ASSIGN_OR_RETURN(const Word key, cursor.NextWord());
  DOVETAIL_ASSIGN_OR_RETURN(Place place, ParsePlace(key, type));
  expect.spec.object.key = std::move(place.key);
  expect.spec.object.type = type;
  expect.spec.fields = std::move(place.fields);
  for (;;) {
    Cursor ahead = cursor;
    if (ahead.AtEnd()) return CannotParse("the expected value is missing");
    DOVETAIL_ASSIGN_OR_RETURN(const Word option, ahead.NextWord());
    DOVETAIL_ASSIGN_OR_RETURN(const bool paging,
                              ParsePaging(option, expect.spec));
    if (!paging) break;
    cursor = ahead;
  }
  DOVETAIL_ASSIGN_OR_RETURN(expect.predicate,
                            ParsePredicate(cursor, TargetType(expect.spec)));
  DOVETAIL_RETURN_IF_ERROR(ExpectEnd(cursor));
  return expect;
}

// Turns the unit into what the runner counts in.
absl::Status ResolveUnit(ExpectNumber& expect) {
  std::string& unit = expect.comparison.unit;
  if (unit.empty()) return absl::OkStatus();
  const bool bytes = unit == "bytes" || unit == "byte";
  if (expect.what == What::kQueued && bytes) {
    expect.what = What::kQueuedBytes;
    return absl::OkStatus();
  }
  if (expect.what == What::kEventBytes && bytes) return absl::OkStatus();
  const bool timed =
      expect.what == What::kAheadMs || expect.what == What::kExpiresMs;
  if (timed && unit == "ms") return absl::OkStatus();
  if (timed && unit == "s") {
    for (int64_t& number : expect.comparison.numbers) number *= 1'000;
    unit = "ms";
    return absl::OkStatus();
  }
  return CannotParse(absl::StrCat("unit \"", unit, "\" here"));
}

absl::StatusOr<Action> FinishNumber(Cursor& cursor, ExpectNumber expect) {
  DOVETAIL_ASSIGN_OR_RETURN(expect.comparison, ParseComparison(cursor));
  DOVETAIL_RETURN_IF_ERROR(ResolveUnit(expect));
  DOVETAIL_RETURN_IF_ERROR(ExpectEnd(cursor));
  return expect;
}

absl::StatusOr<Action> ParseIdentical(const Parser& parser, Cursor& cursor) {
  ExpectIdentical expect;
  while (!cursor.AtEnd()) {
    DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord());
    if (word.Is("all") && expect.names.empty() && cursor.AtEnd()) break;
    DOVETAIL_ASSIGN_OR_RETURN(std::string name, parser.Name(word));
    expect.names.push_back(std::move(name));
  }
  if (expect.names.size() == 1) return CannotParse("identical to whom?");
  return expect;
}

std::optional<What> NumberOf(const Word& word) {
  static constexpr std::pair<const char*, What> kNames[] = {
      {"objects", What::kObjects},   {"rows", What::kRows},
      {"dots", What::kDots},         {"log", What::kLog},
      {"events", What::kEventBytes}, {"ahead", What::kAheadMs},
      {"expires", What::kExpiresMs}, {"quarantined", What::kQuarantined},
      {"actors", What::kActors},     {"corruptions", What::kCorruptions},
  };
  for (const auto& [name, what] : kNames) {
    if (word.Is(name)) return what;
  }
  return std::nullopt;
}

absl::StatusOr<Action> ParseNumberExpectation(
    const Parser& parser, Cursor& cursor, const std::vector<std::string>& who,
    What what) {
  ExpectNumber expect;
  expect.what = what;
  if (who.size() > 1) return CannotParse("one node, or all");
  if (!who.empty()) expect.who = who.front();
  const bool of_object = what == What::kDots || what == What::kExpiresMs;
  if (of_object || what == What::kEventBytes) {
    DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord());
    if (of_object) {
      DOVETAIL_ASSIGN_OR_RETURN(expect.object, ParseObject(word));
    } else {
      DOVETAIL_ASSIGN_OR_RETURN(expect.of, parser.Name(word));
    }
  }
  return FinishNumber(cursor, std::move(expect));
}

}  // namespace

absl::StatusOr<Action> ParseExpectation(const Parser& parser,
                                        absl::string_view line) {
  Cursor cursor(line);
  DOVETAIL_ASSIGN_OR_RETURN(const Word first, cursor.NextWord());
  if (first.Is("identical")) return ParseIdentical(parser, cursor);
  if (first.Is("queued") || first.Is("actors")) {
    ExpectNumber expect;
    DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord());
    if (first.Is("queued")) {
      expect.what = What::kQueued;
      DOVETAIL_ASSIGN_OR_RETURN(expect.link, parser.ParseLink(word));
    } else {
      expect.what = What::kActors;
      DOVETAIL_ASSIGN_OR_RETURN(expect.who, parser.Name(word));
    }
    return FinishNumber(cursor, std::move(expect));
  }
  std::vector<std::string> who;
  if (!first.Is("all")) {
    for (const Word& word : first.Split(',')) {
      DOVETAIL_ASSIGN_OR_RETURN(std::string name, parser.Name(word));
      who.push_back(std::move(name));
    }
  }
  DOVETAIL_ASSIGN_OR_RETURN(const Word subject, cursor.NextWord());
  if (const std::optional<What> what = NumberOf(subject)) {
    return ParseNumberExpectation(parser, cursor, who, *what);
  }
  DOVETAIL_ASSIGN_OR_RETURN(const Type type, ParseType(subject));
  return ParseObjectExpectation(cursor, std::move(who), type);
}

}  // namespace dovetail::scenario
