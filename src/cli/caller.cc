#include "src/cli/caller.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dovetail::cli {
namespace {

// Of one command at a time that puts a session file into this directory: while
// it lives, the lock is held.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& directory)
      : fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    while (fd_ >= 0 && flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~DirectoryLock() {
    if (fd_ >= 0) close(fd_);
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  bool held() const { return fd_ >= 0; }

 private:
  const int fd_;
};

absl::Status Failed(const std::string& file) {
  return absl::UnavailableError(absl::StrCat("cannot write the session to ",
                                             file, ": ", strerror(errno)));
}

}  // namespace

absl::Status Caller::AddFile() {
  std::error_code error;
  if (!std::filesystem::exists(file_, error) && !error) return {};
  std::ifstream in(file_, std::ios::binary);
  const std::string saved{std::istreambuf_iterator<char>(in), {}};
  if (!in.is_open() || in.bad()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the session in ", file_));
  }
  if (saved.empty()) return {};
  const absl::Status status = session_->Restore(saved);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat(file_, " holds no session: ", status.message()));
}

absl::Status Caller::OpenSession(const std::string& file) {
  file_ = file;
  session_ = std::make_unique<CausalSession>(client_.NewSession());
  return AddFile();
}

absl::Status Caller::SaveSession() {
  if (session_ == nullptr) return absl::OkStatus();
  const std::string directory =
      std::filesystem::absolute(file_).parent_path().string();
  const DirectoryLock lock(directory);
  if (!lock.held()) return Failed(file_);
  absl::Status merged = AddFile();
  if (!merged.ok()) return absl::UnavailableError(merged.message());
  const std::string bytes = session_->Save();
  const std::string aside = absl::StrCat(file_, ".", getpid(), ".new");
  const int fd =
      open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Failed(file_);
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    done += static_cast<size_t>(n);
  }
  const bool written = done == bytes.size() && fsync(fd) == 0;
  const bool closed = close(fd) == 0;
  if (written && closed && rename(aside.c_str(), file_.c_str()) == 0) return {};
  const absl::Status failed = Failed(file_);
  unlink(aside.c_str());
  return failed;
}

void Caller::Submit(Operation operation, const CallOptions& options,
                    absl::AnyInvocable<void(Result)> done) {
  if (session_ == nullptr) {
    return client_.Submit(std::move(operation), options, std::move(done));
  }
  session_->Submit(std::move(operation), options, std::move(done));
}

absl::StatusOr<Listing> Caller::List(const std::string& bucket,
                                     const std::string& prefix,
                                     const std::optional<ObjectId>& after,
                                     uint32_t limit,
                                     const CallOptions& options) {
  if (session_ == nullptr) {
    return client_.List(bucket, prefix, after, limit, options);
  }
  return session_->List(bucket, prefix, after, limit, options);
}

Result Caller::Run(Operation operation, const CallOptions& options) {
  std::promise<Result> promise;
  auto future = promise.get_future();
  Submit(std::move(operation), options,
         [promise = std::move(promise)](Result result) mutable {
           promise.set_value(std::move(result));
         });
  return future.get();
}

}  // namespace dovetail::cli
