#include "replica/shard.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "replica/bucket_defaults.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/retry_after.h"
#include "replica/shard_state.h"

namespace dovetail::replica {

Shard::Shard(const ShardOptions& options, const Placement& placement,
             const Identity& identity, Storage& storage)
    : state_(std::make_unique<State>(options, placement, identity, storage)) {
  DOVETAIL_CHECK(identity.shard < identity.shards);
  const crdt::ActorId actor = DOVETAIL_MUTANT("actor: kept over restarts")
                                  ? crdt::ActorId{Index(identity.self) + 1}
                                  : identity.actor;
  for (uint32_t p = identity.shard; p < placement.partitions();
       p += identity.shards) {
    state_->core.partitions.push_back(std::make_unique<Partition>(
        PartitionId{static_cast<uint16_t>(p)}, placement.partitions(), actor,
        options, state_->core.rows, storage));
  }
}

Shard::~Shard() = default;

absl::Status Shard::Open(Now now) {
  for (const auto& partition : state_->core.partitions) {
    const absl::Status loaded = partition->Load();
    if (absl::IsDataLoss(loaded)) {
      return absl::DataLossError(absl::StrCat(
          "partition ", Index(partition->id()),
          " cannot be loaded: ", loaded.message(),
          "; this node's data has to be replaced, as after a lost disk"));
    }
    DOVETAIL_RETURN_IF_ERROR(loaded);
  }
  DOVETAIL_RETURN_IF_ERROR(state_->LoadClock());
  // What was recovered may sit in the operating system's cache alone.
  state_->unsynced = true;
  state_->next_fsync = now.steady + state_->core.options.fsync_period;
  state_->next_maintenance = now.steady + state_->core.options.sync_period_min;
  state_->next_truncation = absl::InfiniteDuration();
  state_->sync.Open(now);
  state_->core.SetTime(now);
  state_->filling.Open();
  for (const auto& partition : state_->core.partitions) {
    state_->core.unlisted->Set(partition->id(), partition->unlisted());
  }
  return absl::OkStatus();
}

void Shard::HandleRequest(ClientRequest request, Now now) {
  State& s = *state_;
  s.core.SetTime(now);
  RequestOptions& options = request.options;
  if (absl::Status fits = ApplyBucketDefaults(s.core, request); !fits.ok()) {
    return s.core.Reply(request.id, std::move(fits));
  }
  if (options.timeout <= absl::ZeroDuration()) {
    options.timeout = s.core.options.request_timeout_default;
  }
  options.timeout =
      std::min(options.timeout, s.core.options.request_timeout_max);
  if (DOVETAIL_BUGGIFY("request: almost no time")) {
    options.timeout = std::min(options.timeout, absl::Milliseconds(1));
  }
  if (s.writes.in_flight() + s.sessions.in_flight() + s.reads.in_flight() +
              s.lists.in_flight() + s.forwards.in_flight() >=
          s.core.options.requests_in_flight_max ||
      DOVETAIL_BUGGIFY("request: refused as if overloaded")) {
    DOVETAIL_MARK("request: overloaded");
    return s.core.Reply(
        request.id,
        WithRetryAfter(
            absl::ResourceExhaustedError(absl::StrCat(
                "overloaded: ", s.core.options.requests_in_flight_max,
                " requests in flight (requests_in_flight_max); "
                "try again shortly")),
            s.core.options.retry_after_in_flight));
  }
  if (auto* write = std::get_if<WriteRequest>(&request.body)) {
    absl::StatusOr<PartitionId> partition = s.PartitionOfWrite(*write);
    if (!partition.ok()) return s.core.Reply(request.id, partition.status());
    s.SetTimesOfExpiry(*write);
    s.Coordinate(std::move(request), *partition, now);
  } else if (auto* read = std::get_if<ReadRequest>(&request.body)) {
    if (absl::Status valid = crdt::Validate(read->spec); !valid.ok()) {
      return s.core.Reply(request.id, std::move(valid));
    }
    const PartitionId partition =
        PartitionOf(read->spec.object.bucket, read->spec.object.key,
                    s.core.placement.partitions());
    DOVETAIL_CHECK(s.core.Owns(partition));
    s.Coordinate(std::move(request), partition, now);
  } else {
    auto& list = std::get<ListRequest>(request.body);
    for (const SessionToken& token : list.session) {
      absl::Status fits =
          token.CheckFits(token.partition, s.core.placement.partitions());
      if (!fits.ok()) return s.core.Reply(request.id, std::move(fits));
    }
    s.lists.Start(request.id, options, std::move(list), now);
  }
}

void Shard::State::Coordinate(ClientRequest request, PartitionId partition,
                              Now now) {
  const absl::Status fits = std::visit(
      [&](const auto& body) {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, ListRequest>) {
          return absl::OkStatus();
        } else {
          return CheckSession(body.session, partition);
        }
      },
      request.body);
  if (!fits.ok()) return core.Reply(request.id, fits);
  if (forwards.Start(request, partition, now)) return;
  if (auto* write = std::get_if<WriteRequest>(&request.body)) {
    const bool once = write->id.has_value();
    sessions.Start({request.id, request.options, partition, std::move(*write)},
                   now);
    // Its events may be older than this request: what a session has seen.
    if (once) sessions.OnApplied(partition, now);
  } else {
    reads.Start(request.id, request.options, partition,
                std::get<ReadRequest>(std::move(request.body)), now);
  }
}

