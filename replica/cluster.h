// The cluster as one node sees it: who belongs to it, who owns what, who can be
// reached. Gossip (membership.h) says the last, the configuration
// (cluster_config.h) the others; here they meet. A state machine like its
// parts: inputs bring the time, outputs are drained after each.
//
//   Membership --- who is alive ---+
//   links up and down -------------+--> Reachable / Unreachable
//   gossip, frames: "I go by ring (epoch, digest)" -+
//   configurations from nodes ----------------------+--> NewRing, persist it
//   the operator: stage, abort, commit, buckets ----+--> NewBuckets
//
// How a configuration spreads. Who changes its own pushes it to the nodes it
// has links to (kConfigFanout of them, drawn at random, so that it reaches
// everybody in a few rounds). Who meets a node that goes by another asks for
// the newer, or sends its own if that is the newer; who gets one merges it and
// answers if the sender's was not the whole of it. So any two that talk end
// with the same, whatever was lost.
//
// Invariants:
// 1. A node is reachable exactly while the link to it is up and membership does
//    not hold it dead or gone. That never changes who owns what.
// 2. The ring only goes forward in the order of Precedes(). A committed ring
//    that lost to one it is no ancestor of is kept for the operator.
// 3. Who is known but in no committed ring owns nothing.
// 4. The same inputs and the same seed give the same outputs.
#ifndef DOVETAIL_REPLICA_CLUSTER_H_
#define DOVETAIL_REPLICA_CLUSTER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "replica/cluster_config.h"
#include "replica/ids.h"
#include "replica/membership.h"
#include "replica/node_load.h"
#include "replica/ring.h"
#include "replica/ring_plan.h"
#include "replica/ring_stamp.h"
#include "replica/splitmix.h"

namespace dovetail::replica {

// Nodes that a change is pushed to at once.
inline constexpr size_t kConfigFanout = 16;
// The same configuration goes to the same node, and the same question, once in
// this time at the most.
inline constexpr absl::Duration kConfigRetry = absl::Seconds(1);

struct ClusterEvent {
  // Who owns what has changed; also once at the start, and once more when all
  // owners have said that they are complete.
  struct NewRing {
    std::shared_ptr<const Ring> ring;
    RingLineage lineage;
    // The ring before, while partitions may be on their way from its owners;
    // and who of these have lost their disks.
    std::shared_ptr<const Ring> before;
    std::vector<NodeId> gone;
  };
  // The properties of buckets have changed.
  struct NewBuckets {
    std::shared_ptr<const BucketDefaults> buckets;
  };
  // Transfers are to rest, or to go on; not said at the start unless they rest.
  struct PauseTransfers {
    bool paused = false;
  };
  // Repeated when a link comes up again.
  struct Reachable {
    NodeId node{};
  };
  struct Unreachable {
    NodeId node{};
  };
  // There is such a node, or it is at another address.
  struct KnownPeer {
    NodeId node{};
    std::string name;
    std::string peer_address;
  };
  struct LogLine {
    std::string text;
  };
  using Any = std::variant<NewRing, NewBuckets, PauseTransfers, Reachable,
                           Unreachable, KnownPeer, LogLine>;
};

// To a node there is a link to.
struct ClusterEnvelope {
  enum class Kind : uint8_t { kGossip, kConfig, kConfigRequest };
  NodeId to{};
  Kind kind = Kind::kGossip;
  std::string bytes;  // EncodeGossip, EncodeClusterConfig, or none
};

// What an operator wants of the properties of a bucket.
struct BucketChange {
  enum class Kind : uint8_t { kCreate, kUpdate, kDelete };
  Kind kind = Kind::kCreate;
  std::string bucket;
  BucketSettings settings;  // not of kDelete; others stay as they are
  friend bool operator==(const BucketChange&, const BucketChange&) = default;
};

// What an operator wants of a member.
struct NamedChange {
  ChangeKind kind = ChangeKind::kLeave;  // never kJoin
  std::string name;                      // the member
  std::string by;                        // of kReplace: who takes its place
  uint32_t weight = 0;                   // of kWeight
  friend bool operator==(const NamedChange&, const NamedChange&) = default;
};

// What a node says of its data, in the payload of its info.
struct Holdings {
  // Whether any partition there has ever had an event.
  bool data = false;
  // By this ring it owns so many partitions that it does not yet have all of.
  // No ring: it did not say.
  RingStamp ring;
  uint32_t incomplete = 0;
  // It has heard that by this ring nobody is incomplete any more.
  bool settled = false;
  friend bool operator==(const Holdings&, const Holdings&) = default;
};
std::string EncodeHoldings(const Holdings& holdings);
// Absent: it has said nothing yet, or what nobody understands.
std::optional<Holdings> HoldingsOf(const MemberInfo& info);
// Whether the node has said that it holds data.
bool HoldsData(const MemberInfo& info);

class Cluster {
 public:
  // Times are since a fixed point of this process and never go back.
  // Requires: `config` has a ring; the rest as Membership.
  Cluster(const MembershipOptions& options, MemberInfo self,
          uint64_t incarnation, uint64_t seed, ClusterConfig config,
          absl::Duration now);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // --- From other nodes; `from` is whom the link authenticated ---
  // InvalidArgument: not what a node of ours sends; close the link.
  absl::Status HandleGossip(NodeId from, absl::string_view bytes,
                            absl::Duration now);
  absl::Status HandleConfig(NodeId from, absl::string_view bytes,
                            absl::Duration now);
  void HandleConfigRequest(NodeId from, absl::Duration now);
  // A frame came that was placed by this ring; `stamp` may be 0, "by none".
  void HandlePeerRing(NodeId from, const RingStamp& stamp, absl::Duration now);
  // Somebody who is no node goes by that ring. If it is newer than this node's,
  // some of the others are asked for theirs.
  void HandleClientRing(const RingStamp& stamp, absl::Duration now);
  void HandleLinkUp(NodeId peer, absl::Duration now);
  void HandleLinkDown(NodeId peer, absl::Duration now);
  // What the node says of its load; nothing comes of it but to be shown.
  void HandleLoad(NodeId from, NodeLoad load, absl::Duration now);
  void HandleTimers(absl::Duration now);

