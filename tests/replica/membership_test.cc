// Memberships on a simulated network. Nothing sleeps: time is a number.
#include "replica/membership.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "tests/sim/swim_world.h"

namespace dovetail::replica {
namespace {

using sim::SwimSettings;
using sim::SwimWorld;
using Kind = MembershipEvent::Kind;

constexpr absl::Duration kPeriod = absl::Seconds(1);

struct Seen {
  size_t node;
  MembershipEvent event;
};

// Collects what each node reports.
std::vector<Seen> Watch(SwimWorld& world, std::vector<Seen>& seen) {
  world.SetObserver([&seen](size_t node, const MembershipEvent& event) {
    seen.push_back({node, event});
  });
  return seen;
}

size_t Count(const std::vector<Seen>& seen, Kind kind) {
  size_t count = 0;
  for (const Seen& one : seen) count += one.event.kind == kind;
  return count;
}

TEST_CASE("Membership: nodes that know one seed soon all know each other") {
  SwimWorld world({});
  for (size_t i = 0; i < 5; ++i) {
    world.Add();
    world.Start(i, 1, i == 0 ? "" : world.info(0).peer_address);
  }
  CHECK(world.RunUntil(
      [&] {
        for (size_t i = 0; i < 5; ++i) {
          if (world.at(i).members().size() < 5) return false;
        }
        return world.AllAlive();
      },
      3 * kPeriod));
}

TEST_CASE("Membership: a seed that is started later is found") {
  SwimWorld world({});
  world.Add();
  world.Add();
  world.Start(1, 1, world.info(0).peer_address);
  world.RunFor(absl::Minutes(1));
  CHECK(world.at(1).members().size() == 1);
  world.Start(0, 1, "");
  const auto found = [&] { return world.Holds(0, 1, MemberState::kAlive); };
  CHECK(world.RunUntil(found, 2 * kPeriod));
}

TEST_CASE("Membership: a dead node is suspected, then dead to all") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    SwimWorld world({seed});
    REQUIRE(world.StartAll(5));
    std::vector<Seen> seen;
    Watch(world, seen);
    const absl::Duration killed = world.now();
    world.Kill(4);
    const auto gone = [&] { return world.AllHold(4, MemberState::kDead); };
    REQUIRE(world.RunUntil(gone, absl::Seconds(30)));
    // Nobody gave up before there was time to refute, and nobody was left out.
    CHECK(world.now() - killed > absl::Seconds(4));
    CHECK(Count(seen, Kind::kSuspect) == 4);
    CHECK(Count(seen, Kind::kDead) == 4);
    for (const Seen& one : seen) CHECK(one.event.id == world.id(4));
    world.RunFor(absl::Minutes(10));
    CHECK(world.AllHold(4, MemberState::kDead));  // and it stays on the list
  }
}

TEST_CASE("Membership: in a healthy network nobody is ever suspected") {
  SwimWorld world({});
  REQUIRE(world.StartAll(10));
  std::vector<Seen> seen;
  Watch(world, seen);
  world.RunFor(absl::Hours(1));
  CHECK(seen.empty());
  CHECK(world.at(0).local_health() == 0);
}

TEST_CASE("Membership: a node behind a one-way loss is saved by the others") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  std::vector<Seen> seen;
  Watch(world, seen);
  // Node 0 hears nothing from node 1 directly.
  world.SetFilter([](size_t from, size_t to) { return from != 1 || to != 0; });
  world.RunFor(absl::Minutes(10));
  CHECK(seen.empty());
  CHECK(world.at(0).counters().probes_failed == 0);
}

TEST_CASE("Membership: a falsely suspected node refutes by its incarnation") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  std::vector<Seen> seen;
  Watch(world, seen);
  const uint64_t before = world.at(1).self().incarnation;
  // Nothing reaches node 1 for a while, so that it cannot answer.
  world.SetFilter([](size_t, size_t to) { return to != 1; });
  const auto suspected = [&] {
    return world.AllHold(1, MemberState::kSuspect);
  };
  REQUIRE(world.RunUntil(suspected, absl::Seconds(10)));
  world.SetFilter(nullptr);
  const auto alive = [&] { return world.AllHold(1, MemberState::kAlive); };
  CHECK(world.RunUntil(alive, 3 * kPeriod));
  CHECK(world.at(1).self().incarnation > before);
  CHECK(world.at(1).counters().refutations > 0);
  CHECK(Count(seen, Kind::kDead) == 0);
}

