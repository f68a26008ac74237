#include "tests/sim/hooks.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

namespace dovetail::hooks {
namespace {

bool FirstSite() { return DOVETAIL_BUGGIFY("test: first"); }
bool SecondSite() { return DOVETAIL_BUGGIFY("test: second"); }
bool PlantedBug() { return DOVETAIL_MUTANT("test: a planted bug"); }
void Reached() { DOVETAIL_MARK("test: reached"); }
void ReachedElsewhere() { DOVETAIL_MARK("test: reached"); }
// NOLINTNEXTLINE: it is there to be compiled, not to be called.
[[maybe_unused]] void NeverCalled() { DOVETAIL_MARK("test: never"); }

std::vector<bool> Fires(bool (*site)(), int passes) {
  std::vector<bool> fired;
  for (int i = 0; i < passes; ++i) fired.push_back(site());
  return fired;
}

int Fired(const std::vector<bool>& passes) {
  int count = 0;
  for (const bool fired : passes) count += fired;
  return count;
}

// A seed in which both sites are active.
uint64_t BusySeed() {
  for (uint64_t seed = 1;; ++seed) {
    Run run(seed, true);
    if (Fired(Fires(FirstSite, 64)) > 0 && Fired(Fires(SecondSite, 64)) > 0) {
      return seed;
    }
  }
}

TEST_CASE("hooks: every site is listed once, reached or not") {
  std::multiset<std::string> names;
  for (const SiteInfo& site : AllSites()) names.insert(site.name);
  CHECK(names.count("test: first") == 1);
  CHECK(names.count("test: reached") == 1);  // in two places
  CHECK(names.count("test: never") == 1);
  CHECK(names.count("test: a planted bug") == 1);
}

TEST_CASE("hooks: without a run nothing fires") {
  Reached();
  CHECK_FALSE(PlantedBug());
  CHECK(Fired(Fires(FirstSite, 1000)) == 0);
}

TEST_CASE("hooks: marks are counted, and those never reached are there") {
  Run run(1, true);
  Reached();
  Reached();
  ReachedElsewhere();
  CHECK(run.marks().at("test: reached") == 3);
  CHECK(run.marks().at("test: never") == 0);
}

TEST_CASE("hooks: a quarter of the sites fires in a quarter of the passes") {
  int active = 0;
  int fired = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    Run run(seed, true);
    const int count = Fired(Fires(FirstSite, 100));
    active += count > 0;
    fired += count;
  }
  CHECK(active > 200);
  CHECK(active < 300);
  CHECK(fired > active * 23);
  CHECK(fired < active * 27);
}

TEST_CASE("hooks: the same seed fires the same passes") {
  const uint64_t seed = BusySeed();
  std::vector<bool> first;
  std::vector<bool> alone;
  {
    Run run(seed, true);
    first = Fires(FirstSite, 200);
  }
  {
    Run run(seed, true);
    // Passes of another site and of other nodes in between move nothing.
    for (int i = 0; i < 200; ++i) {
      run.SetNode(1, 7);
      Fires(FirstSite, 3);
      run.SetNode(0, 0);
      SecondSite();
      alone.push_back(FirstSite());
    }
    CHECK(run.buggified().at("test: first") > 0);
  }
  CHECK(Fired(first) > 0);
  CHECK(first == alone);
}

TEST_CASE(
    "hooks: sites, nodes, incarnations and seeds have their own streams") {
  const uint64_t seed = BusySeed();
  Run run(seed, true);
  std::set<std::vector<bool>> streams;
  streams.insert(Fires(FirstSite, 200));
  streams.insert(Fires(SecondSite, 200));
  run.SetNode(1, 0);
  streams.insert(Fires(FirstSite, 200));
  run.SetNode(0, 1);
  streams.insert(Fires(FirstSite, 200));
  CHECK(streams.size() == 4);
}

TEST_CASE("hooks: answers do not differ between builds") {
  // Written down once: a compiler that disagrees makes seeds worthless.
  std::string story;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Run run(seed, true);
    run.SetNode(2, 0x1234);
    story += static_cast<char>('0' + Fired(Fires(FirstSite, 9)));
  }
  CHECK(story == "0520500040020000100002000001100030310021");
}

TEST_CASE("hooks: buggify can be off, from the start or from then on") {
  const uint64_t seed = BusySeed();
  Run quiet(seed, false);
  CHECK(Fired(Fires(FirstSite, 1000)) == 0);
  Run busy(seed, true);
  busy.SetBuggify(false);
  CHECK(Fired(Fires(FirstSite, 1000)) == 0);
  busy.SetBuggify(true);
  CHECK(Fired(Fires(FirstSite, 1000)) > 0);
}

TEST_CASE("hooks: only the chosen mutant lives, and only in its run") {
  {
    Run healthy(1, true);
    CHECK_FALSE(PlantedBug());
    Run sick(1, false, "test: a planted bug");
    CHECK(PlantedBug());
    CHECK(sick.mutant_passes() == 1);
    CHECK(healthy.mutant_passes() == 0);
  }
  CHECK_FALSE(PlantedBug());
}

}  // namespace
}  // namespace dovetail::hooks
