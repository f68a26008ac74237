// What the tests of net/ share: a loop that runs until something is true, and
// a disk in memory that several shards may use.
#ifndef DOVETAIL_TESTS_NET_SUPPORT_H_
#define DOVETAIL_TESTS_NET_SUPPORT_H_

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "net/event_loop.h"
#include "replica/storage.h"
#include "tests/sim/sim_disk.h"

namespace dovetail::net {

// Runs `loop` until `done` returns true; looks once a millisecond. A test that
// waits for what never comes ends by ctest's timeout.
inline void RunUntil(EventLoop& loop, const std::function<bool()>& done) {
  std::function<void()> look = [&] {
    if (done()) return loop.Stop();
    loop.After(absl::Milliseconds(1), look);
  };
  look();
  loop.Run();
}

// SimStorage belongs to one thread; a node's shards are several.
class LockedStorage final : public replica::Storage {
 public:
  explicit LockedStorage(sim::SimDisk& disk) : storage_(disk) {}

  absl::StatusOr<std::optional<std::string>> Get(
      replica::Family family, absl::string_view key) override {
    std::lock_guard lock(mutex_);
    return storage_.Get(family, key);
  }
  absl::Status Scan(
      replica::Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view, absl::string_view)> visit)
      override {
    std::lock_guard lock(mutex_);
    return storage_.Scan(family, begin, end, visit);
  }
  absl::Status Commit(const replica::WriteBatch& batch,
                      replica::CommitMode mode) override {
    std::lock_guard lock(mutex_);
    return storage_.Commit(batch, mode);
  }
  absl::Status Sync() override {
    std::lock_guard lock(mutex_);
    return storage_.Sync();
  }
  absl::Status Checkpoint(const std::string& directory) override {
    std::lock_guard lock(mutex_);
    return storage_.Checkpoint(directory);
  }

  // Holds every call back until it is released.
  std::unique_lock<std::mutex> Block() {
    return std::unique_lock<std::mutex>(mutex_);
  }

 private:
  std::mutex mutex_;
  sim::SimStorage storage_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_TESTS_NET_SUPPORT_H_
