#include "replica/hints.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// Whether who was complete by the ring of `tenure`, and owns the partition by
// the ring before that of `placement`, has what its word as such an owner is
// taken for.
bool WasWholeBefore(const Tenure& tenure, const Placement& placement) {
  const RingStamp& before = placement.parent();
  // By that ring; or by the one before it, if it slept through one that left
  // the partition with it.
  if (SameRing(tenure.ring, before) ||
      SameRing(tenure.ring, placement.grandparent())) {
    return true;
  }
  // By one that lost to this ring or to the one before, and grew from the same:
  // what it had by that, it still has, and has acknowledged nothing since by
  // the ring that it had not heard of.
  if (tenure.parent.epoch == 0) {
    return tenure.ring.epoch >= before.epoch;  // of an earlier version
  }
  return SameRing(tenure.parent, before) ||
         SameRing(tenure.parent, placement.grandparent());
}

}  // namespace

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
    if (budget == 0) break;
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
  // More of this one, or of those behind it.
  if (budget == 0) next_slice_ = now.steady + core_.options.empty_again_after;
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
  if (mine.progress().filling || mine.unheard()) return Standing::kPartial;
  if (!placement.moves()) {
    return owner ? Standing::kComplete : Standing::kPartial;
  }
  const bool complete = tenure && tenure->complete;
  // Of a later one: this node's disk kept the tenure and lost the ring.
  if (owner && complete &&
      (SameRing(tenure->ring, placement.ring()) ||
       tenure->ring.epoch > placement.epoch() ||
       (DOVETAIL_MUTANT("moves: complete by any ring of that epoch") &&
        tenure->ring.epoch == placement.epoch()))) {
    return Standing::kComplete;
  }
  if (!placement.OwnedBefore(identity.self, partition)) {
    return Standing::kPartial;
  }
  if (tenure ? !(complete && WasWholeBefore(*tenure, placement))
             // Nothing has to be written down by a first ring, and who was
             // loaded with something was complete.
             : placement.parent().epoch != 1 || mine.newborn()) {
    return Standing::kPartial;
  }
  const bool fewer =
      placement.replicas(partition) < placement.replicas_before(partition);
  return owner && !fewer ? Standing::kComplete : Standing::kBefore;
}

absl::Status ShardCore::Readable(PartitionId partition) const {
  const Partition& mine = Get(partition);
  DOVETAIL_RETURN_IF_ERROR(mine.Readable());
  if (placement.moves() || !mine.unheard() ||
      DOVETAIL_MUTANT("filling: who has heard nobody has all")) {
    return absl::OkStatus();
  }
  DOVETAIL_MARK("read: before it has heard what there is");
  return absl::UnavailableError(absl::StrCat(
      "partition ", Index(partition),
      " is new on this node, which has not heard yet what its other owners "
      "hold; read it from these"));
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

bool ShardCore::AnotherIsWhole(PartitionId partition) const {
  const std::vector<NodeId> others = OwnersAndBefore(partition);
  return std::any_of(others.begin(), others.end(), [&](NodeId node) {
    return IsProbablyWhole(node, partition);
  });
}

}  // namespace dovetail::replica
