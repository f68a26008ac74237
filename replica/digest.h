// The digest of a partition: do two replicas hold the same, without looking.
//
// Each live (object, path, dot, payload) contributes its 128-bit hash to the
// sum of its digest leaf; a partition has 4096 leaves, the 12 bits of the key
// hash behind those that name the partition. A write adds what is new and
// subtracts what is gone, so a digest costs O(change) and is never computed by
// scanning. Sums and not XOR: two equal hashes must not cancel.
//
// On disk the sums stand in 64 blocks of 64, written at checkpoints. Between
// two checkpoints each log entry carries its own change of the sums and its
// place in the order of application, so that after a crash
//
//   sums = checkpoint + changes of the entries applied after it
//
// exactly, without reading a row.
#ifndef DOVETAIL_REPLICA_DIGEST_H_
#define DOVETAIL_REPLICA_DIGEST_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "crdt/codec.h"
#include "crdt/leaf.h"
#include "crdt/type.h"
#include "replica/ids.h"

namespace dovetail::replica {

inline constexpr uint32_t kDigestBlocks = 64;
inline constexpr uint32_t kSumsPerBlock = 64;
inline constexpr uint32_t kDigestLeaves = kDigestBlocks * kSumsPerBlock;

// The sum of some hashes and how many they are.
struct LeafSum {
  Hash128 sum;
  int64_t count = 0;
  void Merge(const LeafSum& change);
  bool zero() const { return sum == Hash128{} && count == 0; }
  friend bool operator==(const LeafSum&, const LeafSum&) = default;
};

// Changes of a few sums, by digest leaf, in order.
using SumChanges = std::map<uint16_t, LeafSum>;

// What replacing `before` by `after` does to a sum.
// `object_prefix` is MakeObjectKey(object).prefix.
LeafSum ChangeOfLeaf(absl::string_view object_prefix, const crdt::Path& path,
                     const crdt::Leaf& before, const crdt::Leaf& after);
void AddChange(uint16_t digest_leaf, const LeafSum& change,
               SumChanges& changes);

// Adds to `changes` what replacing `before` by `after` does to the sums.
void AddLeafChange(absl::string_view object_prefix, uint16_t digest_leaf,
                   const crdt::Path& path, const crdt::Leaf& before,
                   const crdt::Leaf& after, SumChanges& changes);

// The digest leaf of a key hash in a partition of `partitions`.
uint16_t DigestLeafOf(uint64_t hash_high, uint32_t partitions);

void AppendSum(crdt::Writer& out, const LeafSum& sum);
LeafSum ReadSum(crdt::Reader& in);
void AppendSumChanges(crdt::Writer& out, const SumChanges& changes);
SumChanges ReadSumChanges(crdt::Reader& in);

class DigestSums {
 public:
  void Apply(const SumChanges& changes);

  const LeafSum& total() const { return total_; }
  // The sum of one digest leaf.
  LeafSum leaf(uint16_t index) const;

  // Visits each block that changed since the last ClearDirty, with its bytes.
  template <class Visit>
  void ForEachDirtyBlock(Visit visit) const {
    for (uint32_t block = 0; block < kDigestBlocks; ++block) {
      if (dirty_[block]) {
        visit(static_cast<uint8_t>(block), EncodeBlock(block));
      }
    }
  }
  void ClearDirty() { dirty_.fill(false); }
  absl::Status LoadBlock(uint8_t block, absl::string_view bytes);

  friend bool operator==(const DigestSums& a, const DigestSums& b);

 private:
  using Block = std::array<LeafSum, kSumsPerBlock>;
  std::string EncodeBlock(uint32_t block) const;

  // A block without a write yet is null: small partitions stay small.
  std::array<std::unique_ptr<Block>, kDigestBlocks> blocks_;
  std::array<bool, kDigestBlocks> dirty_{};
  LeafSum total_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_DIGEST_H_
