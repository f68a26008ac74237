// Several Clusters on a simulated network: links, a delay, and time that is a
// number. Nothing sleeps, nothing is drawn but from seeds.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "replica/cluster.h"
#include "replica/hash.h"
#include "replica/placement_of.h"

namespace dovetail::replica {
namespace {

constexpr absl::Duration kDelay = absl::Milliseconds(1);

std::string NameOf(size_t i) {
  return std::string(1, static_cast<char>('a' + i));
}
NodeId IdOf(size_t i) { return NodeIdOf("test", NameOf(i)); }

MemberInfo InfoOf(size_t i) {
  MemberInfo info;
  info.id = IdOf(i);
  info.name = NameOf(i);
  info.peer_address = "127.0.0.1:" + std::to_string(7000 + i);
  info.client_address = "127.0.0.1:" + std::to_string(7100 + i);
  return info;
}

ClusterConfig FirstConfig(size_t members) {
  RingSpec spec;
  spec.partitions = 16;
  for (size_t i = 0; i < members; ++i) {
    RingMember member;
    member.id = IdOf(i);
    member.name = NameOf(i);
    spec.members.push_back(member);
  }
  ClusterConfig config;
  config.ring = *FirstRing(spec, NodeId{});
  return config;
}

class World {
 public:
  // The first `members` are in the first ring; nobody has data.
  World(size_t nodes, size_t members) {
    for (size_t i = 0; i < nodes; ++i) Start(i, FirstConfig(members), 1);
    for (size_t i = 0; i < nodes; ++i) {
      for (size_t j = i + 1; j < nodes; ++j) Link(i, j, true);
    }
  }

  void Start(size_t i, ClusterConfig config, uint64_t incarnation,
             MemberInfo info = {}) {
    nodes_.resize(std::max(nodes_.size(), i + 1));
    if (info.name.empty()) info = InfoOf(i);
    nodes_[i].cluster =
        std::make_unique<Cluster>(MembershipOptions(), info, incarnation,
                                  100 + i, std::move(config), now);
    nodes_[i].cluster->SetHoldsData(false, now);
    Drain(i);
  }
  void Link(size_t i, size_t j, bool up) {
    if (up == links_.contains({i, j})) return;
    for (const auto& [a, b] : {std::pair(i, j), std::pair(j, i)}) {
      if (up) {
        links_.insert({a, b});
        at(a).HandleLinkUp(IdOf(b), now);
      } else {
        links_.erase({a, b});
        at(a).HandleLinkDown(IdOf(b), now);
      }
      Drain(a);
    }
  }
  // Links between `i` and all others.
  void LinkAll(size_t i, bool up) {
    for (size_t j = 0; j < nodes_.size(); ++j) {
      if (j != i) Link(i, j, up);
    }
  }
  void Run(absl::Duration time) {
    for (const absl::Duration end = now + time; now < end; now += kDelay) {
      Step();
    }
  }

  Cluster& at(size_t i) { return *nodes_[i].cluster; }
  // For inputs of the test: what comes of them goes its way.
  Cluster& Touch(size_t i) {
    touched_.insert(i);
    return at(i);
  }
  const std::vector<std::string>& log(size_t i) { return nodes_[i].log; }
  bool Logged(size_t i, const std::string& text) {
    for (const std::string& line : log(i)) {
      if (line.find(text) != std::string::npos) return true;
    }
    return false;
  }
  size_t Rings(size_t i) { return nodes_[i].rings; }
  std::set<size_t> Reachable(size_t i) { return nodes_[i].reachable; }
  std::string Address(size_t i, size_t peer) {
    return nodes_[i].addresses[IdOf(peer)];
  }
  bool Saved(size_t i) const { return nodes_[i].saved; }
  size_t configs_sent = 0;
  absl::Duration now = absl::Seconds(100);

 private:
  struct Node {
    std::unique_ptr<Cluster> cluster;
    std::vector<std::string> log;
    std::set<size_t> reachable;
    std::map<NodeId, std::string> addresses;
    size_t rings = 0;
    bool saved = false;
  };
  struct Flying {
    absl::Duration at;
    size_t from, to;
    ClusterEnvelope envelope;
  };

  size_t IndexOf(NodeId id) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (IdOf(i) == id) return i;
    }
    REQUIRE(false);
    return 0;
  }

