// What expires. Time hides an object at whoever answers, by the middle of the
// clocks that it knows of, and changes nothing (expiry_watch.h says what time a
// node can take it to be). Who writes to an object that has expired removes it
// first. All else that is removed is by a reaper, which nobody asks: such a
// delta is found in the log when its turn is over, and must be one that a node
// may make.
//
// Where it is open whether an object has expired for its writer, nobody can say
// what the write acts on: the object is not judged any more.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/delta.h"
#include "replica/keys.h"
#include "replica/log_entry.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::Shard;

namespace {

const std::string kBucket = "b";

oracle::Mutation DeleteOf(const oracle::Object& object) {
  oracle::Mutation gone;
  gone.object = object;
  gone.verb = oracle::Verb::kDelete;
  return gone;
}

// What is written of a counter then says how much of it was reset.
bool RemovesOnly(const crdt::Delta& delta) {
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    for (const auto& [dot, payload] : leaf.store.entries()) {
      if (!std::holds_alternative<crdt::Tally>(payload)) return false;
    }
  }
  return true;
}

}  // namespace

replica::Now Checker::NowAt(uint32_t node) const {
  const int64_t us = scheduler_.now_us();
  return {absl::Microseconds(us), cluster_->node(node).clock.WallMs(us)};
}

uint32_t Checker::IndexOf(uint32_t node, const Shard& shard) const {
  const auto& lanes = cluster_->node(node).process->lanes;
  for (uint32_t i = 0; i < lanes.size(); ++i) {
    if (lanes[i].shard.get() == &shard) return i;
  }
  DOVETAIL_CHECK(false);
  return 0;
}

void Checker::LearnWhatExpires(const scenario::Action& action) {
  const auto* operate = std::get_if<scenario::Operate>(&action);
  if (operate == nullptr) return;
  for (const scenario::OperationStep& step : operate->steps) {
    if (step.operation.verb != crdt::Verb::kExpireIn) continue;
    crdt::ObjectId object = step.operation.object;
    object.bucket = kBucket;
    expiring_.insert(PartitionOf(object));
    expiring_objects_.insert(std::move(object));
  }
}

// --- Requests ----------------------------------------------------------------

// It is set by the clock of the turn, and the node, to which its request came
// first. That turn may be over, or a peer's word since then have changed what
// the middle of the clocks is.
uint64_t Checker::ExpiresFrom(const Pending& pending) const {
  if (pending.ticket || pending.handled_us < scheduler_.now_us()) return 0;
  int64_t least = INT64_MAX;
  for (const oracle::Mutation& mutation : pending.batch) {
    if (mutation.verb != oracle::Verb::kExpire) continue;
    least = std::min(least, mutation.amount);
  }
  return expiry_
             .TimeInTurn(pending.at, ShardOf(pending.partition),
                         NowAt(pending.at))
             .least +
         static_cast<uint64_t>(least);
}

bool Checker::MayHavePassed(const Pending& pending,
                            const oracle::Object& object,
                            const TimeSpan& now) const {
  const auto settings = oracles_[Index(pending.partition)].SettingsOf(
      object, ToOracle(pending.visible));
  return std::any_of(settings.begin(), settings.end(), [&](const auto& one) {
    return one.at_ms == 0 &&
           std::any_of(in_turn_.begin(), in_turn_.end(), [&](const auto& run) {
             return run.partition == pending.partition &&
                    run.expires_from_ms <= now.most &&
                    crdt::ActorBits(run.events.actor) == one.actor &&
                    run.events.first <= one.counter &&
                    one.counter - run.events.first < run.events.count;
           });
  });
}

void Checker::ExpectOf(uint32_t node, Pending& pending) {
  const oracle::Oracle& oracle = OracleOf(pending.partition);
  const oracle::Events visible = ToOracle(pending.visible);
  pending.first.clear();
  if (expiring_.contains(pending.partition)) {
    const TimeSpan now =
        expiry_.TimeAt(node, ShardOf(pending.partition), NowAt(node));
    std::set<oracle::Object> seen;
    for (const oracle::Mutation& mutation : pending.batch) {
      if (!seen.insert(mutation.object).second) continue;
      const Has has =
          HasExpiredBy(oracle.ExpiresAt(mutation.object, visible), now);
      pending.unknown = pending.unknown || has == Has::kMaybe ||
                        MayHavePassed(pending, mutation.object, now);
      if (has != Has::kExpired) continue;
      pending.first.push_back(DeleteOf(mutation.object));
    }
  }
  std::vector<oracle::Mutation> all = pending.first;
  all.insert(all.end(), pending.batch.begin(), pending.batch.end());
  const crdt::ActorId actor = cluster_->node(node).process->actor;
  pending.expected = oracle.Expect(all, crdt::ActorBits(actor), visible);
  std::vector<bool>& missed = pending.expected.not_observed;
  missed.erase(missed.begin(), missed.begin() + static_cast<std::ptrdiff_t>(
                                                    pending.first.size()));
}

