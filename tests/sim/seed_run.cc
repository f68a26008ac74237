#include "tests/sim/seed_run.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "crdt/check.h"
#include "tests/sim/draw.h"
#include "tests/sim/stream.h"
#include "tests/sim/task_pool.h"

namespace dovetail::sim {
namespace {

using Json = nlohmann::json;

// How often each profile comes up in a mixed campaign.
const std::vector<std::pair<std::string, uint64_t>>& Weights() {
  static const std::vector<std::pair<std::string, uint64_t>> weights = {
      {"swarm", 8}, {"network", 2}, {"process", 2}, {"disk", 2},
      {"clock", 1}, {"quiet", 1},   {"loss", 1}};
  return weights;
}

struct ClientField {
  const char* name;
  uint64_t ClientStats::*member;
};
constexpr ClientField kClientFields[] = {
    {"operations", &ClientStats::operations},
    {"refused", &ClientStats::refused},
    {"skipped", &ClientStats::skipped},
    {"acknowledged", &ClientStats::acknowledged},
    {"failed", &ClientStats::failed},
    {"unknown", &ClientStats::unknown},
    {"reads", &ClientStats::reads},
    {"probes", &ClientStats::probes},
    {"checks", &ClientStats::checks},
};

struct NetworkField {
  const char* name;
  uint64_t NetworkStats::*member;
};
constexpr NetworkField kNetworkFields[] = {
    {"sent", &NetworkStats::sent},           {"bytes", &NetworkStats::bytes},
    {"delivered", &NetworkStats::delivered}, {"lost", &NetworkStats::lost},
    {"doubled", &NetworkStats::doubled},     {"late", &NetworkStats::late},
    {"replayed", &NetworkStats::replayed},
};

Json ToJson(const Outcome& outcome) {
  Json json = {{"violation", outcome.violation},
               {"hash", outcome.trace_hash},
               {"events", outcome.events},
               {"virtual_us", outcome.virtual_us},
               {"converged_us", outcome.converged_after_us},
               {"turns", outcome.turns},
               {"faults", outcome.faults},
               {"transfers", outcome.transfers},
               {"marks", outcome.marks},
               {"buggified", outcome.buggified},
               {"mutant_passes", outcome.mutant_passes}};
  for (const ClientField& field : kClientFields) {
    json["clients"][field.name] = outcome.clients.*field.member;
  }
  for (const NetworkField& field : kNetworkFields) {
    json["network"][field.name] = outcome.network.*field.member;
  }
  return json;
}

Outcome OutcomeFrom(const Json& json) {
  Outcome outcome;
  outcome.violation = json.at("violation").get<std::string>();
  outcome.trace_hash = json.at("hash").get<uint64_t>();
  outcome.events = json.at("events").get<uint64_t>();
  outcome.virtual_us = json.at("virtual_us").get<int64_t>();
  outcome.converged_after_us = json.at("converged_us").get<int64_t>();
  outcome.turns = json.at("turns").get<uint64_t>();
  outcome.faults = json.at("faults").get<decltype(outcome.faults)>();
  outcome.transfers = json.at("transfers").get<decltype(outcome.transfers)>();
  outcome.marks = json.at("marks").get<decltype(outcome.marks)>();
  outcome.buggified = json.at("buggified").get<decltype(outcome.buggified)>();
  outcome.mutant_passes = json.at("mutant_passes").get<uint64_t>();
  for (const ClientField& field : kClientFields) {
    outcome.clients.*field.member =
        json.at("clients").at(field.name).get<uint64_t>();
  }
  for (const NetworkField& field : kNetworkFields) {
    outcome.network.*field.member =
        json.at("network").at(field.name).get<uint64_t>();
  }
  return outcome;
}

// Violations may quote values, which are any bytes.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

double CoreSeconds() {
  timespec now{};
  DOVETAIL_CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec) / 1e9;
}

// The hash that a new process of this program prints for the seed; or what
// went wrong there.
std::string HashInFreshProcess(uint64_t seed, const SeedSettings& settings) {
  const std::string command = absl::StrCat(
      "'", std::filesystem::read_symlink("/proc/self/exe").string(),
      "' --hash-only --seed=", seed, " --profile=", settings.profile,
      MutantArgument(settings.mutant), " 2>&1");
  std::FILE* const output = popen(command.c_str(), "r");
  DOVETAIL_CHECK(output != nullptr);
  char buffer[4096];
  const size_t n = std::fread(buffer, 1, sizeof buffer, output);
  pclose(output);
  return std::string(absl::StripAsciiWhitespace({buffer, n}));
}

// Empty: this and two more runs left the same trace.
std::string Recheck(uint64_t seed, const SeedSettings& settings,
                    const Plan& plan, const RunSettings& run,
                    const Outcome& outcome) {
  const uint64_t again = RunPlan(plan, run).trace_hash;
  const std::string first = absl::StrFormat("%016x", outcome.trace_hash);
  if (again != outcome.trace_hash) {
    return absl::StrFormat(
        "not determined: a second run in the same process left the trace "
        "%016x, the first %s",
        again, first);
  }
  const std::string fresh = HashInFreshProcess(seed, settings);
  if (fresh == first) return "";
  return absl::StrCat("not determined: a fresh process left the trace ", fresh,
                      ", this one ", first);
}

}  // namespace

