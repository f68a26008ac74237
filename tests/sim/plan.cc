#include "tests/sim/plan.h"

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace dovetail::sim {
namespace {

constexpr std::array<const char*, kEventKinds> kNames = {
    "operation",   "crash",       "restart-all", "wipe",      "restore",
    "lie",         "clone",       "backup",      "pause",     "slow",
    "clock-jump",  "cut-one-way", "cut-pair",    "isolate",   "split",
    "flap",        "clog",        "blink",       "replay",    "withhold",
    "fail-commit", "fail-sync",   "disk-full",   "slow-disk", "read-error",
    "corrupt-row", "checkpoint",  "sync-now",    "commit",    "cut-zone",
    "cut-region",  "heal-links",  "stage",       "damage"};
static_assert(static_cast<int>(EventKind::kDamage) + 1 == kEventKinds);

std::optional<TransferPhase> PhaseNamed(absl::string_view name) {
  for (int phase = 0; phase < kTransferPhases; ++phase) {
    const auto its = static_cast<TransferPhase>(phase);
    if (name == TransferPhaseName(its)) return its;
  }
  return std::nullopt;
}

std::optional<EventKind> KindOf(absl::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<EventKind>(i);
  }
  return std::nullopt;
}

absl::Status Wrong(int line, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", why));
}

// `text` is what stands behind "at ".
absl::StatusOr<PlanEvent> ParseEvent(absl::string_view text, int line) {
  PlanEvent event;
  const size_t text_at = text.find(" text=");
  if (text_at != absl::string_view::npos) {
    event.text = std::string(text.substr(text_at + 6));
    text = text.substr(0, text_at);
  }
  const std::vector<absl::string_view> words =
      absl::StrSplit(text, ' ', absl::SkipEmpty());
  if (words.size() < 2 || !absl::SimpleAtoi(words[0], &event.at_us) ||
      event.at_us < 0) {
    return Wrong(line, "at MICROSECONDS KIND …");
  }
  const std::optional<EventKind> kind = KindOf(words[1]);
  if (!kind) return Wrong(line, absl::StrCat("no event \"", words[1], "\""));
  event.kind = *kind;
  for (size_t i = 2; i < words.size(); ++i) {
    absl::string_view word = words[i];
    if (absl::ConsumePrefix(&word, "in=")) {
      event.in = PhaseNamed(word);
      if (!event.in) return Wrong(line, absl::StrCat("no phase ", word));
      continue;
    }
    int64_t number = 0;
    const size_t equals = word.find('=');
    if (equals == absl::string_view::npos ||
        !absl::SimpleAtoi(word.substr(equals + 1), &number)) {
      return Wrong(line, absl::StrCat("\"", word, "\" is not NAME=NUMBER"));
    }
    const absl::string_view name = word.substr(0, equals);
    if (name == "node" && number >= 0) {
      event.node = static_cast<uint32_t>(number);
    } else if (name == "peer" && number >= 0) {
      event.peer = static_cast<uint32_t>(number);
    } else if (name == "value") {
      event.value = number;
    } else if (name == "for" && number >= 0) {
      event.for_us = number;
    } else {
      return Wrong(line, absl::StrCat("\"", word, "\" is unknown"));
    }
  }
  return event;
}

absl::Status ParseOption(const std::vector<absl::string_view>& words, int line,
                         PlanOptions& options) {
  int64_t number = 0;
  if (words.size() != 3 || !absl::SimpleAtoi(words[2], &number)) {
    return Wrong(line, "option NAME NUMBER");
  }
  for (const OptionField& field : OptionFields()) {
    if (words[1] == field.name) {
      options.*field.member = number;
      return absl::OkStatus();
    }
  }
  return Wrong(line, absl::StrCat("no option \"", words[1], "\""));
}

}  // namespace

