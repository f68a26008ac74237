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
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "replica/hash.h"
#include "replica/keys.h"
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

}  // namespace
}  // namespace dovetail::replica
