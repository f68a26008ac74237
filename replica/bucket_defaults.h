// Where what a request leaves unsaid is filled in from its bucket: at the node
// that was asked, before anything else, so that whoever coordinates it is told.
#ifndef DOVETAIL_REPLICA_BUCKET_DEFAULTS_H_
#define DOVETAIL_REPLICA_BUCKET_DEFAULTS_H_

#include "absl/status/status.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

// What the request says wins. A batch over several buckets has one quorum, the
// strictest that any of them asks for: the W with the most replicas, strict
// rather than sloppy, fsync rather than wal, the shortest deadline. A bucket
// that says nothing asks for the node's defaults.
//
// ResourceExhausted: a value or element is over its bucket's value_bytes_max.
absl::Status ApplyBucketDefaults(const ShardCore& core, ClientRequest& request);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_BUCKET_DEFAULTS_H_
