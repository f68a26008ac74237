#include "net/peer_link.h"

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "net/peer_connection.h"
#include "net/socket.h"
#include "replica/hash.h"

namespace dovetail::net {
namespace {

using replica::Index;
using replica::NodeId;

// Until both ends know each other.
constexpr size_t kHelloFrameBytesMax = 8 << 10;

// Of refusals that are said to people once; at the limit all may be said again.
constexpr size_t kRefusalsKept = 64;

struct Peer {
  NodeId id{};
  std::string name;
  Endpoint endpoint;
  // What we dialled; it takes messages once `greeted`.
  std::shared_ptr<PeerConnection> outgoing;
  bool dialling = false;
  bool greeted = false;
  uint64_t dialled_at = 0;  // in ticks
  // What they dialled, after their hello, and what that said.
  std::shared_ptr<PeerConnection> incoming;
  crdt::ActorId incoming_incarnation{};
  std::string peer_address;
  uint64_t heard_at = 0;  // in ticks
  absl::Duration backoff;
  // Counts retries, so that a retry that was overtaken does nothing.
  uint64_t retry = 0;
  std::string last_failure;
  std::string client_address;  // as it said last
  crdt::ActorId incarnation{};
  // Frames were dropped while it was up; it is to be reported up again.
  bool lost = false;
  PeerLinkStats stats;
};

struct Stranger {
  std::shared_ptr<PeerConnection> connection;
  uint64_t since = 0;  // in ticks
};

}  // namespace

class PeerLinks::Impl : public std::enable_shared_from_this<PeerLinks::Impl> {
 public:
  Impl(EventLoop& loop, Config config, Events events)
      : loop_(loop),
        config_(std::move(config)),
        events_(std::move(events)),
        silence_ticks_(std::max<uint64_t>(
            1, static_cast<uint64_t>(config_.options.silence_max /
                                     config_.options.keepalive_period))),
        random_(
            static_cast<unsigned>(crdt::ActorBits(config_.self.incarnation))) {}

  absl::Status Start();
  void Shutdown();
  enum class Place { kFirst, kInOrder };
  void Send(NodeId to, absl::string_view frame, Place place);
  void AddPeer(NodeId id, const std::string& name, const Endpoint& endpoint);
  void SetLoad(replica::NodeLoad load) { load_ = std::move(load); }
  const Peer* Find(NodeId id) const {
    const auto it = peers_.find(id);
    return it == peers_.end() ? nullptr : &it->second;
  }
  const Endpoint& endpoint() const { return listener_->endpoint(); }

 private:
  // Peers are never removed.
  Peer& Get(NodeId id) { return peers_.at(id); }
  std::string Name(const Peer& peer) const {
    return absl::StrCat("node ", peer.name, " (", ToString(peer.endpoint), ")");
  }
  // Says once why a connection of `who` was refused.
  void LogRefusal(const PeerHello& who, absl::string_view why);
  // Runs `task(*this)` unless this is gone by then.
  template <class Task>
  auto Weakly(Task task) {
    return [weak = weak_from_this(), task](auto&&... args) {
      using Result = decltype(task(std::declval<Impl&>(),
                                   std::forward<decltype(args)>(args)...));
      if (auto self = weak.lock()) {
        return task(*self, std::forward<decltype(args)>(args)...);
      }
      return Result();
    };
  }

  void Tick();

  // --- Connections we dial ---
  void Dial(NodeId id);
  void OnDialled(NodeId id, absl::StatusOr<Socket> socket);
  absl::Status OnOutgoingFrame(NodeId id, const FrameWords& frame);
  void OnOutgoingClosed(NodeId id, const absl::Status& why);
  void RetryLater(Peer& peer, const absl::Status& why);

  // --- Connections they dial ---
  void OnAccept(Socket socket);
  absl::Status OnStrangerFrame(PeerConnection* connection,
                               const FrameWords& frame,
                               std::optional<NodeId>& who);
  absl::Status OnIncomingFrame(NodeId id, const FrameWords& frame);
  void OnIncomingClosed(NodeId id, const absl::Status& why);
  void Admit(NodeId id, std::shared_ptr<PeerConnection> connection);

