#include "tests/sim/simulation.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "replica/transfer_pace.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/hooks.h"

namespace dovetail::sim {
namespace {

// After everything healed: how many sync rounds may it take to agree, and how
// much beyond them.
constexpr int64_t kRoundsMax = 12;
constexpr int64_t kConvergeExtraUs = 120'000'000;
// After the last request to a core: longer than its deadline.
constexpr int64_t kCoreAnswersUs = 12'000'000;
constexpr int64_t kFinalProbesUs = 60'000'000;

class Simulation {
 public:
  Simulation(const Plan& plan, const RunSettings& settings)
      : plan_(plan),
        settings_(settings),
        scheduler_(plan.seed),
        trace_(settings.trace_from),
        hooks_(plan.seed, plan.options.buggify != 0, settings.mutant),
        checker_(plan, scheduler_, trace_),
        cluster_(plan, scheduler_, trace_, hooks_, checker_),
        chance_(plan.seed, "faults-at-run-time"),
        probes_(plan.seed, "probes"),
        listings_(plan.seed, "listings"),
        sessions_(plan.seed, "sessions"),
        quorums_(plan.seed, "quorums") {
    checker_.Attach(cluster_);
  }

  Outcome Run() {
    cluster_.StartAll();
    for (size_t i = 0; i < plan_.events.size(); ++i) {
      scheduler_.At(plan_.events[i].at_us, [this, i] { Arrive(i); });
    }
    RunUntil(plan_.options.duration_us);
    if (Going() && plan_.options.core != 0) RunCore();
    if (Going()) Heal();
    return Report();
  }

 private:
  bool Calm() const { return healed_ || core_alone_; }
  bool Going() const {
    return checker_.violation().empty() && trace_.events() < settings_.until;
  }

  void RunUntil(int64_t end_us) {
    uint64_t turns = cluster_.turns();
    while (Going() && scheduler_.RunOne(end_us)) {
      if (healed_ || turns == cluster_.turns()) continue;
      turns = cluster_.turns();
      if (!waiting_.empty()) StrikeWaiting();
      if (probes_.Permille(plan_.options.probe_permille)) ProbeSomething();
      // A listing costs what several reads do.
      if (listings_.Permille(plan_.options.probe_permille / 5)) {
        checker_.ListAny(listings_.Below32(cluster_.size()), listings_);
      }
      if (sessions_.Permille(plan_.options.probe_permille / 3)) {
        checker_.SessionReadAny(sessions_);
      }
      if (quorums_.Permille(plan_.options.probe_permille / 3)) {
        checker_.QuorumReadAny(quorums_);
      }
    }
  }

  void ProbeSomething() {
    const uint32_t node = probes_.Below32(cluster_.size());
    checker_.ProbeAny(node, probes_);
  }

  // As VOPR's liveness mode: a healthy majority needs nobody else, whatever
  // happened before and whoever stays away.
  void RunCore() {
    const auto nodes = static_cast<uint64_t>(plan_.options.core);
    core_alone_ = true;
    checker_.ReleaseWithheld();
    hooks_.SetBuggify(false);
    cluster_.HealCore(nodes);
    checker_.RequireAnswers(nodes,
                            scheduler_.now_us() + CoreSettlesUs(plan_.options));
    const int64_t asked_us =
        plan_.events.empty() ? 0 : plan_.events.back().at_us;
    RunUntil(std::max(asked_us, scheduler_.now_us()) + kCoreAnswersUs);
    const int64_t deadline = scheduler_.now_us() + ConvergeTimeUs();
    while (Going() && !checker_.Agree(nodes)) {
      if (scheduler_.now_us() >= deadline) {
        checker_.OnViolation("the nodes of a healthy majority do not agree");
      }
      RunUntil(scheduler_.now_us() + 1'000'000);
    }
    checker_.RequireAnswers(0, 0);
    core_alone_ = false;
  }

  int64_t ConvergeTimeUs() const {
    // A staged change that missed a node comes with an exchange of all there is
    // to gossip, to one node in 30 periods.
    const int64_t gossip_us =
        plan_.options.ring != 0 ? 120 * plan_.options.gossip_period_us : 0;
    return kConvergeExtraUs + gossip_us +
           kRoundsMax * plan_.options.sync_period_max_us;
  }

