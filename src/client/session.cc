#include "src/client/session.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "net/client_codec.h"
#include "net/message_stream.h"

namespace dovetail::internal {
namespace {

namespace wire = net::wire;

constexpr uint32_t kProtocolOfListSessions = 3;

// What Cap'n Proto reports of a call that the node did not answer in its own
// words. Except where the node does not know the method, nothing is known.
absl::Status FromException(const kj::Exception& error) {
  const std::string what = error.getDescription().cStr();
  switch (error.getType()) {
    case kj::Exception::Type::UNIMPLEMENTED:
      return absl::InvalidArgumentError(
          absl::StrCat("the node does not know this call: ", what));
    case kj::Exception::Type::OVERLOADED:
      return net::MarkMaybe(absl::ResourceExhaustedError(what));
    case kj::Exception::Type::FAILED:
    case kj::Exception::Type::DISCONNECTED:
      break;
  }
  return net::MarkMaybe(absl::UnavailableError(
      absl::StrCat("the node failed without an answer: ", what)));
}

// Room for the request in one segment.
capnp::MessageSize SizeHint(size_t bytes) {
  constexpr size_t kWordsMax = net::kClientFrameBytesMax / 8;
  return {std::min(bytes / 8 + 32, kWordsMax), 1};
}

}  // namespace

struct Session::State final : private kj::TaskSet::ErrorHandler {
  State(net::EventLoop& loop, net::Socket socket,
        std::function<void(absl::Status)> on_lost)
      : stream(loop, std::move(socket), {}),
        network(stream, capnp::rpc::twoparty::Side::CLIENT,
                net::ReaderOptionsFor(net::kClientFrameBytesMax)),
        rpc(capnp::makeRpcClient(network)),
        node(Bootstrap().castAs<wire::Dovetail>()),
        lost(std::move(on_lost)),
        tasks(*this) {
    tasks.add(network.onDisconnect().then([this] { Lose(WhyClosed()); }));
  }

  capnp::Capability::Client Bootstrap() {
    capnp::MallocMessageBuilder message;
    auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
    vat.setSide(capnp::rpc::twoparty::Side::SERVER);
    return rpc.bootstrap(vat);
  }

  // Waits for `promise`, decodes what it brings, and hands it to `done`.
  template <class T, class Response, class Decode>
  void Await(capnp::RemotePromise<Response>&& promise, Done<T> done,
             Decode decode) {
    auto shared = std::make_shared<Done<T>>(std::move(done));
    tasks.add(promise.then(
        [this, shared, decode](capnp::Response<Response>&& response) {
          if (!is_lost) (*shared)(decode(response));
        },
        [this, shared](kj::Exception&& error) {
          if (is_lost) return;
          if (error.getType() == kj::Exception::Type::DISCONNECTED) {
            return Lose(WhyClosed());
          }
          (*shared)(FromException(error));
        }));
  }

  absl::Status WhyClosed() const {
    if (!stream.closed().ok()) return stream.closed();
    return absl::UnavailableError("the node closed the connection");
  }

  void Lose(absl::Status reason) {
    if (std::exchange(is_lost, true)) return;
    lost(std::move(reason));
  }

  void taskFailed(kj::Exception&& error) override {
    Lose(absl::UnavailableError(error.getDescription().cStr()));
  }

  net::SocketMessageStream stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  wire::Dovetail::Client node;
  std::function<void(absl::Status)> lost;
  // The ring by which the node was chosen, if by any.
  template <class Request>
  void EncodeRing(Request& request) {
    const replica::RingStamp named = ring ? ring() : replica::RingStamp{};
    if (named.epoch != 0) net::EncodeRing(named, request.initRing());
  }
  void OnAnswerBy(const replica::RingStamp& newer) {
    if (newer.epoch != 0 && newer_ring) newer_ring(newer);
  }

