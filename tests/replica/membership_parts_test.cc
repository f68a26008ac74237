// The small parts of membership, each against its promise.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "replica/broadcast_queue.h"
#include "replica/gossip_message.h"
#include "replica/local_health.h"
#include "replica/member_table.h"
#include "replica/probe_order.h"
#include "replica/splitmix.h"
#include "replica/suspicion.h"

namespace dovetail::replica {
namespace {

MemberInfo Info(uint32_t id, std::string name) {
  MemberInfo info;
  info.id = NodeId{id};
  info.name = std::move(name);
  return info;
}

Rumor Claim(uint32_t id, uint64_t incarnation, MemberState state) {
  Rumor rumor;
  rumor.id = NodeId{id};
  rumor.incarnation = incarnation;
  rumor.state = state;
  if (state == MemberState::kSuspect) rumor.accusers = {NodeId{9}};
  rumor.info = Info(id, "a");
  return rumor;
}

TEST_CASE("Suspicion: its time falls with each accuser to the least") {
  const SuspicionLaw law{absl::Seconds(4), absl::Seconds(24), 3};
  CHECK(SuspicionTimeout(law, 0) == absl::Seconds(24));
  CHECK(SuspicionTimeout(law, 1) == absl::Seconds(14));  // log 2 / log 4 = 1/2
  CHECK(SuspicionTimeout(law, 2) == absl::Milliseconds(8150));
  CHECK(SuspicionTimeout(law, 3) == absl::Seconds(4));
  CHECK(SuspicionTimeout(law, 7) == absl::Seconds(4));
  // Nobody there to confirm: no reason to wait longer.
  CHECK(SuspicionTimeout({absl::Seconds(4), absl::Seconds(24), 0}, 0) ==
        absl::Seconds(4));
}

TEST_CASE("Suspicion: an accuser counts once, and beyond the needed none") {
  const SuspicionLaw law{absl::Seconds(4), absl::Seconds(24), 2};
  Suspicion suspicion(law, NodeId{5}, absl::Seconds(100));
  CHECK(suspicion.deadline() == absl::Seconds(124));
  CHECK_FALSE(suspicion.Confirm(NodeId{5}));
  CHECK(suspicion.deadline() == absl::Seconds(124));
  CHECK(suspicion.Confirm(NodeId{3}));
  CHECK(suspicion.deadline() < absl::Seconds(124));
  CHECK(suspicion.Confirm(NodeId{7}));
  CHECK(suspicion.deadline() == absl::Seconds(104));
  CHECK_FALSE(suspicion.Confirm(NodeId{8}));
  CHECK(suspicion.accusers() ==
        std::vector<NodeId>{NodeId{3}, NodeId{5}, NodeId{7}});
  suspicion.Extend(absl::Seconds(2));
  CHECK(suspicion.deadline() == absl::Seconds(106));
}

TEST_CASE(
    "LocalHealth: stays within its bounds and scales by itself plus one") {
  LocalHealth health(8);
  health.Improve();
  CHECK(health.score() == 0);
  CHECK(health.Scale(absl::Seconds(1)) == absl::Seconds(1));
  health.Worsen(3);
  CHECK(health.Scale(absl::Seconds(1)) == absl::Seconds(4));
  health.Worsen(~0u);
  CHECK(health.score() == 8);
  health.Improve();
  CHECK(health.score() == 7);
}

TEST_CASE("BroadcastQueue: the least sent and then the youngest go first") {
  BroadcastQueue queue;
  for (const uint32_t id : {1, 2, 3}) {
    queue.Add(Claim(id, 1, MemberState::kAlive));
  }
  const size_t each = EncodedBytes(Claim(1, 1, MemberState::kAlive));
  const auto take = [&](size_t bytes) {
    std::vector<Rumor> out;
    queue.Take(bytes, 2, nullptr, out);
    std::vector<uint64_t> ids;
    for (const Rumor& rumor : out) {
      ids.push_back(static_cast<uint64_t>(rumor.id));
    }
    return ids;
  };
  CHECK(take(each - 1).empty());
  CHECK(take(2 * each) == std::vector<uint64_t>{3, 2});
  CHECK(take(2 * each + 1) == std::vector<uint64_t>{1, 3});
  queue.Add(Claim(2, 5, MemberState::kAlive));  // in place of the old one
  CHECK(queue.size() == 2);
  CHECK(take(10 * each) == std::vector<uint64_t>{2, 1});
  CHECK(take(10 * each) == std::vector<uint64_t>{2});
  CHECK(queue.size() == 0);
}

TEST_CASE("BroadcastQueue: a rumour is sent as often as the cluster needs") {
  CHECK(TransmitLimit(4, 1) == 4);
  CHECK(TransmitLimit(4, 9) == 4);
  CHECK(TransmitLimit(4, 10) == 8);
  CHECK(TransmitLimit(4, 99) == 8);
  CHECK(TransmitLimit(4, 1000) == 16);
}

TEST_CASE("ProbeOrder: each round has everybody once, in another order") {
  SplitMix random(7);
  ProbeOrder order(random);
  for (uint32_t id = 0; id < 10; ++id) order.Add(NodeId{id});
  std::set<std::vector<NodeId>> orders;
  for (int round = 0; round < 20; ++round) {
    std::vector<NodeId> seen;
    for (int i = 0; i < 10; ++i) seen.push_back(*order.Next());
    orders.insert(seen);
    std::sort(seen.begin(), seen.end());
    CHECK(std::unique(seen.begin(), seen.end()) == seen.end());
  }
  CHECK(orders.size() == 20);
}

TEST_CASE("ProbeOrder: who comes or goes in a round disturbs nobody's turn") {
  SplitMix random(7);
  ProbeOrder order(random);
  for (uint32_t id = 0; id < 10; ++id) order.Add(NodeId{id});
  std::map<NodeId, int> turns;
  for (int i = 0; i < 5; ++i) ++turns[*order.Next()];
  const NodeId had_its_turn = turns.begin()->first;
  order.Remove(had_its_turn);
  order.Add(NodeId{99});
  order.PutFirst(NodeId{98});
  CHECK(*order.Next() == NodeId{98});
  for (int i = 0; i < 6; ++i) ++turns[*order.Next()];
  CHECK(turns.size() == 11);
  for (const auto& [id, count] : turns) CHECK(count == 1);
}

TEST_CASE("MemberTable: the larger claim holds, in whatever order they come") {
  const std::vector<Rumor> claims = {
      Claim(1, 1, MemberState::kAlive),   Claim(1, 1, MemberState::kSuspect),
      Claim(1, 1, MemberState::kDead),    Claim(1, 2, MemberState::kAlive),
      Claim(1, 2, MemberState::kSuspect),
  };
  std::vector<size_t> order = {0, 1, 2, 3, 4};
  std::set<std::pair<uint64_t, uint64_t>> digests;
  do {
    MemberTable table({Info(0, "self")}, 10);
    for (const size_t i : order) table.Merge(claims[i], absl::Seconds(1));
    CHECK(table.Find(NodeId{1})->state == MemberState::kSuspect);
    CHECK(table.Find(NodeId{1})->incarnation == 2);
    CHECK(table.live() == 2);
    CHECK(table.dead() == 0);
    digests.insert({table.Digest().high, table.Digest().low});
  } while (std::next_permutation(order.begin(), order.end()));
  CHECK(digests.size() == 1);
}

TEST_CASE("MemberTable: a forgotten member is not brought back by old claims") {
  MemberTable table({Info(0, "self")}, 10);
  table.Merge(Claim(1, 5, MemberState::kDead), absl::Seconds(1));
  table.Forget(NodeId{1}, absl::Seconds(100));
  CHECK(table.dead() == 0);
  const auto alive = [&](uint64_t incarnation) {
    return table
        .Merge(Claim(1, incarnation, MemberState::kAlive), absl::Seconds(2))
        .result;
  };
  CHECK(alive(5) == MergeResult::kForgotten);
  CHECK(table.Find(NodeId{1}) == nullptr);
  table.DropForgotten(absl::Seconds(99));
  CHECK(alive(5) == MergeResult::kForgotten);
  CHECK(alive(6) == MergeResult::kJoined);
  table.Forget(NodeId{1}, absl::Seconds(100));
  table.DropForgotten(absl::Seconds(100));
  CHECK(alive(5) == MergeResult::kJoined);
}

std::vector<GossipMessage> AllMessages() {
  const ConfigDigest config{7, {8, 9}};
  Rumor row = Claim(3, 4, MemberState::kSuspect);
  row.info->peer_address = "10.0.0.1:7000";
  row.info->payload = std::string("\0x", 2);
  Rumor dead = Claim(2, 300, MemberState::kDead);
  dead.info.reset();
  return {{Ping{1, NodeId{2}}, {dead, Claim(1, 1, MemberState::kAlive)}},
          {PingReq{128, NodeId{2}}, {}},
          {PingAck{3}, {dead}},
          {PingNack{4}, {}},
          {Compare{{1, 2}, config}, {}},
          {StateRequest{config, {Claim(1, 1, MemberState::kLeft), row}}, {}},
          {StateReply{{}, {}}, {}}};
}

TEST_CASE("Gossip: every message comes back from its bytes") {
  for (const GossipMessage& message : AllMessages()) {
    const auto decoded = DecodeGossip(EncodeGossip(message));
    REQUIRE(decoded.ok());
    CHECK(*decoded == message);
  }
  const Rumor rumor = Claim(1, 1, MemberState::kSuspect);
  const GossipMessage bare{PingAck{3}, {}};
  const GossipMessage with{PingAck{3}, {rumor}};
  CHECK(EncodeGossip(with).size() ==
        EncodeGossip(bare).size() + EncodedBytes(rumor));
}

TEST_CASE("Gossip: bytes that are cut, longer or changed mean no other thing") {
  int refused = 0;
  for (const GossipMessage& message : AllMessages()) {
    const std::string bytes = EncodeGossip(message);
    for (size_t size = 0; size < bytes.size(); ++size) {
      CHECK_FALSE(DecodeGossip(bytes.substr(0, size)).ok());
    }
    CHECK_FALSE(DecodeGossip(bytes + '\0').ok());
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(value);
        const auto decoded = DecodeGossip(changed);
        if (decoded.ok()) {
          CHECK(EncodeGossip(*decoded) == changed);
        } else {
          ++refused;
        }
      }
    }
  }
  CHECK(refused > 1000);
}

