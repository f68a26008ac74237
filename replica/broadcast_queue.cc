#include "replica/broadcast_queue.h"

#include <utility>

#include "replica/gossip_message.h"

namespace dovetail::replica {
namespace {

// What is left then is too small for any rumour.
constexpr size_t kRumorBytesMin = 10;
// Rumours that do not fit are passed over, but a long queue is not searched for
// one that does.
constexpr int kMisfitsMax = 4;

}  // namespace

uint32_t TransmitLimit(uint32_t retransmit, size_t members) {
  // Counted, not by a logarithm: it must round up alike everywhere.
  uint32_t digits = 0;
  for (size_t reach = 1; reach < members + 1; reach *= 10) ++digits;
  return retransmit * digits;
}

void BroadcastQueue::Add(Rumor rumor) {
  const NodeId about = rumor.id;
  Remove(about);
  const size_t bytes = EncodedBytes(rumor);
  const Place place{0, next_age_--, about};
  order_.insert(place);
  entries_[about] = Entry{std::move(rumor), bytes, place};
}

void BroadcastQueue::Remove(NodeId about) {
  const auto it = entries_.find(about);
  if (it == entries_.end()) return;
  order_.erase(it->second.place);
  entries_.erase(it);
}

void BroadcastQueue::Take(size_t bytes_max, uint32_t transmit_limit,
                          const NodeId* skip, std::vector<Rumor>& out) {
  std::vector<Place> taken;
  int misfits = 0;
  for (const Place& place : order_) {
    if (bytes_max < kRumorBytesMin || out.size() >= kRumorsMax) break;
    if (skip != nullptr && place.about == *skip) continue;
    const Entry& entry = entries_.at(place.about);
    if (entry.bytes > bytes_max) {
      if (++misfits == kMisfitsMax) break;
      continue;
    }
    bytes_max -= entry.bytes;
    out.push_back(entry.rumor);
    taken.push_back(place);
  }
  for (const Place& place : taken) {
    order_.erase(place);
    if (place.sent + 1 >= transmit_limit) {
      entries_.erase(place.about);
      continue;
    }
    Entry& entry = entries_.at(place.about);
    ++entry.place.sent;
    order_.insert(entry.place);
  }
}

}  // namespace dovetail::replica
