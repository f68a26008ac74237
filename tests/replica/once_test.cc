// Operations with a client's id at shards: however often, wherever, once.
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using crdt::SessionWriter;
using crdt::Type;
using crdt::Verb;

const crdt::ActorId kSession =
    crdt::MakeActorId(crdt::ActorKind::kSession, 4711);

SessionWriter::Prepared Prepare(SessionWriter& writer,
                                crdt::Operation operation,
                                uint64_t wall_ms = 1'700'000'000'000) {
  auto prepared = writer.Prepare({std::move(operation)}, {wall_ms, 0});
  REQUIRE_MESSAGE(prepared.ok(), prepared.status().ToString());
  return *std::move(prepared);
}

bool IsReplicateOf(const Cluster::InFlight& item) {
  return std::holds_alternative<Replicate>(item.message.body);
}

TEST_CASE("Once: a retry at every node during a cut counts once") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  for (uint32_t node : {0, 1, 2, 1, 0}) {
    REQUIRE(cluster.WriteOnce(node, add).ok());
    cluster.network().clear();
  }
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Differences() == "");
  CHECK(cluster.Show(0, Type::kCounter, "c") == "5");
}

TEST_CASE("Once: a retry is counted for W like the first time") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  const RequestId first = cluster.BeginOnce(0, add, Cluster::W(3));
  cluster.network().clear();  // nobody hears of it
  cluster.Advance(absl::Seconds(3));
  CHECK(absl::IsDeadlineExceeded(cluster.Take(first)->body.status()));
  cluster.network().clear();

  const RequestId second = cluster.BeginOnce(0, add, Cluster::W(3));
  CHECK_FALSE(cluster.Take(second).has_value());
  cluster.DeliverAll();
  auto reply = cluster.Take(second);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  const auto& write = std::get<WriteReply>(*reply->body);
  CHECK(write.receipt.nodes.size() == 3);
  CHECK(write.deltas == 1);
  CHECK(cluster.Show(2, Type::kCounter, "c") == "5");
  CHECK(cluster.at(0).stats().deltas_duplicate == 1);
}

TEST_CASE("Once: a retry beside the request that still waits: both answered") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  const RequestId first = cluster.BeginOnce(0, add, Cluster::W(3));
  const RequestId second = cluster.BeginOnce(0, add, Cluster::W(2));
  cluster.DeliverAll();
  for (const RequestId id : {first, second}) {
    auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    CHECK(reply->body.ok());
  }
}

TEST_CASE("Once: one that ends leaves the other its acknowledgements") {
  // Both had stood under the name of the delta, and the first to miss its
  // deadline took the second's place with it.
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  RequestOptions hasty = Cluster::W(2);
  hasty.timeout = absl::Milliseconds(10);
  const RequestId first = cluster.BeginOnce(0, add, hasty);
  const RequestId second = cluster.BeginOnce(0, add, Cluster::W(2));
  cluster.Advance(absl::Milliseconds(20));
  CHECK_FALSE(cluster.Take(first)->body.ok());
  cluster.DeliverAll();
  auto reply = cluster.Take(second);
  REQUIRE(reply.has_value());
  CHECK(reply->body.ok());
}

TEST_CASE("Once: an id used for another operation is refused, and no more") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  auto add = Prepare(writer, Count("c", 5));
  REQUIRE(cluster.WriteOnce(0, add).ok());
  cluster.network().clear();
  auto other = add;
  SUBCASE("the same counter") { other.operations[0].amount = 6; }
  SUBCASE("another object") { other.operations = {AddTo("k", {"x"})}; }
  SUBCASE("more events") { other.operations = {AddTo("k", {"x", "y"})}; }
  CHECK(absl::IsInvalidArgument(cluster.WriteOnce(0, other).status()));
  CHECK(cluster.at(0).stats().ids_reused == 1);

  // Another coordinator, which had not heard of the first, took the second.
  REQUIRE(cluster.WriteOnce(1, other).ok());
  cluster.DeliverAll();
  CHECK(cluster.at(0).stats().quarantined == 0);
  CHECK(cluster.at(0).stats().corruptions == 0);
  CHECK(cluster.at(0).stats().ids_reused > 1);
  CHECK(cluster.Show(0, Type::kCounter, "c") == "5");
  // All goes on as before, for others and for the session.
  REQUIRE(cluster.Write(0, Count("c", 1)).ok());
  const auto next = Prepare(writer, Count("d", 1));
  CHECK(cluster.WriteOnce(0, next).ok());
  // Reading over both is no error: the greater payload stands.
  crdt::ReadSpec spec;
  spec.object = {"b", "c", Type::kCounter};
  const RequestId read = cluster.BeginRead(0, spec, Cluster::R(3));
  cluster.DeliverAll();
  CHECK(cluster.Take(read)->body.ok());
}

