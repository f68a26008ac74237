// The threads that drive the shards: how do inputs from sockets reach a state
// machine that knows no threads, and its outputs the sockets?
//
//   any thread:   Submit, Deliver, PeerUp … → two bounded queues per shard
//   shard thread: take what is queued, hand up to turn_inputs_max of it to the
//                 shard, EndTurn, encode what goes to peers, OnOutput once
//   one more:     the fsync of each period, so that no shard waits for the disk
//
// What peers and this node itself send for requests comes first, for it ends
// what was begun elsewhere; then some of what brings somebody up to date; an
// eighth of each turn is kept for clients (lane_queue.h). These wait in lines
// of their own (fair_queue.h), so that a greedy one waits for itself alone.
//
// This is the one place that reads clocks. A full queue refuses requests at
// once, with a hint when to ask again, and drops peers' messages, which the
// protocol allows (replica/message.h). When a shard says that its log could not
// be made durable, OnFatal must end the process: a failed fsync is never tried
// again and trusted.
#ifndef DOVETAIL_NET_HOST_H_
#define DOVETAIL_NET_HOST_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "crdt/dot.h"
#include "net/cut_frames.h"
#include "replica/bucket_properties.h"
#include "replica/ids.h"
#include "replica/member.h"
#include "replica/message.h"
#include "replica/options.h"
#include "replica/peer_times.h"
#include "replica/placement.h"
#include "replica/request.h"
#include "replica/request_stats.h"
#include "replica/ring_stamp.h"
#include "replica/shard.h"
#include "replica/storage.h"
#include "replica/sync_lag.h"

namespace dovetail::net {

struct HostOptions {
  // Threads, each with the partitions of its number modulo this.
  uint32_t shards = 1;
  // Inputs of one turn, that is, of one commit. 256: a commit's fixed cost is
  // spread thin, and a turn still takes a few milliseconds at the most.
  size_t turn_inputs_max = 256;
  // Of what peers send to catch up, in one turn; one input always. 64 KiB: 500
  // deltas, which take some ten milliseconds.
  size_t turn_sync_bytes = 64 << 10;
  // What may wait for one shard of clients' requests, beyond which the node is
  // overloaded, and as much again of peers' messages.
  size_t queue_inputs_max = 65'536;
  size_t queue_bytes_max = 64 << 20;
};

// What one turn lets out.
struct HostOutput {
  using Frame = OutgoingFrame;
  std::vector<Frame> frames;
  std::vector<replica::ClientReply> replies;
  std::vector<std::string> notices;  // for the log
};

// Counters since the start.
struct HostStats {
  uint64_t requests_refused = 0;  // answered "overloaded", with a hint
  uint64_t messages_dropped = 0;  // from peers, queue full
  uint64_t messages_unsent = 0;   // to peers, over the frame limit
};

// What metrics show of one shard.
struct ShardMeasures {
  // When Measure was called: what waited for the shard.
  size_t queued_inputs = 0;
  size_t queued_bytes = 0;
  // From here on: when the shard came to it, between two turns.
  replica::ShardStats stats;
  // Of clients' requests, from the moment they are queued to that at which
  // their replies leave, after the commit that these wait for. Without those
  // that were refused because the queue was full.
  replica::RequestCounts requests;
  size_t requests_in_flight = 0;
  std::vector<replica::SyncLag> sync_lags;
  std::vector<replica::PeerTime> peer_times;
};

// The clock by which replica::Now says `steady`.
absl::Duration SteadyNow();

class Host {
 public:
  struct Config {
    HostOptions options;
    replica::ShardOptions shard;
    replica::Placement placement;
    replica::RingStamp ring;  // that the placement was made of
    replica::NodeId self{};
    crdt::ActorId actor{};    // recorded already (replica::RecordActor)
    std::string region = {};  // the label of this node
  };
  // Both are called on shard threads, OnFatal on that of the fsync too. After
  // it returns (in tests) that thread does nothing more.
  using OnOutput = std::function<void(HostOutput)>;
  using OnFatal = std::function<void(const absl::Status&)>;

  // Opens all shards, then starts their threads. `storage` must outlive it.
  // Errors: of Shard::Open.
  static absl::StatusOr<std::unique_ptr<Host>> Start(const Config& config,
                                                     replica::Storage& storage,
                                                     OnOutput on_output,
                                                     OnFatal on_fatal);
  // Stops as Stop() does.
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // --- From any thread; none of them waits for a shard ---

  // Hands each request to the shard of its partition. `source` is whose they
  // are: those of one source wait in one line, in order. Returns an answer for
  // each that was refused: ResourceExhausted, the shard's queue is full for
  // this source, with a hint when to try again (replica/retry_after.h).
  std::vector<replica::ClientReply> Submit(
      std::vector<replica::ClientRequest> requests, uint64_t source = 0);
  void Deliver(replica::NodeId from, std::vector<replica::Message> messages);
  // Never dropped.
  void PeerUp(replica::NodeId peer, crdt::ActorId incarnation);
  void PeerDown(replica::NodeId peer);
  // The ring has changed. Never dropped. Requires: as many partitions.
  void SetPlacement(replica::Placement placement,
                    const replica::RingStamp& ring);
  // The properties of buckets have changed. Never dropped.
  void SetBuckets(std::shared_ptr<const replica::BucketDefaults> buckets);
  // Runs `query` on the shard's thread between two turns, after all that peers
  // sent before it; clients' requests may still be waiting.
  void Query(uint32_t shard, std::function<void(replica::Shard&)> query);
  // Measures each shard as Query does. `done` gets one entry for each, on the
  // thread of the last to answer; it is never called if a shard has ended.
  void Measure(std::function<void(std::vector<ShardMeasures>)> done);

  uint32_t shards() const { return static_cast<uint32_t>(lanes_.size()); }
  HostStats stats() const;

  // Lets the shards work off what is queued, write checkpoints and sync, then
  // joins the threads. What waits for peers stays unanswered. Errors: of the
  // last commit or sync. Later calls return the same.
  absl::Status Stop();

 private:
  class Lane;
  class Syncer;
  Host(const Config& config, OnOutput on_output, OnFatal on_fatal);
  uint32_t LaneOf(const replica::ClientRequest& request) const;
  // Calls OnFatal, the first time.
  void TellFatal(const absl::Status& why);

  const Config config_;
  const std::shared_ptr<replica::UnlistedBoard> unlisted_;
  const OnOutput on_output_;
  const OnFatal on_fatal_;
  std::atomic<bool> fatal_told_ = false;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<Syncer> syncer_;
  std::atomic<uint64_t> requests_refused_{0};
  std::atomic<uint64_t> messages_dropped_{0};
  std::atomic<uint64_t> messages_unsent_{0};
  bool stopped_ = false;
  absl::Status stop_status_;
};

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_HOST_H_
