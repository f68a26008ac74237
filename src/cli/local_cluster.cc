#include "src/cli/local_cluster.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/check.h"
#include "src/cli/daemon.h"
#include "src/client/client.h"

namespace dovetail::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// From the ports for clients to those between nodes.
constexpr uint16_t kPeerPortOffset = 500;
constexpr std::chrono::milliseconds kLook{50};
// A node that takes longer to start, or to stop, is not waited for.
constexpr std::chrono::seconds kStartMax{30};
constexpr std::chrono::seconds kStopMax{30};

std::string NameOf(uint32_t i) { return absl::StrCat("n", i + 1); }
std::string ClientAddress(const LocalCluster& cluster, uint32_t i) {
  return absl::StrCat("127.0.0.1:", cluster.base_port + i);
}
std::string PeerAddress(const LocalCluster& cluster, uint32_t i) {
  return absl::StrCat("127.0.0.1:", cluster.base_port + kPeerPortOffset + i);
}

bool Runs(pid_t pid) {
  if (::kill(pid, 0) != 0) return false;
  // The number may be another program's by now.
  std::ifstream command(absl::StrCat("/proc/", pid, "/comm"));
  std::string name;
  return std::getline(command, name) && name == "dovetaild";
}

// By name; of nodes that run.
std::map<std::string, pid_t> Running(const std::string& directory) {
  std::map<std::string, pid_t> running;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() != ".pid") continue;
    std::ifstream file(entry.path());
    pid_t pid = 0;
    if (file >> pid && pid > 0 && Runs(pid)) {
      running[entry.path().stem().string()] = pid;
    } else {
      fs::remove(entry.path(), error);  // it ended by itself
    }
  }
  return running;
}

std::vector<std::string> ArgumentsOf(const LocalCluster& cluster, uint32_t i,
                                     const std::string& daemon) {
  std::vector<std::string> arguments = {
      daemon,
      "--cluster",
      "local",
      "--node",
      NameOf(i),
      "--listen",
      ClientAddress(cluster, i),
      "--data-dir",
      absl::StrCat(cluster.directory, "/", NameOf(i))};
  for (uint32_t j = 0; j < cluster.nodes; ++j) {
    std::string member = absl::StrCat(NameOf(j), "=", PeerAddress(cluster, j));
    if (cluster.zones > 0) {
      absl::StrAppend(&member, ",zone=z", j % cluster.zones + 1);
    }
    arguments.push_back("--member");
    arguments.push_back(std::move(member));
  }
  if (cluster.replicas > 0) {
    arguments.push_back("--replicas");
    arguments.push_back(absl::StrCat(cluster.replicas));
  }
  return arguments;
}

// In a session of its own, so that it outlives this terminal; its log appended
// to `log`.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& arguments,
                            const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& word : arguments) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments[0].c_str(), &files,
                                  &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot start ", arguments[0], ": ", std::strerror(error)));
  }
  return pid;
}

std::string LastLine(const std::string& log) {
  std::ifstream file(log);
  std::string line, last;
  while (std::getline(file, line)) last = line;
  return last;
}

absl::Status WaitUntilAnswers(const LocalCluster& cluster, uint32_t i,
                              pid_t pid) {
  const std::string log =
      absl::StrCat(cluster.directory, "/", NameOf(i), ".log");
  const auto end = std::chrono::steady_clock::now() + kStartMax;
  while (true) {
    const auto client = Client::Connect({ClientAddress(cluster, i)});
    if (client.ok()) {
      const auto status = (*client)->Status();
      if (status.ok() && status->name == NameOf(i)) return absl::OkStatus();
    }
    if (!Runs(pid) || std::chrono::steady_clock::now() > end) {
      return absl::UnavailableError(
          absl::StrCat(NameOf(i), Runs(pid) ? " does not answer" : " has ended",
                       "; its log ", log, " ends with: ", LastLine(log)));
    }
    std::this_thread::sleep_for(kLook);
  }
}

