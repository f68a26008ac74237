#include "replica/key_ranges.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "crdt/check.h"

namespace dovetail::replica {

bool EndBefore(absl::string_view a, absl::string_view b) {
  if (a.empty()) return false;
  return b.empty() || a < b;
}

void KeyRanges::Insert(const KeyRange& range) {
  DOVETAIL_CHECK(BeforeEnd(range.begin, range.end));
  std::string begin = range.begin;
  std::string end = range.end;
  auto next = ranges_.upper_bound(begin);
  if (next != ranges_.begin()) {
    const auto before = std::prev(next);
    // It reaches up to here, or beyond.
    if (before->second.empty() || before->second >= begin) next = before;
  }
  while (next != ranges_.end() && (end.empty() || next->first <= end)) {
    if (next->first < begin) begin = next->first;
    if (EndBefore(end, next->second)) end = next->second;
    next = ranges_.erase(next);
  }
  ranges_.emplace(std::move(begin), std::move(end));
}

void KeyRanges::Erase(const KeyRange& range) {
  KeyRanges left;
  for (const auto& [begin, end] : ranges_) {
    if (begin < range.begin) {
      left.Insert({begin, EndBefore(end, range.begin) || end == range.begin
                              ? end
                              : range.begin});
    }
    if (!range.end.empty() && EndBefore(range.end, end)) {
      left.Insert({std::max(begin, range.end), end});
    }
  }
  *this = std::move(left);
}

std::vector<KeyRange> KeyRanges::All() const {
  std::vector<KeyRange> all;
  for (const auto& [begin, end] : ranges_) all.push_back({begin, end});
  return all;
}

bool KeyRanges::Contains(absl::string_view key) const {
  const auto next = ranges_.upper_bound(key);
  return next != ranges_.begin() && BeforeEnd(key, std::prev(next)->second);
}

bool KeyRanges::Covers(const KeyRange& range) const {
  const auto next = ranges_.upper_bound(range.begin);
  return next != ranges_.begin() &&
         !EndBefore(std::prev(next)->second, range.end);
}

std::vector<KeyRange> KeyRanges::Missing(const KeyRange& all) const {
  std::vector<KeyRange> missing;
  std::string at = all.begin;
  for (const auto& [begin, end] : ranges_) {
    if (!BeforeEnd(begin, all.end)) break;
    if (at < begin) missing.push_back({at, begin});
    if (end.empty()) return missing;
    if (at < end) at = end;
  }
  if (BeforeEnd(at, all.end)) missing.push_back({at, all.end});
  return missing;
}

void KeyRanges::AppendTo(crdt::Writer& out) const {
  out.Varint(ranges_.size());
  for (const auto& [begin, end] : ranges_) {
    out.Bytes(begin);
    out.Bytes(end);
  }
}

KeyRanges KeyRanges::ReadFrom(crdt::Reader& in) {
  KeyRanges read;
  const size_t count = in.Count(2);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    KeyRange range{std::string(in.Bytes(kRowKeyBytesMax)),
                   std::string(in.Bytes(kRowKeyBytesMax))};
    if (!in.ok()) break;
    if (!BeforeEnd(range.begin, range.end)) {
      in.Fail("a range of keys that is empty");
      break;
    }
    read.Insert(range);
  }
  return read;
}

}  // namespace dovetail::replica
