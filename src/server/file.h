// Small files that are read and replaced as a whole.
#ifndef DOVETAIL_SRC_SERVER_FILE_H_
#define DOVETAIL_SRC_SERVER_FILE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dovetail::server {

// Nullopt if there is none. Errors: FailedPrecondition with the path.
absl::StatusOr<std::optional<std::string>> ReadFile(const std::string& path);

// Written aside, fsynced, renamed, the directory fsynced: a crash leaves the
// old content or the new. Errors: FailedPrecondition with the path.
absl::Status ReplaceFile(const std::string& directory, const std::string& name,
                         const std::string& content);

}  // namespace dovetail::server

#endif  // DOVETAIL_SRC_SERVER_FILE_H_