  // What is wrong with how the other end introduces itself.
  absl::Status CheckHello(const PeerHello& hello) const;
  // Whether another process of its name is connected.
  absl::Status CheckUnique(const PeerHello& hello) const;
  void TakeUp(const PeerHello& hello);
  void UpdateUp(Peer& peer, absl::string_view reason);

  EventLoop& loop_;
  Config config_;
  const Events events_;
  const uint64_t silence_ticks_;
  std::minstd_rand random_;
  uint64_t ticks_ = 0;
  std::map<NodeId, Peer> peers_;
  std::optional<replica::NodeLoad> load_;
  std::map<std::string, std::string> refused_;  // by name: why
  std::map<PeerConnection*, Stranger> strangers_;
  std::unique_ptr<Listener> listener_;
};

absl::Status PeerLinks::Impl::Start() {
  auto listener = Listener::Open(
      loop_, config_.listen,
      Weakly([](Impl& self, Socket s) { self.OnAccept(std::move(s)); }));
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  if (config_.self.peer_address.empty()) {
    config_.self.peer_address = ToString(listener_->endpoint());
  }
  Tick();
  return absl::OkStatus();
}

void PeerLinks::Impl::Shutdown() {
  listener_.reset();
  for (auto& [key, stranger] : strangers_) stranger.connection->Close();
  for (auto& [id, peer] : peers_) {
    if (peer.outgoing) peer.outgoing->Close();
    if (peer.incoming) peer.incoming->Close();
  }
}

void PeerLinks::Impl::AddPeer(NodeId id, const std::string& name,
                              const Endpoint& endpoint) {
  if (id == config_.self.node) return;
  if (!peers_.contains(id) && peers_.size() >= replica::kMembersMax) return;
  Peer& peer = peers_[id];
  peer.id = id;
  peer.name = name;
  const bool moved = peer.endpoint != endpoint;
  peer.endpoint = endpoint;
  // To a peer that we have a connection to nothing changes: it lives.
  if (peer.greeted || !moved) return;
  peer.backoff = config_.options.backoff_min;
  Dial(id);
}

// Time is counted in ticks, so that a pause of this process alone does not make
// everybody else look silent.
void PeerLinks::Impl::Tick() {
  ++ticks_;
  const std::string keepalive = EncodeKeepalive({load_});
  for (auto& [id, peer] : peers_) {
    if (peer.greeted) {
      peer.outgoing->Send(keepalive);
    } else if (peer.outgoing && ticks_ - peer.dialled_at > silence_ticks_) {
      peer.outgoing->Close();
      OnOutgoingClosed(peer.id, absl::DeadlineExceededError("no greeting"));
    }
    if (peer.incoming && ticks_ - peer.heard_at > silence_ticks_) {
      peer.incoming->Close();
      OnIncomingClosed(peer.id, absl::DeadlineExceededError("it is silent"));
    }
  }
  for (auto it = strangers_.begin(); it != strangers_.end();) {
    if (ticks_ - it->second.since > silence_ticks_) {
      it->second.connection->Close();
      it = strangers_.erase(it);
    } else {
      ++it;
    }
  }
  loop_.After(config_.options.keepalive_period,
              Weakly([](Impl& self) { self.Tick(); }));
}

void PeerLinks::Impl::Dial(NodeId id) {
  Peer& peer = Get(id);
  if (id == config_.self.node || peer.endpoint.port == 0 || peer.dialling ||
      peer.outgoing) {
    return;
  }
  peer.dialling = true;
  net::Dial(loop_, peer.endpoint, config_.options.dial_timeout,
            Weakly([id](Impl& self, absl::StatusOr<Socket> socket) {
              self.OnDialled(id, std::move(socket));
            }));
}

void PeerLinks::Impl::OnDialled(NodeId id, absl::StatusOr<Socket> socket) {
  Peer& peer = Get(id);
  peer.dialling = false;
  if (!socket.ok()) return RetryLater(peer, socket.status());
  peer.outgoing = std::make_shared<PeerConnection>(
      loop_, *std::move(socket), config_.options.queue_bytes_max);
  peer.dialled_at = ticks_;
  peer.outgoing->Start(
      kHelloFrameBytesMax, config_.options.silence_max,
      {.on_frame = Weakly([id](Impl& self, const FrameWords& frame) {
         return self.OnOutgoingFrame(id, frame);
       }),
       .on_closed = Weakly([id](Impl& self, const absl::Status& why) {
         self.OnOutgoingClosed(id, why);
       }),
       .on_drained = Weakly([id](Impl& self) {
         Peer& drained = self.Get(id);
         if (!std::exchange(drained.lost, false)) return;
         if (drained.stats.up) self.events_.on_up(id);
       })});
  peer.outgoing->Send(EncodeHello(config_.self));
}

absl::Status PeerLinks::Impl::OnOutgoingFrame(NodeId id,
                                              const FrameWords& frame) {
  Peer& peer = Get(id);
  auto decoded = DecodePeerFrame(frame, config_.self.partitions);
  if (!decoded.ok()) return decoded.status();
  if (const auto* refusal = std::get_if<PeerRefusal>(&*decoded)) {
    return absl::FailedPreconditionError(
        absl::StrCat("it refuses us: ", refusal->reason));
  }
  const auto* hello = std::get_if<PeerHello>(&*decoded);
  if (hello == nullptr || peer.greeted) {
    return absl::InvalidArgumentError("it sends what it should not");
  }
  const absl::Status fits = CheckHello(*hello);
  if (!fits.ok()) return fits;
  if (hello->node != id) {
    return absl::FailedPreconditionError(
        absl::StrCat("it says it is node ", hello->name));
  }
  peer.greeted = true;
  peer.client_address = hello->client_address;
  peer.incarnation = hello->incarnation;
  peer.lost = false;
  peer.backoff = config_.options.backoff_min;
  peer.last_failure.clear();
  UpdateUp(peer, "");
  return absl::OkStatus();
}

void PeerLinks::Impl::OnOutgoingClosed(NodeId id, const absl::Status& why) {
  Peer& peer = Get(id);
  peer.outgoing.reset();
  peer.greeted = false;
  UpdateUp(peer, why.message());
  RetryLater(peer, why);
}

void PeerLinks::Impl::RetryLater(Peer& peer, const absl::Status& why) {
  if (peer.last_failure != why.message()) {
    peer.last_failure = std::string(why.message());
    events_.log(absl::StrCat("not connected to ", Name(peer), ": ",
                             peer.last_failure, "; trying again"));
  }
  const double part = std::uniform_real_distribution<double>(0.5, 1.0)(random_);
  const absl::Duration delay = peer.backoff * part;
  peer.backoff = std::min(2 * peer.backoff, config_.options.backoff_max);
  const uint64_t retry = ++peer.retry;
  loop_.After(delay, Weakly([id = peer.id, retry](Impl& self) {
                if (self.Get(id).retry == retry) self.Dial(id);
              }));
}

void PeerLinks::Impl::OnAccept(Socket socket) {
  if (strangers_.size() >= config_.options.strangers_max) return;  // closes it
  auto connection = std::make_shared<PeerConnection>(
      loop_, std::move(socket), config_.options.queue_bytes_max);
  PeerConnection* key = connection.get();
  strangers_[key] = {connection, ticks_};
  auto who = std::make_shared<std::optional<NodeId>>();
  connection->Start(
      kHelloFrameBytesMax, config_.options.silence_max,
      {.on_frame = Weakly([key, who](Impl& self, const FrameWords& frame) {
         return who->has_value() ? self.OnIncomingFrame(**who, frame)
                                 : self.OnStrangerFrame(key, frame, *who);
       }),
       .on_closed = Weakly([key, who](Impl& self, const absl::Status& why) {
         if (who->has_value()) return self.OnIncomingClosed(**who, why);
         self.strangers_.erase(key);
       }),
       .on_drained = nullptr});
}

absl::Status PeerLinks::Impl::OnStrangerFrame(PeerConnection* connection,
                                              const FrameWords& frame,
                                              std::optional<NodeId>& who) {
  auto decoded = DecodePeerFrame(frame, config_.self.partitions);
  if (!decoded.ok()) return decoded.status();
  const auto* hello = std::get_if<PeerHello>(&*decoded);
  if (hello == nullptr) {
    return absl::InvalidArgumentError("it does not introduce itself");
  }
  absl::Status fits = CheckHello(*hello);
  if (fits.ok()) fits = CheckUnique(*hello);
  if (!fits.ok()) {
    LogRefusal(*hello, fits.message());
    connection->Send(EncodeRefusal({std::string(fits.message())}));
    // It stays a stranger until it is closed.
    connection->CloseAfterSending();
    return absl::OkStatus();
  }
  if (Find(hello->node) == nullptr && peers_.size() >= replica::kMembersMax) {
    return absl::ResourceExhaustedError("there are too many peers");
  }
  TakeUp(*hello);
  who = hello->node;
  auto node = strangers_.extract(connection);
  DOVETAIL_CHECK(!node.empty());
  Admit(hello->node, std::move(node.mapped().connection));
  return absl::OkStatus();
}

void PeerLinks::Impl::LogRefusal(const PeerHello& who, absl::string_view why) {
  if (refused_.size() >= kRefusalsKept) refused_.clear();
  std::string& said = refused_[who.name];
  if (said == why) return;
  said = std::string(why);
  events_.log(
      absl::StrCat("refused a connection from node ", who.name, ": ", why));
}

// A process that has gone is found out in `silence_max` at the latest; until
// then one that took its place elsewhere is refused, too, and tries again.
absl::Status PeerLinks::Impl::CheckUnique(const PeerHello& hello) const {
  const Peer* peer = Find(hello.node);
  if (peer == nullptr || !peer->incoming ||
      peer->incoming_incarnation == hello.incarnation ||
      peer->peer_address == hello.peer_address) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "two nodes go by the name ", hello.name, ", at ", peer->peer_address,
      " and at ", hello.peer_address, "; names must be unique in a cluster"));
}

