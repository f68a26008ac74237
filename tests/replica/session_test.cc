// What a session has seen, it goes on seeing, through whatever coordinator.
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "crdt/delta.h"
#include "doctest/doctest.h"
#include "replica/partition.h"
#include "replica/ring.h"
#include "replica/session_token.h"
#include "replica/session_wait.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

using crdt::Type;
using crdt::Verb;

constexpr PartitionId kOnly{0};

bool IsSync(const Cluster::InFlight& item) {
  return std::holds_alternative<Summary>(item.message.body) ||
         std::holds_alternative<SyncDeltas>(item.message.body);
}

// A client that carries its token from node to node.
class Session {
 public:
  explicit Session(Cluster& cluster) : cluster_(cluster) {}

  RequestId BeginWrite(uint32_t node, crdt::Operation operation,
                       RequestOptions options = Cluster::W(1)) {
    return cluster_.Submit(
        node, WriteRequest{{std::move(operation)}, {}, token_}, options);
  }
  RequestId BeginRead(uint32_t node, Type type, std::string key,
                      RequestOptions options = Cluster::R(1)) {
    ReadRequest request;
    request.spec.object = {"b", std::move(key), type};
    request.session = token_;
    return cluster_.Submit(node, std::move(request), options);
  }

  // How a request ended: "waits", "written", what was read, or an error.
  std::string Take(RequestId id) {
    std::optional<ClientReply> reply = cluster_.Take(id);
    if (!reply) return "waits";
    if (!reply->body.ok()) return reply->body.status().ToString();
    if (const auto* write = std::get_if<WriteReply>(&*reply->body)) {
      REQUIRE(write->session.has_value());
      token_.MergeFrom(*write->session);
      return "written";
    }
    const auto& read = std::get<ReadReply>(*reply->body);
    REQUIRE(read.session.has_value());
    token_.MergeFrom(*read.session);
    receipt_ = read.receipt;
    return crdt::ToString(read.result.view);
  }
  std::string Write(uint32_t node, crdt::Operation operation) {
    return Take(BeginWrite(node, std::move(operation)));
  }
  std::string Read(uint32_t node, Type type, std::string key) {
    return Take(BeginRead(node, type, std::move(key)));
  }

  SessionToken& token() { return token_; }
  const Receipt& receipt() const { return receipt_; }

 private:
  Cluster& cluster_;
  SessionToken token_;
  Receipt receipt_;
};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// --- The guarantees ---------------------------------------------------------

TEST_CASE("Session: it reads its own writes through another coordinator") {
  Cluster cluster(3);
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  cluster.network().clear();
  CHECK(cluster.Show(1, Type::kSet, "s") == "{}");  // without the token

  const RequestId read = session.BeginRead(1, Type::kSet, "s");
  CHECK(session.Take(read) == "waits");
  cluster.DeliverAll(IsSync);
  CHECK(session.Take(read) == "{x}");
  CHECK(session.receipt().required == 1);
  CHECK(session.receipt().nodes.front() == NodeId{1});
  // The next one finds it here: the read had it pulled.
  cluster.DeliverAll();
  CHECK(session.Read(1, Type::kSet, "s") == "{x}");
}

TEST_CASE("Session: a counter it has read never goes back") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, Count("c", 5)).ok());
  cluster.network().clear();
  Session session(cluster);
  CHECK(session.Read(0, Type::kCounter, "c") == "5");
  CHECK(cluster.Show(2, Type::kCounter, "c") == "0");
  const RequestId read = session.BeginRead(2, Type::kCounter, "c");
  cluster.DeliverAll(IsSync);
  CHECK(session.Take(read) == "5");
}

TEST_CASE("Session: what it saw deleted does not come back") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("s", {"x"})).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Write(0, RemoveFrom("s", {"x"})).ok());
  cluster.network().clear();
  Session session(cluster);
  CHECK(session.Read(0, Type::kSet, "s") == "{}");
  CHECK(cluster.Show(1, Type::kSet, "s") == "{x}");
  const RequestId read = session.BeginRead(1, Type::kSet, "s");
  cluster.DeliverAll(IsSync);
  CHECK(session.Take(read) == "{}");
}

