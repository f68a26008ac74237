// Nodes that own nothing of a key: how they pass requests on, how they stand in
// for owners, and what the levels count.
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "doctest/doctest.h"
#include "replica/forwarder.h"
#include "replica/maybe.h"
#include "replica/shard_core.h"
#include "tests/replica/cluster.h"
#include "tests/sim/seat.h"

namespace dovetail::replica {
namespace {

using InFlight = Cluster::InFlight;

// One partition owned by nodes 0 .. owners-1; the others stand in, in order.
Placement Owned(uint32_t nodes, uint32_t owners,
                const std::vector<std::string>& regions = {}) {
  std::vector<Placement::Member> members;
  Placement::Row row;
  row.owners = owners;
  for (uint32_t i = 0; i < nodes; ++i) {
    members.push_back({NodeId{i}, std::string(1, static_cast<char>('A' + i)),
                       "", regions.empty() ? "" : regions[i]});
    row.nodes.push_back(NodeId{i});
  }
  return Placement(1, members, {row});
}

RequestOptions Writes(Level level, Quorums quorums = Quorums::kSloppy) {
  RequestOptions options;
  options.write = level;
  options.quorums = quorums;
  return options;
}

RequestOptions Here() {
  RequestOptions options;
  options.read = Level::One();
  options.here = true;
  return options;
}

crdt::ReadSpec SpecOf(std::string counter) {
  crdt::ReadSpec spec;
  spec.object = Count(std::move(counter), 1).object;
  return spec;
}

RequestOptions Reads(Level level) {
  RequestOptions options;
  options.read = level;
  return options;
}

int64_t Holds(Cluster& cluster, uint32_t node, std::string counter) {
  const auto result = cluster.Read(node, SpecOf(std::move(counter)), Here());
  REQUIRE(result.ok());
  return result->view.number;
}

// Those two are out of reach.
bool ToOneOrTwo(const InFlight& item) {
  return sim::SeatOf(item.to) == 1 || sim::SeatOf(item.to) == 2;
}

bool IsForward(const InFlight& item) {
  return std::holds_alternative<Forward>(item.message.body);
}

const WriteReply& Written(const std::optional<ClientReply>& reply) {
  REQUIRE(reply.has_value());
  REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  return std::get<WriteReply>(*reply->body);
}

TEST_CASE("Forward: what a stranger is asked, an owner coordinates") {
  Cluster cluster(Owned(4, 3), {});
  const RequestId id =
      cluster.Begin(3, {Count("k", 5)}, Writes(Level::Quorum()));
  REQUIRE(cluster.network().size() == 1);
  CHECK(IsForward(cluster.network().front()));
  cluster.DeliverAll();
  const auto reply = cluster.Take(id);
  const WriteReply& written = Written(reply);
  CHECK(written.receipt.nodes.front() == NodeId{0});
  CHECK(written.receipt.stand_ins.empty());
  CHECK(Holds(cluster, 0, "k") == 5);
  CHECK(Holds(cluster, 3, "k") == 0);

  const RequestId read =
      cluster.BeginRead(3, SpecOf("k"), Reads(Level::Quorum()));
  cluster.DeliverAll();
  const auto answer = cluster.Take(read);
  REQUIRE(answer.has_value());
  REQUIRE(answer->body.ok());
  CHECK(std::get<ReadReply>(*answer->body).result.view.number == 5);
}

TEST_CASE("Forward: a request that comes twice is taken once") {
  Cluster cluster(Owned(4, 3), {});
  const RequestId id = cluster.Begin(3, {Count("k", 5)}, Writes(Level::One()));
  REQUIRE(IsForward(cluster.network().front()));
  cluster.network().push_back(cluster.network().front());
  cluster.DeliverAll();
  CHECK(Written(cluster.Take(id)).deltas == 1);
  CHECK(Holds(cluster, 0, "k") == 5);
}

TEST_CASE(
    "Forward: a request for an earlier process of the owner is not taken") {
  Cluster cluster(Owned(4, 1), {});
  cluster.Begin(3, {Count("k", 5)}, Writes(Level::One()));
  const InFlight late = cluster.network().front();
  REQUIRE(IsForward(late));
  cluster.network().clear();
  cluster.Crash(0);
  REQUIRE(cluster.Start(0).ok());
  cluster.network().push_back(late);
  cluster.DeliverAll();
  CHECK(Holds(cluster, 0, "k") == 0);
}

TEST_CASE("Forward: two shards of one sender are not taken for one") {
  // A node of two shards and one of one: both of its shards meet the one.
  const Placement ring = [] {
    Placement::Row row{{NodeId{0}, NodeId{1}}, 1};
    return Placement(1, {{NodeId{0}, "A", "", ""}, {NodeId{1}, "B", "", ""}},
                     {row, row});
  }();
  const ShardOptions options;
  const auto actor = [](uint64_t n) {
    return crdt::MakeActorId(crdt::ActorKind::kNode, n);
  };
  sim::SimDisk disk;
  sim::SimStorage storage(disk);
  ShardCore owner(options, ring, {NodeId{0}, actor(1), 0, 1}, storage);
  Forwarder receiver(owner);
  int taken = 0;
  for (const uint32_t shard : {0u, 1u}) {
    sim::SimDisk its_disk;
    sim::SimStorage its_storage(its_disk);
    ShardCore core(options, ring, {NodeId{1}, actor(2), shard, 2}, its_storage);
    core.peers_up[NodeId{0}] = actor(1);
    Forwarder sender(core);
    ClientRequest request;
    request.id = RequestId{1};
    request.options.timeout = absl::Seconds(1);
    request.body = WriteRequest{{Count("k", 5)}, {}, {}};
    const PartitionId partition{static_cast<uint16_t>(shard)};
    REQUIRE(sender.Start(request, partition, {}));
    REQUIRE(core.output.messages.size() == 1);
    auto& forward = std::get<Forward>(core.output.messages[0].message.body);
    taken += receiver.OnForward(NodeId{1}, partition, forward).has_value();
    CHECK_FALSE(receiver.OnForward(NodeId{1}, partition, forward).has_value());
  }
  CHECK(taken == 2);
}

TEST_CASE("Forward: a write whose owner goes away may have taken effect") {
  Cluster cluster(Owned(4, 3), {});
  const RequestId id = cluster.Begin(3, {Count("k", 5)}, Writes(Level::One()));
  cluster.Part(3, 0);
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(absl::IsUnavailable(reply->body.status()));
  CHECK(MayHaveTakenEffect(reply->body.status()));
}

TEST_CASE("Forward: a read whose owner goes away is asked of another") {
  Cluster cluster(Owned(4, 3), {});
  REQUIRE(cluster.Write(1, Count("k", 5)).ok());
  cluster.network().clear();
  const RequestId id = cluster.BeginRead(3, SpecOf("k"), Reads(Level::One()));
  cluster.network().clear();
  cluster.Part(3, 0);
  cluster.DeliverAll();
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  CHECK(std::get<ReadReply>(*reply->body).result.view.number == 5);
}

TEST_CASE("Forward: a read whose owner goes away is read here by a new ring") {
  // Sending it on to oneself once ended the process: simulator seed 0x12f.
  Cluster cluster(Owned(4, 3), {});
  cluster.Part(3, 1);
  cluster.Part(3, 2);
  const RequestId id = cluster.BeginRead(3, SpecOf("k"), Reads(Level::One()));
  cluster.network().clear();
  cluster.at(3).HandlePlacement(Owned(4, 4), cluster.now());
  cluster.Part(3, 0);
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(reply->body.ok());
}

TEST_CASE("Forward: an answer that never comes is a deadline that passes") {
  Cluster cluster(Owned(4, 3), {});
  const RequestId id = cluster.Begin(3, {Count("k", 5)}, Writes(Level::One()));
  cluster.network().clear();
  cluster.Advance(absl::Seconds(3));
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(absl::IsDeadlineExceeded(reply->body.status()));
}

TEST_CASE("Strict: what is missing is said, and nothing is written") {
  Cluster cluster(Owned(5, 3), {});
  cluster.Part(0, 1);
  cluster.Part(0, 2);
  const auto refused = cluster.Write(0, Count("k", 1),
                                     Writes(Level::Count(2), Quorums::kStrict));
  CHECK(absl::IsUnavailable(refused.status()));
  CHECK(refused.status().message() ==
        "W=2 strict: 1 of 3 owners reachable: A; nothing was written");
  CHECK(Holds(cluster, 0, "k") == 0);

  const RequestId id =
      cluster.Begin(0, {Count("k", 1)}, Writes(Level::Count(2)));
  cluster.DeliverAll(ToOneOrTwo);
  const auto reply = cluster.Take(id);
  CHECK(Written(reply).receipt.stand_ins.size() == 1);
  CHECK(Holds(cluster, 3, "k") == 1);
}

TEST_CASE("Sloppy: an owner that is slow gets a stand-in after a while") {
  Cluster cluster(Owned(4, 3), {});
  const RequestId id =
      cluster.Begin(0, {Count("k", 1)}, Writes(Level::Count(3)));
  const auto to_slow = [](const InFlight& item) {
    return sim::SeatOf(item.to) == 2;
  };
  cluster.DeliverAll(to_slow);
  CHECK_FALSE(cluster.Take(id).has_value());
  cluster.Advance(absl::Milliseconds(150));
  cluster.DeliverAll(to_slow);
  const auto reply = cluster.Take(id);
  CHECK(Written(reply).receipt.stand_ins == std::vector<NodeId>{NodeId{3}});
}

TEST_CASE(
    "Sloppy: what one stand-in knows to be removed no owner brings back") {
  Cluster cluster(Owned(4, 2), {});
  const uint32_t owner = 1;
  const uint32_t reader = 2;
  const uint32_t other = 3;
  cluster.Part(owner, 0);
  cluster.Part(owner, reader);
  const RequestId added =
      cluster.Begin(owner, {AddTo("s", {"x"})}, Writes(Level::Count(2)));
  cluster.DeliverAll([&](const InFlight& item) {
    return sim::SeatOf(item.to) != other && sim::SeatOf(item.to) != owner;
  });
  const auto wrote = cluster.Take(added);
  CHECK(Written(wrote).receipt.stand_ins == std::vector<NodeId>{NodeId{other}});
  cluster.Part(owner, other);
  cluster.Part(other, 0);
  const RequestId removed =
      cluster.Begin(other, {RemoveFrom("s", {"x"})}, Writes(Level::One()));
  const auto took = cluster.Take(removed);
  CHECK(Written(took).deltas == 1);
  cluster.network().clear();

  // Two stand-ins show nothing, which is no answer before an owner has spoken.
  cluster.Part(reader, 0);
  crdt::ReadSpec spec;
  spec.object = AddTo("s", {"x"}).object;
  const RequestId id = cluster.BeginRead(reader, spec, Reads(Level::Count(2)));
  cluster.Meet(reader, owner);
  cluster.DeliverAll();
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  const auto& read = std::get<ReadReply>(*reply->body);
  CHECK(read.receipt.nodes.size() == 3);
  CHECK(read.result.view.values.empty());
}

TEST_CASE("Regions: a local quorum waits for nobody elsewhere") {
  // A, B, C in east; D, E, F in west; all own it.
  Cluster cluster(Owned(6, 6, {"east", "east", "east", "west", "west", "west"}),
                  {});
  const auto elsewhere = [](const InFlight& item) {
    return sim::SeatOf(item.to) >= 3 || sim::SeatOf(item.from) >= 3;
  };
  RequestId id =
      cluster.Begin(0, {Count("k", 1)}, Writes(Level::LocalQuorum()));
  cluster.DeliverAll(elsewhere);
  CHECK(Written(cluster.Take(id)).receipt.required == 2);

  id = cluster.Begin(0, {Count("k", 1)}, Writes(Level::EachQuorum()));
  cluster.DeliverAll(elsewhere);
  CHECK_FALSE(cluster.Take(id).has_value());
  cluster.DeliverAll();
  CHECK(Written(cluster.Take(id)).receipt.required == 4);

  for (uint32_t there = 3; there < 6; ++there) cluster.Part(0, there);
  const auto refused =
      cluster.Write(0, Count("k", 1), Writes(Level::EachQuorum()));
  CHECK(refused.status().message() ==
        "W=each_quorum: 0 of 3 replicas reachable in region \"west\": A B C; "
        "nothing was written");
  id = cluster.Begin(0, {Count("k", 1)}, Writes(Level::LocalQuorum()));
  cluster.DeliverAll();
  CHECK(Written(cluster.Take(id)).receipt.required == 2);
  const RequestId read =
      cluster.BeginRead(0, SpecOf("k"), Reads(Level::LocalQuorum()));
  cluster.DeliverAll();
  REQUIRE(cluster.Take(read)->body.ok());
}

// It was held to be in region "", where there is no replica.
TEST_CASE("Regions: who is no member has local levels of its label's region") {
  const std::vector<std::string> regions = {"east", "east", "east", "west",
                                            "west", "west", "east"};
  Cluster cluster(Owned(7, 6, regions), {});
  cluster.Place(Owned(6, 6, regions));  // G owns nothing any more
  const auto elsewhere = [](const InFlight& item) {
    return sim::SeatOf(item.to) >= 3 && sim::SeatOf(item.to) < 6;
  };
  const RequestId id =
      cluster.Begin(6, {Count("k", 1)}, Writes(Level::LocalQuorum()));
  cluster.DeliverAll(elsewhere);
  CHECK(Written(cluster.Take(id)).receipt.required == 2);
  const RequestId read =
      cluster.BeginRead(6, SpecOf("k"), Reads(Level::LocalQuorum()));
  cluster.DeliverAll(elsewhere);
  REQUIRE(cluster.Take(read)->body.ok());
}

// Each missing owner was given a stand-in, wherever it was. With the other
// region away a local quorum was then one owner and one that stood in for an
// owner elsewhere, and a local quorum of the other owners did not show the
// write, though nobody of this region was missing.
TEST_CASE("Regions: a local quorum counts no stand-in for another region") {
  // A, B, C own it in east, D, E, F in west; G and H are in east, too.
  Cluster cluster(
      Owned(8, 6,
            {"east", "east", "east", "west", "west", "west", "east", "east"}),
      {});
  const auto to_owners = [](const InFlight& item) {
    return sim::SeatOf(item.to) == 1 || sim::SeatOf(item.to) == 2;
  };
  SUBCASE("that was away before") {
    for (uint32_t west = 3; west < 6; ++west) cluster.Part(0, west);
    const RequestId id =
        cluster.Begin(0, {Count("k", 1)}, Writes(Level::LocalQuorum()));
    cluster.DeliverAll(to_owners);
    CHECK_FALSE(cluster.Take(id).has_value());
    cluster.DeliverAll();
    CHECK(Written(cluster.Take(id)).receipt.stand_ins.empty());
  }
  SUBCASE("that goes away meanwhile") {
    const RequestId id =
        cluster.Begin(0, {Count("k", 1)}, Writes(Level::LocalQuorum()));
    for (uint32_t west = 3; west < 6; ++west) cluster.Part(0, west);
    cluster.DeliverAll(to_owners);
    CHECK_FALSE(cluster.Take(id).has_value());
    cluster.DeliverAll();
    CHECK(Written(cluster.Take(id)).receipt.stand_ins.empty());
  }
  SUBCASE("and still counts those for owners of its own") {
    for (uint32_t away = 1; away < 6; ++away) cluster.Part(0, away);
    const RequestId id =
        cluster.Begin(0, {Count("k", 1)}, Writes(Level::LocalQuorum()));
    cluster.DeliverAll(to_owners);
    CHECK(Written(cluster.Take(id)).receipt.stand_ins ==
          std::vector<NodeId>{NodeId{6}});
    return;
  }
  CHECK(Holds(cluster, 6, "k") == 0);
  CHECK(Holds(cluster, 7, "k") == 0);
}

TEST_CASE("Hints: a node that holds enough for others takes no more") {
  ShardOptions options;
  options.hint_bytes_max = 1;
  Cluster cluster(Owned(4, 3), options);
  cluster.Part(0, 1);
  cluster.Part(0, 2);
  RequestId id = cluster.Begin(0, {Count("k", 1)}, Writes(Level::Count(2)));
  cluster.DeliverAll(ToOneOrTwo);
  CHECK(Written(cluster.Take(id)).receipt.stand_ins.size() == 1);
  CHECK(cluster.at(3).stats().hints == 1);
  CHECK(cluster.at(3).stats().hint_bytes > 1);
  id = cluster.Begin(0, {Count("k", 1)}, Writes(Level::Count(2)));
  cluster.DeliverAll(ToOneOrTwo);
  const auto refused = cluster.Take(id);
  REQUIRE(refused.has_value());
  CHECK(absl::IsUnavailable(refused->body.status()));
  CHECK(std::string(refused->body.status().message()).find("hint_bytes_max") !=
        std::string::npos);
}

TEST_CASE(
    "Hints: the last partition is emptied slice by slice, not by rounds") {
  constexpr int kRows = 40;
  ShardOptions options;
  options.empty_rows_per_turn = 2;
  Cluster cluster(Owned(4, 3), options);
  cluster.Part(0, 2);
  for (int i = 0; i < kRows; ++i) {
    const RequestId id = cluster.Begin(0, {Count("k" + std::to_string(i), 1)},
                                       Writes(Level::Count(3)));
    cluster.DeliverAll(
        [](const InFlight& item) { return sim::SeatOf(item.to) == 2; });
    const auto reply = cluster.Take(id);
    CHECK(Written(reply).receipt.stand_ins.size() == 1);
  }
  const auto held = [&] { return cluster.at(3).stats(); };
  CHECK(held().hints == kRows);
  cluster.Meet(0, 2);
  for (int i = 0; i < 100 && held().emptying == 0; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(100));
  }
  CHECK(held().emptying == 1);
  cluster.Advance(options.empty_again_after * kRows);
  CHECK(held().emptying == 0);
}

}  // namespace
}  // namespace dovetail::replica
