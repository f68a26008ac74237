// Backups of a node's data: a RocksDB checkpoint and a file that says what
// belongs to it. Contexts, sums and logs are rows of the same database, so each
// partition is copied as it was at one moment, while it is being written to.
//
//   DIRECTORY/db/      the checkpoint: hard links where the file system has
//   them DIRECTORY/BACKUP   written last; without it a backup is not complete:
//     "dovetail backup, layout 1\n"
//     "cluster " NAME "\nnode " NAME "\npartitions " Q "\ntime_ms " T "\n"
//     "file " NAME " " BYTES " " HASH "\n"     for each file of db, by name
//     "check " HASH "\n"                       over all before it
//   A HASH is XXH3-128 in 32 hexadecimal digits; "-" for tables (.sst), whose
//   blocks have checksums of their own, so that a backup costs no reading.
//
// A backup is a replica of its partitions as of then, and is put back like one:
// what the owners lack of it they get, by logs or by ranges, and what they have
// removed since they do not take again (`dovetaild --restore`).
#ifndef DOVETAIL_SRC_BACKUP_BACKUP_H_
#define DOVETAIL_SRC_BACKUP_BACKUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/storage.h"

namespace dovetail::backup {

inline constexpr char kBackupFile[] = "BACKUP";
inline constexpr char kDatabase[] = "db";
inline constexpr size_t kNameBytesMax = 64;

// Whose data it is, and when it was copied.
struct Origin {
  std::string cluster;
  std::string node;
  uint32_t partitions = 0;
  uint64_t time_ms = 0;  // since 1970, by the node's clock
  friend bool operator==(const Origin&, const Origin&) = default;
};

struct File {
  std::string name;
  uint64_t bytes = 0;
  std::string hash;  // "-": none
  friend bool operator==(const File&, const File&) = default;
};

struct Manifest {
  Origin origin;
  std::vector<File> files;
  uint64_t bytes() const;
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// What is in the rows of a verified backup.
struct Contents {
  Manifest manifest;
  uint64_t partitions_used = 0;  // that ever had an event
  uint64_t events = 0;           // applied, of all partitions
  uint64_t values = 0;           // live (object, path, dot)
};

// A backup's name is a folder's: letters, digits, '.', '_', '-', not first a
// '.', at most kNameBytesMax. InvalidArgument, which quotes it.
absl::Status CheckName(absl::string_view name);

// Writes a backup to `directory`, whose parent is made if it is missing. On an
// error nothing of it is left. Errors: FailedPrecondition (also if there is one
// already), ResourceExhausted or DataLoss of the file system.
// Cost: writes out the memtables; hard links, or copies if `directory` is on
// another file system.
absl::StatusOr<Manifest> Create(replica::Storage& storage,
                                const std::string& directory,
                                const Origin& origin);

// Errors: FailedPrecondition (no backup, or one that was not completed),
// DataLoss.
absl::StatusOr<Manifest> ReadManifest(const std::string& directory);

// Makes `target`, which must not exist, a database with the backup's content:
// tables as hard links, where that works, and everything else as copies, so
// that the backup stays as it is whatever becomes of `target`. Checks names,
// sizes and hashes on the way. Errors: of ReadManifest, DataLoss (which file),
// FailedPrecondition.
absl::Status CopyDatabase(const std::string& backup, const std::string& target);

// Reads everything in it: files against the manifest, blocks against their
// checksums, rows against the digests. Works in a folder beside it, which it
// removes. Errors: of CopyDatabase; DataLoss, which partition.
// Cost: reads all of it once, and the rows once more.
absl::StatusOr<Contents> Verify(const std::string& directory);

}  // namespace dovetail::backup

#endif  // DOVETAIL_SRC_BACKUP_BACKUP_H_
