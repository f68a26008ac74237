// When an object expires: state of the object like any other, one leaf beside
// its value.
//
//   expire    writes an absolute wall clock time under a new dot, in the place
//             of the settings that were observed, be they longer or shorter
//   persist   removes the settings that were observed
//   delete    and clear or reset of the whole object remove them with the value
//
// Of concurrent settings all stay, and the latest time holds: the longest wins.
// From then on readers are shown an object that is absent. Nothing changes at
// that moment, on any replica, so none can differ because of it; the rows go
// later, by an ordinary delete that one owner mints (replica/reaper.h).
//
// Other writes leave the setting alone. Anomaly: what a write adds that the
// delete of an expired object has not observed stays, without its expiry.
#ifndef DOVETAIL_CRDT_EXPIRY_H_
#define DOVETAIL_CRDT_EXPIRY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "crdt/leaf.h"
#include "crdt/mutate.h"
#include "crdt/operation.h"

namespace dovetail::crdt {

// The time that holds, in milliseconds since 1970; 0 if there is none. `leaf`
// is the one at Path::OfExpiry().
uint64_t ExpiresMs(const Leaf& leaf);

// Whether `expires_ms` (0: never) has come at `now_ms` (0: it has not).
bool HasExpired(uint64_t expires_ms, uint64_t now_ms);

// Makes a time to live into a time, which every replica understands alike.
// Other operations, and those that are not valid, stay as they are.
void MakeAbsolute(Operation& operation, uint64_t now_ms);

// The mutators. Errors: those of the state; InvalidArgument for a time to live
// that is still relative.
absl::Status SetExpiry(DeltaBuilder& builder);
// Emits nothing where nothing was observed.
absl::Status RemoveExpiry(DeltaBuilder& builder);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_EXPIRY_H_
