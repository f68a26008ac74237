#include "tests/sim/expiry_watch.h"

#include <cstdlib>

#include "absl/time/time.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {
namespace {

int64_t BaseOf(uint64_t wall_ms, replica::Now now) {
  return static_cast<int64_t>(wall_ms) - absl::ToInt64Milliseconds(now.steady);
}

// The earlier of the two in the middle.
uint64_t MiddleOf(std::vector<int64_t> bases, replica::Now now) {
  std::sort(bases.begin(), bases.end());
  const int64_t base = bases[(bases.size() - 1) / 2];
  return static_cast<uint64_t>(
      std::max<int64_t>(0, base + absl::ToInt64Milliseconds(now.steady)));
}

}  // namespace

Has HasExpiredBy(uint64_t at_ms, const TimeSpan& now) {
  if (at_ms == 0 || at_ms > now.most) return Has::kNot;
  return at_ms <= now.least ? Has::kExpired : Has::kMaybe;
}

void ExpiryWatch::Heard(uint32_t node, uint32_t shard, uint32_t from,
                        uint64_t wall_ms, replica::Now now) {
  if (wall_ms == 0) return;
  const TimeSpan before = TimeInTurn(node, shard, now);
  Ears& ears = ears_[{node, shard}];
  ears.in_turn = before;
  const int64_t base = BaseOf(wall_ms, now);
  const auto [it, first] = ears.peers.try_emplace(from, Bases{base, base});
  it->second.least = std::min(it->second.least, base);
  it->second.most = std::max(it->second.most, base);
}

void ExpiryWatch::OnStopped(uint32_t node) {
  std::erase_if(ears_,
                [&](const auto& item) { return item.first.first == node; });
}

void ExpiryWatch::OnTurnEnded(uint32_t node, uint32_t shard) {
  const auto its = ears_.find({node, shard});
  if (its != ears_.end()) its->second.in_turn.reset();
}

TimeSpan ExpiryWatch::TimeAt(uint32_t node, uint32_t shard,
                             replica::Now now) const {
  std::vector<int64_t> least = {BaseOf(now.wall_ms, now)};
  std::vector<int64_t> most = least;
  const auto its = ears_.find({node, shard});
  if (its != ears_.end()) {
    for (const auto& [peer, bases] : its->second.peers) {
      least.push_back(bases.least);
      most.push_back(bases.most);
    }
  }
  return {MiddleOf(std::move(least), now), MiddleOf(std::move(most), now)};
}

TimeSpan ExpiryWatch::TimeInTurn(uint32_t node, uint32_t shard,
                                 replica::Now now) const {
  TimeSpan time = TimeAt(node, shard, now);
  const auto its = ears_.find({node, shard});
  if (its != ears_.end() && its->second.in_turn) {
    time.Include(*its->second.in_turn);
  }
  return time;
}

bool ExpiryWatch::MayAgree(uint32_t node, uint32_t shard,
                           absl::Span<const replica::NodeId> owners,
                           int64_t within_ms, replica::Now now) const {
  const int64_t own = BaseOf(now.wall_ms, now);
  const auto its = ears_.find({node, shard});
  size_t agree = 0;
  for (const replica::NodeId owner : owners) {
    if (SeatOf(owner) == node) {
      ++agree;
      continue;
    }
    if (its == ears_.end()) continue;
    const auto peer = its->second.peers.find(SeatOf(owner));
    if (peer == its->second.peers.end()) continue;
    agree += peer->second.least <= own + within_ms &&
                     peer->second.most >= own - within_ms
                 ? 1
                 : 0;
  }
  return 2 * agree > owners.size();
}

}  // namespace dovetail::sim
