// What clients ask of a node and what they are told: plain data. The wire form
// is net/dovetail.capnp.
#ifndef DOVETAIL_REPLICA_REQUEST_H_
#define DOVETAIL_REPLICA_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "crdt/operation.h"
#include "crdt/query.h"
#include "crdt/session.h"
#include "replica/ids.h"
#include "replica/session_token.h"

namespace dovetail::replica {

// Chosen by the host, unique while the request is in flight.
enum class RequestId : uint64_t {};

enum class Durability : uint8_t {
  kWal = 0,    // in the log of the operating system, fsynced within a second
  kFsync = 1,  // on stable storage before the acknowledgement
};

// How many replicas must have answered.
struct Level {
  enum class Kind : uint8_t {
    kDefault = 0,
    kCount,
    kQuorum,       // a majority of all owners
    kAll,          // every owner
    kLocalOne,     // one of this node's region
    kLocalQuorum,  // a majority of the owners in this node's region
    kEachQuorum,   // a majority in each region
  };
  Kind kind = Kind::kDefault;
  uint32_t count = 0;  // kCount: 1..N
  static Level Count(uint32_t n) { return {Kind::kCount, n}; }
  static Level One() { return Count(1); }
  static Level Quorum() { return {Kind::kQuorum, 0}; }
  static Level All() { return {Kind::kAll, 0}; }
  static Level LocalOne() { return {Kind::kLocalOne, 0}; }
  static Level LocalQuorum() { return {Kind::kLocalQuorum, 0}; }
  static Level EachQuorum() { return {Kind::kEachQuorum, 0}; }
  friend bool operator==(const Level&, const Level&) = default;
};
// As a user writes it: "default", "2", "local_quorum".
std::string ToString(const Level& level);

// Who counts when owners of the partition cannot be reached.
enum class Quorums : uint8_t {
  kDefault = 0,
  kSloppy,  // the next reachable nodes stand in for them
  kStrict,  // owners alone
};

// What a request leaves unsaid is what its bucket says (bucket_properties.h),
// and if that says nothing, what the node is configured for.
struct RequestOptions {
  Level read;   // R
  Level write;  // W
  Quorums quorums = Quorums::kDefault;
  // Unsaid: as the bucket says, else kWal.
  std::optional<Durability> durability = std::nullopt;
  // From arrival; zero: as the bucket says, else
  // ShardOptions::request_timeout_default.
  absl::Duration timeout = absl::ZeroDuration();
  // Coordinate at this node whatever it is to the partition, and take what it
  // holds for an answer even if it is no owner: how replicas are inspected.
  bool here = false;
  // Another node has passed the request on; once is enough.
  bool forwarded = false;
};

// One operation, or several as one atomic batch on one partition.
struct WriteRequest {
  std::vector<crdt::Operation> operations;
  // A client's operation id: the same request again, at any node, takes effect
  // once (crdt/session.h). It acts on what it carries alone.
  std::optional<crdt::OperationId> id = std::nullopt;
  // What the client has seen of the partition: the write comes after it. The
  // reply then has a token too.
  std::optional<SessionToken> session = std::nullopt;
};

struct ReadRequest {
  crdt::ReadSpec spec;
  // If not empty: exactly these nodes are asked beside the coordinator, and all
  // must answer, whatever R is: how an inspection joins given replicas.
  std::vector<NodeId> only;
  // What the client has seen of the partition: the answer shows all of it. The
  // reply then has a token too.
  std::optional<SessionToken> session = std::nullopt;
};

// Live objects of `bucket` whose key starts with `prefix`, in order of key and
// type, greater than `after` if that is given. As R owners of each partition
// know them, joined; with R = 1, as this node does.
struct ListRequest {
  std::string bucket;
  std::string prefix;
  std::optional<crdt::ObjectId> after;
  uint32_t limit = 1000;  // at least 1
  // What the client has seen, a token for each partition: the page shows all of
  // it. It adds nothing to the session.
  std::vector<SessionToken> session = {};
};

struct ClientRequest {
  RequestId id{};
  RequestOptions options;
  std::variant<WriteRequest, ReadRequest, ListRequest> body;
};

// Who vouches for an answer.
struct Receipt {
  // Acknowledged (writes) or answered (reads) when the reply was made; the
  // coordinator first, then in order of arrival.
  std::vector<NodeId> nodes;
  // Those of them that own nothing of the partition and stood in for an owner.
  std::vector<NodeId> stand_ins;
  uint32_t required = 0;  // the R or W that was asked for, resolved
  Durability durability = Durability::kWal;
};

struct WriteReply {
  Receipt receipt;
  // Per operation: nothing it was to remove was observed, so it changed
  // nothing.
  std::vector<bool> not_observed;
  // How many deltas it took; more than one for clearing something large.
  uint32_t deltas = 0;
  // For a request with a session: what this adds to it.
  std::optional<SessionToken> session = std::nullopt;
};

struct ReadReply {
  Receipt receipt;
  crdt::ReadResult result;
  std::optional<SessionToken> session = std::nullopt;  // as in WriteReply
};

struct ListReply {
  std::vector<crdt::ObjectId> objects;
  bool more = false;
};

// Errors (docs/semantics.md, "Errors"): InvalidArgument, Unavailable (the
// level cannot be met now), DeadlineExceeded (not met in time; a write may
// still take effect), FailedPrecondition (not an owner), ResourceExhausted (a
// limit, or overload), DataLoss (this replica's copy is damaged).
struct ClientReply {
  RequestId id{};
  absl::StatusOr<std::variant<WriteReply, ReadReply, ListReply>> body;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REQUEST_H_
