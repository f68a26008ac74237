#include "replica/rocks_tables.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/convenience.h"
#include "rocksdb/metadata.h"

namespace dovetail::replica {
namespace {

std::optional<rocksdb::LiveFileMetaData> FindTable(rocksdb::DB& db,
                                                   uint64_t number) {
  std::vector<rocksdb::LiveFileMetaData> tables;
  db.GetLiveFilesMetaData(&tables);
  for (rocksdb::LiveFileMetaData& table : tables) {
    if (table.file_number == number) return std::move(table);
  }
  return std::nullopt;
}

}  // namespace

uint64_t TableNumberIn(absl::string_view message) {
  const size_t end = message.find(".sst");
  if (end == absl::string_view::npos) return 0;
  size_t begin = end;
  while (begin > 0 && absl::ascii_isdigit(message[begin - 1])) --begin;
  uint64_t number = 0;
  return absl::SimpleAtoi(message.substr(begin, end - begin), &number) ? number
                                                                       : 0;
}

void TableWatch::Watch(
    rocksdb::DB& db, absl::Span<rocksdb::ColumnFamilyHandle* const> families) {
  const absl::MutexLock lock(&mutex_);
  db_ = &db;
  families_.assign(families.begin(), families.end());
}

bool TableWatch::Note(const rocksdb::Status& status) {
  if (!status.IsCorruption()) return false;
  const uint64_t number = TableNumberIn(status.ToString());
  if (number == 0) return false;
  const absl::MutexLock lock(&mutex_);
  if (known_.contains(number)) return true;
  if (db_ == nullptr) return false;
  const auto kept = kept_.find(number);
  if (kept != kept_.end() && kept->second) return false;
  const std::optional<rocksdb::LiveFileMetaData> found =
      FindTable(*db_, number);
  if (!found) return false;
  const auto family = std::find_if(
      families_.begin(), families_.end(),
      [&](auto* one) { return one->GetName() == found->column_family_name; });
  if (family == families_.end()) return false;
  DamagedTable table{number, static_cast<Family>(family - families_.begin()),
                     found->smallestkey, found->largestkey};
  if (table.family == Family::kMeta || found->level == 0) {
    if (kept != kept_.end()) return false;
    kept_.emplace(number, table.family == Family::kMeta);
    Say(absl::StrCat("table ", found->name, " of family ",
                     found->column_family_name, " at level ", found->level,
                     ", cannot be read and cannot be given up; replace the "
                     "disk of this node: ",
                     status.ToString()));
    return false;
  }
  Say(absl::StrCat("table ", found->name, " of family ",
                   found->column_family_name, ", ", found->size,
                   " bytes at level ", found->level,
                   ", cannot be read and will be given up, once another "
                   "owner of what it holds is up: ",
                   status.ToString()));
  kept_.erase(number);
  known_.emplace(number, Known{std::move(table), {}});
  size_ = known_.size();
  return true;
}

std::vector<DamagedTable> TableWatch::List() const {
  std::vector<DamagedTable> tables;
  if (size() == 0) return tables;
  const absl::MutexLock lock(&mutex_);
  for (const auto& [number, known] : known_) tables.push_back(known.table);
  return tables;
}

absl::Status TableWatch::GiveUp(uint64_t table, uint32_t shard,
                                uint32_t shards) {
  const absl::MutexLock lock(&mutex_);
  const auto found = known_.find(table);
  if (found == known_.end()) return absl::OkStatus();
  found->second.agreed.insert(shard);
  if (found->second.agreed.size() < shards) return absl::OkStatus();
  const DamagedTable& gone = found->second.table;
  const rocksdb::Slice first(gone.first);
  const rocksdb::Slice last(gone.last);
  const rocksdb::RangePtr range(&first, &last);
  const rocksdb::Status deleted = rocksdb::DeleteFilesInRanges(
      db_, families_[static_cast<size_t>(gone.family)], &range, 1,
      /*include_end=*/true);
  if (!deleted.ok()) {
    return absl::UnavailableError(
        absl::StrCat("cannot give up table ", table, ": ", deleted.ToString()));
  }
  if (FindTable(*db_, table)) {
    return absl::UnavailableError(
        absl::StrCat("table ", table, " is being compacted"));
  }
  Say(absl::StrCat("table ", table,
                   " was given up; what it held comes from other owners"));
  known_.erase(found);
  size_ = known_.size();
  ++given_up_;
  return absl::OkStatus();
}

}  // namespace dovetail::replica
