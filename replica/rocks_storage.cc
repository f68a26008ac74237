#include "replica/rocks_storage.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "crdt/check.h"
#include "replica/data_directory.h"
#include "replica/rocks_hooks.h"
#include "replica/rocks_tables.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/slice_transform.h"
#include "rocksdb/table.h"
#include "rocksdb/utilities/checkpoint.h"
#include "rocksdb/write_batch.h"

namespace dovetail::replica {
namespace {

constexpr std::array<const char*, kFamilyCount> kFamilyNames = {
    "rows", "log", "meta", "index"};

constexpr int64_t kSpaceCheckBytes = 1 << 20;
// Where the actor ends in a log key (keys.h): the counter follows.
constexpr size_t kLogKeyActorEnd = 10;

rocksdb::Slice ToSlice(absl::string_view bytes) {
  return rocksdb::Slice(bytes.data(), bytes.size());
}

absl::string_view ToView(const rocksdb::Slice& slice) {
  return absl::string_view(slice.data(), slice.size());
}

absl::Status ToStatus(const rocksdb::Status& status, absl::string_view action) {
  if (status.ok()) return absl::OkStatus();
  std::string message =
      absl::StrCat("cannot ", action, ": ", status.ToString());
  // A commit may hear of a failed fsync before the thread that asked for it.
  if (absl::StrContains(message, "Writer has previous error")) {
    absl::StrAppend(&message, " (a write or fsync of the log has failed)");
  }
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption() || status.IsIOError()) {
    return absl::DataLossError(message);
  }
  return absl::UnavailableError(message);
}

// RocksDB has no code of its own for its lock file being taken.
bool IsLockTaken(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  return status.IsIOError() &&
         (absl::StrContains(text, "While lock file") ||
          absl::StrContains(text, "lock hold by current process"));
}

rocksdb::CompressionType Supported(rocksdb::CompressionType wanted) {
  for (const rocksdb::CompressionType type :
       rocksdb::GetSupportedCompressions()) {
    if (type == wanted) return wanted;
  }
  return rocksdb::kNoCompression;
}

rocksdb::DBOptions DatabaseOptions(const RocksOptions& options,
                                   GapFilter& gap_filter) {
  rocksdb::DBOptions result;
  result.create_if_missing = true;
  result.create_missing_column_families = true;
  result.max_background_jobs = options.background_jobs_max;
  result.max_open_files = options.open_files_max;
  // Not 16 more for the moment of opening.
  result.max_file_opening_threads = options.background_jobs_max;
  result.db_write_buffer_size = options.memtable_bytes_max;
  result.max_total_wal_size = options.log_bytes_max;
  // Read as a whole at a start; RocksDB begins a new one then.
  result.max_manifest_file_size = 16 << 20;
  // Spreads the writing out of tables, so that an fsync finds little to do.
  result.bytes_per_sync = 1 << 20;

  // Durability. Each of these is relied upon; some are the defaults.
  // An error in the background makes the database read-only.
  result.paranoid_checks = true;
  result.max_bgerror_resume_count = 0;
  // A torn last record is what a power failure leaves. Stricter modes would
  // refuse to open then; the floor finds what this mode hides.
  result.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  result.wal_filter = &gap_filter;
  // Old records in a recycled log could be taken for new ones.
  result.recycle_log_file_num = 0;
  result.wal_compression = rocksdb::kNoCompression;
  // Not to be used together with FlushWAL(sync).
  result.track_and_verify_wals_in_manifest = false;
  // Recovery must write what it found to fsynced tables. A log that was only
  // read again would never be fsynced by this process: a later sync covers only
  // the logs that this process has written.
  result.avoid_flush_during_recovery = false;
  // Nothing is unlogged, and closing is to look like a death.
  result.avoid_flush_during_shutdown = true;

  result.info_log = std::make_shared<CallbackLogger>(options.log);
  if (options.env) result.env = options.env.get();
  return result;
}

rocksdb::ColumnFamilyOptions FamilyOptions(
    Family family, const RocksOptions& options,
    const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions result;
  result.write_buffer_size = options.write_buffer_bytes;
  result.max_write_buffer_number = 3;
  result.level_compaction_dynamic_level_bytes = true;
  result.disable_auto_compactions = !options.automatic_compactions;
  result.compression = Supported(rocksdb::kLZ4Compression);
  result.bottommost_compression = Supported(rocksdb::kZSTD);
  if (result.bottommost_compression == rocksdb::kNoCompression) {
    result.bottommost_compression = result.compression;
  }

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  // So that the cache's size bounds them too.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  // In pieces, each of them cached by itself. A whole filter grows with its
  // table; one that is larger than a part of the cache (a sixty-fourth of it)
  // would be read and checked anew by every read: 2 MB for 2,000,000 rows.
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.metadata_block_size = 4096;
  if (family == Family::kRows) {
    // The read before a write is the dear part of it; for a row that is new,
    // the filter answers without a read (a tenth of the cost).
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.whole_key_filtering = true;
  }
  // Where the last insertion under one prefix went is where the search for the
  // next one begins; without it each goes down the whole memtable. For the log,
  // whose entries of one partition and actor ascend, there is hardly any search
  // left. Rows spread over the hash: 256 places to begin at.
  if (family == Family::kLog || family == Family::kRows) {
    result.memtable_insert_with_hint_prefix_extractor.reset(
        rocksdb::NewFixedPrefixTransform(
            family == Family::kLog ? kLogKeyActorEnd : size_t{1}));
  }
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

}  // namespace

struct RocksStorage::Impl {
  explicit Impl(const RocksOptions& options) : damaged(options.log) {}
  ~Impl();

  rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return families[static_cast<size_t>(family)];
  }
  // ResourceExhausted if `batch` puts something and the disk is nearly full.
  absl::Status CheckSpace(const WriteBatch& batch);
  // What an earlier write failed with.
  absl::Status failure() const;
  // What a read came to; `damaged` learns of it.
  absl::Status OfRead(const rocksdb::Status& status, absl::string_view action) {
    if (status.IsCorruption()) damaged.Note(status);
    return ToStatus(status, action);
  }
  // Returns `status`, and keeps the first one that is not OK as failure().
  absl::Status Keep(absl::Status status);
  // Reads the floor; DataLoss if the files that it names are not there.
  absl::Status LoadFloor();
  // Sets lost_synced_writes.
  absl::Status CompareFloor();
  // Moves the recorded floor up to `sequence`, which is on stable storage.
  void RecordFloor(uint64_t sequence);
  // Notes the manifest as it is. Called on RocksDB's threads too.
  void RecordFiles(rocksdb::DB& from);
  // Sets all but the sequence; false if that cannot be found.
  bool NoteFiles(rocksdb::DB& from, Floor& note);
  // Writes the floor; false, and counted, if that fails.
  bool Replace(const Floor& next) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  std::string directory;
  std::shared_ptr<rocksdb::Env> env;  // null: the real one
  std::shared_ptr<rocksdb::FileSystem> files;
  GapFilter gap_filter;
  TableWatch damaged;
  std::unique_ptr<rocksdb::DB> db;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilyCount> families = {};
  rocksdb::ColumnFamilyHandle* default_family = nullptr;  // unused
  std::shared_ptr<rocksdb::Cache> cache;
  bool lost_synced_writes = false;
  uint64_t disk_reserve_bytes = 0;

  // Bytes that may be committed before free space is looked up again.
  std::atomic<int64_t> bytes_to_space_check = 0;
  std::atomic<bool> has_failed = false;
  std::atomic<uint64_t> first_log = 0;  // that this process writes

  mutable absl::Mutex mutex;
  Floor floor ABSL_GUARDED_BY(mutex);  // as recorded
  bool floor_decodes ABSL_GUARDED_BY(mutex) = true;
  bool is_open ABSL_GUARDED_BY(mutex) = false;  // and compared with the floor
  uint64_t synced ABSL_GUARDED_BY(mutex) = 0;   // by this process
  uint64_t floor_failures ABSL_GUARDED_BY(mutex) = 0;
  absl::Status first_failure ABSL_GUARDED_BY(mutex);
};

