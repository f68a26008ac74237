#include "src/server/start.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/check.h"
#include "replica/hash.h"
#include "replica/ring_plan.h"
#include "src/client/client.h"

namespace dovetail::server {
namespace {

// Between two rounds of asking. A second: a node that starts beside the one it
// joins should not wait long, and one that waits for days should not be a
// burden.
constexpr std::chrono::seconds kJoinRetry{1};
// Rounds after which it is said again that it waits.
constexpr int kSayAgain = 30;

absl::StatusOr<replica::CommittedRing> RingOf(const Config& config) {
  replica::RingSpec spec;
  spec.partitions = config.partitions;
  spec.replicas = config.replicas;
  for (const MemberConfig& member : config.members) {
    replica::RingMember owner;
    owner.id = replica::NodeIdOf(config.cluster, member.name);
    owner.name = member.name;
    owner.zone = member.zone;
    owner.region = member.region;
    spec.members.push_back(std::move(owner));
  }
  return replica::FirstRing(std::move(spec), replica::NodeId{});
}

std::vector<replica::MemberRecord> PeersOf(const Config& config) {
  std::vector<replica::MemberRecord> peers;
  for (const MemberConfig& member : config.members) {
    if (member.name == config.node) continue;
    peers.push_back({replica::NodeIdOf(config.cluster, member.name),
                     member.name, ToString(member.peer), member.client,
                     member.zone, member.region});
  }
  return peers;
}

// Where others find this node; what is empty is where it listens.
replica::MemberRecord SelfOf(const Config& config) {
  replica::MemberRecord self;
  self.id = replica::NodeIdOf(config.cluster, config.node);
  self.name = config.node;
  self.zone = config.zone;
  self.region = config.region;
  for (const MemberConfig& member : config.members) {
    if (member.name != config.node) continue;
    if (member.peer.port != 0) self.peer_address = ToString(member.peer);
    self.client_address = member.client;
  }
  return self;
}

// The addresses of the list are what an operator says now.
void Overlay(const std::vector<replica::MemberRecord>& said,
             std::vector<replica::MemberRecord>& peers) {
  for (const replica::MemberRecord& peer : said) {
    const auto found =
        std::find_if(peers.begin(), peers.end(),
                     [&](const auto& known) { return known.id == peer.id; });
    if (found == peers.end()) {
      peers.push_back(peer);
    } else {
      found->peer_address = peer.peer_address;
    }
  }
}

absl::StatusOr<ClusterView> Ask(const std::vector<std::string>& nodes) {
  DOVETAIL_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                            Client::Connect(nodes, {.route = false}));
  return client->Cluster();
}

absl::StatusOr<ClusterState> Join(
    Config& config, const std::function<void(absl::string_view)>& log) {
  const std::string nodes = absl::StrJoin(config.join, ", ");
  std::string said;
  for (int round = 0;; ++round) {
    const absl::StatusOr<ClusterView> view = Ask(config.join);
    if (view.ok()) return JoinedState(config, *view);
    if (absl::IsInvalidArgument(view.status())) return view.status();
    if (said != view.status().message() || round % kSayAgain == 0) {
      said = std::string(view.status().message());
      log(absl::StrCat("waiting for a node of the cluster at ", nodes, ": ",
                       said));
    }
    std::this_thread::sleep_for(kJoinRetry);
  }
}

absl::Status Contradicts(const Config& config, absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("data_dir: ", config.data_dir, " ", what));
}

}  // namespace

absl::StatusOr<Known> ReadKnown(const std::string& data_dir) {
  Known known;
  DOVETAIL_ASSIGN_OR_RETURN(known.identity, ReadNodeFile(data_dir));
  DOVETAIL_ASSIGN_OR_RETURN(known.state, LoadClusterState(data_dir));
  return known;
}

