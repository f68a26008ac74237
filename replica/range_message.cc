#include "replica/range_message.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/limits.h"
#include "replica/hash.h"
#include "replica/key_ranges.h"

// asks   = version, count:varint, ask...
// ask    = 0, first:varint, end:varint, prints          AskLeaves
//        | 1, begin:bytes, prints, end:bytes...         AskCuts
//        | 2, begin:bytes, end:bytes, prints            AskRows
// prints = count:varint, fixed64...
// parts  = version, count:varint, part...
// part   = differ, count:varint, row..., rest:bytes
// differ = count:varint, step:varint...                 from -1, ascending
// row    = bucket:bytes, key:bytes, type:8, path:bytes, leaf
namespace dovetail::replica {
namespace {

constexpr uint8_t kLeaves = 0;
constexpr uint8_t kCuts = 1;
constexpr uint8_t kRows = 2;

void AppendPrints(crdt::Writer& out, const std::vector<uint64_t>& prints) {
  out.Varint(prints.size());
  for (const uint64_t print : prints) out.Fixed64(print);
}

std::vector<uint64_t> ReadPrints(crdt::Reader& in, size_t& budget) {
  std::vector<uint64_t> prints;
  const size_t count = in.Count(8);
  if (!in.ok()) return prints;
  if (count > budget) {
    in.Fail(absl::StrCat("more than ", kRangePrintsMax,
                         " prints (kRangePrintsMax)"));
    return prints;
  }
  budget -= count;
  prints.reserve(count);
  for (size_t i = 0; i < count; ++i) prints.push_back(in.Fixed64());
  return prints;
}

AskLeaves ReadLeaves(crdt::Reader& in, size_t& budget) {
  AskLeaves ask;
  const uint64_t first = in.Varint();
  const uint64_t end = in.Varint();
  ask.prints = ReadPrints(in, budget);
  if (!in.ok()) return ask;
  if (first >= end || end > kLeavesPerPartition || ask.prints.empty() ||
      (end - first) % ask.prints.size() != 0) {
    in.Fail("digest leaves that cannot be");
    return ask;
  }
  ask.leaves = {static_cast<uint32_t>(first), static_cast<uint32_t>(end)};
  return ask;
}

AskCuts ReadCuts(crdt::Reader& in, size_t& budget) {
  AskCuts ask;
  ask.begin = std::string(in.Bytes(kRowKeyBytesMax));
  ask.prints = ReadPrints(in, budget);
  absl::string_view before = ask.begin;
  for (size_t i = 0; i < ask.prints.size() && in.ok(); ++i) {
    ask.ends.emplace_back(in.Bytes(kRowKeyBytesMax));
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

AskRows ReadRows(crdt::Reader& in, size_t& budget) {
  AskRows ask;
  ask.range.begin = std::string(in.Bytes(kRowKeyBytesMax));
  ask.range.end = std::string(in.Bytes(kRowKeyBytesMax));
  ask.prints = ReadPrints(in, budget);
  if (in.ok() && !BeforeEnd(ask.range.begin, ask.range.end)) {
    in.Fail("a range of keys that is empty");
  }
  return ask;
}

void AppendRow(crdt::Writer& out, const RangeRow& row) {
  out.Bytes(row.object.bucket);
  out.Bytes(row.object.key);
  out.Byte(static_cast<uint8_t>(row.object.type));
  out.Bytes(row.path.bytes());
  crdt::AppendLeaf(out, crdt::LeafTypeOf(row.object.type, row.path.bytes()),
                   row.leaf);
}

RangeRow ReadRow(crdt::Reader& in) {
  RangeRow row;
  row.object.bucket = std::string(in.Bytes(crdt::kBucketBytesMax));
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

RangePart ReadPart(crdt::Reader& in) {
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
    part.rows.push_back(ReadRow(in));
  }
  part.rest = std::string(in.Bytes(kRowKeyBytesMax));
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
  for (const RangeAsk& ask : asks) {
    if (const auto* leaves = std::get_if<AskLeaves>(&ask)) {
      out.Byte(kLeaves);
      out.Varint(leaves->leaves.first);
      out.Varint(leaves->leaves.end);
      AppendPrints(out, leaves->prints);
    } else if (const auto* cuts = std::get_if<AskCuts>(&ask)) {
      out.Byte(kCuts);
      out.Bytes(cuts->begin);
      AppendPrints(out, cuts->prints);
      for (const std::string& end : cuts->ends) out.Bytes(end);
    } else {
      const auto& rows = std::get<AskRows>(ask);
      out.Byte(kRows);
      out.Bytes(rows.range.begin);
      out.Bytes(rows.range.end);
      AppendPrints(out, rows.prints);
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
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const uint8_t kind = in.Byte();
    if (kind == kLeaves) {
      asks.push_back(ReadLeaves(in, budget));
    } else if (kind == kCuts) {
      asks.push_back(ReadCuts(in, budget));
    } else if (kind == kRows) {
      asks.push_back(ReadRows(in, budget));
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
  for (const RangePart& part : parts) {
    out.Varint(part.differ.size());
    uint32_t next = 0;  // one past the last
    for (const uint32_t place : part.differ) {
      out.Varint(place + 1 - next);
      next = place + 1;
    }
    out.Varint(part.rows.size());
    for (const RangeRow& row : part.rows) AppendRow(out, row);
    out.Bytes(part.rest);
  }
  return bytes;
}

absl::StatusOr<std::vector<RangePart>> DecodeRangeParts(
    absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  std::vector<RangePart> parts;
  const size_t count = in.Count(3);
  if (count > kRangePartsMax) {
    in.Fail(
        absl::StrCat("more than ", kRangePartsMax, " parts (kRangePartsMax)"));
  }
  for (size_t i = 0; i < count && in.ok(); ++i) parts.push_back(ReadPart(in));
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
         8 * std::visit([](const auto& a) { return a.prints.size(); }, ask);
}

size_t BytesOf(const RangePart& part) {
  size_t bytes = 8 + 2 * part.differ.size() + part.rest.size();
  for (const RangeRow& row : part.rows) bytes += BytesOf(row);
  return bytes;
}

}  // namespace dovetail::replica
