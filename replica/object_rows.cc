#include "replica/object_rows.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"

namespace dovetail::replica {
namespace {

using crdt::Leaf;
using crdt::ObjectId;
using crdt::Path;

constexpr uint8_t kInline = 0;
constexpr uint8_t kExploded = 1;
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

std::string EncodeLeafRow(crdt::Type leaf_type, const Leaf& leaf) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  crdt::AppendLeaf(out, leaf_type, leaf);
  return bytes;
}

std::string EncodeInline(crdt::Type type, const crdt::Store& leaves) {
  std::string bytes;
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

}  // namespace

absl::StatusOr<ObjectRows::Header> ObjectRows::ReadHeader(const ObjectKey& key,
                                                          crdt::Type type) {
  Header header;
  DOVETAIL_ASSIGN_OR_RETURN(const std::string* row, rows_.Get(key.HeaderKey()));
  if (row == nullptr) return header;
  crdt::Reader in(*row);
  in.ExpectVersion();
  const uint8_t form = in.Byte();
  if (form == kInline) {
    header.leaves = ReadInline(in, type);
    header.count = header.leaves.children().size();
    for (const auto& [path, leaf] : header.leaves.children()) {
      if (crdt::IsVisible(crdt::LeafTypeOf(type, path.bytes()), leaf)) {
        ++header.visible;
      }
    }
  } else if (form == kExploded) {
    header.exploded = true;
    header.visible = in.Varint();
    header.count = in.Varint();
    if (header.count == 0 || header.visible > header.count) {
      in.Fail("counts that cannot be");
    }
  } else {
    in.Fail("neither inline nor exploded");
  }
  if (absl::Status status = in.Finish(); !status.ok()) {
    absl::StatusOr<ParsedRowKey> parsed = ParseRowKey(key.HeaderKey());
    return Damaged("the header", parsed.ok() ? parsed->object : ObjectId{},
                   status);
  }
  return header;
}

absl::StatusOr<Leaf> ObjectRows::ReadLeafRow(const ObjectKey& key,
                                             const Path& path,
                                             crdt::Type leaf_type) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::string* row,
                            rows_.Get(key.LeafKey(path)));
  if (row == nullptr) return Leaf();
  crdt::Reader in(*row);
  in.ExpectVersion();
  Leaf leaf = crdt::ReadLeaf(in, leaf_type);
  if (absl::Status status = in.Finish(); !status.ok()) {
    absl::StatusOr<ParsedRowKey> parsed = ParseRowKey(key.HeaderKey());
    return Damaged("a leaf", parsed.ok() ? parsed->object : ObjectId{}, status);
  }
  return leaf;
}

absl::StatusOr<Leaf> ObjectRows::Get(const ObjectId& object, const Path& path) {
  const ObjectKey key = MakeObjectKey(object);
  DOVETAIL_ASSIGN_OR_RETURN(Header header, ReadHeader(key, object.type));
  if (header.exploded) {
    return ReadLeafRow(key, path, crdt::LeafTypeOf(object.type, path.bytes()));
  }
  const Leaf* leaf = header.leaves.Find(path);
  return leaf == nullptr ? Leaf() : *leaf;
}

absl::Status ObjectRows::Scan(
    const ObjectId& object, const Path& prefix, const Path& after,
    absl::FunctionRef<bool(const Path&, const Leaf&)> visit) {
  const ObjectKey key = MakeObjectKey(object);
  DOVETAIL_ASSIGN_OR_RETURN(Header header, ReadHeader(key, object.type));
  if (!header.exploded) {
    return crdt::StoreView(header.leaves).Scan(object, prefix, after, visit);
  }
  const std::string first = key.LeafKey(prefix);
  std::string begin = first;
  if (!after.bytes().empty()) {
    begin = std::max(begin, RangeEnd(key.LeafKey(after)));
  }
  const size_t path_at = key.prefix.size() + 1;
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(rows_.Scan(
      begin, RangeEnd(first),
      [&](absl::string_view row_key, absl::string_view value) {
        Path path =
            Path::FromTrustedBytes(std::string(row_key.substr(path_at)));
        absl::StatusOr<crdt::ParsedPath> parsed =
            crdt::ParseLeafPath(object.type, path.bytes());
        if (!parsed.ok()) {
          damage = Damaged("a leaf's path", object, parsed.status());
          return false;
        }
        crdt::Reader in(value);
        in.ExpectVersion();
        const Leaf leaf = crdt::ReadLeaf(in, parsed->leaf_type);
        if (absl::Status status = in.Finish(); !status.ok()) {
          damage = Damaged("a leaf", object, status);
          return false;
        }
        return visit(path, leaf);
      }));
  return damage;
}

