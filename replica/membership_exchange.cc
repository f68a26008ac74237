// Whole views: what rumours missed, who is new, and who was given up.
//
//   a --- Compare(digest) ---> b      equal: done
//   a <-- StateRequest(rows) - b      different
//   a --- StateReply(rows) --> b      after taking in theirs
//
// The same three messages, begun by address instead of by id, introduce a
// newcomer; begun with a dead member, they end a partition.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/membership.h"

namespace dovetail::replica {
namespace {

// Up to so many members the exchange period is the option's.
constexpr size_t kSmallCluster = 32;

}  // namespace

void Membership::OnBody(NodeId from, const Compare& compare, absl::Duration) {
  OnConfig(from, compare.config);
  if (left_) return;
  if (compare.view != table_.Digest()) {
    Send(from, StateRequest{config_, Rows()});
  } else if (compare.config != config_) {
    Send(from, StateReply{config_, {}});
  }
}

void Membership::OnBody(NodeId from, const StateRequest& request,
                        absl::Duration now) {
  OnConfig(from, request.config);
  OnRows(from, request.rows, now);
  Send(from, StateReply{config_, Rows()});
}

void Membership::OnBody(NodeId from, const StateReply& reply,
                        absl::Duration now) {
  OnConfig(from, reply.config);
  OnRows(from, reply.rows, now);
}

void Membership::OnConfig(NodeId from, const ConfigDigest& config) {
  if (config == config_ || config == ConfigDigest{}) return;
  events_.push_back(
      {MembershipEvent::Kind::kPeerConfig, from, std::nullopt, config});
}

void Membership::OnRows(NodeId from, const std::vector<Rumor>& rows,
                        absl::Duration now) {
  const Source source =
      table_.members().size() == 1 ? Source::kFirstExchange : Source::kExchange;
  for (const Rumor& row : rows) OnRumor(from, row, source, now);
}

std::vector<Rumor> Membership::Rows() const {
  std::vector<Rumor> rows;
  rows.reserve(table_.members().size());
  for (const auto& [id, member] : table_.members()) {
    rows.push_back(RumorOf(member, WithInfo::kAlways));
  }
  return rows;
}

void Membership::SendCompare(NodeId to) {
  Send(to, Compare{table_.Digest(), config_});
}

// A stranger pings us: it knows this node, perhaps of a life before. Once a
// period at the most, since strangers are not counted.
void Membership::Introduce(NodeId from, absl::Duration now) {
  if (left_ || now < next_introduction_) return;
  if (table_.Find(from) != nullptr || table_.WasForgotten(from)) return;
  DOVETAIL_MARK("membership: pinged by a stranger");
  next_introduction_ = now + options_.probe_period;
  SendCompare(from);
}

absl::Status Membership::AddSeed(std::string address, absl::Duration now) {
  Enter(now);
  if (seeds_.size() >= options_.seeds_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "seed ", address, ": there are ", seeds_.size(), " already"));
  }
  seeds_.push_back(std::move(address));
  ContactSeeds();
  next_reconnect_ = std::min(next_reconnect_, now + options_.probe_period);
  return absl::OkStatus();
}

// A seed at a live member's address is known. One at a dead member's is not:
// another node may live there now.
void Membership::ContactSeeds() {
  for (const std::string& seed : seeds_) {
    const bool known = std::any_of(
        table_.members().begin(), table_.members().end(),
        [&](const auto& entry) {
          return entry.second.info.peer_address == seed && IsLive(entry.first);
        });
    if (known) continue;
    GossipEnvelope envelope{seed, {Compare{table_.Digest(), config_}, {}}};
    messages_.push_back(std::move(envelope));
  }
}

// By one node in (live / dead) on average, so that many nodes do not all call
// on the same dead one, nor few nodes on none.
void Membership::RetryDead() {
  if (table_.dead() == 0) return;
  if (random_.Below(table_.live()) >= table_.dead()) return;
  size_t skipped = random_.Below(table_.dead());
  for (const auto& [id, member] : table_.members()) {
    if (member.state != MemberState::kDead || skipped-- > 0) continue;
    return SendCompare(id);
  }
}

absl::Duration Membership::ExchangePeriod() const {
  absl::Duration period = options_.exchange_period;
  for (size_t n = kSmallCluster; n < table_.live(); n *= 2) {
    period += options_.exchange_period;
  }
  return period;
}

void Membership::HandleExchangeTimers(absl::Duration now) {
  if (now >= next_reconnect_) {
    const bool alone = table_.live() == 1;
    next_reconnect_ =
        now + (alone ? options_.probe_period : options_.reconnect_period);
    ContactSeeds();
    RetryDead();
  }
  if (now >= next_exchange_) {
    next_exchange_ = now + ExchangePeriod();
    table_.DropForgotten(now);
    for (const NodeId peer : DrawLive(1, self().info.id)) SendCompare(peer);
  }
}

void Membership::HandleLinkUp(NodeId peer, absl::Duration now) {
  Enter(now);
  if (left_ || peer == self().info.id || table_.WasForgotten(peer)) return;
  const Member* member = table_.Find(peer);
  if (member != nullptr && member->state == MemberState::kAlive) return;
  SendCompare(peer);
}

void Membership::SetConfig(const ConfigDigest& config, absl::Duration now) {
  Enter(now);
  if (config == config_) return;
  config_ = config;
  next_exchange_ = std::min(next_exchange_, now);
}

}  // namespace dovetail::replica
