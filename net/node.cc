#include "net/node.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "crdt/check.h"
#include "net/backup_runner.h"
#include "net/bucket_admin.h"
#include "net/client_types.h"
#include "net/cluster_view.h"
#include "net/dovetail.capnp.h"
#include "net/load_watch.h"
#include "net/node_metrics.h"
#include "net/ring_waits.h"
#include "replica/hash.h"
#include "replica/placement_of.h"
#include "replica/ring.h"
#include "replica/shard.h"

namespace dovetail::net {
namespace {

using replica::NodeId;

// This node looks so often whether there is data, and whether all has come that
// is to, so that others know.
constexpr absl::Duration kLookForData = absl::Seconds(1);

uint64_t WallMs() {
  const int64_t ms =
      absl::ToUnixMillis(absl::FromChrono(std::chrono::system_clock::now()));
  return static_cast<uint64_t>(std::max<int64_t>(0, ms));
}

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
        self_(replica::NodeIdOf(config_.cluster, config_.name)),
        hooks_(std::move(hooks)),
        started_(std::chrono::steady_clock::now()),
        started_at_(absl::FromChrono(std::chrono::system_clock::now())) {}

  absl::Status Start(replica::Storage& storage);
  absl::Status Stop();

  RpcServer& rpc() { return *rpc_; }
  ClusterDriver& cluster() { return *cluster_; }
  Host& host() { return *host_; }
  MetricsServer& metrics() { return *metrics_; }

 private:
  absl::Status StartHost(replica::Storage& storage);
  absl::Status StartRpc();
  absl::Status StartCluster();
  absl::Status StartMetrics();
  void OnOutput(HostOutput output);

  // Asks the first `shards` shards (0: all) for `read`'s result and calls
  // `done` with all of them, in order of the shards, on the loop's thread.
  template <class T>
  void Gather(std::function<T(replica::Shard&)> read,
              std::function<void(std::vector<T>)> done, uint32_t shards = 0);
  void Status(std::function<void(const NodeStatus&)> done);
  void Digests(std::function<void(const NodeDigests&)> done);
  NodeStatus StatusOf(std::vector<replica::ShardStats> shards) const;
  void View(std::function<void(const ClusterView&)> done);
  void Admin(ClusterAdmin admin,
             std::function<void(const absl::StatusOr<PlanView>&)> done);
  void Buckets(BucketRequest request,
               std::function<void(const absl::StatusOr<BucketPage>&)> done);
  NodeMetrics MetricsOf(std::vector<ShardMeasures> shards) const;
  void WatchHandOver();
  // Asks the shards whether there is any event, and whether they have all of
  // what is theirs, and tells the cluster.
  void LookForData(std::function<void()> done);
  void WatchForData();
  void StartLoad();
  uint64_t DataBytes() const;

