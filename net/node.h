// A whole node: shards, the cluster and its links, and the door for clients,
// wired together on one EventLoop. What `dovetaild` runs, and what tests run
// several of in one process.
#ifndef DOVETAIL_NET_NODE_H_
#define DOVETAIL_NET_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "crdt/dot.h"
#include "net/client_types.h"
#include "net/cluster_driver.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "net/host.h"
#include "net/metrics_server.h"
#include "net/peer_link.h"
#include "net/rpc_server.h"
#include "replica/cluster_config.h"
#include "replica/ids.h"
#include "replica/membership_options.h"
#include "replica/options.h"
#include "replica/storage.h"

namespace dovetail::net {

class Node {
 public:
  struct Config {
    std::string cluster;
    std::string name;  // unique in the cluster; with it the node's id
    std::string zone;
    std::string region;
    replica::ClusterConfig config;             // with a ring
    std::vector<replica::MemberRecord> peers;  // whom to dial at the start
    uint64_t incarnation = 1;  // larger with each start (membership.h)
    Endpoint listen;           // for clients
    Endpoint peer_listen;      // for the other nodes
    // For Prometheus; without it, nowhere.
    std::optional<Endpoint> metrics_listen;
    // HOST:PORT that others are told; empty: where it listens.
    std::string client_address;
    std::string peer_address;
    std::string version;  // of the program, for `status`
    // Drawn at random at this start and recorded in the storage.
    crdt::ActorId actor{};
    HostOptions host;
    replica::ShardOptions shard;
    replica::MembershipOptions membership;
    PeerLinkOptions links;
    RpcServerOptions rpc;
    MetricsServerOptions metrics;
    // It came to bring what it holds to the owners and goes when they have it.
    bool hand_over = false;
  };
  struct Hooks {
    // One line for people; on the loop's thread.
    std::function<void(absl::string_view)> log;
    // On a shard's thread: the log could not be made durable. Ends the process.
    std::function<void(const absl::Status&)> fatal;
    // Numbers of the storage engine for `status`; on the loop's thread. May be
    // empty.
    std::function<std::vector<std::pair<std::string, uint64_t>>()> storage;
    // Makes the cluster's configuration durable, and who else is known; on the
    // loop's thread. May be empty, for nodes that forget.
    std::function<absl::Status(const replica::ClusterConfig&,
                               const std::vector<replica::MemberRecord>&)>
        save;
    // Copies the data to a backup of this name; on a thread of its own, one at
    // a time. May be empty, for nodes without backups.
    std::function<absl::StatusOr<BackupMade>(const std::string& name)> backup =
        nullptr;
    // With Config::hand_over: nothing is held any more, and the others know
    // that this node leaves. On the loop's thread, once.
    std::function<void()> handed_over = nullptr;
  };

  // Opens the shards, then starts to listen and to dial. Runs while `loop`
  // does; `loop` and `storage` must outlive it.
  // Errors: of Host::Start, ClusterDriver::Open, RpcServer::Open and
  // MetricsServer::Open.
  static absl::StatusOr<std::unique_ptr<Node>> Open(EventLoop& loop,
                                                    Config config,
                                                    replica::Storage& storage,
                                                    Hooks hooks);
  // Stops as Stop() does.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Before a Stop(): turns new clients and calls away and answers the calls in
  // flight; `done` runs once, on the loop's thread, when that is over or after
  // `max`. At most once.
  void Drain(absl::Duration max, std::function<void()> done);

  // Closes the door and the links, lets the shards finish what is queued, and
  // makes everything durable. Errors: of Host::Stop.
  absl::Status Stop();

  // Where it really listens.
  const Endpoint& client_endpoint() const;
  const Endpoint& peer_endpoint() const;
  // Requires: Config::metrics_listen.
  const Endpoint& metrics_endpoint() const;

  PeerLinks& peers();
  ClusterDriver& cluster();
  Host& host();

 private:
  class Impl;
  explicit Node(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_NODE_H_
