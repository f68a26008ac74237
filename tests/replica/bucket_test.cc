// The properties of buckets: as a value that any two nodes join, and as what
// fills in requests.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "replica/bucket_table.h"
#include "replica/cluster_config.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using Property = BucketProperty;

BucketSettings WriteAt(const Level& level) {
  return {{Property::kWrite, LevelNumber(level)}};
}
BucketSettings ReadAt(const Level& level) {
  return {{Property::kRead, LevelNumber(level)}};
}

BucketProperties In(const BucketTable& table, const std::string& bucket) {
  const auto all = table.All();
  const auto found = all.find(bucket);
  return found == all.end() ? BucketProperties{}
                            : PropertiesOf(found->second.settings);
}

std::string Bytes(const BucketTable& table) {
  ClusterConfig config;
  config.buckets = table;
  return EncodeClusterConfig(config);
}

TEST_CASE("Buckets: changes of different properties apart both hold") {
  BucketTable a;
  REQUIRE(a.Create(NodeId{1}, 1000, "shop", {}).ok());
  BucketTable b = a;
  REQUIRE(a.Update(NodeId{1}, 2000, "shop", WriteAt(Level::All())).ok());
  REQUIRE(b.Update(NodeId{2}, 3000, "shop", ReadAt(Level::One())).ok());
  BucketTable joined = a;
  joined.Merge(b);
  b.Merge(a);
  CHECK(joined == b);
  CHECK(In(b, "shop").write == Level::All());
  CHECK(In(b, "shop").read == Level::One());
}

TEST_CASE(
    "Buckets: of changes of one property the later holds, if seen or not") {
  BucketTable a;
  REQUIRE(a.Create(NodeId{1}, 1000, "shop", {}).ok());
  BucketTable b = a;
  REQUIRE(a.Update(NodeId{1}, 3000, "shop", WriteAt(Level::All())).ok());
  REQUIRE(b.Update(NodeId{2}, 2000, "shop", WriteAt(Level::One())).ok());
  b.Merge(a);
  CHECK(In(b, "shop").write == Level::All());
  // A clock that is behind does not lose against what its node has seen.
  REQUIRE(b.Update(NodeId{2}, 1, "shop", WriteAt(Level::Quorum())).ok());
  a.Merge(b);
  CHECK(In(a, "shop").write == Level::Quorum());
  // Back to the default is a change like others.
  REQUIRE(a.Update(NodeId{1}, 1, "shop", WriteAt(Level{})).ok());
  b.Merge(a);
  CHECK(In(b, "shop") == BucketProperties{});
  CHECK(b.Has("shop"));
}

TEST_CASE("Buckets: what was deleted stays so; a change apart from it holds") {
  BucketTable a;
  REQUIRE(a.Create(NodeId{1}, 1000, "shop", WriteAt(Level::All())).ok());
  const BucketTable old = a;
  BucketTable b = a;
  REQUIRE(a.Delete("shop").ok());
  CHECK(a.records().empty());  // nothing is left behind
  a.Merge(old);
  CHECK(!a.Has("shop"));
  REQUIRE(b.Update(NodeId{2}, 2000, "shop", ReadAt(Level::One())).ok());
  a.Merge(b);
  b.Merge(a);
  CHECK(a == b);
  CHECK(In(a, "shop").write == Level::All());
  CHECK(In(a, "shop").read == Level::One());
}

TEST_CASE(
    "Buckets: tables converge whatever is changed and met, in any order") {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::vector<BucketTable> nodes(4);
    const auto pick = [&](uint32_t n) {
      return static_cast<uint32_t>(random() % n);
    };
    for (int step = 0; step < 60; ++step) {
      const uint32_t i = pick(4);
      const std::string name(1, static_cast<char>('a' + pick(3)));
      const BucketSettings some = pick(2) == 0
                                      ? WriteAt(Level::Count(1 + pick(3)))
                                      : ReadAt(Level::Count(1 + pick(3)));
      const NodeId id{i + 1};
      const uint64_t wall = 1000 + pick(100);
      switch (pick(4)) {
        case 0:
          nodes[i].Create(id, wall, name, some).IgnoreError();
          break;
        case 1:
          nodes[i].Update(id, wall, name, some).IgnoreError();
          break;
        case 2:
          if (pick(3) == 0) nodes[i].Delete(name).IgnoreError();
          break;
        default:
          nodes[i].Merge(nodes[pick(4)]);
      }
    }
    // Joined in two orders, one with repetitions.
    BucketTable forth;
    BucketTable back;
    for (size_t i = 0; i < 4; ++i) {
      forth.Merge(nodes[i]);
      back.Merge(nodes[3 - i]);
      back.Merge(nodes[3]);
    }
    CHECK(forth == back);
    CHECK(Bytes(forth) == Bytes(back));
  }
}

