// A node's disk in a temporary directory, with RocksDB on it.
//
// Power failures are imitated on RocksDB's log: after each commit the length
// of the log file is noted, and losing a batch is cutting the file, once the
// database is closed, where that batch began. This needs all un-synced batches
// to be in the one log that the process began with. Scenarios are small, so no
// memtable fills up; should one be written out all the same, this stops with a
// CHECK rather than lose the wrong batches.
#ifndef DOVETAIL_TESTS_SIM_ROCKS_DISK_H_
#define DOVETAIL_TESTS_SIM_ROCKS_DISK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "replica/storage.h"
#include "tests/sim/disk.h"

namespace dovetail::sim {

// A new directory under $TMPDIR (or /tmp), removed with all in it at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class RocksDisk final : public Disk {
 public:
  RocksDisk() = default;

  absl::StatusOr<std::unique_ptr<replica::Storage>> Open() override;
  void CrashLosingDeltas(size_t n) override;
  // Copies files: of an open database, only while nothing writes to it.
  std::unique_ptr<Disk> Copy() override;
  void Wipe() override;

  // The data directory.
  std::string path() const { return root_.path() + "/data"; }
  // The log file that the process writes, or wrote at last.
  std::string log_path() const;
  size_t unsynced_batches() const { return unsynced_.size(); }

 private:
  class RecordingStorage;

  // An un-synced batch, by where it begins in the log.
  struct Unsynced {
    uintmax_t log_bytes_before = 0;
    bool has_log_put = false;
  };

  // The database has a new log and all before it in fsynced tables.
  void BeginLog();
  uintmax_t LogBytes() const;

  TemporaryDirectory root_;
  bool in_use_ = false;
  std::string log_name_;            // within path(); empty before any Open
  std::vector<Unsynced> unsynced_;  // oldest first
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_ROCKS_DISK_H_
