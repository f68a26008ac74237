#include "src/client/router.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "replica/hash.h"
#include "replica/ring.h"
#include "src/client/steady_clock.h"

namespace dovetail::internal {
namespace {

using replica::NodeId;

// Between attempts to reach an owner, doubling from the dispatcher's least:
// home takes its part meanwhile, so there is no hurry.
constexpr absl::Duration kOwnerPauseMax = absl::Seconds(10);
// Between two questions for the view that answers by a newer ring cause.
constexpr absl::Duration kNewerRingPause = absl::Milliseconds(100);
// Members that home may fall back to beside the nodes the user named. A
// cluster where none of so many answers is out of reach.
constexpr size_t kFallbacksMax = 16;

// A level that means the region of the node that is asked.
bool IsLocal(const Pending& pending) {
  const replica::Level& level = IsMutation(pending.operation)
                                    ? pending.options.write
                                    : pending.options.read;
  return level.kind == replica::Level::Kind::kLocalOne ||
         level.kind == replica::Level::Kind::kLocalQuorum;
}

// The object that places the operation; null if it must run where it is sent.
const crdt::ObjectId* PlacedBy(const Pending& pending) {
  if (pending.options.here) return nullptr;
  if (const auto* read =
          std::get_if<replica::ReadRequest>(&pending.operation)) {
    return read->only.empty() ? &read->spec.object : nullptr;
  }
  const auto& write = std::get<replica::WriteRequest>(pending.operation);
  return write.operations.empty() ? nullptr : &write.operations.front().object;
}

bool Lives(net::Condition condition) {
  return condition == net::Condition::kAlive ||
         condition == net::Condition::kUnknown;
}

}  // namespace

Router::Router(net::EventLoop& loop, const std::vector<net::Endpoint>& nodes,
               const ClientOptions& options,
               std::function<void(absl::Status)> first,
               std::function<void(const net::Endpoint&)> connected)
    : loop_(loop), options_(options) {
  ConnectionEvents events;
  events.first = std::move(first);
  if (!options_.route) {
    events.connected = std::move(connected);
  } else {
    events.connected =
        [this, connected = std::move(connected)](const net::Endpoint& node) {
          connected(node);
          slow_.Forget(home_->hello().node);
          Refresh();
        };
    events.lost = [this](Waiting waiting) { OnLost(std::move(waiting)); };
    Measure(events, [this] { return home_->hello().node; });
    TellRing(events);
    loop_.After(options_.view_refresh, [this] { OnTick(); });
  }
  home_ =
      std::make_unique<Dispatcher>(loop_, nodes, options_, std::move(events));
}

// --- Which connection ------------------------------------------------------

void Router::Add(Pending pending) {
  Dispatcher& target = Target(pending);
  target.Add(std::move(pending));
}

void Router::Pump() {
  home_->Pump();
  for (auto& [id, node] : nodes_) {
    if (node.connection != nullptr) node.connection->Pump();
  }
}

Dispatcher& Router::Target(const Pending& pending) {
  if (!routes_.has_value()) return *home_;
  const crdt::ObjectId* object = PlacedBy(pending);
  if (object == nullptr) return *home_;
  const replica::PartitionId partition =
      replica::PartitionOf(object->bucket, object->key, routes_->partitions());
  const bool local = IsLocal(pending);
  // One that is being dialled will do; others are dialled when that has failed.
  bool dialling = false;
  // The first that could be had, but is slow.
  const Routes::Owner* slow = nullptr;
  Dispatcher* of_slow = nullptr;
  for (const Routes::Owner& owner : routes_->Owners(partition)) {
    if (local && owner.nearness == Nearness::kElsewhere) break;
    Node& node = nodes_.at(owner.node);
    if (!node.usable) continue;
    if (Dispatcher* ready = Ready(owner.node, node)) {
      if (slow == nullptr && !slow_.IsSlow(owner.node)) return *ready;
      if (slow != nullptr && slow_.IsBetter(owner, *slow)) return *ready;
      if (slow != nullptr) continue;
      slow = &owner;
      of_slow = ready;
      Probe(owner.node, *ready, *object);
      continue;
    }
    if (dialling) continue;
    if (node.connection == nullptr) {
      node.connection = Open(owner.node, node.address);
    }
    // Who is ready is another node at this one's address.
    dialling = !node.connection->failing() && !node.connection->ready();
  }
  return of_slow != nullptr ? *of_slow : *home_;
}

// A read of one replica: what it holds itself is what it answers by.
void Router::Probe(NodeId id, Dispatcher& connection,
                   const crdt::ObjectId& object) {
  if (!slow_.TakeProbe(id)) return;
  replica::ReadRequest read;
  read.spec.object = object;
  read.spec.limit = 1;
  Pending probe;
  probe.operation = std::move(read);
  probe.options.read = replica::Level::Count(1);
  probe.options.timeout = options_.timeout;
  probe.weight = Weigh(probe.operation);
  probe.deadline = SteadyNow() + options_.timeout;
  probe.done = [](const Result&) {};
  connection.Add(std::move(probe));
}

void Router::Measure(ConnectionEvents& events, std::function<NodeId()> node) {
  // Calls have numbers of their connection; of all they need one.
  constexpr int kCallBits = 40;
  const uint64_t first = connections_++ << kCallBits;
  events.sent = [this, first, node](uint64_t call) {
    slow_.Sent(node(), first + call);
  };
  events.answered = [this, first, node](uint64_t call) {
    slow_.Answered(node(), first + call);
  };
}

void Router::TellRing(ConnectionEvents& events) {
  events.ring = [this] {
    return ring_.has_value() ? ring_->stamp() : replica::RingStamp{};
  };
  events.newer_ring = [this](const replica::RingStamp& ring) {
    OnNewerRing(ring);
  };
}

// Every answer says so until the view is there: one question for all of them.
// Where it cannot be had, or read, the next one is a moment later.
void Router::OnNewerRing(const replica::RingStamp& ring) {
  if (ring_.has_value() && !IsNewerRing(ring, ring_->stamp())) return;
  if (asking_ || SteadyNow() < newer_asked_ + kNewerRingPause) return;
  newer_asked_ = SteadyNow();
  Refresh();
}

Dispatcher* Router::Ready(NodeId id, const Node& node) {
  const auto is_it = [id](const Dispatcher& connection) {
    return connection.ready() && connection.hello().node == id;
  };
  if (node.connection != nullptr && is_it(*node.connection)) {
    return node.connection.get();
  }
  return is_it(*home_) ? home_.get() : nullptr;
}

std::unique_ptr<Dispatcher> Router::Open(NodeId id,
                                         const net::Endpoint& address) {
  ConnectionEvents events;
  events.connected = [this, id](const net::Endpoint&) {
    slow_.Forget(id);
    OnOwnerHello(id);
  };
  events.lost = [this](Waiting waiting) { OnLost(std::move(waiting)); };
  Measure(events, [id] { return id; });
  TellRing(events);
  return std::make_unique<Dispatcher>(
      loop_, std::vector<net::Endpoint>{address}, options_, std::move(events),
      kOwnerPauseMax);
}

void Router::OnOwnerHello(NodeId id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || found->second.connection == nullptr) return;
  const net::Hello& hello = found->second.connection->hello();
  if (hello.node != id || hello.epoch > ring_->epoch()) Refresh();
}

