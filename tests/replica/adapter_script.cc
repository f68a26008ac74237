#include "tests/replica/adapter_script.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace dovetail::replica {
namespace {

constexpr int kLogEntriesKept = 30;
constexpr int kOperationsAfterFailure = 15;

std::string Noise(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::string noise;
  while (noise.size() < size) {
    const uint64_t word = random();
    noise.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  noise.resize(size);
  return noise;
}

}  // namespace

RocksOptions AdapterOptions(std::shared_ptr<sim::FaultFileSystem> files) {
  RocksOptions options;
  options.block_cache_bytes = 1 << 20;
  options.write_buffer_bytes = 64 << 10;
  options.disk_reserve_bytes = 0;
  options.env = sim::MakeFaultEnv(std::move(files));
  return options;
}

WriteBatch AdapterBatch(int number) {
  std::mt19937_64 random(static_cast<uint64_t>(number));
  WriteBatch batch;
  for (uint64_t rows = random() % 4; rows > 0; --rows) {
    const std::string key = absl::StrCat("row", random() % 20);
    if (random() % 4 == 0) {
      batch.Delete(Family::kRows, key);
    } else {
      batch.Put(Family::kRows, key, Noise(random(), random() % 300));
    }
  }
  if (random() % 4 != 0) {
    batch.Put(Family::kLog, absl::StrCat("log", number),
              Noise(random(), random() % 2000));
  }
  // A truncation.
  if (random() % 4 == 0) {
    for (int i = 0; i < 8; ++i) {
      batch.Delete(Family::kLog,
                   absl::StrCat("log", number - kLogEntriesKept - i));
    }
  }
  for (const Family family :
       {Family::kRows, Family::kLog, Family::kMeta, Family::kIndex}) {
    batch.Put(family, "last", absl::StrCat(number));
  }
  return batch;
}

const Contents& AdapterState(int number) {
  static std::vector<Contents> states(1);
  while (states.size() <= static_cast<size_t>(number)) {
    Contents next = states.back();
    const WriteBatch batch = AdapterBatch(static_cast<int>(states.size()));
    for (const WriteBatch::Entry& entry : batch.entries()) {
      if (entry.value.has_value()) {
        next[{entry.family, entry.key}] = *entry.value;
      } else {
        next.erase({entry.family, entry.key});
      }
    }
    states.push_back(std::move(next));
  }
  return states[static_cast<size_t>(number)];
}

int FindAdapterState(Storage& storage) {
  const auto last = storage.Get(Family::kMeta, "last");
  if (!last.ok()) return -1;
  int number = 0;
  if (last->has_value() && !absl::SimpleAtoi(**last, &number)) return -1;
  return Dump(storage) == AdapterState(number) ? number : -1;
}

AdapterRun::AdapterRun(Storage& storage, int committed, uint64_t seed)
    : storage_(storage),
      seed_(seed),
      committed_(committed),
      synced_(committed) {
  AdapterState(committed + 1000);  // so that other threads only read it
}

void AdapterRun::Run(int operations) {
  std::mt19937_64 random(seed_);
  for (; operations > 0; --operations) {
    if (has_failed())
      operations = std::min(operations, kOperationsAfterFailure);
    const uint64_t kind = random() % 100;
    const auto number = static_cast<int>(random() % 1000);
    if (kind < 55) {
      Commit(CommitMode::kWritten);
    } else if (kind < 64) {
      Commit(CommitMode::kSynced);
    } else if (kind < 74) {
      Sync();
    } else if (kind < 76) {
      Checkpoint();
    } else if (kind < 92) {
      Read(number);
    } else {
      Scan();
    }
  }
}

void AdapterRun::Commit(CommitMode mode) {
  const int next = committed_ + 1;
  const absl::Status status = storage_.Commit(AdapterBatch(next), mode);
  if (!status.ok()) return Fail(status);
  CHECK_FALSE(has_failed());  // The first failure is final.
  committed_ = next;
  if (mode == CommitMode::kSynced) synced_ = next;
}

void AdapterRun::Sync() {
  const absl::Status status = storage_.Sync();
  if (!status.ok()) return Fail(status);
  CHECK_FALSE(has_failed());
  synced_ = committed_.load();
}

void AdapterRun::Checkpoint() {
  const absl::Status status = storage_.Checkpoint(
      absl::StrCat("/node/copy", seed_, "-", ++checkpoints_));
  if (!status.ok()) CheckTyped(status);
}

void AdapterRun::Read(int of) {
  const std::pair<Family, std::string> key(Family::kRows,
                                           absl::StrCat("row", of % 20));
  const auto value = storage_.Get(key.first, key.second);
  if (!value.ok()) return CheckTyped(value.status());
  const Contents& state = AdapterState(committed_);
  const auto expected = state.find(key);
  CHECK(value->has_value() == (expected != state.end()));
  if (value->has_value()) CHECK(**value == expected->second);
}

void AdapterRun::Scan() {
  std::map<std::string, std::string> seen;
  const absl::Status status =
      storage_.Scan(Family::kLog, "", "",
                    [&](absl::string_view key, absl::string_view value) {
                      seen.emplace(key, value);
                      return true;
                    });
  if (!status.ok()) return CheckTyped(status);
  std::map<std::string, std::string> expected;
  for (const auto& [key, value] : AdapterState(committed_)) {
    if (key.first == Family::kLog) expected.emplace(key.second, value);
  }
  CHECK(seen == expected);
}

void AdapterRun::Fail(const absl::Status& status) {
  CheckTyped(status);
  // Nothing was written yet, so it may be tried again.
  if (absl::StrContains(status.message(), "find the free space")) return;
  if (failure_.ok()) failure_ = status;
  CHECK(status == failure_);
}

void CheckTyped(const absl::Status& status) {
  CHECK_MESSAGE(absl::IsDataLoss(status), status.ToString());
}

absl::StatusOr<std::unique_ptr<RocksStorage>> OpenMedium(sim::Medium medium) {
  return RocksStorage::Open(
      kAdapterPath, AdapterOptions(std::make_shared<sim::FaultFileSystem>(
                        std::move(medium))));
}

AdapterHistory MakeAdapterHistory(int operations) {
  const auto files = std::make_shared<sim::FaultFileSystem>();
  auto storage = RocksStorage::Open(kAdapterPath, AdapterOptions(files));
  REQUIRE_MESSAGE(storage.ok(), storage.status().ToString());
  AdapterRun run(**storage, 0, 0);
  run.Run(operations);
  MustSync(**storage);
  storage->reset();
  return {files->medium(), run.committed()};
}

int CheckSurvivor(const sim::Medium& medium, int least, int most) {
  const auto storage = OpenMedium(medium);
  CHECK_MESSAGE(storage.ok(), storage.status().ToString());
  if (!storage.ok()) return -1;
  CHECK_FALSE((*storage)->lost_synced_writes());
  const int found = FindAdapterState(**storage);
  CHECK(found >= least);
  CHECK(found <= most);
  return found;
}

}  // namespace dovetail::replica
