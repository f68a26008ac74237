// The faults that only the simulated disk can be asked for.
#include "tests/sim/sim_disk.h"

#include "tests/replica/storage_testing.h"

namespace dovetail::replica {

using sim::FailedBatch;
using sim::SimDisk;
using sim::SimStorage;

TEST_CASE("SimDisk: a commit that fails on request leaves nothing behind") {
  SimDisk disk;
  {
    SimStorage storage(disk);
    disk.FailCommit(2, absl::ResourceExhaustedError("the disk is full"));
    MustCommit(storage, Delta(1));
    CHECK(absl::IsResourceExhausted(
        storage.Commit(OnePut(Family::kRows, "x", ""), CommitMode::kWritten)));
    CHECK(Dump(storage) == AfterDeltas(1));
    MustCommit(storage, Delta(2));
  }
  SimStorage storage(disk);
  CHECK(Dump(storage) == AfterDeltas(2));
}

TEST_CASE("SimDisk: a failed batch may turn up in the next process, only") {
  SimDisk disk;
  {
    SimStorage storage(disk);
    MustCommit(storage, Delta(1));
    disk.FailCommit(1, absl::DataLossError("torn"), FailedBatch::kReappears);
    CHECK(absl::IsDataLoss(storage.Commit(Delta(2), CommitMode::kWritten)));
    CHECK(Dump(storage) == AfterDeltas(1));
    CHECK(absl::IsDataLoss(storage.Commit(Delta(3), CommitMode::kWritten)));
    CHECK(absl::IsDataLoss(storage.Sync()));
  }
  SimDisk powerless = disk;
  powerless.CrashLosing(1);
  CHECK(Dump(*std::make_unique<SimStorage>(powerless)).empty());
  SimStorage storage(disk);
  CHECK(Dump(storage) == AfterDeltas(2));
  MustCommit(storage, Delta(3));
}

TEST_CASE("SimDisk: after a failed sync nothing counts as durable or works") {
  SimDisk disk;
  {
    SimStorage storage(disk);
    MustCommit(storage, Delta(1), CommitMode::kSynced);
    MustCommit(storage, Delta(2));
    disk.FailSync(absl::DataLossError("fsync"));
    CHECK(absl::IsDataLoss(storage.Sync()));
    CHECK(disk.unsynced_batches() == 1);
    CHECK(absl::IsDataLoss(storage.Sync()));
    CHECK(absl::IsDataLoss(storage.Commit(Delta(3), CommitMode::kWritten)));
    CHECK(Dump(storage) == AfterDeltas(2));
  }
  disk.CrashLosing(1);
  SimStorage storage(disk);
  CHECK(Dump(storage) == AfterDeltas(1));
}

TEST_CASE("SimDisk: a synced commit whose fsync fails is not seen") {
  SimDisk disk;
  {
    SimStorage storage(disk);
    disk.FailSync(absl::DataLossError("fsync"));
    CHECK(absl::IsDataLoss(storage.Commit(Delta(1), CommitMode::kSynced)));
    CHECK(Dump(storage).empty());
  }
  SimStorage storage(disk);
  CHECK(Dump(storage) == AfterDeltas(1));
}

TEST_CASE("SimDisk: a key that cannot be read is an error, never absent") {
  SimDisk disk;
  SimStorage storage(disk);
  MustCommit(storage, Delta(1));
  disk.FailRead(Family::kRows, "row1");
  CHECK(absl::IsDataLoss(storage.Get(Family::kRows, "row1").status()));
  CHECK(absl::IsDataLoss(
      storage.Scan(Family::kRows, "", "",
                   [](absl::string_view, absl::string_view) { return true; })));
  CHECK(MustGet(storage, Family::kMeta, "last") == "1");
  disk.ClearFaults();
  CHECK(MustGet(storage, Family::kRows, "row1") == "1");
}

TEST_CASE("SimDisk: a garbled key is there, and is not what was written") {
  SimDisk disk;
  SimStorage storage(disk);
  MustCommit(storage, Delta(1));
  disk.GarbleRead(Family::kRows, "row1");
  CHECK(MustGet(storage, Family::kRows, "row1") != "1");
  CHECK(Dump(storage).size() == AfterDeltas(1).size());
  CHECK(Dump(storage) != AfterDeltas(1));
  disk.ClearFaults();
  CHECK(Dump(storage) == AfterDeltas(1));
}

TEST_CASE("SimDisk: it names what a power failure could take") {
  SimDisk disk;
  std::vector<std::string> named;
  const auto name = [&] {
    named.clear();
    disk.ForEachUnsyncedPut(
        Family::kRows, [&](const std::string& key, const std::string& value) {
          named.push_back(key + "=" + value);
        });
    return named;
  };
  SimStorage storage(disk);
  MustCommit(storage, OnePut(Family::kRows, "old", "1"), CommitMode::kSynced);
  MustCommit(storage, OnePut(Family::kRows, "new", "1"));
  MustCommit(storage, OnePut(Family::kRows, "old", "2"));
  CHECK(name() == std::vector<std::string>{"new=1"});
  MustSync(storage);
  CHECK(name().empty());
}

TEST_CASE("SimDisk: a copy has no faults planned and is not in use") {
  SimDisk disk;
  SimStorage storage(disk);
  disk.FailCommit(1, absl::DataLossError("planned"));
  SimDisk copy = disk;
  SimStorage other(copy);
  MustCommit(other, Delta(1));
  CHECK_FALSE(storage.Commit(Delta(1), CommitMode::kWritten).ok());
}

TEST_CASE("SimDisk: a checkpoint is the state it was taken of") {
  SimDisk disk;
  SimStorage storage(disk);
  MustCommit(storage, Delta(1));
  REQUIRE(storage.Checkpoint("one").ok());
  MustCommit(storage, Delta(2));
  auto copy = disk.CheckpointAt("one");
  REQUIRE(copy.has_value());
  SimStorage restored(*copy);
  CHECK(Dump(restored) == AfterDeltas(1));
  CHECK_FALSE(disk.CheckpointAt("two").has_value());
}

}  // namespace dovetail::replica
