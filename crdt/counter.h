// The counter, with an exact reset. Each writer has an entry of its own and
// raises its totals; a reset raises, in every entry it observed, the part that
// is taken back. Totals and parts join by maximum, so an increment that the
// reset had not seen is what remains:
//
//   A: +5, all see it.  A: +1  ∥  B: reset (saw 5).   Everywhere: 1.
//
// An entry keeps its payload dot while its writer extends it. Only the writer
// extends an entry, hence only the writer may retire one that is wholly reset:
// nobody can be extending it meanwhile. Everybody else's wholly reset entries
// stay, and are not visible.
//
// Anomaly: the value saturates at the ends of int64; the entries do not.
// Source: the causal counters of Almeida, Shoker, Baquero (arXiv:1603.01529),
// made resettable; compare Weidner, Almeida, "An Oblivious Observed-Reset
// Embeddable Replicated Counter" (PaPoC 2022).
#ifndef DOVETAIL_CRDT_COUNTER_H_
#define DOVETAIL_CRDT_COUNTER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "crdt/mutate.h"
#include "crdt/path.h"

namespace dovetail::crdt {

// Adds operation().amount, of any sign, to this actor's entry. Errors:
// ResourceExhausted over kTallyMax; those of the state.
absl::Status AddToCounter(DeltaBuilder& builder, const Path& path);

// How many of the observed entries a reset would change.
size_t EntriesToReset(const ObservedLeaf& observed);
// Takes back what was observed; emits nothing if that is nothing.
void ResetCounter(DeltaBuilder& builder, const Path& path,
                  const ObservedLeaf& observed);

// The value, saturated at the ends of int64.
int64_t CounterValue(const Leaf& leaf);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_COUNTER_H_
