#include "net/host.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "crdt/check.h"
#include "net/cut_frames.h"
#include "net/lane_input.h"
#include "net/lane_queue.h"
#include "net/peer_codec.h"
#include "replica/hash.h"
#include "replica/request_window.h"
#include "replica/retry_after.h"

namespace dovetail::net {
namespace {

using replica::ClientReply;
using replica::ClientRequest;
using replica::Message;
using replica::NodeId;
using replica::Now;
using replica::Shard;

// The longest sleep of a shard thread; it wakes for inputs at once.
constexpr absl::Duration kSleepMax = absl::Minutes(1);
// When who was refused is to try again: below, it only comes back too early;
// beyond, the estimate is worth little.
constexpr absl::Duration kRetryAfterMin = absl::Milliseconds(5);
constexpr absl::Duration kRetryAfterMax = absl::Seconds(1);
static_assert(kRetryAfterMax <= replica::kRetryAfterMax);

Now ReadClocks() {
  const auto wall = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  return {SteadyNow(), static_cast<uint64_t>(wall.count())};
}

absl::Status Overloaded(const HostOptions& options,
                        absl::Duration retry_after) {
  return replica::WithRetryAfter(
      absl::ResourceExhaustedError(absl::StrCat(
          "overloaded: near ", options.queue_inputs_max,
          " inputs (queue_inputs_max) or ", options.queue_bytes_max,
          " bytes (queue_bytes_max) wait for one shard; try again in ",
          absl::FormatDuration(retry_after))),
      retry_after);
}

Host::Config WithBackgroundFsync(Host::Config config) {
  config.shard.background_fsync = true;
  return config;
}

}  // namespace

absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

// The periodic fsync, on a thread of its own: shards go on while the disk
// works.
class Host::Syncer {
 public:
  Syncer(Host& host, replica::Storage& storage)
      : host_(host), storage_(storage), thread_([this] { Run(); }) {}

  // One fsync, begun after this call; then the lane hears of it.
  void Request(uint32_t lane) {
    {
      std::lock_guard lock(mutex_);
      lanes_.push_back(lane);
    }
    wake_.notify_one();
  }

  absl::Status Stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  void Run();

  Host& host_;
  replica::Storage& storage_;
  absl::Status status_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<uint32_t> lanes_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// One shard, its queue and its thread.
class Host::Lane {
 public:
  Lane(Host& host, uint32_t index, replica::Storage& storage)
      : host_(host),
        index_(index),
        shard_(
            host.config_.shard, host.config_.placement,
            {host.config_.self, host.config_.actor, index,
             host.config_.options.shards, host.config_.region, host.unlisted_},
            storage),
        ring_(host.config_.ring),
        queue_({.turn_inputs_max = host.config_.options.turn_inputs_max,
                .sync_bytes = host.config_.options.turn_sync_bytes,
                .inputs_max = host.config_.options.queue_inputs_max,
                .bytes_max = host.config_.options.queue_bytes_max}) {}

  absl::Status Open() { return shard_.Open(ReadClocks()); }
  void Start() {
    thread_ = std::thread([this] { Run(); });
  }

  // Queues messages from the front of `inputs` until the queue is full. Returns
  // how many it took. One lock and one wake for all, so that they can share a
  // turn.
  size_t TryPush(std::vector<Queued>& inputs) {
    size_t taken = 0;
    {
      std::lock_guard lock(mutex_);
      for (Queued& input : inputs) {
        const auto kind = IsSync(input.input) ? Kind::kSync : Kind::kRequests;
        const auto source = DeltaSourceOf(input.input);
        if (!queue_.TryPush(kind, input, input.bytes)) break;
        if (source) ++deltas_waiting_[*source];
        ++taken;
      }
    }
    if (taken > 0) wake_.notify_one();
    return taken;
  }
  // The same for a client's requests; the others are left as they were.
  size_t TryPushOf(uint64_t source, std::vector<Queued>& inputs) {
    size_t taken = 0;
    {
      std::lock_guard lock(mutex_);
      while (taken < inputs.size() &&
             queue_.TryPushOf(source, inputs[taken], inputs[taken].bytes,
                              CostOf(inputs[taken].input))) {
        ++taken;
      }
    }
    if (taken > 0) wake_.notify_one();
    return taken;
  }
  // When there will be room again, about: what waits, at the pace of late.
  absl::Duration RetryAfter() {
    std::lock_guard lock(mutex_);
    return std::clamp(static_cast<int64_t>(queue_.clients()) * input_takes_,
                      kRetryAfterMin, kRetryAfterMax);
  }
  void Push(Input&& input) {
    {
      std::lock_guard lock(mutex_);
      queue_.Push({std::move(input), kInputBytes, {}}, kInputBytes);
    }
    wake_.notify_one();
  }
  void ReadQueue(ShardMeasures& measures) {
    std::lock_guard lock(mutex_);
    measures.queued_inputs = queue_.size();
    measures.queued_bytes = queue_.bytes();
  }
  // On the lane's thread, between two turns.
  void ReadShard(ShardMeasures& measures) const {
    measures.stats = shard_.stats();
    measures.requests = requests_.counts();
    measures.requests_in_flight = requests_.in_flight();
    measures.sync_lags = shard_.SyncLags();
    measures.peer_times = shard_.PeerAnswerTimes();
  }

