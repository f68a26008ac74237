// What RocksDB adds to the contract: real processes that die or may not write,
// logs cut and damaged at any byte, the floor, the directory's format.
#define DOCTEST_CONFIG_IMPLEMENT
#include "replica/rocks_storage.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "replica/data_directory.h"
#include "replica/hash.h"
#include "tests/replica/storage_child.h"
#include "tests/replica/storage_testing.h"
#include "tests/sim/rocks_disk.h"

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--storage-child") {
    return dovetail::replica::RunStorageChild(argv[2], argv[3]);
  }
  return doctest::Context(argc, argv).run();
}

namespace dovetail::replica {
namespace {

namespace fs = std::filesystem;
using sim::TemporaryDirectory;

std::unique_ptr<RocksStorage> OpenRocks(const std::string& directory) {
  auto storage = RocksStorage::Open(directory, RocksOptions());
  REQUIRE_MESSAGE(storage.ok(), storage.status().ToString());
  return *std::move(storage);
}

std::string ReadBytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteBytes(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << bytes;
  REQUIRE(out.good());
}

// The newest file with this extension.
fs::path Newest(const std::string& directory, const std::string& extension) {
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == extension) {
      newest = std::max(newest, entry.path());
    }
  }
  REQUIRE(!newest.empty());
  return newest;
}

// How many of Delta(1), Delta(2), ... are there; fails if it is not exactly
// such a prefix.
int PrefixLength(Storage& storage) {
  const auto last = MustGet(storage, Family::kMeta, "last");
  int count = 0;
  if (last.has_value()) REQUIRE(absl::SimpleAtoi(*last, &count));
  CHECK(Dump(storage) == AfterDeltas(count));
  return count;
}

// A directory with Delta(1) ... Delta(6) in its log, synced after the third.
struct History {
  History() {
    const auto storage = OpenRocks(path());
    log = Newest(path(), ".log");
    for (int i = 1; i <= 6; ++i) {
      MustCommit(*storage, Delta(i));
      log_bytes.push_back(fs::file_size(log));
      if (i == 3) MustSync(*storage);
    }
  }
  std::string path() const { return root.path() + "/data"; }

  TemporaryDirectory root;
  fs::path log;
  std::vector<uintmax_t> log_bytes;  // after each delta
};

TEST_CASE("RocksStorage: what was committed outlives _exit right after it") {
  const TemporaryDirectory root;
  StorageChild child("die", root.path() + "/data");
  REQUIRE(child.Wait() == 0);
  CHECK(PrefixLength(*OpenRocks(root.path() + "/data")) == 20);
}

TEST_CASE("RocksStorage: what was committed outlives a kill at any moment") {
  for (const int lines : {1, 7, 100}) {
    CAPTURE(lines);
    const TemporaryDirectory root;
    StorageChild child("commit", root.path() + "/data");
    int acknowledged = 0;
    for (int i = 0; i < lines; ++i) {
      REQUIRE(absl::SimpleAtoi(child.ReadLine(), &acknowledged));
    }
    child.Kill();
    CHECK(child.Wait() == -9);
    for (std::string line; !(line = child.ReadLine()).empty();) {
      int number = 0;
      if (absl::SimpleAtoi(line, &number)) acknowledged = number;
    }
    CHECK(PrefixLength(*OpenRocks(root.path() + "/data")) >= acknowledged);
  }
}

TEST_CASE("RocksStorage: a log write that fails shows nothing of its batch") {
  const TemporaryDirectory root;
  StorageChild child("limit", root.path() + "/data");
  const std::string line = child.ReadLine();
  CAPTURE(line);
  CHECK(child.Wait() == 0);
  int committed = 0;
  REQUIRE(absl::SimpleAtoi(line.substr(0, line.find(' ')), &committed));
  CHECK(committed > 10);
  const int found = PrefixLength(*OpenRocks(root.path() + "/data"));
  // The failed batch itself may turn up in the next process.
  CHECK(found >= committed);
  CHECK(found <= committed + 1);
}

