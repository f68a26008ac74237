#include "net/client_types.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace dovetail::net {
namespace {
constexpr absl::string_view kMaybeMark = "dovetail/may-have-taken-effect";
}  // namespace

absl::Status MarkMaybe(absl::Status status) {
  status.SetPayload(kMaybeMark, absl::Cord());
  return status;
}

bool MayHaveTakenEffect(const absl::Status& status) {
  return absl::IsDeadlineExceeded(status) ||
         status.GetPayload(kMaybeMark).has_value();
}

}  // namespace dovetail::net
