// The file BACKUP (backup.h) as text and on disk.
#ifndef DOVETAIL_SRC_BACKUP_MANIFEST_H_
#define DOVETAIL_SRC_BACKUP_MANIFEST_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/hash.h"
#include "src/backup/backup.h"

namespace dovetail::backup {

std::string Encode(const Manifest& manifest);
// Nullopt: damaged, or of a later version.
std::optional<Manifest> Decode(absl::string_view text);

// Durable when it returns OK. Errors: ResourceExhausted, FailedPrecondition.
absl::Status WriteManifest(const std::string& directory,
                           const Manifest& manifest);
absl::Status SyncDirectory(const std::string& directory);

// As the manifest has it.
std::string HexOf(const replica::Hash128& hash);
// Of a small file. Errors: FailedPrecondition.
absl::StatusOr<replica::Hash128> HashOfFile(const std::string& path);

}  // namespace dovetail::backup

#endif  // DOVETAIL_SRC_BACKUP_MANIFEST_H_
