// The words of `dovetail cluster …`.
#ifndef DOVETAIL_SRC_CLI_CLUSTER_LINE_H_
#define DOVETAIL_SRC_CLI_CLUSTER_LINE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/cli/commands.h"
#include "src/cli/local_cluster.h"

namespace CLI {
class App;
}

namespace dovetail::cli {

// What the words are parsed into, beside those that other commands have, too.
struct ClusterWords {
  std::string node;
  uint64_t epoch = 0;
  uint32_t weight = 0;
  bool force = false;
  LocalCluster local;
};

// Adds the commands to `app`; `choose` or `choose_local` takes the job. All
// references must live as long as `app`.
void AddClusterCommands(CLI::App& app, ClusterWords& words, std::string& bucket,
                        std::string& key, std::vector<std::string>& names,
                        std::function<void(Job)> choose,
                        std::function<void(LocalJob)> choose_local);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_CLUSTER_LINE_H_