  void Heal() {
    healed_ = true;
    checker_.ReleaseWithheld();
    hooks_.SetBuggify(false);
    cluster_.HealAll();
    const int64_t healed_us = scheduler_.now_us();
    const int64_t deadline =
        healed_us + ConvergeTimeUs() + TruncationTimeUs() + EmptyingTimeUs();
    bool converged = false;
    while (Going() && !converged &&
           scheduler_.now_us() < deadline + TransferTimeUs()) {
      RunUntil(scheduler_.now_us() + 1'000'000);
      converged = checker_.Converged();
    }
    outcome_.converged_after_us = scheduler_.now_us() - healed_us;
    if (converged && Going()) {
      checker_.ProbeAll();
      RunUntil(scheduler_.now_us() + kFinalProbesUs);
      // What has expired meanwhile may be on its way out.
      const int64_t settled = scheduler_.now_us() + ConvergeTimeUs();
      converged = checker_.Converged();
      while (Going() && !converged && scheduler_.now_us() < settled) {
        RunUntil(scheduler_.now_us() + 1'000'000);
        converged = checker_.Converged();
      }
    }
    if (Going()) checker_.FinalCheck(converged);
  }

  // Logs shrink by so many entries a round, and a plan may set that low.
  int64_t TruncationTimeUs() const {
    const int64_t step = plan_.options.truncate_entries_per_turn;
    if (step == 0) return 0;
    return 2 * static_cast<int64_t>(plan_.events.size()) / step *
           plan_.options.sync_period_min_us;
  }

  // So do stand-ins that have handed over, by so many rows a round.
  int64_t EmptyingTimeUs() {
    size_t rows_max = 0;
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      SimDisk& disk = cluster_.node(node).disk;
      rows_max =
          std::max(rows_max, disk.keys(replica::Family::kRows).size() +
                                 disk.keys(replica::Family::kLog).size());
    }
    return 2 * static_cast<int64_t>(rows_max) /
           plan_.options.empty_rows_per_turn * plan_.options.sync_period_min_us;
  }

  // What has come by ranges so far came no faster than the plan lets it: one
  // node after the other, as where all of them ask the same one.
  int64_t TransferTimeUs() {
    const int64_t rate = plan_.options.transfer_bytes_per_second;
    if (rate == 0) return 0;
    uint64_t bytes = 0;
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      if (!cluster_.node(node).running()) continue;
      for (const Lane& lane : cluster_.node(node).process->lanes) {
        const replica::ShardStats stats = lane.shard->stats();
        bytes += stats.range_bytes_sent +
                 stats.range_rows * replica::TransferPace::kRowBytesMin;
      }
    }
    return static_cast<int64_t>(bytes) * plan_.options.shards * 1'000'000 /
           rate;
  }

  Outcome Report() {
    outcome_.violation = checker_.violation();
    outcome_.trace_hash = trace_.hash();
    outcome_.events = trace_.events();
    outcome_.virtual_us = scheduler_.now_us();
    outcome_.turns = cluster_.turns();
    outcome_.clients = checker_.stats();
    outcome_.network = cluster_.network().stats();
    outcome_.marks = hooks_.marks();
    outcome_.buggified = hooks_.buggified();
    outcome_.mutant_passes = hooks_.mutant_passes();
    return std::move(outcome_);
  }

  Phase PhaseOf(uint32_t node) {
    const Node& its = cluster_.node(node);
    if (checker_.busy_at(node) > 0) return Phase::kRequests;
    if (!its.running() ||
        its.process->started_us + 2'000'000 > scheduler_.now_us()) {
      return Phase::kRecovering;
    }
    for (uint32_t peer = 0; peer < cluster_.size(); ++peer) {
      if (cluster_.network().IsCut(node, peer) ||
          cluster_.network().IsCut(peer, node)) {
        return Phase::kPartitioned;
      }
    }
    return checker_.LacksEvents(node) ? Phase::kCatchingUp : Phase::kQuiet;
  }

