// A turn whose commit fails: whoever it was to answer gets exactly one reply,
// and nothing leaves that vouches for what was not written.
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/delta.h"
#include "doctest/doctest.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/shard.h"
#include "tests/replica/cluster.h"
#include "tests/sim/seat.h"

namespace dovetail::replica {
namespace {

using crdt::Type;
using crdt::Verb;

const absl::Status kDiskFull = absl::ResourceExhaustedError("disk full");

crdt::ReadSpec SetK() {
  crdt::ReadSpec spec;
  spec.object = {"b", "k", Type::kSet};
  return spec;
}

// The inputs of one turn of node 0, whose commit fails.
class FailedTurn {
 public:
  explicit FailedTurn(Cluster& cluster) : cluster_(cluster) {
    cluster.disk(0).FailCommit(1, kDiskFull);
  }

  RequestId Write(crdt::Operation operation, uint32_t w = 1) {
    return Request(Cluster::W(w), WriteRequest{{std::move(operation)}});
  }
  RequestId Read(uint32_t r) {
    return Request(Cluster::R(r), ReadRequest{SetK(), {}});
  }
  RequestId List(uint32_t r) {
    ListRequest list;
    list.bucket = "b";
    return Request(Cluster::R(r), list);
  }
  // What waits for node 0 in the network.
  void Receive() {
    std::erase_if(cluster_.network(), [&](const Cluster::InFlight& item) {
      if (item.to != NodeId{0}) return false;
      Receive(sim::SeatOf(item.from), item.message.body);
      return true;
    });
  }
  template <class Body>
  void Receive(uint32_t from, Body body) {
    cluster_.at(0).HandleMessage(NodeId{from}, {PartitionId{0}, body},
                                 cluster_.now());
  }
  // Afterwards the messages are those that left.
  void End() {
    Output output = cluster_.at(0).EndTurn(cluster_.now());
    REQUIRE(output.fatal.ok());
    REQUIRE(cluster_.at(0).stats().commits_failed == 1);
    messages = std::move(output.messages);
    for (ClientReply& reply : output.replies) {
      const RequestId id = reply.id;
      const bool first = replies_.emplace(id, std::move(reply)).second;
      CHECK_MESSAGE(first, "a second reply to one request");
    }
  }

  size_t replies() const { return replies_.size(); }
  bool Answered(RequestId id) const { return replies_.contains(id); }
  absl::Status StatusOf(RequestId id) const {
    const auto it = replies_.find(id);
    if (it == replies_.end()) return absl::NotFoundError("no reply");
    return it->second.body.status();
  }
  template <class Reply>
  const Reply& Get(RequestId id) const {
    return std::get<Reply>(*replies_.at(id).body);
  }

  std::vector<Envelope> messages;

 private:
  template <class Body>
  RequestId Request(RequestOptions options, Body body) {
    const RequestId id{next_++};
    cluster_.at(0).HandleRequest({id, options, std::move(body)},
                                 cluster_.now());
    return id;
  }

