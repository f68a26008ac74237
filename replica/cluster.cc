#include "replica/cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

std::shared_ptr<const Ring> Computed(const RingSpec& spec) {
  auto ring = Ring::Compute(spec);
  DOVETAIL_CHECK(ring.ok());  // CommittedRing::Make has checked it
  return std::make_shared<const Ring>(*std::move(ring));
}

bool IsGone(const Member* member) {
  return member != nullptr && (member->state == MemberState::kDead ||
                               member->state == MemberState::kLeft);
}

}  // namespace

Cluster::Cluster(const MembershipOptions& options, MemberInfo self,
                 uint64_t incarnation, uint64_t seed, ClusterConfig config,
                 absl::Duration now)
    : membership_(options, std::move(self), incarnation, seed, now),
      config_(std::move(config)),
      buckets_(std::make_shared<const BucketDefaults>()),
      random_(seed) {
  OnChanged(/*new_ring=*/true, std::nullopt, now);
}

RingStamp Cluster::ring_stamp() const { return config_.ring->stamp(); }

uint64_t Cluster::EpochOf(NodeId node) const {
  if (node == membership_.self().info.id) return config_.epoch();
  const auto talk = talks_.find(node);
  return talk == talks_.end() ? 0 : talk->second.epoch;
}

std::string Cluster::NameOf(NodeId node) const {
  const auto member = membership_.members().find(node);
  if (member != membership_.members().end()) return member->second.info.name;
  const RingMember* owner = ring_->Find(node);
  return owner == nullptr ? absl::StrCat("node ", Index(node)) : owner->name;
}

void Cluster::Log(std::string text) {
  events_.push_back(ClusterEvent::LogLine{std::move(text)});
}

std::vector<ClusterEvent::Any> Cluster::TakeEvents() {
  return std::exchange(events_, {});
}
std::vector<ClusterEnvelope> Cluster::TakeMessages() {
  return std::exchange(messages_, {});
}
bool Cluster::TakeUnsaved() { return std::exchange(unsaved_, false); }

std::vector<MemberRecord> Cluster::KnownPeers() const {
  std::vector<MemberRecord> records;
  for (const auto& [id, member] : membership_.members()) {
    const MemberInfo& info = member.info;
    if (id == membership_.self().info.id) continue;
    records.push_back({id, info.name, info.peer_address, info.client_address,
                       info.zone, info.region});
  }
  return records;
}

// --- Inputs -----------------------------------------------------------------

absl::Status Cluster::HandleGossip(NodeId from, absl::string_view bytes,
                                   absl::Duration now) {
  DOVETAIL_ASSIGN_OR_RETURN(const GossipMessage message, DecodeGossip(bytes));
  membership_.HandleMessage(from, message, now);
  Drain(now);
  return absl::OkStatus();
}

absl::Status Cluster::HandleConfig(NodeId from, absl::string_view bytes,
                                   absl::Duration now) {
  DOVETAIL_ASSIGN_OR_RETURN(const ClusterConfig theirs,
                            DecodeClusterConfig(bytes));
  if (theirs.ring.has_value() &&
      theirs.ring->ring().partitions != ring_->partitions()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ring of ", theirs.ring->ring().partitions,
                     " partitions in a cluster of ", ring_->partitions()));
  }
  talks_[from].epoch = theirs.epoch();
  const std::optional<CommittedRing> before = config_.ring;
  const ConfigMerge merged = Merge(config_, theirs);
  if (merged.superseded.has_value()) OnSuperseded(*merged.superseded);
  if (merged.buckets_dropped > 0) {
    Log(absl::StrCat("the properties of ", merged.buckets_dropped,
                     " buckets are void: there are more than ",
                     kBucketRecordsMax));
  }
  if (merged.changed) {
    const bool new_ring = config_.ring != before;
    if (new_ring) {
      Log(absl::StrCat("ring of epoch ", config_.epoch(), ", committed at ",
                       NameOf(config_.ring->committed_by()), ", heard from ",
                       NameOf(from)));
    }
    OnChanged(new_ring, from, now);
  }
  if (!(config_ == theirs)) {
    DOVETAIL_MARK("cluster: answered a configuration with a fuller one");
    SendConfig(from, now);
  }
  Drain(now);
  return absl::OkStatus();
}

void Cluster::HandleConfigRequest(NodeId from, absl::Duration now) {
  SendConfig(from, now);
}

void Cluster::HandlePeerRing(NodeId from, const RingStamp& stamp,
                             absl::Duration now) {
  if (stamp.epoch == 0) return;
  talks_[from].epoch = stamp.epoch;
  if (stamp == ring_stamp()) return;
  DOVETAIL_MARK("cluster: a frame placed by another ring");
  MeetConfig(from, stamp, now);
  Drain(now);
}

// It goes by another configuration than this node.
void Cluster::MeetConfig(NodeId from, const ConfigDigest& theirs,
                         absl::Duration now) {
  if (!linked_.contains(from)) return;
  if (theirs.epoch <= config_.epoch()) return SendConfig(from, now);
  AskForConfig(from, theirs.epoch, now);
}

