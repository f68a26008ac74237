// Where a socket is: a host, by address or name, and a port, as people write
// them.
#ifndef DOVETAIL_NET_ENDPOINT_H_
#define DOVETAIL_NET_ENDPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace dovetail::net {

struct Endpoint {
  std::string host;   // "127.0.0.1", "::1", "node-a.example"
  uint16_t port = 0;  // 0 where a socket listens: any free one
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// "127.0.0.1:7001", "[::1]:7001", "localhost:7001". Errors: InvalidArgument
// with the text and what is wrong with it.
absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text);

std::string ToString(const Endpoint& endpoint);

// Whether nothing outside this machine can reach it: a loopback address, or
// "localhost". Other names are not looked up and count as reachable.
bool IsLoopback(const Endpoint& endpoint);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_ENDPOINT_H_
