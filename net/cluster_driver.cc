#include "net/cluster_driver.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"

namespace dovetail::net {

using replica::Cluster;
using replica::ClusterEnvelope;
using replica::ClusterEvent;
using replica::NodeId;

namespace {

// What could not be stored is tried again so often.
constexpr absl::Duration kSaveRetry = absl::Seconds(5);

replica::MemberInfo InfoOf(const PeerHello& hello) {
  replica::MemberInfo info;
  info.id = hello.node;
  info.name = hello.name;
  info.peer_address = hello.peer_address;
  info.client_address = hello.client_address;
  info.zone = hello.zone;
  info.region = hello.region;
  return info;
}

}  // namespace

class ClusterDriver::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(EventLoop& loop, Events events)
      : loop_(loop), events_(std::move(events)) {}

  absl::Status Start(Config config);
  void Shutdown() { links_.reset(); }
  absl::Status Do(
      absl::FunctionRef<absl::Status(Cluster&, absl::Duration)> input);
  void SetLoad(replica::NodeLoad load) {
    links_->SetLoad(cluster_->SetOwnLoad(std::move(load), now()));
  }
  const Cluster& cluster() const { return *cluster_; }
  PeerLinks& links() { return *links_; }
  absl::Duration now() const {
    return absl::FromChrono(
        std::chrono::steady_clock::now().time_since_epoch());
  }

 private:
  absl::Status StartLinks(Config& config);
  // Does what the cluster wants done, and sets the timer.
  absl::Status Drain();
  void Handle(const ClusterEvent::Any& event);
  absl::Status Save();
  void Arm();

  EventLoop& loop_;
  const Events events_;
  std::unique_ptr<PeerLinks> links_;
  std::unique_ptr<Cluster> cluster_;
  absl::Duration armed_for_ = absl::InfiniteDuration();
  bool unsaved_ = false;
  absl::Duration save_at_ = -absl::InfiniteDuration();
  // As stored last by this process; empty before.
  std::optional<
      std::pair<replica::ClusterConfig, std::vector<replica::MemberRecord>>>
      saved_;
};

absl::Status ClusterDriver::Impl::Start(Config config) {
  DOVETAIL_RETURN_IF_ERROR(StartLinks(config));
  config.self.peer_address = config.self.peer_address.empty()
                                 ? ToString(links_->endpoint())
                                 : config.self.peer_address;
  cluster_ = std::make_unique<Cluster>(config.membership, InfoOf(config.self),
                                       config.incarnation,
                                       crdt::ActorBits(config.self.incarnation),
                                       std::move(config.config), now());
  for (const replica::MemberRecord& peer : config.peers) {
    const auto endpoint = ParseEndpoint(peer.peer_address);
    if (endpoint.ok()) links_->AddPeer(peer.id, peer.name, *endpoint);
  }
  return Drain();
}

absl::Status ClusterDriver::Impl::StartLinks(Config& config) {
  PeerLinks::Config links;
  links.self = config.self;
  links.listen = config.listen;
  links.options = config.links;
  const auto with = [weak = weak_from_this()](auto input) {
    const auto self = weak.lock();
    if (self == nullptr || self->cluster_ == nullptr) return absl::OkStatus();
    return self->Do([&](Cluster& cluster, absl::Duration now) {
      return input(cluster, now);
    });
  };
  PeerLinks::Events events;
  events.on_messages = [this, with](NodeId from, PeerMessages messages) {
    // Of the ring alone: an answer costs nothing while rings agree.
    if (messages.ring != cluster_->ring_stamp() ||
        cluster_->EpochOf(from) != messages.ring.epoch) {
      with([&](Cluster& cluster, absl::Duration now) {
        cluster.HandlePeerRing(from, messages.ring, now);
        return absl::OkStatus();
      }).IgnoreError();  // logged
    }
    events_.on_messages(from, std::move(messages.messages));
  };
  events.on_gossip = [with](NodeId from, PeerGossip gossip) -> absl::Status {
    absl::Status handled;
    with([&](Cluster& cluster, absl::Duration now) {
      switch (gossip.kind) {
        case ClusterEnvelope::Kind::kGossip:
          handled = cluster.HandleGossip(from, gossip.bytes, now);
          break;
        case ClusterEnvelope::Kind::kConfig:
          handled = cluster.HandleConfig(from, gossip.bytes, now);
          break;
        case ClusterEnvelope::Kind::kConfigRequest:
          cluster.HandleConfigRequest(from, now);
          break;
      }
      return absl::OkStatus();
    }).IgnoreError();  // logged; what is not stored is no fault of the sender
    return handled;
  };
  events.on_load = [this](NodeId from, replica::NodeLoad load) {
    cluster_->HandleLoad(from, std::move(load), now());
  };
  events.on_up = [with](NodeId peer) {
    with([&](Cluster& cluster, absl::Duration now) {
      cluster.HandleLinkUp(peer, now);
      return absl::OkStatus();
    }).IgnoreError();  // logged
  };
  events.on_down = [with](NodeId peer) {
    with([&](Cluster& cluster, absl::Duration now) {
      cluster.HandleLinkDown(peer, now);
      return absl::OkStatus();
    }).IgnoreError();  // logged
  };
  events.log = events_.log;
  DOVETAIL_ASSIGN_OR_RETURN(
      links_, PeerLinks::Open(loop_, std::move(links), std::move(events)));
  return absl::OkStatus();
}

