#include "replica/session_token.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"
#include "replica/ring.h"

// session token = (nothing)                       has seen nothing
//               | version, Q:varint, partition:varint, wall_ms:varint,
//                 logical:varint, event set
namespace dovetail::replica {

void SessionToken::MergeFrom(const SessionToken& other) {
  if (other.partitions == 0) return;
  if (partitions == 0) {
    partitions = other.partitions;
    partition = other.partition;
  }
  DOVETAIL_CHECK(partitions == other.partitions &&
                 partition == other.partition);
  events.UnionWith(other.events);
  stamp = std::max(stamp, other.stamp);
}

absl::Status SessionToken::CheckFits(PartitionId partition_in,
                                     uint32_t partitions_in) const {
  if (partitions == 0) return absl::OkStatus();
  if (partitions == partitions_in && partition == partition_in) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a session token of partition ", Index(partition), " of ",
                   partitions, ", but this request is about partition ",
                   Index(partition_in), " of ", partitions_in));
}

std::string SessionToken::Encode() const {
  std::string bytes;
  if (partitions == 0) return bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Varint(partitions);
  out.Varint(Index(partition));
  out.Varint(stamp.wall_ms);
  out.Varint(stamp.logical);
  events.AppendTo(out);
  return bytes;
}

absl::StatusOr<SessionToken> SessionToken::Decode(absl::string_view bytes) {
  SessionToken token;
  if (bytes.empty()) return token;
  if (bytes.size() > kSessionTokenBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a session token of ", bytes.size(),
        " bytes is over session_token_bytes_max = ", kSessionTokenBytesMax));
  }
  crdt::Reader in(bytes);
  in.ExpectVersion();
  const uint64_t partitions = in.Varint();
  const uint64_t partition = in.Varint();
  token.stamp.wall_ms = in.Varint();
  const uint64_t logical = in.Varint();
  if (partitions == 0 || partitions > kPartitionsMax ||
      (partitions & (partitions - 1)) != 0) {
    in.Fail("no number of partitions");
  }
  if (partition >= partitions) in.Fail("no such partition");
  if (logical > std::numeric_limits<uint16_t>::max()) {
    in.Fail("no such logical time");
  }
  if (!in.ok()) return in.status();
  token.partitions = static_cast<uint32_t>(partitions);
  token.partition = PartitionId{static_cast<uint16_t>(partition)};
  token.stamp.logical = static_cast<uint16_t>(logical);
  DOVETAIL_ASSIGN_OR_RETURN(token.events, crdt::EventSet::ReadFrom(in));
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return token;
}

crdt::EventSet AppliedAt(const crdt::Context& context) {
  crdt::EventSet applied = context.applied;
  if (DOVETAIL_MUTANT("session: checked against what is superseded too")) {
    applied.UnionWith(context.superseded);
  }
  return applied;
}

}  // namespace dovetail::replica
