// What clients talk to: net/dovetail.capnp served over SocketMessageStream.
// Bytes become requests here, and bad input ends here.
//
// A call's operations become one ClientRequest each, all submitted at once; the
// call is answered when the last of them is, results in the order of the
// operations. An operation that does not decode is answered with its error and
// leaves its neighbours alone.
//
// The requests of one connection wait in one line of the shards' queues
// (net/fair_queue.h): who sends a lot on one connection holds up nobody else.
//
// Limits: a connection with too much in flight is not read from, nor is one
// that does not read its answers; both are back-pressure, not errors. A frame
// that is too long ends the connection with a reason.
#ifndef DOVETAIL_NET_RPC_SERVER_H_
#define DOVETAIL_NET_RPC_SERVER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "net/client_types.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "replica/request.h"

namespace dovetail::net {

struct RpcServerOptions {
  size_t connections_max = 1024;  // one more is closed at once
  // Bytes of calls that a connection may have unanswered before it is no longer
  // read from: several frames at their limit.
  size_t connection_in_flight_bytes_max = 16 << 20;
  // Bytes of answers that a client may leave unread before its connection is no
  // longer read from.
  size_t connection_unsent_bytes_pause = 8 << 20;
  // Objects in one page of a listing: what is asked for is cut to this, and 0
  // stands for the default.
  uint32_t list_objects_default = 1'000;
  uint32_t list_objects_max = 10'000;
};

class RpcServer {
 public:
  // How calls are answered; all are called on the loop's thread.
  struct Backend {
    Hello hello;  // but its epoch
    std::function<replica::RingStamp()> ring;
    // Calls `go` when this node goes by `ring` or a newer one, or has asked for
    // it in vain for kRingPatience (node.cc). A request does not fail for it:
    // by an older ring a write may be misplaced, but is not lost.
    std::function<void(const replica::RingStamp& ring,
                       std::function<void()> go)>
        catch_up;
    // `connection` is unlike that of any other. Returns the answers to those
    // it refuses; the others come to OnReplies.
    std::function<std::vector<replica::ClientReply>(
        std::vector<replica::ClientRequest>, uint64_t connection)>
        submit;
    // Call `done` on the loop's thread, once.
    std::function<void(std::function<void(const NodeStatus&)> done)> status;
    std::function<void(std::function<void(const NodeDigests&)> done)> digests;
    std::function<void(std::function<void(const ClusterView&)> done)> cluster;
    std::function<void(
        ClusterAdmin,
        std::function<void(const absl::StatusOr<PlanView>&)> done)>
        admin;
    std::function<void(
        BucketRequest,
        std::function<void(const absl::StatusOr<BucketPage>&)> done)>
        buckets;
    std::function<void(
        const std::string& name,
        std::function<void(const absl::StatusOr<BackupMade>&)> done)>
        backup;
    // One line for people.
    std::function<void(absl::string_view)> log;
  };

  // `loop` must outlive it. Errors: of Listener::Open.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Open(
      EventLoop& loop, const Endpoint& endpoint,
      const RpcServerOptions& options, Backend backend);
  // Closes all connections; their calls stay unanswered.
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  // Takes no more connections, refuses new calls (Unavailable: without effect),
  // and ends each connection once its calls are answered and the answers sent.
  // Calls `done` once, on the loop's thread: when all clients have gone, or
  // after `max`. Status and digests are answered until then. At most once.
  void Drain(absl::Duration max, std::function<void()> done);

  // What the shards answered, on the loop's thread.
  void OnReplies(std::vector<replica::ClientReply> replies);

  // Where it listens: port 0 has become a number.
  const Endpoint& endpoint() const;
  size_t connections() const;

 private:
  class Impl;
  explicit RpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_RPC_SERVER_H_
