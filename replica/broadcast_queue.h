// Which rumours ride on the next message? One per member, the latest; those
// that were sent least first, and among them the youngest, so that news gets
// out before what is all but known.
//
//   sent 0 times  "c is suspected"  (youngest)
//   sent 0 times  "b is alive"
//   sent 2 times  "a is dead"
//
// A rumour that was sent often enough is dropped: by then nearly all know, and
// the periodic exchange tells the rest. So the queue holds at most one entry
// for each member.
#ifndef DOVETAIL_REPLICA_BROADCAST_QUEUE_H_
#define DOVETAIL_REPLICA_BROADCAST_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "replica/member.h"

namespace dovetail::replica {

// How often a rumour is sent in a cluster of `members`.
uint32_t TransmitLimit(uint32_t retransmit, size_t members);

class BroadcastQueue {
 public:
  // Takes the place of an older rumour about the same member.
  void Add(Rumor rumor);
  void Remove(NodeId about);

  // Appends to `out` what fits into `bytes_max`, and counts it as sent; none
  // about `skip` (whoever adds that one by itself). Rumours sent
  // `transmit_limit` times are dropped.
  void Take(size_t bytes_max, uint32_t transmit_limit, const NodeId* skip,
            std::vector<Rumor>& out);

  size_t size() const { return entries_.size(); }

 private:
  struct Place {
    uint32_t sent = 0;
    uint64_t age = 0;  // falls with each Add: the youngest sorts first
    NodeId about{};
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  struct Entry {
    Rumor rumor;
    size_t bytes = 0;
    Place place;
  };

  std::map<NodeId, Entry> entries_;
  std::set<Place> order_;
  uint64_t next_age_ = ~uint64_t{0};
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_BROADCAST_QUEUE_H_
