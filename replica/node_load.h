// How much does each node have to carry? Each tells the others once a second
// (net/peer_link.h); what was said last is kept here, for people, who look at
// it, and for plans, which estimate by it what will move. Nothing else depends
// on it: it may be old, or missing.
#ifndef DOVETAIL_REPLICA_NODE_LOAD_H_
#define DOVETAIL_REPLICA_NODE_LOAD_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "replica/ids.h"

namespace dovetail::replica {

struct NodeLoad {
  uint64_t epoch = 0;       // of the ring it goes by
  uint64_t data_bytes = 0;  // on disk, about
  // Entries of its rows: a value of a register, an element, a share of a
  // counter are one each.
  uint64_t entries = 0;
  uint64_t hints = 0;  // deltas held for owners that cannot be reached
  uint64_t hint_bytes = 0;
  uint32_t held = 0;         // partitions of which it has anything
  uint32_t filling = 0;      // and which it has not got whole yet
  std::vector<NodeId> slow;  // peers that answer its reads slowly
  // Bytes a second that syncs by ranges bring it, and may bring at most; 0: no
  // limit, or an older node.
  uint64_t transfer_rate = 0;
  uint64_t transfer_rate_max = 0;
  friend bool operator==(const NodeLoad&, const NodeLoad&) = default;
};

// Adds another shard's part of the same node; all that is not of shards
// stays.
void Add(const NodeLoad& part, NodeLoad& load);

class LoadTable {
 public:
  struct Known {
    NodeLoad load;
    absl::Duration at;  // when it was heard
  };
  // What `node` says of itself. Those of more than kMembersMax are not kept.
  void Heard(NodeId node, NodeLoad load, absl::Duration now);
  // Null: nothing heard since the start.
  const Known* Of(NodeId node) const;
  // Who finds `node` slow, as far as that was said of late; ascending.
  std::vector<NodeId> SlowFor(NodeId node, absl::Duration now) const;

 private:
  std::map<NodeId, Known> known_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_NODE_LOAD_H_
