// The contract of replica/storage.h, run on every implementation. What only
// one of them has is in sim_disk_test.cc and rocks_storage_test.cc.
#include "replica/storage.h"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "tests/replica/storage_testing.h"
#include "tests/sim/fault_disk.h"
#include "tests/sim/rocks_disk.h"
#include "tests/sim/sim_disk.h"

TYPE_TO_STRING_AS("MemoryDisk", dovetail::sim::MemoryDisk);
TYPE_TO_STRING_AS("RocksDisk", dovetail::sim::RocksDisk);
TYPE_TO_STRING_AS("FaultDisk", dovetail::sim::FaultDisk);

namespace dovetail::replica {

using sim::FaultDisk;
using sim::kAll;
using sim::MemoryDisk;
using sim::RocksDisk;

namespace {

std::vector<std::string> KeysIn(Storage& storage, absl::string_view begin,
                                absl::string_view end) {
  std::vector<std::string> keys;
  const absl::Status status =
      storage.Scan(Family::kRows, begin, end,
                   [&](absl::string_view key, absl::string_view /*value*/) {
                     keys.emplace_back(key);
                     return true;
                   });
  REQUIRE(status.ok());
  return keys;
}

// Commits Delta(from) ... Delta(to), none of them synced.
void CommitDeltas(Storage& storage, int from, int to) {
  for (int i = from; i <= to; ++i) MustCommit(storage, Delta(i));
}

}  // namespace

TEST_CASE_TEMPLATE("Storage: a get sees what was committed, by family", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  const auto storage = MustOpen(disk);
  MustCommit(*storage, OnePut(Family::kRows, "k", "v"));
  CHECK(MustGet(*storage, Family::kRows, "k") == "v");
  CHECK(MustGet(*storage, Family::kMeta, "k") == std::nullopt);
  CHECK(MustGet(*storage, Family::kRows, "K") == std::nullopt);
}

TEST_CASE_TEMPLATE("Storage: keys and values are any bytes, or none", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  const std::string odd("\0\xff\0", 3);
  {
    const auto storage = MustOpen(disk);
    MustCommit(*storage, OnePut(Family::kRows, odd, ""));
    MustCommit(*storage, OnePut(Family::kRows, "", odd));
  }
  const auto storage = MustOpen(disk);
  CHECK(MustGet(*storage, Family::kRows, odd) == "");
  CHECK(MustGet(*storage, Family::kRows, "") == odd);
}

TEST_CASE_TEMPLATE("Storage: a batch's entries take effect in order", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  const auto storage = MustOpen(disk);
  WriteBatch batch;
  batch.Put(Family::kRows, "a", "1");
  batch.Delete(Family::kRows, "a");
  batch.Put(Family::kRows, "b", "1");
  batch.Delete(Family::kRows, "b");
  batch.Put(Family::kRows, "b", "2");
  MustCommit(*storage, batch);
  CHECK(MustGet(*storage, Family::kRows, "a") == std::nullopt);
  CHECK(MustGet(*storage, Family::kRows, "b") == "2");
}

TEST_CASE_TEMPLATE("Storage: a scan visits a half-open range in byte order", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  const auto storage = MustOpen(disk);
  WriteBatch batch;
  for (const char* key : {"b", "\xff", "a", "c", "ab"}) {
    batch.Put(Family::kRows, key, "");
  }
  batch.Put(Family::kLog, "aa", "");
  MustCommit(*storage, batch);
  using Keys = std::vector<std::string>;
  CHECK(KeysIn(*storage, "", "") == Keys{"a", "ab", "b", "c", "\xff"});
  CHECK(KeysIn(*storage, "ab", "c") == Keys{"ab", "b"});
  CHECK(KeysIn(*storage, "b", "") == Keys{"b", "c", "\xff"});
  CHECK(KeysIn(*storage, "d", "e").empty());
  CHECK(KeysIn(*storage, "b", "b").empty());

  int visited = 0;
  REQUIRE(storage
              ->Scan(Family::kRows, "", "",
                     [&](absl::string_view, absl::string_view) {
                       return ++visited < 2;
                     })
              .ok());
  CHECK(visited == 2);
}

TEST_CASE_TEMPLATE("Storage: a scan sees one state, though its visitor commits",
                   D, MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  const auto storage = MustOpen(disk);
  for (const char* key : {"a", "b", "c"}) {
    MustCommit(*storage, OnePut(Family::kRows, key, "old"));
  }
  std::string seen;
  REQUIRE(storage
              ->Scan(Family::kRows, "", "",
                     [&](absl::string_view key, absl::string_view value) {
                       absl::StrAppend(&seen, key, "=", value, " ");
                       WriteBatch batch;
                       batch.Delete(Family::kRows, key);
                       batch.Put(Family::kRows, "b", "new");
                       batch.Put(Family::kRows, "d", "new");
                       MustCommit(*storage, batch);
                       return true;
                     })
              .ok());
  CHECK(seen == "a=old b=old c=old ");
  CHECK(KeysIn(*storage, "", "") == std::vector<std::string>{"b", "d"});
}

TEST_CASE_TEMPLATE("Storage: a committed batch outlives the process", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  CommitDeltas(*MustOpen(disk), 1, 5);
  CHECK(Dump(*MustOpen(disk)) == AfterDeltas(5));
}

TEST_CASE_TEMPLATE(
    "Storage: a power failure takes whole batches from the end, none synced", D,
    MemoryDisk, RocksDisk, FaultDisk) {
  for (const size_t lost : {size_t{0}, size_t{1}, size_t{3}, size_t{4}, kAll}) {
    CAPTURE(lost);
    D disk;
    {
      const auto storage = MustOpen(disk);
      CommitDeltas(*storage, 1, 2);
      MustSync(*storage);
      CommitDeltas(*storage, 3, 5);
    }
    disk.CrashLosingDeltas(lost);
    const int left = lost >= 3 ? 2 : 5 - static_cast<int>(lost);
    CHECK(Dump(*MustOpen(disk)) == AfterDeltas(left));
  }
}

TEST_CASE_TEMPLATE("Storage: a synced commit makes all before it durable", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  {
    const auto storage = MustOpen(disk);
    CommitDeltas(*storage, 1, 2);
    MustCommit(*storage, Delta(3), CommitMode::kSynced);
    CommitDeltas(*storage, 4, 4);
  }
  disk.CrashLosingDeltas(kAll);
  CHECK(Dump(*MustOpen(disk)) == AfterDeltas(3));
}

TEST_CASE_TEMPLATE("Storage: an empty batch is a sync if it is to be synced", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  for (const bool synced : {false, true}) {
    CAPTURE(synced);
    D disk;
    {
      const auto storage = MustOpen(disk);
      CommitDeltas(*storage, 1, 2);
      MustCommit(*storage, WriteBatch(),
                 synced ? CommitMode::kSynced : CommitMode::kWritten);
    }
    disk.CrashLosingDeltas(kAll);
    CHECK(Dump(*MustOpen(disk)) == AfterDeltas(synced ? 2 : 0));
  }
}

TEST_CASE_TEMPLATE("Storage: what a start found cannot be lost after it", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  CommitDeltas(*MustOpen(disk), 1, 3);
  CommitDeltas(*MustOpen(disk), 4, 5);
  disk.CrashLosingDeltas(kAll);
  CHECK(Dump(*MustOpen(disk)) == AfterDeltas(3));
}

TEST_CASE_TEMPLATE("Storage: a second process is refused, not corrupted", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  {
    const auto storage = MustOpen(disk);
    CommitDeltas(*storage, 1, 1);
    const auto second = disk.Open();
    CHECK(absl::IsUnavailable(second.status()));
    CommitDeltas(*storage, 2, 2);
  }
  CHECK(Dump(*MustOpen(disk)) == AfterDeltas(2));
}

TEST_CASE_TEMPLATE("Storage: a failed checkpoint says so and changes nothing",
                   D, MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  const sim::TemporaryDirectory target;
  const auto storage = MustOpen(disk);
  CommitDeltas(*storage, 1, 1);
  REQUIRE(storage->Checkpoint(target.path() + "/copy").ok());
  CommitDeltas(*storage, 2, 2);
  CHECK(
      absl::IsFailedPrecondition(storage->Checkpoint(target.path() + "/copy")));
  CHECK(Dump(*storage) == AfterDeltas(2));
}

TEST_CASE_TEMPLATE("Disk: losing counts deltas, and takes what is newer along",
                   D, MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  {
    const auto storage = MustOpen(disk);
    CommitDeltas(*storage, 1, 1);
    MustCommit(*storage, OnePut(Family::kMeta, "between", ""));
    CommitDeltas(*storage, 2, 2);
    WriteBatch truncation;  // takes from the log, is no delta
    truncation.Delete(Family::kLog, "log1");
    MustCommit(*storage, truncation);
  }
  disk.CrashLosingDeltas(1);
  Contents expected = AfterDeltas(1);
  expected[{Family::kMeta, "between"}] = "";
  CHECK(Dump(*MustOpen(disk)) == expected);
}

TEST_CASE_TEMPLATE("Disk: a copy goes its own way, un-synced batches included",
                   D, MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  std::unique_ptr<sim::Disk> copy;
  {
    const auto storage = MustOpen(disk);
    CommitDeltas(*storage, 1, 1);
    MustSync(*storage);
    CommitDeltas(*storage, 2, 3);
    copy = disk.Copy();  // of a disk in use
    CommitDeltas(*storage, 4, 4);
  }
  copy->CrashLosingDeltas(1);
  CommitDeltas(*MustOpen(*copy), 3, 7);
  CHECK(Dump(*MustOpen(*copy)) == AfterDeltas(7));
  CHECK(Dump(*MustOpen(disk)) == AfterDeltas(4));
}

TEST_CASE_TEMPLATE("Disk: a wiped disk is a new one", D, MemoryDisk, RocksDisk,
                   FaultDisk) {
  D disk;
  disk.Wipe();
  CommitDeltas(*MustOpen(disk), 1, 3);
  disk.Wipe();
  disk.CrashLosingDeltas(kAll);
  CHECK(Dump(*MustOpen(disk)).empty());
}

TEST_CASE_TEMPLATE("Disk: damage takes or changes a range and nothing else", D,
                   MemoryDisk, RocksDisk, FaultDisk) {
  D disk;
  WriteBatch batch;
  for (const char* key : {"a", "b", "c"}) {
    batch.Put(Family::kRows, key, "vwx");
  }
  batch.Put(Family::kRows, "bb", "");
  MustCommit(*MustOpen(disk), batch);

  const auto flipped = disk.Flip(Family::kRows, "b", "c");
  REQUIRE(flipped.ok());
  CHECK(*flipped == 1);  // "bb" has no bit to flip
  const auto erased = disk.Erase(Family::kRows, "c", "");
  REQUIRE(erased.ok());
  CHECK(*erased == 1);

  const Contents expected = {{{Family::kRows, "a"}, "vwx"},
                             {{Family::kRows, "b"}, "vvx"},
                             {{Family::kRows, "bb"}, ""}};
  CHECK(Dump(*MustOpen(disk)) == expected);
}

namespace {

// The same random life on a simulated disk and on RocksDB.
class Twins {
 public:
  explicit Twins(uint64_t seed) : random_(seed) { Start(); }

