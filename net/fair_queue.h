// What waits for one thread, by who sent it: how does one who sends ten
// thousand at once not make all others wait for them?
//
// Each source has a line of its own, in order. The next to be taken is the
// first of the line that has been given least, counted in operations, so a
// batch of a hundred is a hundred (start-time fair queueing: Goyal, Vin, Cheng
// 1996, of which deficit round robin is an approximation). A source that comes
// anew begins where the others are: it is owed nothing for the time in which it
// wanted nothing.
//
// When there is little room left, it is for those who have little in here: a
// source may hold up to kShare times what is free. So one alone gets nearly
// everything, and however many are greedy, who comes next finds room.
//
// Not safe for use from several threads. Cost: O(log sources).
#ifndef DOVETAIL_NET_FAIR_QUEUE_H_
#define DOVETAIL_NET_FAIR_QUEUE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "crdt/check.h"

namespace dovetail::net {

template <class T>
class FairQueue {
 public:
  FairQueue(size_t items_max, size_t bytes_max)
      : items_max_(items_max), bytes_max_(bytes_max) {}

  // False, and `item` is as it was: there is no room for it. `cost`: in
  // operations, at least 1.
  bool TryPush(uint64_t source, T& item, size_t bytes, uint64_t cost) {
    Line& line = lines_[source];
    if (size_ >= items_max_ || bytes_ + bytes > bytes_max_ ||
        line.items.size() >= kShare * (items_max_ - size_) ||
        line.bytes > kShare * (bytes_max_ - bytes_ - bytes)) {
      Forget();
      return false;
    }
    if (line.items.empty()) {
      line.given = std::max(line.given, given_);
      line.arrived = arrivals_++;
      order_.insert({line.given, line.arrived, source});
    }
    line.items.push_back({std::move(item), bytes, std::max<uint64_t>(1, cost)});
    line.bytes += bytes;
    ++size_;
    bytes_ += bytes;
    Forget();
    return true;
  }

  // Requires: !empty().
  T Pop() {
    DOVETAIL_CHECK(!order_.empty());
    const Place first = *order_.begin();
    order_.erase(order_.begin());
    Line& line = lines_.at(first.source);
    Item item = std::move(line.items.front());
    line.items.pop_front();
    line.bytes -= item.bytes;
    --size_;
    bytes_ -= item.bytes;
    given_ = line.given;
    line.given += item.cost;
    if (!line.items.empty()) {
      line.arrived = arrivals_++;
      order_.insert({line.given, line.arrived, first.source});
    }
    return std::move(item.value);
  }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  size_t bytes() const { return bytes_; }
  // That have something in here.
  size_t sources() const { return order_.size(); }

 private:
  static constexpr size_t kShare = 8;

  struct Item {
    T value;
    size_t bytes = 0;
    uint64_t cost = 1;
  };
  struct Line {
    std::deque<Item> items;
    size_t bytes = 0;
    uint64_t given = 0;  // in operations, of those that were taken
    uint64_t arrived = 0;
  };
  struct Place {
    uint64_t given = 0;
    uint64_t arrived = 0;  // who has waited longer, among equals
    uint64_t source = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
  };

  // An empty line is kept while it has been given more than others, which it
  // has yet to make up for; but only so many.
  void Forget() {
    if (lines_.size() <= 2 * order_.size() + kIdleLinesMax) return;
    const auto erase = [this](bool all) {
      std::erase_if(lines_, [&](const auto& line) {
        return line.second.items.empty() &&
               (all || line.second.given <= given_);
      });
    };
    erase(/*all=*/false);
    if (lines_.size() > 2 * order_.size() + kIdleLinesMax) erase(/*all=*/true);
  }
  static constexpr size_t kIdleLinesMax = 64;

  const size_t items_max_;
  const size_t bytes_max_;
  std::map<uint64_t, Line> lines_;
  std::set<Place> order_;  // of lines that are not empty
  size_t size_ = 0;
  size_t bytes_ = 0;
  uint64_t given_ = 0;  // what the line had been given that was served last
  uint64_t arrivals_ = 0;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_FAIR_QUEUE_H_
