// Who is reachable? SWIM with Lifeguard, as a state machine without clock,
// sockets or threads: inputs bring the time, outputs are drained after each.
//
// Each period a node pings one member, in random order. Without an answer it
// asks three others to ping it; without an answer through them either it
// suspects the member. News ride on pings and acks. The suspected member hears
// of it and refutes with a larger incarnation, or is dead to all when its time
// is over. Now and then two nodes compare their views, and exchange them whole
// if they differ; so what rumours missed, and what a partition kept apart, is
// made good.
//
// Invariants:
// 1. It reports reachability and nothing else: the owner steers requests by
//    it. It never changes who owns what, and no member leaves but by Forget.
// 2. Dead is not final: a member's own larger incarnation brings it back.
//    Therefore a process must start with an incarnation larger than any it had
//    before (from a persisted number, or the time of its start).
// 3. A member is its id. Its addresses may change with each incarnation.
// 4. The same inputs and the same seed give the same outputs.
// 5. Every queue has a limit in membership_options.h; outputs hold what the
//    inputs since the last drain made.
//
// Sources: Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar, Phillips, Currey,
// "Lifeguard", arXiv:1707.00788.
#ifndef DOVETAIL_REPLICA_MEMBERSHIP_H_
#define DOVETAIL_REPLICA_MEMBERSHIP_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "replica/broadcast_queue.h"
#include "replica/gossip_message.h"
#include "replica/local_health.h"
#include "replica/member.h"
#include "replica/member_table.h"
#include "replica/membership_options.h"
#include "replica/probe_order.h"
#include "replica/splitmix.h"
#include "replica/suspicion.h"

namespace dovetail::replica {

struct GossipEnvelope {
  // By address only for a seed, whose id is not known yet.
  std::variant<NodeId, std::string> to;
  GossipMessage message;
};

struct MembershipEvent {
  enum class Kind : uint8_t {
    kJoined,  // first heard of; alive unless kSuspect.. follows
    kAlive,   // again, after any of the next three
    kSuspect,
    kDead,
    kLeft,
    kInfoChanged,  // such as another address
    kConflict,     // `info` goes by the id of another node, an operator's
                   // error; without a name if it is a peer that goes by ours
    kPeerConfig,   // `id` goes by `config`, which is not ours
  };
  Kind kind;
  NodeId id{};
  std::optional<MemberInfo> info;  // of kJoined, kInfoChanged, kConflict
  ConfigDigest config;             // of kPeerConfig

  friend bool operator==(const MembershipEvent&,
                         const MembershipEvent&) = default;
};

struct MembershipCounters {
  uint64_t probes_failed = 0;
  uint64_t suspicions_raised = 0;  // by own probes
  uint64_t refutations = 0;        // of suspicions of this node
  uint64_t stalls = 0;             // this node stood still
  uint64_t members_refused = 0;
  uint64_t relays_refused = 0;
  uint64_t pings_for_others = 0;  // meant for another node at this address
};

class Membership {
 public:
  // Times are since a fixed point of this process and never go back.
  // Requires: `self` passes CheckInfo; `incarnation` < kIncarnationMax.
  Membership(const MembershipOptions& options, MemberInfo self,
             uint64_t incarnation, uint64_t seed, absl::Duration now);
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // `from` is whom the link to the sender authenticated.
  void HandleMessage(NodeId from, const GossipMessage& message,
                     absl::Duration now);
  // To be called when next_deadline() has come; harmless earlier.
  void HandleTimers(absl::Duration now);

  // Hints of the transport, no verdicts. A new link to a member thought
  // unreachable compares views at once; a broken one probes at once.
  void HandleLinkUp(NodeId peer, absl::Duration now);
  void HandleLinkDown(NodeId peer, absl::Duration now);

  // A node to ask for the others; tried at once, again until somebody is
  // known, and later on if nobody known has this address.
  // Returns: ResourceExhausted beyond `seeds_max`.
  absl::Status AddSeed(std::string address, absl::Duration now);
  // Same id and name; what else differs is told to all.
  void SetSelfInfo(MemberInfo info, absl::Duration now);
  // The configuration this node goes by; compared with a member soon.
  void SetConfig(const ConfigDigest& config, absl::Duration now);
  // The operator removed it. It comes back only by an incarnation larger than
  // the one known. Requires: not this node.
  void Forget(NodeId id, absl::Duration now);
  // Says good-bye; from then on it only answers.
  void Leave(absl::Duration now);

  std::vector<GossipEnvelope> TakeMessages();
  std::vector<MembershipEvent> TakeEvents();
  // InfiniteDuration after Leave.
  absl::Duration next_deadline() const;