absl::Status ObjectRows::Update(const ObjectId& object, const Path& path,
                                uint32_t partitions,
                                absl::FunctionRef<absl::Status(Leaf&)> change,
                                SumChanges& changes) {
  const ObjectKey key = MakeObjectKey(object);
  const crdt::Type leaf_type = crdt::LeafTypeOf(object.type, path.bytes());
  DOVETAIL_ASSIGN_OR_RETURN(Header header, ReadHeader(key, object.type));
  Leaf before;
  if (header.exploded) {
    DOVETAIL_ASSIGN_OR_RETURN(before, ReadLeafRow(key, path, leaf_type));
  } else if (const Leaf* leaf = header.leaves.Find(path)) {
    before = *leaf;
  }
  Leaf after = before;
  DOVETAIL_RETURN_IF_ERROR(change(after));
  if (after == before) return absl::OkStatus();

  AddLeafChange(key.prefix, DigestLeafOf(key.hash_high, partitions), path,
                before, after, changes);
  const bool was_listed = header.visible > 0;
  header.visible += crdt::IsVisible(leaf_type, after) ? 1 : 0;
  header.visible -= crdt::IsVisible(leaf_type, before) ? 1 : 0;
  const uint64_t count_before = header.count;
  header.count += after.empty() ? 0 : 1;
  header.count -= before.empty() ? 0 : 1;
  if (header.exploded) {
    if (after.empty()) {
      DOVETAIL_MARK("rows: a leaf of a large object is gone");
      rows_.Delete(key.LeafKey(path));
    } else {
      rows_.Put(key.LeafKey(path), EncodeLeafRow(leaf_type, after));
    }
    // A changed payload alone leaves the counts, and so the header, alone.
    if (header.count != count_before || was_listed != (header.visible > 0) ||
        crdt::IsVisible(leaf_type, after) !=
            crdt::IsVisible(leaf_type, before)) {
      WriteHeader(key, object, header);
    }
  } else {
    header.leaves.Set(path, std::move(after));
    WriteHeader(key, object, header);
  }
  DOVETAIL_MARK_IF("rows: leaves that nobody can see",
                   header.count > 0 && header.visible == 0);
  if (!was_listed && header.visible > 0) {
    DOVETAIL_MARK_IF("index: an object with hidden leaves appears again",
                     count_before > 0);
    rows_.PutOther(Family::kIndex, IndexKey(object), "");
  } else if (was_listed && header.visible == 0) {
    DOVETAIL_MARK("index: an object vanishes");
    rows_.DeleteOther(Family::kIndex, IndexKey(object));
  }
  return absl::OkStatus();
}

void ObjectRows::WriteHeader(const ObjectKey& key, const ObjectId& object,
                             Header& header) {
  if (header.count == 0) {
    DOVETAIL_MARK_IF("rows: a large object is gone", header.exploded);
    rows_.Delete(key.HeaderKey());
    return;
  }
  if (!header.exploded) {
    std::string bytes = EncodeInline(object.type, header.leaves);
    // A single leaf gains nothing by a row of its own.
    if (header.count == 1 ||
        (header.count <= options_.inline_leaves_max &&
         bytes.size() <= options_.inline_bytes_max &&
         !DOVETAIL_BUGGIFY("rows: a small object gets a row per leaf")) ||
        DOVETAIL_BUGGIFY("rows: a large object stays in one")) {
      rows_.Put(key.HeaderKey(), std::move(bytes));
      return;
    }
    Explode(key, object, header);
  }
  DOVETAIL_MARK_IF("rows: a large object has become small",
                   header.count <= options_.inline_leaves_max);
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Byte(kExploded);
  out.Varint(header.visible);
  out.Varint(header.count);
  rows_.Put(key.HeaderKey(), std::move(bytes));
}

void ObjectRows::Explode(const ObjectKey& key, const ObjectId& object,
                         Header& header) {
  DOVETAIL_MARK("rows: an object gets a row per leaf");
  for (const auto& [path, leaf] : header.leaves.children()) {
    rows_.Put(key.LeafKey(path),
              EncodeLeafRow(crdt::LeafTypeOf(object.type, path.bytes()), leaf));
  }
  header.leaves = crdt::Store();
  header.exploded = true;
}

absl::Status ForEachLeaf(
    RowStore& rows, const KeyRange& range,
    absl::FunctionRef<void(const ObjectId&, const Path&, const Leaf&)> visit) {
  absl::Status damage;
  DOVETAIL_RETURN_IF_ERROR(rows.Scan(
      range.begin, range.end,
      [&](absl::string_view row_key, absl::string_view value) {
        absl::StatusOr<ParsedRowKey> parsed = ParseRowKey(row_key);
        if (!parsed.ok()) {
          damage = parsed.status();
          return false;
        }
        const crdt::Type type = parsed->object.type;
        crdt::Reader in(value);
        in.ExpectVersion();
        if (parsed->header) {
          if (in.Byte() == kInline) {
            const crdt::Store leaves = ReadInline(in, type);
            damage = in.Finish();
            if (!damage.ok()) return false;
            for (const auto& [path, leaf] : leaves.children()) {
              visit(parsed->object, path, leaf);
            }
          }
          return true;
        }
        absl::StatusOr<crdt::ParsedPath> path =
            crdt::ParseLeafPath(type, parsed->path.bytes());
        if (!path.ok()) {
          damage = Damaged("a leaf's path", parsed->object, path.status());
          return false;
        }
        const Leaf leaf = crdt::ReadLeaf(in, path->leaf_type);
        if (absl::Status status = in.Finish(); !status.ok()) {
          damage = Damaged("a leaf", parsed->object, status);
          return false;
        }
        visit(parsed->object, parsed->path, leaf);
        return true;
      }));
  return damage;
}

}  // namespace dovetail::replica
