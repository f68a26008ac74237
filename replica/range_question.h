// A question of a sync by ranges (range_sync.h), as who asked remembers it.
#ifndef DOVETAIL_REPLICA_RANGE_QUESTION_H_
#define DOVETAIL_REPLICA_RANGE_QUESTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "replica/digest.h"
#include "replica/ids.h"
#include "replica/key_ranges.h"
#include "replica/keys.h"
#include "replica/range_message.h"

namespace dovetail::replica {

// A question about a range, and what it was asked of.
struct RangeQuestion {
  // What it covers, from the beginning of the range that it was to cover.
  KeyRange range;
  RangeAsk ask;
  std::vector<std::string> keys;  // of the rows that an AskRows lists
  // What each print of `ask` stands for.
  std::vector<LeafSum> sums;
  // An AskCuts of what is to be cut further where it differs, by sums that need
  // no rows to be read (pieces.h).
  bool coarse = false;
};

size_t PrintsIn(const RangeAsk& ask);
uint8_t PrintBytesOf(const RangeAsk& ask);
// What answering costs, in prints: behind that of a cut stand many rows, but
// for pieces.
size_t CostOf(const RangeQuestion& question);

std::vector<uint64_t> PrintsOf(const std::vector<LeafSum>& sums, uint64_t salt,
                               uint8_t bytes);
// The part of an answer that says which sums differ, or are not known
// (nullopt).
RangePart CompareSums(const std::vector<std::optional<LeafSum>>& mine,
                      uint64_t salt, const std::vector<uint64_t>& theirs,
                      uint8_t print_bytes);

// Whether what the source took for equal is what was here when it was asked:
// short prints may hide that it is not.
bool IsEqualIndeed(const RangeQuestion& question, const RangePart& part,
                   uint64_t salt);

// Cuts `range`, of partition `of`, so that each piece is of whole digest leaves
// or within one.
std::vector<KeyRange> AtLeaves(const KeyRange& range, PartitionId of,
                               uint32_t partitions);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RANGE_QUESTION_H_
