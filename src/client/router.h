// Which connection: each operation goes straight to an owner of its partition,
// so that no node has to pass it on.
//
// There is always the home connection, to one of the nodes the user named, or
// to another member when none of them answers. Of it the router asks the
// cluster's view: at each of its hellos, when a connection breaks, when an
// owner names a newer ring in its hello or beside an answer, and every
// view_refresh. Each call names the ring it was placed by, so that who lags
// behind that catches up before it coordinates. With the ring of a view it
// keeps a connection to each owner that is asked for something:
//
//   partition of the operation → owners, near ones first (routes.h) → the first
//   that is connected and that the cluster does not take for dead → or home
//
//  - Nothing waits for an owner to be dialled: until it has said hello the next
//    owner that is connected takes its part, or home. So an owner that only the
//    nodes can reach costs its clients nothing but attempts.
//  - No ring (an older node, a view that cannot be had): all goes home.
//  - Listings and inspection go home, and what is meant for one node does
//    (RequestOptions::here, ReadRequest::only).
//  - A level of the coordinator's region (LOCAL_ONE …) is asked of an owner in
//    the client's own region, or at home.
//  - An owner that answers far later than others (slow_nodes.h) is passed over
//    for the next one that does not. Now and then a small read of its own tells
//    whether it is quick again. What is meant for one region stays there.
//  - What waited on a connection that broke is placed again. What was sent is
//    the dispatcher's business: reads come back, mutations have failed.
//
// A newer ring replaces the routes; connections to nodes that left end when
// their last answer is there. Rings are ordered (cluster_config.h), so that a
// node that lags behind cannot bring an old one back.
//
// On the thread of the event loop.
#ifndef DOVETAIL_SRC_CLIENT_ROUTER_H_
#define DOVETAIL_SRC_CLIENT_ROUTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "net/client_types.h"
#include "net/endpoint.h"
#include "net/event_loop.h"
#include "replica/cluster_config.h"
#include "src/client/client.h"
#include "src/client/dispatcher.h"
#include "src/client/routes.h"
#include "src/client/slow_nodes.h"

namespace dovetail::internal {

class Router {
 public:
  // `first` and `connected` are told of the home connection. Must live as long
  // as `loop` runs.
  Router(net::EventLoop& loop, const std::vector<net::Endpoint>& nodes,
         const ClientOptions& options, std::function<void(absl::Status)> first,
         std::function<void(const net::Endpoint&)> connected);

  void Add(Pending pending);
  void Add(Lookup lookup) { home_->Add(std::move(lookup)); }
  // Sends what may be sent; call it after some Add().
  void Pump();
  // Fails everything that is unanswered. Nothing else may be called after it.
  void Shutdown();

  const Dispatcher& home() const { return *home_; }
  Dispatcher& home() { return *home_; }

 private:
  // A member of the ring.
  struct Node {
    net::Endpoint address;
    bool usable = false;  // it has an address, and is not taken for dead
    std::unique_ptr<Dispatcher> connection;  // null until it is asked for
  };

  Dispatcher& Target(const Pending& pending);
  // Asks a slow node, over `connection` to it, for the object of `pending`, if
  // it is time to; the answer is dropped.
  void Probe(replica::NodeId id, Dispatcher& connection,
             const crdt::ObjectId& object);
  // Makes `events` measure what goes over the connection of `node`.
  void Measure(ConnectionEvents& events, std::function<replica::NodeId()> node);
  // Makes them say by which ring operations are placed, and hear of newer ones.
  void TellRing(ConnectionEvents& events);
  // The connection to `id`, if it can be used now.
  Dispatcher* Ready(replica::NodeId id, const Node& node);
  std::unique_ptr<Dispatcher> Open(replica::NodeId id,
                                   const net::Endpoint& address);
  void OnOwnerHello(replica::NodeId id);
  void OnNewerRing(const replica::RingStamp& ring);
  void OnLost(Waiting waiting);

  void Refresh();
  // Whom to ask for the view.
  Dispatcher& BestInformed();
  void OnView(const absl::StatusOr<net::ClusterView>& view);
  void Learn(const net::ClusterView& view);
  // Whether the ring of `view` is the one that is known now.
  bool LearnRing(const net::ClusterView& view, const Here& here);
  void LearnNodes(const net::ClusterView& view);
  void LearnFallbacks(const net::ClusterView& view);
  // Ends a connection as soon as nothing is owed to it.
  void Retire(Node& node);
  void Sweep();
  void OnTick();

  net::EventLoop& loop_;
  const ClientOptions options_;
  std::unique_ptr<Dispatcher> home_;

  std::optional<replica::CommittedRing> ring_;
  std::string config_;  // what ring_ was decoded of
  Here here_;
  std::optional<Routes> routes_;  // absent without a ring
  std::map<replica::NodeId, Node> nodes_;
  std::vector<std::unique_ptr<Dispatcher>> retired_;
  SlowNodes slow_;
  uint64_t connections_ = 0;  // that were ever measured

  absl::Duration newer_asked_ = -absl::InfiniteDuration();
  bool asking_ = false;     // for the view
  bool ask_again_ = false;  // something changed meanwhile
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_ROUTER_H_
