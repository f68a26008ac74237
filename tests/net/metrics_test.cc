// The door for Prometheus and the text behind it. That a node really counts is
// in node_test.cc.
#include <doctest/doctest.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "net/metrics_server.h"
#include "net/node_metrics.h"
#include "replica/request_stats.h"
#include "tests/net/http.h"

namespace dovetail::net {
namespace {

using replica::LevelClass;
using replica::NodeId;
using replica::RequestKind;

using Done = std::function<void(std::string)>;

std::unique_ptr<MetricsServer> Serve(EventLoop& loop,
                                     MetricsServer::Collect collect,
                                     const MetricsServerOptions& options = {}) {
  auto server =
      MetricsServer::Open(loop, {"127.0.0.1", 0}, options, std::move(collect));
  REQUIRE(server.ok());
  return *std::move(server);
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("Metrics: GET /metrics answers what was collected, and closes") {
  EventLoop loop;
  const auto server =
      Serve(loop, [](const Done& done) { done("some_metric 1\n"); });
  for (const char* request : {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
                              "GET /metrics?debug=1 HTTP/1.0\r\n\r\n"}) {
    const std::string answer = Ask(loop, server->endpoint(), request);
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(Has(answer, "Content-Type: text/plain; version=0.0.4"));
    CHECK(Has(answer, "Content-Length: 14\r\n"));
    CHECK(answer.ends_with("\r\n\r\nsome_metric 1\n"));
  }
}

TEST_CASE("Metrics: whatever else is asked is refused, and nothing collected") {
  EventLoop loop;
  int collected = 0;
  const auto server = Serve(loop, [&](const Done& done) {
    ++collected;
    done("");
  });
  const Endpoint at = server->endpoint();
  CHECK(Ask(loop, at, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
  CHECK(Ask(loop, at, "GET /metricsx HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 404"));
  const std::string post =
      Ask(loop, at, "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  CHECK(post.starts_with("HTTP/1.1 405"));
  CHECK(Has(post, "Allow: GET"));
  CHECK(Ask(loop, at, "what is this\r\n\r\n").empty());
  CHECK(Ask(loop, at,
            "GET /metrics HTTP/1.1\r\nX: " + std::string(20'000, 'x') +
                "\r\n\r\n")
            .empty());
  CHECK(collected == 0);
}

TEST_CASE("Metrics: who is silent is cut off") {
  EventLoop loop;
  MetricsServerOptions options;
  options.io_timeout = absl::Milliseconds(20);
  const auto server = Serve(
      loop, [](const Done&) {}, options);
  CHECK(Ask(loop, server->endpoint(), "GET /metrics HTT").empty());
}

TEST_CASE("Metrics: a text that does not come in time is a 503, once") {
  EventLoop loop;
  MetricsServerOptions options;
  options.collect_timeout = absl::Milliseconds(20);
  std::vector<Done> waiting;
  const auto server = Serve(
      loop, [&](Done done) { waiting.push_back(std::move(done)); }, options);
  CHECK(Scrape(loop, server->endpoint()).starts_with("HTTP/1.1 503"));
  REQUIRE(waiting.size() == 1);
  waiting[0]("too late");
  CHECK(Scrape(loop, server->endpoint()).starts_with("HTTP/1.1 503"));
}

TEST_CASE("Metrics: more connections than the limit are closed at once") {
  EventLoop loop;
  MetricsServerOptions options;
  options.connections_max = 1;
  std::vector<Done> waiting;
  auto server = Serve(
      loop, [&](Done done) { waiting.push_back(std::move(done)); }, options);
  const Endpoint at = server->endpoint();
  std::unique_ptr<Socket> first;
  Dial(loop, at, absl::Seconds(10), [&](absl::StatusOr<Socket> socket) {
    REQUIRE(socket.ok());
    first = std::make_unique<Socket>(*std::move(socket));
    boost::asio::write(
        *first,
        boost::asio::buffer(std::string("GET /metrics HTTP/1.1\r\n\r\n")));
  });
  RunUntil(loop, [&] { return waiting.size() == 1; });
  CHECK(Scrape(loop, at).empty());

  // A server that goes while it collects leaves nothing to write to.
  server.reset();
  waiting[0]("too late");
}

TEST_CASE("Metrics: a port that is taken is said to be so") {
  EventLoop loop;
  const auto server = Serve(loop, [](const Done&) {});
  const auto second =
      MetricsServer::Open(loop, server->endpoint(), {}, [](const Done&) {});
  CHECK(second.status().code() == absl::StatusCode::kUnavailable);
  CHECK(Has(std::string(second.status().message()),
            ToString(server->endpoint())));
}

// A node of two shards and one peer.
NodeMetrics Example() {
  NodeMetrics metrics;
  metrics.version = "1.2.3";
  metrics.started = absl::FromUnixSeconds(1'700'000'000);
  metrics.now = absl::Seconds(100);
  metrics.shards.resize(2);
  for (ShardMeasures& shard : metrics.shards) {
    shard.requests.Count(RequestKind::kRead, LevelClass::kOne,
                         absl::StatusCode::kOk, absl::Microseconds(100));
    shard.requests.Count(RequestKind::kRead, LevelClass::kOne,
                         absl::StatusCode::kDeadlineExceeded,
                         absl::Seconds(11));
    shard.stats.hints = 3;
    shard.stats.commits = 4;
  }
  metrics.shards[1].queued_inputs = 7;
  metrics.shards[0].sync_lags = {{.peer = NodeId{5},
                                  .events = 2,
                                  .has_all_until = absl::Seconds(98),
                                  .partitions_behind = 1,
                                  .partitions_unheard = 0}};
  metrics.shards[1].sync_lags = {{.peer = NodeId{5},
                                  .events = 1,
                                  .has_all_until = absl::Seconds(97.5),
                                  .partitions_behind = 1,
                                  .partitions_unheard = 2}};
  for (int i = 0; i < 100; ++i) {
    metrics.shards[0].peer_times.resize(1);
    metrics.shards[0].peer_times[0].peer = NodeId{5};
    metrics.shards[0].peer_times[0].times.Add(absl::Milliseconds(i),
                                              absl::Seconds(100));
  }
  metrics.shards[1].peer_times = {
      {.peer = NodeId{5}, .times = {}, .slow = true}};
  metrics.peers = {
      {.id = NodeId{5}, .name = "b", .reachable = true, .link = {}},
      {.id = NodeId{6}, .name = "c", .reachable = false, .link = {}}};
  metrics.peers[0].link.frames_sent = 9;
  metrics.members = {2, 1, 0, 0};
  metrics.gossip.probes_failed = 6;
  metrics.storage = {{"memtable_bytes", 1234}};
  return metrics;
}

TEST_CASE("Metrics: shards are added up, and peers told apart") {
  const std::string text = "\n" + ToPrometheusText(Example());
  const auto value = [&](const std::string& name) {
    return SampleOf(text, name);
  };
  CHECK(value("dovetail_build_info{version=\"1.2.3\"}") == 1);
  CHECK(value("process_start_time_seconds") == 1'700'000'000);
  const std::string read = "{kind=\"read\",level=\"one\"";
  CHECK(value("dovetail_requests_total" + read + ",outcome=\"ok\"}") == 2);
  CHECK(value("dovetail_requests_total" + read +
              ",outcome=\"deadline_exceeded\"}") == 2);
  const std::string took = "dovetail_request_duration_seconds";
  CHECK(value(took + "_count" + read + "}") == 4);
  CHECK(value(took + "_sum" + read + "}") == doctest::Approx(22.0002));
  CHECK(value(took + "_bucket" + read + ",le=\"0.0001\"}") == 2);
  CHECK(value(took + "_bucket" + read + ",le=\"10\"}") == 2);
  CHECK(value(took + "_bucket" + read + ",le=\"+Inf\"}") == 4);
  CHECK(value("dovetail_hints") == 6);
  CHECK(value("dovetail_commits_total") == 8);
  CHECK(value("dovetail_shard_queue_inputs{shard=\"0\"}") == 0);
  CHECK(value("dovetail_shard_queue_inputs{shard=\"1\"}") == 7);
  CHECK(value("dovetail_sync_lag_events{peer=\"b\"}") == 3);
  CHECK(value("dovetail_sync_lag_seconds{peer=\"b\"}") == 2.5);
  CHECK(value("dovetail_sync_partitions_behind{peer=\"b\"}") == 2);
  CHECK(value("dovetail_sync_partitions_unheard{peer=\"b\"}") == 2);
  CHECK(value("dovetail_sync_lag_events{peer=\"c\"}") == -1);
  CHECK(value("dovetail_peer_frames_sent_total{peer=\"b\"}") == 9);
  CHECK(value("dovetail_peer_reachable{peer=\"c\"}") == 0);
  CHECK(value("dovetail_peer_answer_p95_seconds{peer=\"b\"}") >= 0.094);
  CHECK(value("dovetail_peer_answer_p95_seconds{peer=\"b\"}") < 0.115);
  CHECK(value("dovetail_peer_slow_shards{peer=\"b\"}") == 1);
  CHECK(value("dovetail_peer_slow_shards{peer=\"c\"}") == -1);
  CHECK(value("dovetail_gossip_members{state=\"suspect\"}") == 1);
  CHECK(value("dovetail_gossip_probes_failed_total") == 6);
  CHECK(value("dovetail_rocksdb_memtable_bytes") == 1234);
  CHECK(Has(text, "# TYPE dovetail_commits_total counter\n"));
  CHECK(Has(text, "# TYPE dovetail_hints gauge\n"));
}

TEST_CASE("Metrics: a peer that lacks nothing does not lag") {
  NodeMetrics metrics = Example();
  metrics.shards[0].sync_lags = {{.peer = NodeId{5}}};
  metrics.shards[1].sync_lags = {};
  const std::string text = ToPrometheusText(metrics);
  CHECK(SampleOf(text, "dovetail_sync_lag_seconds{peer=\"b\"}") == 0);
}

TEST_CASE("Metrics: docs/operating.md explains each") {
  std::ifstream file(DOVETAIL_OPERATING_MD);
  std::ostringstream page;
  page << file.rdbuf();
  REQUIRE_FALSE(page.str().empty());
  std::istringstream text(ToPrometheusText(Example()));
  std::string line;
  int families = 0;
  while (std::getline(text, line)) {
    if (!line.starts_with("# TYPE ")) continue;
    const std::string name = line.substr(7, line.find(' ', 7) - 7);
    if (name.starts_with("dovetail_rocksdb_")) continue;  // one row for all
    CHECK_MESSAGE(Has(page.str(), "`" + name + "`"), name);
    ++families;
  }
  CHECK(families > 40);
}

}  // namespace
}  // namespace dovetail::net