  void Step() {
    for (size_t i : std::exchange(touched_, {})) Drain(i);
    std::vector<Flying> due;
    for (Flying& flying : std::exchange(flying_, {})) {
      (flying.at <= now ? due : flying_).push_back(std::move(flying));
    }
    for (const Flying& flying : due) Deliver(flying);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (at(i).next_deadline() <= now) at(i).HandleTimers(now);
      Drain(i);
    }
  }
  void Deliver(const Flying& flying) {
    if (!links_.contains({flying.from, flying.to})) return;
    Cluster& to = at(flying.to);
    const NodeId from = IdOf(flying.from);
    switch (flying.envelope.kind) {
      case ClusterEnvelope::Kind::kGossip:
        REQUIRE(to.HandleGossip(from, flying.envelope.bytes, now).ok());
        break;
      case ClusterEnvelope::Kind::kConfig:
        ++configs_sent;
        REQUIRE(to.HandleConfig(from, flying.envelope.bytes, now).ok());
        break;
      case ClusterEnvelope::Kind::kConfigRequest:
        to.HandleConfigRequest(from, now);
        break;
    }
    Drain(flying.to);
  }
  void Drain(size_t i) {
    Node& node = nodes_[i];
    for (const auto& event : node.cluster->TakeEvents()) {
      if (std::get_if<ClusterEvent::NewRing>(&event)) ++node.rings;
      if (const auto* up = std::get_if<ClusterEvent::Reachable>(&event)) {
        node.reachable.insert(IndexOf(up->node));
      }
      if (const auto* down = std::get_if<ClusterEvent::Unreachable>(&event)) {
        node.reachable.erase(IndexOf(down->node));
      }
      if (const auto* peer = std::get_if<ClusterEvent::KnownPeer>(&event)) {
        node.addresses[peer->node] = peer->peer_address;
      }
      if (const auto* line = std::get_if<ClusterEvent::LogLine>(&event)) {
        node.log.push_back(line->text);
      }
    }
    node.saved |= node.cluster->TakeUnsaved();
    for (ClusterEnvelope& envelope : node.cluster->TakeMessages()) {
      const size_t to = IndexOf(envelope.to);
      flying_.push_back({now + kDelay, i, to, std::move(envelope)});
    }
  }

  std::vector<Node> nodes_;
  std::set<std::pair<size_t, size_t>> links_;
  std::vector<Flying> flying_;
  std::set<size_t> touched_;
};

bool AllAt(World& world, size_t nodes, uint64_t epoch) {
  for (size_t i = 0; i < nodes; ++i) {
    if (world.at(i).config().epoch() != epoch) return false;
    if (!(world.at(i).config() == world.at(0).config())) return false;
  }
  return true;
}

TEST_CASE("Cluster: a joiner is known to all, but owns nothing until commit") {
  World world(4, 3);
  world.Run(absl::Seconds(2));
  for (size_t i = 0; i < 4; ++i) {
    CHECK(world.at(i).membership().members().size() == 4);
    CHECK(world.at(i).ring().Find(IdOf(3)) == nullptr);
    CHECK(world.Reachable(i).size() == 3);
  }
  const auto staged = world.Touch(1).StageJoins({}, world.now);
  REQUIRE(staged.ok());
  CHECK(*staged == std::vector<std::string>{"d"});
  world.Run(absl::Milliseconds(10));
  // Everybody sees what is staged, and anybody may commit it.
  const auto plan = world.at(2).MakePlan();
  REQUIRE(plan.ok());
  CHECK(plan->nodes.size() == 4);
  CHECK(world.at(2).ring().Find(IdOf(3)) == nullptr);
  REQUIRE(world.Touch(2).Commit(1, world.now).ok());
  world.Run(absl::Milliseconds(10));
  CHECK(AllAt(world, 4, 2));
  for (size_t i = 0; i < 4; ++i) {
    CHECK(world.at(i).ring().Find(IdOf(3)) != nullptr);
    CHECK(world.Rings(i) == 2);
    CHECK(world.at(i).config().staged.empty());
    CHECK(world.Saved(i));
  }
}

