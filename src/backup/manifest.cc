#include "src/backup/manifest.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"
#include "src/backup/backup.h"

namespace dovetail::backup {
namespace {

constexpr absl::string_view kLayout = "dovetail backup, layout 1";
constexpr absl::string_view kCheck = "check ";

absl::Status FailedTo(absl::string_view what, const std::string& path) {
  const std::string text = absl::StrCat("backup: cannot ", what, " ", path,
                                        ": ", std::strerror(errno));
  return errno == ENOSPC || errno == EDQUOT
             ? absl::ResourceExhaustedError(text)
             : absl::FailedPreconditionError(text);
}

// "KEY VALUE", or nothing.
bool Take(const std::vector<std::string>& lines, size_t& at,
          absl::string_view key, std::string& value) {
  if (at >= lines.size()) return false;
  absl::string_view line = lines[at];
  if (!absl::StartsWith(line, key)) return false;
  line.remove_prefix(key.size());
  if (line.empty() || line[0] != ' ') return false;
  value = std::string(line.substr(1));
  ++at;
  return true;
}

bool ParseFile(const std::string& text, File& file) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  if (words.size() != 3 || !absl::SimpleAtoi(words[1], &file.bytes)) {
    return false;
  }
  file.name = words[0];
  file.hash = words[2];
  // Never out of the folder.
  return !file.name.empty() && !absl::StrContains(file.name, "/") &&
         file.name != "." && file.name != "..";
}

}  // namespace

uint64_t Manifest::bytes() const {
  uint64_t sum = 0;
  for (const File& file : files) sum += file.bytes;
  return sum;
}

std::string HexOf(const replica::Hash128& hash) {
  return absl::StrCat(absl::Hex(hash.high, absl::kZeroPad16),
                      absl::Hex(hash.low, absl::kZeroPad16));
}

absl::Status CheckName(absl::string_view name) {
  const bool fits =
      !name.empty() && name.size() <= kNameBytesMax && name[0] != '.' &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
               c == '_' || c == '-';
      });
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", name.substr(0, kNameBytesMax), "\" is no name for a backup: 1 to ",
      kNameBytesMax,
      " letters, digits, '.', '_' or '-', and no '.' first; it becomes a "
      "folder below each node's backup_dir"));
}

std::string Encode(const Manifest& manifest) {
  const Origin& origin = manifest.origin;
  std::string text = absl::StrCat(
      kLayout, "\ncluster ", origin.cluster, "\nnode ", origin.node,
      "\npartitions ", origin.partitions, "\ntime_ms ", origin.time_ms, "\n");
  for (const File& file : manifest.files) {
    absl::StrAppend(&text, "file ", file.name, " ", file.bytes, " ", file.hash,
                    "\n");
  }
  absl::StrAppend(&text, kCheck, HexOf(replica::HashBytes(text)), "\n");
  return text;
}

std::optional<Manifest> Decode(absl::string_view text) {
  const size_t check = text.rfind(absl::StrCat("\n", kCheck));
  if (check == absl::string_view::npos) return std::nullopt;
  const absl::string_view body = text.substr(0, check + 1);
  if (text.substr(check + 1) !=
      absl::StrCat(kCheck, HexOf(replica::HashBytes(body)), "\n")) {
    return std::nullopt;
  }
  const std::vector<std::string> lines =
      absl::StrSplit(body, '\n', absl::SkipEmpty());
  Manifest manifest;
  size_t at = 1;
  std::string partitions, time_ms, file_text;
  if (lines.empty() || lines[0] != kLayout ||
      !Take(lines, at, "cluster", manifest.origin.cluster) ||
      !Take(lines, at, "node", manifest.origin.node) ||
      !Take(lines, at, "partitions", partitions) ||
      !absl::SimpleAtoi(partitions, &manifest.origin.partitions) ||
      !Take(lines, at, "time_ms", time_ms) ||
      !absl::SimpleAtoi(time_ms, &manifest.origin.time_ms)) {
    return std::nullopt;
  }
  while (Take(lines, at, "file", file_text)) {
    File file;
    if (!ParseFile(file_text, file)) return std::nullopt;
    manifest.files.push_back(std::move(file));
  }
  if (at != lines.size()) return std::nullopt;
  return manifest;
}

absl::Status WriteManifest(const std::string& directory,
                           const Manifest& manifest) {
  const std::string path = absl::StrCat(directory, "/", kBackupFile);
  const std::string text = Encode(manifest);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (fd < 0) return FailedTo("make", path);
  const bool written = ::write(fd, text.data(), text.size()) ==
                           static_cast<ssize_t>(text.size()) &&
                       ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  if (!written) return FailedTo("write", path);
  return SyncDirectory(directory);
}

absl::Status SyncDirectory(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  errno = error;
  return synced ? absl::OkStatus() : FailedTo("sync", directory);
}

absl::StatusOr<Manifest> ReadManifest(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kBackupFile);
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    if (errno != ENOENT && errno != ENOTDIR) return FailedTo("read", path);
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " is no backup, or one that was not completed: there is no ",
        kBackupFile, " in it"));
  }
  std::ostringstream content;
  content << in.rdbuf();
  if (in.bad()) return FailedTo("read", path);
  std::optional<Manifest> manifest = Decode(content.str());
  if (!manifest) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged, or of a later version"));
  }
  return *std::move(manifest);
}

absl::StatusOr<replica::Hash128> HashOfFile(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return FailedTo("read", path);
  std::ostringstream content;
  content << in.rdbuf();
  if (in.bad()) return FailedTo("read", path);
  return replica::HashBytes(content.str());
}

}  // namespace dovetail::backup
