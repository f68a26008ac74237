#include "replica/object_rows.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "replica/hash.h"
#include "replica/key_ranges.h"

namespace dovetail::replica {
namespace {

using crdt::Leaf;
using crdt::ObjectId;
using crdt::Path;

constexpr uint8_t kInline = 0;
constexpr uint8_t kExploded = 1;
constexpr uint8_t kExplodedExpires = 2;
// Paths on disk come from deltas whose parts were checked against limits.h.
constexpr size_t kPathBytesMax =
    2 * (crdt::kNestingMax * (crdt::kFieldBytesMax + 3) +
         crdt::kElementBytesMax + 2);

absl::Status Damaged(absl::string_view what, const ObjectId& object,
                     const absl::Status& why) {
  DOVETAIL_MARK("rows: one does not decode");
  return absl::DataLossError(absl::StrCat(what, " of ", crdt::ToString(object),
                                          " does not decode: ", why.message()));
}

size_t LeafBytesMax(const Leaf& leaf) {
  size_t bytes = crdt::kVarintBytesMax;
  for (const Leaf::Entry& entry : leaf.entries()) {
    bytes += crdt::kDotBytesMax + crdt::PayloadBytesMax(entry.second);
  }
  return bytes;
}

std::string EncodeLeafRow(crdt::Type leaf_type, const Leaf& leaf) {
  std::string bytes;
  bytes.reserve(1 + LeafBytesMax(leaf));
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  crdt::AppendLeaf(out, leaf_type, leaf);
  return bytes;
}

std::string EncodeInline(crdt::Type type, const crdt::Store& leaves) {
  size_t bytes_max = 2 + crdt::kVarintBytesMax;
  for (const auto& [path, leaf] : leaves.children()) {
    bytes_max +=
        crdt::kVarintBytesMax + path.bytes().size() + LeafBytesMax(leaf);
  }
  std::string bytes;
  bytes.reserve(bytes_max);
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Byte(kInline);
  out.Varint(leaves.children().size());
  for (const auto& [path, leaf] : leaves.children()) {
    out.Bytes(path.bytes());
    crdt::AppendLeaf(out, crdt::LeafTypeOf(type, path.bytes()), leaf);
  }
  return bytes;
}

crdt::Store ReadInline(crdt::Reader& in, crdt::Type type) {
  crdt::Store leaves;
  const size_t count = in.Count(2);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const absl::string_view bytes = in.Bytes(kPathBytesMax);
    if (!in.ok()) break;
    if (absl::StatusOr<crdt::ParsedPath> parsed =
            crdt::ParseLeafPath(type, bytes);
        !parsed.ok()) {
      in.Fail(parsed.status().message());
      break;
    } else {
      leaves.Set(Path::FromTrustedBytes(std::string(bytes)),
                 crdt::ReadLeaf(in, parsed->leaf_type));
    }
  }
  return leaves;
}

absl::StatusOr<ObjectHeader> DecodeHeader(const ObjectId& object,
                                          absl::string_view row) {
  ObjectHeader header;
  crdt::Reader in(row);
  in.ExpectVersion();
  const uint8_t form = in.Byte();
  if (form == kInline) {
    header.leaves = ReadInline(in, object.type);
    header.count = header.leaves.children().size();
    for (const auto& [path, leaf] : header.leaves.children()) {
      if (crdt::IsVisible(crdt::LeafTypeOf(object.type, path.bytes()), leaf)) {
        ++header.visible;
      }
      if (path.IsExpiry()) header.expires_ms = crdt::ExpiresMs(leaf);
    }
  } else if (form == kExploded || form == kExplodedExpires) {
    header.exploded = true;
    header.visible = in.Varint();
    header.count = in.Varint();
    if (form == kExplodedExpires) {
      header.expires_ms = in.Varint();
      if (header.expires_ms == 0) in.Fail("expires at no time");
    }
    if (header.count == 0 || header.visible > header.count) {
      in.Fail("counts that cannot be");
    }
  } else {
    in.Fail("neither inline nor exploded");
  }
  if (absl::Status status = in.Finish(); !status.ok()) {
    return Damaged("the header", object, status);
  }
  return header;
}

absl::StatusOr<Leaf> DecodeLeafRow(const ObjectId& object, crdt::Type leaf_type,
                                   absl::string_view row) {
  crdt::Reader in(row);
  in.ExpectVersion();
  Leaf leaf = crdt::ReadLeaf(in, leaf_type);
  if (absl::Status status = in.Finish(); !status.ok()) {
    return Damaged("a leaf", object, status);
  }
  return leaf;
}

// The same for a row that a scan came upon, whose path nobody vouches for.
absl::StatusOr<Leaf> DecodeFoundLeafRow(const ObjectId& object,
                                        const Path& path,
                                        absl::string_view row) {
  absl::StatusOr<crdt::ParsedPath> parsed =
      crdt::ParseLeafPath(object.type, path.bytes());
  if (!parsed.ok()) return Damaged("a leaf's path", object, parsed.status());
  return DecodeLeafRow(object, parsed->leaf_type, row);
}

}  // namespace