void Shard::State::SetTimesOfExpiry(WriteRequest& write) const {
  // Of an operation with an id the client's clock, like its timestamp: a retry
  // must come to the same.
  const uint64_t now_ms =
      write.id ? write.id->stamp.wall_ms : core.peer_clocks.Time(core.time);
  for (crdt::Operation& operation : write.operations) {
    crdt::MakeAbsolute(operation, now_ms);
  }
}

absl::Status Shard::State::CheckSession(
    const std::optional<SessionToken>& session, PartitionId partition) const {
  if (!session) return absl::OkStatus();
  return session->CheckFits(partition, core.placement.partitions());
}

absl::StatusOr<PartitionId> Shard::State::PartitionOfWrite(
    const WriteRequest& write) {
  if (write.operations.empty()) {
    return absl::InvalidArgumentError("a write without operations");
  }
  if (write.operations.size() > crdt::kOperationsPerBatchMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("an atomic batch of ", write.operations.size(),
                     " operations; the limit is ", crdt::kOperationsPerBatchMax,
                     " (kOperationsPerBatchMax)"));
  }
  if (write.id) DOVETAIL_RETURN_IF_ERROR(crdt::Validate(*write.id));
  std::optional<PartitionId> partition;
  for (const crdt::Operation& operation : write.operations) {
    DOVETAIL_RETURN_IF_ERROR(crdt::Validate(operation));
    const PartitionId its =
        PartitionOf(operation.object.bucket, operation.object.key,
                    core.placement.partitions());
    if (partition && *partition != its) {
      DOVETAIL_MARK("request: a batch over several partitions");
      return absl::InvalidArgumentError(
          absl::StrCat("an atomic batch lies in one partition, but ",
                       crdt::ToString(write.operations.front().object), " and ",
                       crdt::ToString(operation.object),
                       " do not; keys that share a {tag} share a partition"));
    }
    partition = its;
  }
  DOVETAIL_CHECK(core.Owns(*partition));
  return *partition;
}

void Shard::HandleMessage(NodeId from, Message message, Now now) {
  // A peer with another idea of the cluster: nothing here can answer it.
  if (!state_->core.Owns(message.partition)) return;
  state_->core.SetTime(now);
  state_->OnMessage(from, std::move(message), now);
}

void Shard::State::OnMessage(NodeId from, Message message, Now now) {
  const PartitionId partition = message.partition;
  auto& body = message.body;
  if (const auto* replicate = std::get_if<Replicate>(&body)) {
    OnReplicate(from, partition, *replicate, now);
  } else if (const auto* ack = std::get_if<Ack>(&body)) {
    writes.OnAck(from, partition, *ack);
  } else if (const auto* refuse = std::get_if<Refuse>(&body)) {
    writes.OnRefuse(from, partition, *refuse);
  } else if (const auto* summary = std::get_if<Summary>(&body)) {
    sync.OnSummary(from, partition, *summary, now);
    filling.OnWord(partition);
  } else if (const auto* chunk = std::get_if<SyncDeltas>(&body)) {
    OnSyncDeltas(from, partition, *chunk, now);
  } else if (const auto* query = std::get_if<ReadQuery>(&body)) {
    reads.OnQuery(from, partition, *query);
  } else if (auto* answer = std::get_if<ReadAnswer>(&body)) {
    reads.OnAnswer(from, partition, std::move(*answer));
  } else if (const auto* list = std::get_if<ListQuery>(&body)) {
    lists.OnQuery(from, partition, *list);
  } else if (auto* page = std::get_if<ListAnswer>(&body)) {
    lists.OnAnswer(from, std::move(*page), now);
  } else if (auto* presence = std::get_if<PresenceQuery>(&body)) {
    OnPresenceQuery(from, partition, std::move(*presence), now);
  } else if (const auto* cover = std::get_if<CoverQuery>(&body)) {
    sessions.OnCoverQuery(from, partition, *cover);
  } else if (const auto* covers = std::get_if<CoverAnswer>(&body)) {
    lists.OnCoverAnswer(from, *covers, now);
  } else if (auto* forward = std::get_if<Forward>(&body)) {
    OnForward(from, partition, std::move(*forward), now);
  } else if (auto* forwarded = std::get_if<Forwarded>(&body)) {
    forwards.OnForwarded(from, partition, std::move(*forwarded));
  } else if (auto* ranges_query = std::get_if<RangeQuery>(&body)) {
    range_source.OnQuery(from, partition, std::move(*ranges_query), now);
  } else if (auto* ranges_answer = std::get_if<RangeAnswer>(&body)) {
    ranges.OnAnswer(from, partition, std::move(*ranges_answer), now);
    filling.OnWord(partition);
    sessions.OnApplied(partition, now);
  } else {
    lists.OnPresence(std::get<PresenceAnswer>(body), now);
  }
}

