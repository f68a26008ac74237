#include "replica/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <string>

#include "absl/container/inlined_vector.h"
#include "crdt/check.h"
#include "crdt/codec.h"

namespace dovetail::replica {

Hash128 HashBytes(absl::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

Hash128 HashKey(absl::string_view bucket, absl::string_view key) {
  absl::string_view placed = key;
  const size_t open = key.find('{');
  if (open != absl::string_view::npos) {
    const size_t close = key.find('}', open + 1);
    if (close != absl::string_view::npos && close > open + 1) {
      placed = key.substr(open + 1, close - open - 1);
    }
  }
  absl::InlinedVector<char, 256> input;
  const auto size = static_cast<uint32_t>(bucket.size());
  for (int shift = 24; shift >= 0; shift -= 8) {
    input.push_back(static_cast<char>(size >> shift));
  }
  input.insert(input.end(), bucket.begin(), bucket.end());
  input.insert(input.end(), placed.begin(), placed.end());
  return HashBytes(absl::string_view(input.data(), input.size()));
}

NodeId NodeIdOf(absl::string_view cluster, absl::string_view node) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Bytes(cluster);
  out.Bytes(node);
  const Hash128 hash = HashBytes(bytes);
  if (hash.high != 0) return NodeId{hash.high};
  return NodeId{hash.low != 0 ? hash.low : 1};
}

PartitionId PartitionOfHash(const Hash128& hash, uint32_t partitions) {
  DOVETAIL_CHECK(std::has_single_bit(partitions));
  const int bits = std::countr_zero(partitions);
  return PartitionId{
      static_cast<uint16_t>(bits == 0 ? 0 : hash.high >> (64 - bits))};
}

PartitionId PartitionOf(absl::string_view bucket, absl::string_view key,
                        uint32_t partitions) {
  return PartitionOfHash(HashKey(bucket, key), partitions);
}

Hash128 Add(const Hash128& a, const Hash128& b) {
  const uint64_t low = a.low + b.low;
  return {a.high + b.high + (low < a.low ? 1 : 0), low};
}

Hash128 Subtract(const Hash128& a, const Hash128& b) {
  return {a.high - b.high - (a.low < b.low ? 1 : 0), a.low - b.low};
}

}  // namespace dovetail::replica
