#include "tests/sim/disk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "crdt/check.h"

namespace dovetail::sim {
namespace {

using replica::CommitMode;
using replica::Family;
using replica::WriteBatch;

// Commits what `damage` puts into a batch for each key of the range.
template <typename Damage>
absl::StatusOr<size_t> Rewrite(Disk& disk, Family family,
                               absl::string_view begin, absl::string_view end,
                               Damage damage) {
  DOVETAIL_ASSIGN_OR_RETURN(auto storage, disk.Open());
  WriteBatch batch;
  size_t touched = 0;
  DOVETAIL_RETURN_IF_ERROR(storage->Scan(
      family, begin, end, [&](absl::string_view key, absl::string_view value) {
        if (damage(batch, key, std::string(value))) ++touched;
        return true;
      }));
  DOVETAIL_RETURN_IF_ERROR(storage->Commit(batch, CommitMode::kSynced));
  return touched;
}

}  // namespace

bool HasLogPut(const WriteBatch& batch) {
  return std::any_of(batch.entries().begin(), batch.entries().end(),
                     [](const WriteBatch::Entry& entry) {
                       return entry.family == Family::kLog &&
                              entry.value.has_value();
                     });
}

absl::StatusOr<size_t> Disk::Erase(Family family, absl::string_view begin,
                                   absl::string_view end) {
  return Rewrite(
      *this, family, begin, end,
      [family](WriteBatch& batch, absl::string_view key, const std::string&) {
        batch.Delete(family, key);
        return true;
      });
}

absl::StatusOr<size_t> Disk::Flip(Family family, absl::string_view begin,
                                  absl::string_view end) {
  return Rewrite(
      *this, family, begin, end,
      [family](WriteBatch& batch, absl::string_view key, std::string value) {
        if (value.empty()) return false;
        char& middle = value[value.size() / 2];
        middle = static_cast<char>(middle ^ 1);
        batch.Put(family, key, value);
        return true;
      });
}

}  // namespace dovetail::sim
