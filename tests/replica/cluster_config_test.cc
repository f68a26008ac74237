// Committed rings and staged changes as values: merging, planning, committing,
// and the codec.
#include "replica/cluster_config.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/ring_plan.h"

namespace dovetail::replica {
namespace {

NodeId Id(uint64_t bits) { return static_cast<NodeId>(bits); }

RingMember Member(uint64_t id) {
  RingMember member;
  member.id = Id(id);
  member.zone = absl::StrCat("z", id % 3);
  member.name = absl::StrCat("n", id);
  return member;
}

RingSpec Spec(uint64_t members, uint32_t partitions = 16) {
  RingSpec spec;
  spec.partitions = partitions;
  for (uint64_t id = 1; id <= members; ++id) spec.members.push_back(Member(id));
  return spec;
}

ClusterConfig Config(uint64_t members) {
  auto ring = FirstRing(Spec(members), Id(1));
  REQUIRE(ring.ok());
  ClusterConfig config;
  config.ring = *std::move(ring);
  return config;
}

void Stage(ClusterConfig& config, uint64_t node, StagedChange change) {
  REQUIRE(config.staged.Stage(Id(node), std::move(change)).ok());
}

Plan PlanOf(const ClusterConfig& config) {
  auto plan = MakePlan(config);
  INFO(plan.status().ToString());
  REQUIRE(plan.ok());
  return *std::move(plan);
}

void CommitAll(ClusterConfig& config, uint64_t node) {
  REQUIRE(Commit(config, PlanOf(config), Id(node)).ok());
}

std::string Refusal(const ClusterConfig& config) {
  const auto plan = MakePlan(config);
  REQUIRE(!plan.ok());
  CHECK(absl::IsInvalidArgument(plan.status()));
  return std::string(plan.status().message());
}

std::set<NodeId> MembersOf(const ClusterConfig& config) {
  std::set<NodeId> ids;
  for (const RingMember& member : config.ring->ring().members) {
    ids.insert(member.id);
  }
  return ids;
}

// --- Commits and merging ----------------------------------------------------

TEST_CASE("Cluster: a staged member owns nothing until the commit") {
  ClusterConfig config = Config(3);
  Stage(config, 1, Join(Member(4)));
  CHECK(config.epoch() == 1);
  CHECK(MembersOf(config) == std::set<NodeId>{Id(1), Id(2), Id(3)});
  CommitAll(config, 2);
  CHECK(config.epoch() == 2);
  CHECK(config.ring->committed_by() == Id(2));
  CHECK(config.staged.empty());
  CHECK(MembersOf(config).contains(Id(4)));
  const auto ring = Ring::Compute(config.ring->ring());
  REQUIRE(ring.ok());
  int owned = 0;
  for (uint16_t p = 0; p < 16; ++p) owned += ring->Owns(Id(4), PartitionId{p});
  CHECK(owned > 0);
}

TEST_CASE("Cluster: of two commits at once all nodes keep the same one") {
  const ClusterConfig start = Config(5);
  ClusterConfig left = start;
  ClusterConfig right = start;
  Stage(left, 1, Join(Member(6)));
  Stage(right, 2, Leave(Id(5)));
  CommitAll(left, 1);
  CommitAll(right, 2);
  CHECK(left.epoch() == right.epoch());
  const bool left_wins = Precedes(*right.ring, *left.ring);
  const CommittedRing winner = left_wins ? *left.ring : *right.ring;
  const CommittedRing loser = left_wins ? *right.ring : *left.ring;

  // The two hear of each other; a third hears of them in either order.
  ClusterConfig a = left;
  ClusterConfig b = right;
  CHECK(Merge(a, right).superseded == loser);
  CHECK(Merge(b, left).superseded == loser);
  CHECK(a.ring == winner);
  CHECK(b.ring == winner);
  for (const bool left_first : {true, false}) {
    ClusterConfig c = start;
    CHECK(Merge(c, left_first ? left : right).changed);
    CHECK(Merge(c, left_first ? right : left).superseded == loser);
    CHECK(c == a);
    CHECK(c == b);
  }
  // What the loser would have changed can still be looked at.
  const auto lost = PlanFor(winner, loser.ring());
  REQUIRE(lost.ok());
  CHECK(!lost->moves.empty());
  CHECK(lost->target.epoch == 3);
}

TEST_CASE("Cluster: an older ring is an ancestor, not a loser") {
  ClusterConfig old = Config(3);
  ClusterConfig config = old;
  for (uint64_t id = 4; id < 24; ++id) {
    Stage(config, 1, Join(Member(id)));
    CommitAll(config, 1);
    ClusterConfig behind = old;
    const ConfigMerge caught_up = Merge(behind, config);
    CHECK(caught_up.changed);
    CHECK(!caught_up.superseded.has_value());
    CHECK(behind == config);
    ClusterConfig ahead = config;
    const ConfigMerge unmoved = Merge(ahead, old);
    CHECK(!unmoved.changed);
    CHECK(!unmoved.superseded.has_value());
    CHECK(ahead == config);
  }
  CHECK(config.ring->ancestors().size() == kAncestorsMax);
}

TEST_CASE("Cluster: a lost commit is told also after later ones have come") {
  const ClusterConfig start = Config(4);
  ClusterConfig left = start;
  ClusterConfig right = start;
  Stage(left, 1, Join(Member(5)));
  CommitAll(left, 1);
  const CommittedRing void_one = *left.ring;
  Stage(right, 2, SetWeight(Id(3), 50));
  CommitAll(right, 2);
  Stage(right, 2, SetWeight(Id(3), 60));
  CommitAll(right, 2);
  CHECK(Merge(left, right).superseded == void_one);
  CHECK(left.ring == right.ring);
  CHECK(!MembersOf(left).contains(Id(5)));
  // Once told, not again.
  CHECK(!Merge(left, right).superseded.has_value());
}

TEST_CASE("Cluster: a node without a ring takes the first it hears of") {
  const ClusterConfig config = Config(3);
  ClusterConfig joining;
  CHECK(absl::IsFailedPrecondition(MakePlan(joining).status()));
  CHECK(joining.epoch() == 0);
  const ConfigMerge result = Merge(joining, config);
  CHECK(result.changed);
  CHECK(!result.superseded.has_value());
  CHECK(joining == config);
  ClusterConfig same = config;
  CHECK(!Merge(same, ClusterConfig()).changed);
  CHECK(same == config);
}

TEST_CASE("Cluster: a plan made before another commit is refused") {
  ClusterConfig config = Config(3);
  Stage(config, 1, Join(Member(4)));
  const Plan plan = PlanOf(config);
  SUBCASE("a later epoch") {
    ClusterConfig other = config;
    CommitAll(other, 2);
    Stage(other, 2, Join(Member(5)));
    CommitAll(other, 2);
    Merge(config, other);
    const absl::Status status = Commit(config, plan, Id(1));
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(status.message() ==
          "the ring is at epoch 3 by now; look at the plan again");
    CHECK(config.ring == other.ring);
  }
  SUBCASE("another ring of the same epoch") {
    RingSpec spec = Spec(3);
    spec.replicas = 2;
    config.ring = *FirstRing(spec, Id(1));
    const absl::Status status = Commit(config, plan, Id(1));
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(status.message() ==
          "another ring of epoch 1 has been committed "
          "meanwhile; look at the plan again");
  }
  SUBCASE("aborted meanwhile") {
    config.staged.AbortAll();
    const absl::Status status = Commit(config, plan, Id(1));
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(config.epoch() == 1);
  }
  SUBCASE("staged anew meanwhile") {
    Stage(config, 1, Join(Member(4)));
    CHECK(absl::IsFailedPrecondition(Commit(config, plan, Id(1))));
  }
}

TEST_CASE("Cluster: a commit leaves staged what its plan did not include") {
  ClusterConfig config = Config(3);
  Stage(config, 1, Join(Member(4)));
  const Plan plan = PlanOf(config);
  Stage(config, 1, SetWeight(Id(2), 50));
  REQUIRE(Commit(config, plan, Id(1)).ok());
  REQUIRE(config.staged.entries().size() == 1);
  CHECK(config.staged.Effective().at(Id(2)) == SetWeight(Id(2), 50));
}

// --- Staged changes ---------------------------------------------------------

TEST_CASE("Staged: what is committed or aborted does not come back") {
  ClusterConfig here = Config(4);
  Stage(here, 1, Join(Member(5)));
  Stage(here, 1, Leave(Id(4)));
  ClusterConfig stale = here;  // a node that goes down now
  CHECK(here.staged.Abort(Id(4)));
  CHECK(!here.staged.Abort(Id(4)));
  CommitAll(here, 1);
  Merge(here, stale);
  CHECK(here.staged.empty());
  Merge(stale, here);
  CHECK(stale == here);
  CHECK(MembersOf(here).contains(Id(4)));
}

// Each kept its own, and told the other of it for ever.
TEST_CASE("Staged: a stamp that was given twice means the same everywhere") {
  StagedChanges before;
  REQUIRE(before.Stage(Id(1), Leave(Id(2))).ok());
  StagedChanges after;  // of node 1 with another disk
  REQUIRE(after.Stage(Id(1), SetWeight(Id(2), 300)).ok());
  StagedChanges a = before;
  a.Merge(after);
  StagedChanges b = after;
  b.Merge(before);
  CHECK(a == b);
  CHECK(a.Effective().size() == 1);
}

TEST_CASE("Staged: the last word for a member counts, wherever it was said") {
  ClusterConfig a = Config(4);
  ClusterConfig b = a;
  Stage(a, 1, SetWeight(Id(3), 10));
  Merge(b, a);
  Stage(b, 2, SetWeight(Id(3), 20));
  Merge(a, b);
  CHECK(a.staged.entries().size() == 1);
  CHECK(a.staged.Effective().at(Id(3)).weight == 20);
  // At the same time: the greater (counter, node), on both sides.
  Stage(a, 1, SetWeight(Id(3), 30));
  Stage(b, 2, Leave(Id(3)));
  ClusterConfig c = a;
  Merge(c, b);
  Merge(b, a);
  CHECK(b == c);
  CHECK(b.staged.Effective().at(Id(3)) == Leave(Id(3)));
  // One commit takes both, the one that counts and the one that does not.
  CommitAll(b, 2);
  CHECK(b.staged.empty());
  Merge(a, b);
  CHECK(a == b);
}

// Any history of staging, aborting, committing and gossip between a few nodes.
TEST_CASE(
    "Cluster: merging is a join: any order, any repetition, one outcome") {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    auto below = [&](uint64_t n) { return random() % n; };
    std::vector<ClusterConfig> nodes(4, Config(5));
    for (int step = 0; step < 30; ++step) {
      const uint64_t at = below(nodes.size());
      ClusterConfig& node = nodes[at];
      switch (below(8)) {
        case 0:
          Stage(node, at + 1, Join(Member(6 + below(3))));
          break;
        case 1:
          Stage(node, at + 1, Leave(Id(1 + below(5))));
          break;
        case 2:
          Stage(node, at + 1,
                SetWeight(Id(1 + below(5)),
                          static_cast<uint32_t>(1 + below(200))));
          break;
        case 3:
          node.staged.Abort(Id(1 + below(8)));
          break;
        case 4: {
          const auto plan = MakePlan(node);
          if (plan.ok()) REQUIRE(Commit(node, *plan, Id(at + 1)).ok());
          break;
        }
        default:
          Merge(node, nodes[below(nodes.size())]);
      }
    }
    std::vector<ClusterConfig> outcomes;
    for (int order = 0; order < 4; ++order) {
      std::shuffle(nodes.begin(), nodes.end(), random);
      // ((a b) c) d in one order, (a b) (c d) in the next.
      ClusterConfig all = nodes[0];
      Merge(all, nodes[1]);
      if (order % 2 == 0) {
        Merge(all, nodes[2]);
        Merge(all, nodes[3]);
        Merge(all, nodes[1]);
      } else {
        ClusterConfig rest = nodes[2];
        Merge(rest, nodes[3]);
        Merge(all, rest);
      }
      outcomes.push_back(all);
      REQUIRE(outcomes.front() == all);
      REQUIRE(EncodeClusterConfig(outcomes.front()) ==
              EncodeClusterConfig(all));
    }
    const std::string bytes = EncodeClusterConfig(outcomes.front());
    const auto decoded = DecodeClusterConfig(bytes);
    REQUIRE(decoded.ok());
    REQUIRE(*decoded == outcomes.front());
  }
}

// --- Plans ------------------------------------------------------------------

TEST_CASE("Plan: its numbers are those of the two rings") {
  ClusterConfig config = Config(6);
  Stage(config, 1, Join(Member(7)));
  Stage(config, 1, Leave(Id(2)));
  const Plan plan = PlanOf(config);
  CHECK(plan.base_epoch == 1);
  CHECK(plan.target.epoch == 2);
  const auto before = Ring::Compute(config.ring->ring());
  const auto after = Ring::Compute(plan.target);
  REQUIRE(before.ok());
  REQUIRE(after.ok());
  std::map<NodeId, NodeChange> sums;
  std::map<PartitionId, PartitionMove> moves;
  for (const PartitionMove& move : plan.moves) moves[move.partition] = move;
  for (uint16_t p = 0; p < 16; ++p) {
    const PartitionId partition{p};
    PartitionMove expected{partition, {}, {}};
    for (uint64_t id = 1; id <= 7; ++id) {
      const bool was = before->Owns(Id(id), partition);
      const bool is = after->Owns(Id(id), partition);
      NodeChange& sum = sums[Id(id)];
      sum.id = Id(id);
      sum.name = absl::StrCat("n", id);
      sum.before += was;
      sum.after += is;
      sum.gained += is && !was;
      sum.lost += was && !is;
      if (is && !was) expected.gains.push_back(Id(id));
      if (was && !is) expected.losses.push_back(Id(id));
    }
    const bool moves_at_all = !expected.gains.empty();
    CHECK(moves.contains(partition) == moves_at_all);
    if (moves_at_all) CHECK(moves[partition] == expected);
  }
  REQUIRE(plan.nodes.size() == 7);
  for (const NodeChange& node : plan.nodes) CHECK(node == sums[node.id]);
  CHECK(sums[Id(2)].after == 0);
  CHECK(sums[Id(7)].before == 0);
  CHECK(plan.below_n.empty());
  CHECK(plan.zones_shared.empty());
}

TEST_CASE("Plan: it says which partitions fall below N or share a zone") {
  ClusterConfig config = Config(4);  // zones z1 z2 z0 z1
  Stage(config, 1, Leave(Id(3)));
  Plan plan = PlanOf(config);
  CHECK(plan.below_n.empty());
  REQUIRE(plan.zones_shared.size() == 16);
  CHECK(plan.zones_shared[5] == Shortfall{PartitionId{5}, "", 3, 3, 2});
  Stage(config, 1, Leave(Id(4)));
  plan = PlanOf(config);
  CHECK(plan.zones_shared.empty());
  REQUIRE(plan.below_n.size() == 16);
  CHECK(plan.below_n[0] == Shortfall{PartitionId{0}, "", 3, 2, 2});
}

TEST_CASE("Plan: a replacement takes exactly what the other had") {
  ClusterConfig config = Config(6);
  RingMember by = Member(42);
  by.zone = Member(5).zone;
  Stage(config, 1, Replace(Id(5), by));
  const Plan plan = PlanOf(config);
  for (const PartitionMove& move : plan.moves) {
    CHECK(move.gains == std::vector<NodeId>{Id(42)});
    CHECK(move.losses == std::vector<NodeId>{Id(5)});
  }
  CommitAll(config, 1);
  // The one that was replaced may come back: its place is taken, so it gets
  // another.
  Stage(config, 1, Join(Member(5)));
  CommitAll(config, 1);
  std::map<NodeId, uint64_t> places;
  for (const RingMember& member : config.ring->ring().members) {
    places[member.id] = member.place;
  }
  CHECK(places[Id(42)] == 5);
  CHECK(places[Id(5)] != 5);
  CHECK(places.size() == 7);
}

TEST_CASE("Plan: a name that becomes free may be taken in the same plan") {
  ClusterConfig config = Config(4);
  RingMember again = Member(9);
  again.name = "n4";
  Stage(config, 1, Join(again));
  CHECK(Refusal(config) == "two members would have the name \"n4\"");
  Stage(config, 1, Leave(Id(4)));
  CommitAll(config, 1);
  CHECK(MembersOf(config).contains(Id(9)));
}

TEST_CASE("Plan: nonsense is refused with its reason") {
  ClusterConfig config = Config(3);
  CHECK(Refusal(config) == "nothing is staged");
  auto refusal = [&](std::vector<StagedChange> changes) {
    ClusterConfig staged = config;
    for (StagedChange& change : changes) Stage(staged, 1, std::move(change));
    return Refusal(staged);
  };
  CHECK(refusal({Join(Member(2))}) == "\"n2\" is a member already");
  CHECK(refusal({Leave(Id(8))}) == "node 8 is to leave, but is no member");
  CHECK(refusal({SetWeight(Id(8), 1)}) ==
        "node 8 is to change its weight, but is no member");
  CHECK(refusal({Replace(Id(8), Member(9))}) ==
        "node 8 is to be replaced, but is no member");
  CHECK(refusal({Replace(Id(1), Member(2))}) ==
        "\"n2\" is to replace another, but is a member already");
  CHECK(refusal({Replace(Id(1), Member(9)), Join(Member(9))}) ==
        "\"n9\" is a member already");
  CHECK(refusal({Replace(Id(1), Member(9)), Leave(Id(9))}) ==
        "node 9 is to leave, but is no member");
  CHECK(refusal(
            {SetWeight(Id(1), 0), SetWeight(Id(2), 0), SetWeight(Id(3), 0)}) ==
        "no member has a weight above 0, so nobody would own anything");
  CHECK(refusal({SetWeight(Id(1), 10'001)}) ==
        "node 1 has weight 10001; the limit is 10000");
  RingMember nameless = Member(9);
  nameless.name.clear();
  CHECK(refusal({Join(nameless)}) == "node 9 has no name");
  RingMember wordy = Member(9);
  wordy.zone = std::string(65, 'z');
  CHECK(refusal({Join(wordy)}) == absl::StrCat("zone \"", wordy.zone,
                                               "\" is 65 bytes; the limit is "
                                               "64"));
  const auto resized = PlanFor(*config.ring, Spec(3, 32));
  CHECK(absl::IsInvalidArgument(resized.status()));
  CHECK(resized.status().message() ==
        "the cluster has 16 partitions, not 32: their number is fixed when it "
        "is created");
}

// --- Codec ------------------------------------------------------------------

ClusterConfig Rich() {
  RingSpec spec = Spec(4);
  spec.replicas_in_region["west"] = 2;
  spec.replicas_in_region[""] = 3;
  ClusterConfig config;
  config.ring = *FirstRing(spec, Id(1));
  Stage(config, 1, SetWeight(Id(2), 300));
  CommitAll(config, 2);
  Stage(config, 1, Join(Member(7)));
  Stage(config, 2, Leave(Id(1)));
  Stage(config, 3, Replace(Id(2), Member(8)));
  Stage(config, 3, SetWeight(Id(3), 0));
  return config;
}

TEST_CASE(
    "Cluster codec: a change of any byte is refused or is another value") {
  const ClusterConfig config = Rich();
  const std::string bytes = EncodeClusterConfig(config);
  const auto decoded = DecodeClusterConfig(bytes);
  REQUIRE(decoded.ok());
  CHECK(*decoded == config);
  CHECK(decoded->ring->digest() == config.ring->digest());
  int refused = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    REQUIRE(!DecodeClusterConfig(bytes.substr(0, at)).ok());
    for (const int flip : {1, 2, 0x10, 0x80, 0xff}) {
      std::string bent = bytes;
      bent[at] = static_cast<char>(bent[at] ^ flip);
      const auto other = DecodeClusterConfig(bent);
      if (!other.ok()) {
        CHECK(absl::IsInvalidArgument(other.status()));
        ++refused;
        continue;
      }
      REQUIRE(!(*other == config));
      REQUIRE(EncodeClusterConfig(*other) == bent);
    }
  }
  CHECK(refused > 100);
  CHECK(!DecodeClusterConfig(bytes + "x").ok());
  CHECK(DecodeClusterConfig(EncodeClusterConfig({})).ok());
}

TEST_CASE("Cluster codec: the limits hold") {
  RingSpec spec = Spec(4096);
  for (RingMember& member : spec.members) {
    member.zone = std::string(64, 'z');
    member.region = std::string(64, 'r');
    member.name.resize(64, 'n');
  }
  ClusterConfig config;
  config.ring = *FirstRing(spec, Id(1));
  for (uint64_t id = 0; id < kStagedMax; ++id) {
    RingMember member = spec.members[id];
    member.id = Id(10'000 + id);
    Stage(config, id + 1, Join(member));
  }
  CHECK(absl::IsResourceExhausted(config.staged.Stage(Id(1), Leave(Id(1)))));
  // In place of what is staged there is room.
  CHECK(config.staged.Stage(Id(1), Leave(Id(10'000))).ok());
  CHECK(absl::IsResourceExhausted(
      config.staged.Stage(Id(9'999), Leave(Id(10'001)))));
  const std::string bytes = EncodeClusterConfig(config);
  CHECK(bytes.size() <= kClusterConfigBytesMax);
  const auto decoded = DecodeClusterConfig(bytes);
  REQUIRE(decoded.ok());
  CHECK(*decoded == config);
  // Merging keeps to them too, and both sides still end alike.
  ClusterConfig other;
  other.ring = config.ring;
  Stage(other, 1, Leave(Id(1)));
  ClusterConfig one = config;
  Merge(one, other);
  CHECK(one.staged.entries().size() == kStagedMax);
  Merge(other, one);
  CHECK(other == one);
  CHECK(absl::IsInvalidArgument(
      DecodeClusterConfig(std::string(kClusterConfigBytesMax + 1, '\1'))
          .status()));
  CHECK(!FirstRing(Spec(4097), Id(1)).ok());
}

TEST_CASE("Member record: it comes back as it was; limits are refused") {
  MemberRecord record{Id(7),           "n7", "10.0.0.7:9000",
                      "10.0.0.7:9001", "z1", "eu"};
  const std::string bytes = EncodeMemberRecord(record);
  const auto decoded = DecodeMemberRecord(bytes);
  REQUIRE(decoded.ok());
  CHECK(*decoded == record);
  for (size_t at = 0; at < bytes.size(); ++at) {
    CHECK(!DecodeMemberRecord(bytes.substr(0, at)).ok());
  }
  record.name.clear();
  CHECK(!DecodeMemberRecord(EncodeMemberRecord(record)).ok());
  record.name = std::string(65, 'n');
  CHECK(!DecodeMemberRecord(EncodeMemberRecord(record)).ok());
  record.name = "n7";
  record.peer_address = std::string(263, 'a');
  CHECK(!DecodeMemberRecord(EncodeMemberRecord(record)).ok());
}

}  // namespace
}  // namespace dovetail::replica
