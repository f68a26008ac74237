// Virtual time: what is to happen, in the order in which it does. Time jumps
// from one event to the next, so that waiting costs nothing.
#ifndef DOVETAIL_TESTS_SIM_SCHEDULER_H_
#define DOVETAIL_TESTS_SIM_SCHEDULER_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/sim/stream.h"

namespace dovetail::sim {

class Scheduler {
 public:
  // Events of the same time come in an order drawn from the seed.
  explicit Scheduler(uint64_t seed) : ties_(seed, "ties") {}

  int64_t now_us() const { return now_us_; }
  uint64_t executed() const { return executed_; }

  // Runs `action` at that time, or now if it has passed.
  void At(int64_t us, std::function<void()> action) {
    heap_.push_back(
        {std::max(us, now_us_), ties_.Next(), inserted_++, std::move(action)});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }
  void After(int64_t us, std::function<void()> action) {
    At(now_us_ + us, std::move(action));
  }

  // Runs the next event if it is not after `end_us`; else moves the time there
  // and returns false.
  bool RunOne(int64_t end_us) {
    if (heap_.empty() || heap_.front().at_us > end_us) {
      now_us_ = std::max(now_us_, end_us);
      return false;
    }
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Event event = std::move(heap_.back());
    heap_.pop_back();
    now_us_ = event.at_us;
    ++executed_;
    event.action();
    return true;
  }

 private:
  struct Event {
    int64_t at_us = 0;
    uint64_t tie = 0;
    uint64_t inserted = 0;
    std::function<void()> action;
  };
  static bool Later(const Event& a, const Event& b) {
    return std::tie(a.at_us, a.tie, a.inserted) >
           std::tie(b.at_us, b.tie, b.inserted);
  }

  Stream ties_;
  std::vector<Event> heap_;
  int64_t now_us_ = 0;
  uint64_t inserted_ = 0;
  uint64_t executed_ = 0;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SCHEDULER_H_
