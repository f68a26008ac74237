#include "net/peer_link.h"

#include <doctest/doctest.h>

#include <boost/asio/write.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/compression.h"
#include "net/socket.h"
#include "replica/hash.h"
#include "tests/net/support.h"

namespace dovetail::net {
namespace {

using replica::NodeId;

constexpr uint32_t kQ = 16;

std::string NameOf(uint32_t i) {
  return std::string(1, static_cast<char>('a' + i));
}
NodeId Id(uint32_t i) { return replica::NodeIdOf("test", NameOf(i)); }

// One end: its links and everything they reported.
struct End {
  std::vector<std::string> events;  // "up b", "down b"
  std::vector<std::string> log;
  std::vector<std::string> deltas;  // what Replicate messages carried
  std::vector<std::string> gossip;
  std::vector<replica::NodeLoad> loads;
  size_t deltas_before_gossip = 0;
  std::vector<uint64_t> epochs;  // of the rings that placed them
  std::unique_ptr<PeerLinks> links;

  bool Logged(absl::string_view text) const {
    for (const std::string& line : log) {
      if (line.find(std::string(text)) != std::string::npos) return true;
    }
    return false;
  }
};

PeerLinkOptions QuickOptions() {
  PeerLinkOptions options;
  options.backoff_min = absl::Milliseconds(1);
  options.backoff_max = absl::Milliseconds(20);
  options.keepalive_period = absl::Milliseconds(20);
  options.silence_max = absl::Milliseconds(400);
  return options;
}

PeerLinks::Config ConfigOf(uint32_t self) {
  PeerLinks::Config config;
  config.self.cluster = "test";
  config.self.node = Id(self);
  config.self.name = NameOf(self);
  config.self.partitions = kQ;
  config.self.incarnation = crdt::ActorId{self + 1};
  config.self.client_address = "client-of-" + NameOf(self);
  config.listen = {"127.0.0.1", 0};
  config.options = QuickOptions();
  return config;
}

void Open(EventLoop& loop, End& end, PeerLinks::Config config) {
  PeerLinks::Events events;
  const auto name = [](NodeId peer) {
    for (uint32_t i = 0; i < 3; ++i) {
      if (Id(i) == peer) return NameOf(i);
    }
    return std::string("?");
  };
  events.on_up = [&end, name](NodeId peer) {
    end.events.push_back("up " + name(peer));
  };
  events.on_down = [&end, name](NodeId peer) {
    end.events.push_back("down " + name(peer));
  };
  events.on_gossip = [&end](NodeId, PeerGossip gossip) {
    if (end.gossip.empty()) end.deltas_before_gossip = end.deltas.size();
    end.gossip.push_back(gossip.bytes);
    return gossip.bytes == "bad" ? absl::InvalidArgumentError("bad gossip")
                                 : absl::OkStatus();
  };
  events.on_load = [&end](NodeId, replica::NodeLoad load) {
    end.loads.push_back(load);
  };
  events.log = [&end](absl::string_view line) {
    end.log.push_back(std::string(line));
  };
  events.on_messages = [&end](NodeId, PeerMessages messages) {
    end.epochs.push_back(messages.ring.epoch);
    for (auto& message : messages.messages) {
      end.deltas.push_back(std::get<replica::Replicate>(message.body).delta);
    }
  };
  auto links = PeerLinks::Open(loop, std::move(config), std::move(events));
  REQUIRE(links.ok());
  end.links = *std::move(links);
}

// Lets a dial b, which dials back.
void Introduce(End& a, End& b, uint32_t b_id) {
  a.links->AddPeer(Id(b_id), NameOf(b_id), b.links->endpoint());
}

std::string Frame(const std::string& delta) {
  const replica::Message message{replica::PartitionId{3},
                                 replica::Replicate{delta}};
  const replica::Message* pointer = &message;
  auto frame = EncodeMessages({&pointer, 1});
  REQUIRE(frame.ok());
  return *std::move(frame);
}

TEST_CASE("PeerLinks: what a node carries goes out with its keepalives") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0));
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  replica::NodeLoad load;
  load.entries = 1;
  a.links->SetLoad(load);
  RunUntil(loop, [&] { return b.loads.size() >= 2; });
  CHECK(b.loads[1] == load);
  load.entries = 2;
  a.links->SetLoad(load);
  RunUntil(loop, [&] { return b.loads.back() == load; });
  // Who has not said what it carries says nothing of it.
  CHECK(a.loads.empty());
}

