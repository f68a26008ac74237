// The links between simulated nodes: frames are delayed, lost, doubled, held
// back, brought again long after, and overtake one another, also across
// restarts of both ends. Links are cut one way, two ways or clogged for a
// while. Whether a node *believes* that a link is up is the cluster's business.
#ifndef DOVETAIL_TESTS_SIM_NETWORK_H_
#define DOVETAIL_TESTS_SIM_NETWORK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/plan.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/stream.h"

namespace dovetail::sim {

using Frame = std::shared_ptr<const std::string>;

struct NetworkStats {
  uint64_t sent = 0;
  uint64_t bytes = 0;
  uint64_t delivered = 0;
  uint64_t lost = 0;
  uint64_t doubled = 0;
  uint64_t late = 0;
  uint64_t replayed = 0;
};

class Network {
 public:
  using Deliver =
      std::function<void(uint32_t from, uint32_t to, const Frame& frame)>;

  // The references must outlive the network.
  Network(Scheduler& scheduler, const Plan& plan, Deliver deliver);

  void Send(uint32_t from, uint32_t to, std::string frame);

  // --- Faults; each lasts until the given time ---
  void Cut(uint32_t from, uint32_t to, int64_t until_us);
  void Clog(uint32_t from, uint32_t to, int64_t until_us);
  // Brings again up to three frames of those lately sent.
  void Replay(uint32_t from, uint32_t to);
  // Ends them.
  void HealLinks();
  // Ends all of it, the random loss too.
  void HealAll();

  bool IsCut(uint32_t from, uint32_t to) const;
  const NetworkStats& stats() const { return stats_; }

 private:
  struct Link {
    Stream chance;
    int64_t cut_until_us = 0;
    int64_t clogged_until_us = 0;
    std::deque<Frame> recent;  // at most kRecentMax
  };
  static constexpr size_t kRecentMax = 32;

  Link& At(uint32_t from, uint32_t to) { return links_[from * nodes_ + to]; }
  void Schedule(uint32_t from, uint32_t to, Frame frame, int64_t delay_us);

  Scheduler& scheduler_;
  const PlanOptions& options_;
  const uint32_t nodes_;
  const Deliver deliver_;
  std::vector<Link> links_;
  bool healed_ = false;
  NetworkStats stats_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_NETWORK_H_
