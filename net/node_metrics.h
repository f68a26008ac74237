// What a node shows Prometheus: the numbers of one moment, and their text.
//
// Nothing is counted here. Shards, links and the membership count in plain
// members of their own threads; Node collects them when a scrape asks, and this
// turns them into prometheus-cpp's metric families and its text format.
// docs/operating.md explains each metric.
#ifndef DOVETAIL_NET_NODE_METRICS_H_
#define DOVETAIL_NET_NODE_METRICS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "net/host.h"
#include "net/peer_link.h"
#include "replica/ids.h"
#include "replica/member.h"
#include "replica/membership.h"

namespace dovetail::net {

struct NodeMetrics {
  struct Peer {
    replica::NodeId id{};
    std::string name;
    bool reachable = false;  // by gossip
    PeerLinkStats link;
  };

  std::string version;
  absl::Time started;
  absl::Duration now;  // SteadyNow()
  std::vector<ShardMeasures> shards;
  HostStats host;
  size_t client_connections = 0;

  std::vector<Peer> peers;
  // Members that gossip knows, this node too, by replica::MemberState.
  std::array<uint64_t, replica::kMemberStates> members{};
  replica::MembershipCounters gossip;
  uint32_t local_health = 0;
  size_t rumors_queued = 0;
  uint64_t ring_epoch = 0;

  // Of the storage engine: name and value, each a gauge.
  std::vector<std::pair<std::string, uint64_t>> storage;
};

// In Prometheus' text format 0.0.4.
std::string ToPrometheusText(const NodeMetrics& metrics);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_NODE_METRICS_H_
