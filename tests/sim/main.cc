// dovetail-sim: the whole cluster in one process. One seed, one plan or a
// campaign of thousands; docs/testing.md shows how to work with it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/sim/campaign.h"
#include "tests/sim/draw.h"
#include "tests/sim/hunt.h"
#include "tests/sim/plan.h"
#include "tests/sim/seed_run.h"
#include "tests/sim/shrink.h"
#include "tests/sim/single.h"

namespace dovetail::sim {
namespace {

struct Arguments {
  std::string profile = "swarm";
  // One seed or plan.
  uint64_t seed = 0;
  std::string plan_file;
  std::string write_plan;
  SingleSettings single;
  bool shrink = false;
  double budget = 60;
  // Many.
  CampaignSettings campaign;
  std::string of;
  uint64_t skip = 0;
  std::vector<std::string> hunt;
  bool list_mutants = false;
};

// What was asked for, by the options that were given.
struct Asked {
  CLI::Option* seed = nullptr;
  CLI::Option* plan = nullptr;
  CLI::Option* seeds = nullptr;
  CLI::Option* time = nullptr;
  CLI::Option* from = nullptr;
  CLI::Option* of = nullptr;
  CLI::Option* profile = nullptr;
  CLI::Option* hunt = nullptr;
};

void DeclareOneRun(CLI::App& app, Arguments& args, Asked& asked) {
  app.option_defaults()->group("One run");
  asked.seed = app.add_option("--seed", args.seed, "Runs this seed");
  asked.plan = app.add_option("--plan", args.plan_file, "Runs a plan")
                   ->check(CLI::ExistingFile)
                   ->excludes(asked.seed);
  app.add_option("--write-plan", args.write_plan,
                 "Writes the plan (with --shrink: the small one)\n"
                 "instead of running it");
  app.add_flag("--trace", args.single.trace, "Prints the end of the trace");
  app.add_option("--until", args.single.until, "Stops after this event");
  app.add_option("--last", args.single.last,
                 "--trace prints so many events; 0: all")
      ->capture_default_str();
  app.add_flag("--expect-violation", args.single.expect_violation,
               "All is well if there is a violation, and only then");
  app.add_flag("--hash-only", args.single.hash_only,
               "Prints the hash of the trace and nothing else");
  app.add_flag("--shrink", args.shrink,
               "Looks for a small plan that fails alike, and writes it");
  app.add_option("--budget", args.budget, "--shrink takes so many seconds")
      ->capture_default_str();
}

void DeclareCampaign(CLI::App& app, Arguments& args, Asked& asked) {
  app.option_defaults()->group("A campaign");
  CampaignSettings& campaign = args.campaign;
  asked.seeds = app.add_option("--seeds", campaign.seeds, "Runs so many seeds");
  asked.time = app.add_option("--time", campaign.seconds,
                              "Begins no more seeds after so many seconds");
  asked.from = app.add_option("--from", campaign.from, "The first seed");
  asked.of = app.add_option("--of", args.of,
                            "Without --from: draws the first seed from this\n"
                            "text, such as a commit")
                 ->envname("DOVETAIL_SIM_OF");
  app.add_option("--skip", args.skip, "Begins so many seeds behind the first");
  app.add_option("--jobs", campaign.jobs, "Processes at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--recheck-permille", campaign.seed.recheck_permille,
                 "Of so many seeds in 1000, runs three: all the same?")
      ->check(CLI::Range(0, 1000));
  app.add_option("--json", campaign.json_file, "Writes the report");
  app.add_option("--hashes", campaign.hashes_file,
                 "Writes the hash of each seed's trace");
  app.add_flag("--marks-must-hit", campaign.marks_must_hit,
               "A mark that no seed reaches is a failure");
  app.add_flag("--brief", campaign.brief, "Prints nothing but the verdict");
}

Asked Declare(CLI::App& app, Arguments& args) {
  Asked asked;
  // So that a script may give defaults.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  asked.profile = app.add_option("--profile", args.profile,
                                 "What kinds of faults there are")
                      ->check(CLI::IsMember(ProfileChoices()))
                      ->capture_default_str();
  app.add_option("--mutant", args.single.mutant,
                 "Plants this bug (dovetail-sim-mutants); a part of\n"
                 "its name will do");
  DeclareOneRun(app, args, asked);
  DeclareCampaign(app, args, asked);
  app.option_defaults()->group("Planted bugs");
  asked.hunt =
      app.add_option("--hunt", args.hunt,
                     "Hunts planted bugs: all, random:COUNT (of --from, --of\n"
                     "or the day) or names; each with --seeds seeds")
          ->excludes(asked.seed)
          ->excludes(asked.plan)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--list-mutants", args.list_mutants,
               "Names the bugs that can be planted");
  return asked;
}

int Fail(const std::string& why) {
  std::fprintf(stderr, "dovetail-sim: %s\n", why.c_str());
  return 2;
}

