// How quickly peers answer, and what is made of it: when a read asks somebody
// else too, and who is left alone for a while.
#include "replica/peer_times.h"

#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "replica/hash.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {
namespace {

constexpr absl::Duration kMs = absl::Milliseconds(1);
const NodeId kB{1}, kC{2}, kD{3};

// Node i has the name of its letter and, if given, the region.
Placement Members(uint32_t nodes, std::vector<Placement::Row> rows,
                  const std::vector<std::string>& regions = {}) {
  std::vector<Placement::Member> members;
  for (uint32_t i = 0; i < nodes; ++i) {
    members.push_back({NodeId{i}, std::string(1, static_cast<char>('A' + i)),
                       "", regions.empty() ? "" : regions[i]});
  }
  return Placement(static_cast<uint32_t>(rows.size()), members, rows);
}
Placement::Row Row(std::vector<uint32_t> nodes, uint32_t owners) {
  Placement::Row row;
  for (uint32_t node : nodes) row.nodes.push_back(NodeId{node});
  row.owners = owners;
  return row;
}

struct Asking {
  explicit Asking(std::vector<std::string> regions = {})
      : placement(Members(4, {Row({0, 1, 2, 3}, 3)}, regions)) {}
  // `times` questions that `peer` answers after `took`, ten a second.
  void Ask(NodeId peer, absl::Duration took, int times = 20) {
    for (int i = 0; i < times; ++i) {
      peers.Asked(peer, ++question, now);
      peers.Answered(peer, question, now + took);
      now += 100 * kMs;
    }
  }

