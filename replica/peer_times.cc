#include "replica/peer_times.h"

#include <algorithm>

#include "crdt/check.h"
#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// The past weighs half after so many answers, or so long.
constexpr uint32_t kAnswersKept = 256;
constexpr absl::Duration kHalfLife = absl::Seconds(10);

// A question that has waited so long is counted as having taken it: beyond,
// nothing here makes a difference.
constexpr absl::Duration kGivenUpAfter = absl::Milliseconds(500);

// Questions to one peer that are watched at a time; more are asked and not
// measured.
constexpr size_t kOpenMax = 256;

// The upper end of a bucket, in microseconds.
constexpr int64_t EndOf(size_t bucket) {
  constexpr int64_t kQuarters[] = {64'000, 76'109, 90'510, 107'635};
  return (kQuarters[bucket % 4] << (bucket / 4)) / 1000;
}

}  // namespace

void AnswerTimes::Halve() {
  total_ = 0;
  for (uint32_t& count : buckets_) total_ += count /= 2;
}

void AnswerTimes::Add(absl::Duration took, absl::Duration now) {
  if (halved_at_ == -absl::InfiniteDuration()) halved_at_ = now;
  while (total_ > 0 && now - halved_at_ >= kHalfLife) {
    Halve();
    halved_at_ += kHalfLife;
  }
  if (total_ == 0 || total_ >= kAnswersKept * kWeight) {
    Halve();
    halved_at_ = now;
  }
  const int64_t us = absl::ToInt64Microseconds(took);
  size_t bucket = 0;
  while (bucket + 1 < kBuckets && EndOf(bucket) < us) ++bucket;
  buckets_[bucket] += kWeight;
  total_ += kWeight;
}

void AnswerTimes::Add(const AnswerTimes& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  total_ += other.total_;
}

absl::Duration AnswerTimes::p95() const {
  DOVETAIL_CHECK(total_ > 0);
  const uint32_t beyond = total_ / 20;
  uint32_t above = 0;
  size_t bucket = kBuckets;
  do {
    above += buckets_[--bucket];
  } while (above <= beyond);
  return absl::Microseconds(EndOf(bucket));
}

void PeerTimes::Asked(NodeId peer, uint64_t question, absl::Duration now) {
  const auto it = peers_.try_emplace(peer).first;
  auto& open = it->second.open;
  while (!open.empty() && now - open.begin()->second >= kGivenUpAfter) {
    DOVETAIL_MARK("peer times: a question stays unanswered");
    open.erase(open.begin());
    Count(it, kGivenUpAfter, now);
  }
  if (open.size() < kOpenMax) open.emplace(question, now);
}

void PeerTimes::Answered(NodeId peer, uint64_t question, absl::Duration now) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  const auto asked = it->second.open.extract(question);
  if (!asked.empty()) Count(it, now - asked.mapped(), now);
}

void PeerTimes::Forget(NodeId peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  slow_ -= it->second.slow ? 1 : 0;
  peers_.erase(it);
}

uint64_t PeerTimes::AnswersWanted() const {
  return DOVETAIL_BUGGIFY("peer times: judged by one answer")
             ? 1
             : options_.slow_answers_min;
}

std::optional<absl::Duration> PeerTimes::LimitFor(NodeId peer) const {
  const std::string& region = placement_.RegionOf(peer);
  std::vector<absl::Duration> near;
  std::vector<absl::Duration> all;
  for (const auto& [other, known] : peers_) {
    if (other == peer || known.times.answers() < AnswersWanted()) continue;
    all.push_back(known.times.p95());
    if (placement_.RegionOf(other) == region) near.push_back(all.back());
  }
  std::vector<absl::Duration>& others = near.empty() ? all : near;
  if (others.empty()) return std::nullopt;
  const auto median =
      others.begin() + static_cast<std::ptrdiff_t>((others.size() - 1) / 2);
  std::nth_element(others.begin(), median, others.end());
  return std::max(options_.slow_floor, options_.slow_factor * *median);
}

void PeerTimes::Count(Peers::iterator it, absl::Duration took,
                      absl::Duration now) {
  Peer& peer = it->second;
  peer.times.Add(took, now);
  if (!peer.slow) {
    // Most are not, and then that is all it costs.
    if (took < options_.slow_floor || peer.times.answers() < AnswersWanted() ||
        peer.times.p95() < options_.slow_floor) {
      return;
    }
    const std::optional<absl::Duration> limit = LimitFor(it->first);
    if (!limit || peer.times.p95() < *limit) return;
    DOVETAIL_MARK("peer times: one is slow");
    peer.slow = true;
    ++slow_;
    peer.quick_in_a_row = 0;
    peer.probed_at = now;
    return;
  }
  // Half of what makes it slow, so that it does not come and go.
  const absl::Duration limit =
      LimitFor(it->first).value_or(options_.slow_floor) / 2;
  peer.quick_in_a_row = took < limit ? peer.quick_in_a_row + 1 : 0;
  if (peer.quick_in_a_row < options_.slow_quick_answers) return;
  DOVETAIL_MARK("peer times: who was slow is quick again");
  peer.slow = false;
  --slow_;
  peer.times = {};
}

absl::Duration PeerTimes::HedgeAfter(NodeId peer) const {
  return std::min(options_.read_hedge_after, AskAgainAfter(peer));
}

absl::Duration PeerTimes::AskAgainAfter(NodeId peer) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || it->second.times.answers() < AnswersWanted()) {
    return options_.read_hedge_after;
  }
  return std::max(it->second.times.p95(), options_.read_hedge_min);
}

std::optional<absl::Duration> PeerTimes::P95(NodeId peer) const {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || it->second.times.answers() < AnswersWanted()) {
    return std::nullopt;
  }
  return it->second.times.p95();
}

bool PeerTimes::TakeProbe(NodeId peer, absl::Duration now) {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || !it->second.slow ||
      now - it->second.probed_at < options_.slow_probe_period) {
    return false;
  }
  it->second.probed_at = now;
  return true;
}

std::vector<PeerTime> PeerTimes::Measures() const {
  std::vector<PeerTime> measures;
  for (const auto& [id, peer] : peers_) {
    measures.push_back({id, peer.times, peer.slow});
  }
  return measures;
}

}  // namespace dovetail::replica