TEST_CASE("Cluster: of two commits at once one wins, and the loser is told") {
  World world(5, 3);
  world.Run(absl::Seconds(2));
  // Two halves, each with an operator.
  for (size_t i : {0, 1}) {
    for (size_t j : {2, 3, 4}) world.Link(i, j, false);
  }
  REQUIRE(world.Touch(0).StageJoins({"d"}, world.now).ok());
  REQUIRE(world.Touch(0).Commit(0, world.now).ok());
  REQUIRE(world.Touch(4).StageJoins({"e"}, world.now).ok());
  REQUIRE(world.Touch(4).Commit(0, world.now).ok());
  world.Run(absl::Seconds(1));
  CHECK(world.at(1).config().ring == world.at(0).config().ring);
  CHECK(world.at(2).config().ring == world.at(4).config().ring);
  CHECK(world.at(0).config().ring != world.at(4).config().ring);
  const auto a = world.at(0).config().ring;
  const auto b = world.at(4).config().ring;
  for (size_t i : {0, 1}) {
    for (size_t j : {2, 3, 4}) world.Link(i, j, true);
  }
  world.Run(absl::Seconds(3));
  CHECK(AllAt(world, 5, 2));
  const bool a_lost = Precedes(*a, *b);
  const size_t loser = a_lost ? 0 : 4;
  REQUIRE(world.at(loser).superseded().has_value());
  CHECK(*world.at(loser).superseded() == (a_lost ? *a : *b));
  CHECK(world.Logged(loser, "is void"));
}

TEST_CASE(
    "Cluster: properties of buckets converge after a cut, stored on all") {
  World world(4, 4);
  world.Run(absl::Seconds(2));
  const auto change = [&](size_t node, BucketChange::Kind kind,
                          BucketSettings settings) {
    return world.Touch(node).ChangeBucket({kind, "shop", std::move(settings)},
                                          1'000 + node, world.now);
  };
  using Kind = BucketChange::Kind;
  const uint64_t all = LevelNumber(Level::All());
  REQUIRE(change(0, Kind::kCreate, {}).ok());
  world.Run(absl::Seconds(1));
  for (size_t i : {0, 1}) {
    for (size_t j : {2, 3}) world.Link(i, j, false);
  }
  // No majority on either side.
  REQUIRE(change(0, Kind::kUpdate, {{BucketProperty::kWrite, all}}).ok());
  REQUIRE(change(3, Kind::kUpdate, {{BucketProperty::kRead, all}}).ok());
  CHECK(absl::IsFailedPrecondition(change(2, Kind::kCreate, {})));
  CHECK(absl::IsInvalidArgument(
      change(2, Kind::kUpdate,
             {{BucketProperty::kWrite, LevelNumber(Level::Count(33))}})));
  for (size_t i : {0, 1}) {
    for (size_t j : {2, 3}) world.Link(i, j, true);
  }
  world.Run(absl::Seconds(3));
  for (size_t i = 0; i < 4; ++i) {
    const auto buckets = world.at(i).config().buckets.All();
    REQUIRE(buckets.contains("shop"));
    const BucketProperties shop = PropertiesOf(buckets.at("shop").settings);
    CHECK(shop.write == Level::All());
    CHECK(shop.read == Level::All());
    CHECK(world.Saved(i));
  }
  REQUIRE(change(1, Kind::kDelete, {}).ok());
  world.Run(absl::Seconds(3));
  for (size_t i = 0; i < 4; ++i) {
    CHECK(world.at(i).config().buckets.All().empty());
  }
}

TEST_CASE("Cluster: a node that was away catches up, at the first frame too") {
  World world(4, 3);
  world.Run(absl::Seconds(2));
  world.LinkAll(2, false);
  CHECK(world.Reachable(2).empty());
  REQUIRE(world.Touch(0).StageJoins({}, world.now).ok());
  REQUIRE(world.Touch(0).Commit(0, world.now).ok());
  world.Run(absl::Seconds(60));
  CHECK(world.at(2).config().epoch() == 1);
  CHECK(world.Logged(0, "holds c dead"));
  world.LinkAll(2, true);
  world.Run(absl::Seconds(10));
  CHECK(AllAt(world, 4, 2));
  CHECK(world.Reachable(0) == std::set<size_t>{1, 2, 3});
  world.at(0).HandlePeerRing(IdOf(2), world.at(2).ring_stamp(), world.now);
  CHECK(world.at(0).EpochOf(IdOf(2)) == 2);
}

TEST_CASE("Cluster: who hears of a newer ring asks, of an older one, tells") {
  World world(2, 2);
  world.Run(absl::Seconds(1));
  Cluster& a = world.at(0);
  a.HandlePeerRing(IdOf(1), {5, {1, 2}}, world.now);
  a.HandlePeerRing(IdOf(1), {5, {1, 2}}, world.now);  // said once
  auto asked = a.TakeMessages();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].kind == ClusterEnvelope::Kind::kConfigRequest);
  a.HandlePeerRing(IdOf(1), {5, {1, 2}}, world.now + kConfigRetry);
  CHECK(a.TakeMessages().size() == 1);
  a.HandlePeerRing(IdOf(1), {1, {1, 2}}, world.now + kConfigRetry);
  auto told = a.TakeMessages();
  REQUIRE(told.size() == 1);
  CHECK(told[0].kind == ClusterEnvelope::Kind::kConfig);
  a.HandlePeerRing(IdOf(1), a.ring_stamp(), world.now + 3 * kConfigRetry);
  a.HandlePeerRing(IdOf(1), {}, world.now + 3 * kConfigRetry);
  CHECK(a.TakeMessages().empty());
}

