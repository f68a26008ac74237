#include "tests/sim/sim_disk.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::sim {

using replica::CommitMode;
using replica::Family;
using replica::WriteBatch;

namespace {

// No encoding begins like this.
constexpr absl::string_view kGarbage = "\xff\xfe";

size_t Place(Family family) { return static_cast<size_t>(family); }

void Set(SimDisk::Keys& keys, const WriteBatch::Entry& entry) {
  if (entry.value.has_value()) {
    keys.insert_or_assign(entry.key, *entry.value);
  } else {
    keys.erase(entry.key);
  }
}

}  // namespace

SimDisk::SimDisk() {
  for (auto& family : families_) family = std::make_shared<Keys>();
}

SimDisk::SimDisk(const SimDisk& other)
    : families_(other.families_),
      undo_(other.undo_),
      checkpoints_(other.checkpoints_),
      file_(other.file_),
      damaged_(other.damaged_),
      bad_(other.bad_),
      reappearing_(other.reappearing_) {}

SimDisk& SimDisk::operator=(const SimDisk& other) {
  DOVETAIL_CHECK(!in_use_);
  if (this == &other) return *this;
  families_ = other.families_;
  undo_ = other.undo_;
  checkpoints_ = other.checkpoints_;
  file_ = other.file_;
  damaged_ = other.damaged_;
  bad_ = other.bad_;
  reappearing_ = other.reappearing_;
  faults_ = Faults();
  return *this;
}

void SimDisk::CrashLosing(size_t batches) {
  DOVETAIL_CHECK(!in_use_);
  // The batch of a failed commit would come after all that are lost.
  if (batches > 0) reappearing_.reset();
  for (; batches > 0 && !undo_.empty(); --batches) UndoNewest();
}

void SimDisk::CrashLosingDeltas(size_t n) {
  DOVETAIL_CHECK(!in_use_);
  if (n > 0) reappearing_.reset();
  while (n > 0 && !undo_.empty()) {
    if (undo_.back().has_log_put) --n;
    UndoNewest();
  }
}

void SimDisk::Wipe() { *this = SimDisk(); }

void SimDisk::FailCommit(size_t nth, absl::Status error, FailedBatch batch) {
  DOVETAIL_CHECK(nth > 0);
  DOVETAIL_CHECK(!error.ok());
  faults_.commit = {nth, std::move(error), batch};
}

void SimDisk::FailSync(absl::Status error) {
  DOVETAIL_CHECK(!error.ok());
  faults_.sync = std::move(error);
}

void SimDisk::FailRead(Family family, absl::string_view key) {
  faults_.reads[{family, std::string(key)}] = absl::DataLossError(
      absl::StrCat("the disk cannot read key \"", absl::CHexEscape(key),
                   "\" of family ", Place(family)));
}

void SimDisk::GarbleRead(Family family, absl::string_view key) {
  faults_.reads[{family, std::string(key)}] = absl::OkStatus();
}

void SimDisk::FailTable(uint64_t number, Family family, std::string first,
                        std::string last) {
  faults_.tables[number] = {number, family, std::move(first), std::move(last)};
}

void SimDisk::ClearFaults() { faults_ = Faults(); }

const SimDisk::Keys& SimDisk::keys(Family family) const {
  return *families_[Place(family)];
}

std::optional<SimDisk> SimDisk::CheckpointAt(
    const std::string& directory) const {
  const auto found = checkpoints_.find(directory);
  if (found == checkpoints_.end()) return std::nullopt;
  SimDisk disk;
  disk.families_ = found->second;
  return disk;
}

void SimDisk::ForEachUnsyncedPut(
    Family family,
    absl::FunctionRef<void(const std::string& key, const std::string& value)>
        visit) const {
  const Keys& held = keys(family);
  for (const Undo& undo : undo_) {
    for (const WriteBatch::Entry& entry : undo.entries) {
      // One that was there before only got another value.
      if (entry.family != family || entry.value.has_value()) continue;
      const auto now = held.find(entry.key);
      if (now != held.end()) visit(now->first, now->second);
    }
  }
}

SimDisk::Keys& SimDisk::Own(Family family) {
  auto& keys = families_[Place(family)];
  if (keys.use_count() > 1) keys = std::make_shared<Keys>(*keys);
  return *keys;
}

void SimDisk::Apply(const WriteBatch& batch) {
  Undo undo;
  undo.has_log_put = HasLogPut(batch);
  for (const WriteBatch::Entry& entry : batch.entries()) {
    // What is written anew is written elsewhere.
    const auto garbled = faults_.reads.find({entry.family, entry.key});
    if (garbled != faults_.reads.end() && garbled->second.ok()) {
      faults_.reads.erase(garbled);
    }
    Keys& keys = Own(entry.family);
    const auto before = keys.find(entry.key);
    undo.entries.push_back(
        {entry.family, entry.key,
         before == keys.end() ? std::nullopt : std::optional(before->second)});
    Set(keys, entry);
  }
  std::reverse(undo.entries.begin(), undo.entries.end());
  undo_.push_back(std::move(undo));
}

void SimDisk::UndoNewest() {
  for (const WriteBatch::Entry& entry : undo_.back().entries) {
    Set(Own(entry.family), entry);
  }
  damaged_.merge(undo_.back().damaged);
  undo_.pop_back();
}

void SimDisk::ForgetDamage() {
  if (!undo_.empty()) undo_.back().damaged.merge(damaged_);
  damaged_.clear();
}

void SimDisk::Damage(std::string key, std::optional<std::string> value) {
  DOVETAIL_CHECK(!in_use_);
  Set(Own(Family::kRows), {Family::kRows, key, std::move(value)});
  damaged_.insert(std::move(key));
}

