#include "replica/pieces.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "replica/hash.h"
#include "replica/key_ranges.h"

namespace dovetail::replica {
namespace {

std::string Encode(const PieceSum& piece) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  AppendSum(out, piece.sum);
  out.Varint(static_cast<uint64_t>(piece.rows));
  out.Varint(static_cast<uint64_t>(piece.visible));
  return bytes;
}

absl::StatusOr<PieceSum> Decode(absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  PieceSum piece;
  piece.sum = ReadSum(in);
  piece.rows = static_cast<int64_t>(in.Varint());
  piece.visible = static_cast<int64_t>(in.Varint());
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return piece;
}

}  // namespace

void PieceSum::Merge(const PieceSum& more) {
  sum.Merge(more.sum);
  rows += more.rows;
  visible += more.visible;
}

void PieceSum::Subtract(const PieceSum& less) {
  sum.sum = replica::Subtract(sum.sum, less.sum.sum);
  sum.count -= less.sum.count;
  rows -= less.rows;
  visible -= less.visible;
}

bool Pieces::IsBoundary(absl::string_view key) const {
  const uint64_t mask = (uint64_t{1} << options_.piece_bits) - 1;
  return (HashBytes(key).low & mask) == 0;
}

// --- Rows change -------------------------------------------------------------

void Pieces::Take() {
  for (const Noted& it : std::exchange(noted_, {})) {
    const auto leaf = leaves_.find(it.leaf);
    if (leaf == leaves_.end()) continue;
    Cut& pieces = leaf->second.pieces;
    const auto piece = std::prev(pieces.upper_bound(it.key));
    piece->second.Merge(it.change);
    leaf->second.changed.insert(piece->first);
    changed_.insert(it.leaf);
    if (it.change.rows != 0 && IsBoundary(it.key)) {
      leaf->second.boundaries[it.key] = it.change.rows > 0;
    }
  }
}

// --- Dividing a leaf ---------------------------------------------------------

void Pieces::Begin(uint32_t leaf, const LeafSum& sum) {
  DOVETAIL_CHECK(!Has(leaf));
  leaves_[leaf].pieces.emplace(RangeOf(leaf).begin, PieceSum{sum, 0, 0});
}

bool Pieces::Divided(uint32_t leaf) const {
  const auto it = leaves_.find(leaf);
  return it != leaves_.end() && it->second.divided;
}

KeyRange Pieces::Tail(uint32_t leaf) const {
  const Leaf& its = leaves_.at(leaf);
  DOVETAIL_CHECK(!its.divided);
  return {std::prev(its.pieces.end())->first, RangeOf(leaf).end};
}

bool Pieces::CutTail(uint32_t leaf, const Cut& cut,
                     const std::optional<std::string>& rest) {
  Leaf& its = leaves_.at(leaf);
  DOVETAIL_CHECK(!its.divided && !cut.empty());
  const auto tail = std::prev(its.pieces.end());
  DOVETAIL_CHECK(tail->first == cut.begin()->first);
  PieceSum left = tail->second;
  for (const auto& [begin, piece] : cut) left.Subtract(piece);
  if (!rest && !left.sum.zero()) {
    leaves_.erase(leaf);
    return false;
  }
  for (const auto& [begin, piece] : cut) {
    its.pieces.insert_or_assign(begin, piece);
  }
  if (rest) {
    DOVETAIL_MARK("pieces: a leaf is divided step by step");
    its.pieces.emplace(*rest, left);
    return true;
  }
  DOVETAIL_MARK("pieces: a leaf is divided");
  its.divided = true;
  changed_.insert(leaf);
  for (const auto& [begin, piece] : its.pieces) its.changed.insert(begin);
  return true;
}

void Pieces::Drop(uint32_t leaf, RowStore& rows) {
  const auto it = leaves_.find(leaf);
  if (it == leaves_.end()) return;
  if (it->second.divided) {
    for (const auto& [begin, piece] : it->second.pieces) {
      it->second.changed.insert(begin);
    }
    for (const std::string& begin : it->second.changed) {
      rows.DeleteOther(Family::kMeta, PieceKey(partition_, leaf, begin));
    }
  }
  leaves_.erase(it);
}

// --- The end of a turn -------------------------------------------------------

std::string Pieces::EndOf(uint32_t leaf, const Cut& pieces,
                          Cut::const_iterator it) const {
  const auto next = std::next(it);
  return next == pieces.end() ? RangeOf(leaf).end : next->first;
}

std::vector<std::pair<uint32_t, KeyRange>> Pieces::Joined() {
  std::vector<std::pair<uint32_t, KeyRange>> to_cut;
  for (const uint32_t leaf : changed_) {
    if (!Has(leaf)) continue;
    Leaf& its = leaves_.at(leaf);
    const std::map<std::string, bool> boundaries =
        std::exchange(its.boundaries, {});
    for (const auto& [key, lives] : boundaries) {
      const auto piece = its.pieces.find(key);
      if (lives || piece == its.pieces.end() ||
          DOVETAIL_MUTANT("pieces: one whose first row has gone is kept")) {
        continue;
      }
      DOVETAIL_MARK("pieces: two are joined");
      DOVETAIL_CHECK(piece != its.pieces.begin());
      const auto before = std::prev(piece);
      before->second.Merge(piece->second);
      its.changed.insert(before->first);
      its.changed.insert(key);
      its.pieces.erase(key);
    }
    std::set<std::string> begins;
    for (const auto& [key, lives] : boundaries) {
      if (!lives || its.pieces.contains(key)) continue;
      const auto piece = std::prev(its.pieces.upper_bound(key));
      const bool tail = !its.divided && std::next(piece) == its.pieces.end();
      if (!tail) begins.insert(piece->first);
    }
    for (const std::string& begin : begins) {
      to_cut.push_back(
          {leaf, {begin, EndOf(leaf, its.pieces, its.pieces.find(begin))}});
    }
  }
  return to_cut;
}

