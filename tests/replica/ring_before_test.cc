// What a committed ring says of the one before it.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/cluster_config.h"
#include "replica/ring_plan.h"

namespace dovetail::replica {
namespace {

NodeId Id(uint64_t bits) { return static_cast<NodeId>(bits); }

RingSpec Spec(uint64_t members) {
  RingSpec spec;
  spec.partitions = 16;
  for (uint64_t id = 1; id <= members; ++id) {
    RingMember member;
    member.id = Id(id);
    member.name = absl::StrCat("n", id);
    spec.members.push_back(member);
  }
  return spec;
}

void Stage(ClusterConfig& config, uint64_t node, StagedChange change) {
  REQUIRE(config.staged.Stage(Id(node), std::move(change)).ok());
}

TEST_CASE("Plan: who is removed leaves as others do, and is named as gone") {
  ClusterConfig config;
  config.ring = *FirstRing(Spec(5), Id(1));
  Stage(config, 1, Leave(Id(2)));
  Stage(config, 1, Remove(Id(3)));
  const auto plan = MakePlan(config);
  REQUIRE(plan.ok());
  CHECK(plan->target.members.size() == 3);
  CHECK(plan->gone == std::vector<NodeId>{Id(3)});
  const RingSpec first = config.ring->ring();
  REQUIRE(Commit(config, *plan, Id(1)).ok());
  REQUIRE(config.ring->before().has_value());
  CHECK(config.ring->before()->ring == first);
  CHECK(config.ring->before()->gone == std::vector<NodeId>{Id(3)});
  const auto decoded = DecodeClusterConfig(EncodeClusterConfig(config));
  REQUIRE(decoded.ok());
  CHECK(*decoded == config);
  CHECK(decoded->ring->digest() == config.ring->digest());
  // It is another ring than one that waits for all.
  const CommittedRing patient =
      *CommittedRing::Make(config.ring->ring(), Id(1), config.ring->ancestors(),
                           RingBefore{first, {}});
  CHECK(patient.digest() != config.ring->digest());
}

TEST_CASE("Cluster: what cannot have been before a ring is refused") {
  const CommittedRing first = *FirstRing(Spec(3), Id(1));
  RingSpec next = first.ring();
  next.epoch = 2;
  next.members.pop_back();  // node 3
  const auto makes = [&](RingBefore before) {
    return CommittedRing::Make(next, Id(1), {first.digest()}, before).ok();
  };
  CHECK(makes({first.ring(), {}}));
  CHECK(makes({first.ring(), {Id(3)}}));
  CHECK_FALSE(makes({first.ring(), {Id(2)}}));         // a member still
  CHECK_FALSE(makes({first.ring(), {Id(9)}}));         // never was one
  CHECK_FALSE(makes({first.ring(), {Id(3), Id(3)}}));  // twice
  RingBefore before{first.ring(), {}};
  before.ring.epoch = 2;
  CHECK_FALSE(makes(before));
  before.ring.epoch = 1;
  before.ring.partitions *= 2;
  CHECK_FALSE(makes(before));
}

TEST_CASE("Cluster codec: a cut or bent ring before is refused, or another") {
  ClusterConfig config;
  config.ring = *FirstRing(Spec(3), Id(1));
  Stage(config, 1, Remove(Id(3)));
  REQUIRE(Commit(config, *MakePlan(config), Id(1)).ok());
  const std::string bytes = EncodeClusterConfig(config);
  int refused = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    CHECK_FALSE(DecodeClusterConfig(bytes.substr(0, at)).ok());
    std::string bent = bytes;
    bent[at] = static_cast<char>(bent[at] ^ 1);
    const auto other = DecodeClusterConfig(bent);
    if (!other.ok()) {
      ++refused;
      continue;
    }
    CHECK_FALSE(*other == config);
    CHECK(EncodeClusterConfig(*other) == bent);
  }
  CHECK(refused > 20);
}

}  // namespace
}  // namespace dovetail::replica
