#include "net/socket.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dovetail::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// After accept() failed (out of descriptors, as a rule) the next try waits so
// long, instead of spinning.
constexpr absl::Duration kAcceptRetryDelay = absl::Milliseconds(100);

// One dial: whichever of the timer and the connection comes first decides.
struct Dialing : std::enable_shared_from_this<Dialing> {
  Dialing(EventLoop& loop, Endpoint to)
      : endpoint(std::move(to)),
        resolver(loop.context()),
        socket(loop.context()),
        timer(loop.context()) {}

  void Start(absl::Duration timeout) {
    timer.expires_after(absl::ToChronoNanoseconds(timeout));
    timer.async_wait([self = shared_from_this()](const error_code& error) {
      if (error) return;
      self->Finish(absl::DeadlineExceededError(absl::StrCat(
          "no connection to ", ToString(self->endpoint), " in time")));
    });
    resolver.async_resolve(
        endpoint.host, std::to_string(endpoint.port),
        [self = shared_from_this()](const error_code& error,
                                    tcp::resolver::results_type results) {
          self->OnResolved(error, std::move(results));
        });
  }

  void OnResolved(const error_code& error,
                  tcp::resolver::results_type results) {
    if (!done) return;
    if (error) return Fail(error);
    asio::async_connect(
        socket, std::move(results),
        [self = shared_from_this()](const error_code& connect_error,
                                    const tcp::endpoint&) {
          if (!self->done) return;
          if (connect_error) return self->Fail(connect_error);
          error_code ignored;  // slower without, not wrong
          self->socket.set_option(tcp::no_delay(true), ignored);
          self->Finish(std::move(self->socket));
        });
  }

  void Fail(const error_code& error) {
    Finish(absl::UnavailableError(absl::StrCat(
        "cannot connect to ", ToString(endpoint), ": ", error.message())));
  }

  void Finish(absl::StatusOr<Socket> result) {
    if (!done) return;
    timer.cancel();
    resolver.cancel();
    if (!result.ok()) {
      error_code ignored;
      socket.close(ignored);
    }
    std::exchange(done, nullptr)(std::move(result));
  }

  const Endpoint endpoint;
  tcp::resolver resolver;
  Socket socket;
  asio::steady_timer timer;
  std::function<void(absl::StatusOr<Socket>)> done;
};

}  // namespace

void Dial(EventLoop& loop, const Endpoint& endpoint, absl::Duration timeout,
          std::function<void(absl::StatusOr<Socket>)> done) {
  auto dialing = std::make_shared<Dialing>(loop, endpoint);
  dialing->done = std::move(done);
  dialing->Start(timeout);
}

struct Listener::State : std::enable_shared_from_this<Listener::State> {
  State(EventLoop& event_loop, OnAccept callback)
      : acceptor(event_loop.context()),
        retry(event_loop.context()),
        on_accept(std::move(callback)) {}

  void Accept() {
    acceptor.async_accept(
        [self = shared_from_this()](const error_code& error, Socket socket) {
          self->OnAccepted(error, std::move(socket));
        });
  }

  void OnAccepted(const error_code& error, Socket socket) {
    if (!acceptor.is_open()) return;
    if (!error) {
      error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      on_accept(std::move(socket));
      if (acceptor.is_open()) Accept();
      return;
    }
    retry.expires_after(absl::ToChronoNanoseconds(kAcceptRetryDelay));
    retry.async_wait([self = shared_from_this()](const error_code& cancelled) {
      if (!cancelled && self->acceptor.is_open()) self->Accept();
    });
  }

  tcp::acceptor acceptor;
  asio::steady_timer retry;
  OnAccept on_accept;
};

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(
    EventLoop& loop, const Endpoint& endpoint, OnAccept on_accept) {
  error_code error;
  const std::string host =
      endpoint.host == "localhost" ? "127.0.0.1" : endpoint.host;
  const auto address = asio::ip::make_address(host, error);
  if (error) {
    return absl::InvalidArgumentError(absl::StrCat("cannot listen on ",
                                                   ToString(endpoint),
                                                   ": the host must be an IP "
                                                   "address of this machine"));
  }
  auto state = std::make_shared<State>(loop, std::move(on_accept));
  const tcp::endpoint where(address, endpoint.port);
  tcp::acceptor& acceptor = state->acceptor;
  acceptor.open(where.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(where, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", ToString(endpoint), ": ", error.message()));
  }
  Endpoint bound{host, acceptor.local_endpoint(error).port()};
  state->Accept();
  return std::unique_ptr<Listener>(
      new Listener(std::move(state), std::move(bound)));
}

Listener::Listener(std::shared_ptr<State> state, Endpoint endpoint)
    : state_(std::move(state)), endpoint_(std::move(endpoint)) {}

Listener::~Listener() {
  error_code ignored;
  state_->retry.cancel();
  state_->acceptor.close(ignored);
  state_->on_accept = nullptr;
}

}  // namespace dovetail::net
