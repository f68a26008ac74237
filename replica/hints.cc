#include "replica/hints.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"

namespace dovetail::replica {

bool Hints::MayForget(const Partition& partition, Now now) {
  const PartitionId id = partition.id();
  const auto since = since_.try_emplace(id, now.steady).first->second;
  const size_t owners = core_.placement.Owners(id).size();
  const uint32_t have = sync_.OwnersThatHave(id, partition.context().applied);
  if (DOVETAIL_MUTANT("hints: dropped when one owner has them") && have > 0) {
    return true;
  }
  if (have == owners) return owners > 0;
  const bool old = now.steady - since >= core_.options.hint_age_max ||
                   DOVETAIL_BUGGIFY("hints: old already");
  DOVETAIL_MARK_IF("hints: an owner that stays away is given up",
                   old && have > owners / 2);
  return old && have > owners / 2;
}

void Hints::Round(Now now) {
  size_t budget = core_.options.empty_rows_per_turn;
  if (DOVETAIL_BUGGIFY("hints: emptied row by row")) budget = 1;
  for (const auto& partition : core_.partitions) {
    if (budget == 0) return;
    const PartitionId id = partition->id();
    if (partition->emptying()) {
      DOVETAIL_MARK("hints: emptied in several turns");
    } else if (core_.IsOwner(id) || partition->empty() ||
               partition->quarantined()) {
      since_.erase(id);
      continue;
    } else if (std::count(core_.touched.begin(), core_.touched.end(), id) > 0 ||
               !MayForget(*partition, now)) {
      // What this turn wrote is not on disk yet, where it would be removed.
      continue;
    } else {
      DOVETAIL_MARK("hints: forgotten");
      ++core_.stats.handed_over;
      since_.erase(id);
      partition->BeginEmptying();
    }
    const absl::StatusOr<size_t> removed = partition->EmptySome(budget);
    if (!removed.ok()) {
      ++core_.stats.corruptions;
      continue;
    }
    budget -= std::min(budget, *removed);
  }
}

absl::Status ShardCore::RoomToStandIn(PartitionId partition) const {
  if (IsOwner(partition)) return absl::OkStatus();
  const uint64_t bytes = HintBytes();
  if (bytes < options.hint_bytes_max &&
      !DOVETAIL_BUGGIFY("hints: no room to stand in")) {
    return absl::OkStatus();
  }
  DOVETAIL_MARK("hints: no room");
  return absl::ResourceExhaustedError(absl::StrCat(
      "this node owns nothing of partition ", Index(partition), " and holds ",
      bytes, " bytes for others already; the limit is ", options.hint_bytes_max,
      " (hint_bytes_max)"));
}

uint64_t ShardCore::HintBytes() const {
  uint64_t bytes = 0;
  for (const auto& partition : partitions) {
    if (!IsOwner(partition->id())) bytes += partition->log_bytes();
  }
  return bytes;
}

}  // namespace dovetail::replica