TEST_CASE("Cluster: who hears of a newer ring from a client asks others") {
  World world(3, 3);
  world.Run(absl::Seconds(1));
  Cluster& a = world.at(0);
  a.HandleClientRing(a.ring_stamp(), world.now);
  a.HandleClientRing({1, {0, 1}}, world.now);  // older, whatever its digest
  CHECK(a.TakeMessages().empty());
  a.HandleClientRing({5, {1, 2}}, world.now);
  const auto asked = a.TakeMessages();
  REQUIRE(asked.size() == 2);
  CHECK(asked[0].kind == ClusterEnvelope::Kind::kConfigRequest);
  // However many clients say so, once a second.
  a.HandleClientRing({5, {1, 2}}, world.now);
  CHECK(a.TakeMessages().empty());
}

TEST_CASE("Cluster: at rest no configuration travels") {
  World world(5, 5);
  world.Run(absl::Seconds(5));
  world.configs_sent = 0;
  world.Run(absl::Seconds(120));
  CHECK(world.configs_sent == 0);
}

TEST_CASE("Cluster: a member at another address is the same member") {
  World world(3, 3);
  world.Run(absl::Seconds(2));
  CHECK(world.Address(0, 2) == "127.0.0.1:7002");
  world.LinkAll(2, false);
  MemberInfo moved = InfoOf(2);
  moved.peer_address = "127.0.0.1:9999";
  world.Start(2, FirstConfig(3), 2, moved);
  world.Link(1, 2, true);  // one peer is enough for all to know
  world.Run(absl::Seconds(10));
  CHECK(world.Address(0, 2) == "127.0.0.1:9999");
  CHECK(world.at(0).membership().members().size() == 3);
  CHECK(world.Reachable(0) == std::set<size_t>{1});  // no link yet
  CHECK_FALSE(world.Logged(0, "two nodes go by the name"));
  CHECK_FALSE(world.Logged(2, "two nodes go by the name"));
}

TEST_CASE("Cluster: two nodes of one name are told of, once") {
  World world(3, 3);
  world.Run(absl::Seconds(2));
  // Another process speaks as c, from elsewhere, with ever newer incarnations.
  for (uint64_t incarnation : {10, 20, 30, 40}) {
    GossipMessage message{Ping{1, IdOf(2)}, {}};
    Rumor rumor;
    rumor.id = IdOf(2);
    rumor.incarnation = incarnation;
    rumor.info = InfoOf(2);
    rumor.info->peer_address = "127.0.0.1:9999";
    message.rumors.push_back(rumor);
    REQUIRE(world.Touch(2)
                .HandleGossip(IdOf(0), EncodeGossip(message), world.now)
                .ok());
    world.Run(absl::Milliseconds(20));
  }
  size_t lines = 0;
  for (const std::string& line : world.log(2)) {
    lines += line.find("two nodes go by the name c") != std::string::npos;
  }
  CHECK(lines == 1);
}