RocksStorage::Impl::~Impl() {
  if (db == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* family : families) {
    db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
  db->DestroyColumnFamilyHandle(default_family).PermitUncheckedError();
  db.reset();  // Its threads use the rest.
}

absl::Status RocksStorage::Impl::CheckSpace(const WriteBatch& batch) {
  const auto bytes = static_cast<int64_t>(batch.bytes());
  if (bytes_to_space_check.fetch_sub(bytes) > bytes) return absl::OkStatus();
  // Deletes make room.
  const bool puts = std::any_of(
      batch.entries().begin(), batch.entries().end(),
      [](const WriteBatch::Entry& entry) { return entry.value.has_value(); });
  if (!puts) return absl::OkStatus();
  uint64_t available = 0;
  DOVETAIL_RETURN_IF_ERROR(ToStatus(
      files->GetFreeSpace(directory, rocksdb::IOOptions(), &available, nullptr),
      absl::StrCat("find the free space of ", directory)));
  if (available < disk_reserve_bytes) {
    bytes_to_space_check = 0;
    return absl::ResourceExhaustedError(absl::StrCat(
        "the disk of ", directory, " has ", available,
        " bytes free, less than the reserve of ", disk_reserve_bytes));
  }
  bytes_to_space_check = kSpaceCheckBytes;
  return absl::OkStatus();
}

absl::Status RocksStorage::Impl::failure() const {
  if (!has_failed.load(std::memory_order_acquire)) return absl::OkStatus();
  const absl::MutexLock lock(&mutex);
  return first_failure;
}

absl::Status RocksStorage::Impl::Keep(absl::Status status) {
  if (status.ok()) return status;
  const absl::MutexLock lock(&mutex);
  if (first_failure.ok()) first_failure = status;
  has_failed.store(true, std::memory_order_release);
  return status;
}

absl::Status RocksStorage::Impl::LoadFloor() {
  const absl::MutexLock lock(&mutex);
  // One that does not decode leaves open how much was safe.
  const absl::StatusOr<Floor> recorded = ReadFloor(*files, directory);
  floor_decodes = recorded.ok();
  if (!floor_decodes) return absl::OkStatus();
  floor = *recorded;
  DOVETAIL_ASSIGN_OR_RETURN(const uint64_t oldest_log,
                            CheckFloorFiles(*files, directory, floor));
  gap_filter.set_first_log(oldest_log);
  return absl::OkStatus();
}

absl::Status RocksStorage::Impl::CompareFloor() {
  // What Open found is all in tables, so the newest log is all that is needed.
  DOVETAIL_ASSIGN_OR_RETURN(const LogNumbers logs,
                            FindLogs(*files, directory, 0));
  first_log = logs.newest;
  Floor next;
  if (!NoteFiles(*db, next)) {
    return absl::UnavailableError(
        absl::StrCat("cannot list the files of the database in ", directory));
  }
  const absl::MutexLock lock(&mutex);
  lost_synced_writes =
      !floor_decodes || db->GetLatestSequenceNumber() < floor.sequence;
  // New writes must not lift the database over the floor before a Sync().
  next.sequence = lost_synced_writes ? std::numeric_limits<uint64_t>::max()
                                     : floor.sequence;
  is_open = true;
  // Not to be left out: the old floor names a log that may be gone.
  DOVETAIL_RETURN_IF_ERROR(WriteFloor(*files, directory, next));
  floor = next;
  return absl::OkStatus();
}

void RocksStorage::Impl::RecordFloor(uint64_t sequence) {
  const absl::MutexLock lock(&mutex);
  // The first one replaces the floor of earlier processes, even a higher one.
  if (sequence <= synced) return;
  Floor next = floor;
  next.sequence = sequence;
  if (Replace(next)) synced = sequence;
}

void RocksStorage::Impl::RecordFiles(rocksdb::DB& from) {
  {
    const absl::MutexLock lock(&mutex);
    if (!is_open) return;
  }
  Floor next;
  const bool noted = NoteFiles(from, next);
  const absl::MutexLock lock(&mutex);
  if (!noted) {
    ++floor_failures;
    return;
  }
  // Another thread may have been faster.
  if (std::pair(next.manifest, next.manifest_bytes) <=
      std::pair(floor.manifest, floor.manifest_bytes)) {
    return;
  }
  next.sequence = floor.sequence;
  Replace(next);
}

bool RocksStorage::Impl::NoteFiles(rocksdb::DB& from, Floor& note) {
  std::vector<std::string> names;
  uint64_t least_log = 0;
  if (!from.GetLiveFiles(names, &note.manifest_bytes, /*flush_memtable=*/false)
           .ok() ||
      !from.GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep,
                           &least_log)) {
    return false;
  }
  for (const std::string& name : names) {
    note.manifest = std::max(note.manifest, ManifestNumber(name));
  }
  // Before the first flush of this process RocksDB names older logs than it
  // keeps.
  const absl::StatusOr<LogNumbers> logs =
      FindLogs(*files, directory, std::max(least_log, first_log.load()));
  if (logs.ok()) note.log = logs->oldest;
  return logs.ok();
}

