// The hashes that are fixed for ever, because placement and digests of every
// node must agree on them: XXH3-128, seed 0.
#ifndef DOVETAIL_REPLICA_HASH_H_
#define DOVETAIL_REPLICA_HASH_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "replica/ids.h"

namespace dovetail::replica {

Hash128 HashBytes(absl::string_view bytes);

// The hash that places (bucket, key): over the length-prefixed bucket and the
// key, or, where the key has a non-empty part between its first '{' and the
// next '}', over the bucket and that part alone, so that users can put keys
// together in one partition for a batch.
Hash128 HashKey(absl::string_view bucket, absl::string_view key);

// The top log2(partitions) bits. Requires: `partitions` is a power of two.
PartitionId PartitionOfHash(const Hash128& hash, uint32_t partitions);
PartitionId PartitionOf(absl::string_view bucket, absl::string_view key,
                        uint32_t partitions);

// Whom a name means: the high half of the hash of the length-prefixed names of
// the cluster and of the node, or the low one in place of a 0, or else 1.
NodeId NodeIdOf(absl::string_view cluster, absl::string_view node);

// Addition and subtraction modulo 2^128. Sums, not XOR: equal hashes must not
// cancel.
Hash128 Add(const Hash128& a, const Hash128& b);
Hash128 Subtract(const Hash128& a, const Hash128& b);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_HASH_H_