  // --- From this node ---
  // What it carries; what others are told. The epoch is filled in.
  const NodeLoad& SetOwnLoad(NodeLoad load, absl::Duration now);
  // What others hear of it; same id and name. Keeps the payload.
  void SetSelfInfo(MemberInfo info, absl::Duration now);
  // Until the first call it is unknown. `settled` is filled in.
  void SetHoldings(Holdings holdings, absl::Duration now);
  // The same of a node that has all of what it owns.
  void SetHoldsData(bool holds, absl::Duration now);

  // Tells the others that this node goes for good. It must own nothing.
  void Leave(absl::Duration now);

  // --- From the operator ---
  // Errors: InvalidArgument, FailedPrecondition, ResourceExhausted.
  absl::Status Stage(StagedChange change, absl::Duration now);
  // Joins of those of these names; of no names, of all who are alive and in no
  // ring. Returns the names staged.
  absl::StatusOr<std::vector<std::string>> StageJoins(
      const std::vector<std::string>& names, absl::Duration now);
  // Of a member by its name. Also refused: what makes no plan together with
  // what else is staged.
  absl::Status StageNamed(const NamedChange& change, absl::Duration now);
  // Takes back all that is staged.
  void Abort(absl::Duration now);
  absl::StatusOr<Plan> MakePlan() const;
  // Commits what is staged. `base_epoch`: of the plan that was looked at, 0 if
  // none was. FailedPrecondition: the ring has changed since; or there is data,
  // and partitions are still on their way by the ring that there is: what a
  // quorum of its new owners holds might not be all. `force`: for all that.
  absl::Status Commit(uint64_t base_epoch, absl::Duration now,
                      bool force = false);
  // `wall_ms`: of this node's clock; orders changes that were made apart.
  // Errors: of CheckSettings and BucketTable; nothing has changed.
  absl::Status ChangeBucket(const BucketChange& change, uint64_t wall_ms,
                            absl::Duration now);