void Router::OnLost(Waiting waiting) {
  Refresh();
  for (Pending& pending : waiting.operations) Add(std::move(pending));
  for (Lookup& lookup : waiting.lookups) Add(std::move(lookup));
  Pump();
}

// --- Which ring ------------------------------------------------------------

void Router::Refresh() {
  if (std::exchange(asking_, true)) {
    ask_again_ = true;
    return;
  }
  Lookup lookup;
  lookup.deadline = SteadyNow() + options_.timeout;
  lookup.ask = [this](Session& session, std::function<void()> answered) {
    session.Cluster([this, answered = std::move(answered)](
                        const absl::StatusOr<net::ClusterView>& view) {
      answered();
      OnView(view);
    });
  };
  lookup.fail = [this](const absl::Status& why) { OnView(why); };
  Dispatcher& asked = BestInformed();
  asked.Add(std::move(lookup));
  asked.Pump();
}

Dispatcher& Router::BestInformed() {
  replica::RingStamp newest =
      ring_.has_value() ? ring_->stamp() : replica::RingStamp{};
  Dispatcher* best = home_.get();
  for (const auto& [id, node] : nodes_) {
    if (node.connection == nullptr || !node.connection->ready()) continue;
    if (!IsNewerRing(node.connection->node_ring(), newest)) continue;
    newest = node.connection->node_ring();
    best = node.connection.get();
  }
  return *best;
}

// Without an answer everything stays as it is, and the next tick asks again.
void Router::OnView(const absl::StatusOr<net::ClusterView>& view) {
  asking_ = false;
  if (view.ok()) Learn(*view);
  if (std::exchange(ask_again_, false)) Refresh();
}

