#include "replica/range_message.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/limits.h"
#include "replica/hash.h"
#include "replica/key_ranges.h"

// asks   = version, count:varint, ask...
// ask    = 0, first:varint, width:varint, prints        AskLeaves
//        | 1, begin, prints, end...                     AskCuts
//        | 2, begin, end, prints                        AskRows
// prints = size:8, count:varint, { print:(8 * size) }...
// begin, end = key
// key    = shared:varint, rest:bytes                    with the key before it
// parts  = version, count:varint, part...
// part   = differ, count:varint, row..., rest:bytes, check:8, { equal:fixed64 }
// differ = count:varint, step:varint...                 from -1, ascending
// row    = bucket:bytes, key:bytes, type:8, path:bytes, leaf
//
// An empty bucket is that of the row before it in the message. `check` is 1 if
// `equal` is there, else 0.
namespace dovetail::replica {
namespace {

constexpr uint8_t kLeaves = 0;
constexpr uint8_t kCuts = 1;
constexpr uint8_t kRows = 2;

// Keys of one message are near each other: each is told from the one before.
class KeyWriter {
 public:
  explicit KeyWriter(crdt::Writer& out) : out_(out) {}
  void Append(absl::string_view key) {
    const auto end =
        std::mismatch(key.begin(), key.end(), before_.begin(), before_.end());
    const auto shared = static_cast<size_t>(end.first - key.begin());
    out_.Varint(shared);
    out_.Bytes(key.substr(shared));
    before_ = std::string(key);
  }

 private:
  crdt::Writer& out_;
  std::string before_;
};

bool Spend(crdt::Reader& in, size_t bytes, size_t& left) {
  if (bytes > left) {
    in.Fail(absl::StrCat("more than ", kRangeSharedBytesMax,
                         " bytes in common (kRangeSharedBytesMax)"));
    return false;
  }
  left -= bytes;
  return true;
}

class KeyReader {
 public:
  explicit KeyReader(crdt::Reader& in) : in_(in) {}
  std::string Read() {
    const uint64_t shared = in_.Varint();
    const absl::string_view rest = in_.Bytes(kRowKeyBytesMax);
    if (!in_.ok()) return "";
    const bool could_share_more = shared < before_.size() && !rest.empty() &&
                                  before_[shared] == rest.front();
    if (shared > before_.size() || could_share_more ||
        shared + rest.size() > kRowKeyBytesMax) {
      in_.Fail("a key that cannot follow the one before");
      return "";
    }
    if (!Spend(in_, shared, shared_left_)) return "";
    before_ = absl::StrCat(before_.substr(0, shared), rest);
    return before_;
  }