void SimDisk::StartProcess() {
  DOVETAIL_CHECK(!in_use_);
  in_use_ = true;
  if (reappearing_.has_value()) Apply(*reappearing_);
  reappearing_.reset();
  // As RocksDB's recovery does: it writes what it found in the log to table
  // files and fsyncs those.
  undo_.clear();
}

void SimDisk::EndProcess() { in_use_ = false; }

SimStorage::SimStorage(SimDisk& disk) : disk_(disk) { disk_.StartProcess(); }

SimStorage::~SimStorage() { disk_.EndProcess(); }

absl::Status SimStorage::ReadTable(Family family, absl::string_view key) {
  for (const auto& [number, table] : disk_.faults_.tables) {
    if (table.family != family || key < table.first || key > table.last) {
      continue;
    }
    met_.try_emplace(number);
    return absl::DataLossError(
        absl::StrCat("table ", number, " cannot be read"));
  }
  return absl::OkStatus();
}

std::vector<replica::DamagedTable> SimStorage::DamagedTables() const {
  std::vector<replica::DamagedTable> tables;
  for (const auto& [number, agreed] : met_) {
    tables.push_back(disk_.faults_.tables.at(number));
  }
  return tables;
}

absl::Status SimStorage::GiveUp(uint64_t table, uint32_t shard,
                                uint32_t shards) {
  const auto found = met_.find(table);
  if (found == met_.end()) return absl::OkStatus();
  found->second.insert(shard);
  if (found->second.size() < shards) return absl::OkStatus();
  met_.erase(found);
  const auto gone = disk_.faults_.tables.extract(table).mapped();
  SimDisk::Keys& keys = disk_.Own(gone.family);
  keys.erase(keys.lower_bound(gone.first), keys.upper_bound(gone.last));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> SimStorage::Get(
    Family family, absl::string_view key) {
  DOVETAIL_RETURN_IF_ERROR(ReadTable(family, key));
  if (!disk_.faults_.reads.empty()) {
    const auto fault = disk_.faults_.reads.find({family, std::string(key)});
    if (fault != disk_.faults_.reads.end()) {
      if (!fault->second.ok()) return fault->second;
      return std::optional<std::string>(kGarbage);
    }
  }
  const SimDisk::Keys& keys = disk_.keys(family);
  const auto found = keys.find(key);
  if (found == keys.end()) return std::optional<std::string>();
  return std::optional<std::string>(found->second);
}

absl::Status SimStorage::Scan(
    Family family, absl::string_view begin, absl::string_view end,
    absl::FunctionRef<bool(absl::string_view key, absl::string_view value)>
        visit) {
  // Holds the state on which it began: `visit` may commit.
  const std::shared_ptr<const SimDisk::Keys> keys =
      disk_.families_[Place(family)];
  for (auto it = keys->lower_bound(begin);
       it != keys->end() && (end.empty() || it->first < end); ++it) {
    DOVETAIL_RETURN_IF_ERROR(ReadTable(family, it->first));
    const auto fault = disk_.faults_.reads.find({family, it->first});
    const bool spoiled = fault != disk_.faults_.reads.end();
    if (spoiled && !fault->second.ok()) return fault->second;
    if (!visit(it->first, spoiled ? kGarbage : it->second)) break;
  }
  return absl::OkStatus();
}

absl::Status SimStorage::Commit(const WriteBatch& batch, CommitMode mode) {
  DOVETAIL_RETURN_IF_ERROR(broken_);
  if (batch.empty()) {
    return mode == CommitMode::kSynced ? Sync() : absl::OkStatus();
  }
  DOVETAIL_RETURN_IF_ERROR(TakeCommitFault(batch));
  if (mode == CommitMode::kSynced) {
    if (absl::Status failed = TakeSyncFault(); !failed.ok()) {
      disk_.reappearing_ = batch;
      return failed;
    }
  }
  disk_.Apply(batch);
  if (mode == CommitMode::kSynced) disk_.undo_.clear();
  return absl::OkStatus();
}

absl::Status SimStorage::Sync() {
  DOVETAIL_RETURN_IF_ERROR(broken_);
  DOVETAIL_RETURN_IF_ERROR(TakeSyncFault());
  disk_.undo_.clear();
  return absl::OkStatus();
}

absl::Status SimStorage::Checkpoint(const std::string& directory) {
  const bool is_new =
      disk_.checkpoints_.emplace(directory, disk_.families_).second;
  if (is_new) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot write a checkpoint to ", directory, ": it exists already"));
}

absl::Status SimStorage::TakeCommitFault(const WriteBatch& batch) {
  SimDisk::FailedCommit& fault = disk_.faults_.commit;
  if (fault.countdown == 0 || --fault.countdown > 0) return absl::OkStatus();
  if (fault.batch == FailedBatch::kReappears) {
    disk_.reappearing_ = batch;
    broken_ = fault.error;
  }
  return fault.error;
}

absl::Status SimStorage::TakeSyncFault() {
  if (disk_.faults_.sync.ok()) return absl::OkStatus();
  broken_ = std::exchange(disk_.faults_.sync, absl::OkStatus());
  return broken_;
}

absl::StatusOr<std::unique_ptr<replica::Storage>> MemoryDisk::Open() {
  if (disk_.in_use()) {
    return absl::UnavailableError(
        "the data directory is in use by another process");
  }
  return std::make_unique<SimStorage>(disk_);
}

std::unique_ptr<Disk> MemoryDisk::Copy() {
  return std::make_unique<MemoryDisk>(disk_);
}

}  // namespace dovetail::sim