bool RocksStorage::Impl::Replace(const Floor& next) {
  if (!WriteFloor(*files, directory, next).ok()) {
    ++floor_failures;
    return false;
  }
  floor = next;
  return true;
}

RocksStorage::RocksStorage(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

RocksStorage::~RocksStorage() = default;

absl::StatusOr<std::unique_ptr<RocksStorage>> RocksStorage::Open(
    const std::string& directory, const RocksOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  impl->directory = directory;
  impl->env = options.env;
  impl->files = options.env ? options.env->GetFileSystem()
                            : rocksdb::FileSystem::Default();
  DOVETAIL_RETURN_IF_ERROR(PrepareDataDirectory(*impl->files, directory));
  impl->disk_reserve_bytes = options.disk_reserve_bytes;
  impl->cache = rocksdb::NewLRUCache(options.block_cache_bytes);

  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (size_t i = 0; i < kFamilyCount; ++i) {
    descriptors.emplace_back(
        kFamilyNames[i],
        FamilyOptions(static_cast<Family>(i), options, impl->cache));
  }
  descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName,
                           rocksdb::ColumnFamilyOptions());
  DOVETAIL_RETURN_IF_ERROR(impl->LoadFloor());
  rocksdb::DBOptions database_options =
      DatabaseOptions(options, impl->gap_filter);
  database_options.listeners.push_back(std::make_shared<Listener>(
      [&opening = *impl](rocksdb::DB& from) { opening.RecordFiles(from); },
      [&opening = *impl](const rocksdb::Status& failed) {
        return opening.damaged.Note(failed);
      }));
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(database_options, directory,
                                                   descriptors, &handles, &db);
  if (IsLockTaken(opened)) {
    return absl::UnavailableError(absl::StrCat(
        "the data directory ", directory, " is in use by another process"));
  }
  if (impl->gap_filter.has_split_families()) {
    return absl::DataLossError(
        absl::StrCat("a log of the database in ", directory,
                     " has lost batches of which "
                     "a part is in tables; its data must be replaced"));
  }
  DOVETAIL_RETURN_IF_ERROR(
      ToStatus(opened, absl::StrCat("open the database in ", directory)));
  impl->db.reset(db);
  for (size_t i = 0; i < kFamilyCount; ++i) impl->families[i] = handles[i];
  impl->default_family = handles[kFamilyCount];
  impl->damaged.Watch(*db, impl->families);

  DOVETAIL_RETURN_IF_ERROR(impl->CompareFloor());
  return std::unique_ptr<RocksStorage>(new RocksStorage(std::move(impl)));
}

bool RocksStorage::lost_synced_writes() const {
  return impl_->lost_synced_writes;
}