 private:
  crdt::Reader& in_;
  std::string before_;
  size_t shared_left_ = kRangeSharedBytesMax;
};

template <class Ask>
void AppendPrints(crdt::Writer& out, const Ask& ask) {
  out.Byte(ask.print_bytes);
  out.Varint(ask.prints.size());
  for (const uint64_t print : ask.prints) {
    for (int shift = 8 * (ask.print_bytes - 1); shift >= 0; shift -= 8) {
      out.Byte(static_cast<uint8_t>(print >> shift));
    }
  }
}

template <class Ask>
void ReadPrints(crdt::Reader& in, size_t& budget, Ask& ask) {
  ask.print_bytes = in.Byte();
  if (in.ok() && (ask.print_bytes == 0 || ask.print_bytes > kPrintBytesWhole)) {
    in.Fail("prints of a size that cannot be");
  }
  if (!in.ok()) return;
  const size_t count = in.Count(ask.print_bytes);
  if (!in.ok()) return;
  if (count > budget) {
    return in.Fail(absl::StrCat("more than ", kRangePrintsMax,
                                " prints (kRangePrintsMax)"));
  }
  budget -= count;
  ask.prints.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    uint64_t print = 0;
    for (int byte = 0; byte < ask.print_bytes; ++byte) {
      print = print << 8 | in.Byte();
    }
    ask.prints.push_back(print);
  }
}

AskLeaves ReadLeaves(crdt::Reader& in, size_t& budget) {
  AskLeaves ask;
  const uint64_t first = in.Varint();
  const uint64_t width = in.Varint();
  ReadPrints(in, budget, ask);
  if (!in.ok()) return ask;
  if (width == 0 || width > kLeavesPerPartition ||
      first > kLeavesPerPartition - width || ask.prints.empty() ||
      width % ask.prints.size() != 0) {
    in.Fail("digest leaves that cannot be");
    return ask;
  }
  ask.leaves = {static_cast<uint32_t>(first),
                static_cast<uint32_t>(first + width)};
  return ask;
}

AskCuts ReadCuts(crdt::Reader& in, KeyReader& keys, size_t& budget) {
  AskCuts ask;
  ask.begin = keys.Read();
  ReadPrints(in, budget, ask);
  absl::string_view before = ask.begin;
  ask.ends.reserve(ask.prints.size());  // `before` points into it
  for (size_t i = 0; i < ask.prints.size() && in.ok(); ++i) {
    ask.ends.push_back(keys.Read());
    const bool last = i + 1 == ask.prints.size();
    if (!BeforeEnd(before, ask.ends.back()) ||
        (ask.ends.back().empty() && !last)) {
      in.Fail("cuts that are not in ascending order");
    }
    before = ask.ends.back();
  }
  if (in.ok() && ask.prints.empty()) in.Fail("no cuts");
  return ask;
}

AskRows ReadRows(crdt::Reader& in, KeyReader& keys, size_t& budget) {
  AskRows ask;
  ask.range.begin = keys.Read();
  ask.range.end = keys.Read();
  ReadPrints(in, budget, ask);
  if (in.ok() && !BeforeEnd(ask.range.begin, ask.range.end)) {
    in.Fail("a range of keys that is empty");
  }
  return ask;
}

void AppendRow(crdt::Writer& out, const RangeRow& row,
               absl::string_view bucket_before = "") {
  const bool named = row.object.bucket != bucket_before;
  out.Bytes(named ? row.object.bucket : "");
  out.Bytes(row.object.key);
  out.Byte(static_cast<uint8_t>(row.object.type));
  out.Bytes(row.path.bytes());
  crdt::AppendLeaf(out, crdt::LeafTypeOf(row.object.type, row.path.bytes()),
                   row.leaf);
}

// The bucket of the row before, while rows are read.
struct BucketBefore {
  std::string bucket;
  size_t shared_left = kRangeSharedBytesMax;
};

RangeRow ReadRow(crdt::Reader& in, BucketBefore& before) {
  RangeRow row;
  const absl::string_view named = in.Bytes(crdt::kBucketBytesMax);
  if (!in.ok()) return row;
  if (named.empty()) {
    if (!Spend(in, before.bucket.size(), before.shared_left)) return row;
  } else if (named == before.bucket) {
    in.Fail("a bucket that is named again");
  } else {
    before.bucket = std::string(named);
  }
  row.object.bucket = before.bucket;
  row.object.key = std::string(in.Bytes(crdt::kKeyBytesMax));
  const uint8_t byte = in.Byte();
  const absl::string_view path = in.Bytes(crdt::kPathBytesMax);
  if (!in.ok()) return row;
  const std::optional<crdt::Type> type = crdt::TypeFromByte(byte);
  if (!type || row.object.bucket.empty() || row.object.key.empty()) {
    in.Fail("an object that cannot be");
    return row;
  }
  row.object.type = *type;
  const absl::StatusOr<crdt::ParsedPath> parsed =
      crdt::ParseLeafPath(*type, path);
  if (!parsed.ok()) {
    in.Fail(parsed.status().message());
    return row;
  }
  row.path = crdt::Path::FromTrustedBytes(std::string(path));
  row.leaf = crdt::ReadLeaf(in, parsed->leaf_type);
  return row;
}

RangePart ReadPart(crdt::Reader& in, BucketBefore& before) {
  RangePart part;
  const size_t differ = in.Count(1);
  uint64_t at = 0;
  for (size_t i = 0; i < differ && in.ok(); ++i) {
    const uint64_t step = in.Varint();
    if (step == 0 || step > kRangePrintsMax || at + step > kRangePrintsMax) {
      in.Fail("a place that cannot be");
      break;
    }
    at += step;
    part.differ.push_back(static_cast<uint32_t>(at - 1));
  }
  const size_t rows = in.Count(8);
  for (size_t i = 0; i < rows && in.ok(); ++i) {
    part.rows.push_back(ReadRow(in, before));
  }
  part.rest = std::string(in.Bytes(kRowKeyBytesMax));
  const uint8_t check = in.Byte();
  if (in.ok() && check > 1) in.Fail("a check that cannot be");
  if (in.ok() && check == 1) part.equal = in.Fixed64();
  return part;
}

}  // namespace

uint64_t PrintOfSum(const LeafSum& sum, uint64_t salt) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Fixed64(salt);
  out.Fixed64(sum.sum.high);
  out.Fixed64(sum.sum.low);
  out.Fixed64(static_cast<uint64_t>(sum.count));
  return HashBytes(bytes).high;
}

