// Whom to probe next? Everybody once, in random order, then again in another
// order. So a member that fails is probed by each other within two rounds at
// the latest, and on average as soon as with a random choice each time.
// Source: Das, Gupta, Motivala, "SWIM", DSN 2002, section 4.3.
#ifndef DOVETAIL_REPLICA_PROBE_ORDER_H_
#define DOVETAIL_REPLICA_PROBE_ORDER_H_

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "replica/ids.h"
#include "replica/splitmix.h"

namespace dovetail::replica {

class ProbeOrder {
 public:
  // `random` must outlive it.
  explicit ProbeOrder(SplitMix& random) : random_(random) {}

  // At a random place of what is left of this round.
  void Add(NodeId id) {
    Remove(id);
    const size_t at = next_ + random_.Below(order_.size() - next_ + 1);
    order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(at), id);
  }
  void Remove(NodeId id) {
    const auto it = std::find(order_.begin(), order_.end(), id);
    if (it == order_.end()) return;
    if (it - order_.begin() < static_cast<std::ptrdiff_t>(next_)) --next_;
    order_.erase(it);
  }
  // Its turn in this round comes now.
  void PutFirst(NodeId id) {
    Remove(id);
    order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(next_), id);
  }

  std::optional<NodeId> Next() {
    if (order_.empty()) return std::nullopt;
    if (next_ == order_.size()) {
      random_.DrawToFront(order_, order_.size());
      next_ = 0;
    }
    return order_[next_++];
  }

  size_t size() const { return order_.size(); }

 private:
  SplitMix& random_;
  std::vector<NodeId> order_;
  size_t next_ = 0;  // <= order_.size(); what stands before it had its turn
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_PROBE_ORDER_H_
