// Shrinking with the simulator as the judge, and telling what is left.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/sim/campaign.h"
#include "tests/sim/seed_run.h"
#include "tests/sim/shrink.h"
#include "tests/sim/single.h"

namespace dovetail::sim {

int RunShrink(const Plan& plan, const ShrinkSettings& settings) {
  RunSettings run;
  run.mutant = settings.mutant;
  Outcome outcome = RunPlanIsolated(plan, run);
  if (outcome.violation.empty()) {
    std::fprintf(stderr, "dovetail-sim: this plan does not fail\n");
    return 2;
  }
  const std::string kind = KindOfViolation(outcome.violation);
  const auto begin = std::chrono::steady_clock::now();
  const bool terminal = isatty(STDERR_FILENO) != 0;
  uint64_t tries = 0;
  ShrinkTools tools;
  tools.out_of_time = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begin)
               .count() > settings.seconds;
  };
  tools.fails = [&](const Plan& candidate) {
    Outcome its = RunPlanIsolated(candidate, run);
    ++tries;
    const bool same = KindOfViolation(its.violation) == kind;
    if (same) outcome = std::move(its);
    if (terminal) {
      std::fprintf(stderr, "\r%llu tries, %zu events, %lld nodes ",
                   static_cast<unsigned long long>(tries),
                   candidate.events.size(),
                   static_cast<long long>(candidate.options.nodes));
    }
    return same;
  };
  const Plan small = Shrink(plan, tools);
  if (terminal) std::fprintf(stderr, "\r\033[K");
  const std::string text =
      absl::StrCat("# ", settings.comment, "\n# ",
                   absl::StrReplaceAll(outcome.violation, {{"\n", "\n# "}}),
                   "\n", ToText(small));
  if (!WriteFile(settings.file, text)) return 2;
  std::printf("%zu of %zu events are left after %llu tries%s:\n%s",
              small.events.size(), plan.events.size(),
              static_cast<unsigned long long>(tries),
              tools.out_of_time() ? ", when time was up" : "", text.c_str());
  const std::string draft = ScenarioDraft(small);
  if (!draft.empty()) {
    std::printf("\nAs the draft of a scenario (without the timing):\n%s",
                draft.c_str());
  }
  std::printf("\n%s --plan=%s%s\n", ProgramName().c_str(),
              settings.file.c_str(), MutantArgument(settings.mutant).c_str());
  return 1;
}

}  // namespace dovetail::sim
