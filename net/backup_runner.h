// Makes backups for a node: a checkpoint waits for the disk, so it gets a
// thread of its own, one at a time.
#ifndef DOVETAIL_NET_BACKUP_RUNNER_H_
#define DOVETAIL_NET_BACKUP_RUNNER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "net/client_types.h"
#include "net/event_loop.h"

namespace dovetail::net {

class BackupRunner {
 public:
  using Make =
      std::function<absl::StatusOr<BackupMade>(const std::string& name)>;
  using Done = std::function<void(const absl::StatusOr<BackupMade>&)>;

  // `loop` must outlive it. `make` runs on the thread; it may be empty.
  BackupRunner(EventLoop& loop, Make make);
  // Waits for one that is being made; its `done` is not called.
  ~BackupRunner();
  BackupRunner(const BackupRunner&) = delete;
  BackupRunner& operator=(const BackupRunner&) = delete;

  // On the loop's thread, as `done`, which is called once. Errors: of `make`;
  // FailedPrecondition if there is none, or one backup is being made.
  void Run(const std::string& name, Done done);

 private:
  EventLoop& loop_;
  const Make make_;
  // Who waits for the one that is being made. Shared with what is posted.
  std::shared_ptr<Done> waiting_ = std::make_shared<Done>();
  std::thread thread_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_BACKUP_RUNNER_H_