// Who introduces itself correctly is a peer, where it says it is.
void PeerLinks::Impl::TakeUp(const PeerHello& hello) {
  refused_.erase(hello.name);
  const auto endpoint = ParseEndpoint(hello.peer_address);
  const Peer* known = Find(hello.node);
  AddPeer(hello.node, hello.name,
          endpoint.ok()      ? *endpoint
          : known != nullptr ? known->endpoint
                             : Endpoint());
  Peer& peer = Get(hello.node);
  peer.incoming_incarnation = hello.incarnation;
  peer.peer_address = hello.peer_address;
}

void PeerLinks::Impl::Admit(NodeId id,
                            std::shared_ptr<PeerConnection> connection) {
  Peer& peer = Get(id);
  if (peer.incoming) {
    // The other end has started anew before we saw the old connection end.
    peer.incoming->Close();
    peer.incoming.reset();
    UpdateUp(peer, "it has connected anew");
  }
  connection->AllowFrames(kPeerFrameBytesMax);
  connection->Send(EncodeHello(config_.self));
  peer.incoming = std::move(connection);
  peer.heard_at = ticks_;
  UpdateUp(peer, "");
  ++peer.retry;  // it is there: no need to wait
  peer.backoff = config_.options.backoff_min;
  Dial(id);
}

