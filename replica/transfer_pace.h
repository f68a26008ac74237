// How fast may data move between nodes, so that requests do not wait for it?
//
// As fast as the limit in bytes a second allows, and more slowly while what
// this node is asked takes longer than usual: then half as fast, again and
// again down to a minimum, at which a transfer still ends. Each look at which
// all is well, it goes half as fast again as before. What begins to move after
// a rest begins at the minimum, so that requests never meet the whole of it at
// once.
//
// "Longer than usual" is a 99th percentile above the floor and above a factor
// times the usual one: of the times in which nothing moved, or only at the
// minimum, so that a node whose requests are slow for other reasons (the other
// owners are far away) does not crawl for ever.
//
// No clock here: who drives the shard measures, and says when to look. Who
// never measures gets the limit in bytes a second alone.
#ifndef DOVETAIL_REPLICA_TRANSFER_PACE_H_
#define DOVETAIL_REPLICA_TRANSFER_PACE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "replica/options.h"

namespace dovetail::replica {

// What a node was asked in a short while that is over: clients' requests, to
// when their replies left, and other nodes' parts of theirs.
struct RequestTimes {
  uint64_t requests = 0;
  absl::Duration p99;
};

class TransferPace {
 public:
  // `options` must outlive it. A shard has its part of the node's rate.
  TransferPace(const ShardOptions& options, uint32_t shards);

  // The next look.
  void OnRequestTimes(const RequestTimes& times);
  // So many rows with so many bytes in all have moved. A small row costs what a
  // larger one does, so that each counts for so many bytes at the least.
  static constexpr size_t kRowBytesMin = 256;
  void Moved(size_t rows, size_t bytes, absl::Duration now);
  // When the next may move.
  absl::Duration free_at() const { return free_at_; }

  // 0: no limit.
  uint64_t bytes_per_second() const { return static_cast<uint64_t>(rate_); }
  // How often it has become slower for the sake of requests.
  uint64_t yields() const { return yields_; }

 private:
  bool TooSlow(const RequestTimes& times) const;

  const ShardOptions& options_;
  const double most_;   // bytes a second; 0: no limit
  const double least_;  // the minimum
  double rate_;
  absl::Duration free_at_ = -absl::InfiniteDuration();
  bool moved_ = false;  // since the last look
  std::optional<absl::Duration> usual_;
  uint64_t yields_ = 0;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_TRANSFER_PACE_H_
