#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/draw.h"

namespace dovetail::sim {
namespace {

enum class Sort { kNetwork, kProcess, kDisk, kClock };

// How many of a kind a plan has at most, how long one lasts.
struct Habit {
  EventKind kind;
  Sort sort;
  int64_t count_max;
  int64_t for_min_us;
  int64_t for_max_us;
};

constexpr int64_t kMs = 1'000;
constexpr int64_t kS = 1'000'000;

constexpr Habit kHabits[] = {
    {EventKind::kCrash, Sort::kProcess, 6, 1 * kMs, 20 * kS},
    {EventKind::kRestartAll, Sort::kProcess, 2, 1 * kMs, 5 * kS},
    {EventKind::kPause, Sort::kProcess, 4, 10 * kMs, 60 * kS},
    {EventKind::kSlow, Sort::kProcess, 3, 100 * kMs, 30 * kS},
    {EventKind::kClockJump, Sort::kClock, 5, 0, 0},
    {EventKind::kCutOneWay, Sort::kNetwork, 4, 10 * kMs, 60 * kS},
    {EventKind::kCutPair, Sort::kNetwork, 4, 10 * kMs, 60 * kS},
    {EventKind::kIsolate, Sort::kNetwork, 3, 10 * kMs, 60 * kS},
    {EventKind::kSplit, Sort::kNetwork, 3, 10 * kMs, 60 * kS},
    {EventKind::kFlap, Sort::kNetwork, 3, 500 * kMs, 20 * kS},
    {EventKind::kClog, Sort::kNetwork, 6, 10 * kMs, 30 * kS},
    {EventKind::kBlink, Sort::kNetwork, 6, 0, 0},
    {EventKind::kReplay, Sort::kNetwork, 10, 0, 0},
    {EventKind::kWithhold, Sort::kNetwork, 3, 0, 0},
    {EventKind::kFailCommit, Sort::kDisk, 4, 10 * kMs, 5 * kS},
    {EventKind::kFailSync, Sort::kDisk, 3, 0, 0},
    {EventKind::kDiskFull, Sort::kDisk, 2, 10 * kMs, 20 * kS},
    {EventKind::kSlowDisk, Sort::kDisk, 3, 100 * kMs, 30 * kS},
    {EventKind::kReadError, Sort::kDisk, 2, 100 * kMs, 5 * kS},
    {EventKind::kCheckpoint, Sort::kDisk, 5, 0, 0},
    {EventKind::kSyncNow, Sort::kNetwork, 5, 0, 0},
    // These take a disk's contents; see Drawer::Frail.
    {EventKind::kBackup, Sort::kDisk, 2, 0, 0},
    {EventKind::kWipe, Sort::kDisk, 2, 1 * kMs, 10 * kS},
    {EventKind::kRestore, Sort::kDisk, 2, 1 * kMs, 10 * kS},
    {EventKind::kLie, Sort::kDisk, 2, 1 * kMs, 5 * kS},
    {EventKind::kClone, Sort::kDisk, 1, 1 * kMs, 5 * kS},
    {EventKind::kCorruptRow, Sort::kDisk, 1, 0, 0},
    {EventKind::kDamage, Sort::kDisk, 3, 1 * kMs, 5 * kS},
    {EventKind::kCutZone, Sort::kNetwork, 3, 10 * kMs, 60 * kS},
    {EventKind::kCutRegion, Sort::kNetwork, 3, 10 * kMs, 60 * kS},
    {EventKind::kHealLinks, Sort::kNetwork, 3, 0, 0},
};

bool ReplacesDisk(EventKind kind) {
  return kind == EventKind::kBackup || LosesRows(kind);
}

bool Allows(const std::string& profile, Sort sort) {
  if (profile == "quiet") return false;
  if (profile == "swarm" || profile == "loss" || profile == "damage") {
    return true;
  }
  switch (sort) {
    case Sort::kNetwork:
      return profile == "network";
    case Sort::kProcess:
      return profile == "process";
    case Sort::kDisk:
      return profile == "disk";
    case Sort::kClock:
      return profile == "clock";
  }
  return false;
}

class Drawer {
 public:
  Drawer(Plan& plan, bool moving)
      : plan_(plan),
        moving_(moving),
        chance_(plan.seed, "faults"),
        nodes_(static_cast<uint32_t>(plan.options.nodes)),
        operations_(plan.events.size()) {
    // Who may lose its disk. Mostly one node; never all of them.
    if (nodes_ < 2) return;
    uint32_t n = chance_.OneIn(4) ? 1 + chance_.Below32(nodes_ - 1) : 1;
    if (plan.options.may_lose != 0) n = nodes_;
    for (uint32_t i = 0; i < n; ++i) {
      frail_.push_back((static_cast<uint32_t>(plan.seed % nodes_) + i) %
                       nodes_);
    }
  }

