// Partition: damage found, cleared away, and mended from a peer (scrub.h).
//
// The sums are of what was written; the rows are what can be read. Where the
// two differ, rows were lost or altered on the disk: what cannot be read is
// removed, the headers and the index are made to fit what is left, the sums
// become those of what is there, and the range is remembered as lost until a
// peer has said what belongs in it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/hash.h"
#include "replica/partition.h"
#include "replica/remains.h"

namespace dovetail::replica {
namespace {

// Deltas that a source lacks and that are replayed over what it has, at the
// most; a source that lacks more is asked later.
constexpr uint64_t kReplayedMax = 10'000;

}  // namespace

// --- Finding -----------------------------------------------------------------

// Where the rows do not decode or do not add up, or an object's do not fit its
// header. `listed` is given what the indexes are to have, with its leaf.
absl::StatusOr<std::vector<bool>> Partition::CompareRows(
    LeafSpan leaves,
    absl::FunctionRef<void(uint32_t leaf, Family family, std::string key)>
        listed) {
  std::map<uint32_t, LeafSum> found;
  std::vector<bool> damaged(leaves.end - leaves.first);
  const KeyRange range =
      RowsOfLeaves(id_, partitions_, leaves.first, leaves.end);
  // Rows of one object are next to each other, its header before the others.
  std::optional<Remains> current;
  uint32_t its_leaf = leaves.first;
  const auto end_object = [&] {
    if (current && !current->Fits()) damaged[its_leaf - leaves.first] = true;
    current.reset();
  };
  DOVETAIL_RETURN_IF_ERROR(ForEachRow(rows_, range, [&](FoundRow&& row) {
    const uint32_t leaf = LeafOfRowKey(row.key, partitions_);
    if (!row.object) {
      damaged[leaf - leaves.first] = true;
      return;
    }
    if (!current || !(current->object == *row.object)) {
      end_object();
      current.emplace(*row.object);
      its_leaf = leaf;
    }
    current->Add(row);
    for (auto& [path, value] : row.leaves) {
      found[leaf].Merge(SumOfRow({"", *row.object, path, value}));
    }
    if (row.header && row.decoded.visible > 0) {
      listed(leaf, Family::kIndex, IndexKey(*row.object));
    }
    if (row.header && row.decoded.expires_ms > 0) {
      listed(leaf, Family::kMeta,
             ExpiryKey(id_, row.decoded.expires_ms, *row.object));
    }
  }));
  end_object();
  for (uint32_t leaf = leaves.first; leaf < leaves.end; ++leaf) {
    const auto it = found.find(leaf);
    const LeafSum sum = it == found.end() ? LeafSum{} : it->second;
    if (!(sum == sums_.leaf(static_cast<uint16_t>(leaf)))) {
      damaged[leaf - leaves.first] = true;
    }
  }
  return damaged;
}

absl::StatusOr<std::vector<uint32_t>> Partition::FindDamage(ScrubPlace& place,
                                                            uint64_t rows) {
  DOVETAIL_CHECK(rows > 0);
  struct Named {
    uint32_t leaf = 0;
    Family family = Family::kIndex;
    std::string key;
  };
  std::vector<Named> named;
  const uint32_t first = place.leaf;
  std::vector<bool> damaged;
  const auto listed = [&](uint32_t leaf, Family family, std::string key) {
    named.push_back({leaf, family, std::move(key)});
  };
  ScrubPlace next;
  if (pieces_.Divided(first)) {
    DOVETAIL_MARK("scrub: piece by piece");
    const KeyRange range = PiecesFrom(first, place.piece, rows);
    DOVETAIL_ASSIGN_OR_RETURN(const bool fit, PiecesFit(first, range, listed));
    damaged = {!fit};
    const bool last =
        range.end == RowsOfLeaves(id_, partitions_, first, first + 1).end;
    next = last ? ScrubPlace{first + 1, ""} : ScrubPlace{first, range.end};
  } else {
    uint64_t expected = 0;
    for (next.leaf = first; next.leaf < kLeavesPerPartition &&
                            expected < rows && !pieces_.Divided(next.leaf);
         ++next.leaf) {
      const int64_t count = sums_.leaf(static_cast<uint16_t>(next.leaf)).count;
      // Empty leaves cost something, too.
      expected += static_cast<uint64_t>(std::max<int64_t>(count, 0)) + 1;
    }
    DOVETAIL_ASSIGN_OR_RETURN(damaged, CompareRows({first, next.leaf}, listed));
  }
  for (const auto& [leaf, family, key] : named) {
    DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> entry,
                              storage_.Get(family, key));
    if (!entry) damaged[leaf - first] = true;
  }
  std::vector<uint32_t> places;
  for (uint32_t i = 0; i < damaged.size(); ++i) {
    if (damaged[i]) places.push_back(first + i);
  }
  place = std::move(next);
  return places;
}