absl::StatusOr<ObjectRows::Located*> ObjectRows::Locate(
    const ObjectId& object) {
  if (keep_located_ && located_.changes == rows_.changes() &&
      located_.object == object) {
    return &located_;
  }
  keep_located_ = false;
  located_.object = object;
  located_.key = MakeObjectKey(object);
  located_.header = ObjectHeader();
  located_.changes = rows_.changes();
  DOVETAIL_ASSIGN_OR_RETURN(const std::string* row,
                            rows_.Get(located_.key.HeaderKey()));
  if (row != nullptr) {
    DOVETAIL_ASSIGN_OR_RETURN(located_.header, DecodeHeader(object, *row));
  }
  keep_located_ = row == nullptr || row->size() <= options_.inline_bytes_max;
  return &located_;
}

absl::StatusOr<Leaf> ObjectRows::ReadLeafRow(const Located& at,
                                             const Path& path,
                                             crdt::Type leaf_type) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::string* row,
                            rows_.Get(at.key.LeafKey(path)));
  if (row == nullptr) return Leaf();
  return DecodeLeafRow(at.object, leaf_type, *row);
}

absl::StatusOr<Leaf> ObjectRows::Get(const ObjectId& object, const Path& path) {
  DOVETAIL_ASSIGN_OR_RETURN(const Located* at, Locate(object));
  if (at->header.exploded) {
    // Asked with every read, and mostly not there.
    if (path.IsExpiry() && at->header.expires_ms == 0) return Leaf();
    return ReadLeafRow(*at, path, crdt::LeafTypeOf(object.type, path.bytes()));
  }
  const Leaf* leaf = at->header.leaves.Find(path);
  return leaf == nullptr ? Leaf() : *leaf;
}

absl::Status ObjectRows::Scan(
    const ObjectId& object, const Path& prefix, const Path& after,
    absl::FunctionRef<bool(const Path&, const Leaf&)> visit) {
  DOVETAIL_ASSIGN_OR_RETURN(Located* const at, Locate(object));
  if (!at->header.exploded) {
    // Taken out, since `visit` may ask for another object.
    keep_located_ = false;
    const crdt::Store leaves = std::move(at->header.leaves);
    return crdt::StoreView(leaves).Scan(object, prefix, after, visit);
  }
  const std::string first = at->key.LeafKey(prefix);
  std::string begin = first;
  if (!after.bytes().empty()) {
    begin = std::max(begin, RangeEnd(at->key.LeafKey(after)));
  }
  const size_t path_at = at->key.prefix.size() + 1;
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(rows_.Scan(
      begin, RangeEnd(first),
      [&](absl::string_view row_key, absl::string_view value) {
        const Path path =
            Path::FromTrustedBytes(std::string(row_key.substr(path_at)));
        const absl::StatusOr<Leaf> leaf =
            DecodeFoundLeafRow(object, path, value);
        damage = leaf.status();
        return leaf.ok() && visit(path, *leaf);
      }));
  return damage;
}

absl::StatusOr<bool> ObjectRows::IsListed(const ObjectId& object) {
  DOVETAIL_ASSIGN_OR_RETURN(const Located* at, Locate(object));
  return at->header.visible > 0;
}

absl::StatusOr<bool> ObjectRows::Exists(const ObjectId& object) {
  DOVETAIL_ASSIGN_OR_RETURN(const Located* at, Locate(object));
  return at->header.count > 0;
}

absl::StatusOr<ObjectRows::Expiring> ObjectRows::ExpiryOf(
    const ObjectId& object) {
  DOVETAIL_ASSIGN_OR_RETURN(const Located* at, Locate(object));
  return Expiring{at->header.expires_ms, at->header.exploded};
}

