#include "replica/shard.h"

#include <functional>
#include <map>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using crdt::Type;
using crdt::Verb;

bool IsReplicate(const Cluster::InFlight& item) {
  return std::holds_alternative<Replicate>(item.message.body);
}
bool IsSync(const Cluster::InFlight& item) {
  return std::holds_alternative<Summary>(item.message.body);
}

TEST_CASE("Shard: a write is acknowledged at W and its receipt names who") {
  Cluster cluster(3);
  const RequestId id = cluster.Begin(0, {AddTo("k", {"x"})}, Cluster::W(2));
  CHECK_FALSE(cluster.Take(id).has_value());
  REQUIRE(cluster.network().size() == 2);
  cluster.Deliver(1);  // to node 2
  CHECK_FALSE(cluster.Take(id).has_value());
  cluster.Deliver(1);  // its acknowledgement
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  const auto& write = std::get<WriteReply>(*reply->body);
  CHECK(write.receipt.nodes == std::vector<NodeId>{NodeId{0}, NodeId{2}});
  CHECK(write.receipt.required == 2);
  CHECK(write.deltas == 1);
  CHECK(cluster.Show(2, Type::kSet, "k") == "{x}");
  CHECK(cluster.Show(1, Type::kSet, "k") == "{}");
}

TEST_CASE("Shard: a write that misses W by its deadline says it may survive") {
  Cluster cluster(3);
  const RequestId id = cluster.Begin(0, {AddTo("k", {"x"})}, Cluster::W(3));
  cluster.network().clear();
  cluster.Advance(absl::Seconds(3));
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(absl::IsDeadlineExceeded(reply->body.status()));
  CHECK(std::string(reply->body.status().message())
            .find("may still take effect") != std::string::npos);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
}

TEST_CASE("Shard: W that cannot be met is refused at once and writes nothing") {
  Cluster cluster(3);
  cluster.Crash(1);
  cluster.Crash(2);
  CHECK(absl::IsUnavailable(
      cluster.Write(0, AddTo("k", {"x"}), Cluster::W(2)).status()));
  CHECK(absl::IsInvalidArgument(
      cluster.Write(0, AddTo("k", {"x"}), Cluster::W(4)).status()));
  CHECK(cluster.Show(0, Type::kSet, "k") == "{}");
}

TEST_CASE("Shard: a quorum read joins two partial replicas, deletes included") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", {"x", "y"})).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Write(1, RemoveFrom("k", {"x"})).ok());
  REQUIRE(cluster.Write(0, AddTo("k", {"z"})).ok());
  cluster.network().clear();  // neither hears of the other
  crdt::ReadSpec spec;
  spec.object = {"b", "k", Type::kSet};
  const RequestId id = cluster.BeginRead(0, spec, Cluster::R(2));
  cluster.DeliverAll();
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  CHECK(crdt::ToString(std::get<ReadReply>(*reply->body).result.view) ==
        "{y, z}");
  // The difference that the read found was mended behind it.
  CHECK(cluster.Show(0, Type::kSet, "k") == "{y, z}");
  CHECK(cluster.Show(1, Type::kSet, "k") == "{y, z}");
}

// The set `k`, as many elements as `limit` says, with a token.
crdt::ReadSpec SetK(uint64_t limit = 0) {
  crdt::ReadSpec spec;
  spec.object = {"b", "k", Type::kSet};
  spec.limit = limit;
  spec.want_token = true;
  return spec;
}

void DeliverTo(Cluster& cluster, uint32_t node) {
  cluster.DeliverAll(
      [node](const Cluster::InFlight& item) { return Index(item.to) != node; });
}

