// Operations with a client's id: the delta is the client's, so to speak, and
// this replica only builds it, applies it, or finds that it has (crdt/session.h
// says why that is exactly once).
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "replica/partition.h"

namespace dovetail::replica {

absl::StatusOr<MutateOutcome> Partition::MutateOnce(
    absl::Span<const crdt::Operation> operations, const crdt::OperationId& id,
    absl::FunctionRef<crdt::Timestamp(crdt::Timestamp)> stamp,
    const ExpiryClock& clock) {
  DOVETAIL_RETURN_IF_ERROR(Available());
  DOVETAIL_ASSIGN_OR_RETURN(
      const crdt::SessionDelta built,
      DOVETAIL_MUTANT("once: context from the coordinator")
          ? crdt::BuildSessionDeltaOver(objects_, operations, id, stamp)
          : crdt::BuildSessionDelta(operations, id, stamp));
  MutateOutcome outcome;
  outcome.not_observed = built.not_observed;
  DOVETAIL_MARK_IF("once: it changes nothing", !built.delta);
  if (!built.delta) return outcome;
  const crdt::DotRun& events = built.delta->events;
  std::string encoded = built.delta->Encode();
  if (encoded.size() > crdt::kDeltaBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the operation writes ", encoded.size(), " bytes; the limit is ",
        crdt::kDeltaBytesMax, " (kDeltaBytesMax)"));
  }
  if (context_.applied.ContainsRun(events)) {
    DOVETAIL_MARK("once: a retry of what is applied here");
    if (DOVETAIL_MUTANT("once: a retry is applied anew")) {
      return Mutate(operations, crdt::Path(), stamp);
    }
  } else {
    DOVETAIL_RETURN_IF_ERROR(CheckOnce(*built.delta));
    // What is here is no business of the client's delta.
    DOVETAIL_ASSIGN_OR_RETURN(const Expired expired,
                              ExpiredIn(operations, clock));
    if (expired.large) return MutateFirst({&*expired.large, 1}, stamp);
    if (!expired.small.empty()) {
      DOVETAIL_MARK("once: what has expired goes first");
      return MutateFirst({&expired.small.front(), 1}, stamp);
    }
    DOVETAIL_ASSIGN_OR_RETURN(
        const std::vector<crdt::Operation> times,
        TimesByBucket(operations, built.not_observed, expired, clock));
    if (!times.empty()) return MutateFirst(times, stamp);
  }
  DOVETAIL_ASSIGN_OR_RETURN(const ApplyOutcome applied,
                            Apply(*built.delta, encoded));
  outcome.duplicate = applied == ApplyOutcome::kDuplicate;
  outcome.minted = {events, std::move(encoded)};
  return outcome;
}

absl::Status Partition::CheckOnce(const crdt::Delta& delta) {
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    // What this node has not minted nobody can have read, and superseding it
    // beforehand would swallow the write that mints it.
    for (const crdt::Dot dot : leaf.superseded) {
      if (dot.actor != actor_ || dot.counter < next_counter_) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "token names ", crdt::ToString(dot), ", which has not happened"));
    }
    const crdt::Type type =
        crdt::LeafTypeOf(leaf.object.type, leaf.path.bytes());
    if (leaf.store.empty() ||
        (type != crdt::Type::kRegister && type != crdt::Type::kMultiValue &&
         type != crdt::Type::kExpiry)) {
      continue;
    }
    // As the mutators do, which see nothing of what is here.
    DOVETAIL_ASSIGN_OR_RETURN(const crdt::Leaf held,
                              objects_.Get(leaf.object, leaf.path));
    const auto siblings = std::count_if(
        held.entries().begin(), held.entries().end(), [&](const auto& entry) {
          return !std::binary_search(leaf.superseded.begin(),
                                     leaf.superseded.end(), entry.first);
        });
    if (static_cast<size_t>(siblings) < crdt::kSiblingsMax) continue;
    DOVETAIL_MARK("once: too many concurrent values");
    return absl::ResourceExhaustedError(absl::StrCat(
        siblings, " concurrent values would stay; the limit is ",
        crdt::kSiblingsMax,
        " (kSiblingsMax): read, then write with what was observed"));
  }
  return absl::OkStatus();
}

absl::Status Partition::DotReuse(crdt::Dot dot, absl::string_view what) {
  if (crdt::KindOf(dot.actor) != crdt::ActorKind::kSession) {
    return absl::DataLossError(absl::StrCat("event ", crdt::ToString(dot), ": ",
                                            what, ": a dot was reused"));
  }
  DOVETAIL_MARK("once: an id used for two operations");
  ++ids_reused_;
  return absl::InvalidArgumentError(
      absl::StrCat("operation id ", crdt::ToString(dot),
                   " was used for another operation: ", what));
}

}  // namespace dovetail::replica
