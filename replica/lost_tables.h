// Tables that the storage cannot read: how does a shard go on without them?
//
//   1. a read meets the table           Storage::DamagedTables
//   2. each partition with keys there   quarantined, its E and digest written,
//                                       "suspect" beside them, on stable
//                                       storage
//   3. all shards have done that,       Storage::GiveUp: the table is gone
//      and another owner of each is up
//   4. rows are compared with digests   Scrub, as after any damage; what lacks
//                                       comes from other owners
//
// In this order nobody takes a row for absent that was in the table, also if
// the process ends in between: a suspect partition is in quarantine from the
// start. Where there is no other owner, or none within reach, the table stays,
// for most of its rows can still be had from it; ShardOptions::accept_loss lets
// it go all the same.
#ifndef DOVETAIL_REPLICA_LOST_TABLES_H_
#define DOVETAIL_REPLICA_LOST_TABLES_H_

#include <cstdint>
#include <map>
#include <vector>

#include "replica/shard_core.h"
#include "replica/storage.h"

namespace dovetail::replica {

class LostTables {
 public:
  explicit LostTables(ShardCore& core) : core_(core) {}

  // Once a maintenance round.
  void Round();
  // What was suspected in this turn is not on disk.
  void OnTurnFailed();

 private:
  struct Lost {
    DamagedTable table;
    bool suspected = false;  // on stable storage, here
  };
  // Whether each partition with keys there has another owner within reach.
  bool OthersHave(const DamagedTable& table) const;
  // Those that may have keys there.
  std::vector<Partition*> Overlapped(const DamagedTable& table) const;
  // The same, which change in this turn.
  std::vector<Partition*> Touch(const DamagedTable& table);

  ShardCore& core_;
  std::map<uint64_t, Lost> tables_;  // by number
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_LOST_TABLES_H_
