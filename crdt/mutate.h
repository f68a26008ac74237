// Operation + state → delta. The one switch over types and verbs is in
// mutate.cc; what each verb does stands with its type (register.h, set.h,
// flag.h, counter.h, map.h).
//
// A DeltaBuilder collects the effects of one operation or of one atomic batch:
// operations see the effects of those before them, and the result has one leaf
// per path and one run of events.
#ifndef DOVETAIL_CRDT_MUTATE_H_
#define DOVETAIL_CRDT_MUTATE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crdt/delta.h"
#include "crdt/hlc.h"
#include "crdt/operation.h"
#include "crdt/state_view.h"
#include "crdt/token.h"

namespace dovetail::crdt {

// The effect of one operation, beside its part of the delta.
struct MutationOutcome {
  // It would have changed nothing, so it minted nothing: what it was to
  // remove, reset or clear was not observed.
  bool not_observed = false;
  // A clear or delete stopped after kDotsPerClearDelta dots; the caller
  // applies this delta and runs the operation again from `resume_after`.
  bool more = false;
  Path resume_after;
};

class DeltaBuilder {
 public:
  // Events are minted from `next_event` on, for `next_event.actor`. `stamp`
  // gives a fresh timestamp greater than its argument where the clock allows.
  // All references must outlive the builder.
  DeltaBuilder(StateView& state, Dot next_event,
               absl::FunctionRef<Timestamp(Timestamp)> stamp);

  // Adds `operation`, starting after `resume_after` if it is a clear or delete
  // that goes on. Validates first; on any error the builder must be dropped
  // (a batch fails whole).
  // Errors, beside those of Validate(operation) and of the state:
  // InvalidArgument for a token that names events not yet minted;
  // ResourceExhausted over kDeltaBytesMax, kTallyMax or kSiblingsMax, and for a
  // clear of more than kDotsPerClearDelta dots beside other operations.
  absl::StatusOr<MutationOutcome> Add(const Operation& operation,
                                      const Path& resume_after = Path());

  // The delta; nullopt if nothing was minted. Its events start at the dot the
  // constructor was given.
  std::optional<Delta> Finish();

  // --- For the types' mutators ---

  // The leaf as the operations before left it.
  absl::StatusOr<Leaf> Read(const Path& path);
  // What the operation observes at `path`: its token's dots if it has a token,
  // else what is there.
  absl::StatusOr<ObservedLeaf> Observe(const Path& path);
  // The same where Read(path) has given `held`.
  ObservedLeaf Observe(const Path& path, const Leaf& held) const;
  // Visits all observed leaves under `prefix` after `after`, in path order.
  absl::Status ObserveAll(
      const Path& prefix, const Path& after,
      absl::FunctionRef<bool(const Path&, const ObservedLeaf&)> visit);
  // The next event dot, also used as payload dot by at most one leaf.
  Dot Mint();
  Timestamp Stamp(Timestamp observed);
  ActorId actor() const { return next_.actor; }
  const Operation& operation() const { return *operation_; }
  // Records that `path` becomes `store`, superseding `superseded`. An
  // operation that only emits removals needs no Mint(): Add() mints its event.
  void Emit(const Path& path, Leaf store, std::vector<Dot> superseded);

 private:
  using LeafKey = std::pair<ObjectId, Path>;
  struct Pending {
    Leaf store;                   // as the delta will carry it
    std::vector<Dot> superseded;  // sorted; events of this builder too
  };

  absl::StatusOr<MutationOutcome> Dispatch(const Path& resume_after);
  absl::Status CheckTokenDots() const;
  size_t ObjectBytesIfNew(const LeafKey& key) const;
  // What `pending` makes of `leaf`.
  static Leaf Working(Leaf leaf, const Pending& pending);

  StateView& state_;
  const Dot first_;
  Dot next_;
  absl::FunctionRef<Timestamp(Timestamp)> stamp_;
  const Operation* operation_ = nullptr;
  size_t operations_ = 0;
  bool more_ = false;     // the only operation has to go on in another delta
  bool emitted_ = false;  // by the current operation
  size_t bytes_ = 0;      // upper bound of the encoded delta
  std::map<LeafKey, Pending> pending_;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_MUTATE_H_
