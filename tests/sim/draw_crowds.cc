// What only many do at once, where nodes differ: each by itself is an everyday
// thing, and what it costs shows in how often a node says the same.
//
//   readers    hundreds of reads of one object at all its owners, of which one
//              has not heard of the last write (Sync::Nudge)
//   pages      many reads of the first element of a set, most of which some
//              owner has not seen removed (ReadCoordinator::PassOver)
//   summaries  a link stands still; then all that waited comes at once from a
//              node that lacks something (Sync::Stream)
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/sim/draw.h"

namespace dovetail::sim {
namespace {

class Drawer {
 public:
  explicit Drawer(Plan& plan)
      : plan_(plan),
        chance_(plan.seed, "crowds"),
        nodes_(static_cast<uint32_t>(plan.options.nodes)) {}

  void Readers() {
    const auto [knows, lacks, at] = Difference("add crowd c1");
    Reads(knows, chance_.Between(560, 650), at + 1'000, at + 500'000,
          "set read crowd r=1");
  }

  void Pages() {
    const auto [knows, lacks, at] = Difference("clear crowd");
    Reads(lacks, chance_.Between(10, 25), at + 50'000, at + 300'000,
          "set read crowd limit=1 r=1");
  }

  void Summaries() {
    const auto [knows, lacks, at] = Difference("add crowd c2");
    constexpr int64_t kStillUs = 4'000'000;
    Fault(EventKind::kClog, lacks, knows, at, kStillUs);
    const int64_t summaries = chance_.Between(400, 600);
    for (int64_t i = 0; i < summaries; ++i) {
      Fault(EventKind::kSyncNow, lacks, knows, at + i * kStillUs / summaries);
    }
  }

 private:
  struct Pair {
    uint32_t knows = 0;
    uint32_t lacks = 0;
    int64_t at_us = 0;
  };

  // A set of some hundred elements that all have; then one writes to it, and
  // one never hears of that.
  Pair Difference(const std::string& what) {
    Pair pair;
    pair.knows = chance_.Below32(nodes_);
    pair.lacks = (pair.knows + 1 + chance_.Below32(nodes_ - 1)) % nodes_;
    pair.at_us = chance_.Between(0, plan_.options.duration_us / 2);
    std::string elements;
    const int64_t count = chance_.Between(300, 900);
    for (int64_t i = 0; i < count; ++i) absl::StrAppend(&elements, " d", i);
    Operation(pair.knows, pair.at_us,
              absl::StrCat("set add crowd", elements, " w=1"));
    // All of it, and what comes of it, within one second (storm_watch.h).
    pair.at_us = (pair.at_us / 1'000'000 + 1) * 1'000'000 +
                 chance_.LogBetween(1'000, 100'000);
    Fault(EventKind::kWithhold, 0, pair.lacks, 0);
    plan_.events.back().value = pair.at_us;
    Operation(pair.knows, pair.at_us, absl::StrCat("set ", what, " w=1"));
    return pair;
  }

  void Reads(uint32_t node, int64_t count, int64_t from_us, int64_t to_us,
             const std::string& sentence) {
    for (int64_t i = 0; i < count; ++i) {
      Operation(node, chance_.Between(from_us, to_us), sentence,
                WayLevel::kAll);
    }
  }

  void Operation(uint32_t node, int64_t at_us, const std::string& sentence,
                 WayLevel level = WayLevel::kSaid) {
    PlanEvent event;
    event.at_us = at_us;
    event.for_us = 2'000'000;
    event.value = WayOf(level);
    event.text = absl::StrCat("n", node, " ", sentence);
    plan_.events.push_back(std::move(event));
  }

  void Fault(EventKind kind, uint32_t node, uint32_t peer, int64_t at_us,
             int64_t for_us = 0) {
    PlanEvent event;
    event.kind = kind;
    event.at_us = at_us;
    event.node = node;
    event.peer = peer;
    event.for_us = for_us;
    plan_.events.push_back(std::move(event));
  }

  Plan& plan_;
  Stream chance_;
  const uint32_t nodes_;
};

}  // namespace

void DrawCrowds(Plan& plan) {
  if (plan.options.nodes < 2) return;
  Stream which(plan.seed, "which-crowd");
  Drawer drawer(plan);
  const uint64_t story = which.Below(3);
  if (story == 0) return drawer.Summaries();
  // A site of BUGGIFY makes pages that do not grow.
  if (story == 1 && plan.options.buggify == 0) return drawer.Pages();
  drawer.Readers();
}

}  // namespace dovetail::sim
