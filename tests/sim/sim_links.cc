// The links of a simulated cluster as its nodes see them: who notices when that
// one is down, and up again.
#include "absl/strings/str_cat.h"
#include "tests/sim/sim_cluster.h"

namespace dovetail::sim {

using replica::NodeId;

void SimCluster::CutBetween(uint32_t from, uint32_t to, int64_t for_us) {
  network_.Cut(from, to, scheduler_.now_us() + for_us);
  for (const int64_t after : {plan_.options.detect_us, for_us + 1'000}) {
    if (after > kNever / 4) continue;  // for ever: somebody will heal it
    ReconsiderLater(from, to, after);
    ReconsiderLater(to, from, after);
  }
}

void SimCluster::Blink(uint32_t id, uint32_t peer) {
  if (!nodes_[id].running() || !nodes_[id].believes_up[peer]) return;
  Believe(id, peer, false);
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
  if (node.believes_up[peer] == up) return;
  Believe(id, peer, up);
}

// With a ring, membership makes of it who can be reached.
void SimCluster::Believe(uint32_t id, uint32_t peer, bool up) {
  Node& node = nodes_[id];
  node.believes_up[peer] = up;
  trace_.Add(scheduler_.now_us(), up ? "link-up" : "link-down", id, peer, up,
             [&] { return absl::StrCat("node ", id, " of node ", peer); });
  if (node.process->strand != nullptr) {
    return OnStrand(id,
                    [peer, up](replica::Cluster& cluster, absl::Duration now) {
                      if (up) {
                        cluster.HandleLinkUp(NodeId{peer}, now);
                      } else {
                        cluster.HandleLinkDown(NodeId{peer}, now);
                      }
                    });
  }
  Reach(id, peer, up);
}

void SimCluster::HealLinks() {
  network_.HealLinks();
  for (uint32_t id = 0; id < size(); ++id) ReconsiderAll(id, 1'000);
}

}  // namespace dovetail::sim