  absl::Status Stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  using Kind = LaneQueue<Queued>::Kind;

  // Waits for inputs, the next deadline or the stop, and takes the inputs of a
  // turn. False: stopping, and nothing is queued any more.
  bool Take(std::vector<Queued>& turn) {
    std::unique_lock lock(mutex_);
    const absl::Duration sleep =
        std::clamp(shard_.next_deadline() - ReadClocks().steady,
                   absl::ZeroDuration(), kSleepMax);
    wake_.wait_for(lock, absl::ToChronoNanoseconds(sleep),
                   [&] { return stopping_ || !queue_.empty(); });
    queue_.Take(turn);
    for (const Queued& queued : turn) {
      const auto source = DeltaSourceOf(queued.input);
      if (!source) continue;
      const auto waiting = deltas_waiting_.find(*source);
      if (--waiting->second == 0) deltas_waiting_.erase(waiting);
    }
    return !turn.empty() || !stopping_;
  }
  void Pace(absl::Duration turn_took, size_t inputs) {
    if (inputs == 0) return;
    const absl::Duration each = turn_took / static_cast<int64_t>(inputs);
    std::lock_guard lock(mutex_);
    input_takes_ += (each - input_takes_) / 8;
  }

  void Run() {
    std::vector<Queued> turn;
    while (Take(turn)) {
      std::vector<ShardTask> queries;
      const Now now = ReadClocks();
      for (Queued& queued : turn) {
        Note(queued);
        Handle(std::move(queued.input), now, queries);
      }
      const size_t inputs = turn.size();
      turn.clear();
      if (now.steady >= shard_.next_deadline()) shard_.HandleTimers(now);
      if (!EndTurn()) return;
      Pace(SteadyNow() - now.steady, inputs);
      Watch();
      for (const ShardTask& query : queries) query(shard_);
    }
    shard_.CheckpointAll();
    if (!EndTurn()) return;
    status_ = shard_.SyncToDisk();
  }

  void Note(const Queued& queued) {
    if (const auto* request = std::get_if<ClientRequest>(&queued.input)) {
      requests_.Begin(*request, queued.at);
    } else if (const auto* peer = std::get_if<PeerInput>(&queued.input);
               peer != nullptr && replica::IsPartOfRequest(peer->message)) {
      asked_at_.push_back(queued.at);
    }
  }
  // What the turn was asked has been answered. Transfers heed how long it took.
  void Watch() {
    const absl::Duration now = SteadyNow();
    for (const absl::Duration at : asked_at_) window_.Add(now - at);
    asked_at_.clear();
    if (const auto times = window_.Look(now)) {
      shard_.HandleRequestTimes(*times);
    }
  }

  void Handle(Input&& input, Now now, std::vector<ShardTask>& queries) {
    if (auto* request = std::get_if<ClientRequest>(&input)) {
      shard_.HandleRequest(std::move(*request), now);
    } else if (auto* peer = std::get_if<PeerInput>(&input)) {
      shard_.HandleMessage(peer->from, std::move(peer->message), now);
    } else if (const auto* change = std::get_if<PeerChange>(&input)) {
      if (change->up) {
        shard_.HandlePeerUp(change->peer, now, change->incarnation);
      } else {
        shard_.HandlePeerDown(change->peer, now);
      }
    } else if (auto* placement = std::get_if<NewPlacement>(&input)) {
      shard_.HandlePlacement(*placement->placement, now);
      ring_ = placement->ring;
    } else if (auto* buckets = std::get_if<NewBuckets>(&input)) {
      shard_.HandleBuckets(std::move(buckets->buckets));
    } else if (std::holds_alternative<Fsynced>(input)) {
      shard_.HandleFsynced();
    } else {
      queries.push_back(std::get<ShardTask>(std::move(input)));
    }
  }

