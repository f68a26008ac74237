// What clients and nodes exchange, as plain data: the vocabulary of the client
// library, the command line and the RPC server. No Cap'n Proto in here; its
// form on the wire is net/dovetail.capnp, the way there net/client_codec.h.
#ifndef DOVETAIL_NET_CLIENT_TYPES_H_
#define DOVETAIL_NET_CLIENT_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "crdt/dot.h"
#include "replica/cluster.h"
#include "replica/ids.h"
#include "replica/maybe.h"
#include "replica/node_load.h"
#include "replica/request.h"
#include "replica/retry_after.h"
#include "replica/ring_plan.h"
#include "replica/shard.h"
#include "replica/transfer_rates.h"

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
  uint32_t partitions = 0;  // Q; 0: an older node
  uint64_t epoch = 0;       // of the ring it goes by
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
  std::vector<replica::TransferProgress> transfers;  // by partition
};

struct NodeDigests {
  replica::NodeId id{};
  std::string name;
  std::vector<replica::PartitionDigest> partitions;
  bool more = false;  // this is a page, and there is another
};

// How a node sees another.
enum class Condition : uint8_t {
  kUnknown,  // a member of the ring that it has not heard of since its start
  kAlive,
  kSuspect,
  kDead,
  kLeft,
};
absl::string_view ToString(Condition condition);

struct ClusterMember {
  replica::NodeId id{};
  std::string name;
  std::string zone;
  std::string region;
  uint32_t weight = 0;         // 0: owns nothing
  std::string client_address;  // empty: not heard of yet
  std::string peer_address;
  Condition condition = Condition::kUnknown;
  absl::Duration since;    // in this condition for so long
  bool reachable = false;  // by the node that answers; itself is
  uint64_t epoch = 0;      // of the ring it said last it goes by; 0: nothing
  bool in_ring = false;
  uint32_t partitions = 0;  // that it owns
  bool staged = false;      // a change of it waits for a commit
  // What it said last; absent: nothing since the start of who answers.
  std::optional<replica::NodeLoad> load;
  absl::Duration load_age;            // ago
  std::vector<std::string> slow_for;  // names of who finds it slow
  friend bool operator==(const ClusterMember&, const ClusterMember&) = default;
};

// The cluster as one node sees it.
struct ClusterView {
  std::string cluster;
  replica::NodeId node{};  // who answers
  std::string node_name;
  std::string config;  // replica::EncodeClusterConfig
  // The last committed ring that lost against another; 0: none.
  uint64_t superseded_epoch = 0;
  std::string superseded_by;           // where that one was committed
  std::vector<ClusterMember> members;  // by name
  // Of the node that answers: deltas held for others, and data on disk.
  uint64_t hints = 0;
  uint64_t hint_bytes = 0;
  uint64_t data_bytes = 0;
  bool transfers_paused = false;
  friend bool operator==(const ClusterView&, const ClusterView&) = default;
};

// One that a node has made of its data.
struct BackupMade {
  std::string path;  // on the machine of the node
  uint64_t files = 0;
  uint64_t bytes = 0;
  friend bool operator==(const BackupMade&, const BackupMade&) = default;
};

struct StageJoins {
  std::vector<std::string> names;  // none: all who can
  friend bool operator==(const StageJoins&, const StageJoins&) = default;
};
struct AbortStaged {
  friend bool operator==(AbortStaged, AbortStaged) = default;
};
struct ShowPlan {
  friend bool operator==(ShowPlan, ShowPlan) = default;
};
struct CommitPlan {
  uint64_t base_epoch = 0;  // of the plan that was looked at; 0: none was
  bool force = false;       // though data is still on its way
  friend bool operator==(CommitPlan, CommitPlan) = default;
};
// Transfers rest, or go on, in the whole cluster.
struct PauseTransfers {
  bool paused = true;
  friend bool operator==(PauseTransfers, PauseTransfers) = default;
};
// A replica::NamedChange stages a change of a member.
using ClusterAdmin = std::variant<StageJoins, replica::NamedChange, AbortStaged,
                                  ShowPlan, CommitPlan, PauseTransfers>;

// What comes to a node and goes from it.
struct PlanNode {
  replica::NodeChange change;
  uint64_t bytes_in = 0;  // estimated
  uint64_t bytes_out = 0;
  friend bool operator==(const PlanNode&, const PlanNode&) = default;
};

// What came of it: the plan as it is now, or the one that was committed.
struct PlanView {
  uint64_t epoch = 0;                // of the committed ring
  std::vector<std::string> staged;   // names of whom a change is staged for
  std::vector<std::string> changes;  // of each, in words: "b leaves"
  bool planned = false;              // whether the rest means anything
  uint64_t partitions_moved = 0;
  std::vector<PlanNode> nodes;
  uint64_t below_n = 0;       // partitions with fewer than N owners
  uint64_t zones_shared = 0;  // and with owners that share a zone
  // Of a plan that is not committed yet (replica/plan_estimate.h).
  uint64_t bytes_unknown = 0;      // partitions
  uint64_t below_n_meanwhile = 0;  // partitions
  // That transfers take at the limit of their rate; absent: nobody can tell.
  std::optional<absl::Duration> meanwhile;
  bool transfers_paused = false;
  friend bool operator==(const PlanView&, const PlanView&) = default;
};

// --- Properties of buckets ---

// Of the buckets after `after`, in byte order.
struct ListBuckets {
  std::optional<std::string> after;
  // Also those without properties of which the node that answers holds an
  // object.
  bool in_use = false;
  friend bool operator==(const ListBuckets&, const ListBuckets&) = default;
};
struct DescribeBucket {
  std::string bucket;
  friend bool operator==(const DescribeBucket&,
                         const DescribeBucket&) = default;
};
// Takes its properties away. The objects stay: without `keep_objects` it is
// refused while there are any.
struct DeleteBucket {
  std::string bucket;
  bool keep_objects = false;
  friend bool operator==(const DeleteBucket&, const DeleteBucket&) = default;
};
// A replica::BucketChange is a create or an update.
using BucketRequest = std::variant<ListBuckets, DescribeBucket,
                                   replica::BucketChange, DeleteBucket>;

struct BucketView {
  std::string bucket;
  bool configured = false;  // it has properties
  replica::BucketSettings settings;
  uint64_t changed_ms = 0;  // since 1970
  replica::NodeId changed_at{};
  friend bool operator==(const BucketView&, const BucketView&) = default;
};
// What was asked for, or the bucket as it is after the change: nothing after it
// was deleted.
struct BucketPage {
  std::vector<BucketView> buckets;
  bool more = false;
  friend bool operator==(const BucketPage&, const BucketPage&) = default;
};

// A failed mutation that may have taken effect, or may still.
using replica::MarkMaybe;
using replica::MayHaveTakenEffect;
using replica::RetryAfterOf;

// A read whose answer did not fit into its reply beside those of other reads:
// the client library asks again by itself.
absl::Status DeferredRead();
bool IsDeferredRead(const absl::Status& status);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_CLIENT_TYPES_H_
