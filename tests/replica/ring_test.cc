// The ring against its promises, and against a slow twin that follows the
// words of replica/ring_place.h with no thought of cost.
#include "replica/ring.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "replica/ring_place.h"
#include "tests/replica/ring_twin.h"

namespace dovetail::replica {
namespace {

NodeId Id(uint64_t bits) { return static_cast<NodeId>(bits); }
PartitionId Part(uint32_t p) { return static_cast<PartitionId>(p); }

Ring Compute(const RingSpec& spec) {
  auto ring = Ring::Compute(spec);
  REQUIRE(ring.ok());
  return *std::move(ring);
}

// Members 1, 2, … in the zones z0, z1, … in turn.
RingSpec Spec(uint32_t members, uint32_t zones, uint32_t partitions,
              uint32_t replicas) {
  RingSpec spec;
  spec.partitions = partitions;
  spec.replicas = replicas;
  for (uint32_t i = 0; i < members; ++i) {
    RingMember member;
    member.id = Id(i + 1);
    member.zone = absl::StrCat("z", i % zones);
    spec.members.push_back(member);
  }
  return spec;
}

RingSpec RandomSpec(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto below = [&](uint64_t n) { return random() % n; };
  RingSpec spec;
  spec.partitions = uint32_t{1} << below(6);
  spec.replicas = static_cast<uint32_t>(1 + below(6));
  const uint64_t regions = 1 + below(2);
  const uint64_t zones = 1 + below(6);
  const bool weighted = below(2) == 0;
  const uint64_t members = 1 + below(11);
  for (uint64_t i = 0; i < members; ++i) {
    RingMember member;
    member.id = Id(1 + i * 1000 + below(1000));
    member.zone = absl::StrCat("z", below(zones));
    member.region = absl::StrCat("r", below(regions));
    if (weighted && i > 0) {
      constexpr uint32_t kWeights[] = {0, 30, 50, 100, 100, 170, 1000};
      member.weight = kWeights[below(7)];
    }
    spec.members.push_back(member);
  }
  if (below(3) == 0) {
    spec.replicas_in_region["r1"] = static_cast<uint32_t>(below(4));
  }
  return spec;
}

std::vector<RingMember> Weighty(const Ring& ring, const std::string& region) {
  std::vector<RingMember> members;
  for (const RingMember& member : ring.spec().members) {
    if (member.region == region && member.weight > 0) members.push_back(member);
  }
  return members;
}

std::set<NodeId> OwnersIn(const Ring& ring, uint32_t p,
                          const std::string& region) {
  std::set<NodeId> owners;
  for (const NodeId owner : ring.Owners(Part(p))) {
    if (ring.Find(owner)->region == region) owners.insert(owner);
  }
  return owners;
}

std::map<NodeId, uint32_t> Loads(const Ring& ring) {
  std::map<NodeId, uint32_t> loads;
  for (uint32_t p = 0; p < ring.partitions(); ++p) {
    for (const NodeId owner : ring.Owners(Part(p))) ++loads[owner];
  }
  return loads;
}

uint32_t Moved(const Ring& before, const Ring& after) {
  uint32_t moved = 0;
  for (uint32_t p = 0; p < after.partitions(); ++p) {
    for (const NodeId owner : after.Owners(Part(p))) {
      moved += !before.Owns(owner, Part(p));
    }
  }
  return moved;
}

// --- Promises ---------------------------------------------------------------

TEST_CASE("Ring: its slow twin places every partition alike") {
  int short_zones = 0;
  int made_room = 0;
  for (uint64_t seed = 0; seed < 1200; ++seed) {
    INFO("seed " << seed);
    const Ring ring = Compute(RandomSpec(seed));
    for (const std::string& region : ring.regions()) {
      const auto members = Weighty(ring, region);
      const Twin twin(members, ring.partitions(), ring.replicas_wanted(region));
      const auto expected = twin.Place();
      made_room += twin.made_room();
      for (uint32_t p = 0; p < ring.partitions(); ++p) {
        REQUIRE(OwnersIn(ring, p, region) == expected[p]);
      }
      std::set<std::string> zones;
      for (const RingMember& member : members) zones.insert(member.zone);
      short_zones += zones.size() > 1 && zones.size() < ring.replicas(region);
    }
  }
  // The hardest kinds are among them.
  CHECK(short_zones > 20);
  CHECK(made_room > 20);
}

TEST_CASE("Ring: owners are distinct, in as many zones as can be, in bounds") {
  for (uint64_t seed = 1000; seed < 3000; ++seed) {
    INFO("seed " << seed);
    const Ring ring = Compute(RandomSpec(seed));
    auto loads = Loads(ring);
    uint32_t replicas = 0;
    for (const std::string& region : ring.regions()) {
      const auto members = Weighty(ring, region);
      std::set<std::string> zones;
      for (const RingMember& member : members) zones.insert(member.zone);
      const uint32_t expected = std::min(ring.replicas_wanted(region),
                                         static_cast<uint32_t>(members.size()));
      REQUIRE(ring.replicas(region) == expected);
      replicas += expected;
      for (uint32_t p = 0; p < ring.partitions(); ++p) {
        const auto owners = OwnersIn(ring, p, region);
        REQUIRE(owners.size() == expected);
        std::set<std::string> used;
        for (const NodeId id : owners) used.insert(ring.Find(id)->zone);
        REQUIRE(used.size() == std::min<size_t>(expected, zones.size()));
      }
      const Twin twin(members, ring.partitions(), ring.replicas_wanted(region));
      for (const RingMember& member : members) {
        REQUIRE(loads[member.id] <= twin.node_max(member.id));
      }
    }
    REQUIRE(ring.replicas() == replicas);
    for (const RingMember& member : ring.spec().members) {
      if (member.weight == 0) REQUIRE(loads[member.id] == 0);
    }
  }
}

TEST_CASE("Ring: without zones the bound is the fair share and an eighth") {
  for (const uint32_t partitions : {8u, 64u, 256u}) {
    for (const uint32_t members : {2u, 3u, 4u, 7u, 16u, 50u, 200u}) {
      RingSpec spec = Spec(members, 1, partitions, 3);
      const Ring ring = Compute(spec);
      const uint32_t copies = std::min(members, 3u);
      const uint32_t most =
          std::min(partitions,
                   (9 * partitions * copies + 8 * members - 1) / (8 * members));
      for (const auto& [id, load] : Loads(ring)) CHECK(load <= most);
    }
  }
}

TEST_CASE("Ring: weights divide the partitions") {
  RingSpec spec = Spec(6, 1, 4096, 2);
  spec.members[0].weight = 200;
  spec.members[1].weight = 50;
  spec.members[2].weight = 0;
  const Ring ring = Compute(spec);
  auto loads = Loads(ring);
  // 550 of weight own 8192: 1489 for each hundred.
  CHECK(std::abs(static_cast<int>(loads[Id(1)]) - 2979) < 2979 / 8);
  CHECK(std::abs(static_cast<int>(loads[Id(2)]) - 745) < 745 / 8);
  CHECK(loads[Id(3)] == 0);
  CHECK(std::abs(static_cast<int>(loads[Id(4)]) - 1489) < 1489 / 8);
}

TEST_CASE("Ring: a zone of one node owns one replica, never two, never none") {
  // z0 has five members, z1 and z2 one each: with N = 3 these own everything.
  RingSpec spec = Spec(3, 3, 64, 3);
  for (uint32_t i = 4; i < 8; ++i) {
    RingMember member;
    member.id = Id(i);
    member.zone = "z0";
    spec.members.push_back(member);
  }
  auto loads = Loads(Compute(spec));
  CHECK(loads[Id(2)] == 64);
  CHECK(loads[Id(3)] == 64);
  CHECK(loads[Id(1)] + loads[Id(4)] + loads[Id(5)] + loads[Id(6)] +
            loads[Id(7)] ==
        64);
  for (const uint64_t id : {1, 4, 5, 6, 7}) CHECK(loads[Id(id)] <= 15);
  // Two zones for three replicas: the lone member owns all, the rest two each.
  std::erase_if(spec.members,
                [](const RingMember& member) { return member.zone == "z2"; });
  loads = Loads(Compute(spec));
  CHECK(loads[Id(2)] == 64);
  for (const uint64_t id : {1, 4, 5, 6, 7}) CHECK(loads[Id(id)] <= 29);
}

TEST_CASE("Ring: each region has its own number of replicas") {
  RingSpec spec = Spec(12, 3, 32, 3);
  for (size_t i = 0; i < 12; ++i) {
    spec.members[i].region = i < 6 ? "east" : i < 11 ? "west" : "far";
  }
  spec.replicas_in_region["west"] = 2;
  const Ring ring = Compute(spec);
  CHECK(ring.regions() == std::vector<std::string>{"east", "far", "west"});
  CHECK(ring.replicas() == 6);
  CHECK(ring.replicas("east") == 3);
  CHECK(ring.replicas("west") == 2);
  CHECK(ring.replicas("far") == 1);
  CHECK(ring.replicas_wanted("far") == 3);
  CHECK(ring.replicas("nowhere") == 0);
  for (uint32_t p = 0; p < 32; ++p) {
    CHECK(OwnersIn(ring, p, "east").size() == 3);
    CHECK(OwnersIn(ring, p, "west").size() == 2);
    CHECK(OwnersIn(ring, p, "far") == std::set<NodeId>{Id(12)});
  }
}

TEST_CASE("Ring: order of the members and the epoch's name change nothing") {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    RingSpec spec = RandomSpec(seed);
    const Ring ring = Compute(spec);
    std::mt19937_64 random(seed);
    std::shuffle(spec.members.begin(), spec.members.end(), random);
    spec.epoch = 77;
    const Ring again = Compute(spec);
    CHECK(again.epoch() == 77);
    for (uint32_t p = 0; p < ring.partitions(); ++p) {
      REQUIRE(ring.Owners(Part(p)) == again.Owners(Part(p)));
      REQUIRE(ring.Preference(Part(p)) == again.Preference(Part(p)));
    }
  }
}

TEST_CASE("Ring: placement is fixed for ever") {
  // Changing any of these moves everybody's data.
  CHECK(DistanceOf(1, 100, 0) ==
        Distance{787429379989831, 9797844968946510924u});
  const Ring ring = Compute(Spec(7, 3, 8, 3));
  std::vector<uint64_t> owners;
  for (uint32_t p = 0; p < 8; ++p) {
    for (const NodeId id : ring.Owners(Part(p))) {
      owners.push_back(static_cast<uint64_t>(id));
    }
  }
  CHECK(owners == std::vector<uint64_t>{2, 3, 4, 6, 7, 5, 7, 2, 6, 1, 3, 5,
                                        5, 7, 3, 3, 1, 2, 1, 2, 3, 4, 6, 2});
}

TEST_CASE("Ring: a distance is the logarithm of a hash, over the weight") {
  for (uint32_t p = 0; p < 2000; ++p) {
    const Distance one = DistanceOf(42, 1, p);
    const double uniform = std::ldexp(static_cast<double>(~one.tie), -64);
    const double expected = std::ldexp(-std::log2(uniform), 56);
    REQUIRE(std::abs(static_cast<double>(one.scaled) - expected) <=
            std::ldexp(1.0, 29));
    REQUIRE(DistanceOf(42, 7, p).scaled == one.scaled / 7);
  }
}

// --- Movement ---------------------------------------------------------------

TEST_CASE("Ring: a member more or less moves close to the least") {
  // Over 60 rings of each kind: at most 1.35 times the least, and no single
  // change more than 2.5 times. The least of a join is the newcomer's load, of
  // a leave the leaver's.
  for (const uint32_t zones : {1u, 3u, 5u}) {
    for (const uint32_t members : {6u, 11u, 24u}) {
      INFO("members " << members << ", zones " << zones);
      uint64_t moved_all = 0;
      uint64_t least_all = 0;
      for (uint64_t seed = 0; seed < 30; ++seed) {
        RingSpec spec = Spec(members, zones, 256, 3);
        std::mt19937_64 random(seed);
        for (RingMember& member : spec.members) member.place = random();
        const Ring big = Compute(spec);
        const RingMember leaver = spec.members[random() % members];
        std::erase(spec.members, leaver);
        const Ring small = Compute(spec);
        const uint32_t load = Loads(big)[leaver.id];
        const uint32_t leave = Moved(big, small);
        const uint32_t join = Moved(small, big);
        REQUIRE(leave >= load);
        REQUIRE(join >= load);
        CHECK(2 * leave <= 5 * load);
        CHECK(2 * join <= 5 * load);
        moved_all += leave + join;
        least_all += 2 * load;
      }
      CHECK(100 * moved_all <= 135 * least_all);
    }
  }
}

TEST_CASE("Ring: a change of weight moves close to the least") {
  uint64_t moved_all = 0;
  uint64_t least_all = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    RingSpec spec = Spec(10, 1, 256, 3);
    std::mt19937_64 random(seed);
    for (RingMember& member : spec.members) member.place = random();
    const Ring before = Compute(spec);
    spec.members[3].weight = 200;
    const Ring after = Compute(spec);
    const uint32_t gained =
        Loads(after)[spec.members[3].id] - Loads(before)[spec.members[3].id];
    moved_all += Moved(before, after);
    least_all += gained;
  }
  CHECK(moved_all >= least_all);
  CHECK(100 * moved_all <= 135 * least_all);
}

