#include "replica/scrub.h"

#include <algorithm>

#include "crdt/hooks.h"

namespace dovetail::replica {

uint32_t Scrub::Look(Partition& partition, uint32_t leaf, uint64_t rows) {
  uint32_t end = leaf;
  for (uint64_t expected = 0; end < kLeavesPerPartition && expected < rows;
       ++end) {
    const int64_t count =
        partition.sums().leaf(static_cast<uint16_t>(end)).count;
    // Empty leaves cost something, too.
    expected += static_cast<uint64_t>(std::max<int64_t>(count, 0)) + 1;
  }
  const absl::StatusOr<std::vector<uint32_t>> damaged =
      partition.FindDamage({leaf, end});
  if (!damaged.ok()) {
    DOVETAIL_MARK("scrub: rows that the disk does not let go of");
    ++core_.stats.corruptions;
    partition.Note(damaged.status());
    return leaf;
  }
  for (const uint32_t index : *damaged) {
    DOVETAIL_MARK("scrub: damage found");
    core_.touched.push_back(partition.id());
    const absl::StatusOr<uint64_t> cleared = partition.ClearDamage(index);
    ++core_.stats.corruptions;
    if (!cleared.ok()) {
      partition.Note(cleared.status());
      return leaf;
    }
    ++core_.stats.damaged_leaves;
  }
  core_.stats.scrubbed_leaves += end - leaf;
  return end;
}

void Scrub::LookAtQuarantined(Partition& partition, uint64_t rows) {
  uint32_t& leaf = quarantined_[partition.id()];
  const uint32_t before = leaf;
  leaf = Look(partition, leaf, rows);
  if (leaf == kLeavesPerPartition) {
    DOVETAIL_MARK("scrub: a partition leaves quarantine");
    core_.touched.push_back(partition.id());
    quarantined_.erase(partition.id());
    partition.EndQuarantine();
  } else if (leaf == before) {
    quarantined_.erase(partition.id());  // from the start, the next time
  }
}

void Scrub::Round() {
  const uint64_t rows = core_.options.scrub_rows_per_round;
  if (core_.partitions.empty() || rows == 0) return;
  for (const auto& partition : core_.partitions) {
    if (partition->mendable() && !partition->emptying()) {
      LookAtQuarantined(*partition, 10 * rows);
    }
  }
  Partition& partition =
      *core_.partitions[partition_ % core_.partitions.size()];
  const bool skip = partition.quarantined() || partition.emptying() ||
                    (leaf_ == 0 && partition.empty());
  if (!skip) leaf_ = Look(partition, leaf_, rows);
  if (skip || leaf_ >= kLeavesPerPartition || partition.quarantined()) {
    leaf_ = 0;
    ++partition_;
  }
}

void Scrub::All() {
  for (const auto& partition : core_.partitions) {
    if (partition->emptying()) continue;
    const bool was_quarantined = partition->mendable();
    uint32_t leaf = 0;
    while (leaf < kLeavesPerPartition) {
      const uint32_t next = Look(*partition, leaf, uint64_t{1} << 20);
      if (next == leaf) break;
      leaf = next;
    }
    if (leaf == kLeavesPerPartition && was_quarantined) {
      core_.touched.push_back(partition->id());
      partition->EndQuarantine();
    }
  }
}

}  // namespace dovetail::replica
