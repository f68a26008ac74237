// Who answers? Probes, direct and through others.
//
//   prober             relays             target
//     |------------------ Ping ------------>|        at 0
//     |--- PingReq ----->|                           at the probe timeout
//     |                  |------ Ping ----->|
//     |<-- PingNack -----|                           no ack soon enough
//     |<-- PingAck ------|<----- PingAck ---|
//   suspicion, if no ack has come                    at the end of the period
//
// A nack says that the prober itself can still hear: with it the silence is the
// target's, without it perhaps the prober's own (local_health.h).
#include <algorithm>
#include <optional>
#include <utility>

#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/membership.h"

namespace dovetail::replica {

void Membership::OnBody(NodeId from, const Ping& ping, absl::Duration now) {
  if (ping.target != self().info.id) {
    // The address was somebody else's. Silence is the right answer: that one
    // is not here.
    DOVETAIL_MARK("membership: a ping for another node");
    ++counters_.pings_for_others;
    return;
  }
  Send(from, PingAck{ping.seq});
  Introduce(from, now);
}

void Membership::OnBody(NodeId from, const PingReq& request,
                        absl::Duration now) {
  if (left_) return;
  if (request.target == self().info.id) {
    return Send(from, PingAck{request.seq});
  }
  if (table_.Find(request.target) == nullptr) {
    DOVETAIL_MARK("membership: asked to ping a stranger");
    return Send(from, PingNack{request.seq});
  }
  if (relays_.size() >= options_.relays_max) {
    ++counters_.relays_refused;
    return;
  }
  Relay relay;
  relay.seq = next_seq_++;
  relay.target = request.target;
  relay.prober = from;
  relay.prober_seq = request.seq;
  relay.nack_at = now + options_.nack_after * options_.probe_timeout;
  // A late ack is still worth passing on to a prober that takes its time.
  relay.end_at = now + 2 * options_.probe_timeout;
  Send(relay.target, Ping{relay.seq, relay.target});
  relays_.push_back(relay);
}

void Membership::OnBody(NodeId from, const PingAck& ack, absl::Duration) {
  const auto probe =
      std::find_if(probes_.begin(), probes_.end(),
                   [&ack](const Probe& other) { return other.seq == ack.seq; });
  if (probe != probes_.end()) {
    const bool asked =
        std::count(probe->relays.begin(), probe->relays.end(), from) > 0;
    if (from != probe->target && !asked) return;
    DOVETAIL_MARK_IF("membership: saved by a relay", from != probe->target);
    health_.Improve();
    probes_.erase(probe);
    return;
  }
  const auto relay =
      std::find_if(relays_.begin(), relays_.end(),
                   [&ack](const Relay& other) { return other.seq == ack.seq; });
  if (relay == relays_.end() || from != relay->target) return;
  Send(relay->prober, PingAck{relay->prober_seq});
  relays_.erase(relay);
}

void Membership::OnBody(NodeId from, const PingNack& nack, absl::Duration) {
  for (Probe& probe : probes_) {
    if (probe.seq == nack.seq) std::erase(probe.awaited, from);
  }
}

bool Membership::IsProbed(NodeId target) const {
  return std::any_of(
      probes_.begin(), probes_.end(),
      [target](const Probe& probe) { return probe.target == target; });
}

std::vector<NodeId> Membership::DrawLive(size_t count, NodeId but) {
  std::vector<NodeId> drawn;
  for (const auto& [id, member] : table_.members()) {
    if (member.state != MemberState::kAlive) continue;
    if (id != self().info.id && id != but) drawn.push_back(id);
  }
  random_.DrawToFront(drawn, count);
  if (drawn.size() > count) drawn.resize(count);
  return drawn;
}

void Membership::StartProbe(NodeId target, absl::Duration now,
                            absl::Duration indirect_at, absl::Duration end_at) {
  DOVETAIL_CHECK(probes_.size() < options_.probes_max);
  Probe probe;
  probe.seq = next_seq_++;
  probe.target = target;
  probe.incarnation = table_.Find(target)->incarnation;
  probe.indirect_at = indirect_at;
  probe.end_at = end_at;
  Send(target, Ping{probe.seq, target});
  if (indirect_at <= now) AskRelays(probe);
  probes_.push_back(std::move(probe));
}

void Membership::StartRegularProbe(absl::Duration now) {
  const absl::Duration period = health_.Scale(options_.probe_period);
  next_probe_ = now + period;
  if (probes_.size() >= options_.probes_max) {
    DOVETAIL_MARK("membership: too many probes at once");
    return;
  }
  const std::optional<NodeId> target = order_.Next();
  if (!target || IsProbed(*target)) return;
  StartProbe(*target, now, now + health_.Scale(options_.probe_timeout),
             next_probe_);
}

void Membership::AskRelays(Probe& probe) {
  probe.indirect = true;
  probe.relays = DrawLive(options_.indirect_probes, probe.target);
  probe.awaited = probe.relays;
  for (const NodeId relay : probe.relays) {
    Send(relay, PingReq{probe.seq, probe.target});
  }
}

void Membership::JudgeProbe(const Probe& probe, absl::Duration now) {
  if (!IsLive(probe.target)) return;
  ++counters_.probes_failed;
  health_.Worsen(
      probe.relays.empty() ? 1 : static_cast<uint32_t>(probe.awaited.size()));
  const Member& target = *table_.Find(probe.target);
  if (target.incarnation != probe.incarnation) {
    // It has spoken since, perhaps out of a new life: no old silence counts.
    DOVETAIL_MARK("membership: a probe of an earlier incarnation failed");
    return;
  }
  if (target.state == MemberState::kAlive) ++counters_.suspicions_raised;
  Rumor rumor;
  rumor.id = probe.target;
  rumor.incarnation = target.incarnation;
  rumor.state = MemberState::kSuspect;
  rumor.accusers = {self().info.id};
  OnRumor(self().info.id, std::move(rumor), Source::kGossip, now);
}

void Membership::HandleProbeTimers(absl::Duration now) {
  std::vector<Probe> over;
  std::vector<Probe> open;
  for (Probe& probe : probes_) {
    (probe.end_at <= now ? over : open).push_back(std::move(probe));
  }
  probes_ = std::move(open);
  for (Probe& probe : probes_) {
    if (!probe.indirect && probe.indirect_at <= now) AskRelays(probe);
  }
  for (const Probe& probe : over) JudgeProbe(probe, now);
  if (now >= next_probe_) StartRegularProbe(now);
}

void Membership::HandleRelayTimers(absl::Duration now) {
  for (Relay& relay : relays_) {
    if (relay.nacked || relay.nack_at > now) continue;
    relay.nacked = true;
    Send(relay.prober, PingNack{relay.prober_seq});
  }
  std::erase_if(relays_, [now](const Relay& r) { return r.end_at <= now; });
}

void Membership::HandleLinkDown(NodeId peer, absl::Duration now) {
  Enter(now);
  if (left_ || peer == self().info.id || !IsLive(peer)) return;
  for (Probe& probe : probes_) {
    if (probe.target != peer) continue;
    // Its ping may have been lost with the link.
    if (!probe.indirect) AskRelays(probe);
    return;
  }
  if (probes_.size() >= options_.probes_max) {
    DOVETAIL_MARK("membership: many links broke at once");
    order_.PutFirst(peer);
    return;
  }
  StartProbe(peer, now, now, now + health_.Scale(options_.probe_timeout));
}

}  // namespace dovetail::replica