TEST_CASE("Ring: who takes another's place owns its partitions, no more") {
  RingSpec spec = Spec(9, 3, 128, 3);
  const Ring before = Compute(spec);
  RingMember& old = spec.members[4];
  old.place = PlaceOf(old);
  old.id = Id(99);
  const Ring after = Compute(spec);
  for (uint32_t p = 0; p < 128; ++p) {
    std::set<NodeId> expected;
    for (const NodeId owner : before.Owners(Part(p))) {
      expected.insert(owner == Id(5) ? Id(99) : owner);
    }
    const auto owners = after.Owners(Part(p));
    CHECK(std::set<NodeId>(owners.begin(), owners.end()) == expected);
  }
}

// --- Preference -------------------------------------------------------------

TEST_CASE("Ring: no owner is the first choice of more than its part") {
  // Three members that own everything take exact turns.
  std::map<NodeId, uint32_t> first;
  const Ring three = Compute(Spec(3, 3, 256, 3));
  for (uint32_t p = 0; p < 256; ++p) ++first[three.Owners(Part(p)).front()];
  for (const auto& [id, count] : first) CHECK((count == 85 || count == 86));
  first.clear();
  // Twelve in two regions: of 256 first choices 21 each on the average.
  RingSpec spec = Spec(12, 3, 256, 3);
  for (size_t i = 0; i < 12; ++i) spec.members[i].region = i < 6 ? "a" : "b";
  const Ring twelve = Compute(spec);
  std::map<NodeId, uint32_t> first_at_home;
  for (uint32_t p = 0; p < 256; ++p) {
    const auto owners = twelve.Owners(Part(p));
    ++first[owners.front()];
    std::set<std::string> seen;
    for (const NodeId id : owners) {
      if (seen.insert(twelve.Find(id)->region).second) ++first_at_home[id];
    }
    CHECK(twelve.Find(owners[0])->region != twelve.Find(owners[1])->region);
  }
  for (const RingMember& member : spec.members) {
    CHECK(first[member.id] >= 8);
    CHECK(first[member.id] <= 40);
    CHECK(first_at_home[member.id] >= 24);
    CHECK(first_at_home[member.id] <= 64);
  }
}

