#include "replica/sync_lag.h"

#include <algorithm>
#include <map>
#include <vector>

#include "replica/sync.h"

namespace dovetail::replica {

void LagMark::Look(const crdt::EventSet& mine, uint64_t version,
                   const crdt::EventSet& theirs, absl::Duration now) {
  if (!looked_) has_all_until_ = now;  // of before nothing is known
  looked_ = true;
  level_ = (level_ && version == version_) || mine.IsSubsetOf(theirs);
  version_ = version;
  if (level_) {
    has_all_until_ = now;
    marked_ = false;
    mark_ = {};
    return;
  }
  if (marked_ && !mark_.IsSubsetOf(theirs)) return;
  if (marked_) has_all_until_ = marked_at_;
  marked_ = true;
  mark_ = mine;
  marked_at_ = now;
}

void Sync::LookAtLag(NodeId peer, const Partition& partition, Now now) {
  const auto it = peers_.find({partition.id(), peer});
  if (it == peers_.end() || !it->second.heard) return;
  it->second.lag.Look(partition.context().applied, partition.version(),
                      it->second.applied, now.steady);
}

std::vector<SyncLag> Sync::Lags() const {
  std::map<NodeId, SyncLag> lags;
  for (const auto& partition : core_.partitions) {
    for (NodeId peer : core_.placement.Owners(partition->id())) {
      if (peer == core_.identity.self || !Concerns(peer, *partition)) continue;
      SyncLag& lag = lags[peer];
      lag.peer = peer;
      const auto it = peers_.find({partition->id(), peer});
      if (it == peers_.end() || !it->second.heard) {
        ++lag.partitions_unheard;
        continue;
      }
      const crdt::EventSet& mine = partition->context().applied;
      if (mine.IsSubsetOf(it->second.applied)) continue;
      ++lag.partitions_behind;
      lag.events += mine.Minus(it->second.applied).dot_count();
      lag.has_all_until =
          std::min(lag.has_all_until, it->second.lag.has_all_until());
    }
  }
  std::vector<SyncLag> all;
  for (const auto& [peer, lag] : lags) all.push_back(lag);
  return all;
}

}  // namespace dovetail::replica