absl::StatusOr<Plan> PlanOf(const Arguments& args) {
  if (args.plan_file.empty()) {
    return DrawPlan(args.seed, ProfileOf(args.seed, args.profile));
  }
  std::ifstream file(args.plan_file);
  std::ostringstream text;
  text << file.rdbuf();
  return ParsePlan(text.str());
}

int ShrinkOne(const Plan& plan, const Arguments& args) {
  ShrinkSettings settings;
  settings.seconds = args.budget;
  settings.mutant = args.single.mutant;
  const std::string seed = absl::StrFormat("seed-0x%x", args.seed);
  settings.comment = args.plan_file.empty()
                         ? absl::StrCat("Found by ", seed, " of profile ",
                                        ProfileOf(args.seed, args.profile), ".")
                         : absl::StrCat("Shrunk from ", args.plan_file, ".");
  settings.file = args.write_plan;
  if (settings.file.empty()) {
    settings.file = absl::StrCat(
        args.plan_file.empty() ? seed + ".plan" : args.plan_file, ".min");
  }
  return RunShrink(plan, settings);
}

int RunOne(const Arguments& args) {
  const absl::StatusOr<Plan> plan = PlanOf(args);
  if (!plan.ok()) {
    return Fail(absl::StrCat(args.plan_file, ": ", plan.status().message()));
  }
  if (args.shrink) return ShrinkOne(*plan, args);
  if (!args.write_plan.empty()) {
    return WriteFile(args.write_plan, ToText(*plan)) ? 0 : 2;
  }
  const std::string replay =
      args.plan_file.empty()
          ? ReplayCommand(args.seed, ProfileOf(args.seed, args.profile),
                          args.single.mutant)
          : absl::StrCat(ProgramName(), " --plan=", args.plan_file,
                         MutantArgument(args.single.mutant));
  return RunSingle(*plan, args.single, replay);
}

// Where a campaign begins; `otherwise` if nothing says where.
uint64_t FirstSeed(const Arguments& args, const Asked& asked,
                   uint64_t otherwise) {
  uint64_t first = otherwise;
  if (!asked.from->empty()) {
    first = args.campaign.from;
  } else if (!args.of.empty()) {
    first = SeedOf(args.of);
  }
  return first + args.skip;
}

int RunMany(Arguments& args, const Asked& asked) {
  CampaignSettings& campaign = args.campaign;
  if (asked.seeds->empty()) campaign.seeds = uint64_t{1} << 62;
  campaign.from = FirstSeed(args, asked, 1);
  campaign.seed.profile = args.profile;
  campaign.seed.mutant = args.single.mutant;
  return RunCampaign(campaign);
}

int RunHunt(const Arguments& args, const Asked& asked) {
  HuntSettings hunt;
  // Without a wish, others each day.
  constexpr uint64_t kSecondsPerDay = 86'400;
  const auto day = static_cast<uint64_t>(std::time(nullptr)) / kSecondsPerDay;
  hunt.from = FirstSeed(args, asked, SeedOf(absl::StrCat("day ", day)));
  absl::StatusOr<std::vector<std::string>> mutants =
      ChooseMutants(args.hunt, hunt.from);
  if (!mutants.ok()) return Fail(std::string(mutants.status().message()));
  hunt.mutants = *std::move(mutants);
  if (!asked.profile->empty()) hunt.profile = args.profile;
  if (!asked.seeds->empty()) hunt.seeds = args.campaign.seeds;
  hunt.jobs = args.campaign.jobs;
  hunt.json_file = args.campaign.json_file;
  std::printf("%zu planted bugs, seeds from 0x%llx\n", hunt.mutants.size(),
              static_cast<unsigned long long>(hunt.from));
  return sim::RunHunt(hunt);
}

int Main(int argc, char** argv) {
  CLI::App app("Simulates whole clusters under faults, and judges them.",
               "dovetail-sim");
  Arguments args;
  const Asked asked = Declare(app, args);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (args.list_mutants) {
    for (const std::string& name : Mutants()) std::printf("%s\n", name.c_str());
    return 0;
  }
  if (!args.single.mutant.empty()) {
    const absl::StatusOr<std::string> mutant = MutantOf(args.single.mutant);
    if (!mutant.ok()) return Fail(std::string(mutant.status().message()));
    args.single.mutant = *mutant;
  }
  if (!asked.hunt->empty()) return RunHunt(args, asked);
  if (!asked.seed->empty() || !asked.plan->empty()) return RunOne(args);
  if (!asked.seeds->empty() || !asked.time->empty()) {
    return RunMany(args, asked);
  }
  return Fail(
      "one of --seed, --plan, --seeds, --time and --hunt is needed; --help "
      "says more");
}

}  // namespace
}  // namespace dovetail::sim

int main(int argc, char** argv) { return dovetail::sim::Main(argc, argv); }
