// Partition: compared and joined range by range (range_sync.h has the whole).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "replica/hash.h"
#include "replica/partition.h"

namespace dovetail::replica {
namespace {

static_assert(kLeavesPerPartition == kDigestLeaves);

// What a row is remembered for while an answer is awaited; beyond it the answer
// is thrown away.
constexpr size_t kWatchedBytesMax = 4 << 20;
// Rows of one digest leaf that are listed at once; a larger leaf is cut.
constexpr size_t kRowsPerList = 256;

// Digest leaves are cut in eight, four times: 4096 = 8^4.
constexpr uint32_t kFanOut = 8;

struct Nothing {
  bool Contains(crdt::Dot) const { return false; }
};

}  // namespace

// --- Asking ------------------------------------------------------------------

LeafSum Partition::SumOfLeaves(LeafSpan leaves) const {
  LeafSum sum;
  for (uint32_t leaf = leaves.first; leaf < leaves.end; ++leaf) {
    sum.Merge(sums_.leaf(static_cast<uint16_t>(leaf)));
  }
  return sum;
}

std::vector<LeafSum> Partition::SumsOfSpans(LeafSpan leaves,
                                            size_t spans) const {
  std::vector<LeafSum> sums;
  const auto step = static_cast<uint32_t>((leaves.end - leaves.first) / spans);
  for (uint32_t first = leaves.first; first < leaves.end; first += step) {
    sums.push_back(SumOfLeaves({first, first + step}));
  }
  return sums;
}

absl::StatusOr<RangeQuestion> Partition::Ask(const KeyRange& range,
                                             uint64_t salt,
                                             uint8_t print_bytes) {
  const std::optional<LeafSpan> leaves = LeavesOf(range, id_, partitions_);
  // Where nothing is here, all that is there differs.
  const bool nothing = leaves && SumOfLeaves(*leaves).zero();
  if (leaves && leaves->end - leaves->first > 1 && !nothing) {
    const uint32_t width = leaves->end - leaves->first;
    // Whole spans if it can be cut evenly, else leaf by leaf.
    const uint32_t spans = width % kFanOut == 0 ? kFanOut : width;
    RangeQuestion question{range, AskLeaves{*leaves, print_bytes, {}}, {}, {}};
    question.sums = SumsOfSpans(*leaves, spans);
    std::get<AskLeaves>(question.ask).prints =
        PrintsOf(question.sums, salt, print_bytes);
    return question;
  }
  const uint32_t leaf =
      leaves ? leaves->first : LeafOfRowKey(range.begin, partitions_);
  if (!nothing && pieces_.Divided(leaf)) {
    DOVETAIL_ASSIGN_OR_RETURN(std::optional<RangeQuestion> question,
                              AskPieces(leaf, range, salt, print_bytes));
    if (question) return *std::move(question);
  }
  RangeQuestion question{range, AskRows{range, print_bytes, {}}, {}, {}};
  auto& list = std::get<AskRows>(question.ask);
  AskCuts cuts{range.begin, {}, print_bytes, {}};
  std::vector<LeafSum> cut_sums;
  LeafSum sum;
  const auto cut = [&](const std::string& end) {
    cuts.ends.push_back(end);
    cut_sums.push_back(std::exchange(sum, {}));
  };
  bool whole = true;
  DOVETAIL_RETURN_IF_ERROR(ForEachLeafIn(rows_, range, [&](FoundLeaf&& found) {
    if (question.keys.size() == kRowsPerList) {
      // The next one would be too many: what there is makes a cut.
      whole = false;
      cut(found.key);
      if (cuts.ends.size() == kCutsPerAsk) return false;
      question.keys.clear();
    }
    if (whole) AddRow(found, salt, list, question);
    if (!whole) question.keys.push_back(found.key);
    sum.Merge(SumOfRow(found));
    return true;
  }));
  if (whole) return question;
  DOVETAIL_MARK("ranges: a digest leaf is cut");
  if (cuts.ends.size() < kCutsPerAsk) cut(range.end);
  cuts.prints = PrintsOf(cut_sums, salt, print_bytes);
  const KeyRange asked{range.begin, cuts.ends.back()};
  return RangeQuestion{asked, std::move(cuts), {}, std::move(cut_sums)};
}

absl::StatusOr<RangeQuestion> Partition::AskForRows(const KeyRange& range,
                                                    uint64_t salt,
                                                    uint8_t print_bytes) {
  RangeQuestion question{range, AskRows{range, print_bytes, {}}, {}, {}};
  auto& list = std::get<AskRows>(question.ask);
  DOVETAIL_RETURN_IF_ERROR(ForEachLeafIn(rows_, range, [&](FoundLeaf&& found) {
    if (question.keys.size() == kRangePrintsMax) {
      list.range.end = found.key;
      return false;
    }
    AddRow(found, salt, list, question);
    return true;
  }));
  // Of very many rows most short prints would be taken for another's.
  if (question.keys.size() > kRowsPerList && print_bytes < kPrintBytesWhole) {
    return AskForRows(range, salt, kPrintBytesWhole);
  }
  question.range = list.range;
  return question;
}

void Partition::AddRow(const FoundLeaf& found, uint64_t salt, AskRows& list,
                       RangeQuestion& question) const {
  list.prints.push_back(
      ShortPrint(PrintOfRow(found.object, found.path, found.leaf, salt),
                 list.print_bytes));
  question.keys.push_back(found.key);
  question.sums.push_back(SumOfRow(found));
}

LeafSum Partition::SumOfRow(const FoundLeaf& found) const {
  return ChangeOfLeaf(MakeObjectKey(found.object).prefix, found.path,
                      crdt::Leaf(), found.leaf);
}

// --- Answering ---------------------------------------------------------------

absl::StatusOr<RangePart> Partition::Answer(const RangeAsk& ask, uint64_t salt,
                                            size_t bytes_max,
                                            uint64_t& sum_rows) {
  DOVETAIL_RETURN_IF_ERROR(Available());
  const KeyRange all = RowRange();
  const auto lies_here = [&](const std::string& begin, const std::string& end) {
    return begin >= all.begin && !EndBefore(all.end, end);
  };
  const auto* in_cuts = std::get_if<AskCuts>(&ask);
  const auto* in_rows = std::get_if<AskRows>(&ask);
  if ((in_cuts && !lies_here(in_cuts->begin, in_cuts->ends.back())) ||
      (in_rows && !lies_here(in_rows->range.begin, in_rows->range.end))) {
    return absl::InvalidArgumentError("a range of another partition");
  }
  if (in_cuts) return AnswerCuts(*in_cuts, salt, sum_rows);
  if (in_rows) return AnswerRows(*in_rows, salt, bytes_max);
  const auto& leaves = std::get<AskLeaves>(ask);
  const std::vector<LeafSum> sums =
      SumsOfSpans(leaves.leaves, leaves.prints.size());
  return CompareSums({sums.begin(), sums.end()}, salt, leaves.prints,
                     leaves.print_bytes);
}

absl::StatusOr<RangePart> Partition::AnswerRows(const AskRows& ask,
                                                uint64_t salt,
                                                size_t bytes_max) {
  RangePart part;
  std::vector<std::pair<uint64_t, uint32_t>> theirs;  // print, place
  for (uint32_t i = 0; i < ask.prints.size(); ++i) {
    theirs.emplace_back(ask.prints[i], i);
  }
  std::sort(theirs.begin(), theirs.end());
  std::vector<bool> same(ask.prints.size());
  LeafSum equal;
  size_t bytes = 0;
  DOVETAIL_RETURN_IF_ERROR(
      ForEachLeafIn(rows_, ask.range, [&](FoundLeaf&& found) {
        const uint64_t print =
            ShortPrint(PrintOfRow(found.object, found.path, found.leaf, salt),
                       ask.print_bytes);
        auto it = std::lower_bound(theirs.begin(), theirs.end(),
                                   std::pair(print, uint32_t{0}));
        // Several of theirs may have it; each is met once.
        while (it != theirs.end() && it->first == print && same[it->second]) {
          ++it;
        }
        if (it != theirs.end() && it->first == print) {
          same[it->second] = true;
          equal.Merge(SumOfRow(found));
        } else if (bytes > 0 && (bytes > bytes_max ||
                                 DOVETAIL_BUGGIFY("ranges: a small answer"))) {
          DOVETAIL_MARK("ranges: more rows than one message holds");
          part.rest = std::move(found.key);
          return false;
        } else {
          RangeRow row{std::move(found.object), std::move(found.path),
                       std::move(found.leaf)};
          bytes += BytesOf(row);
          part.rows.push_back(std::move(row));
        }
        return true;
      }));
  for (uint32_t i = 0; i < same.size(); ++i) {
    if (!same[i]) part.differ.push_back(i);
  }
  if (ask.print_bytes < kPrintBytesWhole && part.differ.size() < same.size()) {
    part.equal = PrintOfSum(equal, salt);
  }
  return part;
}

// --- Receiving ---------------------------------------------------------------

void Partition::BeginRanges() {
  DOVETAIL_CHECK(!emptying_ && !quarantined_);
  const bool was_filling = progress_.filling;
  progress_.active = true;
  progress_.filling = was_filling || empty() || newborn_;
  progress_changed_ = true;
  WatchAgain();
}

void Partition::GiveUpAhead(const crdt::EventSet& elsewhere) {
  progress_.ahead = progress_.ahead.Intersect(elsewhere);
  progress_changed_ = true;
}

void Partition::AbandonRanges() {
  progress_.active = progress_.begun = false;
  progress_.done = {};
  progress_.common = {};
  progress_changed_ = true;
  StopWatching();
}

void Partition::WatchAgain() {
  StopWatching();
  watching_ = true;
}

void Partition::StopWatching() {
  watching_ = false;
  watched_.clear();
  watched_bytes_ = 0;
}

absl::Status Partition::Watch(const ObjectKey& key,
                              const crdt::ObjectId& object,
                              const crdt::Path& path) {
  if (watched_bytes_ > kWatchedBytesMax) return absl::OkStatus();
  std::string row_key = key.LeafKey(path);
  if (watched_.contains(row_key) || progress_.done.Contains(row_key)) {
    return absl::OkStatus();
  }
  DOVETAIL_ASSIGN_OR_RETURN(crdt::Leaf before, objects_.Get(object, path));
  RangeRow row{object, path, std::move(before)};
  watched_bytes_ += row_key.size() + BytesOf(row);
  DOVETAIL_MARK("ranges: a row changes while it is asked about");
  watched_.emplace(std::move(row_key), std::move(row));
  return absl::OkStatus();
}

bool Partition::watched_too_much() const {
  return watched_bytes_ > kWatchedBytesMax ||
         (DOVETAIL_BUGGIFY("ranges: an answer is thrown away") &&
          !watched_.empty());
}

absl::Status Partition::CheckRows(const KeyRange& range,
                                  const std::vector<RangeRow>& rows) const {
  for (const RangeRow& row : rows) {
    const std::string key = MakeObjectKey(row.object).LeafKey(row.path);
    if (key < range.begin || !BeforeEnd(key, range.end)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a row of ", crdt::ToString(row.object), " that was not asked for"));
    }
    // Nobody else mints under this incarnation (as in Apply).
    for (const auto& [dot, payload] : row.leaf.entries()) {
      if (dot.actor == actor_ && dot.counter >= next_counter_) {
        return absl::DataLossError(
            absl::StrCat(crdt::ToString(dot),
                         " claims to be of this incarnation, which has not "
                         "minted it"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Partition::SourceRows> Partition::NamedRows(
    const std::vector<RangeRow>& theirs,
    const std::vector<std::string>& differ) {
  SourceRows rows;
  for (const std::string& key : differ) {
    DOVETAIL_ASSIGN_OR_RETURN(ParsedRowKey parsed, ParseRowKey(key));
    rows.emplace(key, RangeRow{std::move(parsed.object), std::move(parsed.path),
                               crdt::Leaf()});
  }
  for (const RangeRow& row : theirs) {
    rows.insert_or_assign(MakeObjectKey(row.object).LeafKey(row.path), row);
  }
  return rows;
}

absl::Status Partition::JoinRange(const KeyRange& range,
                                  const std::vector<RangeRow>& theirs,
                                  const std::vector<std::string>& differ,
                                  const crdt::Context& context) {
  DOVETAIL_CHECK(progress_.active);
  DOVETAIL_RETURN_IF_ERROR(CheckRows(range, theirs));
  DOVETAIL_ASSIGN_OR_RETURN(SourceRows rows, NamedRows(theirs, differ));
  // Of what it did not name it holds what this replica held when it asked.
  for (auto it = watched_.lower_bound(range.begin);
       it != watched_.end() && BeforeEnd(it->first, range.end); ++it) {
    rows.emplace(it->first, it->second);
  }
  SumChanges changes;
  BesideRows before = MarkRows();
  for (const auto& [key, row] : rows) {
    if (absl::Status status = JoinRow(row, context, changes); !status.ok()) {
      RollBackRows(std::move(before));
      if (absl::IsDataLoss(status)) Quarantine(status);
      return status;
    }
  }
  AddToSums(changes);
  progress_.done.Insert(range);
  progress_changed_ = true;
  return absl::OkStatus();
}

absl::Status Partition::JoinRow(const RangeRow& row,
                                const crdt::Context& theirs,
                                SumChanges& changes) {
  // Of what was damaged here a payload may have been altered.
  const bool lost =
      !progress_.lost.empty() &&
      progress_.lost.Contains(MakeObjectKey(row.object).LeafKey(row.path));
  return objects_.Update(
      row.object, row.path, partitions_,
      [&](crdt::Leaf& mine) {
        if (lost) {
          for (const auto& [dot, payload] : row.leaf.entries()) {
            if (mine.Contains(dot)) mine.Set(dot, payload);
          }
        }
        const crdt::JoinResult joined =
            DOVETAIL_MUTANT("ranges: absence deletes nothing")
                ? crdt::Join(mine, context_, row.leaf, Nothing{})
                : crdt::Join(mine, context_, row.leaf, theirs);
        if (joined != crdt::JoinResult::kOk) {
          return absl::DataLossError(absl::StrCat(
              "one dot has two payloads at ", crdt::ToString(row.object)));
        }
        for (const auto& [dot, payload] : mine.entries()) KnowLive(dot);
        return absl::OkStatus();
      },
      changes);
}

absl::Status Partition::UniteRange(const KeyRange& range,
                                   const std::vector<RangeRow>& theirs) {
  DOVETAIL_RETURN_IF_ERROR(CheckRows(range, theirs));
  SumChanges changes;
  BesideRows before = MarkRows();
  for (const RangeRow& row : theirs) {
    absl::Status status = objects_.Update(
        row.object, row.path, partitions_,
        [&](crdt::Leaf& mine) {
          const size_t held = mine.size();
          if (crdt::Join(mine, Nothing{}, row.leaf, Nothing{}) !=
              crdt::JoinResult::kOk) {
            return absl::DataLossError(absl::StrCat(
                "one dot has two payloads at ", crdt::ToString(row.object)));
          }
          restored_ += mine.size() - held;
          for (const auto& [dot, payload] : mine.entries()) KnowLive(dot);
          return absl::OkStatus();
        },
        changes);
    if (!status.ok()) {
      RollBackRows(std::move(before));
      return status;
    }
  }
  AddToSums(changes);
  // No log tells of these changes of the sums.
  if (!changes.empty()) Checkpoint();
  return absl::OkStatus();
}

void Partition::UniteSuperseded(const crdt::EventSet& theirs) {
  const crdt::EventSet more =
      theirs.Minus(context_.applied).Minus(context_.superseded);
  if (more.empty()) return;
  context_.superseded.UnionWith(more);
  superseded_changed_ = true;
  ++version_;
}

Hash128 Partition::StateDigest() const {
  if (quarantined_ || emptying_ || !exact() || !progress_.lost.empty()) {
    return {};
  }
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Fixed64(sums_.total().sum.high);
  out.Fixed64(sums_.total().sum.low);
  out.Fixed64(static_cast<uint64_t>(sums_.total().count));
  context_.superseded.AppendTo(out);
  return HashBytes(bytes);
}

// A dot that is alive here is in E ∪ X (N1).
void Partition::KnowLive(crdt::Dot dot) {
  if (context_.Contains(dot)) return;
  DOVETAIL_MARK("ranges: a value whose event is still to come");
  context_.superseded.Insert(dot);
  superseded_changed_ = true;
}

Partition::BesideRows Partition::MarkRows() {
  rows_.Mark();
  return {context_.superseded, superseded_changed_, restored_};
}

void Partition::RollBackRows(BesideRows before) {
  rows_.RollBack();
  pieces_.RollBack();
  context_.superseded = std::move(before.superseded);
  superseded_changed_ = before.superseded_changed;
  restored_ = before.restored;
}

void Partition::ReadFrom(const crdt::Context& theirs,
                         const crdt::EventSet& ahead) {
  progress_.Read(theirs, ahead);
  progress_changed_ = true;
}

bool Partition::RangesDone() const {
  return progress_.active && progress_.begun &&
         progress_.done.Covers(RowRange());
}

void Partition::FinishRanges() {
  DOVETAIL_CHECK(RangesDone());
  context_.applied.UnionWith(progress_.common.applied);
  if (!DOVETAIL_MUTANT("ranges: forgets what was superseded")) {
    context_.superseded.UnionWith(progress_.common.superseded);
  }
  context_.superseded.Subtract(context_.applied);
  superseded_changed_ = true;
  AbandonRanges();
  ++version_;
  // The log does not tell of these events.
  Checkpoint();
}

bool Partition::exact() const {
  return !progress_.active && progress_.ahead.IsSubsetOf(context_.applied);
}

void Partition::WriteProgress() {
  const bool over = exact() && progress_.lost.empty();
  if (over && (!progress_.ahead.empty() || progress_.filling)) {
    progress_.ahead = {};
    progress_.filling = progress_.mending = false;
    progress_changed_ = true;
  }
  if (!progress_changed_) return;
  progress_changed_ = false;
  if (over) {
    rows_.DeleteOther(Family::kMeta, RangesKey(id_));
  } else {
    rows_.PutOther(Family::kMeta, RangesKey(id_), progress_.Encode());
  }
  // The log does not tell how these rows have changed the sums.
  Checkpoint();
}

}  // namespace dovetail::replica
