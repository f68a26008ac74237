// What waits for one shard: whose turn is it?
//
//   first     what peers sent for requests, and this node's own: it ends what
//   was
//             begun elsewhere
//   then      what peers sent to catch up (sync): at least one input of each
//             turn, and no more than sync_bytes of them
//   the rest  clients' requests, each source in a line of its own
//             (fair_queue.h); an eighth of a turn is kept for them
//
// Of each kind in order. A backlog of minutes comes in pieces of 2,000 deltas,
// and were they to wait in line with all others, or as many share a turn as had
// come, a request that needs three turns would wait for seconds after a heal.
//
// Not safe for use from several threads.
#ifndef DOVETAIL_NET_LANE_QUEUE_H_
#define DOVETAIL_NET_LANE_QUEUE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "net/fair_queue.h"

namespace dovetail::net {

template <class T>
class LaneQueue {
 public:
  struct Options {
    // Of one turn, beside sync_bytes.
    size_t turn_inputs_max = 256;
    size_t sync_bytes = 64 << 10;
    // Of clients' requests, and as much again of what peers sent.
    size_t inputs_max = 65'536;
    size_t bytes_max = 64 << 20;
  };
  enum class Kind : bool { kRequests, kSync };

  explicit LaneQueue(const Options& options)
      : options_(options), clients_(options.inputs_max, options.bytes_max) {}

  // From a peer. False, and `item` is as it was: there is no room for it.
  bool TryPush(Kind kind, T& item, size_t bytes) {
    if (first_.size() + sync_.size() >= options_.inputs_max ||
        bytes_ + bytes > options_.bytes_max) {
      return false;
    }
    (kind == Kind::kSync ? sync_ : first_).push_back({std::move(item), bytes});
    bytes_ += bytes;
    return true;
  }
  // From this node: there is always room.
  void Push(T item, size_t bytes) {
    first_.push_back({std::move(item), bytes});
    bytes_ += bytes;
  }
  // From a client; as FairQueue::TryPush.
  bool TryPushOf(uint64_t source, T& item, size_t bytes, uint64_t cost) {
    return clients_.TryPush(source, item, bytes, cost);
  }

  // Appends the inputs of a turn.
  void Take(std::vector<T>& turn) {
    const size_t most = turn.size() + options_.turn_inputs_max;
    const size_t kept =
        std::min(clients_.size(),
                 std::max<size_t>(1, options_.turn_inputs_max / kClientsPart));
    size_t sync_bytes = 0;
    while (!first_.empty() &&
           turn.size() + kept + (sync_.empty() ? 0 : 1) < most) {
      turn.push_back(Pop(first_));
    }
    while (!sync_.empty() && sync_bytes < options_.sync_bytes &&
           (sync_bytes == 0 || turn.size() + kept < most)) {
      sync_bytes += std::max<size_t>(1, sync_.front().bytes);
      turn.push_back(Pop(sync_));
    }
    while (!clients_.empty() && turn.size() < most) {
      turn.push_back(clients_.Pop());
    }
  }

  bool empty() const {
    return first_.empty() && sync_.empty() && clients_.empty();
  }
  size_t size() const { return first_.size() + sync_.size() + clients_.size(); }
  size_t bytes() const { return bytes_ + clients_.bytes(); }
  size_t clients() const { return clients_.size(); }

 private:
  // Of a turn, at the least, while clients wait.
  static constexpr size_t kClientsPart = 8;

  struct Item {
    T value;
    size_t bytes = 0;
  };

  T Pop(std::deque<Item>& from) {
    Item item = std::move(from.front());
    from.pop_front();
    bytes_ -= item.bytes;
    return std::move(item.value);
  }

  const Options options_;
  std::deque<Item> first_;
  std::deque<Item> sync_;
  size_t bytes_ = 0;  // of both
  FairQueue<T> clients_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_LANE_QUEUE_H_
