// Which replicas the oracle can judge. It knows what anybody must see who has
// applied a set of events. A replica in the middle of a sync by ranges, or of
// having damage mended, shows more or less than that: its rows are ahead of
// what it has applied, or were lost (RangeProgress). The node's own disk says
// so, for as long as it lasts.
//
// What such a replica answers is not held against the oracle, and what it
// writes then observes nobody knows what: those objects are not judged any more
// but for being equal everywhere in the end. A write that observes nothing is
// known all the same. All else is judged, and when all has healed every replica
// must be exact again.
#include <algorithm>

#include "replica/keys.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::Shard;

bool Checker::Exact(uint32_t node, PartitionId partition) const {
  return !cluster_->node(node)
              .disk.keys(replica::Family::kMeta)
              .contains(replica::RangesKey(partition));
}

void Checker::LookAtExactness(uint32_t node, const Shard* shard) {
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (shard != nullptr && &cluster_->ShardOf(node, partition) != shard) {
      continue;
    }
    Exactness& its = exactness_[{node, partition}];
    const bool now = Exact(node, partition);
    // What was asked in this turn may have been answered before it changed.
    if (!now || !its.now) its.not_until_us = scheduler_.now_us();
    its.now = now;
  }
}

bool Checker::ExactSince(uint32_t node, PartitionId partition,
                         int64_t since_us) const {
  const auto its = exactness_.find({node, partition});
  return its == exactness_.end() ||
         (its->second.now && its->second.not_until_us < since_us);
}

bool Checker::ExactSince(const std::vector<replica::NodeId>& nodes,
                         PartitionId partition, int64_t since_us) const {
  for (const replica::NodeId node : nodes) {
    if (!ExactSince(SeatOf(node), partition, since_us)) return false;
  }
  return true;
}

bool Checker::AllExact() const {
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const auto owners = cluster_->placement().Owners(partition);
    const bool one_stays = std::any_of(
        owners.begin(), owners.end(),
        [&](replica::NodeId owner) { return !frail_.contains(SeatOf(owner)); });
    for (uint32_t node = 0; one_stays && node < cluster_->size(); ++node) {
      if (!Exact(node, partition)) return false;
    }
  }
  return true;
}

// Additions to the two tight objects act on nothing that is there: the counter
// is only added to, and an element of the set is added once.
bool Checker::IsKnown(uint32_t node, const Pending& pending) const {
  for (const oracle::Mutation& mutation : pending.batch) {
    const bool blind =
        pending.batch.size() == 1 && mutation.verb == oracle::Verb::kAdd &&
        (mutation.object.key == "exact" || mutation.object.key == "unique");
    if (blind) continue;
    if (unjudged_.contains(mutation.object)) return false;
    if (!Exact(node, pending.partition)) return false;
  }
  return true;
}

bool Checker::IsJudged(const crdt::ObjectId& object) const {
  return !unjudged_.contains(ToOracle(object));
}

void Checker::RecordUnknown(const Pending& pending,
                            const crdt::DotRun& minted) {
  for (const oracle::Mutation& mutation : pending.batch) {
    unjudged_.insert(mutation.object);
  }
  OracleOf(pending.partition)
      .Skip(crdt::ActorBits(minted.actor), minted.first, minted.count);
}

}  // namespace dovetail::sim
