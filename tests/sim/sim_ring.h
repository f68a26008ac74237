// Where the nodes of a plan are, and who owns what at its beginning.
#ifndef DOVETAIL_TESTS_SIM_SIM_RING_H_
#define DOVETAIL_TESTS_SIM_SIM_RING_H_

#include <cstdint>
#include <memory>
#include <string>

#include "replica/cluster.h"
#include "replica/cluster_config.h"
#include "replica/placement.h"
#include "tests/sim/plan.h"

namespace dovetail::sim {

// The first nodes are each in a region of its own, so that none is empty;
// chance says where the others are.
std::string RegionOf(const Plan& plan, uint32_t node);
std::string ZoneOf(const Plan& plan, uint32_t node);

replica::RingMember MemberOf(const Plan& plan, uint32_t node);

// Requires: options.ring.
replica::CommittedRing FirstRingOf(const Plan& plan);
std::shared_ptr<const replica::Placement> FirstPlacement(const Plan& plan);
// As nodes hear of it, with the one before it.
replica::ClusterEvent::NewRing NewRingOf(const replica::CommittedRing& ring);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SIM_RING_H_
