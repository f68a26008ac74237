// Partition: writes that find their object expired and not yet removed. What
// they add must not bring back what nobody is shown any more, so they remove it
// first: an ordinary delete of what is observed here.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "replica/partition.h"

namespace dovetail::replica {

absl::StatusOr<Partition::Expired> Partition::ExpiredIn(
    absl::Span<const crdt::Operation> operations, const ExpiryClock& clock) {
  Expired expired;
  if (clock.now_ms == 0) return expired;
  if (DOVETAIL_MUTANT("expiry: a write brings back what has expired")) {
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

absl::StatusOr<MutateOutcome> Partition::RemoveFirst(
    const crdt::Operation& expired,
    absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp) {
  DOVETAIL_ASSIGN_OR_RETURN(MutateOutcome outcome,
                            Mutate({&expired, 1}, crdt::Path(), stamp));
  // The operation itself has not begun.
  outcome.not_observed.clear();
  outcome.more = true;
  outcome.resume_after = crdt::Path();
  return outcome;
}

}  // namespace dovetail::replica
