// A session token: what a client has seen of one partition, as the events that
// a replica must have applied before it may answer that client again.
//
// It is checked against E alone. A dot that is merely known, because somebody
// superseded it (X), proves nothing: of the delta that minted it, the other
// half may not be here (docs/ARCHITECTURE.md, "Two sets").
//
//   a read's    the E of all whose answers were joined: what is missing from
//               the answer was seen too, as deleted
//   a write's   the events that it minted
//
// and with either the highest timestamp, for the order of concurrent writes to
// registers. A client unites the tokens of a partition; nothing is taken back.
// Not secret and not signed: who forges one makes only himself wait.
//
// Source: Terry et al., "Session Guarantees for Weakly Consistent Replicated
// Data" (PDIS 1994), with interval sets for version vectors.
#ifndef DOVETAIL_REPLICA_SESSION_TOKEN_H_
#define DOVETAIL_REPLICA_SESSION_TOKEN_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/event_set.h"
#include "crdt/hlc.h"
#include "replica/ids.h"

namespace dovetail::replica {

// One token, encoded. 256 KiB: some 20,000 starts of processes and edges that
// ever wrote to the partition.
inline constexpr size_t kSessionTokenBytesMax = 256 << 10;
// All tokens that come with one listing, encoded: list_session_bytes_max. 1
// MiB: 256 bytes, or some 15 writers, for each of 4,096 partitions; a quarter
// of what a call may carry.
inline constexpr size_t kListSessionBytesMax = 1 << 20;

struct SessionToken {
  // Q, to which the number of the partition belongs; 0: of a session that has
  // seen nothing yet. Then all else is empty too.
  uint32_t partitions = 0;
  PartitionId partition{};
  crdt::EventSet events;
  crdt::Timestamp stamp;

  // Requires: of the same partition, or one of the two has seen nothing.
  void MergeFrom(const SessionToken& other);

  // OK if it may come with a request on `partition_in` of `partitions_in`.
  absl::Status CheckFits(PartitionId partition_in,
                         uint32_t partitions_in) const;

  // Grammar: docs/formats.md, "session token". Errors: InvalidArgument.
  std::string Encode() const;
  static absl::StatusOr<SessionToken> Decode(absl::string_view bytes);
  friend bool operator==(const SessionToken&, const SessionToken&) = default;
};

// What a replica with this context has applied, of all that it knows of: what
// sessions are checked against.
crdt::EventSet AppliedAt(const crdt::Context& context);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SESSION_TOKEN_H_
