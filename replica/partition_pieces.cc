// Partition: the pieces of its large digest leaves (pieces.h), as far as rows
// have to be read for them.
#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/partition.h"
#include "replica/remains.h"

namespace dovetail::replica {
namespace {

// A leaf that was big when nobody looked is divided in the maintenance rounds.
constexpr uint64_t kDividedAtOnce = 2;

}  // namespace

bool Partition::IsBig(uint32_t leaf) const {
  return sums_.leaf(static_cast<uint16_t>(leaf)).count >
         static_cast<int64_t>(options_.big_leaf_rows);
}

void Partition::AddToSums(const SumChanges& changes) {
  sums_.Apply(changes);
  for (const auto& [leaf, change] : changes) {
    if (IsBig(leaf) != pieces_.Has(leaf)) crossed_.insert(leaf);
  }
  pieces_.Take();
}

absl::StatusOr<Pieces::Cut> Partition::CutRows(
    const KeyRange& range, uint64_t rows, std::optional<std::string>& rest) {
  Pieces::Cut cut;
  auto piece = cut.emplace(range.begin, PieceSum{}).first;
  rest.reset();
  DOVETAIL_RETURN_IF_ERROR(ForEachLeafIn(rows_, range, [&](FoundLeaf&& found) {
    if (pieces_.IsBoundary(found.key) && found.key != range.begin) {
      if (rows == 0) {
        rest = std::move(found.key);
        return false;
      }
      piece = cut.emplace(found.key, PieceSum{}).first;
    }
    const crdt::Type type =
        crdt::LeafTypeOf(found.object.type, found.path.bytes());
    piece->second.Merge(
        {SumOfRow(found), 1, crdt::IsVisible(type, found.leaf) ? 1 : 0});
    rows -= rows > 0 ? 1 : 0;
    return true;
  }));
  return cut;
}

absl::Status Partition::DivideLeaf(uint32_t leaf, uint64_t rows) {
  if (!pieces_.Has(leaf)) {
    pieces_.Begin(leaf, sums_.leaf(static_cast<uint16_t>(leaf)));
  }
  std::optional<std::string> rest;
  DOVETAIL_ASSIGN_OR_RETURN(const Pieces::Cut cut,
                            CutRows(pieces_.Tail(leaf), rows, rest));
  if (!pieces_.CutTail(leaf, cut, rest)) {
    DOVETAIL_MARK("pieces: damage is found when a leaf is divided");
    return absl::DataLossError(absl::StrCat("rows of digest leaf ", leaf,
                                            " do not add up to its digest"));
  }
  if (!rest) undivided_.erase(leaf);
  return absl::OkStatus();
}

bool Partition::DivideSome(uint64_t rows) {
  if (undivided_.empty()) return false;
  const uint32_t leaf = *undivided_.begin();
  if (!pieces_.Has(leaf) && !IsBig(leaf)) {
    undivided_.erase(leaf);
    return true;
  }
  const absl::Status divided = DivideLeaf(leaf, rows);
  if (!divided.ok()) {
    pieces_.Drop(leaf, rows_);
    Note(divided);
  }
  return divided.ok();
}

// Once a turn and piece, whatever the turn has done to its rows.
void Partition::FlushPieces() {
  absl::Status damage;
  for (const uint32_t leaf : std::exchange(crossed_, {})) {
    const auto count = static_cast<uint64_t>(
        std::max<int64_t>(0, sums_.leaf(static_cast<uint16_t>(leaf)).count));
    if (pieces_.Has(leaf) && 2 * count < options_.big_leaf_rows) {
      DOVETAIL_MARK("pieces: a leaf has become small");
      pieces_.Drop(leaf, rows_);
      undivided_.erase(leaf);
    } else if (!pieces_.Has(leaf) && IsBig(leaf)) {
      undivided_.insert(leaf);
      if (count > kDividedAtOnce * options_.big_leaf_rows || quarantined_ ||
          DOVETAIL_BUGGIFY("pieces: a leaf is divided later")) {
        continue;
      }
      absl::Status divided = DivideLeaf(leaf, count);
      if (!divided.ok()) pieces_.Drop(leaf, rows_);
      damage.Update(divided);
    }
  }
  for (const auto& [leaf, range] : pieces_.Joined()) {
    if (DOVETAIL_MUTANT("pieces: one in which another begins is kept")) break;
    if (!pieces_.Has(leaf)) continue;  // damage was met in it
    std::optional<std::string> rest;
    const absl::StatusOr<Pieces::Cut> cut =
        CutRows(range, std::numeric_limits<uint64_t>::max(), rest);
    if (cut.ok() && pieces_.Replace(leaf, *cut)) continue;
    DOVETAIL_MARK("pieces: damage is found when one is cut");
    pieces_.Drop(leaf, rows_);
    undivided_.insert(leaf);
    damage.Update(!cut.ok() ? cut.status()
                            : absl::DataLossError(absl::StrCat(
                                  "rows of digest leaf ", leaf,
                                  " do not add up to a piece of it")));
  }
  if (!DOVETAIL_MUTANT("pieces: written at checkpoints alone")) {
    pieces_.Write(rows_);
  }
  Note(damage);
}

absl::Status Partition::LoadPieces() {
  DOVETAIL_RETURN_IF_ERROR(pieces_.Load(storage_, rows_, sums_));
  for (uint32_t leaf = 0; leaf < kLeavesPerPartition; ++leaf) {
    if (IsBig(leaf) && !pieces_.Has(leaf)) undivided_.insert(leaf);
  }
  return absl::OkStatus();
}

absl::Status Partition::VerifyPieces() {
  for (const uint32_t leaf : pieces_.Leaves()) {
    if (!pieces_.Divided(leaf)) continue;
    std::optional<std::string> rest;
    DOVETAIL_ASSIGN_OR_RETURN(
        const Pieces::Cut cut,
        CutRows(RowsOfLeaves(id_, partitions_, leaf, leaf + 1),
                std::numeric_limits<uint64_t>::max(), rest));
    if (!(cut == pieces_.Of(leaf))) {
      return absl::DataLossError(
          absl::StrCat("the pieces of digest leaf ", leaf, " of partition ",
                       Index(id_), " are not those of its rows"));
    }
  }
  return pieces_.VerifyStored(storage_);
}

// --- Looking for damage ------------------------------------------------------

KeyRange Partition::PiecesFrom(uint32_t leaf, absl::string_view from,
                               uint64_t rows) const {
  const Pieces::Cut& pieces = pieces_.Of(leaf);
  KeyRange range = RowsOfLeaves(id_, partitions_, leaf, leaf + 1);
  auto piece =
      from.empty() ? pieces.begin() : std::prev(pieces.upper_bound(from));
  range.begin = piece->first;
  uint64_t expected = 0;
  while (piece != pieces.end() && expected < rows) {
    expected += static_cast<uint64_t>(piece->second.rows) + 1;
    ++piece;
  }
  if (piece != pieces.end()) range.end = piece->first;
  return range;
}

// What is in pieces behind is taken at its word; its rows are looked at in
// their turn.
absl::Status Partition::CountBeyond(uint32_t leaf, const std::string& from,
                                    Remains& remains) {
  const ObjectKey key = MakeObjectKey(remains.object);
  const std::string end = RangeEnd(key.prefix);
  const Pieces::Cut& pieces = pieces_.Of(leaf);
  ObjectHeader& there = remains.there;
  const auto count = [&](FoundRow&& row) {
    if (row.object) remains.Add(row);
  };
  for (auto piece = pieces.find(from);
       piece != pieces.end() && BeforeEnd(piece->first, end); ++piece) {
    const auto next = std::next(piece);
    if (next == pieces.end() || !BeforeEnd(next->first, end)) {
      DOVETAIL_RETURN_IF_ERROR(ForEachRow(rows_, {piece->first, end}, count));
    } else {
      there.count += static_cast<uint64_t>(piece->second.rows);
      there.visible += static_cast<uint64_t>(piece->second.visible);
    }
  }
  const std::string expiry = key.LeafKey(crdt::Path::OfExpiry());
  if (expiry < from) return absl::OkStatus();
  return ForEachRow(rows_, {expiry, expiry + '\0'}, [&](FoundRow&& row) {
    if (row.object) there.expires_ms = crdt::ExpiresMs(row.leaves[0].second);
  });
}

absl::StatusOr<bool> Partition::PiecesFit(
    uint32_t leaf, const KeyRange& range,
    absl::FunctionRef<void(uint32_t, Family, std::string)> listed) {
  const Pieces::Cut& pieces = pieces_.Of(leaf);
  std::map<absl::string_view, PieceSum> found;
  bool fit = true;
  // Its rows are next to each other. If its header lies before them, in another
  // piece, it is judged there.
  std::optional<Remains> object;
  bool judged = false;
  const auto add = [&](const FoundRow& row) {
    object->Add(row);
    const ObjectKey key = MakeObjectKey(*row.object);
    for (const auto& [path, value] : row.leaves) {
      const std::string at = key.LeafKey(path);
      if (at < range.begin || !BeforeEnd(at, range.end)) continue;
      const crdt::Type type = crdt::LeafTypeOf(row.object->type, path.bytes());
      found[std::prev(pieces.upper_bound(at))->first].Merge(
          {SumOfRow({"", *row.object, path, value}), 1,
           crdt::IsVisible(type, value) ? 1 : 0});
    }
  };
  const auto end_object = [&] {
    if (!object) return;
    if (judged) {
      fit &= object->header || object->there.count == 0;
      fit &= !object->hidden;
    } else {
      fit &= object->Fits();
    }
  };
  if (IsMiddleOfObject(range.begin)) {
    DOVETAIL_ASSIGN_OR_RETURN(const ParsedRowKey first,
                              ParseRowKey(range.begin));
    object.emplace(first.object);
    judged = true;
    const std::string header = MakeObjectKey(first.object).HeaderKey();
    DOVETAIL_RETURN_IF_ERROR(
        ForEachRow(rows_, {header, header + '\0'}, [&](FoundRow&& row) {
          fit &= row.object.has_value();
          if (row.object) add(row);
        }));
  }
  DOVETAIL_RETURN_IF_ERROR(ForEachRow(rows_, range, [&](FoundRow&& row) {
    fit &= row.object.has_value();
    if (!row.object) return;
    if (!object || !(object->object == *row.object)) {
      end_object();
      object.emplace(*row.object);
      judged = false;
    }
    add(row);
    if (row.header && row.decoded.visible > 0) {
      listed(leaf, Family::kIndex, IndexKey(*row.object));
    }
    if (row.header && row.decoded.expires_ms > 0) {
      listed(leaf, Family::kMeta,
             ExpiryKey(id_, row.decoded.expires_ms, *row.object));
    }
  }));
  if (object && !judged && !object->inline_rows && pieces.contains(range.end)) {
    DOVETAIL_RETURN_IF_ERROR(CountBeyond(leaf, range.end, *object));
  }
  end_object();
  for (auto piece = pieces.find(range.begin);
       piece != pieces.end() && BeforeEnd(piece->first, range.end); ++piece) {
    fit &= found[piece->first] == piece->second;
  }
  return fit;
}

std::string Partition::FrontOfPieces(uint32_t leaf, const KeyRange& range,
                                     uint64_t& rows) const {
  const KeyRange all = RowsOfLeaves(id_, partitions_, leaf, leaf + 1);
  const Pieces::Cut& pieces = pieces_.Of(leaf);
  auto piece = pieces.find(pieces_.Around(leaf, {range.begin, all.end}).begin);
  while (piece != pieces.end() && BeforeEnd(piece->first, range.end)) {
    rows -= std::min(rows, static_cast<uint64_t>(piece->second.rows));
    ++piece;
    if (rows == 0) break;
  }
  return piece == pieces.end() ? all.end : piece->first;
}

absl::StatusOr<bool> Partition::VouchForPieces(uint32_t leaf,
                                               const KeyRange& range) {
  if (DOVETAIL_MUTANT("pieces: a source vouches unseen")) return true;
  for (const KeyRange& missing :
       vouched_pieces_.Missing(pieces_.Around(leaf, range))) {
    const KeyRange whole = pieces_.Around(leaf, missing);
    DOVETAIL_MARK("pieces: a source vouches for some");
    DOVETAIL_ASSIGN_OR_RETURN(
        const bool fit, PiecesFit(leaf, whole, [](uint32_t, Family, auto) {}));
    if (!fit) return false;
    vouched_pieces_.Insert(whole);
  }
  return true;
}

// --- Sync by ranges ----------------------------------------------------------

absl::StatusOr<std::optional<LeafSum>> Partition::SumOfRange(
    const KeyRange& range, uint64_t& rows) {
  LeafSum sum;
  bool enough = true;
  const auto read = [&](const KeyRange& part) {
    if (!BeforeEnd(part.begin, part.end) ||
        DOVETAIL_MUTANT("pieces: what is no whole one is in no sum")) {
      return absl::OkStatus();
    }
    return ForEachLeafIn(rows_, part, [&](FoundLeaf&& found) {
      enough = rows > 0;
      if (!enough) return false;
      --rows;
      sum.Merge(SumOfRow(found));
      return true;
    });
  };
  DOVETAIL_ASSIGN_OR_RETURN(const LeafSpan leaves, LeavesAround(range));
  std::string at = range.begin;
  bool all = false;  // up to the end
  if (leaves.end - leaves.first == 1 && pieces_.Divided(leaves.first)) {
    const Pieces::Cut& pieces = pieces_.Of(leaves.first);
    const std::string leaf_end =
        RowsOfLeaves(id_, partitions_, leaves.first, leaves.end).end;
    for (auto piece = pieces.lower_bound(range.begin); piece != pieces.end();
         ++piece) {
      const auto next = std::next(piece);
      const std::string& end = next == pieces.end() ? leaf_end : next->first;
      if (EndBefore(range.end, end)) break;
      DOVETAIL_MARK("pieces: one spares reading its rows");
      // Only the first one may begin behind where the range does.
      if (at != piece->first) {
        DOVETAIL_RETURN_IF_ERROR(read({at, piece->first}));
      }
      sum.Merge(piece->second.sum);
      at = end;
      all = at == range.end;
    }
  }
  if (!all) DOVETAIL_RETURN_IF_ERROR(read({at, range.end}));
  if (!enough) return std::nullopt;
  return sum;
}

absl::StatusOr<RangePart> Partition::AnswerCuts(const AskCuts& ask,
                                                uint64_t salt, uint64_t& rows) {
  std::vector<std::optional<LeafSum>> sums;
  std::string begin = ask.begin;
  for (const std::string& end : ask.ends) {
    DOVETAIL_ASSIGN_OR_RETURN(std::optional<LeafSum> sum,
                              SumOfRange({begin, end}, rows));
    DOVETAIL_MARK_IF("ranges: too many rows for sums", !sum);
    sums.push_back(std::move(sum));
    begin = end;
  }
  return CompareSums(sums, salt, ask.prints, ask.print_bytes);
}

absl::StatusOr<std::optional<RangeQuestion>> Partition::AskPieces(
    uint32_t leaf, const KeyRange& range, uint64_t salt, uint8_t print_bytes) {
  const Pieces::Cut& pieces = pieces_.Of(leaf);
  std::vector<std::string> ends;
  for (auto piece = pieces.upper_bound(range.begin);
       piece != pieces.end() && BeforeEnd(piece->first, range.end); ++piece) {
    ends.push_back(piece->first);
  }
  if (ends.empty()) return std::nullopt;
  DOVETAIL_MARK("pieces: a question of their sums");
  DOVETAIL_MARK_IF("pieces: several are asked about as one",
                   ends.size() >= kCutsPerAsk);
  ends.push_back(range.end);
  // Several together, if there are more than can be asked about at once.
  const size_t together = (ends.size() + kCutsPerAsk - 1) / kCutsPerAsk;
  AskCuts cuts{range.begin, {}, print_bytes, {}};
  std::vector<LeafSum> sums;
  uint64_t unlimited = std::numeric_limits<uint64_t>::max();
  std::string begin = range.begin;
  for (size_t i = 0; i < ends.size(); ++i) {
    if ((i + 1) % together != 0 && i + 1 < ends.size()) continue;
    DOVETAIL_ASSIGN_OR_RETURN(const std::optional<LeafSum> sum,
                              SumOfRange({begin, ends[i]}, unlimited));
    sums.push_back(*sum);
    begin = ends[i];
    cuts.ends.push_back(std::move(ends[i]));
  }
  cuts.prints = PrintsOf(sums, salt, print_bytes);
  return RangeQuestion{range, std::move(cuts), {}, std::move(sums), true};
}

}  // namespace dovetail::replica
