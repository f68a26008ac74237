// A node's disk as the simulator and the scenario runner see it: it outlives
// processes, loses power, is copied, wiped and damaged.
//
// Two implementations with the same answers: MemoryDisk (sim_disk.h) and
// RocksDisk (rocks_disk.h). At most one process, that is one Storage from
// Open(), uses a disk at a time; destroying that Storage is the death of the
// process. One thread.
#ifndef DOVETAIL_TESTS_SIM_DISK_H_
#define DOVETAIL_TESTS_SIM_DISK_H_

#include <cstddef>
#include <limits>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/storage.h"

namespace dovetail::sim {

inline constexpr size_t kAll = std::numeric_limits<size_t>::max();

// Whether the batch counts as a delta, see CrashLosingDeltas.
bool HasLogPut(const replica::WriteBatch& batch);

class Disk {
 public:
  virtual ~Disk() = default;

  // Starts a process on the disk. What is found there is durable from then on,
  // as it is after RocksDB's recovery. The disk must outlive the storage.
  // Returns: Unavailable while another process uses it; DataLoss.
  virtual absl::StatusOr<std::unique_ptr<replica::Storage>> Open() = 0;

  // Power failed: takes back the newest un-synced batches, as many as contain
  // the last `n` batches with a put into Family::kLog (a batch without one
  // goes too if it is newer). kAll: all un-synced ones; 0: none.
  // Requires: no process uses the disk.
  virtual void CrashLosingDeltas(size_t n) = 0;

  // The disk as it is, what is un-synced included; also of one in use.
  virtual std::unique_ptr<Disk> Copy() = 0;

  // Requires: no process uses the disk.
  virtual void Wipe() = 0;

  // Damage that the disk itself does not notice. Both work on the keys in
  // [begin, end), where an empty `end` means to the end of the family, and
  // return how many there were. What was un-synced becomes durable.
  // Requires: no process uses the disk.
  absl::StatusOr<size_t> Erase(replica::Family family, absl::string_view begin,
                               absl::string_view end);
  // Flips the lowest bit of the middle byte of each value that has one.
  absl::StatusOr<size_t> Flip(replica::Family family, absl::string_view begin,
                              absl::string_view end);
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_DISK_H_
