// Sessions of the client library: every operation takes along what earlier
// answers told. What nodes make of it: tests/replica/session_test.cc.
#include "src/client/causal_session.h"

#include <capnp/message.h>
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "crdt/codec.h"
#include "net/client_codec.h"
#include "replica/hash.h"
#include "replica/session_token.h"
#include "src/client/client.h"
#include "tests/client/client_equality.h"
#include "tests/client/fake_node.h"

namespace dovetail {
namespace {

using replica::SessionToken;

std::unique_ptr<Client> Open(const FakeNode& node) {
  auto client = Client::Connect({node.address()});
  REQUIRE_MESSAGE(client.ok(), client.status().ToString());
  return *std::move(client);
}

SessionToken SomeToken(uint64_t runs) {
  SessionToken token{64, replica::PartitionId{7}, {}, {12, 3}};
  for (uint64_t i = 0; i < runs; ++i) {
    token.events.InsertRun({crdt::ActorId{i + 1}, 5, 1});
  }
  return token;
}

// --- The client library -----------------------------------------------------

TEST_CASE("CausalSession: each answer goes along with the next request") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  auto set = session.bucket("b").set("s");
  REQUIRE(set.Add("x").ok());
  REQUIRE(node.last_session().has_value());
  CHECK(*node.last_session() == SessionToken{});  // it had seen nothing

  REQUIRE(set.Add("y").ok());
  SessionToken seen = *node.last_session();
  CHECK(seen.partitions == 64);
  CHECK(seen.partition == replica::PartitionOf("b", "s", 64));
  CHECK(seen.events.dot_count() == 1);

  REQUIRE(set.Read().ok());
  CHECK(node.last_session()->events.dot_count() == 2);

  REQUIRE(db->bucket("b").set("s").Read().ok());  // not of the session
  CHECK_FALSE(node.last_session().has_value());
}

TEST_CASE("CausalSession: another partition gets the time, not the events") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  REQUIRE(session.bucket("b").reg("r").Write("x").ok());
  std::string other = "r0";
  while (replica::PartitionOf("b", other, 64) ==
         replica::PartitionOf("b", "r", 64)) {
    other += '0';
  }
  REQUIRE(session.bucket("b").reg(other).Write("y").ok());
  const SessionToken sent = *node.last_session();
  CHECK(sent.partition == replica::PartitionOf("b", other, 64));
  CHECK(sent.events.empty());
  CHECK(sent.stamp > crdt::Timestamp{});
}

TEST_CASE("CausalSession: batches and asynchronous handles belong to it") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  Batch batch;
  batch.bucket("b").set("{t}1").Add("x");
  batch.bucket("b").counter("{t}2").Add(2);
  REQUIRE(session.Run(batch).ok());
  REQUIRE(node.last_session().has_value());
  REQUIRE(session.async_bucket("b").set("{t}1").Read().get().ok());
  CHECK(node.last_session()->events.dot_count() > 0);
  CHECK(absl::IsInvalidArgument(session.Run(Batch()).status()));
}

TEST_CASE("CausalSession: what was saved is seen in another process") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  REQUIRE(session.bucket("b").set("s").Add("x").ok());
  REQUIRE(session.bucket("b").set("another").Add("y").ok());
  const std::string saved = session.Save();

  CausalSession later = db->NewSession();
  REQUIRE(later.Restore(saved).ok());
  CHECK(later.Save() == saved);
  REQUIRE(later.bucket("b").set("s").Read().ok());
  CHECK(node.last_session()->events.dot_count() == 1);

  for (size_t size = 0; size < saved.size(); ++size) {
    CHECK_FALSE(db->NewSession().Restore(saved.substr(0, size)).ok());
  }
  CHECK_FALSE(later.Restore(saved + "x").ok());
}

TEST_CASE("CausalSession: a session of another cluster is refused whole") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  REQUIRE(session.bucket("b").set("s").Add("x").ok());
  SessionToken foreign = SomeToken(2);
  foreign.partitions = 8;
  std::string saved;
  crdt::Writer out(&saved);
  out.Byte(crdt::kCodecVersion);
  out.Varint(1);
  out.Bytes(foreign.Encode());
  const std::string before = session.Save();
  CHECK(absl::IsInvalidArgument(session.Restore(saved)));
  CHECK(session.Save() == before);
}

