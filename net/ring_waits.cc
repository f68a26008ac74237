#include "net/ring_waits.h"

#include <utility>
#include <vector>

namespace dovetail::net {

void RingWaits::Add(const replica::RingStamp& ring, std::function<void()> go) {
  if (waits_.size() >= kRingWaitsMax) return go();
  const uint64_t id = next_++;
  waits_.emplace(id, Wait{ring, std::move(go)});
  loop_.After(kRingPatience, [this, id, alive = std::weak_ptr<char>(alive_)] {
    if (alive.expired()) return;
    auto wait = waits_.extract(id);
    if (!wait.empty()) wait.mapped().go();
  });
}

void RingWaits::OnRing(const replica::RingStamp& ring) {
  std::vector<std::function<void()>> ready;
  std::erase_if(waits_, [&](auto& entry) {
    if (IsNewerRing(entry.second.ring, ring)) return false;
    ready.push_back(std::move(entry.second.go));
    return true;
  });
  for (const std::function<void()>& go : ready) go();
}

}  // namespace dovetail::net
