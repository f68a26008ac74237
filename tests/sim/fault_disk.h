// A node's disk on which RocksDB runs in memory (FaultFileSystem): the one to
// try real power failures and failing calls on, where RocksDisk imitates them
// and SimDisk only says what they may do.
#ifndef DOVETAIL_TESTS_SIM_FAULT_DISK_H_
#define DOVETAIL_TESTS_SIM_FAULT_DISK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "replica/rocks_storage.h"
#include "replica/storage.h"
#include "tests/sim/disk.h"
#include "tests/sim/fault_file_system.h"
#include "tests/sim/medium.h"

namespace dovetail::sim {

class FaultDisk final : public Disk {
 public:
  static constexpr char kPath[] = "/node/db";

  FaultDisk();

  // Small, and without a reserve of free space.
  static replica::RocksOptions Options();

  absl::StatusOr<std::unique_ptr<replica::Storage>> Open() override;
  // The log is cut where a batch begins; with kAll all that was not fsynced is
  // gone, of all files and directories. Stops with a CHECK if the cut would
  // take fsynced bytes.
  void CrashLosingDeltas(size_t n) override;
  // The same, counting all batches.
  void CrashLosingBatches(size_t n);
  // As it comes.
  void Crash(const PowerFailure& failure);
  std::unique_ptr<Disk> Copy() override;
  void Wipe() override;

  // Of the process that runs, or the next one.
  FaultFileSystem& files() { return *files_; }
  size_t unsynced_batches() const { return unsynced_.size(); }

 private:
  class RecordingStorage;

  struct Unsynced {
    std::string log;  // the file it is in, and where it begins
    uint64_t offset = 0;
    bool has_log_put = false;
  };

  void Restart(Medium medium);
  std::string NewestLog() const;
  uint64_t BytesOf(const std::string& log);
  void CutAt(const Unsynced& first_lost);

  std::shared_ptr<FaultFileSystem> files_;
  bool in_use_ = false;
  std::vector<Unsynced> unsynced_;  // oldest first
};

// Compacts the database in `directory`, which nobody has open. Returns the
// bytes of its tables.
absl::StatusOr<uint64_t> CompactedBytes(const std::string& directory);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_FAULT_DISK_H_