TEST_CASE("Session: \"nothing to remove\" is something it has seen") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("s", {"x"})).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Write(0, RemoveFrom("s", {"x"})).ok());
  cluster.network().clear();
  Session session(cluster);
  REQUIRE(session.Write(0, RemoveFrom("s", {"x"})) == "written");
  const RequestId read = session.BeginRead(1, Type::kSet, "s");
  CHECK(session.Take(read) == "waits");
  cluster.DeliverAll(IsSync);
  CHECK(session.Take(read) == "{}");
}

TEST_CASE("Session: its writes follow what it has read") {
  Cluster cluster(3);
  auto first = Op(Type::kMultiValue, Verb::kWrite, "m");
  first.value = "v1";
  auto second = first;
  second.value = "v2";
  REQUIRE(cluster.Write(0, first).ok());
  cluster.network().clear();
  Session session(cluster);
  CHECK(session.Read(0, Type::kMultiValue, "m") == "{\"v1\"}");
  const RequestId write = session.BeginWrite(1, second);
  CHECK(session.Take(write) == "waits");
  CHECK(cluster.Show(1, Type::kMultiValue, "m") == "{}");
  cluster.DeliverAll();
  CHECK(session.Take(write) == "written");
  REQUIRE(cluster.Settle().has_value());
  for (uint32_t node = 0; node < 3; ++node) {
    CHECK(cluster.Show(node, Type::kMultiValue, "m") == "{\"v2\"}");
  }
}

TEST_CASE("Session: an answer of R replicas counts with all they have") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("s", {"x"})).ok());
  REQUIRE(cluster.Write(1, AddTo("other", {"y"})).ok());
  cluster.network().clear();
  Session session(cluster);
  const RequestId read =
      session.BeginRead(2, Type::kSet, "third", Cluster::R(3));
  cluster.DeliverAll(IsSync);
  CHECK(session.Take(read) == "{}");  // all three pages are equal
  crdt::EventSet both = cluster.at(0).ContextOf(kOnly).applied;
  both.UnionWith(cluster.at(1).ContextOf(kOnly).applied);
  CHECK(session.token().events == both);
  CHECK(session.token().partitions == 1);
}

// --- What covers ------------------------------------------------------------

TEST_CASE("Session: a dot that is superseded and not applied covers nothing") {
  Cluster cluster(4);
  const auto only_to = [&](uint32_t node) {
    cluster.DeliverAll([&](const Cluster::InFlight& item) {
      return item.to != NodeId{node} || IsSync(item);
    });
    cluster.network().clear();
  };
  // 0 adds k; 1 adds it again, which supersedes that dot; 2 removes it. 3 gets
  // the first and the last: it shows k, and knows 1's dot as superseded.
  REQUIRE(cluster.Write(0, AddTo("s", {"k"})).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Write(1, AddTo("s", {"k"})).ok());
  only_to(2);
  Session session(cluster);
  REQUIRE(session.Write(2, RemoveFrom("s", {"k"})) == "written");
  only_to(3);
  CHECK(session.Read(2, Type::kSet, "s") == "{}");

  const crdt::Context& stale = cluster.at(3).ContextOf(kOnly);
  const crdt::EventSet missing = session.token().events.Minus(stale.applied);
  REQUIRE(missing.dot_count() == 1);
  REQUIRE(missing.IsSubsetOf(stale.superseded));
  REQUIRE(cluster.Show(3, Type::kSet, "s") == "{k}");

  const RequestId read = session.BeginRead(3, Type::kSet, "s");
  CHECK(session.Take(read) == "waits");
  const RequestId write = session.BeginWrite(3, AddTo("s", {"z"}));
  CHECK(session.Take(write) == "waits");
  cluster.DeliverAll(IsSync);
  CHECK(session.Take(read) == "{}");
  cluster.DeliverAll();
  CHECK(session.Take(write) == "written");
}

