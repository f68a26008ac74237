// dovetail-repair-table: what does repair cost? The figures of
// docs/benchmarks.md: a replica that lacks scattered changes which no log has
// any more is brought up to date by ranges; what two equal ones say to each
// other; and what it takes to bring all rows to an empty replica, beside
// copying the files.
//
// Real shards on RocksDB; the network hands messages over at once and counts
// what they would be as frames.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "net/peer_codec.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"
#include "tests/replica/table_ingest.h"
#include "tests/sim/rocks_disk.h"

namespace dovetail::replica {
namespace {

constexpr int kTurn = 256;
constexpr size_t kValueBytes = 64;

struct Arguments {
  uint32_t rows = 1'000'000;
  uint32_t different_permille = 1;
  uint32_t partitions = 16;
  uint64_t seed = 1;
  uint32_t elements = 10;
};

double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

size_t FrameBytes(const Message& message) {
  const Message* pointer = &message;
  const auto frame = net::EncodeMessages({&pointer, 1});
  DOVETAIL_CHECK(frame.ok());
  return frame->size();
}

// Counts what is read.
class CountingStorage final : public Storage {
 public:
  explicit CountingStorage(std::unique_ptr<RocksStorage> storage)
      : storage_(std::move(storage)) {}
  uint64_t rows_read = 0;

  absl::StatusOr<std::optional<std::string>> Get(
      Family family, absl::string_view key) override {
    rows_read += family == Family::kRows ? 1 : 0;
    return storage_->Get(family, key);
  }
  absl::Status Scan(
      Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view, absl::string_view)> visit)
      override {
    return storage_->Scan(family, begin, end,
                          [&](absl::string_view key, absl::string_view value) {
                            rows_read += family == Family::kRows ? 1 : 0;
                            return visit(key, value);
                          });
  }
  absl::Status Commit(const WriteBatch& batch, CommitMode mode) override {
    return storage_->Commit(batch, mode);
  }
  absl::Status Sync() override { return storage_->Sync(); }
  absl::Status Checkpoint(const std::string& directory) override {
    return storage_->Checkpoint(directory);
  }

 private:
  const std::unique_ptr<RocksStorage> storage_;
};

// Two owners of everything.
class Pair {
 public:
  Pair(const std::string& directory, uint32_t partitions,
       const ShardOptions& options = {})
      : options_(options), directory_(directory), placement_(2, partitions) {
    for (uint32_t i = 0; i < 2; ++i) Open(i, i + 1);
    for (uint32_t i = 0; i < 2; ++i) {
      shards_[i]->HandlePeerUp(
          NodeId{1 - i}, now_,
          crdt::MakeActorId(crdt::ActorKind::kNode, 2 - i));
      EndTurn(i);
    }
    DeliverAll();
  }

  Shard& at(uint32_t node) { return *shards_[node]; }
  Storage& storage(uint32_t node) { return *storages_[node]; }
  std::string DirectoryOf(uint32_t node) const {
    return absl::StrCat(directory_, "/", node);
  }
  // Its process ends and another one begins.
  void Restart(uint32_t node) {
    DOVETAIL_CHECK(shards_[node]->SyncToDisk().ok());
    shards_[node].reset();
    storages_[node].reset();
    Open(node, node + 100);
    shards_[node]->HandlePeerUp(NodeId{1 - node}, now_);
    EndTurn(node);
  }
  uint64_t bytes() const { return bytes_; }
  uint64_t messages() const { return messages_; }
  uint64_t rows_read(uint32_t node) const { return storages_[node]->rows_read; }
  // The longest that a shard has not listened.
  double longest_turn_ms() const { return longest_turn_ms_; }
  void ResetCounts() {
    bytes_ = messages_ = 0;
    longest_turn_ms_ = 0;
    for (const auto& storage : storages_) storage->rows_read = 0;
  }
  const Now& now() const { return now_; }

  // Writes register `key` at node 0.
  void Write(uint32_t key, const std::string& value) {
    crdt::Operation operation;
    operation.object = {"bench", absl::StrCat("key-", key),
                        crdt::Type::kRegister};
    operation.verb = crdt::Verb::kWrite;
    operation.value = value;
    Write(std::move(operation));
  }
  void Write(crdt::Operation operation) {
    ClientRequest request;
    request.id = RequestId{next_id_++};
    request.options.write = Level::Count(1);
    WriteRequest write;
    write.operations = {std::move(operation)};
    request.body = std::move(write);
    shards_[0]->HandleRequest(std::move(request), now_);
  }

