// Listings with a session: what it has seen is in every page, through whatever
// node, at whatever R.
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/shard.h"
#include "tests/replica/cluster.h"
#include "tests/replica/moving.h"

namespace dovetail::replica {
namespace {

bool IsSync(const Cluster::InFlight& item) {
  return std::holds_alternative<Summary>(item.message.body) ||
         std::holds_alternative<SyncDeltas>(item.message.body);
}
template <class Body>
bool Is(const Cluster::InFlight& item) {
  return std::holds_alternative<Body>(item.message.body);
}

ListRequest InB(std::vector<SessionToken> session, uint32_t limit = 1000) {
  ListRequest list;
  list.bucket = "b";
  list.limit = limit;
  list.session = std::move(session);
  return list;
}

// "waits", "k1 k2", with " ..." if there is more, or an error.
std::string Take(Cluster& cluster, RequestId id) {
  std::optional<ClientReply> reply = cluster.Take(id);
  if (!reply) return "waits";
  if (!reply->body.ok()) return reply->body.status().ToString();
  const auto& page = std::get<ListReply>(*reply->body);
  std::string names;
  for (const crdt::ObjectId& object : page.objects) {
    absl::StrAppend(&names, names.empty() ? "" : " ", object.key);
  }
  if (page.more) absl::StrAppend(&names, " ...");
  return names;
}

// Delivers what is no sync, and lets time pass in between, until `id` is
// answered or `limit` has gone by.
std::string Await(Cluster& cluster, RequestId id,
                  absl::Duration limit = absl::Seconds(30)) {
  for (absl::Duration gone; gone < limit; gone += absl::Milliseconds(5)) {
    cluster.DeliverAll(IsSync);
    const std::string taken = Take(cluster, id);
    if (taken != "waits") return taken;
    cluster.Advance(absl::Milliseconds(5));
  }
  return "waits";
}

std::string List(Cluster& cluster, uint32_t node, uint32_t r,
                 ListRequest list) {
  return Await(cluster,
               cluster.BeginList(node, std::move(list), Cluster::R(r)));
}

SessionToken WriteAt(Cluster& cluster, uint32_t node,
                     crdt::Operation operation) {
  const RequestId id = cluster.Submit(
      node, WriteRequest{{std::move(operation)}, {}, SessionToken{}},
      Cluster::W(1));
  std::optional<ClientReply> reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  return *std::get<WriteReply>(*reply->body).session;
}

TEST_CASE("Listing: a session finds what it wrote, at any node and any R") {
  for (uint32_t asked = 0; asked < 3; ++asked) {
    for (uint32_t r = 1; r <= 3; ++r) {
      CAPTURE(asked);
      CAPTURE(r);
      Cluster cluster(3);
      const SessionToken wrote = WriteAt(cluster, 2, AddTo("k", {"x"}));
      cluster.network().clear();
      CHECK(List(cluster, asked, r, InB({wrote})) == "k");
      if (asked != 2) CHECK(List(cluster, asked, 1, InB({})) == "");
    }
  }
}

TEST_CASE("Listing: what a session saw deleted is not in it any more") {
  for (uint32_t asked = 0; asked < 3; ++asked) {
    for (uint32_t r = 1; r <= 3; ++r) {
      CAPTURE(asked);
      CAPTURE(r);
      Cluster cluster(3);
      REQUIRE(cluster.Write(0, AddTo("k", {"x"})).ok());
      cluster.DeliverAll();
      const SessionToken wrote = WriteAt(cluster, 2, RemoveFrom("k", {"x"}));
      cluster.network().clear();
      CHECK(List(cluster, asked, r, InB({wrote})) == "");
      if (asked != 2) CHECK(List(cluster, asked, 1, InB({})) == "k");
    }
  }
}

TEST_CASE("Listing: of two nodes that know a half each neither will do") {
  // The session saw x of k removed at node 0 and y at node 1. Each shows k, and
  // both together do not: a page that both agree on would be wrong.
  Cluster cluster(3);
  REQUIRE(cluster.Write(2, AddTo("k", {"x", "y"})).ok());
  cluster.DeliverAll();
  SessionToken seen = WriteAt(cluster, 0, RemoveFrom("k", {"x"}));
  seen.MergeFrom(WriteAt(cluster, 1, RemoveFrom("k", {"y"})));
  cluster.network().clear();
  CHECK(List(cluster, 0, 2, InB({})) == "k");

  const RequestId id = cluster.BeginList(0, InB({seen}), Cluster::R(2));
  CHECK(Await(cluster, id, absl::Milliseconds(100)) == "waits");
  // It was asked for what it lacks.
  cluster.DeliverAll();
  CHECK(Await(cluster, id) == "");
}

TEST_CASE("Listing: a session of many partitions has all of them covered") {
  // Each of the writes is known to one node alone, and none to all.
  Cluster cluster(3, 8);
  std::vector<SessionToken> session;
  std::string names;
  for (uint32_t i = 0; i < 9; ++i) {
    const std::string key = absl::StrCat("k", i);
    session.push_back(WriteAt(cluster, i % 3, Count(key, 1)));
    absl::StrAppend(&names, names.empty() ? "" : " ", key);
  }
  cluster.network().clear();
  const RequestId id = cluster.BeginList(1, InB(session), Cluster::R(1));
  for (int i = 0; i < 20; ++i) {
    cluster.DeliverAll();
    cluster.Advance(absl::Milliseconds(20));
  }
  CHECK(Take(cluster, id) == names);
}

TEST_CASE("Listing: pages of a session have it all, whatever they end at") {
  Cluster cluster(3);
  std::vector<SessionToken> session;
  for (int i = 0; i < 7; ++i) {
    const std::string key = absl::StrCat("k", i);
    session.push_back(WriteAt(cluster, 2, Count(key, 1)));
  }
  for (int i = 0; i < 7; i += 2) {
    cluster.network().clear();
    REQUIRE(cluster.Write(0, Count(absl::StrCat("m", i), 1)).ok());
  }
  cluster.network().clear();
  ListRequest list = InB(session, 2);
  std::string names;
  for (bool more = true; more;) {
    const RequestId id = cluster.BeginList(0, list, Cluster::R(1));
    std::optional<ClientReply> reply;
    while (!(reply = cluster.Take(id))) {
      cluster.DeliverAll(IsSync);
      cluster.Advance(absl::Milliseconds(5));
    }
    REQUIRE(reply->body.ok());
    const auto& page = std::get<ListReply>(*reply->body);
    for (const crdt::ObjectId& object : page.objects) names += object.key + " ";
    more = page.more;
    REQUIRE((!more || !page.objects.empty()));
    if (more) list.after = page.objects.back();
  }
  CHECK(names == "k0 k1 k2 k3 k4 k5 k6 m0 m2 m4 m6 ");
}

TEST_CASE("Listing: what nobody in reach has is told, with how much it is") {
  Cluster cluster(3);
  SessionToken seen = WriteAt(cluster, 2, Count("k", 1));
  seen.MergeFrom(WriteAt(cluster, 2, Count("k", 1)));
  cluster.network().clear();
  cluster.Part(0, 2);
  cluster.Part(1, 2);
  CHECK(List(cluster, 0, 1, InB({seen})) ==
        "DEADLINE_EXCEEDED: the session has seen 2 events of partition 0 that "
        "the best of those who answered in time has not applied: 0 1");
}

TEST_CASE("Listing: who forgot between its word and its page is not believed") {
  // The restarted node has its old name, and lists without a word what is left.
  Cluster cluster(3);
  const SessionToken wrote = WriteAt(cluster, 2, AddTo("k", {"x"}));
  cluster.network().clear();
  const RequestId id = cluster.BeginList(0, InB({wrote}), Cluster::R(1));
  while (true) {
    cluster.DeliverAll(
        [](const auto& item) { return IsSync(item) || Is<ListQuery>(item); });
    bool asked = false;
    for (const auto& item : cluster.network()) asked |= Is<ListQuery>(item);
    if (asked) break;
    cluster.Advance(absl::Milliseconds(1));
  }
  std::deque<Cluster::InFlight> kept;
  for (const auto& item : cluster.network()) {
    if (Is<ListQuery>(item)) kept.push_back(item);
  }
  cluster.Crash(2, /*losing_batches=*/1000);
  REQUIRE(cluster.Start(2).ok());
  CHECK(cluster.Show(2, crdt::Type::kSet, "k") == "{}");
  cluster.network() = std::move(kept);
  CHECK(Await(cluster, id)
            .starts_with("DEADLINE_EXCEEDED: the session has seen 1 events of "
                         "partition 0"));
}

TEST_CASE("Listing: what this node holds alone has to cover its session") {
  Cluster cluster(3);
  const SessionToken wrote = WriteAt(cluster, 2, AddTo("k", {"x"}));
  cluster.network().clear();
  RequestOptions here = Cluster::R(1);
  here.here = true;
  CHECK(Await(cluster, cluster.BeginList(0, InB({wrote}), here))
            .starts_with("DEADLINE_EXCEEDED"));
  CHECK(Await(cluster, cluster.BeginList(2, InB({wrote}), here)) == "k");
}

TEST_CASE("Listing: a token of another number of partitions is refused") {
  Cluster cluster(3, 4);
  SessionToken other{8, PartitionId{1}, {}, {}};
  other.events.InsertRun({crdt::ActorId{5}, 1, 1});
  CHECK(List(cluster, 0, 1, InB({other}))
            .starts_with("INVALID_ARGUMENT: a session token of partition 1 of "
                         "8"));
  // One that has seen nothing has nothing to wait for.
  CHECK(List(cluster, 0, 1, InB({SessionToken{}})) == "");
}

}  // namespace
}  // namespace dovetail::replica
