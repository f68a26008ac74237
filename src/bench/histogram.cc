#include "src/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace dovetail::bench {

// Values below 2^kSubBits have a bucket each; every power of two above adds
// 2^kSubBits more.
Histogram::Histogram() : buckets_((64 - kSubBits + 1) << kSubBits) {}

size_t Histogram::BucketOf(uint64_t nanoseconds) {
  const auto width = static_cast<unsigned>(std::bit_width(nanoseconds));
  if (width <= kSubBits) return static_cast<size_t>(nanoseconds);
  const unsigned shift = width - kSubBits - 1;
  const uint64_t within = (nanoseconds >> shift) - (uint64_t{1} << kSubBits);
  return (static_cast<size_t>(shift + 1) << kSubBits) +
         static_cast<size_t>(within);
}

uint64_t Histogram::UpperBound(size_t bucket) {
  if (bucket < (size_t{1} << kSubBits)) return bucket;
  const size_t shift = (bucket >> kSubBits) - 1;
  const uint64_t within =
      (bucket & ((size_t{1} << kSubBits) - 1)) + (uint64_t{1} << kSubBits);
  return ((within + 1) << shift) - 1;
}

void Histogram::Record(absl::Duration latency) {
  latency = std::max(latency, absl::ZeroDuration());
  ++buckets_[BucketOf(
      static_cast<uint64_t>(absl::ToInt64Nanoseconds(latency)))];
  ++count_;
  sum_ += latency;
  max_ = std::max(max_, latency);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) {
    buckets_[i] += other.buckets_[i];
  }
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

absl::Duration Histogram::mean() const {
  return count_ == 0 ? absl::ZeroDuration()
                     : sum_ / static_cast<int64_t>(count_);
}

absl::Duration Histogram::Percentile(double percent) const {
  const auto rank = static_cast<uint64_t>(
      std::ceil(percent / 100 * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank && seen > 0) {
      return std::min(max_, absl::Nanoseconds(UpperBound(i)));
    }
  }
  return max_;
}

}  // namespace dovetail::bench
