// Pieces of digest leaves (pieces.h): that they are those of the rows, whatever
// happens, as a slow twin makes them from what is on disk.
#include <doctest/doctest.h>

#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/partition.h"
#include "replica/range_question.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr PartitionId kZero{0};
constexpr crdt::Type kSet = crdt::Type::kSet;

ShardOptions Small() {
  ShardOptions options;
  options.inline_leaves_max = 4;
  options.big_leaf_rows = 16;
  options.piece_bits = 2;
  options.scrub_rows_per_round = 0;  // it is looked at when a test says so
  return options;
}

std::string Element(uint64_t i) { return absl::StrCat("e", i); }

std::vector<std::string> Elements(int first, int end) {
  std::vector<std::string> elements;
  for (int i = first; i < end; ++i) {
    elements.push_back(Element(static_cast<uint64_t>(i)));
  }
  return elements;
}

std::set<std::string> PieceKeys(Cluster& cluster, uint32_t node) {
  std::set<std::string> keys;
  const std::string prefix = PiecesPrefix(kZero);
  for (const auto& [key, value] : cluster.disk(node).keys(Family::kMeta)) {
    if (key.substr(0, prefix.size()) == prefix) keys.insert(key);
  }
  return keys;
}

// By the keys of pieces on disk: how many rows each has. The names of a set's
// elements are what decides; objects with few leaves have them in one row, so
// those have to be sets that are large.
std::map<std::string, uint64_t> RowsByPiece(Cluster& cluster, uint32_t node,
                                            int bits) {
  std::map<uint32_t, std::set<std::string>> by_leaf;
  for (const auto& [key, value] : cluster.disk(node).keys(Family::kRows)) {
    const auto parsed = ParseRowKey(key);
    REQUIRE(parsed.ok());
    if (!parsed->header) by_leaf[LeafOfRowKey(key, 1)].insert(key);
  }
  std::map<std::string, uint64_t> pieces;
  for (const auto& [leaf, rows] : by_leaf) {
    const std::string begin = RowsOfLeaves(kZero, 1, leaf, leaf + 1).begin;
    auto piece = pieces.emplace(PieceKey(kZero, leaf, begin), 0).first;
    for (const std::string& row : rows) {
      if ((HashBytes(row).low & ((1u << bits) - 1)) == 0) {
        piece = pieces.emplace(PieceKey(kZero, leaf, row), 0).first;
      }
      ++piece->second;
    }
  }
  return pieces;
}

// What the disk says about the same.
std::map<std::string, uint64_t> StoredPieces(Cluster& cluster, uint32_t node) {
  std::map<std::string, uint64_t> pieces;
  for (const std::string& key : PieceKeys(cluster, node)) {
    crdt::Reader in(cluster.disk(node).keys(Family::kMeta).at(key));
    in.ExpectVersion();
    ReadSum(in);
    pieces.emplace(key, in.Varint());
  }
  return pieces;
}

TEST_CASE("Pieces: a set that grows is cut where its rows say") {
  Cluster cluster(1, 1, Small());
  for (int i = 0; i < 200; ++i) {
    REQUIRE(cluster.Write(0, AddTo("k", Elements(i, i + 1))).ok());
    if (i <= 15) {
      CHECK(PieceKeys(cluster, 0).empty());
    } else {
      REQUIRE(StoredPieces(cluster, 0) == RowsByPiece(cluster, 0, 2));
    }
  }
  CHECK(PieceKeys(cluster, 0).size() > 20);
  CHECK(cluster.at(0).VerifyDigests().ok());
}

TEST_CASE("Pieces: a leaf that becomes small has none any more") {
  Cluster cluster(1, 1, Small());
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 30))).ok());
  REQUIRE_FALSE(PieceKeys(cluster, 0).empty());
  REQUIRE(cluster.Write(0, RemoveFrom("k", Elements(8, 30))).ok());
  CHECK_FALSE(PieceKeys(cluster, 0).empty());
  REQUIRE(cluster.Write(0, RemoveFrom("k", Elements(7, 8))).ok());
  CHECK(PieceKeys(cluster, 0).empty());
}