absl::Status Partition::VerifySums() {
  if (emptying_) return absl::OkStatus();
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::vector<bool> damaged,
      CompareRows({0, kLeavesPerPartition}, [](uint32_t, Family, auto) {}));
  const auto first = std::find(damaged.begin(), damaged.end(), true);
  if (first == damaged.end()) return VerifyPieces();
  return absl::DataLossError(absl::StrCat(
      "the rows of partition ", Index(id_), " do not add up to its digest, in ",
      std::count(damaged.begin(), damaged.end(), true), " leaves, the first ",
      first - damaged.begin()));
}

absl::StatusOr<LeafSpan> Partition::LeavesAround(const KeyRange& range) const {
  const KeyRange all = RowRange();
  if (range.begin < all.begin || EndBefore(all.end, range.end)) {
    return absl::InvalidArgumentError("a range of another partition");
  }
  // A peer may have said it.
  if ((range.begin != all.begin && range.begin.size() < kRowKeyBytesMin) ||
      (range.end != all.end && range.end.size() < kRowKeyBytesMin)) {
    return absl::InvalidArgumentError("a range between what are no row keys");
  }
  LeafSpan leaves{0, kLeavesPerPartition};
  if (range.begin != all.begin) {
    leaves.first = LeafOfRowKey(range.begin, partitions_);
  }
  if (range.end != all.end) {
    leaves.end = LeafOfRowKey(range.end, partitions_);
    const KeyRange last =
        RowsOfLeaves(id_, partitions_, leaves.end, leaves.end + 1);
    if (last.begin != range.end) ++leaves.end;
  }
  return leaves;
}

absl::StatusOr<KeyRange> Partition::FrontOf(const KeyRange& range,
                                            uint64_t& rows,
                                            bool whole_leaves) const {
  DOVETAIL_ASSIGN_OR_RETURN(const LeafSpan leaves, LeavesAround(range));
  uint32_t leaf = leaves.first;
  do {
    if (!whole_leaves && pieces_.Divided(leaf)) {
      const std::string end = FrontOfPieces(leaf, range, rows);
      if (EndBefore(end, range.end) && rows == 0) {
        return KeyRange{range.begin, end};
      }
    } else {
      const auto here = static_cast<uint64_t>(
          std::max<int64_t>(0, sums_.leaf(static_cast<uint16_t>(leaf)).count));
      rows -= std::min(rows, here);
    }
    ++leaf;
  } while (leaf < leaves.end && rows > 0);
  if (leaf >= leaves.end) return range;
  return KeyRange{range.begin,
                  RowsOfLeaves(id_, partitions_, leaf - 1, leaf).end};
}

