// A cluster whose one partition moves from ring to ring, for tests: nodes go by
// numbers, and sync moves only when the test lets it.
#ifndef DOVETAIL_TESTS_REPLICA_MOVING_H_
#define DOVETAIL_TESTS_REPLICA_MOVING_H_

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "doctest/doctest.h"
#include "tests/replica/cluster.h"
#include "tests/sim/seat.h"

namespace dovetail::replica {

using InFlight = Cluster::InFlight;
inline constexpr PartitionId kOnly{0};

// A ring of one partition among `nodes` nodes, by number.
struct RingOf {
  uint64_t epoch = 1;
  std::vector<uint32_t> owners;
  std::vector<uint32_t> before = {};
  std::vector<uint32_t> gone = {};
  // Of rings that were committed at once: which one, and grown from which.
  uint64_t name = 0;
  uint64_t parent_name = 0;
};

inline Placement Made(uint32_t nodes, const RingOf& ring) {
  std::vector<Placement::Member> members;
  Placement::Row row;
  row.owners = static_cast<uint32_t>(ring.owners.size());
  for (uint32_t owner : ring.owners) row.nodes.push_back(NodeId{owner});
  for (uint32_t i = 0; i < nodes; ++i) {
    members.push_back(
        {NodeId{i}, std::string(1, static_cast<char>('A' + i)), "", ""});
    if (std::count(ring.owners.begin(), ring.owners.end(), i) == 0) {
      row.nodes.push_back(NodeId{i});
    }
  }
  row.owners_before = static_cast<uint32_t>(ring.before.size());
  for (uint32_t node : ring.before) {
    if (std::count(ring.gone.begin(), ring.gone.end(), node) == 0) {
      row.before.push_back(NodeId{node});
    }
  }
  const bool moves = !ring.before.empty();
  if (ring.name == 0) {
    return Placement(ring.epoch, members, {row}, moves ? ring.epoch - 1 : 0);
  }
  const RingLineage lineage{{ring.epoch, {ring.name, 0}},
                            {ring.epoch - 1, {ring.parent_name, 0}},
                            {}};
  return Placement(
      lineage, members, {row},
      moves ? Placement::Transfers::kUnderWay : Placement::Transfers::kDone);
}

inline RequestOptions Strict(Level read, Level write = Level::Quorum()) {
  RequestOptions options;
  options.read = read;
  options.write = write;
  options.quorums = Quorums::kStrict;
  return options;
}

inline crdt::ReadSpec SpecOf(std::string counter) {
  crdt::ReadSpec spec;
  spec.object = Count(std::move(counter), 1).object;
  return spec;
}

inline bool IsRequest(const InFlight& item) {
  const auto& body = item.message.body;
  return std::holds_alternative<Replicate>(body) ||
         std::holds_alternative<Ack>(body) ||
         std::holds_alternative<ReadQuery>(body) ||
         std::holds_alternative<ReadAnswer>(body) ||
         std::holds_alternative<Forward>(body) ||
         std::holds_alternative<Forwarded>(body) ||
         std::holds_alternative<ListQuery>(body) ||
         std::holds_alternative<ListAnswer>(body) ||
         std::holds_alternative<PresenceQuery>(body) ||
         std::holds_alternative<PresenceAnswer>(body);
}

class Moving {
 public:
  explicit Moving(RingOf first, uint32_t nodes = 4, ShardOptions options = {})
      : nodes_(nodes), cluster(Made(nodes, first), options) {}

  void Place(const RingOf& ring) { cluster.Place(Made(nodes_, ring)); }
  // Nothing goes between the two any more, until they meet.
  void Part(uint32_t a, uint32_t b) {
    cuts_.insert(std::minmax(a, b));
    cluster.Part(a, b);
  }
  void Meet(uint32_t a, uint32_t b) {
    Deliver([](const InFlight&) { return false; });  // drops what was cut off
    cuts_.erase(std::minmax(a, b));
    cluster.Meet(a, b);
  }
  // What `which` says, and what that causes; what is cut off is lost.
  void Deliver(const std::function<bool(const InFlight&)>& which) {
    const auto cut = [&](const InFlight& item) {
      return cuts_.contains(
          std::minmax(sim::SeatOf(item.from), sim::SeatOf(item.to)));
    };
    cluster.DeliverAll(
        [&](const InFlight& item) { return cut(item) || !which(item); });
    std::erase_if(cluster.network(), cut);
  }
  void Rounds(int rounds) {
    const auto all = [](const InFlight&) { return true; };
    for (int i = 0; i < rounds; ++i) {
      Deliver(all);
      cluster.Advance(absl::Seconds(1));
      Deliver(all);
    }
  }
  // Only what requests send; sync stands still.
  void Requests() { Deliver(IsRequest); }
  // A counter, at a majority of whom the coordinator reaches now.
  void Write(uint32_t at, std::string counter, int64_t amount) {
    const RequestId id = cluster.Begin(at, {Count(std::move(counter), amount)},
                                       Strict(Level::One()));
    Requests();
    const auto reply = cluster.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  }
  absl::StatusOr<int64_t> Read(uint32_t at, std::string counter,
                               RequestOptions options) {
    const RequestId id =
        cluster.BeginRead(at, SpecOf(std::move(counter)), options);
    Requests();
    auto reply = cluster.Take(id);
    if (!reply) return absl::DeadlineExceededError("nobody answers");
    if (!reply->body.ok()) return reply->body.status();
    return std::get<ReadReply>(*reply->body).result.view.number;
  }
  void CheckReads(uint32_t at, std::string counter, int64_t amount) {
    const auto read = Read(at, counter, Strict(Level::Quorum()));
    CHECK_MESSAGE(read.ok(), read.status().ToString());
    if (read.ok()) CHECK(*read == amount);
  }
  uint64_t Incomplete(uint32_t node) {
    return cluster.at(node).stats().incomplete;
  }
  bool Holds(uint32_t node) {
    return !cluster.at(node).ContextOf(kOnly).applied.empty();
  }
  // The owners hold the same, the others nothing.
  void CheckMoved(const std::vector<uint32_t>& owners) {
    for (uint32_t node = 0; node < nodes_; ++node) {
      if (!cluster.running(node)) continue;
      const bool owner = std::count(owners.begin(), owners.end(), node) > 0;
      CHECK(Incomplete(node) == 0);
      CHECK(cluster.at(node).VerifyDigests().ok());
      if (!owner) {
        CHECK_FALSE(Holds(node));
        CHECK(cluster.at(node).DumpRows(kOnly)->empty());
        continue;
      }
      CHECK(cluster.at(node).ContextOf(kOnly) ==
            cluster.at(owners[0]).ContextOf(kOnly));
      CHECK(*cluster.at(node).DumpRows(kOnly) ==
            *cluster.at(owners[0]).DumpRows(kOnly));
    }
  }
  void FillWith(int keys) {
    for (int i = 0; i < keys; ++i) {
      Write(0, std::string("k") + std::to_string(i), i + 1);
    }
  }

  const uint32_t nodes_;
  Cluster cluster;

 private:
  std::set<std::pair<uint32_t, uint32_t>> cuts_;
};

inline const RingOf kFirst{1, {0, 1, 2}};
// D takes A's place.
inline const RingOf kSecond{2, {3, 1, 2}, {0, 1, 2}};

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_MOVING_H_
