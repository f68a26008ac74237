// The tables of a RocksDB database that cannot be read: which they are, and how
// they leave the database. Only rocks_storage.h uses it.
//
// A compaction would read such a table again and again, and what is written to
// its keys would only lie above it. So once nobody trusts what lies between its
// keys (Storage::GiveUp), it is dropped from the manifest without being read.
// RocksDB drops with it all tables that lie wholly between the same keys.
#ifndef DOVETAIL_REPLICA_ROCKS_TABLES_H_
#define DOVETAIL_REPLICA_ROCKS_TABLES_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "replica/storage.h"
#include "rocksdb/db.h"
#include "rocksdb/status.h"

namespace dovetail::replica {

// The number of the table that `message` of RocksDB names, 0 if it names none.
uint64_t TableNumberIn(absl::string_view message);

// Safe for use from several threads at once.
class TableWatch {
 public:
  // `log` gets a line for each step; it may be empty.
  explicit TableWatch(std::function<void(absl::string_view)> log)
      : log_(std::move(log)) {}

  // `families` in the order of Family. Before that, nothing is noted.
  void Watch(rocksdb::DB& db,
             absl::Span<rocksdb::ColumnFamilyHandle* const> families);

  // A read or a compaction failed with `status`. Whether that was because of a
  // table that can be given up. Cost: when it names a table that is not known
  // or of level 0, a copy of the list of all tables.
  bool Note(const rocksdb::Status& status);

  std::vector<DamagedTable> List() const;
  absl::Status GiveUp(uint64_t table, uint32_t shard, uint32_t shards);

  uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  uint64_t given_up() const { return given_up_.load(); }

 private:
  struct Known {
    DamagedTable table;
    std::set<uint32_t> agreed;  // shards that trust it no more
  };
  void Say(absl::string_view line) const {
    if (log_) log_(line);
  }

  const std::function<void(absl::string_view)> log_;
  std::atomic<uint64_t> size_ = 0;
  std::atomic<uint64_t> given_up_ = 0;
  mutable absl::Mutex mutex_;
  rocksdb::DB* db_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Known> known_ ABSL_GUARDED_BY(mutex_);
  // Those that cannot be given up where they are, and whether that is for good:
  // one of level 0 may move as it is, so it is looked for again.
  std::map<uint64_t, bool> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_ROCKS_TABLES_H_
