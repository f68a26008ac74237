#include "tests/sim/rocks_disk.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "crdt/check.h"
#include "replica/rocks_storage.h"

namespace dovetail::sim {

namespace fs = std::filesystem;

using replica::CommitMode;
using replica::Family;
using replica::RocksStorage;
using replica::WriteBatch;

namespace {

// Many of these are open at once in a test.
replica::RocksOptions SmallOptions() {
  replica::RocksOptions options;
  options.block_cache_bytes = 1 << 20;
  // RocksDB reserves about as much disk for each log.
  options.write_buffer_bytes = 8 << 20;
  options.disk_reserve_bytes = 0;
  options.automatic_compactions = false;  // Copy()
  return options;
}

// The newest of the database's logs, "000123.log".
std::string NewestLog(const std::string& directory) {
  std::string newest;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() != ".log") continue;
    newest = std::max(newest, entry.path().filename().string());
  }
  DOVETAIL_CHECK(!newest.empty());
  return newest;
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string name = fs::temp_directory_path() / "dovetail-XXXXXX";
  DOVETAIL_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // A leftover in /tmp is no reason to fail a test.
  fs::remove_all(path_, ignored);
}

// Forwards to RocksDB and notes where in its log each batch begins.
class RocksDisk::RecordingStorage final : public replica::Storage {
 public:
  RecordingStorage(RocksDisk& disk, std::unique_ptr<RocksStorage> storage)
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
    const uintmax_t before = disk_.LogBytes();
    DOVETAIL_RETURN_IF_ERROR(storage_->Commit(batch, mode));
    if (mode == CommitMode::kSynced) {
      disk_.unsynced_.clear();
    } else if (!batch.empty()) {
      DOVETAIL_CHECK(disk_.LogBytes() > before);
      disk_.unsynced_.push_back({before, HasLogPut(batch)});
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    DOVETAIL_RETURN_IF_ERROR(storage_->Sync());
    disk_.unsynced_.clear();
    return absl::OkStatus();
  }

  absl::Status Checkpoint(const std::string& directory) override {
    DOVETAIL_RETURN_IF_ERROR(storage_->Checkpoint(directory));
    disk_.BeginLog();  // It wrote out the memtables.
    return absl::OkStatus();
  }

 private:
  RocksDisk& disk_;
  std::unique_ptr<RocksStorage> storage_;
};

absl::StatusOr<std::unique_ptr<replica::Storage>> RocksDisk::Open() {
  DOVETAIL_ASSIGN_OR_RETURN(auto storage,
                            RocksStorage::Open(path(), SmallOptions()));
  BeginLog();
  return std::make_unique<RecordingStorage>(*this, std::move(storage));
}

void RocksDisk::CrashLosingDeltas(size_t n) {
  DOVETAIL_CHECK(!in_use_);
  if (n == 0 || unsynced_.empty()) return;
  DOVETAIL_CHECK(NewestLog(path()) == log_name_);
  uintmax_t keep = 0;
  while (n > 0 && !unsynced_.empty()) {
    if (unsynced_.back().has_log_put) --n;
    keep = unsynced_.back().log_bytes_before;
    unsynced_.pop_back();
  }
  DOVETAIL_CHECK(keep < LogBytes());
  fs::resize_file(log_path(), keep);
}

std::unique_ptr<Disk> RocksDisk::Copy() {
  auto copy = std::make_unique<RocksDisk>();
  if (fs::exists(path())) {
    fs::copy(path(), copy->path(), fs::copy_options::recursive);
  }
  copy->log_name_ = log_name_;
  copy->unsynced_ = unsynced_;
  return copy;
}

void RocksDisk::Wipe() {
  DOVETAIL_CHECK(!in_use_);
  fs::remove_all(path());
  log_name_.clear();
  unsynced_.clear();
}

std::string RocksDisk::log_path() const { return path() + "/" + log_name_; }

void RocksDisk::BeginLog() {
  log_name_ = NewestLog(path());
  unsynced_.clear();
}

uintmax_t RocksDisk::LogBytes() const {
  // Another log is only begun when a memtable is written out.
  DOVETAIL_CHECK(NewestLog(path()) == log_name_);
  return fs::file_size(log_path());
}

}  // namespace dovetail::sim
