#include "src/client/slow_nodes.h"

#include <utility>
#include <vector>

#include "src/client/steady_clock.h"

namespace dovetail::internal {
namespace {

// Of clients there are many more than of nodes, and each of them probes.
replica::ShardOptions OptionsOfClients() {
  replica::ShardOptions options;
  options.slow_probe_period = absl::Milliseconds(250);
  options.slow_quick_answers = 4;
  return options;
}

}  // namespace

SlowNodes::SlowNodes()
    : options_(OptionsOfClients()),
      placement_(0, std::vector<replica::Placement::Member>(), {}),
      times_(options_, placement_) {}

void SlowNodes::SetRing(const replica::RingSpec& ring) {
  std::vector<replica::Placement::Member> members;
  for (const replica::RingMember& member : ring.members) {
    members.push_back({member.id, member.name, member.zone, member.region});
  }
  placement_ = replica::Placement(ring.epoch, members, {});
}

void SlowNodes::Sent(replica::NodeId node, uint64_t call) {
  times_.Asked(node, call, SteadyNow());
}

void SlowNodes::Answered(replica::NodeId node, uint64_t call) {
  times_.Answered(node, call, SteadyNow());
}

bool SlowNodes::IsBetter(const Routes::Owner& other,
                         const Routes::Owner& slow) const {
  if (times_.IsSlow(other.node)) return false;
  if (other.nearness != Nearness::kElsewhere ||
      slow.nearness == Nearness::kElsewhere) {
    return true;
  }
  const auto there = times_.P95(other.node);
  const auto here = times_.P95(slow.node);
  return !there.has_value() || !here.has_value() || *there < *here;
}

bool SlowNodes::TakeProbe(replica::NodeId node) {
  return times_.TakeProbe(node, SteadyNow());
}

}  // namespace dovetail::internal
