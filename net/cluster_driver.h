// replica/cluster.h in the world: its messages on peer links, its time from the
// clock, its timers on the event loop, its configuration on disk. All on the
// loop's thread: the node strand.
#ifndef DOVETAIL_NET_CLUSTER_DRIVER_H_
#define DOVETAIL_NET_CLUSTER_DRIVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "net/peer_link.h"
#include "replica/cluster.h"
#include "replica/membership_options.h"

namespace dovetail::net {

class ClusterDriver {
 public:
  struct Config {
    // Without a peer address: where it listens.
    PeerHello self;
    Endpoint listen;  // where the others reach it
    replica::ClusterConfig config;
    std::vector<replica::MemberRecord> peers;  // whom to dial at the start
    uint64_t incarnation = 0;                  // of gossip
    replica::MembershipOptions membership;
    PeerLinkOptions links;
  };
  // All on the loop's thread.
  struct Events {
    std::function<void(const replica::ClusterEvent::NewRing&)> on_ring;
    std::function<void(std::shared_ptr<const replica::BucketDefaults>)>
        on_buckets;
    std::function<void(bool paused)> on_pause;
    std::function<void(replica::NodeId)> on_up;
    std::function<void(replica::NodeId)> on_down;
    std::function<void(replica::NodeId, std::vector<replica::Message>)>
        on_messages;
    std::function<void(absl::string_view)> log;
    // Makes them durable; before others hear of them.
    std::function<absl::Status(const replica::ClusterConfig&,
                               const std::vector<replica::MemberRecord>&)>
        save;
  };

  // `loop` must outlive it. on_ring is called within, once. Errors: of
  // PeerLinks::Open.
  static absl::StatusOr<std::unique_ptr<ClusterDriver>> Open(EventLoop& loop,
                                                             Config config,
                                                             Events events);
  // No event comes afterwards.
  ~ClusterDriver();
  ClusterDriver(const ClusterDriver&) = delete;
  ClusterDriver& operator=(const ClusterDriver&) = delete;

  // Runs `input` on the cluster, then does what comes of it. Errors: of
  // `input`, or Unavailable if its effect could not be stored here.
  absl::Status Do(
      absl::FunctionRef<absl::Status(replica::Cluster&, absl::Duration now)>
          input);
  // What this node carries: for the others and for who asks it.
  void SetLoad(replica::NodeLoad load);
  const replica::Cluster& cluster() const;
  PeerLinks& links();
  absl::Duration now() const;

 private:
  class Impl;
  explicit ClusterDriver(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_CLUSTER_DRIVER_H_