const std::vector<OptionField>& OptionFields() {
  using O = PlanOptions;
  static const std::vector<OptionField> fields = {
      {"nodes", &O::nodes},
      {"owners", &O::owners},
      {"ring", &O::ring},
      {"regions", &O::regions},
      {"zones", &O::zones},
      {"gossip_period_us", &O::gossip_period_us},
      {"joiners", &O::joiners},
      {"owners_far", &O::owners_far},
      {"partitions", &O::partitions},
      {"shards", &O::shards},
      {"row_cache_bytes", &O::row_cache_bytes},
      {"inline_leaves_max", &O::inline_leaves_max},
      {"inline_bytes_max", &O::inline_bytes_max},
      {"background_fsync", &O::background_fsync},
      {"fsync_period_us", &O::fsync_period_us},
      {"sync_period_min_us", &O::sync_period_min_us},
      {"sync_period_max_us", &O::sync_period_max_us},
      {"sync_chunk_bytes", &O::sync_chunk_bytes},
      {"log_bytes_max", &O::log_bytes_max},
      {"range_chunk_bytes", &O::range_chunk_bytes},
      {"transfers_at_once", &O::transfers_at_once},
      {"transfer_bytes_per_second", &O::transfer_bytes_per_second},
      {"checkpoint_deltas", &O::checkpoint_deltas},
      {"truncate_entries_per_turn", &O::truncate_entries_per_turn},
      {"read_hedge_after_us", &O::read_hedge_after_us},
      {"write_hedge_after_us", &O::write_hedge_after_us},
      {"hint_bytes_max", &O::hint_bytes_max},
      {"hint_age_max_us", &O::hint_age_max_us},
      {"newborn_patience_us", &O::newborn_patience_us},
      {"empty_rows_per_turn", &O::empty_rows_per_turn},
      {"log_age_max_us", &O::log_age_max_us},
      {"truncate_again_after_us", &O::truncate_again_after_us},
      {"scrub_rows_per_round", &O::scrub_rows_per_round},
      {"big_leaf_rows", &O::big_leaf_rows},
      {"piece_bits", &O::piece_bits},
      {"divide_rows_per_round", &O::divide_rows_per_round},
      {"expiry_grace_ms", &O::expiry_grace_ms},
      {"expiry_agreement_ms", &O::expiry_agreement_ms},
      {"strict", &O::strict},
      {"requests_in_flight_max", &O::requests_in_flight_max},
      {"turn_inputs_max", &O::turn_inputs_max},
      {"delay_min_us", &O::delay_min_us},
      {"delay_mean_us", &O::delay_mean_us},
      {"loss_permille", &O::loss_permille},
      {"duplicate_permille", &O::duplicate_permille},
      {"late_permille", &O::late_permille},
      {"detect_us", &O::detect_us},
      {"step_us", &O::step_us},
      {"commit_us", &O::commit_us},
      {"fsync_us", &O::fsync_us},
      {"drift_ppm", &O::drift_ppm},
      {"offset_ms", &O::offset_ms},
      {"buggify", &O::buggify},
      {"probe_permille", &O::probe_permille},
      {"duration_us", &O::duration_us},
      {"may_lose", &O::may_lose},
      {"core", &O::core},
  };
  return fields;
}

const char* EventName(EventKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

std::string ToText(const PlanEvent& event) {
  std::string text =
      absl::StrCat("at ", event.at_us, " ", EventName(event.kind));
  if (event.is_fault()) absl::StrAppend(&text, " node=", event.node);
  if (event.peer != 0) absl::StrAppend(&text, " peer=", event.peer);
  if (event.value != 0) absl::StrAppend(&text, " value=", event.value);
  if (event.for_us != 0) absl::StrAppend(&text, " for=", event.for_us);
  if (event.in) absl::StrAppend(&text, " in=", TransferPhaseName(*event.in));
  if (!event.text.empty()) absl::StrAppend(&text, " text=", event.text);
  return text;
}

std::string ToText(const Plan& plan) {
  std::string text = absl::StrCat("plan 1\nseed ", plan.seed, "\n");
  const PlanOptions defaults;
  for (const OptionField& field : OptionFields()) {
    const int64_t value = plan.options.*field.member;
    if (value == defaults.*field.member) continue;
    absl::StrAppend(&text, "option ", field.name, " ", value, "\n");
  }
  for (const PlanEvent& event : plan.events) {
    absl::StrAppend(&text, ToText(event), "\n");
  }
  return text;
}

absl::StatusOr<Plan> ParsePlan(absl::string_view text) {
  Plan plan;
  int number = 0;
  bool begun = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    if (absl::ConsumePrefix(&line, "at ")) {
      absl::StatusOr<PlanEvent> event = ParseEvent(line, number);
      if (!event.ok()) return event.status();
      plan.events.push_back(*std::move(event));
      continue;
    }
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.empty()) continue;
    if (words[0] == "plan") {
      if (words.size() != 2 || words[1] != "1") {
        return Wrong(number, "only \"plan 1\" is known");
      }
      begun = true;
    } else if (words[0] == "seed") {
      if (words.size() != 2 || !absl::SimpleAtoi(words[1], &plan.seed)) {
        return Wrong(number, "seed NUMBER");
      }
    } else if (words[0] == "option") {
      absl::Status parsed = ParseOption(words, number, plan.options);
      if (!parsed.ok()) return parsed;
    } else {
      return Wrong(number, absl::StrCat("\"", words[0], "\" is unknown"));
    }
  }
  if (!begun) return Wrong(number, "a plan begins with \"plan 1\"");
  std::stable_sort(
      plan.events.begin(), plan.events.end(),
      [](const PlanEvent& a, const PlanEvent& b) { return a.at_us < b.at_us; });
  return plan;
}

}  // namespace dovetail::sim