  bool EndTurn() {
    replica::Output output = shard_.EndTurn(ReadClocks());
    if (!output.fatal.ok()) {
      status_ = output.fatal;
      host_.TellFatal(output.fatal);
      return false;
    }
    if (output.fsync_due) host_.syncer_->Request(index_);
    if (!output.replies.empty()) {
      const absl::Duration left = SteadyNow();  // the commit took its time
      for (const ClientReply& reply : output.replies) {
        const auto took = requests_.End(reply, left);
        if (took) window_.Add(*took);
      }
    }
    DropEarlySummaries(output.messages);
    DeliverOwn(output.messages);
    if (output.messages.empty() && output.replies.empty() &&
        output.notices.empty()) {
      return true;
    }
    HostOutput out;
    out.notices = std::move(output.notices);
    uint64_t unsent = 0;
    out.frames = CutFrames(output.messages, ring_, unsent);
    host_.messages_unsent_ += unsent;
    out.replies = std::move(output.replies);
    host_.on_output_(std::move(out));
    return true;
  }

  // A summary says what is lacking here: to a peer whose deltas of that
  // partition still wait, it would ask for these once more. What they leave is
  // asked for after them.
  void DropEarlySummaries(std::vector<replica::Envelope>& messages) {
    std::lock_guard lock(mutex_);
    if (deltas_waiting_.empty()) return;
    std::erase_if(messages, [&](const replica::Envelope& envelope) {
      return std::holds_alternative<replica::Summary>(envelope.message.body) &&
             deltas_waiting_.contains(
                 {envelope.to, envelope.message.partition});
    });
  }

  // What one shard of this node says to another takes no wire.
  void DeliverOwn(std::vector<replica::Envelope>& messages) {
    const NodeId self = host_.config_.self;
    std::vector<Message> own;
    std::erase_if(messages, [&](replica::Envelope& envelope) {
      if (envelope.to != self) return false;
      own.push_back(std::move(envelope.message));
      return true;
    });
    if (!own.empty()) host_.Deliver(self, std::move(own));
  }

  Host& host_;
  const uint32_t index_;
  Shard shard_;              // on the lane's thread only, once that runs
  replica::RingStamp ring_;  // of the shard's placement
  replica::RequestWatch requests_;
  replica::RequestWindow window_;
  std::vector<absl::Duration> asked_at_;  // by peers, in this turn
  absl::Status status_;

  std::mutex mutex_;
  std::condition_variable wake_;
  LaneQueue<Queued> queue_;
  std::map<DeltaSource, size_t> deltas_waiting_;         // inputs in it
  absl::Duration input_takes_ = absl::Microseconds(20);  // of late
  bool stopping_ = false;

  std::thread thread_;
};

void Host::Syncer::Run() {
  while (true) {
    std::vector<uint32_t> lanes;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !lanes_.empty(); });
      if (stopping_) return;
      lanes.swap(lanes_);
    }
    status_ = storage_.Sync();
    if (!status_.ok()) return host_.TellFatal(status_);
    for (uint32_t lane : lanes) host_.lanes_[lane]->Push(Fsynced{});
  }
}

Host::Host(const Config& config, OnOutput on_output, OnFatal on_fatal)
    : config_(WithBackgroundFsync(config)),
      unlisted_(std::make_shared<replica::UnlistedBoard>(
          config.placement.partitions())),
      on_output_(std::move(on_output)),
      on_fatal_(std::move(on_fatal)) {
  DOVETAIL_CHECK(config.options.shards > 0);
}

// A disk that fails for one shard fails for the others too.
void Host::TellFatal(const absl::Status& why) {
  if (!fatal_told_.exchange(true)) on_fatal_(why);
}

absl::StatusOr<std::unique_ptr<Host>> Host::Start(const Config& config,
                                                  replica::Storage& storage,
                                                  OnOutput on_output,
                                                  OnFatal on_fatal) {
  std::unique_ptr<Host> host(
      new Host(config, std::move(on_output), std::move(on_fatal)));
  for (uint32_t i = 0; i < config.options.shards; ++i) {
    host->lanes_.push_back(std::make_unique<Lane>(*host, i, storage));
    const absl::Status opened = host->lanes_.back()->Open();
    if (!opened.ok()) {
      host->stopped_ = true;  // nothing runs yet, so nothing is written
      return opened;
    }
  }
  host->syncer_ = std::make_unique<Syncer>(*host, storage);
  for (const auto& lane : host->lanes_) lane->Start();
  return host;
}

Host::~Host() { Stop().IgnoreError(); }

