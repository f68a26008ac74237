#include "tests/sim/hunt.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "crdt/check.h"
#include "tests/sim/campaign.h"
#include "tests/sim/draw.h"
#include "tests/sim/hooks.h"
#include "tests/sim/seed_run.h"
#include "tests/sim/stream.h"
#include "tests/sim/task_pool.h"

namespace dovetail::sim {
namespace {

// Most mutants fall to the first seeds: small portions waste little.
constexpr uint64_t kSeedsOfAProcess = 4;
constexpr uint64_t kMutantShift = 32;

// What only one profile's faults can show is hunted by it.
std::string ProfileOfHunt(const std::string& mutant,
                          const std::string& profile) {
  static const std::map<std::string, std::string> own = {
      {"ranges: answers what is damaged", "damage"},
      {"sync: equal events are taken for equal rows", "damage"},
      {"ranges: claims all of its last source", "moving"},
      {"read: passes over one page like the other", "crowds"},
      {"sync: each summary is answered", "crowds"},
      {"sync: every nudge is an exchange", "crowds"},
  };
  if (profile == "mixed" && (absl::StartsWith(mutant, "expiry: ") ||
                             absl::StartsWith(mutant, "reaper: "))) {
    return "expiry";
  }
  const auto its = own.find(mutant);
  return profile == "mixed" && its != own.end() ? its->second : profile;
}

struct Prey {
  std::string name;
  std::string profile;
  uint64_t begun = 0;  // seeds given to processes
  uint64_t under_way = 0;
  uint64_t passes = 0;  // how often its place was reached while alive
  double core_seconds = 0;
  bool caught = false;
  uint64_t needed = 0;  // seeds until it was caught
  std::string violation;
};

class Hunt {
 public:
  explicit Hunt(const HuntSettings& settings) : settings_(settings) {
    for (const std::string& name : settings.mutants) {
      prey_.push_back({});
      prey_.back().name = name;
      prey_.back().profile = ProfileOfHunt(name, settings.profile);
    }
  }

  int Run() {
    Tasks tasks;
    tasks.next = [this] { return Next(); };
    tasks.work = [this](uint64_t task) {
      return ToText(RunSeedWith(prey_[task >> kMutantShift],
                                settings_.from + IndexOf(task)));
    };
    tasks.done = [this](uint64_t task, const TaskResult& result) {
      Done(task, result);
    };
    PoolSettings pool;
    pool.jobs = settings_.jobs;
    pool.task_seconds_max = 3 * kSeedSecondsMax;  // each run has its own limit
    RunTasks(pool, tasks);
    return Finish();
  }

 private:
  // Its failure is what the planted bug alone brings about. A seed that fails
  // without it too proves nothing: that violation is only in the outcome.
  SeedResult RunSeedWith(const Prey& prey, uint64_t seed) const {
    SeedResult result;
    result.seed = seed;
    result.profile = ProfileOf(seed, prey.profile);
    const absl::StatusOr<Plan> plan = DrawPlan(seed, result.profile);
    DOVETAIL_CHECK(plan.ok());
    RunSettings run;
    run.mutant = prey.name;
    result.outcome = RunPlanIsolated(*plan, run);
    result.failure = result.outcome.violation;
    if (!result.failure.empty() && !RunPlanIsolated(*plan).violation.empty()) {
      result.failure.clear();
    }
    rusage used{};
    DOVETAIL_CHECK(getrusage(RUSAGE_CHILDREN, &used) == 0);
    result.core_seconds = static_cast<double>(used.ru_utime.tv_sec) +
                          static_cast<double>(used.ru_utime.tv_usec) / 1e6 -
                          children_seconds_;
    children_seconds_ += result.core_seconds;
    return result;
  }

  static uint64_t IndexOf(uint64_t task) {
    return task & ((uint64_t{1} << kMutantShift) - 1);
  }

  bool IsOpen(const Prey& prey) const {
    return !prey.caught && prey.begun < settings_.seeds;
  }

  std::vector<uint64_t> Next() {
    // One that nobody hunts comes first.
    const Prey* chosen = nullptr;
    for (const Prey& prey : prey_) {
      if (!IsOpen(prey)) continue;
      if (chosen == nullptr || prey.under_way < chosen->under_way) {
        chosen = &prey;
      }
    }
    std::vector<uint64_t> tasks;
    if (chosen == nullptr) return tasks;
    const auto index = static_cast<uint64_t>(chosen - prey_.data());
    Prey& prey = prey_[index];
    while (tasks.size() < kSeedsOfAProcess && prey.begun < settings_.seeds) {
      tasks.push_back(index << kMutantShift | prey.begun++);
      ++prey.under_way;
    }
    return tasks;
  }

  void Done(uint64_t task, const TaskResult& result) {
    Prey& prey = prey_[task >> kMutantShift];
    const uint64_t index = IndexOf(task);
    --prey.under_way;
    std::string failure = result.death;
    if (failure.empty()) {
      const SeedResult its = ParseSeedResult(result.answer);
      failure = its.failure;
      const bool fails_anyway =
          failure.empty() && !its.outcome.violation.empty();
      if (fails_anyway) sick_seeds_.insert({its.seed, its.profile});
      prey.passes += its.outcome.mutant_passes;
      prey.core_seconds += its.core_seconds;
    }
    if (failure.empty() || (prey.caught && prey.needed <= index + 1)) return;
    const bool first = !prey.caught;
    prey.caught = true;
    prey.needed = index + 1;
    prey.violation = absl::StrReplaceAll(failure, {{"\n", " | "}});
    if (first) {
      std::fprintf(stderr, "caught: %s\n", prey.name.c_str());
    }
  }