std::string ProfileOf(uint64_t seed, const std::string& profile) {
  if (profile != "mixed") return profile;
  uint64_t sum = 0;
  for (const auto& [name, weight] : Weights()) sum += weight;
  uint64_t at = Stream(seed, "profile").Below(sum);
  for (const auto& [name, weight] : Weights()) {
    if (at < weight) return name;
    at -= weight;
  }
  DOVETAIL_CHECK(false);
}

std::vector<std::string> ProfileChoices() {
  std::vector<std::string> choices = ProfileNames();
  choices.emplace_back("mixed");
  return choices;
}

SeedResult RunSeed(uint64_t seed, const SeedSettings& settings) {
  SeedResult result;
  result.seed = seed;
  result.profile = ProfileOf(seed, settings.profile);
  const double begin = CoreSeconds();
  const absl::StatusOr<Plan> plan = DrawPlan(seed, result.profile);
  DOVETAIL_CHECK(plan.ok());
  result.nodes = plan->options.nodes;
  RunSettings run;
  run.mutant = settings.mutant;
  result.outcome = RunPlan(*plan, run);
  result.core_seconds = CoreSeconds() - begin;
  result.failure = result.outcome.violation;
  if (result.failure.empty() &&
      Stream(seed, "recheck").Permille(settings.recheck_permille)) {
    result.rechecked = true;
    result.failure = Recheck(seed, settings, *plan, run, result.outcome);
  }
  return result;
}

std::string ToText(const SeedResult& result) {
  return Dump({{"seed", result.seed},
               {"profile", result.profile},
               {"failure", result.failure},
               {"nodes", result.nodes},
               {"core_seconds", result.core_seconds},
               {"rechecked", result.rechecked},
               {"outcome", ToJson(result.outcome)}});
}

SeedResult ParseSeedResult(const std::string& text) {
  const Json json = Json::parse(text);
  SeedResult result;
  result.seed = json.at("seed").get<uint64_t>();
  result.profile = json.at("profile").get<std::string>();
  result.failure = json.at("failure").get<std::string>();
  result.nodes = json.at("nodes").get<int64_t>();
  result.core_seconds = json.at("core_seconds").get<double>();
  result.rechecked = json.at("rechecked").get<bool>();
  result.outcome = OutcomeFrom(json.at("outcome"));
  return result;
}

Outcome RunPlanIsolated(const Plan& plan, const RunSettings& settings) {
  const TaskResult result = RunIsolated(
      kSeedSecondsMax, [&] { return Dump(ToJson(RunPlan(plan, settings))); });
  if (result.death.empty()) return OutcomeFrom(Json::parse(result.answer));
  Outcome outcome;
  outcome.violation = result.death;
  return outcome;
}

std::string KindOfViolation(const std::string& violation) {
  // "at 2517534 µs (event 3710): what": only what counts.
  absl::string_view text = violation;
  if (absl::StartsWith(text, "at ")) {
    const size_t colon = text.find("): ");
    if (colon != absl::string_view::npos) text.remove_prefix(colon + 3);
  }
  std::string plain;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (!quoted && c != '"') plain += c;
  }
  // Numbers, events and nodes differ between two runs that fail alike; so does
  // what a read shows.
  std::vector<absl::string_view> words;
  for (const absl::string_view word : absl::StrSplit(plain, ' ')) {
    if (word.empty() || word.find_first_of("0123456789{}") != word.npos) {
      continue;
    }
    words.push_back(word);
    if (word == "shows" || word == "converge:") break;
  }
  return absl::StrJoin(words, " ");
}

std::string ProgramName() {
  namespace fs = std::filesystem;
  const fs::path program = fs::read_symlink("/proc/self/exe");
  const fs::path near = program.lexically_relative(fs::current_path());
  return near.empty() || *near.begin() == ".." ? program.string()
                                               : near.string();
}

std::string MutantArgument(const std::string& mutant) {
  if (mutant.empty()) return "";
  // Names are sentences.
  return absl::StrCat(" --mutant='",
                      absl::StrReplaceAll(mutant, {{"'", "'\\''"}}), "'");
}

std::string ReplayCommand(uint64_t seed, const std::string& profile,
                          const std::string& mutant) {
  return absl::StrFormat("%s --seed=0x%x --profile=%s%s", ProgramName(), seed,
                         profile, MutantArgument(mutant));
}

}  // namespace dovetail::sim
