// No storms of repair: what lags or is lost is asked for and sent a few times,
// however many ask for it, and whatever has piled up in the meantime.
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

template <class Body>
bool Is(const Cluster::InFlight& item) {
  return std::holds_alternative<Body>(item.message.body);
}

// Delivers everything, and counts the messages of that kind; what comes after
// `max` of them is held back, for a storm has no end.
template <class Body>
uint32_t CountDelivered(Cluster& cluster, uint32_t max = 1000) {
  uint32_t count = 0;
  cluster.DeliverAll([&](const Cluster::InFlight& item) {
    return Is<Body>(item) && ++count > max;
  });
  return count;
}

std::vector<std::string> Elements(uint32_t count) {
  std::vector<std::string> elements;
  for (uint32_t i = 0; i < count; ++i) {
    elements.push_back(absl::StrCat("e", 1000 + i));
  }
  return elements;
}

// An owner that says "not in my log any more" makes the asker turn to the
// others, who say the same. In a cluster of seven this once made 450,000
// messages a second (a seed of the simulator): each answer made four questions.
TEST_CASE("Storm: owners whose logs are gone are not played off each other") {
  Cluster cluster(5);
  REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
  cluster.DeliverAll();
  cluster.Crash(4);
  cluster.disk(4).Wipe();
  for (uint32_t node = 0; node < 4; ++node) cluster.ForgetLog(node);
  REQUIRE(cluster.Start(4).ok());
  // It was gone for so short a time that they did not notice, and say nothing
  // by themselves.
  std::erase_if(cluster.network(), [](const Cluster::InFlight& item) {
    return item.to == NodeId{4};
  });
  // When it starts, and what there is; once for what the first has lost, and
  // little besides.
  CHECK(CountDelivered<Summary>(cluster) <= 4 * 4);
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(4, crdt::Type::kSet, "k") == "{a}");
}

// Each read that finds a replica behind has it synced. Many that find the same
// at one time had the same deltas sent for each of them.
TEST_CASE("Storm: a hundred reads that meet one difference are one exchange") {
  Cluster cluster(3);
  cluster.DeliverAll();
  REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
  cluster.network().clear();
  std::vector<RequestId> reads;
  for (int i = 0; i < 100; ++i) {
    crdt::ReadSpec spec;
    spec.object = {"b", "k", crdt::Type::kSet};
    reads.push_back(cluster.BeginRead(0, spec, Cluster::R(2)));
  }
  // A question and an answer, with either of the other owners.
  CHECK(CountDelivered<Summary>(cluster) <= 4);
  for (const RequestId id : reads) CHECK(cluster.Take(id)->body.ok());
  CHECK(cluster.Show(1, crdt::Type::kSet, "k") == "{a}");
}

// Behind a link that stood still, or at a process that did, summaries pile up.
// Each was answered with everything that it lacked.
TEST_CASE("Storm: of fifty summaries that waited, the first is answered") {
  Cluster cluster(2);
  cluster.DeliverAll();
  REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
  cluster.network().clear();
  cluster.at(1).StartSync(NodeId{0}, cluster.now());
  cluster.Advance(absl::Seconds(2));
  std::erase_if(cluster.network(), [](const Cluster::InFlight& item) {
    return !Is<Summary>(item) || item.from != NodeId{1};
  });
  REQUIRE(!cluster.network().empty());
  const Cluster::InFlight one = cluster.network().front();
  cluster.network().assign(50, one);
  CHECK(CountDelivered<SyncDeltas>(cluster) == 1);
  CHECK(cluster.Show(1, crdt::Type::kSet, "k") == "{a}");
}

// What was streamed and got lost is streamed again, though: at the next round.
TEST_CASE("Storm: deltas that are lost on their way are sent again") {
  Cluster cluster(2);
  cluster.DeliverAll();
  REQUIRE(cluster.Write(0, AddTo("k", {"a"})).ok());
  cluster.network().clear();
  for (int round = 0; round < 3; ++round) {
    cluster.at(1).StartSync(NodeId{0}, cluster.now());
    cluster.Advance(absl::Seconds(1));
    CHECK(cluster.Show(1, crdt::Type::kSet, "k") == "{}");
    uint32_t sent = 0;
    cluster.DeliverAll([&](const Cluster::InFlight& item) {
      sent += Is<SyncDeltas>(item) ? 1 : 0;
      return Is<SyncDeltas>(item);
    });
    CHECK(sent >= 1);
    cluster.network().clear();
  }
  REQUIRE(cluster.Settle().has_value());
  CHECK(cluster.Show(1, crdt::Type::kSet, "k") == "{a}");
}

// A listing asks for one element of each object. Where this replica had not
// seen a large set cleared, it asked for its elements one by one.
TEST_CASE("Storm: one element behind a thousand removed ones is soon found") {
  Cluster cluster(3);
  REQUIRE(cluster.Write(0, AddTo("k", Elements(900))).ok());
  cluster.DeliverAll();
  REQUIRE(cluster.Write(1, RemoveFrom("k", Elements(900))).ok());
  REQUIRE(cluster.Write(1, AddTo("k", {"z1", "z2"})).ok());
  cluster.network().clear();
  crdt::ReadSpec spec;
  spec.object = {"b", "k", crdt::Type::kSet};
  spec.limit = 1;
  const RequestId read = cluster.BeginRead(0, spec, Cluster::R(3));
  uint32_t questions = 0;
  cluster.DeliverAll([&](const Cluster::InFlight& item) {
    questions += Is<ReadQuery>(item) ? 1 : 0;
    return Is<Summary>(item) || questions > 3000;
  });
  // 1, 2, 4 … of them: ten rounds, two others in each.
  CHECK(questions <= 2 * 11);
  const auto reply = cluster.Take(read);
  REQUIRE(reply.has_value());
  REQUIRE(reply->body.ok());
  const auto& answer = std::get<ReadReply>(*reply->body).result;
  CHECK(answer.view.values == std::vector<std::string>{"z1"});
  CHECK(answer.more);
}

}  // namespace
}  // namespace dovetail::replica
