// From staged changes to a committed ring, in two steps that an operator takes:
// a plan shows what would move and what would fall short, a commit makes
// exactly that plan the next epoch. Both are pure; neither asks another node,
// so membership changes while nodes are down.
#ifndef DOVETAIL_REPLICA_RING_PLAN_H_
#define DOVETAIL_REPLICA_RING_PLAN_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "replica/cluster_config.h"
#include "replica/ids.h"
#include "replica/ring.h"

namespace dovetail::replica {

struct PartitionMove {
  PartitionId partition{};
  std::vector<NodeId> gains;   // who owns it newly
  std::vector<NodeId> losses;  // who no longer does
  friend bool operator==(const PartitionMove&, const PartitionMove&) = default;
};

// Partitions of one node, in numbers.
struct NodeChange {
  NodeId id{};
  std::string name;
  uint32_t before = 0;
  uint32_t after = 0;
  uint32_t gained = 0;
  uint32_t lost = 0;
  friend bool operator==(const NodeChange&, const NodeChange&) = default;
};

// A partition that would not have what was asked for in a region.
struct Shortfall {
  PartitionId partition{};
  std::string region;
  uint32_t wanted = 0;  // N of the region
  uint32_t owners = 0;
  uint32_t zones = 0;  // in which the owners are
  friend bool operator==(const Shortfall&, const Shortfall&) = default;
};

struct Plan {
  // What it was made from: the ring, and the staged changes in it.
  uint64_t base_epoch = 0;
  Hash128 base_digest;
  std::set<StagedChanges::Key> included;

  RingSpec target;                      // of epoch base_epoch + 1
  std::vector<NodeId> gone;             // removed, and their disks are lost
  std::vector<PartitionMove> moves;     // only partitions that move
  std::vector<NodeChange> nodes;        // members before or after, by id
  std::vector<Shortfall> below_n;       // fewer than N owners
  std::vector<Shortfall> zones_shared;  // owners that share a zone
};

// The first ring of a cluster: epoch 1.
// Returns: InvalidArgument as CommittedRing::Make.
absl::StatusOr<CommittedRing> FirstRing(RingSpec ring, NodeId committed_by);

// What all staged changes would make of the committed ring.
// Returns: FailedPrecondition without a ring. InvalidArgument if nothing is
// staged or it makes no sense: who joins or replaces is a member already, who
// leaves, is removed, replaced or weighed is none, two members of one name,
// nobody left to own anything, a limit exceeded.
absl::StatusOr<Plan> MakePlan(const ClusterConfig& config);

// The same for any ring of the cluster in place of the committed one, such as
// one that was superseded.
// Returns: InvalidArgument if it has another number of partitions, or as
// CommittedRing::Make.
absl::StatusOr<Plan> PlanFor(const CommittedRing& current, RingSpec target);

// Makes the plan the committed ring of `config` and clears what it included.
// Returns: FailedPrecondition if the ring is no longer the plan's base, or if
// what the plan includes has been aborted or staged anew.
absl::Status Commit(ClusterConfig& config, const Plan& plan,
                    NodeId committed_by);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RING_PLAN_H_
