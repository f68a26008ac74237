#include "tests/sim/campaign.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "tests/sim/hooks.h"
#include "tests/sim/hunt.h"
#include "tests/sim/report.h"
#include "tests/sim/task_pool.h"

namespace dovetail::sim {
namespace {

// Hands out the numbers below `count`, three at a time.
std::map<uint64_t, TaskResult> RunNumbers(
    uint64_t count, double seconds_max,
    const std::function<std::string(uint64_t)>& work) {
  std::map<uint64_t, TaskResult> results;
  uint64_t begun = 0;
  Tasks tasks;
  tasks.next = [&] {
    std::vector<uint64_t> chunk;
    while (chunk.size() < 3 && begun < count) chunk.push_back(begun++);
    return chunk;
  };
  tasks.work = work;
  tasks.done = [&](uint64_t task, const TaskResult& result) {
    CHECK_FALSE(results.contains(task));
    results[task] = result;
  };
  RunTasks({2, seconds_max}, tasks);
  return results;
}

TEST_CASE("TaskPool: every task has one answer, however long") {
  const auto results = RunNumbers(20, 30, [](uint64_t task) {
    return std::string(task * 10'000, static_cast<char>('a' + task));
  });
  REQUIRE(results.size() == 20);
  for (const auto& [task, result] : results) {
    CHECK(result.death.empty());
    CHECK(result.answer ==
          std::string(task * 10'000, static_cast<char>('a' + task)));
  }
}

TEST_CASE("TaskPool: a task that dies costs only itself, and says why") {
  const auto results = RunNumbers(12, 30, [](uint64_t task) -> std::string {
    DOVETAIL_CHECK(task != 4);
    if (task == 7) _exit(5);
    if (task == 8) _exit(0);
    return absl::StrCat("done ", task);
  });
  REQUIRE(results.size() == 12);
  for (const auto& [task, result] : results) {
    if (task != 4 && task != 7 && task != 8) {
      CHECK(result.death.empty());
      CHECK(result.answer == absl::StrCat("done ", task));
    }
  }
  CHECK(absl::StrContains(results.at(4).death, "died of signal"));
  CHECK(absl::StrContains(results.at(4).death, "task != 4"));
  CHECK(absl::StrContains(results.at(7).death, "exited with status 5"));
  CHECK(absl::StrContains(results.at(8).death, "exited before its time"));
}

TEST_CASE("TaskPool: a task that hangs is killed") {
  const auto results = RunNumbers(4, 0.3, [](uint64_t task) -> std::string {
    while (task == 1) pause();
    return "done";
  });
  REQUIRE(results.size() == 4);
  CHECK(absl::StrContains(results.at(1).death, "took longer than 0.3 s"));
  CHECK(results.at(0).answer == "done");
  CHECK(results.at(2).answer == "done");
}

TEST_CASE("Seeds: a result survives the pipe") {
  SeedSettings settings;
  settings.profile = "mixed";
  const SeedResult result = RunSeed(5, settings);
  CHECK(result.profile == ProfileOf(5, "mixed"));
  CHECK(result.outcome.events > 0);
  const SeedResult parsed = ParseSeedResult(ToText(result));
  CHECK(ToText(parsed) == ToText(result));
  CHECK(parsed.outcome.trace_hash == result.outcome.trace_hash);
  CHECK(parsed.outcome.clients.checks == result.outcome.clients.checks);
}

TEST_CASE("Seeds: the same seed leaves the same trace, another another") {
  SeedSettings settings;
  const uint64_t hash = RunSeed(11, settings).outcome.trace_hash;
  CHECK(RunSeed(11, settings).outcome.trace_hash == hash);
  CHECK(RunSeed(12, settings).outcome.trace_hash != hash);
}

TEST_CASE("Seeds: a mix has all profiles, the swarm most often") {
  std::map<std::string, int> counts;
  for (uint64_t seed = 0; seed < 1700; ++seed) {
    ++counts[ProfileOf(seed, "mixed")];
  }
  CHECK(counts.size() == 7);
  CHECK(counts["swarm"] > 650);
  CHECK(counts["swarm"] < 950);
  CHECK(counts["quiet"] > 50);
  CHECK(ProfileOf(3, "disk") == "disk");
}

TEST_CASE("Seeds: violations that differ in numbers and values are alike") {
  const auto kind = KindOfViolation;
  CHECK(kind("at 5 µs (event 7): \"n0 set read k\" at node 1, 3 µs shows {a}; "
             "the events say {}") ==
        kind("at 99 µs (event 12): \"n3 mv read x\" at node 2, 44 µs shows 7; "
             "the events say 8 (2 candidates)"));
  CHECK(kind("at 5 µs (event 7): the nodes do not converge: node 1 is down") ==
        kind("at 6 µs (event 8): the nodes do not converge: n0/p1 3 events"));
  CHECK(kind("at 5 µs (event 7): the nodes do not converge: node 1 is down") !=
        kind("at 5 µs (event 7): \"n0 set add k e1\" at node 0, 1 µs was never "
             "answered"));
  CHECK(kind("died of signal 6 (Aborted): shard.cc:17: CHECK failed: a == b") !=
        kind("died of signal 6 (Aborted): shard.cc:18: CHECK failed: c == d"));
  CHECK(kind("") != kind("took longer than 30 s"));
}

TEST_CASE("Seeds: a shell hands the name of a planted bug on as it is") {
  CHECK(MutantArgument("").empty());
  CHECK(MutantArgument("read: \"the same\"") ==
        " --mutant='read: \"the same\"'");
  CHECK(MutantArgument("another's") == " --mutant='another'\\''s'");
}

TEST_CASE("Campaign: commits begin far from one another") {
  std::set<uint64_t> starts;
  for (int i = 0; i < 100; ++i) starts.insert(SeedOf(absl::StrCat(i)));
  uint64_t last = 0;
  for (const uint64_t start : starts) {
    CHECK((last == 0 || start - last >= 1'000'000));
    last = start;
  }
  CHECK(SeedOf("a commit") == SeedOf("a commit"));
}

TEST_CASE("Report: adds up, and ends with the command that replays") {
  Report report("the bug");
  SeedResult good;
  good.seed = 1;
  good.profile = "quiet";
  good.nodes = 3;
  good.core_seconds = 0.5;
  good.outcome.virtual_us = 600'000'000;
  good.outcome.clients.operations = 10;
  good.outcome.faults[1][2] = 3;
  good.outcome.transfers[1][3] = 5;
  report.Add(good);
  CHECK(absl::StrContains(report.ToText(1), "1 seeds, 0 failed\n"));
  CHECK(report.Speed() == doctest::Approx(1200));
  report.AddDeath(9, "disk", "died of signal 6");
  SeedResult bad = good;
  bad.seed = 0x1f;
  bad.profile = "swarm";
  bad.failure = "at 3 µs: two\nlines";
  report.Add(bad);
  CHECK(report.seeds() == 3);
  REQUIRE(report.failures().size() == 2);
  CHECK(report.failures()[0].seed == 9);
  const std::string text = report.ToText(1);
  CHECK(absl::StrContains(text, "FAILED 0x1f: at 3 µs: two | lines\n"));
  CHECK(absl::StrContains(text, "3 seeds, 2 failed"));
  CHECK(absl::StrContains(text, "20 operations"));
  const std::string::size_type transfers = text.find("how far transfers");
  REQUIRE(transfers != std::string::npos);
  CHECK(absl::StrContains(
      text.substr(transfers),
      "  crash                  0           0           0          10  "));
  CHECK(absl::EndsWith(text,
                       " --seed=0x1f --profile=swarm --mutant='the bug'\n"));
  CHECK(absl::StrContains(report.ToJson(1), "\"cluster_hours\": 0.33"));
}

TEST_CASE("Report: marks that no seed reached are named") {
  Report report;
  const size_t all = report.MissedMarks().size();
  REQUIRE(all > 0);
  SeedResult result;
  result.outcome.marks[report.MissedMarks().front()] = 1;
  report.Add(result);
  CHECK(report.MissedMarks().size() == all - 1);
}

TEST_CASE("Hunt: a mutant is found by a part of its name") {
  const std::vector<std::string> all = Mutants();
  REQUIRE(!all.empty());
  CHECK(*MutantOf(all.front()) == all.front());
  CHECK_FALSE(MutantOf("no such bug").ok());
  CHECK(*ChooseMutants({"all"}, 1) == all);
  CHECK_FALSE(ChooseMutants({"no such bug"}, 1).ok());
  CHECK_FALSE(ChooseMutants({"random:x"}, 1).ok());
}

TEST_CASE("Hunt: a random choice is the same for the same seed") {
  const auto chosen = ChooseMutants({"random:4"}, 7);
  REQUIRE(chosen.ok());
  CHECK(*chosen == *ChooseMutants({"random:4"}, 7));
  CHECK(chosen->size() == std::min<size_t>(4, Mutants().size()));
  CHECK(std::set<std::string>(chosen->begin(), chosen->end()).size() ==
        chosen->size());
}

}  // namespace
}  // namespace dovetail::sim
