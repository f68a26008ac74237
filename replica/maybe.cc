#include "replica/maybe.h"

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace dovetail::replica {
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

}  // namespace dovetail::replica
