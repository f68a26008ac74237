// One HTTP request over a real socket, as bytes: what a scrape sends and gets.
#ifndef DOVETAIL_TESTS_NET_HTTP_H_
#define DOVETAIL_TESTS_NET_HTTP_H_

#include <doctest/doctest.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "net/socket.h"
#include "tests/net/support.h"

namespace dovetail::net {

// All that comes back until the other side closes; empty if it says nothing.
inline std::string Ask(EventLoop& loop, const Endpoint& endpoint,
                       const std::string& request) {
  std::unique_ptr<Socket> socket;
  std::string answer;
  bool closed = false;
  std::array<char, 4096> buffer;
  std::function<void()> read = [&] {
    socket->async_read_some(
        boost::asio::buffer(buffer),
        [&](const boost::system::error_code& error, size_t n) {
          answer.append(buffer.data(), n);
          if (!error) return read();
          closed = true;
        });
  };
  Dial(loop, endpoint, absl::Seconds(10), [&](absl::StatusOr<Socket> dialled) {
    REQUIRE(dialled.ok());
    socket = std::make_unique<Socket>(*std::move(dialled));
    boost::system::error_code ignored;  // it may be closed already
    boost::asio::write(*socket, boost::asio::buffer(request), ignored);
    read();
  });
  RunUntil(loop, [&] { return closed; });
  return answer;
}

inline std::string Scrape(EventLoop& loop, const Endpoint& endpoint) {
  return Ask(loop, endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
}

// The value of a sample, `name{labels}` as it is written; -1: there is none.
inline double SampleOf(const std::string& text, const std::string& name) {
  const std::string line = "\n" + name + " ";
  const size_t at = text.find(line);
  if (at == std::string::npos) return -1;
  const size_t from = at + line.size();
  double value = 0;
  REQUIRE(absl::SimpleAtod(text.substr(from, text.find('\n', from) - from),
                           &value));
  return value;
}

}  // namespace dovetail::net

#endif  // DOVETAIL_TESTS_NET_HTTP_H_
