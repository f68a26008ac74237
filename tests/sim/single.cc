#include "tests/sim/single.h"

#include <cstdio>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tests/sim/seed_run.h"

namespace dovetail::sim {
namespace {

std::string OptionsOf(const Plan& plan) {
  const PlanOptions defaults;
  std::vector<std::string> parts;
  for (const OptionField& field : OptionFields()) {
    const int64_t value = plan.options.*field.member;
    if (value != defaults.*field.member || field.name == std::string("nodes")) {
      parts.push_back(absl::StrCat(field.name, "=", value));
    }
  }
  return absl::StrJoin(parts, " ");
}

std::string FaultsOf(const Plan& plan) {
  std::map<std::string, int> counts;
  for (const PlanEvent& event : plan.events) {
    if (event.is_fault()) ++counts[EventName(event.kind)];
  }
  if (counts.empty()) return "none";
  return absl::StrJoin(counts, ", ", [](std::string* out, const auto& count) {
    absl::StrAppend(out, count.second, " ", count.first);
  });
}

// Where the tail of the trace begins; runs the plan to know where it ends.
uint64_t TailBegin(const Plan& plan, const SingleSettings& settings,
                   const RunSettings& run) {
  uint64_t end = settings.until;
  if (end == UINT64_MAX) {
    const Outcome outcome = RunPlanIsolated(plan, run);
    // One that died cannot say how far it came: all of it, then.
    end = outcome.events;
  }
  return settings.last == 0 || end < settings.last ? 0 : end - settings.last;
}

}  // namespace

std::string Story(const Plan& plan, const Outcome& outcome) {
  const ClientStats& clients = outcome.clients;
  const NetworkStats& network = outcome.network;
  std::string text = absl::StrFormat(
      "options: %s\nfaults: %s\n"
      "clients: %u operations and %u probes; %u acknowledged, %u errors, %u "
      "without an answer, %u refused, %u skipped; %u views checked\n"
      "network: %u messages; %u delivered, %u lost, %u doubled, %u late, %u "
      "replayed\n",
      OptionsOf(plan), FaultsOf(plan), clients.operations, clients.probes,
      clients.acknowledged, clients.failed, clients.unknown, clients.refused,
      clients.skipped, clients.checks, network.sent, network.delivered,
      network.lost, network.doubled, network.late, network.replayed);
  absl::StrAppendFormat(&text, "time: %.3f s, %u turns, %u trace events",
                        static_cast<double>(outcome.virtual_us) / 1e6,
                        outcome.turns, outcome.events);
  if (outcome.violation.empty()) {
    absl::StrAppendFormat(
        &text, "; all agreed %.3f s after everything had healed",
        static_cast<double>(outcome.converged_after_us) / 1e6);
  }
  absl::StrAppendFormat(&text, "\ntrace: %016x\n", outcome.trace_hash);
  return text;
}

int RunSingle(const Plan& plan, const SingleSettings& settings,
              const std::string& replay) {
  RunSettings run;
  run.mutant = settings.mutant;
  run.until = settings.until;
  if (settings.hash_only) {
    const Outcome outcome = RunPlan(plan, run);
    std::printf("%016llx\n",
                static_cast<unsigned long long>(outcome.trace_hash));
    return outcome.violation.empty() ? 0 : 1;
  }
  if (settings.trace) {
    run.trace_from = TailBegin(plan, settings, run);
    // In this process, so that a debugger finds it.
    const Outcome outcome = RunPlan(plan, run);
    if (settings.until != UINT64_MAX && outcome.violation.empty()) return 0;
  }
  run.trace_from = UINT64_MAX;
  const Outcome outcome = RunPlanIsolated(plan, run);
  std::printf("%s", Story(plan, outcome).c_str());
  const bool violated = !outcome.violation.empty();
  if (violated) {
    std::printf("VIOLATION: %s\n%s\n", outcome.violation.c_str(),
                replay.c_str());
  } else if (settings.expect_violation) {
    std::printf("FAILED: there should be a violation\n%s\n", replay.c_str());
  }
  return violated == settings.expect_violation ? 0 : 1;
}

}  // namespace dovetail::sim
