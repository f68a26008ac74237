// What became of clients' requests, and how long they took: counted where they
// are answered, read by whoever shows metrics.
//
// Plain numbers of one thread: a shard's driver counts with each reply, without
// locks, and hands out copies that are then added up over the shards. No clock
// here: whoever calls says what time it is.
#ifndef DOVETAIL_REPLICA_REQUEST_STATS_H_
#define DOVETAIL_REPLICA_REQUEST_STATS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "replica/request.h"

namespace dovetail::replica {

enum class RequestKind : uint8_t { kRead, kWrite, kList };
inline constexpr size_t kRequestKinds = 3;

// A level as metrics tell it apart: each kind, and a count of one by itself.
enum class LevelClass : uint8_t {
  kDefault,
  kOne,
  kCount,  // two or more
  kQuorum,
  kAll,
  kLocalOne,
  kLocalQuorum,
  kEachQuorum,
};
inline constexpr size_t kLevelClasses = 8;
// absl::StatusCode, from kOk to kUnauthenticated.
inline constexpr size_t kOutcomes = 17;

RequestKind KindOf(const ClientRequest& request);
// Of R for reads and listings, of W for writes.
LevelClass LevelClassOf(const ClientRequest& request);
// "read"; "local_quorum"; "ok", "deadline_exceeded".
absl::string_view NameOf(RequestKind kind);
absl::string_view NameOf(LevelClass level);
std::string OutcomeName(absl::StatusCode code);

// Upper bounds of the buckets of durations, inclusive, in microseconds: from a
// read out of memory to the longest anybody waits; two or three to a factor of
// ten, as dense as a percentile needs to be told.
inline constexpr std::array<int64_t, 16> kDurationBucketsUs = {
    100,       250,       500,       1'000,     2'500,   5'000,
    10'000,    25'000,    50'000,    100'000,   250'000, 500'000,
    1'000'000, 2'500'000, 5'000'000, 10'000'000};

class RequestCounts {
 public:
  struct Durations {
    // Not cumulative; the last one has what is beyond all bounds.
    std::array<uint64_t, kDurationBucketsUs.size() + 1> buckets{};
    uint64_t count = 0;  // the sum of the buckets
    uint64_t sum_us = 0;
  };

  void Count(RequestKind kind, LevelClass level, absl::StatusCode outcome,
             absl::Duration took);
  void Add(const RequestCounts& other);

  uint64_t count(RequestKind kind, LevelClass level,
                 absl::StatusCode outcome) const {
    return outcomes_[Cell(kind, level)][static_cast<size_t>(outcome)];
  }
  // Of all outcomes: a deadline that passed is the latency that a client saw.
  const Durations& durations(RequestKind kind, LevelClass level) const {
    return durations_[Cell(kind, level)];
  }

 private:
  static size_t Cell(RequestKind kind, LevelClass level) {
    return static_cast<size_t>(kind) * kLevelClasses +
           static_cast<size_t>(level);
  }
  std::array<std::array<uint64_t, kOutcomes>, kRequestKinds * kLevelClasses>
      outcomes_{};
  std::array<Durations, kRequestKinds * kLevelClasses> durations_{};
};

// The requests under way at one shard, and the counts of those that are over.
// Cost of a request: one insertion and one removal in a hash table.
class RequestWatch {
 public:
  void Begin(const ClientRequest& request, absl::Duration arrived);
  // Replies to what did not begin here are not counted. Returns how long it
  // took.
  std::optional<absl::Duration> End(const ClientReply& reply,
                                    absl::Duration left);

  size_t in_flight() const { return under_way_.size(); }
  const RequestCounts& counts() const { return counts_; }

 private:
  struct UnderWay {
    absl::Duration arrived;
    RequestKind kind{};
    LevelClass level{};
  };
  absl::flat_hash_map<RequestId, UnderWay> under_way_;
  RequestCounts counts_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REQUEST_STATS_H_