  // For the whole cluster. `wall_ms`: as above.
  void PauseTransfers(bool paused, uint64_t wall_ms, absl::Duration now);

  // --- Outputs: events first, then the configuration to persist, then what
  // goes to others ---
  std::vector<ClusterEvent::Any> TakeEvents();
  // Whether config() or known_peers() are not what they were at the last call.
  bool TakeUnsaved();
  std::vector<ClusterEnvelope> TakeMessages();
  absl::Duration next_deadline() const { return membership_.next_deadline(); }

  // --- What is known ---
  const ClusterConfig& config() const { return config_; }
  const Ring& ring() const { return *ring_; }
  // Names the ring on frames.
  RingStamp ring_stamp() const;
  const Membership& membership() const { return membership_; }
  bool IsReachable(NodeId node) const { return reachable_.contains(node); }
  // The epoch that `node` said last it goes by; 0: nothing heard.
  uint64_t EpochOf(NodeId node) const;
  const LoadTable& loads() const { return loads_; }
  // Whether all owners have said that they are complete by this ring.
  bool settled() const { return settled_; }
  // The last committed ring that lost, if any.
  const std::optional<CommittedRing>& superseded() const { return superseded_; }
  // All others that were heard of, for the next start.
  std::vector<MemberRecord> KnownPeers() const;

 private:
  using Kind = ClusterEnvelope::Kind;
  // What was last said to a node, so as not to repeat it.
  struct Talk {
    ConfigDigest sent;
    absl::Duration sent_at = -absl::InfiniteDuration();
    absl::Duration asked_at = -absl::InfiniteDuration();
    uint64_t asked_epoch = 0;
    uint64_t epoch = 0;  // that it goes by
  };

  void Drain(absl::Duration now);
  void OnMembership(const MembershipEvent& event, absl::Duration now);
  void OnConflict(const MemberInfo& other);
  void UpdateReach(NodeId node);
  void MeetConfig(NodeId from, const ConfigDigest& theirs, absl::Duration now);
  void OnChanged(bool new_ring, std::optional<NodeId> but, absl::Duration now);
  // Tells of the properties of buckets if they are not what they were.
  void TellBuckets();
  void OnSuperseded(const CommittedRing& lost);
  void SendConfig(NodeId to, absl::Duration now);
  void AskForConfig(NodeId from, uint64_t epoch, absl::Duration now);
  // Tells of the ring, with the one before it unless all is settled.
  void TellRing();
  void UpdateSettled();
  // What it has said about this ring; absent if nothing.
  std::optional<Holdings> SaidOf(const RingMember& member) const;
  absl::Status CheckTransfers() const;
  std::string NameOf(NodeId node) const;
  // Null: gossip does not know it.
  const MemberInfo* Known(const std::string& name) const;
  // InvalidArgument: there is none.
  absl::StatusOr<NodeId> MemberCalled(const std::string& name) const;
  absl::StatusOr<StagedChange> Named(const NamedChange& change) const;
  void Log(std::string text);

  Membership membership_;
  ClusterConfig config_;
  std::string encoded_;         // config_
  ConfigDigest config_digest_;  // of encoded_
  std::shared_ptr<const Ring> ring_;
  std::shared_ptr<const Ring> ring_before_;  // of config_; null if it has none
  bool settled_ = false;
  std::shared_ptr<const BucketDefaults> buckets_;  // of config_
  std::optional<CommittedRing> superseded_;
  SplitMix random_;
  std::set<NodeId> linked_;
  std::set<NodeId> reachable_;
  std::map<NodeId, Talk> talks_;
  LoadTable loads_;
  bool told_paused_ = false;
  bool unsaved_ = false;
  std::vector<ClusterEvent::Any> events_;
  std::vector<ClusterEnvelope> messages_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_CLUSTER_H_
