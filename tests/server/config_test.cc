#include "src/server/config.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "src/server/node_file.h"

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
  CHECK(config->self == replica::NodeId{1});
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
      {With(kGood, "w = 2", "w = 3"), "w: 3 of 2 members"},
      {With(kGood, "\"quorum\"", "\"some\""), "r: \"some\" is neither"},
      {With(kGood, "node = \"b\"", "node = \"x\""),
       "node: \"x\" is not among the members"},
      {With(kGood, "cluster = \"demo\"", ""), "cluster: is missing"},
      {With(kGood, "\"demo\"", "\"de mo\""), "cluster: \"de mo\" has other"},
      {With(kGood, "data_dir = \"/tmp/b\"", ""), "data_dir: is missing"},
      {With(kGood, "name = \"a\"", "name = \"b\""), "\"b\" is there twice"},
      {With(kGood, "name = \"a\"", "nam = \"a\""), "node.toml:10: members:"},
      {With(kGood, "127.0.0.1:7001", "127.0.0.1"), "there is no ':'"},
      {With(kGood, "127.0.0.1:7102", "0.0.0.0:7102"), "--insecure"},
      {With(kGood, "127.0.0.1:7002", "192.0.2.1:7002"), "peer_listen: 192.0"},
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

TEST_CASE("Config: a setting by flag overrides the file") {
  Config config;
  REQUIRE(ApplyToml(config, kGood, "node.toml").ok());
  REQUIRE(Set(config, "node", "a").ok());
  REQUIRE(Set(config, "fsync_period_ms", "250").ok());
  REQUIRE(Set(config, "disk_reserve_mb", "16").ok());
  REQUIRE(Check(config).ok());
  CHECK(config.self == replica::NodeId{0});
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

TEST_CASE("Data directory: it remembers whose it is") {
  std::string root =
      (std::filesystem::temp_directory_path() / "dovetail-XXXXXX").string();
  REQUIRE(::mkdtemp(root.data()) != nullptr);
  auto config = *Load(kGood);
  config.data_dir = root + "/new/data";
  CHECK(ClaimDataDirectory(config).ok());
  CHECK(ClaimDataDirectory(config).ok());

  for (const auto& [change, both] :
       std::vector<std::pair<std::function<void(Config&)>, std::string>>{
           {[](Config& c) { c.partitions = 32; }, "partitions 16"},
           {[](Config& c) { c.cluster = "other"; }, "cluster demo"},
           {[](Config& c) { c.self = replica::NodeId{0}; }, "node b 1"}}) {
    Config other = config;
    change(other);
    const absl::Status status = ClaimDataDirectory(other);
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_MESSAGE(status.message().find(both) != std::string::npos,
                  status.ToString());
  }

  std::filesystem::create_directories(root + "/orphan/db");
  config.data_dir = root + "/orphan";
  CHECK(ClaimDataDirectory(config).message().find("whose it is") !=
        std::string::npos);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace dovetail::server
