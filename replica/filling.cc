#include "replica/filling.h"

#include <algorithm>

#include "crdt/hooks.h"

namespace dovetail::replica {

// A ring without another before it asks nothing to be written down. The next
// one has to find it.
void Filling::BeforePlacement(const Placement& next) {
  if (!next.moves()) return;
  for (const auto& partition : core_.partitions) {
    const PartitionId id = partition->id();
    if (!core_.IsOwner(id) || partition->emptying()) continue;
    const bool complete = core_.StandingOf(id) == Standing::kComplete;
    if (complete && !partition->tenure()) WriteDown(*partition, true);
  }
}

void Filling::OnPlacement() {
  if (!core_.placement.moves()) return;
  for (const auto& partition : core_.partitions) {
    const PartitionId id = partition->id();
    if (!core_.IsOwner(id) || partition->emptying()) continue;
    if (core_.StandingOf(id) == Standing::kComplete) {
      WriteDown(*partition, true);
    } else if (!partition->tenure()) {
      // What it takes from now on, it takes as an owner: no budget of hints is
      // to apply to it when it is one no longer.
      WriteDown(*partition, false);
    }
  }
}

// Who is to be filled is so whatever it takes before the next try: it must not
// be known by holding nothing. The next turn that changes the partition writes
// that down beside it; alone it would make turns fail that write nothing.
void Filling::OnTurnFailed() {
  if (!core_.placement.moves()) return;
  for (const PartitionId id : core_.touched) {
    Partition& partition = core_.Get(id);
    if (!core_.IsOwner(id) || partition.emptying() || partition.tenure() ||
        core_.StandingOf(id) == Standing::kComplete) {
      continue;
    }
    DOVETAIL_MARK("filling: to be filled, though that cannot be written down");
    partition.SetTenure(
        {core_.placement.ring(), core_.placement.parent(), false});
  }
}

void Filling::WriteDown(Partition& partition, bool complete) {
  const Tenure tenure{core_.placement.ring(), core_.placement.parent(),
                      complete};
  if (partition.tenure() == tenure) return;
  core_.touched.push_back(partition.id());
  partition.SetTenure(tenure);
}

void Filling::Round() {
  if (!core_.placement.moves()) return;
  OnPlacement();  // again, where its turn failed
  for (const auto& partition : core_.partitions) {
    const PartitionId id = partition->id();
    if (partition->tenure_unwritten()) core_.touched.push_back(id);
    if (!core_.IsOwner(id) || core_.StandingOf(id) == Standing::kComplete ||
        !partition->Available().ok() || !partition->exact() ||
        !partition->progress().lost.empty() || !HasAll(*partition)) {
      continue;
    }
    if (DOVETAIL_BUGGIFY("filling: complete a round later")) continue;
    DOVETAIL_MARK("filling: complete");
    ++core_.stats.filled;
    WriteDown(*partition, true);
    core_.turn_synced = true;
    sync_.TellAll(id);
  }
}

bool Filling::HasAll(const Partition& partition) const {
  const PartitionId id = partition.id();
  const Placement& placement = core_.placement;
  const absl::Span<const NodeId> before = placement.Before(id);
  const auto others_before = static_cast<uint32_t>(
      std::count_if(before.begin(), before.end(),
                    [&](NodeId node) { return node != core_.identity.self; }));
  const uint32_t majority = placement.replicas_before(id) / 2 + 1;
  const uint32_t wanted = DOVETAIL_MUTANT("moves: one word is enough")
                              ? std::min(1u, others_before)
                              : std::min(majority, others_before);
  uint32_t whole = 0;
  bool heard_all = true;
  for (NodeId node : core_.OwnersAndBefore(id)) {
    const Sync::Word word = sync_.WordOfAny(node, id);
    const bool covered = word.events != nullptr &&
                         word.events->IsSubsetOf(partition.context().applied);
    heard_all = heard_all && covered;
    // What a new owner lacks itself is no reason to wait for its word.
    const bool matters =
        placement.OwnedBefore(node, id) || word.standing == Standing::kComplete;
    if (!covered && matters && core_.IsUp(node)) return false;
    whole += covered && word.standing != Standing::kPartial ? 1 : 0;
  }
  DOVETAIL_MARK_IF("filling: complete, though few are whole",
                   whole < wanted && heard_all);
  if (whole >= wanted) return true;
  // Of those of before too many have lost their disks, or never got it all
  // before the next ring came: then it is with owners of a still older one.
  return heard_all && sync_.HasAllOfOutsiders(id);
}

}  // namespace dovetail::replica