TEST_CASE("Pieces: replicas cut alike in whatever order they are told") {
  Cluster cluster(2, 1, Small());
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 100))).ok());
  REQUIRE(cluster.Write(1, AddTo("k", Elements(50, 150))).ok());
  REQUIRE(cluster.Write(0, RemoveFrom("k", Elements(20, 60))).ok());
  REQUIRE(cluster.Settle(50).has_value());
  CHECK(StoredPieces(cluster, 0) == StoredPieces(cluster, 1));
  CHECK(StoredPieces(cluster, 0) == RowsByPiece(cluster, 0, 2));
}

TEST_CASE("Pieces: a leaf that became big at once is divided step by step") {
  ShardOptions options = Small();
  options.divide_rows_per_round = 10;
  Cluster cluster(1, 1, options);
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 100))).ok());
  CHECK(PieceKeys(cluster, 0).empty());
  // Writes meanwhile fall before the cut, and behind it.
  for (int i = 0; i < 20; ++i) {
    cluster.Advance(absl::Seconds(1));
    REQUIRE(cluster.Write(0, AddTo("k", Elements(100 + i, 101 + i))).ok());
    REQUIRE(cluster.Write(0, RemoveFrom("k", Elements(3 * i, 3 * i + 1))).ok());
  }
  REQUIRE_FALSE(PieceKeys(cluster, 0).empty());
  CHECK(StoredPieces(cluster, 0) == RowsByPiece(cluster, 0, 2));
  CHECK(cluster.at(0).VerifyDigests().ok());
}

// A version that knew nothing of pieces has written meanwhile.
TEST_CASE("Pieces: what does not add up to the leaf is made anew") {
  Cluster cluster(1, 1, Small());
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 30))).ok());
  const std::set<std::string> keys = PieceKeys(cluster, 0);
  cluster.Crash(0);
  {
    sim::SimStorage storage(cluster.disk(0));
    WriteBatch batch;
    batch.Delete(Family::kMeta, *std::next(keys.begin()));
    REQUIRE(storage.Commit(batch, CommitMode::kSynced).ok());
  }
  REQUIRE(cluster.Start(0).ok());
  cluster.Advance(absl::Seconds(5));
  CHECK(PieceKeys(cluster, 0) == keys);
  CHECK(cluster.at(0).VerifyDigests().ok());
}

// Whatever row is lost or altered, a pass that looks at a few pieces at a time
// comes upon it.
TEST_CASE("Pieces: the scrub finds damage in any of them") {
  ShardOptions options = Small();
  options.scrub_rows_per_round = 4;
  Cluster cluster(2, 1, options);
  const std::string header = MakeObjectKey({"b", "k", kSet}).HeaderKey();
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 24))).ok());
  REQUIRE(cluster.Settle(50).has_value());
  const std::string stale = cluster.disk(1).keys(Family::kRows).at(header);
  REQUIRE(cluster.Write(0, AddTo("k", Elements(24, 30))).ok());
  REQUIRE(cluster.Settle(50).has_value());
  const std::string before = cluster.Show(0, kSet, "k");
  const auto rows = cluster.disk(1).keys(Family::kRows);
  REQUIRE(rows.size() == 31);
  const auto damaged = [&](const std::string& key,
                           std::optional<std::string> value) {
    CAPTURE(key);
    cluster.Crash(1);
    cluster.disk(1).Damage(key, std::move(value));
    REQUIRE(cluster.Start(1).ok());
    cluster.DeliverAll();
    REQUIRE_FALSE(cluster.at(1).VerifyDigests().ok());
    for (int i = 0; i < 2'000 && !cluster.at(1).VerifyDigests().ok(); ++i) {
      cluster.Advance(absl::Seconds(1));
      cluster.DeliverAll();
    }
    REQUIRE(cluster.Settle(50).has_value());
    CHECK(cluster.at(1).VerifyDigests() == absl::OkStatus());
    CHECK(cluster.Show(1, kSet, "k") == before);
  };
  for (const auto& [key, value] : rows) {
    damaged(key, std::nullopt);
    std::string other = value;
    other[0] = static_cast<char>(other[0] ^ 1);
    damaged(key, other);
  }
  damaged(header, stale);
}

