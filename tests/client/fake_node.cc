#include "tests/client/fake_node.h"

#include <capnp/rpc-twoparty.h>

#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "crdt/check.h"
#include "net/client_codec.h"
#include "net/event_loop.h"
#include "net/message_stream.h"
#include "net/socket.h"
#include "tests/client/memory_replica.h"

namespace dovetail {
namespace {

namespace wire = net::wire;

// What tests set and look at, from their thread.
struct Knobs {
  mutable std::mutex mutex;
  Behaviour behaviour = Behaviour::kServe;
  absl::Duration delay;
  size_t refusals = 0;
  absl::Status refusal;
  uint32_t oldest_version = wire::OLDEST_PROTOCOL_VERSION;
  uint32_t newest_version = wire::PROTOCOL_VERSION;
  replica::NodeId id{0};
  uint64_t epoch = 0;
  replica::RingStamp ring;
  replica::RingStamp last_ring;
  std::optional<net::ClusterView> view;
  std::vector<replica::TransferProgress> transfers;
  std::function<absl::StatusOr<net::PlanView>(const net::ClusterAdmin&)> admin;
  std::vector<size_t> call_sizes;
  std::vector<std::string> keys;
  size_t lists = 0;
  size_t views = 0;
  replica::RequestOptions last_options;
  std::optional<replica::SessionToken> last_session;
  replica::RingStamp last_list_ring;
  std::vector<replica::SessionToken> last_list_session;
  size_t connections = 0;
};

std::optional<replica::SessionToken> SessionOfLast(
    const net::ExecuteCall& call) {
  if (call.operations.empty() || !call.operations.back().ok()) {
    return std::nullopt;
  }
  return std::visit([](const auto& request) { return request.session; },
                    *call.operations.back());
}

std::string KeyOf(const absl::StatusOr<net::ClientOperation>& operation) {
  if (!operation.ok()) return "";
  if (const auto* read = std::get_if<replica::ReadRequest>(&*operation)) {
    return read->spec.object.key;
  }
  const auto& mutations =
      std::get<replica::WriteRequest>(*operation).operations;
  return mutations.empty() ? "" : mutations.front().object.key;
}

}  // namespace

struct FakeNode::State {
  class Service;
  struct Connection;

  void Run(uint16_t port, std::promise<void>& ready);
  void Accept(net::Socket socket);
  void HangUp(uint64_t connection);
  void Retire(uint64_t connection);

  Knobs knobs;
  std::thread thread;
  net::EventLoop* loop = nullptr;
  uint16_t port = 0;

  // On the node's thread only.
  MemoryReplica replica;
  std::map<uint64_t, std::unique_ptr<Connection>> connections;
  uint64_t next_connection = 0;
  bool held = false;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiting;
};

// Cap'n Proto's servers have no virtual destructor; nothing is deleted through
// them.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"

class FakeNode::State::Service final : public wire::Dovetail::Server {
 public:
  Service(State& state, uint64_t connection)
      : state_(state), connection_(connection) {}

  kj::Promise<void> hello(HelloContext context) override {
    std::lock_guard<std::mutex> lock(state_.knobs.mutex);
    net::EncodeHello({state_.knobs.newest_version, state_.knobs.oldest_version,
                      "fake", state_.knobs.id, "fake",
                      MemoryReplica::kPartitions, state_.knobs.epoch},
                     context.getResults());
    return kj::READY_NOW;
  }

  kj::Promise<void> execute(ExecuteContext context) override {
    auto call = net::DecodeExecute(context.getParams());
    Behaviour behaviour;
    absl::Duration delay;
    {
      std::lock_guard<std::mutex> lock(state_.knobs.mutex);
      behaviour = state_.knobs.behaviour;
      delay = state_.knobs.delay;
      state_.knobs.last_ring = net::RingOf(context.getParams());
      for (size_t i = 0; call.ok() && i < call->operations.size(); ++i) {
        if (state_.knobs.refusals == 0) break;
        --state_.knobs.refusals;
        call->operations[i] = state_.knobs.refusal;
      }
      state_.knobs.call_sizes.push_back(call.ok() ? call->operations.size()
                                                  : 0);
      if (call.ok()) {
        state_.knobs.last_options = call->options;
        state_.knobs.last_session = SessionOfLast(*call);
        for (const auto& operation : call->operations) {
          state_.knobs.keys.push_back(KeyOf(operation));
        }
      }
    }
    switch (behaviour) {
      case Behaviour::kServe:
        break;
      case Behaviour::kServeThenHangUp:
        (void)Carry(call);
        state_.HangUp(connection_);
        return kj::NEVER_DONE;
      case Behaviour::kHangUp:
        state_.HangUp(connection_);
        return kj::NEVER_DONE;
      case Behaviour::kSilent:
        return kj::NEVER_DONE;
      case Behaviour::kThrow:
        return KJ_EXCEPTION(FAILED, "out of order");
    }
    if (!state_.held && delay == absl::ZeroDuration()) {
      Answer(context, call);
      return kj::READY_NOW;
    }
    auto paf = kj::newPromiseAndFulfiller<void>();
    if (state_.held) {
      state_.waiting.push_back(kj::mv(paf.fulfiller));
    } else {
      state_.loop->After(delay,
                         [later = std::make_shared<decltype(paf.fulfiller)>(
                              kj::mv(paf.fulfiller))] { (*later)->fulfill(); });
    }
    auto kept = std::make_shared<decltype(call)>(std::move(call));
    return paf.promise.then(
        [this, context, kept]() mutable { Answer(context, *kept); });
  }