absl::StatusOr<std::optional<std::string>> RocksStorage::Get(
    Family family, absl::string_view key) {
  std::string value;
  const rocksdb::Status status = impl_->db->Get(
      rocksdb::ReadOptions(), impl_->handle(family), ToSlice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  DOVETAIL_RETURN_IF_ERROR(impl_->OfRead(status, "read a key"));
  return std::optional<std::string>(std::move(value));
}

absl::Status RocksStorage::Scan(
    Family family, absl::string_view begin, absl::string_view end,
    absl::FunctionRef<bool(absl::string_view key, absl::string_view value)>
        visit) {
  const rocksdb::Slice upper_bound = ToSlice(end);
  rocksdb::ReadOptions options;
  if (!end.empty()) options.iterate_upper_bound = &upper_bound;
  const std::unique_ptr<rocksdb::Iterator> it(
      impl_->db->NewIterator(options, impl_->handle(family)));
  for (it->Seek(ToSlice(begin)); it->Valid(); it->Next()) {
    if (!visit(ToView(it->key()), ToView(it->value()))) break;
  }
  return impl_->OfRead(it->status(), "scan");
}

absl::Status RocksStorage::Commit(const WriteBatch& batch, CommitMode mode) {
  if (batch.empty()) {
    return mode == CommitMode::kSynced ? Sync() : absl::OkStatus();
  }
  DOVETAIL_RETURN_IF_ERROR(impl_->failure());
  DOVETAIL_RETURN_IF_ERROR(impl_->CheckSpace(batch));
  // Tag, family and two lengths for each entry, 12 bytes of header.
  rocksdb::WriteBatch changes(batch.bytes() + 12 * batch.entries().size() + 12);
  for (const WriteBatch::Entry& entry : batch.entries()) {
    rocksdb::ColumnFamilyHandle* const family = impl_->handle(entry.family);
    const rocksdb::Status added =
        entry.value.has_value() ? changes.Put(family, entry.key, *entry.value)
                                : changes.Delete(family, entry.key);
    DOVETAIL_RETURN_IF_ERROR(ToStatus(added, "build a batch"));
  }
  rocksdb::WriteOptions options;
  options.sync = mode == CommitMode::kSynced;
  return impl_->Keep(ToStatus(impl_->db->Write(options, &changes), "commit"));
}

absl::Status RocksStorage::Sync() {
  DOVETAIL_RETURN_IF_ERROR(impl_->failure());
  // Read first: what is committed while the fsync runs may not be covered.
  const uint64_t sequence = impl_->db->GetLatestSequenceNumber();
  // Fsyncs the files of all logs of this process that are not safe yet, and so
  // also what was written without `sync`: one fdatasync, as strace shows. An
  // empty batch with `sync` would do as well, but as the leader of a group of
  // writers, so that all shards would wait for the disk.
  DOVETAIL_RETURN_IF_ERROR(impl_->Keep(
      ToStatus(impl_->db->FlushWAL(/*sync=*/true), "fsync the log")));
  impl_->RecordFloor(sequence);
  return absl::OkStatus();
}

absl::Status RocksStorage::Checkpoint(const std::string& directory) {
  rocksdb::FileSystem& files = *impl_->files;
  const rocksdb::IOOptions options;
  std::string target;
  DOVETAIL_RETURN_IF_ERROR(
      ToStatus(files.GetAbsolutePath(directory, options, &target, nullptr),
               absl::StrCat("find ", directory)));
  const std::string parent = std::filesystem::path(target).parent_path();
  const rocksdb::IOStatus exists = files.FileExists(target, options, nullptr);
  if (!exists.ok() && !exists.IsNotFound()) {
    return ToStatus(exists, absl::StrCat("look for ", directory));
  }
  bool has_parent = false;
  const rocksdb::IOStatus looked =
      files.IsDirectory(parent, options, &has_parent, nullptr);
  if (!looked.ok() && !looked.IsPathNotFound()) {
    return ToStatus(looked, absl::StrCat("look at ", parent));
  }
  if (exists.ok() || !has_parent) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot write a checkpoint to ", directory,
                     ": it exists already or its parent does not"));
  }
  rocksdb::Checkpoint* created = nullptr;
  DOVETAIL_RETURN_IF_ERROR(
      ToStatus(rocksdb::Checkpoint::Create(impl_->db.get(), &created),
               "prepare a checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(created);
  DOVETAIL_RETURN_IF_ERROR(
      ToStatus(checkpoint->CreateCheckpoint(target),
               absl::StrCat("write a checkpoint to ", directory)));
  // Last: a copy without it is not complete and does not open.
  return WriteFormat(files, target);
}

std::vector<DamagedTable> RocksStorage::DamagedTables() const {
  return impl_->damaged.List();
}

absl::Status RocksStorage::GiveUp(uint64_t table, uint32_t shard,
                                  uint32_t shards) {
  return impl_->damaged.GiveUp(table, shard, shards);
}

RocksStats RocksStorage::stats() const {
  const auto property = [this](const std::string& name) {
    uint64_t value = 0;
    DOVETAIL_CHECK(impl_->db->GetAggregatedIntProperty(name, &value));
    return value;
  };
  // Those of the whole database; added up they would count once a family.
  const auto database_property = [this](const std::string& name) {
    uint64_t value = 0;
    DOVETAIL_CHECK(impl_->db->GetIntProperty(name, &value));
    return value;
  };
  using Properties = rocksdb::DB::Properties;
  RocksStats result;
  result.live_data_bytes = property(Properties::kEstimateLiveDataSize);
  result.table_file_bytes = property(Properties::kTotalSstFilesSize);
  result.memtable_bytes = property(Properties::kCurSizeAllMemTables);
  result.block_cache_bytes = impl_->cache->GetUsage();
  result.pending_compaction_bytes =
      property(Properties::kEstimatePendingCompactionBytes);
  result.background_errors = database_property(Properties::kBackgroundErrors);
  result.writes_stopped = database_property(Properties::kIsWriteStopped);
  result.is_read_only = impl_->has_failed.load();
  result.tables_damaged = impl_->damaged.size();
  result.tables_given_up = impl_->damaged.given_up();
  const absl::MutexLock lock(&impl_->mutex);
  result.floor_failures = impl_->floor_failures;
  return result;
}

}  // namespace dovetail::replica
