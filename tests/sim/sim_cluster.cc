#include "tests/sim/sim_cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "net/frame.h"
#include "net/peer_codec.h"
#include "replica/hash.h"
#include "tests/sim/seat.h"
#include "tests/sim/sim_ring.h"

namespace dovetail::sim {

using replica::Envelope;
using replica::Message;
using replica::NodeId;
using replica::Now;
using replica::Shard;

namespace {

replica::ShardOptions ToShardOptions(const PlanOptions& plan) {
  replica::ShardOptions options;
  options.row_cache_bytes = static_cast<size_t>(plan.row_cache_bytes);
  options.inline_leaves_max = static_cast<size_t>(plan.inline_leaves_max);
  options.inline_bytes_max = static_cast<size_t>(plan.inline_bytes_max);
  options.background_fsync = plan.background_fsync != 0;
  options.fsync_period = absl::Microseconds(plan.fsync_period_us);
  options.sync_period_min = absl::Microseconds(plan.sync_period_min_us);
  options.sync_period_max = absl::Microseconds(plan.sync_period_max_us);
  options.sync_chunk_bytes = static_cast<size_t>(plan.sync_chunk_bytes);
  options.log_bytes_max = static_cast<uint64_t>(plan.log_bytes_max);
  options.range_chunk_bytes = static_cast<size_t>(plan.range_chunk_bytes);
  options.transfers_at_once = static_cast<size_t>(plan.transfers_at_once);
  options.transfer_bytes_per_second =
      static_cast<uint64_t>(plan.transfer_bytes_per_second);
  options.checkpoint_deltas = static_cast<uint64_t>(plan.checkpoint_deltas);
  options.truncate_entries_per_turn =
      static_cast<size_t>(plan.truncate_entries_per_turn);
  options.read_hedge_after = absl::Microseconds(plan.read_hedge_after_us);
  options.write_hedge_after = absl::Microseconds(plan.write_hedge_after_us);
  options.hint_bytes_max = static_cast<size_t>(plan.hint_bytes_max);
  options.hint_age_max = absl::Microseconds(plan.hint_age_max_us);
  options.newborn_patience = absl::Microseconds(plan.newborn_patience_us);
  options.empty_rows_per_turn = static_cast<size_t>(plan.empty_rows_per_turn);
  options.log_age_max = absl::Microseconds(plan.log_age_max_us);
  options.truncate_again_after =
      absl::Microseconds(plan.truncate_again_after_us);
  options.scrub_rows_per_round =
      static_cast<uint64_t>(plan.scrub_rows_per_round);
  options.big_leaf_rows = static_cast<uint64_t>(plan.big_leaf_rows);
  options.piece_bits = static_cast<int>(plan.piece_bits);
  options.divide_rows_per_round =
      static_cast<uint64_t>(plan.divide_rows_per_round);
  options.expiry_grace = absl::Milliseconds(plan.expiry_grace_ms);
  options.expiry_clock_agreement = absl::Milliseconds(plan.expiry_agreement_ms);
  options.quorums_default =
      plan.strict != 0 ? replica::Quorums::kStrict : replica::Quorums::kSloppy;
  options.requests_in_flight_max =
      static_cast<size_t>(plan.requests_in_flight_max);
  return options;
}

}  // namespace

SimCluster::SimCluster(const Plan& plan, Scheduler& scheduler, Trace& trace,
                       hooks::Run& hooks, Observer& observer)
    : plan_(plan),
      scheduler_(scheduler),
      trace_(trace),
      hooks_(hooks),
      observer_(observer),
      shard_options_(ToShardOptions(plan.options)),
      placement_(FirstPlacement(plan)),
      network_(scheduler, plan,
               [this](uint32_t from, uint32_t to, const Frame& frame) {
                 OnFrame(from, to, frame);
               }),
      nodes_(static_cast<size_t>(plan.options.nodes)),
      chance_(plan.seed, "cluster") {
  for (uint32_t id = 0; id < size(); ++id) {
    Stream clock(plan.seed, "clock", id);
    const int64_t offset = plan.options.offset_ms;
    const int64_t drift = plan.options.drift_ppm;
    nodes_[id].clock = {clock.Between(-offset, offset),
                        clock.Between(-drift, drift)};
    nodes_[id].believes.assign(size(), crdt::ActorId{});
  }
}

Shard& SimCluster::ShardOf(uint32_t node, replica::PartitionId partition) {
  Process& process = *nodes_[node].process;
  return *process.lanes[Index(partition) % process.lanes.size()].shard;
}

Now SimCluster::NowAt(const Node& node) const {
  const int64_t us = scheduler_.now_us();
  return {absl::Microseconds(us), node.clock.WallMs(us)};
}

// --- Processes ---------------------------------------------------------------

void SimCluster::StartAll() {
  for (uint32_t id = 0; id < size(); ++id) Start(id);
}

void SimCluster::Start(uint32_t id) {
  Node& node = nodes_[id];
  node.start_at_us = kNever;
  if (node.running() || WaitsToJoin(id)) return;
  node.needs_restart = false;
  if (node.row_unreadable) {
    node.disk.ClearFaults();
    node.row_unreadable = false;
  }
  const absl::Status opened = Open(id);
  trace_.Add(scheduler_.now_us(), "start", id, node.starts, opened.ok(),
             [&] { return absl::StrCat("node ", id, " ", opened.ToString()); });
  if (!opened.ok()) {
    node.process.reset();
    if (!node.disk.bad() && !node.disk_failed_ever) {
      observer_.OnViolation(
          absl::StrCat("node ", id, " cannot start: ", opened.ToString()));
    }
    return;
  }
  observer_.OnStarted(id);
  for (uint32_t lane = 0; lane < node.process->lanes.size(); ++lane) {
    Wake(id, lane, scheduler_.now_us());
  }
  node.believes.assign(size(), crdt::ActorId{});
  ReconsiderAll(id, 1'000);
}

absl::Status SimCluster::Open(uint32_t id) {
  Node& node = nodes_[id];
  node.process = std::make_unique<Process>(node.disk);
  Process& process = *node.process;
  process.started_us = scheduler_.now_us();
  hooks_.SetNode(id, ++node.starts);
  process.actor =
      crdt::MakeActorId(crdt::ActorKind::kNode,
                        Stream(plan_.seed, "actor", id, node.starts).Next());
  if (DOVETAIL_MUTANT("a restored disk keeps its incarnation")) {
    auto recorded = replica::RecordedActors(process.storage);
    if (recorded.ok() && !recorded->empty()) process.actor = recorded->back();
  }
  DOVETAIL_RETURN_IF_ERROR(
      replica::RecordActor(process.storage, process.actor));
  std::shared_ptr<const replica::Placement> placement = placement_;
  replica::RingStamp ring;
  std::optional<replica::ClusterConfig> config;
  if (plan_.options.ring != 0) {
    config = StartConfig(id);
    process.placed = ring = {config->ring->epoch(), config->ring->digest()};
    process.placed_moves = config->ring->before().has_value();
    placement = PlacementFor(NewRingOf(*config->ring));
    if (ring != newest_ring_) late_start_us_ = scheduler_.now_us();
  }
  const auto shards = static_cast<uint32_t>(plan_.options.shards);
  const auto unlisted =
      std::make_shared<replica::UnlistedBoard>(placement->partitions());
  for (uint32_t i = 0; i < shards; ++i) {
    Lane lane;
    lane.shard = std::make_unique<Shard>(
        shard_options_, *placement,
        Shard::Identity{NodeId{id}, process.actor, i, shards,
                        RegionOf(plan_, id), unlisted},
        process.door);
    lane.placement = placement;
    lane.ring = ring;
    DOVETAIL_RETURN_IF_ERROR(lane.shard->Open(NowAt(node)));
    process.lanes.push_back(std::move(lane));
  }
  if (config) StartStrand(id, *std::move(config));
  return absl::OkStatus();
}

void SimCluster::Kill(uint32_t id, Death death, int64_t down_us) {
  Node& node = nodes_[id];
  trace_.Add(scheduler_.now_us(), "stop", id, static_cast<uint64_t>(death),
             static_cast<uint64_t>(down_us),
             [&] { return absl::StrCat("node ", id); });
  if (node.running()) {
    node.process.reset();
    observer_.OnStopped(id, death);
    for (uint32_t peer = 0; peer < size(); ++peer) {
      if (peer != id) ReconsiderLater(peer, id, plan_.options.detect_us);
    }
  } else if (death == Death::kDisk) {
    observer_.OnStopped(id, death);
  }
  // A configuration that its disk could not take is gone with the process.
  if (plan_.options.ring != 0) FindNewestRing();
  const int64_t at = scheduler_.now_us() + down_us;
  // The later of two wins: the earlier one finds another time written here.
  if (node.start_at_us == kNever || node.start_at_us < at) {
    node.start_at_us = at;
    scheduler_.At(at, [this, id, at] {
      if (nodes_[id].start_at_us == at) Start(id);
    });
  }
}

void SimCluster::Crash(uint32_t id, int64_t lose_permille, int64_t down_us) {
  Node& node = nodes_[id];
  if (!node.running()) return;
  Kill(id, lose_permille > 0 ? Death::kPower : Death::kProcess, down_us);
  if (lose_permille > 0) {
    const auto unsynced = static_cast<int64_t>(node.disk.unsynced_batches());
    node.disk.CrashLosing(
        static_cast<size_t>((unsynced * lose_permille + 999) / 1000));
  }
}

void SimCluster::CrashWithDisk(uint32_t id, int64_t down_us) {
  Kill(id, Death::kDisk, down_us);
}

void SimCluster::ReplaceDisk(uint32_t id, SimDisk disk, int64_t down_us) {
  Kill(id, Death::kDisk, down_us);
  nodes_[id].disk = std::move(disk);
  if (plan_.options.ring != 0) FindNewestRing();
  nodes_[id].row_unreadable = false;
}

void SimCluster::Pause(uint32_t id, int64_t for_us) {
  int64_t& until = nodes_[id].paused_until_us;
  until = std::max(until, scheduler_.now_us() + for_us);
}

void SimCluster::HealAll() {
  network_.HealAll();
  for (uint32_t id = 0; id < size(); ++id) Heal(id);
}

void SimCluster::HealCore(uint64_t nodes) {
  const auto in_core = [&](uint32_t id) { return ((nodes >> id) & 1) != 0; };
  network_.HealAll();
  for (uint32_t a = 0; a < size(); ++a) {
    for (uint32_t b = 0; b < size(); ++b) {
      // Until HealAll.
      if (in_core(a) != in_core(b)) CutBetween(a, b, kNever / 2);
    }
  }
  for (uint32_t id = 0; id < size(); ++id) {
    if (in_core(id)) Heal(id);
  }
}

void SimCluster::Heal(uint32_t id) {
  Node& node = nodes_[id];
  node.paused_until_us = 0;
  node.slow_until_us = 0;
  node.disk_full_until_us = 0;
  node.disk_slow_until_us = 0;
  if (node.disk.bad()) {
    ReplaceDisk(id, SimDisk(), 0);  // what an operator does with such a disk
  } else if (node.row_unreadable || node.needs_restart) {
    Crash(id, 0, 0);
  }
  node.disk.ClearFaults();
  if (!node.running()) Start(id);
  if (node.running() && node.process->strand != nullptr) {
    WakeStrand(id, scheduler_.now_us());
  }
  for (uint32_t lane = 0; node.running() && lane < node.process->lanes.size();
       ++lane) {
    Wake(id, lane, scheduler_.now_us());
  }
  ReconsiderAll(id, 1'000);
}

// --- Inputs ------------------------------------------------------------------

bool SimCluster::Submit(uint32_t id, replica::ClientRequest request) {
  Node& node = nodes_[id];
  if (!node.running()) return false;
  const crdt::ObjectId* object = nullptr;
  if (const auto* write = std::get_if<replica::WriteRequest>(&request.body)) {
    object = &write->operations.front().object;
  } else if (const auto* read =
                 std::get_if<replica::ReadRequest>(&request.body)) {
    object = &read->spec.object;
  }
  const uint32_t lane =
      object == nullptr ? 0
                        : Index(replica::PartitionOf(
                              object->bucket, object->key, partitions())) %
                              static_cast<uint32_t>(node.process->lanes.size());
  Push(id, lane, std::move(request));
  return true;
}

void SimCluster::Control(uint32_t id, absl::FunctionRef<void(Shard&)> action) {
  Node& node = nodes_[id];
  if (!node.running()) return;
  hooks_.SetNode(id, node.starts);
  for (uint32_t lane = 0; lane < node.process->lanes.size(); ++lane) {
    action(*node.process->lanes[lane].shard);
    Wake(id, lane, scheduler_.now_us());
  }
}

void SimCluster::OnFrame(uint32_t from, uint32_t to, const Frame& frame) {
  Node& node = nodes_[to];
  trace_.Add(scheduler_.now_us(), "frame", from, to, HashOf(*frame), [&] {
    return absl::StrCat("node ", from, " to node ", to, ", ", frame->size(),
                        " bytes", node.running() ? "" : ", nobody there");
  });
  if (!node.running()) return;
  net::FrameParser parser(net::kPeerFrameBytesMax);
  absl::string_view rest = *frame;
  auto words = parser.Next(rest);
  DOVETAIL_CHECK(words.ok() && words->has_value() && rest.empty());
  auto decoded = net::DecodePeerFrame(**words, partitions());
  if (!decoded.ok()) {
    return observer_.OnViolation(
        absl::StrCat("a frame of node ", from,
                     " does not decode: ", decoded.status().ToString()));
  }
  if (auto* gossip = std::get_if<net::PeerGossip>(&*decoded)) {
    return OnGossip(from, to, std::move(*gossip));
  }
  auto& messages = std::get<net::PeerMessages>(*decoded);
  if (node.process->strand != nullptr) OnPlacedBy(from, to, messages.ring);
  for (Message& message : messages.messages) {
    Push(to, LaneOf(to, message.partition),
         PeerInput{NodeId{from}, std::move(message)});
  }
}

uint32_t SimCluster::LaneOf(uint32_t id, replica::PartitionId partition) const {
  return Index(partition) %
         static_cast<uint32_t>(nodes_[id].process->lanes.size());
}

void SimCluster::Push(uint32_t id, uint32_t lane, Input input) {
  nodes_[id].process->lanes[lane].inbox.push_back(std::move(input));
  Wake(id, lane, scheduler_.now_us());
}

void SimCluster::Wake(uint32_t id, uint32_t lane_index, int64_t at_us) {
  Node& node = nodes_[id];
  Lane& lane = node.process->lanes[lane_index];
  at_us = std::max(
      {at_us, lane.busy_until_us, node.paused_until_us, scheduler_.now_us()});
  if (at_us >= lane.wake_at_us) return;
  lane.wake_at_us = at_us;
  scheduler_.At(at_us, [this, id, lane_index, at_us, starts = node.starts] {
    Node& then = nodes_[id];
    if (!then.running() || then.starts != starts) return;
    Lane& its = then.process->lanes[lane_index];
    if (its.wake_at_us != at_us) return;  // woken earlier meanwhile
    its.wake_at_us = kNever;
    if (then.paused_until_us > scheduler_.now_us()) {
      Wake(id, lane_index, then.paused_until_us);
    } else {
      Turn(id, lane_index);
    }
  });
}

// --- Turns -------------------------------------------------------------------

void SimCluster::Turn(uint32_t id, uint32_t lane_index) {
  Node& node = nodes_[id];
  Process& process = *node.process;
  Lane& lane = process.lanes[lane_index];
  Shard& shard = *lane.shard;
  ++turns_;
  hooks_.SetNode(id, node.starts);
  process.door.set_full(node.disk_full_until_us > scheduler_.now_us());
  const Now now = NowAt(node);
  const size_t inputs = std::min(
      lane.inbox.size(), static_cast<size_t>(plan_.options.turn_inputs_max));
  for (size_t i = 0; i < inputs; ++i) {
    Input input = std::move(lane.inbox.front());
    lane.inbox.pop_front();
    Handle(id, shard, std::move(input), now);
  }
  if (now.steady >= shard.next_deadline()) {
    shard.HandleTimers(now);
    PassOnTold(id, shard);
  }
  replica::Output output = shard.EndTurn(now);
  observer_.OnTurn(id, shard, output);
  trace_.Add(scheduler_.now_us(), "turn", id, inputs,
             output.messages.size() + (output.replies.size() << 20), [&] {
               return absl::StrCat("node ", id, " lane ", lane_index, ": ",
                                   inputs, " inputs, ", output.messages.size(),
                                   " messages, ", output.replies.size(),
                                   " replies");
             });
  for (const std::string& line : output.notices) {
    trace_.Add(scheduler_.now_us(), "says", id, lane_index, HashOf(line),
               [&] { return absl::StrCat("node ", id, ": ", line); });
  }
  if (output.fsync_due && output.fatal.ok()) {
    output.fatal = BeginFsync(id, lane_index);
  }
  if (!output.fatal.ok()) {
    if (!node.disk_failed_ever) {
      observer_.OnViolation(
          absl::StrCat("node ", id, " gave up: ", output.fatal.ToString()));
    }
    return Kill(id, Death::kProcess, 1'000'000);
  }
  lane.busy_until_us = scheduler_.now_us() + TurnTime(node);
  Release(id, lane_index, std::move(output));
  if (!lane.inbox.empty()) {
    Wake(id, lane_index, lane.busy_until_us);
  } else if (shard.next_deadline() < absl::InfiniteDuration()) {
    Wake(id, lane_index,
         std::max(absl::ToInt64Microseconds(shard.next_deadline()) + 1,
                  lane.busy_until_us));
  }
}

// It covers what is committed by now and, as chance may have it, no more; the
// shard hears of it later.
absl::Status SimCluster::BeginFsync(uint32_t id, uint32_t lane) {
  Node& node = nodes_[id];
  DOVETAIL_RETURN_IF_ERROR(node.process->door.Sync());
  const bool slow_disk = node.disk_slow_until_us > scheduler_.now_us();
  scheduler_.After(1 + (slow_disk ? node.disk_slow_us : plan_.options.fsync_us),
                   [this, id, lane, starts = node.starts] {
                     if (!nodes_[id].running() || nodes_[id].starts != starts)
                       return;
                     Push(id, lane, FsyncDone{});
                   });
  return absl::OkStatus();
}

int64_t SimCluster::TurnTime(Node& node) {
  const int64_t now = scheduler_.now_us();
  const bool slow = node.slow_until_us > now;
  const bool slow_disk = node.disk_slow_until_us > now;
  const DiskDoor::Calls calls = node.process->door.TakeCalls();
  return 1 + (slow ? node.slow_step_us : plan_.options.step_us) +
         calls.commits *
             (slow_disk ? node.disk_slow_us : plan_.options.commit_us) +
         calls.fsyncs *
             (slow_disk ? node.disk_slow_us : plan_.options.fsync_us);
}

void SimCluster::Handle(uint32_t id, Shard& shard, Input input, Now now) {
  if (auto* request = std::get_if<replica::ClientRequest>(&input)) {
    observer_.BeforeRequest(id, shard, *request);
    shard.HandleRequest(std::move(*request), now);
  } else if (auto* peer = std::get_if<PeerInput>(&input)) {
    const Message copy = peer->message;
    observer_.BeforeMessage(id, shard, copy);
    shard.HandleMessage(peer->from, std::move(peer->message), now);
    observer_.AfterMessage(id, shard, SeatOf(peer->from), copy);
  } else if (std::holds_alternative<FsyncDone>(input)) {
    shard.HandleFsynced();
  } else if (const auto* ring = std::get_if<RingChange>(&input)) {
    for (Lane& lane : nodes_[id].process->lanes) {
      if (lane.shard.get() != &shard) continue;
      // That nothing moves any more changes no owners.
      if (ring->ring != lane.ring) ring_heard_us_ = scheduler_.now_us();
      lane.placement = ring->placement;
      lane.ring = ring->ring;
      observer_.BeforePlacement(id, shard);
      shard.HandlePlacement(*ring->placement, now);
    }
  } else if (const auto* asked = std::get_if<HoldingsQuery>(&input)) {
    const replica::ShardStats stats = shard.stats();
    replica::Holdings& holdings = (*asked)->holdings;
    holdings.data = holdings.data || stats.held > 0;
    holdings.incomplete += static_cast<uint32_t>(stats.incomplete);
    if (--(*asked)->shards_left == 0) (*asked)->done(holdings);
  } else {
    const auto& change = std::get<PeerChange>(input);
    if (change.incarnation != crdt::ActorId{}) {
      shard.HandlePeerUp(change.peer, now, change.incarnation);
    } else {
      observer_.BeforePeerDown(id, shard);
      shard.HandlePeerDown(change.peer, now);
    }
  }
  PassOnTold(id, shard);
}

void SimCluster::PassOnTold(uint32_t id, Shard& shard) {
  std::vector<Ran> writes;
  for (const auto& [what, values] : hooks_.TakeTold()) {
    const replica::RequestId request{values[0]};
    const replica::PartitionId partition{static_cast<uint16_t>(values[1])};
    const replica::ReadTicket ticket{crdt::ActorId{values[2]}, values[3]};
    if (absl::string_view(what) == "forward: sent") {
      const NodeId to{static_cast<uint32_t>(values[4])};
      observer_.OnPassedOn(id, SeatOf(to), request, ticket);
    } else if (absl::string_view(what) == "forward: taken") {
      observer_.OnTaken(id, shard, request, ticket);
    } else {
      const bool more = (values[5] & 2) != 0;
      const bool resumes = (values[5] & 4) != 0;
      writes.push_back({request,
                        partition,
                        {crdt::ActorId{values[2]}, values[3], values[4]},
                        (values[5] & 1) != 0,
                        more,
                        more && !resumes});
    }
  }
  if (!writes.empty()) observer_.OnRan(id, shard, writes);
}

void SimCluster::Release(uint32_t id, uint32_t lane_index,
                         replica::Output output) {
  if (output.messages.empty() && output.replies.empty()) return;
  const Node& node = nodes_[id];
  // What one shard of a node says to another takes no wire.
  std::vector<Message> own;
  std::erase_if(output.messages, [&](Envelope& envelope) {
    if (Index(envelope.to) != id) return false;
    own.push_back(std::move(envelope.message));
    return true;
  });
  auto frames =
      Encode(id, output.messages, node.process->lanes[lane_index].ring);
  scheduler_.At(
      node.process->lanes[lane_index].busy_until_us,
      [this, id, starts = node.starts, frames = std::move(frames),
       own = std::move(own), replies = std::move(output.replies)]() mutable {
        // The process that committed the turn died before it could
        // speak.
        if (!nodes_[id].running() || nodes_[id].starts != starts) return;
        for (Message& message : own) {
          const uint32_t lane = LaneOf(id, message.partition);
          Push(id, lane, PeerInput{NodeId{id}, std::move(message)});
        }
        for (auto& [to, bytes] : frames) {
          network_.Send(id, to, std::move(bytes));
        }
        for (const replica::ClientReply& reply : replies) {
          observer_.OnReply(id, reply);
        }
      });
}

std::vector<std::pair<uint32_t, std::string>> SimCluster::Encode(
    uint32_t id, const std::vector<Envelope>& messages,
    const replica::RingStamp& ring) {
  std::vector<std::vector<const Message*>> by_peer(size());
  for (const Envelope& envelope : messages) {
    if (observer_.OnSend(id, envelope)) {
      by_peer[SeatOf(envelope.to)].push_back(&envelope.message);
    }
  }
  std::vector<std::pair<uint32_t, std::string>> frames;
  for (uint32_t to = 0; to < size(); ++to) {
    if (by_peer[to].empty()) continue;
    auto bytes = net::EncodeMessages(by_peer[to], ring);
    if (!bytes.ok()) {
      observer_.OnViolation(
          absl::StrCat("messages of node ", id,
                       " do not encode: ", bytes.status().ToString()));
      continue;
    }
    frames.emplace_back(to, *std::move(bytes));
  }
  return frames;
}

}  // namespace dovetail::sim
