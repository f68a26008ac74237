// The small parts of replica/, each against its promise or a dumb twin.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/digest.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/log_entry.h"
#include "replica/quorum.h"
#include "replica/row_store.h"
#include "tests/sim/sim_disk.h"

namespace dovetail::replica {
namespace {

TEST_CASE("Quorum: the verdict equals that of counting, for every history") {
  // Every assignment of {success, failure, silence} to up to 4 replicas.
  int checked = 0;
  for (uint32_t asked = 1; asked <= 4; ++asked) {
    for (uint32_t required = 1; required <= asked; ++required) {
      uint32_t histories = 1;
      for (uint32_t i = 0; i < asked; ++i) histories *= 3;
      for (uint32_t history = 0; history < histories; ++history) {
        Tally tally(required);
        for (uint32_t i = 0; i < asked; ++i) tally.Ask(NodeId{i});
        uint32_t good = 0;
        uint32_t bad = 0;
        for (uint32_t i = 0, rest = history; i < asked; ++i, rest /= 3) {
          if (rest % 3 == 1) ++good, tally.AddSuccess(NodeId{i});
          if (rest % 3 == 2) ++bad, tally.AddFailure(NodeId{i});
        }
        const Verdict expected = good >= required         ? Verdict::kMet
                                 : asked - bad < required ? Verdict::kImpossible
                                                          : Verdict::kPending;
        CHECK(tally.verdict() == expected);
        ++checked;
      }
    }
  }
  CHECK(checked == 3 + 2 * 9 + 3 * 27 + 4 * 81);
}

TEST_CASE("Quorum: a node that answers twice counts once") {
  Tally tally(2);
  for (uint32_t i = 0; i < 3; ++i) tally.Ask(NodeId{i});
  CHECK(tally.AddSuccess(NodeId{1}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{1}) == Verdict::kPending);
  CHECK(tally.AddFailure(NodeId{1}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{2}) == Verdict::kMet);
}

TEST_CASE("Quorum: who was not asked counts for nothing") {
  Tally tally(1);
  tally.Ask(NodeId{0});
  CHECK(tally.AddSuccess(NodeId{7}) == Verdict::kPending);
  CHECK(tally.succeeded().empty());
}

TEST_CASE("Quorum: what looked impossible is possible with a stand-in") {
  Tally tally(2);
  tally.Ask(NodeId{0});
  tally.Ask(NodeId{1});
  CHECK(tally.AddFailure(NodeId{1}) == Verdict::kImpossible);
  CHECK(tally.Wants(0));
  tally.Ask(NodeId{2});
  CHECK(tally.verdict() == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{2}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{0}) == Verdict::kMet);
}

TEST_CASE("Quorum: an acknowledgement overrules the failure it was taken for") {
  Tally tally(1);
  tally.Ask(NodeId{0});
  CHECK(tally.AddFailure(NodeId{0}) == Verdict::kImpossible);
  CHECK(tally.AddSuccess(NodeId{0}) == Verdict::kMet);
}

TEST_CASE("Quorum: several demands are all to be met, each by its own") {
  Tally tally;
  const size_t east = tally.AddDemand(1);
  const size_t west = tally.AddDemand(2);
  tally.Ask(NodeId{0}, east);
  tally.Ask(NodeId{1}, east);
  tally.Ask(NodeId{2}, west);
  tally.Ask(NodeId{3}, west);
  tally.Ask(NodeId{4}, Tally::kNoDemand);
  CHECK(tally.AddSuccess(NodeId{4}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{0}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{1}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{2}) == Verdict::kPending);
  CHECK(tally.AddSuccess(NodeId{3}) == Verdict::kMet);
  CHECK(tally.required() == 3);
}

TEST_CASE("Hash: placement is fixed for ever, and tags put keys together") {
  // Changing any of these moves everybody's data.
  const Hash128 hash = HashKey("shop", "cart:1");
  CHECK(PartitionOfHash(hash, 1) == PartitionId{0});
  CHECK(Index(PartitionOfHash(hash, 256)) == hash.high >> 56);
  CHECK(HashKey("shop", "{u1}a") == HashKey("shop", "{u1}b"));
  CHECK(HashKey("shop", "{u1}a") == HashKey("shop", "x{u1}{u2}"));
  CHECK(HashKey("shop", "{u1}a") != HashKey("shap", "{u1}a"));
  CHECK(HashKey("shop", "{}a") != HashKey("shop", "{}b"));
  CHECK(HashKey("a", "bc") != HashKey("ab", "c"));
}

TEST_CASE("Hash: sums add and subtract modulo 2^128, with the carry") {
  const Hash128 a{1, ~uint64_t{0}};
  const Hash128 b{~uint64_t{0}, 1};
  CHECK(Add(a, b) == Hash128{1, 0});
  CHECK(Subtract(Add(a, b), b) == a);
  CHECK(Add(Subtract(Hash128{}, a), a) == Hash128{});
}

TEST_CASE("Keys: an object's rows are one range, and nothing else is in it") {
  const crdt::ObjectId set{"b", "k", crdt::Type::kSet};
  const ObjectKey key = MakeObjectKey(set);
  const std::string end = RangeEnd(key.prefix);
  for (const char* element : {"", "a", "\xff"}) {
    const std::string row = key.LeafKey(crdt::Path().Element(element));
    CHECK(row > key.HeaderKey());
    CHECK(row < end);
    auto parsed = ParseRowKey(row);
    REQUIRE(parsed.ok());
    CHECK(parsed->object == set);
    CHECK(parsed->path == crdt::Path().Element(element));
  }
  for (const crdt::ObjectId& other :
       {crdt::ObjectId{"b", "k", crdt::Type::kMap},
        crdt::ObjectId{"b", std::string("k\0", 2), crdt::Type::kSet},
        crdt::ObjectId{"b", "kk", crdt::Type::kSet}}) {
    const std::string header = MakeObjectKey(other).HeaderKey();
    CHECK((header < key.prefix || header >= end));
  }
}

TEST_CASE("Keys: every row of a partition lies in its range") {
  for (uint32_t partitions : {1u, 8u, 256u, 4096u}) {
    for (int i = 0; i < 200; ++i) {
      const std::string name = absl::StrCat("key", i);
      const KeyRange range =
          RowsOfPartition(PartitionOf("b", name, partitions), partitions);
      const std::string row =
          MakeObjectKey({"b", name, crdt::Type::kSet}).HeaderKey();
      CHECK(row >= range.begin);
      CHECK((range.end.empty() || row < range.end));
    }
  }
}

TEST_CASE("Keys: listings are in order of key, prefixes are ranges") {
  std::vector<std::string> names = {"a", "a\xff", "ab", "b",
                                    std::string("a\0b", 3)};
  const KeyRange range = IndexRange("shop", "a");
  std::sort(names.begin(), names.end());
  std::string last;
  for (const std::string& name : names) {
    const std::string key = IndexKey({"shop", name, crdt::Type::kSet});
    CHECK(key > last);
    last = key;
    CHECK((key >= range.begin && key < range.end) == (name[0] == 'a'));
  }
}

TEST_CASE("Digest: sums depend on payloads and cancel exactly") {
  const crdt::Leaf one(crdt::Dot{crdt::ActorId{1}, 1}, crdt::Value{"x"});
  const crdt::Leaf two(crdt::Dot{crdt::ActorId{1}, 1}, crdt::Value{"y"});
  SumChanges a;
  AddLeafChange("object", 7, crdt::Path(), crdt::Leaf(), one, a);
  SumChanges b;
  AddLeafChange("object", 7, crdt::Path(), crdt::Leaf(), two, b);
  REQUIRE(a.size() == 1);
  CHECK_FALSE(a == b);
  AddLeafChange("object", 7, crdt::Path(), one, two, a);
  CHECK(a == b);
  AddLeafChange("object", 7, crdt::Path(), two, crdt::Leaf(), a);
  CHECK(a.empty());
}

TEST_CASE("Log: an entry decodes to what was encoded, damage is DataLoss") {
  LogEntry entry;
  entry.events = {crdt::ActorId{5}, 9, 3};
  entry.sequence = 42;
  entry.changes[17] = {{1, 2}, -3};
  entry.delta = "delta bytes";
  const std::string key = LogKey(PartitionId{3}, {crdt::ActorId{5}, 9});
  const std::string value = EncodeLogValue(entry);
  auto decoded = DecodeLogEntry(key, value);
  REQUIRE(decoded.ok());
  CHECK(decoded->events == entry.events);
  CHECK(decoded->sequence == 42);
  CHECK(decoded->changes == entry.changes);
  CHECK(decoded->delta == entry.delta);
  for (size_t size = 0; size < value.size(); ++size) {
    CHECK(
        absl::IsDataLoss(DecodeLogEntry(key, value.substr(0, size)).status()));
  }
}

std::map<std::string, std::string> AllRows(RowStore& rows) {
  std::map<std::string, std::string> all;
  CHECK(rows.Scan("", "",
                  [&](absl::string_view key, absl::string_view value) {
                    all.emplace(key, value);
                    return true;
                  })
            .ok());
  return all;
}

TEST_CASE("RowStore: a turn reads its own writes, rolls back, commits whole") {
  sim::SimDisk disk;
  sim::SimStorage storage(disk);
  RowStore rows(storage, 1 << 20);
  rows.Put("a", "1");
  rows.Put("c", "3");
  REQUIRE(rows.Commit(CommitMode::kWritten).ok());
  rows.Put("b", "2");
  rows.Delete("c");
  rows.Mark();
  rows.Put("b", "two");
  rows.Delete("a");
  rows.Put("d", "4");
  rows.PutOther(Family::kLog, "log", "entry");
  CHECK(AllRows(rows) ==
        std::map<std::string, std::string>{{"b", "two"}, {"d", "4"}});
  rows.RollBack();
  const std::map<std::string, std::string> expected{{"a", "1"}, {"b", "2"}};
  CHECK(AllRows(rows) == expected);
  REQUIRE(rows.Commit(CommitMode::kWritten).ok());
  CHECK(AllRows(rows) == expected);
  CHECK(disk.keys(Family::kLog).empty());
  CHECK(**rows.Get("b") == "2");
  CHECK(*rows.Get("c") == nullptr);
}

TEST_CASE("RowStore: after a failed commit the cache tells what is on disk") {
  sim::SimDisk disk;
  sim::SimStorage storage(disk);
  RowStore rows(storage, 1 << 20);
  rows.Put("k", "old");
  REQUIRE(rows.Commit(CommitMode::kWritten).ok());
  disk.FailCommit(1, absl::ResourceExhaustedError("full"));
  rows.Put("k", "new");
  CHECK_FALSE(rows.Commit(CommitMode::kWritten).ok());
  CHECK(**rows.Get("k") == "old");
  CHECK_FALSE(rows.dirty());
}

TEST_CASE("RowCache: stays within its bytes and drops the least recent") {
  RowCache cache(4000);
  for (int i = 0; i < 100; ++i) {
    cache.Put(absl::StrCat("key", i), std::string(50, 'v'));
    CHECK(cache.Find("key0") != nullptr);  // kept hot
    CHECK(cache.bytes() <= 4000);
  }
  CHECK(cache.Find("key1") == nullptr);
  CHECK(cache.Find("key99") != nullptr);
  cache.Put("giant", std::string(3000, 'v'));
  CHECK(cache.Find("giant") == nullptr);
  CHECK(cache.Find("key0") != nullptr);
}

}  // namespace
}  // namespace dovetail::replica
