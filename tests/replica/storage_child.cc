#include "tests/replica/storage_child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/rocks_storage.h"
#include "tests/replica/storage_testing.h"

namespace dovetail::replica {
namespace {

std::unique_ptr<RocksStorage> OpenOrDie(const std::string& directory) {
  auto storage = RocksStorage::Open(directory, RocksOptions());
  DOVETAIL_CHECK(storage.ok());
  return *std::move(storage);
}

int CommitUntilKilled(const std::string& directory) {
  const auto storage = OpenOrDie(directory);
  for (int i = 1;; ++i) {
    DOVETAIL_CHECK(storage->Commit(Delta(i), CommitMode::kWritten).ok());
    const std::string line = absl::StrCat(i, "\n");
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return 1;
  }
}

int CommitAndDie(const std::string& directory) {
  const auto storage = OpenOrDie(directory);
  for (int i = 1; i <= 20; ++i) {
    DOVETAIL_CHECK(storage->Commit(Delta(i), CommitMode::kWritten).ok());
  }
  ::_exit(0);
}

// A write that the operating system refuses, half-way through a log record.
int CommitUntilLimit(const std::string& directory) {
  const auto storage = OpenOrDie(directory);
  ::signal(SIGXFSZ, SIG_IGN);  // The write then fails with EFBIG.
  const rlimit limit = {20'000, 20'000};
  DOVETAIL_CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);

  int committed = 0;
  absl::Status failed;
  while (failed.ok() && committed < 1000) {
    failed = storage->Commit(Delta(committed + 1), CommitMode::kWritten);
    if (failed.ok()) ++committed;
  }
  std::printf("%d %s\n", committed, failed.ToString().c_str());
  std::fflush(stdout);
  if (!absl::IsDataLoss(failed)) return 2;
  const auto last = storage->Get(Family::kMeta, "last");
  if (!last.ok() || *last != absl::StrCat(committed)) return 3;
  // Nothing can be written from here on, small as it may be.
  if (storage->Commit(OnePut(Family::kMeta, "m", ""), CommitMode::kWritten)
          .ok()) {
    return 4;
  }
  if (storage->Sync().ok()) return 5;
  return storage->stats().is_read_only ? 0 : 6;
}

}  // namespace

int RunStorageChild(const std::string& mode, const std::string& directory) {
  if (mode == "commit") return CommitUntilKilled(directory);
  if (mode == "die") return CommitAndDie(directory);
  if (mode == "limit") return CommitUntilLimit(directory);
  return -1;
}

StorageChild::StorageChild(const std::string& mode,
                           const std::string& directory) {
  int ends[2] = {-1, -1};
  DOVETAIL_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  pid_ = ::fork();
  DOVETAIL_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::execl("/proc/self/exe", "storage_child", "--storage-child", mode.c_str(),
            directory.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(ends[1]);
  output_ = ends[0];
}

StorageChild::~StorageChild() {
  if (pid_ > 0) {
    Kill();
    Wait();
  }
  ::close(output_);
}

std::string StorageChild::ReadLine() {
  std::string line;
  for (char c = 0;;) {
    const ssize_t got = ::read(output_, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') return line;
    line.push_back(c);
  }
}

void StorageChild::Kill() { ::kill(pid_, SIGKILL); }

int StorageChild::Wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace dovetail::replica