TEST_CASE("Shard: one who says \"the same\" still says what is deleted") {
  // c adds x, b removes it, a never hears of either: a and b hold equal pages.
  // Equal digests looked like nothing to join, and c's x passed.
  Cluster cluster(3);
  REQUIRE(cluster.Write(2, AddTo("k", {"x"})).ok());
  DeliverTo(cluster, 1);
  REQUIRE(cluster.Write(1, RemoveFrom("k", {"x"})).ok());
  cluster.network().clear();
  SUBCASE("read at the one who has not heard") {
    const RequestId id = cluster.BeginRead(0, SetK(), Cluster::R(3));
    cluster.DeliverAll(IsSync);
    auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE(reply->body.ok());
    const auto& read = std::get<ReadReply>(*reply->body);
    CHECK(crdt::ToString(read.result.view) == "{}");
    CHECK(read.result.token->leaves.empty());
    CHECK(read.receipt.nodes.size() == 3);
    // Who said "the same" is not told to sync for it.
    for (const auto& item : cluster.network()) CHECK(item.to == NodeId{2});
  }
  SUBCASE("what the coordinator hears meanwhile is under that knowledge too") {
    // b's page equals the one that a read at the start, not what a holds when
    // it joins.
    const RequestId id = cluster.BeginRead(0, SetK(), Cluster::R(3));
    DeliverTo(cluster, 1);
    DeliverTo(cluster, 2);
    const Cluster::InFlight from_b = cluster.network()[0];
    const Cluster::InFlight from_c = cluster.network()[1];
    cluster.network().clear();
    cluster.at(2).StartSync(NodeId{0}, cluster.now());
    REQUIRE(cluster.Write(2, AddTo("k", {"y"})).ok());
    cluster.DeliverAll();
    REQUIRE(cluster.Show(0, Type::kSet, "k") == "{x, y}");
    cluster.network() = {from_b, from_c};
    cluster.DeliverAll();
    auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE(reply->body.ok());
    CHECK(crdt::ToString(std::get<ReadReply>(*reply->body).result.view) ==
          "{y}");
  }
}

TEST_CASE("Shard: a context is asked for only where a third may differ") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  cluster.DeliverAll();
  for (const uint32_t r : {2u, 3u}) {
    cluster.BeginRead(0, SetK(), Cluster::R(r));
    REQUIRE(cluster.network().size() == r - 1);
    DeliverTo(cluster, 1);
    const auto answer =
        std::get<ReadAnswer>(cluster.network().back().message.body);
    CHECK(answer.same);
    CHECK((answer.context == crdt::Context()) == (r == 2));
    cluster.network().clear();
  }
}

TEST_CASE("Shard: a page that is the same ends where it ended for both") {
  // Of the first page, a, b, all three are of one mind at first; then c
  // removes these, adds d, and a hears of it while it waits. b said "the same"
  // about a and b; taken for a word about all that a holds when it joins, it
  // deleted c, and the reader went on behind d.
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", {"a", "b", "c", "e", "f"})).ok());
  cluster.DeliverAll();
  const RequestId id = cluster.BeginRead(0, SetK(2), Cluster::R(3));
  DeliverTo(cluster, 1);
  REQUIRE(cluster.Write(2, RemoveFrom("k", {"a", "b"})).ok());
  REQUIRE(cluster.Write(2, AddTo("k", {"d"})).ok());
  cluster.DeliverAll([](const Cluster::InFlight& item) {
    return IsReplicate(item) && item.to == NodeId{1};
  });
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  const auto& read = std::get<ReadReply>(*reply->body);
  CHECK(crdt::ToString(read.result.view) == "{c, d}");
  CHECK(read.result.more);
}

TEST_CASE("Shard: a peer's page with impossible paths fails the read alone") {
  // The wrong version trusted the paths of a decoded page; taking them apart
  // later ended the process.
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  cluster.network().clear();
  crdt::ReadSpec spec;
  spec.object = {"b", "k", Type::kSet};
  const RequestId id = cluster.BeginRead(0, spec, Cluster::R(2));
  REQUIRE(cluster.network().size() == 1);
  const auto query = std::get<ReadQuery>(cluster.network()[0].message.body);
  cluster.network().clear();
  ReadAnswer answer;
  answer.ticket = query.ticket;
  answer.page.leaves.Set(
      crdt::Path::FromTrustedBytes("no terminator"),
      crdt::Leaf(crdt::Dot{crdt::ActorId{9}, 1}, crdt::Unit()));
  cluster.network().push_back(
      {NodeId{1}, NodeId{0}, Message{PartitionId{0}, answer}});
  cluster.DeliverAll();
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(absl::IsInvalidArgument(reply->body.status()));
  CHECK(cluster.at(0).stats().corruptions == 1);
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
}

TEST_CASE(
    "Shard: a superseded dot is not an applied event (E is not E and X)") {
  // c adds k; a adds it again, superseding c's dot; b removes what a wrote.
  // z hears from c and b alone. If knowing of a's dot counted as having a's
  // event, nobody would ever send it to z, and z would show k for ever.
  Cluster cluster(4);
  auto to = [](uint32_t node) {
    return [node](const Cluster::InFlight& item) {
      return IsReplicate(item) && Index(item.to) == node;
    };
  };
  REQUIRE(cluster.Write(2, AddTo("k", {"e"})).ok());
  cluster.DeliverAll(to(3));
  Cluster::InFlight from_c;
  for (const auto& item : cluster.network()) from_c = item;
  cluster.network().clear();
  REQUIRE(cluster.Write(0, AddTo("k", {"e"})).ok());
  cluster.DeliverAll(to(3));
  cluster.network().clear();  // a's delta never reaches z
  REQUIRE(cluster.Write(1, RemoveFrom("k", {"e"})).ok());
  cluster.network().push_back(from_c);
  cluster.DeliverAll();
  CHECK_FALSE(cluster.Differences().empty());
  CHECK(cluster.Show(3, Type::kSet, "k") == "{e}");
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(3, Type::kSet, "k") == "{}");
}

