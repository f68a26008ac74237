// What clients see and change of the properties of buckets, on the node strand.
#ifndef DOVETAIL_NET_BUCKET_ADMIN_H_
#define DOVETAIL_NET_BUCKET_ADMIN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/client_types.h"
#include "replica/cluster.h"

namespace dovetail::net {

// Buckets of one page of a list.
inline constexpr size_t kBucketsPerPage = 1000;

// One page of those with properties, and of `in_use`: names after
// `request.after` in order, the first kBucketsPerPage of them if they are more.
BucketPage PageOfBuckets(const replica::Cluster& cluster,
                         const ListBuckets& request,
                         const std::vector<std::string>& in_use);

// Shows or changes. Requires: not a list. Errors: of Cluster::ChangeBucket.
absl::StatusOr<BucketPage> RunBucketRequest(replica::Cluster& cluster,
                                            const BucketRequest& request,
                                            uint64_t wall_ms,
                                            absl::Duration now);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_BUCKET_ADMIN_H_
