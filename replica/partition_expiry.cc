// Partition: writes that find their object expired and not yet removed. What
// they add must not bring back what nobody is shown any more, so they remove it
// first: an ordinary delete of what is observed here.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "replica/partition.h"

namespace dovetail::replica {
namespace {

bool SaysWhenItExpires(crdt::Verb verb) {
  return verb == crdt::Verb::kExpireIn || verb == crdt::Verb::kExpireAt ||
         verb == crdt::Verb::kPersist;
}

// Whether it may leave something where nothing was. With a token also these
// others act where the object is not: on what its reader saw elsewhere.
bool CanBegin(const crdt::Operation& operation) {
  switch (operation.verb) {
    case crdt::Verb::kClear:
    case crdt::Verb::kReset:
    case crdt::Verb::kRemoveField:
    case crdt::Verb::kDelete:
      return false;
    case crdt::Verb::kRemove:
      return operation.target_type() != crdt::Type::kSet;
    default:
      return true;
  }
}

}  // namespace

absl::StatusOr<Partition::Expired> Partition::ExpiredIn(
    absl::Span<const crdt::Operation> operations, const ExpiryClock& clock) {
  Expired expired;
  if (clock.now_ms == 0) return expired;
  if (!clock.only_expired &&
      DOVETAIL_MUTANT("expiry: a write brings back what has expired")) {
    return expired;
  }
  std::set<crdt::ObjectId> seen;
  for (const crdt::Operation& operation : operations) {
    const absl::StatusOr<ObjectRows::Expiring> here =
        objects_.ExpiryOf(operation.object);
    if (!here.ok()) {
      if (absl::IsDataLoss(here.status())) Quarantine(here.status());
      return here.status();
    }
    if (!crdt::HasExpired(here->expires_ms, clock.now_ms) ||
        !seen.insert(operation.object).second) {
      continue;
    }
    if (!clock.sure) {
      DOVETAIL_MARK("expiry: a write by a clock that nobody confirms");
      return absl::UnavailableError(absl::StrCat(
          crdt::ToString(operation.object),
          " has expired by the clock of this node, which too few owners have "
          "confirmed; nothing was written, write to another node"));
    }
    DOVETAIL_MARK("expiry: a write removes what has expired");
    crdt::Operation gone;
    gone.object = operation.object;
    gone.verb = crdt::Verb::kDelete;
    if (!here->large) {
      expired.small.push_back(std::move(gone));
    } else if (!expired.large) {
      expired.large = std::move(gone);
    }
  }
  return expired;
}

absl::StatusOr<std::vector<crdt::Operation>> Partition::TimesByBucket(
    absl::Span<const crdt::Operation> operations,
    const std::vector<bool>& not_observed, const Expired& expired,
    const ExpiryClock& clock) {
  std::vector<crdt::Operation> times;
  if (clock.buckets == nullptr || clock.buckets->empty() || clock.now_ms == 0) {
    return times;
  }
  std::set<crdt::ObjectId> said;
  for (const crdt::Operation& operation : operations) {
    if (SaysWhenItExpires(operation.verb)) said.insert(operation.object);
  }
  for (size_t i = 0; i < operations.size(); ++i) {
    const crdt::ObjectId& object = operations[i].object;
    const auto bucket = clock.buckets->find(object.bucket);
    if (bucket == clock.buckets->end() || bucket->second.ttl_ms == 0 ||
        not_observed[i] || !CanBegin(operations[i]) ||
        !said.insert(object).second) {
      continue;
    }
    DOVETAIL_ASSIGN_OR_RETURN(const bool here, objects_.Exists(object));
    const bool begins_anew =
        std::any_of(expired.small.begin(), expired.small.end(),
                    [&](const auto& gone) { return gone.object == object; });
    if (here && !begins_anew) continue;
    DOVETAIL_MARK("expiry: by what the bucket says");
    crdt::Operation time;
    time.object = object;
    time.verb = crdt::Verb::kExpireAt;
    time.amount = static_cast<int64_t>(
        std::min(clock.now_ms + bucket->second.ttl_ms, crdt::kExpiresMsMax));
    times.push_back(std::move(time));
  }
  return times;
}

absl::StatusOr<MutateOutcome> Partition::MutateFirst(
    absl::Span<const crdt::Operation> operations,
    absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp) {
  DOVETAIL_ASSIGN_OR_RETURN(MutateOutcome outcome,
                            Mutate(operations, crdt::Path(), stamp));
  // The operation itself has not begun.
  outcome.not_observed.clear();
  outcome.more = true;
  outcome.resume_after = crdt::Path();
  return outcome;
}

}  // namespace dovetail::replica