TEST_CASE("Session: an answer whose X has it covers nothing either") {
  Cluster cluster(4);
  // As above, but asked through 0, which has nothing but its own add.
  REQUIRE(cluster.Write(0, AddTo("s", {"k"})).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Write(1, AddTo("s", {"k"})).ok());
  cluster.DeliverAll([](const Cluster::InFlight& item) {
    return item.to != NodeId{2} || IsSync(item);
  });
  cluster.network().clear();
  Session session(cluster);
  REQUIRE(session.Write(2, RemoveFrom("s", {"k"})) == "written");
  CHECK(session.Read(2, Type::kSet, "s") == "{}");
  cluster.DeliverAll([](const Cluster::InFlight& item) {
    return item.to != NodeId{3} || IsSync(item);
  });
  cluster.network().clear();
  cluster.Crash(1);
  cluster.Crash(2);
  const RequestId read = session.BeginRead(0, Type::kSet, "s");
  for (int i = 0; i < 30; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(100));
  }
  const std::string answer = session.Take(read);
  CHECK(Has(answer,
            "DEADLINE_EXCEEDED: the session has seen 1 events of "
            "partition 0 that none of those who answered"));
}

TEST_CASE("Session: what has arrived meanwhile lets a write go on") {
  Cluster cluster(2);
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  REQUIRE(cluster.network().size() == 1);
  const RequestId write = session.BeginWrite(1, RemoveFrom("s", {"x"}));
  CHECK(session.Take(write) == "waits");
  cluster.Deliver(0);  // node 0's delta, on its usual way
  CHECK(session.Take(write) == "written");
  CHECK(cluster.Show(1, Type::kSet, "s") == "{}");
}

TEST_CASE("Session: an operation tried again lets a write go on") {
  // What it saw comes to node 1 by no message from a peer, but by the client.
  Cluster cluster(2);
  Session session(cluster);
  crdt::SessionWriter writer(
      crdt::MakeActorId(crdt::ActorKind::kSession, 0x5e55));
  const auto first = writer.Prepare({AddTo("s", {"x"})}, {});
  REQUIRE(first.ok());
  REQUIRE(cluster.WriteOnce(0, *first).ok());
  REQUIRE(session.Read(0, Type::kSet, "s") == "{x}");
  cluster.network().clear();
  const RequestId write = session.BeginWrite(1, RemoveFrom("s", {"x"}));
  CHECK(session.Take(write) == "waits");
  cluster.network().clear();
  REQUIRE(cluster.WriteOnce(1, *first).ok());
  CHECK(session.Take(write) == "written");
  CHECK(cluster.Show(1, Type::kSet, "s") == "{}");
}

TEST_CASE("Session: what came by another way is seen at the next question") {
  Cluster source(2);
  REQUIRE(source.Write(0, AddTo("s", {"x"})).ok());
  const std::string encoded =
      std::get<Replicate>(source.network()[0].message.body).delta;
  const auto delta = crdt::Delta::Decode(encoded);
  REQUIRE(delta.ok());
  crdt::EventSet seen;
  seen.InsertRun(delta->events);
  sim::SimDisk disk;
  sim::SimStorage storage(disk);
  const ShardOptions options;
  ShardCore core(
      options, Placement(2, 1),
      {NodeId{0}, crdt::MakeActorId(crdt::ActorKind::kNode, 9), 0, 1}, storage);
  core.partitions.push_back(std::make_unique<Partition>(
      kOnly, 1, core.identity.actor, core.options, core.rows, storage));
  REQUIRE(core.Get(kOnly).Load().ok());
  int started = 0;
  SessionWait wait(
      core, [&](SessionWait::Write, Now) { ++started; },
      [](NodeId, PartitionId) {});
  SessionWait::Write write;
  write.options.timeout = absl::Seconds(2);
  write.request.session = SessionToken{1, kOnly, seen, {}};
  wait.Start(std::move(write), {});
  REQUIRE(started == 0);
  REQUIRE(core.Get(kOnly).Apply(*delta, encoded).ok());
  wait.OnTimers({wait.next_deadline(), 0});
  CHECK(started == 1);
  CHECK(wait.in_flight() == 0);
}

TEST_CASE("Session: lost questions are asked again") {
  Cluster cluster(3);
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  cluster.network().clear();
  const RequestId read = session.BeginRead(1, Type::kSet, "s");
  const RequestId write = session.BeginWrite(2, AddTo("s", {"y"}));
  cluster.network().clear();
  cluster.Advance(absl::Milliseconds(250));
  CHECK(session.Take(read) == "waits");
  cluster.DeliverAll();
  CHECK(session.Take(read) == "{x}");
  CHECK(session.Take(write) == "written");
}

