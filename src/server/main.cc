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
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "net/event_loop.h"
#include "net/node.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"
#include "src/server/config.h"
#include "src/server/node_file.h"

namespace dovetail::server {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitConfig = 2;
// Of a clean stop, for answering the calls in flight: longer than requests take
// by default, and shorter than the patience of whoever sends SIGTERM.
constexpr absl::Duration kDrainMax = absl::Seconds(5);

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
                 "NAME=HOST:PORT of a member, this one included; once for "
                 "each, in the same order on all (in the file: [[members]] "
                 "with name, address, peer_address)");
  app.add_flag("--insecure", line.insecure,
               "listen on addresses that others can reach, without encryption "
               "or authentication");
  app.add_flag("--accept-loss", line.accept_loss,
               "start although the disk has lost writes that it had said were "
               "safe");
  app.footer(
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

absl::StatusOr<Config> LoadConfig(const CommandLine& line) {
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
  const absl::Status checked = Check(config);
  if (!checked.ok()) return checked;
  return config;
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
          {"writes_stopped", stats.writes_stopped},
          {"floor_failures", stats.floor_failures}};
}

absl::StatusOr<std::unique_ptr<replica::RocksStorage>> OpenStorage(
    const Config& config) {
  replica::RocksOptions options;
  options.block_cache_bytes = size_t{config.block_cache_mb} << 20;
  options.disk_reserve_bytes = uint64_t{config.disk_reserve_mb} << 20;
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

net::Node::Config NodeConfig(const Config& config, crdt::ActorId actor) {
  net::Node::Config out;
  out.cluster = config.cluster;
  for (const MemberConfig& member : config.members) {
    out.members.push_back({member.name, member.peer, member.client});
  }
  out.self = config.self;
  out.partitions = config.partitions;
  out.listen = config.client_endpoint;
  out.peer_listen = config.peer_endpoint;
  out.version = kVersion;
  out.actor = actor;
  out.host.shards = config.shards;
  out.shard.read_default = config.r;
  out.shard.write_default = config.w;
  out.shard.request_timeout_default = config.request_timeout;
  out.shard.row_cache_bytes =
      (size_t{config.row_cache_mb} << 20) / config.shards;
  out.shard.fsync_period = config.fsync_period;
  return out;
}

int Serve(const Config& config, replica::RocksStorage& storage) {
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
  hooks.storage = [&storage] { return StorageNumbers(storage); };
  auto opened = net::Node::Open(loop, NodeConfig(config, *actor), storage,
                                std::move(hooks));
  if (!opened.ok()) return Fail(kExitFailed, opened.status().message());
  node = *std::move(opened);  // before the loop runs, and with it the signals
  spdlog::info(
      "ready: node {} ({} of {}) of cluster {}, clients {}, peers {}, {} "
      "partitions in {} shards, actor {}",
      config.node, replica::Index(config.self), config.members.size(),
      config.cluster, ToString(node->client_endpoint()),
      ToString(node->peer_endpoint()), config.partitions, config.shards,
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
  const auto config = LoadConfig(*line);
  if (!config.ok()) return Fail(kExitConfig, config.status().message());

  auto logger = spdlog::stderr_logger_mt("dovetaild");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  std::signal(SIGPIPE, SIG_IGN);

  const absl::Status claimed = ClaimDataDirectory(*config);
  if (!claimed.ok()) return Fail(kExitConfig, claimed.message());
  auto storage = OpenStorage(*config);
  if (!storage.ok()) return Fail(kExitFailed, storage.status().message());
  return Serve(*config, **storage);
}

}  // namespace
}  // namespace dovetail::server

int main(int argc, char** argv) { return dovetail::server::Main(argc, argv); }