  void Run(const std::string& profile) {
    std::vector<Habit> chosen;
    bool replaces = false;
    for (const Habit& habit : kHabits) {
      Stream coin(plan_.seed, "kind", static_cast<uint64_t>(habit.kind));
      if (!Allows(profile, habit.sort) || !coin.Half()) continue;
      if (!HasPlacesFor(habit.kind)) continue;
      // Of a campaign of its own.
      const bool damage = habit.kind == EventKind::kDamage;
      if (damage && profile != "damage" && !(moving_ && frail_.size() == 1)) {
        continue;
      }
      if (damage && moving_) nobody_leaves_ = true;
      if (ReplacesDisk(habit.kind)) {
        // Rarer than the rest: there is less to be checked in such plans.
        if (frail_.empty()) continue;
        if (habit.kind != EventKind::kDamage && !coin.Half()) continue;
        replaces = true;
      }
      chosen.push_back(habit);
    }
    // What no log holds any more a disk that lost it gets by ranges, from an
    // owner that has all of it. Half of the plans go by logs alone.
    const bool logs_alone = Stream(plan_.seed, "logs-alone").Half();
    if (replaces && plan_.options.may_lose == 0 &&
        (logs_alone || !OneOwnerStays())) {
      plan_.options.truncate_entries_per_turn = 0;
    }
    for (const Habit& habit : chosen) {
      // All is looked at in the time that a run has.
      if (habit.kind == EventKind::kDamage) {
        plan_.options.scrub_rows_per_round +=
            1000 * plan_.options.partitions / plan_.options.shards;
        // Nor may a log give up what damage then takes from the only rows.
        plan_.options.log_bytes_max = PlanOptions().log_bytes_max;
        plan_.options.log_age_max_us = PlanOptions().log_age_max_us;
      }
      Stream stream(plan_.seed, "fault", static_cast<uint64_t>(habit.kind));
      const int64_t count = stream.Between(1, habit.count_max);
      for (int64_t i = 0; i < count; ++i) Draw(habit, stream);
    }
    // Who goes may be the one whose rows are whole.
    if (profile != "quiet" && profile != "damage") ChangeMembers();
    StrikeTransfers(chosen);
    if (Allows(profile, Sort::kDisk) && chance_.Half()) FailAtClears();
    if (Allows(profile, Sort::kNetwork) && chance_.Permille(300)) Swizzle();
    if (Allows(profile, Sort::kNetwork) && chance_.Half()) KeepSecrets();
    WithholdClears(profile);
  }

 private:
  bool HasPlacesFor(EventKind kind) const {
    // With one owner nobody else could say what was there.
    if (kind == EventKind::kDamage) return plan_.options.owners != 1;
    if (kind == EventKind::kCutRegion) return plan_.options.regions > 1;
    return kind != EventKind::kCutZone || plan_.options.zones > 1;
  }

