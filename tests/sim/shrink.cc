#include "tests/sim/shrink.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/sim/disk_faults.h"

namespace dovetail::sim {
namespace {

constexpr uint64_t kOtherSeeds = 20;

using Words = std::vector<std::string>;

bool HasTakenDisks(const Plan& plan) {
  return std::any_of(
      plan.events.begin(), plan.events.end(),
      [](const PlanEvent& event) { return LosesRows(event.kind); });
}

// The word that names the coordinator: "n0", or behind "T1 =".
size_t CoordinatorAt(const Words& words) {
  return words.size() > 2 && words[1] == "=" ? 2 : 0;
}

uint32_t Renumbered(uint32_t node, uint32_t gone) {
  return node > gone ? node - 1 : node;
}

// The operation without the node `gone` of `nodes`.
std::string TextWithout(const std::string& text, uint32_t gone, int64_t nodes) {
  Words words = absl::StrSplit(text, ' ');
  std::string& who = words[CoordinatorAt(words)];
  uint32_t coordinator = 0;
  if (who.empty() || who[0] != 'n' ||
      !absl::SimpleAtoi(who.substr(1), &coordinator)) {
    return text;
  }
  const uint32_t heir = coordinator == gone ? (gone == 0 ? 0 : gone - 1)
                                            : Renumbered(coordinator, gone);
  who = absl::StrCat("n", heir);
  for (std::string& word : words) {
    for (const char* level : {"w=", "r="}) {
      absl::string_view number = word;
      int64_t quorum = 0;
      if (absl::ConsumePrefix(&number, level) &&
          absl::SimpleAtoi(number, &quorum) && quorum > nodes - 1) {
        word = absl::StrCat(level, nodes - 1);
      }
    }
  }
  return absl::StrJoin(words, " ");
}

uint64_t MaskWithout(uint64_t mask, uint32_t gone) {
  const uint64_t low = (uint64_t{1} << gone) - 1;
  return (mask & low) | ((mask >> 1) & ~low);
}

// Sentences that say less than `text`, each by one thing.
std::vector<std::string> Simpler(const std::string& text) {
  std::vector<std::string> simpler;
  const auto say = [&](const Words& words) {
    simpler.push_back(absl::StrJoin(words, " "));
  };
  const Words words = absl::StrSplit(text, ' ');
  const auto without = [&](size_t from, size_t to) {
    Words rest(words.begin(),
               words.begin() + static_cast<std::ptrdiff_t>(from));
    rest.insert(rest.end(), words.begin() + static_cast<std::ptrdiff_t>(to),
                words.end());
    say(rest);
  };
  // Steps of a batch: { a ; b ; c }.
  const auto open = std::find(words.begin(), words.end(), "{");
  const auto close = std::find(words.begin(), words.end(), "}");
  if (open != words.end() && close != words.end()) {
    const auto at = [&](auto it) {
      return static_cast<size_t>(it - words.begin());
    };
    size_t begin = at(open) + 1;
    for (size_t i = begin; i <= at(close); ++i) {
      if (words[i] != ";" && i != at(close)) continue;
      const bool last = i == at(close);
      if (last && begin == at(open) + 1) {
        // The only step needs no batch.
        Words alone(words.begin(), open);
        alone.pop_back();
        alone.insert(alone.end(), open + 1, close);
        alone.insert(alone.end(), close + 1, words.end());
        say(alone);
      } else {
        without(last ? begin - 1 : begin, last ? i : i + 1);
      }
      begin = i + 1;
    }
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool element = word.size() > 1 && word[0] == 'e' &&
                         word.find_first_not_of("0123456789", 1) == word.npos;
    if (element) without(i, i + 1);
    if (word == "with") without(i, std::min(i + 2, words.size()));
    if ((absl::StartsWith(word, "w=") || absl::StartsWith(word, "r=")) &&
        word.substr(2) != "1") {
      Words weaker = words;
      weaker[i] = absl::StrCat(word.substr(0, 2), "1");
      say(weaker);
    }
  }
  return simpler;
}

class Shrinker {
 public:
  Shrinker(Plan plan, const ShrinkTools& tools)
      : plan_(std::move(plan)), tools_(tools) {}

  Plan Run() {
    Plan before;
    do {
      before = plan_;
      DropEvents([](const PlanEvent& event) { return event.is_fault(); });
      DropEvents([](const PlanEvent& event) { return !event.is_fault(); });
      DropNodes();
      ResetOptions();
      ShortenTime();
      SimplifyEvents();
    } while (!(plan_ == before) && !tools_.out_of_time());
    return std::move(plan_);
  }

 private:
  // Keeps the candidate if it fails too.
  bool Try(Plan candidate) {
    if (candidate == plan_ || tools_.out_of_time()) return false;
    if (!tools_.fails(candidate)) return false;
    plan_ = std::move(candidate);
    return true;
  }

