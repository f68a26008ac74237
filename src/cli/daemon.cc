#include "src/cli/daemon.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::cli {

namespace fs = std::filesystem;

absl::StatusOr<std::string> FindDaemon() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path daemon = self.parent_path() / "dovetaild";
  if (error || !fs::exists(daemon, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("there is no dovetaild beside ", self.string()));
  }
  return daemon.string();
}

absl::StatusOr<int> RunDaemon(const std::vector<std::string>& arguments) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::string daemon, FindDaemon());
  std::vector<char*> argv = {const_cast<char*>(daemon.c_str())};
  for (const std::string& word : arguments) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, daemon.c_str(), nullptr, nullptr,
                                  argv.data(), environ);
  if (error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot start ", daemon, ": ", std::strerror(error)));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno == EINTR) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("cannot wait for ", daemon, ": ", std::strerror(errno)));
  }
  if (!WIFEXITED(status)) {
    return absl::AbortedError(
        absl::StrCat(daemon, " was ended by signal ", WTERMSIG(status)));
  }
  return WEXITSTATUS(status);
}

}  // namespace dovetail::cli
