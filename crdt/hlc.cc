#include "crdt/hlc.h"

#include <algorithm>
#include <limits>

#include "crdt/check.h"

namespace dovetail::crdt {

Timestamp HybridClock::Next(uint64_t wall_ms) {
  if (wall_ms > last_.wall_ms) {
    last_ = {wall_ms, 0};
  } else if (last_.logical < std::numeric_limits<uint16_t>::max()) {
    ++last_.logical;
  } else {
    DOVETAIL_CHECK(last_.wall_ms < std::numeric_limits<uint64_t>::max());
    last_ = {last_.wall_ms + 1, 0};
  }
  return last_;
}

bool HybridClock::Receive(Timestamp remote, uint64_t wall_ms) {
  if (remote.wall_ms > wall_ms && remote.wall_ms - wall_ms > kDriftMaxMs) {
    return false;
  }
  // Next() always goes past `last_`, so being level with `remote` is enough.
  last_ = std::max(last_, remote);
  return true;
}

}  // namespace dovetail::crdt