absl::Status PeerLinks::Impl::OnIncomingFrame(NodeId id,
                                              const FrameWords& frame) {
  Peer& peer = Get(id);
  auto decoded = DecodePeerFrame(frame, config_.self.partitions);
  if (!decoded.ok()) return decoded.status();
  peer.heard_at = ticks_;
  ++peer.stats.frames_received;
  if (auto* messages = std::get_if<PeerMessages>(&*decoded)) {
    events_.on_messages(id, std::move(*messages));
    return absl::OkStatus();
  }
  if (auto* gossip = std::get_if<PeerGossip>(&*decoded)) {
    return events_.on_gossip(id, std::move(*gossip));
  }
  if (auto* keepalive = std::get_if<PeerKeepalive>(&*decoded)) {
    if (keepalive->load.has_value() && events_.on_load) {
      events_.on_load(id, *std::move(keepalive->load));
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("it sends what it should not");
}

void PeerLinks::Impl::OnIncomingClosed(NodeId id, const absl::Status& why) {
  Peer& peer = Get(id);
  peer.incoming.reset();
  UpdateUp(peer, why.message());
}

absl::Status PeerLinks::Impl::CheckHello(const PeerHello& hello) const {
  const PeerHello& self = config_.self;
  const auto differs = [](absl::string_view what, const auto& theirs,
                          const auto& ours) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, " ", theirs, " there, ", ours, " here"));
  };
  if (hello.protocol != self.protocol) {
    return differs("the protocol is", hello.protocol, self.protocol);
  }
  if (hello.cluster != self.cluster) {
    return differs("the cluster is", hello.cluster, self.cluster);
  }
  if (hello.partitions != self.partitions) {
    return differs("the number of partitions is", hello.partitions,
                   self.partitions);
  }
  if (hello.node != replica::NodeIdOf(hello.cluster, hello.name)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "its id ", Index(hello.node), " is not that of its name ", hello.name));
  }
  if (hello.node == self.node) {
    return absl::FailedPreconditionError(
        hello.incarnation == self.incarnation
            ? "this is the node itself"
            : absl::StrCat("two nodes go by the name ", self.name, ", at ",
                           self.peer_address, " and at ", hello.peer_address,
                           "; names must be unique in a cluster"));
  }
  return absl::OkStatus();
}

