#include "replica/reaper.h"

#include <algorithm>
#include <vector>

#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "replica/keys.h"

namespace dovetail::replica {
namespace {

// What one turn looks at, some milliseconds of work, and when the next one
// does.
constexpr size_t kObjectsPerTurn = 100;
constexpr absl::Duration kNextTurnAfter = absl::Milliseconds(50);

}  // namespace

bool Reaper::IsMine(const Partition& partition) const {
  const PartitionId id = partition.id();
  const NodeId self = core_.identity.self;
  if (!core_.IsOwner(id) || core_.StandingOf(id) != Standing::kComplete ||
      !partition.Readable().ok() || !partition.MayMint().ok()) {
    return false;
  }
  for (const NodeId owner : core_.placement.Owners(id)) {
    if (owner == self) return true;
    if (core_.IsUp(owner) && core_.IsProbablyWhole(owner, id)) return false;
  }
  return false;
}

absl::StatusOr<bool> Reaper::AnyUntil(Partition& partition, uint64_t until_ms) {
  const auto [it, inserted] = seen_.try_emplace(partition.id());
  Seen& seen = it->second;
  if (inserted || seen.expiries_set != partition.expiries_set()) {
    const std::string prefix = ExpiryPrefix(partition.id());
    std::optional<uint64_t> first_ms;
    DOVETAIL_RETURN_IF_ERROR(core_.storage.Scan(
        Family::kMeta, prefix, RangeEnd(prefix),
        [&](absl::string_view key, absl::string_view) {
          const absl::StatusOr<ParsedExpiryKey> parsed = ParseExpiryKey(key);
          // What does not decode is looked at at once, and removed.
          first_ms = parsed.ok() ? parsed->at_ms : 0;
          return false;
        }));
    seen = {partition.expiries_set(), first_ms};
  }
  return seen.first_ms && *seen.first_ms <= until_ms;
}

uint64_t Reaper::UntilMs(PartitionId partition, Now now) const {
  const PeerClocks::Agreement agreement = core_.peer_clocks.Ask(
      core_.identity.self, core_.placement.Owners(partition),
      core_.options.expiry_clock_agreement, now);
  if (agreement != PeerClocks::Agreement::kAgrees &&
      !DOVETAIL_MUTANT("reaper: whatever peers' clocks say")) {
    return 0;
  }
  const auto grace = static_cast<uint64_t>(
      absl::ToInt64Milliseconds(core_.options.expiry_grace));
  return now.wall_ms > grace ? now.wall_ms - grace : 0;
}

void Reaper::Round(Now now) {
  left_ = core_.options.expiry_objects_per_round;
  Turn(now);
}

void Reaper::Turn(Now now) {
  size_t budget = std::min(left_, kObjectsPerTurn);
  if (DOVETAIL_BUGGIFY("reaper: one object a turn")) {
    budget = std::min<size_t>(budget, 1);
  }
  left_ -= budget;
  next_turn_ = absl::InfiniteDuration();
  bool differs = false;
  const auto& partitions = core_.partitions;
  for (size_t i = 0; i < partitions.size(); ++i) {
    Partition& partition =
        *partitions[(next_partition_ + i) % partitions.size()];
    if (!IsMine(partition)) continue;
    // What this turn wrote is not in the index yet: nor must it be remembered
    // that nothing of it is there.
    if (std::count(core_.touched.begin(), core_.touched.end(), partition.id()) >
        0) {
      DOVETAIL_MARK("reaper: the partition was written in this very turn");
      continue;
    }
    // Any clock may be the wrong one: it is asked about only where it matters.
    const absl::StatusOr<bool> any =
        AnyUntil(partition, std::max(now.wall_ms, core_.peer_clocks.Time(now)));
    if (!any.ok()) {
      ++core_.stats.corruptions;
      continue;
    }
    if (!*any) continue;
    const uint64_t until_ms = UntilMs(partition.id(), now);
    if (until_ms == 0) {
      DOVETAIL_MARK("reaper: the clock does not agree with enough others");
      differs = true;
      continue;
    }
    const size_t looked = AskDue(partition, until_ms, budget, now);
    budget -= std::min(budget, looked);
    if (budget == 0) {
      DOVETAIL_MARK("reaper: the rest waits for another turn");
      if (left_ > 0) next_turn_ = now.steady + kNextTurnAfter;
      next_partition_ = (next_partition_ + i) % partitions.size();
      break;
    }
  }
  core_.stats.expiry_held_back = differs ? 1 : 0;
}

size_t Reaper::AskDue(Partition& partition, uint64_t until_ms, size_t max,
                      Now now) {
  const PartitionId id = partition.id();
  std::vector<crdt::ObjectId> due;
  std::vector<std::string> stale;
  size_t looked = 0;
  const KeyRange range = ExpiryRange(id, until_ms);
  std::vector<std::pair<std::string, absl::StatusOr<ParsedExpiryKey>>> entries;
  const absl::Status scanned = core_.storage.Scan(
      Family::kMeta, range.begin, range.end,
      [&](absl::string_view key, absl::string_view) {
        if (looked == max) return false;
        ++looked;
        entries.emplace_back(std::string(key), ParseExpiryKey(key));
        return true;
      });
  if (!scanned.ok()) ++core_.stats.corruptions;
  for (auto& [key, parsed] : entries) {
    if (parsed.ok() && busy_.contains(parsed->object)) continue;
    if (!parsed.ok()) {
      stale.push_back(key);
      continue;
    }
    const absl::StatusOr<ObjectRows::Expiring> here =
        partition.ExpiryOf(parsed->object);
    if (!here.ok()) {
      ++core_.stats.corruptions;
      partition.Note(here.status());
      return looked;
    }
    if (here->expires_ms == parsed->at_ms) {
      due.push_back(std::move(parsed->object));
    } else {
      DOVETAIL_MARK("reaper: an entry that outlived its object");
      stale.push_back(key);
    }
  }
  for (std::string& key : stale) {
    core_.rows.DeleteOther(Family::kMeta, std::move(key));
  }
  seen_.erase(id);  // it is looked at anew until nothing is due
  for (const crdt::ObjectId& object : due) {
    busy_.insert(object);
    ask_(id, object, now);
  }
  return looked;
}

void Reaper::OnAnswer(const ShardCore::Reaped& answer, Now now) {
  busy_.erase(answer.object);
  Partition& partition = core_.Get(answer.partition);
  if (answer.expires_ms == 0 || !IsMine(partition)) return;
  // Both what a quorum holds and what is here, which is what is removed; of a
  // moment ago and of now.
  const uint64_t until_ms = UntilMs(answer.partition, now);
  const absl::StatusOr<ObjectRows::Expiring> here =
      partition.ExpiryOf(answer.object);
  if (!here.ok()) return partition.Note(here.status());
  if (!crdt::HasExpired(answer.expires_ms, until_ms) ||
      !crdt::HasExpired(here->expires_ms, until_ms)) {
    DOVETAIL_MARK("reaper: it expires later by now");
    return;
  }
  DOVETAIL_MARK("reaper: removes what has expired");
  ++core_.stats.expired_removed;
  busy_.insert(answer.object);
  const RequestId id{++next_request_};
  removing_.emplace(id, answer.object);
  remove_(id, answer.partition, answer.object, now);
}

void Reaper::OnTimers(Now now) {
  for (const ShardCore::Reaped& answer : std::exchange(core_.reaped, {})) {
    OnAnswer(answer, now);
  }
  for (const RequestId id : std::exchange(core_.own_done, {})) {
    const auto it = removing_.find(id);
    if (it == removing_.end()) continue;
    busy_.erase(it->second);
    removing_.erase(it);
  }
  if (now.steady >= next_turn_) Turn(now);
}

absl::Duration Reaper::next_deadline() const {
  return core_.reaped.empty() && core_.own_done.empty() ? next_turn_
                                                        : absl::ZeroDuration();
}

}  // namespace dovetail::replica