  EventLoop& loop_;
  const Config config_;
  const NodeId self_;
  const Hooks hooks_;
  const std::chrono::steady_clock::time_point started_;
  const absl::Time started_at_;
  // Gathering<T>, by number.
  std::map<uint64_t, std::shared_ptr<void>> gatherings_;
  uint64_t next_gathering_ = 0;
  std::unique_ptr<Host> host_;
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<ClusterDriver> cluster_;
  std::unique_ptr<MetricsServer> metrics_;
  std::shared_ptr<LoadWatch> load_;
  replica::RingStamp placed_;  // the ring that the shards know,
  bool placed_moves_ = false;  // and whether they know the one before
  RingWaits ring_waits_{loop_};
  std::unique_ptr<BackupRunner> backups_;
};

absl::Status Node::Impl::Start(replica::Storage& storage) {
  DOVETAIL_RETURN_IF_ERROR(StartHost(storage));
  DOVETAIL_RETURN_IF_ERROR(StartRpc());
  DOVETAIL_RETURN_IF_ERROR(StartCluster());
  DOVETAIL_RETURN_IF_ERROR(StartMetrics());
  WatchForData();
  if (config_.hand_over) WatchHandOver();
  StartLoad();
  return absl::OkStatus();
}

absl::Status Node::Impl::StartHost(replica::Storage& storage) {
  const replica::CommittedRing& committed = *config_.config.ring;
  DOVETAIL_ASSIGN_OR_RETURN(const replica::Ring ring,
                            replica::Ring::Compute(committed.ring()));
  placed_ = committed.stamp();
  placed_moves_ = committed.before().has_value();
  std::optional<replica::Ring> before;
  std::vector<NodeId> gone;
  if (placed_moves_) {
    DOVETAIL_ASSIGN_OR_RETURN(before,
                              replica::Ring::Compute(committed.before()->ring));
    gone = committed.before()->gone;
  }
  const Host::Config config{
      .options = config_.host,
      .shard = config_.shard,
      .placement = replica::PlacementOf(ring, committed.lineage(),
                                        before ? &*before : nullptr, gone),
      .ring = placed_,
      .self = self_,
      .actor = config_.actor,
      .region = config_.region};
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
  backups_ = std::make_unique<BackupRunner>(loop_, hooks_.backup);
  RpcServer::Backend backend;
  backend.hello = {.protocol_version = wire::PROTOCOL_VERSION,
                   .oldest_protocol_version = wire::OLDEST_PROTOCOL_VERSION,
                   .server = absl::StrCat("dovetaild ", config_.version),
                   .node = self_,
                   .node_name = config_.name,
                   .partitions = config_.config.ring->ring().partitions};
  backend.ring = [this] { return placed_; };
  backend.catch_up = [this](const replica::RingStamp& ring, auto go) {
    ring_waits_.Add(ring, std::move(go));
    cluster_
        ->Do([&](replica::Cluster& cluster, absl::Duration now) {
          cluster.HandleClientRing(ring, now);
          return absl::OkStatus();
        })
        .IgnoreError();  // logged
  };
  backend.submit = [this](std::vector<replica::ClientRequest> requests,
                          uint64_t connection) {
    return host_->Submit(std::move(requests), connection);
  };
  backend.status = [this](auto done) { Status(std::move(done)); };
  backend.digests = [this](auto done) { Digests(std::move(done)); };
  backend.cluster = [this](auto done) { View(std::move(done)); };
  backend.admin = [this](ClusterAdmin admin, auto done) {
    Admin(std::move(admin), std::move(done));
  };
  backend.buckets = [this](BucketRequest request, auto done) {
    Buckets(std::move(request), std::move(done));
  };
  backend.backup = [this](const std::string& name, auto done) {
    backups_->Run(name, std::move(done));
  };
  backend.log = hooks_.log;
  DOVETAIL_ASSIGN_OR_RETURN(
      rpc_,
      RpcServer::Open(loop_, config_.listen, config_.rpc, std::move(backend)));
  return absl::OkStatus();
}

absl::Status Node::Impl::StartCluster() {
  ClusterDriver::Config config;
  config.self = {.cluster = config_.cluster,
                 .node = self_,
                 .partitions = config_.config.ring->ring().partitions,
                 .incarnation = config_.actor,
                 .name = config_.name,
                 .peer_address = config_.peer_address,
                 .client_address = config_.client_address.empty()
                                       ? ToString(rpc_->endpoint())
                                       : config_.client_address,
                 .zone = config_.zone,
                 .region = config_.region};
  config.listen = config_.peer_listen;
  config.config = config_.config;
  config.peers = config_.peers;
  config.incarnation = config_.incarnation;
  config.membership = config_.membership;
  config.links = config_.links;
  ClusterDriver::Events events;
  events.on_ring = [this](const replica::ClusterEvent::NewRing& event) {
    const bool moves = event.before != nullptr;
    // What the shards began with.
    const replica::RingStamp& stamp = event.lineage.ring;
    if (stamp == placed_ && moves == placed_moves_) return;
    placed_ = stamp;
    placed_moves_ = moves;
    host_->SetPlacement(replica::PlacementOf(*event.ring, event.lineage,
                                             event.before.get(), event.gone),
                        stamp);
    ring_waits_.OnRing(stamp);
  };
  events.on_buckets = [this](auto buckets) {
    host_->SetBuckets(std::move(buckets));
  };
  events.on_pause = [this](bool paused) {
    for (uint32_t i = 0; i < host_->shards(); ++i) {
      host_->Query(
          i, [paused](replica::Shard& shard) { shard.PauseTransfers(paused); });
    }
  };
  events.on_messages = [this](NodeId from, auto messages) {
    host_->Deliver(from, std::move(messages));
  };
  events.on_up = [this](NodeId peer) {
    host_->PeerUp(peer, cluster_->links().incarnation(peer));
  };
  events.on_down = [this](NodeId peer) { host_->PeerDown(peer); };
  events.log = hooks_.log;
  events.save = hooks_.save ? hooks_.save : [](const auto&, const auto&) {
    return absl::OkStatus();
  };
  DOVETAIL_ASSIGN_OR_RETURN(
      cluster_,
      ClusterDriver::Open(loop_, std::move(config), std::move(events)));
  return absl::OkStatus();
}

absl::Status Node::Impl::StartMetrics() {
  if (!config_.metrics_listen) return absl::OkStatus();
  auto collect = [this](std::function<void(std::string)> done) {
    host_->Measure([this, weak = weak_from_this(),
                    done](std::vector<ShardMeasures> shards) {
      const auto shared =
          std::make_shared<std::vector<ShardMeasures>>(std::move(shards));
      loop_.Post([weak, done, shared] {
        const auto self = weak.lock();
        if (self == nullptr || self->metrics_ == nullptr) return;  // stopped
        done(ToPrometheusText(self->MetricsOf(std::move(*shared))));
      });
    });
  };
  auto opened = MetricsServer::Open(loop_, *config_.metrics_listen,
                                    config_.metrics, std::move(collect));
  if (!opened.ok()) {
    return absl::Status(
        opened.status().code(),
        absl::StrCat("metrics_listen: ", opened.status().message()));
  }
  metrics_ = *std::move(opened);
  hooks_.log(absl::StrCat("metrics: http://", ToString(metrics_->endpoint()),
                          "/metrics"));
  return absl::OkStatus();
}

void Node::Impl::OnOutput(HostOutput output) {
  for (const std::string& line : output.notices) hooks_.log(line);
  if (cluster_ != nullptr) {
    for (auto& frame : output.frames) {
      cluster_->links().Send(frame.to, std::move(frame.bytes));
    }
  }
  if (rpc_ != nullptr) rpc_->OnReplies(std::move(output.replies));
}

template <class T>
void Node::Impl::Gather(std::function<T(replica::Shard&)> read,
                        std::function<void(std::vector<T>)> done,
                        uint32_t shards) {
  if (shards == 0) shards = host_->shards();
  const auto gathering = std::make_shared<Gathering<T>>();
  gathering->parts.resize(shards);
  gathering->missing = shards;
  gathering->done = std::move(done);
  const uint64_t id = next_gathering_++;
  gatherings_[id] = gathering;
  // Shard threads get the number alone, so that none of them ever holds the
  // last reference.
  for (uint32_t i = 0; i < shards; ++i) {
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
  status.id = self_;
  status.name = config_.name;
  status.version = config_.version;
  status.uptime = absl::FromChrono(std::chrono::steady_clock::now() - started_);
  status.actor = config_.actor;
  status.partitions = config_.config.ring->ring().partitions;
  for (ClusterMember& member :
       MembersOf(cluster_->cluster(), cluster_->now())) {
    status.members.push_back({.id = member.id,
                              .name = std::move(member.name),
                              .address = std::move(member.client_address),
                              .up = member.reachable});
  }
  status.shards = std::move(shards);
  if (hooks_.storage) status.storage = hooks_.storage();
  if (load_ != nullptr) status.transfers = load_->transfers();
  return status;
}

NodeMetrics Node::Impl::MetricsOf(std::vector<ShardMeasures> shards) const {
  NodeMetrics metrics;
  metrics.version = config_.version;
  metrics.started = started_at_;
  metrics.now = SteadyNow();
  metrics.shards = std::move(shards);
  metrics.host = host_->stats();
  metrics.client_connections = rpc_->connections();
  const replica::Cluster& cluster = cluster_->cluster();
  for (ClusterMember& member : MembersOf(cluster, cluster_->now())) {
    if (member.id == self_) continue;
    metrics.peers.push_back({.id = member.id,
                             .name = std::move(member.name),
                             .reachable = member.reachable,
                             .link = cluster_->links().stats(member.id)});
  }
  const replica::Membership& membership = cluster.membership();
  for (const auto& [id, member] : membership.members()) {
    ++metrics.members[static_cast<size_t>(member.state)];
  }
  metrics.gossip = membership.counters();
  metrics.local_health = membership.local_health();
  metrics.rumors_queued = membership.rumors_queued();
  metrics.ring_epoch = cluster.config().epoch();
  if (hooks_.storage) metrics.storage = hooks_.storage();
  return metrics;
}

void Node::Impl::View(std::function<void(const ClusterView&)> done) {
  Status([this, done](const NodeStatus& status) {
    ClusterView view = ViewOf(cluster_->cluster(), cluster_->now());
    view.cluster = config_.cluster;
    for (const replica::ShardStats& shard : status.shards) {
      view.hints += shard.hints;
      view.hint_bytes += shard.hint_bytes;
    }
    view.data_bytes = DataBytes();
    done(view);
  });
}

void Node::Impl::Admin(
    ClusterAdmin admin,
    std::function<void(const absl::StatusOr<PlanView>&)> done) {
  // What the others said of their data may be a moment old; what this node
  // says, not.
  LookForData([this, admin = std::move(admin), done] {
    absl::StatusOr<PlanView> plan = PlanView();
    const absl::Status stored = cluster_->Do(
        [&](replica::Cluster& cluster, absl::Duration now) -> absl::Status {
          plan = Administer(cluster, admin, WallMs(), now);
          return absl::OkStatus();
        });
    if (plan.ok() && !stored.ok()) plan = stored;
    done(plan);
  });
}

void Node::Impl::Buckets(
    BucketRequest request,
    std::function<void(const absl::StatusOr<BucketPage>&)> done) {
  if (const auto* list = std::get_if<ListBuckets>(&request)) {
    if (!list->in_use) {
      return done(PageOfBuckets(cluster_->cluster(), *list, {}));
    }
    // The index of objects is the node's: one shard can read it all.
    using Names = absl::StatusOr<std::vector<std::string>>;
    return Gather<Names>(
        [after = list->after](replica::Shard& shard) {
          return shard.BucketsInUse(after, kBucketsPerPage);
        },
        [this, list = *list, done](std::vector<Names> parts) {
          if (!parts[0].ok()) return done(parts[0].status());
          done(PageOfBuckets(cluster_->cluster(), list, *parts[0]));
        },
        /*shards=*/1);
  }
  absl::StatusOr<BucketPage> page = BucketPage();
  const absl::Status stored = cluster_->Do(
      [&](replica::Cluster& cluster, absl::Duration now) -> absl::Status {
        page = RunBucketRequest(cluster, request, WallMs(), now);
        return absl::OkStatus();
      });
  if (page.ok() && !stored.ok()) page = stored;
  done(page);
}

void Node::Impl::LookForData(std::function<void()> done) {
  // The shards answer by this ring, or by a later one.
  Gather<replica::ShardStats>(
      [](replica::Shard& shard) { return shard.stats(); },
      [this, done, ring = placed_](std::vector<replica::ShardStats> parts) {
        replica::Holdings holdings;
        holdings.ring = ring;
        for (const replica::ShardStats& part : parts) {
          holdings.data = holdings.data || part.held > 0;
          holdings.incomplete += static_cast<uint32_t>(part.incomplete);
        }
        cluster_
            ->Do([&](replica::Cluster& cluster, absl::Duration now) {
              if (ring == cluster.ring_stamp()) {
                cluster.SetHoldings(holdings, now);
              }
              return absl::OkStatus();
            })
            .IgnoreError();  // logged
        done();
      });
}

void Node::Impl::WatchForData() {
  LookForData([this] {
    loop_.After(kLookForData, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self != nullptr && self->cluster_ != nullptr) self->WatchForData();
    });
  });
}

