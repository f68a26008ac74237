#include "replica/plan_estimate.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace dovetail::replica {
namespace {

std::optional<uint64_t> Mean(const std::vector<uint64_t>& values) {
  if (values.empty()) return std::nullopt;
  // The remainders apart, so that no sum overflows.
  uint64_t mean = 0;
  uint64_t rest = 0;
  for (const uint64_t value : values) {
    mean += value / values.size();
    rest += value % values.size();
  }
  return mean + rest / values.size();
}

// What one partition takes at `node`.
std::optional<uint64_t> BytesEach(NodeId node, const LoadTable& loads) {
  const LoadTable::Known* known = loads.Of(node);
  if (known == nullptr) return std::nullopt;
  return known->load.data_bytes / std::max<uint64_t>(1, known->load.held);
}

std::optional<uint64_t> BytesOf(PartitionId partition, const Ring& ring,
                                const LoadTable& loads) {
  std::vector<uint64_t> said;
  for (const NodeId owner : ring.Owners(partition)) {
    const std::optional<uint64_t> each = BytesEach(owner, loads);
    if (each.has_value()) said.push_back(*each);
  }
  return Mean(said);
}

// How long the slowest takes.
std::optional<absl::Duration> TimeOf(const PlanEstimate& estimate,
                                     const LoadTable& loads) {
  absl::Duration longest;
  for (const auto& [id, bytes] : estimate.bytes) {
    if (bytes.in == 0) continue;
    const LoadTable::Known* known = loads.Of(id);
    if (known == nullptr || known->load.transfer_rate_max == 0) {
      return std::nullopt;
    }
    longest = std::max(
        longest,
        absl::Seconds(static_cast<double>(bytes.in) /
                      static_cast<double>(known->load.transfer_rate_max)));
  }
  if (longest == absl::ZeroDuration()) return std::nullopt;
  return longest;
}

uint64_t OwnersWanted(const Ring& ring) {
  uint64_t wanted = 0;
  for (const std::string& region : ring.regions()) {
    wanted += ring.replicas_wanted(region);
  }
  return wanted;
}

}  // namespace

PlanEstimate Estimate(const Plan& plan, const Ring& before,
                      const LoadTable& loads,
                      absl::FunctionRef<bool(NodeId)> is_there) {
  PlanEstimate estimate;
  std::vector<uint64_t> all;
  for (const RingMember& member : before.spec().members) {
    const std::optional<uint64_t> each = BytesEach(member.id, loads);
    if (each.has_value()) all.push_back(*each);
  }
  const uint64_t other = Mean(all).value_or(0);
  for (const PartitionMove& move : plan.moves) {
    const std::optional<uint64_t> said = BytesOf(move.partition, before, loads);
    estimate.unknown += said.has_value() ? 0 : 1;
    const uint64_t bytes = said.value_or(other);
    for (const NodeId id : move.gains) estimate.bytes[id].in += bytes;
    for (const NodeId id : move.losses) estimate.bytes[id].out += bytes;
  }
  if (!all.empty()) estimate.time = TimeOf(estimate, loads);
  const uint64_t wanted = OwnersWanted(before);
  for (uint32_t p = 0; p < before.partitions(); ++p) {
    const auto owners = before.Owners(static_cast<PartitionId>(p));
    const auto there = std::count_if(owners.begin(), owners.end(), is_there);
    if (static_cast<uint64_t>(there) < wanted) ++estimate.below_n_meanwhile;
  }
  return estimate;
}

}  // namespace dovetail::replica