// The rumour that overruled a claim is sent a few times only, and not to all.
TEST_CASE("Membership: who still believes an overruled claim is told again") {
  SwimWorld world({});
  REQUIRE(world.StartAll(3));
  world.RunFor(absl::Minutes(5));  // all rumours are spent
  Membership& a = world.at(0);
  REQUIRE(a.rumors_queued() == 0);
  for (const MemberState held : {MemberState::kSuspect, MemberState::kDead}) {
    Rumor old;
    old.id = world.id(0);
    old.incarnation = a.self().incarnation - 1;
    old.state = held;
    if (held == MemberState::kSuspect) old.accusers = {world.id(2)};
    const uint64_t before = a.self().incarnation;
    a.HandleMessage(world.id(1), {Ping{1, world.id(0)}, {old}}, world.now());
    const std::vector<GossipEnvelope> sent = a.TakeMessages();
    REQUIRE(sent.size() == 1);
    REQUIRE(sent[0].message.rumors.size() == 1);
    const Rumor& told = sent[0].message.rumors[0];
    CHECK(told.id == world.id(0));
    CHECK(told.state == MemberState::kAlive);
    CHECK(told.incarnation == before);
    CHECK(a.self().incarnation == before);  // there is nothing new to refute
  }
}

// A stored claim must not outlive the process it was about.
TEST_CASE("Membership: a restart beats the old suspicion in three periods") {
  for (const MemberState held : {MemberState::kSuspect, MemberState::kDead}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(seed);
      SwimWorld world({seed});
      REQUIRE(world.StartAll(5));
      world.Kill(3);
      const auto gone = [&] { return world.AllHold(3, held); };
      REQUIRE(world.RunUntil(gone, absl::Minutes(1)));
      world.Start(3, 1000, world.info(0).peer_address);
      const auto back = [&] {
        return world.AllHold(3, MemberState::kAlive) &&
               world.at(3).members().size() == 5;
      };
      CHECK(world.RunUntil(back, 3 * kPeriod));
      world.RunFor(absl::Minutes(1));
      CHECK(back());
      CHECK(world.at(3).self().incarnation == 1000);  // nothing to refute
    }
  }
}

TEST_CASE("Membership: a restart is found by the others without any seed") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  world.Kill(3);
  world.RunFor(absl::Minutes(1));
  world.Start(3, 1000, "");
  const auto back = [&] {
    return world.AllHold(3, MemberState::kAlive) && world.AllAlive() &&
           world.at(3).members().size() == 5;
  };
  CHECK(world.RunUntil(back, absl::Minutes(1)));
}

TEST_CASE("Membership: a restart with too small an incarnation raises it") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  world.Kill(3);
  world.Start(3, 1'000'000, world.info(0).peer_address);
  world.RunFor(3 * kPeriod);
  world.Kill(3);
  world.RunFor(absl::Minutes(1));
  world.Start(3, 5, world.info(0).peer_address);
  const auto back = [&] { return world.AllHold(3, MemberState::kAlive); };
  CHECK(world.RunUntil(back, 5 * kPeriod));
  CHECK(world.at(3).self().incarnation > 1'000'000);
}

TEST_CASE("Membership: a node at another address is the same node") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  std::vector<Seen> seen;
  world.Kill(3);
  world.RunFor(absl::Minutes(1));
  Watch(world, seen);
  world.info(3).peer_address = "192.168.9.9:71";
  world.Start(3, 1000, world.info(0).peer_address);
  world.RunFor(3 * kPeriod);
  for (size_t i = 0; i < 5; ++i) {
    CHECK(world.at(i).members().size() == 5);
    CHECK(world.at(i).members().at(world.id(3)).info.peer_address ==
          "192.168.9.9:71");
  }
  CHECK(Count(seen, Kind::kInfoChanged) == 4);
  CHECK(Count(seen, Kind::kAlive) == 4);
  CHECK(Count(seen, Kind::kConflict) == 0);
}

TEST_CASE("Membership: what a node says of itself reaches all while it runs") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  MemberInfo info = world.at(2).self().info;
  info.payload = "can do more";
  world.at(2).SetSelfInfo(info, world.now());
  world.Drain(2);
  world.RunFor(5 * kPeriod);
  for (size_t i = 0; i < 5; ++i) {
    CHECK(world.at(i).members().at(world.id(2)).info == info);
  }
}

