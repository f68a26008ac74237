// The node strand of simulated nodes: one replica::Cluster each, fed by gossip
// over the simulated network, which says who can be reached and who owns what,
// as net/cluster_driver.cc and net/node.cc do it in a process.
#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "net/peer_codec.h"
#include "replica/placement_of.h"
#include "tests/sim/seat.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_ring.h"

namespace dovetail::sim {

using replica::Cluster;
using replica::ClusterConfig;
using replica::ClusterEnvelope;
using replica::ClusterEvent;
using replica::NodeId;
using replica::RingStamp;

namespace {

// As of net/cluster_driver.cc.
constexpr int64_t kSaveRetryUs = 5'000'000;
// As of net/node.cc.
constexpr int64_t kLookForDataUs = 1'000'000;

// What a node remembers of its cluster, as src/server/cluster_file.h does.
struct ClusterFile {
  uint64_t incarnation = 0;
  std::string config;
};

std::string EncodeFile(const ClusterFile& file) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Varint(file.incarnation);
  out.Bytes(file.config);
  return bytes;
}

ClusterFile DecodeFile(const std::string& bytes) {
  ClusterFile file;
  crdt::Reader in(bytes);
  file.incarnation = in.Varint();
  file.config = std::string(in.Bytes(in.remaining()));
  DOVETAIL_CHECK(in.ok());
  return file;
}

ClusterConfig ConfigOf(const std::string& file) {
  auto config = replica::DecodeClusterConfig(DecodeFile(file).config);
  DOVETAIL_CHECK(config.ok());
  return *std::move(config);
}

// A second of the defaults is a period here.
replica::MembershipOptions MembershipOf(const PlanOptions& plan) {
  const absl::Duration period = absl::Microseconds(plan.gossip_period_us);
  const double scale = absl::ToDoubleSeconds(period);
  replica::MembershipOptions options;
  options.probe_period = period;
  options.probe_timeout *= scale;
  options.stall_min *= scale;
  options.exchange_period *= scale;
  options.reconnect_period *= scale;
  return options;
}

}  // namespace

absl::Duration SimCluster::Steady() const {
  return absl::Microseconds(scheduler_.now_us());
}

// --- Processes ---------------------------------------------------------------

// What a new process goes by: what its disk knows, or what the first members
// are told, or what a node says that it is to join. Nullopt: none can be asked.
std::optional<ClusterConfig> SimCluster::StartConfig(uint32_t id) const {
  const std::string& file = nodes_[id].disk.file();
  if (!file.empty()) return ConfigOf(file);
  ClusterConfig config;
  config.ring = FirstRingOf(plan_);
  const auto& first = config.ring->ring().members;
  if (std::any_of(first.begin(), first.end(), [&](const auto& member) {
        return member.id == NodeId{id};
      })) {
    return config;
  }
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (peer == id || !nodes_[peer].running() || network_.IsCut(id, peer) ||
        network_.IsCut(peer, id)) {
      continue;
    }
    return nodes_[peer].process->strand->cluster.config();
  }
  return std::nullopt;
}

void SimCluster::StartStrand(uint32_t id, ClusterConfig config) {
  Node& node = nodes_[id];
  const std::string& file = node.disk.file();
  const uint64_t before = file.empty() ? 0 : DecodeFile(file).incarnation;
  replica::MemberInfo self;
  self.id = NodeId{id};
  self.name = absl::StrCat("n", id);
  self.peer_address = absl::StrCat("127.0.0.1:", 7000 + id);
  self.client_address = absl::StrCat("127.0.0.1:", 8000 + id);
  self.zone = ZoneOf(plan_, id);
  self.region = RegionOf(plan_, id);
  const uint64_t incarnation =
      std::max(before + 1, node.clock.WallMs(scheduler_.now_us()));
  node.process->strand.reset(
      new Strand{Cluster(MembershipOf(plan_.options), std::move(self),
                         incarnation, crdt::ActorBits(node.process->actor),
                         std::move(config), Steady()),
                 incarnation});
  DrainStrand(id);
  WatchForData(id);
}

// As net/node.cc does. The shards answer by the ring that they know now, or by
// a later one.
void SimCluster::LookForData(uint32_t id, StrandInput done) {
  Process& process = *nodes_[id].process;
  auto asked = std::make_shared<HoldingsAsked>();
  asked->holdings.ring = process.placed;
  asked->shards_left = process.lanes.size();
  asked->done = [this, id,
                 done = std::move(done)](const replica::Holdings& holdings) {
    OnStrand(id, [holdings, done](Cluster& cluster, absl::Duration now) {
      if (holdings.ring == cluster.ring_stamp()) {
        cluster.SetHoldings(holdings, now);
      }
      done(cluster, now);
    });
  };
  for (uint32_t lane = 0; lane < process.lanes.size(); ++lane) {
    Push(id, lane, asked);
  }
}

