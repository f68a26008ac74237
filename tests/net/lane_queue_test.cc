#include "net/lane_queue.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace dovetail::net {
namespace {

using Queue = LaneQueue<std::string>;
using Kind = Queue::Kind;

bool Push(Queue& queue, Kind kind, std::string item, size_t bytes = 1) {
  return queue.TryPush(kind, item, bytes);
}
bool PushOf(Queue& queue, uint64_t source, std::string item) {
  return queue.TryPushOf(source, item, 1, 1);
}
// The inputs of a turn, one after the other.
std::string Turn(Queue& queue) {
  std::vector<std::string> turn;
  queue.Take(turn);
  std::string all;
  for (const std::string& item : turn) all += item;
  return all;
}

TEST_CASE("LaneQueue: a request does not wait for a backlog of sync") {
  Queue queue({.turn_inputs_max = 8, .sync_bytes = 100});
  for (int i = 0; i < 5; ++i) REQUIRE(Push(queue, Kind::kSync, "S", 250));
  REQUIRE(Push(queue, Kind::kRequests, "r"));
  REQUIRE(PushOf(queue, 1, "c"));
  // One piece of it in each turn, whatever it takes, so that it comes to an
  // end.
  CHECK(Turn(queue) == "rSc");
  REQUIRE(Push(queue, Kind::kRequests, "r"));
  CHECK(Turn(queue) == "rS");
  CHECK(Turn(queue) == "S");
  CHECK(queue.size() == 2);
  CHECK(queue.bytes() == 500);
  CHECK(Turn(queue) == "S");
  CHECK(Turn(queue) == "S");
  CHECK(queue.empty());
  CHECK(queue.bytes() == 0);
}

TEST_CASE("LaneQueue: small pieces of sync share a turn") {
  Queue queue({.turn_inputs_max = 8, .sync_bytes = 100});
  for (int i = 0; i < 5; ++i) REQUIRE(Push(queue, Kind::kSync, "s", 40));
  CHECK(Turn(queue) == "sss");
  CHECK(Turn(queue) == "ss");
  // Nor are there ever more inputs than a turn may have.
  for (int i = 0; i < 20; ++i) REQUIRE(Push(queue, Kind::kSync, "s", 1));
  CHECK(Turn(queue) == "ssssssss");
}

TEST_CASE("LaneQueue: nobody fills a turn alone") {
  Queue queue({.turn_inputs_max = 8, .sync_bytes = 100});
  for (int i = 0; i < 20; ++i) {
    REQUIRE(Push(queue, Kind::kRequests, "r"));
    REQUIRE(Push(queue, Kind::kSync, "s"));
    REQUIRE(PushOf(queue, 1, "c"));
  }
  CHECK(Turn(queue) == "rrrrrrsc");
  CHECK(Turn(queue) == "rrrrrrsc");
  CHECK(Turn(queue) == "rrrrrrsc");
  CHECK(Turn(queue) == "rrsssssc");
}

TEST_CASE("LaneQueue: what peers send has a limit, what this node sends none") {
  Queue queue({.inputs_max = 3, .bytes_max = 100});
  REQUIRE(Push(queue, Kind::kSync, "s"));
  REQUIRE(Push(queue, Kind::kRequests, "r"));
  std::string large = "l";
  CHECK_FALSE(queue.TryPush(Kind::kSync, large, 99));
  CHECK(large == "l");
  REQUIRE(Push(queue, Kind::kSync, "s"));
  CHECK_FALSE(Push(queue, Kind::kRequests, "r"));
  queue.Push("n", 1);
  REQUIRE(PushOf(queue, 1, "c"));
  CHECK(Turn(queue) == "rnssc");
}

}  // namespace
}  // namespace dovetail::net
