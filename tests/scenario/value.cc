#include "tests/scenario/value.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::scenario {
namespace {

using crdt::Field;
using crdt::Type;
using crdt::View;

View AbsentView(Type type) {
  View view;
  view.type = type;
  view.flag = type == Type::kDisableFlag;
  return view;
}

// `{a, b}` with its ranges, sorted, each once.
absl::StatusOr<std::vector<std::string>> ParseElements(Cursor& cursor) {
  std::vector<std::string> elements;
  while (!cursor.Consume("}")) {
    if (!elements.empty() && !cursor.Consume(",")) {
      return CannotParse("a comma or a closing brace is missing");
    }
    DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord(",}"));
    DOVETAIL_ASSIGN_OR_RETURN(const std::vector<std::string> words,
                              ExpandRanges(word));
    elements.insert(elements.end(), words.begin(), words.end());
  }
  std::sort(elements.begin(), elements.end());
  elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
  return elements;
}

// The rest of `{f:set: {x}, g:counter: 3}` after the opening brace.
absl::StatusOr<View> ParseFields(Cursor& cursor, int depth) {
  View view = AbsentView(Type::kMap);
  view.present = true;
  while (!cursor.Consume("}")) {
    if (!view.fields.empty() && !cursor.Consume(",")) {
      return CannotParse("a comma or a closing brace is missing");
    }
    if (depth > 64) return CannotParse("nested too deep");
    DOVETAIL_ASSIGN_OR_RETURN(const Word name, cursor.NextWord(":,}"));
    if (!cursor.Consume(":")) {
      return CannotParse(absl::StrCat("field \"", name.text,
                                      "\" needs a type, as in f:set: {x}"));
    }
    DOVETAIL_ASSIGN_OR_RETURN(const Word type_name, cursor.NextWord(":,}"));
    DOVETAIL_ASSIGN_OR_RETURN(const Type type, ParseType(type_name));
    if (!cursor.Consume(":")) {
      return CannotParse(absl::StrCat("field \"", name.text,
                                      "\" needs a value, as in f:set: {x}"));
    }
    if (type == Type::kMap && cursor.Consume("{")) {
      DOVETAIL_ASSIGN_OR_RETURN(View child, ParseFields(cursor, depth + 1));
      view.fields.emplace_back(Field{name.text, type}, std::move(child));
    } else {
      DOVETAIL_ASSIGN_OR_RETURN(View child, ParseView(cursor, type));
      view.fields.emplace_back(Field{name.text, type}, std::move(child));
    }
  }
  return view;
}

absl::StatusOr<View> ParseScalar(const Word& word, Type type) {
  View view = AbsentView(type);
  if (word.Is("absent")) return view;
  view.present = true;
  switch (type) {
    case Type::kCounter: {
      const std::optional<int64_t> number = ParseNumber(word);
      if (!number) {
        return CannotParse(absl::StrCat("\"", word.text, "\" is no number"));
      }
      view.number = *number;
      return view;
    }
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      if (!word.Is("true") && !word.Is("false")) {
        return CannotParse("a flag is true, false or absent");
      }
      view.flag = word.Is("true");
      return view;
    case Type::kRegister:
    case Type::kMultiValue:
      view.values.push_back(word.text);
      return view;
    case Type::kSet:
    case Type::kRemoveSet:
    case Type::kGrowSet:
    case Type::kMap:
    case Type::kExpiry:
      break;
  }
  return CannotParse(absl::StrCat("a ", crdt::TypeName(type),
                                  " is written in braces, or is absent"));
}

}  // namespace

absl::StatusOr<Type> ParseType(const Word& word) {
  for (const absl::string_view later : {"bounded", "hll", "zset", "list"}) {
    if (word.Is(later)) return NotSupported(later);
  }
  const std::optional<Type> type =
      word.has_quotes ? std::nullopt : crdt::TypeFromName(word.text);
  if (!type) return CannotParse(absl::StrCat("no type \"", word.text, "\""));
  return *type;
}