void SimCluster::WatchForData(uint32_t id) {
  LookForData(id, [this, id](Cluster&, absl::Duration) {
    scheduler_.After(kLookForDataUs, [this, id, starts = nodes_[id].starts] {
      if (nodes_[id].running() && nodes_[id].starts == starts) WatchForData(id);
    });
  });
}

// --- Inputs and outputs ------------------------------------------------------

void SimCluster::OnStrand(uint32_t id, StrandInput input) {
  nodes_[id].process->strand->inbox.push_back(std::move(input));
  WakeStrand(id, scheduler_.now_us());
}

void SimCluster::WakeStrand(uint32_t id, int64_t at_us) {
  Node& node = nodes_[id];
  Strand& strand = *node.process->strand;
  at_us = std::max({at_us, node.paused_until_us, scheduler_.now_us()});
  if (at_us >= strand.wake_at_us) return;
  strand.wake_at_us = at_us;
  scheduler_.At(at_us, [this, id, at_us, starts = node.starts] {
    Node& then = nodes_[id];
    if (!then.running() || then.starts != starts) return;
    Strand& its = *then.process->strand;
    if (its.wake_at_us != at_us) return;  // overtaken by an earlier one
    its.wake_at_us = kNever;
    if (then.paused_until_us > scheduler_.now_us()) {
      return WakeStrand(id, then.paused_until_us);
    }
    RunStrand(id);
  });
}

void SimCluster::RunStrand(uint32_t id) {
  Strand& strand = *nodes_[id].process->strand;
  hooks_.SetNode(id, nodes_[id].starts);
  while (!strand.inbox.empty()) {
    const StrandInput input = std::move(strand.inbox.front());
    strand.inbox.pop_front();
    input(strand.cluster, Steady());
    DrainStrand(id);
  }
  if (strand.cluster.next_deadline() <= Steady()) {
    strand.cluster.HandleTimers(Steady());
  }
  DrainStrand(id);  // sets the timer, too
}

void SimCluster::DrainStrand(uint32_t id) {
  Strand& strand = *nodes_[id].process->strand;
  for (const ClusterEvent::Any& event : strand.cluster.TakeEvents()) {
    OnClusterEvent(id, event);
  }
  if (strand.cluster.TakeUnsaved()) {
    strand.unsaved = true;
    strand.save_at_us = 0;
  }
  SaveCluster(id);
  for (ClusterEnvelope& envelope : strand.cluster.TakeMessages()) {
    auto frame = net::EncodeGossip({envelope.kind, std::move(envelope.bytes)});
    DOVETAIL_CHECK(frame.ok());
    network_.Send(id, SeatOf(envelope.to), *std::move(frame));
  }
  const int64_t deadline =
      absl::ToInt64Microseconds(strand.cluster.next_deadline()) + 1;
  WakeStrand(id,
             strand.unsaved ? std::min(deadline, strand.save_at_us) : deadline);
}

void SimCluster::OnClusterEvent(uint32_t id, const ClusterEvent::Any& event) {
  Process& process = *nodes_[id].process;
  const auto tell = [&](const Input& input) {
    for (uint32_t lane = 0; lane < process.lanes.size(); ++lane) {
      Push(id, lane, input);
    }
  };
  const auto trace_reach = [&](uint32_t peer, bool up) {
    trace_.Add(scheduler_.now_us(), up ? "reaches" : "lost", id, peer, up, [&] {
      return absl::StrCat("node ", id, up ? " reaches" : " reaches no more",
                          " node ", peer);
    });
  };
  if (const auto* ring = std::get_if<ClusterEvent::NewRing>(&event)) {
    trace_.Add(scheduler_.now_us(), "ring", id, ring->lineage.ring.epoch,
               ring->lineage.ring.digest.high, [&] {
                 return absl::StrCat("node ", id, " goes by epoch ",
                                     ring->lineage.ring.epoch, ", digest ",
                                     ring->lineage.ring.digest.high);
               });
    FindNewestRing();
    const bool moves = ring->before != nullptr;
    if (process.placed == ring->lineage.ring && process.placed_moves == moves)
      return;
    process.placed = ring->lineage.ring;
    process.placed_moves = moves;
    tell(RingChange{PlacementFor(*ring), ring->lineage.ring});
  } else if (const auto* up = std::get_if<ClusterEvent::Reachable>(&event)) {
    trace_reach(SeatOf(up->node), true);
    Reach(id, SeatOf(up->node), true);
  } else if (const auto* down =
                 std::get_if<ClusterEvent::Unreachable>(&event)) {
    trace_reach(SeatOf(down->node), false);
    Reach(id, SeatOf(down->node), false);
  } else if (const auto* line = std::get_if<ClusterEvent::LogLine>(&event)) {
    trace_.Add(scheduler_.now_us(), "says", id, HashOf(line->text), 0,
               [&] { return absl::StrCat("node ", id, ": ", line->text); });
  }
}