  int Finish() const {
    size_t caught = 0;
    nlohmann::json json = nlohmann::json::array();
    std::string survivors;
    for (const Prey& prey : prey_) {
      caught += prey.caught ? 1 : 0;
      const uint64_t seed = settings_.from + prey.needed - 1;
      const std::string replay =
          prey.caught
              ? ReplayCommand(seed, ProfileOf(seed, prey.profile), prey.name)
              : "";
      std::printf("%-60s %s\n", prey.name.c_str(), Fate(prey).c_str());
      if (prey.caught) std::printf("    %s\n", replay.c_str());
      if (!prey.caught)
        absl::StrAppend(&survivors, "SURVIVED ", prey.name, "\n");
      json.push_back({{"mutant", prey.name},
                      {"caught", prey.caught},
                      {"seeds", prey.caught ? prey.needed : prey.begun},
                      {"passes", prey.passes},
                      {"core_seconds", prey.core_seconds},
                      {"violation", prey.violation},
                      {"replay", replay}});
    }
    for (const auto& [seed, profile] : sick_seeds_) {
      std::printf("without any planted bug, this fails too: %s\n",
                  ReplayCommand(seed, profile, "").c_str());
    }
    std::printf("%s%zu of %zu planted bugs were caught\n", survivors.c_str(),
                caught, prey_.size());
    bool good = caught == prey_.size();
    if (!settings_.json_file.empty()) {
      const auto replace = nlohmann::json::error_handler_t::replace;
      good =
          WriteFile(settings_.json_file, json.dump(2, ' ', false, replace)) &&
          good;
    }
    return good ? 0 : 1;
  }

  static std::string Fate(const Prey& prey) {
    if (prey.caught) {
      return absl::StrFormat("seed %3u, %5.1f s: %.160s", prey.needed,
                             prey.core_seconds, prey.violation);
    }
    return absl::StrFormat("SURVIVED %u seeds, %.1f s (reached %u times)",
                           prey.begun, prey.core_seconds, prey.passes);
  }

  const HuntSettings& settings_;
  std::vector<Prey> prey_;
  // Fail without a planted bug, by profile.
  std::set<std::pair<uint64_t, std::string>> sick_seeds_;
  mutable double children_seconds_ = 0;  // in a child: of its children, so far
};

}  // namespace

std::vector<std::string> Mutants() {
  std::vector<std::string> names;
  for (const hooks::SiteInfo& site : hooks::AllSites()) {
    if (site.kind == hooks::Kind::kMutant) names.push_back(site.name);
  }
  return names;
}

absl::StatusOr<std::string> MutantOf(const std::string& text) {
  std::vector<std::string> like;
  for (const std::string& name : Mutants()) {
    if (name == text) return name;
    if (absl::StrContains(name, text)) like.push_back(name);
  }
  if (like.size() == 1) return like.front();
  if (like.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "no mutant \"", text, "\" is compiled in; see --list-mutants"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" may mean: ", absl::StrJoin(like, "; ")));
}

// Planted bugs that take more than a hundred seeds, on average or now and then:
// a test that draws its bugs at random would fail on them by chance.
bool TakesMany(const std::string& mutant) {
  static const std::set<std::string> names = {
      "clock: not written",
      "durable: what came while the fsync ran",
      "map: what is nested in a field stays",
      "read: \"the same\" says nothing more",
      "read: a stand-in says not found",
      "read: passes over one page like the other",
      "register: losers are pruned",
      "session: checked against what is superseded too",
      "sync: each summary is answered",
      "sync: equal events are taken for equal rows",
      "sync: every nudge is an exchange",
      "sync: takes the word of an old ring",
      "sync: what no log has is not missed",
      "truncate: on what is not durable",
      "truncate: waits for nobody",
  };
  // Of those of pages, storms and data that moves tests/replica/planted_main.cc
  // catches most.
  return names.contains(mutant) || mutant.starts_with("ranges: ") ||
         mutant.starts_with("filling: ") || mutant.starts_with("pieces: ") ||
         mutant.starts_with("moves: ") || mutant.starts_with("expiry: ") ||
         mutant.starts_with("reaper: ");
}

absl::StatusOr<std::vector<std::string>> ChooseMutants(
    const std::vector<std::string>& texts, uint64_t seed) {
  std::vector<std::string> all = Mutants();
  if (all.empty()) {
    return absl::NotFoundError(
        "no mutants are compiled in; use dovetail-sim-mutants");
  }
  if (texts.size() == 1 && texts[0] == "all") return all;
  absl::string_view count;
  if (texts.size() == 1) count = texts[0];
  if (absl::ConsumePrefix(&count, "random:")) {
    size_t n = 0;
    if (!absl::SimpleAtoi(count, &n) || n == 0) {
      return absl::InvalidArgumentError("random:COUNT");
    }
    std::erase_if(all, TakesMany);
    Stream chance(seed, "hunt");
    std::vector<std::string> chosen;
    while (chosen.size() < n && !all.empty()) {
      const auto at =
          all.begin() + static_cast<std::ptrdiff_t>(chance.Below(all.size()));
      chosen.push_back(*at);
      all.erase(at);
    }
    return chosen;
  }
  std::vector<std::string> chosen;
  for (const std::string& text : texts) {
    absl::StatusOr<std::string> name = MutantOf(text);
    if (!name.ok()) return name.status();
    chosen.push_back(*std::move(name));
  }
  return chosen;
}

int RunHunt(const HuntSettings& settings) { return Hunt(settings).Run(); }

}  // namespace dovetail::sim
