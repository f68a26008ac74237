#include "net/endpoint.h"

#include <doctest/doctest.h>

namespace dovetail::net {
namespace {

TEST_CASE("Endpoint: addresses and names are read and written back") {
  for (const char* text : {"127.0.0.1:7001", "[::1]:0", "localhost:65535"}) {
    const auto endpoint = ParseEndpoint(text);
    REQUIRE(endpoint.ok());
    CHECK(ToString(*endpoint) == text);
  }
  CHECK(ParseEndpoint("[::1]:7")->host == "::1");
}

TEST_CASE("Endpoint: what is not HOST:PORT is refused with the text in it") {
  for (const char* text : {"", ":", "host", "host:", ":7001", "host:65536",
                           "host:-1", "host:x", "::1:7001", "[]:7001"}) {
    CAPTURE(text);
    const auto endpoint = ParseEndpoint(text);
    REQUIRE_FALSE(endpoint.ok());
    CHECK(endpoint.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(endpoint.status().message().find(text) != absl::string_view::npos);
  }
}

TEST_CASE("Endpoint: only loopback addresses count as loopback") {
  CHECK(IsLoopback({"127.0.0.1", 1}));
  CHECK(IsLoopback({"127.8.9.1", 1}));
  CHECK(IsLoopback({"::1", 1}));
  CHECK(IsLoopback({"localhost", 1}));
  CHECK_FALSE(IsLoopback({"0.0.0.0", 1}));
  CHECK_FALSE(IsLoopback({"::", 1}));
  CHECK_FALSE(IsLoopback({"10.0.0.1", 1}));
  CHECK_FALSE(IsLoopback({"127.0.0.1.example", 1}));
}

}  // namespace
}  // namespace dovetail::net