  void EndTurn(uint32_t node) {
    for (Envelope& envelope : shards_[node]->EndTurn(now_).messages) {
      bytes_ += FrameBytes(envelope.message);
      ++messages_;
      network_.push_back({node, std::move(envelope.message)});
    }
  }
  void DeliverAll() {
    while (!network_.empty()) {
      auto [from, message] = std::move(network_.front());
      network_.pop_front();
      const auto begun = std::chrono::steady_clock::now();
      shards_[1 - from]->HandleMessage(NodeId{from}, std::move(message), now_);
      EndTurn(1 - from);
      TurnTook(begun);
    }
  }
  void DropAll() { network_.clear(); }
  void Pass(absl::Duration time) {
    now_.steady += time;
    now_.wall_ms += static_cast<uint64_t>(absl::ToInt64Milliseconds(time));
    for (uint32_t i = 0; i < 2; ++i) {
      if (now_.steady < shards_[i]->next_deadline()) continue;
      const auto begun = std::chrono::steady_clock::now();
      shards_[i]->HandleTimers(now_);
      EndTurn(i);
      TurnTook(begun);
    }
    DeliverAll();
  }
  bool LogsEmpty() const {
    for (const auto& shard : shards_) {
      for (const auto& digest : shard->Digests()) {
        if (digest.log_entries > 0) return false;
      }
    }
    return true;
  }
  bool Equal() const {
    const auto a = shards_[0]->Digests();
    const auto b = shards_[1]->Digests();
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i].rows != b[i].rows || a[i].context != b[i].context) return false;
    }
    return true;
  }

 private:
  void Open(uint32_t node, uint64_t actor) {
    auto storage = RocksStorage::Open(DirectoryOf(node), RocksOptions());
    DOVETAIL_CHECK(storage.ok());
    storages_[node] = std::make_unique<CountingStorage>(*std::move(storage));
    shards_[node] = std::make_unique<Shard>(
        options_, placement_,
        Shard::Identity{NodeId{node},
                        crdt::MakeActorId(crdt::ActorKind::kNode, actor), 0, 1},
        *storages_[node]);
    DOVETAIL_CHECK(shards_[node]->Open(now_).ok());
  }

  void TurnTook(std::chrono::steady_clock::time_point begun) {
    const std::chrono::duration<double, std::milli> took =
        std::chrono::steady_clock::now() - begun;
    longest_turn_ms_ = std::max(longest_turn_ms_, took.count());
  }

  const ShardOptions options_;
  const std::string directory_;
  const Placement placement_;
  std::array<std::unique_ptr<CountingStorage>, 2> storages_;
  std::array<std::unique_ptr<Shard>, 2> shards_;
  std::deque<std::pair<uint32_t, Message>> network_;
  Now now_{absl::Seconds(1), 1'700'000'000'000};
  uint64_t next_id_ = 1;
  uint64_t bytes_ = 0;
  uint64_t messages_ = 0;
  double longest_turn_ms_ = 0;
};

void Load(Pair& pair, uint32_t rows) {
  for (uint32_t i = 0; i < rows; ++i) {
    pair.Write(i, std::string(kValueBytes, 'a'));
    if (i % kTurn != kTurn - 1 && i != rows - 1) continue;
    pair.EndTurn(0);
    pair.DeliverAll();
    if (i % (64 * kTurn) == 64 * kTurn - 1) pair.Pass(absl::Seconds(1));
  }
  while (!pair.LogsEmpty()) pair.Pass(absl::Seconds(1));
}

void ForgetLogs(Pair& pair, uint32_t partitions) {
  for (uint32_t p = 0; p < partitions; ++p) {
    DOVETAIL_CHECK(
        pair.at(0).ForgetLog(PartitionId{static_cast<uint16_t>(p)}, {}).ok());
  }
  pair.EndTurn(0);
  pair.DropAll();
}

void Repair(const Arguments& arguments) {
  const sim::TemporaryDirectory directory;
  Pair pair(directory.path(), arguments.partitions);
  Load(pair, arguments.rows);
  DOVETAIL_CHECK(pair.Equal());
  std::mt19937_64 random(arguments.seed);
  const uint32_t different =
      std::max(1u, arguments.rows / 1000 * arguments.different_permille);
  for (uint32_t i = 0; i < different; ++i) {
    pair.Write(static_cast<uint32_t>(random() % arguments.rows),
               std::string(kValueBytes, 'b'));
    if (i % kTurn == kTurn - 1) {
      pair.EndTurn(0);
      pair.DropAll();
    }
  }
  pair.EndTurn(0);
  pair.DropAll();
  ForgetLogs(pair, arguments.partitions);
  DOVETAIL_CHECK(!pair.Equal());

  pair.ResetCounts();
  const double cpu = CpuSeconds();
  const auto begun = std::chrono::steady_clock::now();
  pair.at(1).StartRanges(NodeId{0}, pair.now());
  pair.EndTurn(1);
  pair.DeliverAll();
  while (!pair.Equal()) pair.Pass(absl::Milliseconds(100));
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begun;
  // Of one row as a source ships it: key, path, dot, stamp, value.
  const double row = 5 + 12 + kValueBytes + 30;
  std::printf("| %u | %u | %u | %.0f | %llu | %llu | %.2f | %.2f | %.2f |\n",
              arguments.rows, arguments.partitions, different,
              different * row / 1000,
              static_cast<unsigned long long>(pair.messages()),
              static_cast<unsigned long long>(pair.bytes() / 1000),
              static_cast<double>(pair.bytes()) / (different * row),
              took.count(), CpuSeconds() - cpu);
}