  // All of them, this node and the dead included.
  const std::map<NodeId, Member>& members() const { return table_.members(); }
  const Member& self() const { return table_.self(); }
  uint32_t local_health() const { return health_.score(); }
  const MembershipCounters& counters() const { return counters_; }
  size_t rumors_queued() const { return queue_.size(); }
  size_t probes_in_flight() const { return probes_.size(); }
  size_t relays_in_flight() const { return relays_.size(); }

 private:
  // Where a rumour comes from: passed on by others, or a row of a whole view.
  // Rows of the first view are not passed on: what is new to a newcomer is
  // what everybody knows.
  enum class Source { kGossip, kExchange, kFirstExchange };

  // A member is being pinged. Through relays after `indirect_at`.
  struct Probe {
    uint64_t seq = 0;
    NodeId target{};
    uint64_t incarnation = 0;  // of the target when the probe began
    absl::Duration indirect_at;
    absl::Duration end_at;
    bool indirect = false;
    std::vector<NodeId> relays;   // asked
    std::vector<NodeId> awaited;  // of those, who said nothing yet
  };
  // A ping for another node's probe.
  struct Relay {
    uint64_t seq = 0;  // of this node's ping
    NodeId target{};
    NodeId prober{};
    uint64_t prober_seq = 0;
    absl::Duration nack_at;
    absl::Duration end_at;
    bool nacked = false;
  };

  // membership.cc: what is known
  void Enter(absl::Duration now);
  void OnRumor(NodeId from, Rumor rumor, Source source, absl::Duration now);
  void OnSelfRumor(const Rumor& rumor, absl::Duration now);
  void OnClaim(const Rumor& rumor, const Merged& merged, absl::Duration now);
  void OnSameClaim(const Rumor& rumor);
  void StartSuspicion(const Rumor& rumor, absl::Duration now);
  void ExpireSuspicions(absl::Duration now);
  void Announce(Member self, absl::Duration now);
  void ReportConflict(const MemberInfo& other);
  void Report(MembershipEvent::Kind kind, NodeId id);
  enum class WithInfo { kIfAlive, kAlways };
  Rumor RumorOf(const Member& member, WithInfo with_info) const;
  void Send(NodeId to, GossipBody body);
  bool IsLive(NodeId id) const;
  SuspicionLaw Law() const;

  // membership_probe.cc: who answers
  void OnBody(NodeId from, const Ping& ping, absl::Duration now);
  void OnBody(NodeId from, const PingReq& request, absl::Duration now);
  void OnBody(NodeId from, const PingAck& ack, absl::Duration now);
  void OnBody(NodeId from, const PingNack& nack, absl::Duration now);
  void StartProbe(NodeId target, absl::Duration now, absl::Duration indirect_at,
                  absl::Duration end_at);
  void StartRegularProbe(absl::Duration now);
  void AskRelays(Probe& probe);
  void JudgeProbe(const Probe& probe, absl::Duration now);
  void HandleProbeTimers(absl::Duration now);
  void HandleRelayTimers(absl::Duration now);
  bool IsProbed(NodeId target) const;
  std::vector<NodeId> DrawLive(size_t count, NodeId but);

  // membership_exchange.cc: whole views
  void OnBody(NodeId from, const Compare& compare, absl::Duration now);
  void OnBody(NodeId from, const StateRequest& request, absl::Duration now);
  void OnBody(NodeId from, const StateReply& reply, absl::Duration now);
  void OnConfig(NodeId from, const ConfigDigest& config);
  void OnRows(NodeId from, const std::vector<Rumor>& rows, absl::Duration now);
  void Introduce(NodeId from, absl::Duration now);
  void SendCompare(NodeId to);
  void ContactSeeds();
  void HandleExchangeTimers(absl::Duration now);
  void RetryDead();
  std::vector<Rumor> Rows() const;
  absl::Duration ExchangePeriod() const;

  const MembershipOptions options_;
  SplitMix random_;
  MemberTable table_;
  ProbeOrder order_;  // whoever is alive or suspected, but this node
  BroadcastQueue queue_;
  LocalHealth health_;
  std::map<NodeId, Suspicion> suspicions_;   // exactly of suspected members
  std::map<NodeId, std::string> conflicts_;  // names reported
  std::vector<Probe> probes_;
  std::vector<Relay> relays_;
  std::vector<std::string> seeds_;
  ConfigDigest config_;
  bool left_ = false;
  // Larger incarnations of this node that name another address.
  uint64_t claims_from_elsewhere_ = 0;
  uint64_t next_seq_ = 1;
  absl::Duration next_probe_;
  absl::Duration next_exchange_;
  absl::Duration next_reconnect_;
  absl::Duration next_introduction_;
  MembershipCounters counters_;
  std::vector<GossipEnvelope> messages_;
  std::vector<MembershipEvent> events_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_MEMBERSHIP_H_
