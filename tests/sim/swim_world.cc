#include "tests/sim/swim_world.h"

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::sim {

using replica::GossipMessage;
using replica::Member;
using replica::Membership;
using replica::MemberState;
using replica::NodeId;

namespace {

// All different, for the factor is odd, and in no order of their numbers.
NodeId IdOf(size_t node) {
  return NodeId{static_cast<uint32_t>(node * 0x9E3779B1u + 7)};
}

}  // namespace

SwimWorld::SwimWorld(const SwimSettings& settings)
    : settings_(settings),
      scheduler_(settings.seed),
      network_(settings.seed, "swim network") {}

size_t SwimWorld::Add() {
  const size_t node = nodes_.size();
  nodes_.emplace_back();
  replica::MemberInfo& info = nodes_.back().info;
  info.id = IdOf(node);
  DOVETAIL_CHECK(by_id_.emplace(info.id, node).second);
  info.name = absl::StrCat("node-", node);
  info.peer_address = absl::StrCat("10.0.", node / 250, ".", node % 250, ":71");
  info.client_address =
      absl::StrCat("10.0.", node / 250, ".", node % 250, ":70");
  info.zone = absl::StrCat("zone-", node % 3);
  info.region = "region";
  return node;
}

bool SwimWorld::StartAll(size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const size_t node = Add();
    Start(node, 1, node == 0 ? "" : nodes_[0].info.peer_address);
    RunFor(absl::Milliseconds(2));
  }
  for (int second = 0; second < 300; ++second) {
    if (AllAlive()) return true;
    RunFor(absl::Seconds(1));
  }
  return false;
}

void SwimWorld::StartAcquainted(size_t count) {
  replica::StateReply view;
  for (size_t i = 0; i < count; ++i) {
    const size_t node = Add();
    Start(node, 1, "");
    replica::Rumor row;
    row.id = id(node);
    row.incarnation = 1;
    row.info = info(node);
    view.rows.push_back(row);
  }
  for (size_t node = 0; node < count; ++node) {
    at(node).HandleMessage(id(node == 0 ? 1 : 0), {view, {}}, now());
    DOVETAIL_CHECK(at(node).TakeEvents().size() == count - 1);
    Drain(node);
  }
}

void SwimWorld::Start(size_t node, uint64_t incarnation,
                      const std::string& seed) {
  Node& it = nodes_[node];
  DOVETAIL_CHECK(it.membership == nullptr);
  ++it.life;
  it.armed_us = -1;
  it.paused_until_us = 0;
  it.blocked_until_us = 0;
  it.held.clear();
  it.held_out.clear();
  const uint64_t random =
      Stream(settings_.seed, "membership", node, it.life).Next();
  it.membership = std::make_unique<Membership>(settings_.options, it.info,
                                               incarnation, random, now());
  if (!seed.empty()) DOVETAIL_CHECK(it.membership->AddSeed(seed, now()).ok());
  Drain(node);
}

void SwimWorld::Kill(size_t node) {
  nodes_[node].membership.reset();
  ++nodes_[node].life;
}

void SwimWorld::Pause(size_t node, absl::Duration how_long) {
  Node& it = nodes_[node];
  it.paused_until_us =
      scheduler_.now_us() + absl::ToInt64Microseconds(how_long);
  scheduler_.At(it.paused_until_us,
                [this, node, life = it.life] { Resume(node, life); });
}

// Timers first, though answers may have waited longer: the worse order.
void SwimWorld::Resume(size_t node, uint64_t life) {
  Node& it = nodes_[node];
  if (it.life != life || paused(node)) return;
  it.membership->HandleTimers(now());
  auto held = std::exchange(it.held, {});
  for (const auto& [from, message] : held) {
    it.membership->HandleMessage(from, message, now());
  }
  Drain(node);
}

void SwimWorld::Block(size_t node, absl::Duration how_long) {
  Node& it = nodes_[node];
  it.blocked_until_us =
      scheduler_.now_us() + absl::ToInt64Microseconds(how_long);
  scheduler_.At(it.blocked_until_us,
                [this, node, life = it.life] { Unblock(node, life); });
}

void SwimWorld::Unblock(size_t node, uint64_t life) {
  Node& it = nodes_[node];
  if (it.life != life || blocked(node)) return;
  for (auto& envelope : std::exchange(it.held_out, {})) {
    Route(node, std::move(envelope));
  }
  for (const auto& [from, message] : std::exchange(it.held, {})) {
    it.membership->HandleMessage(from, message, now());
  }
  Drain(node);
}

void SwimWorld::Drain(size_t node) {
  Node& it = nodes_[node];
  for (const auto& event : it.membership->TakeEvents()) {
    if (observer_) observer_(node, event);
  }
  for (auto& envelope : it.membership->TakeMessages()) {
    if (blocked(node)) {
      it.held_out.push_back(std::move(envelope));
    } else {
      Route(node, std::move(envelope));
    }
  }
  Arm(node);
}