TEST_CASE("RocksStorage: a directory held by another process is refused") {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  StorageChild child("commit", path);
  REQUIRE(child.ReadLine() == "1");
  const auto refused = RocksStorage::Open(path, RocksOptions());
  CHECK(absl::IsUnavailable(refused.status()));
  CHECK(absl::StrContains(refused.status().message(),
                          "in use by another process"));
  child.Kill();
  child.Wait();
  CHECK(PrefixLength(*OpenRocks(path)) >= 1);
}

TEST_CASE("RocksStorage: a log cut at any byte leaves whole batches") {
  // And whoever lost a synced one is told.
  const History history;
  const uintmax_t end = history.log_bytes.back();
  for (uintmax_t cut = 0; cut <= end; cut += 37) {
    CAPTURE(cut);
    const TemporaryDirectory copy;
    fs::copy(history.path(), copy.path(), fs::copy_options::recursive);
    fs::resize_file(copy.path() / history.log.filename(), cut);
    const auto storage = OpenRocks(copy.path());
    const auto whole =
        std::count_if(history.log_bytes.begin(), history.log_bytes.end(),
                      [cut](uintmax_t at) { return at <= cut; });
    CHECK(PrefixLength(*storage) == whole);
    CHECK(storage->lost_synced_writes() == (whole < 3));
  }
}

TEST_CASE(
    "RocksStorage: a damaged log record hides all after it, and says so") {
  const History history;
  const std::string intact = ReadBytes(history.log);
  for (size_t damaged = 0; damaged < 6; ++damaged) {
    CAPTURE(damaged);
    const TemporaryDirectory copy;
    fs::copy(history.path(), copy.path(), fs::copy_options::recursive);
    std::string bytes = intact;
    char& target = bytes[history.log_bytes[damaged] - 5];
    target = static_cast<char>(target ^ 1);
    WriteBytes(copy.path() / history.log.filename(), bytes);
    const auto storage = OpenRocks(copy.path());
    CHECK(PrefixLength(*storage) == static_cast<int>(damaged));
    CHECK(storage->lost_synced_writes() == (damaged < 3));
  }
}

TEST_CASE("RocksStorage: lost writes are reported until the next sync") {
  History history;
  fs::resize_file(history.log, history.log_bytes[1]);
  {
    const auto storage = OpenRocks(history.path());
    CHECK(storage->lost_synced_writes());
    // More than was lost: the sequence number alone would be fooled.
    for (int i = 3; i < 20; ++i) {
      MustCommit(*storage, Delta(i), CommitMode::kSynced);
    }
  }
  {
    const auto storage = OpenRocks(history.path());
    CHECK(storage->lost_synced_writes());
    MustSync(*storage);
  }
  CHECK_FALSE(OpenRocks(history.path())->lost_synced_writes());
}

TEST_CASE("RocksStorage: a floor that does not decode counts as lost writes") {
  const History history;
  const fs::path floor = history.path() + "/" + kFloorFile;
  std::string bytes = ReadBytes(floor);
  bytes[0] = static_cast<char>(bytes[0] ^ 1);  // still a number
  WriteBytes(floor, bytes);
  CHECK(OpenRocks(history.path())->lost_synced_writes());
}

TEST_CASE("RocksStorage: a floor without files, as it once was, is read") {
  const History history;
  const fs::path floor = history.path() + "/" + kFloorFile;
  for (const auto& [sequence, is_lost] :
       {std::pair("1000", true), std::pair("1", false)}) {
    const std::string check =
        absl::StrCat(absl::Hex(HashBytes(sequence).high, absl::kZeroPad16));
    WriteBytes(floor, absl::StrCat(sequence, " ", check, "\n"));
    CHECK(OpenRocks(history.path())->lost_synced_writes() == is_lost);
  }
}