absl::Status ClusterDriver::Impl::Do(
    absl::FunctionRef<absl::Status(Cluster&, absl::Duration)> input) {
  const absl::Status status = input(*cluster_, now());
  const absl::Status drained = Drain();
  return status.ok() ? drained : status;
}

absl::Status ClusterDriver::Impl::Drain() {
  for (const ClusterEvent::Any& event : cluster_->TakeEvents()) Handle(event);
  if (cluster_->TakeUnsaved()) {
    unsaved_ = true;
    save_at_ = -absl::InfiniteDuration();
  }
  const absl::Status saved = Save();
  for (ClusterEnvelope& envelope : cluster_->TakeMessages()) {
    auto frame = EncodeGossip({envelope.kind, std::move(envelope.bytes)});
    if (!frame.ok()) {
      events_.log(frame.status().message());
      continue;
    }
    links_->SendFirst(envelope.to, *std::move(frame));
  }
  Arm();
  return saved;
}

void ClusterDriver::Impl::Handle(const ClusterEvent::Any& event) {
  if (const auto* ring = std::get_if<ClusterEvent::NewRing>(&event)) {
    events_.on_ring(*ring);
  } else if (const auto* buckets =
                 std::get_if<ClusterEvent::NewBuckets>(&event)) {
    events_.on_buckets(buckets->buckets);
  } else if (const auto* pause =
                 std::get_if<ClusterEvent::PauseTransfers>(&event)) {
    events_.on_pause(pause->paused);
  } else if (const auto* up = std::get_if<ClusterEvent::Reachable>(&event)) {
    events_.on_up(up->node);
  } else if (const auto* down =
                 std::get_if<ClusterEvent::Unreachable>(&event)) {
    events_.on_down(down->node);
  } else if (const auto* peer = std::get_if<ClusterEvent::KnownPeer>(&event)) {
    const auto endpoint = ParseEndpoint(peer->peer_address);
    if (endpoint.ok()) links_->AddPeer(peer->node, peer->name, *endpoint);
  } else {
    events_.log(std::get<ClusterEvent::LogLine>(event).text);
  }
}

// A node that cannot store what it heard goes on: it hears it again after a
// restart, from anybody. Its operator is told.
absl::Status ClusterDriver::Impl::Save() {
  if (!unsaved_ || now() < save_at_) return absl::OkStatus();
  // What gossip says of a peer also changes in things that are not stored: how
  // many partitions it is yet to fill, once a second while data moves.
  auto state = std::pair(cluster_->config(), cluster_->KnownPeers());
  if (saved_ == state) {
    unsaved_ = false;
    return absl::OkStatus();
  }
  const absl::Status saved = events_.save(state.first, state.second);
  unsaved_ = !saved.ok();
  if (saved.ok()) {
    saved_ = std::move(state);
    return saved;
  }
  save_at_ = now() + kSaveRetry;
  const absl::Status told = absl::UnavailableError(
      absl::StrCat("it takes effect, but could not be stored at this node: ",
                   saved.message()));
  events_.log(absl::StrCat("the cluster's configuration could not be stored: ",
                           saved.message(), "; trying again"));
  return told;
}

void ClusterDriver::Impl::Arm() {
  const absl::Duration next = cluster_->next_deadline();
  if (armed_for_ <= next) return;
  armed_for_ = next;
  loop_.After(std::max(next - now(), absl::ZeroDuration()),
              [weak = weak_from_this(), next] {
                const auto self = weak.lock();
                // Overtaken by an earlier one, or stopped.
                if (self == nullptr || self->links_ == nullptr ||
                    self->armed_for_ != next) {
                  return;
                }
                self->armed_for_ = absl::InfiniteDuration();
                self->Do([](Cluster& cluster, absl::Duration now) {
                      cluster.HandleTimers(now);
                      return absl::OkStatus();
                    })
                    .IgnoreError();  // logged
              });
}

absl::StatusOr<std::unique_ptr<ClusterDriver>> ClusterDriver::Open(
    EventLoop& loop, Config config, Events events) {
  auto impl = std::make_shared<Impl>(loop, std::move(events));
  const absl::Status started = impl->Start(std::move(config));
  if (!started.ok()) {
    impl->Shutdown();
    return started;
  }
  return std::unique_ptr<ClusterDriver>(new ClusterDriver(std::move(impl)));
}

ClusterDriver::ClusterDriver(std::shared_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
ClusterDriver::~ClusterDriver() { impl_->Shutdown(); }
absl::Status ClusterDriver::Do(
    absl::FunctionRef<absl::Status(Cluster&, absl::Duration)> input) {
  return impl_->Do(input);
}
void ClusterDriver::SetLoad(replica::NodeLoad load) {
  impl_->SetLoad(std::move(load));
}
const Cluster& ClusterDriver::cluster() const { return impl_->cluster(); }
PeerLinks& ClusterDriver::links() { return impl_->links(); }
absl::Duration ClusterDriver::now() const { return impl_->now(); }

}  // namespace dovetail::net