  Cluster& cluster_;
  std::map<RequestId, ClientReply> replies_;
  uint64_t next_ = 1'000'000;
};

TEST_CASE("Failed turn: a read in it fails, for it may show what never was") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  cluster.DeliverAll();
  const RequestId waiting = cluster.BeginRead(0, SetK(), Cluster::R(2));
  cluster.DeliverAll([](const auto& item) { return item.to == NodeId{0}; });
  FailedTurn turn(cluster);
  const RequestId write = turn.Write(AddTo("k", {"y"}));
  const RequestId shows_y = turn.Read(1);
  const RequestId asks_others = turn.Read(2);
  turn.Receive();  // the answer that `waiting` waits for
  turn.End();
  CHECK(turn.replies() == 4);
  CHECK(absl::IsResourceExhausted(turn.StatusOf(write)));
  CHECK(absl::IsUnavailable(turn.StatusOf(shows_y)));
  CHECK(absl::IsUnavailable(turn.StatusOf(asks_others)));
  CHECK(absl::IsUnavailable(turn.StatusOf(waiting)));
  CHECK(turn.messages.empty());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
}

TEST_CASE("Failed turn: a listing in it fails, for it may rest on its reads") {
  Cluster cluster(2);
  REQUIRE(cluster.Write(1, AddTo("k", {"x"})).ok());
  cluster.network().clear();
  ListRequest list;
  list.bucket = "b";
  // Two whose nodes answer in this turn, one of which has asked about "k".
  const RequestId deciding = cluster.BeginList(0, list, Cluster::R(2));
  cluster.DeliverAll([](const auto& item) {
    return std::holds_alternative<ReadQuery>(item.message.body);
  });
  const RequestId waiting = cluster.BeginList(0, list, Cluster::R(2));
  cluster.DeliverAll([](const auto& item) { return item.to == NodeId{0}; });
  FailedTurn turn(cluster);
  const RequestId write = turn.Write(AddTo("k", {"y"}));
  const RequestId alone = turn.List(1);
  const RequestId asks_others = turn.List(2);
  turn.Receive();
  turn.End();
  CHECK(turn.replies() == 5);
  CHECK(absl::IsResourceExhausted(turn.StatusOf(write)));
  for (RequestId id : {deciding, waiting, alone, asks_others}) {
    CHECK(absl::IsUnavailable(turn.StatusOf(id)));
  }
  CHECK(turn.messages.empty());
}

TEST_CASE("Failed turn: other nodes' listings hear that it failed") {
  Cluster cluster(2);
  const ReadTicket ticket{crdt::ActorId{5}, 9};
  FailedTurn turn(cluster);
  turn.Write(AddTo("k", {"y"}));
  ListQuery list;
  list.ticket = ticket;
  list.request.bucket = "b";
  turn.Receive(1, list);
  PresenceQuery presence;
  presence.ticket = ticket;
  presence.place = 4;
  presence.object = {"b", "k", Type::kSet};
  presence.timeout = absl::Seconds(1);
  turn.Receive(1, presence);  // answered in the turn
  presence.required = 2;
  turn.Receive(1, presence);  // waits for another owner
  turn.End();
  REQUIRE(turn.messages.size() == 3);
  for (const Envelope& envelope : turn.messages) {
    CHECK(envelope.to == NodeId{1});
    if (const auto* page = std::get_if<ListAnswer>(&envelope.message.body)) {
      CHECK(page->ticket == ticket);
      CHECK(absl::IsUnavailable(page->status));
    } else {
      const auto& answer = std::get<PresenceAnswer>(envelope.message.body);
      CHECK(answer.ticket == ticket);
      CHECK(answer.place == 4);
      CHECK(absl::IsUnavailable(answer.status));
    }
  }
}

TEST_CASE(
    "Failed turn: what claims nothing of the turn is answered as it was") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  cluster.DeliverAll();
  FailedTurn turn(cluster);
  const RequestId write = turn.Write(AddTo("new", {"y"}));
  const RequestId no_such_verb = turn.Write(Op(Type::kMap, Verb::kAdd, "k"));
  const RequestId too_many = turn.Read(4);
  turn.End();
  CHECK(turn.replies() == 3);
  CHECK(absl::IsResourceExhausted(turn.StatusOf(write)));
  CHECK(absl::IsInvalidArgument(turn.StatusOf(no_such_verb)));
  CHECK(absl::IsInvalidArgument(turn.StatusOf(too_many)));
}

TEST_CASE("Failed turn: a write of before is acknowledged by whoever has it") {
  Cluster cluster(3);
  const RequestId before = cluster.Begin(0, {AddTo("k", {"x"})}, Cluster::W(2));
  const RequestId of_three =
      cluster.Begin(0, {AddTo("k", {"z"})}, Cluster::W(3));
  cluster.DeliverAll([](const auto& item) { return item.to != NodeId{1}; });
  FailedTurn turn(cluster);
  turn.Receive();  // the acknowledgements of node 1
  const RequestId write = turn.Write(AddTo("k", {"y"}));
  turn.End();
  CHECK(turn.replies() == 2);
  CHECK(absl::IsResourceExhausted(turn.StatusOf(write)));
  REQUIRE(turn.StatusOf(before).ok());
  CHECK(turn.Get<WriteReply>(before).receipt.nodes ==
        std::vector<NodeId>{NodeId{0}, NodeId{1}});
  // What node 1 said is not forgotten for the write that still waits.
  CHECK_FALSE(turn.Answered(of_three));
  cluster.DeliverAll();
  auto reply = cluster.Take(of_three);
  REQUIRE(reply.has_value());
  CHECK(reply->body.ok());
}

TEST_CASE("Failed turn: nothing to remove, if only the turn had removed it") {
  // The second remove wrote nothing, and would be told so: but what it did not
  // see is there again.
  Cluster cluster(1);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  FailedTurn turn(cluster);
  const RequestId first = turn.Write(RemoveFrom("k", {"x"}));
  const RequestId second = turn.Write(RemoveFrom("k", {"x"}));
  turn.End();
  CHECK(turn.replies() == 2);
  CHECK(absl::IsResourceExhausted(turn.StatusOf(first)));
  CHECK(absl::IsResourceExhausted(turn.StatusOf(second)));
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
}