  void Step() {
    switch (Draw(14)) {
      case 0:
        Stop();
        Crash(Draw(3) == 0 ? kAll : Draw(4));
        Start();
        break;
      case 1:
        ContinueOnCopies();
        break;
      case 2:
        MustSync(*memory_);
        MustSync(*rocks_);
        break;
      default:
        CommitSame(RandomBatch(),
                   Draw(8) == 0 ? CommitMode::kSynced : CommitMode::kWritten);
    }
    CHECK(Dump(*memory_) == Dump(*rocks_));
  }

 private:
  uint64_t Draw(uint64_t bound) { return random_() % bound; }

  WriteBatch RandomBatch() {
    WriteBatch batch;
    for (uint64_t left = Draw(5); left > 0; --left) {
      const auto family = static_cast<Family>(Draw(kFamilyCount));
      const std::string key = absl::StrCat("k", Draw(6));
      if (Draw(3) == 0) {
        batch.Delete(family, key);
      } else {
        batch.Put(family, key, absl::StrCat(Draw(1000)));
      }
    }
    return batch;
  }

  void CommitSame(const WriteBatch& batch, CommitMode mode) {
    MustCommit(*memory_, batch, mode);
    MustCommit(*rocks_, batch, mode);
  }

  void Start() {
    memory_ = MustOpen(*memory_disk_);
    rocks_ = MustOpen(*rocks_disk_);
  }