TEST_CASE("Ring: the preference list has every member once, owners first") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    INFO("seed " << seed);
    const Ring ring = Compute(RandomSpec(seed));
    for (uint32_t p = 0; p < ring.partitions(); ++p) {
      const auto list = ring.Preference(Part(p));
      const auto owners = ring.Owners(Part(p));
      REQUIRE(std::equal(owners.begin(), owners.end(), list.begin()));
      REQUIRE(std::set<NodeId>(list.begin(), list.end()).size() ==
              ring.spec().members.size());
      REQUIRE(list.size() == ring.spec().members.size());
      bool weightless = false;
      for (const NodeId id : list) {
        const bool none = ring.Find(id)->weight == 0;
        REQUIRE((none || !weightless));
        weightless = none;
      }
    }
  }
}

TEST_CASE("Ring: a stand-in is of the owner's region and a zone not used") {
  RingSpec spec = Spec(20, 5, 64, 3);
  for (size_t i = 0; i < 20; ++i) spec.members[i].region = i < 10 ? "a" : "b";
  const Ring ring = Compute(spec);
  std::map<NodeId, int> chosen;
  for (uint32_t p = 0; p < 64; ++p) {
    for (const NodeId owner : ring.Owners(Part(p))) {
      const std::string& region = ring.Find(owner)->region;
      std::set<std::string> used;
      for (const NodeId id : OwnersIn(ring, p, region)) {
        if (id != owner) used.insert(ring.Find(id)->zone);
      }
      const auto list = ring.StandIns(Part(p), owner);
      REQUIRE(list.size() == 14);
      ++chosen[list.front()];
      // Of ten in five zones three own; three zones are free, one of them
      // with a member that is absent itself: five may stand in.
      for (size_t i = 0; i < 14; ++i) {
        const RingMember* member = ring.Find(list[i]);
        CHECK((member->region == region) == (i < 7));
        if (i < 5) CHECK(!used.contains(member->zone));
        CHECK(!ring.Owns(list[i], Part(p)));
      }
    }
  }
  CHECK(chosen.size() == 20);  // nobody stands in for everybody
}

