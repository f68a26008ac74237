// Partition: giving up what is held for others.
//
// The context goes first, together with a mark that says so, then rows and log
// in slices: a context that is left without its rows would read as "all of this
// was deleted", the other way round is merely stale. Until the last slice the
// partition refuses everything; a crash in between goes on from the mark.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "replica/keys.h"
#include "replica/partition.h"

namespace dovetail::replica {

void Partition::BeginEmptying() {
  DOVETAIL_CHECK(!emptying_ && !quarantined_);
  rows_.PutOther(Family::kMeta, EmptyingKey(id_),
                 std::string(1, static_cast<char>(crdt::kCodecVersion)));
  rows_.DeleteOther(Family::kMeta, CheckpointKey(id_));
  rows_.DeleteOther(Family::kMeta, SupersededKey(id_));
  rows_.DeleteOther(Family::kMeta, RangesKey(id_));
  if (tenure_) rows_.DeleteOther(Family::kMeta, TenureKey(id_));
  tenure_.reset();
  tenure_changed_ = false;
  newborn_ = true;
  unheard_ = false;
  for (uint32_t block = 0; block < kDigestBlocks; ++block) {
    rows_.DeleteOther(Family::kMeta, SumsKey(id_, static_cast<uint8_t>(block)));
  }
  Forget();
  emptying_ = true;
  ++version_;
}

void Partition::Forget() {
  context_ = {};
  durable_ = {};
  syncing_.reset();
  logged_ = {};
  once_in_turn_.clear();
  settled_ = {};
  settled_before_ = {};
  sums_ = {};
  ForgetPieces();
  superseded_changed_ = false;
  progress_ = {};
  progress_changed_ = false;
  watching_ = false;
  watched_.clear();
  checkpoint_ = sequence_;
  log_entries_ = log_bytes_ = 0;
}

absl::StatusOr<size_t> Partition::EmptySome(size_t max) {
  DOVETAIL_CHECK(emptying_ && max > 0);
  std::vector<std::string> keys;
  const auto collect = [&](absl::string_view key, absl::string_view) {
    keys.emplace_back(key);
    return keys.size() < max;
  };
  const KeyRange rows = RowRange();
  DOVETAIL_RETURN_IF_ERROR(rows_.Scan(rows.begin, rows.end, collect));
  for (const std::string& key : keys) {
    DOVETAIL_ASSIGN_OR_RETURN(const ParsedRowKey parsed, ParseRowKey(key));
    if (parsed.header) {
      rows_.DeleteOther(Family::kIndex, IndexKey(parsed.object));
    }
    rows_.Delete(key);
  }
  size_t removed = keys.size();
  if (removed >= max) return removed;
  const std::array<std::pair<Family, std::string>, 3> beside = {
      {{Family::kLog, LogPrefix(id_)},
       {Family::kMeta, ExpiryPrefix(id_)},
       {Family::kMeta, PiecesPrefix(id_)}}};
  for (const auto& [family, prefix] : beside) {
    keys.clear();
    const size_t left = max - removed;
    DOVETAIL_RETURN_IF_ERROR(
        storage_.Scan(family, prefix, RangeEnd(prefix),
                      [&](absl::string_view key, absl::string_view) {
                        keys.emplace_back(key);
                        return keys.size() < left;
                      }));
    for (std::string& key : keys) rows_.DeleteOther(family, std::move(key));
    removed += keys.size();
    if (removed >= max) return removed;
  }
  rows_.DeleteOther(Family::kMeta, EmptyingKey(id_));
  emptying_ = false;
  return removed;
}

}  // namespace dovetail::replica
