#include "replica/data_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

constexpr absl::string_view kFormatPrefix = "dovetail data directory, layout ";
constexpr uint32_t kLayout = 1;
// RocksDB's pointer to its manifest: there is one exactly where there is a
// database.
constexpr char kRocksCurrentFile[] = "CURRENT";
constexpr size_t kSmallFileBytesMax = 4096;

absl::Status FileError(int error, absl::string_view action,
                       const std::string& path) {
  const std::string message =
      absl::StrCat("cannot ", action, " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(message);
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::FailedPreconditionError(message);
    default:
      return absl::DataLossError(message);
  }
}

// The file's contents, or nullopt if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadSmallFile(
    const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return FileError(errno, "open", path);
  }
  const auto close_fd = absl::MakeCleanup([fd] { ::close(fd); });
  std::string contents(kSmallFileBytesMax, '\0');
  size_t filled = 0;
  while (filled < contents.size()) {
    const ssize_t got =
        ::read(fd, contents.data() + filled, contents.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "read", path);
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  contents.resize(filled);
  return std::optional<std::string>(std::move(contents));
}

// Leaves `contents` fsynced in a file at `path`.
absl::Status WriteSynced(const std::string& path, absl::string_view contents) {
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return FileError(errno, "create", path);
  const auto close_fd = absl::MakeCleanup([fd] { ::close(fd); });
  while (!contents.empty()) {
    const ssize_t put = ::write(fd, contents.data(), contents.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(errno, "write", path);
    contents.remove_prefix(static_cast<size_t>(put));
  }
  if (::fsync(fd) != 0) return FileError(errno, "fsync", path);
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "open", directory);
  const auto close_fd = absl::MakeCleanup([fd] { ::close(fd); });
  if (::fsync(fd) != 0) return FileError(errno, "fsync", directory);
  return absl::OkStatus();
}

absl::Status ReplaceFile(const std::string& directory, absl::string_view name,
                         absl::string_view contents) {
  const std::string path = absl::StrCat(directory, "/", name);
  const std::string aside = path + ".new";
  DOVETAIL_RETURN_IF_ERROR(WriteSynced(aside, contents));
  if (std::rename(aside.c_str(), path.c_str()) != 0) {
    return FileError(errno, "rename to", path);
  }
  return SyncDirectory(directory);
}

absl::Status CheckFormat(const std::string& directory,
                         absl::string_view format) {
  const std::string expected = absl::StrCat(kFormatPrefix, kLayout, "\n");
  if (format == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      directory, " has the layout \"", format.substr(0, format.find('\n')),
      "\"; this version of Dovetail reads and writes only layout ", kLayout));
}

std::string FloorCheck(absl::string_view decimal) {
  return absl::StrCat(absl::Hex(HashBytes(decimal).high, absl::kZeroPad16));
}

}  // namespace

absl::Status PrepareDataDirectory(const std::string& directory) {
  std::error_code error;
  const bool is_new = std::filesystem::create_directories(directory, error);
  if (error) return FileError(error.value(), "create", directory);
  if (is_new) {
    // Its name must outlive a power failure as its contents do.
    DOVETAIL_RETURN_IF_ERROR(SyncDirectory(directory + "/.."));
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::optional<std::string> format,
      ReadSmallFile(absl::StrCat(directory, "/", kFormatFile)));
  if (format.has_value()) return CheckFormat(directory, *format);
  if (std::filesystem::exists(
          std::filesystem::path(directory) / kRocksCurrentFile, error)) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " holds a database but no ", kFormatFile,
        " file: it is not, or not completely, a data directory of Dovetail"));
  }
  return WriteFormat(directory);
}

absl::Status WriteFormat(const std::string& directory) {
  return ReplaceFile(directory, kFormatFile,
                     absl::StrCat(kFormatPrefix, kLayout, "\n"));
}

absl::StatusOr<uint64_t> ReadFloor(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kFloorFile);
  DOVETAIL_ASSIGN_OR_RETURN(const std::optional<std::string> contents,
                            ReadSmallFile(path));
  if (!contents.has_value()) return 0;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(*contents, absl::MaxSplits(' ', 1));
  uint64_t floor = 0;
  if (!absl::SimpleAtoi(parts.first, &floor) ||
      parts.second != FloorCheck(parts.first) + "\n") {
    return absl::DataLossError(absl::StrCat(path, " does not decode"));
  }
  return floor;
}

absl::Status WriteFloor(const std::string& directory, uint64_t floor) {
  const std::string decimal = absl::StrCat(floor);
  return ReplaceFile(directory, kFloorFile,
                     absl::StrCat(decimal, " ", FloorCheck(decimal), "\n"));
}

}  // namespace dovetail::replica