  kj::Promise<void> list(ListContext context) override {
    auto request = net::DecodeList(context.getParams());
    if (request.ok()) {
      std::lock_guard<std::mutex> lock(state_.knobs.mutex);
      ++state_.knobs.lists;
      state_.knobs.last_options = request->options;
      state_.knobs.last_list_ring = net::RingOf(context.getParams());
      state_.knobs.last_list_session = request->request.session;
    }
    TellNewerRing(net::RingOf(context.getParams()), context.getResults());
    net::EncodeListReply(request.ok()
                             ? absl::StatusOr<replica::ListReply>(
                                   state_.replica.List(request->request))
                             : request.status(),
                         context.getResults());
    return kj::READY_NOW;
  }

  kj::Promise<void> status(StatusContext context) override {
    net::NodeStatus status;
    status.name = "fake";
    status.version = "0";
    status.partitions = MemoryReplica::kPartitions;
    {
      std::lock_guard<std::mutex> lock(state_.knobs.mutex);
      status.transfers = state_.knobs.transfers;
    }
    net::EncodeStatus(status, context.getResults().initStatus());
    return kj::READY_NOW;
  }

  kj::Promise<void> cluster(ClusterContext context) override {
    std::lock_guard<std::mutex> lock(state_.knobs.mutex);
    if (!state_.knobs.view.has_value()) {
      return wire::Dovetail::Server::cluster(context);
    }
    ++state_.knobs.views;
    net::EncodeClusterView(*state_.knobs.view,
                           context.getResults().initCluster());
    return kj::READY_NOW;
  }

  kj::Promise<void> clusterAdmin(ClusterAdminContext context) override {
    // It may set what is behind the mutex.
    const auto run = [this] {
      std::lock_guard<std::mutex> lock(state_.knobs.mutex);
      return state_.knobs.admin;
    }();
    if (!run) return wire::Dovetail::Server::clusterAdmin(context);
    const auto admin = net::DecodeClusterAdmin(context.getParams());
    net::EncodeClusterAdminReply(admin.ok() ? run(*admin) : admin.status(),
                                 context.getResults());
    return kj::READY_NOW;
  }

  // One partition a page, so that clients must ask again.
  kj::Promise<void> digest(DigestContext context) override {
    const uint32_t first = context.getParams().getFirst();
    net::NodeDigests digests;
    digests.name = "fake";
    replica::PartitionDigest digest;
    digest.partition = replica::PartitionId{static_cast<uint16_t>(first)};
    digests.partitions = {digest};
    digests.more = first < 3;
    net::EncodeDigests(digests, first, context.getResults().initDigests());
    return kj::READY_NOW;
  }

 private:
  std::vector<net::ClientResult> Carry(
      const absl::StatusOr<net::ExecuteCall>& call) {
    std::vector<net::ClientResult> results;
    for (const auto& operation : call->operations) {
      results.push_back(operation.ok() ? state_.replica.Run(*operation)
                                       : net::ClientResult(operation.status()));
    }
    return results;
  }

  void Answer(ExecuteContext& context,
              const absl::StatusOr<net::ExecuteCall>& call) {
    if (!call.ok()) {
      return net::EncodeFailure(call.status(), context.getResults());
    }
    net::EncodeResults(Carry(call), context.getResults());
    TellNewerRing(net::RingOf(context.getParams()), context.getResults());
  }

  template <class Reply>
  void TellNewerRing(const replica::RingStamp& theirs, Reply reply) {
    std::lock_guard<std::mutex> lock(state_.knobs.mutex);
    if (theirs.epoch != 0 && IsNewerRing(state_.knobs.ring, theirs)) {
      net::EncodeRing(state_.knobs.ring, reply.initNewerRing());
    }
  }

