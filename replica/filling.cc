#include "replica/filling.h"

#include <algorithm>

#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// Whether the partition has had all of that; not if nothing has been said.
bool Covers(const Partition& partition, const Sync::Word& word) {
  return word.events != nullptr &&
         word.events->IsSubsetOf(partition.context().applied);
}

}  // namespace

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

void Filling::Open() {
  opened_at_ = core_.steady;
  OnPlacement();
}

void Filling::OnPeers() {
  for (const auto& partition : core_.partitions) LookAtNewborn(*partition);
}

void Filling::OnWord(PartitionId partition) {
  LookAtNewborn(core_.Get(partition));
}

bool Filling::HasCaughtUp(const Partition& partition, NodeId node,
                          const Sync::Word& word) {
  const std::pair named(partition.id(), node);
  if (caught_up_.contains(named)) return true;
  if (!Covers(partition, word)) return false;
  caught_up_.insert(named);
  return true;
}

void Filling::LookAtNewborn(Partition& partition) {
  if (!partition.newborn() && !partition.unheard()) return;
  const bool waits =
      partition.newborn() && !partition.emptying() && WaitsForAWord(partition);
  if (partition.unheard() == waits) return;
  DOVETAIL_MARK_IF("filling: who began with nothing waits for a word", waits);
  core_.touched.push_back(partition.id());
  partition.SetUnheard(waits);
}

bool Filling::WaitsForAWord(Partition& partition) {
  const PartitionId id = partition.id();
  if (core_.placement.moves()) {  // until its tenure says otherwise
    return core_.placement.Concerns(core_.identity.self, id);
  }
  if (!core_.IsOwner(id)) return false;
  const bool early = core_.steady < opened_at_ + core_.options.newborn_patience;
  bool all = true, waits = false;
  for (NodeId node : core_.OtherOwners(id)) {
    const Sync::Word word = sync_.WordOfAny(node, id);
    if (HasCaughtUp(partition, node, word)) continue;
    all = false;
    // Of who has spoken and is gone again it knows that it lacks something.
    const bool spoken = word.events != nullptr;
    waits = waits || early || spoken || core_.IsUp(node);
  }
  const bool complete = all && partition.Available().ok() &&
                        partition.exact() && partition.progress().lost.empty();
  if (complete) {
    DOVETAIL_MARK("filling: who began with nothing has all");
    std::erase_if(caught_up_,
                  [&](const auto& named) { return named.first == id; });
    core_.turn_synced = true;
  }
  WriteDown(partition, complete);
  return waits;
}

void Filling::OnPlacement() {
  for (const auto& partition : core_.partitions) LookAtNewborn(*partition);
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
  for (const PartitionId id : core_.touched) {
    Partition& partition = core_.Get(id);
    if (!core_.placement.moves() && !partition.newborn()) continue;
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
  if (complete && partition.unheard()) partition.SetUnheard(false);
}

void Filling::Round() {
  OnPlacement();  // again, where its turn failed
  if (!core_.placement.moves()) return;
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
    const bool covered = Covers(partition, word);
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
  if (!heard_all) return false;
  const std::vector<NodeId> ahead = sync_.OutsidersAhead(id);
  for (NodeId node : ahead) {
    DOVETAIL_MARK("filling: asks an outsider whether it still has that");
    sync_.PullFrom(node, id);
  }
  return ahead.empty();
}

}  // namespace dovetail::replica
