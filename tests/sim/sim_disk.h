// A disk in memory that keeps the contract of replica/storage.h and no more:
// what a power failure may take, it can take; what may fail, can be made to.
//
// SimDisk is the medium. It outlives the processes that use it; a process is a
// SimStorage on it, and destroying that is the process's death. Each committed
// batch leaves the entries that undo it until a sync forgets them.
//
// Deterministic, one thread, no mutex. All in memory: a commit costs O(log n)
// for each entry, a copy of the disk O(1) until one of the two changes.
#ifndef DOVETAIL_TESTS_SIM_SIM_DISK_H_
#define DOVETAIL_TESTS_SIM_SIM_DISK_H_

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/storage.h"
#include "tests/sim/disk.h"

namespace dovetail::sim {

// What becomes of a batch whose commit failed (point 5 of the contract).
enum class FailedBatch {
  kGone,       // never written; the next commit may work, as on a full disk
  kReappears,  // found when the next process starts; until then every write
               // fails, as RocksDB's do after a log write went wrong
};

class SimDisk {
 public:
  using Keys = std::map<std::string, std::string, std::less<>>;

  SimDisk();
  // A copy has the contents, un-synced batches and checkpoints; it is not in
  // use and has no faults planned.
  SimDisk(const SimDisk& other);
  SimDisk& operator=(const SimDisk& other);  // Requires: not in use.

  // --- Power. Require: no SimStorage on it. ---
  // Takes back the newest `batches` of those that are not synced (or all).
  void CrashLosing(size_t batches);
  // See Disk::CrashLosingDeltas.
  void CrashLosingDeltas(size_t n);
  // The batch of a failed commit will not turn up.
  void DropFailed() { reappearing_.reset(); }
  void Wipe();

  // A small file beside the database, replaced as a whole and durable at once.
  void SetFile(std::string bytes) { file_ = std::move(bytes); }
  const std::string& file() const { return file_; }

  // --- Faults, for the process that runs or the next one ---
  // The `nth` Commit of a batch that is not empty from now on (1: the next)
  // fails with `error`, which must be one that Commit may return.
  void FailCommit(size_t nth, absl::Status error,
                  FailedBatch batch = FailedBatch::kGone);
  // The next Sync, or Commit(kSynced), fails; so do all writes after it until
  // a new process starts. The batch of such a commit reappears then.
  void FailSync(absl::Status error);
  // Get of `key` fails with DataLoss, and a Scan that reaches it.
  void FailRead(replica::Family family, absl::string_view key);
  // Both give bytes that are none of anybody's for it.
  void GarbleRead(replica::Family family, absl::string_view key);
  // All keys in [first, last] are those of a table that cannot be read; the
  // process that meets it can give it up.
  void FailTable(uint64_t number, replica::Family family, std::string first,
                 std::string last);
  void ClearFaults();
  // The row at `key` is this now, or gone, though nobody wrote that. No process
  // uses the disk.
  void Damage(std::string key, std::optional<std::string> value);
  // Rows that were damaged and that nobody has found to be whole again since.
  // Goes with copies.
  const std::set<std::string>& damaged() const { return damaged_; }
  // A power failure may still take what put them right, and bring them back.
  void ForgetDamage();
  // A row of it was bad: whoever met it may have given the row up, so that no
  // copy has it either. Goes with copies, wherever they are restored.
  void MarkBad() { bad_ = true; }
  bool bad() const { return bad_; }

  // --- Queries ---
  size_t unsynced_batches() const { return undo_.size(); }
  // Visits the keys of `family` that a power failure could take.
  void ForEachUnsyncedPut(
      replica::Family family,
      absl::FunctionRef<void(const std::string& key, const std::string& value)>
          visit) const;
  bool in_use() const { return in_use_; }
  const Keys& keys(replica::Family family) const;
  // The disk that a Checkpoint wrote, or nullopt.
  std::optional<SimDisk> CheckpointAt(const std::string& directory) const;

 private:
  friend class SimStorage;

  struct Undo {
    std::vector<replica::WriteBatch::Entry> entries;  // newest change first
    bool has_log_put = false;
    std::set<std::string> damaged;  // again, once it is undone
  };
  struct FailedCommit {
    size_t countdown = 0;  // commits until it fires; 0: none planned
    absl::Status error;
    FailedBatch batch = FailedBatch::kGone;
  };
  struct Faults {
    FailedCommit commit;
    absl::Status sync;
    // OK: what is read is garbage.
    std::map<std::pair<replica::Family, std::string>, absl::Status> reads;
    std::map<uint64_t, replica::DamagedTable> tables;
  };
  // Shared with scans that are under way and with copies; replaced by a copy
  // of its own before it changes (Own).
  using Families = std::array<std::shared_ptr<Keys>, replica::kFamilyCount>;

  Keys& Own(replica::Family family);
  void Apply(const replica::WriteBatch& batch);
  void UndoNewest();
  void StartProcess();
  void EndProcess();

  Families families_;
  std::deque<Undo> undo_;  // of the un-synced batches, oldest first
  std::map<std::string, Families> checkpoints_;
  std::string file_;
  bool in_use_ = false;
  Faults faults_;
  std::set<std::string> damaged_;
  bool bad_ = false;
  // Written by a commit that failed; takes effect when a process starts.
  std::optional<replica::WriteBatch> reappearing_;
};

// A process's view of a SimDisk, which must outlive it and is used by no other
// SimStorage meanwhile.
class SimStorage final : public replica::Storage {
 public:
  explicit SimStorage(SimDisk& disk);
  ~SimStorage() override;
  SimStorage(const SimStorage&) = delete;
  SimStorage& operator=(const SimStorage&) = delete;

  absl::StatusOr<std::optional<std::string>> Get(
      replica::Family family, absl::string_view key) override;
  absl::Status Scan(
      replica::Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view key, absl::string_view value)>
          visit) override;
  absl::Status Commit(const replica::WriteBatch& batch,
                      replica::CommitMode mode) override;
  absl::Status Sync() override;
  absl::Status Checkpoint(const std::string& directory) override;
  std::vector<replica::DamagedTable> DamagedTables() const override;
  absl::Status GiveUp(uint64_t table, uint32_t shard, uint32_t shards) override;

 private:
  // DataLoss if `key` lies in a table that cannot be read, which is noted.
  absl::Status ReadTable(replica::Family family, absl::string_view key);
  absl::Status TakeCommitFault(const replica::WriteBatch& batch);
  absl::Status TakeSyncFault();

  SimDisk& disk_;
  // Set by a failure after which no write may be trusted.
  absl::Status broken_;
  // Tables that a read has met, with the shards that trust them no more.
  std::map<uint64_t, std::set<uint32_t>> met_;
};

// A SimDisk behind the interface that scenarios use.
class MemoryDisk final : public Disk {
 public:
  MemoryDisk() = default;
  explicit MemoryDisk(const SimDisk& disk) : disk_(disk) {}

  absl::StatusOr<std::unique_ptr<replica::Storage>> Open() override;
  void CrashLosingDeltas(size_t n) override { disk_.CrashLosingDeltas(n); }
  std::unique_ptr<Disk> Copy() override;
  void Wipe() override { disk_.Wipe(); }

  SimDisk& disk() { return disk_; }

 private:
  SimDisk disk_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SIM_DISK_H_
