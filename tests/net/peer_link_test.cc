#include "net/peer_link.h"

#include <doctest/doctest.h>

#include <boost/asio/write.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/socket.h"
#include "tests/net/support.h"

namespace dovetail::net {
namespace {

using replica::Index;
using replica::NodeId;

constexpr uint32_t kQ = 16;

// One end: its links and everything they reported.
struct End {
  std::vector<std::string> events;  // "up 1", "down 1"
  std::vector<std::string> log;
  std::vector<std::string> deltas;  // what Replicate messages carried
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

PeerLinks::Config ConfigOf(uint32_t self, uint32_t members) {
  PeerLinks::Config config;
  config.self.cluster = "test";
  config.self.node = NodeId{self};
  config.self.members = members;
  config.self.partitions = kQ;
  config.self.incarnation = crdt::ActorId{self + 1};
  config.self.member_names = "a,b,c";
  config.self.client_address = "client-of-" + std::to_string(self);
  config.listen = {"127.0.0.1", 0};
  config.members.resize(members, {"127.0.0.1", 0});
  config.options = QuickOptions();
  return config;
}

void Open(EventLoop& loop, End& end, PeerLinks::Config config) {
  PeerLinks::Events events;
  events.on_up = [&end](NodeId peer) {
    end.events.push_back("up " + std::to_string(Index(peer)));
  };
  events.on_down = [&end](NodeId peer) {
    end.events.push_back("down " + std::to_string(Index(peer)));
  };
  events.log = [&end](absl::string_view line) {
    end.log.push_back(std::string(line));
  };
  events.on_messages = [&end](NodeId, PeerMessages messages) {
    for (auto& message : messages) {
      end.deltas.push_back(std::get<replica::Replicate>(message.body).delta);
    }
  };
  auto links = PeerLinks::Open(loop, std::move(config), std::move(events));
  REQUIRE(links.ok());
  end.links = *std::move(links);
}

// Lets a dial b and b dial a.
void Introduce(End& a, uint32_t a_id, End& b, uint32_t b_id) {
  a.links->SetEndpoint(NodeId{b_id}, b.links->endpoint());
  b.links->SetEndpoint(NodeId{a_id}, a.links->endpoint());
}

std::string Frame(const std::string& delta) {
  const replica::Message message{replica::PartitionId{3},
                                 replica::Replicate{delta}};
  const replica::Message* pointer = &message;
  auto frame = EncodeMessages({&pointer, 1});
  REQUIRE(frame.ok());
  return *std::move(frame);
}

TEST_CASE("PeerLinks: two nodes find each other, and frames keep their order") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0, 2));
  Open(loop, b, ConfigOf(1, 2));
  CHECK_FALSE(a.links->up(NodeId{1}));
  Introduce(a, 0, b, 1);
  RunUntil(loop,
           [&] { return a.links->up(NodeId{1}) && b.links->up(NodeId{0}); });
  CHECK(a.events == std::vector<std::string>{"up 1"});
  CHECK(a.links->client_address(NodeId{1}) == "client-of-1");
  for (int i = 0; i < 1000; ++i) {
    a.links->Send(NodeId{1}, Frame(std::to_string(i)));
    b.links->Send(NodeId{0}, Frame(std::to_string(-i)));
  }
  RunUntil(loop,
           [&] { return a.deltas.size() == 1000 && b.deltas.size() == 1000; });
  for (int i = 0; i < 1000; ++i) {
    CHECK(b.deltas[static_cast<size_t>(i)] == std::to_string(i));
  }
}

TEST_CASE("PeerLinks: a node that restarts is down, then up again") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0, 2));
  Open(loop, b, ConfigOf(1, 2));
  Introduce(a, 0, b, 1);
  RunUntil(loop, [&] { return a.links->up(NodeId{1}); });
  const Endpoint place = b.links->endpoint();
  b.links.reset();
  RunUntil(loop, [&] { return !a.links->up(NodeId{1}); });
  a.links->Send(NodeId{1}, Frame("nobody"));
  CHECK(a.links->stats(NodeId{1}).frames_dropped == 1);

  PeerLinks::Config again = ConfigOf(1, 2);
  again.listen = place;
  again.members[0] = a.links->endpoint();
  Open(loop, b, again);
  RunUntil(loop, [&] { return a.links->up(NodeId{1}); });
  CHECK(a.events == std::vector<std::string>{"up 1", "down 1", "up 1"});
  CHECK(a.links->stats(NodeId{1}).times_up == 2);
}

