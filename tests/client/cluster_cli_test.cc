// `dovetail cluster …`, run in this process: a fake node in front of the state
// machine of a real cluster.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "net/cluster_view.h"
#include "replica/cluster.h"
#include "replica/hash.h"
#include "replica/ring_plan.h"
#include "tests/client/shell.h"

namespace dovetail::cli {
namespace {

using absl::StrContains;
using replica::NodeId;

NodeId IdOf(const std::string& name) { return replica::NodeIdOf("test", name); }

replica::MemberInfo InfoOf(const std::string& name,
                           const std::string& address = "") {
  replica::MemberInfo info;
  info.id = IdOf(name);
  info.name = name;
  info.peer_address = "127.0.0.1:1";
  info.client_address = address;
  return info;
}

// Node a, which sees the others as the test wants it to.
class Operated {
 public:
  explicit Operated(const std::vector<std::string>& members)
      : cluster_(replica::MembershipOptions(),
                 InfoOf("a", shell.node.address()), 1, 1, FirstConfig(members),
                 now_) {
    shell.node.SetAdmin([this](const net::ClusterAdmin& admin) {
      auto plan = net::Administer(cluster_, admin, 1'000, now_);
      Publish();
      return plan;
    });
    Publish();
  }

  // Another node is there, and alive.
  void Meet(const std::string& name, const std::string& address = "") {
    cluster_.HandleLinkUp(IdOf(name), now_);
    const replica::GossipMessage news{replica::PingAck{0},
                                      {{IdOf(name),
                                        1,
                                        replica::MemberState::kAlive,
                                        {},
                                        InfoOf(name, address)}}};
    REQUIRE(cluster_.HandleGossip(IdOf(name), EncodeGossip(news), now_).ok());
    Publish();
  }
  void Hear(const std::string& name, const replica::NodeLoad& load) {
    cluster_.HandleLoad(IdOf(name), load, now_);
    Publish();
  }
  void Wait(absl::Duration time) {
    now_ += time;
    Publish();
  }
  // The line of the output of `words` that begins with `name`.
  std::string Line(const std::string& words, const std::string& name) {
    const std::vector<std::string> lines =
        absl::StrSplit(shell.Out(words), '\n');
    for (const std::string& line : lines) {
      if (absl::StartsWith(line, absl::StrCat("  ", name, " "))) return line;
    }
    return "";
  }

  // Partitions.
  uint32_t Owned(const std::string& name) const {
    for (const auto& member : net::MembersOf(cluster_, now_)) {
      if (member.name == name) return member.partitions;
    }
    return 0;
  }

  Shell shell;

 private:
  static replica::ClusterConfig FirstConfig(
      const std::vector<std::string>& members) {
    replica::RingSpec spec;
    spec.partitions = 16;
    for (const std::string& name : members) {
      replica::RingMember member;
      member.id = IdOf(name);
      member.name = name;
      spec.members.push_back(member);
    }
    replica::ClusterConfig config;
    config.ring = *replica::FirstRing(spec, NodeId{});
    return config;
  }
  void Publish() { shell.node.SetView(net::ViewOf(cluster_, now_)); }

  absl::Duration now_ = absl::Seconds(100);
  replica::Cluster cluster_;
};

TEST_CASE(
    "dovetail cluster status: what each node carries, and how old that is") {
  Operated operated({"a", "b", "c"});
  replica::NodeLoad load;
  load.epoch = 1;
  load.data_bytes = 5 << 20;
  load.entries = 1'000;
  load.slow = {IdOf("c")};
  operated.Hear("a", load);
  load.hints = 3;
  load.hint_bytes = 2'048;
  load.filling = 4;
  load.slow = {};
  operated.Hear("b", load);
  CHECK(StrContains(operated.Line("cluster status", "a"),
                    "owns 16; 5.0 MiB, 1000 entries"));
  CHECK(StrContains(operated.Line("cluster status", "b"),
                    "5.0 MiB, 1000 entries, filling 4 partitions, "
                    "holds 3 deltas (2.0 KiB) for others"));
  CHECK(StrContains(operated.Line("cluster status", "c"), "load unknown"));
  CHECK_FALSE(StrContains(operated.Line("cluster status", "b"), "ago"));
  CHECK(StrContains(operated.shell.Out("cluster status --json"),
                    "\"load\":{\"age_ms\":0,\"epoch\":1,\"data_bytes\":5242880,"
                    "\"entries\":1000,\"hints\":3,\"hint_bytes\":2048,"
                    "\"partitions_held\":0,\"partitions_filling\":4}"));
  CHECK(StrContains(operated.shell.Out("cluster status --json"),
                    "\"load\":null,\"slow_for\":[\"a\"]"));
  // An answering node that hears no more of it says how old that is.
  operated.Hear("c", {});
  CHECK(StrContains(operated.Line("cluster status", "c"),
                    "0 B, 0 entries, slow for a"));
  operated.Wait(absl::Seconds(63));
  CHECK(StrContains(operated.Line("cluster status", "b"),
                    "for others, as of 1m3s ago"));
}

TEST_CASE(
    "dovetail cluster leave: the plan says what moves and what it takes") {
  Operated operated({"a", "b", "c", "d"});
  for (const std::string name : {"b", "c", "d"}) operated.Meet(name);
  replica::NodeLoad load;
  load.data_bytes = 12 << 20;
  load.held = 12;
  for (const std::string name : {"a", "b", "c", "d"}) operated.Hear(name, load);
  const uint32_t lost = operated.Owned("b");
  const uint32_t gained = 16 - operated.Owned("a");
  REQUIRE(gained > 0);
  const std::string plan = operated.shell.Out("cluster leave b");
  CHECK(StrContains(plan, "staged on the ring of epoch 1: b leaves\n"));
  // A MiB each.
  CHECK(operated.Line("cluster plan", "b") ==
        absl::StrFormat("  b            %4d ->    0 partitions (+0 -%d), about "
                        "%d.0 MiB go",
                        lost, lost, lost));
  CHECK(operated.Line("cluster plan", "a") ==
        absl::StrFormat("  a            %4d ->   16 partitions (+%d -0), about "
                        "%d.0 MiB come",
                        16 - gained, gained, gained));
  CHECK_FALSE(StrContains(plan, "fewer"));
  CHECK(
      StrContains(operated.shell.Out("cluster status"), "changes are staged"));
  const std::string json = operated.shell.Out("cluster plan --json");
  CHECK(StrContains(json, "\"staged\":[\"b\"],\"changes\":[\"b leaves\"],"));
  CHECK(StrContains(
      json, absl::StrCat("\"lost\":", lost,
                         ",\"bytes_in\":0,\"bytes_out\":", lost << 20, "}")));
  CHECK(StrContains(operated.shell.Out("cluster abort"), "nothing is staged"));
}

TEST_CASE("dovetail cluster plan: copies that lack meanwhile are counted") {
  Operated operated({"a", "b", "c", "d"});
  for (const std::string name : {"b", "c"}) operated.Meet(name);
  // Of d nothing was ever heard: what it owns has two copies until then.
  const uint32_t owned = operated.Owned("d");
  const std::string plan = operated.shell.Out("cluster leave d");
  CHECK(StrContains(
      plan, absl::StrCat("of ", owned, " partitions no owner has said")));
  CHECK(StrContains(plan, absl::StrCat("until it is carried out, ", owned,
                                       " partitions have fewer than N owners "
                                       "that can be reached")));
  CHECK_FALSE(StrContains(plan, "fewer owners than asked for"));
  // Then there are two left, and N is 3.
  CHECK(StrContains(operated.shell.Out("cluster leave c"),
                    "16 partitions have fewer owners than asked for"));
}

TEST_CASE("dovetail cluster replace: who takes a place takes its partitions") {
  Operated operated({"a", "b", "c", "d"});
  for (const std::string name : {"b", "c", "d", "e"}) operated.Meet(name);
  const uint32_t owned = operated.Owned("b");
  const std::string plan = operated.shell.Out("cluster replace b e");
  CHECK(StrContains(plan, ": e takes the place of b\n"));
  CHECK(StrContains(
      plan, absl::StrCat(owned, " ->    0 partitions (+0 -", owned, ")")));
  CHECK(StrContains(
      plan, absl::StrCat("0 ->   ", owned, " partitions (+", owned, " -0)")));
  for (const std::string name : {"a", "c", "d"}) {
    CHECK(StrContains(operated.Line("cluster plan", name), "(+0 -0)"));
  }
}

TEST_CASE("dovetail cluster weight: a lighter member owns less") {
  Operated operated({"a", "b", "c", "d"});
  for (const std::string name : {"b", "c", "d"}) operated.Meet(name);
  const std::string plan = operated.shell.Out("cluster weight d 25");
  CHECK(StrContains(plan, ": d weighs 25 instead of 100\n"));
  CHECK_FALSE(StrContains(operated.Line("cluster plan", "d"), " -0)"));
  operated.shell.Out("cluster weight d 0");
  CHECK(StrContains(operated.Line("cluster plan", "d"), "->    0 partitions"));
}

TEST_CASE("dovetail cluster remove: nothing is waited for of a lost disk") {
  Operated operated({"a", "b", "c", "d"});
  for (const std::string name : {"b", "c", "d"}) operated.Meet(name);
  const uint32_t owned = operated.Owned("d");
  const std::string plan = operated.shell.Out("cluster remove d");
  CHECK(StrContains(plan, ": d is removed, its disk is lost\n"));
  // Though it can be reached: what it holds does not count.
  CHECK(StrContains(plan, absl::StrCat("until it is carried out, ", owned)));
  CHECK(StrContains(operated.shell.Out("cluster commit --force"),
                    "committed: the ring is at epoch 2"));
}

TEST_CASE("dovetail cluster plan: the time it takes at the limit of the rate") {
  Operated operated({"a", "b", "c", "d"});
  for (const std::string name : {"b", "c", "d"}) operated.Meet(name);
  replica::NodeLoad load;
  load.data_bytes = 16 << 20;
  load.held = 16;
  load.transfer_rate_max = 1 << 20;
  for (const std::string name : {"a", "b", "c", "d"}) operated.Hear(name, load);
  operated.shell.Out("cluster pause");
  CHECK(StrContains(operated.shell.Out("cluster leave d"),
                    "s, once transfers are resumed\n"));
  CHECK(StrContains(operated.shell.Out("cluster plan --json"), "\"seconds\":"));
}

TEST_CASE("dovetail cluster pause: it is said until they are resumed") {
  Operated operated({"a"});
  CHECK(StrContains(operated.shell.Out("cluster pause"), "rest"));
  const std::string hint = "transfers by ranges are paused";
  CHECK(StrContains(operated.shell.Out("cluster status"), hint));
  CHECK(StrContains(operated.shell.Out("cluster status --json"),
                    "\"transfers_paused\":true"));
  CHECK(operated.shell.Out("cluster resume") == "transfers by ranges go on\n");
  CHECK_FALSE(StrContains(operated.shell.Out("cluster status"), hint));
}

TEST_CASE("dovetail cluster transfers: every member says what it waits for") {
  Operated operated({"a", "b", "c"});
  FakeNode b;
  operated.Meet("b", b.address());
  replica::TransferProgress ranges;
  ranges.transfer.partition = replica::PartitionId{7};
  ranges.transfer.source = IdOf("a");
  ranges.transfer.events_lacking = 12;
  ranges.transfer.ranges_done = 0.25;
  ranges.transfer.bytes = 3 << 20;
  ranges.bytes_per_second = 1 << 20;
  ranges.left = absl::Seconds(9);
  replica::TransferProgress waiting;
  waiting.transfer.partition = replica::PartitionId{8};
  waiting.transfer.events_lacking = 3;
  b.SetTransfers({ranges, waiting});
  // Nobody has heard of c: what it waits for is not known.
  const Ran ran = operated.shell.Do("cluster transfers");
  CHECK(ran.exit == 1);
  CHECK(StrContains(ran.out,
                    "  partition    7 to b            from a, 12 events lack, "
                    " 25% of the keys, 3.0 MiB at 1.0 MiB/s, 9s left\n"));
  CHECK(StrContains(ran.out,
                    "partition    8 to b            by logs, or "
                    "waiting, 3 events lack,   0% of the keys"));
  CHECK(StrContains(ran.out, "  c did not say: nobody knows its address\n"));
  CHECK(StrContains(ran.out,
                    "2 partitions are on their way: 3.0 MiB came by "
                    "ranges, 1.0 MiB/s, 9s left, and who knows of "
                    "1\n"));
  const std::string json = operated.shell.Do("cluster transfers --json").out;
  CHECK(StrContains(json,
                    "{\"transfers\":[{\"partition\":7,\"to\":\"b\",\"from\":"
                    "\"a\",\"events_lacking\":12,\"ranges_done\":0.25,"
                    "\"bytes\":3145728,\"bytes_per_second\":1048576,"
                    "\"left_ms\":9000}"));
  CHECK(StrContains(json, "\"silent\":[{\"name\":\"c\""));
  b.SetTransfers({});
  FakeNode c;
  operated.Meet("c", c.address());
  CHECK(operated.shell.Out("cluster transfers") == "nothing is on its way\n");
}

TEST_CASE("dovetail cluster: changes that make no sense are not staged") {
  Operated operated({"a", "b"});
  for (const std::string name : {"b", "c"}) operated.Meet(name);
  const auto refused = [&](const std::string& words) {
    const Ran ran = operated.shell.Do(words);
    CHECK_MESSAGE(ran.exit == 1, words);
    CHECK(StrContains(operated.shell.Out("cluster plan"), "nothing is staged"));
    return ran.error;
  };
  CHECK(StrContains(refused("cluster leave x"), "\"x\" is no member"));
  CHECK(StrContains(refused("cluster leave c"),
                    "\"c\" is no member; it is known, and owns nothing"));
  CHECK(StrContains(refused("cluster replace b a"), "is a member already"));
  CHECK(StrContains(refused("cluster replace b x"), "no node \"x\" is known"));
  CHECK(StrContains(refused("cluster replace x c"), "\"x\" is no member"));
  CHECK(operated.shell.Do("cluster weight a 10001").exit == 2);
  CHECK(operated.shell.Do("cluster weight a").exit == 2);
  CHECK(operated.shell.Do("cluster leave").exit == 2);
  CHECK(operated.shell.Do("cluster leave a b").exit == 2);
  CHECK(operated.shell.Do("cluster replace a").exit == 2);
  // The last one stays.
  operated.shell.Out("cluster leave a");
  const Ran last = operated.shell.Do("cluster leave b");
  CHECK(last.exit == 1);
  CHECK(StrContains(operated.shell.Out("cluster plan"), ": a leaves\n"));
}

}  // namespace
}  // namespace dovetail::cli
