#include "tests/sim/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tests/sim/hooks.h"
#include "tests/sim/marks.h"

namespace dovetail::sim {
namespace {

// More than so many failures are mostly the same one again.
constexpr size_t kFailuresPrintedMax = 20;

std::string OneLine(const std::string& text) {
  constexpr size_t kMax = 600;
  std::string line = absl::StrReplaceAll(text, {{"\n", " | "}});
  if (line.size() > kMax) line = absl::StrCat(line.substr(0, kMax), " …");
  return line;
}

void AddTo(std::map<std::string, uint64_t>& sum,
           const std::map<std::string, uint64_t>& more) {
  for (const auto& [name, count] : more) sum[name] += count;
}

void AddTo(ClientStats& sum, const ClientStats& more) {
  sum.operations += more.operations;
  sum.refused += more.refused;
  sum.skipped += more.skipped;
  sum.acknowledged += more.acknowledged;
  sum.failed += more.failed;
  sum.unknown += more.unknown;
  sum.reads += more.reads;
  sum.probes += more.probes;
  sum.checks += more.checks;
}

void AddTo(NetworkStats& sum, const NetworkStats& more) {
  sum.sent += more.sent;
  sum.bytes += more.bytes;
  sum.delivered += more.delivered;
  sum.lost += more.lost;
  sum.doubled += more.doubled;
  sum.late += more.late;
  sum.replayed += more.replayed;
}

// One line for each kind of fault, one column for each phase.
template <typename Counts>
std::string Table(const std::vector<std::string>& phases,
                  const Counts& counts) {
  std::string table = absl::StrFormat("  %-12s", "fault");
  for (const std::string& phase : phases) {
    absl::StrAppendFormat(&table, "%12s", phase);
  }
  table += "\n";
  for (int kind = 1; kind < kEventKinds; ++kind) {
    absl::StrAppendFormat(&table, "  %-12s",
                          EventName(static_cast<EventKind>(kind)));
    for (const uint64_t count : counts[static_cast<size_t>(kind)]) {
      absl::StrAppendFormat(&table, "%12u", count);
    }
    table += "\n";
  }
  return table;
}

std::string ListOf(const std::vector<std::string>& names) {
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

}  // namespace

Report::Report(std::string mutant) : mutant_(std::move(mutant)) {
  for (const hooks::SiteInfo& site : hooks::AllSites()) {
    if (site.kind == hooks::Kind::kMark) marks_[site.name] = 0;
    if (site.kind == hooks::Kind::kBuggify) buggified_[site.name] = 0;
  }
}

void Report::Add(const SeedResult& result) {
  const Outcome& outcome = result.outcome;
  ++seeds_;
  ++profiles_[result.profile];
  if (result.rechecked) ++rechecked_;
  core_seconds_ += result.core_seconds;
  took_.emplace_back(result.core_seconds, result.seed);
  virtual_us_ += outcome.virtual_us;
  node_seconds_ += static_cast<double>(result.nodes * outcome.virtual_us) / 1e6;
  converged_us_max_ = std::max(converged_us_max_, outcome.converged_after_us);
  turns_ += outcome.turns;
  events_ += outcome.events;
  AddTo(clients_, outcome.clients);
  AddTo(network_, outcome.network);
  for (size_t kind = 0; kind < faults_.size(); ++kind) {
    for (size_t phase = 0; phase < faults_[kind].size(); ++phase) {
      faults_[kind][phase] += outcome.faults[kind][phase];
    }
    for (size_t phase = 0; phase < transfers_[kind].size(); ++phase) {
      transfers_[kind][phase] += outcome.transfers[kind][phase];
    }
  }
  AddTo(marks_, outcome.marks);
  AddTo(buggified_, outcome.buggified);
  if (!result.failure.empty()) {
    AddFailure({result.seed, result.profile, result.failure});
  }
}

void Report::AddDeath(uint64_t seed, const std::string& profile,
                      std::string how) {
  ++seeds_;
  ++profiles_[profile];
  AddFailure({seed, profile, std::move(how)});
}

// By seed, whichever process was the quicker.
void Report::AddFailure(Failure failure) {
  const auto after = std::find_if(
      failures_.begin(), failures_.end(),
      [&](const Failure& other) { return other.seed > failure.seed; });
  failures_.insert(after, std::move(failure));
}

std::vector<std::string> Report::Zeros(const Counts& counts) {
  std::vector<std::string> names;
  for (const auto& [name, count] : counts) {
    if (count == 0) names.push_back(name);
  }
  return names;
}

std::string Report::Profile() const {
  return profiles_.size() == 1 ? profiles_.begin()->first : "mixed";
}

std::vector<std::string> Report::MissedMarks() const {
  std::vector<std::string> missed = Zeros(marks_);
  std::erase_if(missed, [this](const std::string& mark) {
    return !MustReach(mark, Profile());
  });
  return missed;
}

std::vector<std::string> Report::MarksLeftToOthers() const {
  std::vector<std::string> left = Zeros(marks_);
  std::erase_if(left, [this](const std::string& mark) {
    return MustReach(mark, Profile());
  });
  return left;
}

double Report::Speed() const {
  return core_seconds_ > 0
             ? static_cast<double>(virtual_us_) / 1e6 / core_seconds_
             : 0;
}

std::pair<double, uint64_t> Report::Took(size_t permille) const {
  std::vector<std::pair<double, uint64_t>> took = took_;
  const size_t at = std::min(took.size() - 1, took.size() * permille / 1000);
  const auto nth = took.begin() + static_cast<std::ptrdiff_t>(at);
  std::nth_element(took.begin(), nth, took.end());
  return *nth;
}

std::string Report::FaultTable() const {
  std::vector<std::string> phases;
  for (int phase = 0; phase < kPhases; ++phase) {
    phases.emplace_back(PhaseName(static_cast<Phase>(phase)));
  }
  return Table(phases, faults_);
}

std::string Report::TransferTable() const {
  std::vector<std::string> phases;
  for (int phase = 0; phase < kTransferPhases; ++phase) {
    phases.emplace_back(TransferPhaseName(static_cast<TransferPhase>(phase)));
  }
  return Table(phases, transfers_);
}

std::string Report::ToText(double wall_seconds) const {
  const std::vector<std::string> missed = MissedMarks();
  const std::vector<std::string> idle = IdleSites();
  std::string text = absl::StrFormat(
      "%u seeds (%s); %u of them three times, to see that they are determined\n"
      "%.1f cluster-hours (%.1f node-hours) in %.0f core-seconds, %.0f s of "
      "wall time: %.0f times real time per core\n",
      seeds_,
      absl::StrJoin(profiles_, ", ",
                    [](std::string* out, const auto& profile) {
                      absl::StrAppend(out, profile.first, " ", profile.second);
                    }),
      rechecked_, static_cast<double>(virtual_us_) / 3.6e9,
      node_seconds_ / 3600, core_seconds_, wall_seconds, Speed());
  if (!took_.empty()) {
    const auto [longest, seed] = Took(1000);
    absl::StrAppendFormat(&text,
                          "a seed took %.2f core-seconds at the 99th "
                          "percentile, 0x%x the most: %.2f\n",
                          Took(990).first, seed, longest);
  }
  absl::StrAppendFormat(
      &text,
      "%u operations and %u probes: %u acknowledged, %u errors, %u without an "
      "answer, %u refused, %u skipped; %u views checked\n",
      clients_.operations, clients_.probes, clients_.acknowledged,
      clients_.failed, clients_.unknown, clients_.refused, clients_.skipped,
      clients_.checks);
  absl::StrAppendFormat(
      &text,
      "%u messages (%.1f MB): %u delivered, %u lost, %u doubled, %u late, %u "
      "replayed; %u turns, %u trace events\n"
      "agreed at most %.1f s after everything had healed\n",
      network_.sent, static_cast<double>(network_.bytes) / 1e6,
      network_.delivered, network_.lost, network_.doubled, network_.late,
      network_.replayed, turns_, events_,
      static_cast<double>(converged_us_max_) / 1e6);
  absl::StrAppend(&text, "faults, by what their node was doing:\n",
                  FaultTable(),
                  "faults, by how far transfers of partitions at it were:\n",
                  TransferTable());
  const std::vector<std::string> others = MarksLeftToOthers();
  absl::StrAppendFormat(
      &text, "marks: %u of %u reached; left to others: %s; not: %s\n",
      marks_.size() - missed.size() - others.size(), marks_.size(),
      ListOf(others), ListOf(missed));
  absl::StrAppendFormat(&text, "buggify: %u of %u sites fired; not: %s\n",
                        buggified_.size() - idle.size(), buggified_.size(),
                        ListOf(idle));
  return text + Verdict();
}

std::string Report::Verdict() const {
  if (failures_.empty()) return absl::StrCat(seeds_, " seeds, 0 failed\n");
  std::string text;
  const size_t printed = std::min(failures_.size(), kFailuresPrintedMax);
  for (size_t i = 0; i < printed; ++i) {
    absl::StrAppendFormat(&text, "FAILED 0x%x: %s\n", failures_[i].seed,
                          OneLine(failures_[i].what));
  }
  absl::StrAppend(
      &text, seeds_, " seeds, ", failures_.size(), " failed; to replay",
      printed < failures_.size() ? absl::StrCat(" the first ", printed) : "",
      ":\n");
  for (size_t i = 0; i < printed; ++i) {
    absl::StrAppend(
        &text, ReplayCommand(failures_[i].seed, failures_[i].profile, mutant_),
        "\n");
  }
  return text;
}

std::string Report::ToJson(double wall_seconds) const {
  nlohmann::json json = {
      {"seeds", seeds_},
      {"profiles", profiles_},
      {"rechecked", rechecked_},
      {"cluster_hours", static_cast<double>(virtual_us_) / 3.6e9},
      {"node_hours", node_seconds_ / 3600},
      {"core_seconds", core_seconds_},
      {"wall_seconds", wall_seconds},
      {"times_real_time_per_core", Speed()},
      {"operations", clients_.operations},
      {"probes", clients_.probes},
      {"acknowledged", clients_.acknowledged},
      {"errors", clients_.failed},
      {"unanswered", clients_.unknown},
      {"views_checked", clients_.checks},
      {"messages", network_.sent},
      {"message_bytes", network_.bytes},
      {"turns", turns_},
      {"trace_events", events_},
      {"converged_seconds_max", static_cast<double>(converged_us_max_) / 1e6},
      {"marks", marks_},
      {"buggified", buggified_},
      {"failures", nlohmann::json::array()}};
  for (int kind = 1; kind < kEventKinds; ++kind) {
    for (int phase = 0; phase < kPhases; ++phase) {
      json["faults"][EventName(static_cast<EventKind>(kind))]
          [PhaseName(static_cast<Phase>(phase))] =
              faults_[static_cast<size_t>(kind)][static_cast<size_t>(phase)];
    }
    for (int phase = 0; phase < kTransferPhases; ++phase) {
      json["faults_in_transfers"][EventName(static_cast<EventKind>(kind))]
          [TransferPhaseName(static_cast<TransferPhase>(phase))] =
              transfers_[static_cast<size_t>(kind)][static_cast<size_t>(phase)];
    }
  }
  if (!took_.empty()) {
    json["seed_core_seconds_p99"] = Took(990).first;
    std::tie(json["seed_core_seconds_max"], json["heaviest_seed"]) = Took(1000);
  }
  for (const Failure& failure : failures_) {
    json["failures"].push_back(
        {{"seed", failure.seed},
         {"profile", failure.profile},
         {"what", failure.what},
         {"replay", ReplayCommand(failure.seed, failure.profile, mutant_)}});
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace dovetail::sim
