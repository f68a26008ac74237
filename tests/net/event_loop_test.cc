#include "net/event_loop.h"

#include <doctest/doctest.h>
#include <kj/async.h>

#include <boost/asio/io_context.hpp>
#include <thread>
#include <vector>

namespace dovetail::net {
namespace {

TEST_CASE("EventLoop: tasks of one thread run in order, before the stop") {
  EventLoop loop;
  std::vector<int> ran;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.Post([&ran, i] { ran.push_back(i); });
    loop.Stop();
  });
  loop.Run();
  other.join();
  REQUIRE(ran.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(ran[static_cast<size_t>(i)] == i);
}

TEST_CASE("EventLoop: a stop before the run counts, and the loop runs again") {
  EventLoop loop;
  loop.Stop();
  loop.Run();
  bool ran = false;
  loop.Post([&] {
    ran = true;
    loop.Stop();
  });
  loop.Run();
  CHECK(ran);
}

TEST_CASE("EventLoop: an Asio handler fulfils a KJ promise and back") {
  EventLoop loop;
  auto paf = kj::newPromiseAndFulfiller<int>();
  int seen = 0;
  auto chain = paf.promise
                   .then([&](int value) {
                     seen = value;
                     loop.Post([&loop] { loop.Stop(); });
                   })
                   .eagerlyEvaluate(nullptr);
  loop.After(absl::Milliseconds(1), [&] { paf.fulfiller->fulfill(7); });
  loop.Run();
  CHECK(seen == 7);
}

TEST_CASE("EventLoop: KJ work without an end does not starve posted tasks") {
  EventLoop loop;
  bool stop = false;
  uint64_t rounds = 0;
  std::function<kj::Promise<void>()> spin = [&]() -> kj::Promise<void> {
    if (stop) return kj::READY_NOW;
    ++rounds;
    return kj::evalLater(spin);
  };
  auto spinning = spin().eagerlyEvaluate(nullptr);
  loop.Post([&] { loop.Post([&] { loop.Stop(); }); });
  loop.Run();
  stop = true;
  CHECK(rounds > 0);
}

// The thread sanitizer does not see the locks inside of KJ's library.
#ifndef __SANITIZE_THREAD__
TEST_CASE("EventLoop: another thread's KJ executor wakes it") {
  EventLoop loop;
  const kj::Executor& executor = kj::getCurrentThreadExecutor();
  int value = 0;
  std::thread other([&] {
    executor.executeSync([&] { value = 3; });
    loop.Stop();
  });
  loop.Run();
  other.join();
  CHECK(value == 3);
}
#endif

TEST_CASE("EventLoop: what never ran is destroyed with it") {
  auto held = std::make_shared<int>(1);
  {
    EventLoop loop;
    loop.Post([held] {});
    loop.After(absl::Hours(1), [held] {});
    CHECK(held.use_count() == 3);
  }
  CHECK(held.use_count() == 1);
}

}  // namespace
}  // namespace dovetail::net