void Cluster::AskForConfig(NodeId from, uint64_t epoch, absl::Duration now) {
  Talk& talk = talks_[from];
  if (talk.asked_epoch == epoch && now < talk.asked_at + kConfigRetry) return;
  talk.asked_epoch = epoch;
  talk.asked_at = now;
  messages_.push_back({from, Kind::kConfigRequest, ""});
}

// Whoever told the client of it can most likely be reached from here, too, and
// is one of few: a ring that somebody has just committed goes to kConfigFanout
// nodes at once.
void Cluster::HandleClientRing(const RingStamp& stamp, absl::Duration now) {
  if (!IsNewerRing(stamp, ring_stamp())) return;
  std::vector<NodeId> peers(linked_.begin(), linked_.end());
  const size_t count = std::min(peers.size(), kConfigFanout);
  random_.DrawToFront(peers, count);
  for (size_t i = 0; i < count; ++i) AskForConfig(peers[i], stamp.epoch, now);
  Drain(now);
}

void Cluster::SendConfig(NodeId to, absl::Duration now) {
  Talk& talk = talks_[to];
  if (talk.sent == config_digest_ && now < talk.sent_at + kConfigRetry) return;
  talk.sent = config_digest_;
  talk.sent_at = now;
  messages_.push_back({to, Kind::kConfig, encoded_});
}

void Cluster::HandleLinkUp(NodeId peer, absl::Duration now) {
  linked_.insert(peer);
  reachable_.erase(peer);  // so that it is reported, again
  membership_.HandleLinkUp(peer, now);
  Drain(now);
  UpdateReach(peer);
  // Views need not differ when configurations do; a link is rare enough.
  SendConfig(peer, now);
}

void Cluster::HandleLinkDown(NodeId peer, absl::Duration now) {
  linked_.erase(peer);
  membership_.HandleLinkDown(peer, now);
  Drain(now);
  UpdateReach(peer);
}

void Cluster::HandleLoad(NodeId from, NodeLoad load, absl::Duration now) {
  talks_[from].epoch = load.epoch;
  loads_.Heard(from, std::move(load), now);
}

const NodeLoad& Cluster::SetOwnLoad(NodeLoad load, absl::Duration now) {
  load.epoch = config_.epoch();
  const NodeId self = membership_.self().info.id;
  loads_.Heard(self, std::move(load), now);
  return loads_.Of(self)->load;
}

void Cluster::HandleTimers(absl::Duration now) {
  membership_.HandleTimers(now);
  Drain(now);
}

void Cluster::SetSelfInfo(MemberInfo info, absl::Duration now) {
  info.payload = membership_.self().info.payload;
  membership_.SetSelfInfo(std::move(info), now);
  Drain(now);
}

void Cluster::SetHoldings(Holdings holdings, absl::Duration now) {
  holdings.settled = settled_ && holdings.ring == ring_stamp();
  MemberInfo info = membership_.self().info;
  std::string payload = EncodeHoldings(holdings);
  if (info.payload == payload) return;
  info.payload = std::move(payload);
  membership_.SetSelfInfo(std::move(info), now);
  Drain(now);
  UpdateSettled();
}

void Cluster::SetHoldsData(bool holds, absl::Duration now) {
  SetHoldings({holds, ring_stamp(), 0, false}, now);
}

void Cluster::Leave(absl::Duration now) {
  membership_.Leave(now);
  Drain(now);
}

// --- What membership says ---------------------------------------------------

void Cluster::Drain(absl::Duration now) {
  for (const MembershipEvent& event : membership_.TakeEvents()) {
    OnMembership(event, now);
  }
  for (GossipEnvelope& envelope : membership_.TakeMessages()) {
    // Seeds by address are not used: links find nodes before gossip does.
    const NodeId* to = std::get_if<NodeId>(&envelope.to);
    DOVETAIL_CHECK(to != nullptr);
    if (!linked_.contains(*to)) continue;
    messages_.push_back({*to, Kind::kGossip, EncodeGossip(envelope.message)});
  }
}

void Cluster::OnMembership(const MembershipEvent& event, absl::Duration now) {
  using EventKind = MembershipEvent::Kind;
  switch (event.kind) {
    case EventKind::kJoined:
    case EventKind::kInfoChanged:
      events_.push_back(ClusterEvent::KnownPeer{event.id, event.info->name,
                                                event.info->peer_address});
      unsaved_ = true;
      UpdateSettled();
      if (event.kind == EventKind::kJoined) {
        Log(absl::StrCat(
            "gossip knows ", event.info->name, " at ", event.info->peer_address,
            ring_->Find(event.id) == nullptr ? ", a member of no committed ring"
                                             : ""));
      }
      break;
    case EventKind::kAlive:
    case EventKind::kSuspect:
      break;
    case EventKind::kDead:
      Log(absl::StrCat("gossip holds ", NameOf(event.id), " dead"));
      break;
    case EventKind::kLeft:
      Log(absl::StrCat(NameOf(event.id), " has left"));
      break;
    case EventKind::kConflict:
      return OnConflict(*event.info);
    case EventKind::kPeerConfig:
      return MeetConfig(event.id, event.config, now);
  }
  UpdateReach(event.id);
}

