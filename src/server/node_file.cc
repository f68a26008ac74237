#include "src/server/node_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"

namespace dovetail::server {
namespace {

namespace fs = std::filesystem;

std::string Content(const Config& config) {
  return absl::StrCat("dovetail node, layout 1\ncluster ", config.cluster,
                      "\nnode ", config.node, " ", replica::Index(config.self),
                      "\npartitions ", config.partitions, "\n");
}

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

absl::Status WriteNodeFile(const Config& config) {
  const std::string path = absl::StrCat(config.data_dir, "/", kNodeFile);
  const std::string aside = path + ".new";
  const std::string content = Content(config);
  DOVETAIL_RETURN_IF_ERROR(WriteSynced(aside, &content));
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    return FailedTo("write", path);
  }
  return WriteSynced(config.data_dir, nullptr);
}

// "cluster x, node b 1, partitions 256", for people.
std::string OneLine(const std::string& content) {
  std::vector<std::string> lines =
      absl::StrSplit(content, '\n', absl::SkipEmpty());
  if (!lines.empty()) lines.erase(lines.begin());
  return absl::StrJoin(lines, ", ");
}

}  // namespace

absl::Status ClaimDataDirectory(const Config& config) {
  std::error_code error;
  fs::create_directories(config.data_dir, error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data_dir: cannot make ", config.data_dir, ": ", error.message()));
  }
  const std::string path = absl::StrCat(config.data_dir, "/", kNodeFile);
  std::ifstream file(path);
  if (!file) {
    if (errno != ENOENT) return FailedTo("read", path);
    if (fs::exists(fs::path(config.data_dir) / kDatabaseDirectory, error)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "data_dir: ", config.data_dir, " has a database but no file ",
          kNodeFile, " that says whose it is"));
    }
    return WriteNodeFile(config);
  }
  std::ostringstream found;
  found << file.rdbuf();
  if (found.str() == Content(config)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "data_dir: ", config.data_dir, " belongs to another node: there ",
      OneLine(found.str()), "; configured ", OneLine(Content(config))));
}

}  // namespace dovetail::server
