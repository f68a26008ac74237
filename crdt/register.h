// The two registers. Both keep every concurrent write under its own dot; they
// differ in what they show.
//
//   register  shows the write with the greatest (timestamp, dot). A write
//             supersedes what it observed, whatever the clocks say: time
//             decides between concurrent writes only. The losers stay until
//             superseded; dropping them early would make the state depend on
//             the order of arrival.
//   mv        shows all of them.
//
// Anomalies: of two concurrent register writes one is never seen. A blind mv
// write always adds a sibling, also to a value its writer has seen.
#ifndef DOVETAIL_CRDT_REGISTER_H_
#define DOVETAIL_CRDT_REGISTER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "crdt/mutate.h"
#include "crdt/path.h"

namespace dovetail::crdt {

// Writes operation().value at `path`. Errors: ResourceExhausted if
// kSiblingsMax values would stay beside it; errors of the state.
absl::Status WriteRegister(DeltaBuilder& builder, const Path& path);
absl::Status WriteMultiValue(DeltaBuilder& builder, const Path& path);
absl::Status WriteMultiValueBlind(DeltaBuilder& builder, const Path& path);

// The write that a reader of a register sees; null if there is none.
const Stamped* WinnerOf(const Leaf& leaf);
// The values of an mv in byte order, equal ones once.
std::vector<std::string> SiblingsOf(const Leaf& leaf);

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_REGISTER_H_
