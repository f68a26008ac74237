// What a node needs of a disk, and what a crash may take away.
//
// Contract (tests/replica/storage_test.cc runs it on every implementation):
//  1. A batch is atomic: after a crash all of it is there or nothing.
//  2. A committed batch survives the death of the process.
//  3. When the machine loses power, a suffix of the committed batches may be
//     gone, never one from the middle, and none that was committed before a
//     Commit(kSynced) or a Sync() that returned OK.
//  4. Reads see every batch whose Commit returned.
//  5. A failed Commit has no effect that a read could see, unless the process
//     ends: then the batch may turn up after a restart.
//  6. A failed Sync, or Commit(kSynced), says nothing about what is on disk.
//     The caller ends the process; it never tries again and trusts the answer.
//  7. ResourceExhausted means refused: a full disk, and nothing of the batch
//     was written or will turn up. Points 5 and 6 do not apply; the caller may
//     go on, and try again when there is room.
// Damage and I/O errors are DataLoss, never "not found".
//
// Implementations are safe for use from several threads at once: shards share
// one storage, each writing keys of its own partitions.
#ifndef DOVETAIL_REPLICA_STORAGE_H_
#define DOVETAIL_REPLICA_STORAGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dovetail::replica {

// Separate key spaces (RocksDB column families), keys in byte order in each.
// keys.h has the layout; docs/formats.md explains it.
enum class Family : uint8_t { kRows = 0, kLog = 1, kMeta = 2, kIndex = 3 };
inline constexpr size_t kFamilyCount = 4;

// Puts and deletes that take effect together, in this order. A value type.
class WriteBatch {
 public:
  struct Entry {
    Family family = Family::kRows;
    std::string key;
    std::optional<std::string> value;  // nullopt: delete
  };

  void Put(Family family, absl::string_view key, absl::string_view value) {
    bytes_ += key.size() + value.size();
    entries_.push_back({family, std::string(key), std::string(value)});
  }
  void Delete(Family family, absl::string_view key) {
    bytes_ += key.size();
    entries_.push_back({family, std::string(key), std::nullopt});
  }
  // The same for bytes that need not be copied.
  void Add(Entry entry) {
    bytes_ += BytesOf(entry);
    entries_.push_back(std::move(entry));
  }
  // Takes back all but the first `size` entries.
  void Truncate(size_t size) {
    while (entries_.size() > size) {
      bytes_ -= BytesOf(entries_.back());
      entries_.pop_back();
    }
  }
  void Clear() {
    entries_.clear();
    bytes_ = 0;
  }
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  // Keys and values, in bytes.
  size_t bytes() const { return bytes_; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  static size_t BytesOf(const Entry& entry) {
    return entry.key.size() + (entry.value ? entry.value->size() : 0);
  }

  std::vector<Entry> entries_;
  size_t bytes_ = 0;
};

// How far a commit must have got before it returns.
enum class CommitMode : uint8_t {
  kWritten,  // with the operating system: outlives the process
  kSynced,   // on stable storage, with everything committed before it
};

// A table file of which a block cannot be read, and the keys between which its
// rows lie, both included.
struct DamagedTable {
  uint64_t number = 0;  // names it; never used twice
  Family family = Family::kRows;
  std::string first;
  std::string last;
};

class Storage {
 public:
  virtual ~Storage() = default;

  // The value of `key`, or nullopt if there is none.
  virtual absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) = 0;

  // Visits the keys in [begin, end) in byte order until `visit` returns false;
  // an empty `end` means to the end of the family. The views live for the
  // call. Sees one consistent state of the family.
  virtual absl::Status Scan(
      Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view key, absl::string_view value)>
          visit) = 0;

  // Applies `batch`. An empty batch with kSynced is a Sync().
  virtual absl::Status Commit(const WriteBatch& batch, CommitMode mode) = 0;

  // Makes everything committed so far survive a power loss.
  virtual absl::Status Sync() = 0;

  // Writes a consistent copy of the current state to `directory`, which must
  // not exist yet. Cost: near constant on RocksDB (hard links).
  virtual absl::Status Checkpoint(const std::string& directory) = 0;

  // The tables that met a read which failed and that GiveUp can take out; by
  // number. Cheap while there are none, as there are for storages without
  // tables.
  virtual std::vector<DamagedTable> DamagedTables() const { return {}; }

  // Says that shard number `shard` of `shards` trusts nothing between the keys
  // of that table any more, on stable storage. With the last of them the table
  // leaves the database, unread: what it held is gone, and what it had covered,
  // older rows and rows since removed, may be back. Returns: Unavailable while
  // it is in use; to be called again.
  virtual absl::Status GiveUp(uint64_t /*table*/, uint32_t /*shard*/,
                              uint32_t /*shards*/) {
    return absl::UnimplementedError("this storage has no tables");
  }
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_STORAGE_H_
