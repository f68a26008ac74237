#include "net/node.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "crdt/check.h"
#include "net/client_types.h"
#include "net/dovetail.capnp.h"
#include "replica/shard.h"

namespace dovetail::net {
namespace {

using replica::Index;
using replica::NodeId;

// One answer from each shard, gathered on the loop's thread. `done` may hold KJ
// objects: it lives and dies on that thread.
template <class T>
struct Gathering {
  std::vector<T> parts;
  size_t missing = 0;
  std::function<void(std::vector<T>)> done;
};

}  // namespace

class Node::Impl : public std::enable_shared_from_this<Node::Impl> {
 public:
  Impl(EventLoop& loop, Config config, Hooks hooks)
      : loop_(loop),
        config_(std::move(config)),
        hooks_(std::move(hooks)),
        started_(std::chrono::steady_clock::now()) {}

  absl::Status Start(replica::Storage& storage);
  absl::Status Stop();

  RpcServer& rpc() { return *rpc_; }
  PeerLinks& peers() { return *peers_; }
  Host& host() { return *host_; }

 private:
  absl::Status StartHost(replica::Storage& storage);
  absl::Status StartRpc();
  absl::Status StartPeers();
  void OnOutput(HostOutput output);

  // Asks every shard for `read`'s result and calls `done` with all of them, in
  // order of the shards, on the loop's thread.
  template <class T>
  void Gather(std::function<T(replica::Shard&)> read,
              std::function<void(std::vector<T>)> done);
  void Status(std::function<void(const NodeStatus&)> done);
  void Digests(std::function<void(const NodeDigests&)> done);
  NodeStatus StatusOf(std::vector<replica::ShardStats> shards) const;
  const Member& self() const { return config_.members[Index(config_.self)]; }

