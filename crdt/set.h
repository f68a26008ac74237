// The sets. Every element is a leaf of its own.
//
//   set    an element is in it while a dot of an add is alive. Remove drops
//          the dots it observed; a concurrent add has another dot and survives.
//   gset   the same without remove.
//   rwset  adds and removes both leave a dot; any remove that is alive hides
//          the element. Each supersedes what it observed of either kind.
//
// Anomalies: a set's remove that observed nothing removes nothing. A removed
// rwset element is a row until it is added again or the set is cleared.
#ifndef DOVETAIL_CRDT_SET_H_
#define DOVETAIL_CRDT_SET_H_

#include "absl/status/status.h"
#include "crdt/mutate.h"
#include "crdt/path.h"

namespace dovetail::crdt {

// Each acts on operation().elements, below the set at `place`; duplicates
// count once. Errors: those of the state.
absl::Status AddElements(DeltaBuilder& builder, const Path& place);
absl::Status RemoveElements(DeltaBuilder& builder, const Path& place);
// rwset: records an add or a remove of each element.
absl::Status RecordElements(DeltaBuilder& builder, const Path& place,
                            Polarity polarity);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_SET_H_
