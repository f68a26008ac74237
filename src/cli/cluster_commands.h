// `dovetail cluster …` of a cluster that runs: look at it, and change who is in
// it. Starting one on this machine is local_cluster.h.
#ifndef DOVETAIL_SRC_CLI_CLUSTER_COMMANDS_H_
#define DOVETAIL_SRC_CLI_CLUSTER_COMMANDS_H_

#include <string>
#include <vector>

#include "src/cli/commands.h"
#include "src/client/client.h"

namespace dovetail::cli {

// Who is there, as the node that answers sees it.
Exit RunClusterStatus(Client& client, const Output& output);
// Names, places and addresses.
Exit RunClusterMembers(Client& client, const Output& output);
// The owners of each partition.
Exit RunClusterRing(Client& client, const Output& output);
// Who owns a key, and who stands in.
Exit RunClusterWhere(Client& client, const std::string& bucket,
                     const std::string& key, const Output& output);
// Stages, shows, takes back or commits; prints the plan.
Exit RunClusterAdmin(Client& client, const ClusterAdmin& admin,
                     const Output& output);

}  // namespace dovetail::cli

#endif  // DOVETAIL_SRC_CLI_CLUSTER_COMMANDS_H_
