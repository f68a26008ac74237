#include "src/backup/backup.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/placement.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"
#include "src/backup/manifest.h"

namespace dovetail::backup {
namespace {

namespace fs = std::filesystem;

// Its blocks have checksums, and it is never written again.
bool IsTable(absl::string_view name) { return absl::EndsWith(name, ".sst"); }

absl::Status FailedTo(absl::string_view what, const std::string& path,
                      const std::error_code& error) {
  const std::string text =
      absl::StrCat("backup: cannot ", what, " ", path, ": ", error.message());
  return error == std::errc::no_space_on_device
             ? absl::ResourceExhaustedError(text)
             : absl::FailedPreconditionError(text);
}

// The files of a database, by name.
absl::StatusOr<std::vector<File>> FilesOf(const std::string& database) {
  std::vector<File> files;
  std::error_code error;
  for (fs::directory_iterator it(database, error), end; it != end && !error;
       it.increment(error)) {
    File file;
    file.name = it->path().filename().string();
    file.bytes = it->file_size(error);
    if (error) break;
    file.hash = "-";
    if (!IsTable(file.name)) {
      DOVETAIL_ASSIGN_OR_RETURN(const replica::Hash128 hash,
                                HashOfFile(it->path().string()));
      file.hash = HexOf(hash);
    }
    files.push_back(std::move(file));
  }
  if (error) return FailedTo("read", database, error);
  std::sort(files.begin(), files.end(),
            [](const File& a, const File& b) { return a.name < b.name; });
  return files;
}

absl::Status Copy(const std::string& from, const std::string& to,
                  bool may_link) {
  std::error_code error;
  if (may_link) {
    fs::create_hard_link(from, to, error);
    if (!error) return absl::OkStatus();
  }
  error.clear();
  fs::copy_file(from, to, error);
  return error ? FailedTo("copy", from, error) : absl::OkStatus();
}

absl::Status CheckFile(const std::string& backup, const File& file) {
  const std::string path = absl::StrCat(backup, "/", kDatabase, "/", file.name);
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error) {
    return absl::DataLossError(
        absl::StrCat("the backup lacks ", path, ": ", error.message()));
  }
  if (bytes != file.bytes) {
    return absl::DataLossError(
        absl::StrCat(path, " has ", bytes, " bytes; it had ", file.bytes));
  }
  if (file.hash == "-") return absl::OkStatus();
  DOVETAIL_ASSIGN_OR_RETURN(const replica::Hash128 hash, HashOfFile(path));
  if (HexOf(hash) == file.hash) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(path, " is not what it was: its hash differs"));
}

// Every block of every table and log, with its checksum.
absl::Status ReadAll(replica::Storage& storage) {
  for (size_t i = 0; i < replica::kFamilyCount; ++i) {
    DOVETAIL_RETURN_IF_ERROR(storage.Scan(
        static_cast<replica::Family>(i), "", "",
        [](absl::string_view, absl::string_view) { return true; }));
  }
  return absl::OkStatus();
}

absl::StatusOr<Contents> Examine(const std::string& database,
                                 const Manifest& manifest) {
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::unique_ptr<replica::RocksStorage> storage,
      replica::RocksStorage::Open(database, replica::RocksOptions{}));
  DOVETAIL_RETURN_IF_ERROR(ReadAll(*storage));
  const replica::ShardOptions options;
  const replica::Placement alone(1, manifest.origin.partitions);
  // It only reads, so that it needs no actor of its own.
  replica::Shard shard(options, alone, {}, *storage);
  DOVETAIL_RETURN_IF_ERROR(shard.Open({}));
  DOVETAIL_RETURN_IF_ERROR(shard.VerifyDigests());
  Contents contents;
  contents.manifest = manifest;
  for (const replica::PartitionDigest& digest : shard.Digests()) {
    contents.partitions_used += digest.events > 0 ? 1 : 0;
    contents.events += digest.events;
    contents.values += digest.row_entries;
  }
  return contents;
}

}  // namespace

absl::StatusOr<Manifest> Create(replica::Storage& storage,
                                const std::string& directory,
                                const Origin& origin) {
  std::error_code error;
  const fs::path parent = fs::path(directory).parent_path();
  fs::create_directories(parent, error);
  if (error) return FailedTo("make", parent.string(), error);
  if (!fs::create_directory(directory, error)) {
    return error ? FailedTo("make", directory, error)
                 : absl::FailedPreconditionError(absl::StrCat(
                       "backup: there is one at ", directory, " already"));
  }
  absl::Cleanup remove = [&] { fs::remove_all(directory, error); };
  const std::string database = absl::StrCat(directory, "/", kDatabase);
  DOVETAIL_RETURN_IF_ERROR(storage.Checkpoint(database));
  Manifest manifest;
  manifest.origin = origin;
  DOVETAIL_ASSIGN_OR_RETURN(manifest.files, FilesOf(database));
  DOVETAIL_RETURN_IF_ERROR(SyncDirectory(database));
  DOVETAIL_RETURN_IF_ERROR(WriteManifest(directory, manifest));
  DOVETAIL_RETURN_IF_ERROR(SyncDirectory(parent.string()));
  std::move(remove).Cancel();
  return manifest;
}

absl::Status CopyDatabase(const std::string& backup,
                          const std::string& target) {
  DOVETAIL_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(backup));
  std::error_code error;
  if (fs::exists(target, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("backup: ", target, " exists already"));
  }
  // Under its name it is complete.
  const std::string aside = target + ".copying";
  fs::remove_all(aside, error);
  fs::create_directory(aside, error);
  if (error) return FailedTo("make", aside, error);
  absl::Cleanup remove = [&] { fs::remove_all(aside, error); };
  for (const File& file : manifest.files) {
    DOVETAIL_RETURN_IF_ERROR(CheckFile(backup, file));
    DOVETAIL_RETURN_IF_ERROR(
        Copy(absl::StrCat(backup, "/", kDatabase, "/", file.name),
             absl::StrCat(aside, "/", file.name), IsTable(file.name)));
  }
  fs::rename(aside, target, error);
  if (error) return FailedTo("make", target, error);
  std::move(remove).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<Contents> Verify(const std::string& directory) {
  DOVETAIL_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(directory));
  // Opening a database writes to it, so a copy is opened; on the same file
  // system, for the links.
  const std::string scratch =
      absl::StrCat(directory, "/verify-", ::getpid(), ".tmp");
  std::error_code error;
  fs::remove_all(scratch, error);
  absl::Cleanup remove = [&] { fs::remove_all(scratch, error); };
  DOVETAIL_RETURN_IF_ERROR(CopyDatabase(directory, scratch));
  return Examine(scratch, manifest);
}

}  // namespace dovetail::backup
