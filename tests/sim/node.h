// One simulated node: a disk that outlives processes, clocks, and at most one
// process, which is the real replica/ code on that disk.
//
// Inputs wait in a queue per shard and are worked off in turns. What a turn
// lets out leaves only after the time that its commit takes: a crash in
// between keeps the commit and loses the outputs.
#ifndef DOVETAIL_TESTS_SIM_NODE_H_
#define DOVETAIL_TESTS_SIM_NODE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "replica/cluster.h"
#include "replica/message.h"
#include "replica/request.h"
#include "replica/shard.h"
#include "replica/storage.h"
#include "tests/sim/sim_disk.h"

namespace dovetail::sim {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// Between a process and its disk: time that calls take, a full disk, and what
// leaves the logs.
class DiskDoor final : public replica::Storage {
 public:
  explicit DiskDoor(replica::Storage& storage) : storage_(storage) {}

  void set_full(bool full) { full_ = full; }
  // Commits and fsyncs since the last call.
  struct Calls {
    int64_t commits = 0;
    int64_t fsyncs = 0;
  };
  Calls TakeCalls() { return std::exchange(calls_, {}); }
  // Rows (key, value) of the log that were deleted since the last call.
  using Rows = std::vector<std::pair<std::string, std::string>>;
  Rows TakeTruncated() { return std::exchange(truncated_, {}); }

  absl::StatusOr<std::optional<std::string>> Get(
      replica::Family family, absl::string_view key) override {
    return storage_.Get(family, key);
  }
  absl::Status Scan(
      replica::Family family, absl::string_view begin, absl::string_view end,
      absl::FunctionRef<bool(absl::string_view, absl::string_view)> visit)
      override {
    return storage_.Scan(family, begin, end, visit);
  }
  absl::Status Commit(const replica::WriteBatch& batch,
                      replica::CommitMode mode) override;
  absl::Status Sync() override {
    ++calls_.fsyncs;
    return storage_.Sync();
  }
  absl::Status Checkpoint(const std::string& directory) override {
    return storage_.Checkpoint(directory);
  }

 private:
  replica::Storage& storage_;
  bool full_ = false;
  Calls calls_;
  Rows truncated_;
};

struct PeerChange {
  replica::NodeId peer{};
  crdt::ActorId incarnation{};  // that can be reached; 0: none
};
struct PeerInput {
  replica::NodeId from{};
  replica::Message message;
};
// The fsync that a shard asked for is done.
struct FsyncDone {};
struct RingChange {
  std::shared_ptr<const replica::Placement> placement;
  replica::RingStamp ring;  // that it was made of
};
// What its shards say of their data, one after the other.
struct HoldingsAsked {
  replica::Holdings holdings;  // by the ring that they knew when it was asked
  size_t shards_left = 0;
  std::function<void(const replica::Holdings&)> done;
};
using HoldingsQuery = std::shared_ptr<HoldingsAsked>;
using Input = std::variant<replica::ClientRequest, PeerInput, PeerChange,
                           FsyncDone, RingChange, HoldingsQuery>;

// One shard of a running process.
struct Lane {
  std::unique_ptr<replica::Shard> shard;
  // Who owns what, as far as it has heard.
  std::shared_ptr<const replica::Placement> placement;
  replica::RingStamp ring;  // that it was made of; epoch 0: none
  std::deque<Input> inbox;
  int64_t wake_at_us = kNever;  // of the newest wake that is scheduled
  int64_t busy_until_us = 0;    // outputs of the last turn leave then
};

// What runs beside the shards: membership and the cluster's configuration
// (sim_strand.cc).
using StrandInput = std::function<void(replica::Cluster&, absl::Duration now)>;
struct Strand {
  replica::Cluster cluster;
  uint64_t incarnation = 0;  // of gossip
  std::deque<StrandInput> inbox = {};
  int64_t wake_at_us = kNever;
  bool unsaved = false;  // the configuration is not what is on disk
  int64_t save_at_us = 0;
};

struct Process {
  explicit Process(SimDisk& disk) : storage(disk), door(storage) {}
  SimStorage storage;
  DiskDoor door;
  std::vector<Lane> lanes;
  std::unique_ptr<Strand> strand;  // nullptr: the plan has no ring
  replica::RingStamp placed;  // the ring that the shards were told of last,
  bool placed_moves = false;  // and whether of the one before it
  crdt::ActorId actor{};
  int64_t started_us = 0;
};

struct NodeClock {
  int64_t offset_ms = 0;
  int64_t drift_ppm = 0;
  uint64_t WallMs(int64_t now_us) const;
};

struct Node {
  SimDisk disk;
  std::optional<SimDisk> backup;
  std::unique_ptr<Process> process;  // nullptr: not running
  uint64_t starts = 0;               // numbers the incarnations
  NodeClock clock;
  // By peer: the process at the other end of a link that works; 0: none.
  std::vector<crdt::ActorId> believes;

  // --- Faults ---
  int64_t start_at_us = kNever;  // a start that is due
  int64_t paused_until_us = 0;
  int64_t slow_until_us = 0;
  int64_t slow_step_us = 0;
  int64_t disk_full_until_us = 0;
  int64_t disk_slow_until_us = 0;
  int64_t disk_slow_us = 0;
  bool row_unreadable = false;  // until the next start
  bool needs_restart = false;   // its process trusts no write any more
  bool disk_failed_ever = false;

  bool running() const { return process != nullptr; }
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_NODE_H_
