// Of a write that failed: may it have taken effect all the same, or may it
// still? The mark is a payload of the status, and travels with it over the
// wire.
#ifndef DOVETAIL_REPLICA_MAYBE_H_
#define DOVETAIL_REPLICA_MAYBE_H_

#include "absl/status/status.h"

namespace dovetail::replica {

absl::Status MarkMaybe(absl::Status status);
// Every DeadlineExceeded, and whatever was marked.
bool MayHaveTakenEffect(const absl::Status& status);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_MAYBE_H_
