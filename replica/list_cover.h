// Which nodes must be asked so that a question about all partitions at once
// meets R owners of each? A partition's owners differ from the next one's, so
// it is nodes that are chosen, until every partition has R among them.
#ifndef DOVETAIL_REPLICA_LIST_COVER_H_
#define DOVETAIL_REPLICA_LIST_COVER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "replica/ids.h"
#include "replica/placement.h"
#include "replica/request.h"

namespace dovetail::replica {

// R of each partition, by its number; at a local level, of the owners in
// `region`. Errors: those of ResolveCount; InvalidArgument: each_quorum, for
// which there is no listing.
absl::StatusOr<std::vector<uint32_t>> RequiredOwners(const Placement& placement,
                                                     const Level& level,
                                                     uint32_t fallback,
                                                     const std::string& region);

// The same of the owners by the ring before, as far as there are so many whose
// disks are not lost; empty while nothing moves.
std::vector<uint32_t> RequiredBefore(const Placement& placement,
                                     const Level& level, uint32_t fallback,
                                     const std::string& region);

// Whose cover it is: while partitions move, a listing needs both. What was
// there before is known to owners of before, what has come since to owners.
enum class CoverOf : uint8_t { kOwners, kBefore };

struct Cover {
  // As given, then what was added, in order of choice.
  std::vector<NodeId> nodes;
  // Unavailable, naming a partition, if the usable owners are too few: then
  // `nodes` has all of those that help.
  absl::Status lacking;
};

// Whether the page of a node has all that the node is to have of a partition.
using PageHasAll = absl::FunctionRef<bool(NodeId, PartitionId)>;

// Grows `nodes` by `usable` owners until partition p has required[p] owners
// among them that list all. Cost: O(Q N).
Cover GrowCover(const Placement& placement,
                const std::vector<uint32_t>& required,
                std::vector<NodeId> nodes,
                absl::FunctionRef<bool(NodeId)> usable, PageHasAll has_all,
                CoverOf whose = CoverOf::kOwners);

// Whether `nodes` are enough as they are.
bool Covers(const Placement& placement, const std::vector<uint32_t>& required,
            const std::vector<NodeId>& nodes, PageHasAll has_all,
            CoverOf whose = CoverOf::kOwners);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_LIST_COVER_H_
