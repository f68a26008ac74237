#include "tests/sim/shrink.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/scenario/parser.h"
#include "tests/sim/draw.h"

namespace dovetail::sim {
namespace {

PlanEvent Operation(int64_t at_us, std::string text) {
  PlanEvent event;
  event.at_us = at_us;
  event.for_us = 2'000'000;
  event.text = std::move(text);
  return event;
}

PlanEvent Fault(int64_t at_us, EventKind kind, uint32_t node, uint32_t peer = 0,
                int64_t value = 0, int64_t for_us = 1000) {
  PlanEvent event;
  event.at_us = at_us;
  event.kind = kind;
  event.node = node;
  event.peer = peer;
  event.value = value;
  event.for_us = for_us;
  return event;
}

bool Has(const Plan& plan, EventKind kind, absl::string_view text = "") {
  return std::any_of(
      plan.events.begin(), plan.events.end(), [&](const PlanEvent& event) {
        return event.kind == kind && absl::StrContains(event.text, text);
      });
}

Plan ShrinkBy(const Plan& plan, std::function<bool(const Plan&)> fails) {
  REQUIRE(fails(plan));
  return Shrink(plan, {std::move(fails), [] { return false; }});
}

// A plan of many events of every sort.
Plan LargePlan() {
  const auto plan = DrawPlan(20, "swarm");
  REQUIRE(plan.ok());
  Plan large = *plan;
  large.options.nodes = 5;
  for (int i = 0; i < 100; ++i) {
    large.events.push_back(Operation(
        1000 * i, absl::StrCat("n", i % 5, " set add k e", i, " w=5")));
    large.events.push_back(
        Fault(1000 * i, EventKind::kPause, static_cast<uint32_t>(i % 5)));
  }
  large.events.push_back(Fault(50'500, EventKind::kCrash, 1, 0, 1000, 30'000));
  std::stable_sort(
      large.events.begin(), large.events.end(),
      [](const PlanEvent& a, const PlanEvent& b) { return a.at_us < b.at_us; });
  return large;
}

TEST_CASE("Shrink: what does not matter goes, what matters stays") {
  const Plan small = ShrinkBy(LargePlan(), [](const Plan& plan) {
    return Has(plan, EventKind::kCrash) &&
           Has(plan, EventKind::kOperation, " e77");
  });
  REQUIRE(small.events.size() == 2);
  CHECK(Has(small, EventKind::kCrash));
  CHECK(Has(small, EventKind::kOperation, "set add k e77 w=1"));
  CHECK(small.options.nodes <= 2);
  CHECK(small.options.duration_us == 77'001);
  // Everything else as it is without a wish.
  PlanOptions options;
  options.nodes = small.options.nodes;
  options.duration_us = small.options.duration_us;
  if (small.options.truncate_entries_per_turn == 0) {
    options.truncate_entries_per_turn = 0;
  }
  CHECK(small.options == options);
}

TEST_CASE("Shrink: an option that matters keeps its value") {
  Plan plan = LargePlan();
  plan.options.sync_chunk_bytes = 3;
  const Plan small = ShrinkBy(plan, [](const Plan& its) {
    return its.options.sync_chunk_bytes == 3 && its.options.nodes >= 3;
  });
  CHECK(small.events.empty());
  CHECK(small.options.sync_chunk_bytes == 3);
  CHECK(small.options.nodes == 3);
}

TEST_CASE("Shrink: a node that goes may ask for other luck") {
  Plan plan;
  plan.seed = 77;
  plan.options.nodes = 5;
  const Plan small = ShrinkBy(plan, [](const Plan& its) {
    return its.options.nodes == 5 || its.seed == 3;
  });
  CHECK(small.options.nodes == 1);
  CHECK(small.seed == 3);
}

TEST_CASE("Shrink: pairs that only fail together stay together") {
  const Plan small = ShrinkBy(LargePlan(), [](const Plan& plan) {
    return Has(plan, EventKind::kOperation, " e3 ") &&
           Has(plan, EventKind::kOperation, " e98 ");
  });
  CHECK(small.events.size() == 2);
}

TEST_CASE("Shrink: steps of a batch, elements, tokens and levels go") {
  Plan plan;
  plan.events = {Operation(10,
                           "n0 batch { set add k e1 e2 e3 ; counter add c 1 ; "
                           "mv write m v } w=3 with T4")};
  const Plan small = ShrinkBy(plan, [](const Plan& its) {
    return Has(its, EventKind::kOperation, " e2");
  });
  REQUIRE(small.events.size() == 1);
  CHECK(small.events[0].text == "n0 set add k e2 w=1");
}

TEST_CASE("Shrink: it stops when time is up, with what it has") {
  int tries = 0;
  const Plan plan = LargePlan();
  const Plan same = Shrink(plan, {[&](const Plan&) {
                                    ++tries;
                                    return false;
                                  },
                                  [&] { return tries >= 7; }});
  CHECK(tries == 7);
  CHECK(same == plan);
}

TEST_CASE("Shrink: a node goes with its faults, and quorums fit") {
  Plan plan;
  plan.options.nodes = 3;
  plan.events = {
      Operation(1, "T1 = n2 set read k r=3"),
      Operation(2, "n1 set add k x w=2"),
      Fault(3, EventKind::kCrash, 1),
      Fault(4, EventKind::kCutPair, 2, 1),
      Fault(5, EventKind::kPause, 2),
      Fault(6, EventKind::kSplit, 0, 0, 0b101),
  };
  const auto smaller = WithoutNode(plan, 1);
  REQUIRE(smaller);
  CHECK(smaller->options.nodes == 2);
  REQUIRE(smaller->events.size() == 4);
  CHECK(smaller->events[0].text == "T1 = n1 set read k r=2");
  CHECK(smaller->events[1].text == "n0 set add k x w=2");
  CHECK(smaller->events[2].kind == EventKind::kPause);
  CHECK(smaller->events[2].node == 1);
  CHECK(smaller->events[3].value == 0b11);
}

TEST_CASE("Shrink: the last node whose disk is safe stays") {
  Plan plan;
  plan.options.nodes = 2;
  plan.events = {Fault(3, EventKind::kWipe, 0)};
  CHECK_FALSE(WithoutNode(plan, 1));
  CHECK(WithoutNode(plan, 0));
  plan.options.may_lose = 1;
  CHECK(WithoutNode(plan, 1));
  plan.options.nodes = 1;
  CHECK_FALSE(WithoutNode(plan, 0));
}

TEST_CASE("Shrink: logs that must heal a lost disk are not cut") {
  Plan plan;
  plan.options.nodes = 2;
  plan.options.truncate_entries_per_turn = 0;
  plan.events = {Fault(3, EventKind::kWipe, 0)};
  const Plan small = ShrinkBy(
      plan, [](const Plan& its) { return Has(its, EventKind::kWipe); });
  CHECK(small.options.truncate_entries_per_turn == 0);
}

TEST_CASE("Draft: a small plan is a scenario that parses") {
  Plan plan;
  plan.options.nodes = 3;
  plan.events = {
      Operation(10, "n0 set add k x w=1"),
      Fault(20, EventKind::kBackup, 1),
      Fault(30, EventKind::kCutPair, 0, 1, 0, 100),
      Operation(40, "T1 = n1 set read k r=1"),
      Operation(50, "n1 set remove k x w=1 with T1"),
      Fault(60, EventKind::kRestore, 1, 0, 0, 1'000),
      Operation(70, "n1 set add k y w=1"),
      Fault(80, EventKind::kClockJump, 2, 0, -3'600'000),
      Fault(90, EventKind::kClone, 2, 0, 0, 10),
      Fault(200, EventKind::kSyncNow, 0, 2),
  };
  const std::string draft = ScenarioDraft(plan);
  CAPTURE(draft);
  scenario::ParseFailure failure;
  CHECK(scenario::ParseScript(draft, failure));
  CHECK(absl::StrContains(draft, "crash n1\nrestore n1 of-n1\n"));
  CHECK(absl::StrContains(draft, "# nobody listens: n1 set add k y"));
  CHECK(absl::StrContains(draft, "start n2\n"));
  // Not over a cut link.
  CHECK_FALSE(absl::StrContains(draft, "ship n1->n0"));
  CHECK(absl::StrContains(draft, "ship n1->n2"));
  CHECK(absl::StrContains(draft, "heal n0 n1\nsync n0 n2"));
}

TEST_CASE("Draft: what the language cannot say, or too much, is no scenario") {
  Plan plan;
  plan.events = {Fault(20, EventKind::kPause, 1)};
  CHECK(ScenarioDraft(plan).empty());
  plan.events.assign(13, Fault(20, EventKind::kCrash, 1));
  CHECK(ScenarioDraft(plan).empty());
  plan.events.resize(1);
  plan.options.nodes = 4;
  CHECK(ScenarioDraft(plan).empty());
}

}  // namespace
}  // namespace dovetail::sim