TEST_CASE("Shard: a failed commit fails its writes and leaves no trace") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  cluster.DeliverAll();
  cluster.disk(0).FailCommit(1, absl::ResourceExhaustedError("disk full"));
  const auto failed = cluster.Write(0, AddTo("k", {"y"}));
  CHECK(absl::IsResourceExhausted(failed.status()));
  CHECK(cluster.network().empty());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
  CHECK(cluster.at(0).VerifyDigests().ok());
  // The dot of the failed write is burnt: the next one is another.
  REQUIRE(cluster.Write(0, AddTo("k", {"z"})).ok());
  CHECK(cluster.at(0).ContextOf(PartitionId{0}).applied.interval_count() == 2);
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(1, Type::kSet, "k") == "{x, z}");
}

TEST_CASE("Shard: a disk too full for a synced turn fails its writes alone") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  CHECK(cluster.disk(0).unsynced_batches() == 1);
  RequestOptions fsync = Cluster::W(1);
  fsync.durability = Durability::kFsync;
  cluster.disk(0).FailCommit(1, absl::ResourceExhaustedError("disk full"));
  const auto failed = cluster.Write(0, AddTo("k", {"y"}), fsync);
  CHECK(absl::IsResourceExhausted(failed.status()));
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
  // What the turn was to make durable, beside its own write, is.
  CHECK(cluster.disk(0).unsynced_batches() == 0);
  REQUIRE(cluster.Write(0, AddTo("k", {"z"}), fsync).ok());
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(1, Type::kSet, "k") == "{x, z}");
}

// A cluster of one shard, whose turns end when the test says so.
struct Alone {
  Alone() {
    REQUIRE(RecordActor(storage, crdt::ActorId{7}).ok());
    REQUIRE(shard.Open({}).ok());
  }
  const ShardOptions options;
  const Placement placement{1, 1};
  sim::SimDisk disk;
  sim::SimStorage storage{disk};
  Shard shard{options, placement, {NodeId{0}, crdt::ActorId{7}, 0, 1}, storage};
};

TEST_CASE("Shard: a turn of which a restart may find something is fatal") {
  const absl::Status full = absl::ResourceExhaustedError("disk full");
  const absl::Status broken = absl::DataLossError("EIO");
  const auto run = [](Durability durability,
                      const std::function<void(sim::SimDisk&)>& fault) {
    Alone alone;
    Shard& shard = alone.shard;
    fault(alone.disk);
    RequestOptions options = Cluster::W(1);
    options.durability = durability;
    shard.HandleRequest(
        {RequestId{1}, options, WriteRequest{{AddTo("k", {"x"})}}}, {});
    const Output output = shard.EndTurn({});
    CHECK(output.replies.empty());
    CHECK(output.messages.empty());
    return output.fatal.code();
  };
  for (const absl::Status& error : {full, broken}) {
    CHECK(run(Durability::kFsync, [&](sim::SimDisk& disk) {
            disk.FailSync(error);
          }) == error.code());
    for (Durability durability : {Durability::kWal, Durability::kFsync}) {
      CHECK(run(durability, [&](sim::SimDisk& disk) {
              disk.FailCommit(1, error, sim::FailedBatch::kReappears);
            }) == error.code());
    }
  }
}

TEST_CASE("Shard: a failed turn answers each of its requests once") {
  Alone alone;
  Shard& shard = alone.shard;
  alone.disk.FailCommit(1, absl::ResourceExhaustedError("disk full"));
  ReadRequest read;
  read.spec.object = AddTo("k", {}).object;
  shard.HandleRequest({RequestId{1}, Cluster::R(1), read}, {});
  shard.HandleRequest(
      {RequestId{2}, Cluster::W(1), WriteRequest{{AddTo("k", {"x"})}}}, {});
  shard.HandleRequest({RequestId{3}, Cluster::R(1), read}, {});
  shard.HandleRequest({RequestId{4}, Cluster::W(1), WriteRequest{}}, {});
  ListRequest list;
  list.bucket = read.spec.object.bucket;
  list.limit = 1;
  shard.HandleRequest({RequestId{5}, {}, list}, {});
  shard.HandleRequest(
      {RequestId{6}, Cluster::W(1), WriteRequest{{RemoveFrom("n", {"x"})}}},
      {});
  std::map<RequestId, absl::StatusCode> codes;
  const Output output = shard.EndTurn({});
  for (const ClientReply& reply : output.replies) {
    CHECK(codes.emplace(reply.id, reply.body.status().code()).second);
  }
  using Code = absl::StatusCode;
  // "x" was never there: a read that saw it must not say so. A listing may rest
  // on such reads.
  CHECK(codes ==
        std::map<RequestId, Code>{{RequestId{1}, Code::kUnavailable},
                                  {RequestId{2}, Code::kResourceExhausted},
                                  {RequestId{3}, Code::kUnavailable},
                                  {RequestId{4}, Code::kInvalidArgument},
                                  {RequestId{5}, Code::kUnavailable},
                                  {RequestId{6}, Code::kResourceExhausted}});
}

