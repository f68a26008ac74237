// Latencies, counted so that any percentile can be told within 1.6%: buckets of
// equal width within each power of two (as HdrHistogram has them).
#ifndef DOVETAIL_SRC_BENCH_HISTOGRAM_H_
#define DOVETAIL_SRC_BENCH_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace dovetail::bench {

class Histogram {
 public:
  Histogram();

  // Negative ones count as zero. Cost: O(1).
  void Record(absl::Duration latency);
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  absl::Duration max() const { return max_; }
  absl::Duration mean() const;
  // The least bound that `percent` of all are at or below; zero if empty.
  // Requires: 0 < percent <= 100. Cost: O(buckets).
  absl::Duration Percentile(double percent) const;

 private:
  static constexpr unsigned kSubBits = 6;  // 64 buckets for a power of two
  static size_t BucketOf(uint64_t nanoseconds);
  static uint64_t UpperBound(size_t bucket);

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  absl::Duration sum_;
  absl::Duration max_;
};

}  // namespace dovetail::bench

#endif  // DOVETAIL_SRC_BENCH_HISTOGRAM_H_
