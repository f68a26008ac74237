// Who takes part in a request: what a consistency level demands of which
// owners, and who stands in for owners that cannot be reached.
//
// A level is one demand ("two of these") or several (`each_quorum`: a majority
// in each region). A stand-in counts where it stands: for the demand of its own
// region; with strict quorums for none, since it is no owner. Nobody stands in
// for an owner that would not count itself, as one of another region at a local
// level: its place is no gap. A coordinator that owns nothing of the partition
// counts where an owner is missing, or where it is to take a write alone.
//
// While partitions move, a read has a second demand: what the level asks for of
// the owners, of those of before, too. What was acknowledged by the ring before
// is known to one of these, what has been since to one of those. An owner that
// has all of it counts for both (standing.h). With sloppy quorums it is as many
// as can be reached.
#ifndef DOVETAIL_REPLICA_REPLICA_SET_H_
#define DOVETAIL_REPLICA_REPLICA_SET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/ids.h"
#include "replica/quorum.h"
#include "replica/request.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

// A level, resolved for one partition.
struct Demand {
  uint32_t required = 0;
  uint32_t owners = 0;  // that count for it
  // While partitions move: how many answers have to come from who holds the
  // whole of what was acknowledged by the ring before, of what region.
  uint32_t before = 0;
  bool before_everywhere = true;
  bool everywhere = true;
  std::string region;  // unless `everywhere`: only nodes of it count
};

// Whether it counts nodes of the coordinator's region alone.
bool IsLocal(const Level& level);

// How many of `replicas` a level wants of those that count for it. `fallback`
// is the default of the options, 0 for a majority. InvalidArgument: more than
// there are.
absl::StatusOr<uint32_t> ResolveCount(const Level& level, uint32_t fallback,
                                      uint32_t replicas,
                                      absl::string_view name);

class ReplicaSet {
 public:
  // `name` is "R" or "W"; `fallback` the default of the options, 0 for a
  // majority of the owners. Errors: InvalidArgument, the level asks for more
  // replicas than there are.
  static absl::StatusOr<ReplicaSet> Resolve(
      const ShardCore& core, PartitionId partition, const Level& level,
      uint32_t fallback, const RequestOptions& options, absl::string_view name);

  // Unavailable, with what is missing, if those who can be reached now are too
  // few. `effect` ends the sentence.
  absl::Status CheckReachable(absl::string_view effect) const;

  // A tally of its demands; nobody is asked yet.
  Tally NewTally() const;
  // For Tally::Ask.
  size_t DemandOf(NodeId node) const;

  // The same of what has to come from who is whole: absent where nothing moves,
  // or all that there was is lost.
  std::optional<Tally> NewTallyOfBefore() const;
  size_t DemandOfBefore(NodeId node) const;

  // Sums over the demands.
  uint32_t required() const;
  bool strict() const { return strict_; }

  // The owners but for this node, those that can be reached first, who is slow
  // last of these (peer_times.h), of this node's region first among equals,
  // else in order of preference.
  const std::vector<NodeId>& other_owners() const { return other_owners_; }
  // Reachable nodes that may stand in, in the order in which they are asked:
  // first whoever is in the region of an owner that cannot be reached; who is
  // slow, last. Empty with strict quorums.
  const std::vector<NodeId>& stand_ins() const { return stand_ins_; }
  // How many of them are needed for the first N reachable nodes: one for each
  // owner out of reach that counts for a demand.
  uint32_t missing_owners() const { return missing_owners_; }
  // Reachable nodes that own it no longer and did by the ring before.
  const std::vector<NodeId>& former() const { return former_; }

 private:
  ReplicaSet(const ShardCore& core, PartitionId partition)
      : core_(&core), partition_(partition) {}
  void ListNodes();
  void DemandOfOthersBefore(const Level& level, uint32_t fallback);

  const ShardCore* core_;
  PartitionId partition_;
  std::string asked_as_;  // "W=3 strict", "R=local_quorum"
  std::vector<Demand> demands_;
  std::vector<NodeId> other_owners_;
  std::vector<NodeId> stand_ins_;
  std::vector<NodeId> former_;
  uint32_t missing_owners_ = 0;
  bool strict_ = false;
  bool self_counts_ = true;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REPLICA_SET_H_