void Shard::State::OnForward(NodeId from, PartitionId partition,
                             Forward forward, Now now) {
  absl::StatusOr<PartitionId> its = partition;
  if (const auto* write = std::get_if<WriteRequest>(&forward.body)) {
    its = PartitionOfWrite(*write);
  } else {
    const auto& read = std::get<ReadRequest>(forward.body);
    absl::Status valid = crdt::Validate(read.spec);
    if (valid.ok()) {
      its = PartitionOf(read.spec.object.bucket, read.spec.object.key,
                        core.placement.partitions());
    } else {
      its = valid;
    }
  }
  if (its.ok() && *its != partition) {
    its = absl::InvalidArgumentError("a request for another partition");
  }
  std::optional<ClientRequest> request =
      forwards.OnForward(from, partition, std::move(forward));
  if (!request) return;
  if (!its.ok()) return core.Reply(request->id, its.status());
  if (auto* write = std::get_if<WriteRequest>(&request->body)) {
    SetTimesOfExpiry(*write);
  }
  Coordinate(*std::move(request), partition, now);
}

void Shard::State::OnPresenceQuery(NodeId from, PartitionId partition,
                                   PresenceQuery query, Now now) {
  ReadRequest read;
  read.spec.object = std::move(query.object);
  read.spec.limit = 1;
  absl::Status refused = crdt::Validate(read.spec);
  if (refused.ok() && PartitionOf(read.spec.object.bucket, read.spec.object.key,
                                  core.placement.partitions()) != partition) {
    refused = absl::InvalidArgumentError("an object of another partition");
  }
  refused.Update(CheckSession(query.session, partition));
  read.session = std::move(query.session);
  if (reads.in_flight() >= core.options.requests_in_flight_max) {
    refused = absl::UnavailableError(absl::StrCat(
        "overloaded: ", reads.in_flight(), " reads in flight; try again"));
  }
  if (!refused.ok()) {
    return core.Send(
        from, PartitionId{0},
        PresenceAnswer{query.ticket, query.place, std::move(refused), false});
  }
  RequestOptions options;
  options.read = Level::Count(query.required);
  // A listing speaks of owners: a stand-in might know nothing of what the page
  // of an owner has shown.
  options.quorums = Quorums::kStrict;
  options.timeout = std::min(query.timeout, core.options.request_timeout_max);
  reads.Start(ReadCoordinator::ForListing{from, query.ticket, query.place},
              options, partition, std::move(read), now);
}

absl::StatusOr<ApplyOutcome> Shard::State::Apply(PartitionId partition,
                                                 const crdt::Delta& delta,
                                                 absl::string_view encoded,
                                                 Now now) {
  absl::StatusOr<ApplyOutcome> outcome =
      core.Get(partition).Apply(delta, encoded);
  if (!outcome.ok()) {
    if (absl::IsDataLoss(outcome.status())) ++core.stats.corruptions;
    return outcome;
  }
  if (*outcome == ApplyOutcome::kDuplicate) {
    DOVETAIL_MARK("apply: a duplicate");
    ++core.stats.deltas_duplicate;
    return outcome;
  }
  ++core.stats.deltas_applied;
  core.touched.push_back(partition);
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    core.ReceiveStamps(leaf.store, now);
  }
  return outcome;
}

void ShardCore::ReceiveStamps(const crdt::Leaf& leaf, Now now) {
  for (const auto& [dot, payload] : leaf.entries()) {
    const auto* stamped = std::get_if<crdt::Stamped>(&payload);
    if (stamped != nullptr && !clock.Receive(stamped->stamp, now.wall_ms)) {
      ++stats.clock_refusals;
    }
  }
}

