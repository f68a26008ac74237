// The file CLUSTER in a data directory: what this node knows of its cluster, so
// that it needs to be told once. Replaced as a whole whenever it changes; one
// that is damaged is refused, since a node that forgets a commit is led by it
// until it meets another.
//
//   "dovetail cluster, layout 1\n" bytes(state) hash(state)
//   state = version, varint incarnation, bytes listen, bytes peer listen,
//           bytes self, bytes configuration, count(peers), bytes peer*
//
// Primitives: crdt/codec.h; a hash is two fixed64; self and peers are
// replica::EncodeMemberRecord, the configuration EncodeClusterConfig.
#ifndef DOVETAIL_SRC_SERVER_CLUSTER_FILE_H_
#define DOVETAIL_SRC_SERVER_CLUSTER_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/cluster_config.h"

namespace dovetail::server {

inline constexpr char kClusterFile[] = "CLUSTER";

struct ClusterState {
  // Of gossip, at the last start.
  uint64_t incarnation = 0;
  std::string listen;       // as configured, for a start without flags
  std::string peer_listen;  // as configured
  replica::MemberRecord self;
  replica::ClusterConfig config;  // with a ring
  std::vector<replica::MemberRecord> peers;
  friend bool operator==(const ClusterState&, const ClusterState&) = default;
};

std::string EncodeClusterState(const ClusterState& state);
// Errors: InvalidArgument.
absl::StatusOr<ClusterState> DecodeClusterState(absl::string_view bytes);

// Nullopt if there is none. Errors: DataLoss if it is damaged,
// FailedPrecondition if it cannot be read.
absl::StatusOr<std::optional<ClusterState>> LoadClusterState(
    const std::string& data_dir);
// Durable when it returns OK. Errors: FailedPrecondition.
absl::Status SaveClusterState(const std::string& data_dir,
                              const ClusterState& state);

}  // namespace dovetail::server

#endif  // DOVETAIL_SRC_SERVER_CLUSTER_FILE_H_
