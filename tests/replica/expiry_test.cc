// Objects that expire: hidden by time at every replica, removed by one of them.
#include <doctest/doctest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "replica/keys.h"
#include "replica/peer_clocks.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using crdt::Operation;
using crdt::Type;
using crdt::Verb;
using InFlight = Cluster::InFlight;

Operation ExpireIn(Type type, std::string key, absl::Duration in) {
  Operation operation = Op(type, Verb::kExpireIn, std::move(key));
  operation.amount = absl::ToInt64Milliseconds(in);
  return operation;
}
Operation Persist(Type type, std::string key) {
  return Op(type, Verb::kPersist, std::move(key));
}

crdt::ReadResult ReadSet(Cluster& cluster, uint32_t node, std::string key) {
  crdt::ReadSpec spec;
  spec.object = {"b", std::move(key), Type::kSet};
  auto result = cluster.Read(node, spec);
  REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  return *std::move(result);
}

// Writes at `node` and lets everybody have it, the clocks too.
void WriteEverywhere(Cluster& cluster, uint32_t node, Operation operation) {
  REQUIRE(cluster.Write(node, std::move(operation)).ok());
  cluster.DeliverAll();
}
void WriteExpiring(Cluster& cluster, std::string key, absl::Duration in) {
  WriteEverywhere(cluster, 0, AddTo(key, {"x", "y"}));
  WriteEverywhere(cluster, 0, ExpireIn(Type::kSet, key, in));
}

// Time with timers and messages, in steps of a second.
void Live(Cluster& cluster, int seconds) {
  for (int i = 0; i < seconds; ++i) {
    cluster.Advance(absl::Seconds(1));
    cluster.DeliverAll();
  }
}

uint64_t Removed(Cluster& cluster) {
  uint64_t removed = 0;
  for (uint32_t node = 0; node < cluster.size(); ++node) {
    removed += cluster.at(node).stats().expired_removed;
  }
  return removed;
}

uint64_t Rows(Cluster& cluster, uint32_t node) {
  uint64_t rows = 0;
  for (const PartitionDigest& digest : cluster.at(node).Digests()) {
    rows += digest.row_entries;
  }
  return rows;
}

size_t ExpiryEntries(Cluster& cluster, uint32_t node) {
  size_t entries = 0;
  for (const auto& [key, value] : cluster.disk(node).keys(Family::kMeta)) {
    entries += key.starts_with('p') && key[3] == 'E' ? 1 : 0;
  }
  return entries;
}

TEST_CASE(
    "Expiry: it is hidden at its time by every replica, and nothing else "
    "happens then") {
  Cluster cluster(3);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x, y}");
  CHECK(ReadSet(cluster, 1, "k").expires_ms > 0);
  const std::vector<PartitionDigest> before = cluster.at(1).Digests();
  Live(cluster, 6);
  for (uint32_t node = 0; node < 3; ++node) {
    CHECK(cluster.Show(node, Type::kSet, "k") == "{}");
    CHECK(ReadSet(cluster, node, "k").expired);
  }
  CHECK(cluster.at(1).Digests().front().rows == before.front().rows);
  CHECK(Removed(cluster) == 0);
}

TEST_CASE("Expiry: one owner removes it, and nothing of it is left") {
  Cluster cluster(3, 4);
  for (int i = 0; i < 8; ++i) {
    WriteExpiring(cluster, absl::StrCat("k", i), absl::Seconds(5));
  }
  CHECK(ExpiryEntries(cluster, 1) == 8);
  Live(cluster, 25);
  CHECK(Removed(cluster) == 8);
  for (uint32_t node = 0; node < 3; ++node) {
    CHECK(Rows(cluster, node) == 0);
    CHECK(ExpiryEntries(cluster, node) == 0);
    CHECK(cluster.disk(node).keys(Family::kIndex).empty());
    CHECK(cluster.disk(node).keys(Family::kRows).empty());
  }
  CHECK(cluster.Settle().has_value());
}

