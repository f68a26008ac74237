#include "replica/hints.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"

namespace dovetail::replica {

bool Hints::MayForget(const Partition& partition, Now now) {
  const PartitionId id = partition.id();
  const auto since = since_.try_emplace(id, now.steady).first->second;
  const size_t owners = core_.placement.Owners(id).size();
  // What it took as an owner is acknowledged on the strength of it.
  if (partition.tenure() &&
      !DOVETAIL_MUTANT("moves: what a former owner holds are hints")) {
    return owners > 0 && owners == sync_.CompleteOwnersThatHave(
                                       id, partition.context().applied);
  }
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
  next_slice_ = absl::InfiniteDuration();
  for (const auto& partition : core_.partitions) {
    if (budget == 0) {
      next_slice_ = now.steady + core_.options.empty_again_after;
      return;
    }
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
    core_.touched.push_back(id);  // even if it fails half-way
    const absl::StatusOr<size_t> removed = partition->EmptySome(budget);
    if (!removed.ok()) {
      ++core_.stats.corruptions;
      continue;
    }
    budget -= std::min(budget, *removed);
  }
}

void Hints::OnTimers(Now now) {
  if (now.steady >= next_slice_) Round(now);
}

absl::Status ShardCore::RoomToStandIn(PartitionId partition) const {
  if (IsOwner(partition) || Get(partition).tenure()) return absl::OkStatus();
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
    if (IsOwner(partition->id()) || partition->tenure()) continue;
    bytes += partition->log_bytes();
  }
  return bytes;
}

Standing ShardCore::StandingOf(PartitionId partition) const {
  const Partition& mine = Get(partition);
  const std::optional<Tenure>& tenure = mine.tenure();
  const bool owner = IsOwner(partition);
  if (mine.progress().filling) return Standing::kPartial;
  if (!placement.moves()) {
    return owner ? Standing::kComplete : Standing::kPartial;
  }
  if (owner && tenure && tenure->complete &&
      tenure->epoch >= placement.epoch()) {
    return Standing::kComplete;
  }
  if (!placement.OwnedBefore(identity.self, partition)) {
    return Standing::kPartial;
  }
  // By the ring before; or by the one before that, if it slept through one that
  // left the partition with it. Where that was the first ring, nothing had to
  // be written down, and who holds something was complete.
  const uint64_t before = placement.epoch_before();
  const bool whole = tenure ? tenure->complete && tenure->epoch + 1 >= before
                            : before == 1 && !mine.empty();
  if (!whole) return Standing::kPartial;
  const bool fewer =
      placement.replicas(partition) < placement.replicas_before(partition);
  return owner && !fewer ? Standing::kComplete : Standing::kBefore;
}

bool ShardCore::IsProbablyWhole(NodeId node, PartitionId partition) const {
  if (node == identity.self) {
    return StandingOf(partition) != Standing::kPartial;
  }
  const auto said = standings.find({partition, node});
  if (said != standings.end()) return said->second != Standing::kPartial;
  return placement.moves() ? placement.OwnedBefore(node, partition)
                           : placement.Owns(node, partition);
}

}  // namespace dovetail::replica
