// Does RocksStorage really fsync, when, and what if that fails? A file cut in
// a test does not tell whether fsync was called. RocksDB calls fdatasync() by
// way of the dynamic linker, so the one defined here takes its place.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "replica/rocks_storage.h"
#include "tests/replica/storage_testing.h"
#include "tests/sim/rocks_disk.h"

namespace {

// While it lives: the files that were fsynced, by extension.
class FsyncProbe {
 public:
  FsyncProbe() { active = this; }
  ~FsyncProbe() { active = nullptr; }

  int Take(const std::string& extension) {
    const absl::MutexLock lock(&mutex_);
    const auto count = std::count(synced_.begin(), synced_.end(), extension);
    synced_.clear();
    return static_cast<int>(count);
  }

  int Call(int fd) {
    std::error_code error;
    const std::string extension =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd),
                                      error)
            .extension();
    if (fail_logs && extension == ".log") {
      errno = EIO;
      return -1;
    }
    const absl::MutexLock lock(&mutex_);
    synced_.push_back(extension);
    return 0;
  }

  static std::atomic<FsyncProbe*> active;
  std::atomic<bool> fail_logs = false;

 private:
  absl::Mutex mutex_;
  std::vector<std::string> synced_ ABSL_GUARDED_BY(mutex_);
};

std::atomic<FsyncProbe*> FsyncProbe::active = nullptr;

}  // namespace

extern "C" int fdatasync(int fd) {
  FsyncProbe* const probe = FsyncProbe::active;
  if (probe != nullptr && probe->Call(fd) != 0) return -1;
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace dovetail::replica {
namespace {

using sim::TemporaryDirectory;

std::unique_ptr<RocksStorage> OpenRocks(const TemporaryDirectory& root) {
  auto storage = RocksStorage::Open(root.path() + "/data", RocksOptions());
  REQUIRE_MESSAGE(storage.ok(), storage.status().ToString());
  return *std::move(storage);
}

TEST_CASE("RocksStorage: only a sync or a synced commit fsyncs the log") {
  const TemporaryDirectory root;
  const auto storage = OpenRocks(root);
  FsyncProbe probe;
  MustCommit(*storage, Delta(1));
  CHECK(probe.Take(".log") == 0);
  MustSync(*storage);
  CHECK(probe.Take(".log") == 1);
  MustCommit(*storage, Delta(2), CommitMode::kSynced);
  CHECK(probe.Take(".log") == 1);
  MustCommit(*storage, Delta(3));
  MustCommit(*storage, WriteBatch(), CommitMode::kSynced);
  CHECK(probe.Take(".log") == 1);
}

TEST_CASE("RocksStorage: a start fsyncs tables of what it found in the log") {
  const TemporaryDirectory root;
  MustCommit(*OpenRocks(root), Delta(1));
  FsyncProbe probe;
  OpenRocks(root);
  CHECK(probe.Take(".sst") == static_cast<int>(kFamilyCount));
}

TEST_CASE("RocksStorage: closing fsyncs nothing and writes no table") {
  const TemporaryDirectory root;
  auto storage = OpenRocks(root);
  MustCommit(*storage, Delta(1));
  FsyncProbe probe;
  storage.reset();
  CHECK(probe.Take(".log") == 0);
  for (const auto& entry :
       std::filesystem::directory_iterator(root.path() + "/data")) {
    CHECK(entry.path().extension() != ".sst");
  }
}

TEST_CASE("RocksStorage: after a failed sync nothing can be written") {
  const TemporaryDirectory root;
  {
    const auto storage = OpenRocks(root);
    MustCommit(*storage, Delta(1));
    FsyncProbe probe;
    probe.fail_logs = true;
    CHECK(absl::IsDataLoss(storage->Sync()));
    probe.fail_logs = false;  // The next fsync would lie.
    CHECK(absl::IsDataLoss(storage->Sync()));
    CHECK(absl::IsDataLoss(storage->Commit(Delta(2), CommitMode::kWritten)));
    CHECK(Dump(*storage) == AfterDeltas(1));
  }
  const auto storage = OpenRocks(root);
  CHECK(Dump(*storage) == AfterDeltas(1));
  MustCommit(*storage, Delta(2));
}

TEST_CASE("RocksStorage: a synced commit whose fsync fails is not seen") {
  const TemporaryDirectory root;
  const auto storage = OpenRocks(root);
  MustCommit(*storage, Delta(1));
  FsyncProbe probe;
  probe.fail_logs = true;
  CHECK(absl::IsDataLoss(storage->Commit(Delta(2), CommitMode::kSynced)));
  CHECK(Dump(*storage) == AfterDeltas(1));
  CHECK(absl::IsDataLoss(storage->Commit(Delta(3), CommitMode::kWritten)));
}

}  // namespace
}  // namespace dovetail::replica