TEST_CASE("Buckets: bytes come back equal, and broken ones are refused") {
  BucketTable table;
  CHECK(Bytes(table).size() == 4);  // as before buckets had properties
  const BucketProperties all{.read = Level::Count(2),
                             .write = Level::EachQuorum(),
                             .quorums = Quorums::kStrict,
                             .durability = Durability::kFsync,
                             .timeout = absl::Seconds(3),
                             .value_bytes_max = 100,
                             .ttl_ms = 86'400'000};
  CHECK(PropertiesOf(SettingsOf(all)) == all);
  REQUIRE(table.Create(NodeId{1}, 7, "shop", SettingsOf(all)).ok());
  REQUIRE(table.Create(NodeId{2}, 8, "users", {}).ok());
  const std::string bytes = Bytes(table);
  const auto decoded = DecodeClusterConfig(bytes);
  REQUIRE(decoded.ok());
  CHECK(decoded->buckets == table);
  CHECK(In(decoded->buckets, "shop") == all);
  for (size_t size = 5; size < bytes.size(); ++size) {
    CHECK(!DecodeClusterConfig(bytes.substr(0, size)).ok());
  }
  // What does decode is encoded alike: there are no two forms of one table.
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bent = bytes;
      bent[i] = static_cast<char>(bent[i] ^ (1 << bit));
      const auto read = DecodeClusterConfig(bent);
      if (read.ok()) CHECK(EncodeClusterConfig(*read) == bent);
    }
  }
}