TEST_CASE("RocksStorage: a database whose files are gone counts as lost") {
  const History history;
  for (const auto& entry : fs::directory_iterator(history.path())) {
    const std::string name = entry.path().filename();
    if (name != kFormatFile && name != kFloorFile) fs::remove(entry.path());
  }
  const auto storage = OpenRocks(history.path());
  CHECK(Dump(*storage).empty());
  CHECK(storage->lost_synced_writes());
}

TEST_CASE("RocksStorage: a block that fails its checksum is never absence") {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  MustCommit(*OpenRocks(path),
             OnePut(Family::kRows, "key", std::string(500, 'v')));
  OpenRocks(path);  // Recovery writes it to a table.
  const fs::path table = Newest(path, ".sst");
  std::string bytes = ReadBytes(table);
  bytes[20] = static_cast<char>(bytes[20] ^ 1);
  WriteBytes(table, bytes);

  const auto storage = OpenRocks(path);
  CHECK(absl::IsDataLoss(storage->Get(Family::kRows, "key").status()));
  int visited = 0;
  CHECK(absl::IsDataLoss(storage->Scan(
      Family::kRows, "", "", [&](absl::string_view, absl::string_view) {
        ++visited;
        return true;
      })));
  CHECK(visited == 0);
  // It might hide tables of the same level.
  CHECK(storage->DamagedTables().empty());
}

size_t CountTables(const std::string& directory) {
  size_t tables = 0;
  for (const auto& entry : fs::directory_iterator(directory)) {
    tables += entry.path().extension() == ".sst" ? 1 : 0;
  }
  return tables;
}

