// The connections between this node and every other one: who dials whom, when
// is a peer up, and what happens to frames that cannot leave?
//
// Each pair of nodes has two connections, each dialled by the one that sends on
// it: a node dials every other one and sends its messages there; what it
// receives comes on the connections the others dialled. Both ends introduce
// themselves first (PeerHello); one that does not fit is told why and closed.
// A stranger who fits becomes a peer and is dialled back; a peer that comes
// from another address than before is dialled there from now on, unless it is
// still connected from the other: then two nodes have one name, and the later
// is refused.
//
//   up      both connections have been greeted. Then, and each time the link
//           comes back, the shards exchange summaries.
//   down    either is gone: closed, silent for `silence_max` (the dialler sends
//           a keepalive each `keepalive_period`), or its data unacknowledged
//           for as long (TCP_USER_TIMEOUT), which finds half-open connections.
//
// Frames of one turn leave in one write; gossip first, so that a full queue
// does not make its sender look dead. A queue that is full drops frames rather
// than grow: the protocol allows it, and when the queue has drained the peer is
// reported up again, so that summaries find what was lost. Dialling again waits
// 50 ms at first, doubling up to 2 s, each time less a random part of half, so
// that a restarted node is not dialled by all at once; a peer that dials us is
// dialled back at once.
#ifndef DOVETAIL_NET_PEER_LINK_H_
#define DOVETAIL_NET_PEER_LINK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "net/peer_codec.h"
#include "replica/ids.h"

namespace dovetail::net {

struct PeerLinkOptions {
  // Unsent bytes per peer: some seconds of a busy node, small against memory.
  size_t queue_bytes_max = 16 << 20;
  absl::Duration backoff_min = absl::Milliseconds(50);
  absl::Duration backoff_max = absl::Seconds(2);
  absl::Duration dial_timeout = absl::Seconds(2);
  absl::Duration keepalive_period = absl::Seconds(1);
  absl::Duration silence_max = absl::Seconds(5);
  // Connections that have not introduced themselves yet; one more is closed.
  size_t strangers_max = 32;
};

// Counters of one peer since the start.
struct PeerLinkStats {
  bool up = false;
  uint64_t frames_sent = 0;
  uint64_t frames_received = 0;
  uint64_t frames_dropped = 0;  // queue full, or no connection
  uint64_t times_up = 0;
};

class PeerLinks {
 public:
  struct Config {
    // As this node introduces itself. Without a peer address: where it listens.
    PeerHello self;
    Endpoint listen;  // where the others reach it
    PeerLinkOptions options;
  };
  // All are called on the loop's thread, never inside a call of Send().
  struct Events {
    std::function<void(replica::NodeId, PeerMessages)> on_messages;
    // An error closes the connection with it.
    std::function<absl::Status(replica::NodeId, PeerGossip)> on_gossip;
    // What came with a keepalive. May be empty.
    std::function<void(replica::NodeId, replica::NodeLoad)> on_load;
    std::function<void(replica::NodeId)> on_up;
    std::function<void(replica::NodeId)> on_down;
    // One line for people; not called again for what has not changed.
    std::function<void(absl::string_view)> log;
  };

  // Listens on `config.listen`; dials whom AddPeer names. `loop` must outlive
  // it. Errors: of Listener::Open.
  static absl::StatusOr<std::unique_ptr<PeerLinks>> Open(EventLoop& loop,
                                                         Config config,
                                                         Events events);
  // Closes everything; no event comes afterwards.
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  // There is a node `id` called `name` at `endpoint`; if it is known, that is
  // its endpoint from now on. Whoever has port 0 is not dialled. More than
  // replica::kMembersMax are not taken up.
  void AddPeer(replica::NodeId id, const std::string& name,
               const Endpoint& endpoint);

  // Queues an encoded frame for `to`; dropped and counted if there is no
  // greeted connection or its queue is full.
  void Send(replica::NodeId to, std::string frame);
  // Before all that waits.
  void SendFirst(replica::NodeId to, std::string frame);

  // What this node carries, for the peers: it goes out with each keepalive
  // from now on.
  void SetLoad(replica::NodeLoad load);

  // Of a node that is no peer: nothing.
  bool up(replica::NodeId peer) const;
  PeerLinkStats stats(replica::NodeId peer) const;
  // Where clients reach `peer`, as it said last; empty before it was greeted.
  std::string client_address(replica::NodeId peer) const;
  // The actor of its process, as it said last; 0 before it was greeted.
  crdt::ActorId incarnation(replica::NodeId peer) const;
  // Where it listens; port 0 has become a number.
  const Endpoint& endpoint() const;

 private:
  class Impl;
  explicit PeerLinks(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_PEER_LINK_H_
