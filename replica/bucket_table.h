// The properties of all buckets, as a value that gossip spreads with the
// cluster's configuration: what does a cluster agree on that never votes?
//
// An observed-remove map, as all data here: a record has a stamp, `seen` covers
// every stamp that was ever heard of, and a record that one side holds and the
// other has seen but does not hold was replaced or deleted: it stays so,
// without tombstones. A change replaces the records that its node knew by one
// with all their properties, so changes made at once leave several; of these
// each property has the value that was written last. So
//   - two changes of different properties both hold,
//   - of two of the same property the later one does,
//   - a change that a deletion did not know of keeps the bucket's properties.
//
// Later is: by the clock of the node it was made at, but never before anything
// that node had heard of; at the same time, the greater node.
#ifndef DOVETAIL_REPLICA_BUCKET_TABLE_H_
#define DOVETAIL_REPLICA_BUCKET_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "crdt/codec.h"
#include "replica/bucket_properties.h"
#include "replica/ids.h"
#include "replica/stamp.h"

namespace dovetail::replica {

// Buckets with properties.
inline constexpr size_t kBucketsMax = 1024;
// With what was made apart at the same time: two halves of a cluster, each of
// which filled it up.
inline constexpr size_t kBucketRecordsMax = 2 * kBucketsMax;
// Nodes at which properties were ever changed.
inline constexpr size_t kBucketNodesMax = kMembersMax;

struct BucketInfo {
  BucketSettings settings;  // those that are not 0
  Stamp changed;            // the last change
};

class BucketTable {
 public:
  struct Register {
    uint64_t value = 0;
    Stamp written;
    friend bool operator==(const Register&, const Register&) = default;
  };
  using Record = std::map<BucketProperty, Register>;
  using Key = std::pair<std::string, Stamp>;  // bucket first
  using Records = std::map<Key, Record>;

  // At `node`, whose clock says `wall_ms`; 0 takes a property back. Errors, and
  // nothing has changed: InvalidArgument (no name that a bucket may have, a
  // value that no property has), FailedPrecondition (it has properties already,
  // has none), ResourceExhausted (kBucketsMax, kBucketNodesMax, kCounterMax).
  absl::Status Create(NodeId node, uint64_t wall_ms, const std::string& bucket,
                      const BucketSettings& settings);
  absl::Status Update(NodeId node, uint64_t wall_ms, const std::string& bucket,
                      const BucketSettings& settings);
  absl::Status Delete(const std::string& bucket);
  // Records beyond kBucketRecordsMax then count as deleted, the last names
  // first; returns how many. What comes from nodes beyond kBucketNodesMax
  // counts as not heard.
  size_t Merge(const BucketTable& theirs);

  bool Has(const std::string& bucket) const;
  std::map<std::string, BucketInfo> All() const;
  size_t size() const;  // buckets
  // Nothing was ever in it.
  bool unused() const { return seen_.empty(); }
  const Records& records() const { return records_; }

  friend bool operator==(const BucketTable&, const BucketTable&) = default;

 private:
  friend void AppendBuckets(crdt::Writer& out, const BucketTable& table);
  friend BucketTable ReadBuckets(crdt::Reader& in);
  bool Seen(const Stamp& stamp) const;
  absl::Status Put(NodeId node, uint64_t wall_ms, const std::string& bucket,
                   const BucketSettings& settings);
  // What the records of `bucket` say together.
  Record Joined(const std::string& bucket) const;
  void Erase(const std::string& bucket);

  Records records_;
  // By node, the last counter it stamped with.
  std::map<NodeId, uint64_t> seen_;
};

// docs/formats.md, "Cluster configuration".
void AppendBuckets(crdt::Writer& out, const BucketTable& table);
BucketTable ReadBuckets(crdt::Reader& in);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_BUCKET_TABLE_H_
