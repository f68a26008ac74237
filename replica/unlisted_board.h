// Which partitions a node cannot list, for all of its shards.
//
// An index entry says that an object is there; that none does says that it is
// not, but for partitions whose rows are on their way here, or may have gone
// with a table or with the disk. A listing reads the whole index of a node, at
// whichever of its shards was asked, while only its own shard knows how a
// partition stands. So this is shared between their threads, and on no disk:
// the disk may be full just when a partition has to be named here.
//
// A partition is named from before the turn is committed that makes it so until
// after the one is that ends it, and until its shard has been opened. Who reads
// this board first and the index then finds in it all that a partition has
// which is not named.
#ifndef DOVETAIL_REPLICA_UNLISTED_BOARD_H_
#define DOVETAIL_REPLICA_UNLISTED_BOARD_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "crdt/check.h"
#include "replica/ids.h"

namespace dovetail::replica {

class UnlistedBoard {
 public:
  explicit UnlistedBoard(uint32_t partitions) : named_(partitions) {
    for (auto& named : named_) named.store(true, std::memory_order_relaxed);
  }

  void Set(PartitionId partition, bool named) {
    DOVETAIL_CHECK(Index(partition) < named_.size());
    named_[Index(partition)].store(named, std::memory_order_release);
  }
  // Those that are named, in order. Cost: O(partitions).
  std::vector<PartitionId> All() const {
    std::vector<PartitionId> all;
    for (uint32_t p = 0; p < named_.size(); ++p) {
      if (named_[p].load(std::memory_order_acquire)) {
        all.push_back(PartitionId{static_cast<uint16_t>(p)});
      }
    }
    return all;
  }

 private:
  std::vector<std::atomic<bool>> named_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_UNLISTED_BOARD_H_