absl::StatusOr<Field> ParseField(const Word& word) {
  const std::optional<size_t> colon = word.FindLast(':');
  if (!colon || *colon == 0) {
    return CannotParse(
        absl::StrCat("\"", word.text, "\" is no field, as f:set is one"));
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      const Type type, ParseType(word.Slice(*colon + 1, word.text.size())));
  return Field{word.text.substr(0, *colon), type};
}

absl::StatusOr<View> ParseView(Cursor& cursor, Type type) {
  const bool braces = type == Type::kMap || type == Type::kMultiValue ||
                      crdt::HasElements(type);
  if (!braces || !cursor.Consume("{")) {
    DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord(",}|"));
    return ParseScalar(word, type);
  }
  if (type == Type::kMap) return ParseFields(cursor, 0);
  View view = AbsentView(type);
  view.present = true;
  DOVETAIL_ASSIGN_OR_RETURN(view.values, ParseElements(cursor));
  return view;
}

absl::StatusOr<Comparison> ParseComparison(Cursor& cursor) {
  Comparison comparison;
  if (cursor.Consume("<=")) {
    comparison.relation = Comparison::Relation::kAtMost;
  } else if (cursor.Consume(">=")) {
    comparison.relation = Comparison::Relation::kAtLeast;
  } else if (!cursor.Consume("=")) {
    return CannotParse("=, <= or >= is missing");
  }
  do {
    DOVETAIL_ASSIGN_OR_RETURN(const Word word, cursor.NextWord("|"));
    const std::optional<int64_t> number = ParseNumber(word);
    if (!number) {
      return CannotParse(absl::StrCat("\"", word.text, "\" is no number"));
    }
    comparison.numbers.push_back(*number);
  } while (comparison.relation == Comparison::Relation::kEqual &&
           cursor.Consume("|"));
  if (!cursor.AtEnd()) {
    DOVETAIL_ASSIGN_OR_RETURN(const Word unit, cursor.NextWord());
    comparison.unit = unit.text;
  }
  return comparison;
}

bool Holds(const Comparison& comparison, int64_t number) {
  DOVETAIL_CHECK(!comparison.numbers.empty());
  switch (comparison.relation) {
    case Comparison::Relation::kEqual:
      return std::find(comparison.numbers.begin(), comparison.numbers.end(),
                       number) != comparison.numbers.end();
    case Comparison::Relation::kAtMost:
      return number <= comparison.numbers.front();
    case Comparison::Relation::kAtLeast:
      return number >= comparison.numbers.front();
  }
  DOVETAIL_CHECK(false);
  return false;
}

bool Matches(const View& literal, const View& actual) {
  DOVETAIL_CHECK(literal.type == actual.type);
  switch (literal.type) {
    case Type::kCounter:
      return literal.present ? literal.number == actual.number
                             : !actual.present;
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      return literal.present ? literal.flag == actual.flag : !actual.present;
    case Type::kRegister:
    case Type::kMultiValue:
    case Type::kSet:
    case Type::kRemoveSet:
    case Type::kGrowSet:
      return literal.values == actual.values;
    case Type::kMap:
    case Type::kExpiry:
      break;
  }
  const auto find = [](const View& map, const Field& field) {
    const auto it =
        std::find_if(map.fields.begin(), map.fields.end(),
                     [&](const auto& child) { return child.first == field; });
    return it == map.fields.end() ? AbsentView(field.type) : it->second;
  };
  const auto matches_in = [&](const View& fields_of) {
    return std::all_of(fields_of.fields.begin(), fields_of.fields.end(),
                       [&](const auto& child) {
                         return Matches(find(literal, child.first),
                                        find(actual, child.first));
                       });
  };
  return matches_in(literal) && matches_in(actual);
}

}  // namespace dovetail::scenario