TEST_CASE("Membership: two nodes with one id and two names are reported") {
  SwimWorld world({});
  REQUIRE(world.StartAll(3));
  Membership& a = world.at(0);
  Rumor twin;
  twin.id = world.id(1);
  twin.incarnation = 50;
  twin.info = world.info(1);
  twin.info->name = "somebody else";
  for (int time = 0; time < 3; ++time) {
    a.HandleMessage(world.id(2), {PingAck{0}, {twin}}, world.now());
  }
  const auto events = a.TakeEvents();
  REQUIRE(events.size() == 1);  // once
  CHECK(events[0].kind == Kind::kConflict);
  CHECK(events[0].info->name == "somebody else");
  CHECK(a.members().at(world.id(1)).info == world.info(1));

  // The node whose id it is reports it too, and does not fight over it.
  Membership& b = world.at(1);
  const uint64_t incarnation = b.self().incarnation;
  b.HandleMessage(world.id(2), {PingAck{0}, {twin}}, world.now());
  const auto own = b.TakeEvents();
  REQUIRE(own.size() == 1);
  CHECK(own[0].kind == Kind::kConflict);
  CHECK(b.self().incarnation == incarnation);
  b.HandleMessage(world.id(1), {Ping{1, world.id(1)}, {}}, world.now());
  CHECK(b.TakeMessages().empty());
  REQUIRE(b.TakeEvents().size() == 1);
}

TEST_CASE("Membership: the halves of a healed partition find each other") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    SwimWorld world({seed});
    REQUIRE(world.StartAll(5));
    world.SetFilter(
        [](size_t from, size_t to) { return (from < 2) == (to < 2); });
    const auto apart = [&] {
      for (size_t i = 0; i < 5; ++i) {
        for (size_t j = 0; j < 5; ++j) {
          if ((i < 2) != (j < 2) && !world.Holds(i, j, MemberState::kDead)) {
            return false;
          }
        }
      }
      return true;
    };
    REQUIRE(world.RunUntil(apart, absl::Minutes(2)));
    world.RunFor(absl::Minutes(10));
    for (size_t j = 2; j < 5; ++j) {
      CHECK(world.Holds(2, j, MemberState::kAlive));
    }
    world.SetFilter(nullptr);
    std::vector<Seen> seen;
    Watch(world, seen);
    CHECK(world.RunUntil([&] { return world.AllAlive(); }, absl::Seconds(30)));
    world.RunFor(absl::Minutes(2));
    CHECK(world.AllAlive());
    CHECK(Count(seen, Kind::kDead) == 0);  // nobody dies of old news
  }
}

TEST_CASE("Membership: a node that pauses does not take the others for dead") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    SwimWorld world({seed});
    REQUIRE(world.StartAll(10));
    std::vector<Seen> seen;
    Watch(world, seen);
    for (int pause = 0; pause < 30; ++pause) {
      world.Pause(7, absl::Milliseconds(700 + 100 * pause));
      world.RunFor(absl::Milliseconds(900 + 100 * pause));
    }
    size_t others_dead = 0;
    for (const Seen& one : seen) {
      others_dead +=
          one.event.kind == Kind::kDead && one.event.id != world.id(7);
    }
    CHECK(others_dead == 0);
    CHECK(world.at(7).counters().stalls > 10);
    CHECK(world.at(7).local_health() > 0);
    world.RunFor(absl::Minutes(1));
    CHECK(world.AllAlive());
    CHECK(world.at(7).local_health() == 0);  // it gets well again
  }
}

TEST_CASE("Membership: a node that hears nothing grows slow, not hasty") {
  SwimWorld world({});
  REQUIRE(world.StartAll(10));
  world.SetFilter([](size_t, size_t to) { return to != 7; });
  world.RunFor(absl::Seconds(20));
  CHECK(world.at(7).local_health() == 8);
  // The others saw their relays' nacks, and know that it is not they.
  for (size_t i = 0; i < 7; ++i) CHECK(world.at(i).local_health() <= 1);
}

