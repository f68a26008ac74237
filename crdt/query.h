// State → what a user sees. Queries never change anything and never depend on
// where the state came from: a replica's rows or a quorum's join.
#ifndef DOVETAIL_CRDT_QUERY_H_
#define DOVETAIL_CRDT_QUERY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crdt/state_view.h"
#include "crdt/token.h"
#include "crdt/type.h"

namespace dovetail::crdt {

// What to read of an object.
struct ReadSpec {
  ObjectId object;
  std::vector<Field> fields;  // into a map; empty = the object itself
  // Sets: only this element (`contains`).
  std::optional<std::string> element;
  // Sets: elements greater than this; maps: fields after this one.
  std::optional<std::string> after_element;
  std::optional<Field> after_field;
  // At most so many elements or fields; 0 = all that fit kReplyBytesMax.
  uint64_t limit = 0;
  bool want_token = false;
};
absl::Status Validate(const ReadSpec& spec);

// What a reader sees. `present` and the value are told apart: an absent
// counter reads 0, an absent dwflag reads true.
struct View {
  Type type = Type::kRegister;
  bool present = false;
  bool flag = false;               // ewflag, dwflag; `contains`
  int64_t number = 0;              // counter, saturated at the ends of int64
  // register: at most one; mv: all concurrent values in byte order; sets: the
  // elements in byte order.
  std::vector<std::string> values;
  std::vector<std::pair<Field, View>> fields;  // map, in field order
  friend bool operator==(const View&, const View&) = default;
};

struct ReadResult {
  View view;
  // There is more after the last element or field of `view`.
  bool more = false;
  // When the object expires, in milliseconds since 1970; 0: never.
  uint64_t expires_ms = 0;
  // That has come: `view` and `token` are those of an object that is absent.
  bool expired = false;
  std::optional<ObservedToken> token;  // if asked for
};

// Reads one page at the wall clock time `now_ms`; at 0 nothing has expired.
// Cost: O(leaves visited). Errors: InvalidArgument from
// Validate; ResourceExhausted if a map's single field, or an object that has no
// pages, is over kReplyBytesMax; whatever `state` returns.
absl::StatusOr<ReadResult> Query(StateView& state, const ReadSpec& spec,
                                 uint64_t now_ms = 0);

// The leaves that Query(spec) would visit, as a Store that gives the same
// result. This is what replicas send each other for a quorum read: pages of
// leaves, joined under their contexts up to the least end.
//
// A page is made of whole units: an element of a set, a field (with all that
// is below it) of a map. Invisible leaves count towards its bytes, so that a
// run of them cannot make it grow: a truncated page may show nothing.
// Every page has the leaf that says when the object expires.
struct LeafPage {
  Store leaves;
  // Meaningful if `truncated`: the path of the last unit covered, which for a
  // map is the *prefix* of that field's leaves. Ends compare as paths do, and
  // an end is what StateView::Scan takes as `after` to go on.
  Path end;
  bool truncated = false;

  // Whether the page says all there is to say of `path` at its replica.
  bool Covers(const Path& path) const {
    return !truncated || path <= end || path.HasPrefix(end) || path.IsExpiry();
  }
};
absl::StatusOr<LeafPage> CollectPage(StateView& state, const ReadSpec& spec);

// "{a, b}", "7", "\"v\"", "{f:set: {x}, g:counter: 3}", "absent": the notation
// of scenarios and of the command line.
std::string ToString(const View& view);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_QUERY_H_
