// Which faults cost a node rows: asked where plans are drawn, judged and
// shrunk.
#ifndef DOVETAIL_TESTS_SIM_DISK_FAULTS_H_
#define DOVETAIL_TESTS_SIM_DISK_FAULTS_H_

#include "tests/sim/plan.h"

namespace dovetail::sim {

// Whether a fault of this kind may take from a node, for good, rows that it had
// on stable storage.
inline bool LosesRows(EventKind kind) {
  switch (kind) {
    case EventKind::kWipe:
    case EventKind::kRestore:
    case EventKind::kLie:
    case EventKind::kClone:
    case EventKind::kCorruptRow:
    case EventKind::kDamage:
      return true;
    default:
      return false;
  }
}

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_DISK_FAULTS_H_