void Cluster::OnConflict(const MemberInfo& other) {
  Log(absl::StrCat("two nodes go by the name ", NameOf(other.id),
                   other.peer_address.empty()
                       ? ""
                       : absl::StrCat(", one of them at ", other.peer_address),
                   "; names must be unique in a cluster: stop one of them"));
}

void Cluster::UpdateReach(NodeId node) {
  const auto member = membership_.members().find(node);
  const bool gone =
      member != membership_.members().end() && IsGone(&member->second);
  const bool reachable = linked_.contains(node) && !gone;
  if (reachable == reachable_.contains(node)) return;
  if (reachable) {
    reachable_.insert(node);
    events_.push_back(ClusterEvent::Reachable{node});
  } else {
    reachable_.erase(node);
    events_.push_back(ClusterEvent::Unreachable{node});
  }
}

// --- The configuration ------------------------------------------------------

void Cluster::OnChanged(bool new_ring, std::optional<NodeId> but,
                        absl::Duration now) {
  encoded_ = EncodeClusterConfig(config_);
  config_digest_ = {config_.epoch(), HashBytes(encoded_)};
  unsaved_ = true;
  if (new_ring) {
    DOVETAIL_CHECK(config_.ring.has_value());
    ring_ = Computed(config_.ring->ring());
    const std::optional<RingBefore>& before = config_.ring->before();
    ring_before_ = before ? Computed(before->ring) : nullptr;
    settled_ = ring_before_ == nullptr;
    TellRing();
  }
  TellBuckets();
  if (config_.transfers.paused != told_paused_) {
    told_paused_ = config_.transfers.paused;
    events_.push_back(ClusterEvent::PauseTransfers{told_paused_});
    Log(told_paused_ ? "transfers of partitions rest"
                     : "transfers of partitions go on");
  }
  membership_.SetConfig(config_digest_, now);
  std::vector<NodeId> peers(linked_.begin(), linked_.end());
  if (but.has_value()) std::erase(peers, *but);
  const size_t count = std::min(peers.size(), kConfigFanout);
  random_.DrawToFront(peers, count);
  for (size_t i = 0; i < count; ++i) SendConfig(peers[i], now);
}

void Cluster::TellBuckets() {
  BucketDefaults buckets;
  for (const auto& [bucket, info] : config_.buckets.All()) {
    buckets.emplace(bucket, PropertiesOf(info.settings));
  }
  if (buckets == *buckets_) return;
  buckets_ = std::make_shared<const BucketDefaults>(std::move(buckets));
  events_.push_back(ClusterEvent::NewBuckets{buckets_});
}

void Cluster::OnSuperseded(const CommittedRing& lost) {
  if (superseded_.has_value() && superseded_->digest() == lost.digest()) return;
  DOVETAIL_MARK("cluster: a committed ring was superseded");
  superseded_ = lost;
  Log(absl::StrCat("the ring of epoch ", lost.epoch(), " committed at ",
                   NameOf(lost.committed_by()),
                   " is void: another was committed at the same time and "
                   "holds; look at `dovetail cluster status` and commit anew"));
}

absl::StatusOr<Plan> Cluster::MakePlan() const {
  return replica::MakePlan(config_);
}

absl::Status Cluster::Commit(uint64_t base_epoch, absl::Duration now,
                             bool force) {
  DOVETAIL_ASSIGN_OR_RETURN(const Plan plan, MakePlan());
  if (base_epoch != 0 && base_epoch != plan.base_epoch) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ring is at epoch ", plan.base_epoch,
                     " by now; look at the plan again"));
  }
  if (!force) DOVETAIL_RETURN_IF_ERROR(CheckTransfers());
  DOVETAIL_RETURN_IF_ERROR(
      replica::Commit(config_, plan, membership_.self().info.id));
  Log(absl::StrCat("committed the ring of epoch ", config_.epoch(), " with ",
                   config_.ring->ring().members.size(), " members"));
  OnChanged(/*new_ring=*/true, std::nullopt, now);
  return absl::OkStatus();
}

absl::Status Cluster::ChangeBucket(const BucketChange& change, uint64_t wall_ms,
                                   absl::Duration now) {
  DOVETAIL_RETURN_IF_ERROR(CheckSettings(change.settings, ring_->spec()));
  const NodeId self = membership_.self().info.id;
  switch (change.kind) {
    case BucketChange::Kind::kCreate:
      DOVETAIL_RETURN_IF_ERROR(config_.buckets.Create(
          self, wall_ms, change.bucket, change.settings));
      break;
    case BucketChange::Kind::kUpdate:
      DOVETAIL_RETURN_IF_ERROR(config_.buckets.Update(
          self, wall_ms, change.bucket, change.settings));
      break;
    case BucketChange::Kind::kDelete:
      DOVETAIL_RETURN_IF_ERROR(config_.buckets.Delete(change.bucket));
      break;
  }
  OnChanged(/*new_ring=*/false, std::nullopt, now);
  return absl::OkStatus();
}

}  // namespace dovetail::replica
