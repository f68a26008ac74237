#include "tests/sim/draw.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/sim_ring.h"

namespace dovetail::sim {
namespace {

void DrawClusterOptions(Stream& chance, PlanOptions& options) {
  // Three nodes are what most clusters have; one and seven what few try.
  static const std::vector<int64_t> sizes = {1, 2, 2, 3, 3, 3,
                                             3, 4, 5, 5, 6, 7};
  options.nodes = chance.Pick(sizes);
  options.partitions = int64_t{1} << chance.Below(5);
  options.shards = 1 + static_cast<int64_t>(chance.Below(3));
  static const std::vector<int64_t> caches = {0, 1, 500, 5'000, 64 << 20};
  options.row_cache_bytes = chance.Pick(caches);
  options.inline_leaves_max = chance.Between(1, 20);
  options.inline_bytes_max = chance.LogBetween(1, 1024);
  options.background_fsync = chance.OneIn(4) ? 0 : 1;
  // Long ones leave much for a power failure to take.
  options.fsync_period_us = chance.OneIn(4)
                                ? chance.Between(5'000'000, 30'000'000)
                                : chance.LogBetween(10'000, 5'000'000);
  options.sync_period_min_us = chance.LogBetween(100'000, 5'000'000);
  options.sync_period_max_us =
      options.sync_period_min_us * chance.Between(1, 12);
  options.sync_chunk_bytes = chance.LogBetween(1, 256 << 10);
  options.checkpoint_deltas = chance.LogBetween(1, 500);
  options.truncate_entries_per_turn =
      chance.OneIn(4) ? 0 : chance.LogBetween(1, 2048);
  options.read_hedge_after_us = chance.LogBetween(500, 500'000);
  if (chance.OneIn(10)) options.requests_in_flight_max = chance.Between(1, 4);
  options.turn_inputs_max = chance.LogBetween(1, 64);
  options.probe_permille = chance.Between(20, 300);
}

// Half of the clusters have nodes that own only a part.
void DrawPlacement(Stream& chance, PlanOptions& options) {
  if (options.nodes > 1 && chance.Half()) {
    options.owners = chance.Between(1, options.nodes);
  }
  options.strict = chance.OneIn(4) ? 1 : 0;
  options.write_hedge_after_us = chance.LogBetween(500, 1'000'000);
  if (chance.OneIn(8)) options.hint_bytes_max = chance.LogBetween(1, 10'000);
  if (chance.OneIn(4)) {
    options.hint_age_max_us = chance.LogBetween(1'000, 60'000'000);
  }
  options.empty_rows_per_turn = chance.LogBetween(1, 2048);
  if (chance.Half()) {
    options.newborn_patience_us = chance.LogBetween(1'000, 10'000'000);
  }
}

// How long something is kept for an owner that cannot be reached, and how soon
// damage is found.
void DrawRepair(Stream& chance, PlanOptions& options) {
  if (chance.OneIn(4)) {
    options.log_age_max_us = chance.LogBetween(100'000, 60'000'000);
  }
  options.truncate_again_after_us = chance.LogBetween(1'000, 1'000'000);
  options.scrub_rows_per_round = chance.LogBetween(1, 1'000);
}

// In three of four clusters digest leaves are large before long.
void DrawPieces(Stream& chance, PlanOptions& options) {
  if (chance.OneIn(4)) return;
  options.big_leaf_rows = chance.LogBetween(2, 24);
  options.piece_bits = chance.Between(0, 3);
  options.divide_rows_per_round = chance.LogBetween(1, 64);
}

// Two thirds of the larger clusters have real rings.
void DrawRing(Stream& chance, PlanOptions& options) {
  if (options.nodes < 3 || chance.OneIn(3)) return;
  options.ring = 1;
  options.regions = chance.Half() ? 1 : 2;
  options.zones = chance.Between(1, 3);
  options.gossip_period_us = chance.LogBetween(200'000, 5'000'000);
  if (options.regions > 1 && chance.OneIn(3)) {
    options.owners_far = chance.Between(1, 3);
  }
}

// Half of the clusters take in ranges in small pieces, or slowly; some keep so
// little in their logs that new owners, and who was away, need ranges.
void DrawTransfers(Stream& chance, PlanOptions& options) {
  if (chance.OneIn(6)) options.log_bytes_max = chance.LogBetween(200, 50'000);
  if (chance.Half()) return;
  options.range_chunk_bytes = chance.LogBetween(1, 256 << 10);
  options.transfers_at_once = chance.Between(1, 4);
  if (chance.Half()) {
    options.transfer_bytes_per_second = chance.LogBetween(3'000, 100'000);
  }
}

// A ring, of which much moves, and soon; what is written is kept in few logs,
// or short ones.
void DrawMoves(Plan& plan) {
  Stream chance(plan.seed, "moves");
  PlanOptions& options = plan.options;
  options.nodes = chance.Between(3, 6);
  options.owners = chance.Between(1, 3);
  options.ring = 1;
  options.regions = chance.OneIn(4) ? 2 : 1;
  options.owners_far = 0;
  options.zones = 1;
  options.partitions = int64_t{1} << chance.Below(3);
  options.gossip_period_us = chance.LogBetween(100'000, 1'000'000);
  options.detect_us = chance.LogBetween(10'000, 1'000'000);
  options.sync_period_min_us = chance.LogBetween(100'000, 2'000'000);
  options.sync_period_max_us =
      options.sync_period_min_us * chance.Between(1, 4);
  options.duration_us = chance.LogBetween(10'000'000, 60'000'000);
  options.probe_permille = chance.Between(100, 600);
  if (options.regions == 1 && chance.OneIn(3)) options.zones = 2;
  // Ranges take several rounds.
  if (chance.Half()) {
    options.log_bytes_max = chance.LogBetween(100, 2'000);
    options.range_chunk_bytes = chance.LogBetween(1, 2'000);
  }
}

void DrawWeather(Stream& chance, PlanOptions& options) {
  options.delay_min_us = chance.LogBetween(1, 2'000);
  options.delay_mean_us = chance.LogBetween(10, 50'000);
  options.detect_us = chance.LogBetween(10'000, 10'000'000);
  options.step_us = chance.LogBetween(1, 500);
  options.commit_us = chance.LogBetween(1, 2'000);
  options.fsync_us = chance.LogBetween(1, 20'000);
  options.duration_us = chance.LogBetween(1'000'000, 90'000'000);
}

void DrawRandomFaults(Stream& chance, const std::string& profile,
                      PlanOptions& options) {
  const bool network =
      profile == "swarm" || profile == "damage" || profile == "network";
  const bool clock =
      profile == "swarm" || profile == "damage" || profile == "clock";
  if (network && chance.Half()) {
    options.loss_permille = chance.LogBetween(1, 300);
  }
  if (network && chance.Half()) {
    options.duplicate_permille = chance.LogBetween(1, 500);
  }
  if (network && chance.Half()) {
    options.late_permille = chance.LogBetween(1, 200);
  }
  if (clock && chance.Half()) options.drift_ppm = chance.LogBetween(1, 100'000);
  if (clock && chance.Half()) {
    constexpr int64_t kTenYearsMs = int64_t{10} * 365 * 86'400'000;
    options.offset_ms = chance.LogBetween(1, kTenYearsMs);
  }
}

// All nodes of one region.
std::vector<int64_t> DrawRegion(const Plan& plan, Stream& chance) {
  const std::string region =
      RegionOf(plan, chance.Below32(static_cast<uint32_t>(plan.options.nodes)));
  std::vector<int64_t> core;
  for (int64_t node = 0; node < plan.options.nodes; ++node) {
    if (RegionOf(plan, static_cast<uint32_t>(node)) == region) {
      core.push_back(node);
    }
  }
  return core;
}

std::vector<int64_t> DrawMajority(const Plan& plan, Stream& chance) {
  std::vector<int64_t> others(static_cast<size_t>(plan.options.nodes));
  std::iota(others.begin(), others.end(), 0);
  std::vector<int64_t> core;
  while (core.size() <= others.size()) {
    const auto at = others.begin() +
                    static_cast<std::ptrdiff_t>(chance.Below(others.size()));
    core.push_back(*at);
    others.erase(at);
  }
  return core;
}

// A majority, or a region, that must do without the others for a while: each of
// it asks the rest of it, one request after the other.
void DrawCore(Plan& plan) {
  Stream chance(plan.seed, "core");
  if (plan.options.nodes < 3 || !chance.OneIn(3)) return;
  // Its owners must not move away from it.
  for (const PlanEvent& event : plan.events) {
    if (event.kind == EventKind::kCommit) return;
  }
  // Who waits to be filled, or mended, refuses reads, and who could fill it may
  // be left out. Where logs are kept nobody is filled.
  const bool logs_are_short =
      plan.options.log_bytes_max < PlanOptions().log_bytes_max ||
      plan.options.log_age_max_us < PlanOptions().log_age_max_us ||
      std::any_of(plan.events.begin(), plan.events.end(),
                  [](const PlanEvent& event) { return LosesRows(event.kind); });
  if (plan.options.truncate_entries_per_turn > 0 && logs_are_short) return;
  if (std::any_of(plan.events.begin(), plan.events.end(),
                  [](const PlanEvent& event) {
                    return event.kind == EventKind::kDamage;
                  })) {
    return;
  }
  const bool region = plan.options.regions > 1 && chance.Half();
  const std::vector<int64_t> core =
      region ? DrawRegion(plan, chance) : DrawMajority(plan, chance);
  for (const int64_t node : core) plan.options.core |= int64_t{1} << node;
  int64_t at = plan.options.duration_us + CoreSettlesUs(plan.options);
  const uint64_t rounds = 3 + chance.Below(5);
  for (uint64_t i = 0; i < rounds; ++i) {
    const char* const sentences[] = {"set add core c", "counter add core ",
                                     "register write core c"};
    const std::string quorum = absl::StrCat("=", core.size());
    PlanEvent event;
    event.for_us = 10'000'000;
    event.value = chance.OneIn(4) ? kWayFsync : 0;
    if (region) event.value |= WayOf(WayLevel::kLocalQuorum);
    event.at_us = at;
    const int64_t writer = chance.Pick(core);
    event.text = absl::StrCat("n", writer, " ", sentences[chance.Below(3)],
                              i + 1, " w", quorum);
    plan.events.push_back(event);
    event.at_us += chance.Between(1'000'000, 3'000'000);
    event.text =
        absl::StrCat("n", chance.Pick(core), " set read core r", quorum);
    plan.events.push_back(event);
    at = event.at_us + chance.Between(1'000'000, 3'000'000);
  }
}

}  // namespace

const std::vector<std::string>& ProfileNames() {
  static const std::vector<std::string> names = {
      "swarm", "quiet",  "network", "process", "disk",  "clock",
      "loss",  "damage", "expiry",  "moving",  "crowds"};
  return names;
}

absl::StatusOr<Plan> DrawPlan(uint64_t seed, const std::string& profile) {
  const auto& names = ProfileNames();
  if (std::find(names.begin(), names.end(), profile) == names.end()) {
    return absl::InvalidArgumentError(absl::StrCat("no profile \"", profile,
                                                   "\"; there are ",
                                                   absl::StrJoin(names, ", ")));
  }
  Plan plan;
  plan.seed = seed;
  Stream chance(seed, "options");
  DrawClusterOptions(chance, plan.options);
  DrawWeather(chance, plan.options);
  Stream placement(seed, "placement");
  DrawPlacement(placement, plan.options);
  Stream repair(seed, "repair");
  DrawRepair(repair, plan.options);
  Stream pieces(seed, "pieces");
  DrawPieces(pieces, plan.options);
  Stream ring(seed, "real-ring");
  DrawRing(ring, plan.options);
  Stream transfers(seed, "transfers");
  DrawTransfers(transfers, plan.options);
  const bool calm = chance.OneIn(10);
  // Where every copy may go, or be damaged, nobody knows what still expires.
  const bool may_expire = profile != "loss" && profile != "damage";
  const bool expires =
      profile == "expiry" || (may_expire && Stream(seed, "expires").OneIn(4));
  const bool moving = profile == "moving";
  const bool crowds = profile == "crowds";
  const bool all = profile == "expiry" || moving;
  const std::string of = all ? "swarm" : crowds ? "network" : profile;
  const std::string sort = of == "swarm" && calm ? "quiet" : of;
  if (sort != "quiet") {
    DrawRandomFaults(chance, sort, plan.options);
    plan.options.buggify = chance.Half() ? 1 : 0;
  }
  plan.options.may_lose = sort == "loss" ? 1 : 0;
  if (moving) DrawMoves(plan);
  DrawOperations(plan, expires);
  DrawFaults(plan, sort, moving);
  if (crowds && sort == "network") DrawCrowds(plan);
  // What would come after everything has healed.
  std::erase_if(plan.events, [&](const PlanEvent& event) {
    return event.at_us > plan.options.duration_us;
  });
  if (sort != "quiet" && sort != "loss") DrawCore(plan);
  std::stable_sort(
      plan.events.begin(), plan.events.end(),
      [](const PlanEvent& a, const PlanEvent& b) { return a.at_us < b.at_us; });
  return plan;
}

}  // namespace dovetail::sim