bool Pieces::Replace(uint32_t leaf, const Cut& cut) {
  Leaf& its = leaves_.at(leaf);
  DOVETAIL_CHECK(!cut.empty());
  PieceSum left = its.pieces.at(cut.begin()->first);
  for (const auto& [begin, piece] : cut) left.Subtract(piece);
  if (!(left == PieceSum{})) return false;
  DOVETAIL_MARK_IF("pieces: one is cut", cut.size() > 1);
  for (const auto& [begin, piece] : cut) {
    its.pieces.insert_or_assign(begin, piece);
    its.changed.insert(begin);
  }
  changed_.insert(leaf);
  return true;
}

void Pieces::Write(RowStore& rows) {
  for (const uint32_t leaf : std::exchange(changed_, {})) {
    if (!Has(leaf)) continue;
    Leaf& its = leaves_.at(leaf);
    const std::set<std::string> changed = std::exchange(its.changed, {});
    if (!its.divided) continue;
    for (const std::string& begin : changed) {
      const std::string key = PieceKey(partition_, leaf, begin);
      const auto piece = its.pieces.find(begin);
      if (piece == its.pieces.end()) {
        rows.DeleteOther(Family::kMeta, key);
      } else {
        rows.PutOther(Family::kMeta, key, Encode(piece->second));
      }
    }
  }
}

// --- What is there -----------------------------------------------------------

const Pieces::Cut& Pieces::Of(uint32_t leaf) const {
  const Leaf& its = leaves_.at(leaf);
  DOVETAIL_CHECK(its.divided);
  return its.pieces;
}

KeyRange Pieces::Around(uint32_t leaf, const KeyRange& range) const {
  const Cut& pieces = Of(leaf);
  KeyRange around = RangeOf(leaf);
  if (around.begin < range.begin) {
    around.begin = std::prev(pieces.upper_bound(range.begin))->first;
  }
  if (EndBefore(range.end, around.end)) {
    const auto next = pieces.lower_bound(range.end);
    if (next != pieces.end()) around.end = next->first;
  }
  return around;
}

std::vector<uint32_t> Pieces::Leaves() const {
  std::vector<uint32_t> leaves;
  for (const auto& [leaf, its] : leaves_) leaves.push_back(leaf);
  return leaves;
}

// --- Disk --------------------------------------------------------------------

void Pieces::Forget() {
  leaves_.clear();
  changed_.clear();
  noted_.clear();
}

absl::Status Pieces::ForEachStored(
    Storage& storage,
    absl::FunctionRef<void(uint32_t, std::string, const PieceSum&)> visit)
    const {
  const std::string prefix = PiecesPrefix(partition_);
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(storage.Scan(
      Family::kMeta, prefix, RangeEnd(prefix),
      [&](absl::string_view key, absl::string_view value) {
        const absl::StatusOr<ParsedPieceKey> parsed = ParsePieceKey(key);
        const absl::StatusOr<PieceSum> piece = Decode(value);
        damage.Update(parsed.status());
        damage.Update(piece.status());
        if (!damage.ok()) return false;
        visit(parsed->leaf, parsed->begin, *piece);
        return true;
      }));
  return damage;
}

absl::Status Pieces::Load(Storage& storage, RowStore& rows,
                          const DigestSums& sums) {
  Forget();
  DOVETAIL_RETURN_IF_ERROR(ForEachStored(
      storage, [&](uint32_t leaf, std::string begin, const PieceSum& piece) {
        leaves_[leaf].divided = true;
        leaves_[leaf].pieces.emplace(std::move(begin), piece);
      }));
  for (const uint32_t leaf : Leaves()) {
    const Cut& pieces = leaves_.at(leaf).pieces;
    LeafSum sum;
    for (const auto& [begin, piece] : pieces) sum.Merge(piece.sum);
    // Of a time when a version wrote here that knows nothing of pieces.
    if (!(sum == sums.leaf(static_cast<uint16_t>(leaf))) ||
        pieces.begin()->first != RangeOf(leaf).begin) {
      Drop(leaf, rows);
    }
  }
  return absl::OkStatus();
}

absl::Status Pieces::VerifyStored(Storage& storage) const {
  std::map<uint32_t, Cut> stored;
  DOVETAIL_RETURN_IF_ERROR(ForEachStored(
      storage, [&](uint32_t leaf, std::string begin, const PieceSum& piece) {
        stored[leaf].emplace(std::move(begin), piece);
      }));
  for (const auto& [leaf, its] : leaves_) {
    if (!its.divided) continue;
    const auto on_disk = stored.find(leaf);
    if (on_disk == stored.end() || !(on_disk->second == its.pieces)) {
      return absl::DataLossError(
          absl::StrCat("the pieces of digest leaf ", leaf, " of partition ",
                       Index(partition_), " are not as they are on disk"));
    }
    stored.erase(on_disk);
  }
  if (stored.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "pieces of digest leaf ", stored.begin()->first, " of partition ",
      Index(partition_), " are on disk, and it is not divided"));
}

}  // namespace dovetail::replica