TEST_CASE("Expiry: without it nothing is hidden and nothing removed") {
  Cluster cluster(3);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  WriteEverywhere(cluster, 1, Persist(Type::kSet, "k"));
  CHECK(ExpiryEntries(cluster, 0) == 0);
  Live(cluster, 30);
  CHECK(cluster.Show(2, Type::kSet, "k") == "{x, y}");
  CHECK(Removed(cluster) == 0);
}

TEST_CASE("Expiry: what is set anew before its time lives on") {
  Cluster cluster(3);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  WriteEverywhere(cluster, 1, ExpireIn(Type::kSet, "k", absl::Seconds(60)));
  Live(cluster, 30);
  CHECK(cluster.Show(2, Type::kSet, "k") == "{x, y}");
  Live(cluster, 60);
  CHECK(Removed(cluster) == 1);
  CHECK(Rows(cluster, 2) == 0);
}

TEST_CASE("Expiry: of settings made apart the longest holds") {
  Cluster cluster(2);
  WriteEverywhere(cluster, 0, AddTo("k", {"x"}));
  REQUIRE(cluster.Write(0, ExpireIn(Type::kSet, "k", absl::Seconds(5))).ok());
  REQUIRE(cluster.Write(1, ExpireIn(Type::kSet, "k", absl::Seconds(50))).ok());
  Live(cluster, 30);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
  CHECK(cluster.Show(1, Type::kSet, "k") == "{x}");
  CHECK(Removed(cluster) == 0);
}

TEST_CASE("Expiry: an extension that the first owner has missed holds") {
  // Node 0 is the first owner; it hears of nobody while the time is extended,
  // but has heard that its clock is right.
  Cluster cluster(3);
  Live(cluster, 2);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  cluster.Part(0, 1);
  cluster.Part(0, 2);
  REQUIRE(cluster.Write(1, ExpireIn(Type::kSet, "k", absl::Seconds(600))).ok());
  const auto cut = [](const InFlight& item) {
    return item.from == NodeId{0} || item.to == NodeId{0};
  };
  for (int i = 0; i < 30; ++i) {
    cluster.Advance(absl::Seconds(1));
    cluster.DeliverAll(cut);
    cluster.network().clear();
  }
  // It shows what it knows, but a quorum it cannot ask.
  CHECK(cluster.at(0).stats().expiry_held_back == 0);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{}");
  CHECK(Removed(cluster) == 0);
  cluster.Meet(0, 1);
  cluster.Meet(0, 2);
  Live(cluster, 5);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x, y}");
  CHECK(Removed(cluster) == 0);
}

TEST_CASE("Expiry: a write brings nothing back that has expired") {
  Cluster cluster(3);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  Live(cluster, 6);
  WriteEverywhere(cluster, 1, AddTo("k", {"z"}));
  for (uint32_t node = 0; node < 3; ++node) {
    CHECK(cluster.Show(node, Type::kSet, "k") == "{z}");
    CHECK(ReadSet(cluster, node, "k").expires_ms == 0);
  }
  Live(cluster, 30);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{z}");
}

TEST_CASE("Expiry: a write to a large object removes it in parts first") {
  ShardOptions options;
  Cluster cluster(1, 1, options);
  for (int i = 0; i < 3; ++i) {
    std::vector<std::string> elements;
    for (int j = 0; j < 900; ++j) elements.push_back(absl::StrCat(i, "-", j));
    REQUIRE(cluster.Write(0, AddTo("k", std::move(elements))).ok());
  }
  REQUIRE(cluster.Write(0, ExpireIn(Type::kSet, "k", absl::Seconds(5))).ok());
  cluster.Advance(absl::Seconds(6));
  const RequestId id = cluster.Begin(0, {AddTo("k", {"z"})});
  for (int i = 0; i < 5; ++i) cluster.Advance(absl::Milliseconds(1));
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  CHECK(std::get<WriteReply>(*reply->body).deltas == 4);
  CHECK_FALSE(std::get<WriteReply>(*reply->body).not_observed.front());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{z}");
}