TEST_CASE("Pieces: a pass of the scrub has few rows in each turn") {
  ShardOptions options = Small();
  options.scrub_rows_per_round = 4;
  Cluster cluster(1, 1, options);
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 200))).ok());
  cluster.Advance(absl::Seconds(2));
  const uint64_t before = cluster.at(0).stats().scrubbed_leaves;
  int rounds = 0;
  while (cluster.at(0).stats().scrubbed_leaves < before + 4096) {
    cluster.Advance(absl::Seconds(1));
    ++rounds;
  }
  // 4,095 empty leaves, four a round, and 200 rows in about 50 pieces.
  CHECK(rounds > 1024 + 15);
}

TEST_CASE("Pieces: random writes, crashes and failed turns keep them right") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    ShardOptions options = Small();
    options.inline_leaves_max = 1;
    options.big_leaf_rows = 2 + random() % 30;
    options.piece_bits = static_cast<int>(random() % 4);
    options.divide_rows_per_round = 1 + random() % 20;
    options.checkpoint_deltas = 1 + random() % 50;
    Cluster cluster(2, 1, options);
    for (int step = 0; step < 150; ++step) {
      const auto node = static_cast<uint32_t>(random() % 2);
      const int first = static_cast<int>(random() % 60);
      const int end = first + 1 + static_cast<int>(random() % 4);
      const uint64_t what = random() % 20;
      if (what < 9) {
        cluster.Write(node, AddTo("k", Elements(first, end))).IgnoreError();
      } else if (what < 14) {
        cluster.Write(node, RemoveFrom("k", Elements(first, end)))
            .IgnoreError();
      } else if (what == 14) {
        cluster.Crash(node, random() % 3);
        REQUIRE(cluster.Start(node).ok());
      } else if (what == 15) {
        cluster.disk(node).FailCommit(
            1, absl::ResourceExhaustedError("as if full"));
        cluster.Write(node, AddTo("k", Elements(first, end))).IgnoreError();
      } else if (what == 16) {
        cluster.Advance(absl::Seconds(1));
      } else {
        cluster.DeliverAll();
      }
      for (uint32_t i = 0; i < 2; ++i) {
        REQUIRE(cluster.at(i).VerifyDigests() == absl::OkStatus());
      }
    }
    REQUIRE(cluster.Settle(80).has_value());
    for (int i = 0; i < 20; ++i) cluster.Advance(absl::Seconds(1));
    for (uint32_t i = 0; i < 2; ++i) {
      if (PieceKeys(cluster, i).empty()) continue;
      CHECK(StoredPieces(cluster, i) ==
            RowsByPiece(cluster, i, options.piece_bits));
    }
  }
}

// The last row at `node` that begins a piece.
std::string LastBoundary(Cluster& cluster, uint32_t node) {
  std::string last;
  for (const auto& [key, value] : cluster.disk(node).keys(Family::kRows)) {
    if (!ParseRowKey(key)->header && (HashBytes(key).low & 3) == 0) last = key;
  }
  return last;
}

// Its process ends, the row before `key` is lost, and another process begins.
void LoseRowBefore(Cluster& cluster, uint32_t node, const std::string& key) {
  cluster.Crash(node);
  const auto& rows = cluster.disk(node).keys(Family::kRows);
  const std::string lost = std::prev(rows.lower_bound(key))->first;
  REQUIRE_FALSE(ParseRowKey(lost)->header);
  cluster.disk(node).Damage(lost, std::nullopt);
  REQUIRE(cluster.Start(node).ok());
  cluster.DeliverAll();
}

TEST_CASE("Pieces: one that lost a row is not cut") {
  Cluster cluster(2, 1, Small());
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 30))).ok());
  // A row that begins a piece goes, and with it that piece; then one of the
  // piece before is lost, and it comes back.
  const std::string key = LastBoundary(cluster, 0);
  int boundary = -1;
  for (int i = 0; i < 30; ++i) {
    const ObjectKey object = MakeObjectKey({"b", "k", kSet});
    const auto its = crdt::Path().Element(Element(static_cast<uint64_t>(i)));
    if (object.LeafKey(its) == key) boundary = i;
  }
  REQUIRE(boundary >= 0);
  REQUIRE(
      cluster.Write(0, RemoveFrom("k", Elements(boundary, boundary + 1))).ok());
  REQUIRE(cluster.Settle(50).has_value());
  LoseRowBefore(cluster, 0, key);
  REQUIRE(cluster.Write(0, AddTo("k", Elements(boundary, boundary + 1))).ok());
  CHECK(cluster.at(0).stats().quarantined == 1);
  cluster.Scrub(0);
  REQUIRE(cluster.Settle(50).has_value());
  CHECK(cluster.at(0).VerifyDigests() == absl::OkStatus());
  CHECK(cluster.Show(0, kSet, "k") == cluster.Show(1, kSet, "k"));
}