void Shard::State::OnReplicate(NodeId from, PartitionId partition,
                               const Replicate& replicate, Now now) {
  absl::StatusOr<crdt::Delta> delta = crdt::Delta::Decode(replicate.delta);
  if (!delta.ok()) {
    // It cannot even be named in an answer; the sender's summary finds it.
    ++core.stats.corruptions;
    return;
  }
  const absl::Status room = DOVETAIL_BUGGIFY("replicate: refused")
                                ? absl::ResourceExhaustedError("as if full")
                                : core.RoomToStandIn(partition);
  absl::StatusOr<ApplyOutcome> outcome =
      room.ok() ? Apply(partition, *delta, replicate.delta, now) : room;
  if (!outcome.ok()) {
    DOVETAIL_MARK("replicate: refused");
    if (DOVETAIL_MUTANT("ack: also of what cannot be applied")) {
      return core.Send(
          from, partition,
          Ack{delta->events, replicate.sync, core.placement.ring()});
    }
    return core.Send(from, partition, Refuse{delta->events, outcome.status()});
  }
  if ((replicate.sync && !DOVETAIL_MUTANT("ack: synced without an fsync")) ||
      DOVETAIL_BUGGIFY("replicate: fsynced unasked")) {
    core.turn_synced = true;
  }
  applied_in_turn.push_back({from, partition, delta->events});
  core.Send(from, partition,
            Ack{delta->events, replicate.sync, core.placement.ring()});
  sessions.OnApplied(partition, now);
}

void Shard::State::OnSyncDeltas(NodeId from, PartitionId partition,
                                const SyncDeltas& chunk, Now now) {
  bool progress = false;
  for (const std::string& encoded : chunk.deltas) {
    absl::StatusOr<crdt::Delta> delta = crdt::Delta::Decode(encoded);
    if (!delta.ok()) {
      ++core.stats.corruptions;
      continue;
    }
    absl::StatusOr<ApplyOutcome> outcome =
        Apply(partition, *delta, encoded, now);
    progress |= outcome.ok() && *outcome == ApplyOutcome::kApplied;
    DOVETAIL_MARK_IF("sync: a delta that cannot be applied", !outcome.ok());
    if (DOVETAIL_BUGGIFY("sync: the rest of a chunk is lost")) break;
  }
  // Without progress asking for more would only repeat this chunk; the next
  // round starts afresh.
  DOVETAIL_MARK_IF("sync: a chunk without progress", chunk.more && !progress);
  const bool more =
      chunk.more && progress && !DOVETAIL_BUGGIFY("sync: asks for no more");
  sync.OnChunkApplied(from, partition, progress, more, now);
  sync.OnUnlogged(from, partition, chunk.unlogged, now);
  filling.OnWord(partition);
  sessions.OnApplied(partition, now);
}

void Shard::HandlePeerUp(NodeId peer, Now now, crdt::ActorId incarnation) {
  state_->core.SetTime(now);
  state_->core.peers_up.insert_or_assign(peer, incarnation);
  state_->core.peer_times.Forget(peer);
  state_->filling.OnPeers();
  state_->sync.OnPeerUp(peer, now);
}

void Shard::HandlePeerDown(NodeId peer, Now now) {
  state_->core.SetTime(now);
  state_->core.peers_up.erase(peer);
  state_->core.peer_times.Forget(peer);
  state_->sync.OnPeerDown(peer);
  state_->filling.OnPeers();
  state_->ranges.OnPeerDown(peer);
  state_->range_source.OnPeerDown(peer);
  state_->writes.OnPeerDown(peer);
  state_->reads.OnPeerDown(peer);
  for (auto& [request, partition] : state_->forwards.OnPeerDown(peer, now)) {
    state_->Coordinate(std::move(request), partition, now);
  }
  state_->lists.OnPeerDown(peer);
}

void Shard::HandlePlacement(Placement placement, Now now) {
  DOVETAIL_CHECK(placement.partitions() == state_->core.placement.partitions());
  state_->core.SetTime(now);
  const RingStamp ring = state_->core.placement.ring();
  state_->filling.BeforePlacement(placement);
  state_->core.placement = std::move(placement);
  state_->filling.OnPlacement();
  state_->sync.OnPlacement(now);
  state_->ranges.OnPlacement();
  // Two rings of one epoch are two: requests begin anew by the one that holds.
  if (state_->core.placement.ring() == ring) return;
  state_->writes.OnPlacement(now);
  state_->reads.OnPlacement(now);
}

void Shard::HandleBuckets(std::shared_ptr<const BucketDefaults> buckets) {
  state_->core.buckets = std::move(buckets);
}

void Shard::StartSync(NodeId peer, Now now) {
  state_->core.SetTime(now);
  state_->sync.Start(peer);
}

void Shard::StartRanges(NodeId source, Now now,
                        const std::optional<std::string>& until) {
  for (const auto& partition : state_->core.partitions) {
    if (state_->core.IsOwner(partition->id()) &&
        state_->core.placement.Owns(source, partition->id())) {
      state_->ranges.Start(source, partition->id(), now, until);
    }
  }
}

}  // namespace dovetail::replica
