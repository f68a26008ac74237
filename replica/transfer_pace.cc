#include "replica/transfer_pace.h"

#include <algorithm>
#include <utility>

#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// Where there is no limit: more than a disk or a network gives.
constexpr double kUnlimited = 1e9;
constexpr double kFaster = 1.5;
constexpr double kSlower = 0.5;
// Of what is usual, a new look counts for so much.
constexpr int kUsualShare = 8;

}  // namespace

TransferPace::TransferPace(const ShardOptions& options, uint32_t shards)
    : options_(options),
      most_(static_cast<double>(options.transfer_bytes_per_second) / shards),
      least_(std::min(
          most_ > 0 ? most_ : kUnlimited,
          static_cast<double>(options.transfer_bytes_per_second_min) / shards)),
      rate_(most_) {}

bool TransferPace::TooSlow(const RequestTimes& times) const {
  if (times.requests == 0 || times.p99 <= options_.transfer_yield_floor) {
    return false;
  }
  return !usual_ || times.p99 > *usual_ * options_.transfer_yield_factor;
}

void TransferPace::OnRequestTimes(const RequestTimes& times) {
  if (options_.transfer_yield_floor == absl::InfiniteDuration()) return;
  const double most = most_ > 0 ? most_ : kUnlimited;
  const bool moved = std::exchange(moved_, false);
  const bool slow = TooSlow(times);
  if (times.requests > 0 && (!moved || rate_ == least_)) {
    usual_ = usual_ ? *usual_ + (times.p99 - *usual_) / kUsualShare : times.p99;
  }
  if (!moved) {
    rate_ = least_;
  } else if (slow) {
    DOVETAIL_MARK("pace: transfers yield to requests");
    ++yields_;
    rate_ =
        std::max(least_, std::min(rate_ == 0 ? most : rate_, most) * kSlower);
  } else {
    rate_ = std::min(most, std::max(rate_, least_) * kFaster);
  }
}

void TransferPace::Moved(size_t rows, size_t bytes, absl::Duration now) {
  moved_ = true;
  if (rate_ == 0) return;
  const auto cost = static_cast<double>(std::max(bytes, rows * kRowBytesMin));
  free_at_ = std::max(free_at_, now) + absl::Seconds(cost / rate_);
}

}  // namespace dovetail::replica
