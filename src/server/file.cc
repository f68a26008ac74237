#include "src/server/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::server {
namespace {

absl::Status FailedTo(absl::string_view what, const std::string& path) {
  return absl::FailedPreconditionError(absl::StrCat(
      "data_dir: cannot ", what, " ", path, ": ", std::strerror(errno)));
}

// Writes and fsyncs `path`, which may exist, or its directory if `content` is
// null.
absl::Status WriteSynced(const std::string& path, const std::string* content) {
  const int fd = content == nullptr
                     ? ::open(path.c_str(), O_RDONLY | O_DIRECTORY)
                     : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return FailedTo("open", path);
  const bool written =
      content == nullptr || ::write(fd, content->data(), content->size()) ==
                                static_cast<ssize_t>(content->size());
  const bool synced = written && ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  return synced ? absl::OkStatus() : FailedTo("write", path);
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno != ENOENT && errno != ENOTDIR) return FailedTo("read", path);
    return std::nullopt;
  }
  std::ostringstream content;
  content << file.rdbuf();
  if (file.bad()) return FailedTo("read", path);
  return content.str();
}

absl::Status ReplaceFile(const std::string& directory, const std::string& name,
                         const std::string& content) {
  const std::string path = absl::StrCat(directory, "/", name);
  const std::string aside = path + ".new";
  DOVETAIL_RETURN_IF_ERROR(WriteSynced(aside, &content));
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    return FailedTo("write", path);
  }
  return WriteSynced(directory, nullptr);
}

}  // namespace dovetail::server
