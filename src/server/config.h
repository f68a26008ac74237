// What a node is told: a TOML file, then flags that override it. Every mistake
// is one line that names the setting and says what would be right.
#ifndef DOVETAIL_SRC_SERVER_CONFIG_H_
#define DOVETAIL_SRC_SERVER_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "net/endpoint.h"
#include "src/server/node_file.h"

namespace dovetail::server {

inline constexpr uint32_t kMembersMax = 64;
inline constexpr uint32_t kPartitionsMax = 4096;
inline constexpr uint32_t kPartitionsDefault = 256;
inline constexpr uint32_t kReplicasDefault = 3;
inline constexpr uint32_t kShardsMax = 64;
inline constexpr size_t kNameBytesMax = 64;

struct MemberConfig {
  std::string name;
  net::Endpoint peer;  // where the other members reach it
  std::string client;  // HOST:PORT for clients; may be unknown, empty
  std::string zone;
  std::string region;
};

struct Config {
  std::string cluster;
  std::string node;  // this node's name
  // The first members of a new cluster, this one among them.
  std::vector<MemberConfig> members;
  // Or, of a cluster that is there: HOST:PORT for clients of some nodes.
  std::vector<std::string> join;
  std::string zone;  // of this node
  std::string region;
  std::string listen;          // HOST:PORT
  std::string peer_listen;     // HOST:PORT
  std::string metrics_listen;  // HOST:PORT; empty: no metrics
  std::string data_dir;
  uint32_t partitions = 0;  // 0: kPartitionsDefault, or what the cluster has
  uint32_t replicas = 0;    // N of a new cluster; 0: 3, or as there are members
  uint32_t shards = 2;
  uint32_t r = 0;  // 0: a majority
  uint32_t w = 0;
  uint32_t block_cache_mb = 128;
  uint32_t row_cache_mb = 64;
  uint32_t disk_reserve_mb = 256;
  absl::Duration fsync_period = absl::Seconds(1);
  absl::Duration request_timeout = absl::Seconds(2);
  uint32_t transfers_at_once = 4;
  uint32_t transfer_mb_per_second = 32;  // 0: no limit
  uint32_t transfer_yield_ms = 10;       // 0: they never yield
  std::string log_level = "info";
  // Where backups go; empty: "backups" in data_dir.
  std::string backup_dir;
  // A backup of some node: bring what is in it to the owners, then end.
  std::string restore;
  bool insecure = false;
  bool accept_loss = false;

  // Its data directory knows the cluster: set by FillIn() of start.h.
  bool knows_cluster = false;

  // Set by Check().
  net::Endpoint client_endpoint;
  net::Endpoint peer_endpoint;
  std::optional<net::Endpoint> metrics_endpoint;
};

// The settings that a file and flags share: key in the file, flag (the same
// with '-' for '_'), and help. In the order in which help lists them.
struct SettingHelp {
  const char* key;
  const char* help;
};
const std::vector<SettingHelp>& Settings();

// Sets `key` from its text. Errors: InvalidArgument.
absl::Status Set(Config& config, absl::string_view key,
                 const std::string& text);
// "NAME=HOST:PORT[,zone=ZONE][,region=REGION]", the address for the other
// members.
absl::StatusOr<MemberConfig> ParseMember(const std::string& text);

// Reads the TOML of a file called `name`. Errors: InvalidArgument with name
// and line.
absl::Status ApplyToml(Config& config, absl::string_view toml,
                       const std::string& name);
// Errors: FailedPrecondition if the file cannot be read.
absl::Status ApplyFile(Config& config, const std::string& path);

// Fills in what follows from the rest, and checks everything. Call last. Of a
// node that joins, cluster and partitions may stay open.
absl::Status Check(Config& config);

}  // namespace dovetail::server

#endif  // DOVETAIL_SRC_SERVER_CONFIG_H_