  State& state_;
  const uint64_t connection_;
};

#pragma GCC diagnostic pop

struct FakeNode::State::Connection {
  Connection(State& state, uint64_t id, net::Socket socket)
      : stream(*state.loop, std::move(socket), {}),
        network(stream, capnp::rpc::twoparty::Side::SERVER,
                net::ReaderOptionsFor(net::kClientFrameBytesMax)),
        rpc(capnp::makeRpcServer(
            network, capnp::Capability::Client(kj::heap<Service>(state, id)))),
        gone(network.onDisconnect()
                 .then([&state, id] { state.Retire(id); })
                 .eagerlyEvaluate(nullptr)) {}
  net::SocketMessageStream stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  kj::Promise<void> gone;
};

void FakeNode::State::Run(uint16_t wanted_port, std::promise<void>& ready) {
  net::EventLoop event_loop;
  loop = &event_loop;
  auto listener = net::Listener::Open(
      event_loop, {"127.0.0.1", wanted_port},
      [this](net::Socket socket) { Accept(std::move(socket)); });
  DOVETAIL_CHECK(listener.ok());
  port = (*listener)->endpoint().port;
  ready.set_value();
  event_loop.Run();
  waiting.clear();
  connections.clear();
}

void FakeNode::State::Accept(net::Socket socket) {
  const uint64_t id = next_connection++;
  {
    std::lock_guard<std::mutex> lock(knobs.mutex);
    ++knobs.connections;
  }
  connections.emplace(
      id, std::make_unique<Connection>(*this, id, std::move(socket)));
}

void FakeNode::State::HangUp(uint64_t connection) {
  loop->Post([this, connection] {
    const auto it = connections.find(connection);
    if (it == connections.end()) return;
    it->second->stream.Close(absl::UnavailableError("told to hang up"));
  });
}

void FakeNode::State::Retire(uint64_t connection) {
  loop->Post([this, connection] { connections.erase(connection); });
}

FakeNode::FakeNode(uint16_t port) : state_(std::make_unique<State>()) {
  std::promise<void> ready;
  auto listening = ready.get_future();
  state_->thread =
      std::thread([this, port, ready = std::move(ready)]() mutable {
        state_->Run(port, ready);
      });
  listening.wait();
}

FakeNode::~FakeNode() {
  state_->loop->Stop();
  state_->thread.join();
}

uint16_t FakeNode::port() const { return state_->port; }

std::string FakeNode::address() const {
  return "127.0.0.1:" + std::to_string(state_->port);
}

void FakeNode::SetBehaviour(Behaviour behaviour) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.behaviour = behaviour;
}

void FakeNode::Refuse(size_t operations, absl::Status why) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.refusals = operations;
  state_->knobs.refusal = std::move(why);
}

void FakeNode::SetVersions(uint32_t oldest, uint32_t newest) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.oldest_version = oldest;
  state_->knobs.newest_version = newest;
}

void FakeNode::SetHello(replica::NodeId id, uint64_t epoch) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.id = id;
  state_->knobs.epoch = epoch;
}

void FakeNode::SetRing(const replica::RingStamp& ring) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.ring = ring;
}

replica::RingStamp FakeNode::last_ring() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.last_ring;
}

void FakeNode::SetTransfers(std::vector<replica::TransferProgress> transfers) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.transfers = std::move(transfers);
}

void FakeNode::SetAdmin(
    std::function<absl::StatusOr<net::PlanView>(const net::ClusterAdmin&)>
        admin) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.admin = std::move(admin);
}

void FakeNode::SetView(net::ClusterView view) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.view = std::move(view);
}

void FakeNode::SetDelay(absl::Duration delay) {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  state_->knobs.delay = delay;
}

void FakeNode::Hold() {
  std::promise<void> done;
  state_->loop->Post([this, &done] {
    state_->held = true;
    done.set_value();
  });
  done.get_future().wait();
}

void FakeNode::Release() {
  state_->loop->Post([this] {
    state_->held = false;
    for (auto& fulfiller : std::exchange(state_->waiting, {})) {
      fulfiller->fulfill();
    }
  });
}

void FakeNode::HangUpAll() {
  state_->loop->Post([this] {
    for (auto& [id, connection] : state_->connections) {
      connection->stream.Close(absl::UnavailableError("told to hang up"));
    }
  });
}

std::vector<size_t> FakeNode::call_sizes() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.call_sizes;
}

std::vector<std::string> FakeNode::keys() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.keys;
}

size_t FakeNode::lists() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.lists;
}

size_t FakeNode::views() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.views;
}

replica::RequestOptions FakeNode::last_options() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.last_options;
}

std::optional<replica::SessionToken> FakeNode::last_session() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.last_session;
}

replica::RingStamp FakeNode::last_list_ring() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.last_list_ring;
}

std::vector<replica::SessionToken> FakeNode::last_list_session() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.last_list_session;
}

size_t FakeNode::connections() const {
  std::lock_guard<std::mutex> lock(state_->knobs.mutex);
  return state_->knobs.connections;
}

}  // namespace dovetail
