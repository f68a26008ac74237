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
  std::optional<ObservedToken> token;  // if asked for
};

// Reads one page. Cost: O(leaves visited). Errors: InvalidArgument from
// Validate; ResourceExhausted if a map's single field, or an object that has no
// pages, is over kReplyBytesMax; whatever `state` returns.
absl::StatusOr<ReadResult> Query(StateView& state, const ReadSpec& spec);

// The leaves that Query(spec) would visit, as a Store that gives the same
// result, and the path the page ends at (empty: it reaches the end). This is
// what replicas send each other for a quorum read: pages of leaves, joined
// under their contexts up to the least end.
struct LeafPage {
  Store leaves;
  Path end;        // last path covered, meaningful if `truncated`
  bool truncated = false;
};
absl::StatusOr<LeafPage> CollectPage(StateView& state, const ReadSpec& spec);

// "{a, b}", "7", "\"v\"", "{f:set: {x}, g:counter: 3}", "absent": the notation
// of scenarios and of the command line.
std::string ToString(const View& view);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_QUERY_H_
