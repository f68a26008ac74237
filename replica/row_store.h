// The rows of one shard as a turn sees them: what the turn has written so far,
// over a bounded cache of hot rows, over the storage.
//
// Writes stay in the turn until Commit, which writes them as one batch and
// moves them into the cache. If the batch fails, nothing of the turn remains:
// neither in here nor in the cache. Within a turn, one delta can be taken back
// (Mark, RollBack), so that a delta which fails half-way leaves no trace.
//
// The cache exists because the read before the write costs twice the write
// (docs/benchmarks.md). It holds encoded rows, evicts the least recently used,
// and is bounded in bytes.
#ifndef DOVETAIL_REPLICA_ROW_STORE_H_
#define DOVETAIL_REPLICA_ROW_STORE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/storage.h"

namespace dovetail::replica {

class RowCache {
 public:
  explicit RowCache(size_t bytes_max) : bytes_max_(bytes_max) {}

  // The row, moved to the front; nullptr if it is not here. Valid until the
  // next call of Put or Erase.
  const std::string* Find(absl::string_view key);
  void Put(absl::string_view key, absl::string_view value);
  void Erase(absl::string_view key);
  void Clear();
  size_t bytes() const { return bytes_; }

 private:
  using Rows = std::list<std::pair<std::string, std::string>>;
  // What one row costs beside its bytes: list and hash nodes.
  static constexpr size_t kRowOverhead = 128;

  const size_t bytes_max_;
  size_t bytes_ = 0;
  Rows rows_;  // most recently used first
  // Never iterated: its order is not deterministic.
  absl::flat_hash_map<absl::string_view, Rows::iterator> by_key_;
};

class RowStore {
 public:
  // `storage` must outlive the store.
  RowStore(Storage& storage, size_t cache_bytes)
      : storage_(storage), cache_(cache_bytes) {}

  // The row as this turn sees it, nullptr if there is none. Valid until the
  // next call. DataLoss: the row cannot be read, which is not absence.
  absl::StatusOr<const std::string*> Get(absl::string_view key);
  void Put(absl::string_view key, std::string value);
  void Delete(absl::string_view key);

  // Visits the rows in [begin, end) as this turn sees them, in byte order,
  // until `visit` returns false. Does not fill the cache: a long scan would
  // wash the hot rows out of it.
  absl::Status Scan(
      absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view, absl::string_view)> visit);

  // Writes to the other families go straight into the turn's batch; they are
  // not readable before Commit.
  void PutOther(Family family, std::string key, std::string value) {
    other_.Add({family, std::move(key), std::move(value)});
  }
  void DeleteOther(Family family, std::string key) {
    other_.Add({family, std::move(key), std::nullopt});
  }

  // Begins a part of the turn that RollBack takes back whole.
  void Mark();
  void RollBack();

  bool dirty() const { return !turn_.empty() || !other_.empty(); }
  // Commits the turn as one batch. On failure all of it is forgotten.
  absl::Status Commit(CommitMode mode);

  // Rows in the storage may have changed by themselves.
  void ForgetCached() {
    cache_.Clear();
    ++changes_;
  }

  // Raised with everything that may change what Get returns: what was made of
  // a row holds until then.
  uint64_t changes() const { return changes_; }

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }

 private:
  using Turn = absl::btree_map<std::string, std::optional<std::string>>;
  // What `turn_` held for a key before the current mark: outer nullopt if
  // nothing.
  struct Undo {
    std::string key;
    std::optional<std::optional<std::string>> before;
  };
  void Write(absl::string_view key, std::optional<std::string> value);

  Storage& storage_;
  RowCache cache_;
  Turn turn_;
  WriteBatch other_;
  std::vector<Undo> undo_;
  size_t other_mark_ = 0;
  std::string scratch_;
  uint64_t changes_ = 0;
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_ROW_STORE_H_