TEST_CASE("Shard: a delta whose commit fails is refused, not acknowledged") {
  Cluster cluster(2);
  cluster.disk(1).FailCommit(1, absl::ResourceExhaustedError("disk full"));
  const RequestId id = cluster.Begin(0, {AddTo("k", {"x"})}, Cluster::W(2));
  cluster.DeliverAll();
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(absl::IsUnavailable(reply->body.status()));
  CHECK(cluster.Show(1, Type::kSet, "k") == "{}");
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(1, Type::kSet, "k") == "{x}");
}

TEST_CASE(
    "Shard: a restart mints under a new actor and loses nothing written") {
  Cluster cluster(2);
  for (int i = 0; i < 5; ++i) REQUIRE(cluster.Write(0, Count("c", 2)).ok());
  cluster.Crash(0);
  REQUIRE(cluster.Start(0).ok());
  CHECK(cluster.Show(0, Type::kCounter, "c") == "10");
  REQUIRE(cluster.Write(0, Count("c", 1)).ok());
  CHECK(cluster.Show(0, Type::kCounter, "c") == "11");
  CHECK(cluster.at(0).ContextOf(PartitionId{0}).applied.actor_count() == 2);
  CHECK(cluster.at(0).VerifyDigests().ok());
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(1, Type::kCounter, "c") == "11");
}

TEST_CASE("Shard: what a power loss took comes back from the peers' logs") {
  Cluster cluster(3);
  REQUIRE(cluster.Settle().has_value());
  for (int i = 0; i < 6; ++i) {
    REQUIRE(cluster.Write(0, AddTo("k", {absl::StrCat("e", i)})).ok());
    cluster.DeliverAll();
  }
  cluster.Crash(0, 4);
  REQUIRE(cluster.Start(0).ok());
  REQUIRE(cluster.Write(0, AddTo("k", {"new"})).ok());
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{e0, e1, e2, e3, e4, e5, new}");
}

TEST_CASE("Shard: logs keep what an owner lacks and empty when all have it") {
  Cluster cluster(3);
  REQUIRE(cluster.Settle().has_value());
  cluster.Crash(2);
  for (int i = 0; i < 50; ++i) {
    REQUIRE(cluster.Write(0, AddTo("k", {absl::StrCat(i)})).ok());
  }
  for (int i = 0; i < 10; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Seconds(1));
  }
  CHECK(cluster.at(0).Digests()[0].log_entries == 50);
  CHECK(cluster.at(1).Digests()[0].log_entries == 50);
  REQUIRE(cluster.Start(2).ok());
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.at(0).Digests()[0].log_entries == 0);
  cluster.Crash(2);  // sums and context now come from the checkpoint alone
  REQUIRE(cluster.Start(2).ok());
  CHECK(cluster.Differences() == "");
}

TEST_CASE("Shard: a large set is a row an element, cleared in parts") {
  Cluster cluster(2);
  std::vector<std::string> elements;
  for (int i = 0; i < 900; ++i) elements.push_back(absl::StrCat("e", i));
  REQUIRE(cluster.Write(0, AddTo("k", elements)).ok());
  for (std::string& element : elements) element += "'";
  REQUIRE(cluster.Write(0, AddTo("k", elements)).ok());
  cluster.DeliverAll();
  const RequestId id =
      cluster.Begin(1, {Op(Type::kSet, Verb::kClear, "k")}, Cluster::W(2));
  for (int i = 0; i < 5; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(1));
  }
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  CHECK(std::get<WriteReply>(*reply->body).deltas == 2);
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{}");
  CHECK(cluster.at(0).DumpRows(PartitionId{0})->empty());
  CHECK(cluster.disk(0).keys(Family::kRows).empty());
  CHECK(cluster.disk(0).keys(Family::kIndex).empty());
}

