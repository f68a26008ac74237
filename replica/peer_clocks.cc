#include "replica/peer_clocks.h"

#include <algorithm>
#include <cstdlib>

#include "absl/container/inlined_vector.h"
#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// Two clocks that were right then drift apart by less than half a second.
constexpr absl::Duration kKnownFor = absl::Hours(1);
// The latest clock of so long counts; then what is heard next.
constexpr absl::Duration kLatestOf = absl::Minutes(1);

int64_t BaseOf(uint64_t wall_ms, Now now) {
  return static_cast<int64_t>(wall_ms) - absl::ToInt64Milliseconds(now.steady);
}

}  // namespace

void PeerClocks::Heard(NodeId peer, uint64_t wall_ms, Now now) {
  if (wall_ms == 0) return;
  const Clock heard{BaseOf(wall_ms, now), now.steady};
  const auto [it, inserted] = clocks_.try_emplace(peer, heard);
  if (inserted) return;
  if (heard.base_ms >= it->second.base_ms ||
      now.steady - it->second.heard >= kLatestOf) {
    it->second = heard;
  }
}

const PeerClocks::Clock* PeerClocks::Find(NodeId peer, Now now) const {
  const auto it = clocks_.find(peer);
  const bool known =
      it != clocks_.end() && now.steady - it->second.heard <= kKnownFor;
  return known ? &it->second : nullptr;
}

std::optional<int64_t> PeerClocks::OffsetMs(NodeId peer, Now now) const {
  const Clock* clock = Find(peer, now);
  if (clock == nullptr) return std::nullopt;
  return clock->base_ms - BaseOf(now.wall_ms, now);
}

uint64_t PeerClocks::Time(Now now) const {
  absl::InlinedVector<int64_t, 16> offsets = {0};
  for (const auto& [peer, clock] : clocks_) {
    if (const auto offset = OffsetMs(peer, now)) offsets.push_back(*offset);
  }
  if (DOVETAIL_MUTANT("expiry: by this node's clock alone")) return now.wall_ms;
  const auto middle =
      offsets.begin() + static_cast<int64_t>(offsets.size() - 1) / 2;
  std::nth_element(offsets.begin(), middle, offsets.end());
  return static_cast<uint64_t>(
      std::max<int64_t>(0, static_cast<int64_t>(now.wall_ms) + *middle));
}

PeerClocks::Agreement PeerClocks::Ask(NodeId self,
                                      absl::Span<const NodeId> peers,
                                      absl::Duration within, Now now) const {
  size_t all = 1;
  size_t agree = 1;
  size_t differ = 0;
  for (const NodeId peer : peers) {
    if (peer == self) continue;
    ++all;
    const std::optional<int64_t> offset = OffsetMs(peer, now);
    if (!offset) continue;
    const bool near = absl::Milliseconds(std::abs(*offset)) <= within;
    agree += near ? 1 : 0;
    differ += near ? 0 : 1;
  }
  if (2 * agree > all) return Agreement::kAgrees;
  return 2 * (all - differ) > all ? Agreement::kUnknown : Agreement::kDiffers;
}

bool PeerClocks::KnowsMost(NodeId self, absl::Span<const NodeId> peers,
                           Now now) const {
  size_t all = 1;
  size_t known = 1;
  for (const NodeId peer : peers) {
    if (peer == self) continue;
    ++all;
    known += Find(peer, now) != nullptr ? 1 : 0;
  }
  return 2 * known > all;
}

}  // namespace dovetail::replica
