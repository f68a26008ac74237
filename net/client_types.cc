#include "net/client_types.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace dovetail::net {
namespace {
constexpr absl::string_view kDeferredMark = "dovetail/deferred-read";
}  // namespace

absl::string_view ToString(Condition condition) {
  switch (condition) {
    case Condition::kUnknown:
      return "unknown";
    case Condition::kAlive:
      return "alive";
    case Condition::kSuspect:
      return "suspect";
    case Condition::kDead:
      return "dead";
    case Condition::kLeft:
      return "left";
  }
  return "unknown";
}

absl::Status DeferredRead() {
  absl::Status status =
      absl::UnavailableError("the answer did not fit into the reply");
  status.SetPayload(kDeferredMark, absl::Cord());
  return status;
}

bool IsDeferredRead(const absl::Status& status) {
  return status.GetPayload(kDeferredMark).has_value();
}

}  // namespace dovetail::net
