// The decoding half of client_codec.h for what looks into a node: hello, status
// and digests.
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "net/client_codec.h"
#include "net/guarded.h"

namespace dovetail::net {
namespace {

replica::ShardStats DecodeStats(wire::ShardStats::Reader in) {
  replica::ShardStats out;
  out.deltas_applied = in.getDeltasApplied();
  out.deltas_duplicate = in.getDeltasDuplicate();
  out.operations_minted = in.getOperationsMinted();
  out.commits = in.getCommits();
  out.commits_failed = in.getCommitsFailed();
  out.fsyncs = in.getFsyncs();
  out.cache_hits = in.getCacheHits();
  out.cache_misses = in.getCacheMisses();
  out.sync_deltas_sent = in.getSyncDeltasSent();
  out.read_mismatches = in.getReadMismatches();
  out.clock_refusals = in.getClockRefusals();
  out.corruptions = in.getCorruptions();
  out.log_gaps = in.getLogGaps();
  out.quarantined = in.getQuarantined();
  out.hints = in.getHints();
  out.hint_bytes = in.getHintBytes();
  out.handed_over = in.getHandedOver();
  out.emptying = in.getEmptying();
  out.ids_reused = in.getIdsReused();
  return out;
}

}  // namespace

absl::StatusOr<Hello> DecodeHello(wire::HelloReply::Reader in) {
  return Guarded([&]() -> absl::StatusOr<Hello> {
    Hello out;
    out.protocol_version = in.getProtocolVersion();
    out.oldest_protocol_version = in.getOldestProtocolVersion();
    out.server = AsString(in.getServer());
    out.node = replica::NodeId{in.getNodeId()};
    out.node_name = AsString(in.getNodeName());
    out.partitions = in.getPartitions();
    out.epoch = in.getEpoch();
    return out;
  });
}

absl::StatusOr<NodeStatus> DecodeStatus(wire::NodeStatus::Reader in) {
  return Guarded([&]() -> absl::StatusOr<NodeStatus> {
    NodeStatus out;
    out.id = replica::NodeId{in.getNodeId()};
    out.name = AsString(in.getNodeName());
    out.version = AsString(in.getVersion());
    out.uptime = absl::Milliseconds(in.getUptimeMs());
    uint64_t actor = 0;
    if (!absl::SimpleHexAtoi(AsString(in.getActor()), &actor)) {
      return absl::InvalidArgumentError("actor is no hexadecimal number");
    }
    out.actor = crdt::ActorId{actor};
    out.partitions = in.getPartitions();
    for (wire::Member::Reader member : in.getMembers()) {
      out.members.push_back({replica::NodeId{member.getId()},
                             AsString(member.getName()),
                             AsString(member.getAddress()), member.getUp()});
    }
    for (wire::ShardStats::Reader shard : in.getShards()) {
      out.shards.push_back(DecodeStats(shard));
    }
    for (wire::Number::Reader number : in.getStorage()) {
      out.storage.emplace_back(AsString(number.getName()), number.getValue());
    }
    for (const auto transfer : in.getTransfers()) {
      out.transfers.push_back(DecodeTransfer(transfer));
    }
    return out;
  });
}

absl::StatusOr<NodeDigests> DecodeDigests(wire::NodeDigests::Reader in) {
  return Guarded([&]() -> absl::StatusOr<NodeDigests> {
    NodeDigests out;
    out.id = replica::NodeId{in.getNodeId()};
    out.name = AsString(in.getNodeName());
    for (wire::PartitionDigest::Reader item : in.getPartitions()) {
      replica::PartitionDigest digest;
      digest.partition = replica::PartitionId{item.getPartition()};
      digest.rows = {item.getRowsHigh(), item.getRowsLow()};
      digest.row_entries = item.getRowEntries();
      digest.context = {item.getContextHigh(), item.getContextLow()};
      digest.events = item.getEvents();
      digest.log_entries = item.getLogEntries();
      digest.log_bytes = item.getLogBytes();
      out.partitions.push_back(digest);
    }
    out.more = in.getMore();
    return out;
  });
}

}  // namespace dovetail::net
