#include "net/message_stream.h"

#include <capnp/message.h>
#include <doctest/doctest.h>
#include <kj/async.h>

#include <boost/asio/write.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/peer.capnp.h"

namespace dovetail::net {
namespace {

// A connected pair of sockets on one loop.
struct Pair {
  EventLoop loop;
  std::unique_ptr<Socket> client;
  std::unique_ptr<Socket> server;

  Pair() {
    auto listener = Listener::Open(loop, {"127.0.0.1", 0}, [&](Socket socket) {
      server = std::make_unique<Socket>(std::move(socket));
      if (client != nullptr) loop.Stop();
    });
    REQUIRE(listener.ok());
    Dial(loop, (*listener)->endpoint(), absl::Seconds(10),
         [&](absl::StatusOr<Socket> socket) {
           REQUIRE(socket.ok());
           client = std::make_unique<Socket>(*std::move(socket));
           if (server != nullptr) loop.Stop();
         });
    loop.Run();
  }
};

void FillRefused(capnp::MessageBuilder& message, const std::string& text) {
  message.initRoot<peer_wire::PeerFrame>().setRefused(text.c_str());
}

std::string ReadRefused(capnp::MessageStream& stream, kj::WaitScope& scope) {
  auto read =
      stream.tryReadMessage(ReaderOptionsFor(kClientFrameBytesMax)).wait(scope);
  KJ_IF_MAYBE (message, read) {
    return (*message)->getRoot<peer_wire::PeerFrame>().getRefused().cStr();
  }
  return "(end)";
}

// What kj throws while `stream` is read; "" if it throws nothing.
std::string ReadFailure(capnp::MessageStream& stream, kj::WaitScope& scope) {
  auto exception = kj::runCatchingExceptions([&] {
    stream.tryReadMessage(ReaderOptionsFor(kClientFrameBytesMax)).wait(scope);
  });
  KJ_IF_MAYBE (e, exception) {
    return e->getDescription().cStr();
  }
  return "";
}

TEST_CASE("SocketMessageStream: messages arrive in order, then the end") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client), {});
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  auto& scope = pair.loop.wait_scope();
  for (int i = 0; i < 300; ++i) {
    capnp::MallocMessageBuilder message;
    FillRefused(message, std::to_string(i) + std::string(1000, 'x'));
    a.writeMessage(message).wait(scope);
  }
  CHECK(a.unsent_bytes() > 300'000);
  auto ended = a.end();
  for (int i = 0; i < 300; ++i) {
    REQUIRE(ReadRefused(b, scope) ==
            std::to_string(i) + std::string(1000, 'x'));
  }
  CHECK(ReadRefused(b, scope) == "(end)");
  ended.wait(scope);
  CHECK(a.unsent_bytes() == 0);
  CHECK(a.closed().ok());
  CHECK(b.closed().ok());
}

TEST_CASE("SocketMessageStream: a message of several segments arrives") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client), {});
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  capnp::MallocMessageBuilder message(1, capnp::AllocationStrategy::FIXED_SIZE);
  auto deltas = message.initRoot<peer_wire::PeerFrame>()
                    .initMessages(1)[0]
                    .initSyncDeltas()
                    .initDeltas(10);
  for (unsigned i = 0; i < 10; ++i) {
    const std::string text = "delta " + std::to_string(i);
    deltas.set(i, kj::StringPtr(text.c_str()).asBytes());
  }
  REQUIRE(message.getSegmentsForOutput().size() > 5);
  REQUIRE(message.getSegmentsForOutput().size() <= kSegmentsMax);
  auto& scope = pair.loop.wait_scope();
  a.writeMessage(message).wait(scope);
  auto read = b.tryReadMessage(ReaderOptionsFor(kClientFrameBytesMax));
  auto result = read.wait(scope);
  KJ_IF_MAYBE (reader, result) {
    auto got = (*reader)
                   ->getRoot<peer_wire::PeerFrame>()
                   .getMessages()[0]
                   .getSyncDeltas();
    CHECK(kj::str(got.getDeltas()[9].asChars()) == "delta 9");
  } else {
    FAIL("the stream ended");
  }
}

TEST_CASE("SocketMessageStream: a frame over the limit is a clear error") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client),
                        {.frame_bytes_max = 1 << 20});
  SocketMessageStream b(pair.loop, std::move(*pair.server),
                        {.frame_bytes_max = 1000});
  auto& scope = pair.loop.wait_scope();
  capnp::MallocMessageBuilder message;
  FillRefused(message, std::string(1000, 'x'));
  a.writeMessage(message).wait(scope);
  CHECK(ReadFailure(b, scope).find("the limit is 1000") != std::string::npos);
  CHECK(b.closed().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("SocketMessageStream: a message over the limit is not sent") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client),
                        {.frame_bytes_max = 1000});
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  auto& scope = pair.loop.wait_scope();
  capnp::MallocMessageBuilder message;
  FillRefused(message, std::string(1000, 'x'));
  auto written = a.writeMessage(message);
  auto exception = kj::runCatchingExceptions([&] { written.wait(scope); });
  CHECK(exception != nullptr);
  CHECK(a.closed().code() == absl::StatusCode::kResourceExhausted);
  CHECK(ReadRefused(b, scope) == "(end)");
}