// Durable at once, before others hear of it; on a full disk, later.
void SimCluster::SaveCluster(uint32_t id) {
  Node& node = nodes_[id];
  Strand& strand = *node.process->strand;
  const int64_t now = scheduler_.now_us();
  if (!strand.unsaved || now < strand.save_at_us) return;
  if (node.disk_full_until_us > now) {
    strand.save_at_us = now + kSaveRetryUs;
    return;
  }
  strand.unsaved = false;
  node.disk.SetFile(
      EncodeFile({strand.incarnation,
                  replica::EncodeClusterConfig(strand.cluster.config())}));
}

void SimCluster::OnGossip(uint32_t from, uint32_t to, net::PeerGossip gossip) {
  OnStrand(to, [this, from, to, gossip = std::move(gossip)](
                   Cluster& cluster, absl::Duration now) {
    absl::Status handled;
    switch (gossip.kind) {
      case ClusterEnvelope::Kind::kGossip:
        handled = cluster.HandleGossip(NodeId{from}, gossip.bytes, now);
        break;
      case ClusterEnvelope::Kind::kConfig:
        handled = cluster.HandleConfig(NodeId{from}, gossip.bytes, now);
        break;
      case ClusterEnvelope::Kind::kConfigRequest:
        cluster.HandleConfigRequest(NodeId{from}, now);
        break;
    }
    if (handled.ok()) return;
    observer_.OnViolation(absl::StrCat("node ", to, " refuses what node ", from,
                                       " gossips: ", handled.ToString()));
  });
}

// As net/cluster_driver.cc does with each frame between shards.
void SimCluster::OnPlacedBy(uint32_t from, uint32_t to, const RingStamp& ring) {
  const Cluster& cluster = nodes_[to].process->strand->cluster;
  if (ring == cluster.ring_stamp() &&
      cluster.EpochOf(NodeId{from}) == ring.epoch) {
    return;
  }
  OnStrand(to, [from, ring](Cluster& its, absl::Duration now) {
    its.HandlePeerRing(NodeId{from}, ring, now);
  });
}

// --- Rings -------------------------------------------------------------------

std::shared_ptr<const replica::Placement> SimCluster::PlacementFor(
    const ClusterEvent::NewRing& ring) {
  auto& placement =
      placements_[{ring.lineage.ring.epoch, ring.lineage.ring.digest,
                   ring.before != nullptr}];
  if (placement == nullptr) {
    placement = std::make_shared<replica::Placement>(replica::PlacementOf(
        *ring.ring, ring.lineage, ring.before.get(), ring.gone));
  }
  return placement;
}

// The greatest that somebody runs by, or will after its next start.
void SimCluster::FindNewestRing() {
  std::optional<replica::CommittedRing> newest;
  const auto look = [&](const ClusterConfig& config) {
    if (!config.ring) return;
    if (!newest || replica::Precedes(*newest, *config.ring)) {
      newest = config.ring;
    }
  };
  for (const Node& node : nodes_) {
    if (node.running() && node.process->strand != nullptr) {
      look(node.process->strand->cluster.config());
    } else if (!node.disk.file().empty()) {
      look(ConfigOf(node.disk.file()));
    }
  }
  if (!newest || newest_ring_ == newest->stamp()) return;
  newest_ring_ = newest->stamp();
  ring_changed_ |= newest_ring_.epoch > 1;
  placement_ = PlacementFor(NewRingOf(*newest));
}

std::string SimCluster::RingUnsettled() const {
  for (uint32_t id = 0; id < size(); ++id) {
    const Process& process = *nodes_[id].process;
    const bool moves =
        std::any_of(process.lanes.begin(), process.lanes.end(),
                    [](const Lane& lane) { return lane.placement->moves(); });
    if (moves || (process.strand && !process.strand->cluster.settled())) {
      return absl::StrCat("node ", id,
                          " has not heard that all owners are complete");
    }
  }
  return "";
}

std::string SimCluster::GossipDiffers() const {
  if (plan_.options.ring == 0) return "";
  const auto of = [&](uint32_t id) -> const Cluster& {
    return nodes_[id].process->strand->cluster;
  };
  for (uint32_t id = 0; id < size(); ++id) {
    if (!nodes_[id].running()) return absl::StrCat("node ", id, " is down");
  }
  for (uint32_t id = 0; id < size(); ++id) {
    if (!(of(id).config() == of(0).config())) {
      return absl::StrCat("nodes 0 and ", id, " have different configurations");
    }
    for (uint32_t peer = 0; peer < size(); ++peer) {
      if (peer == id || of(id).IsReachable(NodeId{peer})) continue;
      const auto& members = of(id).membership().members();
      const auto held = members.find(NodeId{peer});
      if (held == members.end()) {
        return absl::StrCat("node ", id, " does not know node ", peer);
      }
      return absl::StrCat("node ", id, " holds node ", peer, " in state ",
                          static_cast<int>(held->second.state),
                          ", incarnation ", held->second.incarnation,
                          "; its own is ",
                          of(peer).membership().self().incarnation);
    }
  }
  return "";
}

}  // namespace dovetail::sim
