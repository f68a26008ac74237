// dovetaild: one node of a Dovetail cluster, as a process.
//
// Exit status: 0 a clean stop (SIGTERM, SIGINT) · 1 it could not start or go on
// (disk, addresses) · 2 the configuration is wrong. Logs go to standard error,
// and nothing but --help and --version to standard output.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "crdt/check.h"
#include "net/event_loop.h"
#include "net/node.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"
#include "src/backup/backup.h"
#include "src/server/config.h"
#include "src/server/node_file.h"
#include "src/server/start.h"

namespace dovetail::server {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitConfig = 2;
// Of a clean stop, for answering the calls in flight: longer than requests take
// by default, and shorter than the patience of whoever sends SIGTERM.
constexpr absl::Duration kDrainMax = absl::Seconds(5);
// What it takes to reach peers that are up, or to find that they are not.
constexpr absl::Duration kNewbornPatience = absl::Seconds(5);

int Fail(int code, absl::string_view line) {
  std::fprintf(stderr, "dovetaild: %s\n", std::string(line).c_str());
  return code;
}

struct CommandLine {
  std::string config_file;
  std::map<std::string, std::string> settings;  // by key
  std::vector<std::string> members;
  bool insecure = false;
  bool accept_loss = false;
};

// Nullopt: `exit` is the status to end with.
std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int& exit) {
  CommandLine line;
  CLI::App app("One node of a Dovetail cluster.", "dovetaild");
  app.set_version_flag("--version", std::string("dovetaild ") + kVersion);
  app.add_option("-c,--config", line.config_file,
                 "TOML file with the settings below, '_' for '-'");
  for (const SettingHelp& setting : Settings()) {
    const std::string key = setting.key;
    if (key == "insecure") continue;
    app.add_option("--" + absl::StrReplaceAll(key, {{"_", "-"}}),
                   line.settings[key], setting.help);
  }
  app.add_option("--member", line.members,
                 "NAME=HOST:PORT[,zone=ZONE][,region=REGION] of a first member "
                 "of a new cluster, this one included; once for each, the same "
                 "on all (in the file: [[members]] with name, address, "
                 "peer_address, zone, region)");
  app.add_flag("--insecure", line.insecure,
               "listen on addresses that others can reach, without encryption "
               "or authentication");
  app.add_flag(
      "--accept-loss", line.accept_loss,
      "start although the disk has lost writes that it had said were "
      "safe, and give up damaged rows that no other owner within reach "
      "has");
  app.footer(
      "Of its cluster a node is told once: with --member for a new one, with "
      "--join for one that is there. Afterwards --data-dir is enough.\n"
      "Exit status: 0 clean stop, 1 could not start or go on, 2 wrong "
      "configuration.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    exit = app.exit(asked);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    exit = Fail(kExitConfig, error.what());
    return std::nullopt;
  }
  for (auto it = line.settings.begin(); it != line.settings.end();) {
    it = it->second.empty() ? line.settings.erase(it) : std::next(it);
  }
  return line;
}

// What a restore leaves unsaid: the node's name, and how many partitions.
absl::Status FillInRestore(Config& config, const Known& known) {
  if (config.restore.empty()) return absl::OkStatus();
  DOVETAIL_ASSIGN_OR_RETURN(const backup::Manifest manifest,
                            backup::ReadManifest(config.restore));
  if (config.join.empty() && !known.state.has_value()) {
    return absl::InvalidArgumentError(
        "restore: --join says which cluster the backup is brought to");
  }
  if (config.partitions != 0 &&
      config.partitions != manifest.origin.partitions) {
    return absl::InvalidArgumentError(
        absl::StrCat("restore: the backup has ", manifest.origin.partitions,
                     " partitions, not ", config.partitions));
  }
  // A cluster of another number is then refused.
  config.partitions = manifest.origin.partitions;
  if (config.node.empty() && !known.identity.has_value()) {
    config.node =
        absl::StrCat("restore-", manifest.origin.node).substr(0, kNameBytesMax);
  }
  return absl::OkStatus();
}

absl::StatusOr<Config> LoadConfig(const CommandLine& line, Known& known) {
  Config config;
  if (!line.config_file.empty()) {
    const absl::Status read = ApplyFile(config, line.config_file);
    if (!read.ok()) return read;
  }
  for (const auto& [key, text] : line.settings) {
    const absl::Status set = Set(config, key, text);
    if (!set.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--", set.message()));
    }
  }
  if (!line.members.empty()) config.members.clear();
  for (const std::string& text : line.members) {
    auto member = ParseMember(text);
    if (!member.ok()) return member.status();
    config.members.push_back(*std::move(member));
  }
  config.insecure |= line.insecure;
  config.accept_loss |= line.accept_loss;
  if (!config.data_dir.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(known, ReadKnown(config.data_dir));
    DOVETAIL_RETURN_IF_ERROR(FillInRestore(config, known));
    DOVETAIL_RETURN_IF_ERROR(FillIn(config, known));
  }
  DOVETAIL_RETURN_IF_ERROR(Check(config));
  return config;
}

