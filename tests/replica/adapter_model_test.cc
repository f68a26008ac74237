// The simulated disk keeps RocksDB's promises, and makes no others: both live
// through the same operations and faults, answer alike, and after each crash
// RocksDB holds one of the states that the simulated disk allows.
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/replica/storage_testing.h"
#include "tests/sim/fault_disk.h"
#include "tests/sim/sim_disk.h"

namespace dovetail::replica {
namespace {

using sim::FailedBatch;
using sim::FaultDisk;
using sim::FileCall;
using sim::SimDisk;
using sim::SimStorage;
using sim::UnsyncedNames;
using sim::UnsyncedPages;

class Twins {
 public:
  explicit Twins(uint64_t seed) : random_(seed) { Start(); }

  void Step() {
    switch (Draw(20)) {
      case 0:
        Fault();
        break;
      case 1:
        Stop();
        Start();
        break;
      case 2:
        Stop();
        FailPower();
        Start();
        break;
      case 3:
        Stop();
        CutPower();
        Start();
        break;
      case 4:
      case 5:
        Both([](Storage& storage) { return storage.Sync(); });
        break;
      default: {
        const WriteBatch batch = RandomBatch();
        const auto mode =
            Draw(8) == 0 ? CommitMode::kSynced : CommitMode::kWritten;
        Both([&](Storage& storage) { return storage.Commit(batch, mode); });
      }
    }
    CHECK(Dump(*model_) == Dump(*rocks_));
  }

  int crashes() const { return crashes_; }
  int reappeared() const { return reappeared_; }

 private:
  uint64_t Draw(uint64_t bound) { return random_() % bound; }

  WriteBatch RandomBatch() {
    WriteBatch batch;
    for (uint64_t left = 1 + Draw(4); left > 0; --left) {
      const auto family = static_cast<Family>(Draw(kFamilyCount));
      const std::string key = absl::StrCat("k", Draw(6));
      if (Draw(3) == 0) {
        batch.Delete(family, key);
      } else {
        batch.Put(family, key, std::string(Draw(600), 'v'));
      }
    }
    batch.Put(Family::kMeta, "number", absl::StrCat(++number_));
    return batch;
  }

  template <typename Do>
  void Both(Do act) {
    const absl::Status model = act(*model_);
    const absl::Status rocks = act(*rocks_);
    CHECK_MESSAGE(model.code() == rocks.code(), rocks.ToString());
  }

  // A write or an fsync goes wrong, and with it all that come after.
  void Fault() {
    const absl::Status error = absl::DataLossError("planned");
    const WriteBatch batch = RandomBatch();
    const uint64_t kind = Draw(3);
    const size_t percent = Draw(3) * 50;
    if (kind == 0) {
      model_disk_.FailCommit(1, error, FailedBatch::kReappears);
      rocks_disk_.files().Fail({1, false, {FileCall::kAppend}, percent});
    } else {
      model_disk_.FailSync(error);
      rocks_disk_.files().Fail({1, false, {FileCall::kSync}});
    }
    if (failed_ == 0 && kind != 2) failed_ = number_;
    Both([&](Storage& storage) {
      return kind == 2 ? storage.Sync()
                       : storage.Commit(batch, kind == 0 ? CommitMode::kWritten
                                                         : CommitMode::kSynced);
    });
    // Where an earlier fault had ended all writing.
    model_disk_.ClearFaults();
    rocks_disk_.files().Fail({});
  }

  void Start() {
    rocks_ = MustOpen(rocks_disk_);
    Contents found = Dump(*rocks_);
    Adopt(found);
    model_ = std::make_unique<SimStorage>(model_disk_);
  }

  void Stop() {
    model_.reset();
    rocks_.reset();
  }

  // Whatever the medium makes of it.
  void FailPower() {
    ++crashes_;
    rocks_disk_.Crash(
        {UnsyncedPages::kTorn, UnsyncedNames::kPrefix, Draw(~0u)});
    may_lose_ = true;
  }

  // What the simulated disk chose, if that can be had by a cut.
  void CutPower() {
    ++crashes_;
    const size_t lost = Draw(model_disk_.unsynced_batches() + 1);
    if (lost > 0) model_disk_.CrashLosing(lost);
    rocks_disk_.CrashLosingBatches(lost);
  }

  // Makes the simulated disk lose what RocksDB has lost.
  void Adopt(const Contents& found) {
    const size_t most = may_lose_ ? model_disk_.unsynced_batches() : 0;
    may_lose_ = false;
    const SimDisk before = model_disk_;
    for (size_t lost = 0; lost <= most; ++lost) {
      for (const bool reappears : {true, false}) {
        model_disk_ = before;
        if (lost > 0) model_disk_.CrashLosing(lost);
        if (!reappears) model_disk_.DropFailed();
        SimDisk copy = model_disk_;
        if (Dump(*std::make_unique<SimStorage>(copy)) != found) continue;
        if (failed_ > 0 && Newest(found) == failed_) ++reappeared_;
        failed_ = 0;
        return;
      }
    }
    FAIL("RocksDB has what the simulated disk never has");
  }

  // The number of the last batch that is in it.
  static int Newest(const Contents& contents) {
    const auto found = contents.find({Family::kMeta, "number"});
    int number = 0;
    if (found == contents.end()) return 0;
    REQUIRE(absl::SimpleAtoi(found->second, &number));
    return number;
  }

  std::mt19937_64 random_;
  SimDisk model_disk_;
  FaultDisk rocks_disk_;
  std::unique_ptr<SimStorage> model_;
  std::unique_ptr<Storage> rocks_;
  bool may_lose_ = false;
  int number_ = 0;
  int crashes_ = 0;
  int failed_ = 0;  // number of the batch whose commit failed first
  int reappeared_ = 0;
};

TEST_CASE(
    "Adapter: RocksDB does what the simulated disk does, faults and all") {
  int crashes = 0;
  int reappeared = 0;
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    CAPTURE(seed);
    Twins twins(seed);
    for (int step = 0; step < 150; ++step) twins.Step();
    crashes += twins.crashes();
    reappeared += twins.reappeared();
  }
  std::printf("%d crashes, %d failed batches turned up\n", crashes, reappeared);
  CHECK(crashes > 100);
  CHECK(reappeared > 5);
}

}  // namespace
}  // namespace dovetail::replica