TEST_CASE("PeerLinks: two nodes find each other, and frames keep their order") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0));
  Open(loop, b, ConfigOf(1));
  CHECK_FALSE(a.links->up(Id(1)));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  CHECK(a.events == std::vector<std::string>{"up b"});
  CHECK(a.links->client_address(Id(1)) == "client-of-b");
  for (int i = 0; i < 1000; ++i) {
    a.links->Send(Id(1), Frame(std::to_string(i)));
    b.links->Send(Id(0), Frame(std::to_string(-i)));
  }
  RunUntil(loop,
           [&] { return a.deltas.size() == 1000 && b.deltas.size() == 1000; });
  for (int i = 0; i < 1000; ++i) {
    CHECK(b.deltas[static_cast<size_t>(i)] == std::to_string(i));
  }
}

TEST_CASE("PeerLinks: between regions frames leave compressed, in order") {
  EventLoop loop;
  End a, b;
  auto config = ConfigOf(0);
  config.self.region = "east";
  Open(loop, a, std::move(config));
  config = ConfigOf(1);
  config.self.region = "west";
  Open(loop, b, std::move(config));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  // Together they are cut into several batches.
  const auto delta = [](int i) {
    return std::to_string(i) + "/" + std::string(5'000, 'x');
  };
  for (int i = 0; i < 1000; ++i) {
    a.links->Send(Id(1), Frame(delta(i)));
    if (i == 999) {
      auto gossip =
          EncodeGossip({replica::ClusterEnvelope::Kind::kGossip, "news"});
      REQUIRE(gossip.ok());
      a.links->SendFirst(Id(1), *std::move(gossip));
    }
  }
  RunUntil(loop,
           [&] { return b.deltas.size() == 1000 && b.gossip.size() == 1; });
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(b.deltas[static_cast<size_t>(i)] == delta(i));
  }
  const PeerLinkStats stats = a.links->stats(Id(1));
  CHECK(stats.bytes_queued > 3 * kBatchContentBytesMax);
  CHECK(stats.bytes_sent * 5 < stats.bytes_queued);
  // A link that broke begins a stream anew.
  b.links.reset();
  b.deltas.clear();
  RunUntil(loop, [&] { return !a.links->up(Id(1)); });
  config = ConfigOf(1);
  config.self.region = "west";
  Open(loop, b, std::move(config));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  a.links->Send(Id(1), Frame("again"));
  RunUntil(loop, [&] { return b.deltas.size() == 1; });
  CHECK(b.deltas[0] == "again");
}

void CheckNothingWaits(bool same_region) {
  EventLoop loop;
  End a, b;
  auto config = ConfigOf(0);
  config.self.region = "east";
  config.options.region_batch_delay = absl::InfiniteDuration();
  Open(loop, a, std::move(config));
  config = ConfigOf(1);
  config.self.region = same_region ? "east" : "west";
  config.self.expands = same_region;
  Open(loop, b, std::move(config));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  a.links->Send(Id(1), Frame("one"));
  RunUntil(loop, [&] { return b.deltas.size() == 1; });
  CHECK(a.links->stats(Id(1)).bytes_sent >= a.links->stats(Id(1)).bytes_queued);
}

TEST_CASE("PeerLinks: in one region, and to who cannot expand, nothing waits") {
  CheckNothingWaits(/*same_region=*/true);
  CheckNothingWaits(/*same_region=*/false);
}

TEST_CASE("PeerLinks: a node that restarts is down, then up again") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0));
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)); });
  const Endpoint place = b.links->endpoint();
  b.links.reset();
  RunUntil(loop, [&] { return !a.links->up(Id(1)); });
  a.links->Send(Id(1), Frame("nobody"));
  CHECK(a.links->stats(Id(1)).frames_dropped == 1);

  PeerLinks::Config again = ConfigOf(1);
  again.listen = place;
  Open(loop, b, again);
  RunUntil(loop, [&] { return a.links->up(Id(1)); });
  CHECK(a.events == std::vector<std::string>{"up b", "down b", "up b"});
  CHECK(a.links->stats(Id(1)).times_up == 2);
}

