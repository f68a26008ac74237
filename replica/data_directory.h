// The two small files that stand beside RocksDB's in a data directory.
//
// FORMAT names the layout of everything else, so that a later version never
// misreads an older one or the other way round:
//   "dovetail data directory, layout 1\n"
// FLOOR is what must be there when the database is opened again:
//   sequence ' ' manifest ' ' manifest_bytes ' ' log ' ' check '\n'
//   numbers in decimal, each field of Floor; the check is the high half of
//   XXH3-128 over all before it, in 16 hexadecimal digits.
//   Written by an earlier version: sequence ' ' check '\n'.
// Both are replaced as a whole: written aside, fsynced, renamed, and the
// directory fsynced, so a crash leaves the old or the new one. They go through
// RocksDB's file system, so that a test's faults reach them too.
//
// Errors of the file system: ResourceExhausted where space ran out,
// FailedPrecondition where the directory is missing or may not be written,
// else DataLoss.
#ifndef DOVETAIL_REPLICA_DATA_DIRECTORY_H_
#define DOVETAIL_REPLICA_DATA_DIRECTORY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rocksdb/rocksdb_namespace.h"

namespace ROCKSDB_NAMESPACE {
class FileSystem;
}  // namespace ROCKSDB_NAMESPACE

namespace dovetail::replica {

inline constexpr char kFormatFile[] = "FORMAT";
inline constexpr char kFloorFile[] = "FLOOR";

// Makes `directory` one of this layout if it is new or empty, else checks that
// it is one. Returns FailedPrecondition for another layout and for a database
// that has no FORMAT.
absl::Status PrepareDataDirectory(rocksdb::FileSystem& files,
                                  const std::string& directory);

// Writes FORMAT into `directory`, which must exist.
absl::Status WriteFormat(rocksdb::FileSystem& files,
                         const std::string& directory);

struct Floor {
  // Of the last batch that a Sync() made safe.
  uint64_t sequence = 0;
  // Of RocksDB's files when a flush or compaction was last noted: the manifest
  // and its length, and the oldest log that was needed then. 0: not known.
  uint64_t manifest = 0;
  uint64_t manifest_bytes = 0;
  uint64_t log = 0;

  friend bool operator==(const Floor&, const Floor&) = default;
};

// The recorded floor, Floor() if there is none yet. DataLoss if it does not
// decode.
absl::StatusOr<Floor> ReadFloor(rocksdb::FileSystem& files,
                                const std::string& directory);
absl::Status WriteFloor(rocksdb::FileSystem& files,
                        const std::string& directory, const Floor& floor);

// Of a file name as RocksDB gives it; 0 if it is not a manifest's.
uint64_t ManifestNumber(absl::string_view name);

// The numbers of RocksDB's logs from `least` on; 0 if there is none.
struct LogNumbers {
  uint64_t oldest = 0;
  uint64_t newest = 0;
};
absl::StatusOr<LogNumbers> FindLogs(rocksdb::FileSystem& files,
                                    const std::string& directory,
                                    uint64_t least);

// Whether the manifest that `floor` names is still there, or a newer one.
// RocksDB would open without a word with an older one, and come up with a state
// that never was: tables whose logs are gone lost, newer logs found.
// Returns: the number of the log in which the oldest batch must be that is in
// none of the tables, 0 if that is not known; DataLoss if the manifest is
// missing, shorter than it was, or damaged.
absl::StatusOr<uint64_t> CheckFloorFiles(rocksdb::FileSystem& files,
                                         const std::string& directory,
                                         const Floor& floor);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_DATA_DIRECTORY_H_
