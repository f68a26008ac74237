// The 200 operations on which the adapter's faults are tried, and what must
// hold after them: the oracle of tests/replica/adapter_*_test.cc.
//
// Batch number i is the same in every run, and says in each family that it was
// the last one. So what a restart finds is judged without knowing what
// happened: it must be the state after some batch k, to the byte, and k must
// lie between what was synced and what was committed.
#ifndef DOVETAIL_TESTS_REPLICA_ADAPTER_SCRIPT_H_
#define DOVETAIL_TESTS_REPLICA_ADAPTER_SCRIPT_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "replica/rocks_storage.h"
#include "replica/storage.h"
#include "tests/replica/storage_testing.h"
#include "tests/sim/fault_file_system.h"
#include "tests/sim/medium.h"

namespace dovetail::replica {

inline constexpr char kAdapterPath[] = "/node/db";

// Of the script: its memtables fill up now and then. With the file system of
// one process.
RocksOptions AdapterOptions(std::shared_ptr<sim::FaultFileSystem> files);

// The `number`-th batch, counted from 1, and the state after batches 1 to
// `number`.
WriteBatch AdapterBatch(int number);
const Contents& AdapterState(int number);

// The number k whose state this is; -1 if it is none, or if reading failed.
int FindAdapterState(Storage& storage);

// Runs operations of the script in one process. Checks each answer as it comes
// (a failure is typed, is final where it has to be, and shows nothing of the
// batch), so that only the state on disk remains to be judged.
class AdapterRun {
 public:
  // Starts after batch `committed`.
  AdapterRun(Storage& storage, int committed, uint64_t seed);

  // Ends sooner, soon after a failure that is final.
  void Run(int operations);

  // Both may be read by another thread meanwhile.
  int committed() const { return committed_; }
  int synced() const { return synced_; }
  // A commit or sync failed; the commit's batch may turn up after a restart.
  bool has_failed() const { return !failure_.ok(); }

 private:
  void Commit(CommitMode mode);
  void Sync();
  void Checkpoint();
  void Read(int of);
  void Scan();
  void Fail(const absl::Status& status);

  Storage& storage_;
  uint64_t seed_;
  std::atomic<int> committed_;
  std::atomic<int> synced_;
  int checkpoints_ = 0;
  absl::Status failure_;
};

// What an I/O error on our disk may be called.
void CheckTyped(const absl::Status& status);

// Opens the medium as a new process would.
absl::StatusOr<std::unique_ptr<RocksStorage>> OpenMedium(sim::Medium medium);

// A disk with some batches on it, all synced; and how many.
struct AdapterHistory {
  sim::Medium medium;
  int batches = 0;
};
AdapterHistory MakeAdapterHistory(int operations);

// Opens what is left on `medium`, without faults, and checks that it holds the
// state after batch `least` to `most`, and reports no loss. Returns which, -1
// if it is none of them.
int CheckSurvivor(const sim::Medium& medium, int least, int most);

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_ADAPTER_SCRIPT_H_
