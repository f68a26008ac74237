// How a node comes to know its cluster at the start: from its data directory if
// that knows; else from the list of the first members, which makes the same
// first ring on each of them; else from a node of the cluster that it is to
// join.
#ifndef DOVETAIL_SRC_SERVER_START_H_
#define DOVETAIL_SRC_SERVER_START_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "src/client/types.h"
#include "src/server/cluster_file.h"
#include "src/server/config.h"

namespace dovetail::server {

// What a data directory knows; neither if it is new.
struct Known {
  std::optional<NodeIdentity> identity;
  std::optional<ClusterState> state;
};
// Errors: FailedPrecondition, DataLoss.
absl::StatusOr<Known> ReadKnown(const std::string& data_dir);

// Fills in what the configuration leaves out and the data directory knows:
// names, partitions, addresses, place. To be called before Check().
// Errors: FailedPrecondition if what it says contradicts the directory.
absl::Status FillIn(Config& config, const Known& known);

// What the node starts with, for SaveClusterState: of the directory if it
// knows, else made of the members of a checked `config`, else asked of a node
// of config.join, again and again until one answers. `wall_ms`: since the Unix
// epoch. Errors: FailedPrecondition if the two contradict each other,
// InvalidArgument.
absl::StatusOr<ClusterState> StartState(
    Config& config, const Known& known, uint64_t wall_ms,
    const std::function<void(absl::string_view)>& log);

// The part of it without a network, for a node that was answered `view`.
absl::StatusOr<ClusterState> JoinedState(Config& config,
                                         const ClusterView& view);

}  // namespace dovetail::server

#endif  // DOVETAIL_SRC_SERVER_START_H_
