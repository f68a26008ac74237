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

TEST_CASE("CausalSession: a listing takes along what was seen, and adds none") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  REQUIRE(session.List("b", "").ok());
  CHECK(node.last_list_session().empty());  // it had seen nothing
  REQUIRE(session.bucket("b").set("s").Add("x").ok());
  REQUIRE(session.bucket("b").set("t").Add("x").ok());
  const std::string before = session.Save();
  const auto page = session.List("b", "");
  REQUIRE(page.ok());
  CHECK(page->objects.size() == 2);
  const std::vector<SessionToken> sent = node.last_list_session();
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].partition < sent[1].partition);
  CHECK(sent[0].events.dot_count() == 1);
  CHECK(session.Save() == before);

  REQUIRE(db->List("b", "").ok());  // not of the session
  CHECK(node.last_list_session().empty());
}

TEST_CASE("CausalSession: a node that would ignore it lists nothing for it") {
  FakeNode node;
  node.SetVersions(2, 2);
  auto db = Open(node);
  CausalSession session = db->NewSession();
  REQUIRE(session.bucket("b").set("s").Add("x").ok());
  const auto page = session.List("b", "");
  CHECK(absl::IsFailedPrecondition(page.status()));
  CHECK(node.lists() == 0);
  CHECK(db->List("b", "").ok());
}

TEST_CASE("CausalSession: one that is too large for a listing is told so") {
  FakeNode node;
  auto db = Open(node);
  CausalSession session = db->NewSession();
  std::string saved;
  crdt::Writer out(&saved);
  out.Byte(crdt::kCodecVersion);
  constexpr uint16_t kMany = 5;
  out.Varint(kMany);
  for (uint16_t p = 0; p < kMany; ++p) {
    SessionToken token =
        SomeToken(replica::kSessionTokenBytesMax / 11 * 9 / 10);
    token.partition = replica::PartitionId{p};
    out.Bytes(token.Encode());
  }
  REQUIRE(session.Restore(saved).ok());
  const auto page = session.List("b", "");
  REQUIRE(absl::IsResourceExhausted(page.status()));
  CHECK(page.status().message().find("list_session_bytes_max") !=
        std::string::npos);
  CHECK(node.lists() == 0);
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

TEST_CASE("Client codec: sessions of listings travel, in order of partitions") {
  replica::ListRequest request;
  request.bucket = "b";
  SessionToken first = SomeToken(3);
  SessionToken second = SomeToken(1);
  second.partition = replica::PartitionId{9};
  const auto travel = [&] {
    capnp::MallocMessageBuilder message;
    auto root = message.initRoot<net::wire::ListRequest>();
    net::EncodeList(request, {}, root);
    return net::DecodeList(root.asReader());
  };
  request.session = {first, second};
  REQUIRE(travel().ok());
  CHECK(travel()->request.session == request.session);
  for (const auto& bad : {std::vector<SessionToken>{second, first},
                          std::vector<SessionToken>{first, first}}) {
    request.session = bad;
    CHECK(absl::IsInvalidArgument(travel().status()));
  }
  request.session.clear();
  for (uint16_t p = 0; p < 5; ++p) {
    request.session.push_back(
        SomeToken(replica::kSessionTokenBytesMax / 11 * 9 / 10));
    request.session.back().partition = replica::PartitionId{p};
  }
  CHECK(absl::IsResourceExhausted(travel().status()));
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