TEST_CASE("Expiry: an operation with an id finds an object that is gone") {
  Cluster cluster(1);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  cluster.Advance(absl::Seconds(6));
  crdt::SessionWriter writer(crdt::MakeActorId(crdt::ActorKind::kSession, 7));
  const auto prepared = writer.Prepare({AddTo("k", {"z"})}, {1, 0});
  REQUIRE(prepared.ok());
  for (int attempt = 0; attempt < 2; ++attempt) {
    const RequestId id = cluster.BeginOnce(0, *prepared);
    for (int i = 0; i < 3; ++i) cluster.Advance(absl::Milliseconds(1));
    const auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE(reply->body.ok());
    CHECK(cluster.Show(0, Type::kSet, "k") == "{z}");
  }
}

TEST_CASE("Expiry: a concurrent write survives the removal") {
  Cluster cluster(3);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  cluster.Part(2, 0);
  cluster.Part(2, 1);
  REQUIRE(cluster.Write(2, AddTo("k", {"z"})).ok());
  const auto cut = [](const InFlight& item) {
    return item.from == NodeId{2} || item.to == NodeId{2};
  };
  for (int i = 0; i < 25; ++i) {
    cluster.Advance(absl::Seconds(1));
    cluster.DeliverAll(cut);
    cluster.network().clear();
  }
  CHECK(Removed(cluster) == 1);
  cluster.Meet(2, 0);
  cluster.Meet(2, 1);
  Live(cluster, 5);
  for (uint32_t node = 0; node < 3; ++node) {
    CHECK(cluster.Show(node, Type::kSet, "k") == "{z}");
    CHECK(ReadSet(cluster, node, "k").expires_ms == 0);
  }
}

TEST_CASE("Expiry: one wrong clock expires nothing") {
  for (const absl::Duration off : {absl::Hours(10), -absl::Hours(10)}) {
    CAPTURE(absl::FormatDuration(off));
    Cluster cluster(3);
    cluster.SetClock(0, off);
    Live(cluster, 3);
    // Its clock is not the one by which the time is set, either.
    WriteExpiring(cluster, "k", absl::Seconds(60));
    Live(cluster, 30);
    for (uint32_t node = 0; node < 3; ++node) {
      CHECK(cluster.Show(node, Type::kSet, "k") == "{x, y}");
    }
    CHECK(Removed(cluster) == 0);
    // Nor does it hold up what has expired by the others' clocks; but as the
    // first owner it removes nothing, and says so.
    Live(cluster, 60);
    for (uint32_t node = 0; node < 3; ++node) {
      CHECK(cluster.Show(node, Type::kSet, "k") == "{}");
    }
    CHECK(Removed(cluster) == 0);
    CHECK(cluster.at(0).stats().expiry_held_back == 1);
    cluster.SetClock(0, absl::ZeroDuration());
    Live(cluster, 5);
    CHECK(Removed(cluster) == 1);
    CHECK(cluster.at(0).stats().expiry_held_back == 0);
  }
}

TEST_CASE("Expiry: two clocks that differ remove nothing between them") {
  Cluster cluster(2);
  WriteExpiring(cluster, "k", absl::Seconds(60));
  cluster.SetClock(0, absl::Hours(10));
  Live(cluster, 30);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x, y}");
  CHECK(cluster.Show(1, Type::kSet, "k") == "{x, y}");
  Live(cluster, 60);
  CHECK(Removed(cluster) == 0);
}

TEST_CASE("Expiry: a node that nobody confirms writes to nothing expired") {
  Cluster cluster(3);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  cluster.Crash(1);
  REQUIRE(cluster.Start(1).ok());
  cluster.network().clear();
  cluster.Part(1, 0);
  cluster.Part(1, 2);
  cluster.Advance(absl::Seconds(6));
  cluster.network().clear();
  const auto refused = cluster.Write(1, AddTo("k", {"z"}));
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
  REQUIRE(cluster.Write(1, AddTo("other", {"z"})).ok());
}