  void Draw(const Habit& habit, Stream& stream) {
    PlanEvent event;
    event.kind = habit.kind;
    event.at_us = stream.Between(0, plan_.options.duration_us);
    event.node =
        ReplacesDisk(habit.kind) ? stream.Pick(frail_) : stream.Below32(nodes_);
    if (nodes_ > 1) {
      event.peer = (event.node + 1 + stream.Below32(nodes_ - 1)) % nodes_;
    }
    if (habit.for_max_us > 0) {
      event.for_us = stream.LogBetween(habit.for_min_us, habit.for_max_us);
    }
    switch (habit.kind) {
      case EventKind::kCrash:
      case EventKind::kRestartAll:
        event.value = stream.Half() ? 0 : stream.Between(1, 1000);
        // Soon after some write, or there is little to take.
        if (event.value > 0 && stream.Half()) {
          event.at_us = plan_.events[stream.Below(operations_)].at_us;
          event.at_us += stream.LogBetween(1 * kMs, 5 * kS);
        }
        break;
      case EventKind::kSlow:
        event.value = stream.LogBetween(1 * kMs, 500 * kMs);
        break;
      case EventKind::kSlowDisk:
        event.value = stream.LogBetween(1 * kMs, 200 * kMs);
        break;
      case EventKind::kClockJump: {
        const int64_t jump =
            stream.LogBetween(1, int64_t{3650} * 86'400 * 1000);
        event.value = stream.Half() ? jump : -jump;
        break;
      }
      case EventKind::kSplit:
        if (nodes_ < 2) return;
        event.value = stream.Between(1, (int64_t{1} << nodes_) - 2);
        break;
      case EventKind::kCutZone:
      case EventKind::kCutRegion:
        event.value = stream.Half() ? 0 : stream.Between(1, 2);
        break;
      case EventKind::kFlap:
        event.value = stream.LogBetween(50 * kMs, 5 * kS);
        break;
      case EventKind::kFailCommit:
        event.value = stream.OneIn(3) ? 1 : 0;
        break;
      case EventKind::kWithhold:
        // Of some operation near that time.
        event.value = stream.Between(0, plan_.options.duration_us);
        event.at_us = 0;
        break;
      default:
        break;
    }
    const bool needs_peer =
        habit.sort == Sort::kNetwork || habit.kind == EventKind::kClone;
    if (needs_peer && nodes_ < 2) return;
    plan_.events.push_back(std::move(event));
  }

  // Whether each partition has an owner that keeps its disk, for good. Owners
  // that move are not counted too closely.
  bool OneOwnerStays() const {
    const PlanOptions& options = plan_.options;
    const int64_t owners = options.owners == 0 ? options.nodes : options.owners;
    const auto frail = static_cast<int64_t>(frail_.size());
    return options.ring == 0 ? frail < owners : frail == 1 && owners > 1;
  }

  // FoundationDB's: half of the nodes stop one by one, and go on in another
  // order.
  void Swizzle() {
    if (nodes_ < 2) return;
    Stream stream(plan_.seed, "swizzle");
    const int64_t begin = stream.Between(0, plan_.options.duration_us / 2);
    const int64_t end = begin + plan_.options.duration_us / 4;
    for (uint32_t node = 0; node < nodes_; ++node) {
      if (stream.Half()) continue;
      const int64_t from = stream.Between(begin, end);
      const int64_t until = stream.Between(end, end + (end - begin));
      for (uint32_t peer = 0; peer < nodes_; ++peer) {
        if (peer == node) continue;
        for (const bool out : {false, true}) {
          PlanEvent event;
          event.kind = EventKind::kClog;
          event.at_us = from;
          event.for_us = until - from;
          event.node = out ? node : peer;
          event.peer = out ? peer : node;
          plan_.events.push_back(std::move(event));
        }
      }
    }
  }

  // What a large clear leaves is read where its first part never arrives; and
  // some node never hears that an object is to live longer.
  void WithholdClears(const std::string& profile) {
    if (nodes_ < 2 || !Allows(profile, Sort::kNetwork)) return;
    Stream stream(plan_.seed, "clears");
    for (size_t i = 0; i < operations_; ++i) {
      const Told its = Tell(plan_.events[i].text);
      const bool clears = its.key == "hoard" && its.verb == "clear";
      const bool extends = its.key[0] == 'y' && its.verb == "expire";
      if (!(clears || extends) || stream.OneIn(3)) continue;
      const uint32_t others = extends ? 1 + stream.Below32(nodes_ - 1) : 1;
      PlanEvent event;
      event.kind = EventKind::kWithhold;
      event.peer = (static_cast<uint32_t>(its.who[1] - '0') + others) % nodes_;
      event.value = plan_.events[i].at_us;
      plan_.events.push_back(std::move(event));
    }
  }

  // The writes shortly before a quorum read reach some nodes and not others, so
  // that each replica it is joined from knows something else. Whoever reads
  // knows least.
  void KeepSecrets() {
    if (nodes_ < 3) return;
    Stream stream(plan_.seed, "secrets");
    std::vector<size_t> reads;
    for (size_t i = 0; i < operations_; ++i) {
      const std::string& text = plan_.events[i].text;
      if (absl::StrContains(text, " read ") &&
          !absl::StrContains(text, " r=1")) {
        reads.push_back(i);
      }
    }
    const uint64_t stories = reads.empty() ? 0 : 1 + stream.Below(5);
    for (uint64_t story = 0; story < stories; ++story) {
      const size_t read = stream.Pick(reads);
      const Told told = Tell(plan_.events[read].text);
      int writes = 0;
      for (size_t i = read; i > 0 && read - i < 12 && writes < 3; --i) {
        const PlanEvent write = plan_.events[i - 1];
        const Told its = Tell(write.text);
        if (its.verb == "read" || its.key != told.key) continue;
        ++writes;
        for (uint32_t peer = 0; peer < nodes_; ++peer) {
          const std::string name = absl::StrCat("n", peer);
          const bool reader = name == told.who;
          if (name == its.who || !stream.Permille(reader ? 800 : 400)) continue;
          PlanEvent event;
          event.kind = EventKind::kWithhold;
          event.peer = peer;
          event.value = write.at_us;
          plan_.events.push_back(std::move(event));
        }
      }
    }
  }

  // Clears of more than one delta whose first one cannot be committed.
  void FailAtClears() {
    for (size_t i = 0; i < operations_; ++i) {
      const PlanEvent& operation = plan_.events[i];
      const Told its = Tell(operation.text);
      if (its.key != "hoard" || its.verb != "clear") continue;
      PlanEvent event;
      event.kind = EventKind::kFailCommit;
      event.at_us = operation.at_us - 1;
      event.node = static_cast<uint32_t>(its.who[1] - '0');
      plan_.events.push_back(std::move(event));
    }
  }

  // Some nodes are to join; members come, go, are replaced, removed and weigh
  // more or less. Now and then two operators do so at once, or do not wait for
  // what is on its way.
  void ChangeMembers() {
    Stream stream(plan_.seed, "members");
    PlanOptions& options = plan_.options;
    if (options.ring == 0 || options.may_lose != 0) return;
    if (stream.Half() && !moving_) return;
    const int64_t spare = options.nodes - std::max<int64_t>(2, options.regions);
    options.joiners = stream.Between(0, spare);
    // What logs do not hold any more comes by ranges.
    const bool short_logs = stream.OneIn(3);
    if (short_logs && !nobody_leaves_) {
      options.log_bytes_max = stream.LogBetween(200, 5'000);
    }
    const int64_t changes =
        moving_ ? stream.Between(6, 25) : stream.Between(1, 6);
    for (int64_t i = 0; i < changes; ++i) {
      const int64_t at = stream.Between(0, options.duration_us);
      const int64_t wait = stream.LogBetween(100, 5 * kS);
      const uint32_t node = stream.Below32(nodes_);
      StageAndCommit(node, at, wait, stream);
      if (!stream.OneIn(3)) continue;
      const uint32_t other = (node + 1 + stream.Below32(nodes_ - 1)) % nodes_;
      const int64_t later = at + stream.LogBetween(100, 500 * kMs);
      StageAndCommit(other, later, wait, stream);
    }
  }

  // Moments after a commit, while partitions are on their way. What takes a
  // disk's contents strikes rarely, as elsewhere.
  void StrikeTransfers(const std::vector<Habit>& chosen) {
    Stream stream(plan_.seed, "in-transfers");
    std::vector<int64_t> commits;
    for (const PlanEvent& event : plan_.events) {
      if (event.kind == EventKind::kCommit) commits.push_back(event.at_us);
    }
    if (chosen.empty() || commits.empty() || stream.Half()) return;
    for (const int64_t commit : commits) {
      for (uint64_t n = 1 + stream.Below(8); n > 0; --n) {
        const Habit& habit = stream.Pick(chosen);
        if (ReplacesDisk(habit.kind) && !stream.OneIn(2)) continue;
        const size_t size = plan_.events.size();
        Draw(habit, stream);
        if (plan_.events.size() == size) continue;
        PlanEvent& event = plan_.events.back();
        event.at_us = commit + stream.LogBetween(100, 10 * kS);
        if (ReplacesDisk(habit.kind) || stream.Half()) {
          event.at_us = commit;
          event.in = static_cast<TransferPhase>(stream.Below(kTransferPhases));
          // The shortest one.
          if (moving_ && stream.OneIn(4)) event.in = TransferPhase::kRanges;
        } else if (event.kind == EventKind::kWithhold) {
          event.value = std::exchange(event.at_us, 0);
        }
      }
    }
  }

  void StageAndCommit(uint32_t node, int64_t at_us, int64_t wait_us,
                      Stream& stream) {
    PlanEvent event;
    event.kind = EventKind::kStage;
    for (uint64_t n = 1 + stream.Below(2); n > 0; --n) {
      event.at_us = at_us;
      event.node = node;
      event.peer = stream.Below32(nodes_);
      const auto first = static_cast<uint32_t>(nodes_ - plan_.options.joiners);
      const bool joins = plan_.options.joiners > 0 && stream.Half();
      if (joins) event.peer = first + stream.Below32(nodes_ - first);
      // Whose disk is lost while partitions come to it, or leave it.
      if (!frail_.empty() && stream.OneIn(4)) event.peer = frail_.front();
      event.value = joins ? kStageJoin : stream.Between(1, kStages);
      if (nobody_leaves_ && event.value != kStageJoin) {
        event.value = kStageWeight;
      }
      if (event.value == kStageWeight) {
        event.value += 8 * stream.Between(0, 300);
      }
      plan_.events.push_back(event);
    }
    event = PlanEvent();
    event.kind = EventKind::kCommit;
    event.at_us = at_us + wait_us;
    event.node = stream.OneIn(4) ? stream.Below32(nodes_) : node;
    // Never forced (value=1): it may take the source from who is being filled,
    // who then waits for good (ARCHITECTURE, "Limits").
    plan_.events.push_back(event);
  }

  struct Told {
    std::string who;
    std::string verb;
    std::string key;
  };
  // "T3 = n1 set read k1/f0:set r=2": n1, read, k1. A batch has no key.
  static Told Tell(const std::string& text) {
    std::vector<std::string> words = absl::StrSplit(text, ' ');
    if (words.size() > 2 && words[1] == "=")
      words.erase(words.begin(), words.begin() + 2);
    if (words.size() < 4 || words[1] == "batch") return {};
    // n0 delete k1:set
    const bool of_object =
        words[1] == "delete" || words[1] == "expire" || words[1] == "persist";
    const std::string& place = words[of_object ? 2 : 3];
    return {words[0], words[of_object ? 1 : 2],
            place.substr(0, place.find_first_of("/:"))};
  }

  Plan& plan_;
  const bool moving_;
  // There is damage, and who leaves may be the one whose rows are whole.
  bool nobody_leaves_ = false;
  Stream chance_;
  const uint32_t nodes_;
  const size_t operations_;  // the first events of the plan
  std::vector<uint32_t> frail_;
};

}  // namespace

void DrawFaults(Plan& plan, const std::string& profile, bool moving) {
  Drawer(plan, moving).Run(profile);
}

}  // namespace dovetail::sim
