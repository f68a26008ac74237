// The two small files that stand beside RocksDB's in a data directory.
//
// FORMAT names the layout of everything else, so that a later version never
// misreads an older one or the other way round:
//   "dovetail data directory, layout 1\n"
// FLOOR is the sequence number that the last Sync() made safe:
//   decimal ' ' 16 hexadecimal digits (XXH3-128's high half of the decimal)
//   '\n'
// Both are replaced as a whole: written aside, fsynced, renamed, and the
// directory fsynced, so a crash leaves the old or the new one.
//
// Errors of the file system: ResourceExhausted where space ran out,
// FailedPrecondition where the directory is missing or may not be written,
// else DataLoss.
#ifndef DOVETAIL_REPLICA_DATA_DIRECTORY_H_
#define DOVETAIL_REPLICA_DATA_DIRECTORY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dovetail::replica {

inline constexpr char kFormatFile[] = "FORMAT";
inline constexpr char kFloorFile[] = "FLOOR";

// Makes `directory` one of this layout if it is new or empty, else checks that
// it is one. Returns FailedPrecondition for another layout and for a database
// that has no FORMAT.
absl::Status PrepareDataDirectory(const std::string& directory);

// Writes FORMAT into `directory`, which must exist.
absl::Status WriteFormat(const std::string& directory);

// The recorded floor, 0 if there is none yet. DataLoss if it does not decode.
absl::StatusOr<uint64_t> ReadFloor(const std::string& directory);
absl::Status WriteFloor(const std::string& directory, uint64_t floor);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_DATA_DIRECTORY_H_
