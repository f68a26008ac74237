#include "net/rpc_server.h"

#include <capnp/rpc-twoparty.h>
#include <capnp/rpc.h>
#include <kj/async.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "net/client_codec.h"
#include "net/dovetail.capnp.h"
#include "net/message_stream.h"

namespace dovetail::net {
namespace {

using replica::ClientReply;
using replica::ClientRequest;
using replica::RequestId;

// About what a view takes in a reply.
size_t ViewBytes(const crdt::View& view) {
  size_t bytes = 64;
  for (const std::string& value : view.values) bytes += 16 + value.size();
  for (const auto& [field, child] : view.fields) {
    bytes += 32 + field.name.size() + ViewBytes(child);
  }
  return bytes;
}

// One execute call that waits for its operations, or one list call.
struct Call {
  std::vector<ClientResult> results;
  absl::StatusOr<replica::ListReply> list;
  size_t missing = 0;
  size_t read_bytes = 0;  // of the reads among `results`
  kj::Own<kj::PromiseFulfiller<void>> done;
};

// Which of them one request belongs to.
struct Waiting {
  std::shared_ptr<Call> call;
  size_t index = 0;
};

// How often a drain looks whether it is done.
constexpr absl::Duration kDrainTick = absl::Milliseconds(5);

absl::Status Stopping() {
  return absl::UnavailableError("the node is stopping; try another one");
}

// Of the first page of a bucket whose properties are to be deleted.
absl::Status CheckEmpty(const absl::StatusOr<replica::ListReply>& page) {
  if (!page.ok()) {
    return absl::Status(
        page.status().code(),
        absl::StrCat("whether the bucket holds objects cannot be told, and "
                     "keep_objects was not said: ",
                     page.status().message()));
  }
  if (page->objects.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the bucket holds objects, as ", crdt::ToString(page->objects.front()),
      "; delete them first, or say keep_objects: they stay, and the node's "
      "defaults apply to them"));
}

// A promise for what `ask` passes to its callback.
template <class T, class Ask>
kj::Promise<T> Promised(Ask&& ask) {
  auto paf = kj::newPromiseAndFulfiller<T>();
  // std::function wants what can be copied.
  auto fulfiller =
      std::make_shared<kj::Own<kj::PromiseFulfiller<T>>>(kj::mv(paf.fulfiller));
  ask([fulfiller](const T& value) { (*fulfiller)->fulfill(T(value)); });
  return kj::mv(paf.promise);
}

}  // namespace

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"

class RpcServer::Impl final : private kj::TaskSet::ErrorHandler {
 public:
  Impl(EventLoop& loop, const RpcServerOptions& options, Backend backend)
      : loop_(loop),
        options_(options),
        backend_(std::move(backend)),
        connections_(*this) {}
  ~Impl() { listener_.reset(); }

  absl::Status Listen(const Endpoint& endpoint) {
    auto listener = Listener::Open(loop_, endpoint, [this](Socket socket) {
      OnAccept(std::move(socket));
    });
    if (!listener.ok()) return listener.status();
    listener_ = *std::move(listener);
    endpoint_ = listener_->endpoint();
    return absl::OkStatus();
  }
  void Drain(absl::Duration max, std::function<void()> done);
  void OnReplies(std::vector<ClientReply> replies) {
    for (ClientReply& reply : replies) OnReply(std::move(reply));
  }
  const Endpoint& endpoint() const { return endpoint_; }
  size_t connections() const { return open_.size(); }

 private:
  class Service;
  struct Connection;

  void OnAccept(Socket socket);
  void DrainStep();
  void OnReply(ClientReply reply);
  // Submits requests for `call`, whose `missing` counts them, and answers when
  // none is missing any more.
  kj::Promise<void> Run(const std::shared_ptr<Call>& call,
                        std::vector<ClientRequest> requests,
                        uint64_t connection);
  // A new request for operation `index` of `call`.
  template <class Body>
  ClientRequest NewRequest(const std::shared_ptr<Call>& call, size_t index,
                           const replica::RequestOptions& options, Body body) {
    const RequestId id{next_id_++};
    waiting_[id] = {call, index};
    return {id, options, std::move(body)};
  }
  void taskFailed(kj::Exception&& exception) override {
    backend_.log(absl::StrCat("a client connection failed: ",
                              exception.getDescription().cStr()));
  }

