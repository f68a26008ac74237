// The HTTP door for Prometheus: `GET /metrics` on the event loop, nothing else.
//
// Boost.Beast reads and writes the HTTP; the text comes from `collect`, which
// may answer later, so that a scrape never holds up the loop, and no shard ever
// waits for a scrape. One request a connection: a scrape comes every few
// seconds, and what need not be kept cannot pile up.
//
// Limits: connections and the size of a request are bounded; whoever is slow to
// ask or to read is cut off; if the text does not come in time the answer is
// 503.
#ifndef DOVETAIL_NET_METRICS_SERVER_H_
#define DOVETAIL_NET_METRICS_SERVER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "net/endpoint.h"
#include "net/event_loop.h"

namespace dovetail::net {

struct MetricsServerOptions {
  size_t connections_max = 16;  // one more is closed at once
  size_t request_bytes_max = 8 << 10;
  // For the request to arrive, and again for the answer to leave.
  absl::Duration io_timeout = absl::Seconds(10);
  // For the text: below Prometheus' own patience of 10 s, so that it gets an
  // answer that says why.
  absl::Duration collect_timeout = absl::Seconds(5);
};

class MetricsServer {
 public:
  // Calls `done` on the loop's thread, once or never, also inside the call. It
  // may be copied and destroyed on any thread.
  using Collect = std::function<void(std::function<void(std::string text)>)>;

  // `loop` must outlive it. Errors: of Listener::Open.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Open(
      EventLoop& loop, const Endpoint& endpoint,
      const MetricsServerOptions& options, Collect collect);
  // Closes all connections; `collect` is not called any more.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // Where it listens: port 0 has become a number.
  const Endpoint& endpoint() const;

 private:
  class Impl;
  explicit MetricsServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_METRICS_SERVER_H_
