// Which replicas the oracle can judge. It knows what anybody must see who has
// applied a set of events. A replica in the middle of a sync by ranges, or of
// having damage mended, shows more or less than that: its rows are ahead of
// what it has applied, or were lost (RangeProgress). The node's own disk says
// so, for as long as it lasts. Nor can one be judged whose disk was damaged and
// that has yet to find out.
//
// What such a replica answers is not held against the oracle, and what it
// writes then observes nobody knows what: those objects are not judged any more
// but for being equal everywhere in the end. A write that observes nothing is
// known all the same. All else is judged, and when all has healed every replica
// must be exact again.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "replica/keys.h"
#include "replica/range_progress.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::Shard;

bool Checker::Exact(uint32_t node, PartitionId partition) const {
  const SimDisk& disk = cluster_->node(node).disk;
  if (!disk.damaged().empty()) {
    const replica::KeyRange rows =
        replica::RowsOfPartition(partition, cluster_->partitions());
    const auto first = disk.damaged().lower_bound(rows.begin);
    if (first != disk.damaged().end() &&
        (rows.end.empty() || *first < rows.end)) {
      return false;
    }
  }
  return !ProgressOnDisk(node, partition).has_value();
}

std::optional<std::string> Checker::ProgressOnDisk(
    uint32_t node, PartitionId partition) const {
  const SimDisk::Keys& meta =
      cluster_->node(node).disk.keys(replica::Family::kMeta);
  const auto row = meta.find(replica::RangesKey(partition));
  if (row == meta.end()) return std::nullopt;
  return row->second;
}

std::string Checker::WhyInexact(uint32_t node, PartitionId partition) const {
  const std::optional<std::string> row = ProgressOnDisk(node, partition);
  if (!row) return "damaged, and does not know";
  const auto progress = replica::RangeProgress::Decode(*row);
  if (!progress.ok()) return progress.status().ToString();
  return absl::StrCat(progress->active ? "in a sync by ranges" : "",
                      progress->filling ? " being filled" : "",
                      progress->mending ? " being mended" : "",
                      progress->lost.empty() ? "" : " with rows lost",
                      progress->ahead.empty() ? "" : " ahead of its events");
}

// Damage is there for as long as the rows do not add up, or are being mended.
void Checker::LookAtDamage(uint32_t node) {
  Node& its = cluster_->node(node);
  if (its.disk.damaged().empty() || !its.running()) return;
  for (const Lane& lane : its.process->lanes) {
    if (!lane.shard->VerifyDigests().ok()) return;
    if (lane.shard->stats().emptying > 0) return;  // it is not looked at
  }
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (ProgressOnDisk(node, partition)) return;
  }
  its.disk.ForgetDamage();
}

void Checker::LookAtExactness(uint32_t node, const Shard* shard) {
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (shard != nullptr && &cluster_->ShardOf(node, partition) != shard) {
      continue;
    }
    Exactness& its = exactness_[{node, partition}];
    bool now = Exact(node, partition);
    // It shows values whose events went with the only disk that had them.
    if (losses_ && now && cluster_->node(node).running()) {
      now = cluster_->ShardOf(node, partition)
                .ContextOf(partition)
                .superseded.empty();
    }
    // What was asked in this turn may have been answered before it changed.
    if (!now || !its.now) its.not_until_us = scheduler_.now_us();
    its.now = now;
    const std::optional<std::string> row = ProgressOnDisk(node, partition);
    const auto progress =
        row ? replica::RangeProgress::Decode(*row)
            : absl::StatusOr<replica::RangeProgress>(replica::RangeProgress());
    if (!progress.ok() || !progress->filling) {
      its.filling_since_us.reset();
    } else if (!its.filling_since_us) {
      its.filling_since_us = scheduler_.now_us();
    }
  }
}

void Checker::CheckReadable(const Pending& pending,
                            const std::vector<replica::NodeId>& nodes) {
  for (const replica::NodeId node : nodes) {
    const auto its = exactness_.find({SeatOf(node), pending.partition});
    if (its == exactness_.end() || !its->second.filling_since_us ||
        *its->second.filling_since_us >= pending.submitted_us) {
      continue;
    }
    // While its partition moves it says what it has, and that it is a part.
    if (cluster_->placement().moves() ||
        !cluster_->RingKnownSince(pending.submitted_us)) {
      continue;
    }
    OnViolation(absl::StrCat(Story(pending), " is answered by node ",
                             SeatOf(node), ", which is being filled"));
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

// The index may name for a while what damage took for good, or what its owners
// removed while the row was bad.
bool Checker::IsListed(const crdt::ObjectId& object, int64_t since_us) {
  if (!IsJudged(object) || damages_ || MayHaveExpired(object)) return false;
  for (uint32_t id = 0; id < cluster_->size(); ++id) {
    if (cluster_->node(id).disk.bad()) return false;
    if (!ExactSince(id, PartitionOf(object), since_us)) return false;
  }
  return true;
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