TEST_CASE("Failed turn: a clear with two parts in it gets one reply") {
  Cluster cluster(1);
  std::vector<std::string> elements;
  for (int i = 0; i < 1500; ++i) elements.push_back(std::to_string(i));
  for (size_t i = 0; i < elements.size(); i += 500) {
    REQUIRE(cluster
                .Write(0, AddTo("k", {elements.begin() + i,
                                      elements.begin() + i + 500}))
                .ok());
  }
  FailedTurn turn(cluster);
  const RequestId clear = turn.Write(Op(Type::kSet, Verb::kClear, "k"));
  cluster.at(0).HandleTimers(cluster.now());
  turn.End();
  CHECK(turn.replies() == 1);
  CHECK(absl::IsResourceExhausted(turn.StatusOf(clear)));
}

TEST_CASE("Failed turn: what it did not touch is not read again") {
  constexpr uint32_t kPartitions = 2;
  Cluster cluster(1, kPartitions);
  const auto partition_of = [&](const std::string& key) {
    return PartitionOf("b", key, kPartitions);
  };
  std::string elsewhere = "e";
  while (partition_of(elsewhere) == partition_of("k")) elsewhere += "e";
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  REQUIRE(cluster.Write(0, AddTo(elsewhere, {"y"})).ok());
  const auto& log = cluster.disk(0).keys(Family::kLog);
  REQUIRE(log.size() == 2);
  const std::string prefix = LogPrefix(partition_of(elsewhere));
  cluster.disk(0).FailRead(Family::kLog, log.lower_bound(prefix)->first);

  FailedTurn turn(cluster);
  const RequestId write = turn.Write(AddTo("k", {"z"}));
  turn.End();  // REQUIREs that it is not fatal
  CHECK(absl::IsResourceExhausted(turn.StatusOf(write)));
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
  CHECK(cluster.Show(0, Type::kSet, elsewhere) == "{y}");
}

TEST_CASE("Failed turn: a truncation in it is taken back") {
  Cluster cluster(1);
  REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
  REQUIRE(cluster.at(0).SyncToDisk().ok());
  FailedTurn turn(cluster);
  cluster.at(0).CheckpointAll();
  cluster.at(0).TruncateLogs();
  REQUIRE(cluster.at(0).Digests()[0].log_entries == 0);
  turn.End();
  CHECK(cluster.at(0).Digests()[0].log_entries == 1);
  CHECK(cluster.at(0).VerifyDigests().ok());
  cluster.Crash(0);
  REQUIRE(cluster.Start(0).ok());
  CHECK(cluster.at(0).VerifyDigests().ok());
  CHECK(cluster.Show(0, Type::kSet, "k") == "{x}");
}

TEST_CASE("Failed turn: peers are told what is not here, and what is") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(1, AddTo("k", {"old"})).ok());
  const auto old = std::get<Replicate>(cluster.network()[0].message.body);
  cluster.DeliverAll();
  REQUIRE(cluster.Write(1, AddTo("k", {"x"})).ok());
  const auto fresh = std::get<Replicate>(cluster.network()[0].message.body);
  cluster.network().clear();
  const RequestId id = cluster.BeginRead(2, SetK(), Cluster::R(3));
  const auto query = std::get<ReadQuery>(cluster.network()[0].message.body);
  cluster.network().clear();

  FailedTurn turn(cluster);
  turn.Receive(1, fresh);
  turn.Receive(1, old);  // again: an earlier turn committed it
  turn.Receive(2, query);
  turn.Receive(1, Summary{});
  turn.End();
  bool refused = false;
  bool acknowledged = false;
  bool answered = false;
  for (Envelope& envelope : turn.messages) {
    auto& body = envelope.message.body;
    if (const auto* refuse = std::get_if<Refuse>(&body)) {
      CHECK(refuse->events == crdt::Delta::Decode(fresh.delta)->events);
      CHECK(envelope.to == NodeId{1});
      refused = true;
    } else if (const auto* ack = std::get_if<Ack>(&body)) {
      CHECK(ack->events == crdt::Delta::Decode(old.delta)->events);
      CHECK(envelope.to == NodeId{1});
      acknowledged = true;
    } else if (const auto* answer = std::get_if<ReadAnswer>(&body)) {
      // Its rows may never have been; but the reader need not wait.
      CHECK_FALSE(answer->status.ok());
      CHECK(answer->page.leaves.empty());
      CHECK(answer->ticket == query.ticket);
      answered = true;
      cluster.network().push_back(
          {NodeId{0}, envelope.to, std::move(envelope.message)});
    } else {
      FAIL("a message that tells of what was not committed");
    }
  }
  CHECK(turn.messages.size() == 3);
  CHECK(refused);
  CHECK(acknowledged);
  CHECK(answered);
  cluster.DeliverAll();
  auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(absl::IsUnavailable(reply->body.status()));
}

}  // namespace
}  // namespace dovetail::replica