uint64_t PrintOfRow(const crdt::ObjectId& object, const crdt::Path& path,
                    const crdt::Leaf& leaf, uint64_t salt) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Fixed64(salt);
  AppendRow(out, {object, path, leaf});
  return HashBytes(bytes).high;
}

uint64_t PrintOfContext(const crdt::Context& context) {
  std::string bytes;
  crdt::Writer out(&bytes);
  context.applied.AppendTo(out);
  context.superseded.AppendTo(out);
  return HashBytes(bytes).high;
}

std::string EncodeRangeAsks(const std::vector<RangeAsk>& asks) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Varint(asks.size());
  KeyWriter keys(out);
  for (const RangeAsk& ask : asks) {
    if (const auto* leaves = std::get_if<AskLeaves>(&ask)) {
      out.Byte(kLeaves);
      out.Varint(leaves->leaves.first);
      out.Varint(leaves->leaves.end - leaves->leaves.first);
      AppendPrints(out, *leaves);
    } else if (const auto* cuts = std::get_if<AskCuts>(&ask)) {
      out.Byte(kCuts);
      keys.Append(cuts->begin);
      AppendPrints(out, *cuts);
      for (const std::string& end : cuts->ends) keys.Append(end);
    } else {
      const auto& rows = std::get<AskRows>(ask);
      out.Byte(kRows);
      keys.Append(rows.range.begin);
      keys.Append(rows.range.end);
      AppendPrints(out, rows);
    }
  }
  return bytes;
}

absl::StatusOr<std::vector<RangeAsk>> DecodeRangeAsks(absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  std::vector<RangeAsk> asks;
  const size_t count = in.Count(3);
  if (count > kRangePartsMax) {
    in.Fail(
        absl::StrCat("more than ", kRangePartsMax, " parts (kRangePartsMax)"));
  }
  size_t budget = kRangePrintsMax;
  KeyReader keys(in);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const uint8_t kind = in.Byte();
    if (kind == kLeaves) {
      asks.push_back(ReadLeaves(in, budget));
    } else if (kind == kCuts) {
      asks.push_back(ReadCuts(in, keys, budget));
    } else if (kind == kRows) {
      asks.push_back(ReadRows(in, keys, budget));
    } else {
      in.Fail("an unknown kind of question");
    }
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return asks;
}

std::string EncodeRangeParts(const std::vector<RangePart>& parts) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Varint(parts.size());
  absl::string_view bucket;
  for (const RangePart& part : parts) {
    out.Varint(part.differ.size());
    uint32_t next = 0;  // one past the last
    for (const uint32_t place : part.differ) {
      out.Varint(place + 1 - next);
      next = place + 1;
    }
    out.Varint(part.rows.size());
    for (const RangeRow& row : part.rows) {
      AppendRow(out, row, bucket);
      bucket = row.object.bucket;
    }
    out.Bytes(part.rest);
    out.Byte(part.equal ? 1 : 0);
    if (part.equal) out.Fixed64(*part.equal);
  }
  return bytes;
}

absl::StatusOr<std::vector<RangePart>> DecodeRangeParts(
    absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  std::vector<RangePart> parts;
  const size_t count = in.Count(4);
  if (count > kRangePartsMax) {
    in.Fail(
        absl::StrCat("more than ", kRangePartsMax, " parts (kRangePartsMax)"));
  }
  BucketBefore before;
  for (size_t i = 0; i < count && in.ok(); ++i) {
    parts.push_back(ReadPart(in, before));
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return parts;
}

size_t BytesOf(const RangeRow& row) {
  size_t bytes = row.object.bucket.size() + row.object.key.size() +
                 row.path.bytes().size() + 12;
  for (const auto& [dot, payload] : row.leaf.entries()) {
    bytes += crdt::kDotBytesMax + crdt::PayloadBytesMax(payload);
  }
  return bytes;
}

size_t BytesOf(const RangeAsk& ask) {
  size_t bytes = 16;
  if (const auto* cuts = std::get_if<AskCuts>(&ask)) {
    for (const std::string& end : cuts->ends) bytes += 4 + end.size();
  } else if (const auto* rows = std::get_if<AskRows>(&ask)) {
    bytes += rows->range.begin.size() + rows->range.end.size();
  }
  return bytes +
         std::visit(
             [](const auto& a) { return a.print_bytes * a.prints.size(); },
             ask);
}

size_t BytesOf(const RangePart& part) {
  size_t bytes = 16 + 2 * part.differ.size() + part.rest.size();
  for (const RangeRow& row : part.rows) bytes += BytesOf(row);
  return bytes;
}

}  // namespace dovetail::replica
