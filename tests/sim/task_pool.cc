#include "tests/sim/task_pool.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::sim {
namespace {

using Clock = std::chrono::steady_clock;

void WriteAll(int file, const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = write(file, at, size);
    if (written < 0 && errno == EINTR) continue;
    // Nobody reads any more: there is nobody to tell.
    if (written <= 0) _exit(3);
    at += written;
    size -= static_cast<size_t>(written);
  }
}

// A report: its length, then its bytes.
void SendReport(int file, const std::string& answer) {
  const uint64_t size = answer.size();
  WriteAll(file, &size, sizeof size);
  WriteAll(file, answer.data(), answer.size());
}

class Child {
 public:
  Child(std::vector<uint64_t> tasks,
        const std::function<std::string(uint64_t)>& work)
      : tasks_(tasks.begin(), tasks.end()), errors_(std::tmpfile()) {
    int ends[2];
    DOVETAIL_CHECK(errors_ != nullptr && pipe(ends) == 0);
    // What waits in a buffer must not be written twice.
    std::fflush(stdout);
    std::fflush(stderr);
    pid_ = fork();
    DOVETAIL_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      close(ends[0]);
      Live(ends[1], work);
    }
    close(ends[1]);
    reports_ = ends[0];
    since_ = Clock::now();
  }
  ~Child() {
    close(reports_);
    std::fclose(errors_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int reports() const { return reports_; }
  std::deque<uint64_t>& tasks() { return tasks_; }
  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - since_).count();
  }
  void Kill(std::string why) {
    killed_because_ = std::move(why);
    kill(pid_, SIGKILL);
  }

  // Takes what has come. False: the process has ended.
  bool Read() {
    char buffer[1 << 16];
    const ssize_t n = read(reports_, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) return true;
    if (n <= 0) return false;
    received_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  // The answer of the first task that has none yet, if it is complete.
  bool Next(uint64_t* task, std::string* answer) {
    uint64_t size = 0;
    if (received_.size() < sizeof size) return false;
    std::memcpy(&size, received_.data(), sizeof size);
    if (received_.size() < sizeof size + size) return false;
    DOVETAIL_CHECK(!tasks_.empty());
    *answer = received_.substr(sizeof size, size);
    received_.erase(0, sizeof size + size);
    *task = tasks_.front();
    tasks_.pop_front();
    since_ = Clock::now();
    return true;
  }

  // How it ended; empty: well.
  std::string Reap() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) DOVETAIL_CHECK(errno == EINTR);
    std::string how;
    if (!killed_because_.empty()) {
      how = killed_because_;
    } else if (WIFSIGNALED(status)) {
      how = absl::StrCat("died of signal ", WTERMSIG(status), " (",
                         strsignal(WTERMSIG(status)), ")");
    } else if (WEXITSTATUS(status) != 0) {
      how = absl::StrCat("exited with status ", WEXITSTATUS(status));
    }
    return how.empty() ? how : absl::StrCat(how, LastWords());
  }

 private:
  [[noreturn]] void Live(int reports,
                         const std::function<std::string(uint64_t)>& work) {
    // Whoever started it may be killed; it does not live on.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // What the parent does on a signal is not for a child to do.
    for (const int number :
         {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGTERM}) {
      signal(number, SIG_DFL);
    }
    dup2(fileno(errors_), STDERR_FILENO);
    for (const uint64_t task : tasks_) SendReport(reports, work(task));
    std::fflush(stderr);
    _exit(0);
  }

  std::string LastWords() {
    std::fseek(errors_, 0, SEEK_END);
    const long size = std::ftell(errors_);
    constexpr long kMax = 2000;
    std::fseek(errors_, size > kMax ? size - kMax : 0, SEEK_SET);
    char buffer[kMax];
    const size_t n = std::fread(buffer, 1, sizeof buffer, errors_);
    const std::string words(absl::StripAsciiWhitespace({buffer, n}));
    return words.empty() ? words : absl::StrCat(": ", words);
  }

  std::deque<uint64_t> tasks_;  // without an answer
  std::FILE* errors_;
  pid_t pid_ = -1;
  int reports_ = -1;
  Clock::time_point since_;
  std::string received_;
  std::string killed_because_;
};

class Pool {
 public:
  Pool(const PoolSettings& settings, const Tasks& tasks)
      : settings_(settings), tasks_(tasks) {}

  void Run() {
    while (true) {
      while (children_.size() < static_cast<size_t>(settings_.jobs)) {
        std::vector<uint64_t> chunk = NextChunk();
        if (chunk.empty()) break;
        children_.push_back(
            std::make_unique<Child>(std::move(chunk), tasks_.work));
      }
      if (children_.empty()) return;
      Wait();
    }
  }

 private:
  std::vector<uint64_t> NextChunk() {
    if (!orphans_.empty()) return std::exchange(orphans_, {});
    return tasks_.next();
  }

  void Wait() {
    std::vector<pollfd> files;
    for (const auto& child : children_) {
      files.push_back({child->reports(), POLLIN, 0});
    }
    const int ready = poll(files.data(), files.size(), 200);
    DOVETAIL_CHECK(ready >= 0 || errno == EINTR);
    for (size_t i = files.size(); i-- > 0;) {
      if (ready > 0 && files[i].revents != 0 && !Listen(*children_[i])) {
        children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
      } else if (children_[i]->seconds() > settings_.task_seconds_max) {
        children_[i]->Kill(absl::StrCat("took longer than ",
                                        settings_.task_seconds_max, " s"));
      }
    }
  }

  // False: the child is gone.
  bool Listen(Child& child) {
    const bool alive = child.Read();
    uint64_t task = 0;
    TaskResult result;
    while (child.Next(&task, &result.answer)) tasks_.done(task, result);
    if (alive) return true;
    result = {child.Reap(), ""};
    if (child.tasks().empty()) return false;
    if (result.death.empty()) result.death = "exited before its time";
    task = child.tasks().front();
    child.tasks().pop_front();
    // The others had no chance.
    orphans_.insert(orphans_.end(), child.tasks().begin(), child.tasks().end());
    tasks_.done(task, result);
    return false;
  }

  const PoolSettings& settings_;
  const Tasks& tasks_;
  std::vector<std::unique_ptr<Child>> children_;
  std::vector<uint64_t> orphans_;
};

}  // namespace

void RunTasks(const PoolSettings& settings, const Tasks& tasks) {
  Pool(settings, tasks).Run();
}

TaskResult RunIsolated(double seconds_max,
                       const std::function<std::string()>& work) {
  TaskResult result;
  bool given = false;
  Tasks tasks;
  tasks.next = [&] {
    return std::exchange(given, true) ? std::vector<uint64_t>()
                                      : std::vector<uint64_t>{0};
  };
  tasks.work = [&](uint64_t) { return work(); };
  tasks.done = [&](uint64_t, const TaskResult& its) { result = its; };
  PoolSettings settings;
  settings.task_seconds_max = seconds_max;
  RunTasks(settings, tasks);
  return result;
}

}  // namespace dovetail::sim