// All is given up once every owner has it on stable storage (hints.h).
void Node::Impl::WatchHandOver() {
  Gather<replica::ShardStats>(
      [](replica::Shard& shard) { return shard.stats(); },
      [this](std::vector<replica::ShardStats> parts) {
        const bool holds = std::any_of(
            parts.begin(), parts.end(),
            [](const auto& part) { return part.held + part.emptying > 0; });
        const bool leave = !holds && cluster_ != nullptr;
        if (leave) {
          cluster_
              ->Do([](replica::Cluster& cluster, absl::Duration now) {
                cluster.Leave(now);
                return absl::OkStatus();
              })
              .IgnoreError();  // logged
        }
        loop_.After(kLookForData, [weak = weak_from_this(), leave] {
          const auto self = weak.lock();
          if (self == nullptr || self->cluster_ == nullptr) return;
          if (!leave) return self->WatchHandOver();
          self->hooks_.handed_over();
        });
      });
}

uint64_t Node::Impl::DataBytes() const {
  // What tables hold, and what is not in tables yet.
  uint64_t bytes = 0;
  if (!hooks_.storage) return bytes;
  for (const auto& [name, value] : hooks_.storage()) {
    if (name == "live_data_bytes" || name == "memtable_bytes") bytes += value;
  }
  return bytes;
}

