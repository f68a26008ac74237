#include "replica/retry_after.h"

#include <algorithm>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace dovetail::replica {
namespace {
constexpr absl::string_view kRetryAfter = "dovetail/retry-after-ms";
}  // namespace

absl::Status WithRetryAfter(absl::Status status, absl::Duration after) {
  const int64_t ms = absl::ToInt64Milliseconds(
      std::clamp(after, absl::Milliseconds(1), kRetryAfterMax));
  status.SetPayload(kRetryAfter, absl::Cord(absl::StrCat(ms)));
  return status;
}

std::optional<absl::Duration> RetryAfterOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryAfter);
  int64_t ms = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &ms)) {
    return std::nullopt;
  }
  return absl::Milliseconds(ms);
}

}  // namespace dovetail::replica