  void Arrive(size_t index) {
    const PlanEvent& event = plan_.events[index];
    if (!event.is_fault()) return checker_.Run(index);
    if (core_alone_) return;
    // A plan that was edited may name nodes that are not there.
    if (event.node >= cluster_.size() || event.peer >= cluster_.size()) return;
    if (event.in) {
      waiting_.push_back(event);
    } else {
      Strike(event);
    }
  }

  // What waited for a phase of transfers (PlanEvent::in) that has come.
  void StrikeWaiting() {
    if (Calm()) return waiting_.clear();
    std::erase_if(waiting_, [&](const PlanEvent& event) {
      return event.at_us + kInPhaseWithinUs < scheduler_.now_us();
    });
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      const uint32_t phases = TransferPhasesOf(cluster_, node);
      if (phases == 0) continue;
      const auto due = std::find_if(
          waiting_.begin(), waiting_.end(), [&](const PlanEvent& event) {
            const bool here = node == event.node || !LosesRows(event.kind);
            return here && (phases & BitOf(*event.in)) != 0;
          });
      if (due == waiting_.end()) continue;
      PlanEvent event = *due;
      waiting_.erase(due);
      event.node = node;
      if (event.peer == node) event.peer = (node + 1) % cluster_.size();
      if (event.kind == EventKind::kWithhold) event.value = scheduler_.now_us();
      return Strike(event);  // which may end processes
    }
  }

  void Strike(const PlanEvent& event) {
    trace_.Add(scheduler_.now_us(), "fault", static_cast<uint64_t>(event.kind),
               event.node, event.peer, [&] { return ToText(event); });
    const Phase phase = PhaseOf(event.node);
    const auto kind = static_cast<size_t>(event.kind);
    ++outcome_.faults[kind][static_cast<size_t>(phase)];
    const uint32_t transfers = TransferPhasesOf(cluster_, event.node);
    for (size_t i = 0; i < outcome_.transfers[kind].size(); ++i) {
      outcome_.transfers[kind][i] += (transfers >> i) & 1;
    }
    switch (event.kind) {
      case EventKind::kOperation:
        return;  // done by Arrive
      case EventKind::kCrash:
      case EventKind::kRestartAll:
      case EventKind::kWipe:
      case EventKind::kRestore:
      case EventKind::kLie:
      case EventKind::kClone:
      case EventKind::kBackup:
      case EventKind::kPause:
      case EventKind::kSlow:
      case EventKind::kClockJump:
        return StrikeProcess(event);
      case EventKind::kCutOneWay:
      case EventKind::kCutPair:
      case EventKind::kIsolate:
      case EventKind::kSplit:
      case EventKind::kFlap:
      case EventKind::kClog:
      case EventKind::kBlink:
      case EventKind::kReplay:
      case EventKind::kWithhold:
        return StrikeNetwork(event);
      case EventKind::kCutZone:
        return CutOff(cluster_.ZoneMates(event.node), event);
      case EventKind::kCutRegion:
        return CutOff(cluster_.RegionMates(event.node), event);
      case EventKind::kHealLinks:
        return cluster_.HealLinks();
      case EventKind::kStage:
        return cluster_.Stage(event.node, event.peer, event.value);
      case EventKind::kCommit:
        return cluster_.Commit(event.node, event.value != 0);
      case EventKind::kFailCommit:
      case EventKind::kFailSync:
      case EventKind::kDiskFull:
      case EventKind::kSlowDisk:
      case EventKind::kReadError:
      case EventKind::kCorruptRow:
      case EventKind::kDamage:
        return StrikeDisk(event);
      case EventKind::kCheckpoint:
        return cluster_.Control(
            event.node, [](replica::Shard& shard) { shard.CheckpointAll(); });
      case EventKind::kSyncNow:
        return cluster_.Control(event.node, [&](replica::Shard& shard) {
          shard.StartSync(replica::NodeId{event.peer},
                          {absl::Microseconds(scheduler_.now_us()), 0});
        });
    }
  }

  void StrikeProcess(const PlanEvent& event) {
    Node& node = cluster_.node(event.node);
    switch (event.kind) {
      case EventKind::kCrash:
        return cluster_.Crash(event.node, event.value, event.for_us);
      case EventKind::kRestartAll:
        for (uint32_t id = 0; id < cluster_.size(); ++id) {
          cluster_.Crash(
              id, event.value,
              chance_.Between(1, std::max<int64_t>(event.for_us, 1)));
        }
        return;
      case EventKind::kWipe:
        return cluster_.ReplaceDisk(event.node, SimDisk(), event.for_us);
      case EventKind::kRestore:
      case EventKind::kLie:
        // Without a backup so far, to the very beginning.
        return cluster_.ReplaceDisk(
            event.node, node.backup ? *node.backup : SimDisk(), event.for_us);
      case EventKind::kClone:
        return cluster_.ReplaceDisk(
            event.node, SimDisk(cluster_.node(event.peer).disk), event.for_us);
      case EventKind::kBackup:
        node.backup = SimDisk(node.disk);
        return;
      case EventKind::kPause:
        return cluster_.Pause(event.node, event.for_us);
      case EventKind::kSlow:
        node.slow_until_us = scheduler_.now_us() + event.for_us;
        node.slow_step_us = event.value;
        return;
      default:
        node.clock.offset_ms += event.value;
        return;
    }
  }

  void StrikeNetwork(const PlanEvent& event) {
    const uint32_t node = event.node;
    const uint32_t peer = event.peer;
    const int64_t until = scheduler_.now_us() + event.for_us;
    switch (event.kind) {
      case EventKind::kCutOneWay:
        return cluster_.CutBetween(node, peer, event.for_us);
      case EventKind::kCutPair:
        cluster_.CutBetween(node, peer, event.for_us);
        return cluster_.CutBetween(peer, node, event.for_us);
      case EventKind::kIsolate:
        return Split(uint64_t{1} << node, event.for_us);
      case EventKind::kSplit:
        return Split(static_cast<uint64_t>(event.value), event.for_us);
      case EventKind::kFlap:
        return Flap(node, peer, std::max<int64_t>(event.value, 1'000), until);
      case EventKind::kClog:
        return cluster_.network().Clog(node, peer, until);
      case EventKind::kBlink:
        return cluster_.Blink(node, peer);
      case EventKind::kReplay:
        return cluster_.network().Replay(node, peer);
      default:
        return checker_.Withhold(peer, event.value);
    }
  }

  void Split(uint64_t side, int64_t for_us) {
    for (uint32_t a = 0; a < cluster_.size(); ++a) {
      for (uint32_t b = 0; b < cluster_.size(); ++b) {
        const bool crosses = ((side >> a) & 1) != ((side >> b) & 1);
        if (a != b && crosses) cluster_.CutBetween(a, b, for_us);
      }
    }
  }

  // A zone or region, from all others.
  void CutOff(uint64_t place, const PlanEvent& event) {
    for (uint32_t in = 0; in < cluster_.size(); ++in) {
      for (uint32_t out = 0; out < cluster_.size(); ++out) {
        if (((place >> in) & 1) == 0 || ((place >> out) & 1) != 0) continue;
        if (event.value != 2) cluster_.CutBetween(in, out, event.for_us);
        if (event.value != 1) cluster_.CutBetween(out, in, event.for_us);
      }
    }
  }

  void Flap(uint32_t node, uint32_t peer, int64_t period_us, int64_t until_us) {
    if (Calm() || scheduler_.now_us() >= until_us) return;
    cluster_.CutBetween(node, peer, period_us / 2);
    cluster_.CutBetween(peer, node, period_us / 2);
    scheduler_.After(period_us, [this, node, peer, period_us, until_us] {
      Flap(node, peer, period_us, until_us);
    });
  }

  void StrikeDisk(const PlanEvent& event) {
    Node& node = cluster_.node(event.node);
    const int64_t now = scheduler_.now_us();
    switch (event.kind) {
      case EventKind::kFailCommit: {
        node.disk_failed_ever = true;
        const bool reappears = event.value != 0;
        node.disk.FailCommit(
            1,
            reappears ? absl::DataLossError("the disk failed a write")
                      : absl::ResourceExhaustedError("the disk is full"),
            reappears ? FailedBatch::kReappears : FailedBatch::kGone);
        // After such a failure no write is trusted; somebody restarts it.
        if (reappears) {
          scheduler_.After(event.for_us, [this, id = event.node] {
            if (!Calm()) cluster_.Crash(id, 0, 100'000);
          });
          node.needs_restart = true;
        }
        return;
      }
      case EventKind::kFailSync:
        node.disk_failed_ever = true;
        return node.disk.FailSync(absl::DataLossError("fsync failed"));
      case EventKind::kDiskFull:
        node.disk_full_until_us = now + event.for_us;
        return;
      case EventKind::kSlowDisk:
        node.disk_slow_until_us = now + event.for_us;
        node.disk_slow_us = event.value;
        return;
      case EventKind::kDamage:
        cluster_.CrashWithDisk(event.node, event.for_us);
        for (uint64_t rows = 1 + chance_.Below(3); rows > 0; --rows) {
          DamageRow(node);
        }
        return;
      default:
        return SpoilRow(event);
    }
  }

  void DamageRow(Node& node) {
    const SimDisk::Keys& rows = node.disk.keys(replica::Family::kRows);
    if (rows.empty()) return;
    const auto row = std::next(
        rows.begin(), static_cast<std::ptrdiff_t>(chance_.Below(rows.size())));
    node.disk_failed_ever = true;
    if (chance_.Half() || row->second.empty()) {
      return node.disk.Damage(row->first, std::nullopt);
    }
    std::string value = row->second;
    char& spoilt = value[chance_.Below(value.size())];
    spoilt = static_cast<char>(spoilt ^ (1 << chance_.Below(8)));
    node.disk.Damage(row->first, std::move(value));
  }

  void SpoilRow(const PlanEvent& event) {
    Node& node = cluster_.node(event.node);
    // Mostly a row of some object, else an entry of the log or of the index.
    replica::Family family =
        chance_.OneIn(3) ? replica::Family::kLog : replica::Family::kRows;
    // The index can only be unreadable: what it says stands in its keys.
    if (event.kind == EventKind::kReadError && chance_.OneIn(4)) {
      family = replica::Family::kIndex;
    }
    const SimDisk::Keys& rows = node.disk.keys(family);
    if (rows.empty()) return;
    auto row = rows.begin();
    std::advance(row, static_cast<std::ptrdiff_t>(chance_.Below(rows.size())));
    if (event.kind == EventKind::kCorruptRow && chance_.Half()) {
      node.disk.GarbleRead(family, row->first);
    } else {
      node.disk.FailRead(family, row->first);
    }
    node.disk_failed_ever = true;
    if (event.kind == EventKind::kCorruptRow) {
      node.disk.MarkBad();
    } else {
      node.row_unreadable = true;
      scheduler_.After(event.for_us, [this, id = event.node] {
        if (!Calm() && cluster_.node(id).row_unreadable) {
          cluster_.Crash(id, 0, 100'000);
        }
      });
    }
  }

  const Plan& plan_;
  const RunSettings& settings_;
  Scheduler scheduler_;
  Trace trace_;
  hooks::Run hooks_;
  Checker checker_;
  SimCluster cluster_;
  Stream chance_;
  Stream probes_;
  Stream listings_;
  Stream sessions_;
  Stream quorums_;
  std::vector<PlanEvent> waiting_;  // until transfers are so far
  bool healed_ = false;
  bool core_alone_ = false;  // see RunCore
  Outcome outcome_;
};

}  // namespace

const char* PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kQuiet:
      return "quiet";
    case Phase::kRequests:
      return "requests";
    case Phase::kRecovering:
      return "recovering";
    case Phase::kPartitioned:
      return "partitioned";
    case Phase::kCatchingUp:
      return "catching up";
  }
  return "";
}

Outcome RunPlan(const Plan& plan, const RunSettings& settings) {
  // On the heap: much of it is large, and the stack of a test may be small.
  return std::make_unique<Simulation>(plan, settings)->Run();
}

}  // namespace dovetail::sim
