// The links of a simulated cluster as its nodes see them: which process they
// believe to be at the other end, which may be true no longer, or not yet.
#include "absl/strings/str_cat.h"
#include "tests/sim/sim_cluster.h"

namespace dovetail::sim {

using replica::NodeId;

namespace {
constexpr crdt::ActorId kNobody{};
}  // namespace

void SimCluster::CutBetween(uint32_t from, uint32_t to, int64_t for_us) {
  network_.Cut(from, to, scheduler_.now_us() + for_us);
  for (const int64_t after : {plan_.options.detect_us, for_us + 1'000}) {
    if (after > kNever / 4) continue;  // for ever: somebody will heal it
    ReconsiderLater(from, to, after);
    ReconsiderLater(to, from, after);
  }
}

void SimCluster::Blink(uint32_t id, uint32_t peer) {
  if (!nodes_[id].running() || nodes_[id].believes[peer] == kNobody) return;
  Believe(id, peer, kNobody);
  ReconsiderLater(id, peer, 5'000);
}

void SimCluster::ReconsiderAll(uint32_t id, int64_t after_us) {
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (peer == id) continue;
    ReconsiderLater(id, peer, after_us);
    ReconsiderLater(peer, id, after_us);
  }
}

void SimCluster::ReconsiderLater(uint32_t id, uint32_t peer, int64_t after_us) {
  const int64_t jitter =
      static_cast<int64_t>(chance_.Below(static_cast<uint64_t>(after_us) + 1));
  scheduler_.After(after_us + jitter,
                   [this, id, peer] { Reconsider(id, peer); });
}

void SimCluster::Reconsider(uint32_t id, uint32_t peer) {
  Node& node = nodes_[id];
  if (!node.running()) return;
  const bool up = nodes_[peer].running() && !network_.IsCut(id, peer) &&
                  !network_.IsCut(peer, id);
  const crdt::ActorId now = up ? nodes_[peer].process->actor : kNobody;
  if (node.believes[peer] == now) return;
  // Another process means that the link to the last one broke.
  if (node.believes[peer] != kNobody) Believe(id, peer, kNobody);
  if (up) Believe(id, peer, now);
}

// With a ring, membership makes of it who can be reached.
void SimCluster::Believe(uint32_t id, uint32_t peer, crdt::ActorId process) {
  Node& node = nodes_[id];
  const bool up = process != kNobody;
  node.believes[peer] = process;
  trace_.Add(scheduler_.now_us(), up ? "link-up" : "link-down", id, peer, up,
             [&] { return absl::StrCat("node ", id, " of node ", peer); });
  if (node.process->strand == nullptr) return Reach(id, peer, up);
  OnStrand(id, [peer, up](replica::Cluster& cluster, absl::Duration now) {
    if (up) {
      cluster.HandleLinkUp(NodeId{peer}, now);
    } else {
      cluster.HandleLinkDown(NodeId{peer}, now);
    }
  });
}

// Who is reached is whom the link leads to. If it broke since, that is what
// comes next.
void SimCluster::Reach(uint32_t id, uint32_t peer, bool up) {
  const crdt::ActorId process = up ? nodes_[id].believes[peer] : kNobody;
  if (up && process == kNobody) return;
  for (uint32_t lane = 0; lane < nodes_[id].process->lanes.size(); ++lane) {
    Push(id, lane, PeerChange{NodeId{peer}, process});
  }
}

void SimCluster::HealLinks() {
  network_.HealLinks();
  for (uint32_t id = 0; id < size(); ++id) ReconsiderAll(id, 1'000);
}

}  // namespace dovetail::sim