// What is passed on says of an object that has expired that it is not there,
// and no more.
bool Checker::IsHidden(const Pending& pending, const replica::ReadReply& reply,
                       uint64_t expires_ms) {
  return reply.result.expired ||
         (pending.ticket && expires_ms != 0 && reply.result.expires_ms == 0);
}

oracle::View Checker::ShownOf(const Pending& pending,
                              const replica::ReadReply& reply,
                              const oracle::Events& events,
                              oracle::View there) {
  if (!pending.shown) return there;
  const crdt::ReadSpec& spec = *pending.spec;
  const oracle::Object object = ToOracle(spec.object);
  const oracle::Oracle& oracle = OracleOf(pending.partition);
  const uint64_t at_ms = oracle.ExpiresAt(object, events);
  const Has has = HasExpiredBy(at_ms, *pending.shown);
  const bool hidden = has == Has::kExpired ||
                      (has == Has::kMaybe && IsHidden(pending, reply, at_ms));
  return hidden ? oracle.Read(object, ToOracle(spec.fields), oracle::Events())
                : there;
}

// Answers are made in the turn in which they leave.
void Checker::NoteShown(uint32_t node, Shard& shard,
                        const replica::Output& output) {
  if (expiring_.empty()) return;
  const uint32_t lane = IndexOf(node, shard);
  const TimeSpan now = expiry_.TimeInTurn(node, lane, NowAt(node));
  clocks_[node].taken_max = std::max(clocks_[node].taken_max, now.most);
  const auto note = [&](Pending& pending) {
    if (pending.shown) pending.shown->Include(now);
    if (!pending.shown) pending.shown = now;
  };
  for (const replica::ClientReply& reply : output.replies) {
    const auto pending = pending_.find(reply.id);
    if (pending != pending_.end()) note(pending->second);
  }
  for (const replica::Envelope& envelope : output.messages) {
    const auto* forwarded =
        std::get_if<replica::Forwarded>(&envelope.message.body);
    if (forwarded == nullptr) continue;
    const auto pending =
        ByTicket(envelope.message.partition, forwarded->ticket);
    if (pending != pending_.end()) note(pending->second);
  }
  expiry_.OnTurnEnded(node, lane);
}

// --- Removal -----------------------------------------------------------------

void Checker::LookAtReaped() {
  for (Reaped& reaped : std::exchange(reaped_, {})) {
    if (!Attribute(reaped, /*in_time=*/true)) {
      reaped_in_vain_.push_back(std::move(reaped));
    }
  }
}

bool Checker::Attribute(const Reaped& reaped, bool in_time) {
  const auto& log =
      cluster_->node(reaped.node).disk.keys(replica::Family::kLog);
  const std::string key = replica::LogKey(
      reaped.partition, {reaped.minted.actor, reaped.minted.first});
  const auto row = log.find(key);
  if (row == log.end()) return false;
  const auto entry = replica::DecodeLogEntry(key, row->second);
  DOVETAIL_CHECK(entry.ok());
  const auto delta = crdt::Delta::Decode(entry->delta);
  DOVETAIL_CHECK(delta.ok() && !delta->leaves.empty());
  const crdt::ObjectId& object = delta->leaves.front().object;
  if (expiring_objects_.contains(object) && RemovesOnly(*delta)) {
    OnRemoval(reaped, object, in_time);
  } else {
    OnViolation(absl::StrCat("node ", reaped.node, " changes ",
                             crdt::ToString(object),
                             ", and nobody asked for it"));
  }
  return true;
}

void Checker::ForgetObject(PartitionId partition, const crdt::ObjectId& object,
                           const crdt::DotRun& events) {
  unjudged_.insert(ToOracle(object));
  OracleOf(partition).Skip(crdt::ActorBits(events.actor), events.first,
                           events.count);
}