void SwimWorld::Arm(size_t node) {
  Node& it = nodes_[node];
  const absl::Duration deadline = it.membership->next_deadline();
  if (deadline == absl::InfiniteDuration()) return;
  const int64_t at_us =
      absl::ToInt64Microseconds(absl::Ceil(deadline, absl::Microseconds(1)));
  if (it.armed_us >= scheduler_.now_us() && it.armed_us <= at_us) return;
  it.armed_us = std::max(at_us, scheduler_.now_us());
  scheduler_.At(it.armed_us,
                [this, node, life = it.life] { Wake(node, life); });
}

void SwimWorld::Wake(size_t node, uint64_t life) {
  Node& it = nodes_[node];
  if (it.life != life || it.armed_us != scheduler_.now_us()) return;
  it.armed_us = -1;
  if (paused(node)) return;
  if (it.membership->next_deadline() <= now()) {
    it.membership->HandleTimers(now());
  }
  Drain(node);
}

size_t SwimWorld::Target(const replica::GossipEnvelope& envelope) const {
  if (const auto* node = std::get_if<NodeId>(&envelope.to)) {
    return NodeOf(*node);
  }
  const std::string& address = std::get<std::string>(envelope.to);
  for (size_t node = 0; node < nodes_.size(); ++node) {
    if (running(node) && nodes_[node].info.peer_address == address) return node;
  }
  return nodes_.size();
}

void SwimWorld::Route(size_t from, replica::GossipEnvelope envelope) {
  const std::string bytes = replica::EncodeGossip(envelope.message);
  bytes_ += bytes.size();
  ++messages_;
  const size_t to = Target(envelope);
  if (settings_.through_codec) {
    trace_ = replica::HashBytes(absl::StrCat(trace_.high, " ", trace_.low, " ",
                                             scheduler_.now_us(), " ", from,
                                             " ", to, " ", bytes));
    auto decoded = replica::DecodeGossip(bytes);
    DOVETAIL_CHECK(decoded.ok());
    DOVETAIL_CHECK(*decoded == envelope.message);
  }
  const int64_t delay =
      network_.Between(settings_.latency_min_us, settings_.latency_max_us);
  const bool lost = network_.Permille(settings_.loss_permille);
  if (lost || to == nodes_.size() || to == from || !running(to)) return;
  if (passes_ && !passes_(from, to)) return;
  scheduler_.After(delay, [this, from, to, life = nodes_[to].life,
                           message = std::move(envelope.message)]() mutable {
    Deliver(from, to, life, std::move(message));
  });
}

void SwimWorld::Deliver(size_t from, size_t to, uint64_t life,
                        GossipMessage message) {
  Node& it = nodes_[to];
  if (it.life != life) return;
  if (paused(to) || blocked(to)) {
    it.held.emplace_back(id(from), std::move(message));
    return;
  }
  it.membership->HandleMessage(id(from), message, now());
  Drain(to);
}

void SwimWorld::RunFor(absl::Duration how_long) {
  const int64_t end_us =
      scheduler_.now_us() + absl::ToInt64Microseconds(how_long);
  while (scheduler_.RunOne(end_us)) {
  }
}

bool SwimWorld::RunUntil(const std::function<bool()>& done,
                         absl::Duration limit) {
  const int64_t end_us = scheduler_.now_us() + absl::ToInt64Microseconds(limit);
  while (!done()) {
    if (!scheduler_.RunOne(end_us)) return done();
  }
  return true;
}

size_t SwimWorld::NodeOf(NodeId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nodes_.size() : it->second;
}

bool SwimWorld::Holds(size_t node, size_t about, MemberState state) const {
  const auto& members = nodes_[node].membership->members();
  const auto it = members.find(id(about));
  return it != members.end() && it->second.state == state;
}

bool SwimWorld::AllHold(size_t about, MemberState state) const {
  for (size_t node = 0; node < nodes_.size(); ++node) {
    if (node == about || !running(node)) continue;
    if (!Holds(node, about, state)) return false;
  }
  return true;
}

bool SwimWorld::AllAlive() const {
  size_t up = 0;
  for (size_t node = 0; node < nodes_.size(); ++node) up += running(node);
  for (const Node& node : nodes_) {
    if (node.membership == nullptr) continue;
    // Nearly always it fails here, and is cheap for a thousand nodes.
    if (node.membership->members().size() < up) return false;
  }
  for (size_t node = 0; node < nodes_.size(); ++node) {
    if (running(node) && !AllHold(node, MemberState::kAlive)) return false;
  }
  return true;
}

}  // namespace dovetail::sim
