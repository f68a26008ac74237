#include "replica/request_window.h"

#include <algorithm>
#include <variant>

namespace dovetail::replica {
namespace {

// Long enough for some dozen requests of a node that is hardly used, short
// enough that those of a busy one wait for no more than that.
constexpr absl::Duration kWindow = absl::Milliseconds(250);
// Of more, the first so many stand for all.
constexpr size_t kDurationsMax = 4096;

}  // namespace

bool IsPartOfRequest(const Message& message) {
  return std::holds_alternative<ReadQuery>(message.body) ||
         std::holds_alternative<Replicate>(message.body) ||
         std::holds_alternative<Forward>(message.body);
}

void RequestWindow::Add(absl::Duration took) {
  ++requests_;
  if (took_.size() < kDurationsMax) took_.push_back(took);
}

std::optional<RequestTimes> RequestWindow::Look(absl::Duration now) {
  if (now - began_ < kWindow) return std::nullopt;
  RequestTimes times{requests_, absl::ZeroDuration()};
  if (!took_.empty()) {
    const auto p99 =
        took_.begin() + static_cast<std::ptrdiff_t>(took_.size() * 99 / 100);
    std::nth_element(took_.begin(), p99, took_.end());
    times.p99 = *p99;
  }
  took_.clear();
  requests_ = 0;
  began_ = now;
  return times;
}

}  // namespace dovetail::replica