TEST_CASE("SocketMessageStream: bytes that are no frame are a clear error") {
  Pair pair;
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  boost::asio::write(*pair.client,
                     boost::asio::buffer(std::string("GET / HTTP/1.1\r\n")));
  CHECK(ReadFailure(b, pair.loop.wait_scope()).find("segments") !=
        std::string::npos);
}

TEST_CASE("SocketMessageStream: an end inside a frame is not a clean one") {
  Pair pair;
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  boost::asio::write(*pair.client,
                     boost::asio::buffer(std::string("\0\0\0\0\5\0\0", 7)));
  pair.client.reset();
  CHECK(ReadFailure(b, pair.loop.wait_scope()).find("inside a frame") !=
        std::string::npos);
}

TEST_CASE("SocketMessageStream: who never reads is cut off, not buffered for") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client),
                        {.unsent_bytes_max = 8 << 20});
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  auto& scope = pair.loop.wait_scope();
  capnp::MallocMessageBuilder message;
  FillRefused(message, std::string(1 << 20, 'x'));
  int sent = 0;
  while (a.closed().ok() && sent < 1000) {
    auto ignored =
        kj::runCatchingExceptions([&] { a.writeMessage(message).wait(scope); });
    ++sent;
  }
  CHECK(sent < 1000);
  CHECK(a.closed().code() == absl::StatusCode::kResourceExhausted);
  CHECK(a.closed().message().find("does not read") != std::string::npos);
}

TEST_CASE("SocketMessageStream: a server stops reading who does not read") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client), {});
  SocketMessageStream b(pair.loop, std::move(*pair.server),
                        {.unsent_bytes_pause = 100});
  auto& scope = pair.loop.wait_scope();
  capnp::MallocMessageBuilder message;
  FillRefused(message, std::string(1000, 'x'));
  a.writeMessage(message).wait(scope);
  b.writeMessage(message).wait(scope);
  REQUIRE(b.unsent_bytes() > 100);
  // Nothing is read before what is unsent has left; then it goes on.
  CHECK(ReadRefused(b, scope) == std::string(1000, 'x'));
  CHECK(b.unsent_bytes() == 0);
}

TEST_CASE("SocketMessageStream: closing fails the read that waits") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client), {});
  auto read = a.tryReadMessage(ReaderOptionsFor(kClientFrameBytesMax));
  pair.loop.Post([&] { a.Close(absl::UnavailableError("enough")); });
  auto& scope = pair.loop.wait_scope();
  auto exception = kj::runCatchingExceptions([&] { read.wait(scope); });
  KJ_IF_MAYBE (e, exception) {
    CHECK(e->getDescription() == "enough");
    CHECK(e->getType() == kj::Exception::Type::DISCONNECTED);
  } else {
    FAIL("the read did not fail");
  }
}

TEST_CASE("SocketMessageStream: a read given up loses no message") {
  Pair pair;
  SocketMessageStream a(pair.loop, std::move(*pair.client), {});
  SocketMessageStream b(pair.loop, std::move(*pair.server), {});
  auto& scope = pair.loop.wait_scope();
  { auto given_up = b.tryReadMessage(ReaderOptionsFor(1 << 20)); }
  capnp::MallocMessageBuilder message;
  FillRefused(message, "first");
  a.writeMessage(message).wait(scope);
  CHECK(ReadRefused(b, scope) == "first");
}

TEST_CASE("Dial: nobody listens, and the error says where") {
  EventLoop loop;
  Endpoint nowhere;
  {
    auto listener = Listener::Open(loop, {"127.0.0.1", 0}, [](Socket) {});
    REQUIRE(listener.ok());
    nowhere = (*listener)->endpoint();
    CHECK(Listener::Open(loop, nowhere, [](Socket) {}).status().code() ==
          absl::StatusCode::kUnavailable);
  }
  absl::Status status;
  Dial(loop, nowhere, absl::Seconds(10), [&](absl::StatusOr<Socket> socket) {
    status = socket.status();
    loop.Stop();
  });
  loop.Run();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(status.message().find(ToString(nowhere)) != absl::string_view::npos);
}

}  // namespace
}  // namespace dovetail::net