  EventLoop& loop_;
  const RpcServerOptions options_;
  const Backend backend_;
  uint64_t next_id_ = 1;
  uint64_t next_connection_ = 1;
  absl::flat_hash_map<RequestId, Waiting> waiting_;
  absl::flat_hash_set<Connection*> open_;  // those in connections_
  kj::TaskSet connections_;
  Endpoint endpoint_;
  std::unique_ptr<Listener> listener_;
  // While it drains.
  std::function<void()> drained_;
  std::chrono::steady_clock::time_point drain_deadline_;
  // Last, so first to go: what a timer holds on to.
  const std::shared_ptr<Impl*> self_ = std::make_shared<Impl*>(this);
};

// The interface of net/dovetail.capnp, one object for each connection.
class RpcServer::Impl::Service final : public wire::Dovetail::Server {
 public:
  // `calls` counts the unanswered calls.
  Service(Impl& server, std::shared_ptr<size_t> calls)
      : server_(server),
        calls_(std::move(calls)),
        connection_(server.next_connection_++) {}

  // Counts a call until it goes, which may be after its connection went.
  auto Counted() {
    ++*calls_;
    return kj::defer([calls = calls_] { --*calls; });
  }

  kj::Promise<void> hello(HelloContext context) override {
    Hello hello = server_.backend_.hello;
    hello.epoch = server_.backend_.ring().epoch;
    EncodeHello(hello, context.getResults());
    return kj::READY_NOW;
  }

  kj::Promise<void> execute(ExecuteContext context) override {
    const replica::RingStamp theirs = RingOf(context.getParams());
    return CaughtUp(theirs, [this, context, theirs]() mutable {
      return Execute(context, theirs);
    });
  }

  kj::Promise<void> list(ListContext context) override {
    const replica::RingStamp theirs = RingOf(context.getParams());
    return CaughtUp(theirs, [this, context, theirs]() mutable {
      return List(context, theirs);
    });
  }

  kj::Promise<void> status(StatusContext context) override {
    return Promised<NodeStatus>(server_.backend_.status)
        .then([context](NodeStatus&& status) mutable {
          EncodeStatus(status, context.getResults().initStatus());
        });
  }

  kj::Promise<void> cluster(ClusterContext context) override {
    return Promised<ClusterView>(server_.backend_.cluster)
        .then([context](ClusterView&& view) mutable {
          EncodeClusterView(view, context.getResults().initCluster());
        });
  }

  kj::Promise<void> clusterAdmin(ClusterAdminContext context) override {
    auto admin = DecodeClusterAdmin(context.getParams());
    context.releaseParams();
    if (!admin.ok()) {
      EncodeClusterAdminReply(admin.status(), context.getResults());
      return kj::READY_NOW;
    }
    return Promised<absl::StatusOr<PlanView>>([&](auto done) {
             server_.backend_.admin(*std::move(admin), std::move(done));
           })
        .then([context](absl::StatusOr<PlanView>&& plan) mutable {
          EncodeClusterAdminReply(plan, context.getResults());
        })
        .attach(Counted());
  }

  kj::Promise<void> buckets(BucketsContext context) override {
    auto request = DecodeBucketRequest(context.getParams());
    context.releaseParams();
    if (server_.drained_) request = Stopping();
    if (!request.ok()) {
      EncodeBucketReply(request.status(), context.getResults());
      return kj::READY_NOW;
    }
    const auto* gone = std::get_if<DeleteBucket>(&*request);
    if (gone == nullptr || gone->keep_objects) {
      return Buckets(*std::move(request), context);
    }
    // Whether it holds an object, as a listing finds out.
    auto call = std::make_shared<Call>();
    replica::ListRequest first{gone->bucket, "", std::nullopt, 1};
    std::vector<ClientRequest> requests;
    requests.push_back(server_.NewRequest(call, 0, {}, std::move(first)));
    return server_.Run(call, std::move(requests), connection_)
        .then([this, call, request = *std::move(request), context]() mutable {
          const absl::Status empty = CheckEmpty(call->list);
          if (empty.ok()) return Buckets(std::move(request), context);
          EncodeBucketReply(empty, context.getResults());
          return kj::Promise<void>(kj::READY_NOW);
        })
        .attach(Counted());
  }

  kj::Promise<void> backup(BackupContext context) override {
    const auto text = context.getParams().getName();
    const std::string name(text.begin(), text.end());
    context.releaseParams();
    if (server_.drained_) {
      EncodeBackupReply(Stopping(), context.getResults());
      return kj::READY_NOW;
    }
    return Promised<absl::StatusOr<BackupMade>>([&](auto done) {
             server_.backend_.backup(name, std::move(done));
           })
        .then([context](absl::StatusOr<BackupMade>&& made) mutable {
          EncodeBackupReply(made, context.getResults());
        })
        .attach(Counted());
  }