  ShardOptions options;
  Placement placement;
  PeerTimes peers{options, placement};
  uint64_t question = 0;
  absl::Duration now = absl::Hours(5);
};

TEST_CASE("AnswerTimes: the percentile is above 95 of 100, and not far above") {
  AnswerTimes times;
  for (int ms = 1; ms <= 100; ++ms) times.Add(ms * kMs, absl::Hours(1));
  CHECK(times.answers() == 100);
  CHECK(times.p95() >= 95 * kMs);
  CHECK(times.p95() <= 95 * kMs * 1.2);
  AnswerTimes longest;
  longest.Add(absl::Hours(1), absl::Hours(1));
  CHECK(longest.p95() > absl::Seconds(1));
  AnswerTimes shortest;
  shortest.Add(absl::ZeroDuration(), absl::Hours(1));
  CHECK(shortest.p95() == absl::Microseconds(64));
}

TEST_CASE("AnswerTimes: the past fades with answers and with time") {
  AnswerTimes times;
  for (int i = 0; i < 200; ++i) times.Add(100 * kMs, absl::Hours(1));
  for (int i = 0; i < 3'000; ++i) times.Add(2 * kMs, absl::Hours(1));
  CHECK(times.p95() < 3 * kMs);
  CHECK(times.answers() <= 256);
  // A night later the next answer is all that is known.
  times.Add(40 * kMs, absl::Hours(9));
  CHECK(times.answers() == 1);
  CHECK(times.p95() >= 40 * kMs);
}

TEST_CASE("PeerTimes: a hedge waits as long as this peer mostly takes") {
  Asking asking;
  const auto after = [&](NodeId peer) { return asking.peers.HedgeAfter(peer); };
  CHECK(after(kB) == 50 * kMs);  // nothing is known
  asking.Ask(kB, 5 * kMs, 15);
  CHECK(after(kB) == 50 * kMs);  // too little
  asking.Ask(kB, 5 * kMs, 1);
  CHECK(after(kB) >= 5 * kMs);
  CHECK(after(kB) < 7 * kMs);
  CHECK(after(kC) == 50 * kMs);  // of another peer, nothing
  asking.Ask(kC, absl::Microseconds(80));
  CHECK(after(kC) == 1 * kMs);  // the least
  asking.Ask(kD, 300 * kMs);
  CHECK(after(kD) == 50 * kMs);  // the most
}

TEST_CASE("PeerTimes: an answer that never comes counts as a long time") {
  Asking asking;
  asking.Ask(kC, kMs);
  asking.Ask(kB, kMs);
  for (int i = 0; i < 30; ++i) {
    asking.peers.Asked(kB, ++asking.question, asking.now);
    asking.now += 100 * kMs;
  }
  CHECK(asking.peers.IsSlow(kB));
}

TEST_CASE(
    "PeerTimes: who is far slower than the others is slow, until it is "
    "quick several times in a row") {
  Asking asking;
  asking.Ask(kB, 300 * kMs);
  CHECK(!asking.peers.IsSlow(kB));  // nobody to compare it with
  asking.Ask(kC, 30 * kMs);
  asking.Ask(kD, 30 * kMs);
  CHECK(!asking.peers.any_slow());  // decided when it answers
  asking.Ask(kB, 300 * kMs, 1);
  CHECK(asking.peers.IsSlow(kB));
  CHECK(!asking.peers.IsSlow(kC));
  // Between half of the limit and the limit it stays what it is.
  asking.Ask(kB, 100 * kMs, 50);
  CHECK(asking.peers.IsSlow(kB));
  asking.Ask(kB, 30 * kMs, 7);
  asking.Ask(kB, 300 * kMs, 1);
  asking.Ask(kB, 30 * kMs, 7);
  CHECK(asking.peers.IsSlow(kB));
  asking.Ask(kB, 30 * kMs, 1);
  CHECK(!asking.peers.IsSlow(kB));
  CHECK(!asking.peers.any_slow());
  CHECK(asking.peers.HedgeAfter(kB) == 50 * kMs);  // as if new
}

TEST_CASE("PeerTimes: below the floor nobody is slow, whatever the factor") {
  Asking asking;
  asking.Ask(kC, absl::Microseconds(100));
  asking.Ask(kD, absl::Microseconds(100));
  asking.Ask(kB, 15 * kMs, 100);
  CHECK(!asking.peers.IsSlow(kB));
}

TEST_CASE("PeerTimes: a far region is far and not slow") {
  Asking asking({"eu", "eu", "us", "us"});
  asking.Ask(kB, kMs);
  asking.Ask(kC, 120 * kMs);
  asking.Ask(kD, 120 * kMs);
  asking.Ask(kC, 120 * kMs);
  CHECK(!asking.peers.any_slow());
  asking.Ask(kD, 490 * kMs, 300);
  CHECK(asking.peers.IsSlow(kD));
}

TEST_CASE("PeerTimes: who is slow is probed now and then, nobody else is") {
  Asking asking;
  asking.Ask(kC, kMs);
  asking.Ask(kB, 200 * kMs);
  REQUIRE(asking.peers.IsSlow(kB));
  CHECK(!asking.peers.TakeProbe(kC, asking.now));
  CHECK(asking.peers.TakeProbe(kB, asking.now));
  CHECK(!asking.peers.TakeProbe(kB, asking.now + 99 * kMs));
  CHECK(asking.peers.TakeProbe(kB, asking.now + 100 * kMs));
  // Another process is judged anew.
  asking.peers.Forget(kB);
  CHECK(!asking.peers.any_slow());
  CHECK(!asking.peers.TakeProbe(kB, asking.now + absl::Seconds(9)));
}

// --- On shards ---

// Reads at R = 2 through `node`; each message to or from a slow node, and
// nothing else, takes `slow_takes`. Returns how often each node was asked.
struct Load {
  explicit Load(Cluster& on) : cluster(on) {}

  std::vector<int> Read(uint32_t node, std::string key, int times) {
    std::vector<int> asked(cluster.size());
    for (int i = 0; i < times; ++i) {
      crdt::ReadSpec spec;
      spec.object = Count(key, 1).object;
      const RequestId id = cluster.BeginRead(node, spec, Cluster::R(2));
      for (const auto& item : cluster.network()) {
        if (std::holds_alternative<ReadQuery>(item.message.body)) {
          ++asked[Index(item.to)];
        }
      }
      const auto is_slow = [&](const Cluster::InFlight& item) {
        return slow && (item.to == *slow || item.from == *slow);
      };
      cluster.DeliverAll(is_slow);
      // A slow answer may come when nobody waits for it any more.
      for (absl::Duration t; slow && t < slow_takes; t += kMs) {
        cluster.Advance(kMs);
        cluster.DeliverAll(is_slow);
      }
      cluster.DeliverAll();
      REQUIRE(cluster.Take(id).has_value());
      cluster.Advance(20 * kMs);
      cluster.network().clear();
    }
    return asked;
  }

  Cluster& cluster;
  std::optional<NodeId> slow;
  absl::Duration slow_takes = 150 * kMs;
};

TEST_CASE("Read: whom it waits for longer than usual is joined by another") {
  Cluster cluster(3);
  Load load(cluster);
  load.slow = NodeId{1};
  load.slow_takes = 2 * kMs;
  load.Read(0, "k", 20);
  crdt::ReadSpec spec;
  spec.object = Count("k", 1).object;
  const RequestId id = cluster.BeginRead(0, spec, Cluster::R(2));
  REQUIRE(cluster.network().size() == 1);
  REQUIRE(cluster.network()[0].to == NodeId{1});
  cluster.network().clear();  // it stops for a moment
  // Far sooner than the 50 ms that a stranger gets.
  cluster.Advance(3 * kMs);
  cluster.DeliverAll();
  const auto reply = cluster.Take(id);
  REQUIRE(reply.has_value());
  CHECK(reply->body.ok());
}

TEST_CASE(
    "Read: a slow owner is asked last, still gets every write, and is "
    "asked again when it is quick") {
  Cluster cluster(3);
  Load load(cluster);
  // All are known to be quick: node 2 by reads that node 1 was too late for.
  load.Read(0, "k", 20);
  load.slow = NodeId{1};
  load.Read(0, "k", 20);
  // By now it is node 2 that is asked, and node 1 for a probe at the most.
  const std::vector<int> while_slow = load.Read(0, "k", 20);
  CHECK(while_slow[2] == 20);
  CHECK(while_slow[1] >= 5);
  CHECK(while_slow[1] <= 20);
  const std::vector<PeerTime> times = cluster.at(0).PeerAnswerTimes();
  REQUIRE(times.size() == 2);
  CHECK(times[0].slow);
  CHECK(!times[1].slow);

  REQUIRE(cluster.Write(0, Count("k", 1)).ok());
  int replicates = 0;
  for (const auto& item : cluster.network()) {
    replicates += std::holds_alternative<Replicate>(item.message.body) ? 1 : 0;
  }
  CHECK(replicates == 2);
  cluster.DeliverAll();
  cluster.network().clear();

  load.slow.reset();
  load.Read(0, "k", 60);  // probes find out
  const std::vector<int> again = load.Read(0, "k", 20);
  CHECK(again[1] == 20);
  CHECK(again[2] == 0);
}

TEST_CASE("Forward: not to an owner that is slow, if there is another") {
  // Node 3 knows how quick 0 and 1 are by its own partition, and forwards to
  // them what is of the other.
  Cluster cluster(Members(4, {Row({0, 1, 2, 3}, 2), Row({3, 0, 1, 2}, 3)}),
                  ShardOptions());
  std::string forwarded;
  std::string own;
  for (int i = 0; forwarded.empty() || own.empty(); ++i) {
    const crdt::ObjectId object = Count(std::to_string(i), 1).object;
    const bool first =
        PartitionOf(object.bucket, object.key, 2) == PartitionId{0};
    (first ? forwarded : own) = object.key;
  }
  const auto forwarded_to = [&] {
    crdt::ReadSpec spec;
    spec.object = Count(forwarded, 1).object;
    cluster.BeginRead(3, spec, Cluster::R(1));
    REQUIRE(cluster.network().size() == 1);
    REQUIRE(std::holds_alternative<Forward>(cluster.network()[0].message.body));
    const NodeId to = cluster.network()[0].to;
    cluster.DeliverAll();
    cluster.network().clear();
    return to;
  };
  CHECK(forwarded_to() == NodeId{0});
  Load load(cluster);
  load.Read(3, own, 20);
  load.slow = NodeId{0};
  load.Read(3, own, 25);
  CHECK(forwarded_to() == NodeId{1});
}

}  // namespace
}  // namespace dovetail::replica