TEST_CASE("Session: what nobody can have is said by the deadline") {
  Cluster cluster(3);
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  REQUIRE(session.Write(0, AddTo("s", {"y"})) == "written");
  cluster.network().clear();
  cluster.Crash(0);
  const RequestId read = session.BeginRead(1, Type::kSet, "s");
  const RequestId write = session.BeginWrite(2, AddTo("s", {"z"}));
  for (int i = 0; i < 30; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(100));
  }
  CHECK(session.Take(read) ==
        "DEADLINE_EXCEEDED: the session has seen 2 events of partition 0 that "
        "none of those who answered in time has applied: 1 2");
  CHECK(session.Take(write) ==
        "UNAVAILABLE: the session has seen 2 events of partition 0 that "
        "did not reach 2 in time; nothing was written");
  CHECK(cluster.Show(2, Type::kSet, "s") == "{}");
}

TEST_CASE("Session: it goes on when the node with its writes is back") {
  Cluster cluster(3);
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  cluster.network().clear();
  cluster.Crash(0);
  const RequestId read = session.BeginRead(1, Type::kSet, "s");
  for (int i = 0; i < 5; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(50));
  }
  CHECK(session.Take(read) == "waits");
  REQUIRE(cluster.Start(0).ok());
  for (int i = 0; i < 5; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(50));
  }
  CHECK(session.Take(read) == "{x}");
}

// --- Stand-ins --------------------------------------------------------------

// Nodes 0, 1 and 2 own the one partition, 3 stands in.
Placement ThreeOwners() {
  std::vector<Placement::Member> members;
  Placement::Row row;
  for (uint32_t i = 0; i < 4; ++i) {
    members.push_back({NodeId{i}, absl::StrCat(i), "", ""});
    row.nodes.push_back(NodeId{i});
  }
  row.owners = 3;
  return Placement(1, members, {row});
}

// A session whose write only the stand-in has, and with it node 0 which lacks
// it.
struct StoodIn {
  Cluster cluster{4};
  Session session{cluster};

  StoodIn() {
    cluster.Place(ThreeOwners());
    cluster.DeliverAll();
    cluster.Crash(0);
    cluster.Crash(1);
    const RequestId write =
        session.BeginWrite(2, AddTo("s", {"x"}), Cluster::W(2));
    cluster.DeliverAll(IsSync);
    REQUIRE(session.Take(write) == "written");
    cluster.network().clear();
    cluster.Crash(2);
    REQUIRE(cluster.Start(0).ok());
    cluster.network().clear();
    REQUIRE(cluster.Show(0, Type::kSet, "s") == "{}");
  }
};

TEST_CASE("Session: what a stand-in holds is read through an owner") {
  StoodIn world;
  const RequestId read = world.session.BeginRead(0, Type::kSet, "s");
  CHECK(world.session.Take(read) == "waits");
  world.cluster.DeliverAll(IsSync);
  CHECK(world.session.Take(read) == "{x}");
  CHECK(world.session.receipt().stand_ins == std::vector<NodeId>{NodeId{3}});
}

TEST_CASE("Session: with strict quorums a stand-in is not asked") {
  StoodIn world;
  RequestOptions strict = Cluster::R(1);
  strict.quorums = Quorums::kStrict;
  const RequestId read = world.session.BeginRead(0, Type::kSet, "s", strict);
  world.cluster.DeliverAll(IsSync);
  CHECK(world.session.Take(read) == "waits");
}

TEST_CASE("Session: an owner pulls from a stand-in what a write waits for") {
  StoodIn world;
  const RequestId write = world.session.BeginWrite(0, RemoveFrom("s", {"x"}));
  CHECK(world.session.Take(write) == "waits");
  world.cluster.DeliverAll();
  CHECK(world.session.Take(write) == "written");
  CHECK(world.cluster.Show(0, Type::kSet, "s") == "{}");
}

TEST_CASE("Session: a stand-in that does not cover it refuses to write") {
  Cluster cluster(4);
  cluster.Place(ThreeOwners());
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  cluster.network().clear();
  for (uint32_t owner = 0; owner < 3; ++owner) cluster.Crash(owner);
  const std::string answer = session.Write(3, AddTo("s", {"y"}));
  CHECK(answer ==
        "UNAVAILABLE: the session has seen 1 events of partition 0 that 3, "
        "which stands in for its owners, does not have; nothing was written");
}

// --- Tokens -----------------------------------------------------------------