  kj::Promise<void> digest(DigestContext context) override {
    const uint32_t first = context.getParams().getFirst();
    return Promised<NodeDigests>(server_.backend_.digests)
        .then([first, context](NodeDigests&& digests) mutable {
          EncodeDigests(digests, first, context.getResults().initDigests());
        });
  }

 private:
  // Goes on once this node has heard of the client's ring, or has waited for it
  // long enough.
  template <class Go>
  kj::Promise<void> CaughtUp(const replica::RingStamp& theirs, Go go) {
    if (!IsNewerRing(theirs, server_.backend_.ring())) return go();
    return Promised<bool>([&](auto done) {
             server_.backend_.catch_up(theirs, [done] { done(true); });
           })
        .then([go = kj::mv(go)](bool) mutable { return go(); })
        .attach(Counted());
  }

  // Beside an answer, to who goes by an older ring than this node.
  template <class Reply>
  void TellNewerRing(const replica::RingStamp& theirs, Reply reply) {
    const replica::RingStamp mine = server_.backend_.ring();
    if (theirs.epoch == 0 || !IsNewerRing(mine, theirs)) return;
    EncodeRing(mine, reply.initNewerRing());
  }

  kj::Promise<void> List(ListContext context,
                         const replica::RingStamp& theirs) {
    auto decoded = DecodeList(context.getParams());
    context.releaseParams();
    if (server_.drained_) decoded = Stopping();
    if (!decoded.ok()) {
      EncodeListReply(decoded.status(), context.getResults());
      return kj::READY_NOW;
    }
    const RpcServerOptions& options = server_.options_;
    replica::ListRequest& request = decoded->request;
    if (request.limit == 0) request.limit = options.list_objects_default;
    request.limit = std::min(request.limit, options.list_objects_max);
    auto call = std::make_shared<Call>();
    std::vector<ClientRequest> requests;
    requests.push_back(
        server_.NewRequest(call, 0, decoded->options, std::move(request)));
    return server_.Run(call, std::move(requests), connection_)
        .then([this, call, context, theirs]() mutable {
          EncodeListReply(call->list, context.getResults());
          TellNewerRing(theirs, context.getResults());
        })
        .attach(Counted());
  }

  // `theirs`: the ring by which the client chose this node.
  kj::Promise<void> Execute(ExecuteContext context,
                            const replica::RingStamp& theirs) {
    auto decoded = DecodeExecute(context.getParams());
    context.releaseParams();
    if (server_.drained_) decoded = Stopping();
    if (!decoded.ok()) {
      EncodeFailure(decoded.status(), context.getResults());
      return kj::READY_NOW;
    }
    auto call = std::make_shared<Call>();
    const size_t count = decoded->operations.size();
    call->results.resize(count);
    std::vector<ClientRequest> requests;
    requests.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      auto& operation = decoded->operations[i];
      if (!operation.ok()) {
        call->results[i] = operation.status();
        continue;
      }
      requests.push_back(std::visit(
          [&](auto&& body) {
            return server_.NewRequest(call, i, decoded->options,
                                      std::move(body));
          },
          *std::move(operation)));
    }
    return server_.Run(call, std::move(requests), connection_)
        .then([this, call, context, theirs]() mutable {
          EncodeResults(call->results, context.getResults());
          TellNewerRing(theirs, context.getResults());
        })
        .attach(Counted());
  }

  kj::Promise<void> Buckets(BucketRequest request, BucketsContext context) {
    return Promised<absl::StatusOr<BucketPage>>([&](auto done) {
             server_.backend_.buckets(std::move(request), std::move(done));
           })
        .then([context](absl::StatusOr<BucketPage>&& page) mutable {
          EncodeBucketReply(page, context.getResults());
        })
        .attach(Counted());
  }

  Impl& server_;
  const std::shared_ptr<size_t> calls_;
  const uint64_t connection_;
};

struct RpcServer::Impl::Connection {
  Connection(Impl& impl, Socket socket)
      : server(impl),
        stream(impl.loop_, std::move(socket),
               {.frame_bytes_max = kClientFrameBytesMax,
                .unsent_bytes_pause =
                    impl.options_.connection_unsent_bytes_pause}),
        network(stream, capnp::rpc::twoparty::Side::SERVER,
                ReaderOptionsFor(kClientFrameBytesMax)),
        rpc(capnp::makeRpcServer(network, kj::heap<Service>(impl, calls))) {
    rpc.setFlowLimit(impl.options_.connection_in_flight_bytes_max /
                     sizeof(capnp::word));
    server.open_.insert(this);
  }
  ~Connection() {
    server.open_.erase(this);
    const absl::Status& why = stream.closed();
    // Broken connections are the clients' ordinary life.
    if (!why.ok() && !absl::IsUnavailable(why)) {
      server.backend_.log(
          absl::StrCat("closed a client connection: ", why.message()));
    }
  }
  KJ_DISALLOW_COPY(Connection);

