#include "replica/bucket_defaults.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "crdt/text.h"
#include "replica/hash.h"
#include "replica/replica_set.h"

namespace dovetail::replica {
namespace {

const BucketProperties& PropertiesIn(const ShardCore& core,
                                     const std::string& bucket) {
  static const BucketProperties none;
  const auto found = core.buckets->find(bucket);
  return found == core.buckets->end() ? none : found->second;
}

void Fill(const BucketProperties& bucket, RequestOptions& options) {
  if (options.read == Level{}) options.read = bucket.read;
  if (options.write == Level{}) options.write = bucket.write;
  if (options.quorums == Quorums::kDefault) options.quorums = bucket.quorums;
  if (!options.durability) options.durability = bucket.durability;
  if (options.timeout <= absl::ZeroDuration()) options.timeout = bucket.timeout;
}

absl::Status CheckSize(const BucketProperties& bucket,
                       const crdt::Operation& operation) {
  if (bucket.value_bytes_max == 0) return absl::OkStatus();
  size_t longest = operation.value.size();
  for (const std::string& element : operation.elements) {
    longest = std::max(longest, element.size());
  }
  // What is to go may be longer: it was added before there was the limit.
  if (operation.verb == crdt::Verb::kRemove ||
      longest <= bucket.value_bytes_max) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("a value of ", longest, " bytes: the limit of bucket ",
                   crdt::QuoteJson(operation.object.bucket), " is ",
                   bucket.value_bytes_max, " (its value_bytes_max)"));
}

// How many replicas a W wants of the partition. One that cannot be had wants
// the most, so that the request is told so.
uint32_t Wanted(const ShardCore& core, PartitionId partition,
                const Level& level) {
  const auto set = ReplicaSet::Resolve(core, partition, level,
                                       core.options.write_default, {}, "W");
  return set.ok() ? set->required() : std::numeric_limits<uint32_t>::max();
}

// What the buckets of a batch ask for together.
BucketProperties Strictest(const ShardCore& core, PartitionId partition,
                           const std::set<std::string>& buckets) {
  BucketProperties all;
  bool first = true;
  for (const std::string& name : buckets) {
    const BucketProperties& one = PropertiesIn(core, name);
    const auto rank = [&](const BucketProperties& bucket) {
      return std::make_pair(Wanted(core, partition, bucket.write),
                            bucket.write.kind);
    };
    const Quorums quorums = one.quorums == Quorums::kDefault
                                ? core.options.quorums_default
                                : one.quorums;
    if (first || rank(all) < rank(one)) all.write = one.write;
    if (first || quorums == Quorums::kStrict) all.quorums = quorums;
    if (one.durability == Durability::kFsync) all.durability = one.durability;
    if (one.timeout > absl::ZeroDuration() &&
        (all.timeout == absl::ZeroDuration() || one.timeout < all.timeout)) {
      all.timeout = one.timeout;
    }
    first = false;
  }
  return all;
}

absl::Status ApplyToWrite(const ShardCore& core, const WriteRequest& write,
                          RequestOptions& options) {
  std::set<std::string> buckets;
  for (const crdt::Operation& operation : write.operations) {
    const std::string& bucket = operation.object.bucket;
    DOVETAIL_RETURN_IF_ERROR(CheckSize(PropertiesIn(core, bucket), operation));
    buckets.insert(bucket);
  }
  if (buckets.size() == 1) {
    Fill(PropertiesIn(core, *buckets.begin()), options);
  } else if (buckets.size() > 1) {
    const crdt::ObjectId& object = write.operations.front().object;
    Fill(Strictest(core,
                   PartitionOf(object.bucket, object.key,
                               core.placement.partitions()),
                   buckets),
         options);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyBucketDefaults(const ShardCore& core,
                                 ClientRequest& request) {
  if (core.buckets->empty()) return absl::OkStatus();
  RequestOptions& options = request.options;
  if (const auto* write = std::get_if<WriteRequest>(&request.body)) {
    return ApplyToWrite(core, *write, options);
  }
  const auto* read = std::get_if<ReadRequest>(&request.body);
  Fill(PropertiesIn(core, read != nullptr
                              ? read->spec.object.bucket
                              : std::get<ListRequest>(request.body).bucket),
       options);
  return absl::OkStatus();
}

}  // namespace dovetail::replica