TEST_CASE("Session: a token of another partition or cluster is refused") {
  Cluster cluster(1, 2);
  Session session(cluster);
  REQUIRE(session.Write(0, AddTo("s", {"x"})) == "written");
  REQUIRE(session.token().partitions == 2);
  SessionToken& token = session.token();
  token.partition =
      PartitionId{static_cast<uint16_t>(1 - Index(token.partition))};
  CHECK(Has(session.Write(0, AddTo("s", {"y"})), "INVALID_ARGUMENT"));
  CHECK(Has(session.Read(0, Type::kSet, "s"), "INVALID_ARGUMENT"));
  token.partition = PartitionId{0};
  token.partitions = 1;
  CHECK(Has(session.Read(0, Type::kSet, "s"),
            "a session token of partition 0 of 1, but this request is about"));
}

TEST_CASE("Session: its writes are stamped after what it has seen") {
  Cluster cluster(1);
  Session session(cluster);
  REQUIRE(session.Write(0, WriteTo("r", "a")) == "written");
  const crdt::Timestamp seen{session.token().stamp.wall_ms + 400, 7};
  session.token().stamp = seen;
  REQUIRE(session.Write(0, WriteTo("r", "b")) == "written");
  CHECK(session.token().stamp > seen);
  CHECK(cluster.at(0).stats().clock_refusals == 0);
  // Beyond the drift that is allowed it moves no clock and does no harm.
  const crdt::Timestamp beyond{session.token().stamp.wall_ms + 60'000, 0};
  session.token().stamp = beyond;
  REQUIRE(session.Write(0, WriteTo("r", "c")) == "written");
  CHECK(cluster.at(0).stats().clock_refusals == 1);
  CHECK(session.token().stamp == beyond);
  CHECK(session.Read(0, Type::kRegister, "r") == "\"c\"");
}

SessionToken Example() {
  SessionToken token{64, PartitionId{63}, {}, {1'700'000'000'000, 65'535}};
  token.events.InsertRun({crdt::ActorId{5}, 1, 300});
  token.events.InsertRun({crdt::ActorId{5}, 302, 1});
  token.events.InsertRun({crdt::ActorId{6}, 9, 2});
  return token;
}

TEST_CASE("SessionToken: every value comes back from its bytes") {
  for (const SessionToken& token : {Example(), SessionToken{}}) {
    const auto decoded = SessionToken::Decode(token.Encode());
    REQUIRE(decoded.ok());
    CHECK(*decoded == token);
  }
  CHECK(SessionToken{}.Encode().empty());
}

TEST_CASE("SessionToken: no cut and no lengthened encoding is accepted") {
  const std::string bytes = Example().Encode();
  for (size_t size = 1; size < bytes.size(); ++size) {
    CHECK_FALSE(SessionToken::Decode(bytes.substr(0, size)).ok());
  }
  CHECK_FALSE(SessionToken::Decode(bytes + '\0').ok());
  CHECK_FALSE(
      SessionToken::Decode(std::string(kSessionTokenBytesMax + 1, '\1')).ok());
}

TEST_CASE("SessionToken: a cluster or partition that cannot be is refused") {
  const auto encoded = [](uint64_t partitions, uint64_t partition,
                          uint64_t logical) {
    std::string bytes;
    crdt::Writer out(&bytes);
    out.Byte(crdt::kCodecVersion);
    for (uint64_t number : {partitions, partition, uint64_t{1}, logical}) {
      out.Varint(number);
    }
    crdt::EventSet().AppendTo(out);
    return bytes;
  };
  CHECK(SessionToken::Decode(encoded(64, 63, 0)).ok());
  CHECK(SessionToken::Decode(encoded(kPartitionsMax, 0, 0)).ok());
  CHECK_FALSE(SessionToken::Decode(encoded(64, 64, 0)).ok());
  CHECK_FALSE(SessionToken::Decode(encoded(0, 0, 0)).ok());
  CHECK_FALSE(SessionToken::Decode(encoded(48, 1, 0)).ok());
  CHECK_FALSE(SessionToken::Decode(encoded(2 * kPartitionsMax, 1, 0)).ok());
  CHECK_FALSE(SessionToken::Decode(encoded(64, 63, 65'536)).ok());
}

}  // namespace
}  // namespace dovetail::replica
