// dovetail-micro: what the parts of a write cost, one at a time. Google
// Benchmark; times are CPU, and the figures of docs/benchmarks.md are its.
//
//   join, codec        a leaf, a delta
//   apply, hot/cold    a whole turn on RocksDB: mutate, apply, commit one delta
//                      of a register, its row in the cache or not
//   set, empty/large   add, contains and remove on a set of 0 and 1,000,000
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/delta.h"
#include "crdt/leaf.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"

namespace dovetail {
namespace {

using crdt::Dot;
using crdt::Leaf;
using crdt::Operation;
using crdt::Type;
using crdt::Verb;

constexpr crdt::ActorId kActor{1};

void BM_JoinLeaf(benchmark::State& state) {
  const Leaf mine(Dot{kActor, 7}, crdt::Stamped{{1, 0}, std::string(100, 'v')});
  const Leaf theirs(Dot{kActor, 8},
                    crdt::Stamped{{2, 0}, std::string(100, 'w')});
  crdt::EventSet mine_known;
  mine_known.InsertRun({kActor, 1, 7});
  crdt::EventSet theirs_known;
  theirs_known.InsertRun({kActor, 1, 8});
  for (auto _ : state) {
    Leaf leaf = mine;
    benchmark::DoNotOptimize(
        crdt::Join(leaf, mine_known, theirs, theirs_known));
  }
}
BENCHMARK(BM_JoinLeaf);

crdt::Delta RegisterDelta() {
  crdt::Delta delta;
  delta.events = {kActor, 8, 1};
  crdt::DeltaLeaf leaf;
  leaf.object = {"bench", "user1234567890", Type::kRegister};
  leaf.store =
      Leaf(Dot{kActor, 8}, crdt::Stamped{{2, 0}, std::string(100, 'w')});
  leaf.superseded = {Dot{kActor, 7}};
  delta.leaves.push_back(std::move(leaf));
  return delta;
}

void BM_EncodeDelta(benchmark::State& state) {
  const crdt::Delta delta = RegisterDelta();
  for (auto _ : state) benchmark::DoNotOptimize(delta.Encode());
}
BENCHMARK(BM_EncodeDelta);

void BM_DecodeDelta(benchmark::State& state) {
  const std::string bytes = RegisterDelta().Encode();
  for (auto _ : state) benchmark::DoNotOptimize(crdt::Delta::Decode(bytes));
}
BENCHMARK(BM_DecodeDelta);

// One shard of a cluster of one, on RocksDB in a directory of its own.
class OneNode {
 public:
  explicit OneNode(size_t cache_bytes) : placement_(1, 256) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "dovetail-micro-XXXXXX")
            .string();
    DOVETAIL_CHECK(mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    auto storage = replica::RocksStorage::Open(directory_ + "/db", {});
    DOVETAIL_CHECK(storage.ok());
    storage_ = *std::move(storage);
    DOVETAIL_CHECK(replica::RecordActor(*storage_, kActor).ok());
    options_.row_cache_bytes = cache_bytes;
    shard_ = std::make_unique<replica::Shard>(
        options_, placement_,
        replica::Shard::Identity{replica::NodeId{0}, kActor, 0, 1}, *storage_);
    DOVETAIL_CHECK(shard_->Open(replica::Now{}).ok());
  }
  ~OneNode() {
    shard_.reset();
    storage_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Add(Operation operation) {
    shard_->HandleRequest({replica::RequestId{++request_},
                           {},
                           replica::WriteRequest{{std::move(operation)}}},
                          now_);
  }
  void AddRead(crdt::ReadSpec spec) {
    shard_->HandleRequest({replica::RequestId{++request_},
                           {},
                           replica::ReadRequest{std::move(spec), {}}},
                          now_);
  }
  // Commits; every reply must be a success.
  void EndTurn() {
    now_.steady += absl::Microseconds(100);
    ++now_.wall_ms;
    const replica::Output output = shard_->EndTurn(now_);
    DOVETAIL_CHECK(output.fatal.ok());
    for (const replica::ClientReply& reply : output.replies) {
      DOVETAIL_CHECK(reply.body.ok());
    }
  }

 private:
  std::string directory_;
  replica::ShardOptions options_;
  replica::Placement placement_;
  std::unique_ptr<replica::RocksStorage> storage_;
  std::unique_ptr<replica::Shard> shard_;
  replica::Now now_{absl::ZeroDuration(), 1'700'000'000'000};
  uint64_t request_ = 0;
};

Operation WriteTo(uint64_t key) {
  Operation operation;
  operation.object = {"bench", absl::StrCat("user", key), Type::kRegister};
  operation.verb = Verb::kWrite;
  operation.value = std::string(100, 'v');
  return operation;
}

// 64 registers written in each turn, as a busy shard does. range(0): distinct
// keys; range(1): cache bytes. The state is built once for all repetitions.
void BM_ApplyRegister(benchmark::State& state) {
  OneNode node(static_cast<size_t>(state.range(1)));
  const auto keys = static_cast<uint64_t>(state.range(0));
  for (uint64_t key = 0; key < keys; ++key) {
    node.Add(WriteTo(key));
    if (key % 64 == 63) node.EndTurn();
  }
  node.EndTurn();
  uint64_t next = 0;
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) {
      next = (next * 6364136223846793005u + 1442695040888963407u);
      node.Add(WriteTo((next >> 33) % keys));
    }
    node.EndTurn();
  }
  state.SetItemsProcessed(state.iterations() * 64);
}
BENCHMARK(BM_ApplyRegister)
    ->ArgNames({"keys", "cache"})
    ->Args({1'000, 64 << 20})
    ->Args({300'000, 0})
    ->MeasureProcessCPUTime();

Operation ToSet(Verb verb, uint64_t element) {
  Operation operation;
  operation.object = {"bench", "set", Type::kSet};
  operation.verb = verb;
  operation.elements = {absl::StrCat("element", element)};
  return operation;
}

// Adds, probes and removes one element, each in a turn of its own, on a set
// that holds range(0) others.
void BM_SetAddContainsRemove(benchmark::State& state) {
  OneNode node(64 << 20);
  const auto others = static_cast<uint64_t>(state.range(0));
  Operation fill = ToSet(Verb::kAdd, 0);
  for (uint64_t done = 0; done < others;) {
    fill.elements.clear();
    for (int i = 0; i < 1000 && done < others; ++i, ++done) {
      fill.elements.push_back(absl::StrCat("other", done));
    }
    node.Add(fill);
    node.EndTurn();
  }
  crdt::ReadSpec probe;
  probe.object = {"bench", "set", Type::kSet};
  uint64_t next = 0;
  for (auto _ : state) {
    node.Add(ToSet(Verb::kAdd, next));
    node.EndTurn();
    probe.element = absl::StrCat("element", next);
    node.AddRead(probe);
    node.EndTurn();
    node.Add(ToSet(Verb::kRemove, next));
    node.EndTurn();
    ++next;
  }
  state.SetItemsProcessed(state.iterations() * 3);
}
BENCHMARK(BM_SetAddContainsRemove)
    ->ArgName("others")
    ->Arg(0)
    ->Arg(1'000'000)
    ->MeasureProcessCPUTime()
    ->Iterations(30'000);

}  // namespace
}  // namespace dovetail

BENCHMARK_MAIN();