TEST_CASE("Buckets: refusals name their reason and change nothing") {
  BucketTable table;
  REQUIRE(table.Create(NodeId{1}, 7, "shop", {}).ok());
  const BucketTable before = table;
  const NodeId id{1};
  CHECK(absl::IsFailedPrecondition(table.Create(id, 8, "shop", {})));
  CHECK(absl::IsFailedPrecondition(
      table.Update(id, 8, "none", WriteAt(Level::All()))));
  CHECK(absl::IsFailedPrecondition(table.Delete("none")));
  CHECK(absl::IsInvalidArgument(table.Create(id, 8, "", {})));
  CHECK(absl::IsInvalidArgument(table.Update(id, 8, "shop", {})));
  CHECK(absl::IsInvalidArgument(
      table.Update(id, 8, "shop", {{Property{99}, 1}})));
  CHECK(absl::IsResourceExhausted(
      table.Create(id, 8, std::string(257, 'x'), {})));
  CHECK(table == before);
  RingSpec ring;
  ring.replicas = 3;
  CHECK(CheckSettings(WriteAt(Level::Count(3)), ring).ok());
  const absl::Status too_many = CheckSettings(WriteAt(Level::Count(4)), ring);
  CHECK(too_many.message() == "W=4: a key has 3 replicas in this cluster");
  CHECK(absl::IsInvalidArgument(CheckSettings({{Property{99}, 1}}, ring)));
  CHECK(absl::IsInvalidArgument(
      CheckSettings({{Property::kTimeout, 300'001}}, ring)));
  CHECK(absl::IsInvalidArgument(
      CheckSettings({{Property::kValueBytesMax, (1 << 20) + 1}}, ring)));
}

TEST_CASE("Buckets: at their limit one more is refused; halves stay bounded") {
  const auto fill = [](BucketTable& table, char first, uint64_t node) {
    for (size_t i = 0; i < kBucketsMax; ++i) {
      REQUIRE(table
                  .Create(NodeId{node}, 0,
                          std::string(250, first) + std::to_string(i), {})
                  .ok());
    }
  };
  BucketTable a, b, c;
  fill(a, 'a', 1);
  CHECK(absl::IsResourceExhausted(a.Create(NodeId{1}, 0, "one more", {})));
  fill(b, 'b', 2);
  fill(c, 'c', 3);
  CHECK(a.Merge(b) == 0);
  CHECK(a.size() == 2 * kBucketsMax);
  CHECK(a.Merge(c) == kBucketsMax);
  b.Merge(a);
  c.Merge(a);
  CHECK(a.size() == 2 * kBucketsMax);
  CHECK(b == a);
  CHECK(c == a);
  CHECK(Bytes(a).size() <= kClusterConfigBytesMax);
}

BucketProperties WritesAt(const Level& level) {
  BucketProperties properties;
  properties.write = level;
  return properties;
}

// --- Requests ---------------------------------------------------------------

std::shared_ptr<const BucketDefaults> Defaults(
    const std::vector<std::pair<std::string, BucketProperties>>& buckets) {
  return std::make_shared<const BucketDefaults>(buckets.begin(), buckets.end());
}

// What is in `operations`, written with nothing said but `options`.
Receipt Written(Cluster& cluster, std::vector<crdt::Operation> operations,
                RequestOptions options = {}) {
  const RequestId id = cluster.Begin(0, std::move(operations), options);
  cluster.DeliverAll();
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  return std::get<WriteReply>(*reply->body).receipt;
}

crdt::Operation CountIn(const std::string& bucket) {
  crdt::Operation operation = Count("c", 1);
  operation.object.bucket = bucket;
  return operation;
}

TEST_CASE("Buckets: what a request leaves unsaid its bucket says") {
  Cluster cluster(3);
  const std::string bucket = Count("c", 1).object.bucket;
  CHECK(Written(cluster, {Count("c", 1)}).required == 2);
  BucketProperties own_properties = WritesAt(Level::All());
  own_properties.read = Level::One();
  own_properties.durability = Durability::kFsync;
  cluster.at(0).HandleBuckets(Defaults({{bucket, own_properties}}));
  const Receipt receipt = Written(cluster, {Count("c", 1)});
  CHECK(receipt.required == 3);
  CHECK(receipt.durability == Durability::kFsync);
  // What it says wins.
  RequestOptions said = Cluster::W(1);
  said.durability = Durability::kWal;
  const Receipt own = Written(cluster, {Count("c", 1)}, said);
  CHECK(own.required == 1);
  CHECK(own.durability == Durability::kWal);
  // Another bucket is none of its business, and reads have their own level.
  CHECK(Written(cluster, {CountIn("other")}).required == 2);
  crdt::ReadSpec read;
  read.object = Count("c", 1).object;
  const auto answer =
      cluster.Take(cluster.BeginRead(0, read, RequestOptions{}));
  REQUIRE(answer.has_value());  // at once: by this node alone
  CHECK(std::get<ReadReply>(*answer->body).receipt.required == 1);
}

TEST_CASE("Buckets: a batch over several asks for the strictest of them") {
  Cluster cluster(3);
  BucketProperties safe = WritesAt(Level::All());
  safe.durability = Durability::kFsync;
  cluster.at(0).HandleBuckets(Defaults({{"lax", WritesAt(Level::One())},
                                        {"firm", WritesAt(Level::Quorum())},
                                        {"safe", safe}}));
  CHECK(Written(cluster, {CountIn("lax")}).required == 1);
  CHECK(Written(cluster, {CountIn("lax"), CountIn("firm")}).required == 2);
  const Receipt all = Written(cluster, {CountIn("safe"), CountIn("lax")});
  CHECK(all.required == 3);
  CHECK(all.durability == Durability::kFsync);
  // One that says nothing asks for the default.
  CHECK(Written(cluster, {CountIn("lax"), CountIn("none")}).required == 2);
}

TEST_CASE("Buckets: the deadline of a bucket is that of its requests") {
  Cluster cluster(3);
  BucketProperties slow = WritesAt(Level::All());
  slow.timeout = absl::Seconds(7);
  cluster.at(0).HandleBuckets(Defaults({{"b", slow}}));
  const RequestId id = cluster.Begin(0, {CountIn("b")}, RequestOptions{});
  const auto lost = [](const Cluster::InFlight&) { return true; };
  cluster.DeliverAll(lost);
  cluster.Advance(absl::Seconds(6));
  cluster.DeliverAll(lost);
  CHECK(!cluster.Take(id).has_value());
  cluster.Advance(absl::Seconds(2));
  const auto late = cluster.Take(id);
  REQUIRE(late.has_value());
  CHECK(absl::IsDeadlineExceeded(late->body.status()));
}

TEST_CASE("Buckets: a value over the limit of its bucket is not written") {
  Cluster cluster(1);
  const std::string bucket = WriteTo("r", "").object.bucket;
  BucketProperties small;
  small.value_bytes_max = 3;
  cluster.at(0).HandleBuckets(Defaults({{bucket, small}}));
  CHECK(cluster.Write(0, WriteTo("r", "abc")).ok());
  const auto refused = cluster.Write(0, WriteTo("r", "abcd"));
  CHECK(absl::IsResourceExhausted(refused.status()));
  CHECK(cluster.Show(0, crdt::Type::kRegister, "r") == "\"abc\"");
  CHECK(!cluster.Write(0, AddTo("s", {"a", "abcd"})).ok());
  CHECK(cluster.Show(0, crdt::Type::kSet, "s") == "{}");
  // What was there before the limit can be removed.
  CHECK(cluster.Write(0, RemoveFrom("s", {"abcd"})).ok());
}

uint64_t ExpiresOf(Cluster& cluster, std::string key) {
  crdt::ReadSpec spec;
  spec.object = AddTo(std::move(key), {}).object;
  const auto read = cluster.Read(0, spec);
  REQUIRE(read.ok());
  return read->expires_ms;
}

TEST_CASE("Buckets: what a write begins lives as long as its bucket says") {
  Cluster cluster(1);
  BucketProperties day;
  day.ttl_ms = 60'000;
  const std::string bucket = AddTo("s", {}).object.bucket;
  REQUIRE(cluster.Write(0, AddTo("before", {"x"})).ok());
  cluster.at(0).HandleBuckets(Defaults({{bucket, day}}));
  const uint64_t began = cluster.now().wall_ms;
  REQUIRE(cluster.Write(0, AddTo("s", {"x"})).ok());
  CHECK(ExpiresOf(cluster, "s") == began + 60'000);
  cluster.Advance(absl::Seconds(10));
  REQUIRE(cluster.Write(0, AddTo("s", {"y"})).ok());
  CHECK(ExpiresOf(cluster, "s") == began + 60'000);
  REQUIRE(cluster.Write(0, AddTo("before", {"y"})).ok());
  CHECK(ExpiresOf(cluster, "before") == 0);
  // A removal from what is not there leaves nothing that could expire.
  const uint64_t rows = cluster.at(0).Digests()[0].row_entries;
  REQUIRE(cluster.Write(0, RemoveFrom("t", {"x"})).ok());
  CHECK(cluster.at(0).Digests()[0].row_entries == rows);
}

TEST_CASE(
    "Buckets: what a session begins lives so, too, and its retry is one") {
  // The time is no part of the session's delta: another node, which knows of
  // another property, has to make the same one.
  Cluster cluster(2);
  BucketProperties day;
  day.ttl_ms = 60'000;
  const std::string bucket = AddTo("s", {}).object.bucket;
  cluster.at(0).HandleBuckets(Defaults({{bucket, day}}));
  crdt::SessionWriter writer(crdt::MakeActorId(crdt::ActorKind::kSession, 7));
  const auto prepared = writer.Prepare({AddTo("s", {"x"})}, {1, 0});
  REQUIRE(prepared.ok());
  for (const uint32_t node : {0, 1, 0}) {
    const RequestId id = cluster.BeginOnce(node, *prepared);
    for (int i = 0; i < 3; ++i) cluster.Advance(absl::Milliseconds(1));
    const auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    CHECK(reply->body.ok());
  }
  cluster.DeliverAll();
  CHECK(cluster.Differences() == "");
  CHECK(cluster.Show(1, crdt::Type::kSet, "s") == "{x}");
  CHECK(ExpiresOf(cluster, "s") > cluster.now().wall_ms + 50'000);
}

TEST_CASE("Buckets: those in use are found by skipping from one to the next") {
  Cluster cluster(1);
  for (const char* bucket : {"b", "a", "b b"}) {
    for (int i = 0; i < 3; ++i) {
      crdt::Operation one = Count("c" + std::to_string(i), 1);
      one.object.bucket = bucket;
      REQUIRE(cluster.Write(0, one).ok());
    }
  }
  const auto in_use = [&](std::optional<std::string> after, size_t max) {
    return *cluster.at(0).BucketsInUse(after, max);
  };
  using Names = std::vector<std::string>;
  CHECK(in_use(std::nullopt, 9) == Names{"a", "b", "b b"});
  CHECK(in_use(std::nullopt, 2) == Names{"a", "b"});
  CHECK(in_use("b", 9) == Names{"b b"});
  CHECK(in_use("b b", 9).empty());
}

}  // namespace
}  // namespace dovetail::replica
