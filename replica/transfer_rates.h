// How fast does what is on its way to this node come in? From the bytes that
// came so far (Shard::Transfers), looked at from time to time.
#ifndef DOVETAIL_REPLICA_TRANSFER_RATES_H_
#define DOVETAIL_REPLICA_TRANSFER_RATES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "replica/ids.h"
#include "replica/shard.h"

namespace dovetail::replica {

// A transfer, and what may be said of its future.
struct TransferProgress {
  Transfer transfer;
  uint64_t bytes_per_second = 0;  // of late
  // Until all ranges have come, if it goes on so. Absent: nobody can tell.
  std::optional<absl::Duration> left;
  friend bool operator==(const TransferProgress&,
                         const TransferProgress&) = default;
};

class TransferRates {
 public:
  // What is on its way `now`, by partition. What is not named has come.
  std::vector<TransferProgress> Look(const std::vector<Transfer>& transfers,
                                     absl::Duration now);

 private:
  struct Seen {
    uint64_t bytes = 0;
    absl::Duration at;
    double rate = 0;
  };
  std::map<PartitionId, Seen> seen_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_TRANSFER_RATES_H_
