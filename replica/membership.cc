// What is known, and how claims change it; membership_probe.cc and
// membership_exchange.cc are the other parts.
#include "replica/membership.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "crdt/check.h"
#include "crdt/hooks.h"

namespace dovetail::replica {

using Kind = MembershipEvent::Kind;

namespace {

Kind KindOf(MemberState state) {
  switch (state) {
    case MemberState::kAlive:
      return Kind::kAlive;
    case MemberState::kSuspect:
      return Kind::kSuspect;
    case MemberState::kDead:
      return Kind::kDead;
    case MemberState::kLeft:
      return Kind::kLeft;
  }
  DOVETAIL_CHECK(false);
  return Kind::kAlive;
}

bool Answers(MemberState state) {
  return state == MemberState::kAlive || state == MemberState::kSuspect;
}

// Nodes that started together do not probe in step.
absl::Duration SomePart(absl::Duration period, SplitMix& random) {
  return period * static_cast<int64_t>(random.Below(1000)) / 1000;
}

}  // namespace

Membership::Membership(const MembershipOptions& options, MemberInfo self,
                       uint64_t incarnation, uint64_t seed, absl::Duration now)
    : options_(options),
      random_(seed),
      table_(Member{self, MemberState::kAlive, incarnation, now},
             options.members_max),
      order_(random_),
      health_(options.local_health_max),
      next_probe_(now + SomePart(options.probe_period, random_)),
      next_exchange_(now + SomePart(options.exchange_period, random_)),
      next_reconnect_(now + SomePart(options.reconnect_period, random_)),
      next_introduction_(now) {
  DOVETAIL_CHECK(CheckInfo(self).ok());
  DOVETAIL_CHECK(incarnation < kIncarnationMax);
  DOVETAIL_CHECK(options.members_max <= kMembersMax);
  DOVETAIL_CHECK(options.suspicion_confirmations < kAccusersMax);
  DOVETAIL_CHECK(options.probe_timeout < options.probe_period);
  queue_.Add(RumorOf(table_.self(), WithInfo::kIfAlive));
}

// Comes first in every input. A deadline long past means that this node did
// not run: it was stopped, or starved. Answers to its probes may lie unread,
// and refutations, too; so nobody is judged by what happened meanwhile.
void Membership::Enter(absl::Duration now) {
  if (left_) return;
  const absl::Duration late = now - next_deadline();
  if (late < options_.stall_min) return;
  DOVETAIL_MARK("membership: this node stood still");
  ++counters_.stalls;
  health_.Worsen(1);
  for (auto& [id, suspicion] : suspicions_) suspicion.Extend(late);
  probes_.clear();
  relays_.clear();
  next_probe_ = std::max(next_probe_, now);
  next_exchange_ = std::max(next_exchange_, now);
  next_reconnect_ = std::max(next_reconnect_, now);
}

void Membership::HandleMessage(NodeId from, const GossipMessage& message,
                               absl::Duration now) {
  Enter(now);
  if (from == self().info.id) {
    // Its rows would say its name; but it does not get so far as to send any.
    DOVETAIL_MARK("membership: another node with my id");
    MemberInfo stranger;
    stranger.id = from;
    return ReportConflict(stranger);
  }
  // Rumours first: then an ack carries the refutation of what its ping said.
  for (const Rumor& rumor : message.rumors) {
    OnRumor(from, rumor, Source::kGossip, now);
  }
  std::visit([&](const auto& body) { OnBody(from, body, now); }, message.body);
}

void Membership::HandleTimers(absl::Duration now) {
  Enter(now);
  if (left_) return;
  ExpireSuspicions(now);
  HandleRelayTimers(now);
  HandleProbeTimers(now);
  HandleExchangeTimers(now);
}

absl::Duration Membership::next_deadline() const {
  if (left_) return absl::InfiniteDuration();
  absl::Duration next =
      std::min({next_probe_, next_exchange_, next_reconnect_});
  for (const Probe& probe : probes_) {
    next = std::min(next, probe.indirect ? probe.end_at : probe.indirect_at);
  }
  for (const Relay& relay : relays_) {
    next = std::min(next, relay.nacked ? relay.end_at : relay.nack_at);
  }
  for (const auto& [id, suspicion] : suspicions_) {
    next = std::min(next, suspicion.deadline());
  }
  return next;
}

std::vector<GossipEnvelope> Membership::TakeMessages() {
  return std::exchange(messages_, {});
}

std::vector<MembershipEvent> Membership::TakeEvents() {
  return std::exchange(events_, {});
}

bool Membership::IsLive(NodeId id) const {
  const Member* member = table_.Find(id);
  return member != nullptr && Answers(member->state);
}

SuspicionLaw Membership::Law() const {
  const size_t live = table_.live();
  const double scale = std::max(1.0, std::log10(static_cast<double>(live)));
  SuspicionLaw law;
  law.timeout_min =
      absl::Floor(options_.suspicion_min * scale * options_.probe_period,
                  absl::Milliseconds(1));
  law.timeout_max = options_.suspicion_max * law.timeout_min;
  // Neither the suspected one nor the first accuser confirms.
  law.confirmations =
      std::min(options_.suspicion_confirmations, live < 2 ? 0 : live - 2);
  return law;
}

void Membership::OnRumor(NodeId from, Rumor rumor, Source source,
                         absl::Duration now) {
  if (rumor.id == self().info.id) return OnSelfRumor(rumor, now);
  if (source != Source::kGossip && rumor.state == MemberState::kDead &&
      IsLive(rumor.id)) {
    // The news of a whole side of a partition that healed: who is dead to them
    // and not to us gets the time to refute, or all would call all dead.
    DOVETAIL_MARK("membership: dead to a peer, not to us");
    rumor.state = MemberState::kSuspect;
    rumor.accusers = {from};
  }
  const Merged merged = table_.Merge(rumor, now);
  switch (merged.result) {
    case MergeResult::kOld:
      return;
    case MergeResult::kUnknown:
      DOVETAIL_MARK("membership: a rumour about a stranger");
      return;
    case MergeResult::kForgotten:
      DOVETAIL_MARK("membership: a rumour about one forgotten");
      return;
    case MergeResult::kFull:
      ++counters_.members_refused;
      return;
    case MergeResult::kConflict:
      return ReportConflict(*rumor.info);
    case MergeResult::kSameClaim:
      return OnSameClaim(rumor);
    case MergeResult::kJoined:
    case MergeResult::kChanged:
      OnClaim(rumor, merged, now);
      if (source == Source::kFirstExchange) return;
      queue_.Add(RumorOf(*table_.Find(rumor.id), WithInfo::kIfAlive));
      return;
  }
}

void Membership::OnClaim(const Rumor& rumor, const Merged& merged,
                         absl::Duration now) {
  const bool joined = merged.result == MergeResult::kJoined;
  if (joined) {
    events_.push_back({Kind::kJoined, rumor.id, rumor.info, {}});
  } else if (merged.info_changed) {
    events_.push_back({Kind::kInfoChanged, rumor.id, rumor.info, {}});
  }
  if (rumor.state != (joined ? MemberState::kAlive : merged.before)) {
    Report(KindOf(rumor.state), rumor.id);
  }
  suspicions_.erase(rumor.id);
  if (rumor.state == MemberState::kSuspect) StartSuspicion(rumor, now);
  const bool in_order = !joined && Answers(merged.before);
  if (Answers(rumor.state) && !in_order) order_.Add(rumor.id);
  if (!Answers(rumor.state)) order_.Remove(rumor.id);
}

void Membership::StartSuspicion(const Rumor& rumor, absl::Duration now) {
  DOVETAIL_CHECK(!rumor.accusers.empty());
  Suspicion& suspicion =
      suspicions_
          .insert_or_assign(rumor.id,
                            Suspicion(Law(), rumor.accusers.front(), now))
          .first->second;
  for (const NodeId accuser : rumor.accusers) suspicion.Confirm(accuser);
}

void Membership::OnSameClaim(const Rumor& rumor) {
  if (rumor.state != MemberState::kSuspect) return;
  Suspicion& suspicion = suspicions_.at(rumor.id);
  bool news = false;
  for (const NodeId accuser : rumor.accusers) {
    // The suspected node is no witness against itself.
    if (accuser != rumor.id && suspicion.Confirm(accuser)) news = true;
  }
  if (!news) return;
  queue_.Add(RumorOf(*table_.Find(rumor.id), WithInfo::kIfAlive));
}

void Membership::OnSelfRumor(const Rumor& rumor, absl::Duration now) {
  if (rumor.info && rumor.info->name != self().info.name) {
    return ReportConflict(*rumor.info);
  }
  if (left_) return;
  const std::pair said(rumor.incarnation, rumor.state);
  const std::pair mine(self().incarnation, self().state);
  if (said < mine) {
    if (rumor.state == MemberState::kAlive) return;
    // Overruled already, but not everybody has heard: what there was to send of
    // it may have gone to others. Whoever believes the old claim says so first
    // in each message to this node, and would believe it until views are
    // compared.
    DOVETAIL_MARK("membership: an old claim is overruled again");
    queue_.Add(RumorOf(table_.self(), WithInfo::kIfAlive));
    return;
  }
  if (said == mine) {
    if (!rumor.info || *rumor.info == self().info) return;
    // Another process of my name that started with my incarnation, or this
    // one's last life did.
    DOVETAIL_MARK("membership: my incarnation with another address");
    ReportConflict(*rumor.info);
  }
  // A last life of this node is overruled once; who claims again, lives.
  if (rumor.info && rumor.info->peer_address != self().info.peer_address &&
      ++claims_from_elsewhere_ > 1) {
    DOVETAIL_MARK("membership: my name from elsewhere, again");
    ReportConflict(*rumor.info);
  }
  if (rumor.state != MemberState::kAlive) {
    ++counters_.refutations;
    health_.Worsen(1);
  }
  Member self = table_.self();
  self.incarnation = rumor.incarnation;
  Announce(std::move(self), now);
}

// With the next incarnation. At the largest there is none, and this node stays
// what others say it is; no honest node gets there in 2^62 refutations.
void Membership::Announce(Member self, absl::Duration now) {
  if (self.incarnation < kIncarnationMax) ++self.incarnation;
  if (self.state != table_.self().state) self.since = now;
  table_.SetSelf(self);
  queue_.Add(RumorOf(table_.self(), WithInfo::kIfAlive));
}

void Membership::ExpireSuspicions(absl::Duration now) {
  std::vector<Rumor> expired;
  for (const auto& [id, suspicion] : suspicions_) {
    if (suspicion.deadline() > now) continue;
    Rumor rumor;
    rumor.id = id;
    rumor.incarnation = table_.Find(id)->incarnation;
    rumor.state = MemberState::kDead;
    expired.push_back(std::move(rumor));
  }
  for (Rumor& rumor : expired) {
    OnRumor(self().info.id, std::move(rumor), Source::kGossip, now);
  }
}

void Membership::ReportConflict(const MemberInfo& other) {
  const auto [it, first] = conflicts_.try_emplace(other.id, other.name);
  if (!first && it->second == other.name) return;
  it->second = other.name;
  events_.push_back({Kind::kConflict, other.id, other, {}});
}

void Membership::Report(Kind kind, NodeId id) {
  events_.push_back({kind, id, std::nullopt, {}});
}

Rumor Membership::RumorOf(const Member& member, WithInfo with_info) const {
  Rumor rumor;
  rumor.id = member.info.id;
  rumor.incarnation = member.incarnation;
  rumor.state = member.state;
  if (member.state == MemberState::kSuspect) {
    rumor.accusers = suspicions_.at(rumor.id).accusers();
  }
  if (member.state == MemberState::kAlive || with_info == WithInfo::kAlways) {
    rumor.info = member.info;
  }
  return rumor;
}

// A member that we think ill of hears of it first, whatever else there is to
// tell (Lifeguard's buddy system), so that it can refute at once.
void Membership::Send(NodeId to, GossipBody body) {
  GossipEnvelope envelope{to, {std::move(body), {}}};
  std::vector<Rumor>& rumors = envelope.message.rumors;
  const bool whole_view =
      std::holds_alternative<StateRequest>(envelope.message.body) ||
      std::holds_alternative<StateReply>(envelope.message.body);
  if (!whole_view) {
    size_t room = options_.piggyback_bytes_max;
    const Member* member = table_.Find(to);
    const bool ill = member != nullptr && member->state != MemberState::kAlive;
    if (ill) {
      rumors.push_back(RumorOf(*member, WithInfo::kIfAlive));
      room -= std::min(room, EncodedBytes(rumors.back()));
    }
    queue_.Take(room, TransmitLimit(options_.retransmit, table_.live()),
                ill ? &to : nullptr, rumors);
  }
  messages_.push_back(std::move(envelope));
}

void Membership::SetSelfInfo(MemberInfo info, absl::Duration now) {
  DOVETAIL_CHECK(info.id == self().info.id);
  DOVETAIL_CHECK(info.name == self().info.name);
  DOVETAIL_CHECK(CheckInfo(info).ok());
  Enter(now);
  if (left_ || info == self().info) return;
  Member self = table_.self();
  self.info = std::move(info);
  Announce(std::move(self), now);
}

void Membership::Forget(NodeId id, absl::Duration now) {
  Enter(now);
  table_.Forget(id, now + options_.forgotten_kept);
  suspicions_.erase(id);
  conflicts_.erase(id);
  order_.Remove(id);
  queue_.Remove(id);
  std::erase_if(probes_, [id](const Probe& p) { return p.target == id; });
}

void Membership::Leave(absl::Duration now) {
  Enter(now);
  if (left_) return;
  Member self = table_.self();
  self.state = MemberState::kLeft;
  Announce(self, now);
  for (const NodeId peer : DrawLive(options_.leave_fanout, self.info.id)) {
    Send(peer, Ping{next_seq_++, peer});  // for the rumour on it
  }
  left_ = true;
  probes_.clear();
  relays_.clear();
}

}  // namespace dovetail::replica
