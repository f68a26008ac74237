// The map, and what it shares with every collection: observed reset.
//
// A map has no payloads of its own: a field is there while something below it
// is visible. Updating a field is updating the leaf at the longer path.
// Removing a field (clearing, deleting) takes from every leaf below it exactly
// what was observed there; a concurrent update remains, alone.
//
// Anomaly: a rwset inside forgets its removals when the field is removed.
#ifndef DOVETAIL_CRDT_MAP_H_
#define DOVETAIL_CRDT_MAP_H_

#include "absl/status/statusor.h"
#include "crdt/mutate.h"
#include "crdt/path.h"

namespace dovetail::crdt {

// Takes back all that was observed at and under `place`, of any type, after
// `resume_after`, and of a whole object when it expires: counters are reset,
// all else loses its observed dots. Stops at a leaf boundary before
// kDotsPerClearDelta dots are passed. Errors: those of the state. Cost:
// O(leaves visited).
absl::StatusOr<MutationOutcome> RemoveAll(DeltaBuilder& builder,
                                          const Path& place,
                                          const Path& resume_after);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_MAP_H_
