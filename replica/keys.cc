#include "replica/keys.h"

#include <bit>
#include <utility>

#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

constexpr int kHashBytes = kRowKeyBytesMin;
constexpr char kHeaderMark = 0;
constexpr char kLeafMark = 1;

std::string PartitionMetaKey(PartitionId partition, char what) {
  std::string key = "p";
  AppendBigEndian(key, Index(partition), 2);
  key.push_back(what);
  return key;
}

// bucket, key and type, as they stand in row and index keys.
void AppendIdentity(std::string& out, const crdt::ObjectId& object) {
  crdt::AppendEscaped(out, object.bucket);
  crdt::AppendEscaped(out, object.key);
  out.push_back(static_cast<char>(object.type));
}

std::optional<crdt::ObjectId> ConsumeIdentity(absl::string_view& in) {
  std::optional<std::string> bucket = crdt::ConsumeEscaped(in);
  if (!bucket) return std::nullopt;
  std::optional<std::string> key = crdt::ConsumeEscaped(in);
  if (!key || in.empty()) return std::nullopt;
  std::optional<crdt::Type> type =
      crdt::TypeFromByte(static_cast<uint8_t>(in.front()));
  if (!type) return std::nullopt;
  in.remove_prefix(1);
  return crdt::ObjectId{*std::move(bucket), *std::move(key), *type};
}

}  // namespace

