// What clients see of replica/cluster.h, and what operators do with it: from
// the state machine to plain data and back.
#ifndef DOVETAIL_NET_CLUSTER_VIEW_H_
#define DOVETAIL_NET_CLUSTER_VIEW_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/client_types.h"
#include "replica/cluster.h"

namespace dovetail::net {

// Everybody: members of the ring, and who is known beside them. By name.
std::vector<ClusterMember> MembersOf(const replica::Cluster& cluster,
                                     absl::Duration now);

// All of it but the name of the cluster and what the shards hold.
ClusterView ViewOf(const replica::Cluster& cluster, absl::Duration now);

// Does what the operator asks. `wall_ms`: of this node's clock. Errors: of the
// call to the cluster.
absl::StatusOr<PlanView> Administer(replica::Cluster& cluster,
                                    const ClusterAdmin& admin, uint64_t wall_ms,
                                    absl::Duration now);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_CLUSTER_VIEW_H_
