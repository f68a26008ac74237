#include "src/cli/backup_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "crdt/check.h"
#include "replica/cluster_config.h"
#include "replica/ring.h"
#include "src/backup/backup.h"
#include "src/cli/daemon.h"

namespace dovetail::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using replica::NodeId;

// A node writes out its memtables before it answers.
constexpr absl::Duration kCreateTimeout = absl::Minutes(10);

// What was parsed.
struct Words {
  std::string name;
  std::vector<std::string> directories;
  std::string data_dir;
  std::string listen = "127.0.0.1:0";
  std::string peer_listen = "127.0.0.1:0";
  bool insecure = false;
};

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// How it went at one node.
struct Made {
  net::ClusterMember member;
  absl::StatusOr<BackupMade> backup = absl::UnavailableError("not asked");
};

absl::StatusOr<BackupMade> MakeAt(const net::ClusterMember& member,
                                  const std::string& name) {
  if (member.client_address.empty()) {
    return absl::UnavailableError("its address for clients is not known");
  }
  ClientOptions options;
  options.name = "dovetail backup";
  options.route = false;
  options.timeout = kCreateTimeout;
  DOVETAIL_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                            Client::Connect({member.client_address}, options));
  return client->MakeBackup(name);
}

// Partitions of which no owner has made one.
absl::StatusOr<uint32_t> PartitionsWithout(const ClusterView& view,
                                           const std::set<NodeId>& have) {
  DOVETAIL_ASSIGN_OR_RETURN(const replica::ClusterConfig config,
                            replica::DecodeClusterConfig(view.config));
  if (!config.ring.has_value()) {
    return absl::FailedPreconditionError("the node has no ring");
  }
  DOVETAIL_ASSIGN_OR_RETURN(const replica::Ring ring,
                            replica::Ring::Compute(config.ring->ring()));
  uint32_t without = 0;
  for (uint32_t p = 0; p < ring.partitions(); ++p) {
    const auto owners = ring.Owners(static_cast<replica::PartitionId>(p));
    without += std::none_of(owners.begin(), owners.end(),
                            [&](NodeId owner) { return have.contains(owner); });
  }
  return without;
}

void Print(const std::vector<Made>& all, uint32_t without,
           const Output& output) {
  if (output.json) {
    Json nodes = Json::array();
    for (const Made& made : all) {
      Json node = {{"node", made.member.name}};
      if (made.backup.ok()) {
        node["path"] = made.backup->path;
        node["files"] = made.backup->files;
        node["bytes"] = made.backup->bytes;
      } else {
        node["error"] = std::string(made.backup.status().message());
      }
      nodes.push_back(std::move(node));
    }
    output.out << Dump({{"nodes", nodes}, {"partitions_without", without}})
               << "\n";
    return;
  }
  for (const Made& made : all) {
    output.out << made.member.name << "  ";
    if (made.backup.ok()) {
      output.out << made.backup->path << "  " << made.backup->files
                 << " files, " << made.backup->bytes << " bytes\n";
    } else {
      output.out << "FAILED: " << made.backup.status().message() << "\n";
    }
  }
  if (without > 0) {
    output.out << "no owner of " << without
               << " partitions made one: what is only there is not backed up\n";
  }
}

Exit RunCreate(Client& client, const std::string& name, const Output& output) {
  const auto view = client.Cluster();
  if (!view.ok()) return Fail(output, OperationKind::kRead, view.status());
  std::vector<Made> all;
  std::set<NodeId> have;
  for (const net::ClusterMember& member : view->members) {
    if (!member.in_ring) continue;
    all.push_back({member, MakeAt(member, name)});
    if (all.back().backup.ok()) have.insert(member.id);
  }
  const auto without = PartitionsWithout(*view, have);
  if (!without.ok()) {
    return Fail(output, OperationKind::kRead, without.status());
  }
  Print(all, *without, output);
  return have.size() == all.size() ? Exit::kOk : Exit::kFailed;
}