// --- Edges ------------------------------------------------------------------

TEST_CASE("Ring: one partition, and more replicas than members, are legal") {
  const Ring one = Compute(Spec(5, 5, 1, 3));
  CHECK(one.Owners(PartitionId{0}).size() == 3);
  CHECK(one.Preference(PartitionId{0}).size() == 5);
  const Ring few = Compute(Spec(2, 1, 16, 3));
  CHECK(few.replicas() == 2);
  CHECK(few.replicas_wanted("") == 3);
  for (const auto& [id, load] : Loads(few)) CHECK(load == 16);
  CHECK(few.Find(Id(3)) == nullptr);
}

TEST_CASE("Ring: a member list that cannot be placed is refused with reason") {
  auto refusal = [](auto change) {
    RingSpec spec = Spec(4, 2, 16, 3);
    change(spec);
    const auto ring = Ring::Compute(spec);
    REQUIRE(!ring.ok());
    CHECK(absl::IsInvalidArgument(ring.status()));
    return std::string(ring.status().message());
  };
  CHECK(refusal([](RingSpec& s) { s.partitions = 24; }) ==
        "24 partitions: it must be a power of two, at most 4096");
  CHECK(refusal([](RingSpec& s) { s.partitions = 8192; }) ==
        "8192 partitions: it must be a power of two, at most 4096");
  CHECK(refusal([](RingSpec& s) { s.replicas = 0; }) ==
        "0 replicas: it must be 1 to 32");
  CHECK(refusal([](RingSpec& s) { s.replicas_in_region["x"] = 33; }) ==
        "33 replicas in region \"x\"; the limit is 32");
  CHECK(refusal([](RingSpec& s) { s.members[1].id = s.members[0].id; }) ==
        "node 1 is twice in the ring");
  CHECK(refusal([](RingSpec& s) { s.members[3].place = 1; }) ==
        "node 4 has the place 1 of another member");
  CHECK(refusal([](RingSpec& s) { s.members[1].weight = 10'001; }) ==
        "node 2 has weight 10001; the limit is 10000");
  CHECK(refusal([](RingSpec& s) {
          for (RingMember& member : s.members) member.weight = 0;
        }) == "no member has a weight above 0, so nobody would own anything");
  CHECK(refusal([](RingSpec& s) { s.members.clear(); }) ==
        "no member has a weight above 0, so nobody would own anything");
  CHECK(refusal([](RingSpec& s) { s = Spec(4097, 2, 16, 3); }) ==
        "4097 members; the limit is 4096");
}

}  // namespace
}  // namespace dovetail::replica