uint64_t WallMilliseconds() {
  const auto wall = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return static_cast<uint64_t>(std::max<int64_t>(0, wall.count()));
}

absl::StatusOr<crdt::ActorId> DrawActor() {
  uint64_t bits = 0;
  if (::getrandom(&bits, sizeof(bits), 0) != sizeof(bits)) {
    return absl::UnavailableError("the system gives no random numbers");
  }
  return crdt::MakeActorId(crdt::ActorKind::kNode, bits);
}

std::vector<std::pair<std::string, uint64_t>> StorageNumbers(
    const replica::RocksStorage& storage) {
  const replica::RocksStats stats = storage.stats();
  return {{"live_data_bytes", stats.live_data_bytes},
          {"table_file_bytes", stats.table_file_bytes},
          {"memtable_bytes", stats.memtable_bytes},
          {"block_cache_bytes", stats.block_cache_bytes},
          {"pending_compaction_bytes", stats.pending_compaction_bytes},
          {"background_errors", stats.background_errors},
          {"tables_damaged", stats.tables_damaged},
          {"tables_given_up", stats.tables_given_up},
          {"writes_stopped", stats.writes_stopped},
          {"floor_failures", stats.floor_failures}};
}

// A restore that was cut short goes on with what it has.
absl::Status CopyBackup(const Config& config) {
  const std::string database =
      absl::StrCat(config.data_dir, "/", kDatabaseDirectory);
  std::error_code error;
  if (config.restore.empty() || std::filesystem::exists(database, error)) {
    return absl::OkStatus();
  }
  spdlog::info("copying the backup {} to {}", config.restore, database);
  return backup::CopyDatabase(config.restore, database);
}

absl::StatusOr<net::BackupMade> MakeBackup(const Config& config,
                                           replica::Storage& storage,
                                           const std::string& name) {
  DOVETAIL_RETURN_IF_ERROR(backup::CheckName(name));
  const std::string directory = std::filesystem::absolute(absl::StrCat(
      config.backup_dir.empty() ? absl::StrCat(config.data_dir, "/backups")
                                : config.backup_dir,
      "/", name));
  DOVETAIL_ASSIGN_OR_RETURN(
      const backup::Manifest made,
      backup::Create(storage, directory,
                     {config.cluster, config.node, config.partitions,
                      WallMilliseconds()}));
  spdlog::info("backup {}: {} files, {} bytes", directory, made.files.size(),
               made.bytes());
  return net::BackupMade{directory, made.files.size(), made.bytes()};
}

absl::StatusOr<std::unique_ptr<replica::RocksStorage>> OpenStorage(
    const Config& config) {
  replica::RocksOptions options;
  options.block_cache_bytes = size_t{config.block_cache_mb} << 20;
  options.disk_reserve_bytes = uint64_t{config.disk_reserve_mb} << 20;
  options.log = [](absl::string_view line) {
    spdlog::warn("storage: {}", std::string(line));
  };
  auto storage = replica::RocksStorage::Open(
      absl::StrCat(config.data_dir, "/", kDatabaseDirectory), options);
  if (!storage.ok()) return storage.status();
  if ((*storage)->lost_synced_writes() && !config.accept_loss) {
    return absl::DataLossError(absl::StrCat(
        config.data_dir,
        " has lost writes that the disk had said were safe; "
        "look at the disk, then start with --accept-loss: what other members "
        "still have in their logs comes back; what they do not, needs a copy "
        "of a healthy member's data (docs/operating.md)"));
  }
  if ((*storage)->lost_synced_writes()) {
    spdlog::warn(
        "starting although {} has lost writes that the disk had said were safe",
        config.data_dir);
  }
  return storage;
}

net::Node::Config NodeConfig(const Config& config, const ClusterState& state,
                             crdt::ActorId actor) {
  net::Node::Config out;
  out.cluster = config.cluster;
  out.name = config.node;
  out.zone = config.zone;
  out.region = config.region;
  out.config = state.config;
  out.peers = state.peers;
  out.incarnation = state.incarnation;
  out.client_address = state.self.client_address;
  out.peer_address = state.self.peer_address;
  out.listen = config.client_endpoint;
  out.peer_listen = config.peer_endpoint;
  out.metrics_listen = config.metrics_endpoint;
  out.version = kVersion;
  out.actor = actor;
  out.host.shards = config.shards;
  out.shard.read_default = config.r;
  out.shard.write_default = config.w;
  out.shard.request_timeout_default = config.request_timeout;
  out.shard.row_cache_bytes =
      (size_t{config.row_cache_mb} << 20) / config.shards;
  out.shard.fsync_period = config.fsync_period;
  out.shard.accept_loss = config.accept_loss;
  out.shard.newborn_patience = kNewbornPatience;
  out.shard.transfers_at_once = config.transfers_at_once;
  out.shard.transfer_bytes_per_second =
      static_cast<uint64_t>(config.transfer_mb_per_second) << 20;
  out.shard.transfer_yield_floor =
      config.transfer_yield_ms == 0
          ? absl::InfiniteDuration()
          : absl::Milliseconds(config.transfer_yield_ms);
  if (!config.restore.empty()) {
    out.hand_over = true;
    // All of it is for others, and none of it is given up early.
    out.shard.hint_bytes_max = std::numeric_limits<size_t>::max();
    out.shard.hint_age_max = absl::InfiniteDuration();
  }
  return out;
}