void Router::Learn(const net::ClusterView& view) {
  Here here{options_.zone, options_.region};
  if (here.region.empty()) {
    for (const net::ClusterMember& member : view.members) {
      if (member.id == view.node) here.region = member.region;
    }
  }
  if (!LearnRing(view, here)) return;
  LearnNodes(view);
  LearnFallbacks(view);
}

bool Router::LearnRing(const net::ClusterView& view, const Here& here) {
  const bool moved = here != here_;
  if (routes_.has_value() && !moved && view.config == config_) return true;
  auto config = replica::DecodeClusterConfig(view.config);
  // Nobody has committed a ring yet, or it is of a form that is newer than
  // this client: the node knows it and passes on what it must.
  if (!config.ok() || !config->ring.has_value()) return false;
  if (ring_.has_value() && Precedes(*config->ring, *ring_)) return false;
  if (!routes_.has_value() || moved || *config->ring != *ring_) {
    const auto ring = replica::Ring::Compute(config->ring->ring());
    if (!ring.ok()) return false;
    routes_.emplace(*ring, here);
    ring_ = *std::move(config->ring);
    slow_.SetRing(ring_->ring());
    here_ = here;
  }
  config_ = view.config;
  return true;
}

void Router::LearnNodes(const net::ClusterView& view) {
  std::map<NodeId, const net::ClusterMember*> seen;
  for (const net::ClusterMember& member : view.members) {
    seen[member.id] = &member;
  }
  std::map<NodeId, Node> before = std::exchange(nodes_, {});
  for (const replica::RingMember& member : ring_->ring().members) {
    Node& node = nodes_[member.id];
    if (const auto old = before.find(member.id); old != before.end()) {
      node = std::move(old->second);
      before.erase(old);
    }
    const auto now = seen.find(member.id);
    node.usable = now != seen.end() && Lives(now->second->condition);
    if (now != seen.end()) {
      // A node that has just started may not have heard of all addresses yet:
      // those of before hold.
      const auto address = net::ParseEndpoint(now->second->client_address);
      if (address.ok() && node.address != *address) {
        Retire(node);
        node.address = *address;
      }
    }
    node.usable = node.usable && !node.address.host.empty();
    if (!node.usable && node.connection != nullptr &&
        !node.connection->ready()) {
      Retire(node);
    }
  }
  for (auto& [id, node] : before) Retire(node);
}

void Router::LearnFallbacks(const net::ClusterView& view) {
  std::vector<std::pair<Nearness, net::Endpoint>> near;
  for (const net::ClusterMember& member : view.members) {
    auto address = net::ParseEndpoint(member.client_address);
    if (!address.ok() || !Lives(member.condition)) continue;
    near.emplace_back(NearnessOf(here_, member.zone, member.region),
                      *std::move(address));
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) {
    return a.first < b.first;
  });
  if (near.size() > kFallbacksMax) near.resize(kFallbacksMax);
  std::vector<net::Endpoint> fallbacks;
  for (auto& [nearness, address] : near) fallbacks.push_back(address);
  home_->SetFallbacks(fallbacks);
}

// This may be running inside of the connection, so it goes later. What waits on
// it is placed anew then, by the routes that hold by that time.
void Router::Retire(Node& node) {
  if (node.connection == nullptr) return;
  retired_.push_back(std::move(node.connection));
  loop_.Post([this] { Sweep(); });
}

void Router::Sweep() {
  std::vector<std::unique_ptr<Dispatcher>> busy;
  for (std::unique_ptr<Dispatcher>& connection : std::exchange(retired_, {})) {
    Waiting waiting = connection->TakeWaiting();
    for (Pending& pending : waiting.operations) Add(std::move(pending));
    for (Lookup& lookup : waiting.lookups) Add(std::move(lookup));
    if (connection->idle()) {
      connection->Shutdown();
    } else {
      busy.push_back(std::move(connection));
    }
  }
  for (auto& connection : busy) retired_.push_back(std::move(connection));
  Pump();
}

void Router::OnTick() {
  if (home_->ready()) Refresh();
  Sweep();
  loop_.After(options_.view_refresh, [this] { OnTick(); });
}

void Router::Shutdown() {
  ask_again_ = false;
  for (auto& [id, node] : nodes_) {
    if (node.connection != nullptr) node.connection->Shutdown();
  }
  for (const auto& connection : retired_) connection->Shutdown();
  home_->Shutdown();
}

}  // namespace dovetail::internal
