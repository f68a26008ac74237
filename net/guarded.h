// The one place that catches what Cap'n Proto throws at a message whose
// pointers lead nowhere.
#ifndef DOVETAIL_NET_GUARDED_H_
#define DOVETAIL_NET_GUARDED_H_

#include <capnp/blob.h>
#include <kj/exception.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace dovetail::net {

// Runs `decode`; what Cap'n Proto throws becomes InvalidArgument.
template <class Decode>
auto Guarded(Decode decode) -> decltype(decode()) {
  try {
    return decode();
  } catch (const kj::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("message is malformed: ", error.getDescription().cStr()));
  }
}

inline std::string AsString(capnp::Text::Reader in) {
  return std::string(in.begin(), in.size());
}

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_GUARDED_H_
