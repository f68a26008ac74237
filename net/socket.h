// TCP sockets on an EventLoop: connect to an endpoint with a timeout, listen on
// one. The only place that names resolve and sockets open; TLS belongs here.
#ifndef DOVETAIL_NET_SOCKET_H_
#define DOVETAIL_NET_SOCKET_H_

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/endpoint.h"
#include "net/event_loop.h"

namespace dovetail::net {

using Socket = boost::asio::ip::tcp::socket;

// Looks the host up, connects, and sets TCP_NODELAY (what is written is
// coalesced here already). `done` runs once on the loop's thread, never inside
// the call; it is destroyed unrun if the loop is.
// Errors: Unavailable (no such name, refused, unreachable), DeadlineExceeded.
void Dial(EventLoop& loop, const Endpoint& endpoint, absl::Duration timeout,
          std::function<void(absl::StatusOr<Socket>)> done);

// Accepts connections until destroyed.
class Listener {
 public:
  using OnAccept = std::function<void(Socket)>;

  // `loop` must outlive it. Errors: InvalidArgument (the host is no address),
  // Unavailable (the port is taken, no such address here).
  static absl::StatusOr<std::unique_ptr<Listener>> Open(
      EventLoop& loop, const Endpoint& endpoint, OnAccept on_accept);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Where it really listens: port 0 has become a number.
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  struct State;
  Listener(std::shared_ptr<State> state, Endpoint endpoint);
  std::shared_ptr<State> state_;
  Endpoint endpoint_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_SOCKET_H_
