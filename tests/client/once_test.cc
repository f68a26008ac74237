// Exactly-once sessions of the client library, against nodes that hang up.
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "capnp/message.h"
#include "net/client_codec.h"
#include "src/client/client.h"
#include "tests/client/client_equality.h"
#include "tests/client/fake_node.h"

namespace dovetail {
namespace {

struct Opened {
  std::unique_ptr<Client> client;
  std::unique_ptr<OnceSession> session;
};

Opened Open(const std::vector<std::string>& nodes,
            const ClientOptions& options = {}) {
  auto client = Client::Connect(nodes, options);
  REQUIRE_MESSAGE(client.ok(), client.status().ToString());
  auto session = (*client)->ExactlyOnceSession();
  REQUIRE_MESSAGE(session.ok(), session.status().ToString());
  return {*std::move(client), *std::move(session)};
}

int64_t Counter(Client& client, const char* key) {
  const auto read = client.bucket("b").counter(key).Read();
  REQUIRE_MESSAGE(read.ok(), read.status().ToString());
  return read->value;
}

// Waits until the node has got so many calls.
void AwaitCalls(const FakeNode& node, size_t calls) {
  while (node.call_sizes().size() < calls) std::this_thread::yield();
}

TEST_CASE("OnceSession: every handle works as the client's own") {
  FakeNode node;
  auto [client, session] = Open({node.address()});
  auto bucket = session->bucket("shop");
  CHECK(bucket.counter("c").Add(5).ok());
  CHECK(bucket.counter("c").Add(-2).ok());
  CHECK(bucket.counter("c").Read()->value == 3);
  CHECK(bucket.counter("c").Reset().ok());
  CHECK(bucket.counter("c").Add(4).ok());
  CHECK(bucket.counter("c").Read()->value == 4);

  auto set = bucket.set("s");
  CHECK(set.AddAll({"x", "y", "z"}).ok());
  CHECK(set.RemoveAll({"y", "z"}).ok());
  CHECK(set.Remove("y")->not_observed);
  CHECK(set.Read()->value == std::vector<std::string>{"x"});
  CHECK(set.Clear().ok());
  CHECK_FALSE(set.Read()->present);
  CHECK(bucket.rwset("w").Add("x").ok());
  CHECK(bucket.rwset("w").Remove("x").ok());
  CHECK(bucket.rwset("w").Add("x").ok());
  CHECK(bucket.rwset("w").Read()->value == std::vector<std::string>{"x"});

  WriteOptions hour;
  hour.ttl = absl::Hours(1);
  CHECK(set.AddAll({"x", "y", "z"}, hour).ok());
  CHECK(set.Read()->expires.has_value());
  CHECK(set.ExpireIn(absl::Minutes(5)).ok());  // in the place of the hour
  CHECK(*set.Read()->expires < absl::Now() + absl::Minutes(6));
  CHECK(set.Persist().ok());
  CHECK_FALSE(set.Read()->expires.has_value());

  CHECK(bucket.reg("r").Write("v").ok());
  CHECK(bucket.reg("r").Write("w").ok());
  CHECK(bucket.reg("r").Read()->value == "w");
  CHECK(bucket.reg("r").Delete().ok());
  CHECK_FALSE(bucket.reg("r").Read()->present);
  CHECK(bucket.mv("m").Write("b").ok());
  CHECK(bucket.mv("m").WriteBlind("a").ok());
  CHECK(bucket.mv("m").Read()->value == std::vector<std::string>{"a", "b"});
  CHECK(bucket.ewflag("f").Enable().ok());
  CHECK(bucket.ewflag("f").Disable().ok());
  CHECK_FALSE(bucket.ewflag("f").Read()->value);

  auto user = bucket.map("ann");
  CHECK(user.set("tags").Add("admin").ok());
  CHECK(user.map("n").counter("visits").Add(2).ok());
  CHECK(user.Remove({"tags", Type::kSet}).ok());
  CHECK(user.map("n").counter("visits").Read()->value == 2);
  CHECK_FALSE(user.set("tags").Read()->present);

  Batch batch;
  batch.bucket("shop").counter("{t}c").Add(1);
  batch.bucket("shop").set("{t}s").Add("x");
  CHECK(session->Run(batch)->not_observed.size() == 2);
  CHECK(session->in_doubt() == 0);
}

TEST_CASE("OnceSession: an answer that is lost is asked for again") {
  FakeNode node;
  auto [client, session] = Open({node.address()});
  REQUIRE(session->bucket("b").counter("c").Add(1).ok());
  node.SetBehaviour(Behaviour::kServeThenHangUp);
  auto added = session->async_bucket("b").counter("c").Add(10);
  AwaitCalls(node, 2);
  node.SetBehaviour(Behaviour::kServe);
  const auto written = added.get();
  REQUIRE_MESSAGE(written.ok(), written.status().ToString());
  CHECK(written->deltas == 1);
  CHECK(Counter(*client, "c") == 11);
}

TEST_CASE("OnceSession: it goes on to the next node") {
  FakeNode dead;
  FakeNode node;
  auto [client, session] = Open({dead.address(), node.address()});
  dead.SetBehaviour(Behaviour::kHangUp);
  REQUIRE(session->bucket("b").counter("c").Add(1).ok());
  auto other = Client::Connect({node.address()});
  CHECK(Counter(**other, "c") == 1);
}

TEST_CASE("OnceSession: what is in doubt is resolved under its old id") {
  ClientOptions options;
  options.timeout = absl::Milliseconds(300);
  FakeNode node;
  auto [client, session] = Open({node.address()}, options);
  node.SetBehaviour(Behaviour::kServeThenHangUp);
  const auto doubtful = session->bucket("b").counter("c").Add(10);
  CHECK(MayHaveTakenEffect(doubtful.status()));
  CHECK(session->in_doubt() == 1);
  CHECK_FALSE(session->Resolve().ok());
  CHECK(session->in_doubt() == 1);

  node.SetBehaviour(Behaviour::kServe);
  // One that comes between does not wait for it, nor carries it along.
  REQUIRE(session->bucket("b").counter("c").Add(1).ok());
  const absl::Status resolved = session->Resolve(absl::Seconds(10));
  CHECK_MESSAGE(resolved.ok(), resolved.ToString());
  CHECK(session->in_doubt() == 0);
  CHECK(Counter(*client, "c") == 11);
  CHECK(session->Resolve().ok());
}

TEST_CASE("OnceSession: many at once add up, in any order of answers") {
  FakeNode node;
  auto [client, session] = Open({node.address()});
  std::vector<std::future<absl::StatusOr<Written>>> added;
  for (int i = 0; i < 100; ++i) {
    const std::string key = "c" + std::to_string(i % 3);
    added.push_back(session->async_bucket("b").counter(key).Add(i + 1));
    if (i == 50) node.HangUpAll();
  }
  for (auto& each : added) CHECK(each.get().ok());
  CHECK(Counter(*client, "c0") + Counter(*client, "c1") +
            Counter(*client, "c2") ==
        5050);
}

TEST_CASE("OnceSession: what cannot be is refused at once, without doubt") {
  FakeNode node;
  auto [client, session] = Open({node.address()});
  CHECK(absl::IsInvalidArgument(
      session->bucket("b").counter("c").Add(0).status()));
  CHECK(absl::IsInvalidArgument(session->Run(Batch()).status()));
  Batch apart;
  for (int i = 0; i < 20; ++i) {
    apart.bucket("b").counter("c" + std::to_string(i)).Add(1);
  }
  CHECK(absl::IsInvalidArgument(session->Run(apart).status()));
  CHECK(session->in_doubt() == 0);
}

TEST_CASE("OnceSession: what waits when it is closed is answered") {
  FakeNode node;
  auto [client, session] = Open({node.address()});
  node.SetBehaviour(Behaviour::kSilent);
  std::vector<std::future<absl::StatusOr<Written>>> added;
  for (int i = 0; i < 10; ++i) {
    added.push_back(session->async_bucket("b").counter("c").Add(1));
  }
  AwaitCalls(node, 1);
  session.reset();
  CHECK(MayHaveTakenEffect(added[0].get().status()));
  for (size_t i = 1; i < added.size(); ++i) {
    CHECK(absl::IsUnavailable(added[i].get().status()));
  }
}

TEST_CASE("Client codec: an operation id survives the wire, a read has none") {
  Mutation add;
  add.object = {"b", "k", Type::kCounter};
  add.amount = 1;
  replica::WriteRequest write{
      {add},
      crdt::OperationId{
          {crdt::MakeActorId(crdt::ActorKind::kSession, 12345), 678},
          {1'700'000'000'123, 9}}};
  replica::WriteRequest batch = write;
  batch.operations.push_back(add);
  const net::ClientOperation one(write);
  const net::ClientOperation two(batch);
  const std::vector<const net::ClientOperation*> operations = {&one, &two};
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<net::wire::ExecuteRequest>();
  net::EncodeExecute(operations, {}, root);
  const auto call = net::DecodeExecute(root.asReader());
  REQUIRE(call.ok());
  REQUIRE(call->operations.size() == 2);
  CHECK(net::Same(*call->operations[0], one));
  CHECK(net::Same(*call->operations[1], two));

  auto read = root.initOperations(1)[0];
  read.initRead().initObject().setType(net::wire::ObjectType::COUNTER);
  read.initId().setSession(1);
  const auto refused = net::DecodeExecute(root.asReader());
  REQUIRE(refused.ok());
  CHECK(absl::IsInvalidArgument(refused->operations[0].status()));
}

}  // namespace
}  // namespace dovetail
