// What `expect` compares with: literal values, numbers, and when what a replica
// shows is what the script meant.
#ifndef DOVETAIL_TESTS_SCENARIO_VALUE_H_
#define DOVETAIL_TESTS_SCENARIO_VALUE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/query.h"
#include "crdt/type.h"
#include "tests/scenario/lexer.h"
#include "tests/scenario/statement.h"

namespace dovetail::scenario {

// A type by the name users write. Errors: NotSupported for the types that come
// later, CannotParse for anything else.
absl::StatusOr<crdt::Type> ParseType(const Word& word);
// `name:type`.
absl::StatusOr<crdt::Field> ParseField(const Word& word);

// A literal: `absent`, `7`, `true`, `"v"`, `{a, b}`, `{f:set: {x}}`, in the
// view it stands for. `present` is false for `absent` alone.
absl::StatusOr<crdt::View> ParseView(Cursor& cursor, crdt::Type type);

// `= 3`, `= 3 | 4`, `<= 64 bytes`, with the relation.
absl::StatusOr<Comparison> ParseComparison(Cursor& cursor);
bool Holds(const Comparison& comparison, int64_t number);

// Whether `actual` is what `literal` says. An empty collection and an absent
// one are the same; an absent counter also reads 0, an ewflag false, a dwflag
// true. Both are of one type.
bool Matches(const crdt::View& literal, const crdt::View& actual);

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_VALUE_H_