TEST_CASE("Expiry: listings show nothing that has expired") {
  Cluster cluster(3);
  WriteExpiring(cluster, "a", absl::Seconds(5));
  WriteEverywhere(cluster, 0, AddTo("b", {"x"}));
  const auto list = [&](uint32_t node, uint32_t r) {
    ListRequest request;
    request.bucket = "b";
    const RequestId id = cluster.BeginList(node, request, Cluster::R(r));
    cluster.DeliverAll();
    const auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE(reply->body.ok());
    std::string names;
    for (const auto& object : std::get<ListReply>(*reply->body).objects) {
      names += object.key;
    }
    return names;
  };
  CHECK(list(1, 1) == "ab");
  Live(cluster, 6);
  CHECK(list(1, 1) == "b");
  CHECK(list(2, 3) == "b");
  WriteEverywhere(cluster, 0, AddTo("a", {"z"}));
  CHECK(list(1, 2) == "ab");
}

TEST_CASE("Expiry: it outlives restarts") {
  Cluster cluster(1);
  WriteExpiring(cluster, "k", absl::Seconds(5));
  cluster.Crash(0);
  REQUIRE(cluster.Start(0).ok());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x, y}");
  Live(cluster, 25);
  CHECK(Removed(cluster) == 1);
  CHECK(Rows(cluster, 0) == 0);
}

TEST_CASE("Expiry: a large object is removed in parts, last its time") {
  ShardOptions options;
  options.expiry_grace = absl::Seconds(10);
  Cluster cluster(3, 1, options);
  for (int i = 0; i < 3; ++i) {
    std::vector<std::string> elements;
    for (int j = 0; j < 900; ++j) elements.push_back(absl::StrCat(i, "-", j));
    WriteEverywhere(cluster, 0, AddTo("k", std::move(elements)));
  }
  WriteEverywhere(cluster, 0, ExpireIn(Type::kSet, "k", absl::Seconds(5)));
  for (int i = 0; i < 40; ++i) {
    cluster.Advance(absl::Milliseconds(500));
    if (i > 12) CHECK(cluster.Show(1, Type::kSet, "k") == "{}");
    cluster.DeliverAll();
  }
  CHECK(Rows(cluster, 1) == 0);
  CHECK(Rows(cluster, 0) == 0);
}

TEST_CASE("Expiry: no more than so many objects are removed in a round") {
  ShardOptions options;
  options.expiry_objects_per_round = 3;
  Cluster cluster(1, 2, options);
  for (int i = 0; i < 10; ++i) {
    WriteExpiring(cluster, absl::StrCat("k", i), absl::Seconds(1));
  }
  Live(cluster, 11);
  uint64_t before = Removed(cluster);
  for (int i = 0; i < 6; ++i) {
    Live(cluster, 1);
    CHECK(Removed(cluster) - before <= 3);
    before = Removed(cluster);
  }
  CHECK(before == 10);
}

TEST_CASE("Expiry: a stand-in that hands over forgets the times too") {
  std::vector<Placement::Member> members;
  Placement::Row row;
  row.owners = 3;
  for (uint32_t i = 0; i < 4; ++i) {
    members.push_back({NodeId{i}, absl::StrCat(i), "", ""});
    row.nodes.push_back(NodeId{i});
  }
  Cluster cluster(Placement(1, members, {row}), {});
  cluster.Part(0, 1);
  cluster.Part(0, 2);
  const auto cut = [](const InFlight& item) {
    return item.to == NodeId{1} || item.to == NodeId{2};
  };
  cluster.Begin(
      0, {AddTo("k", {"x"}), ExpireIn(Type::kSet, "k", absl::Seconds(600))},
      Cluster::W(2));
  cluster.DeliverAll(cut);
  CHECK(ExpiryEntries(cluster, 3) == 1);
  cluster.Meet(0, 1);
  cluster.Meet(0, 2);
  Live(cluster, 10);
  CHECK(ExpiryEntries(cluster, 3) == 0);
  CHECK(Rows(cluster, 3) == 0);
  CHECK(ExpiryEntries(cluster, 1) == 1);
}

