// Calls of clients that go by a newer ring than this node: they wait until it
// has caught up, but not for long. A client may say anything, and a request
// that is coordinated by an older ring may be misplaced, but is not lost.
#ifndef DOVETAIL_NET_RING_WAITS_H_
#define DOVETAIL_NET_RING_WAITS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "absl/time/time.h"
#include "net/event_loop.h"
#include "replica/ring_stamp.h"

namespace dovetail::net {

// A ring is there within a few round trips if anybody has it.
inline constexpr absl::Duration kRingPatience = absl::Milliseconds(500);
// One more does not wait.
inline constexpr size_t kRingWaitsMax = 4096;

class RingWaits {
 public:
  // `loop` must outlive it.
  explicit RingWaits(EventLoop& loop) : loop_(loop) {}

  // Calls `go` once: when OnRing says `ring` or a newer one, after
  // kRingPatience, or now if too many wait.
  void Add(const replica::RingStamp& ring, std::function<void()> go);
  // This node goes by `ring` now.
  void OnRing(const replica::RingStamp& ring);
  size_t size() const { return waits_.size(); }

 private:
  struct Wait {
    replica::RingStamp ring;
    std::function<void()> go;
  };

  EventLoop& loop_;
  uint64_t next_ = 0;
  std::map<uint64_t, Wait> waits_;
  // What timers look at that come after the end of this.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_RING_WAITS_H_