TEST_CASE("Gossip: what breaks a rule of the grammar is refused by name") {
  const auto why = [](const GossipMessage& message) {
    return std::string(DecodeGossip(EncodeGossip(message)).status().message());
  };
  Rumor alive = Claim(1, 1, MemberState::kAlive);
  alive.info.reset();
  CHECK(why({PingAck{1}, {alive}}).find("not who it is") != std::string::npos);
  Rumor suspect = Claim(1, 1, MemberState::kSuspect);
  suspect.accusers = {NodeId{2}, NodeId{2}};
  CHECK(why({PingAck{1}, {suspect}}).find("not in order") != std::string::npos);
  suspect.accusers.assign(kAccusersMax + 1, NodeId{2});
  CHECK(why({PingAck{1}, {suspect}}).find("9 accusers") != std::string::npos);
  Rumor far = Claim(1, kIncarnationMax + 1, MemberState::kAlive);
  CHECK(why({PingAck{1}, {far}}).find("too large") != std::string::npos);
  Rumor bare = Claim(1, 1, MemberState::kDead);
  bare.info.reset();
  CHECK(why({StateReply{{}, {bare}}, {}}).find("who it is") !=
        std::string::npos);
  const std::vector<Rumor> back = {Claim(2, 1, MemberState::kDead),
                                   Claim(1, 1, MemberState::kDead)};
  CHECK(why({StateReply{{}, back}, {}}).find("not in order") !=
        std::string::npos);
  const std::vector<Rumor> many(kRumorsMax + 1, back[0]);
  CHECK(why({PingAck{1}, many}).find("the limit is 256") != std::string::npos);
  MemberInfo info = Info(1, std::string(kMemberTextBytesMax + 1, 'x'));
  CHECK(CheckInfo(info).message() == "name is 256 bytes; the limit is 255");
  CHECK(CheckInfo(Info(1, "a")).ok());
}

}  // namespace
}  // namespace dovetail::replica