TEST_CASE("Expiry: an entry by time that outlived its object goes") {
  Cluster cluster(1);
  WriteExpiring(cluster, "k", absl::Seconds(600));
  cluster.Crash(0);
  {
    WriteBatch batch;
    batch.Put(Family::kMeta,
              ExpiryKey(PartitionId{0}, 1, {"b", "gone", Type::kSet}), "");
    batch.Put(Family::kMeta,
              ExpiryKey(PartitionId{0}, 2, {"b", "k", Type::kSet}), "");
    batch.Put(Family::kMeta, ExpiryPrefix(PartitionId{0}) + '\0', "");
    sim::SimStorage storage(cluster.disk(0));
    REQUIRE(storage.Commit(batch, CommitMode::kSynced).ok());
  }
  REQUIRE(cluster.Start(0).ok());
  CHECK(ExpiryEntries(cluster, 0) == 4);
  Live(cluster, 3);
  CHECK(ExpiryEntries(cluster, 0) == 1);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x, y}");
  CHECK(Removed(cluster) == 0);
}

TEST_CASE("PeerClocks: the middle clock holds, the earlier one of two") {
  const Now now{absl::Seconds(100), 1'000'000};
  PeerClocks clocks;
  CHECK(clocks.Time(now) == 1'000'000);
  clocks.Heard(NodeId{1}, 1'500'000, now);
  CHECK(clocks.Time(now) == 1'000'000);
  clocks.Heard(NodeId{2}, 1'400'000, now);
  CHECK(clocks.Time(now) == 1'400'000);
  clocks.Heard(NodeId{3}, 900'000, now);
  CHECK(clocks.Time(now) == 1'000'000);
  // What does not say, says nothing.
  clocks.Heard(NodeId{4}, 0, now);
  CHECK_FALSE(clocks.OffsetMs(NodeId{4}, now));
}

TEST_CASE("PeerClocks: a jump of the own clock shows at once") {
  PeerClocks clocks;
  clocks.Heard(NodeId{1}, 1'000'000, {absl::Seconds(100), 1'000'000});
  const Now later{absl::Seconds(160), 1'060'000 + 3'600'000};
  CHECK(clocks.OffsetMs(NodeId{1}, later) == -3'600'000);
  CHECK_FALSE(
      clocks.OffsetMs(NodeId{1}, {absl::Hours(2), 1'000'000}).has_value());
}

TEST_CASE("PeerClocks: a message that was long on its way does not count") {
  PeerClocks clocks;
  clocks.Heard(NodeId{1}, 1'000'000, {absl::Seconds(100), 1'000'000});
  clocks.Heard(NodeId{1}, 1'000'000, {absl::Seconds(110), 1'010'000});
  CHECK(clocks.OffsetMs(NodeId{1}, {absl::Seconds(110), 1'010'000}) == 0);
  // But a clock that stays behind is believed.
  clocks.Heard(NodeId{1}, 1'000'000, {absl::Seconds(170), 1'070'000});
  CHECK(clocks.OffsetMs(NodeId{1}, {absl::Seconds(170), 1'070'000}) == -70'000);
}

TEST_CASE("PeerClocks: a majority agrees, differs, or is not known") {
  using Agreement = PeerClocks::Agreement;
  const Now now{absl::Seconds(100), 1'000'000};
  const std::vector<NodeId> three{NodeId{0}, NodeId{1}, NodeId{2}};
  const auto ask = [&](const PeerClocks& clocks, size_t owners) {
    return clocks.Ask(NodeId{0}, absl::MakeConstSpan(three).first(owners),
                      absl::Seconds(2), now);
  };
  PeerClocks clocks;
  CHECK(ask(clocks, 1) == Agreement::kAgrees);
  CHECK(ask(clocks, 2) == Agreement::kUnknown);
  CHECK(ask(clocks, 3) == Agreement::kUnknown);
  CHECK_FALSE(clocks.KnowsMost(NodeId{0}, three, now));
  clocks.Heard(NodeId{1}, 1'002'000, now);
  CHECK(ask(clocks, 2) == Agreement::kAgrees);
  CHECK(ask(clocks, 3) == Agreement::kAgrees);
  CHECK(clocks.KnowsMost(NodeId{0}, three, now));
  clocks.Heard(NodeId{1}, 1'002'001, now);
  CHECK(ask(clocks, 2) == Agreement::kDiffers);
  CHECK(ask(clocks, 3) == Agreement::kUnknown);
  clocks.Heard(NodeId{2}, 900'000, now);
  CHECK(ask(clocks, 3) == Agreement::kDiffers);
}

}  // namespace
}  // namespace dovetail::replica