TEST_CASE("Cluster: while data is on its way no other ring is committed") {
  World world(4, 3);
  world.Touch(1).SetHoldsData(true, world.now);
  world.Run(absl::Seconds(3));
  CHECK(world.at(0).settled());  // a first ring moves nothing
  REQUIRE(world.Touch(0).StageJoins({}, world.now).ok());
  REQUIRE(world.Touch(0).Commit(0, world.now).ok());
  world.Run(absl::Seconds(2));
  REQUIRE(world.at(3).config().epoch() == 2);
  REQUIRE(world.at(3).config().ring->before().has_value());
  CHECK(world.at(3).config().ring->before()->ring.members.size() == 3);
  CHECK_FALSE(world.at(0).settled());

  const auto says = [&](size_t i, uint32_t incomplete) {
    world.Touch(i).SetHoldings(
        {true, world.at(i).ring_stamp(), incomplete, false}, world.now);
    world.Run(absl::Seconds(3));
  };
  const auto refusal = [&] {
    const absl::Status refused = world.Touch(0).Commit(0, world.now);
    CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
    return std::string(refused.message());
  };
  for (size_t i = 0; i < 3; ++i) says(i, 0);
  REQUIRE(world.Touch(0).Stage(Leave(IdOf(1)), world.now).ok());
  CHECK(refusal().find("d did not say yet") != std::string::npos);
  says(3, 5);
  CHECK(refusal().find("5 partitions at d") != std::string::npos);
  says(3, 1);
  CHECK(refusal().find("1 partition at d") != std::string::npos);
  CHECK(world.at(0).config().epoch() == 2);
  says(3, 0);
  for (size_t i = 0; i < 4; ++i) CHECK(world.at(i).settled());
  CHECK(world.Touch(0).Commit(0, world.now).ok());
  CHECK_FALSE(world.at(0).settled());
  CHECK(world.at(0).config().ring->before()->ring.members.size() == 4);
  // An operator who knows better.
  REQUIRE(world.Touch(0).Stage(Leave(IdOf(2)), world.now).ok());
  CHECK_FALSE(world.Touch(0).Commit(0, world.now).ok());
  CHECK(world.Touch(0).Commit(0, world.now, /*force=*/true).ok());
}

TEST_CASE("Cluster: what a node says of its data is understood, or ignored") {
  const auto of = [](std::string payload) {
    MemberInfo info;
    info.payload = std::move(payload);
    return HoldingsOf(info);
  };
  for (const bool settled : {false, true}) {
    const Holdings holdings{true, {7, {0x12, UINT64_MAX}}, 3, settled};
    CHECK(of(EncodeHoldings(holdings)) == holdings);
  }
  CHECK(of("holds")->data);  // of an earlier version
  CHECK_FALSE(of("empty")->data);
  CHECK(of("holds")->ring.epoch == 0);
  for (const std::string junk :
       {"", "both", "holds 1", "holds 1 2 3", "holds x y z w",
        "holds 1 00000000000000000000000000000000 3 more"}) {
    CHECK_FALSE(of(junk).has_value());
  }
}

TEST_CASE("Cluster: what is no configuration of this cluster changes nothing") {
  World world(2, 2);
  world.Run(absl::Seconds(1));
  Cluster& a = world.at(0);
  const ClusterConfig before = a.config();
  CHECK_FALSE(a.HandleConfig(IdOf(1), "junk", world.now).ok());
  CHECK_FALSE(a.HandleGossip(IdOf(1), "junk", world.now).ok());
  RingSpec other = before.ring->ring();
  other.partitions = 32;
  ClusterConfig theirs;
  theirs.ring = *FirstRing(other, NodeId{9});
  CHECK_FALSE(
      a.HandleConfig(IdOf(1), EncodeClusterConfig(theirs), world.now).ok());
  CHECK(a.config() == before);
}

TEST_CASE("Cluster: joins of members and of strangers are refused by name") {
  World world(3, 2);
  world.Run(absl::Seconds(2));
  CHECK(world.at(0)
            .StageJoins({"z"}, world.now)
            .status()
            .message()
            .find("no node \"z\"") != std::string::npos);
  CHECK(world.at(0)
            .StageJoins({"b"}, world.now)
            .status()
            .message()
            .find("is a member already") != std::string::npos);
  REQUIRE(world.Touch(0).StageJoins({"c"}, world.now).ok());
  CHECK(world.Touch(0).Commit(7, world.now).code() ==
        absl::StatusCode::kFailedPrecondition);
  world.Touch(0).Abort(world.now);
  CHECK_FALSE(world.Touch(0).Commit(0, world.now).ok());
}

