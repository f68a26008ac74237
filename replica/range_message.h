// What two replicas say in a sync by ranges (range_sync.h), and its bytes.
//
// A question covers parts of the key space of one partition, each either by
// sums, to find where the two differ, or row by row, to get what differs. A
// print is a few bytes of a hash that starts from the question's salt. Most
// have two, of which some are equal though what they stand for is not; so each
// part of an answer says, in 64 bits, what the sum of all is that it took for
// equal. Where that is not so at the asker, it asks again, with eight bytes a
// print.
#ifndef DOVETAIL_REPLICA_RANGE_MESSAGE_H_
#define DOVETAIL_REPLICA_RANGE_MESSAGE_H_

#include <cstdint>
#include <optional>
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
// Cuts that are asked about at once.
inline constexpr size_t kCutsPerAsk = 64;
// Bytes that keys and buckets of one message have in common with those before
// them, and that are not sent, at the most: such a message may become larger
// than it came by so much. 16 MiB: as large as a frame may be.
inline constexpr size_t kRangeSharedBytesMax = 16 << 20;

// Bytes of a print. Two: of 256 rows that are listed, one that differs is taken
// for another one in 256 times, and then 2 KiB are asked again.
inline constexpr uint8_t kPrintBytesShort = 2;
inline constexpr uint8_t kPrintBytesWhole = 8;
// What of a 64-bit print is sent.
constexpr uint64_t ShortPrint(uint64_t print, uint8_t bytes) {
  return print >> (64 - 8 * bytes);
}

// "Which of these differ?": digest leaves, cut into as many equal spans as
// there are prints.
struct AskLeaves {
  LeafSpan leaves;
  uint8_t print_bytes = kPrintBytesWhole;
  std::vector<uint64_t> prints;
  friend bool operator==(const AskLeaves&, const AskLeaves&) = default;
};
// The same within a digest leaf that is too large to be listed at once: the
// rows from one key to the next.
struct AskCuts {
  std::string begin;
  std::vector<std::string> ends;  // the last may be "": to the end of all keys
  uint8_t print_bytes = kPrintBytesWhole;
  std::vector<uint64_t> prints;  // as many
  friend bool operator==(const AskCuts&, const AskCuts&) = default;
};
// "Which rows do I lack here, or have otherwise?"
struct AskRows {
  KeyRange range;
  uint8_t print_bytes = kPrintBytesWhole;
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
  // PrintOfSum of all that was taken for equal; absent where nothing was, or
  // whole prints said so.
  std::optional<uint64_t> equal;
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
