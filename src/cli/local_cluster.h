// `dovetail cluster start-local` and `stop-local`: a cluster of processes on
// this machine, for trying things out. Everything of it is in one directory:
// data, logs, and a file NAME.pid for each node that runs.
#ifndef DOVETAIL_SRC_CLI_LOCAL_CLUSTER_H_
#define DOVETAIL_SRC_CLI_LOCAL_CLUSTER_H_

#include <cstdint>
#include <string>

#include "src/cli/commands.h"

namespace dovetail::cli {

inline constexpr uint32_t kLocalNodesMax = 32;

struct LocalCluster {
  uint32_t nodes = 3;
  std::string directory = "dovetail-local";
  uint32_t replicas = 0;      // 0: the default of dovetaild
  uint32_t zones = 0;         // 0: none; else z1, z2, … in turn
  uint16_t base_port = 7101;  // of the first node for clients, and so on
};

// Starts nodes n1, n2, … and waits until each answers. Refused while any of
// them runs.
Exit StartLocal(const LocalCluster& cluster, const Output& output);
// Stops whatever runs out of `directory`, with SIGTERM; waits for it.
Exit StopLocal(const std::string& directory, const Output& output);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_LOCAL_CLUSTER_H_