absl::Status ObjectRows::Update(const ObjectId& object, const Path& path,
                                uint32_t partitions,
                                absl::FunctionRef<absl::Status(Leaf&)> change,
                                SumChanges& changes) {
  DOVETAIL_ASSIGN_OR_RETURN(Located* const at, Locate(object));
  const ObjectKey& key = at->key;
  ObjectHeader& header = at->header;
  const crdt::Type leaf_type = crdt::LeafTypeOf(object.type, path.bytes());
  Leaf before;
  if (header.exploded) {
    DOVETAIL_ASSIGN_OR_RETURN(before, ReadLeafRow(*at, path, leaf_type));
  } else if (const Leaf* leaf = header.leaves.Find(path)) {
    before = *leaf;
  }
  Leaf after = before;
  DOVETAIL_RETURN_IF_ERROR(change(after));
  if (after == before) return absl::OkStatus();

  const uint16_t digest_leaf = DigestLeafOf(key.hash_high, partitions);
  const LeafSum of_sum = ChangeOfLeaf(key.prefix, path, before, after);
  AddChange(digest_leaf, of_sum, changes);
  if (pieces_.Has(digest_leaf)) {
    const auto visible = [&](const Leaf& leaf) {
      return crdt::IsVisible(leaf_type, leaf) ? 1 : 0;
    };
    pieces_.Note(digest_leaf, key.LeafKey(path),
                 {of_sum, (after.empty() ? 0 : 1) - (before.empty() ? 0 : 1),
                  visible(after) - visible(before)});
  }
  const bool was_listed = header.visible > 0;
  header.visible += crdt::IsVisible(leaf_type, after) ? 1 : 0;
  header.visible -= crdt::IsVisible(leaf_type, before) ? 1 : 0;
  const bool is_listed = header.visible > 0;
  const uint64_t expired_before = header.expires_ms;
  if (path.IsExpiry()) header.expires_ms = crdt::ExpiresMs(after);
  const uint64_t count_before = header.count;
  header.count += after.empty() ? 0 : 1;
  header.count -= before.empty() ? 0 : 1;
  if (header.exploded) {
    if (after.empty()) {
      DOVETAIL_MARK("rows: a leaf of a large object is gone");
      if (!DOVETAIL_MUTANT("rows: a leaf of a large object stays")) {
        rows_.Delete(key.LeafKey(path));
      }
    } else {
      rows_.Put(key.LeafKey(path), EncodeLeafRow(leaf_type, after));
    }
    // A changed payload alone leaves the counts, and so the header, alone.
    if (header.count != count_before || was_listed != is_listed ||
        header.expires_ms != expired_before ||
        crdt::IsVisible(leaf_type, after) !=
            crdt::IsVisible(leaf_type, before)) {
      WriteHeader(*at);
    }
  } else {
    header.leaves.Set(path, std::move(after));
    WriteHeader(*at);
  }
  DOVETAIL_MARK_IF("rows: leaves that nobody can see",
                   header.count > 0 && !is_listed);
  DOVETAIL_MARK_IF("index: an object with hidden leaves appears again",
                   !was_listed && is_listed && count_before > 0);
  WriteIndex(*at, partitions, was_listed, expired_before);
  at->changes = rows_.changes();
  return absl::OkStatus();
}

void ObjectRows::WriteIndex(const Located& at, uint32_t partitions,
                            bool was_listed, uint64_t expired_before) {
  const ObjectId& object = at.object;
  const uint64_t expires_ms = at.header.expires_ms;
  const bool is_listed = at.header.visible > 0;
  if (is_listed && (!was_listed || expires_ms != expired_before)) {
    rows_.PutOther(Family::kIndex, IndexKey(object), IndexValue(expires_ms));
  } else if (was_listed && !is_listed) {
    DOVETAIL_MARK("index: an object vanishes");
    if (!DOVETAIL_MUTANT("index: keeps what is gone")) {
      rows_.DeleteOther(Family::kIndex, IndexKey(object));
    }
  }
  if (expires_ms == expired_before) return;
  const PartitionId partition =
      PartitionOf(object.bucket, object.key, partitions);
  if (expired_before > 0) {
    rows_.DeleteOther(Family::kMeta,
                      ExpiryKey(partition, expired_before, object));
  }
  if (expires_ms > 0) {
    ++expiries_set_;
    rows_.PutOther(Family::kMeta, ExpiryKey(partition, expires_ms, object), "");
  }
}

void ObjectRows::WriteHeader(Located& at) {
  ObjectHeader& header = at.header;
  if (header.count == 0) {
    DOVETAIL_MARK_IF("rows: a large object is gone", header.exploded);
    rows_.Delete(at.key.HeaderKey());
    header = ObjectHeader();
    return;
  }
  if (!header.exploded) {
    std::string bytes = EncodeInline(at.object.type, header.leaves);
    const bool small = bytes.size() <= options_.inline_bytes_max;
    // A single leaf gains nothing by a row of its own.
    if (header.count == 1 ||
        (header.count <= options_.inline_leaves_max && small &&
         !DOVETAIL_BUGGIFY("rows: a small object gets a row per leaf")) ||
        DOVETAIL_BUGGIFY("rows: a large object stays in one")) {
      rows_.Put(at.key.HeaderKey(), std::move(bytes));
      keep_located_ = small;
      return;
    }
    Explode(at);
  }
  DOVETAIL_MARK_IF("rows: a large object has become small",
                   header.count <= options_.inline_leaves_max);
  rows_.Put(at.key.HeaderKey(), EncodeExplodedHeader(header));
}

