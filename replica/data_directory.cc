#include "replica/data_directory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "crdt/check.h"
#include "replica/hash.h"
#include "rocksdb/file_system.h"

namespace dovetail::replica {
namespace {

using rocksdb::FileOptions;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

constexpr absl::string_view kFormatPrefix = "dovetail data directory, layout ";
constexpr uint32_t kLayout = 1;
// RocksDB's pointer to its manifest: there is one exactly where there is a
// database.
constexpr char kRocksCurrentFile[] = "CURRENT";
constexpr char kManifestPrefix[] = "MANIFEST-";
constexpr char kLogSuffix[] = ".log";
constexpr size_t kLogBlockBytes = 32768;
constexpr size_t kLogHeaderBytes = 7;
// Of a whole record, and of the last part of one that is in several.
constexpr int kLogRecordWhole = 1;
constexpr int kLogRecordLast = 4;
constexpr size_t kSmallFileBytesMax = 4096;

absl::Status FileError(const IOStatus& status, absl::string_view action,
                       const std::string& path) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = status.ToString();
  const std::string message =
      absl::StrCat("cannot ", action, " ", path, ": ", text);
  // All that RocksDB tells of most errors is the system's text.
  const auto is = [&text](int error) {
    return absl::StrContains(text, std::strerror(error));
  };
  if (status.IsNoSpace() || is(EDQUOT) || is(EMFILE) || is(ENFILE)) {
    return absl::ResourceExhaustedError(message);
  }
  if (status.IsPathNotFound() || is(ENOTDIR) || is(EACCES) || is(EPERM) ||
      is(EROFS)) {
    return absl::FailedPreconditionError(message);
  }
  return absl::DataLossError(message);
}

absl::StatusOr<bool> Exists(rocksdb::FileSystem& files,
                            const std::string& path) {
  const IOStatus status = files.FileExists(path, IOOptions(), nullptr);
  if (status.IsNotFound()) return false;
  DOVETAIL_RETURN_IF_ERROR(FileError(status, "look for", path));
  return true;
}

// The file's first `max` bytes, or nullopt if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadFile(rocksdb::FileSystem& files,
                                                    const std::string& path,
                                                    size_t max) {
  DOVETAIL_ASSIGN_OR_RETURN(const bool exists, Exists(files, path));
  if (!exists) return std::optional<std::string>();
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  DOVETAIL_RETURN_IF_ERROR(
      FileError(files.NewSequentialFile(path, FileOptions(), &file, nullptr),
                "open", path));
  std::string contents(max, '\0');
  rocksdb::Slice read;
  DOVETAIL_RETURN_IF_ERROR(FileError(
      file->Read(contents.size(), IOOptions(), &read, contents.data(), nullptr),
      "read", path));
  return std::optional<std::string>(read.ToString());
}

// Leaves `contents` fsynced in a file at `path`.
absl::Status WriteSynced(rocksdb::FileSystem& files, const std::string& path,
                         absl::string_view contents) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  DOVETAIL_RETURN_IF_ERROR(
      FileError(files.NewWritableFile(path, FileOptions(), &file, nullptr),
                "create", path));
  DOVETAIL_RETURN_IF_ERROR(
      FileError(file->Append(rocksdb::Slice(contents.data(), contents.size()),
                             IOOptions(), nullptr),
                "write", path));
  DOVETAIL_RETURN_IF_ERROR(
      FileError(file->Fsync(IOOptions(), nullptr), "fsync", path));
  return FileError(file->Close(IOOptions(), nullptr), "close", path);
}

absl::Status SyncDirectory(rocksdb::FileSystem& files,
                           const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  DOVETAIL_RETURN_IF_ERROR(
      FileError(files.NewDirectory(path, IOOptions(), &directory, nullptr),
                "open", path));
  return FileError(directory->Fsync(IOOptions(), nullptr), "fsync", path);
}