TEST_CASE("Membership: a broken link is looked into at once") {
  for (const bool dead : {false, true}) {
    SwimWorld world({});
    REQUIRE(world.StartAll(10));
    std::vector<Seen> seen;
    Watch(world, seen);
    if (dead) world.Kill(4);
    for (size_t i = 0; i < 10; ++i) {
      if (i == 4) continue;
      world.at(i).HandleLinkDown(world.id(4), world.now());
      world.Drain(i);
    }
    // Half a period later all nodes suspect it by their own probes.
    world.RunFor(absl::Milliseconds(510));
    CHECK(Count(seen, Kind::kSuspect) == (dead ? 9 : 0));
    world.RunFor(absl::Milliseconds(4600));
    CHECK(world.AllHold(4, dead ? MemberState::kDead : MemberState::kAlive));
  }
}

TEST_CASE("Membership: a new link to a node thought dead brings it back") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  world.SetFilter([](size_t from, size_t to) { return from != 4 && to != 4; });
  world.RunFor(absl::Minutes(1));
  REQUIRE(world.AllHold(4, MemberState::kDead));
  world.SetFilter(nullptr);
  world.at(0).HandleLinkUp(world.id(4), world.now());
  world.Drain(0);
  const auto back = [&] { return world.Holds(0, 4, MemberState::kAlive); };
  CHECK(world.RunUntil(back, absl::Milliseconds(10)));
}

TEST_CASE("Membership: who says good-bye has left, and nobody looks for it") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  std::vector<Seen> seen;
  Watch(world, seen);
  world.at(2).Leave(world.now());
  world.Drain(2);
  CHECK(world.at(2).next_deadline() == absl::InfiniteDuration());
  world.RunFor(3 * kPeriod);
  world.Kill(2);
  CHECK(world.AllHold(2, MemberState::kLeft));
  for (size_t i = 0; i < 5; ++i) {
    if (i != 2) world.at(i).HandleLinkDown(world.id(2), world.now());
  }
  world.RunFor(absl::Minutes(5));
  CHECK(world.AllHold(2, MemberState::kLeft));
  CHECK(Count(seen, Kind::kSuspect) == 0);
  world.Start(2, 1000, world.info(0).peer_address);
  world.RunFor(3 * kPeriod);
  CHECK(world.AllHold(2, MemberState::kAlive));
}

TEST_CASE("Membership: a forgotten node stays away until it starts again") {
  SwimWorld world({});
  REQUIRE(world.StartAll(5));
  world.Kill(4);
  world.RunFor(absl::Minutes(1));
  // Node 3 was not told; its rumours and exchanges change nothing.
  for (size_t i = 0; i < 3; ++i) {
    world.at(i).Forget(world.id(4), world.now());
    world.Drain(i);
  }
  world.RunFor(absl::Minutes(5));
  for (size_t i = 0; i < 3; ++i) CHECK(world.at(i).members().size() == 4);
  world.Start(4, 1000, world.info(0).peer_address);
  world.RunFor(3 * kPeriod);
  CHECK(world.AllHold(4, MemberState::kAlive));
}

TEST_CASE("Membership: another configuration at a peer is reported") {
  SwimWorld world({});
  REQUIRE(world.StartAll(3));
  std::vector<Seen> seen;
  Watch(world, seen);
  const ConfigDigest ring{12, {34, 56}};
  world.at(1).SetConfig(ring, world.now());
  world.Drain(1);
  world.RunFor(kPeriod);  // at once, not at the next exchange
  REQUIRE(!seen.empty());
  CHECK(seen[0].event.kind == Kind::kPeerConfig);
  CHECK(seen[0].event.id == world.id(1));
  CHECK(seen[0].event.config == ring);
  world.RunFor(absl::Minutes(2));
  std::set<size_t> told;
  for (const Seen& one : seen) told.insert(one.node);
  CHECK(told == std::set<size_t>{0, 2});
  for (const size_t i : {0, 2}) {
    world.at(i).SetConfig(ring, world.now());
    world.Drain(i);
  }
  world.RunFor(kPeriod);
  seen.clear();
  world.RunFor(absl::Minutes(2));
  CHECK(seen.empty());
}

TEST_CASE("Membership: the same seed gives the same run, another another") {
  const auto trace = [](uint64_t seed) {
    SwimSettings settings{seed};
    settings.loss_permille = 100;
    SwimWorld world(settings);
    CHECK(world.StartAll(8));
    world.Pause(1, absl::Seconds(4));
    world.Kill(5);
    world.RunFor(absl::Minutes(2));
    world.Start(5, 1000, world.info(0).peer_address);
    world.RunFor(absl::Minutes(2));
    return world.trace();
  };
  const Hash128 once = trace(1);
  CHECK(once == trace(1));
  CHECK(once != trace(2));
}