TEST_CASE("CausalSession: many threads at once lose nothing they saw") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        CHECK(session.bucket("b").counter("c").Add(1).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(session.bucket("b").counter("c").Read().ok());
  CHECK(node.last_session()->events.dot_count() == 200);
}

TEST_CASE("CausalSession: an answer that comes after its end does no harm") {
  FakeNode node;
  auto db = Open(node);
  node.Hold();
  std::future<absl::StatusOr<Written>> added;
  {
    CausalSession session = db->NewSession();
    added = session.async_bucket("b").counter("c").Add(1);
  }
  node.Release();
  CHECK(added.get().ok());
}

// --- The wire ---------------------------------------------------------------

absl::StatusOr<net::ClientOperation> Travel(net::ClientOperation operation) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<net::wire::ExecuteRequest>();
  const net::ClientOperation* operations[] = {&operation};
  net::EncodeExecute(operations, {}, root);
  auto call = net::DecodeExecute(root.asReader());
  REQUIRE(call.ok());
  return std::move(call->operations.front());
}

Operation WriteWith(std::optional<SessionToken> session) {
  Mutation mutation;
  mutation.object = {"b", "k", Type::kSet};
  mutation.verb = crdt::Verb::kAdd;
  mutation.elements = {"x"};
  return replica::WriteRequest{{mutation}, {}, std::move(session)};
}

TEST_CASE("Client codec: a session goes there and back, also an empty one") {
  for (const auto& session : {std::optional<SessionToken>(),
                              std::optional<SessionToken>(SomeToken(0)),
                              std::optional<SessionToken>(SessionToken{}),
                              std::optional<SessionToken>(SomeToken(3))}) {
    const auto write = Travel(WriteWith(session));
    REQUIRE(write.ok());
    CHECK(net::Same(*write, WriteWith(session)));
    replica::ReadRequest read;
    read.spec.object = {"b", "k", Type::kSet};
    read.session = session;
    CHECK(net::Same(*Travel(read), read));
  }
}

TEST_CASE("Client codec: a token that is none is refused, and its size") {
  CHECK(absl::IsResourceExhausted(
      Travel(WriteWith(SomeToken(replica::kSessionTokenBytesMax / 11)))
          .status()));
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<net::wire::ExecuteRequest>();
  const net::ClientOperation one = WriteWith(std::nullopt);
  const net::ClientOperation* operations[] = {&one};
  net::EncodeExecute(operations, {}, root);
  root.getOperations()[0].setSession(
      capnp::Data::Reader(reinterpret_cast<const kj::byte*>("\x09zz"), 3));
  CHECK(absl::IsInvalidArgument(
      net::DecodeExecute(root.asReader())->operations.front().status()));
}

std::vector<Result> Answer(const std::vector<Result>& results) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<net::wire::ExecuteReply>();
  net::EncodeResults(results, root);
  auto decoded = net::DecodeResults(root.asReader());
  REQUIRE(decoded.ok());
  return *std::move(decoded);
}

TEST_CASE("Client codec: answers carry what they add to a session") {
  replica::WriteReply write;
  write.session = SomeToken(2);
  replica::ReadReply read;
  read.result.view.type = Type::kSet;
  read.session = SomeToken(4);
  const std::vector<Result> sent = {write, read};
  const std::vector<Result> received = Answer(sent);
  CHECK(net::Same(received[0], sent[0]));
  CHECK(net::Same(received[1], sent[1]));
}

TEST_CASE("Client codec: a write is no success without its token") {
  replica::WriteReply write;
  write.session = SomeToken(replica::kSessionTokenBytesMax / 11);
  const std::vector<Result> received = Answer({write});
  CHECK(absl::IsResourceExhausted(received[0].status()));
  CHECK(MayHaveTakenEffect(received[0].status()));
}

}  // namespace
}  // namespace dovetail