void Checker::OnRemoval(const Reaped& reaped, const crdt::ObjectId& object,
                        bool in_time) {
  const crdt::DotRun& events = reaped.minted;
  if (!IsJudged(object) || !Exact(reaped.node, reaped.partition)) {
    return ForgetObject(reaped.partition, object, events);
  }
  oracle::Oracle& oracle = OracleOf(reaped.partition);
  const oracle::Events seen = ToOracle(reaped.before);
  // A time that was set in this very turn is not known yet.
  const auto settings = oracle.SettingsOf(ToOracle(object), seen);
  if (std::any_of(settings.begin(), settings.end(),
                  [](const auto& one) { return one.at_ms == 0; })) {
    return ForgetObject(reaped.partition, object, events);
  }
  std::string wrong;
  if (in_time) {
    wrong = WhyNotRemove(reaped.node, reaped.partition, object, seen);
  }
  if (!wrong.empty()) {
    return OnViolation(absl::StrCat("node ", reaped.node, " removes ",
                                    crdt::ToString(object), ", ", wrong));
  }
  const std::vector<oracle::Mutation> gone = {DeleteOf(ToOracle(object))};
  const uint64_t actor = crdt::ActorBits(events.actor);
  const oracle::Expectation expected = oracle.Expect(gone, actor, seen);
  if (expected.events != events.count) {
    return OnViolation(absl::StrCat(
        "node ", reaped.node, " removes ", crdt::ToString(object), " with ",
        events.count, " events; it should be ", expected.events));
  }
  oracle.Record(gone, actor, events.first, events.count, seen);
}

std::string Checker::WhyNotRemove(uint32_t node, PartitionId partition,
                                  const crdt::ObjectId& object,
                                  const oracle::Events& before) {
  const replica::Now now = NowAt(node);
  const oracle::Object its = ToOracle(object);
  oracle::Oracle& oracle = OracleOf(partition);
  const uint64_t at_ms = oracle.ExpiresAt(its, before);
  if (at_ms == 0) return "which never expires";
  const auto grace = static_cast<uint64_t>(plan_.options.expiry_grace_ms);
  if (at_ms + grace > now.wall_ms) {
    return absl::StrCat("which expires at ", at_ms, "; its clock says ",
                        now.wall_ms);
  }
  if (!expiry_.MayAgree(
          node, ShardOf(partition),
          cluster_->PlacementAt(node, partition).Owners(partition),
          plan_.options.expiry_agreement_ms, now)) {
    return "though its clock differs from those of most owners";
  }
  // What a majority of the owners had when the reaper asked it must know of.
  constexpr int64_t kAsksForUs = 3'000'000;
  for (const Acknowledged& write : acknowledged_) {
    if (write.partition != partition ||
        write.at_quorum_of != cluster_->newest_ring() ||
        write.at_us + kAsksForUs > scheduler_.now_us()) {
      continue;
    }
    for (const auto& setting : oracle.SettingsOf(its, oracle.AllEvents())) {
      if (setting.actor == crdt::ActorBits(write.events.actor) &&
          write.events.Contains({write.events.actor, setting.counter}) &&
          setting.at_ms > now.wall_ms) {
        return absl::StrCat("which expires at ", setting.at_ms,
                            ", as a majority of its owners knows; it is ",
                            now.wall_ms);
      }
    }
  }
  return "";
}

bool Checker::MayHaveExpired(const crdt::ObjectId& object) {
  if (!expiring_objects_.contains(object)) return false;
  const oracle::Oracle& oracle = OracleOf(PartitionOf(object));
  const uint64_t at_ms = oracle.ExpiresAt(ToOracle(object), oracle.AllEvents());
  return at_ms != 0 && std::any_of(clocks_.begin(), clocks_.end(),
                                   [&](const ClockWatch& clock) {
                                     return clock.taken_max >= at_ms;
                                   });
}

std::string Checker::Overdue() {
  // Clocks that drift are known to each other as they were some time ago.
  constexpr int64_t kDriftPpmMax = 100;
  constexpr uint64_t kRemovedWithinMs = 10'000;
  if (expiring_objects_.empty() || plan_.options.drift_ppm > kDriftPpmMax) {
    return "";
  }
  uint64_t least = UINT64_MAX;
  uint64_t most = 0;
  for (uint32_t node = 0; node < cluster_->size(); ++node) {
    if (!cluster_->node(node).running()) return "";
    least = std::min(least, NowAt(node).wall_ms);
    most = std::max(most, NowAt(node).wall_ms);
  }
  const auto agreement =
      static_cast<uint64_t>(plan_.options.expiry_agreement_ms);
  if (most - least > agreement / 2) return "";
  for (const crdt::ObjectId& object : expiring_objects_) {
    const PartitionId partition = PartitionOf(object);
    if (!IsJudged(object) || Unfinished(partition)) continue;
    const uint64_t at_ms = OracleOf(partition).ExpiresAt(
        ToOracle(object),
        ToOracle(cluster_->ShardOf(FirstOwner(partition), partition)
                     .ContextOf(partition)
                     .applied));
    if (at_ms == 0 ||
        at_ms + kRemovedWithinMs +
                static_cast<uint64_t>(plan_.options.expiry_grace_ms) >
            least) {
      continue;
    }
    return absl::StrCat(crdt::ToString(object), " expired ", least - at_ms,
                        " ms ago, and nobody removes it");
  }
  return "";
}

}  // namespace dovetail::sim
