#include "src/cli/exec.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "src/cli/json.h"

namespace dovetail::cli {
namespace {

// A line longer than this is no operation: twice a frame, for escapes.
constexpr size_t kLineBytesMax = 8 << 20;
constexpr size_t kWindowBytesMax = 64 << 20;
constexpr absl::Duration kProgressPeriod = absl::Milliseconds(200);

// One line from being read to being printed.
struct Slot {
  uint64_t line = 0;
  size_t bytes = 0;
  OperationKind kind = OperationKind::kRead;
  std::optional<Result> result;
};

// Slots in the order of their lines. The reader appends, the client's thread
// fills in results, the printer takes what is ready from the front.
class Window {
 public:
  Window(size_t lines_max, size_t bytes_max)
      : lines_max_(lines_max), bytes_max_(bytes_max) {}

  // Waits for room; false once the printer has given up.
  bool Append(std::shared_ptr<Slot> slot) {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [&] {
      return broken_ || slots_.empty() ||
             (slots_.size() < lines_max_ && bytes_ + slot->bytes <= bytes_max_);
    });
    if (broken_) return false;
    bytes_ += slot->bytes;
    slots_.push_back(std::move(slot));
    return true;
  }

  void Complete(Slot& slot, Result result) {
    std::lock_guard<std::mutex> lock(mutex_);
    slot.result = std::move(result);
    if (!slots_.empty() && slots_.front().get() == &slot) ready_.notify_one();
  }

  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    ready_.notify_one();
  }
  void Break() {
    std::lock_guard<std::mutex> lock(mutex_);
    broken_ = true;
    room_.notify_one();
  }

  // Whether Take() would wait.
  bool WouldWait() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return !FrontReady() && !(closed_ && slots_.empty());
  }
  // The next finished line; null at the end.
  std::shared_ptr<Slot> Take() {
    std::unique_lock<std::mutex> lock(mutex_);
    ready_.wait(lock,
                [&] { return FrontReady() || (closed_ && slots_.empty()); });
    if (slots_.empty()) return nullptr;
    std::shared_ptr<Slot> slot = std::move(slots_.front());
    slots_.pop_front();
    bytes_ -= slot->bytes;
    room_.notify_one();
    return slot;
  }

 private:
  bool FrontReady() const {
    return !slots_.empty() && slots_.front()->result.has_value();
  }

  const size_t lines_max_;
  const size_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;  // for the printer
  std::condition_variable room_;   // for the reader
  std::deque<std::shared_ptr<Slot>> slots_;
  size_t bytes_ = 0;
  bool closed_ = false;
  bool broken_ = false;
};

// One line on a terminal, rewritten in place.
class Progress {
 public:
  Progress(std::ostream* out, uint64_t input_bytes)
      : out_(out), input_bytes_(input_bytes), start_(absl::Now()) {}

  void Count(const Slot& slot) {
    ++lines_;
    bytes_ += slot.bytes + 1;
    if (out_ == nullptr || lines_ % 64 != 0) return;
    const absl::Time now = absl::Now();
    if (now - shown_ < kProgressPeriod) return;
    shown_ = now;
    Show(now);
  }
  void Finish() {
    if (out_ == nullptr) return;
    Show(absl::Now());
    *out_ << "\n" << std::flush;
  }

 private:
  void Show(absl::Time now) {
    const double seconds = absl::ToDoubleSeconds(now - start_);
    std::string bar;
    if (input_bytes_ > 0) {
      constexpr size_t kWidth = 30;
      const double part = std::min(
          1.0, static_cast<double>(bytes_) / static_cast<double>(input_bytes_));
      const auto filled = static_cast<size_t>(part * kWidth);
      bar = absl::StrCat("[", std::string(filled, '='),
                         std::string(kWidth - filled, ' '), "] ",
                         absl::StrFormat("%3.0f%% ", part * 100));
    }
    const double rate = seconds > 0 ? static_cast<double>(lines_) / seconds : 0;
    *out_ << "\r" << bar
          << absl::StrFormat("%d lines, %.0f a second ", lines_, rate)
          << std::flush;
  }

  std::ostream* const out_;
  const uint64_t input_bytes_;
  const absl::Time start_;
  absl::Time shown_ = absl::InfinitePast();
  uint64_t lines_ = 0;
  uint64_t bytes_ = 0;
};

// Prints results until the window ends or the output does not take them.
void Print(Window& window, std::ostream& out, const ExecOptions& options,
           ExecSummary& summary) {
  Progress progress(options.progress, options.input_bytes);
  while (true) {
    // Whoever waits for the last results sees them before we wait for more.
    if (window.WouldWait()) out.flush();
    const std::shared_ptr<Slot> slot = window.Take();
    if (slot == nullptr) break;
    if (!slot->result->ok()) ++summary.failed;
    out << ResultJson(slot->line, slot->kind, *slot->result) << "\n";
    progress.Count(*slot);
    if (!out.good()) {
      summary.output_broken = true;
      window.Break();
      return;
    }
  }
  out.flush();
  summary.output_broken = !out.good();
  progress.Finish();
}

absl::StatusOr<Operation> ParseLine(const std::string& line) {
  if (line.size() > kLineBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("line of ", line.size(),
                     " bytes is over line_bytes_max = ", kLineBytesMax));
  }
  return ParseOperation(line);
}

bool IsBlank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

}  // namespace

ExecSummary Exec(Caller& caller, std::istream& in, std::ostream& out,
                 const ExecOptions& options) {
  ExecSummary summary;
  // Shared with callbacks that may come after an output that broke.
  const auto window =
      std::make_shared<Window>(options.in_flight, kWindowBytesMax);
  std::thread printer([&] { Print(*window, out, options, summary); });
  std::string line;
  while (std::getline(in, line)) {
    ++summary.lines;
    if (IsBlank(line)) continue;
    auto operation = ParseLine(line);
    auto slot = std::make_shared<Slot>();
    slot->line = summary.lines;
    slot->bytes = line.size();
    if (operation.ok()) slot->kind = KindOf(*operation);
    if (!window->Append(slot)) break;
    if (!operation.ok()) {
      window->Complete(*slot, operation.status());
      continue;
    }
    caller.Submit(*std::move(operation), options.call,
                  [window, slot](Result result) {
                    window->Complete(*slot, std::move(result));
                  });
  }
  window->Close();
  printer.join();
  return summary;
}

}  // namespace dovetail::cli