void ObjectRows::Explode(Located& at) {
  DOVETAIL_MARK("rows: an object gets a row per leaf");
  for (const auto& [path, leaf] : at.header.leaves.children()) {
    rows_.Put(
        at.key.LeafKey(path),
        EncodeLeafRow(crdt::LeafTypeOf(at.object.type, path.bytes()), leaf));
  }
  at.header.leaves = crdt::Store();
  at.header.exploded = true;
}

absl::Status ForEachLeaf(
    RowStore& rows, const KeyRange& range,
    absl::FunctionRef<void(const ObjectId&, const Path&, const Leaf&)> visit) {
  return ForEachLeafIn(rows, range, [&](FoundLeaf&& found) {
    visit(found.object, found.path, found.leaf);
    return true;
  });
}

namespace {

// What one row holds; DataLoss if it does not decode.
absl::StatusOr<FoundRow> DecodeRow(absl::string_view key,
                                   absl::string_view value) {
  DOVETAIL_ASSIGN_OR_RETURN(ParsedRowKey parsed, ParseRowKey(key));
  FoundRow row;
  row.key = std::string(key);
  row.header = parsed.header;
  if (parsed.header) {
    DOVETAIL_ASSIGN_OR_RETURN(row.decoded, DecodeHeader(parsed.object, value));
    row.exploded = row.decoded.exploded;
    for (const auto& [path, leaf] : row.decoded.leaves.children()) {
      row.leaves.emplace_back(path, leaf);
    }
  } else {
    DOVETAIL_ASSIGN_OR_RETURN(
        Leaf leaf, DecodeFoundLeafRow(parsed.object, parsed.path, value));
    row.leaves.emplace_back(std::move(parsed.path), std::move(leaf));
  }
  row.object = std::move(parsed.object);
  return row;
}

// Visits the leaves of `row` that lie in `range`; false to stop.
bool VisitLeaves(FoundRow row, const KeyRange& range,
                 absl::FunctionRef<bool(FoundLeaf&&)> visit) {
  const std::string prefix = row.key.substr(0, row.key.size() - 1);
  for (auto& [path, leaf] : row.leaves) {
    FoundLeaf found{row.header ? ObjectKey{prefix, 0}.LeafKey(path) : row.key,
                    *row.object, std::move(path), std::move(leaf)};
    if (found.key < range.begin || !BeforeEnd(found.key, range.end)) continue;
    if (!visit(std::move(found))) return false;
  }
  return true;
}

}  // namespace

absl::Status ForEachLeafIn(RowStore& rows, const KeyRange& range,
                           absl::FunctionRef<bool(FoundLeaf&&)> visit) {
  if (IsMiddleOfObject(range.begin)) {
    // The leaves from there on may stand in the header, before them; but what
    // is no row key lies between two objects.
    const absl::StatusOr<ParsedRowKey> parsed = ParseRowKey(range.begin);
    const std::string header_key =
        parsed.ok() ? MakeObjectKey(parsed->object).HeaderKey() : "";
    const std::string* value = nullptr;
    if (parsed.ok()) {
      DOVETAIL_ASSIGN_OR_RETURN(value, rows.Get(header_key));
    }
    if (value != nullptr) {
      const std::string copy = *value;
      DOVETAIL_ASSIGN_OR_RETURN(FoundRow row, DecodeRow(header_key, copy));
      if (!VisitLeaves(std::move(row), range, visit)) return absl::OkStatus();
    }
  }
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(
      rows.Scan(range.begin, range.end,
                [&](absl::string_view key, absl::string_view value) {
                  absl::StatusOr<FoundRow> row = DecodeRow(key, value);
                  damage = row.status();
                  return row.ok() && VisitLeaves(*std::move(row), range, visit);
                }));
  return damage;
}

absl::Status ForEachRow(RowStore& rows, const KeyRange& range,
                        absl::FunctionRef<void(FoundRow&&)> visit) {
  return rows.Scan(range.begin, range.end,
                   [&](absl::string_view key, absl::string_view value) {
                     absl::StatusOr<FoundRow> row = DecodeRow(key, value);
                     if (row.ok()) {
                       visit(*std::move(row));
                       return true;
                     }
                     FoundRow damaged;
                     damaged.key = std::string(key);
                     if (auto parsed = ParseRowKey(key); parsed.ok()) {
                       damaged.header = parsed->header;
                     }
                     visit(std::move(damaged));
                     return true;
                   });
}

std::string EncodeExplodedHeader(const ObjectHeader& header) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Byte(header.expires_ms > 0 ? kExplodedExpires : kExploded);
  out.Varint(header.visible);
  out.Varint(header.count);
  if (header.expires_ms > 0) out.Varint(header.expires_ms);
  return bytes;
}

}  // namespace dovetail::replica
