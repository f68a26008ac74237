#include "net/fair_queue.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace dovetail::net {
namespace {

struct Queue : FairQueue<std::string> {
  using FairQueue::FairQueue;
  bool Push(uint64_t source, std::string item, size_t bytes = 1,
            uint64_t cost = 1) {
    return TryPush(source, item, bytes, cost);
  }
  std::string PopAll() {
    std::string all;
    while (!empty()) all += Pop();
    return all;
  }
};

TEST_CASE("FairQueue: one source comes out as it went in") {
  Queue queue(10, 100);
  for (const char* item : {"a", "b", "c"}) REQUIRE(queue.Push(1, item));
  CHECK(queue.size() == 3);
  CHECK(queue.bytes() == 3);
  CHECK(queue.PopAll() == "abc");
  CHECK(queue.bytes() == 0);
}

TEST_CASE("FairQueue: who comes late waits for one of each, not for all") {
  Queue queue(100'000, 1'000'000);
  for (int i = 0; i < 10'000; ++i) REQUIRE(queue.Push(1, "g"));
  REQUIRE(queue.Push(2, "p"));
  REQUIRE(queue.Push(3, "q"));
  std::string first;
  for (int i = 0; i < 3; ++i) first += queue.Pop();
  CHECK(first == "gpq");
  // Whatever it has had before: nobody saves up, nobody is in debt.
  for (int i = 0; i < 5'000; ++i) queue.Pop();
  REQUIRE(queue.Push(2, "p"));
  first = queue.Pop() + queue.Pop();
  CHECK(first.find('p') != std::string::npos);
}

TEST_CASE("FairQueue: a batch counts as its operations") {
  Queue queue(100, 1'000);
  for (int i = 0; i < 4; ++i) REQUIRE(queue.Push(1, "B", 1, 10));
  for (int i = 0; i < 25; ++i) REQUIRE(queue.Push(2, "s"));
  CHECK(queue.PopAll() == "BssssssssssBssssssssssBsssssB");
  // Also for one that has only one in here at a time.
  REQUIRE(queue.Push(1, "B", 1, 10));
  for (int i = 0; i < 20; ++i) REQUIRE(queue.Push(2, "s"));
  CHECK(queue.Pop() + queue.Pop() != "BB");
  REQUIRE(queue.Push(1, "B", 1, 10));
  std::string next;
  for (int i = 0; i < 5; ++i) next += queue.Pop();
  CHECK(next == "sssss");
}

TEST_CASE("FairQueue: one that takes all the room leaves some for the others") {
  Queue queue(1'000, 1'000'000);
  size_t greedy = 0;
  while (queue.Push(1, "g")) ++greedy;
  CHECK(greedy >= 850);
  CHECK(greedy < 1'000);
  size_t second = 0;
  while (queue.Push(2, "h")) ++second;
  CHECK(second >= 50);
  CHECK(queue.Push(3, "p"));
  Queue by_bytes(1'000, 1'000);
  while (by_bytes.Push(1, "g", 10)) {
  }
  CHECK(by_bytes.bytes() < 1'000);
  CHECK(by_bytes.Push(2, "p", 10));
  CHECK(!by_bytes.Push(3, "too large", 1'001));
}

TEST_CASE("FairQueue: what is refused is left as it was") {
  Queue queue(1, 10);
  REQUIRE(queue.Push(1, "a"));
  std::string item = "mine";
  CHECK(!queue.TryPush(2, item, 1, 1));
  CHECK(item == "mine");
}

TEST_CASE("FairQueue: sources that are gone are forgotten, in any number") {
  Queue queue(10, 100);
  for (uint64_t source = 0; source < 100'000; ++source) {
    REQUIRE(queue.Push(source, "x", 1, 1'000));
    queue.Pop();
  }
  CHECK(queue.sources() == 0);
  REQUIRE(queue.Push(7, "y"));
  CHECK(queue.Pop() == "y");
}

}  // namespace
}  // namespace dovetail::net
