// Files of a closed database, cut or damaged: what a start makes of them. It
// finds a state that was, and says so if it is older than what was synced; or
// it refuses. It never finds a state that never was.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "replica/data_directory.h"
#include "tests/replica/adapter_script.h"

namespace dovetail::replica {
namespace {

using sim::FaultFileSystem;
using sim::Medium;
using sim::MediumFile;

// A database at rest: states 0 to `committed`, all up to `synced` safe.
struct Database {
  Medium medium;
  std::vector<std::string> names;
  std::vector<Contents> states;
  int synced = 0;
  // Where each batch ends that was put into the log `log`.
  std::string log;
  std::vector<size_t> ends;

  int committed() const { return static_cast<int>(states.size()) - 1; }
  const std::string& Bytes(const std::string& name) const {
    return medium.Find(absl::StrCat(kAdapterPath, "/", name))->file.bytes();
  }
};

std::vector<std::string> Logs(const FaultFileSystem& files) {
  std::vector<std::string> logs;
  for (const std::string& name : files.Names(kAdapterPath)) {
    if (absl::EndsWith(name, ".log")) logs.push_back(name);
  }
  return logs;
}

enum class Flushes { kAsUsual, kNone };

// Until the memtable that filled up is in a table: RocksDB writes it when it
// comes to it.
void WaitForTables(const RocksStorage& storage, uint64_t bytes_before) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (storage.stats().table_file_bytes <= bytes_before) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Commits batches as long as `more` says, synced up to the last but two. With
// Flushes::kNone a memtable that is full is not in a table yet.
Database MakeDatabase(
    WriteBatch (*batch)(int), int in_table, Flushes flushes,
    absl::FunctionRef<bool(int committed, const FaultFileSystem&)> more) {
  const auto files = std::make_shared<FaultFileSystem>();
  Database made;
  made.states.emplace_back();
  auto opened = RocksStorage::Open(kAdapterPath, AdapterOptions(files));
  REQUIRE(opened.ok());
  RocksStorage& storage = **opened;
  if (flushes == Flushes::kNone) files->Hold(".sst");
  uint64_t table_bytes = 0;
  const auto commit = [&] {
    const int number = made.committed() + 1;
    MustCommit(storage, batch(number));
    made.states.push_back(Dump(storage));
    const auto logs = Logs(*files);
    if (made.log.empty()) made.log = logs.front();
    if (logs.back() == made.log) {
      files->Edit(
          absl::StrCat(kAdapterPath, "/", made.log),
          [&](MediumFile& file) { made.ends.push_back(file.bytes().size()); });
    }
  };
  while (more(made.committed(), *files)) {
    commit();
    if (made.committed() != in_table) continue;
    REQUIRE(storage.Checkpoint("/node/copy").ok());
    table_bytes = storage.stats().table_file_bytes;
    made.log.clear();
    made.ends.clear();
  }
  if (flushes == Flushes::kAsUsual && Logs(*files).size() > 1) {
    WaitForTables(storage, table_bytes);
  }
  MustSync(storage);
  made.synced = made.committed();
  commit();
  commit();
  if (flushes == Flushes::kNone) made.medium = files->medium();
  files->Hold("");
  opened->reset();
  if (flushes == Flushes::kAsUsual) made.medium = files->medium();
  made.names = files->Names(kAdapterPath);
  return made;
}

Database SmallDatabase() {
  return MakeDatabase(
      Delta, 4, Flushes::kAsUsual,
      [](int committed, const FaultFileSystem&) { return committed < 9; });
}

// One whose logs are two, because one family filled up its memtable.
Database DatabaseOfTwoLogs(Flushes flushes) {
  int left = 5;
  return MakeDatabase(AdapterBatch, flushes == Flushes::kNone ? 0 : 3, flushes,
                      [&left](int, const FaultFileSystem& files) {
                        return Logs(files).size() < 2 || --left > 0;
                      });
}

// What can be read of a storage, and whether that was all.
struct Partial {
  Contents contents;
  bool all = true;
};

Partial DumpWhatIsReadable(Storage& storage) {
  Partial read;
  for (size_t i = 0; i < kFamilyCount; ++i) {
    const auto family = static_cast<Family>(i);
    const absl::Status status = storage.Scan(
        family, "", "", [&](absl::string_view key, absl::string_view value) {
          read.contents[{family, std::string(key)}] = std::string(value);
          return true;
        });
    if (status.ok()) continue;
    CheckTyped(status);
    read.all = false;
  }
  return read;
}

enum class Outcome { kRefused, kWhole, kOlder, kUnreadable };

// Opens `medium`, which was made from `database`, and judges what it finds.
Outcome Judge(const Database& database, const Medium& medium) {
  const auto storage = OpenMedium(medium);
  if (!storage.ok()) {
    CHECK((absl::IsDataLoss(storage.status()) ||
           absl::IsFailedPrecondition(storage.status())));
    return Outcome::kRefused;
  }
  const bool lost = (*storage)->lost_synced_writes();
  const Partial read = DumpWhatIsReadable(**storage);
  if (!read.all) {
    // No value that is not the last one, and none is passed over in silence.
    for (const auto& [key, value] : read.contents) {
      const auto& state = database.states.back();
      const auto expected = state.find(key);
      CHECK(expected != state.end());
      CHECK(expected->second == value);
    }
    for (const auto& [key, value] : database.states.back()) {
      const auto got = (*storage)->Get(key.first, key.second);
      if (got.ok()) CHECK(*got == value);
      if (!got.ok()) CheckTyped(got.status());
    }
    return Outcome::kUnreadable;
  }
  const auto found = std::find(database.states.rbegin(), database.states.rend(),
                               read.contents);
  CHECK_MESSAGE(found != database.states.rend(), "a state that never was");
  const auto number = database.states.rend() - found - 1;
  if (number < database.synced) CHECK(lost);
  return number == database.committed() ? Outcome::kWhole : Outcome::kOlder;
}

Medium With(const Database& database, const std::string& name,
            absl::FunctionRef<void(std::string& bytes)> damage) {
  Medium medium = database.medium;
  std::string bytes = database.Bytes(name);
  damage(bytes);
  medium.Find(absl::StrCat(kAdapterPath, "/", name))
      ->file.Replace(std::move(bytes));
  return medium;
}

Outcome JudgeCut(const Database& database, const std::string& name,
                 size_t size) {
  CAPTURE(name);
  CAPTURE(size);
  return Judge(database, With(database, name, [size](std::string& bytes) {
                 bytes.resize(size);
               }));
}

Outcome JudgeFlip(const Database& database, const std::string& name, size_t at,
                  int bit) {
  CAPTURE(name);
  CAPTURE(at);
  return Judge(database, With(database, name, [=](std::string& bytes) {
                 bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
               }));
}

bool IsTable(const std::string& name) { return absl::EndsWith(name, ".sst"); }
// Not read by an open that is given options.
bool IsIdle(const std::string& name) {
  return absl::StartsWith(name, "OPTIONS") || name == "IDENTITY";
}

void Print(const char* what, const std::map<Outcome, int>& outcomes) {
  const auto of = [&outcomes](Outcome outcome) {
    const auto found = outcomes.find(outcome);
    return found == outcomes.end() ? 0 : found->second;
  };
  std::printf("%s: %d refused, %d whole, %d older, %d unreadable\n", what,
              of(Outcome::kRefused), of(Outcome::kWhole), of(Outcome::kOlder),
              of(Outcome::kUnreadable));
}

TEST_CASE("Adapter: a file cut at any byte leaves a state that was") {
  const Database database = SmallDatabase();
  std::map<Outcome, int> outcomes;
  for (const std::string& name : database.names) {
    if (IsTable(name) || IsIdle(name)) continue;
    for (size_t size = 0; size < database.Bytes(name).size(); ++size) {
      ++outcomes[JudgeCut(database, name, size)];
    }
  }
  Print("cut", outcomes);
  CHECK(outcomes[Outcome::kOlder] > 500);
  CHECK(outcomes[Outcome::kRefused] > 500);
}

TEST_CASE("Adapter: the floor survives a power failure as the log does") {
  Database database = SmallDatabase();
  database.medium = database.medium.After({});
  REQUIRE(Judge(database, database.medium) == Outcome::kOlder);
  const size_t end = database.Bytes(database.log).size();
  REQUIRE(database.ends.end() !=
          std::find(database.ends.begin(), database.ends.end(), end));
  // Judge wants the loss of what was synced to be noticed.
  CHECK(JudgeCut(database, database.log, end - 1) == Outcome::kOlder);
}

TEST_CASE("Adapter: a file that is gone leaves a state that was") {
  for (const Database& database :
       {SmallDatabase(), DatabaseOfTwoLogs(Flushes::kAsUsual)}) {
    for (const std::string& name : database.names) {
      CAPTURE(name);
      Medium medium = database.medium;
      const Medium::Pointer directory = medium.Find(kAdapterPath);
      directory->Apply({{name, nullptr}});
      directory->SyncNames();
      // No floor: then nothing is known of what was synced, as at the first
      // start. Nothing was lost with it.
      const Outcome outcome = Judge(database, medium);
      if (name == kFloorFile || IsIdle(name)) CHECK(outcome == Outcome::kWhole);
      if (name == kFormatFile) CHECK(outcome == Outcome::kRefused);
    }
  }
}

TEST_CASE("Adapter: a log cut below what is in tables is refused") {
  const Database database = DatabaseOfTwoLogs(Flushes::kAsUsual);
  REQUIRE(database.ends.size() > 10);
  std::map<Outcome, int> outcomes;
  for (const size_t end : database.ends) {
    for (const size_t size : {end - 7, end}) {
      if (size == database.ends.back()) continue;
      ++outcomes[JudgeCut(database, database.log, size)];
    }
    ++outcomes[JudgeFlip(database, database.log, end - 5, 3)];
  }
  ++outcomes[JudgeCut(database, database.log, 0)];
  Print("older log", outcomes);
  CHECK(outcomes.size() == 1);
  CHECK(outcomes.contains(Outcome::kRefused));
}

TEST_CASE("Adapter: a gap between two logs ends what is found") {
  const Database database = DatabaseOfTwoLogs(Flushes::kNone);
  REQUIRE(database.ends.size() > 10);
  std::map<Outcome, int> outcomes;
  for (const size_t end : database.ends) {
    if (end < database.ends.back()) {
      ++outcomes[JudgeCut(database, database.log, end)];
    }
    ++outcomes[JudgeCut(database, database.log, end - 7)];
  }
  ++outcomes[JudgeCut(database, database.log, 0)];
  Print("gap", outcomes);
  CHECK(outcomes.size() == 1);
  CHECK(outcomes.contains(Outcome::kOlder));
}

TEST_CASE("Adapter: a flipped bit is never taken for data") {
  const Database database = SmallDatabase();
  std::mt19937_64 random(1);
  std::map<Outcome, int> outcomes;
  for (const std::string& name : database.names) {
    if (IsIdle(name)) continue;
    // Each byte of a table is as good as the next.
    const size_t step = IsTable(name) ? 3 : 1;
    for (size_t at = 0; at < database.Bytes(name).size(); at += step) {
      const int first = static_cast<int>(random() % 8);
      // Some bits of a manifest are safe by what they say, and no checksum.
      const int bits = absl::StartsWith(name, "MANIFEST") ? 8 : 1;
      for (int bit = first; bit < first + bits; ++bit) {
        const Outcome outcome = JudgeFlip(database, name, at, bit % 8);
        if (IsTable(name)) CHECK(outcome != Outcome::kOlder);
        ++outcomes[outcome];
      }
    }
  }
  Print("flipped", outcomes);
}

}  // namespace
}  // namespace dovetail::replica