TEST_CASE("PeerLinks: members that do not fit are refused, with the reason") {
  const auto refused_for = [](absl::string_view reason,
                              const std::function<void(PeerHello&)>& change) {
    EventLoop loop;
    End a, b;
    Open(loop, a, ConfigOf(0));
    PeerLinks::Config other = ConfigOf(1);
    change(other.self);
    Open(loop, b, other);
    b.links->AddPeer(Id(2), "c", a.links->endpoint());
    RunUntil(loop, [&] { return a.Logged(reason) && b.Logged(reason); });
    CHECK_FALSE(a.links->up(Id(1)));
    CHECK_FALSE(b.links->up(Id(2)));
  };
  refused_for("the cluster is", [](PeerHello& hello) {
    hello.cluster = "another";
    hello.node = replica::NodeIdOf("another", hello.name);
  });
  refused_for("number of partitions",
              [](PeerHello& hello) { hello.partitions = 2 * kQ; });
  refused_for("the protocol is", [](PeerHello& hello) { ++hello.protocol; });
  refused_for("two nodes go by the name a", [](PeerHello& hello) {
    hello.name = "a";
    hello.node = Id(0);
  });
}

TEST_CASE(
    "PeerLinks: an id that is not that of its name is refused, once told") {
  EventLoop loop;
  End a;
  Open(loop, a, ConfigOf(0));
  PeerHello liar = ConfigOf(1).self;
  liar.node = Id(2);
  for (int i = 0; i < 3; ++i) {
    bool closed = false;
    std::unique_ptr<Socket> stranger;
    char buffer[1024];
    std::function<void()> read = [&] {
      stranger->async_read_some(
          boost::asio::buffer(buffer),
          [&](const boost::system::error_code& error, size_t) {
            if (!error) return read();
            closed = true;
          });
    };
    Dial(loop, a.links->endpoint(), absl::Seconds(5),
         [&](absl::StatusOr<Socket> socket) {
           REQUIRE(socket.ok());
           stranger = std::make_unique<Socket>(*std::move(socket));
           boost::asio::write(*stranger,
                              boost::asio::buffer(EncodeHello(liar)));
           read();
         });
    RunUntil(loop, [&] { return closed; });
  }
  CHECK(a.Logged("is not that of its name b"));
  CHECK(a.log.size() == 1);
  CHECK_FALSE(a.links->up(Id(2)));
}

TEST_CASE("PeerLinks: a node that dials itself says so") {
  EventLoop loop;
  End a;
  Open(loop, a, ConfigOf(0));
  a.links->AddPeer(Id(1), "b", a.links->endpoint());
  RunUntil(loop, [&] { return a.Logged("this is the node itself"); });
}

TEST_CASE("PeerLinks: a stranger becomes a peer; elsewhere, it is the same") {
  EventLoop loop;
  End a, b, c;
  Open(loop, a, ConfigOf(0));
  Open(loop, b, ConfigOf(1));
  b.links->AddPeer(Id(0), "a", a.links->endpoint());
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  b.links.reset();
  RunUntil(loop, [&] { return !a.links->up(Id(1)); });
  // At another port, and a does not know.
  Open(loop, c, ConfigOf(1));
  c.links->AddPeer(Id(0), "a", a.links->endpoint());
  RunUntil(loop, [&] { return a.links->up(Id(1)) && c.links->up(Id(0)); });
  CHECK(a.events == std::vector<std::string>{"up b", "down b", "up b"});
}

TEST_CASE("PeerLinks: of two nodes of one name the later is refused") {
  EventLoop loop;
  End a, b, twin;
  Open(loop, a, ConfigOf(0));
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  PeerLinks::Config other = ConfigOf(1);
  other.self.incarnation = crdt::ActorId{77};
  Open(loop, twin, other);
  twin.links->AddPeer(Id(0), "a", a.links->endpoint());
  const std::string both = "two nodes go by the name b, at " +
                           ToString(b.links->endpoint()) + " and at " +
                           ToString(twin.links->endpoint());
  RunUntil(loop, [&] { return a.Logged(both) && twin.Logged(both); });
  CHECK(a.events == std::vector<std::string>{"up b"});
  // It takes over once the other has gone.
  b.links.reset();
  RunUntil(loop, [&] { return twin.links->up(Id(0)); });
  CHECK(a.events == std::vector<std::string>{"up b", "down b", "up b"});
}

