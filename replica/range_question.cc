#include "replica/range_question.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace dovetail::replica {

size_t PrintsIn(const RangeAsk& ask) {
  return std::visit([](const auto& a) { return a.prints.size(); }, ask);
}

uint8_t PrintBytesOf(const RangeAsk& ask) {
  return std::visit([](const auto& a) { return a.print_bytes; }, ask);
}

bool IsEqualIndeed(const RangeQuestion& question, const RangePart& part,
                   uint64_t salt) {
  if (PrintBytesOf(question.ask) == kPrintBytesWhole) return true;
  LeafSum equal;
  bool any = false;
  auto next = part.differ.begin();
  for (uint32_t i = 0; i < question.sums.size(); ++i) {
    if (next != part.differ.end() && *next == i) {
      ++next;
      continue;
    }
    if (!part.rest.empty() && question.keys[i] >= part.rest) break;
    equal.Merge(question.sums[i]);
    any = true;
  }
  if (!part.equal) return !any;
  return *part.equal == PrintOfSum(equal, salt);
}

size_t CostOf(const RangeQuestion& question) {
  constexpr size_t kPrintsPerCut = 32;
  // There may be rows to read where the other cuts otherwise.
  constexpr size_t kPrintsPerPieces = 4;
  const size_t prints = PrintsIn(question.ask);
  if (!std::holds_alternative<AskCuts>(question.ask)) return prints;
  return prints * (question.coarse ? kPrintsPerPieces : kPrintsPerCut);
}

std::vector<uint64_t> PrintsOf(const std::vector<LeafSum>& sums, uint64_t salt,
                               uint8_t bytes) {
  std::vector<uint64_t> prints;
  for (const LeafSum& sum : sums) {
    prints.push_back(ShortPrint(PrintOfSum(sum, salt), bytes));
  }
  return prints;
}

RangePart CompareSums(const std::vector<std::optional<LeafSum>>& mine,
                      uint64_t salt, const std::vector<uint64_t>& theirs,
                      uint8_t print_bytes) {
  RangePart part;
  LeafSum equal;
  for (uint32_t i = 0; i < mine.size(); ++i) {
    if (mine[i] &&
        ShortPrint(PrintOfSum(*mine[i], salt), print_bytes) == theirs[i]) {
      equal.Merge(*mine[i]);
    } else {
      part.differ.push_back(i);
    }
  }
  if (print_bytes < kPrintBytesWhole && part.differ.size() < theirs.size()) {
    part.equal = PrintOfSum(equal, salt);
  }
  return part;
}

std::vector<KeyRange> AtLeaves(const KeyRange& range, PartitionId of,
                               uint32_t partitions) {
  if (LeavesOf(range, of, partitions)) return {range};
  std::vector<KeyRange> pieces;
  const KeyRange all = RowsOfPartition(of, partitions);
  const auto leaf_of = [&](const std::string& key) {
    return LeafOfRowKey(key, partitions);
  };
  KeyRange rest = range;
  // Both ends may lie within a digest leaf.
  if (rest.begin != all.begin) {
    const uint32_t leaf = leaf_of(rest.begin);
    const KeyRange whole = RowsOfLeaves(of, partitions, leaf, leaf + 1);
    if (whole.begin != rest.begin) {
      if (!EndBefore(whole.end, rest.end)) return {rest};
      pieces.push_back({rest.begin, whole.end});
      rest.begin = whole.end;
    }
  }
  if (rest.end == all.end) {
    pieces.push_back(rest);
    return pieces;
  }
  const uint32_t last = leaf_of(rest.end);
  const std::string boundary =
      RowsOfLeaves(of, partitions, last, last + 1).begin;
  if (rest.begin < boundary) pieces.push_back({rest.begin, boundary});
  if (boundary < rest.end) {
    pieces.push_back({std::max(rest.begin, boundary), rest.end});
  }
  return pieces;
}

}  // namespace dovetail::replica
