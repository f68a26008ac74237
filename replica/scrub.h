// Looking for damage: a slow pass over all rows of a shard that compares them
// with the digest, and a quick one where somebody came upon some.
//
//   found      a leaf's rows do not decode, or do not add up: what is
//   unreadable
//              is removed, and the leaf is remembered as lost
//   meanwhile  the partition takes writes and answers no reads
//   mended     an owner whose rows add up says what belongs there, and what
//              only this node's log has is replayed over it (RangeSync)
//
// A partition that met damage refuses everything (quarantine) until all of it
// has been looked at; then it goes on as above, by itself. Where the disk does
// not let go of some, its table has to go first (lost_tables.h).
#ifndef DOVETAIL_REPLICA_SCRUB_H_
#define DOVETAIL_REPLICA_SCRUB_H_

#include <cstdint>
#include <map>
#include <string>

#include "replica/shard_core.h"

namespace dovetail::replica {

class Scrub {
 public:
  explicit Scrub(ShardCore& core) : core_(core) {}

  // Looks at about ShardOptions::scrub_rows_per_round rows and entries of the
  // index, and at many more rows of a partition that is in quarantine. Once a
  // maintenance round.
  void Round();
  // Goes on with leaves that became big without pieces.
  void DivideLeaves();
  // Looks at everything.
  void All();

 private:
  // Looks at about `rows` rows from `place` on, and moves that behind them.
  // False if they cannot be read.
  bool Look(Partition& partition, ScrubPlace& place, uint64_t rows);
  // Looks at so many entries of the index.
  void LookAtIndex(uint64_t entries);
  bool MayLookAt(const Partition& partition) const;
  void LookAtQuarantined(Partition& partition, uint64_t rows);

  ShardCore& core_;
  size_t partition_ = 0;  // where the slow pass is
  ScrubPlace place_;
  std::string index_at_;  // the key from which the pass over the index goes on
  // Where the pass over one in quarantine is.
  std::map<PartitionId, ScrubPlace> quarantined_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_SCRUB_H_
