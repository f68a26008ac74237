// A seed → a plan. Swarm testing (Groce et al., ISSTA 2012): which kinds of
// faults and operations a plan has at all is drawn first, each with a
// probability of one half, so that plans differ in character and not only in
// order. A tenth of the plans has no fault at all.
#ifndef DOVETAIL_TESTS_SIM_DRAW_H_
#define DOVETAIL_TESTS_SIM_DRAW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/sim/plan.h"
#include "tests/sim/stream.h"

namespace dovetail::sim {

// swarm    everything, each kind with probability one half (the default)
// quiet    no faults
// network, process, disk, clock   faults of this sort alone
// loss     disks may lose every copy of a write: the loss must be loud
// expiry   everything, and objects that expire, as in some plans of the others
// moving   everything, and members that come and go all the time; where rows
//          are damaged they only come, and weigh more or less
// crowds   faults of the network, and many clients at once
absl::StatusOr<Plan> DrawPlan(uint64_t seed, const std::string& profile);
const std::vector<std::string>& ProfileNames();

// draw_operations.cc: appends the operations and reads of clients.
// `expires`: some of them on objects that expire.
void DrawOperations(Plan& plan, bool expires);
// draw_crowds.cc: appends what many do at once.
void DrawCrowds(Plan& plan);
// draw_faults.cc: appends faults of the kinds that `profile` allows.
// `moving`: and many changes of members.
void DrawFaults(Plan& plan, const std::string& profile, bool moving);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_DRAW_H_
