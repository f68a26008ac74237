// RocksDB on a file system whose calls fail, one after the other, and whose
// power fails before each of them.
//
// DOVETAIL_ADAPTER_ALL=1 tries every call in every way; without it, every call
// in one way that changes from call to call.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/replica/adapter_script.h"

namespace dovetail::replica {
namespace {

using sim::CallFailure;
using sim::FaultFileSystem;
using sim::Medium;
using sim::PowerFailure;
using sim::UnsyncedNames;
using sim::UnsyncedPages;

constexpr int kOperations = 200;
constexpr int kOperationsBefore = 40;

bool TryAll() { return std::getenv("DOVETAIL_ADAPTER_ALL") != nullptr; }

// What a call that fails may look like, and what follows.
struct FailingCall {
  bool persistent = false;
  size_t append_percent = 0;
  bool power_failure = false;  // after it; otherwise only the process ends
};

constexpr FailingCall kFailingCalls[] = {
    {false, 50, false}, {true, 0, true},     {false, 100, true},
    {true, 100, false}, {false, 100, false}, {true, 50, true},
};

// Plays the script on `history` with its `nth` call failing, and judges what
// is left. Returns false if there are not so many calls.
bool PlayWithFailure(const AdapterHistory& history, uint64_t nth,
                     const FailingCall& call) {
  const auto files = std::make_shared<FaultFileSystem>(history.medium);
  files->Fail({nth, call.persistent, {}, call.append_percent});
  int committed = history.batches;
  int synced = history.batches;
  bool reappears = false;
  {
    const auto storage =
        RocksStorage::Open(kAdapterPath, AdapterOptions(files));
    if (storage.ok()) {
      AdapterRun run(**storage, history.batches, 1);
      run.Run(kOperations);
      committed = run.committed();
      synced = run.synced();
      reappears = run.has_failed();
    } else {
      // RocksDB takes a failure to open its manifest for a wrong option.
      CHECK((absl::IsDataLoss(storage.status()) ||
             absl::IsUnavailable(storage.status())));
    }
  }
  const Medium left = files->medium();
  if (call.power_failure) {
    CheckSurvivor(
        left.After({UnsyncedPages::kTorn, UnsyncedNames::kPrefix, nth}), synced,
        committed + (reappears ? 1 : 0));
  } else {
    CheckSurvivor(left, committed, committed + (reappears ? 1 : 0));
  }
  return files->failed();
}

TEST_CASE(
    "Adapter: whichever call fails, what was synced is there afterwards") {
  const AdapterHistory history = MakeAdapterHistory(kOperationsBefore);
  // How many calls there are differs a little from run to run.
  constexpr int kMissesMax = 10;
  int misses = 0;
  uint64_t failed = 0;
  for (uint64_t nth = 1; misses < kMissesMax; ++nth) {
    CAPTURE(nth);
    bool is_reached = false;
    for (size_t way = 0; way < std::size(kFailingCalls); ++way) {
      if (!TryAll() && way != nth % std::size(kFailingCalls)) continue;
      CAPTURE(way);
      is_reached |= PlayWithFailure(history, nth, kFailingCalls[way]);
    }
    misses = is_reached ? 0 : misses + 1;
    if (is_reached) ++failed;
  }
  std::printf("%d calls failed\n", static_cast<int>(failed));
  CHECK(failed > 400);
}

// What is there before each call that changes something, and what was promised
// at that moment.
struct Moment {
  Medium medium;
  int committed = 0;
  int synced = 0;
};

std::vector<Moment> PlayTakingMoments(const AdapterHistory& history) {
  std::vector<Moment> moments;
  const auto files = std::make_shared<FaultFileSystem>(history.medium);
  std::atomic<const AdapterRun*> run = nullptr;
  files->OnChange([&](const Medium& medium) {
    const AdapterRun* const running = run;
    // Promises first: they only grow.
    const int synced = running ? running->synced() : history.batches;
    const int committed = running ? running->committed() : history.batches;
    moments.push_back({medium, committed, synced});
  });
  auto storage = RocksStorage::Open(kAdapterPath, AdapterOptions(files));
  REQUIRE_MESSAGE(storage.ok(), storage.status().ToString());
  AdapterRun script(**storage, history.batches, 1);
  run = &script;
  script.Run(kOperations);
  run = nullptr;
  files->OnChange(nullptr);
  return moments;
}

struct PowerLoss {
  PowerFailure failure;
  // Where what was never fsynced turns into something else, or names appear in
  // an order of their own, RocksDB may refuse its manifest. No journalling
  // file system does that. It must say so then, not lose anything.
  bool may_refuse = false;
};

constexpr PowerLoss kPowerLosses[] = {
    {{UnsyncedPages::kDrop, UnsyncedNames::kDrop}},
    {{UnsyncedPages::kTorn, UnsyncedNames::kPrefix}},
    {{UnsyncedPages::kGarbage, UnsyncedNames::kPrefix}, true},
    {{UnsyncedPages::kTorn, UnsyncedNames::kAny}, true},
    {{UnsyncedPages::kDrop, UnsyncedNames::kKeep}},
};

TEST_CASE(
    "Adapter: whenever power fails, what was synced is there afterwards") {
  const AdapterHistory history = MakeAdapterHistory(kOperationsBefore);
  const std::vector<Moment> moments = PlayTakingMoments(history);
  CHECK(moments.size() > 200);
  int refusals = 0;
  for (size_t i = 0; i < moments.size(); ++i) {
    CAPTURE(i);
    for (size_t way = 0; way < std::size(kPowerLosses); ++way) {
      if (!TryAll() && way != 0 && way != 1 + i % 4) continue;
      CAPTURE(way);
      PowerFailure failure = kPowerLosses[way].failure;
      failure.seed = i;
      const Medium left = moments[i].medium.After(failure);
      if (kPowerLosses[way].may_refuse) {
        const auto storage = OpenMedium(left);
        if (!storage.ok()) {
          CheckTyped(storage.status());
          ++refusals;
          continue;
        }
      }
      // A commit under way may have been written.
      CheckSurvivor(left, moments[i].synced, moments[i].committed + 1);
    }
  }
  std::printf("%d refused to open\n", refusals);
  std::printf("power failed at %d calls\n", static_cast<int>(moments.size()));
}

}  // namespace
}  // namespace dovetail::replica
