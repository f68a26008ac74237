// What an operator reads in the log of a node about repair: one line when a
// partition enters a state, and one when it leaves it.
//
//   quarantine   damage was found; it answers and takes nothing
//   mending      other owners say what the damaged rows were
//   ranges       no log reaches what it lacks; it reads from another owner
//
// The states are looked at at the end of a turn, where it changed something,
// and once a maintenance round everywhere. A sync by ranges that came and went
// in between leaves no line; the metrics count it. Nothing depends on the
// lines.
#ifndef DOVETAIL_REPLICA_REPAIR_DIARY_H_
#define DOVETAIL_REPLICA_REPAIR_DIARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "replica/range_sync.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

class RepairDiary {
 public:
  // The references must outlive it.
  RepairDiary(const ShardCore& core, const RangeSync& ranges)
      : core_(core), ranges_(ranges) {}

  // At the end of this turn, looks at all partitions.
  void Round() { all_ = true; }
  // What is to be said of this turn. Requires: it is committed, or undone.
  // Cost: O(partitions touched).
  std::vector<std::string> EndTurn();

 private:
  struct States {
    bool quarantined = false;
    uint64_t quarantines = 0;  // so far
    bool mending = false;
    bool ranges = false;
    friend bool operator==(const States&, const States&) = default;
  };
  struct Told {
    States states;
    uint64_t restored = 0;  // values, when mending began
  };
  void Look(const Partition& partition);
  void Tell(const Partition& partition, const std::string& what);
  std::string RangesBegin(const Partition& partition) const;

  const ShardCore& core_;
  const RangeSync& ranges_;
  std::vector<Told> told_;  // as core_.partitions
  bool all_ = false;
  std::vector<std::string> lines_;  // of this turn
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_REPAIR_DIARY_H_