crdt::Operation OnSet(crdt::Verb verb, std::vector<std::string> elements) {
  crdt::Operation operation;
  operation.object = {"bench", "set", crdt::Type::kSet};
  operation.verb = verb;
  operation.elements = std::move(elements);
  return operation;
}

void PrintSetLine(const char* what, const Pair& pair, double seconds,
                  double cpu) {
  std::printf("| %s | %llu | %llu | %llu | %llu | %.1f | %.2f | %.2f |\n", what,
              static_cast<unsigned long long>(pair.messages()),
              static_cast<unsigned long long>(pair.bytes() / 1000),
              static_cast<unsigned long long>(pair.rows_read(0)),
              static_cast<unsigned long long>(pair.rows_read(1)),
              pair.longest_turn_ms(), seconds, cpu);
  std::fflush(stdout);
}

// One set of very many elements, of which a few differ.
void RepairSet(const Arguments& arguments) {
  const sim::TemporaryDirectory directory;
  Pair pair(directory.path(), 1);
  const auto name = [](uint32_t i) { return absl::StrCat("element-", i); };
  for (uint32_t i = 0; i < arguments.rows;) {
    std::vector<std::string> elements;
    for (int n = 0; n < kTurn && i < arguments.rows; ++n, ++i) {
      elements.push_back(name(i));
    }
    pair.Write(OnSet(crdt::Verb::kAdd, std::move(elements)));
    pair.EndTurn(0);
    pair.DeliverAll();
    if (i % (64 * kTurn) == 0) pair.Pass(absl::Seconds(1));
  }
  while (!pair.LogsEmpty()) pair.Pass(absl::Seconds(1));
  DOVETAIL_CHECK(pair.Equal());
  std::mt19937_64 random(arguments.seed);
  for (uint32_t i = 0; i < arguments.elements; ++i) {
    const bool adds = i % 2 == 0;
    pair.Write(
        adds ? OnSet(crdt::Verb::kAdd, {name(arguments.rows + i)})
             : OnSet(crdt::Verb::kRemove,
                     {name(static_cast<uint32_t>(random() % arguments.rows))}));
    pair.EndTurn(0);
    pair.DropAll();
  }
  ForgetLogs(pair, 1);
  DOVETAIL_CHECK(!pair.Equal());
  // So that neither has its rows in memory.
  for (uint32_t i = 0; i < 2; ++i) pair.Restart(i);
  pair.DropAll();

  pair.ResetCounts();
  double cpu = CpuSeconds();
  auto begun = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begun)
        .count();
  };
  pair.at(1).StartRanges(NodeId{0}, pair.now());
  pair.EndTurn(1);
  pair.DeliverAll();
  while (!pair.Equal()) pair.Pass(absl::Milliseconds(100));
  PrintSetLine("repair", pair, seconds(), CpuSeconds() - cpu);

  while (!pair.LogsEmpty()) pair.Pass(absl::Seconds(1));
  pair.ResetCounts();
  cpu = CpuSeconds();
  begun = std::chrono::steady_clock::now();
  const uint64_t before = pair.at(0).stats().scrubbed_leaves;
  while (pair.at(0).stats().scrubbed_leaves < before + 4096) {
    pair.Pass(absl::Seconds(1));
  }
  PrintSetLine("the scrub's pass", pair, seconds(), CpuSeconds() - cpu);
}

// Times what happens until it ends, and prints that.
class Stretch {
 public:
  explicit Stretch(const char* what)
      : what_(what),
        begun_(std::chrono::steady_clock::now()),
        cpu_(CpuSeconds()) {}
  void End(uint64_t rows, uint64_t bytes) const {
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - begun_;
    const double cpu = CpuSeconds() - cpu_;
    std::printf("| %s | %.2f | %.2f | %.2f | %.1f |\n", what_, took.count(),
                cpu, 1e6 * cpu / static_cast<double>(rows),
                static_cast<double>(bytes) / 1e6);
    std::fflush(stdout);
  }

 private:
  const char* const what_;
  const std::chrono::steady_clock::time_point begun_;
  const double cpu_;
};

