#include "net/endpoint.h"

#include <boost/asio/ip/address.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace dovetail::net {

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text) {
  const auto wrong = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not HOST:PORT: ", why));
  };
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return wrong("there is no ':'");
  absl::string_view host = text.substr(0, colon);
  const absl::string_view digits = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != absl::string_view::npos) {
    return wrong("an IPv6 address stands in brackets, [::1]:7001");
  }
  if (host.empty()) return wrong("the host is empty");
  uint32_t port = 0;
  if (!absl::SimpleAtoi(digits, &port) || port > 65535) {
    return wrong("the port is a number from 0 to 65535");
  }
  return Endpoint{std::string(host), static_cast<uint16_t>(port)};
}

std::string ToString(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return v6 ? absl::StrCat("[", endpoint.host, "]:", endpoint.port)
            : absl::StrCat(endpoint.host, ":", endpoint.port);
}

bool IsLoopback(const Endpoint& endpoint) {
  if (endpoint.host == "localhost") return true;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(endpoint.host, error);
  return !error && address.is_loopback();
}

}  // namespace dovetail::net
