// dovetail-swim-table: how fast is a dead node detected, how often a living one
// suspected, and what does it cost? The figures of docs/benchmarks.md, from
// replica/membership.h on a simulated network.
//
// Plain SWIM is the same code with local health, stall detection and the long
// suspicion switched off.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "tests/sim/swim_world.h"

namespace dovetail::sim {
namespace {

using replica::MembershipEvent;
using replica::MemberState;
using Kind = MembershipEvent::Kind;

struct Arguments {
  std::vector<size_t> sizes = {5, 50, 1000};
  uint64_t seed = 1;
  int kills = 20;
  int minutes = 10;
};

enum class Variant { kLifeguard, kSwim };

SwimSettings Settings(Variant variant, int64_t loss_permille, uint64_t seed) {
  SwimSettings settings;
  settings.seed = seed;
  settings.loss_permille = loss_permille;
  settings.through_codec = false;
  if (variant == Variant::kSwim) {
    settings.options.local_health_max = 0;
    settings.options.suspicion_max = 1;
    settings.options.stall_min = absl::InfiniteDuration();
  }
  return settings;
}

std::string Seconds(absl::Duration duration) {
  return absl::StrFormat("%.1f", absl::ToDoubleSeconds(duration));
}

// Median and largest.
std::string Spread(std::vector<absl::Duration> times) {
  if (times.empty()) return "-";
  std::sort(times.begin(), times.end());
  return Seconds(times[times.size() / 2]) + " / " + Seconds(times.back());
}

struct Detection {
  std::vector<absl::Duration> suspected;  // by the first node
  std::vector<absl::Duration> dead;       // to the first node
  std::vector<absl::Duration> all;        // dead to all
  int not_in_time = 0;
};

// Kills one node after another, each brought back before the next.
Detection MeasureDetection(SwimWorld& world, int kills) {
  Detection found;
  Stream choice(1, "victims", world.size());
  for (int i = 0; i < kills; ++i) {
    const size_t victim = choice.Below(world.size() - 1) + 1;
    std::optional<absl::Duration> suspected;
    std::set<size_t> dead;
    const absl::Duration killed = world.now();
    world.SetObserver([&](size_t node, const MembershipEvent& event) {
      if (event.id != world.id(victim)) return;
      if (event.kind == Kind::kSuspect && !suspected) suspected = world.now();
      if (event.kind != Kind::kDead) return;
      if (dead.empty()) found.dead.push_back(world.now() - killed);
      dead.insert(node);
    });
    world.Kill(victim);
    const auto all = [&] { return dead.size() == world.size() - 1; };
    if (world.RunUntil(all, absl::Minutes(10))) {
      found.all.push_back(world.now() - killed);
    } else {
      ++found.not_in_time;
    }
    if (suspected) found.suspected.push_back(*suspected - killed);
    world.SetObserver(nullptr);
    world.Start(victim, 1000 + static_cast<uint64_t>(i) * 1000,
                world.info(0).peer_address);
    // Not in step with the periods.
    world.RunFor(absl::Seconds(60) + absl::Milliseconds(choice.Below(1000)));
  }
  return found;
}

struct Steady {
  uint64_t raised = 0;        // suspicions by own probes, of living nodes
  uint64_t healthy_dead = 0;  // (node, member) taken for dead that never paused
  uint64_t paused_dead = 0;   // the same, of those that did pause
  double bytes = 0;           // per node and second
  double messages = 0;
};

enum class Trouble { kNone, kStopped, kSlow };

// Nobody dies. With trouble: a tenth of the nodes, at least one, is stopped, or
// handles no messages, for 0.2 to 8 seconds, is well for 0.1 to 4, and so on.
Steady MeasureSteady(SwimWorld& world, int minutes, Trouble trouble) {
  const size_t tenth =
      trouble == Trouble::kNone ? 0 : std::max<size_t>(1, world.size() / 10);
  Steady steady;
  world.SetObserver([&](size_t, const MembershipEvent& event) {
    if (event.kind != Kind::kDead) return;
    const bool pausing = world.NodeOf(event.id) < tenth;
    ++(pausing ? steady.paused_dead : steady.healthy_dead);
  });
  const auto raised = [&world] {
    uint64_t sum = 0;
    for (size_t i = 0; i < world.size(); ++i) {
      sum += world.at(i).counters().suspicions_raised;
    }
    return sum;
  };
  Stream stream(1, "pauses", world.size());
  std::vector<absl::Duration> next(tenth, world.now());
  const uint64_t raised_before = raised();
  const uint64_t bytes_before = world.bytes_sent();
  const uint64_t messages_before = world.messages_sent();
  const absl::Duration start = world.now();
  const absl::Duration end = start + absl::Minutes(minutes);
  while (world.now() < end) {
    for (size_t i = 0; i < tenth; ++i) {
      if (next[i] > world.now()) continue;
      const auto pause = absl::Milliseconds(stream.Between(200, 8000));
      if (trouble == Trouble::kStopped) world.Pause(i, pause);
      if (trouble == Trouble::kSlow) world.Block(i, pause);
      next[i] =
          world.now() + pause + absl::Milliseconds(stream.Between(100, 4000));
    }
    world.RunFor(absl::Milliseconds(100));
  }
  const double node_seconds = static_cast<double>(world.size()) *
                              absl::ToDoubleSeconds(world.now() - start);
  steady.raised = raised() - raised_before;
  steady.bytes =
      static_cast<double>(world.bytes_sent() - bytes_before) / node_seconds;
  steady.messages =
      static_cast<double>(world.messages_sent() - messages_before) /
      node_seconds;
  world.SetObserver(nullptr);
  return steady;
}

void PrintSteady(const char* what, size_t nodes, const Steady& steady) {
  absl::PrintF("| %d | %s | %d | %d | %d | %.0f | %.1f |\n", nodes, what,
               steady.raised, steady.healthy_dead, steady.paused_dead,
               steady.bytes, steady.messages);
  std::fflush(stdout);
}

void RunDetection(const Arguments& args) {
  absl::PrintF(
      "Seconds after a node was killed: median / largest of %d.\n\n"
      "| nodes | loss | first suspicion | dead to the first | dead to all |\n"
      "|---|---|---|---|---|\n",
      args.kills);
  for (const size_t nodes : args.sizes) {
    for (const int64_t loss : {0, 50}) {
      SwimWorld world(Settings(Variant::kLifeguard, loss, args.seed));
      world.StartAcquainted(nodes);
      world.RunFor(absl::Seconds(30));
      const Detection found = MeasureDetection(world, args.kills);
      absl::PrintF("| %d | %d%% | %s | %s | %s |\n", nodes, loss / 10,
                   Spread(found.suspected), Spread(found.dead),
                   Spread(found.all));
      if (found.not_in_time > 0) {
        absl::PrintF("(%d of them not known to all after 10 minutes)\n",
                     found.not_in_time);
      }
      std::fflush(stdout);
    }
  }
}

void RunSteady(const Arguments& args) {
  struct Case {
    const char* name;
    Variant variant;
    int64_t loss_permille;
    Trouble trouble;
  };
  const Case cases[] = {
      {"quiet", Variant::kLifeguard, 0, Trouble::kNone},
      {"5% loss", Variant::kLifeguard, 50, Trouble::kNone},
      {"5% loss, plain SWIM", Variant::kSwim, 50, Trouble::kNone},
      {"stopped", Variant::kLifeguard, 0, Trouble::kStopped},
      {"stopped, plain SWIM", Variant::kSwim, 0, Trouble::kStopped},
      {"slow messages", Variant::kLifeguard, 0, Trouble::kSlow},
      {"slow messages, plain SWIM", Variant::kSwim, 0, Trouble::kSlow},
  };
  absl::PrintF(
      "\nNobody dies, for %d minutes. Taken for dead: pairs of nodes.\n\n"
      "| nodes | network | suspicions raised | healthy taken for dead | "
      "troubled taken for dead | bytes per node and second | messages |\n"
      "|---|---|---|---|---|---|---|\n",
      args.minutes);
  for (const size_t nodes : args.sizes) {
    for (const Case& one : cases) {
      SwimWorld world(Settings(one.variant, one.loss_permille, args.seed));
      world.StartAcquainted(nodes);
      world.RunFor(absl::Minutes(1));  // until no rumour of the start is left
      PrintSteady(one.name, nodes,
                  MeasureSteady(world, args.minutes, one.trouble));
    }
  }
}

}  // namespace
}  // namespace dovetail::sim

int main(int argc, char** argv) {
  dovetail::sim::Arguments args;
  CLI::App app{"How well membership detects, and what it costs"};
  app.add_option("--nodes", args.sizes, "Sizes of the cluster")
      ->capture_default_str();
  app.add_option("--seed", args.seed)->capture_default_str();
  app.add_option("--kills", args.kills,
                 "Nodes killed for each size; 0: leave that table out")
      ->capture_default_str();
  app.add_option("--minutes", args.minutes,
                 "Of virtual time without a death; 0: leave that out")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (args.kills > 0) dovetail::sim::RunDetection(args);
  if (args.minutes > 0) dovetail::sim::RunSteady(args);
  return 0;
}