  EventLoop& loop_;
  const Config config_;
  const Hooks hooks_;
  const std::chrono::steady_clock::time_point started_;
  // Gathering<T>, by number.
  std::map<uint64_t, std::shared_ptr<void>> gatherings_;
  uint64_t next_gathering_ = 0;
  std::unique_ptr<Host> host_;
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<PeerLinks> peers_;
};

absl::Status Node::Impl::Start(replica::Storage& storage) {
  DOVETAIL_RETURN_IF_ERROR(StartHost(storage));
  DOVETAIL_RETURN_IF_ERROR(StartRpc());
  return StartPeers();
}

absl::Status Node::Impl::StartHost(replica::Storage& storage) {
  const Host::Config config{
      .options = config_.host,
      .shard = config_.shard,
      .placement = replica::Placement(
          static_cast<uint32_t>(config_.members.size()), config_.partitions),
      .self = config_.self,
      .actor = config_.actor};
  // Turns end on shard threads; sockets belong to the loop's.
  auto on_output = [this, weak = weak_from_this()](HostOutput output) {
    auto shared = std::make_shared<HostOutput>(std::move(output));
    loop_.Post([weak, shared] {
      if (auto self = weak.lock()) self->OnOutput(std::move(*shared));
    });
  };
  DOVETAIL_ASSIGN_OR_RETURN(
      host_, Host::Start(config, storage, on_output, hooks_.fatal));
  return absl::OkStatus();
}

absl::Status Node::Impl::StartRpc() {
  RpcServer::Backend backend;
  backend.hello = {.protocol_version = wire::PROTOCOL_VERSION,
                   .oldest_protocol_version = wire::OLDEST_PROTOCOL_VERSION,
                   .server = absl::StrCat("dovetaild ", config_.version),
                   .node = config_.self,
                   .node_name = self().name};
  backend.submit = [this](std::vector<replica::ClientRequest> requests) {
    return host_->Submit(std::move(requests));
  };
  backend.status = [this](auto done) { Status(std::move(done)); };
  backend.digests = [this](auto done) { Digests(std::move(done)); };
  backend.log = hooks_.log;
  DOVETAIL_ASSIGN_OR_RETURN(
      rpc_,
      RpcServer::Open(loop_, config_.listen, config_.rpc, std::move(backend)));
  return absl::OkStatus();
}

absl::Status Node::Impl::StartPeers() {
  PeerLinks::Config config;
  config.self = {
      .cluster = config_.cluster,
      .node = config_.self,
      .members = static_cast<uint32_t>(config_.members.size()),
      .partitions = config_.partitions,
      .incarnation = config_.actor,
      .member_names = absl::StrJoin(
          config_.members, ",",
          [](std::string* out, const Member& m) { out->append(m.name); }),
      .client_address = ToString(rpc_->endpoint())};
  config.listen = config_.peer_listen;
  for (const Member& member : config_.members) {
    config.members.push_back(member.peer_endpoint);
  }
  config.options = config_.peers;
  PeerLinks::Events events;
  events.on_messages = [this](NodeId from, PeerMessages messages) {
    host_->Deliver(from, std::move(messages));
  };
  events.on_up = [this](NodeId peer) { host_->PeerUp(peer); };
  events.on_down = [this](NodeId peer) { host_->PeerDown(peer); };
  events.log = hooks_.log;
  DOVETAIL_ASSIGN_OR_RETURN(
      peers_, PeerLinks::Open(loop_, std::move(config), std::move(events)));
  return absl::OkStatus();
}

void Node::Impl::OnOutput(HostOutput output) {
  if (peers_ != nullptr) {
    for (auto& frame : output.frames) {
      peers_->Send(frame.to, std::move(frame.bytes));
    }
  }
  if (rpc_ != nullptr) rpc_->OnReplies(std::move(output.replies));
}

template <class T>
void Node::Impl::Gather(std::function<T(replica::Shard&)> read,
                        std::function<void(std::vector<T>)> done) {
  const auto gathering = std::make_shared<Gathering<T>>();
  gathering->parts.resize(host_->shards());
  gathering->missing = host_->shards();
  gathering->done = std::move(done);
  const uint64_t id = next_gathering_++;
  gatherings_[id] = gathering;
  // Shard threads get the number alone, so that none of them ever holds the
  // last reference.
  for (uint32_t i = 0; i < host_->shards(); ++i) {
    host_->Query(
        i, [this, weak = weak_from_this(), id, i, read](replica::Shard& shard) {
          auto part = std::make_shared<T>(read(shard));
          loop_.Post([weak, id, i, part] {
            const auto self = weak.lock();
            if (self == nullptr) return;
            const auto it = self->gatherings_.find(id);
            if (it == self->gatherings_.end()) return;  // stopped
            auto& waiting = *static_cast<Gathering<T>*>(it->second.get());
            waiting.parts[i] = std::move(*part);
            if (--waiting.missing > 0) return;
            const auto complete = it->second;  // outlives the entry
            self->gatherings_.erase(it);
            waiting.done(std::move(waiting.parts));
          });
        });
  }
}

void Node::Impl::Status(std::function<void(const NodeStatus&)> done) {
  Gather<replica::ShardStats>(
      [](replica::Shard& shard) { return shard.stats(); },
      [this, done](std::vector<replica::ShardStats> shards) {
        done(StatusOf(std::move(shards)));
      });
}

NodeStatus Node::Impl::StatusOf(std::vector<replica::ShardStats> shards) const {
  NodeStatus status;
  status.id = config_.self;
  status.name = self().name;
  status.version = config_.version;
  status.uptime = absl::FromChrono(std::chrono::steady_clock::now() - started_);
  status.actor = config_.actor;
  status.partitions = config_.partitions;
  for (uint32_t i = 0; i < config_.members.size(); ++i) {
    const NodeId id{i};
    const bool me = id == config_.self;
    std::string address = config_.members[i].client_address;
    if (me) {
      address = ToString(rpc_->endpoint());
    } else if (!peers_->client_address(id).empty()) {
      address = peers_->client_address(id);
    }
    status.members.push_back({.id = id,
                              .name = config_.members[i].name,
                              .address = std::move(address),
                              .up = me || peers_->up(id)});
  }
  status.shards = std::move(shards);
  if (hooks_.storage) status.storage = hooks_.storage();
  return status;
}

void Node::Impl::Digests(std::function<void(const NodeDigests&)> done) {
  using Part = std::vector<replica::PartitionDigest>;
  Gather<Part>([](replica::Shard& shard) { return shard.Digests(); },
               [this, done](std::vector<Part> parts) {
                 NodeDigests digests;
                 digests.id = config_.self;
                 digests.name = self().name;
                 for (Part& part : parts) {
                   digests.partitions.insert(digests.partitions.end(),
                                             part.begin(), part.end());
                 }
                 std::sort(digests.partitions.begin(), digests.partitions.end(),
                           [](const auto& a, const auto& b) {
                             return a.partition < b.partition;
                           });
                 done(digests);
               });
}

absl::Status Node::Impl::Stop() {
  gatherings_.clear();
  rpc_.reset();
  peers_.reset();
  return host_ == nullptr ? absl::OkStatus() : host_->Stop();
}

absl::StatusOr<std::unique_ptr<Node>> Node::Open(EventLoop& loop, Config config,
                                                 replica::Storage& storage,
                                                 Hooks hooks) {
  DOVETAIL_CHECK(Index(config.self) < config.members.size());
  auto impl = std::make_shared<Impl>(loop, std::move(config), std::move(hooks));
  const absl::Status started = impl->Start(storage);
  if (!started.ok()) return started;
  return std::unique_ptr<Node>(new Node(std::move(impl)));
}

Node::Node(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() { Stop().IgnoreError(); }
void Node::Drain(absl::Duration max, std::function<void()> done) {
  impl_->rpc().Drain(max, std::move(done));
}
absl::Status Node::Stop() { return impl_->Stop(); }
const Endpoint& Node::client_endpoint() const {
  return impl_->rpc().endpoint();
}
const Endpoint& Node::peer_endpoint() const {
  return impl_->peers().endpoint();
}
PeerLinks& Node::peers() { return impl_->peers(); }
Host& Node::host() { return impl_->host(); }

}  // namespace dovetail::net