uint32_t Host::LaneOf(const ClientRequest& request) const {
  const crdt::ObjectId* object = nullptr;
  if (const auto* write = std::get_if<replica::WriteRequest>(&request.body)) {
    // A batch over several partitions is refused by whichever shard gets it.
    if (!write->operations.empty()) object = &write->operations.front().object;
  } else if (const auto* read =
                 std::get_if<replica::ReadRequest>(&request.body)) {
    object = &read->spec.object;
  }
  // The index of objects is the node's: any shard can list it.
  if (object == nullptr) return 0;
  return replica::Index(replica::PartitionOf(object->bucket, object->key,
                                             config_.placement.partitions())) %
         shards();
}

std::vector<ClientReply> Host::Submit(std::vector<ClientRequest> requests,
                                      uint64_t source) {
  std::vector<std::vector<Queued>> by_lane(lanes_.size());
  const absl::Duration now = SteadyNow();
  for (ClientRequest& request : requests) {
    std::vector<Queued>& lane = by_lane[LaneOf(request)];
    const size_t bytes = BytesOf(request);
    lane.push_back({std::move(request), bytes, now});
  }
  std::vector<ClientReply> refused;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    size_t j = lanes_[i]->TryPushOf(source, by_lane[i]);
    if (j == by_lane[i].size()) continue;
    const absl::Duration retry_after =
        absl::Ceil(lanes_[i]->RetryAfter(), absl::Milliseconds(1));
    for (; j < by_lane[i].size(); ++j) {
      refused.push_back({std::get<ClientRequest>(by_lane[i][j].input).id,
                         Overloaded(config_.options, retry_after)});
    }
  }
  requests_refused_ += refused.size();
  return refused;
}

void Host::Deliver(NodeId from, std::vector<Message> messages) {
  std::vector<std::vector<Queued>> by_lane(lanes_.size());
  const absl::Duration now = SteadyNow();
  for (Message& message : messages) {
    std::vector<Queued>& lane =
        by_lane[replica::Index(message.partition) % shards()];
    const size_t bytes = EstimateBytes(message);
    lane.push_back({PeerInput{from, std::move(message)}, bytes, now});
  }
  for (size_t i = 0; i < lanes_.size(); ++i) {
    messages_dropped_ += by_lane[i].size() - lanes_[i]->TryPush(by_lane[i]);
  }
}

void Host::PeerUp(NodeId peer, crdt::ActorId incarnation) {
  for (const auto& lane : lanes_) {
    lane->Push(PeerChange{peer, true, incarnation});
  }
}
void Host::PeerDown(NodeId peer) {
  for (const auto& lane : lanes_) lane->Push(PeerChange{peer, false, {}});
}

void Host::SetPlacement(replica::Placement placement,
                        const replica::RingStamp& ring) {
  DOVETAIL_CHECK(placement.partitions() == config_.placement.partitions());
  const auto shared =
      std::make_shared<const replica::Placement>(std::move(placement));
  for (const auto& lane : lanes_) lane->Push(NewPlacement{shared, ring});
}

void Host::SetBuckets(std::shared_ptr<const replica::BucketDefaults> buckets) {
  for (const auto& lane : lanes_) lane->Push(NewBuckets{buckets});
}

void Host::Query(uint32_t shard, std::function<void(Shard&)> query) {
  DOVETAIL_CHECK(shard < lanes_.size());
  lanes_[shard]->Push(std::move(query));
}

void Host::Measure(std::function<void(std::vector<ShardMeasures>)> done) {
  struct Measuring {
    std::vector<ShardMeasures> shards;
    std::atomic<size_t> missing;
    std::function<void(std::vector<ShardMeasures>)> done;
  };
  const auto measuring = std::make_shared<Measuring>();
  measuring->shards.resize(lanes_.size());
  measuring->missing = lanes_.size();
  measuring->done = std::move(done);
  for (size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = *lanes_[i];
    lane.ReadQueue(measuring->shards[i]);
    lane.Push(ShardTask([measuring, i, &lane](Shard&) {
      lane.ReadShard(measuring->shards[i]);
      if (--measuring->missing == 0) {
        measuring->done(std::move(measuring->shards));
      }
    }));
  }
}

HostStats Host::stats() const {
  return {requests_refused_, messages_dropped_, messages_unsent_};
}

absl::Status Host::Stop() {
  if (stopped_) return stop_status_;
  stopped_ = true;
  for (const auto& lane : lanes_) stop_status_.Update(lane->Stop());
  stop_status_.Update(syncer_->Stop());
  return stop_status_;
}

}  // namespace dovetail::net
