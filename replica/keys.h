// The layout of keys on disk. Byte order is the order of iteration, so that an
// object is one contiguous range of rows, a digest leaf another, and a
// partition a third.
//
//   rows   hash:48 | esc(bucket) 00 01 | esc(key) 00 01 | type:8 | sub
//          sub = 00 (the object's header)  or  01 | path  (one leaf)
//   log    partition:16 | actor:64 | first:64
//   meta   'p' | partition:16 | 'C' checkpoint | 'S' block:8 sums | 'X' context
//          'D' being emptied  'R' progress of a sync by ranges  'O' tenure
//          'T' its rows may have gone with a table
//          'P' leaf:16 begin   a piece of a large digest leaf (pieces.h)
//          'E' at_ms:64 index   what expires, in order of time
//          'n' | 'a' | ordinal:32 actor        'n' | 'h' | shard:32 clock
//   index  esc(bucket) 00 01 | esc(key) 00 01 | type:8
//          value: nothing, or at_ms:64 when the object expires
//
// `hash` is the front of HashKey(bucket, key), big-endian: its top bits are the
// partition, the next 12 the digest leaf. All integers are big-endian.
#ifndef DOVETAIL_REPLICA_KEYS_H_
#define DOVETAIL_REPLICA_KEYS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/dot.h"
#include "crdt/path.h"
#include "crdt/type.h"
#include "replica/ids.h"
#include "replica/storage.h"

namespace dovetail::replica {

// Where an object's rows are; computed once per operation on it.
struct ObjectKey {
  std::string prefix;  // up to and including the type byte
  uint64_t hash_high = 0;

  std::string HeaderKey() const;
  std::string LeafKey(const crdt::Path& path) const;
  // All rows of the object lie in [prefix, RangeEnd(prefix)).
};
ObjectKey MakeObjectKey(const crdt::ObjectId& object);

// The smallest string greater than every string that starts with `prefix`;
// empty if there is none.
std::string RangeEnd(absl::string_view prefix);

// Takes a row key apart. DataLoss if it is none of ours.
struct ParsedRowKey {
  crdt::ObjectId object;
  bool header = false;
  crdt::Path path;  // of a leaf row
};
absl::StatusOr<ParsedRowKey> ParseRowKey(absl::string_view key);

// Whether a place among row keys is that of a row; else it is a boundary of
// digest leaves, or of all keys.
bool IsMiddleOfObject(absl::string_view key);

// The range of all rows of one partition.
struct KeyRange {
  std::string begin;
  std::string end;  // empty: to the end of the family
  friend bool operator==(const KeyRange&, const KeyRange&) = default;
};
KeyRange RowsOfPartition(PartitionId partition, uint32_t partitions);
// Whether keys of `family` that are about the partition may lie between two
// keys, both included. Keys of the index are about any.
bool MayLieBetween(Family family, absl::string_view first,
                   absl::string_view last, PartitionId partition,
                   uint32_t partitions);

// What row keys and boundaries of digest leaves begin with: the hash.
inline constexpr size_t kRowKeyBytesMin = 6;
// The longest key of a row: hash, bucket, key, type and path, escaped.
inline constexpr size_t kRowKeyBytesMax = 512 << 10;

// The digest leaves of a partition are ranges of row keys, too: those of
// [first, end), 0 <= first < end <= kLeavesPerPartition.
inline constexpr int kLeafBits = 12;
inline constexpr uint32_t kLeavesPerPartition = 1 << kLeafBits;
KeyRange RowsOfLeaves(PartitionId partition, uint32_t partitions,
                      uint32_t first, uint32_t end);
// Which digest leaves `range` consists of, if it consists of whole ones of the
// partition.
struct LeafSpan {
  uint32_t first = 0;
  uint32_t end = 0;
  friend bool operator==(const LeafSpan&, const LeafSpan&) = default;
};
std::optional<LeafSpan> LeavesOf(const KeyRange& range, PartitionId partition,
                                 uint32_t partitions);
// The digest leaf in which a row key lies.
uint32_t LeafOfRowKey(absl::string_view key, uint32_t partitions);

std::string LogKey(PartitionId partition, crdt::Dot first);
std::string LogPrefix(PartitionId partition);
// The first event of the entry. DataLoss if malformed.
absl::StatusOr<crdt::Dot> ParseLogKey(absl::string_view key);

std::string CheckpointKey(PartitionId partition);
std::string SumsKey(PartitionId partition, uint8_t block);
std::string SupersededKey(PartitionId partition);
std::string EmptyingKey(PartitionId partition);
std::string RangesKey(PartitionId partition);
std::string TenureKey(PartitionId partition);
std::string SuspectKey(PartitionId partition);
// A piece of a digest leaf, by the row key where it begins.
std::string PiecesPrefix(PartitionId partition);
std::string PieceKey(PartitionId partition, uint32_t leaf,
                     absl::string_view begin);
struct ParsedPieceKey {
  uint32_t leaf = 0;
  std::string begin;
};
absl::StatusOr<ParsedPieceKey> ParsePieceKey(absl::string_view key);
std::string ActorKey(uint32_t ordinal);
std::string ActorPrefix();
std::string ClockKey(uint32_t shard);
std::string ClockPrefix();

// What expires in a partition, by time: one entry for each object that has a
// time, none else.
std::string ExpiryPrefix(PartitionId partition);
std::string ExpiryKey(PartitionId partition, uint64_t at_ms,
                      const crdt::ObjectId& object);
struct ParsedExpiryKey {
  uint64_t at_ms = 0;
  crdt::ObjectId object;
};
absl::StatusOr<ParsedExpiryKey> ParseExpiryKey(absl::string_view key);
// The entries of `partition` whose time is at most `until_ms`.
KeyRange ExpiryRange(PartitionId partition, uint64_t until_ms);

// The value beside an index key: when the object expires, 0 for never.
std::string IndexValue(uint64_t expires_ms);
// What does not decode is 0: such an object is listed.
uint64_t ExpiresOfIndexValue(absl::string_view value);

std::string IndexKey(const crdt::ObjectId& object);
// The index keys of `bucket` whose key starts with `prefix`.
KeyRange IndexRange(absl::string_view bucket, absl::string_view prefix);
absl::StatusOr<crdt::ObjectId> ParseIndexKey(absl::string_view key);

void AppendBigEndian(std::string& out, uint64_t value, int bytes);
uint64_t ReadBigEndian(absl::string_view bytes);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_KEYS_H_
