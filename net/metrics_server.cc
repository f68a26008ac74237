#include "net/metrics_server.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <set>
#include <utility>

#include "net/socket.h"

namespace dovetail::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

// Text format 0.0.4, which prometheus-cpp writes.
constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kPlainType[] = "text/plain; charset=utf-8";

}  // namespace

class MetricsServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const MetricsServerOptions& options, Collect collect)
      : options_(options), collect_(std::move(collect)) {}

  absl::Status Listen(EventLoop& loop, const Endpoint& endpoint);
  void Close();
  const Endpoint& endpoint() const { return listener_->endpoint(); }

 private:
  // One connection, which is one request.
  class Session;
  void OnAccept(Socket socket);

  const MetricsServerOptions options_;
  Collect collect_;  // empty: closed
  std::unique_ptr<Listener> listener_;
  std::set<Session*> open_;
};

class MetricsServer::Impl::Session
    : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Impl> server, Socket socket)
      : server_(std::move(server)),
        stream_(std::move(socket)),
        timer_(stream_.get_executor()),
        buffer_(server_->options_.request_bytes_max) {
    server_->open_.insert(this);
  }
  ~Session() { server_->open_.erase(this); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Start() {
    parser_.header_limit(
        static_cast<uint32_t>(server_->options_.request_bytes_max));
    SetIoDeadline();
    http::async_read_header(
        stream_, buffer_, parser_,
        [self = shared_from_this()](const error_code& error, size_t) {
          // What is no HTTP, too long or too late gets no answer.
          if (!error) self->OnRequest();
        });
  }

  void Close() {
    timer_.cancel();
    error_code ignored;
    stream_.socket().close(ignored);
  }

 private:
  void SetIoDeadline() {
    stream_.expires_after(
        absl::ToChronoNanoseconds(server_->options_.io_timeout));
  }

  void OnRequest() {
    if (!server_->collect_) return;
    const auto& request = parser_.get();
    const auto target = request.target();
    if (target.substr(0, target.find('?')) != "/metrics") {
      return Answer(http::status::not_found, kPlainType,
                    "there is nothing here but /metrics\n");
    }
    if (request.method() != http::verb::get) {
      response_.set(http::field::allow, "GET");
      return Answer(http::status::method_not_allowed, kPlainType,
                    "/metrics can be got, and nothing else\n");
    }
    timer_.expires_after(
        absl::ToChronoNanoseconds(server_->options_.collect_timeout));
    timer_.async_wait([self = shared_from_this()](const error_code& error) {
      if (error) return;
      self->Answer(http::status::service_unavailable, kPlainType,
                   "the shards are too busy to be measured\n");
    });
    // Who collects must not keep the connection.
    server_->collect_([weak = weak_from_this()](std::string text) {
      if (const auto self = weak.lock()) {
        self->Answer(http::status::ok, kMetricsType, std::move(text));
      }
    });
  }

  // The first answer counts.
  void Answer(http::status status, const char* type, std::string body) {
    if (answered_) return;
    answered_ = true;
    timer_.cancel();
    response_.result(status);
    response_.version(11);
    response_.set(http::field::content_type, type);
    response_.keep_alive(false);
    response_.body() = std::move(body);
    response_.prepare_payload();
    SetIoDeadline();
    http::async_write(stream_, response_,
                      [self = shared_from_this()](const error_code&, size_t) {
                        error_code ignored;
                        self->stream_.socket().shutdown(Socket::shutdown_send,
                                                        ignored);
                      });
  }

  const std::shared_ptr<Impl> server_;
  beast::tcp_stream stream_;
  asio::steady_timer timer_;
  beast::flat_buffer buffer_;
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  bool answered_ = false;
};

absl::Status MetricsServer::Impl::Listen(EventLoop& loop,
                                         const Endpoint& endpoint) {
  auto listener = Listener::Open(
      loop, endpoint, [this](Socket socket) { OnAccept(std::move(socket)); });
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  return absl::OkStatus();
}

void MetricsServer::Impl::OnAccept(Socket socket) {
  if (open_.size() >= options_.connections_max) return;
  std::make_shared<Session>(shared_from_this(), std::move(socket))->Start();
}

void MetricsServer::Impl::Close() {
  listener_.reset();
  collect_ = nullptr;
  for (Session* session : open_) session->Close();
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Open(
    EventLoop& loop, const Endpoint& endpoint,
    const MetricsServerOptions& options, Collect collect) {
  auto impl = std::make_shared<Impl>(options, std::move(collect));
  const absl::Status listening = impl->Listen(loop, endpoint);
  if (!listening.ok()) return listening;
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

MetricsServer::MetricsServer(std::shared_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() { impl_->Close(); }
const Endpoint& MetricsServer::endpoint() const { return impl_->endpoint(); }

}  // namespace dovetail::net