absl::Status CheckLocal(const LocalCluster& cluster) {
  if (cluster.base_port < 1 ||
      cluster.base_port + kPeerPortOffset + cluster.nodes > 65'535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--base-port ", cluster.base_port, ": ports up to ", kPeerPortOffset,
        " above it are used, and must be below 65536"));
  }
  const auto running = Running(cluster.directory);
  if (running.empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const auto& [name, pid] : running) names.push_back(name);
  return absl::FailedPreconditionError(absl::StrCat(
      "a cluster runs in ", cluster.directory, " (", absl::StrJoin(names, ", "),
      "): stop it with `dovetail "
      "cluster stop-local --dir ",
      cluster.directory, "`"));
}

absl::Status Launch(const LocalCluster& cluster) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::string daemon, FindDaemon());
  std::error_code error;
  fs::create_directories(cluster.directory, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make ", cluster.directory, ": ", error.message()));
  }
  std::vector<pid_t> pids;
  for (uint32_t i = 0; i < cluster.nodes; ++i) {
    const std::string base = absl::StrCat(cluster.directory, "/", NameOf(i));
    DOVETAIL_ASSIGN_OR_RETURN(
        const pid_t pid, Spawn(ArgumentsOf(cluster, i, daemon), base + ".log"));
    pids.push_back(pid);
    std::ofstream(base + ".pid") << pid << "\n";
  }
  for (uint32_t i = 0; i < cluster.nodes; ++i) {
    DOVETAIL_RETURN_IF_ERROR(WaitUntilAnswers(cluster, i, pids[i]));
  }
  return absl::OkStatus();
}

}  // namespace

Exit StartLocal(const LocalCluster& cluster, const Output& output) {
  absl::Status started = CheckLocal(cluster);
  if (started.ok()) {
    started = Launch(cluster);
    if (!started.ok()) {
      const Output quiet{output.error, output.error, false};
      StopLocal(cluster.directory, quiet);
    }
  }
  if (!started.ok()) return Fail(output, OperationKind::kRead, started);
  std::vector<std::string> addresses;
  for (uint32_t i = 0; i < cluster.nodes; ++i) {
    addresses.push_back(ClientAddress(cluster, i));
  }
  const std::string nodes = absl::StrJoin(addresses, ",");
  if (output.json) {
    output.out
        << Json{{"directory", cluster.directory}, {"nodes", addresses}}.dump()
        << "\n";
    return Exit::kOk;
  }
  output.out << cluster.nodes << " nodes run, data and logs in "
             << cluster.directory << "\n"
             << "  export DOVETAIL_NODES=" << nodes << "\n"
             << "  dovetail cluster status\n"
             << "  dovetail set add shop cart:1 milk\n"
             << "  dovetail cluster stop-local --dir " << cluster.directory
             << "\n";
  return Exit::kOk;
}

Exit StopLocal(const std::string& directory, const Output& output) {
  const auto running = Running(directory);
  for (const auto& [name, pid] : running) ::kill(pid, SIGTERM);
  const auto end = std::chrono::steady_clock::now() + kStopMax;
  std::vector<std::string> stopped, left;
  for (const auto& [name, pid] : running) {
    while (Runs(pid) && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(kLook);
    }
    (Runs(pid) ? left : stopped).push_back(name);
  }
  if (!left.empty()) {
    return Fail(output, OperationKind::kRead,
                absl::UnavailableError(absl::StrCat(
                    "did not stop yet: ", absl::StrJoin(left, ", "))));
  }
  Running(directory);  // takes their pid files away
  if (output.json) {
    output.out << Json{{"stopped", stopped}}.dump() << "\n";
  } else if (stopped.empty()) {
    output.out << "nothing runs in " << directory << "\n";
  } else {
    output.out << "stopped " << absl::StrJoin(stopped, ", ") << "\n";
  }
  return Exit::kOk;
}

}  // namespace dovetail::cli
