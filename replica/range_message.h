// What two replicas say in a sync by ranges (range_sync.h), and its bytes.
//
// A question covers parts of the key space of one partition, each either by
// sums, to find where the two differ, or row by row, to get what differs. A
// print is 64 bits of a hash that starts from the question's salt, so that two
// different rows whose prints are equal are told apart the next time.
#ifndef DOVETAIL_REPLICA_RANGE_MESSAGE_H_
#define DOVETAIL_REPLICA_RANGE_MESSAGE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/event_set.h"
#include "crdt/leaf.h"
#include "crdt/path.h"
#include "crdt/type.h"
#include "replica/digest.h"
#include "replica/keys.h"

namespace dovetail::replica {

// Parts of a question, and prints of rows or sums in it, at the most.
inline constexpr size_t kRangePartsMax = 4096;
inline constexpr size_t kRangePrintsMax = 64 << 10;

// "Which of these differ?": digest leaves, cut into as many equal spans as
// there are prints.
struct AskLeaves {
  LeafSpan leaves;
  std::vector<uint64_t> prints;
  friend bool operator==(const AskLeaves&, const AskLeaves&) = default;
};
// The same within a digest leaf that is too large to be listed at once: the
// rows from one key to the next.
struct AskCuts {
  std::string begin;
  std::vector<std::string> ends;  // the last may be "": to the end of all keys
  std::vector<uint64_t> prints;   // as many
  friend bool operator==(const AskCuts&, const AskCuts&) = default;
};
// "Which rows do I lack here, or have otherwise?"
struct AskRows {
  KeyRange range;
  std::vector<uint64_t> prints;  // of my rows, in order
  friend bool operator==(const AskRows&, const AskRows&) = default;
};
using RangeAsk = std::variant<AskLeaves, AskCuts, AskRows>;

// One (object, path) and all that is alive there.
struct RangeRow {
  crdt::ObjectId object;
  crdt::Path path;
  crdt::Leaf leaf;
  friend bool operator==(const RangeRow&, const RangeRow&) = default;
};

// The answer to one part: which spans or cuts differ; or the rows that the
// asker lacks, and which of its own are not there or are otherwise, by their
// places in its list.
struct RangePart {
  std::vector<uint32_t> differ;
  std::vector<RangeRow> rows;
  // If not empty: that was too much for one message, and the rows from this key
  // on are still to be asked for; so are those of `differ` that lie there.
  std::string rest;
  friend bool operator==(const RangePart&, const RangePart&) = default;
};

// For prints.
uint64_t PrintOfSum(const LeafSum& sum, uint64_t salt);
uint64_t PrintOfRow(const crdt::ObjectId& object, const crdt::Path& path,
                    const crdt::Leaf& leaf, uint64_t salt);
uint64_t PrintOfContext(const crdt::Context& context);

std::string EncodeRangeAsks(const std::vector<RangeAsk>& asks);
std::string EncodeRangeParts(const std::vector<RangePart>& parts);
// About what the part takes in bytes.
size_t BytesOf(const RangeAsk& ask);
size_t BytesOf(const RangePart& part);
size_t BytesOf(const RangeRow& row);
// Errors: InvalidArgument; nothing that is not canonical is accepted.
absl::StatusOr<std::vector<RangeAsk>> DecodeRangeAsks(absl::string_view bytes);
absl::StatusOr<std::vector<RangePart>> DecodeRangeParts(
    absl::string_view bytes);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RANGE_MESSAGE_H_
