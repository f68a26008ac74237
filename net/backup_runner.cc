#include "net/backup_runner.h"

#include <utility>

#include "absl/status/status.h"

namespace dovetail::net {

BackupRunner::BackupRunner(EventLoop& loop, Make make)
    : loop_(loop), make_(std::move(make)) {}

BackupRunner::~BackupRunner() {
  *waiting_ = nullptr;
  if (thread_.joinable()) thread_.join();
}

void BackupRunner::Run(const std::string& name, Done done) {
  if (!make_) {
    return done(absl::FailedPreconditionError("this node makes no backups"));
  }
  if (*waiting_) {
    return done(absl::FailedPreconditionError(
        "this node is making a backup; try again when that is done"));
  }
  if (thread_.joinable()) thread_.join();  // it has ended
  *waiting_ = std::move(done);
  thread_ = std::thread([this, name, weak = std::weak_ptr<Done>(waiting_)] {
    const auto made = std::make_shared<absl::StatusOr<BackupMade>>(make_(name));
    loop_.Post([weak, made] {
      const std::shared_ptr<Done> waiting = weak.lock();
      if (waiting == nullptr || !*waiting) return;  // stopped
      std::exchange(*waiting, nullptr)(*made);
    });
  });
}

}  // namespace dovetail::net