absl::Status Partition::Vouch(const KeyRange& range) {
  DOVETAIL_ASSIGN_OR_RETURN(const LeafSpan leaves, LeavesAround(range));
  for (uint32_t first = leaves.first; first < leaves.end;) {
    uint32_t end = first + 1;
    absl::StatusOr<bool> fit;
    if (pieces_.Divided(first)) {
      fit = VouchForPieces(first, range);
    } else {
      while (end < leaves.end && !pieces_.Divided(end)) ++end;
      fit = VouchForLeaves({first, end});
    }
    DOVETAIL_RETURN_IF_ERROR(fit.status());
    if (!*fit) {
      const absl::Status why = absl::DataLossError(
          absl::StrCat("rows of digest leaves ", first, " to ", end - 1,
                       " do not add up to their digest"));
      Quarantine(why);
      return why;
    }
    first = end;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Partition::VouchForLeaves(LeafSpan leaves) {
  while (leaves.first < leaves.end && vouched_.contains(leaves.first)) {
    ++leaves.first;
  }
  while (leaves.first < leaves.end && vouched_.contains(leaves.end - 1)) {
    --leaves.end;
  }
  if (leaves.first >= leaves.end) return true;
  DOVETAIL_ASSIGN_OR_RETURN(const std::vector<bool> damaged,
                            CompareRows(leaves, [](uint32_t, Family, auto) {}));
  bool fit = true;
  for (uint32_t leaf = leaves.first; leaf < leaves.end; ++leaf) {
    if (damaged[leaf - leaves.first]) {
      fit = false;
    } else {
      vouched_.insert(leaf);
    }
  }
  return fit;
}

// --- Clearing away -----------------------------------------------------------

// A dot that this replica never knew (N1) is an altered one.
bool Partition::KnowsAll(const FoundRow& row) const {
  for (const auto& [path, leaf] : row.leaves) {
    for (const auto& [dot, payload] : leaf.entries()) {
      if (!context_.Contains(dot)) return false;
    }
  }
  return true;
}

absl::StatusOr<uint64_t> Partition::ClearDamage(uint32_t leaf) {
  uint64_t unreadable = 0;
  std::vector<std::string> gone;
  std::map<std::string, Remains> objects;  // by header key
  LeafSum sum;
  const KeyRange range = RowsOfLeaves(id_, partitions_, leaf, leaf + 1);
  DOVETAIL_RETURN_IF_ERROR(ForEachRow(rows_, range, [&](FoundRow&& row) {
    if (!row.object || !KnowsAll(row)) {
      ++unreadable;
      gone.push_back(std::move(row.key));
      return;
    }
    Remains& remains = objects[MakeObjectKey(*row.object).HeaderKey()];
    if (remains.inline_rows) {  // written since the header was lost
      ++unreadable;
      gone.push_back(std::move(row.key));
      return;
    }
    remains.object = *row.object;
    remains.Add(row);
    for (auto& [path, value] : row.leaves) {
      sum.Merge(SumOfRow({"", *row.object, path, value}));
    }
  }));
  for (const std::string& key : gone) rows_.Delete(key);
  for (const auto& [key, remains] : objects) {
    const ObjectHeader& there = remains.there;
    if (there.count == 0) {
      rows_.Delete(key);
    } else if (!remains.Fits()) {
      rows_.Put(key, EncodeExplodedHeader(there));
    }
    // What was listed stays so until a peer has said what is there; what is
    // not, the passes over the indexes find (scrub.h, reaper.h).
    if (there.visible > 0) {
      rows_.PutOther(Family::kIndex, IndexKey(remains.object),
                     IndexValue(there.expires_ms));
    }
    if (there.expires_ms > 0) {
      rows_.PutOther(Family::kMeta,
                     ExpiryKey(id_, there.expires_ms, remains.object), "");
    }
  }
  LeafSum change = sum;
  const LeafSum before = sums_.leaf(static_cast<uint16_t>(leaf));
  change.sum = Subtract(change.sum, before.sum);
  change.count -= before.count;
  pieces_.Drop(leaf, rows_);
  AddToSums({{static_cast<uint16_t>(leaf), change}});
  progress_.lost.Insert(range);
  progress_.filling = progress_.mending = true;
  progress_changed_ = true;
  return unreadable;
}

void Partition::Suspect(uint64_t table) {
  DOVETAIL_CHECK(!emptying_);
  Quarantine(absl::DataLossError(
      absl::StrCat("table file ", table,
                   " of its database cannot be read; it is given up")));
  tables_awaited_.insert(table);
  suspect_ = true;
  rows_.PutOther(Family::kMeta, SuspectKey(id_),
                 std::string(1, static_cast<char>(crdt::kCodecVersion)));
  // So that neither E nor the digest hangs on the log, which may be what goes.
  Checkpoint();
}

void Partition::TableIsGone(const DamagedTable& table) {
  tables_awaited_.erase(table.number);
  if (table.family == Family::kLog) {
    Note(RecountLog());
  } else if (table.family == Family::kRows) {
    // A row that is cached would be held to be there, and not be put back.
    rows_.ForgetCached();
  }
}

void Partition::AcceptLoss() {
  progress_.lost = {};
  progress_changed_ = true;
  ++version_;
}

void Partition::EndQuarantine() {
  if (suspect_) rows_.DeleteOther(Family::kMeta, SuspectKey(id_));
  suspect_ = false;
  quarantined_ = false;
  ++version_;
}

// --- Mending -----------------------------------------------------------------

absl::StatusOr<std::optional<Partition::Replay>> Partition::ReplayOver(
    const crdt::Context& theirs, bool partly) const {
  crdt::EventSet missing = context_.applied.Minus(theirs.applied);
  if (partly) missing = missing.Intersect(logged_);
  Replay replay;
  if (missing.empty()) return replay;
  if (!missing.IsSubsetOf(logged_) || missing.dot_count() > kReplayedMax) {
    return std::nullopt;
  }
  crdt::EventSet read;
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(ReadLog(
      missing, [&](const crdt::DotRun& events, absl::string_view bytes) {
        absl::StatusOr<crdt::Delta> delta = crdt::Delta::Decode(bytes);
        damage = delta.status();
        if (!delta.ok()) return false;
        read.InsertRun(events);
        for (crdt::DeltaLeaf& leaf : delta->leaves) {
          const std::string key = MakeObjectKey(leaf.object).LeafKey(leaf.path);
          replay[key].emplace_back(events, std::move(leaf));
        }
        return true;
      }));
  if (!damage.ok()) return absl::DataLossError(damage.message());
  // What this turn has logged cannot be read before its commit.
  if (!missing.IsSubsetOf(read)) return std::nullopt;
  return replay;
}

// What belongs in a row that was lost: what the source has, with the deltas
// over it that it lacks.
absl::StatusOr<crdt::Leaf> Partition::Belongs(const std::string& key,
                                              crdt::Leaf theirs,
                                              const crdt::Context& context,
                                              const Replay& replay) const {
  const auto deltas = replay.find(key);
  if (deltas == replay.end()) return theirs;
  crdt::EventSet known = context.applied;
  known.UnionWith(context.superseded);
  for (const auto& [events, leaf] : deltas->second) {
    const crdt::DeltaLeafContext its(events, leaf);
    if (crdt::Join(theirs, known, leaf.store, its) != crdt::JoinResult::kOk) {
      return absl::DataLossError("one dot has two payloads");
    }
    known.InsertRun(events);
    for (const auto& [dot, payload] : leaf.store.entries()) known.Insert(dot);
    for (const crdt::Dot dot : leaf.superseded) known.Insert(dot);
  }
  return theirs;
}

absl::StatusOr<bool> Partition::MendRange(
    const RangeQuestion& question, const KeyRange& range,
    const std::vector<RangeRow>& theirs, const std::vector<std::string>& differ,
    const crdt::Context& context, bool accept_loss) {
  DOVETAIL_RETURN_IF_ERROR(CheckRows(range, theirs));
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<Replay> replay,
                            ReplayOver(context, accept_loss));
  if (!replay) {
    DOVETAIL_MARK("mend: the source lacks what no log here has");
    return false;
  }
  DOVETAIL_ASSIGN_OR_RETURN(SourceRows rows, NamedRows(theirs, differ));
  // What only this replica's log has may be lost, too.
  for (auto it = replay->lower_bound(range.begin);
       it != replay->end() && BeforeEnd(it->first, range.end); ++it) {
    const crdt::DeltaLeaf& leaf = it->second.front().second;
    RangeRow row{leaf.object, leaf.path, crdt::Leaf()};
    // Both in the order of keys.
    const bool listed =
        std::binary_search(question.keys.begin(), question.keys.end(),
                           it->first) &&
        !std::binary_search(differ.begin(), differ.end(), it->first);
    if (listed) {  // the source has the same as was here
      const auto before = watched_.find(it->first);
      if (before != watched_.end()) {
        row.leaf = before->second.leaf;
      } else {
        DOVETAIL_ASSIGN_OR_RETURN(row.leaf,
                                  objects_.Get(leaf.object, leaf.path));
      }
    }
    rows.emplace(it->first, std::move(row));
  }
  SumChanges changes;
  BesideRows before = MarkRows();
  for (const auto& [key, row] : rows) {
    absl::StatusOr<crdt::Leaf> belongs =
        Belongs(key, row.leaf, context, *replay);
    absl::Status status = belongs.ok()
                              ? Restore(row, *belongs, context, changes)
                              : belongs.status();
    if (!status.ok()) {
      RollBackRows(std::move(before));
      if (absl::IsDataLoss(status)) Quarantine(status);
      return status;
    }
  }
  AddToSums(changes);
  progress_.ahead.UnionWith(context.applied);
  progress_.lost.Erase(range);
  progress_changed_ = true;
  return true;
}

// The row becomes what belongs there. A source may have events that have not
// come here yet; then the row is ahead of E, and is not read until they have.
// What is shown beyond that is damage, but for values whose events have not
// come to the source either.
absl::Status Partition::Restore(const RangeRow& row, const crdt::Leaf& belongs,
                                const crdt::Context& theirs,
                                SumChanges& changes) {
  return objects_.Update(
      row.object, row.path, partitions_,
      [&](crdt::Leaf& mine) {
        crdt::Leaf mended;
        for (const auto& [dot, payload] : belongs.entries()) {
          if (!mine.Contains(dot) && context_.Contains(dot)) ++restored_;
          KnowLive(dot);
          mended.Set(dot, payload);
        }
        for (const auto& [dot, payload] : mine.entries()) {
          if (context_.superseded.Contains(dot) && !theirs.Contains(dot)) {
            mended.Set(dot, payload);
          }
        }
        mine = std::move(mended);
        return absl::OkStatus();
      },
      changes);
}

}  // namespace dovetail::replica