Exit RunVerify(const std::vector<std::string>& directories,
               const Output& output) {
  Exit exit = Exit::kOk;
  for (const std::string& directory : directories) {
    const auto found = backup::Verify(directory);
    if (!found.ok()) exit = Exit::kFailed;
    if (output.json) {
      Json json = {{"backup", directory}, {"ok", found.ok()}};
      if (found.ok()) {
        json["cluster"] = found->manifest.origin.cluster;
        json["node"] = found->manifest.origin.node;
        json["time_ms"] = found->manifest.origin.time_ms;
        json["bytes"] = found->manifest.bytes();
        json["partitions"] = found->partitions_used;
        json["events"] = found->events;
        json["values"] = found->values;
      } else {
        json["error"] = std::string(found.status().message());
      }
      output.out << Dump(json) << "\n";
    } else if (found.ok()) {
      const backup::Origin& origin = found->manifest.origin;
      output.out << directory << ": good; node " << origin.node
                 << " of cluster " << origin.cluster << " at "
                 << absl::FormatTime(absl::RFC3339_sec,
                                     absl::FromUnixMillis(
                                         static_cast<int64_t>(origin.time_ms)),
                                     absl::UTCTimeZone())
                 << ", " << found->partitions_used << " partitions with "
                 << found->events << " events, " << found->values << " values, "
                 << found->manifest.bytes() << " bytes\n";
    } else {
      output.out << directory << ": BAD: " << found.status().message() << "\n";
    }
  }
  return exit;
}

absl::Status Restore(const std::string& directory, const std::string& nodes,
                     const Words& words) {
  // Looked at here too, so that a mistake is said in this command's words.
  DOVETAIL_ASSIGN_OR_RETURN(const backup::Manifest manifest,
                            backup::ReadManifest(directory));
  const std::string data_dir =
      words.data_dir.empty()
          ? absl::StrCat(directory, "/restoring.tmp")
          : absl::StrCat(words.data_dir, "/", manifest.origin.node);
  std::vector<std::string> arguments = {
      "--restore",  directory,    "--join",        nodes,
      "--listen",   words.listen, "--peer-listen", words.peer_listen,
      "--data-dir", data_dir};
  if (words.insecure) arguments.push_back("--insecure");
  DOVETAIL_ASSIGN_OR_RETURN(const int status, RunDaemon(arguments));
  if (status != 0) {
    return absl::AbortedError(absl::StrCat(
        "the restore of ", directory, " ended with status ", status,
        "; the same command goes on with what is in ", data_dir));
  }
  std::error_code error;
  fs::remove_all(data_dir, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is restored, but ", data_dir,
                     " cannot be removed: ", error.message()));
  }
  return absl::OkStatus();
}

Exit RunRestore(const std::string& nodes, const Words& words,
                const Output& output) {
  for (const std::string& directory : words.directories) {
    const absl::Status done = Restore(directory, nodes, words);
    if (!done.ok()) return Fail(output, OperationKind::kMutation, done);
    if (output.json) {
      output.out << Dump({{"backup", directory}, {"restored", true}}) << "\n";
    } else {
      output.out << directory << ": the owners have all that is in it\n";
    }
  }
  return Exit::kOk;
}

}  // namespace

void AddBackupCommands(
    CLI::App& app, const std::string& nodes,
    std::function<void(std::function<absl::StatusOr<ClientJob>()>)> choose,
    std::function<void(std::function<Exit(const Output&)>)> choose_local) {
  const auto words = std::make_shared<Words>();
  CLI::App* group = app.add_subcommand(
      "backup", "copies of what the nodes hold, and the way back");
  group->fallthrough();
  group->require_subcommand(1, 1);
  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = group->add_subcommand(name, help);
    command->fallthrough();
    return command;
  };
  CLI::App* create =
      add("create", "have every member copy its data, while it serves");
  create
      ->add_option("NAME", words->name,
                   "of a new folder below each node's backup_dir")
      ->required();
  create->callback([choose, words] {
    choose([words]() -> absl::StatusOr<ClientJob> {
      return [words](Client& client, const Output& output) {
        return RunCreate(client, words->name, output);
      };
    });
  });
  CLI::App* verify = add("verify", "read all of a backup and check it");
  verify->add_option("DIR", words->directories, "of one node's backup")
      ->required();
  verify->callback([choose_local, words] {
    choose_local([words](const Output& output) {
      return RunVerify(words->directories, output);
    });
  });
  CLI::App* restore =
      add("restore", "bring what a running cluster lacks of a backup to it");
  restore
      ->add_option("DIR", words->directories,
                   "of one node's backup; several are restored in turn")
      ->required();
  restore->add_option("--data-dir", words->data_dir,
                      "for a copy while it runs (default: in DIR); links, "
                      "where that is the same file system");
  restore
      ->add_option("--listen", words->listen,
                   "HOST:PORT of the node that brings it")
      ->capture_default_str();
  restore
      ->add_option("--peer-listen", words->peer_listen,
                   "HOST:PORT of it for the members")
      ->capture_default_str();
  restore->add_flag("--insecure", words->insecure,
                    "these addresses may be such that others can reach");
  restore->callback([choose_local, words, &nodes] {
    choose_local([words, &nodes](const Output& output) {
      return RunRestore(nodes, *words, output);
    });
  });
}

}  // namespace dovetail::cli
