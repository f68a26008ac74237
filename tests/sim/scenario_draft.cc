// A small plan as a scenario. A plan says when, a scenario what came first:
// here deltas arrive at once unless something in the plan keeps them, and what
// lasts ends before the first event after its end.
#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/shrink.h"

namespace dovetail::sim {
namespace {

constexpr int64_t kNodesMax = 3;
constexpr size_t kEventsMax = 12;

class Draft {
 public:
  explicit Draft(const Plan& plan)
      : plan_(plan), nodes_(static_cast<uint32_t>(plan.options.nodes)) {}

  // Empty: the language lacks the words.
  std::string Write() {
    text_ = "nodes";
    for (uint32_t node = 0; node < nodes_; ++node) {
      absl::StrAppend(&text_, " n", node);
    }
    absl::StrAppend(&text_, "\npartitions ", plan_.options.partitions, "\n");
    for (const PlanEvent& event : plan_.events) {
      EndWhatEnds(event.at_us);
      if (!Say(event)) return "";
    }
    EndWhatEnds(INT64_MAX);
    absl::StrAppend(&text_, "heal all\nsync all\nexpect identical\n");
    return text_;
  }

 private:
  template <class... Parts>
  void Line(const Parts&... parts) {
    absl::StrAppend(&text_, parts..., "\n");
  }

  // `line` stands before the first event at or after that time.
  void Later(int64_t at_us, std::string line, uint32_t started = UINT32_MAX) {
    ends_.emplace(at_us, std::make_pair(std::move(line), started));
  }

  void EndWhatEnds(int64_t now_us) {
    while (!ends_.empty() && ends_.begin()->first <= now_us) {
      Line(ends_.begin()->second.first);
      down_.erase(ends_.begin()->second.second);
      ends_.erase(ends_.begin());
    }
  }

  void Operate(const PlanEvent& event) {
    size_t at = event.text.find(" = n");
    at = at == std::string::npos ? 0 : at + 3;
    const auto node = static_cast<uint32_t>(event.text[at + 1] - '0');
    if (down_.contains(node)) return Line("# nobody listens: ", event.text);
    Line(event.text);
    if (event.text.find(" read ") != std::string::npos) return;
    for (uint32_t peer = 0; peer < nodes_; ++peer) {
      if (peer == node || down_.contains(peer)) continue;
      if (cut_until_us_[{node, peer}] > event.at_us) continue;
      Line(IsWithheld(event, peer) ? "drop n" : "ship n", node, "->n", peer);
    }
  }

  bool IsWithheld(const PlanEvent& event, uint32_t peer) {
    for (const PlanEvent& other : plan_.events) {
      if (other.kind == EventKind::kWithhold && other.peer == peer &&
          other.value <= event.at_us && !withheld_.contains(&other)) {
        withheld_.insert(&other);
        return true;
      }
    }
    return false;
  }

  void Restart(const PlanEvent& event, const std::string& crash,
               const std::string& then) {
    if (down_.contains(event.node)) return Line("# already down");
    Line(crash);
    if (!then.empty()) Line(then);
    down_.insert(event.node);
    Later(event.at_us + event.for_us, absl::StrCat("start n", event.node),
          event.node);
  }

  void Cut(uint32_t from, uint32_t to, bool both, const PlanEvent& event) {
    const std::string link = both ? absl::StrCat("n", from, " n", to)
                                  : absl::StrCat("n", from, "->n", to);
    Line("cut ", link);
    int64_t& until = cut_until_us_[{from, to}];
    until = std::max(until, event.at_us + event.for_us);
    if (both) cut_until_us_[{to, from}] = until;
    Later(event.at_us + event.for_us, absl::StrCat("heal ", link));
  }

  void Split(uint64_t side, const PlanEvent& event) {
    for (uint32_t a = 0; a < nodes_; ++a) {
      for (uint32_t b = a + 1; b < nodes_; ++b) {
        if (((side >> a) & 1) != ((side >> b) & 1)) Cut(a, b, true, event);
      }
    }
  }

  bool Say(const PlanEvent& event) {
    const std::string node = absl::StrCat("n", event.node);
    const std::string peer = absl::StrCat("n", event.peer);
    const std::string crash = absl::StrCat("crash ", node);
    switch (event.kind) {
      case EventKind::kOperation:
        Operate(event);
        return true;
      case EventKind::kCrash:
        Restart(event, event.value == 0 ? crash : crash + " losing=all", "");
        return true;
      case EventKind::kWipe:
        Restart(event, crash, absl::StrCat("wipe ", node));
        return true;
      case EventKind::kBackup:
        Line("backup ", node, " of-", node);
        backed_up_.insert(event.node);
        return true;
      case EventKind::kRestore:
      case EventKind::kLie:
        Restart(event, crash,
                backed_up_.contains(event.node)
                    ? absl::StrCat("restore ", node, " of-", node)
                    : absl::StrCat("wipe ", node));
        return true;
      case EventKind::kClone:
        Line("backup ", peer, " copy-of-", peer);
        Restart(event, crash,
                absl::StrCat("restore ", node, " copy-of-", peer));
        return true;
      case EventKind::kCutOneWay:
        Cut(event.node, event.peer, false, event);
        return true;
      case EventKind::kCutPair:
        Cut(event.node, event.peer, true, event);
        return true;
      case EventKind::kIsolate:
        Split(uint64_t{1} << event.node, event);
        return true;
      case EventKind::kSplit:
        Split(static_cast<uint64_t>(event.value), event);
        return true;
      case EventKind::kClockJump:
        Line(node, " clock ", event.value < 0 ? "" : "+", event.value, "ms");
        return true;
      case EventKind::kSyncNow:
        Line("sync ", node, " ", peer);
        return true;
      case EventKind::kWithhold:
        return true;  // shows as a `drop`
      default:
        return false;
    }
  }

  const Plan& plan_;
  const uint32_t nodes_;
  std::string text_;
  std::multimap<int64_t, std::pair<std::string, uint32_t>> ends_;
  std::set<uint32_t> down_;
  std::set<uint32_t> backed_up_;
  std::map<std::pair<uint32_t, uint32_t>, int64_t> cut_until_us_;
  std::set<const PlanEvent*> withheld_;
};

}  // namespace

std::string ScenarioDraft(const Plan& plan) {
  if (plan.options.nodes > kNodesMax || plan.events.size() > kEventsMax) {
    return "";
  }
  return Draft(plan).Write();
}

}  // namespace dovetail::sim