absl::Status FillIn(Config& config, const Known& known) {
  if (known.identity.has_value()) {
    const NodeIdentity& there = *known.identity;
    if (config.cluster.empty()) config.cluster = there.cluster;
    if (config.node.empty()) config.node = there.node;
    if (config.partitions == 0) config.partitions = there.partitions;
  }
  if (!known.state.has_value()) return absl::OkStatus();
  const ClusterState& state = *known.state;
  if (state.self.name != config.node) {
    return Contradicts(config, absl::StrCat("belongs to node ", state.self.name,
                                            ", not ", config.node));
  }
  config.knows_cluster = true;
  if (!config.members.empty()) return absl::OkStatus();
  if (config.listen.empty()) config.listen = state.listen;
  if (config.peer_listen.empty()) config.peer_listen = state.peer_listen;
  if (config.zone.empty()) config.zone = state.self.zone;
  if (config.region.empty()) config.region = state.self.region;
  return absl::OkStatus();
}

absl::StatusOr<ClusterState> JoinedState(Config& config,
                                         const ClusterView& view) {
  if (!config.cluster.empty() && view.cluster != config.cluster) {
    return absl::FailedPreconditionError(
        absl::StrCat("cluster: the nodes to join are of cluster ", view.cluster,
                     ", not ", config.cluster));
  }
  config.cluster = view.cluster;
  ClusterState state;
  DOVETAIL_ASSIGN_OR_RETURN(state.config,
                            replica::DecodeClusterConfig(view.config));
  if (!state.config.ring.has_value()) {
    return absl::FailedPreconditionError("join: that node has no ring");
  }
  const uint32_t partitions = state.config.ring->ring().partitions;
  if (config.partitions != 0 && config.partitions != partitions) {
    return absl::FailedPreconditionError(
        absl::StrCat("partitions: the cluster has ", partitions, ", not ",
                     config.partitions, "; leave the setting out"));
  }
  config.partitions = partitions;
  for (const net::ClusterMember& member : view.members) {
    if (member.name == config.node || member.peer_address.empty()) continue;
    state.peers.push_back({member.id, member.name, member.peer_address,
                           member.client_address, member.zone, member.region});
  }
  return state;
}

absl::StatusOr<ClusterState> StartState(
    Config& config, const Known& known, uint64_t wall_ms,
    const std::function<void(absl::string_view)>& log) {
  ClusterState state;
  if (known.state.has_value()) {
    state = *known.state;
    const uint32_t partitions = state.config.ring->ring().partitions;
    if (partitions != config.partitions) {
      return Contradicts(config,
                         absl::StrCat("is of a cluster of ", partitions,
                                      " partitions, not ", config.partitions));
    }
    if (!config.members.empty()) {
      DOVETAIL_ASSIGN_OR_RETURN(const replica::CommittedRing first,
                                RingOf(config));
      if (state.config.epoch() == 1 &&
          state.config.ring->digest() != first.digest()) {
        return Contradicts(
            config,
            "was made for a cluster of other first members, zones, regions or "
            "replicas; members change by `dovetail cluster`, not by the list");
      }
      Overlay(PeersOf(config), state.peers);
    } else if (!config.join.empty()) {
      log(absl::StrCat("of cluster ", config.cluster,
                       " already: --join is not needed"));
    }
  } else if (!config.join.empty()) {
    DOVETAIL_ASSIGN_OR_RETURN(state, Join(config, log));
  } else {
    DOVETAIL_ASSIGN_OR_RETURN(state.config.ring, RingOf(config));
    state.peers = PeersOf(config);
  }
  const bool listed = !config.members.empty();
  const replica::MemberRecord before = state.self;
  state.self = SelfOf(config);
  if (!listed && config.listen == state.listen) {
    state.self.client_address = before.client_address;
  }
  if (!listed && config.peer_listen == state.peer_listen) {
    state.self.peer_address = before.peer_address;
  }
  state.listen = config.listen;
  state.peer_listen = config.peer_listen;
  state.incarnation = std::max(state.incarnation + 1, wall_ms);
  return state;
}

}  // namespace dovetail::server
