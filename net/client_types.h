// What clients and nodes exchange, as plain data: the vocabulary of the client
// library, the command line and the RPC server. No Cap'n Proto in here; its
// form on the wire is net/dovetail.capnp, the way there net/client_codec.h.
#ifndef DOVETAIL_NET_CLIENT_TYPES_H_
#define DOVETAIL_NET_CLIENT_TYPES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "crdt/dot.h"
#include "replica/ids.h"
#include "replica/maybe.h"
#include "replica/request.h"
#include "replica/shard.h"

namespace dovetail::net {

// One entry of an execute call. A WriteRequest with one operation is a single
// mutation, with several an atomic batch.
using ClientOperation =
    std::variant<replica::WriteRequest, replica::ReadRequest>;

// Its outcome; WriteReply for a WriteRequest, ReadReply for a ReadRequest.
using ClientResult =
    absl::StatusOr<std::variant<replica::WriteReply, replica::ReadReply>>;

struct Hello {
  uint32_t protocol_version = 0;         // the newest the node speaks
  uint32_t oldest_protocol_version = 0;  // and the oldest
  std::string server;                    // name and version
  replica::NodeId node{};
  std::string node_name;
};

struct MemberStatus {
  replica::NodeId id{};
  std::string name;
  std::string address;  // HOST:PORT for clients
  bool up = false;
};

struct NodeStatus {
  replica::NodeId id{};
  std::string name;
  std::string version;
  absl::Duration uptime;  // in whole milliseconds
  crdt::ActorId actor{};
  uint32_t partitions = 0;
  std::vector<MemberStatus> members;
  std::vector<replica::ShardStats> shards;
  // Numbers of the storage engine, by name.
  std::vector<std::pair<std::string, uint64_t>> storage;
};

struct NodeDigests {
  replica::NodeId id{};
  std::string name;
  std::vector<replica::PartitionDigest> partitions;
  bool more = false;  // this is a page, and there is another
};

// A failed mutation that may have taken effect, or may still.
using replica::MarkMaybe;
using replica::MayHaveTakenEffect;

// A read whose answer did not fit into its reply beside those of other reads:
// the client library asks again by itself.
absl::Status DeferredRead();
bool IsDeferredRead(const absl::Status& status);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_CLIENT_TYPES_H_