TEST_CASE("Pieces: a leaf that lost a row is not divided") {
  Cluster cluster(2, 1, Small());
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 100))).ok());
  REQUIRE(cluster.Settle(50).has_value());
  cluster.Crash(0);
  {
    sim::SimStorage storage(cluster.disk(0));
    WriteBatch batch;
    for (const std::string& key : PieceKeys(cluster, 0)) {
      batch.Delete(Family::kMeta, key);
    }
    REQUIRE(storage.Commit(batch, CommitMode::kSynced).ok());
  }
  REQUIRE(cluster.Start(0).ok());
  LoseRowBefore(cluster, 0, LastBoundary(cluster, 0));
  for (int i = 0; i < 5; ++i) cluster.Advance(absl::Seconds(1));
  CHECK(cluster.at(0).stats().corruptions + cluster.at(0).stats().quarantined >
        0);
  cluster.Scrub(0);
  REQUIRE(cluster.Settle(50).has_value());
  CHECK(cluster.at(0).VerifyDigests() == absl::OkStatus());
  CHECK(cluster.Show(0, kSet, "k") == cluster.Show(1, kSet, "k"));
}

TEST_CASE("Pieces: a source does not answer from where it has lost a row") {
  Cluster cluster(3, 1, Small());
  REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 30))).ok());
  REQUIRE(cluster.Settle(50).has_value());
  const std::string all = cluster.Show(0, kSet, "k");
  LoseRowBefore(cluster, 0, LastBoundary(cluster, 0));
  cluster.Crash(1);
  cluster.disk(1).Wipe();
  REQUIRE(cluster.Start(1).ok());
  cluster.network().clear();
  cluster.StartRanges(1, 0);
  cluster.DeliverAll();
  CHECK(cluster.at(0).stats().quarantined == 1);
  cluster.Scrub(0);
  REQUIRE(cluster.Settle(100).has_value());
  CHECK(cluster.Show(0, kSet, "k") == all);
  CHECK(cluster.Show(1, kSet, "k") == all);
}

// What was asked row by row, and by sums, in a sync by ranges that `cluster`
// begins.
struct Asked {
  size_t rows = 0;
  size_t cuts = 0;
};
Asked DeliverAndCount(Cluster& cluster) {
  Asked asked;
  while (!cluster.network().empty()) {
    const Message& message = cluster.network().front().message;
    if (const auto* query = std::get_if<RangeQuery>(&message.body)) {
      for (const RangeAsk& ask : query->asks) {
        if (std::holds_alternative<AskRows>(ask)) asked.rows += PrintsIn(ask);
        if (std::holds_alternative<AskCuts>(ask)) asked.cuts += PrintsIn(ask);
      }
    }
    cluster.Deliver(0);
  }
  return asked;
}

TEST_CASE(
    "Pieces: of a large set that differs in one element few rows are read") {
  ShardOptions options = Small();
  options.big_leaf_rows = 100;
  options.piece_bits = 4;
  Cluster cluster(2, 1, options);
  for (int i = 0; i < 3000; i += 100) {
    REQUIRE(cluster.Write(0, AddTo("k", Elements(i, i + 100))).ok());
  }
  REQUIRE(cluster.Settle(80).has_value());
  for (int i = 0; i < 10; ++i) cluster.Advance(absl::Seconds(1));
  REQUIRE(PieceKeys(cluster, 0).size() > 100);
  REQUIRE(cluster.Write(0, AddTo("k", {"other"})).ok());
  cluster.network().clear();
  cluster.ForgetLog(0);
  cluster.StartRanges(1, 0);
  const Asked asked = DeliverAndCount(cluster);
  CHECK(cluster.Show(1, kSet, "k") == cluster.Show(0, kSet, "k"));
  // Of near 190 pieces three or four make a cut, and one has about 16 rows.
  CHECK(asked.rows < 150);
  CHECK(asked.cuts > 40);
  CHECK(asked.cuts < 64 + 8);
}

