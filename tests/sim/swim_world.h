// Memberships on a simulated network: for tests of replica/membership.h, and
// for the figures of swim_table.cc. Virtual time; every message is delayed,
// lost or cut off as drawn from the seed.
#ifndef DOVETAIL_TESTS_SIM_SWIM_WORLD_H_
#define DOVETAIL_TESTS_SIM_SWIM_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "replica/membership.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/stream.h"

namespace dovetail::sim {

struct SwimSettings {
  uint64_t seed = 1;
  replica::MembershipOptions options = {};
  int64_t latency_min_us = 500;
  int64_t latency_max_us = 2000;
  int64_t loss_permille = 0;
  // Deliver what the bytes decode to, and hash them into trace(). The table
  // needs only their number.
  bool through_codec = true;
};

class SwimWorld {
 public:
  explicit SwimWorld(const SwimSettings& settings);

  // A node that does not run yet; its number, from 0. Id, name and addresses
  // are made from it.
  size_t Add();
  // Adds `count` nodes and starts them, each with node 0 as its seed; runs
  // until all know all. False if that takes more than five minutes.
  bool StartAll(size_t count);

  // Adds and starts `count` nodes that know each other from the start: a
  // thousand that join one by one take a minute to simulate.
  void StartAcquainted(size_t count);

  // Starts it; `seed` is an address or empty.
  void Start(size_t node, uint64_t incarnation, const std::string& seed);
  // Without a word.
  void Kill(size_t node);
  // It handles nothing for so long, as a stopped process; what is sent to it
  // waits.
  void Pause(size_t node, absl::Duration how_long);
  // Its timers run, but messages in and out wait for so long: the slow message
  // processing of the Lifeguard paper.
  void Block(size_t node, absl::Duration how_long);
  // Whether messages from `from` reach `to`; by default all do.
  void SetFilter(std::function<bool(size_t from, size_t to)> passes) {
    passes_ = std::move(passes);
  }
  // Called after anything was done to a node from outside.
  void Drain(size_t node);

  void RunFor(absl::Duration how_long);
  // Asks after each event. False if `limit` passes first.
  bool RunUntil(const std::function<bool()>& done, absl::Duration limit);
  absl::Duration now() const { return absl::Microseconds(scheduler_.now_us()); }

  size_t size() const { return nodes_.size(); }
  replica::NodeId id(size_t node) const { return nodes_[node].info.id; }
  replica::MemberInfo& info(size_t node) { return nodes_[node].info; }
  bool running(size_t node) const { return nodes_[node].membership != nullptr; }
  bool paused(size_t node) const {
    return nodes_[node].paused_until_us > scheduler_.now_us();
  }
  replica::Membership& at(size_t node) { return *nodes_[node].membership; }
  size_t NodeOf(replica::NodeId id) const;

  // What a running node holds of another.
  bool Holds(size_t node, size_t about, replica::MemberState state) const;
  // Every running node but `about` does.
  bool AllHold(size_t about, replica::MemberState state) const;
  bool AllAlive() const;

  using Observer =
      std::function<void(size_t node, const replica::MembershipEvent& event)>;
  void SetObserver(Observer observer) { observer_ = std::move(observer); }
  uint64_t bytes_sent() const { return bytes_; }
  uint64_t messages_sent() const { return messages_; }
  // Of every message: when, from whom, to whom, its bytes.
  const replica::Hash128& trace() const { return trace_; }

 private:
  struct Node {
    replica::MemberInfo info;
    std::unique_ptr<replica::Membership> membership;
    uint64_t life = 0;  // so that a dead one's events find nobody
    int64_t armed_us = -1;
    int64_t paused_until_us = 0;
    int64_t blocked_until_us = 0;
    std::vector<std::pair<replica::NodeId, replica::GossipMessage>> held;
    std::vector<replica::GossipEnvelope> held_out;
  };

  void Arm(size_t node);
  void Wake(size_t node, uint64_t life);
  void Resume(size_t node, uint64_t life);
  void Unblock(size_t node, uint64_t life);
  bool blocked(size_t node) const {
    return nodes_[node].blocked_until_us > scheduler_.now_us();
  }
  // size() if there is nobody.
  size_t Target(const replica::GossipEnvelope& envelope) const;
  void Route(size_t from, replica::GossipEnvelope envelope);
  void Deliver(size_t from, size_t to, uint64_t life,
               replica::GossipMessage message);

  SwimSettings settings_;
  Scheduler scheduler_;
  Stream network_;
  std::vector<Node> nodes_;
  std::map<replica::NodeId, size_t> by_id_;
  std::function<bool(size_t, size_t)> passes_;
  Observer observer_;
  uint64_t bytes_ = 0;
  uint64_t messages_ = 0;
  replica::Hash128 trace_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SWIM_WORLD_H_
