// The client library against nodes that behave and nodes that do not.
#include "src/client/client.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/client/steady_clock.h"
#include "tests/client/fake_node.h"
#include "tests/client/submitting.h"

namespace dovetail {
namespace {

std::unique_ptr<Client> Open(const std::vector<std::string>& nodes,
                             const ClientOptions& options = {}) {
  auto client = Client::Connect(nodes, options);
  REQUIRE_MESSAGE(client.ok(), client.status().ToString());
  return *std::move(client);
}

bool Says(const absl::Status& status, const char* what) {
  return std::string(status.message()).find(what) != std::string::npos;
}

// An address where nobody listens.
std::string NobodyThere() {
  std::string address;
  {
    FakeNode node;
    address = node.address();
  }
  return address;
}

TEST_CASE("Client: every handle writes and reads its type") {
  FakeNode node;
  auto db = Open({node.address()});
  auto bucket = db->bucket("shop");

  CHECK(bucket.reg("r").Write("v").ok());
  CHECK(bucket.reg("r").Read()->value == "v");
  CHECK(bucket.reg("r").Clear().ok());
  CHECK_FALSE(bucket.reg("r").Read()->value.has_value());

  CHECK(bucket.mv("m").Write("b").ok());
  CHECK(bucket.mv("m").WriteBlind("a").ok());
  CHECK(bucket.mv("m").Read()->value == std::vector<std::string>{"a", "b"});
  CHECK(bucket.mv("m").Clear().ok());
  CHECK_FALSE(bucket.mv("m").Read()->present);

  auto set = bucket.set("s");
  CHECK(set.AddAll({"x", "y", "z"}).ok());
  CHECK(set.Remove("y").ok());
  CHECK(set.Read()->value == std::vector<std::string>{"x", "z"});
  CHECK(set.Contains("x")->value);
  CHECK_FALSE(set.Contains("y")->value);
  CHECK(set.Remove("y")->not_observed);
  CHECK(set.Clear().ok());
  CHECK_FALSE(set.Read()->present);

  CHECK(bucket.rwset("s").Add("x").ok());
  CHECK(bucket.rwset("s").Read()->value == std::vector<std::string>{"x"});
  CHECK(bucket.gset("s").Add("g").ok());
  CHECK(bucket.gset("s").Read()->value == std::vector<std::string>{"g"});

  CHECK_FALSE(bucket.ewflag("f").Read()->value);
  CHECK(bucket.ewflag("f").Enable().ok());
  CHECK(bucket.ewflag("f").Read()->value);
  CHECK(bucket.dwflag("f").Read()->value);
  CHECK(bucket.dwflag("f").Disable().ok());
  CHECK_FALSE(bucket.dwflag("f").Read()->value);

  CHECK(bucket.counter("c").Add(5).ok());
  CHECK(bucket.counter("c").Add(-7).ok());
  CHECK(bucket.counter("c").Read()->value == -2);
  CHECK(bucket.counter("c").Reset().ok());
  CHECK(bucket.counter("c").Read()->value == 0);
  CHECK(bucket.counter("c").Add(1).ok());
  CHECK(bucket.counter("c").Delete().ok());
  CHECK_FALSE(bucket.counter("c").Read()->present);
}

TEST_CASE("Client: maps give handles to their fields, at any depth") {
  FakeNode node;
  auto db = Open({node.address()});
  auto user = db->bucket("users").map("ann");
  CHECK(user.set("tags").Add("admin").ok());
  CHECK(user.map("address").reg("city").Write("Graz").ok());
  CHECK(user.map("address").counter("moves").Add(2).ok());
  CHECK(user.map("address").reg("city").Read()->value == "Graz");
  const auto all = user.Read();
  REQUIRE(all.ok());
  REQUIRE(all->value.fields.size() == 2);
  CHECK(all->value.fields[0].first == Field{"address", Type::kMap});
  CHECK(all->value.fields[0].second.fields[0].second.number +
            all->value.fields[0].second.fields[1].second.number ==
        2);
  CHECK(user.Remove({"tags", Type::kSet}).ok());
  CHECK_FALSE(user.set("tags").Read()->present);
  CHECK(user.Clear().ok());
  CHECK_FALSE(user.Read()->present);
  CHECK(absl::IsInvalidArgument(user.set("tags").Delete().status()));
}

TEST_CASE("Client: every handle lets its object expire, and persist") {
  FakeNode node;
  const auto db = Open({node.address()});
  const auto cart = db->bucket("shop").set("cart");
  WriteOptions hour;
  hour.ttl = absl::Hours(1);
  REQUIRE(cart.Add("milk", hour).ok());
  const absl::Time before = absl::Now();
  auto read = cart.Read();
  REQUIRE(read.ok());
  REQUIRE(read->expires.has_value());
  CHECK(*read->expires > before + absl::Minutes(59));
  CHECK(*read->expires <= absl::Now() + absl::Hours(1));
  REQUIRE(cart.Persist().ok());
  CHECK_FALSE(cart.Read()->expires.has_value());
  // A field's write sets the time of the map.
  REQUIRE(db->bucket("users").map("ann").reg("city").Write("Graz", hour).ok());
  CHECK(db->bucket("users").map("ann").Read()->expires.has_value());
  CHECK(db->bucket("users")
            .map("ann")
            .reg("city")
            .ExpireIn(absl::Hours(1))
            .status()
            .code() == absl::StatusCode::kInvalidArgument);

  REQUIRE(cart.ExpireIn(absl::Nanoseconds(1)).ok());
  CHECK(cart.ExpireIn(-absl::Seconds(1)).status().code() ==
        absl::StatusCode::kInvalidArgument);
  REQUIRE(cart.ExpireAt(absl::FromUnixSeconds(1)).ok());
  read = cart.Read();
  REQUIRE(read.ok());
  CHECK_FALSE(read->present);
  CHECK(read->value.empty());
}

TEST_CASE("Client: a remove with a token takes what was read and no more") {
  FakeNode node;
  auto db = Open({node.address()});
  auto set = db->bucket("b").set("s");
  CHECK(set.Add("x").ok());
  const auto seen = set.Read({}, {.want_token = true});
  REQUIRE(seen->token.has_value());
  CHECK(set.Add("x").ok());  // again: a new dot, which the token did not see
  CHECK(set.Remove("x", {.token = seen->token}).ok());
  CHECK(set.Contains("x")->value);
  const auto wrong =
      db->bucket("b").set("other").Remove("x", {.token = seen->token});
  CHECK(absl::IsInvalidArgument(wrong.status()));
}

TEST_CASE("Client: a large set is read in pages") {
  FakeNode node;
  auto db = Open({node.address()});
  auto set = db->bucket("b").gset("s");
  CHECK(set.AddAll({"a", "b", "c", "d", "e"}).ok());
  auto page = set.Read({.limit = 2});
  CHECK(page->value == std::vector<std::string>{"a", "b"});
  CHECK(page->more);
  page = set.Read({.after = page->value.back(), .limit = 3});
  CHECK(page->value == std::vector<std::string>{"c", "d", "e"});
  CHECK_FALSE(page->more);
}

TEST_CASE("Client: a batch takes effect as one") {
  FakeNode node;
  auto db = Open({node.address()});
  Batch batch;
  batch.bucket("b").set("{k}s").Add("x");
  batch.bucket("b").counter("{k}c").Add(3);
  batch.bucket("b").map("{k}m").ewflag("on").Enable();
  batch.bucket("b").set("{k}s").Remove("not there");
  const auto written = db->Run(batch);
  REQUIRE_MESSAGE(written.ok(), written.status().ToString());
  CHECK(written->not_observed == std::vector<bool>{false, false, false, true});
  CHECK(node.call_sizes() == std::vector<size_t>{1});
  CHECK(db->bucket("b").counter("{k}c").Read()->value == 3);

  batch.bucket("b").counter("{k}c").Add(0);  // not allowed
  CHECK(absl::IsInvalidArgument(db->Run(batch).status()));
  CHECK(db->bucket("b").counter("{k}c").Read()->value == 3);
  CHECK(absl::IsInvalidArgument(db->Run(Batch()).status()));
}

TEST_CASE("Client: the asynchronous handles give futures") {
  FakeNode node;
  auto db = Open({node.address()});
  auto bucket = db->async_bucket("b");
  std::vector<std::future<absl::StatusOr<Written>>> added;
  for (int i = 0; i < 100; ++i) {
    added.push_back(bucket.counter("c").Add(1));
  }
  for (auto& each : added) CHECK(each.get().ok());
  CHECK(bucket.counter("c").Read().get()->value == 100);
}

TEST_CASE("Client: a call's options reach the node") {
  FakeNode node;
  auto db = Open({node.address()});
  CHECK(db->bucket("b")
            .set("s")
            .Add("x", {.w = Level::All(),
                       .durability = Durability::kFsync,
                       .timeout = absl::Milliseconds(700)})
            .ok());
  CHECK(node.last_options().write == Level::All());
  CHECK(node.last_options().durability == Durability::kFsync);
  CHECK(node.last_options().timeout == absl::Milliseconds(700));
  CHECK(db->bucket("b").set("s").Read({}, {.r = Level::Count(2)}).ok());
  CHECK(node.last_options().read == Level::Count(2));
}

TEST_CASE("Client: what is in flight together shares calls") {
  FakeNode node;
  auto db = Open({node.address()}, {.calls_in_flight_max = 1});
  node.Hold();
  auto first = Start(*db, AddOne("first"));
  while (node.call_sizes().empty()) std::this_thread::yield();
  std::vector<std::future<Result>> others;
  for (int i = 0; i < 500; ++i) {
    // Reads do not mind W, nor mutations R: they share the call all the same.
    CallOptions options;
    if (i % 2 == 0) {
      options.write = Level::Count(2);
      others.push_back(Start(*db, AddOne("c"), options));
    } else {
      options.read = Level::All();
      others.push_back(Start(*db, ReadCounter("c"), options));
    }
  }
  CallOptions slow;
  slow.timeout = absl::Seconds(9);
  others.push_back(Start(*db, AddOne("c"), slow));  // not with the others
  node.Release();
  CHECK(first.get().ok());
  for (auto& each : others) CHECK(each.get().ok());
  CHECK(node.call_sizes() == std::vector<size_t>{1, 500, 1});
}

TEST_CASE("Client: results come back to the operations they belong to") {
  FakeNode node;
  auto db = Open({node.address()}, {.operations_per_call_max = 7});
  std::vector<Operation> operations;
  for (int i = 0; i < 50; ++i) {
    operations.push_back(AddOne("c" + std::to_string(i % 10)));
    operations.push_back(ReadCounter("c" + std::to_string(i % 10)));
  }
  operations.push_back(AddOne(""));  // no key: refused, alone
  const auto results = db->Execute(operations);
  REQUIRE(results.size() == 101);
  for (size_t i = 0; i < 50; ++i) {
    CHECK(results[2 * i].ok());
    REQUIRE(results[2 * i + 1].ok());
    const auto& read = std::get<replica::ReadReply>(*results[2 * i + 1]);
    CHECK(read.result.view.number == static_cast<int64_t>(i / 10) + 1);
  }
  CHECK(absl::IsInvalidArgument(results.back().status()));
}

TEST_CASE("Client: many threads at once lose nothing") {
  FakeNode node;
  auto db = Open({node.address()});
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&db] {
      for (int i = 0; i < 100; ++i) {
        auto added = db->bucket("b").counter("c").Add(1);
        if (!added.ok()) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(db->bucket("b").counter("c").Read()->value == 800);
}

TEST_CASE("Client: connecting says of every node why it failed") {
  const auto client = Client::Connect({NobodyThere(), NobodyThere()});
  REQUIRE_FALSE(client.ok());
  CHECK(absl::IsUnavailable(client.status()));
  CHECK(Says(client.status(), "no node can be reached"));
  CHECK(Says(client.status(), "refused"));
  CHECK(absl::IsInvalidArgument(Client::Connect({"nonsense"}).status()));
  CHECK(absl::IsInvalidArgument(Client::Connect({}).status()));
}

TEST_CASE("Client: a node of another protocol version is passed over") {
  FakeNode old_node;
  FakeNode node;
  old_node.SetVersions(7, 9);
  auto db = Open({old_node.address(), node.address()});
  CHECK(db->node() == node.address());
  const auto none = Client::Connect({old_node.address()});
  CHECK(absl::IsUnavailable(none.status()));
  CHECK(Says(none.status(), "protocol versions 7 to 9"));
}

TEST_CASE("Client: a dead node is passed over") {
  FakeNode node;
  auto db = Open({NobodyThere(), node.address()});
  CHECK(db->node() == node.address());
  CHECK(db->bucket("b").counter("c").Add(1).ok());
}

TEST_CASE("Client: a mutation whose answer was lost is never repeated") {
  FakeNode node;
  FakeNode other;
  auto db = Open({node.address(), other.address()});
  node.SetBehaviour(Behaviour::kServeThenHangUp);
  const auto added = db->bucket("b").counter("c").Add(1);
  CHECK(absl::IsUnavailable(added.status()));
  CHECK(Says(added.status(), "may have taken effect"));
  CHECK(MayHaveTakenEffect(added.status()));
  // The client has gone on, and nothing of it reached the other node.
  CHECK(db->bucket("b").counter("c").Read()->value == 0);
  CHECK(db->node() == other.address());
  CHECK(other.call_sizes() == std::vector<size_t>{1});
}

TEST_CASE("Client: reads, and what was not sent yet, go to the next node") {
  FakeNode node;
  FakeNode other;
  auto db = Open({node.address(), other.address()}, {.calls_in_flight_max = 1});
  CHECK(db->bucket("b").counter("warm").Add(1).ok());
  node.Hold();
  auto read = Start(*db, ReadCounter("c"));
  while (node.call_sizes().size() < 2) std::this_thread::yield();
  auto unsent = Start(*db, AddOne("d"));
  node.HangUpAll();
  const Result answered = read.get();
  CHECK_MESSAGE(answered.ok(), answered.status().ToString());
  CHECK(unsent.get().ok());
  CHECK(db->node() == other.address());
  CHECK(other.call_sizes().size() == 1);  // the two shared a call
}

TEST_CASE("Client: a read that loses every connection fails in the end") {
  FakeNode node;
  auto db = Open({node.address()});
  node.SetBehaviour(Behaviour::kHangUp);
  const auto read = db->bucket("b").counter("c").Read();
  CHECK(absl::IsUnavailable(read.status()));
  CHECK_FALSE(MayHaveTakenEffect(read.status()));
  CHECK(node.call_sizes().size() == 3);
}

TEST_CASE("Client: a node that fails a call leaves the fate open") {
  FakeNode node;
  auto db = Open({node.address()});
  node.SetBehaviour(Behaviour::kThrow);
  const auto added = db->bucket("b").counter("c").Add(1);
  CHECK(absl::IsUnavailable(added.status()));
  CHECK(MayHaveTakenEffect(added.status()));
  node.SetBehaviour(Behaviour::kServe);
  CHECK(db->bucket("b").counter("c").Add(1).ok());
  CHECK(node.connections() == 1);
}

TEST_CASE("Client: a node that stays silent is given up for the next one") {
  FakeNode node;
  FakeNode other;
  auto db = Open({node.address(), other.address()});
  node.SetBehaviour(Behaviour::kSilent);
  const auto added =
      db->bucket("b").counter("c").Add(1, {.timeout = absl::Milliseconds(50)});
  CHECK(MayHaveTakenEffect(added.status()));
  CHECK(db->bucket("b").counter("c").Add(1).ok());
  CHECK(db->node() == other.address());
}

TEST_CASE("Client: what waits for a node fails at its deadline, unsent") {
  auto node = std::make_unique<FakeNode>();
  auto db = Open({node->address()});
  node.reset();
  const auto added =
      db->bucket("b").counter("c").Add(1, {.timeout = absl::Milliseconds(100)});
  CHECK(absl::IsUnavailable(added.status()));
  // Either the loss was noticed before it was sent, or not.
  CHECK((Says(added.status(), "no node can be reached") ||
         MayHaveTakenEffect(added.status())));
  const auto again =
      db->bucket("b").counter("c").Add(1, {.timeout = absl::Milliseconds(100)});
  CHECK(Says(again.status(), "no node can be reached"));
  CHECK_FALSE(MayHaveTakenEffect(again.status()));
}

TEST_CASE("Client: what an overloaded node refused is sent again in time") {
  FakeNode node;
  auto db = Open({node.address()});
  const absl::Status busy = replica::WithRetryAfter(
      absl::ResourceExhaustedError("overloaded"), absl::Milliseconds(30));
  node.Refuse(3, busy);
  const absl::Duration before = internal::SteadyNow();
  CHECK(db->bucket("b").counter("c").Add(1).ok());
  CHECK(internal::SteadyNow() - before >= 3 * absl::Milliseconds(30));
  CHECK(node.call_sizes().size() == 4);
  CHECK(db->bucket("b").counter("c").Read()->value == 1);

  // Not for ever, and not beyond its deadline.
  node.Refuse(1'000, busy);
  const auto refused = db->bucket("b").counter("c").Add(1);
  CHECK(absl::IsResourceExhausted(refused.status()));
  CHECK(RetryAfterOf(refused.status()) == absl::Milliseconds(30));
  CHECK(node.call_sizes().size() == 5 + 6);
  WriteOptions hasty;
  hasty.timeout = absl::Milliseconds(40);
  CHECK(absl::IsResourceExhausted(
      db->bucket("b").counter("c").Add(1, hasty).status()));
  CHECK(node.call_sizes().size() == 12);

  // Without the hint it is a limit, and sending it again would not help.
  node.Refuse(1, absl::ResourceExhaustedError("too large"));
  CHECK(
      absl::IsResourceExhausted(db->bucket("b").counter("c").Add(1).status()));
  CHECK(node.call_sizes().size() == 13);

  ClientOptions options;
  options.overload_retries = 0;
  node.Refuse(1, busy);
  CHECK(absl::IsResourceExhausted(Open({node.address()}, options)
                                      ->bucket("b")
                                      .counter("c")
                                      .Add(1)
                                      .status()));
}

TEST_CASE("Client: closing answers what rests until a node has room again") {
  FakeNode node;
  auto db = Open({node.address()});
  node.Refuse(1, replica::WithRetryAfter(absl::ResourceExhaustedError("busy"),
                                         absl::Seconds(2)));
  auto added = db->async_bucket("b").counter("c").Add(1);
  while (node.call_sizes().empty()) std::this_thread::yield();
  db.reset();
  CHECK_FALSE(added.get().ok());
}

TEST_CASE("Client: a node that comes back is found again") {
  auto node = std::make_unique<FakeNode>();
  const uint16_t port = node->port();
  auto db = Open({node->address()});
  node.reset();
  auto waiting = Start(*db, ReadCounter("c"));
  node = std::make_unique<FakeNode>(port);
  const Result answered = waiting.get();
  CHECK_MESSAGE(answered.ok(), answered.status().ToString());
}

TEST_CASE("Client: closing answers what is in flight") {
  FakeNode node;
  auto db = Open({node.address()}, {.calls_in_flight_max = 1});
  node.Hold();
  auto sent = Start(*db, AddOne("c"));
  while (node.call_sizes().empty()) std::this_thread::yield();
  auto unsent = Start(*db, AddOne("c"));
  db.reset();
  CHECK(MayHaveTakenEffect(sent.get().status()));
  const Result never = unsent.get();
  CHECK(absl::IsUnavailable(never.status()));
  CHECK_FALSE(MayHaveTakenEffect(never.status()));
  node.Release();
}

TEST_CASE("Client: more than the limits in flight is refused at once") {
  FakeNode node;
  auto db = Open({node.address()}, {.operations_in_flight_max = 3});
  node.Hold();
  std::vector<std::future<Result>> some;
  for (int i = 0; i < 3; ++i) some.push_back(Start(*db, AddOne("c")));
  const Result refused = Start(*db, AddOne("c")).get();
  CHECK(absl::IsResourceExhausted(refused.status()));
  node.Release();
  for (auto& each : some) CHECK(each.get().ok());
  CHECK(Start(*db, AddOne("c")).get().ok());
}

TEST_CASE("Client: an operation larger than a frame is refused at once") {
  FakeNode node;
  auto db = Open({node.address()});
  Batch batch;
  for (int i = 0; i < 5; ++i) {
    batch.bucket("b")
        .reg("{k}" + std::to_string(i))
        .Write(std::string(1 << 20, 'v'));
  }
  CHECK(absl::IsResourceExhausted(db->Run(batch).status()));
  CHECK(node.call_sizes().empty());
}

TEST_CASE("Client: reads whose answers fill a reply are asked for again") {
  FakeNode node;
  auto db = Open({node.address()}, {.calls_in_flight_max = 1});
  std::vector<Operation> reads;
  for (int i = 0; i < 8; ++i) {
    const std::string key = "r" + std::to_string(i);
    CHECK(db->bucket("b").reg(key).Write(std::string(1 << 20, 'v')).ok());
    replica::ReadRequest read;
    read.spec.object = {"b", key, Type::kRegister};
    reads.push_back(read);
  }
  for (const Result& result : db->Execute(reads)) {
    REQUIRE(result.ok());
    CHECK(std::get<replica::ReadReply>(*result).result.view.values[0].size() ==
          1 << 20);
  }
}

TEST_CASE("Client: a map of many small fields is read page by page") {
  FakeNode node;
  auto db = Open({node.address()});
  const size_t fields = 40'000;  // 3.8 MB as an answer: more than a reply holds
  for (size_t i = 0; i < fields; i += 1000) {
    Batch batch;
    auto map = batch.bucket("b").map("m");
    for (size_t j = i; j < i + 1000; ++j) {
      map.ewflag(std::to_string(j)).Enable();
    }
    REQUIRE(db->Run(batch).ok());
  }
  size_t seen = 0;
  FieldPage page;
  bool more = true;
  while (more) {
    const auto part = db->bucket("b").map("m").Read(page);
    REQUIRE_MESSAGE(part.ok(), part.status().ToString());
    REQUIRE_FALSE(part->value.fields.empty());
    seen += part->value.fields.size();
    page.after = part->value.fields.back().first;
    more = part->more;
  }
  CHECK(seen == fields);
}

TEST_CASE("Client: listing goes page by page, status and digests come whole") {
  FakeNode node;
  auto db = Open({node.address()});
  for (const char* key : {"a1", "a2", "a3", "b1"}) {
    CHECK(db->bucket("b").counter(key).Add(1).ok());
  }
  CHECK(db->bucket("b").set("a2").Add("x").ok());
  auto page = db->List("b", "a", std::nullopt, 2);
  REQUIRE(page.ok());
  CHECK(page->more);
  CHECK(page->objects == std::vector<ObjectId>{{"b", "a1", Type::kCounter},
                                               {"b", "a2", Type::kSet}});
  CallOptions options;
  options.read = Level::All();
  options.timeout = absl::Milliseconds(1700);
  page = db->List("b", "a", page->objects.back(), 5, options);
  CHECK(node.last_options().read == Level::All());
  CHECK(node.last_options().timeout == options.timeout);
  CHECK(page->objects == std::vector<ObjectId>{{"b", "a2", Type::kCounter},
                                               {"b", "a3", Type::kCounter}});
  CHECK_FALSE(page->more);
  CHECK(db->Status()->name == "fake");
  const auto digests = db->Digests();
  REQUIRE(digests.ok());
  CHECK(digests->partitions.size() == 4);
}

}  // namespace
}  // namespace dovetail
