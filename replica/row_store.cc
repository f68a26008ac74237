#include "replica/row_store.h"

#include "crdt/check.h"
#include "crdt/hooks.h"

namespace dovetail::replica {

const std::string* RowCache::Find(absl::string_view key) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return nullptr;
  rows_.splice(rows_.begin(), rows_, it->second);
  return &it->second->second;
}

void RowCache::Put(absl::string_view key, absl::string_view value) {
  const size_t cost = key.size() + value.size() + kRowOverhead;
  if (cost > bytes_max_ / 8) {  // one giant row must not empty the cache
    DOVETAIL_MARK("cache: a row too large for it");
    Erase(key);
    return;
  }
  if (auto it = by_key_.find(key); it != by_key_.end()) {
    rows_.splice(rows_.begin(), rows_, it->second);
    std::string& row = it->second->second;
    bytes_ += value.size();
    bytes_ -= row.size();
    row.assign(value.data(), value.size());
  } else {
    rows_.emplace_front(std::string(key), std::string(value));
    by_key_.emplace(rows_.front().first, rows_.begin());
    bytes_ += cost;
  }
  while (
      bytes_ > bytes_max_ ||
      (!rows_.empty() && DOVETAIL_BUGGIFY("cache: a row is evicted early"))) {
    DOVETAIL_MARK("cache: a row is evicted");
    auto& [old_key, old_value] = rows_.back();
    bytes_ -= old_key.size() + old_value.size() + kRowOverhead;
    by_key_.erase(old_key);
    rows_.pop_back();
  }
}

void RowCache::Clear() {
  by_key_.clear();
  rows_.clear();
  bytes_ = 0;
}

void RowCache::Erase(absl::string_view key) {
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return;
  const Rows::iterator row = it->second;
  bytes_ -= row->first.size() + row->second.size() + kRowOverhead;
  by_key_.erase(it);
  rows_.erase(row);
}

absl::StatusOr<const std::string*> RowStore::Get(absl::string_view key) {
  if (auto it = turn_.find(key); it != turn_.end()) {
    return it->second ? &*it->second : nullptr;
  }
  if (const std::string* row = cache_.Find(key);
      row != nullptr && !DOVETAIL_BUGGIFY("cache: a row is read again")) {
    ++hits_;
    return row;
  }
  ++misses_;
  absl::StatusOr<std::optional<std::string>> row =
      storage_.Get(Family::kRows, key);
  DOVETAIL_MARK_IF("rows: one cannot be read", !row.ok());
  if (!row.ok() && DOVETAIL_MUTANT("rows: what cannot be read is not there")) {
    return nullptr;
  }
  if (!row.ok()) return row.status();
  if (!*row) return nullptr;
  scratch_ = **std::move(row);
  cache_.Put(key, scratch_);
  return &scratch_;
}

void RowStore::Put(absl::string_view key, std::string value) {
  Write(key, std::move(value));
}

void RowStore::Delete(absl::string_view key) { Write(key, std::nullopt); }

void RowStore::Write(absl::string_view key, std::optional<std::string> value) {
  ++changes_;
  auto [it, inserted] = turn_.try_emplace(std::string(key));
  Undo undo{it->first, std::nullopt};
  if (!inserted) undo.before = std::move(it->second);
  undo_.push_back(std::move(undo));
  it->second = std::move(value);
}

absl::Status RowStore::Scan(
    absl::string_view begin, absl::string_view end,
    absl::FunctionRef<bool(absl::string_view, absl::string_view)> visit) {
  auto written = turn_.lower_bound(begin);
  const auto written_end = end.empty() ? turn_.end() : turn_.lower_bound(end);
  bool go_on = true;
  // Rows of the turn that come before `limit` (all of them if nullopt).
  auto visit_written = [&](std::optional<absl::string_view> limit) {
    while (go_on && written != written_end &&
           (!limit || written->first < *limit)) {
      if (written->second) go_on = visit(written->first, *written->second);
      ++written;
    }
  };
  DOVETAIL_RETURN_IF_ERROR(storage_.Scan(
      Family::kRows, begin, end,
      [&](absl::string_view key, absl::string_view value) {
        visit_written(key);
        if (go_on && written != written_end && written->first == key) {
          DOVETAIL_MARK("rows: a scan meets a row of its turn");
          if (written->second) go_on = visit(key, *written->second);
          ++written;
        } else if (go_on) {
          go_on = visit(key, value);
        }
        return go_on;
      }));
  visit_written(std::nullopt);
  return absl::OkStatus();
}

void RowStore::Mark() {
  undo_.clear();
  other_mark_ = other_.size();
}

void RowStore::RollBack() {
  ++changes_;
  for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
    if (undo->before) {
      DOVETAIL_MARK("rows: rolled back to what the turn wrote before");
      turn_[undo->key] = *std::move(undo->before);
    } else {
      turn_.erase(undo->key);
    }
  }
  undo_.clear();
  DOVETAIL_CHECK(other_.size() >= other_mark_);
  other_.Truncate(other_mark_);
}

absl::Status RowStore::Commit(CommitMode mode) {
  ++changes_;
  WriteBatch& batch = other_;
  const size_t rows_begin = batch.size();
  for (auto& [key, value] : turn_) {
    batch.Add({Family::kRows, key, std::move(value)});
  }
  const absl::Status status = storage_.Commit(batch, mode);
  DOVETAIL_MARK_IF("rows: a commit failed", !status.ok());
  for (size_t i = rows_begin; i < batch.size(); ++i) {
    const WriteBatch::Entry& row = batch.entries()[i];
    // A failed batch may or may not be on disk: forget what was cached too.
    const bool keep =
        status.ok() || DOVETAIL_MUTANT("cache: keeps a failed write");
    if (keep && row.value && !DOVETAIL_BUGGIFY("cache: keeps no write")) {
      cache_.Put(row.key, *row.value);
    } else {
      cache_.Erase(row.key);
    }
  }
  turn_.clear();
  other_.Clear();
  undo_.clear();
  other_mark_ = 0;
  return status;
}

}  // namespace dovetail::replica
