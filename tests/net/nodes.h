// Whole nodes in one process, on real sockets, asked as clients ask.
#ifndef DOVETAIL_TESTS_NET_NODES_H_
#define DOVETAIL_TESTS_NET_NODES_H_

#include <capnp/rpc-twoparty.h>
#include <doctest/doctest.h>
#include <kj/async.h>

#include <boost/asio/write.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/client_codec.h"
#include "net/message_stream.h"
#include "net/node.h"
#include "replica/hash.h"
#include "replica/ring_plan.h"
#include "replica/shard.h"
#include "tests/net/http.h"
#include "tests/net/support.h"

namespace dovetail::net {

using replica::NodeId;

inline std::string NameOf(uint32_t i) {
  return std::string(1, static_cast<char>('a' + i));
}
inline NodeId Id(uint32_t i) { return replica::NodeIdOf("test", NameOf(i)); }

// A client connection by hand.
struct Caller {
  SocketMessageStream stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  wire::Dovetail::Client node;

  Caller(EventLoop& loop, Socket socket)
      : stream(loop, std::move(socket), {}),
        network(stream, capnp::rpc::twoparty::Side::CLIENT,
                ReaderOptionsFor(kClientFrameBytesMax)),
        rpc(capnp::makeRpcClient(network)),
        node(Bootstrap().castAs<wire::Dovetail>()) {}

  capnp::Capability::Client Bootstrap() {
    capnp::MallocMessageBuilder message(8);
    auto id = message.initRoot<capnp::rpc::twoparty::VatId>();
    id.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc.bootstrap(id);
  }
};

class Cluster {
 public:
  explicit Cluster(uint32_t nodes, uint32_t members = 0) {
    replica::RingSpec spec;
    spec.partitions = 16;
    for (uint32_t i = 0; i < (members == 0 ? nodes : members); ++i) {
      replica::RingMember member;
      member.id = Id(i);
      member.name = NameOf(i);
      spec.members.push_back(member);
    }
    for (uint32_t i = 0; i < nodes; ++i) {
      disks_.push_back(std::make_unique<sim::SimDisk>());
      storages_.push_back(std::make_unique<LockedStorage>(*disks_.back()));
      Node::Config config;
      config.cluster = "test";
      config.name = NameOf(i);
      config.config.ring = *replica::FirstRing(spec, NodeId{});
      // One acquaintance is enough.
      if (i > 0) {
        config.peers.push_back({Id(0), NameOf(0),
                                ToString(nodes_[0]->peer_endpoint()), "", "",
                                ""});
      }
      config.listen = {"127.0.0.1", 0};
      config.peer_listen = {"127.0.0.1", 0};
      config.metrics_listen = Endpoint{"127.0.0.1", 0};
      config.version = "test";
      config.actor = crdt::ActorId{100 + i};
      config.host.shards = 2;
      config.links.backoff_min = absl::Milliseconds(1);
      REQUIRE(replica::RecordActor(*storages_.back(), config.actor).ok());
      auto node = Node::Open(
          loop, config, *storages_.back(),
          {.log =
               [this](absl::string_view line) {
                 log.push_back(std::string(line));
               },
           .fatal = [](const absl::Status&) { std::abort(); },
           .storage = nullptr,
           .save =
               [this, i](const replica::ClusterConfig& saved,
                         const std::vector<replica::MemberRecord>& peers) {
                 const bool again = stored.contains(i) && stored[i] == saved &&
                                    stored_peers[i] == peers;
                 stored_again += again ? 1 : 0;
                 stored[i] = saved;
                 stored_peers[i] = peers;
                 return absl::OkStatus();
               }});
      REQUIRE(node.ok());
      nodes_.push_back(*std::move(node));
    }
    RunUntil(loop, [&] { return AllUp(); });
  }

  Node& node(size_t i) { return *nodes_[i]; }
  LockedStorage& storage(size_t i) { return *storages_[i]; }

  std::unique_ptr<Caller> Call(size_t i) {
    std::unique_ptr<Caller> caller;
    Dial(loop, node(i).client_endpoint(), absl::Seconds(10),
         [&](absl::StatusOr<Socket> socket) {
           REQUIRE(socket.ok());
           caller = std::make_unique<Caller>(loop, *std::move(socket));
         });
    RunUntil(loop, [&] { return caller != nullptr; });
    return caller;
  }

  // Until node `i` has heard of all others that there is nothing yet. Only an
  // answer proves it.
  void AwaitFounded(size_t i) {
    const auto caller = Call(i);
    replica::ListRequest list;
    list.bucket = "b";
    for (bool founded = false; !founded;) {
      auto request = caller->node.listRequest();
      EncodeList(list, {}, request);
      founded = DecodeListReply(request.send().wait(loop.wait_scope())).ok();
    }
  }

  using ExecutePromise = capnp::RemotePromise<wire::ExecuteReply>;
  ExecutePromise Send(Caller& caller, const std::vector<ClientOperation>& ops,
                      const replica::RequestOptions& options) {
    auto request = caller.node.executeRequest();
    std::vector<const ClientOperation*> pointers;
    for (const auto& op : ops) pointers.push_back(&op);
    EncodeExecute(pointers, options, request);
    return request.send();
  }
  std::vector<ClientResult> Execute(Caller& caller,
                                    const std::vector<ClientOperation>& ops,
                                    const replica::RequestOptions& options) {
    return Await(Send(caller, ops, options));
  }
  std::vector<ClientResult> Await(ExecutePromise promise) {
    auto reply = promise.wait(loop.wait_scope());
    auto results = DecodeResults(reply);
    REQUIRE_MESSAGE(results.ok(), results.status().ToString());
    return *std::move(results);
  }

  NodeDigests Digests(Caller& caller) {
    auto reply = caller.node.digestRequest().send().wait(loop.wait_scope());
    auto digests = DecodeDigests(reply.getDigests());
    REQUIRE(digests.ok());
    return *std::move(digests);
  }

  EventLoop loop;
  std::vector<std::string> log;
  std::map<uint32_t, replica::ClusterConfig> stored;
  std::map<uint32_t, std::vector<replica::MemberRecord>> stored_peers;
  uint32_t stored_again = 0;  // that nothing had changed

 private:
  bool AllUp() {
    for (uint32_t i = 0; i < nodes_.size(); ++i) {
      for (uint32_t j = 0; j < nodes_.size(); ++j) {
        if (i != j && !nodes_[i]->peers().up(Id(j))) return false;
      }
    }
    return true;
  }
  std::vector<std::unique_ptr<sim::SimDisk>> disks_;
  std::vector<std::unique_ptr<LockedStorage>> storages_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

inline ClientOperation Add(const std::string& key, const std::string& element) {
  crdt::Operation operation;
  operation.object = {"b", key, crdt::Type::kSet};
  operation.verb = crdt::Verb::kAdd;
  operation.elements = {element};
  return replica::WriteRequest{{operation}};
}

inline ClientOperation Read(const std::string& key) {
  replica::ReadRequest read;
  read.spec.object = {"b", key, crdt::Type::kSet};
  return read;
}

}  // namespace dovetail::net

#endif  // DOVETAIL_TESTS_NET_NODES_H_