absl::Status ReplaceFile(rocksdb::FileSystem& files,
                         const std::string& directory, absl::string_view name,
                         absl::string_view contents) {
  const std::string path = absl::StrCat(directory, "/", name);
  const std::string aside = path + ".new";
  DOVETAIL_RETURN_IF_ERROR(WriteSynced(files, aside, contents));
  DOVETAIL_RETURN_IF_ERROR(FileError(
      files.RenameFile(aside, path, IOOptions(), nullptr), "rename to", path));
  return SyncDirectory(files, directory);
}

// Makes `directory` and those above it that are missing; their names outlive
// a power failure as their contents do.
absl::Status MakeDirectories(rocksdb::FileSystem& files,
                             const std::string& directory) {
  DOVETAIL_ASSIGN_OR_RETURN(const bool exists, Exists(files, directory));
  if (exists) {
    bool is_directory = false;
    DOVETAIL_RETURN_IF_ERROR(FileError(
        files.IsDirectory(directory, IOOptions(), &is_directory, nullptr),
        "look at", directory));
    if (is_directory) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is not a directory"));
  }
  std::filesystem::path parent = std::filesystem::path(directory).parent_path();
  if (parent.empty()) parent = ".";
  DOVETAIL_RETURN_IF_ERROR(MakeDirectories(files, parent));
  DOVETAIL_RETURN_IF_ERROR(
      FileError(files.CreateDirIfMissing(directory, IOOptions(), nullptr),
                "create", directory));
  return SyncDirectory(files, parent);
}

absl::Status CheckFormat(const std::string& directory,
                         absl::string_view format) {
  const std::string expected = absl::StrCat(kFormatPrefix, kLayout, "\n");
  if (format == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      directory, " has the layout \"", format.substr(0, format.find('\n')),
      "\"; this version of Dovetail reads and writes only layout ", kLayout));
}

// Whether `bytes` are whole records of RocksDB's log format, which is the
// manifest's too, by their lengths and types:
//   blocks of 32 KiB; record = checksum:32 length:16 type:8 payload, none of
//   them over the end of a block; less than 7 bytes there are padding
// RocksDB takes a length that points beyond the end of the file for a write
// that was torn, and a type of recycled logs for what an older log left behind;
// it leaves out the rest, before it looks at a checksum. All else these find.
bool IsTiled(absl::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t left = kLogBlockBytes - at % kLogBlockBytes;
    if (left < kLogHeaderBytes) {
      at += left;
      continue;
    }
    if (bytes.size() - at < kLogHeaderBytes) return false;
    const size_t payload = static_cast<unsigned char>(bytes[at + 4]) |
                           static_cast<unsigned char>(bytes[at + 5]) << 8;
    if (kLogHeaderBytes + payload > left) return false;
    const auto type = static_cast<unsigned char>(bytes[at + 6]);
    if (type < kLogRecordWhole || type > kLogRecordLast) return false;
    at += kLogHeaderBytes + payload;
  }
  return at - bytes.size() < kLogHeaderBytes;
}

std::string FloorCheck(absl::string_view fields) {
  return absl::StrCat(absl::Hex(HashBytes(fields).high, absl::kZeroPad16));
}

}  // namespace

uint64_t ManifestNumber(absl::string_view name) {
  absl::ConsumePrefix(&name, "/");
  uint64_t number = 0;
  const bool is_manifest = absl::ConsumePrefix(&name, kManifestPrefix) &&
                           absl::SimpleAtoi(name, &number);
  return is_manifest ? number : 0;
}

absl::Status PrepareDataDirectory(rocksdb::FileSystem& files,
                                  const std::string& directory) {
  DOVETAIL_RETURN_IF_ERROR(MakeDirectories(files, directory));
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::optional<std::string> format,
      ReadFile(files, absl::StrCat(directory, "/", kFormatFile),
               kSmallFileBytesMax));
  if (format.has_value()) return CheckFormat(directory, *format);
  DOVETAIL_ASSIGN_OR_RETURN(
      const bool has_database,
      Exists(files, absl::StrCat(directory, "/", kRocksCurrentFile)));
  if (has_database) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " holds a database but no ", kFormatFile,
        " file: it is not, or not completely, a data directory of Dovetail"));
  }
  return WriteFormat(files, directory);
}

