// The flags: a set of dots that reads as one bit. Planting leaves a dot,
// lifting drops the dots it observed, so a concurrent planting wins.
//
//   ewflag  on while a dot is alive: enable plants, disable lifts
//   dwflag  off while a dot is alive: disable plants, enable lifts
//
// Anomaly: an absent dwflag reads true, also after its map field was removed;
// look at `present`.
#ifndef DOVETAIL_CRDT_FLAG_H_
#define DOVETAIL_CRDT_FLAG_H_

#include "absl/status/status.h"
#include "crdt/mutate.h"
#include "crdt/path.h"

namespace dovetail::crdt {

// Errors of both: those of the state.
absl::Status PlantFlag(DeltaBuilder& builder, const Path& path);
absl::Status LiftFlag(DeltaBuilder& builder, const Path& path);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_FLAG_H_
