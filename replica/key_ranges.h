// A set of row keys, kept as disjoint ranges: the part of a partition that a
// sync by ranges has dealt with.
//
// Ranges are half open, [begin, end); an empty `end` means to the end of all
// keys. Ranges that touch are one.
#ifndef DOVETAIL_REPLICA_KEY_RANGES_H_
#define DOVETAIL_REPLICA_KEY_RANGES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "crdt/codec.h"
#include "replica/keys.h"

namespace dovetail::replica {

class KeyRanges {
 public:
  // Cost of each: O(log ranges), plus the ranges that are swallowed.
  void Insert(const KeyRange& range);
  void Erase(const KeyRange& range);
  bool Contains(absl::string_view key) const;
  bool Covers(const KeyRange& range) const;

  bool empty() const { return ranges_.empty(); }
  size_t size() const { return ranges_.size(); }
  std::vector<KeyRange> All() const;
  // What of `all` is not in the set, in order.
  std::vector<KeyRange> Missing(const KeyRange& all) const;

  void AppendTo(crdt::Writer& out) const;
  static KeyRanges ReadFrom(crdt::Reader& in);

  friend bool operator==(const KeyRanges&, const KeyRanges&) = default;

 private:
  std::map<std::string, std::string, std::less<>> ranges_;  // begin → end
};

// Whether an end lies before another.
bool EndBefore(absl::string_view a, absl::string_view b);
// Whether `key` lies before `end`.
inline bool BeforeEnd(absl::string_view key, absl::string_view end) {
  return end.empty() || key < end;
}

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_KEY_RANGES_H_