  std::function<void(const replica::RingStamp&)> newer_ring;
  std::function<replica::RingStamp()> ring;
  uint32_t protocol = 0;  // the newest that the node speaks, as it said
  bool is_lost = false;
  kj::TaskSet tasks;  // last: what it runs uses all of the above
};

Session::Session(net::EventLoop& loop, net::Socket socket,
                 std::function<void(absl::Status)> lost)
    : state_(
          std::make_unique<State>(loop, std::move(socket), std::move(lost))) {}
Session::~Session() = default;

void Session::Hello(const std::string& client_name, Done<net::Hello> done) {
  auto request = state_->node.helloRequest();
  request.setProtocolVersion(wire::PROTOCOL_VERSION);
  request.setClient(client_name.c_str());
  state_->Await<net::Hello>(
      request.send(), std::move(done),
      [state = state_.get()](wire::HelloReply::Reader reply) {
        auto hello = net::DecodeHello(reply);
        if (hello.ok()) state->protocol = hello->protocol_version;
        return hello;
      });
}

void Session::OnNewerRing(
    std::function<void(const replica::RingStamp&)> newer) {
  state_->newer_ring = std::move(newer);
}

void Session::NameRing(std::function<replica::RingStamp()> ring) {
  state_->ring = std::move(ring);
}

void Session::Execute(absl::Span<const net::ClientOperation* const> operations,
                      const replica::RequestOptions& options, size_t bytes,
                      Done<std::vector<net::ClientResult>> done) {
  auto request = state_->node.executeRequest(SizeHint(bytes));
  net::EncodeExecute(operations, options, request);
  state_->EncodeRing(request);
  State* const state = state_.get();  // its tasks run no longer than it lives
  state_->Await<std::vector<net::ClientResult>>(
      request.send(), std::move(done),
      [state](wire::ExecuteReply::Reader reply) {
        state->OnAnswerBy(net::NewerRingOf(reply));
        return net::DecodeResults(reply);
      });
}

void Session::List(const replica::ListRequest& request,
                   const replica::RequestOptions& options,
                   Done<replica::ListReply> done) {
  State* const state = state_.get();  // as in Execute
  if (!request.session.empty() && state->protocol < kProtocolOfListSessions) {
    // It would ignore the session.
    absl::Status why = absl::FailedPreconditionError(absl::StrCat(
        "a listing with a session needs protocol version ",
        kProtocolOfListSessions, "; the node speaks ", state->protocol));
    return state->tasks.add(
        kj::evalLater([state, why = std::move(why), done = std::move(done)] {
          if (!state->is_lost) done(why);
        }));
  }
  auto call = state->node.listRequest();
  net::EncodeList(request, options, call);
  state->EncodeRing(call);
  state->Await<replica::ListReply>(call.send(), std::move(done),
                                   [state](wire::ListReply::Reader reply) {
                                     state->OnAnswerBy(net::NewerRingOf(reply));
                                     return net::DecodeListReply(reply);
                                   });
}

void Session::Status(Done<net::NodeStatus> done) {
  state_->Await<net::NodeStatus>(
      state_->node.statusRequest().send(), std::move(done),
      [](wire::Dovetail::StatusResults::Reader reply) {
        return net::DecodeStatus(reply.getStatus());
      });
}

void Session::Digest(uint32_t first, Done<net::NodeDigests> done) {
  auto request = state_->node.digestRequest();
  request.setFirst(first);
  state_->Await<net::NodeDigests>(
      request.send(), std::move(done),
      [](wire::Dovetail::DigestResults::Reader reply) {
        return net::DecodeDigests(reply.getDigests());
      });
}

void Session::Cluster(Done<net::ClusterView> done) {
  state_->Await<net::ClusterView>(
      state_->node.clusterRequest().send(), std::move(done),
      [](wire::Dovetail::ClusterResults::Reader reply) {
        return net::DecodeClusterView(reply.getCluster());
      });
}

void Session::Admin(const net::ClusterAdmin& admin, Done<net::PlanView> done) {
  auto request = state_->node.clusterAdminRequest();
  net::EncodeClusterAdmin(admin, request);
  state_->Await<net::PlanView>(request.send(), std::move(done),
                               [](wire::ClusterAdminReply::Reader reply) {
                                 return net::DecodeClusterAdminReply(reply);
                               });
}

void Session::Buckets(const net::BucketRequest& request,
                      Done<net::BucketPage> done) {
  auto call = state_->node.bucketsRequest();
  net::EncodeBucketRequest(request, call);
  state_->Await<net::BucketPage>(call.send(), std::move(done),
                                 [](wire::BucketReply::Reader reply) {
                                   return net::DecodeBucketReply(reply);
                                 });
}

void Session::Backup(const std::string& name, Done<net::BackupMade> done) {
  auto call = state_->node.backupRequest();
  call.setName(name);
  state_->Await<net::BackupMade>(call.send(), std::move(done),
                                 [](wire::BackupReply::Reader reply) {
                                   return net::DecodeBackupReply(reply);
                                 });
}

void Session::Drop(absl::Status reason) {
  state_->stream.Close(reason);
  state_->Lose(std::move(reason));
}

}  // namespace dovetail::internal
