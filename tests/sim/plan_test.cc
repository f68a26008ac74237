#include "tests/sim/plan.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/sim/draw.h"

namespace dovetail::sim {
namespace {

TEST_CASE("Plan: what is drawn, written and parsed is equal") {
  for (const std::string& profile : ProfileNames()) {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      const auto plan = DrawPlan(seed, profile);
      REQUIRE(plan.ok());
      const auto parsed = ParsePlan(ToText(*plan));
      REQUIRE(parsed.ok());
      CHECK(*parsed == *plan);
    }
  }
}

TEST_CASE("Plan: every kind of event survives its text form") {
  Plan plan;
  plan.seed = UINT64_MAX;
  for (int kind = 0; kind < kEventKinds; ++kind) {
    PlanEvent event;
    event.kind = static_cast<EventKind>(kind);
    event.at_us = kind;
    event.value = kind % 2 == 0 ? -kind : kind;
    event.for_us = 2 * kind;
    if (event.is_fault()) {
      event.node = 3;
      event.peer = static_cast<uint32_t>(kind % 3);
    } else {
      event.text = "n0 set add k \"text= and blanks\" w=1";
    }
    plan.events.push_back(event);
  }
  for (const OptionField& field : OptionFields()) {
    plan.options.*field.member += 17;
  }
  const auto parsed = ParsePlan(ToText(plan));
  REQUIRE(parsed.ok());
  CHECK(*parsed == plan);
}

TEST_CASE("Plan: lines may stand in any order, comments are no matter") {
  const auto plan = ParsePlan(
      "# found by a seed\n\nplan 1\nat 20 crash node=1 for=3\nseed 5\n"
      "at 10 backup node=1\noption nodes 2\n");
  REQUIRE(plan.ok());
  CHECK(plan->seed == 5);
  CHECK(plan->options.nodes == 2);
  REQUIRE(plan->events.size() == 2);
  CHECK(plan->events[0].kind == EventKind::kBackup);
  CHECK(plan->events[1].kind == EventKind::kCrash);
}

TEST_CASE("Plan: a line that is wrong is refused with its number") {
  for (const char* line :
       {"at", "at 5", "at -5 crash", "at 5 explode", "at 5 crash node",
        "at 5 crash node=x", "at 5 crash for=-1", "at 5 crash color=1",
        "option nodes", "option nodes many", "option colors 3", "seed",
        "seed x", "plan 2", "hello"}) {
    CAPTURE(line);
    const auto plan = ParsePlan(absl::StrCat("plan 1\n", line, "\n"));
    REQUIRE_FALSE(plan.ok());
    CHECK(plan.status().message().substr(0, 7) == "line 2:");
  }
  CHECK_FALSE(ParsePlan("seed 1\n").ok());
}

TEST_CASE("Draw: a profile has the faults that its name promises") {
  const auto kinds_of = [](const std::string& profile, auto allowed) {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      const auto plan = DrawPlan(seed, profile);
      REQUIRE(plan.ok());
      for (const PlanEvent& event : plan->events) {
        if (event.is_fault() && !allowed(event.kind)) return false;
      }
    }
    return true;
  };
  CHECK(kinds_of("quiet", [](EventKind) { return false; }));
  // The ring may change in any.
  CHECK(kinds_of("clock", [](EventKind kind) {
    return kind == EventKind::kClockJump || kind == EventKind::kCommit ||
           kind == EventKind::kStage;
  }));
  CHECK_FALSE(kinds_of(
      "swarm", [](EventKind kind) { return kind == EventKind::kClockJump; }));
  CHECK_FALSE(DrawPlan(1, "no such profile").ok());
}

TEST_CASE("Draw: a majority that is left alone is asked something") {
  int cores = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const auto plan = DrawPlan(seed, "network");
    REQUIRE(plan.ok());
    if (plan->options.core == 0) continue;
    ++cores;
    const PlanEvent& last = plan->events.back();
    CHECK_FALSE(last.is_fault());
    CHECK(last.at_us > plan->options.duration_us + kCoreSettlesUs);
  }
  CHECK(cores > 0);
}

TEST_CASE("Draw: without the loss profile somebody keeps his disk") {
  // Where logs go, an owner of every partition: nothing else fills a disk.
  int truncated = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const auto plan = DrawPlan(seed, "disk");
    REQUIRE(plan.ok());
    std::set<uint32_t> lost;
    for (const PlanEvent& event : plan->events) {
      switch (event.kind) {
        case EventKind::kWipe:
        case EventKind::kRestore:
        case EventKind::kLie:
        case EventKind::kClone:
        case EventKind::kCorruptRow:
        case EventKind::kDamage:
          lost.insert(event.node);
          break;
        default:
          break;
      }
    }
    const PlanOptions& options = plan->options;
    CHECK(static_cast<int64_t>(lost.size()) < options.nodes);
    if (lost.empty() || options.truncate_entries_per_turn == 0) continue;
    ++truncated;
    if (options.ring != 0) CHECK(lost.size() == 1);
    if (options.owners > 0) {
      CHECK(static_cast<int64_t>(lost.size()) < options.owners);
    }
  }
  CHECK(truncated > 10);
}

}  // namespace
}  // namespace dovetail::sim