TEST_CASE("PeerLinks: gossip overtakes what waits; what is bad ends the link") {
  EventLoop loop;
  End a, b;
  PeerLinks::Config small = ConfigOf(0);
  small.options.queue_bytes_max = 100'000;
  Open(loop, a, small);
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  using Kind = replica::ClusterEnvelope::Kind;
  for (int i = 0; i < 100; ++i) {
    a.links->Send(Id(1), Frame(std::string(10'000, 'x')));
  }
  const uint64_t dropped = a.links->stats(Id(1)).frames_dropped;
  CHECK(dropped > 0);
  a.links->SendFirst(Id(1), *EncodeGossip({Kind::kGossip, "news"}));
  CHECK(a.links->stats(Id(1)).frames_dropped == dropped);
  RunUntil(loop, [&] { return !b.gossip.empty(); });
  CHECK(b.deltas_before_gossip == 0);
  CHECK(b.gossip[0] == "news");
  a.links->SendFirst(Id(1), *EncodeGossip({Kind::kConfig, "bad"}));
  RunUntil(loop, [&] { return b.Logged("down: bad gossip"); });
  RunUntil(loop, [&] { return b.links->up(Id(0)); });  // and it comes back
}

TEST_CASE("PeerLinks: a link that only one side can dial is not up") {
  EventLoop loop;
  End a, b;
  PeerLinks::Config hidden = ConfigOf(0);
  hidden.self.peer_address = "127.0.0.1:1";  // nobody is there
  Open(loop, a, hidden);
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  // a's frames arrive, so a is greeted; but b has no way to answer.
  RunUntil(loop, [&] {
    a.links->Send(Id(1), Frame("x"));
    return !b.deltas.empty();
  });
  CHECK(a.events.empty());
  CHECK(b.events.empty());
}

TEST_CASE("PeerLinks: a peer that falls silent is down") {
  EventLoop loop;
  End a;
  Open(loop, a, ConfigOf(0));
  // A peer by hand: greets on both connections, then says nothing, with both
  // connections open.
  PeerLinks::Config other = ConfigOf(1);
  std::string hello;
  std::unique_ptr<Socket> accepted, dialled;
  auto listener = Listener::Open(loop, {"127.0.0.1", 0}, [&](Socket socket) {
    accepted = std::make_unique<Socket>(std::move(socket));
    boost::asio::write(*accepted, boost::asio::buffer(hello));
  });
  REQUIRE(listener.ok());
  other.self.peer_address = ToString((*listener)->endpoint());
  hello = EncodeHello(other.self);
  Dial(loop, a.links->endpoint(), absl::Seconds(5),
       [&](absl::StatusOr<Socket> socket) {
         REQUIRE(socket.ok());
         dialled = std::make_unique<Socket>(*std::move(socket));
         boost::asio::write(*dialled, boost::asio::buffer(hello));
       });
  a.links->AddPeer(Id(1), "b", (*listener)->endpoint());
  RunUntil(loop, [&] { return a.links->up(Id(1)); });
  RunUntil(loop, [&] { return !a.links->up(Id(1)); });
  CHECK(a.Logged("down: it is silent"));
}

TEST_CASE("PeerLinks: a full queue drops frames, and reports up when drained") {
  EventLoop loop;
  End a, b;
  PeerLinks::Config small = ConfigOf(0);
  small.options.queue_bytes_max = 100'000;
  Open(loop, a, small);
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)) && b.links->up(Id(0)); });
  // All in one turn of the loop, so nothing leaves in between.
  for (int i = 0; i < 100; ++i) {
    a.links->Send(Id(1), Frame(std::string(10'000, 'x')));
  }
  const PeerLinkStats stats = a.links->stats(Id(1));
  CHECK(stats.frames_dropped >= 90);
  CHECK(stats.frames_dropped <= 92);
  RunUntil(loop, [&] { return a.events.size() == 2; });
  CHECK(a.events == std::vector<std::string>{"up b", "up b"});
  RunUntil(loop, [&] { return b.deltas.size() == 100 - stats.frames_dropped; });
}

TEST_CASE("PeerLinks: strangers who send junk change nothing") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0));
  Open(loop, b, ConfigOf(1));
  Introduce(a, b, 1);
  RunUntil(loop, [&] { return a.links->up(Id(1)); });
  for (const std::string& junk :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100, '\xff'),
        EncodeKeepalive({}), Frame("not introduced"),
        std::string("\0\0\0\0\0\0\1\0", 8)}) {
    bool closed = false;
    std::unique_ptr<Socket> stranger;
    char byte = 0;
    Dial(loop, a.links->endpoint(), absl::Seconds(5),
         [&](absl::StatusOr<Socket> socket) {
           REQUIRE(socket.ok());
           stranger = std::make_unique<Socket>(*std::move(socket));
           boost::asio::write(*stranger, boost::asio::buffer(junk));
           stranger->async_read_some(
               boost::asio::buffer(&byte, 1),
               [&](const boost::system::error_code& error, size_t) {
                 closed = static_cast<bool>(error);
               });
         });
    RunUntil(loop, [&] { return closed; });
  }
  CHECK(a.events == std::vector<std::string>{"up b"});
  CHECK(a.deltas.empty());
}

}  // namespace
}  // namespace dovetail::net