void PeerLinks::Impl::UpdateUp(Peer& peer, absl::string_view reason) {
  const bool up = peer.greeted && peer.incoming != nullptr;
  if (up == peer.stats.up) return;
  peer.stats.up = up;
  if (up) {
    ++peer.stats.times_up;
    events_.log(absl::StrCat(Name(peer), " is up"));
    events_.on_up(peer.id);
  } else {
    events_.log(absl::StrCat(Name(peer), " is down: ", reason));
    events_.on_down(peer.id);
  }
}

void PeerLinks::Impl::Send(NodeId to, absl::string_view frame, Place place) {
  const auto it = peers_.find(to);
  if (it == peers_.end()) return;
  Peer& peer = it->second;
  const bool first = place == Place::kFirst;
  if (peer.greeted &&
      (first ? peer.outgoing->SendFirst(frame) : peer.outgoing->Send(frame))) {
    ++peer.stats.frames_sent;
    return;
  }
  ++peer.stats.frames_dropped;
  if (peer.greeted && !first) peer.lost = true;
}

absl::StatusOr<std::unique_ptr<PeerLinks>> PeerLinks::Open(EventLoop& loop,
                                                           Config config,
                                                           Events events) {
  DOVETAIL_CHECK(config.self.node ==
                 replica::NodeIdOf(config.self.cluster, config.self.name));
  auto impl =
      std::make_shared<Impl>(loop, std::move(config), std::move(events));
  const absl::Status started = impl->Start();
  if (!started.ok()) return started;
  return std::unique_ptr<PeerLinks>(new PeerLinks(std::move(impl)));
}

PeerLinks::PeerLinks(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
PeerLinks::~PeerLinks() { impl_->Shutdown(); }

void PeerLinks::AddPeer(NodeId id, const std::string& name,
                        const Endpoint& endpoint) {
  impl_->AddPeer(id, name, endpoint);
}
void PeerLinks::Send(NodeId to, std::string frame) {
  impl_->Send(to, frame, Impl::Place::kInOrder);
}
void PeerLinks::SendFirst(NodeId to, std::string frame) {
  impl_->Send(to, frame, Impl::Place::kFirst);
}
void PeerLinks::SetLoad(replica::NodeLoad load) {
  impl_->SetLoad(std::move(load));
}
bool PeerLinks::up(NodeId peer) const { return stats(peer).up; }
PeerLinkStats PeerLinks::stats(NodeId peer) const {
  const Peer* known = impl_->Find(peer);
  return known == nullptr ? PeerLinkStats() : known->stats;
}
crdt::ActorId PeerLinks::incarnation(NodeId peer) const {
  const Peer* known = impl_->Find(peer);
  return known == nullptr ? crdt::ActorId{} : known->incarnation;
}
std::string PeerLinks::client_address(NodeId peer) const {
  const Peer* known = impl_->Find(peer);
  return known == nullptr ? "" : known->client_address;
}
const Endpoint& PeerLinks::endpoint() const { return impl_->endpoint(); }

}  // namespace dovetail::net
