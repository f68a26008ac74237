// What RocksDB calls while it opens and runs a database of rocks_storage.h:
// where its log lines go, what becomes of its errors, and what it must not
// read over when it recovers. Only that one uses them.
#ifndef DOVETAIL_REPLICA_ROCKS_HOOKS_H_
#define DOVETAIL_REPLICA_ROCKS_HOOKS_H_

#include <cstdarg>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/listener.h"
#include "rocksdb/wal_filter.h"
#include "rocksdb/write_batch.h"

namespace dovetail::replica {

// RocksDB's warnings and errors, to whoever asked for them. Its own logger
// would keep a file in the data directory; when that cannot be written, as on a
// full disk, the packaged library (built with assertions) aborts the process.
class CallbackLogger final : public rocksdb::Logger {
 public:
  explicit CallbackLogger(std::function<void(absl::string_view)> log);
  ~CallbackLogger() override;

  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override;

 private:
  std::function<void(absl::string_view)> log_;
};

// Keeps RocksDB from clearing a write error by itself (rocks_storage.h), and
// tells when its manifest has grown: a log that a flush made needless is
// deleted only after that.
class Listener final : public rocksdb::EventListener {
 public:
  // `is_table`: whether a compaction failed on account of one table that is
  // known as damaged then.
  Listener(std::function<void(rocksdb::DB&)> on_manifest,
           std::function<bool(const rocksdb::Status&)> is_table);

  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason,
                            rocksdb::Status error,
                            bool* auto_recovery) override;
  // A compaction that finds no room has only removed what it wrote; RocksDB
  // tries again a second later. Kept as an error it would end all flushes, and
  // with them at last all writes. The same for one that met a damaged table,
  // until that is given up.
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason,
                         rocksdb::Status* error) override;
  void OnFlushCompleted(rocksdb::DB* db,
                        const rocksdb::FlushJobInfo& info) override;
  void OnCompactionCompleted(rocksdb::DB* db,
                             const rocksdb::CompactionJobInfo& info) override;

 private:
  std::function<void(rocksdb::DB&)> on_manifest_;
  std::function<bool(const rocksdb::Status&)> is_table_;
};

// Ends recovery at the first gap between two batches in the logs. With several
// logs, one may have lost its end, by damage or because power failed before it
// was fsynced, while the next one is whole; RocksDB would read on. Where a
// family has batches from behind the gap in its tables, no state that ever was
// can be had, and the database is not opened.
class GapFilter final : public rocksdb::WalFilter {
 public:
  // The log in which the first batch must be; 0: not known.
  void set_first_log(uint64_t log) { first_log_ = log; }
  // Recovery was made to fail.
  bool has_split_families() const { return has_split_families_; }

  const char* Name() const override { return "dovetail.gap"; }
  void ColumnFamilyLogNumberMap(
      const std::map<uint32_t, uint64_t>& logs,
      const std::map<std::string, uint32_t>& ids) override;
  WalProcessingOption LogRecordFound(unsigned long long log,
                                     const std::string& file_name,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch,
                                     bool* batch_changed) override;

 private:
  uint64_t first_log_ = 0;
  // A family has all batches of the logs before this one in its tables.
  uint64_t newest_first_log_ = 0;
  uint64_t next_ = 0;  // sequence number that comes next; 0: none seen yet
  uint64_t log_ = 0;   // of the last batch
  bool has_split_families_ = false;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_ROCKS_HOOKS_H_