  template <class Chosen>
  void DropEvents(const Chosen& chosen) {
    const auto count = static_cast<size_t>(
        std::count_if(plan_.events.begin(), plan_.events.end(), chosen));
    for (size_t chunk = count; chunk > 0; chunk /= 2) {
      // From the end: what comes after the failure goes first.
      std::vector<size_t> left = Indices(chosen);
      size_t end = left.size();
      while (end > 0) {
        const size_t begin = end > chunk ? end - chunk : 0;
        Plan candidate = plan_;
        for (size_t i = end; i-- > begin;) {
          candidate.events.erase(candidate.events.begin() +
                                 static_cast<std::ptrdiff_t>(left[i]));
        }
        // What stands before the chunk keeps its indices.
        Try(std::move(candidate));
        end = begin;
      }
    }
  }

  template <class Chosen>
  std::vector<size_t> Indices(const Chosen& chosen) const {
    std::vector<size_t> indices;
    for (size_t i = 0; i < plan_.events.size(); ++i) {
      if (chosen(plan_.events[i])) indices.push_back(i);
    }
    return indices;
  }

  void DropNodes() {
    for (auto node = static_cast<uint32_t>(plan_.options.nodes); node-- > 0;) {
      std::optional<Plan> candidate = WithoutNode(plan_, node);
      if (!candidate || Try(*candidate)) continue;
      // The links that are left have other delays now: other luck may do.
      for (candidate->seed = 1; candidate->seed <= kOtherSeeds;
           ++candidate->seed) {
        if (Try(*candidate)) break;
      }
    }
  }

  bool MayReset(const OptionField& field) const {
    // Their meaning is not one of size, and time has its own step.
    for (const char* name : {"nodes", "may_lose", "duration_us"}) {
      if (std::strcmp(field.name, name) == 0) return false;
    }
    // A disk that was taken is healed from logs, which must be there then.
    return field.member != &PlanOptions::truncate_entries_per_turn ||
           !HasTakenDisks(plan_);
  }

  void ResetOptions() {
    const PlanOptions defaults;
    Plan all = plan_;
    for (const OptionField& field : OptionFields()) {
      if (MayReset(field)) {
        all.options.*field.member = defaults.*field.member;
      }
    }
    if (Try(std::move(all))) return;
    for (const OptionField& field : OptionFields()) {
      if (!MayReset(field)) continue;
      Plan candidate = plan_;
      candidate.options.*field.member = defaults.*field.member;
      Try(std::move(candidate));
    }
  }

  void ShortenTime() {
    const int64_t last = plan_.events.empty() ? 0 : plan_.events.back().at_us;
    for (const int64_t more : {0, 1'000, 100'000, 1'000'000}) {
      Plan candidate = plan_;
      candidate.options.duration_us = last + more + 1;
      if (candidate.options.duration_us >= plan_.options.duration_us) return;
      if (Try(std::move(candidate))) return;
    }
  }

  void SimplifyEvents() {
    for (size_t i = 0; i < plan_.events.size(); ++i) {
      const EventKind kind = plan_.events[i].kind;
      if (kind == EventKind::kOperation) {
        Plan waits = plan_;
        waits.events[i].for_us = 2'000'000;
        Try(std::move(waits));
        SimplifyText(i);
      }
      if (kind == EventKind::kOperation || kind == EventKind::kCrash ||
          kind == EventKind::kRestartAll) {
        Plan plain = plan_;
        plain.events[i].value = 0;
        Try(std::move(plain));
      }
    }
  }

  void SimplifyText(size_t i) {
    bool simpler = true;
    while (simpler) {
      simpler = false;
      for (std::string& text : Simpler(plan_.events[i].text)) {
        Plan candidate = plan_;
        candidate.events[i].text = std::move(text);
        simpler = Try(std::move(candidate));
        if (simpler) break;
      }
    }
  }

  Plan plan_;
  const ShrinkTools& tools_;
};

}  // namespace

Plan Shrink(Plan plan, const ShrinkTools& tools) {
  return Shrinker(std::move(plan), tools).Run();
}

std::optional<Plan> WithoutNode(const Plan& plan, uint32_t node) {
  const int64_t nodes = plan.options.nodes;
  if (nodes < 2) return std::nullopt;
  Plan smaller = plan;
  smaller.options.nodes = nodes - 1;
  smaller.events.clear();
  std::vector<bool> frail(static_cast<size_t>(nodes - 1));
  for (PlanEvent event : plan.events) {
    if (event.kind == EventKind::kOperation) {
      event.text = TextWithout(event.text, node, nodes);
      smaller.events.push_back(std::move(event));
      continue;
    }
    if (event.node == node || event.peer == node) continue;
    event.node = Renumbered(event.node, node);
    event.peer = Renumbered(event.peer, node);
    if (event.kind == EventKind::kSplit) {
      event.value = static_cast<int64_t>(
          MaskWithout(static_cast<uint64_t>(event.value), node));
    }
    if (LosesRows(event.kind) && event.node < frail.size()) {
      frail[event.node] = true;
    }
    smaller.events.push_back(std::move(event));
  }
  const bool safe = plan.options.may_lose != 0 || !HasTakenDisks(plan) ||
                    std::find(frail.begin(), frail.end(), false) != frail.end();
  return safe ? std::optional<Plan>(std::move(smaller)) : std::nullopt;
}

}  // namespace dovetail::sim
