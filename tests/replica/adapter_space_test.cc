// A disk that fills up, and space that comes back.
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/replica/adapter_script.h"

namespace dovetail::replica {
namespace {

using sim::FaultFileSystem;

// Some memtables, which are of 64 KiB, and the MiB between two looks.
constexpr uint64_t kReserve = 2 << 20;
constexpr uint64_t kEndless = uint64_t{1} << 40;

RocksOptions OptionsWithReserve(std::shared_ptr<FaultFileSystem> files,
                                uint64_t reserve) {
  RocksOptions options = AdapterOptions(std::move(files));
  options.disk_reserve_bytes = reserve;
  options.automatic_compactions = false;  // They take room, and give it back.
  return options;
}

std::unique_ptr<RocksStorage> OpenWithReserve(
    const std::shared_ptr<FaultFileSystem>& files, uint64_t reserve) {
  auto storage =
      RocksStorage::Open(kAdapterPath, OptionsWithReserve(files, reserve));
  REQUIRE_MESSAGE(storage.ok(), storage.status().ToString());
  return *std::move(storage);
}

// 8 KiB that nothing else replaces.
WriteBatch Filling(int number) {
  std::string value(8 << 10, '\0');
  std::mt19937 random(static_cast<uint32_t>(number));
  for (char& byte : value) byte = static_cast<char>(random());
  return OnePut(Family::kLog, absl::StrCat(number), value);
}

// The numbers of the fillings that are there.
std::set<int> Fillings(Storage& storage) {
  std::set<int> numbers;
  for (const auto& [key, value] : Dump(storage)) {
    int number = 0;
    REQUIRE(absl::SimpleAtoi(key.second, &number));
    CHECK(value == *Filling(number).entries()[0].value);
    numbers.insert(number);
  }
  return numbers;
}

TEST_CASE(
    "Adapter: with a reserve, a full disk stops puts until there is room") {
  const auto files = std::make_shared<FaultFileSystem>();
  const auto storage = OpenWithReserve(files, kReserve);
  std::set<int> committed;
  int next = 1;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    // Free space is looked up once in each MiB written, and what is in the log
    // is written once more into tables.
    files->SetCapacity(files->medium().bytes() + (5 << 20));
    absl::Status refusal;
    while (true) {
      refusal = storage->Commit(Filling(next), CommitMode::kWritten);
      if (!refusal.ok()) break;
      committed.insert(next++);
      REQUIRE(committed.size() < 5000);
    }
    CHECK(absl::IsResourceExhausted(refusal));
    CHECK(absl::StrContains(refusal.message(), "reserve"));
    // All else goes on.
    CHECK(Fillings(*storage) == committed);
    WriteBatch deletion;
    deletion.Delete(Family::kLog, absl::StrCat(*committed.begin()));
    MustCommit(*storage, deletion, CommitMode::kSynced);
    committed.erase(committed.begin());
    MustSync(*storage);
    // A flush in the background may have made some room; it ends again.
    while (true) {
      refusal = storage->Commit(Filling(next), CommitMode::kSynced);
      if (!refusal.ok()) break;
      committed.insert(next++);
      REQUIRE(committed.size() < 5000);
    }
    CHECK(absl::IsResourceExhausted(refusal));
    CHECK_FALSE(storage->stats().is_read_only);

    files->SetCapacity(kEndless);
    MustCommit(*storage, Filling(next), CommitMode::kSynced);
    committed.insert(next++);
  }
  CHECK(Fillings(*storage) == committed);
}

TEST_CASE("Adapter: a disk that others fill stops writes until a restart") {
  // RocksDB's log may end in half a record then, and it does not go on safely.
  for (uint64_t room = 0; room < 300'000; room += 7'001) {
    CAPTURE(room);
    const auto files = std::make_shared<FaultFileSystem>();
    int last = 0;
    int synced = 0;
    bool is_full = false;
    {
      const auto storage = OpenWithReserve(files, 0);
      files->SetCapacity(files->medium().bytes() + room);
      absl::Status refusal;
      for (int batches = 0; refusal.ok() && batches < 400; ++batches) {
        const auto mode =
            batches % 10 == 9 ? CommitMode::kSynced : CommitMode::kWritten;
        refusal = storage->Commit(AdapterBatch(last + 1), mode);
        if (!refusal.ok()) break;
        ++last;
        if (mode == CommitMode::kSynced) synced = last;
      }
      is_full = !refusal.ok();
      CHECK_MESSAGE(absl::IsResourceExhausted(refusal), refusal.ToString());
      CHECK(storage->stats().is_read_only);
      CHECK(FindAdapterState(*storage) == last);
      files->SetCapacity(kEndless);
      CHECK(storage->Commit(AdapterBatch(last + 1), CommitMode::kWritten) ==
            refusal);
      CHECK(storage->Sync() == refusal);
      CHECK(FindAdapterState(*storage) == last);
    }
    REQUIRE(is_full);
    CheckSurvivor(files->medium(), last, last + 1);
    CheckSurvivor(files->medium().After({}), synced, last + 1);
  }
}

TEST_CASE("Adapter: a compaction that finds no room stops nothing") {
  // Tables from a memtable fit, those of a compaction do not.
  const auto files = std::make_shared<FaultFileSystem>();
  auto storage = RocksStorage::Open(kAdapterPath, AdapterOptions(files));
  REQUIRE(storage.ok());
  files->SetFileCapacity(300 << 10);
  std::set<int> committed;
  int number = 1;
  // Compactions run beside the writes: on a busy machine some come later.
  for (; number <= 120 ||
         ((*storage)->stats().background_errors == 0 && number <= 20'000);
       ++number) {
    MustCommit(**storage, Filling(number));
    committed.insert(number);
  }
  CHECK(Fillings(**storage) == committed);
  CHECK((*storage)->stats().background_errors > 0);
  CHECK_FALSE((*storage)->stats().is_read_only);
  files->SetFileCapacity(kEndless);
  for (const int last = number + 280; number <= last; ++number) {
    MustCommit(**storage, Filling(number), CommitMode::kSynced);
    committed.insert(number);
  }
  CHECK(Fillings(**storage) == committed);
}

TEST_CASE("Adapter: a start on a full disk fails cleanly and works later") {
  const AdapterHistory history = MakeAdapterHistory(60);
  int refused = 0;
  for (uint64_t room = 0; room < 60'000; room += 1'009) {
    CAPTURE(room);
    const auto files = std::make_shared<FaultFileSystem>(history.medium);
    files->SetCapacity(history.medium.bytes() + room);
    {
      const auto storage =
          RocksStorage::Open(kAdapterPath, AdapterOptions(files));
      if (!storage.ok()) {
        ++refused;
        CHECK_MESSAGE(absl::IsResourceExhausted(storage.status()),
                      storage.status().ToString());
      }
    }
    files->SetCapacity(kEndless);
    CheckSurvivor(files->medium(), history.batches, history.batches);
    CheckSurvivor(files->medium().After({}), history.batches, history.batches);
  }
  CHECK(refused > 10);
}

}  // namespace
}  // namespace dovetail::replica