void Node::Impl::StartLoad() {
  load_ = std::make_shared<LoadWatch>(
      loop_, *host_,
      LoadWatch::Config{
          .data_bytes = [this] { return DataBytes(); },
          .tell =
              [this](replica::NodeLoad load) {
                cluster_->SetLoad(std::move(load));
              },
          .transfer_bytes_per_second = config_.shard.transfer_bytes_per_second,
          .log = hooks_.log});
  load_->Start();
}

void Node::Impl::Digests(std::function<void(const NodeDigests&)> done) {
  using Part = std::vector<replica::PartitionDigest>;
  Gather<Part>([](replica::Shard& shard) { return shard.Digests(); },
               [this, done](std::vector<Part> parts) {
                 NodeDigests digests;
                 digests.id = self_;
                 digests.name = config_.name;
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
  backups_.reset();
  load_.reset();
  metrics_.reset();
  rpc_.reset();
  cluster_.reset();
  return host_ == nullptr ? absl::OkStatus() : host_->Stop();
}

absl::StatusOr<std::unique_ptr<Node>> Node::Open(EventLoop& loop, Config config,
                                                 replica::Storage& storage,
                                                 Hooks hooks) {
  DOVETAIL_CHECK(config.config.ring.has_value());
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
  return impl_->cluster().links().endpoint();
}
const Endpoint& Node::metrics_endpoint() const {
  return impl_->metrics().endpoint();
}
PeerLinks& Node::peers() { return impl_->cluster().links(); }
ClusterDriver& Node::cluster() { return impl_->cluster(); }
Host& Node::host() { return impl_->host(); }

}  // namespace dovetail::net
