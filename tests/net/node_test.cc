// Whole nodes in one process, on real sockets, asked as clients ask.
#include "net/node.h"

#include <capnp/rpc-twoparty.h>
#include <doctest/doctest.h>
#include <kj/async.h>

#include <algorithm>
#include <boost/asio/write.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/client_codec.h"
#include "net/host.h"
#include "net/message_stream.h"
#include "net/ring_waits.h"
#include "replica/hash.h"
#include "replica/ring_plan.h"
#include "replica/shard.h"
#include "tests/net/http.h"
#include "tests/net/nodes.h"
#include "tests/net/support.h"

namespace dovetail::net {
namespace {

TEST_CASE("Node: a write at one node is read at another, by quorum") {
  Cluster cluster(3);
  auto a = cluster.Call(0);
  auto b = cluster.Call(1);
  replica::RequestOptions quorum{replica::Level::Quorum(),
                                 replica::Level::Quorum()};
  std::vector<ClientOperation> adds;
  for (int i = 0; i < 200; ++i) {
    adds.push_back(Add("k" + std::to_string(i), "x" + std::to_string(i)));
  }
  const auto written = cluster.Execute(*a, adds, quorum);
  REQUIRE(written.size() == 200);
  for (const auto& result : written) {
    REQUIRE_MESSAGE(result.ok(), result.status().ToString());
    const auto& receipt = std::get<replica::WriteReply>(*result).receipt;
    CHECK(receipt.required == 2);
    CHECK(receipt.nodes.size() >= 2);
    CHECK(receipt.nodes[0] == Id(0));
  }
  std::vector<ClientOperation> reads;
  for (int i = 0; i < 200; ++i) reads.push_back(Read("k" + std::to_string(i)));
  const auto read = cluster.Execute(*b, reads, quorum);
  for (size_t i = 0; i < 200; ++i) {
    REQUIRE(read[i].ok());
    CHECK(std::get<replica::ReadReply>(*read[i]).result.view.values ==
          std::vector<std::string>{"x" + std::to_string(i)});
  }
}

TEST_CASE("Node: after concurrent writes everywhere all digests are equal") {
  Cluster cluster(3);
  std::vector<std::unique_ptr<Caller>> callers;
  for (size_t i = 0; i < 3; ++i) callers.push_back(cluster.Call(i));
  for (int round = 0; round < 5; ++round) {
    for (size_t i = 0; i < 3; ++i) {
      std::vector<ClientOperation> ops;
      for (int k = 0; k < 20; ++k) {
        ops.push_back(Add("k" + std::to_string(k), "n" + std::to_string(i)));
      }
      for (const auto& result :
           cluster.Execute(*callers[i], ops,
                           {.read = {}, .write = replica::Level::Count(1)})) {
        REQUIRE(result.ok());
      }
    }
  }
  const auto equal = [&] {
    const auto first = cluster.Digests(*callers[0]);
    CHECK(first.partitions.size() == 16);
    for (size_t i = 1; i < 3; ++i) {
      const auto other = cluster.Digests(*callers[i]);
      for (size_t p = 0; p < 16; ++p) {
        if (first.partitions[p].rows != other.partitions[p].rows ||
            first.partitions[p].context != other.partitions[p].context) {
          return false;
        }
      }
    }
    return true;
  };
  while (!equal()) {
  }
}

TEST_CASE("Node: what is wrong in a call is answered in its place") {
  Cluster cluster(1);
  auto caller = cluster.Call(0);
  crdt::Operation bad;
  bad.object = {"b", "", crdt::Type::kSet};  // no key
  bad.elements = {"x"};
  crdt::Operation mismatch;
  mismatch.object = {"b", "k", crdt::Type::kSet};
  mismatch.verb = crdt::Verb::kEnable;
  const auto results =
      cluster.Execute(*caller,
                      {Add("k", "x"), replica::WriteRequest{{bad}},
                       replica::WriteRequest{{mismatch}},
                       Add("k", std::string(70'000, 'x')), Read("k")},
                      {});
  REQUIRE(results.size() == 5);
  CHECK(results[0].ok());
  CHECK(results[1].status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(results[2].status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(results[3].status().code() == absl::StatusCode::kResourceExhausted);
  REQUIRE(results[4].ok());
  CHECK(std::get<replica::ReadReply>(*results[4]).result.view.values ==
        std::vector<std::string>{"x"});
}

TEST_CASE("Node: reads that are large together are answered or deferred") {
  Cluster cluster(1);
  auto caller = cluster.Call(0);
  std::vector<ClientOperation> writes;
  std::vector<ClientOperation> reads;
  for (int i = 0; i < 10; ++i) {
    crdt::Operation write;
    write.object = {"b", "k" + std::to_string(i), crdt::Type::kRegister};
    write.verb = crdt::Verb::kWrite;
    write.value = std::string(900'000, 'x');
    replica::ReadRequest read;
    read.spec.object = write.object;
    REQUIRE(
        cluster.Execute(*caller, {replica::WriteRequest{{write}}}, {})[0].ok());
    reads.push_back(read);
  }
  int answered = 0;
  for (const auto& result : cluster.Execute(*caller, reads, {})) {
    if (result.ok()) {
      ++answered;
    } else {
      CHECK(IsDeferredRead(result.status()));
    }
  }
  CHECK(answered >= 1);
  CHECK(answered <= 3);
}

TEST_CASE("Node: hello, status and listing answer") {
  Cluster cluster(3);
  auto caller = cluster.Call(2);
  auto& scope = cluster.loop.wait_scope();
  auto hello = DecodeHello(caller->node.helloRequest().send().wait(scope));
  REQUIRE(hello.ok());
  CHECK(hello->node == Id(2));
  CHECK(hello->node_name == "c");

  auto reply = caller->node.statusRequest().send().wait(scope);
  auto status = DecodeStatus(reply.getStatus());
  REQUIRE(status.ok());
  CHECK(status->shards.size() == 2);
  CHECK(status->actor == crdt::ActorId{102});
  REQUIRE(status->members.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(status->members[i].up);
    CHECK(status->members[i].address ==
          ToString(cluster.node(i).client_endpoint()));
  }

  std::vector<ClientOperation> adds;
  for (int i = 0; i < 30; ++i) {
    adds.push_back(Add("k" + std::to_string(100 + i), "x"));
  }
  cluster.Execute(*caller, adds, {});
  std::vector<std::string> keys;
  replica::ListRequest list;
  list.bucket = "b";
  list.limit = 7;
  while (true) {
    auto request = caller->node.listRequest();
    EncodeList(list, {}, request);
    auto page = DecodeListReply(request.send().wait(scope));
    REQUIRE(page.ok());
    for (const auto& object : page->objects) keys.push_back(object.key);
    if (!page->more) break;
    list.after = page->objects.back();
  }
  REQUIRE(keys.size() == 30);
  CHECK(keys.front() == "k100");
  CHECK(keys.back() == "k129");
}

TEST_CASE("Node: who joins before the first write owns a part after a commit") {
  Cluster cluster(4, 3);
  auto caller = cluster.Call(3);  // it serves though it owns nothing
  auto& scope = cluster.loop.wait_scope();
  const auto view = [&] {
    auto reply = caller->node.clusterRequest().send().wait(scope);
    auto decoded = DecodeClusterView(reply.getCluster());
    REQUIRE(decoded.ok());
    return *std::move(decoded);
  };
  const auto administer = [&](const ClusterAdmin& admin) {
    auto request = caller->node.clusterAdminRequest();
    EncodeClusterAdmin(admin, request);
    return DecodeClusterAdminReply(request.send().wait(scope));
  };
  REQUIRE(view().members.size() == 4);
  CHECK(view().cluster == "test");
  CHECK(view().node_name == "d");
  for (const ClusterMember& member : view().members) {
    CHECK(member.in_ring == (member.name != "d"));
    CHECK(member.partitions == (member.name == "d" ? 0 : 16));
    CHECK(member.reachable);
    CHECK(member.condition == Condition::kAlive);
  }
  const auto staged = administer(StageJoins{});
  REQUIRE_MESSAGE(staged.ok(), staged.status().ToString());
  CHECK(staged->staged == std::vector<std::string>{"d"});
  CHECK(staged->partitions_moved > 0);
  CHECK(administer(CommitPlan{9}).status().code() ==
        absl::StatusCode::kFailedPrecondition);
  // Others must have said that they are empty.
  absl::StatusOr<PlanView> committed = absl::UnknownError("not tried");
  do {
    committed = administer(CommitPlan{staged->epoch});
  } while (!committed.ok());
  CHECK(committed->epoch == 2);
  RunUntil(cluster.loop, [&] {
    for (uint32_t i = 0; i < 4; ++i) {
      if (cluster.stored[i].epoch() != 2) return false;
    }
    return true;
  });
  uint32_t owned = 0;
  for (const ClusterMember& member : view().members) {
    CHECK(member.in_ring);
    CHECK(member.partitions > 0);
    owned += member.partitions;
  }
  CHECK(owned == 3 * 16);
  for (int i = 0; i < 50; ++i) {
    const std::string key = "k" + std::to_string(i);
    REQUIRE(cluster.Execute(*caller, {Add(key, "x")}, {})[0].ok());
    const auto read = cluster.Execute(*caller, {Read(key)}, {});
    REQUIRE(read[0].ok());
    CHECK(std::get<replica::ReadReply>(*read[0]).result.view.values ==
          std::vector<std::string>{"x"});
  }
  // Now there is data.
  CHECK(administer(StageJoins{}).status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

TEST_CASE(
    "Node: what is known of the cluster is stored when it changes alone") {
  Cluster cluster(4, 3);
  const auto caller = cluster.Call(0);
  auto& scope = cluster.loop.wait_scope();
  const auto administer = [&](const ClusterAdmin& admin) {
    auto request = caller->node.clusterAdminRequest();
    EncodeClusterAdmin(admin, request);
    return DecodeClusterAdminReply(request.send().wait(scope));
  };
  for (int i = 0; i < 50; ++i) {
    const std::string key = "k" + std::to_string(i);
    REQUIRE(cluster.Execute(*caller, {Add(key, "x")}, {})[0].ok());
  }
  const auto staged = administer(StageJoins{});
  REQUIRE_MESSAGE(staged.ok(), staged.status().ToString());
  REQUIRE(administer(CommitPlan{staged->epoch}).ok());
  // The new owner tells all how much it is yet to fill, which is not stored.
  replica::NamedChange heavier;
  heavier.kind = replica::ChangeKind::kWeight;
  heavier.name = "d";
  heavier.weight = 200;
  absl::StatusOr<PlanView> next = administer(heavier);
  REQUIRE_MESSAGE(next.ok(), next.status().ToString());
  // Refused for as long as not all have said that they are complete.
  do {
    next = administer(CommitPlan{});
  } while (!next.ok());
  CHECK(next->epoch == 3);
  CHECK(cluster.stored_again == 0);
}

TEST_CASE("Node: every node hears what the others carry") {
  Cluster cluster(3);
  auto caller = cluster.Call(0);
  std::vector<ClientOperation> adds;
  for (int i = 0; i < 50; ++i)
    adds.push_back(Add("k" + std::to_string(i), "x"));
  for (const auto& result :
       cluster.Execute(*caller, adds, {{}, replica::Level::All()})) {
    REQUIRE(result.ok());
  }
  auto other = cluster.Call(2);
  while (true) {
    auto reply =
        other->node.clusterRequest().send().wait(cluster.loop.wait_scope());
    const auto view = DecodeClusterView(reply.getCluster());
    REQUIRE(view.ok());
    REQUIRE(view->members.size() == 3);
    const auto heard = [](const ClusterMember& member) {
      return member.load.has_value() && member.load->entries == 50 &&
             member.load->held > 0 && member.load->epoch == 1;
    };
    if (std::all_of(view->members.begin(), view->members.end(), heard)) break;
  }
}

TEST_CASE("Node: junk on the client port ends that connection alone") {
  Cluster cluster(1);
  auto good = cluster.Call(0);
  for (const std::string& junk :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100, '\xff'),
        std::string("\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0", 16)}) {
    std::unique_ptr<Socket> socket;
    bool closed = false;
    char buffer[1024];
    std::function<void()> read = [&] {
      socket->async_read_some(
          boost::asio::buffer(buffer),
          [&](const boost::system::error_code& error, size_t) {
            if (!error) return read();  // its last word
            closed = true;
          });
    };
    Dial(cluster.loop, cluster.node(0).client_endpoint(), absl::Seconds(10),
         [&](absl::StatusOr<Socket> dialled) {
           REQUIRE(dialled.ok());
           socket = std::make_unique<Socket>(*std::move(dialled));
           boost::asio::write(*socket, boost::asio::buffer(junk));
           read();
         });
    RunUntil(cluster.loop, [&] { return closed; });
  }
  CHECK(cluster.Execute(*good, {Add("k", "x")}, {})[0].ok());
}

TEST_CASE("Node: a scrape has each request once, and how long it took") {
  Cluster cluster(3);
  auto caller = cluster.Call(0);
  const Endpoint at = cluster.node(0).metrics_endpoint();
  const std::string writes = "{kind=\"write\",level=\"quorum\"";
  const std::string reads = "{kind=\"read\",level=\"all\"";
  const std::string took = "dovetail_request_duration_seconds_count";
  CHECK(SampleOf(Scrape(cluster.loop, at), took + writes + "}") == -1);
  for (int round = 1; round <= 2; ++round) {
    std::vector<ClientOperation> adds(20, Add("k", "x"));
    for (const auto& result :
         cluster.Execute(*caller, adds, {{}, replica::Level::Quorum()})) {
      REQUIRE(result.ok());
    }
    cluster.Execute(*caller, {Read("k"), Read("k")},
                    {replica::Level::All(), {}});
    const std::string text = Scrape(cluster.loop, at);
    const auto answered = [&](const std::string& which) {
      return SampleOf(text,
                      "dovetail_requests_total" + which + ",outcome=\"ok\"}");
    };
    CHECK(answered(writes) == 20 * round);
    CHECK(answered(reads) == 2 * round);
    CHECK(SampleOf(text, took + writes + "}") == 20 * round);
    CHECK(SampleOf(text, took + reads + "}") == 2 * round);
    CHECK(SampleOf(text,
                   "dovetail_request_duration_seconds_sum" + writes + "}") > 0);
    CHECK(SampleOf(text, "dovetail_peer_up{peer=\"b\"}") == 1);
    CHECK(SampleOf(text, "dovetail_client_connections") == 1);
    CHECK(SampleOf(text, "dovetail_commits_total") > 0);
  }
  // The peers hear of the writes and say so.
  while (SampleOf(Scrape(cluster.loop, at),
                  "dovetail_sync_lag_events{peer=\"c\"}") != 0) {
  }
}

TEST_CASE("Node: a level that cannot be met is refused at once") {
  Cluster cluster(3);
  auto caller = cluster.Call(0);
  CHECK(cluster.node(1).Stop().ok());
  CHECK(cluster.node(2).Stop().ok());
  RunUntil(cluster.loop, [&] {
    return !cluster.node(0).peers().up(Id(1)) &&
           !cluster.node(0).peers().up(Id(2));
  });
  const auto results = cluster.Execute(*caller, {Add("k", "x")},
                                       {.read = {},
                                        .write = replica::Level::Quorum(),
                                        .timeout = absl::Minutes(4)});
  CHECK(results[0].status().code() == absl::StatusCode::kUnavailable);
  CHECK(cluster
            .Execute(*caller, {Add("k", "x")},
                     {.read = {}, .write = replica::Level::Count(1)})[0]
            .ok());
}

TEST_CASE("Node: who calls by an older ring is told, by a newer one waits") {
  Cluster cluster(2);
  auto caller = cluster.Call(0);
  auto call = [&](const replica::RingStamp& ring) {
    const ClientOperation operation = Add("k", "x");
    auto request = caller->node.executeRequest();
    EncodeExecute({&operation}, {}, request);
    if (ring.epoch != 0) EncodeRing(ring, request.initRing());
    auto reply = request.send().wait(cluster.loop.wait_scope());
    const auto results = DecodeResults(reply);
    REQUIRE(results.ok());
    CHECK_MESSAGE(results->front().ok(), results->front().status().ToString());
    return NewerRingOf(reply);
  };
  const replica::RingStamp mine =
      cluster.node(0).cluster().cluster().ring_stamp();
  CHECK(call(mine) == replica::RingStamp{});
  CHECK(call({}) == replica::RingStamp{});  // it goes by none
  // Of the same epoch, and it lost.
  CHECK(call({mine.epoch, {0, 1}}) == mine);
  // Nobody has it: the call goes on by what there is.
  const absl::Duration start = SteadyNow();
  CHECK(call({mine.epoch + 98, {1, 1}}) == replica::RingStamp{});
  CHECK(SteadyNow() - start >= kRingPatience);
  // It is told to go on by that ring's successors, and no others.
  RingWaits waits(cluster.loop);
  int gone = 0;
  waits.Add({5, {2, 0}}, [&] { ++gone; });
  waits.OnRing({4, {9, 0}});
  waits.OnRing({5, {1, 0}});
  CHECK(gone == 0);
  waits.OnRing({5, {2, 0}});
  CHECK(gone == 1);
  for (size_t i = 0; i < kRingWaitsMax; ++i)
    waits.Add({9, {}}, [&] { ++gone; });
  CHECK(gone == 1);
  waits.Add({9, {}}, [&] { ++gone; });
  CHECK(gone == 2);
  waits.OnRing({10, {}});
  CHECK(gone == static_cast<int>(kRingWaitsMax) + 2);
  CHECK(waits.size() == 0);
}

TEST_CASE("Node: listings too are told of a newer ring, or wait for it") {
  Cluster cluster(2);
  cluster.AwaitFounded(0);
  auto caller = cluster.Call(0);
  auto call = [&](const replica::RingStamp& ring) {
    auto request = caller->node.listRequest();
    replica::ListRequest list;
    list.bucket = "b";
    EncodeList(list, {}, request);
    if (ring.epoch != 0) EncodeRing(ring, request.initRing());
    auto reply = request.send().wait(cluster.loop.wait_scope());
    CHECK(DecodeListReply(reply).ok());
    return NewerRingOf(reply);
  };
  const replica::RingStamp mine =
      cluster.node(0).cluster().cluster().ring_stamp();
  CHECK(call(mine) == replica::RingStamp{});
  CHECK(call({}) == replica::RingStamp{});
  CHECK(call({mine.epoch, {0, 1}}) == mine);
  const absl::Duration start = SteadyNow();
  CHECK(call({mine.epoch + 98, {1, 1}}) == replica::RingStamp{});
  CHECK(SteadyNow() - start >= kRingPatience);
}

TEST_CASE("Node: a listing shows its session what it wrote at another node") {
  // Two shards each: what a partition's shard has applied, and what the index
  // shows, are told by two threads.
  Cluster cluster(3);
  auto writer = cluster.Call(0);
  auto reader = cluster.Call(2);
  replica::RequestOptions one;
  one.write = one.read = replica::Level::Count(1);
  std::map<replica::PartitionId, replica::SessionToken> seen;
  for (int i = 0; i < 40; ++i) {
    replica::WriteRequest write =
        std::get<replica::WriteRequest>(Add(absl::StrCat("k", i), "x"));
    write.session.emplace();
    const auto results = cluster.Execute(*writer, {write}, one);
    REQUIRE_MESSAGE(results[0].ok(), results[0].status().ToString());
    const auto& token = *std::get<replica::WriteReply>(*results[0]).session;
    seen[token.partition].MergeFrom(token);
    replica::ListRequest list;
    list.bucket = "b";
    for (const auto& [partition, its] : seen) list.session.push_back(its);
    auto request = reader->node.listRequest();
    EncodeList(list, one, request);
    const auto page =
        DecodeListReply(request.send().wait(cluster.loop.wait_scope()));
    REQUIRE_MESSAGE(page.ok(), page.status().ToString());
    CHECK(page->objects.size() == static_cast<size_t>(i) + 1);
  }
}

TEST_CASE("Node: a drain answers what is in flight and refuses what is new") {
  Cluster cluster(3);
  auto caller = cluster.Call(0);
  auto idle = cluster.Call(0);
  const replica::RequestOptions all{
      .read = {}, .write = replica::Level::All(), .timeout = absl::Minutes(1)};
  auto b = cluster.storage(1).Block();
  auto in_flight = cluster.Send(*caller, {Add("k", "x")}, all);
  auto gone = cluster.Call(0);
  auto unheard = cluster.Send(*gone, {Add("k", "u")}, all);
  CHECK(cluster
            .Execute(*gone, {Add("k", "v")},
                     {.read = {}, .write = replica::Level::Count(1)})[0]
            .ok());
  // Its answer says that the write before it is with the shards.
  CHECK(cluster
            .Execute(*caller, {Add("k", "y")},
                     {.read = {}, .write = replica::Level::Count(1)})[0]
            .ok());
  bool drained = false;
  cluster.node(0).Drain(absl::Minutes(1), [&] { drained = true; });
  auto reply = cluster.Send(*caller, {Add("k", "z")}, all)
                   .wait(cluster.loop.wait_scope());
  const absl::Status refused = DecodeResults(reply).status();
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(MayHaveTakenEffect(refused));
  // Who waits for nothing is let go at once; who does, is not.
  idle->network.onDisconnect().wait(cluster.loop.wait_scope());
  idle.reset();
  CHECK_FALSE(drained);
  absl::StatusOr<Socket> late = absl::UnknownError("not dialled yet");
  Dial(cluster.loop, cluster.node(0).client_endpoint(), absl::Seconds(10),
       [&](absl::StatusOr<Socket> socket) { late = std::move(socket); });
  RunUntil(cluster.loop,
           [&] { return late.status().code() != absl::StatusCode::kUnknown; });
  CHECK_FALSE(late.ok());

  // One hangs up before its answer comes.
  gone.reset();

  b.unlock();
  CHECK(cluster.Await(kj::mv(in_flight))[0].ok());
  caller->network.onDisconnect().wait(cluster.loop.wait_scope());
  CHECK_FALSE(drained);  // the client has to hang up too
  caller.reset();
  RunUntil(cluster.loop, [&] { return drained; });
  CHECK(cluster.node(0).Stop().ok());
}

TEST_CASE("Node: a drain ends in time although an answer does not come") {
  Cluster cluster(3);
  auto caller = cluster.Call(0);
  auto b = cluster.storage(1).Block();
  auto in_flight = cluster.Send(*caller, {Add("k", "x")},
                                {.read = {},
                                 .write = replica::Level::All(),
                                 .timeout = absl::Minutes(1)});
  CHECK(cluster
            .Execute(*caller, {Add("k", "y")},
                     {.read = {}, .write = replica::Level::Count(1)})[0]
            .ok());
  bool drained = false;
  cluster.node(0).Drain(absl::Milliseconds(50), [&] { drained = true; });
  RunUntil(cluster.loop, [&] { return drained; });
  CHECK(cluster.node(0).Stop().ok());
}

}  // namespace
}  // namespace dovetail::net
