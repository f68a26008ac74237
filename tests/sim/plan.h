// A plan: everything that a simulation does on purpose, as a list that can be
// written down, edited, cut and run again. A seed is drawn into a plan
// (draw.h); what chance adds while it runs (delays, losses, which site of
// BUGGIFY fires) comes from streams of the plan's seed.
//
// Text form, one line each:
//
//   plan 1
//   seed 7996
//   option nodes 3                       those that differ from their default
//   at 120000 operation timeout=2000000 text=T1 = n0 set read k1 r=2
//   at 500000 crash node=1 value=1000 for=3000000
//   at 600000 pause node=1 for=500000 in=ranges    once transfers are so far
//
// Times are microseconds of virtual time. Operations are sentences of the
// scenario language (tests/scenarios/README.md), coordinated by nodes n0, n1 …
#ifndef DOVETAIL_TESTS_SIM_PLAN_H_
#define DOVETAIL_TESTS_SIM_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tests/sim/transfer_phase.h"

namespace dovetail::sim {

// After a core is left alone, and its nodes know (PlanOptions::core): from then
// on their requests must succeed.
inline constexpr int64_t kCoreSettlesUs = 5'000'000;

// Numbers only, so that a plan can list them and a shrinker can set them back.
struct PlanOptions {
  // The cluster.
  int64_t nodes = 3;
  int64_t owners = 0;  // of each partition; 0: all nodes
  // 1: they are placed by a ring, with as many owners in each region; 0: their
  // place in the list of nodes rotates.
  int64_t ring = 0;
  int64_t regions = 1;                   // in which the nodes are, by chance
  int64_t zones = 1;                     // of a region
  int64_t gossip_period_us = 1'000'000;  // of probes; the rest in proportion
  int64_t joiners = 0;     // the last nodes, which are in no ring at first
  int64_t owners_far = 0;  // in all regions but the first; 0: as in the first
  int64_t partitions = 4;
  int64_t shards = 1;
  // ShardOptions of the same name.
  int64_t row_cache_bytes = 64 << 20;
  int64_t inline_leaves_max = 16;
  int64_t inline_bytes_max = 1 << 10;
  int64_t background_fsync = 1;
  int64_t fsync_period_us = 1'000'000;
  int64_t sync_period_min_us = 1'000'000;
  int64_t sync_period_max_us = 60'000'000;
  int64_t sync_chunk_bytes = 256 << 10;
  int64_t log_bytes_max = int64_t{1} << 30;
  int64_t range_chunk_bytes = 256 << 10;
  int64_t transfers_at_once = 4;
  int64_t transfer_bytes_per_second = 32 << 20;
  int64_t checkpoint_deltas = 4096;
  int64_t truncate_entries_per_turn = 2048;  // 0: logs are kept for ever
  int64_t read_hedge_after_us = 50'000;
  int64_t write_hedge_after_us = 100'000;
  int64_t hint_bytes_max = 256 << 20;
  int64_t hint_age_max_us = int64_t{3} * 3600 * 1'000'000;
  int64_t newborn_patience_us = 0;
  int64_t empty_rows_per_turn = 2048;
  int64_t log_age_max_us = int64_t{24} * 3600 * 1'000'000;
  int64_t truncate_again_after_us = 50'000;
  int64_t scrub_rows_per_round = 1000;
  int64_t big_leaf_rows = 4096;
  int64_t piece_bits = 10;
  int64_t divide_rows_per_round = 4096;
  int64_t expiry_grace_ms = 10'000;
  int64_t expiry_agreement_ms = 2'000;
  int64_t strict = 0;  // 1: quorums of owners alone
  int64_t requests_in_flight_max = 65'536;
  int64_t turn_inputs_max = 256;
  // The network, beside what events do to it.
  int64_t delay_min_us = 200;
  int64_t delay_mean_us = 300;
  int64_t loss_permille = 0;
  int64_t duplicate_permille = 0;
  int64_t late_permille = 0;      // frames that arrive seconds later
  int64_t detect_us = 1'000'000;  // until a node notices that a link is down
  // Nodes and disks.
  int64_t step_us = 20;    // a turn takes so long
  int64_t commit_us = 50;  // and a commit so long
  int64_t fsync_us = 500;  // and an fsync so long
  int64_t drift_ppm = 0;   // of wall clocks, at most, either way
  int64_t offset_ms = 0;   // of wall clocks, at most, either way
  int64_t buggify = 0;
  // Reads of a node's own copy that the checker adds, per 1000 turns.
  int64_t probe_permille = 100;
  // Plan time; after it everything heals.
  int64_t duration_us = 20'000'000;
  // 1: faults may take every copy of a write; then the loss must be loud.
  int64_t may_lose = 0;
  // Bit mask of a majority, or of a region, or 0. At the end of plan time these
  // nodes heal, the others are cut off from them: until the last operation of
  // the plan they must do without (simulation.cc).
  int64_t core = 0;
  friend bool operator==(const PlanOptions&, const PlanOptions&) = default;
};

// The time that membership takes in addition, to take back what it held of
// nodes that were cut off.
inline int64_t CoreSettlesUs(const PlanOptions& options) {
  return kCoreSettlesUs + 2 * options.detect_us +
         (options.ring != 0 ? 30 * options.gossip_period_us : 0);
}

struct OptionField {
  const char* name;
  int64_t PlanOptions::*member;
};
// All fields, in the order above.
const std::vector<OptionField>& OptionFields();

// What can happen. Fields of PlanEvent are used as the comments say; `for` is
// how long it lasts.
enum class EventKind {
  kOperation,  // text; for=: its timeout; value=: a sum of kWay… below
  // Processes. Each ends the process and starts it again after `for`.
  kCrash,       // node; value=permille of the un-synced batches that are lost
  kRestartAll,  // value as kCrash
  kWipe,        // node: with an empty disk
  kRestore,     // node: with the disk of its newest backup
  kLie,         // node: the disk takes back all since its newest backup
  kClone,       // node, peer: the node starts on a copy of the peer's disk
  kBackup,      // node; keeps running
  kPause,       // node: does nothing, then goes on with what it knew
  kSlow,        // node: a turn takes `value` µs
  // Clocks.
  kClockJump,  // node; value=ms
  // Links.
  kCutOneWay,  // node, peer
  kCutPair,    // node, peer
  kIsolate,    // node
  kSplit,      // value=bit mask of one side
  kFlap,       // node, peer; value=µs between changes
  kClog,       // node, peer: frames wait until the end of it
  kBlink,      // node, peer: the node believes the link went down and up
  kReplay,     // node, peer: old frames arrive again
  kWithhold,   // peer: the delta of the operation at `value` µs never arrives
  // Disks.
  kFailCommit,  // node; value=1: the batch turns up after a restart
  kFailSync,    // node
  kDiskFull,    // node
  kSlowDisk,    // node; value=µs per commit
  kReadError,   // node: one row, or log entry, cannot be read until the next
                // start
  kCorruptRow,  // node: likewise, or is garbage, until the disk is replaced
  // Controls that a node has anyway.
  kCheckpoint,  // node
  kSyncNow,     // node, peer
  // An operator of a cluster with rings, at node: commits what it knows to be
  // staged; value=1: whatever is on its way still.
  kCommit,
  // Places.
  kCutZone,    // node: its zone; value=1: nothing gets out, 2: nothing in
  kCutRegion,  // node: its region; value as kCutZone
  kHealLinks,  // all links, clogs too
  kStage,   // an operator at node: what becomes of peer; value=one of kStage…
            // below, and its weight times 8
  kDamage,  // node: some rows are gone, or say something else, and reading them
            // gives no error; its process starts again after `for`
};
inline constexpr int kEventKinds = 34;
inline constexpr int64_t kStageJoin = 1;
inline constexpr int64_t kStageLeave = 2;
inline constexpr int64_t kStageReplace = 3;  // by a node that is no member
inline constexpr int64_t kStageWeight = 4;
inline constexpr int64_t kStageRemove = 5;  // its disk counts as lost
inline constexpr int64_t kStages = 5;
const char* EventName(EventKind kind);

inline constexpr int64_t kInPhaseWithinUs = 20'000'000;

// How an operation is done (PlanEvent::value).
inline constexpr int64_t kWayFsync = 1;  // fsync durability
inline constexpr int64_t kWayForward =
    2;  // who owns nothing of it passes it on
inline constexpr int64_t kWaySession = 4;  // a write of a session (those on the
// two tight objects are) comes after all that the session has seen

// And at which level, if it is not the number that the sentence says: these
// bits of the value.
inline constexpr int kWayLevelShift = 3;
enum class WayLevel : uint8_t {
  kSaid = 0,
  kLocalOne,
  kLocalQuorum,
  kEachQuorum,
  kQuorum,
  kAll,
};
inline constexpr int64_t kWayLevels = 6;
inline WayLevel LevelOf(int64_t way) {
  return static_cast<WayLevel>((way >> kWayLevelShift) % kWayLevels);
}
inline int64_t WayOf(WayLevel level) {
  return static_cast<int64_t>(level) << kWayLevelShift;
}

struct PlanEvent {
  int64_t at_us = 0;
  EventKind kind = EventKind::kOperation;
  uint32_t node = 0;
  uint32_t peer = 0;
  int64_t value = 0;
  int64_t for_us = 0;
  // Of a fault: it waits, for kInPhaseWithinUs at most, until some transfer of
  // a partition is so far: at `node`, if it takes a disk's contents, else at
  // any node, which it then strikes.
  std::optional<TransferPhase> in;
  std::string text;
  bool is_fault() const { return kind != EventKind::kOperation; }
  friend bool operator==(const PlanEvent&, const PlanEvent&) = default;
};

struct Plan {
  uint64_t seed = 0;
  PlanOptions options;
  std::vector<PlanEvent> events;  // by time
  friend bool operator==(const Plan&, const Plan&) = default;
};

std::string ToText(const PlanEvent& event);
std::string ToText(const Plan& plan);
// InvalidArgument with the number of the line.
absl::StatusOr<Plan> ParsePlan(absl::string_view text);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_PLAN_H_