TEST_CASE("Shard: a damaged row quarantines the partition, never not-found") {
  ShardOptions options;
  options.row_cache_bytes = 0;
  Cluster cluster(2, 1, options);
  REQUIRE(cluster.Write(0, WriteTo("k", "v")).ok());
  const std::string key = cluster.disk(0).keys(Family::kRows).begin()->first;
  cluster.disk(0).FailRead(Family::kRows, key);
  crdt::ReadSpec spec;
  spec.object = {"b", "k", Type::kRegister};
  CHECK(absl::IsDataLoss(cluster.Read(0, spec).status()));
  CHECK(absl::IsDataLoss(cluster.Write(0, WriteTo("k", "w")).status()));
  CHECK(cluster.at(0).stats().quarantined == 1);
  CHECK(absl::IsDataLoss(cluster.Write(0, WriteTo("other", "w")).status()));
}

TEST_CASE("Shard: a batch is one delta, and must lie in one partition") {
  Cluster cluster(1, 8);
  const RequestId id =
      cluster.Begin(0, {AddTo("{t}a", {"x"}), Count("{t}b", 3),
                        RemoveFrom("{t}a", {"x"}), AddTo("{t}a", {"y"})});
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  CHECK(std::get<WriteReply>(*reply->body).deltas == 1);
  CHECK(cluster.Show(0, Type::kSet, "{t}a") == "{y}");
  CHECK(cluster.Show(0, Type::kCounter, "{t}b") == "3");
  std::vector<crdt::Operation> scattered;
  for (int i = 0; i < 20; ++i) scattered.push_back(Count(absl::StrCat(i), 1));
  auto refused = cluster.Take(cluster.Begin(0, scattered));
  REQUIRE(refused.has_value());
  CHECK(absl::IsInvalidArgument(refused->body.status()));
  CHECK(cluster.Show(0, Type::kCounter, "0") == "0");
}

TEST_CASE("Shard: fsync durability is acknowledged after the synced commit") {
  Cluster cluster(2);
  RequestOptions options = Cluster::W(2);
  options.durability = Durability::kFsync;
  const RequestId id = cluster.Begin(0, {Count("c", 1)}, options);
  cluster.DeliverAll();
  REQUIRE(cluster.Take(id).has_value());
  CHECK(cluster.disk(0).unsynced_batches() == 0);
  CHECK(cluster.disk(1).unsynced_batches() == 0);
}

TEST_CASE("Shard: what is committed during an fsync is not durable by it") {
  ShardOptions options;
  options.background_fsync = true;
  Cluster cluster(2, 1, options);
  // The newest summary that node 0 sent, as counts of events.
  const auto summary = [&] {
    std::pair<uint64_t, uint64_t> applied_and_durable;
    for (const Cluster::InFlight& message : cluster.network()) {
      const auto* it = std::get_if<Summary>(&message.message.body);
      if (it == nullptr || message.from != NodeId{0}) continue;
      applied_and_durable = {it->applied.dot_count(), it->durable.dot_count()};
    }
    return applied_and_durable;
  };
  using Counts = std::pair<uint64_t, uint64_t>;
  REQUIRE(cluster.Write(0, Count("c", 1)).ok());
  cluster.Advance(options.fsync_period);  // begins it
  REQUIRE(cluster.disk(0).unsynced_batches() == 0);
  REQUIRE(cluster.Write(0, Count("c", 1)).ok());  // after which it ends
  cluster.at(0).StartSync(NodeId{1}, cluster.now());
  cluster.Advance(absl::Milliseconds(1));
  CHECK(summary() == Counts(2, 1));
  cluster.Advance(2 * options.fsync_period);
  cluster.at(0).StartSync(NodeId{1}, cluster.now());
  cluster.Advance(absl::Milliseconds(1));
  CHECK(summary() == Counts(2, 2));
}

TEST_CASE("Shard: a token removes what was read, at a node that lacks it too") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  crdt::ReadSpec spec;
  spec.object = {"b", "k", Type::kSet};
  spec.want_token = true;
  auto read = cluster.Read(0, spec);
  REQUIRE(read.ok());
  crdt::Operation remove = RemoveFrom("k", {"x"});
  remove.observed = read->token;
  REQUIRE(cluster.Write(1, remove).ok());
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{}");
  CHECK(cluster.Show(1, Type::kSet, "k") == "{}");
  auto again = cluster.Write(1, RemoveFrom("k", {"x"}));
  REQUIRE(again.ok());
  CHECK(again->not_observed == std::vector<bool>{true});
  CHECK(again->deltas == 0);
}

}  // namespace
}  // namespace dovetail::replica
