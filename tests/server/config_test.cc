#include "src/server/config.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "replica/ring_plan.h"
#include "src/server/cluster_file.h"
#include "src/server/node_file.h"
#include "src/server/start.h"

namespace dovetail::server {
namespace {

constexpr char kGood[] = R"(
cluster = "demo"
node = "b"
data_dir = "/tmp/b"
partitions = 16
shards = 1
w = 2
r = "quorum"

[[members]]
name = "a"
address = "127.0.0.1:7101"
peer_address = "127.0.0.1:7001"

[[members]]
name = "b"
address = "127.0.0.1:7102"
peer_address = "127.0.0.1:7002"
)";

absl::StatusOr<Config> Load(const std::string& toml) {
  Config config;
  absl::Status status = ApplyToml(config, toml, "node.toml");
  if (status.ok()) status = Check(config);
  if (!status.ok()) return status;
  return config;
}

// `text` with `from` replaced by `to`.
std::string With(std::string text, const std::string& from,
                 const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST_CASE("Config: a file says it all; addresses default to the member's own") {
  const auto config = Load(kGood);
  REQUIRE_MESSAGE(config.ok(), config.status().ToString());
  CHECK(config->client_endpoint == net::Endpoint{"127.0.0.1", 7102});
  CHECK(config->peer_endpoint == net::Endpoint{"127.0.0.1", 7002});
  CHECK(config->partitions == 16);
  CHECK(config->w == 2);
  CHECK(config->r == 0);
  CHECK(config->members[0].client == "127.0.0.1:7101");
}

TEST_CASE("Config: members may be written in one line") {
  const auto config = Load(
      "cluster = 'c'\nnode = 'a'\ndata_dir = 'd'\nlisten = '127.0.0.1:1'\n"
      "members = ['a=127.0.0.1:2', 'b=localhost:3']\n");
  REQUIRE_MESSAGE(config.ok(), config.status().ToString());
  CHECK(config->members[1].peer == net::Endpoint{"localhost", 3});
}

TEST_CASE("Config: a node without members is a cluster of one") {
  const auto config = Load(
      "cluster = 'c'\nnode = 'a'\ndata_dir = 'd'\nlisten = '127.0.0.1:1'\n");
  REQUIRE_MESSAGE(config.ok(), config.status().ToString());
  CHECK(config->members.size() == 1);
}

TEST_CASE("Config: every mistake is one line that names it") {
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {With(kGood, "partitions = 16", "partitions = 12"),
       "partitions: 12 is not a power of two"},
      {With(kGood, "partitions = 16", "partitions = 8192"),
       "node.toml:5: partitions: \"8192\" is not a number from 1 to 4096"},
      {With(kGood, "shards = 1", "shards = 32"), "shards: 32 for 16"},
      {With(kGood, "shards = 1", "shard = 1"), "\"shard\" is no setting"},
      {With(kGood, "shards = 1", "shards = [1]"), "node.toml:6: shards:"},
      {With(kGood, "w = 2", "w = 3"), "w: 3 of 2 replicas"},
      {With(kGood, "\"quorum\"", "\"some\""), "r: \"some\" is neither"},
      {With(kGood, "node = \"b\"", "node = \"x\""),
       "node: \"x\" is not among the members"},
      {With(kGood, "cluster = \"demo\"", ""), "cluster: is missing"},
      {With(kGood, "\"demo\"", "\"de mo\""), "cluster: \"de mo\" has other"},
      {With(kGood, "data_dir = \"/tmp/b\"", ""), "data_dir: is missing"},
      {With(kGood, "name = \"a\"", "name = \"b\""), "\"b\" is there twice"},
      {"replicas = 3\n" + std::string(kGood), "replicas: 3 of 2 members"},
      {"join = '127.0.0.1:1'\n" + std::string(kGood), "join: is for a cluster"},
      {"join = 'nobody'\n" + std::string(kGood), "node.toml:1: join: "},
      {"zone = 'z'\n" + std::string(kGood), "zone: zone and region of this"},
      {With(kGood, "name = \"a\"", "nam = \"a\""), "node.toml:10: members:"},
      {With(kGood, "127.0.0.1:7001", "127.0.0.1"), "there is no ':'"},
      {With(kGood, "127.0.0.1:7102", "0.0.0.0:7102"), "--insecure"},
      {With(kGood, "127.0.0.1:7002", "192.0.2.1:7002"), "peer_listen: 192.0"},
      {"metrics_listen = \"127.0.0.1\"\n" + std::string(kGood),
       "metrics_listen: \"127.0.0.1\" is not HOST:PORT"},
      {"metrics_listen = \"0.0.0.0:9464\"\n" + std::string(kGood),
       "metrics_listen: 0.0.0.0:9464 can be reached from other machines"},
      {With(kGood, "\"demo\"", "\"demo"), "node.toml:2:"},
      {"members = 3", "members is a list"},
  };
  for (const auto& [toml, line] : mistakes) {
    const auto config = Load(toml);
    REQUIRE_FALSE_MESSAGE(config.ok(), line);
    CHECK_MESSAGE(config.status().message().find(line) != std::string::npos,
                  config.status().ToString());
    CHECK(config.status().message().find('\n') == std::string::npos);
  }
}

TEST_CASE("Config: --insecure allows what others can reach") {
  CHECK(
      Load("insecure = true\n" + With(kGood, "127.0.0.1:7102", "0.0.0.0:7102"))
          .ok());
}

TEST_CASE("Config: there are metrics only where they were asked for") {
  CHECK_FALSE(Load(kGood)->metrics_endpoint.has_value());
  const auto config =
      Load("metrics_listen = '127.0.0.1:9464'\n" + std::string(kGood));
  REQUIRE_MESSAGE(config.ok(), config.status().ToString());
  CHECK(config->metrics_endpoint == net::Endpoint{"127.0.0.1", 9464});
  CHECK(Load("insecure = true\nmetrics_listen = '0.0.0.0:9464'\n" +
             std::string(kGood))
            .ok());
}

TEST_CASE("Config: a setting by flag overrides the file") {
  Config config;
  REQUIRE(ApplyToml(config, kGood, "node.toml").ok());
  REQUIRE(Set(config, "node", "a").ok());
  REQUIRE(Set(config, "fsync_period_ms", "250").ok());
  REQUIRE(Set(config, "disk_reserve_mb", "16").ok());
  REQUIRE(Check(config).ok());
  CHECK(config.node == "a");
  CHECK(config.fsync_period == absl::Milliseconds(250));
  CHECK(config.disk_reserve_mb == 16);
  CHECK_FALSE(Set(config, "fsync_period_ms", "0").ok());
  CHECK_FALSE(Set(config, "disk_reserve_mb", "0").ok());
  CHECK_FALSE(Set(config, "log_level", "loud").ok());
}

TEST_CASE("Config: a file that is not there is said to be so") {
  Config config;
  const absl::Status status = ApplyFile(config, "/nonexistent/node.toml");
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(status.message().find("/nonexistent/node.toml") != std::string::npos);
}

// A directory that goes with the test.
struct Directory {
  Directory() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path =
      (std::filesystem::temp_directory_path() / "dovetail-XXXXXX").string();
};

TEST_CASE("Data directory: it remembers whose it is") {
  const Directory root;
  const std::string data = root.path + "/new/data";
  const NodeIdentity mine{"demo", "b", 16};
  CHECK_FALSE(ReadNodeFile(data)->has_value());
  CHECK(ClaimDataDirectory(data, mine).ok());
  CHECK(ClaimDataDirectory(data, mine).ok());
  CHECK(**ReadNodeFile(data) == mine);

  for (const auto& [other, both] :
       std::vector<std::pair<NodeIdentity, std::string>>{
           {{"demo", "b", 32}, "partitions 16"},
           {{"other", "b", 16}, "cluster demo"},
           {{"demo", "a", 16}, "node b"}}) {
    const absl::Status status = ClaimDataDirectory(data, other);
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_MESSAGE(status.message().find(both) != std::string::npos,
                  status.ToString());
  }

  const auto write = [&](const std::string& content) {
    std::ofstream(data + "/NODE") << content;
  };
  write("dovetail node, layout 1\ncluster demo\nnode b 1\npartitions 16\n");
  CHECK(ClaimDataDirectory(data, mine).ok());
  write("dovetail node, layout 3\n");
  CHECK_FALSE(ClaimDataDirectory(data, mine).ok());

  std::filesystem::create_directories(root.path + "/orphan/db");
  CHECK(ClaimDataDirectory(root.path + "/orphan", mine)
            .message()
            .find("whose it is") != std::string::npos);
}

void NoLog(absl::string_view) {}

// The state of a first start of `toml`.
ClusterState FirstState(const std::string& toml) {
  auto config = Load(toml);
  REQUIRE_MESSAGE(config.ok(), config.status().ToString());
  auto state = StartState(*config, {}, 1'000, NoLog);
  REQUIRE_MESSAGE(state.ok(), state.status().ToString());
  return *std::move(state);
}

TEST_CASE("Start: the first members all make the same ring, in any order") {
  const ClusterState b = FirstState(kGood);
  const ClusterState a =
      FirstState(With(kGood, "node = \"b\"", "node = \"a\""));
  CHECK(a.config == b.config);
  CHECK(a.config.epoch() == 1);
  CHECK(a.config.ring->ring().replicas == 2);
  CHECK(a.self.name == "a");
  CHECK(a.self.peer_address == "127.0.0.1:7001");
  CHECK(a.self.client_address == "127.0.0.1:7101");
  REQUIRE(a.peers.size() == 1);
  CHECK(a.peers[0].name == "b");
  CHECK(a.peers[0].peer_address == "127.0.0.1:7002");
  CHECK(a.incarnation == 1'000);
  const std::string lines =
      "cluster = 'demo'\nnode = 'a'\ndata_dir = 'd'\npartitions = 16\n"
      "listen = '127.0.0.1:1'\n";
  CHECK(FirstState(lines + "members = ['a=127.0.0.1:2', 'b=127.0.0.1:3']\n")
            .config == a.config);
  CHECK(FirstState(lines + "members = ['b=127.0.0.1:3', 'a=127.0.0.1:2']\n")
            .config == a.config);
  const auto zoned = FirstState(
      lines + "members = ['a=127.0.0.1:2,zone=x,region=r', 'b=h:3']");
  CHECK(zoned.config.ring->digest() != a.config.ring->digest());
  CHECK(zoned.self.zone == "x");
  CHECK(zoned.self.region == "r");
}

TEST_CASE(
    "Start: a data directory that knows its cluster needs no more flags") {
  Known known;
  known.identity = {"demo", "b", 16};
  known.state = FirstState(kGood);
  known.state->incarnation = 5'000;
  Config config;
  config.data_dir = "d";
  REQUIRE(FillIn(config, known).ok());
  REQUIRE(Check(config).ok());
  CHECK(config.cluster == "demo");
  CHECK(config.node == "b");
  CHECK(config.partitions == 16);
  CHECK(config.client_endpoint == net::Endpoint{"127.0.0.1", 7102});
  CHECK(config.peer_endpoint == net::Endpoint{"127.0.0.1", 7002});
  const auto state = StartState(config, known, 1'000, NoLog);
  REQUIRE(state.ok());
  CHECK(state->config == known.state->config);
  CHECK(state->incarnation == 5'001);  // the clock went back
  CHECK(state->self == known.state->self);

  // At another address it is told so, and the old one is not.
  Config moved;
  moved.data_dir = "d";
  moved.peer_listen = "127.0.0.1:9999";
  REQUIRE(FillIn(moved, known).ok());
  REQUIRE(Check(moved).ok());
  CHECK(StartState(moved, known, 1'000, NoLog)->self.peer_address.empty());
}

TEST_CASE("Start: flags that contradict the data directory are refused") {
  Known known;
  known.identity = {"demo", "b", 16};
  known.state = FirstState(kGood);
  Config other;
  REQUIRE(
      ApplyToml(other, With(kGood, "node = \"b\"", "node = \"a\""), "node.toml")
          .ok());
  CHECK(FillIn(other, known).message().find("belongs to node b, not a") !=
        std::string::npos);
  auto fewer = Load("replicas = 1\n" +
                    With(With(kGood, "w = 2", "w = 1"), "\"quorum\"", "1"));
  REQUIRE(fewer.ok());
  CHECK(StartState(*fewer, known, 1, NoLog)
            .status()
            .message()
            .find("other first members") != std::string::npos);
  // Once the ring has moved on, the list is history.
  replica::RingSpec spec = known.state->config.ring->ring();
  spec.epoch = 2;
  known.state->config.ring = *replica::CommittedRing::Make(
      spec, replica::NodeId{1}, {known.state->config.ring->digest()});
  auto started = StartState(*fewer, known, 1, NoLog);
  REQUIRE(started.ok());
  CHECK(started->config.epoch() == 2);
}

TEST_CASE("Start: who joins takes over the ring and the nodes it is told of") {
  const ClusterState first = FirstState(kGood);
  ClusterView view;
  view.cluster = "demo";
  view.config = replica::EncodeClusterConfig(first.config);
  net::ClusterMember member;
  member.id = replica::NodeId{1};
  member.name = "a";
  member.peer_address = "127.0.0.1:7001";
  view.members.push_back(member);
  auto config = Load(
      "node = 'z'\ndata_dir = 'd'\nlisten = '127.0.0.1:1'\n"
      "peer_listen = '127.0.0.1:2'\njoin = '127.0.0.1:7101'\n");
  REQUIRE_MESSAGE(config.ok(), config.status().ToString());
  auto state = JoinedState(*config, view);
  REQUIRE(state.ok());
  CHECK(config->cluster == "demo");
  CHECK(config->partitions == 16);
  CHECK(state->config == first.config);
  CHECK(state->peers.size() == 1);

  Config wrong = *config;
  wrong.partitions = 32;
  CHECK(JoinedState(wrong, view).status().message().find("has 16, not 32") !=
        std::string::npos);
  wrong = *config;
  wrong.cluster = "other";
  CHECK(JoinedState(wrong, view)
            .status()
            .message()
            .find("of cluster demo, not other") != std::string::npos);
  view.config = "junk";
  CHECK_FALSE(JoinedState(*config, view).ok());
}

TEST_CASE("Start: a node that joins must say where it can be reached") {
  const std::string joins =
      "node = 'z'\ndata_dir = 'd'\njoin = '127.0.0.1:7101'\ninsecure = true\n"
      "listen = '127.0.0.1:1'\n";
  CHECK(Load(joins).status().message().find("peer_listen: is missing") !=
        std::string::npos);
  CHECK(Load(joins + "peer_listen = '0.0.0.0:2'\n")
            .status()
            .message()
            .find("no address that others can reach") != std::string::npos);
}

TEST_CASE("Cluster file: it comes back as it was, or is said to be damaged") {
  const Directory root;
  CHECK_FALSE(LoadClusterState(root.path)->has_value());
  const ClusterState state = FirstState(kGood);
  REQUIRE(SaveClusterState(root.path, state).ok());
  CHECK(**LoadClusterState(root.path) == state);
  const std::string bytes = EncodeClusterState(state);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    CHECK_FALSE(DecodeClusterState(damaged).ok());
    CHECK_FALSE(DecodeClusterState(bytes.substr(0, i)).ok());
  }
  std::ofstream(root.path + "/CLUSTER") << "junk";
  CHECK(LoadClusterState(root.path).status().code() ==
        absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dovetail::server