TEST_CASE("PeerLinks: members that do not fit are refused, with the reason") {
  const auto refused_for = [](absl::string_view reason,
                              const std::function<void(PeerHello&)>& change) {
    EventLoop loop;
    End a, b;
    Open(loop, a, ConfigOf(0, 2));
    PeerLinks::Config other = ConfigOf(1, 2);
    change(other.self);
    Open(loop, b, other);
    const NodeId believed{1 - Index(other.self.node)};
    b.links->SetEndpoint(believed, a.links->endpoint());
    RunUntil(loop, [&] { return a.Logged(reason) && b.Logged(reason); });
    CHECK_FALSE(a.links->up(NodeId{1}));
    CHECK_FALSE(b.links->up(believed));
  };
  refused_for("the cluster is",
              [](PeerHello& hello) { hello.cluster = "another"; });
  refused_for("number of partitions",
              [](PeerHello& hello) { hello.partitions = 2 * kQ; });
  refused_for("the members are",
              [](PeerHello& hello) { hello.member_names = "b,a,c"; });
  refused_for("the protocol is", [](PeerHello& hello) { ++hello.protocol; });
  refused_for("both ends say they are node 0",
              [](PeerHello& hello) { hello.node = NodeId{0}; });
}

TEST_CASE("PeerLinks: a link that only one side can dial is not up") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0, 2));
  Open(loop, b, ConfigOf(1, 2));
  a.links->SetEndpoint(NodeId{1}, b.links->endpoint());
  // a's frames arrive, so a is greeted; but b has no way to answer.
  RunUntil(loop, [&] {
    a.links->Send(NodeId{1}, Frame("x"));
    return !b.deltas.empty();
  });
  CHECK(a.events.empty());
  CHECK(b.events.empty());
}

TEST_CASE("PeerLinks: a peer that falls silent is down") {
  EventLoop loop;
  End a;
  Open(loop, a, ConfigOf(0, 2));
  // A peer by hand: greets on both connections, then says nothing, with both
  // connections open.
  PeerLinks::Config other = ConfigOf(1, 2);
  const std::string hello = EncodeHello(other.self);
  std::unique_ptr<Socket> accepted, dialled;
  auto listener = Listener::Open(loop, {"127.0.0.1", 0}, [&](Socket socket) {
    accepted = std::make_unique<Socket>(std::move(socket));
    boost::asio::write(*accepted, boost::asio::buffer(hello));
  });
  REQUIRE(listener.ok());
  Dial(loop, a.links->endpoint(), absl::Seconds(5),
       [&](absl::StatusOr<Socket> socket) {
         REQUIRE(socket.ok());
         dialled = std::make_unique<Socket>(*std::move(socket));
         boost::asio::write(*dialled, boost::asio::buffer(hello));
       });
  a.links->SetEndpoint(NodeId{1}, (*listener)->endpoint());
  RunUntil(loop, [&] { return a.links->up(NodeId{1}); });
  RunUntil(loop, [&] { return !a.links->up(NodeId{1}); });
  CHECK(a.Logged("down: it is silent"));
}

TEST_CASE("PeerLinks: a full queue drops frames, and reports up when drained") {
  EventLoop loop;
  End a, b;
  PeerLinks::Config small = ConfigOf(0, 2);
  small.options.queue_bytes_max = 100'000;
  Open(loop, a, small);
  Open(loop, b, ConfigOf(1, 2));
  Introduce(a, 0, b, 1);
  RunUntil(loop,
           [&] { return a.links->up(NodeId{1}) && b.links->up(NodeId{0}); });
  // All in one turn of the loop, so nothing leaves in between.
  for (int i = 0; i < 100; ++i) {
    a.links->Send(NodeId{1}, Frame(std::string(10'000, 'x')));
  }
  const PeerLinkStats stats = a.links->stats(NodeId{1});
  CHECK(stats.frames_dropped >= 90);
  CHECK(stats.frames_dropped <= 92);
  RunUntil(loop, [&] { return a.events.size() == 2; });
  CHECK(a.events == std::vector<std::string>{"up 1", "up 1"});
  RunUntil(loop, [&] { return b.deltas.size() == 100 - stats.frames_dropped; });
}

TEST_CASE("PeerLinks: strangers who send junk change nothing") {
  EventLoop loop;
  End a, b;
  Open(loop, a, ConfigOf(0, 2));
  Open(loop, b, ConfigOf(1, 2));
  Introduce(a, 0, b, 1);
  RunUntil(loop, [&] { return a.links->up(NodeId{1}); });
  for (const std::string& junk :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100, '\xff'),
        EncodeKeepalive(), Frame("not introduced"),
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
  CHECK(a.events == std::vector<std::string>{"up 1"});
  CHECK(a.deltas.empty());
}

}  // namespace
}  // namespace dovetail::net