void AppendBigEndian(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

uint64_t ReadBigEndian(absl::string_view bytes) {
  DOVETAIL_CHECK(bytes.size() <= 8);
  uint64_t value = 0;
  for (char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

std::string RangeEnd(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty()) {
    if (static_cast<uint8_t>(end.back()) != 0xFF) {
      end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
      return end;
    }
    end.pop_back();
  }
  return end;
}

std::string ObjectKey::HeaderKey() const { return prefix + kHeaderMark; }

std::string ObjectKey::LeafKey(const crdt::Path& path) const {
  std::string key;
  key.reserve(prefix.size() + 1 + path.bytes().size());
  key += prefix;
  key.push_back(kLeafMark);
  key += path.bytes();
  return key;
}

ObjectKey MakeObjectKey(const crdt::ObjectId& object) {
  ObjectKey key;
  key.hash_high = HashKey(object.bucket, object.key).high;
  key.prefix.reserve(kHashBytes + object.bucket.size() + object.key.size() + 8);
  AppendBigEndian(key.prefix, key.hash_high >> 16, kHashBytes);
  AppendIdentity(key.prefix, object);
  return key;
}

absl::StatusOr<ParsedRowKey> ParseRowKey(absl::string_view key) {
  const absl::Status malformed =
      absl::DataLossError("a row key on disk is malformed");
  if (key.size() < kHashBytes) return malformed;
  key.remove_prefix(kHashBytes);
  std::optional<crdt::ObjectId> object = ConsumeIdentity(key);
  if (!object || key.empty()) return malformed;
  const char mark = key.front();
  key.remove_prefix(1);
  ParsedRowKey parsed;
  parsed.object = *std::move(object);
  parsed.header = mark == kHeaderMark;
  if (mark != kHeaderMark && mark != kLeafMark) return malformed;
  if (parsed.header && !key.empty()) return malformed;
  parsed.path = crdt::Path::FromTrustedBytes(std::string(key));
  return parsed;
}

bool IsMiddleOfObject(absl::string_view key) { return key.size() > kHashBytes; }

KeyRange RowsOfPartition(PartitionId partition, uint32_t partitions) {
  const int bits = std::countr_zero(partitions);
  KeyRange range;
  if (bits == 0) return range;
  const uint64_t first = static_cast<uint64_t>(Index(partition)) << (48 - bits);
  AppendBigEndian(range.begin, first, kHashBytes);
  if (Index(partition) + 1u < partitions) {
    const uint64_t next = (static_cast<uint64_t>(Index(partition)) + 1)
                          << (48 - bits);
    AppendBigEndian(range.end, next, kHashBytes);
  }
  return range;
}

namespace {

// Where a digest leaf in the middle of a partition starts.
std::string LeafStart(PartitionId partition, uint32_t partitions,
                      uint32_t leaf) {
  const int bits = std::countr_zero(partitions);
  std::string key;
  AppendBigEndian(
      key,
      (static_cast<uint64_t>(Index(partition)) * kLeavesPerPartition + leaf)
          << (48 - bits - kLeafBits),
      kHashBytes);
  return key;
}

}  // namespace

KeyRange RowsOfLeaves(PartitionId partition, uint32_t partitions,
                      uint32_t first, uint32_t end) {
  DOVETAIL_CHECK(first < end && end <= kLeavesPerPartition);
  KeyRange range = RowsOfPartition(partition, partitions);
  if (first > 0) range.begin = LeafStart(partition, partitions, first);
  if (end < kLeavesPerPartition) {
    range.end = LeafStart(partition, partitions, end);
  }
  return range;
}

std::optional<LeafSpan> LeavesOf(const KeyRange& range, PartitionId partition,
                                 uint32_t partitions) {
  const auto leaf_at = [&](const std::string& key) -> std::optional<uint32_t> {
    if (key.size() != kHashBytes) return std::nullopt;
    const int below = 48 - std::countr_zero(partitions) - kLeafBits;
    const uint64_t hash = ReadBigEndian(key);
    if ((hash & ((uint64_t{1} << below) - 1)) != 0) return std::nullopt;
    const uint64_t first =
        static_cast<uint64_t>(Index(partition)) * kLeavesPerPartition;
    if ((hash >> below) < first ||
        (hash >> below) > first + kLeavesPerPartition) {
      return std::nullopt;
    }
    return static_cast<uint32_t>((hash >> below) - first);
  };
  const KeyRange all = RowsOfPartition(partition, partitions);
  const auto first = range.begin == all.begin ? 0 : leaf_at(range.begin);
  const auto end =
      range.end == all.end ? kLeavesPerPartition : leaf_at(range.end);
  if (!first || !end || *first >= *end) return std::nullopt;
  return LeafSpan{*first, *end};
}

uint32_t LeafOfRowKey(absl::string_view key, uint32_t partitions) {
  DOVETAIL_CHECK(key.size() >= kHashBytes);
  const int below = 48 - std::countr_zero(partitions) - kLeafBits;
  return static_cast<uint32_t>(
      (ReadBigEndian(key.substr(0, kHashBytes)) >> below) %
      kLeavesPerPartition);
}

bool MayLieBetween(Family family, absl::string_view first,
                   absl::string_view last, PartitionId partition,
                   uint32_t partitions) {
  KeyRange range;
  if (family == Family::kRows) {
    range = RowsOfPartition(partition, partitions);
  } else if (family == Family::kLog) {
    range.begin = LogPrefix(partition);
    range.end = RangeEnd(range.begin);
  }
  return last >= range.begin && (range.end.empty() || first < range.end);
}

std::string LogPrefix(PartitionId partition) {
  std::string key;
  AppendBigEndian(key, Index(partition), 2);
  return key;
}

std::string LogKey(PartitionId partition, crdt::Dot first) {
  std::string key;
  key.reserve(18);
  AppendBigEndian(key, Index(partition), 2);
  AppendBigEndian(key, crdt::ActorBits(first.actor), 8);
  AppendBigEndian(key, first.counter, 8);
  return key;
}

absl::StatusOr<crdt::Dot> ParseLogKey(absl::string_view key) {
  if (key.size() != 18) return absl::DataLossError("a log key is malformed");
  return crdt::Dot{crdt::ActorId{ReadBigEndian(key.substr(2, 8))},
                   ReadBigEndian(key.substr(10, 8))};
}

std::string CheckpointKey(PartitionId partition) {
  return PartitionMetaKey(partition, 'C');
}

std::string SumsKey(PartitionId partition, uint8_t block) {
  std::string key = PartitionMetaKey(partition, 'S');
  key.push_back(static_cast<char>(block));
  return key;
}

std::string SupersededKey(PartitionId partition) {
  return PartitionMetaKey(partition, 'X');
}

std::string EmptyingKey(PartitionId partition) {
  return PartitionMetaKey(partition, 'D');
}

std::string RangesKey(PartitionId partition) {
  return PartitionMetaKey(partition, 'R');
}

std::string TenureKey(PartitionId partition) {
  return PartitionMetaKey(partition, 'O');
}

std::string SuspectKey(PartitionId partition) {
  return PartitionMetaKey(partition, 'T');
}

std::string PiecesPrefix(PartitionId partition) {
  return PartitionMetaKey(partition, 'P');
}

std::string PieceKey(PartitionId partition, uint32_t leaf,
                     absl::string_view begin) {
  std::string key = PiecesPrefix(partition);
  key.reserve(key.size() + 2 + begin.size());
  AppendBigEndian(key, leaf, 2);
  key.append(begin.data(), begin.size());
  return key;
}

absl::StatusOr<ParsedPieceKey> ParsePieceKey(absl::string_view key) {
  constexpr size_t kPrefixBytes = 4;
  ParsedPieceKey parsed;
  if (key.size() >= kPrefixBytes + 2) {
    parsed.leaf =
        static_cast<uint32_t>(ReadBigEndian(key.substr(kPrefixBytes, 2)));
    parsed.begin = std::string(key.substr(kPrefixBytes + 2));
  }
  if (key.size() < kPrefixBytes + 2 || parsed.leaf >= kLeavesPerPartition) {
    return absl::DataLossError("the key of a piece on disk is malformed");
  }
  return parsed;
}

std::string ExpiryPrefix(PartitionId partition) {
  return PartitionMetaKey(partition, 'E');
}

std::string ExpiryKey(PartitionId partition, uint64_t at_ms,
                      const crdt::ObjectId& object) {
  std::string key = ExpiryPrefix(partition);
  AppendBigEndian(key, at_ms, 8);
  AppendIdentity(key, object);
  return key;
}

absl::StatusOr<ParsedExpiryKey> ParseExpiryKey(absl::string_view key) {
  constexpr size_t kPrefixBytes = 4;
  if (key.size() < kPrefixBytes + 8) {
    return absl::DataLossError("an expiry key on disk is malformed");
  }
  ParsedExpiryKey parsed;
  parsed.at_ms = ReadBigEndian(key.substr(kPrefixBytes, 8));
  DOVETAIL_ASSIGN_OR_RETURN(parsed.object,
                            ParseIndexKey(key.substr(kPrefixBytes + 8)));
  return parsed;
}

KeyRange ExpiryRange(PartitionId partition, uint64_t until_ms) {
  KeyRange range{ExpiryPrefix(partition), ExpiryPrefix(partition)};
  AppendBigEndian(range.end, until_ms + 1, 8);
  return range;
}

std::string IndexValue(uint64_t expires_ms) {
  std::string value;
  if (expires_ms > 0) AppendBigEndian(value, expires_ms, 8);
  return value;
}

uint64_t ExpiresOfIndexValue(absl::string_view value) {
  return value.size() == 8 ? ReadBigEndian(value) : 0;
}

std::string ActorPrefix() { return "na"; }

std::string ActorKey(uint32_t ordinal) {
  std::string key = ActorPrefix();
  AppendBigEndian(key, ordinal, 4);
  return key;
}

std::string ClockPrefix() { return "nh"; }

std::string ClockKey(uint32_t shard) {
  std::string key = ClockPrefix();
  AppendBigEndian(key, shard, 4);
  return key;
}

std::string IndexKey(const crdt::ObjectId& object) {
  std::string key;
  key.reserve(object.bucket.size() + object.key.size() + 8);
  AppendIdentity(key, object);
  return key;
}

KeyRange IndexRange(absl::string_view bucket, absl::string_view prefix) {
  KeyRange range;
  crdt::AppendEscaped(range.begin, bucket);
  std::string escaped;
  crdt::AppendEscaped(escaped, prefix);
  escaped.resize(escaped.size() - 2);  // without the terminator: a prefix
  range.begin += escaped;
  range.end = RangeEnd(range.begin);
  return range;
}

absl::StatusOr<crdt::ObjectId> ParseIndexKey(absl::string_view key) {
  std::optional<crdt::ObjectId> object = ConsumeIdentity(key);
  if (!object || !key.empty()) {
    return absl::DataLossError("an index key on disk is malformed");
  }
  return *std::move(object);
}

}  // namespace dovetail::replica
