// Of a request that was refused for overload: when is it worth asking again?
// The hint is a payload of the status, and travels with it over the wire. What
// bears it had no effect.
#ifndef DOVETAIL_REPLICA_RETRY_AFTER_H_
#define DOVETAIL_REPLICA_RETRY_AFTER_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dovetail::replica {

// Hints are whole milliseconds, at least one; longer ones are cut to this.
inline constexpr absl::Duration kRetryAfterMax = absl::Seconds(10);

absl::Status WithRetryAfter(absl::Status status, absl::Duration after);
std::optional<absl::Duration> RetryAfterOf(const absl::Status& status);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RETRY_AFTER_H_
