// The `dovetaild` that belongs to this `dovetail`.
#ifndef DOVETAIL_SRC_CLI_DAEMON_H_
#define DOVETAIL_SRC_CLI_DAEMON_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dovetail::cli {

// Beside this program, where it was built or installed. Errors:
// FailedPrecondition.
absl::StatusOr<std::string> FindDaemon();

// Runs it to its end in the foreground: its log is this program's standard
// error, and what interrupts this program interrupts it. Returns its exit
// status. Errors: FailedPrecondition, Aborted (a signal ended it).
absl::StatusOr<int> RunDaemon(const std::vector<std::string>& arguments);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_DAEMON_H_
