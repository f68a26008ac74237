// What is left of what was removed: nothing. A set gets elements and loses them
// all again, one write each; then nothing happens for a while.
//
//   DOVETAIL_SPACE_OPERATIONS=1000000 build/dev/bin/replica_space_tests
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "replica/rocks_storage.h"
#include "replica/shard.h"
#include "tests/sim/fault_disk.h"
#include "tests/sim/rocks_disk.h"

namespace dovetail::replica {
namespace {

constexpr uint32_t kPartitions = 4;
// Writes of one turn, as under load.
constexpr int kTurn = 256;

int Operations() {
  int operations = 20'000;
  if (const char* said = std::getenv("DOVETAIL_SPACE_OPERATIONS")) {
    REQUIRE(absl::SimpleAtoi(said, &operations));
  }
  return operations;
}

class Loader {
 public:
  explicit Loader(Storage& storage)
      : placement_(1, kPartitions), shard_(options_, placement_, {}, storage) {
    REQUIRE(shard_.Open(now_).ok());
  }

  // One write for each of `count` elements.
  void Run(crdt::Verb verb, int count) {
    for (int i = 0; i < count; ++i) {
      crdt::Operation operation;
      operation.object = {"b", "set", crdt::Type::kSet};
      operation.verb = verb;
      operation.elements = {absl::StrCat("element-", i)};
      ClientRequest request;
      request.id = RequestId{next_id_++};
      WriteRequest write;
      write.operations = {std::move(operation)};
      request.body = std::move(write);
      shard_.HandleRequest(std::move(request), now_);
      if (i % kTurn == kTurn - 1 || i == count - 1) EndTurn();
    }
  }
  // Until truncation and checkpoints have nothing left to do.
  void Rest() {
    uint64_t entries = 1;
    for (int second = 0; second < 2000 && entries > 0; ++second) {
      Pass(absl::Seconds(1));
      entries = 0;
      for (const auto& digest : shard_.Digests()) entries += digest.log_entries;
    }
    for (int second = 0; second < 5; ++second) Pass(absl::Seconds(1));
  }
  Shard& shard() { return shard_; }

 private:
  void Pass(absl::Duration time) {
    now_.steady += time;
    shard_.HandleTimers(now_);
    EndTurn();
  }
  void EndTurn() {
    now_.steady += absl::Milliseconds(5);
    if (now_.steady >= shard_.next_deadline()) shard_.HandleTimers(now_);
    for (const ClientReply& reply : shard_.EndTurn(now_).replies) {
      REQUIRE_MESSAGE(reply.body.ok(), reply.body.status().ToString());
    }
  }

  const ShardOptions options_;
  const Placement placement_;
  Now now_{absl::Seconds(1), 1'700'000'000'000};
  Shard shard_;
  uint64_t next_id_ = 1;
};

struct Kept {
  uint64_t keys = 0;
  uint64_t bytes = 0;
};

Kept Count(Storage& storage, Family family) {
  Kept kept;
  REQUIRE(storage
              .Scan(family, "", "",
                    [&](absl::string_view key, absl::string_view value) {
                      ++kept.keys;
                      kept.bytes += key.size() + value.size();
                      return true;
                    })
              .ok());
  return kept;
}

TEST_CASE("Space: of a set that lost all its elements nothing is left") {
  const sim::TemporaryDirectory root;
  const std::string directory = root.path() + "/data";
  const int operations = Operations();
  size_t context_bytes = 0;
  {
    auto opened = RocksStorage::Open(directory, RocksOptions());
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    RocksStorage& storage = **opened;
    Loader loader(storage);
    loader.Run(crdt::Verb::kAdd, operations);
    const Kept full = Count(storage, Family::kRows);
    REQUIRE(full.keys >= static_cast<uint64_t>(operations));
    loader.Run(crdt::Verb::kRemove, operations);
    loader.Rest();
    CHECK(Count(storage, Family::kRows).keys == 0);
    CHECK(Count(storage, Family::kIndex).keys == 0);
    CHECK(Count(storage, Family::kLog).keys == 0);
    const Kept meta = Count(storage, Family::kMeta);
    for (uint32_t p = 0; p < kPartitions; ++p) {
      const crdt::Context& context =
          loader.shard().ContextOf(PartitionId{static_cast<uint16_t>(p)});
      CHECK(context.superseded.empty());
      context_bytes = std::max(context_bytes, context.applied.Encode().size());
    }
    CHECK(context_bytes <= 64);  // one actor
    MESSAGE(operations << " elements added and removed: rows had " << full.bytes
                       << " bytes; now none, meta " << meta.keys << " keys, "
                       << meta.bytes << " bytes; a context " << context_bytes);
    REQUIRE(storage.Sync().ok());
  }
  const absl::StatusOr<uint64_t> bytes = sim::CompactedBytes(directory);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().ToString());
  MESSAGE("all tables after compaction: " << *bytes << " bytes");
  CHECK(*bytes <= (10 << 10));
}

}  // namespace
}  // namespace dovetail::replica
