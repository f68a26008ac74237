// `dovetail cluster …`, run in this process: a fake node in front of the state
// machine of a real cluster.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

replica::MemberInfo InfoOf(const std::string& name) {
  replica::MemberInfo info;
  info.id = IdOf(name);
  info.name = name;
  info.peer_address = "127.0.0.1:1";
  info.client_address = absl::StrCat("127.0.0.1:", 7000 + name[0]);
  return info;
}

// Node a, which sees the others as the test wants it to.
class Operated {
 public:
  explicit Operated(const std::vector<std::string>& members)
      : cluster_(replica::MembershipOptions(), InfoOf("a"), 1, 1,
                 FirstConfig(members), now_) {
    shell.node.SetAdmin([this](const net::ClusterAdmin& admin) {
      auto plan = net::Administer(cluster_, admin, now_);
      Publish();
      return plan;
    });
    Publish();
  }

  // Another node is there, and alive.
  void Meet(const std::string& name) {
    cluster_.HandleLinkUp(IdOf(name), now_);
    replica::GossipMessage news;
    news.kind = replica::GossipMessage::Kind::kAck;
    news.rumors.push_back({InfoOf(name), 1, replica::MemberState::kAlive, {}});
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
    for (const std::string& line : absl::StrSplit(shell.Out(words), '\n')) {
      if (absl::StartsWith(line, absl::StrCat("  ", name, " "))) return line;
    }
    return "";
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

}  // namespace
}  // namespace dovetail::cli
