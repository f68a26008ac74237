#include "net/bucket_admin.h"

#include <map>
#include <utility>
#include <variant>

#include "crdt/check.h"

namespace dovetail::net {
namespace {

using replica::BucketChange;
using replica::BucketInfo;

BucketView ViewOf(const std::string& bucket, const BucketInfo& info) {
  return {bucket, true, info.settings, info.changed.counter, info.changed.node};
}

BucketPage PageOfOne(const replica::Cluster& cluster,
                     const std::string& bucket) {
  BucketPage page;
  const auto all = cluster.config().buckets.All();
  const auto found = all.find(bucket);
  if (found != all.end()) page.buckets.push_back(ViewOf(bucket, found->second));
  return page;
}

}  // namespace

BucketPage PageOfBuckets(const replica::Cluster& cluster,
                         const ListBuckets& request,
                         const std::vector<std::string>& in_use) {
  std::map<std::string, BucketView> views;
  for (const std::string& bucket : in_use) views[bucket].bucket = bucket;
  for (const auto& [bucket, info] : cluster.config().buckets.All()) {
    views[bucket] = ViewOf(bucket, info);
  }
  BucketPage page;
  auto at = request.after ? views.upper_bound(*request.after) : views.begin();
  // Names in use that are beyond a full page of them are not known here.
  const bool cut = in_use.size() >= kBucketsPerPage;
  for (; at != views.end(); ++at) {
    if (page.buckets.size() >= kBucketsPerPage ||
        (cut && at->first > in_use.back())) {
      break;
    }
    page.buckets.push_back(std::move(at->second));
  }
  page.more = cut || at != views.end();
  return page;
}

absl::StatusOr<BucketPage> RunBucketRequest(replica::Cluster& cluster,
                                            const BucketRequest& request,
                                            uint64_t wall_ms,
                                            absl::Duration now) {
  DOVETAIL_CHECK(!std::holds_alternative<ListBuckets>(request));
  if (const auto* describe = std::get_if<DescribeBucket>(&request)) {
    return PageOfOne(cluster, describe->bucket);
  }
  BucketChange change{BucketChange::Kind::kDelete, {}, {}};
  if (const auto* gone = std::get_if<DeleteBucket>(&request)) {
    change.bucket = gone->bucket;
  } else {
    change = std::get<BucketChange>(request);
  }
  DOVETAIL_RETURN_IF_ERROR(cluster.ChangeBucket(change, wall_ms, now));
  return PageOfOne(cluster, change.bucket);
}

}  // namespace dovetail::net
