#include "tests/sim/fault_disk.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "rocksdb/db.h"

namespace dovetail::sim {

using replica::CommitMode;
using replica::Family;
using replica::RocksStorage;
using replica::WriteBatch;

// Forwards to RocksDB and notes where in its logs each batch begins.
class FaultDisk::RecordingStorage final : public replica::Storage {
 public:
  RecordingStorage(FaultDisk& disk, std::unique_ptr<RocksStorage> storage)
      : disk_(disk), storage_(std::move(storage)) {
    disk_.in_use_ = true;
  }
  ~RecordingStorage() override {
    storage_.reset();
    disk_.in_use_ = false;
  }

  absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) override {
    return storage_->Get(family, key);
  }

  absl::Status Scan(
      Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view key, absl::string_view value)>
          visit) override {
    return storage_->Scan(family, begin, end, visit);
  }

  absl::Status Commit(const WriteBatch& batch, CommitMode mode) override {
    const std::string log = disk_.NewestLog();
    const uint64_t offset = disk_.BytesOf(log);
    DOVETAIL_RETURN_IF_ERROR(storage_->Commit(batch, mode));
    if (mode == CommitMode::kSynced) {
      disk_.unsynced_.clear();
    } else if (!batch.empty()) {
      disk_.unsynced_.push_back({log, offset, HasLogPut(batch)});
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    DOVETAIL_RETURN_IF_ERROR(storage_->Sync());
    disk_.unsynced_.clear();
    return absl::OkStatus();
  }

  absl::Status Checkpoint(const std::string& directory) override {
    // The tests' directories are on the real disk.
    for (size_t at = 1; (at = directory.find('/', at)) != std::string::npos;
         ++at) {
      const rocksdb::IOStatus made = disk_.files().CreateDirIfMissing(
          directory.substr(0, at), {}, nullptr);
      DOVETAIL_CHECK(made.ok());
    }
    DOVETAIL_RETURN_IF_ERROR(storage_->Checkpoint(directory));
    disk_.unsynced_.clear();  // It wrote out the memtables.
    return absl::OkStatus();
  }

 private:
  FaultDisk& disk_;
  std::unique_ptr<RocksStorage> storage_;
};

FaultDisk::FaultDisk() { Restart(Medium()); }

replica::RocksOptions FaultDisk::Options() {
  replica::RocksOptions options;
  options.block_cache_bytes = 1 << 20;
  options.write_buffer_bytes = 1 << 20;
  options.disk_reserve_bytes = 0;
  options.automatic_compactions = false;  // Only the test's calls meet faults.
  return options;
}

absl::StatusOr<std::unique_ptr<replica::Storage>> FaultDisk::Open() {
  replica::RocksOptions options = Options();
  options.env = MakeFaultEnv(files_);
  DOVETAIL_ASSIGN_OR_RETURN(auto storage, RocksStorage::Open(kPath, options));
  unsynced_.clear();
  return std::make_unique<RecordingStorage>(*this, std::move(storage));
}

void FaultDisk::CrashLosingDeltas(size_t n) {
  size_t batches = 0;
  while (n > 0 && batches < unsynced_.size()) {
    ++batches;
    if (unsynced_[unsynced_.size() - batches].has_log_put) --n;
  }
  CrashLosingBatches(n > 0 ? kAll : batches);
}

void FaultDisk::CrashLosingBatches(size_t n) {
  DOVETAIL_CHECK(!in_use_);
  if (n > 0 && n >= unsynced_.size()) {
    return Crash({UnsyncedPages::kDrop, UnsyncedNames::kDrop, 0});
  }
  if (n > 0) CutAt(unsynced_[unsynced_.size() - n]);
  Crash({UnsyncedPages::kKeep, UnsyncedNames::kKeep, 0});
}

void FaultDisk::Crash(const PowerFailure& failure) {
  DOVETAIL_CHECK(!in_use_);
  Restart(files_->medium().After(failure));
  unsynced_.clear();
}

std::unique_ptr<Disk> FaultDisk::Copy() {
  auto copy = std::make_unique<FaultDisk>();
  copy->Restart(files_->medium());
  copy->unsynced_ = unsynced_;
  return copy;
}

void FaultDisk::Wipe() {
  DOVETAIL_CHECK(!in_use_);
  Restart(Medium());
  unsynced_.clear();
}

void FaultDisk::Restart(Medium medium) {
  files_ = std::make_shared<FaultFileSystem>(std::move(medium));
}

std::string FaultDisk::NewestLog() const {
  std::string newest;
  for (const std::string& name : files_->Names(kPath)) {
    if (absl::EndsWith(name, ".log")) newest = name;
  }
  DOVETAIL_CHECK(!newest.empty());
  return newest;
}

uint64_t FaultDisk::BytesOf(const std::string& log) {
  uint64_t bytes = 0;
  files_->Edit(absl::StrCat(kPath, "/", log),
               [&](MediumFile& file) { bytes = file.bytes().size(); });
  return bytes;
}

void FaultDisk::CutAt(const Unsynced& first_lost) {
  // Should a memtable have been full meanwhile, the batches are in tables.
  DOVETAIL_CHECK(NewestLog() == first_lost.log);
  files_->Edit(absl::StrCat(kPath, "/", first_lost.log), [&](MediumFile& file) {
    DOVETAIL_CHECK(first_lost.offset >= file.synced());
    file.Truncate(first_lost.offset);
  });
}

absl::StatusOr<uint64_t> CompactedBytes(const std::string& directory) {
  std::vector<std::string> names;
  rocksdb::Status status =
      rocksdb::DB::ListColumnFamilies({}, directory, &names);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) {
    families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  if (status.ok()) {
    status = rocksdb::DB::Open({}, directory, families, &handles, &opened);
  }
  if (!status.ok()) return absl::DataLossError(status.ToString());
  const std::unique_ptr<rocksdb::DB> db(opened);
  uint64_t bytes = 0;
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    // What is deleted goes for good at the lowest level only.
    rocksdb::CompactRangeOptions whole;
    whole.bottommost_level_compaction =
        rocksdb::BottommostLevelCompaction::kForce;
    const rocksdb::Status compacted =
        db->CompactRange(whole, handle, nullptr, nullptr);
    if (!compacted.ok()) status = compacted;
    uint64_t of_family = 0;
    DOVETAIL_CHECK(db->GetIntProperty(
        handle, rocksdb::DB::Properties::kTotalSstFilesSize, &of_family));
    bytes += of_family;
    db->DestroyColumnFamilyHandle(handle);
  }
  if (!status.ok()) return absl::DataLossError(status.ToString());
  return bytes;
}

}  // namespace dovetail::sim