void WaitUntil(const std::function<bool()>& done) {
  for (int i = 0; i < 3000 && !done(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  REQUIRE(done());
}

// Four rows, each written out by a start of its own: as many tables make a
// compaction. "a" is in all of these.
void WriteTables(const std::string& path, const std::string& value) {
  for (const char* key : {"k1", "k2", "k3", "k4"}) {
    const auto storage = OpenRocks(path);
    WriteBatch batch;
    batch.Put(Family::kRows, key, value);
    batch.Put(Family::kRows, "a", value);
    MustCommit(*storage, batch);
  }
}

// The rows of WriteTables in one table of the last level, with a flipped bit.
struct DamagedDatabase {
  TemporaryDirectory root;
  std::string path = root.path() + "/data";

  DamagedDatabase() {
    MustCommit(*OpenRocks(path), OnePut(Family::kIndex, "other", "kept"));
    WriteTables(path, std::string(500, 'v'));
    {
      const auto storage = OpenRocks(path);
      WaitUntil([&] { return CountTables(path) == 2; });
    }
    const fs::path table = Newest(path, ".sst");
    std::string bytes = ReadBytes(table);
    bytes[20] = static_cast<char>(bytes[20] ^ 1);
    WriteBytes(table, bytes);
  }
};

TEST_CASE("RocksStorage: a damaged table goes when all shards have let go") {
  const DamagedDatabase damaged;
  {
    const auto storage = OpenRocks(damaged.path);
    CHECK(storage->DamagedTables().empty());
    CHECK(absl::IsDataLoss(storage->Get(Family::kRows, "k2").status()));
    const std::vector<DamagedTable> tables = storage->DamagedTables();
    REQUIRE(tables.size() == 1);
    CHECK(tables[0].family == Family::kRows);
    CHECK(tables[0].first == "a");
    CHECK(tables[0].last == "k4");
    CHECK(storage->GiveUp(tables[0].number, 0, 2).ok());
    CHECK(storage->GiveUp(tables[0].number, 0, 2).ok());
    CHECK(absl::IsDataLoss(storage->Get(Family::kRows, "k2").status()));
    CHECK(storage->stats().tables_given_up == 0);
    CHECK(storage->GiveUp(tables[0].number, 1, 2).ok());
    CHECK(storage->DamagedTables().empty());
    CHECK(storage->stats().tables_given_up == 1);
    CHECK(MustGet(*storage, Family::kRows, "k2") == std::nullopt);
    MustCommit(*storage, OnePut(Family::kRows, "k3", "new"));
  }
  const auto storage = OpenRocks(damaged.path);
  CHECK_FALSE(storage->lost_synced_writes());
  CHECK(MustGet(*storage, Family::kRows, "k2") == std::nullopt);
  CHECK(MustGet(*storage, Family::kRows, "k3") == "new");
  CHECK(MustGet(*storage, Family::kIndex, "other") == "kept");
}

TEST_CASE("RocksStorage: a compaction that meets a damaged table stops none") {
  const DamagedDatabase damaged;
  WriteTables(damaged.path, "w");
  const auto storage = OpenRocks(damaged.path);
  WaitUntil([&] { return !storage->DamagedTables().empty(); });
  MustCommit(*storage, OnePut(Family::kRows, "k5", "w"));
  CHECK(storage->Sync().ok());
  const uint64_t table = storage->DamagedTables()[0].number;
  // A compaction that is at it has to fail first.
  WaitUntil([&] { return storage->GiveUp(table, 0, 1).ok(); });
  WaitUntil([&] { return CountTables(damaged.path) == 2; });
  CHECK(MustGet(*storage, Family::kRows, "k2") == "w");
  CHECK(MustGet(*storage, Family::kRows, "k5") == "w");
  CHECK_FALSE(storage->stats().is_read_only);
}

TEST_CASE("RocksStorage: a layout of another version is left alone") {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  OpenRocks(path);
  WriteBytes(path + "/" + kFormatFile, "dovetail data directory, layout 2\n");
  const auto refused = RocksStorage::Open(path, RocksOptions());
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(absl::StrContains(refused.status().message(), "layout 2"));
  CHECK(absl::StrContains(refused.status().message(), "only layout 1"));
}

TEST_CASE("RocksStorage: a database without a format is not taken for ours") {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  OpenRocks(path);
  fs::remove(path + "/" + kFormatFile);
  CHECK(absl::IsFailedPrecondition(
      RocksStorage::Open(path, RocksOptions()).status()));
}

TEST_CASE("RocksStorage: a path that cannot be a directory is refused") {
  const TemporaryDirectory root;
  WriteBytes(root.path() + "/file", "");
  CHECK(absl::IsFailedPrecondition(
      RocksStorage::Open(root.path() + "/file", RocksOptions()).status()));
  CHECK(absl::IsFailedPrecondition(
      RocksStorage::Open(root.path() + "/file/data", RocksOptions()).status()));
}

TEST_CASE("RocksStorage: a checkpoint opens as the state it was taken of") {
  const TemporaryDirectory root;
  const std::string copy = root.path() + "/copy";
  const auto storage = OpenRocks(root.path() + "/data");
  MustCommit(*storage, Delta(1));
  MustCommit(*storage, Delta(2));
  REQUIRE(storage->Checkpoint(copy).ok());
  MustCommit(*storage, Delta(3));
  CHECK(PrefixLength(*OpenRocks(copy)) == 2);
  CHECK_FALSE(OpenRocks(copy)->lost_synced_writes());
  CHECK(PrefixLength(*storage) == 3);
  CHECK(absl::IsFailedPrecondition(
      storage->Checkpoint(root.path() + "/missing/copy")));
}

TEST_CASE("RocksStorage: below the disk reserve only puts are refused") {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  MustCommit(*OpenRocks(path), Delta(1));
  {
    RocksOptions options;
    options.disk_reserve_bytes = uint64_t{1} << 62;
    const auto storage = RocksStorage::Open(path, options);
    REQUIRE(storage.ok());
    CHECK(absl::IsResourceExhausted(
        (*storage)->Commit(Delta(2), CommitMode::kWritten)));
    CHECK(Dump(**storage) == AfterDeltas(1));
    WriteBatch truncation;
    truncation.Delete(Family::kLog, "log1");
    MustCommit(**storage, truncation);
    CHECK(MustGet(**storage, Family::kLog, "log1") == std::nullopt);
    MustSync(**storage);
    CHECK_FALSE((*storage)->stats().is_read_only);
  }
  MustCommit(*OpenRocks(path), Delta(2));
}

TEST_CASE("RocksStorage: several shards write and sync at once") {
  constexpr int kShards = 4;
  constexpr int kBatches = 100;
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  {
    const auto storage = OpenRocks(path);
    std::vector<int> failures(kShards, 0);
    std::vector<std::thread> shards;
    for (int shard = 0; shard < kShards; ++shard) {
      shards.emplace_back([&, shard] {
        for (int i = 0; i < kBatches; ++i) {
          const std::string key = absl::StrCat(shard, "/", i);
          const auto mode =
              i % 10 == 0 ? CommitMode::kSynced : CommitMode::kWritten;
          const bool done =
              storage->Commit(OnePut(Family::kRows, key, key), mode).ok() &&
              storage->Get(Family::kRows, key).value() == key &&
              (i % 25 != 0 || storage->Sync().ok());
          if (!done) ++failures[static_cast<size_t>(shard)];
        }
      });
    }
    for (std::thread& shard : shards) shard.join();
    CHECK(failures == std::vector<int>(kShards, 0));
    CHECK(storage->stats().floor_failures == 0);
  }
  const auto storage = OpenRocks(path);
  CHECK_FALSE(storage->lost_synced_writes());
  CHECK(Dump(*storage).size() == kShards * kBatches);
}

// Bytes that this process has read so far, from whatever file.
uint64_t BytesRead() {
  std::ifstream in("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (in >> name >> value) {
    if (name == "rchar:") return value;
  }
  FAIL("/proc/self/io does not tell");
  return 0;
}

TEST_CASE("RocksStorage: a lookup reads no filter of a whole large table") {
  const TemporaryDirectory root;
  const std::string path = root.path() + "/data";
  constexpr int kTables = 4;  // as many make a compaction
  for (int table = 0; table < kTables; ++table) {
    WriteBatch batch;
    for (int i = 100'000 + table; i < 200'000; i += kTables) {
      batch.Put(Family::kRows, std::to_string(i), "v");
    }
    MustCommit(*OpenRocks(path), batch);  // The next start writes the table.
  }
  {
    const auto storage = OpenRocks(path);
    WaitUntil([&] { return CountTables(path) == 1; });
  }
  RocksOptions options;
  options.block_cache_bytes = 64 << 10;  // The filter takes 125 KB.
  const auto storage = RocksStorage::Open(path, options);
  REQUIRE(storage.ok());
  const auto is_there = [&](int i, const char* more) {
    return MustGet(**storage, Family::kRows, std::to_string(i) + more)
        .has_value();
  };
  CHECK(is_there(150'000, ""));

  const uint64_t before = BytesRead();
  for (int i = 150'000; i < 150'200; ++i) {
    CHECK_FALSE(is_there(i, "absent"));
    CHECK(is_there(i, ""));
  }
  CHECK(BytesRead() - before < 1'000'000);
}

TEST_CASE("RocksStorage: the statistics follow the data") {
  const TemporaryDirectory root;
  const auto storage = OpenRocks(root.path() + "/data");
  const RocksStats before = storage->stats();
  MustCommit(*storage, OnePut(Family::kRows, "k", std::string(100'000, 'v')));
  const RocksStats after = storage->stats();
  CHECK(after.memtable_bytes >= before.memtable_bytes + 100'000);
  CHECK(after.background_errors == 0);
  CHECK(after.writes_stopped == 0);
}

}  // namespace
}  // namespace dovetail::replica