  // Says goodbye once nothing is owed, twice in a row: an answer may be on its
  // way from the call to the stream.
  void EndIfQuiet() {
    const bool quiet = *calls == 0 && stream.unsent_bytes() == 0;
    if (quiet && was_quiet && !std::exchange(ended, true)) {
      end = stream.end().eagerlyEvaluate(nullptr);
    }
    was_quiet = quiet;
  }

  Impl& server;
  const std::shared_ptr<size_t> calls = std::make_shared<size_t>(0);
  bool was_quiet = false;
  bool ended = false;
  kj::Promise<void> end = kj::READY_NOW;
  SocketMessageStream stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
};

#pragma GCC diagnostic pop

void RpcServer::Impl::OnAccept(Socket socket) {
  if (open_.size() >= options_.connections_max) {
    backend_.log(
        absl::StrCat("refused a client connection: ", options_.connections_max,
                     " are open (connections_max)"));
    return;  // closes it
  }
  auto connection = kj::heap<Connection>(*this, std::move(socket));
  auto gone = connection->network.onDisconnect();
  connections_.add(gone.attach(kj::mv(connection)));
}

void RpcServer::Impl::Drain(absl::Duration max, std::function<void()> done) {
  DOVETAIL_CHECK(!drained_ && done);
  listener_.reset();
  drained_ = std::move(done);
  drain_deadline_ =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(max);
  DrainStep();
}

void RpcServer::Impl::DrainStep() {
  if (open_.empty() || std::chrono::steady_clock::now() >= drain_deadline_) {
    return drained_();
  }
  // any order: each connection is looked at for itself.
  for (Connection* connection : open_) connection->EndIfQuiet();
  loop_.After(kDrainTick, [weak = std::weak_ptr<Impl*>(self_)] {
    if (const auto self = weak.lock()) (*self)->DrainStep();
  });
}

kj::Promise<void> RpcServer::Impl::Run(const std::shared_ptr<Call>& call,
                                       std::vector<ClientRequest> requests,
                                       uint64_t connection) {
  if (requests.empty()) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  call->missing = requests.size();
  call->done = kj::mv(paf.fulfiller);
  OnReplies(backend_.submit(std::move(requests), connection));
  return kj::mv(paf.promise);
}

void RpcServer::Impl::OnReply(ClientReply reply) {
  const auto it = waiting_.find(reply.id);
  if (it == waiting_.end()) return;
  const Waiting waiting = std::move(it->second);
  waiting_.erase(it);
  Call& call = *waiting.call;
  const bool listing = call.results.empty();
  if (!reply.body.ok()) {
    if (listing) {
      call.list = reply.body.status();
    } else {
      call.results[waiting.index] = reply.body.status();
    }
  } else if (auto* list = std::get_if<replica::ListReply>(&*reply.body)) {
    call.list = std::move(*list);
  } else if (auto* write = std::get_if<replica::WriteReply>(&*reply.body)) {
    call.results[waiting.index] = std::move(*write);
  } else {
    auto& read = std::get<replica::ReadReply>(*reply.body);
    // What the reply has no room for is not kept either; the first always is.
    const size_t bytes = ViewBytes(read.result.view);
    if (call.read_bytes > 0 && call.read_bytes + bytes > kReplyWireBytesMax) {
      call.results[waiting.index] = DeferredRead();
    } else {
      call.read_bytes += bytes;
      call.results[waiting.index] = std::move(read);
    }
  }
  if (--call.missing == 0) call.done->fulfill();
}

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Open(
    EventLoop& loop, const Endpoint& endpoint, const RpcServerOptions& options,
    Backend backend) {
  auto impl = std::make_unique<Impl>(loop, options, std::move(backend));
  const absl::Status listening = impl->Listen(endpoint);
  if (!listening.ok()) return listening;
  return std::unique_ptr<RpcServer>(new RpcServer(std::move(impl)));
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RpcServer::~RpcServer() = default;

void RpcServer::Drain(absl::Duration max, std::function<void()> done) {
  impl_->Drain(max, std::move(done));
}
void RpcServer::OnReplies(std::vector<ClientReply> replies) {
  impl_->OnReplies(std::move(replies));
}
const Endpoint& RpcServer::endpoint() const { return impl_->endpoint(); }
size_t RpcServer::connections() const { return impl_->connections(); }

}  // namespace dovetail::net
