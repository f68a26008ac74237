#include "replica/transfer_rates.h"

#include <algorithm>
#include <utility>

namespace dovetail::replica {
namespace {

// A look after so long counts for all; one after less, for its part of it. Long
// enough that a chunk more or less makes no difference.
constexpr absl::Duration kSpan = absl::Seconds(5);

std::optional<absl::Duration> Left(const Transfer& transfer, double rate) {
  if (transfer.ranges_done <= 0 || rate < 1) return std::nullopt;
  // The keys are spread evenly by their hash.
  const double lacking = static_cast<double>(transfer.bytes) *
                         (1 - transfer.ranges_done) / transfer.ranges_done;
  return absl::Trunc(absl::Seconds(lacking / rate), absl::Milliseconds(1));
}

}  // namespace

std::vector<TransferProgress> TransferRates::Look(
    const std::vector<Transfer>& transfers, absl::Duration now) {
  std::map<PartitionId, Seen> before = std::exchange(seen_, {});
  std::vector<TransferProgress> progress;
  for (const Transfer& transfer : transfers) {
    Seen seen{transfer.bytes, now, 0};
    const auto last = before.find(transfer.partition);
    if (last != before.end() && now > last->second.at &&
        transfer.bytes >= last->second.bytes) {
      const absl::Duration passed = now - last->second.at;
      const double rate =
          static_cast<double>(transfer.bytes - last->second.bytes) /
          absl::ToDoubleSeconds(passed);
      const double weight = std::min(1.0, absl::FDivDuration(passed, kSpan));
      seen.rate = last->second.rate + weight * (rate - last->second.rate);
    }
    seen_[transfer.partition] = seen;
    progress.push_back({transfer, static_cast<uint64_t>(seen.rate),
                        Left(transfer, seen.rate)});
  }
  return progress;
}

}  // namespace dovetail::replica
