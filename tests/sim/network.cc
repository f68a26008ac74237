#include "tests/sim/network.h"

#include <algorithm>
#include <utility>

namespace dovetail::sim {

Network::Network(Scheduler& scheduler, const Plan& plan, Deliver deliver)
    : scheduler_(scheduler),
      options_(plan.options),
      nodes_(static_cast<uint32_t>(plan.options.nodes)),
      deliver_(std::move(deliver)) {
  for (uint32_t from = 0; from < nodes_; ++from) {
    for (uint32_t to = 0; to < nodes_; ++to) {
      links_.push_back({Stream(plan.seed, "link", from, to), 0, 0, {}});
    }
  }
}

void Network::Send(uint32_t from, uint32_t to, std::string bytes) {
  Link& link = At(from, to);
  ++stats_.sent;
  stats_.bytes += bytes.size();
  auto frame = std::make_shared<const std::string>(std::move(bytes));
  link.recent.push_back(frame);
  if (link.recent.size() > kRecentMax) link.recent.pop_front();
  // Drawn whether it is needed or not: what one frame meets does not depend on
  // what became of the frame before.
  int64_t delay =
      options_.delay_min_us + link.chance.Exponential(options_.delay_mean_us);
  const bool lost = link.chance.Permille(options_.loss_permille);
  const bool doubled = link.chance.Permille(options_.duplicate_permille);
  const bool late = link.chance.Permille(options_.late_permille);
  const int64_t late_by = link.chance.LogBetween(10'000, 30'000'000);
  const int64_t again_after = link.chance.LogBetween(100, 10'000'000);
  if (healed_) return Schedule(from, to, std::move(frame), delay);
  if (lost) {
    ++stats_.lost;
    return;
  }
  if (late) {
    ++stats_.late;
    delay += late_by;
  }
  if (doubled) {
    ++stats_.doubled;
    Schedule(from, to, frame, delay + again_after);
  }
  Schedule(from, to, std::move(frame), delay);
}

void Network::Schedule(uint32_t from, uint32_t to, Frame frame,
                       int64_t delay_us) {
  if (IsCut(from, to)) {
    ++stats_.lost;
    return;
  }
  const int64_t at = std::max(scheduler_.now_us() + delay_us,
                              At(from, to).clogged_until_us + delay_us);
  scheduler_.At(at, [this, from, to, frame = std::move(frame)] {
    if (IsCut(from, to)) {
      ++stats_.lost;
      return;
    }
    ++stats_.delivered;
    deliver_(from, to, frame);
  });
}

void Network::Cut(uint32_t from, uint32_t to, int64_t until_us) {
  int64_t& until = At(from, to).cut_until_us;
  until = std::max(until, until_us);
}

void Network::Clog(uint32_t from, uint32_t to, int64_t until_us) {
  int64_t& until = At(from, to).clogged_until_us;
  until = std::max(until, until_us);
}

void Network::Replay(uint32_t from, uint32_t to) {
  Link& link = At(from, to);
  for (size_t i = 0; i < 3 && !link.recent.empty(); ++i) {
    ++stats_.replayed;
    Frame frame = link.recent[link.chance.Below(link.recent.size())];
    const int64_t delay_us = link.chance.LogBetween(100, 5'000'000);
    Schedule(from, to, std::move(frame), delay_us);
  }
}

void Network::HealAll() {
  healed_ = true;
  HealLinks();
}

void Network::HealLinks() {
  for (Link& link : links_) {
    link.cut_until_us = 0;
    link.clogged_until_us = 0;
  }
}

bool Network::IsCut(uint32_t from, uint32_t to) const {
  return links_[from * nodes_ + to].cut_until_us > scheduler_.now_us();
}

}  // namespace dovetail::sim