TEST_CASE("Placement: as the ring has it, with so many stand-ins") {
  RingSpec spec = FirstConfig(2).ring->ring();
  spec.members.clear();
  for (size_t i = 0; i < 24; ++i) {
    RingMember member;
    member.id = IdOf(i);
    member.name = NameOf(i);
    member.zone = std::string("z") + std::to_string(i % 3);
    member.region = "r";
    spec.members.push_back(member);
  }
  spec.epoch = 4;
  const Ring ring = *Ring::Compute(spec);
  const Placement placement = PlacementOf(ring, {{4, {}}, {}, {}});
  CHECK_FALSE(placement.moves());
  CHECK(placement.epoch() == 4);
  CHECK(placement.partitions() == 16);
  CHECK(placement.members().size() == 24);
  CHECK(placement.NameOf(IdOf(1)) == "b");
  CHECK(placement.Find(IdOf(1))->zone == "z1");
  CHECK(placement.RegionOf(IdOf(1)) == "r");
  for (uint16_t p = 0; p < 16; ++p) {
    const PartitionId partition{p};
    CHECK(placement.Owners(partition) == ring.Owners(partition));
    CHECK(placement.StandIns(partition).size() == kStandInsMax);
    CHECK(placement.StandIns(partition)[0] == ring.Preference(partition)[3]);
  }
}

TEST_CASE("Placement: who owned what before, but for those who are gone") {
  RingSpec spec = FirstConfig(4).ring->ring();
  spec.epoch = 4;
  const Ring before = *Ring::Compute(spec);
  spec.epoch = 5;
  std::erase_if(spec.members,
                [](const RingMember& member) { return member.id == IdOf(0); });
  const Ring after = *Ring::Compute(spec);
  const RingLineage lineage{{5, {}}, {4, {}}, {}};
  const Placement kept = PlacementOf(after, lineage, &before);
  const Placement lost = PlacementOf(after, lineage, &before, {IdOf(0)});
  CHECK(kept.moves());
  CHECK(kept.parent().epoch == 4);
  CHECK(kept.NameOf(IdOf(0)) == "a");  // though it is no member
  uint32_t left = 0;
  for (uint16_t p = 0; p < 16; ++p) {
    const PartitionId partition{p};
    CHECK(kept.Before(partition) == before.Owners(partition));
    CHECK(kept.replicas_before(partition) == before.Owners(partition).size());
    CHECK(lost.replicas_before(partition) == before.Owners(partition).size());
    CHECK_FALSE(lost.OwnedBefore(IdOf(0), partition));
    if (!before.Owns(IdOf(0), partition)) continue;
    ++left;
    CHECK(kept.OwnedBefore(IdOf(0), partition));
    CHECK(kept.Concerns(IdOf(0), partition));
    CHECK_FALSE(kept.Owns(IdOf(0), partition));
    CHECK(lost.Before(partition).size() + 1 == before.Owners(partition).size());
  }
  CHECK(left > 0);
}

TEST_CASE("Names: one name in one cluster is one id, for ever") {
  CHECK(NodeIdOf("c", "a") == NodeIdOf("c", "a"));
  CHECK(NodeIdOf("c", "a") != NodeIdOf("c", "b"));
  CHECK(NodeIdOf("ca", "b") != NodeIdOf("c", "ab"));
  CHECK(Index(NodeIdOf("demo", "a")) == 4191000372393942922u);
}

TEST_CASE("Cluster: what a node said last of its load is kept, with its age") {
  World world(2, 2);
  CHECK(world.at(0).loads().Of(IdOf(1)) == nullptr);
  NodeLoad load;
  load.epoch = 7;
  load.data_bytes = 10;
  load.slow = {IdOf(0)};
  const absl::Duration heard = world.now;
  world.Touch(0).HandleLoad(IdOf(1), load, heard);
  REQUIRE(world.at(0).loads().Of(IdOf(1)) != nullptr);
  CHECK(world.at(0).loads().Of(IdOf(1))->load == load);
  CHECK(world.at(0).loads().Of(IdOf(1))->at == heard);
  CHECK(world.at(0).EpochOf(IdOf(1)) == 7);
  CHECK(world.at(0).loads().SlowFor(IdOf(0), heard) ==
        std::vector<NodeId>{IdOf(1)});
  CHECK(world.at(0).loads().SlowFor(IdOf(1), heard).empty());
  // Its last word on others does not stand for ever.
  CHECK(world.at(0).loads().SlowFor(IdOf(0), heard + absl::Minutes(1)).empty());
  CHECK(world.at(0).loads().Of(IdOf(1)) != nullptr);
  // Its own is of the ring it goes by.
  CHECK(world.Touch(0).SetOwnLoad({}, world.now).epoch == 1);
}

}  // namespace
}  // namespace dovetail::replica