absl::Status WriteFormat(rocksdb::FileSystem& files,
                         const std::string& directory) {
  return ReplaceFile(files, directory, kFormatFile,
                     absl::StrCat(kFormatPrefix, kLayout, "\n"));
}

absl::StatusOr<Floor> ReadFloor(rocksdb::FileSystem& files,
                                const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kFloorFile);
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> contents,
                            ReadFile(files, path, kSmallFileBytesMax));
  if (!contents.has_value()) return Floor();
  const absl::string_view text = *contents;
  const size_t end = std::min(text.rfind(' '), text.size());
  std::vector<uint64_t> fields;
  bool decodes = text.substr(end) ==
                 absl::StrCat(" ", FloorCheck(text.substr(0, end)), "\n");
  for (const absl::string_view field :
       absl::StrSplit(text.substr(0, end), ' ')) {
    decodes &= absl::SimpleAtoi(field, &fields.emplace_back());
  }
  decodes &= fields.size() == 1 || fields.size() == 4;
  if (!decodes) return absl::DataLossError(path + " does not decode");
  fields.resize(4);
  return Floor{fields[0], fields[1], fields[2], fields[3]};
}

absl::Status WriteFloor(rocksdb::FileSystem& files,
                        const std::string& directory, const Floor& floor) {
  const std::string fields =
      absl::StrCat(floor.sequence, " ", floor.manifest, " ",
                   floor.manifest_bytes, " ", floor.log);
  return ReplaceFile(files, directory, kFloorFile,
                     absl::StrCat(fields, " ", FloorCheck(fields), "\n"));
}

absl::StatusOr<LogNumbers> FindLogs(rocksdb::FileSystem& files,
                                    const std::string& directory,
                                    uint64_t least) {
  std::vector<std::string> names;
  DOVETAIL_RETURN_IF_ERROR(
      FileError(files.GetChildren(directory, IOOptions(), &names, nullptr),
                "list", directory));
  LogNumbers logs;
  for (const absl::string_view name : names) {
    uint64_t number = 0;
    if (!absl::EndsWith(name, kLogSuffix) ||
        !absl::SimpleAtoi(absl::StripSuffix(name, kLogSuffix), &number)) {
      continue;
    }
    if (number < least) continue;
    if (logs.oldest == 0 || number < logs.oldest) logs.oldest = number;
    logs.newest = std::max(logs.newest, number);
  }
  return logs;
}

absl::StatusOr<uint64_t> CheckFloorFiles(rocksdb::FileSystem& files,
                                         const std::string& directory,
                                         const Floor& floor) {
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::optional<std::string> current,
      ReadFile(files, absl::StrCat(directory, "/", kRocksCurrentFile),
               kSmallFileBytesMax));
  // No database at all is empty, which the sequence tells. One that makes no
  // sense is for RocksDB to refuse.
  if (!current.has_value() || floor.manifest == 0) return 0;
  const absl::string_view name = absl::StripSuffix(*current, "\n");
  const uint64_t manifest = ManifestNumber(name);
  if (manifest == 0 || manifest > floor.manifest) return 0;

  const std::string path = absl::StrCat(directory, "/", name);
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                            ReadFile(files, path, floor.manifest_bytes + 1));
  const size_t length = bytes.has_value() ? bytes->size() : 0;
  if (manifest < floor.manifest || length < floor.manifest_bytes ||
      !IsTiled(absl::string_view(*bytes).substr(0, floor.manifest_bytes))) {
    return absl::DataLossError(absl::StrCat(
        path, " is damaged, or older than ", kManifestPrefix, floor.manifest,
        " when that had ", floor.manifest_bytes,
        " bytes: what it says of the database is not true any more; its data "
        "must be replaced"));
  }
  // A longer manifest may need the log no more.
  return length > floor.manifest_bytes ? 0 : floor.log;
}

}  // namespace dovetail::replica