TEST_CASE("Pieces: replicas that cut otherwise become equal all the same") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    ShardOptions options = Small();
    options.big_leaf_rows = 4 + random() % 30;
    options.piece_bits = static_cast<int>(random() % 4);
    options.range_chunk_bytes = random() % 2 == 0 ? 1 : 64 << 10;
    Cluster cluster(2, 1, options);
    REQUIRE(cluster.Write(0, AddTo("k", Elements(0, 60))).ok());
    REQUIRE(cluster.Settle(80).has_value());
    // Each changes what the other does not hear of, and no log has.
    for (int i = 0; i < 40; ++i) {
      const auto node = static_cast<uint32_t>(random() % 2);
      const int at = static_cast<int>(random() % 80);
      if (random() % 2 == 0) {
        cluster.Write(node, AddTo("k", Elements(at, at + 1))).IgnoreError();
      } else {
        cluster.Write(node, RemoveFrom("k", Elements(at, at + 1)))
            .IgnoreError();
      }
      cluster.network().clear();
    }
    cluster.ForgetLog(0);
    cluster.ForgetLog(1);
    for (int i = 0; i < 20 && cluster.Differences() != ""; ++i) {
      cluster.StartRanges(1, 0);
      cluster.DeliverAll();
      cluster.StartRanges(0, 1);
      cluster.DeliverAll();
      cluster.Advance(absl::Seconds(3));
      cluster.DeliverAll();
    }
    CHECK(cluster.Differences() == "");
    for (uint32_t i = 0; i < 2; ++i) {
      CHECK(cluster.at(i).VerifyDigests() == absl::OkStatus());
    }
  }
}

// A partition by itself, of one set of 60 elements.
struct Alone {
  ShardOptions options;
  sim::SimDisk disk;
  sim::SimStorage storage{disk};
  RowStore rows{storage, 0};
  Partition partition;

  explicit Alone(uint64_t big_leaf_rows)
      : options(Small()),
        partition(kZero, 1, crdt::MakeActorId(crdt::ActorKind::kNode, 1),
                  options, rows, storage) {
    options.big_leaf_rows = big_leaf_rows;
    const crdt::Operation add = AddTo("k", Elements(0, 60));
    REQUIRE(partition.Load().ok());
    REQUIRE(partition
                .Mutate({&add, 1}, crdt::Path(),
                        [](crdt::Timestamp stamp) { return stamp; })
                .ok());
    partition.FlushTurn();
    REQUIRE(rows.Commit(CommitMode::kWritten).ok());
  }
};

// Who has no pieces would have to read all rows for an answer.
TEST_CASE("Pieces: what would take too many rows is said to differ") {
  Alone asks(30);
  Alone answers(1'000);
  const uint32_t leaf =
      LeafOfRowKey(MakeObjectKey({"b", "k", kSet}).HeaderKey(), 1);
  const auto question = asks.partition.Ask(
      RowsOfLeaves(kZero, 1, leaf, leaf + 1), 7, kPrintBytesShort);
  REQUIRE(question.ok());
  REQUIRE(std::holds_alternative<AskCuts>(question->ask));
  const size_t cuts = PrintsIn(question->ask);
  REQUIRE(cuts > 5);
  uint64_t rows = 1'000;
  const auto all = answers.partition.Answer(question->ask, 7, 1'000, rows);
  REQUIRE(all.ok());
  CHECK(all->differ.empty());
  CHECK(rows == 1'000 - 60);
  rows = 20;
  const auto some = answers.partition.Answer(question->ask, 7, 1'000, rows);
  REQUIRE(some.ok());
  CHECK(rows == 0);
  CHECK(some->differ.size() > 0);
  CHECK(some->differ.size() < cuts);
  CHECK(some->differ.back() == cuts - 1);
  CHECK(IsEqualIndeed(*question, *some, 7));
  // Who has them reads none.
  rows = 0;
  const auto pieces = asks.partition.Answer(question->ask, 7, 1'000, rows);
  REQUIRE(pieces.ok());
  CHECK(pieces->differ.empty());
}

}  // namespace
}  // namespace dovetail::replica
