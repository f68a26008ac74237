// A few shards on simulated disks with the network in the test's hand: every
// message waits in a queue until the test delivers, drops or repeats it.
#ifndef DOVETAIL_TESTS_REPLICA_CLUSTER_H_
#define DOVETAIL_TESTS_REPLICA_CLUSTER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "crdt/operation.h"
#include "crdt/query.h"
#include "crdt/session.h"
#include "replica/shard.h"
#include "tests/sim/sim_disk.h"

namespace dovetail::replica {

// Builds operations in one line each.
crdt::Operation Op(crdt::Type type, crdt::Verb verb, std::string key);
crdt::Operation AddTo(std::string set, std::vector<std::string> elements);
crdt::Operation RemoveFrom(std::string set, std::vector<std::string> elements);
crdt::Operation Count(std::string counter, int64_t amount);
crdt::Operation WriteTo(std::string reg, std::string value);

class Cluster {
 public:
  static constexpr uint64_t kWallStartMs = 1'700'000'000'000;

  explicit Cluster(uint32_t nodes, uint32_t partitions = 1,
                   ShardOptions options = {});
  // With other owners than all.
  Cluster(Placement placement, ShardOptions options);

  struct InFlight {
    NodeId from{};
    NodeId to{};
    Message message;
  };

  Shard& at(uint32_t node) { return *nodes_[node].shard; }
  sim::SimDisk& disk(uint32_t node) { return *nodes_[node].disk; }
  // Lines for its log since the test began.
  const std::vector<std::string>& said(uint32_t node) const {
    return nodes_[node].said;
  }
  bool running(uint32_t node) const { return nodes_[node].shard != nullptr; }
  uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }

  // --- Requests; the turn ends with each ---
  using Body = std::variant<WriteRequest, ReadRequest, ListRequest>;
  RequestId Submit(uint32_t node, Body body, RequestOptions options);
  RequestId Begin(uint32_t node, std::vector<crdt::Operation> operations,
                  RequestOptions options = W(1));
  // What a session's writer has prepared; as often as the test likes.
  RequestId BeginOnce(uint32_t node,
                      const crdt::SessionWriter::Prepared& prepared,
                      RequestOptions options = W(1));
  RequestId BeginRead(uint32_t node, crdt::ReadSpec spec,
                      RequestOptions options = R(1));
  RequestId BeginList(uint32_t node, ListRequest list,
                      RequestOptions options = R(1));
  // The reply, once there is one.
  std::optional<ClientReply> Take(RequestId id);
  // Begin and Take, for what is answered in its own turn.
  absl::StatusOr<WriteReply> Write(uint32_t node, crdt::Operation operation,
                                   RequestOptions options = W(1));
  absl::StatusOr<WriteReply> WriteOnce(
      uint32_t node, const crdt::SessionWriter::Prepared& prepared,
      RequestOptions options = W(1));
  absl::StatusOr<crdt::ReadResult> Read(uint32_t node, crdt::ReadSpec spec,
                                        RequestOptions options = R(1));
  // "{a, b}" and the like, of the object `key` of `type` at `node` alone.
  std::string Show(uint32_t node, crdt::Type type, std::string key);

  static RequestOptions W(uint32_t w) { return {{}, Level::Count(w), {}, {}}; }
  static RequestOptions R(uint32_t r) { return {Level::Count(r), {}, {}, {}}; }

  // --- The network ---
  std::deque<InFlight>& network() { return network_; }
  // Delivers the message at `index` of the network.
  void Deliver(size_t index);
  // Delivers everything, also what that causes, but not what `block` says.
  void DeliverAll(std::function<bool(const InFlight&)> block = nullptr);

  // Neither hears of the other any more; what is under way still arrives.
  void Part(uint32_t a, uint32_t b);
  void Meet(uint32_t a, uint32_t b);

  // --- Time, disks, processes ---
  // Every node that runs now, or is started later, goes by it.
  void Place(Placement placement);
  // In two steps: who starts later goes by it, who runs when it is told.
  void Announce(Placement placement) { placement_ = std::move(placement); }
  void Tell(uint32_t node);
  const Placement& placement() const { return placement_; }
  void Advance(absl::Duration by);  // fires timers on the way
  void Crash(uint32_t node, size_t losing_batches = 0);
  absl::Status Start(uint32_t node);
  // Later starts draw other actors than those of another cluster.
  void SkipActors(uint64_t count) { next_actor_ += count; }
  // Begins a sync by ranges of all that both own.
  void StartRanges(uint32_t node, uint32_t source);
  // Forgets all of its logs.
  void ForgetLog(uint32_t node);
  // Looks at all rows.
  void Scrub(uint32_t node);
  // Rounds of time and delivery until all are equal and logs are empty; the
  // number of rounds, or nullopt after `rounds_max`.
  std::optional<int> Settle(int rounds_max = 40);
  // What differs between the replicas; empty if nothing does.
  std::string Differences();

  Now now() const { return {steady_, wall_ms_}; }
  // From now on its wall clock is that far off.
  void SetClock(uint32_t node, absl::Duration off) {
    nodes_[node].clock_off = off;
  }

 private:
  struct Node {
    std::unique_ptr<sim::SimDisk> disk;
    std::unique_ptr<sim::SimStorage> storage;
    std::unique_ptr<Shard> shard;
    crdt::ActorId actor{};
    std::string region;  // as labelled
    absl::Duration clock_off;
    // Its fsync is done; the shard hears of it only after one more turn, which
    // the fsync does not cover.
    bool fsynced = false;
    std::vector<std::string> said;
  };
  void EndTurn(uint32_t node);
  Now NowAt(uint32_t node) const {
    const int64_t off = absl::ToInt64Milliseconds(nodes_[node].clock_off);
    return {steady_,
            static_cast<uint64_t>(static_cast<int64_t>(wall_ms_) + off)};
  }

  ShardOptions options_;
  Placement placement_;
  std::vector<Node> nodes_;
  std::deque<InFlight> network_;
  std::map<RequestId, ClientReply> replies_;
  uint64_t next_request_ = 1;
  uint64_t next_actor_ = 1;
  absl::Duration steady_;
  uint64_t wall_ms_ = kWallStartMs;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_CLUSTER_H_