int Serve(const Config& config, ClusterState state,
          replica::RocksStorage& storage) {
  net::EventLoop loop;
  std::unique_ptr<net::Node> node;
  boost::asio::signal_set signals(loop.context(), SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& error, int signal) {
    if (error) return;
    spdlog::info("stopping: {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    signals.async_wait([&](const boost::system::error_code& again, int) {
      if (!again) loop.Stop();  // a second signal: without waiting
    });
    node->Drain(kDrainMax, [&] { loop.Stop(); });
  });

  const auto actor = DrawActor();
  if (!actor.ok()) return Fail(kExitFailed, actor.status().message());
  const absl::Status recorded = replica::RecordActor(storage, *actor);
  if (!recorded.ok()) return Fail(kExitFailed, recorded.message());

  net::Node::Hooks hooks;
  hooks.log = [](absl::string_view line) {
    spdlog::info("{}", std::string(line));
  };
  hooks.fatal = [](const absl::Status& why) {
    spdlog::critical("the log cannot be made durable, ending: {}",
                     std::string(why.message()));
    ::_exit(kExitFailed);
  };
  hooks.backup = [&](const std::string& name) {
    return MakeBackup(config, storage, name);
  };
  hooks.handed_over = [&] {
    spdlog::info("restored: the owners have all that is in {}", config.restore);
    node->Drain(kDrainMax, [&] { loop.Stop(); });
  };
  hooks.storage = [&storage] { return StorageNumbers(storage); };
  hooks.save = [&](const replica::ClusterConfig& cluster,
                   const std::vector<replica::MemberRecord>& peers) {
    state.config = cluster;
    // Whom gossip has not heard of yet is not forgotten.
    for (const replica::MemberRecord& peer : peers) {
      std::erase_if(state.peers,
                    [&](const auto& known) { return known.id == peer.id; });
      state.peers.push_back(peer);
    }
    return SaveClusterState(config.data_dir, state);
  };
  auto opened = net::Node::Open(loop, NodeConfig(config, state, *actor),
                                storage, std::move(hooks));
  if (!opened.ok()) return Fail(kExitFailed, opened.status().message());
  node = *std::move(opened);  // before the loop runs, and with it the signals
  spdlog::info(
      "ready: node {} of cluster {}, ring of epoch {} with {} members, "
      "clients {}, peers {}, {} partitions in {} shards, actor {}",
      config.node, config.cluster, state.config.epoch(),
      state.config.ring->ring().members.size(),
      ToString(node->client_endpoint()), ToString(node->peer_endpoint()),
      config.partitions, config.shards,
      absl::StrFormat("%016x", crdt::ActorBits(*actor)));
  loop.Run();

  const absl::Status stopped = node->Stop();
  if (!stopped.ok()) return Fail(kExitFailed, stopped.message());
  spdlog::info("stopped");
  return kExitOk;
}

int Main(int argc, char** argv) {
  int exit = kExitOk;
  const auto line = ParseCommandLine(argc, argv, exit);
  if (!line.has_value()) return exit;
  Known known;
  auto config = LoadConfig(*line, known);
  if (!config.ok()) return Fail(kExitConfig, config.status().message());

  auto logger = spdlog::stderr_logger_mt("dovetaild");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  std::signal(SIGPIPE, SIG_IGN);

  auto state = StartState(
      *config, known, WallMilliseconds(),
      [](absl::string_view text) { spdlog::info("{}", std::string(text)); });
  if (!state.ok()) return Fail(kExitConfig, state.status().message());
  if (config->shards > config->partitions) config->shards = config->partitions;
  const absl::Status claimed = ClaimDataDirectory(
      config->data_dir, {config->cluster, config->node, config->partitions});
  if (!claimed.ok()) return Fail(kExitConfig, claimed.message());
  const absl::Status copied = CopyBackup(*config);
  if (!copied.ok()) return Fail(kExitFailed, copied.message());
  auto storage = OpenStorage(*config);
  if (!storage.ok()) return Fail(kExitFailed, storage.status().message());
  const absl::Status saved = SaveClusterState(config->data_dir, *state);
  if (!saved.ok()) return Fail(kExitFailed, saved.message());
  return Serve(*config, *std::move(state), **storage);
}

}  // namespace
}  // namespace dovetail::server

int main(int argc, char** argv) { return dovetail::server::Main(argc, argv); }