  void Stop() {
    memory_.reset();
    rocks_.reset();
  }

  void Crash(size_t losing) {
    memory_disk_->CrashLosingDeltas(losing);
    rocks_disk_->CrashLosingDeltas(losing);
  }

  void ContinueOnCopies() {
    auto memory_copy = memory_disk_->Copy();
    auto rocks_copy = rocks_disk_->Copy();
    Stop();
    memory_disk_ = std::move(memory_copy);
    rocks_disk_ = std::move(rocks_copy);
    Crash(Draw(3));
    Start();
  }

  std::mt19937_64 random_;
  std::unique_ptr<sim::Disk> memory_disk_ = std::make_unique<MemoryDisk>();
  std::unique_ptr<sim::Disk> rocks_disk_ = std::make_unique<RocksDisk>();
  std::unique_ptr<Storage> memory_;
  std::unique_ptr<Storage> rocks_;
};

// The seed of DOVETAIL_SEED, or else a fixed one.
uint64_t FirstSeed(uint64_t otherwise) {
  const char* const text = std::getenv("DOVETAIL_SEED");
  uint64_t seed = otherwise;
  if (text != nullptr) REQUIRE(absl::SimpleAtoi(text, &seed));
  return seed;
}

}  // namespace

TEST_CASE("Disk: memory and RocksDB tell the same story, whatever happens") {
  const uint64_t first = FirstSeed(1);
  const uint64_t count = std::getenv("DOVETAIL_SEED") == nullptr ? 6 : 1;
  std::printf("seeds %llu and %llu after it\n",
              static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(count - 1));
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const std::string replay =
        absl::StrCat("DOVETAIL_SEED=", seed,
                     " replica_storage_tests -tc='Disk: memory and RocksDB*'");
    INFO(replay);
    Twins twins(seed);
    for (int step = 0; step < 60; ++step) twins.Step();
  }
}

}  // namespace dovetail::replica