TEST_CASE("Once: another operation under an id is noticed within one turn") {
  Cluster cluster(1);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  auto other = add;
  other.operations[0].amount = 6;
  Shard& shard = cluster.at(0);
  shard.HandleRequest(
      {RequestId{901}, Cluster::W(1), WriteRequest{add.operations, add.id}},
      cluster.now());
  shard.HandleRequest(
      {RequestId{902}, Cluster::W(1), WriteRequest{other.operations, other.id}},
      cluster.now());
  shard.HandleRequest(
      {RequestId{903}, Cluster::W(1), WriteRequest{add.operations, add.id}},
      cluster.now());
  std::map<RequestId, absl::Status> replies;
  for (const ClientReply& reply : shard.EndTurn(cluster.now()).replies) {
    replies[reply.id] = reply.body.status();
  }
  CHECK(replies[RequestId{901}].ok());
  CHECK(absl::IsInvalidArgument(replies[RequestId{902}]));
  CHECK(replies[RequestId{903}].ok());
  CHECK(cluster.Show(0, Type::kCounter, "c") == "5");
}

TEST_CASE("Once: a retry after the log was truncated is still a duplicate") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  REQUIRE(cluster.WriteOnce(0, add).ok());
  REQUIRE(cluster.Settle().has_value());
  REQUIRE(cluster.at(1).Digests()[0].log_entries == 0);
  CHECK(cluster.WriteOnce(1, add).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(1, Type::kCounter, "c") == "5");
  CHECK(cluster.at(1).Digests()[0].events == 1);
}

TEST_CASE("Once: a retry is a duplicate though truncation met a bad entry") {
  // Truncation gave up half-way, and what it had removed by then was still held
  // to be in the log: its retry was refused as part of another operation.
  Cluster cluster(1);
  SessionWriter writer(kSession);
  const auto first = Prepare(writer, Count("c", 5));
  REQUIRE(cluster.WriteOnce(0, first).ok());
  REQUIRE(cluster.WriteOnce(0, Prepare(writer, Count("c", 1))).ok());
  REQUIRE(cluster.at(0).SyncToDisk().ok());
  const auto& log = cluster.disk(0).keys(Family::kLog);
  REQUIRE(log.size() == 2);
  cluster.disk(0).FailRead(Family::kLog, log.rbegin()->first);
  cluster.at(0).TruncateLogs();
  REQUIRE(cluster.at(0).EndTurn(cluster.now()).fatal.ok());
  REQUIRE(log.size() == 1);
  CHECK(cluster.at(0).stats().corruptions == 1);
  CHECK(cluster.at(0).Digests()[0].log_entries == 1);
  CHECK(cluster.WriteOnce(0, first).ok());
  CHECK(cluster.Show(0, Type::kCounter, "c") == "6");
}

TEST_CASE("Once: a crash that loses the first application loses no retry") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, Count("c", 5));
  REQUIRE(cluster.WriteOnce(0, add).ok());
  cluster.network().clear();
  cluster.Crash(0, 1);
  REQUIRE(cluster.Start(0).ok());
  CHECK(cluster.Show(0, Type::kCounter, "c") == "0");
  REQUIRE(cluster.WriteOnce(0, add).ok());
  CHECK(cluster.Show(0, Type::kCounter, "c") == "5");
}

TEST_CASE("Once: a client's clock far ahead moves no node's clock") {
  Cluster cluster(1);
  SessionWriter writer(kSession);
  const uint64_t wall = cluster.now().wall_ms;
  const auto write = Prepare(writer, WriteTo("r", "v"), wall + 3'600'000);
  REQUIRE(cluster.WriteOnce(0, write).ok());
  CHECK(cluster.at(0).ClockAheadMs(wall) <= 0);
  CHECK(cluster.at(0).stats().clock_refusals == 1);
  CHECK(cluster.Show(0, Type::kRegister, "r") == "\"v\"");
}

TEST_CASE("Once: concurrent values are bounded though the writer sees none") {
  Cluster cluster(1);
  SessionWriter writer(kSession);
  auto blind = Op(Type::kMultiValue, Verb::kWriteBlind, "m");
  blind.value = "v";
  for (int i = 0; i < 100; ++i) {
    REQUIRE(cluster.WriteOnce(0, Prepare(writer, blind)).ok());
  }
  CHECK(absl::IsResourceExhausted(
      cluster.WriteOnce(0, Prepare(writer, blind)).status()));
}

TEST_CASE("Once: a token cannot swallow what this node has yet to mint") {
  Cluster cluster(1);
  SessionWriter writer(kSession);
  auto remove = RemoveFrom("k", {"x"});
  remove.observed = crdt::ObservedToken{remove.object, {}, {}};
  // The first actor of the cluster's first node.
  remove.observed->leaves[crdt::Path().Element("x")].dots = {
      {crdt::MakeActorId(crdt::ActorKind::kNode, 1), 1}};
  CHECK(absl::IsInvalidArgument(
      cluster.WriteOnce(0, Prepare(writer, remove)).status()));
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
}

TEST_CASE("Once: a retry reaches those that the first had not") {
  Cluster cluster(3);
  SessionWriter writer(kSession);
  const auto add = Prepare(writer, AddTo("k", {"x"}));
  REQUIRE(cluster.WriteOnce(0, add).ok());
  cluster.network().clear();
  REQUIRE(cluster.WriteOnce(0, add).ok());
  size_t sent = 0;
  for (const auto& item : cluster.network()) sent += IsReplicateOf(item);
  CHECK(sent == 2);
}

}  // namespace
}  // namespace dovetail::replica
