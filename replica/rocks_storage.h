// Storage on RocksDB: one database in a node's data directory.
//
// Each Family is a column family, each WriteBatch one RocksDB batch in one
// log, so all families are one prefix of the history after any crash.
//
// RocksDB opens without a word after a damaged log record and drops what
// follows it. So the sequence number that a Sync() reached is kept in a file
// of its own (data_directory.h); a database that comes up behind it has lost
// what it said was safe, and lost_synced_writes() says so. It does the same
// with a manifest that lost its end, and reads on behind a gap between two
// logs; the state is none that ever was then. So that file has the manifest's
// length and the oldest log that is needed too, and recovery ends at a gap
// (rocks_hooks.h).
//
// Faults, as tests/replica/rocks_storage_test.cc and adapter_*_test.cc show
// them:
//  - A Commit or Sync that fails in RocksDB is the last one of this process:
//    all later ones return the same error, and the node must end. Reads go on.
//    RocksDB 7.8 cannot continue a log after a failed write: its own recovery
//    leaves families apart or reports success and fails again (its pull request
//    12995 and issue 11643), so that recovery is switched off. A flush or
//    compaction that failed in the background shows at the next Commit; but a
//    compaction for which there was no room is only tried again.
//  - So that a full disk does not come to that, puts are refused with
//    ResourceExhausted while less than a reserve is free; deletes, syncs and
//    reads go on, and puts work again once there is room.
//  - A block that fails its checksum is DataLoss for the reads that touch it,
//    and its table is one of DamagedTables(), also if a compaction came upon it
//    (which then fails, again and again, while writes go on). Two cannot be
//    given up and are not: one of the newest level, which may hide tables that
//    are older and overlap; and one of the family meta, which nobody can
//    replace.
#ifndef DOVETAIL_REPLICA_ROCKS_STORAGE_H_
#define DOVETAIL_REPLICA_ROCKS_STORAGE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/storage.h"
#include "rocksdb/rocksdb_namespace.h"

namespace ROCKSDB_NAMESPACE {
class Env;
}  // namespace ROCKSDB_NAMESPACE

namespace dovetail::replica {

// Memory, files and threads of one database. Its memory is about
// block_cache_bytes + memtable_bytes_max.
struct RocksOptions {
  // Uncompressed blocks, with their indexes and bloom filters. A row read that
  // the shards' row caches miss costs about 4 us from here, a disk read beyond.
  size_t block_cache_bytes = 256 << 20;
  // A family's memtable is written out at this size: large enough that rows
  // which change often are overwritten in memory.
  size_t write_buffer_bytes = 64 << 20;
  // All memtables together.
  size_t memtable_bytes_max = 256 << 20;
  // Logs on disk, and so what recovery reads at a start: a few seconds. Without
  // it a family that is hardly written (meta) would keep old logs alive.
  uint64_t log_bytes_max = 256 << 20;
  // Table files held open; well below the usual 1,024 descriptors, for sockets.
  int open_files_max = 512;
  // Threads for flushes and compactions together.
  int background_jobs_max = 2;
  // Puts are refused below so much free space, looked up once in each MiB
  // written. As much as all memtables, so that they can be written out.
  uint64_t disk_reserve_bytes = 256 << 20;
  // Gets RocksDB's warnings and errors, a line each; called on any thread.
  // None: they are dropped (errors reach the callers of Storage all the same).
  std::function<void(absl::string_view line)> log;
  // Off only where a test copies the files of an open database.
  bool automatic_compactions = true;
  // A test's system, whose file system gets all files, the small ones too.
  // None: the real one.
  std::shared_ptr<rocksdb::Env> env;
};

// For `status` and metrics; all estimates of RocksDB's own.
struct RocksStats {
  uint64_t live_data_bytes = 0;
  uint64_t table_file_bytes = 0;
  uint64_t memtable_bytes = 0;
  uint64_t block_cache_bytes = 0;
  uint64_t pending_compaction_bytes = 0;
  uint64_t background_errors = 0;  // failed flushes and compactions
  // A write failed; nothing can be written any more.
  bool is_read_only = false;
  // Not 0: writes wait for compaction.
  uint64_t writes_stopped = 0;
  // Syncs whose data is safe but whose floor could not be recorded, as on a
  // full disk; the next one tries again.
  uint64_t floor_failures = 0;
  uint64_t tables_damaged = 0;   // found, and still part of the database
  uint64_t tables_given_up = 0;  // since the start
};

class RocksStorage final : public Storage {
 public:
  // Opens the database in `directory`, or creates both. What is found there is
  // on stable storage when this returns.
  // Returns: Unavailable if another process has it open; FailedPrecondition if
  // the directory cannot be made or has a layout this version does not know;
  // DataLoss if it is damaged so that no state that ever was can be had;
  // ResourceExhausted if the disk is full.
  // Cost: reads the logs, up to options.log_bytes_max.
  static absl::StatusOr<std::unique_ptr<RocksStorage>> Open(
      const std::string& directory, const RocksOptions& options);

  // Closes files and writes nothing: to the disk it looks like the death of the
  // process. Call Sync() before, for a clean stop.
  ~RocksStorage() override;
  RocksStorage(const RocksStorage&) = delete;
  RocksStorage& operator=(const RocksStorage&) = delete;

  // True if the database came up behind what an earlier process synced. The
  // node then remembers less than it promised: it must not serve its partitions
  // before they are rebuilt from peers. Reported at every start until a Sync(),
  // so record the conclusion before that.
  bool lost_synced_writes() const;

  absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) override;
  absl::Status Scan(
      Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view key, absl::string_view value)>
          visit) override;
  // Returns: ResourceExhausted below the disk reserve, DataLoss if the free
  // space cannot be found (later ones may work);
  // or, for the rest of the process: ResourceExhausted if the disk is full
  // nonetheless, DataLoss, Unavailable.
  absl::Status Commit(const WriteBatch& batch, CommitMode mode) override;
  // Cost: one fsync of the log and, if anything was committed since the last
  // one, one file replaced. Meant for about once a second.
  absl::Status Sync() override;
  // Returns: FailedPrecondition if `directory` exists or its parent does not.
  // Cost: writes out the memtables, then hard links (on the same file system).
  absl::Status Checkpoint(const std::string& directory) override;
  std::vector<DamagedTable> DamagedTables() const override;
  absl::Status GiveUp(uint64_t table, uint32_t shard, uint32_t shards) override;

  RocksStats stats() const;

 private:
  struct Impl;
  explicit RocksStorage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_ROCKS_STORAGE_H_
