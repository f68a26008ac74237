// A whole cluster in one thread: nodes that run the real replica/ code, frames
// in the real wire encoding, virtual time. It moves things; who checks them is
// an Observer.
#ifndef DOVETAIL_TESTS_SIM_SIM_CLUSTER_H_
#define DOVETAIL_TESTS_SIM_SIM_CLUSTER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "net/peer_codec.h"
#include "replica/cluster.h"
#include "replica/options.h"
#include "replica/placement.h"
#include "tests/sim/hooks.h"
#include "tests/sim/network.h"
#include "tests/sim/node.h"
#include "tests/sim/plan.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/trace.h"

namespace dovetail::sim {

// Why a process ended; what it means for what its disk had acknowledged.
enum class Death {
  kProcess,  // the disk keeps everything
  kPower,    // the disk may lose what was not synced
  kDisk,     // the disk was replaced, emptied or set back
};

// A part of a write that a shard has run. Which of several requests minted an
// event shows nowhere outside: the node tells (crdt/hooks.h).
struct Ran {
  replica::RequestId id{};  // of a client; or of the shard's own
  replica::PartitionId partition{};
  crdt::DotRun minted;       // of length 0: it changed nothing
  bool duplicate = false;    // it had been here before, under its id
  bool more = false;         // its next part comes in a later turn
  bool first_alone = false;  // this is what it found expired, and no more
};

// Called at the places where an invariant can be checked. `shard` is in the
// middle of a turn in Before/After, between turns in the others.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void BeforeRequest(uint32_t node, replica::Shard& shard,
                             const replica::ClientRequest& request) = 0;
  virtual void BeforeMessage(uint32_t node, replica::Shard& shard,
                             const replica::Message& message) = 0;
  virtual void AfterMessage(uint32_t node, replica::Shard& shard, uint32_t from,
                            const replica::Message& message) = 0;
  virtual void BeforePeerDown(uint32_t node, replica::Shard& shard) = 0;
  virtual void BeforePlacement(uint32_t node, replica::Shard& shard) = 0;
  // It is passed on, and known by this ticket.
  virtual void OnPassedOn(uint32_t node, uint32_t to, replica::RequestId id,
                          const replica::ReadTicket& ticket) = 0;
  // A request of another node is known here by this number from now on.
  virtual void OnTaken(uint32_t node, replica::Shard& shard,
                       replica::RequestId id,
                       const replica::ReadTicket& ticket) = 0;
  // Writes that ran in the call that is over, in their order.
  virtual void OnRan(uint32_t node, replica::Shard& shard,
                     const std::vector<Ran>& writes) = 0;
  // Before its outputs leave.
  virtual void OnTurn(uint32_t node, replica::Shard& shard,
                      const replica::Output& output) = 0;
  // The message is about to be encoded and sent; false: it never arrives.
  virtual bool OnSend(uint32_t node, const replica::Envelope& envelope) = 0;
  // The reply reaches the client.
  virtual void OnReply(uint32_t node, const replica::ClientReply& reply) = 0;
  virtual void OnStopped(uint32_t node, Death death) = 0;
  virtual void OnStarted(uint32_t node) = 0;
  // What no fault explains.
  virtual void OnViolation(std::string what) = 0;
};

class SimCluster {
 public:
  // All references must outlive the cluster.
  SimCluster(const Plan& plan, Scheduler& scheduler, Trace& trace,
             hooks::Run& hooks, Observer& observer);

  uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }
  uint32_t partitions() const { return placement_->partitions(); }
  // The newest; a node may not have heard of it yet.
  const replica::Placement& placement() const { return *placement_; }
  const replica::Placement& PlacementAt(uint32_t node,
                                        replica::PartitionId partition) const;
  // Whether it was ever another than the first.
  bool ring_changed() const { return ring_changed_; }
  // Whether all running nodes have known the newest since then.
  bool RingKnownSince(int64_t at_us) const;
  const replica::RingStamp& newest_ring() const { return newest_ring_; }
  // Whether all running nodes go by it, or by a later one.
  bool AllKnow(const replica::RingStamp& ring) const;
  // When a node last began by another ring than the newest.
  int64_t late_start_us() const { return late_start_us_; }
  // When an operator last forced a ring on one whose owners lacked something,
  // or gave disks for lost.
  int64_t loose_us() const { return loose_us_; }
  // What keeps nodes from reaching one another and having one configuration;
  // empty if nothing does, and where there is no ring.
  std::string GossipDiffers() const;
  // Which node has not heard that nothing is on its way any more. Requires:
  // all run.
  std::string RingUnsettled() const;
  // Whether it owns the partition and does not know that it has all of it.
  bool IsBeingFilled(uint32_t node, replica::PartitionId partition);
  // By what ring the node goes; epoch 0: none.
  const replica::RingStamp& RingAt(uint32_t node,
                                   replica::PartitionId partition) const;
  // Those in the same region as `node`, or in the same zone of it: a bit mask.
  uint64_t RegionMates(uint32_t node) const;
  uint64_t ZoneMates(uint32_t node) const;
  Node& node(uint32_t id) { return nodes_[id]; }
  Network& network() { return network_; }
  replica::Shard& ShardOf(uint32_t node, replica::PartitionId partition);

  void StartAll();
  // A client's request arrives. False: nobody listens.
  bool Submit(uint32_t node, replica::ClientRequest request);
  // Runs something on a lane between turns, as an administrator could.
  void Control(uint32_t node, absl::FunctionRef<void(replica::Shard&)> action);

  // --- Processes ---
  // Ends the process, and starts another after `down_us`. `lose_permille`: how
  // many of the un-synced batches a power failure takes; 0: it was no power
  // failure.
  void Crash(uint32_t node, int64_t lose_permille, int64_t down_us);
  // Likewise; its disk may be damaged while it is down.
  void CrashWithDisk(uint32_t node, int64_t down_us);
  // Likewise, and replaces the disk while it is down.
  void ReplaceDisk(uint32_t node, SimDisk disk, int64_t down_us);
  void Start(uint32_t node);
  void Pause(uint32_t node, int64_t for_us);
  void Blink(uint32_t node, uint32_t peer);
  // An operator at `node` stages what PlanEvent says for `subject`, or commits
  // what is staged there; what makes no sense is refused. So is a commit while
  // data is on its way, unless it is forced.
  void Stage(uint32_t node, uint32_t subject, int64_t change);
  void Commit(uint32_t node, bool force);
  void CutBetween(uint32_t from, uint32_t to, int64_t for_us);
  void HealLinks();
  // Ends every fault, starts who is down.
  void HealAll();
  // The same for the nodes of a bit mask; cuts off the others from them.
  void HealCore(uint64_t nodes);

  uint64_t turns() const { return turns_; }
  int64_t now_us() const { return scheduler_.now_us(); }

 private:
  void Heal(uint32_t node);
  void Kill(uint32_t node, Death death, int64_t down_us);
  absl::Status Open(uint32_t node);
  void OnFrame(uint32_t from, uint32_t to, const Frame& frame);
  // Requires: the node runs.
  uint32_t LaneOf(uint32_t node, replica::PartitionId partition) const;
  void Push(uint32_t node, uint32_t lane, Input input);
  void Wake(uint32_t node, uint32_t lane, int64_t at_us);
  void Turn(uint32_t node, uint32_t lane);
  void Handle(uint32_t node, replica::Shard& shard, Input input,
              replica::Now now);
  // To the observer, what the node has told in a call of `shard`.
  void PassOnTold(uint32_t node, replica::Shard& shard);
  void Release(uint32_t node, uint32_t lane, replica::Output output);
  std::vector<std::pair<uint32_t, std::string>> Encode(
      uint32_t node, const std::vector<replica::Envelope>& messages,
      const replica::RingStamp& ring);
  absl::Status BeginFsync(uint32_t node, uint32_t lane);
  int64_t TurnTime(Node& node);
  replica::Now NowAt(const Node& node) const;

  // Whether `node` believes in its link to `peer` is looked at again then.
  void ReconsiderLater(uint32_t node, uint32_t peer, int64_t after_us);
  void Reconsider(uint32_t node, uint32_t peer);
  // That this process of `peer` can be reached; 0: none.
  void Believe(uint32_t node, uint32_t peer, crdt::ActorId process);
  void ReconsiderAll(uint32_t node, int64_t after_us);

  // --- The node strand (sim_strand.cc); all require that the node runs ---
  absl::Duration Steady() const;
  std::optional<replica::ClusterConfig> StartConfig(uint32_t node) const;
  void StartStrand(uint32_t node, replica::ClusterConfig config);
  void OnStrand(uint32_t node, StrandInput input);
  void OnGossip(uint32_t from, uint32_t to, net::PeerGossip gossip);
  void OnPlacedBy(uint32_t from, uint32_t to, const replica::RingStamp& ring);
  void WakeStrand(uint32_t node, int64_t at_us);
  void RunStrand(uint32_t node);
  void DrainStrand(uint32_t node);
  void OnClusterEvent(uint32_t node, const replica::ClusterEvent::Any& event);
  // The shards of `node` are told.
  void Reach(uint32_t node, uint32_t peer, bool up);
  void SaveCluster(uint32_t node);
  // Asks its shards what they hold, tells the strand, and calls `done`.
  void LookForData(uint32_t node, StrandInput done);
  void WatchForData(uint32_t node);
  std::shared_ptr<const replica::Placement> PlacementFor(
      const replica::ClusterEvent::NewRing& ring);
  void FindNewestRing();
  // Starts it a little later if it is to join and nobody is there to ask.
  bool WaitsToJoin(uint32_t node);

  const Plan& plan_;
  Scheduler& scheduler_;
  Trace& trace_;
  hooks::Run& hooks_;
  Observer& observer_;
  replica::ShardOptions shard_options_;
  std::shared_ptr<const replica::Placement> placement_;
  bool ring_changed_ = false;
  replica::RingStamp newest_ring_;  // that it was made of; epoch 0: none
  // Of every ring that there was, and whether with the one before it.
  std::map<std::tuple<uint64_t, replica::Hash128, bool>,
           std::shared_ptr<const replica::Placement>>
      placements_;
  int64_t ring_heard_us_ = 0;  // when somebody last heard of a change
  int64_t late_start_us_ = -1;
  int64_t loose_us_ = -1;
  Network network_;
  std::vector<Node> nodes_;
  Stream chance_;
  uint64_t turns_ = 0;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SIM_CLUSTER_H_
