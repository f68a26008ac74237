// The network of a scenario: what is queued between two nodes, and which ways
// are cut. It moves nothing by itself.
#ifndef DOVETAIL_TESTS_SCENARIO_NETWORK_H_
#define DOVETAIL_TESTS_SCENARIO_NETWORK_H_

#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "replica/ids.h"
#include "replica/message.h"

namespace dovetail::scenario {

// A delta on its way.
struct QueuedDelta {
  replica::PartitionId partition{};
  replica::Replicate replicate;
};

class Network {
 public:
  // One direction between two nodes.
  using Way = std::pair<replica::NodeId, replica::NodeId>;
  using Queue = std::deque<QueuedDelta>;

  Queue& queue(Way way) { return queues_[way]; }
  const std::map<Way, Queue>& queues() const { return queues_; }
  size_t queued_bytes(Way way) const {
    const auto it = queues_.find(way);
    size_t bytes = 0;
    if (it == queues_.end()) return bytes;
    for (const QueuedDelta& delta : it->second) {
      bytes += delta.replicate.delta.size();
    }
    return bytes;
  }

  void Cut(Way way) { cut_.insert(way); }
  void Heal(Way way) { cut_.erase(way); }
  void HealAll() { cut_.clear(); }
  bool IsCut(Way way) const { return cut_.contains(way); }

 private:
  std::map<Way, Queue> queues_;
  std::set<Way> cut_;
};

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_NETWORK_H_