TEST_CASE("Membership: queues stay within their limits whatever comes") {
  SwimSettings settings;
  settings.options.members_max = 20;
  settings.options.relays_max = 4;
  settings.options.probes_max = 3;
  settings.options.seeds_max = 1;
  SwimWorld world(settings);
  REQUIRE(world.StartAll(10));
  Membership& a = world.at(0);
  const NodeId peer = world.id(1);
  for (uint32_t i = 0; i < 1000; ++i) {
    Rumor rumor;
    rumor.id = NodeId{1000 + i};
    rumor.info = MemberInfo{};
    rumor.info->id = rumor.id;
    a.HandleMessage(peer, {PingReq{i, world.id(2)}, {rumor}}, world.now());
    a.HandleLinkDown(world.id(3 + i % 7), world.now());
  }
  CHECK(a.members().size() == 20);
  CHECK(a.counters().members_refused == 990);
  CHECK(a.rumors_queued() <= 20);
  CHECK(a.relays_in_flight() == 4);
  CHECK(a.counters().relays_refused == 996);
  CHECK(a.probes_in_flight() <= 3);
  CHECK(a.AddSeed("10.9.9.9:71", world.now()).ok());
  CHECK(absl::IsResourceExhausted(a.AddSeed("10.9.9.8:71", world.now())));
  for (const GossipEnvelope& envelope : a.TakeMessages()) {
    size_t rumors = 0;
    for (const Rumor& rumor : envelope.message.rumors) {
      rumors += EncodedBytes(rumor);
    }
    CHECK(rumors <= settings.options.piggyback_bytes_max);
  }
}

TEST_CASE(
    "Membership: a ping for another node at this address is not answered") {
  SwimWorld world({});
  REQUIRE(world.StartAll(3));
  Membership& a = world.at(0);
  a.HandleMessage(world.id(1), {Ping{1, world.id(2)}, {}}, world.now());
  CHECK(a.TakeMessages().empty());
  CHECK(a.counters().pings_for_others == 1);
}

TEST_CASE("Membership: one last life is overruled and who claims again lives") {
  SwimWorld world({});
  REQUIRE(world.StartAll(3));
  Membership& b = world.at(1);
  for (int time = 0; time < 3; ++time) {
    Rumor twin;
    twin.id = world.id(1);
    twin.incarnation = b.self().incarnation + 1;
    twin.info = world.info(1);
    twin.info->peer_address = "10.9.9.9:71";
    b.HandleMessage(world.id(2), {PingAck{0}, {twin}}, world.now());
    CHECK(b.self().incarnation == twin.incarnation + 1);
    const auto events = b.TakeEvents();
    // Said once.
    REQUIRE(events.size() == (time == 1 ? 1 : 0));
    if (time == 1) CHECK(events[0].kind == Kind::kConflict);
  }
}

TEST_CASE("Membership: with all probes in flight a period goes without one") {
  SwimSettings settings;
  settings.options.probes_max = 1;
  SwimWorld world(settings);
  REQUIRE(world.StartAll(5));
  // Nothing gets through: its probe lasts for as long as it takes to suspect.
  world.SetFilter([](size_t, size_t) { return false; });
  Membership& a = world.at(0);
  for (int i = 0; i < 50; ++i) {
    world.RunFor(kPeriod / 5);
    a.HandleLinkDown(world.id(1 + i % 4), world.now());
    world.Drain(0);
    CHECK(a.probes_in_flight() <= 1);
  }
  world.RunFor(absl::Minutes(1));
  CHECK(a.probes_in_flight() <= 1);
}

TEST_CASE("Membership: the largest incarnation a peer can claim does no harm") {
  SwimWorld world({});
  REQUIRE(world.StartAll(3));
  Rumor rumor;
  rumor.id = world.id(1);
  rumor.incarnation = kIncarnationMax;
  rumor.state = MemberState::kDead;
  world.at(1).HandleMessage(world.id(0), {PingAck{0}, {rumor}}, world.now());
  world.Drain(1);
  world.RunFor(absl::Minutes(1));  // every message still decodes
  CHECK(world.at(1).self().incarnation == kIncarnationMax);
}

}  // namespace
}  // namespace dovetail::replica
