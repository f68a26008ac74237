// What a plan costs: how many bytes come to whom and go from whom, and how many
// copies there are until they have come? By what nodes said of their load and
// by who can be reached; for the eyes of an operator alone.
#ifndef DOVETAIL_REPLICA_PLAN_ESTIMATE_H_
#define DOVETAIL_REPLICA_PLAN_ESTIMATE_H_

#include <cstdint>
#include <map>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "replica/ids.h"
#include "replica/node_load.h"
#include "replica/ring.h"
#include "replica/ring_plan.h"

namespace dovetail::replica {

struct MoveBytes {
  uint64_t in = 0;
  uint64_t out = 0;
};

struct PlanEstimate {
  std::map<NodeId, MoveBytes> bytes;  // of those that gain or lose something
  // Partitions that move of which no owner has said what it carries: they count
  // as the mean of the others.
  uint64_t unknown = 0;
  // Partitions that have fewer owners who can be reached than they should,
  // until the plan is carried out.
  uint64_t below_n_meanwhile = 0;
  // Until all bytes have come at the limit of each node's rate. Absent: one who
  // gets some has no limit, or did not say, or nobody knows how many they are.
  std::optional<absl::Duration> time;
};

// A partition takes as much as an equal part of what each of its owners
// carries, the mean of them.
// `is_there`: whether the node can be reached. Requires: `plan` was made of
// `before`.
PlanEstimate Estimate(const Plan& plan, const Ring& before,
                      const LoadTable& loads,
                      absl::FunctionRef<bool(NodeId)> is_there);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PLAN_ESTIMATE_H_
