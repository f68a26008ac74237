#include "crdt/hlc.h"

#include <algorithm>
#include <limits>

#include "crdt/check.h"
#include "crdt/hooks.h"

namespace dovetail::crdt {

Timestamp HybridClock::Next(uint64_t wall_ms) {
  DOVETAIL_MARK_IF("clock: the wall clock is behind", wall_ms < last_.wall_ms);
  if (wall_ms > last_.wall_ms ||
      DOVETAIL_MUTANT("clock: follows the wall clock back")) {
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
  if (DOVETAIL_MUTANT("clock: ignores other nodes")) return true;
  if (remote.wall_ms > wall_ms && remote.wall_ms - wall_ms > kDriftMaxMs &&
      !DOVETAIL_MUTANT("clock: follows whoever is ahead")) {
    DOVETAIL_MARK("clock: a timestamp too far ahead is refused");
    return false;
  }
  DOVETAIL_MARK_IF("clock: it follows another node's", remote > last_);
  // Next() always goes past `last_`, so being level with `remote` is enough.
  last_ = std::max(last_, remote);
  return true;
}

}  // namespace dovetail::crdt