uint64_t BytesIn(const std::string& directory) {
  uint64_t bytes = 0;
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(directory)) {
    if (file.is_regular_file()) bytes += file.file_size();
  }
  return bytes;
}

// All rows to an empty replica, and what is to be compared with that.
void Move(const Arguments& arguments) {
  const sim::TemporaryDirectory directory;
  ShardOptions options;
  options.transfer_bytes_per_second = 0;
  Pair pair(directory.path(), arguments.partitions, options);
  const uint64_t rows = arguments.rows;
  const Stretch written("written, by one replica alone");
  for (uint32_t i = 0; i < rows; ++i) {
    pair.Write(i, std::string(kValueBytes, 'a'));
    if (i % kTurn != kTurn - 1 && i != rows - 1) continue;
    pair.EndTurn(0);
    pair.DropAll();
  }
  ForgetLogs(pair, arguments.partitions);
  DOVETAIL_CHECK(pair.at(0).SyncToDisk().ok());
  written.End(rows, BytesIn(pair.DirectoryOf(0)));

  const Stretch restarted("restarted");
  pair.Restart(0);
  pair.DropAll();
  restarted.End(rows, 0);

  const Stretch copied("its files copied");
  std::filesystem::copy(pair.DirectoryOf(0), directory.path() + "/copy",
                        std::filesystem::copy_options::recursive);
  copied.End(rows, BytesIn(directory.path() + "/copy"));

  const Stretch ingested("its rows written to a table, and that taken in");
  ingested.End(rows, IngestAsTable(pair.storage(0), directory.path()));

  const Stretch vouched("all rows compared with the digest");
  DOVETAIL_CHECK(pair.at(0).VerifyDigests().ok());
  vouched.End(rows, 0);

  pair.ResetCounts();
  const Stretch filled("an empty replica filled by ranges, both sides");
  pair.at(1).StartRanges(NodeId{0}, pair.now());
  pair.EndTurn(1);
  pair.DeliverAll();
  while (!pair.Equal()) pair.Pass(absl::Milliseconds(1));
  filled.End(rows, pair.bytes());
}

// What two nodes with nothing to say do say.
void Idle(uint32_t partitions) {
  const sim::TemporaryDirectory directory;
  Pair pair(directory.path(), partitions);
  Load(pair, 10 * partitions);
  for (int i = 0; i < 200; ++i) pair.Pass(absl::Seconds(1));
  pair.ResetCounts();
  constexpr int kSeconds = 600;
  for (int i = 0; i < kSeconds; ++i) pair.Pass(absl::Seconds(1));
  std::printf("| %u | %llu | %.0f |\n", partitions,
              static_cast<unsigned long long>(pair.messages() / 2),
              static_cast<double>(pair.bytes()) / 2 / kSeconds);
}

int Main(int argc, char** argv) {
  CLI::App app("What repair costs.", "dovetail-repair-table");
  Arguments arguments;
  app.add_option("--rows", arguments.rows)->capture_default_str();
  app.add_option("--different-permille", arguments.different_permille)
      ->capture_default_str();
  app.add_option("--partitions", arguments.partitions)->capture_default_str();
  app.add_option("--seed", arguments.seed)->capture_default_str();
  bool idle = false;
  app.add_flag("--idle", idle, "what equal replicas say, not repair");
  bool move = false;
  app.add_flag("--move", move, "all rows to an empty replica, not repair");
  bool set = false;
  app.add_flag("--set", set, "the rows are the elements of one set");
  app.add_option("--elements", arguments.elements, "of the set that differ")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (set) {
    std::printf(
        "| a set of %u, %u differ | messages | KB | rows read by the source | "
        "by the other | longest turn, ms | s | CPU s |\n"
        "|---|---|---|---|---|---|---|---|\n",
        arguments.rows, arguments.elements);
    RepairSet(arguments);
  } else if (move) {
    std::printf(
        "| %u rows in %u partitions | s | CPU s | CPU µs a row | MB |\n"
        "|---|---|---|---|---|\n",
        arguments.rows, arguments.partitions);
    Move(arguments);
  } else if (idle) {
    std::printf(
        "| partitions | messages to one peer in 600 s | bytes/s to one peer "
        "|\n|---|---|---|\n");
    Idle(arguments.partitions);
  } else {
    std::printf(
        "| rows | partitions | rows that differ | their KB | messages | KB "
        "sent | sent / differing | s | CPU s |\n"
        "|---|---|---|---|---|---|---|---|---|\n");
    Repair(arguments);
  }
  return 0;
}

}  // namespace
}  // namespace dovetail::replica

int main(int argc, char** argv) { return dovetail::replica::Main(argc, argv); }
