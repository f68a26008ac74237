#include "replica/digest.h"

#include <bit>
#include <utility>

#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

// Signed counts as unsigned varints: 0, -1, 1, -2 … become 0, 1, 2, 3 …
uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^
         static_cast<uint64_t>(value >> 63);
}
int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

}  // namespace

void AppendSum(crdt::Writer& out, const LeafSum& sum) {
  out.Fixed64(sum.sum.high);
  out.Fixed64(sum.sum.low);
  out.Varint(ZigZag(sum.count));
}

LeafSum ReadSum(crdt::Reader& in) {
  LeafSum sum;
  sum.sum.high = in.Fixed64();
  sum.sum.low = in.Fixed64();
  sum.count = UnZigZag(in.Varint());
  return sum;
}

void LeafSum::Merge(const LeafSum& change) {
  sum = DOVETAIL_MUTANT("digest: exclusive or for a sum")
            ? Hash128{sum.high ^ change.sum.high, sum.low ^ change.sum.low}
            : Add(sum, change.sum);
  count += change.count;
}

LeafSum ChangeOfLeaf(absl::string_view object_prefix, const crdt::Path& path,
                     const crdt::Leaf& before, const crdt::Leaf& after) {
  std::string input;
  auto hash = [&](const crdt::Leaf::Entry& entry) {
    input.clear();
    crdt::Writer out(&input);
    out.Bytes(object_prefix);
    out.Bytes(path.bytes());
    out.Fixed64(crdt::ActorBits(entry.first.actor));
    out.Varint(entry.first.counter);
    crdt::AppendPayload(out, entry.second);
    return HashBytes(input);
  };
  LeafSum change;
  for (const crdt::Leaf::Entry& entry : before.entries()) {
    const crdt::Payload* kept = after.Find(entry.first);
    if (kept != nullptr &&
        (*kept == entry.second ||
         DOVETAIL_MUTANT("digest: a changed payload is left out"))) {
      continue;
    }
    change.sum = Subtract(change.sum, hash(entry));
    --change.count;
  }
  for (const crdt::Leaf::Entry& entry : after.entries()) {
    const crdt::Payload* was = before.Find(entry.first);
    if (was != nullptr &&
        (*was == entry.second ||
         DOVETAIL_MUTANT("digest: a changed payload is left out"))) {
      continue;
    }
    change.sum = Add(change.sum, hash(entry));
    ++change.count;
  }
  return change;
}

void AddLeafChange(absl::string_view object_prefix, uint16_t digest_leaf,
                   const crdt::Path& path, const crdt::Leaf& before,
                   const crdt::Leaf& after, SumChanges& changes) {
  AddChange(digest_leaf, ChangeOfLeaf(object_prefix, path, before, after),
            changes);
}

void AddChange(uint16_t digest_leaf, const LeafSum& change,
               SumChanges& changes) {
  if (change.zero()) return;
  LeafSum& total = changes[digest_leaf];
  total.Merge(change);
  if (total.zero()) changes.erase(digest_leaf);
}

uint16_t DigestLeafOf(uint64_t hash_high, uint32_t partitions) {
  const int bits = std::countr_zero(partitions);
  return static_cast<uint16_t>((hash_high << bits) >> 52);
}

void AppendSumChanges(crdt::Writer& out, const SumChanges& changes) {
  out.Varint(changes.size());
  for (const auto& [index, change] : changes) {
    out.Varint(index);
    AppendSum(out, change);
  }
}

SumChanges ReadSumChanges(crdt::Reader& in) {
  SumChanges changes;
  const size_t count = in.Count(18);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    const uint64_t index = in.Varint();
    const LeafSum change = ReadSum(in);
    if (index >= kDigestLeaves ||
        (!changes.empty() && index <= changes.rbegin()->first)) {
      in.Fail("digest leaf out of range or order");
      return changes;
    }
    changes.emplace_hint(changes.end(), static_cast<uint16_t>(index), change);
  }
  return changes;
}

void DigestSums::Apply(const SumChanges& changes) {
  for (const auto& [index, change] : changes) {
    const uint32_t block = index / kSumsPerBlock;
    if (blocks_[block] == nullptr) blocks_[block] = std::make_unique<Block>();
    (*blocks_[block])[index % kSumsPerBlock].Merge(change);
    dirty_[block] = true;
    total_.Merge(change);
  }
}

LeafSum DigestSums::leaf(uint16_t index) const {
  DOVETAIL_CHECK(index < kDigestLeaves);
  const auto& block = blocks_[index / kSumsPerBlock];
  return block == nullptr ? LeafSum{} : (*block)[index % kSumsPerBlock];
}

std::string DigestSums::EncodeBlock(uint32_t block) const {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  for (const LeafSum& sum : *blocks_[block]) AppendSum(out, sum);
  return bytes;
}

absl::Status DigestSums::LoadBlock(uint8_t block, absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  auto loaded = std::make_unique<Block>();
  for (LeafSum& sum : *loaded) {
    sum = ReadSum(in);
    total_.Merge(sum);
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  if (block >= kDigestBlocks || blocks_[block] != nullptr) {
    return absl::InvalidArgumentError("digest block out of range or twice");
  }
  blocks_[block] = std::move(loaded);
  return absl::OkStatus();
}

bool operator==(const DigestSums& a, const DigestSums& b) {
  if (!(a.total_ == b.total_)) return false;
  for (uint32_t i = 0; i < kDigestLeaves; ++i) {
    const auto index = static_cast<uint16_t>(i);
    if (!(a.leaf(index) == b.leaf(index))) return false;
  }
  return true;
}

}  // namespace dovetail::replica
