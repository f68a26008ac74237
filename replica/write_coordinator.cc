#include "replica/write_coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"
#include "replica/maybe.h"

namespace dovetail::replica {

void WriteCoordinator::Start(RequestId id, const RequestOptions& options,
                             PartitionId partition, WriteRequest request,
                             Now now) {
  absl::StatusOr<ReplicaSet> set =
      ReplicaSet::Resolve(core_, partition, options.write,
                          core_.options.write_default, options, "W");
  if (!set.ok()) return core_.Reply(id, set.status());
  absl::Status possible = set->CheckReachable("; nothing was written");
  if (possible.ok() && DOVETAIL_BUGGIFY("write: refused as if out of reach")) {
    possible =
        absl::UnavailableError("as if out of reach; nothing was written");
  }
  if (possible.ok()) possible = core_.RoomToStandIn(partition);
  if (!possible.ok()) {
    DOVETAIL_MARK("write: too few owners reachable");
    return core_.Reply(id, std::move(possible));
  }
  Job job(*std::move(set));
  job.partition = partition;
  job.options = options;
  job.durability = options.durability.value_or(Durability::kWal);
  job.deadline = now.steady + options.timeout;
  job.operations = std::move(request.operations);
  job.only_expired = ShardCore::IsOwnRequest(id);
  job.once = request.id;
  if (request.session) {
    job.reply.session =
        SessionToken{core_.placement.partitions(), partition, {}, {}};
    // Beyond the allowed drift it moves no clock, as in Mint().
    if (!core_.clock.Receive(request.session->stamp, now.wall_ms)) {
      ++core_.stats.clock_refusals;
    }
  }
  auto [it, inserted] = jobs_.emplace(id, std::move(job));
  DOVETAIL_CHECK(inserted);
  deadlines_.emplace(it->second.deadline, id);
  if (Mint(id, it->second, now)) {
    OnVerdict(it, it->second.tally.verdict(), absl::OkStatus());
  } else {
    End(it);
  }
}

absl::StatusOr<MutateOutcome> WriteCoordinator::Mutate(const Job& job,
                                                       Now now) {
  Partition& partition = core_.Get(job.partition);
  ExpiryClock clock = core_.ExpiryClockOf(job.partition);
  clock.only_expired = job.only_expired;
  if (job.once) {
    return partition.MutateOnce(
        job.operations, *job.once,
        [&](crdt::Timestamp) {
          if (!core_.clock.Receive(job.once->stamp, now.wall_ms)) {
            ++core_.stats.clock_refusals;
          }
          return job.once->stamp;
        },
        clock);
  }
  return partition.Mutate(
      job.operations, job.resume_after,
      [&](crdt::Timestamp observed) {
        // Beyond the allowed drift `observed` stays behind on purpose: then
        // causality alone puts the new write above it.
        if (!core_.clock.Receive(observed, now.wall_ms)) {
          ++core_.stats.clock_refusals;
        }
        const bool ahead =
            DOVETAIL_BUGGIFY("clock: as far ahead as is allowed");
        return core_.clock.Next(now.wall_ms +
                                (ahead ? crdt::HybridClock::kDriftMaxMs : 0));
      },
      clock);
}

bool WriteCoordinator::Mint(RequestId id, Job& job, Now now) {
  ran_in_turn_.push_back(id);
  absl::StatusOr<MutateOutcome> outcome = Mutate(job, now);
  if (!outcome.ok()) {
    if (absl::IsDataLoss(outcome.status())) ++core_.stats.corruptions;
    core_.Reply(id, outcome.status());
    return false;
  }
  if (job.reply.not_observed.empty()) {
    job.reply.not_observed = std::move(outcome->not_observed);
  }
  job.more = outcome->more;
  job.resume_after = std::move(outcome->resume_after);
  if (job.reply.session) AddToSession(job, outcome->minted);
  const crdt::DotRun events =
      outcome->minted ? outcome->minted->events : crdt::DotRun{};
  DOVETAIL_TELL("write: ran", static_cast<uint64_t>(id), Index(job.partition),
                crdt::ActorBits(events.actor), events.first, events.count,
                (outcome->duplicate ? 1u : 0u) + (job.more ? 2u : 0u) +
                    (job.resume_after.bytes().empty() ? 0u : 4u));
  DOVETAIL_MARK_IF("write: it changes nothing", !outcome->minted);
  if (!outcome->minted) {  // nothing to make durable, so nobody to wait for
    job.reply.receipt = core_.ReceiptOf(job.partition, {core_.identity.self},
                                        job.set.required(), job.durability);
    core_.Reply(id, job.reply);
    return false;
  }
  if (outcome->duplicate) {
    ++core_.stats.deltas_duplicate;
  } else {
    core_.touched.push_back(job.partition);
    ++core_.stats.operations_minted;
    ++core_.stats.deltas_applied;
  }
  ++job.reply.deltas;
  job.waiting_for = {events.actor, events.first};
  by_delta_.insert({{job.partition, job.waiting_for}, id});
  Spread(id, job, std::move(outcome->minted->delta), now);
  return true;
}

void WriteCoordinator::AddToSession(
    Job& job, const std::optional<MutateOutcome::Minted>& minted) {
  SessionToken& session = *job.reply.session;
  session.stamp = core_.clock.last();
  const std::vector<bool>& missed = job.reply.not_observed;
  if (!minted ||
      std::find(missed.begin(), missed.end(), true) != missed.end()) {
    // It says that something is not there, as this replica knows it.
    session.events.UnionWith(core_.Get(job.partition).context().applied);
  }
  if (minted && !DOVETAIL_MUTANT("session: a write is not in its token")) {
    session.events.InsertRun(minted->events);
  }
}

void WriteCoordinator::Spread(RequestId id, Job& job, std::string delta,
                              Now now) {
  const bool sync = job.durability == Durability::kFsync;
  if (sync) core_.turn_synced = true;
  const NodeId self = core_.identity.self;
  job.tally = job.set.NewTally();
  if (DOVETAIL_MUTANT("write: one answer too few") && job.set.required() > 1) {
    job.tally = Tally(job.set.required() - 1);
  }
  job.tally.Ask(self, job.set.DemandOf(self));
  job.tally.AddSuccess(self);
  uint32_t sent = 0;
  for (NodeId owner : job.set.other_owners()) {
    job.tally.Ask(owner, job.set.DemandOf(owner));
    // It may be back in time for the delta; nobody waits for that.
    if (!core_.IsUp(owner)) job.tally.AddFailure(owner);
    if (sent + 1 >= job.set.required() &&
        DOVETAIL_BUGGIFY("write: to no more owners than W needs")) {
      continue;
    }
    core_.Send(owner, job.partition, Replicate{delta, sync});
    sent += core_.IsUp(owner) ? 1 : 0;
  }
  job.stand_ins_asked = 0;
  job.delta = std::move(delta);
  // This node is one of them already if it owns nothing of the partition.
  const uint32_t stands_in = core_.IsOwner(job.partition) ? 0 : 1;
  for (uint32_t i = stands_in; i < job.set.missing_owners(); ++i) {
    DOVETAIL_MARK("write: a stand-in for an owner out of reach");
    AskStandIn(job);
  }
  if (job.tally.verdict() != Verdict::kPending) return;
  job.pause = core_.options.write_hedge_after;
  hedges_.push_back({now.steady + job.pause, id, job.waiting_for});
}

void WriteCoordinator::AskStandIn(Job& job) {
  if (job.stand_ins_asked >= job.set.stand_ins().size()) return;
  const NodeId node = job.set.stand_ins()[job.stand_ins_asked++];
  job.tally.Ask(node, job.set.DemandOf(node));
  SendDelta(job, node);
}

void WriteCoordinator::SendDelta(const Job& job, NodeId node) {
  core_.Send(node, job.partition,
             Replicate{job.delta, job.durability == Durability::kFsync});
}

void WriteCoordinator::AskStandInFor(NodeId absent, Job& job) {
  if (job.set.DemandOf(absent) != Tally::kNoDemand) AskStandIn(job);
}

void WriteCoordinator::HedgeDue(Now now) {
  while (!hedges_.empty() && hedges_.front().at <= now.steady) {
    const Hedge hedge = hedges_.front();
    hedges_.pop_front();
    auto job = jobs_.find(hedge.id);
    if (job == jobs_.end() || job->second.waiting_for != hedge.waiting_for) {
      continue;
    }
    for (NodeId silent : job->second.tally.Silent()) {
      DOVETAIL_MARK("write: a stand-in for an owner that is slow");
      if (core_.placement.Owns(silent, job->second.partition)) {
        AskStandIn(job->second);
      }
    }
    again_.emplace(now.steady + job->second.pause, hedge);
  }
}

void WriteCoordinator::SendAgainDue(Now now) {
  while (!again_.empty() && again_.begin()->first <= now.steady) {
    const Hedge hedge = again_.begin()->second;
    again_.erase(again_.begin());
    const auto it = jobs_.find(hedge.id);
    if (it == jobs_.end() || it->second.waiting_for != hedge.waiting_for) {
      continue;
    }
    Job& job = it->second;
    // Who has it already acknowledges it once more, and counts once.
    for (NodeId silent : job.tally.Silent()) {
      if (!core_.IsUp(silent)) continue;
      DOVETAIL_MARK("write: who is silent is sent it again");
      SendDelta(job, silent);
    }
    job.pause *= 2;
    const absl::Duration next = now.steady + job.pause;
    if (next < job.deadline) again_.emplace(next, hedge);
  }
}

std::vector<RequestId> WriteCoordinator::Waiting(
    PartitionId partition, const crdt::DotRun& events) const {
  const DeltaName name(partition, {events.actor, events.first});
  std::vector<RequestId> waiting;
  for (auto it = by_delta_.lower_bound({name, RequestId{}});
       it != by_delta_.end() && it->first == name; ++it) {
    waiting.push_back(it->second);
  }
  DOVETAIL_MARK_IF("once: two requests wait for one delta", waiting.size() > 1);
  return waiting;
}

void WriteCoordinator::OnAck(NodeId from, PartitionId partition,
                             const Ack& ack) {
  // It goes by a ring that this node has not heard of yet. Were its word
  // counted, those who must know of the write by that ring might not. The write
  // is sent again when the ring comes. Or it has not heard of this one: then
  // the write is sent again until it has.
  const bool ahead = IsNewerRing(ack.ring, core_.placement.ring());
  const bool counts = core_.placement.Counts(ack.ring);
  DOVETAIL_MARK_IF("write: acknowledged by a newer ring", ahead);
  DOVETAIL_MARK_IF("write: acknowledged by a ring that is void or long past",
                   !counts && !ahead);
  if (!counts &&
      !(ahead && DOVETAIL_MUTANT("moves: an ack by a newer ring counts")) &&
      !(!ahead && DOVETAIL_MUTANT("moves: an ack by a void ring counts"))) {
    return;
  }
  const std::vector<RequestId> waiting = Waiting(partition, ack.events);
  // Met long ago, or from before a restart.
  DOVETAIL_MARK_IF("write: nobody waits for this ack", waiting.empty());
  for (const RequestId id : waiting) {
    const auto job = jobs_.find(id);
    // A plain acknowledgement of a write that asked for stable storage proves
    // nothing; the synced one is still to come.
    if (job->second.durability == Durability::kFsync && !ack.synced) continue;
    OnVerdict(job, job->second.tally.AddSuccess(from), absl::OkStatus());
  }
}

void WriteCoordinator::OnRefuse(NodeId from, PartitionId partition,
                                const Refuse& refuse) {
  for (const RequestId id : Waiting(partition, refuse.events)) {
    const auto job = jobs_.find(id);
    DOVETAIL_MARK("write: refused by an owner");
    Tally& tally = job->second.tally;
    if (DOVETAIL_MUTANT("write: a refusal counts")) {
      OnVerdict(job, tally.AddSuccess(from), refuse.reason);
      continue;
    }
    tally.AddFailure(from);
    AskStandInFor(from, job->second);
    OnVerdict(job, tally.verdict(), refuse.reason);
  }
}

void WriteCoordinator::OnPeerDown(NodeId peer) {
  std::vector<RequestId> concerned;
  for (const auto& [id, job] : jobs_) {
    // One whose next part is due has what it needs: it would go on twice.
    if (job.waiting_for.counter == 0) continue;
    if (job.tally.WasAsked(peer) && !job.tally.Answered(peer)) {
      concerned.push_back(id);
    }
  }
  for (RequestId id : concerned) {
    auto job = jobs_.find(id);
    DOVETAIL_MARK("write: an owner that was asked goes down");
    job->second.tally.AddFailure(peer);
    AskStandInFor(peer, job->second);
    OnVerdict(job, job->second.tally.verdict(),
              absl::UnavailableError(absl::StrCat(core_.placement.NameOf(peer),
                                                  " cannot be reached")));
  }
}

void WriteCoordinator::OnPlacement(Now now) {
  std::vector<RequestId> waiting;
  for (const auto& [id, job] : jobs_) {
    if (job.waiting_for.counter != 0) waiting.push_back(id);
  }
  for (const RequestId id : waiting) {
    Job& job = jobs_.at(id);
    absl::StatusOr<ReplicaSet> set =
        ReplicaSet::Resolve(core_, job.partition, job.options.write,
                            core_.options.write_default, job.options, "W");
    if (!set.ok()) continue;  // it goes on with whom it has asked
    DOVETAIL_MARK("write: sent again by a newer ring");
    job.set = *std::move(set);
    Spread(id, job, std::move(job.delta), now);
    OnVerdict(jobs_.find(id), job.tally.verdict(),
              absl::UnavailableError("too few owners can be reached"));
  }
}

void WriteCoordinator::OnVerdict(Jobs::iterator it, Verdict verdict,
                                 const absl::Status& refusal) {
  Job& job = it->second;
  const RequestId id = it->first;
  switch (verdict) {
    case Verdict::kPending:
      return;
    case Verdict::kMet:
      if (job.more) {  // the next part waits for the next turn
        DOVETAIL_MARK("write: a clear goes on");
        by_delta_.erase({{job.partition, job.waiting_for}, id});
        job.waiting_for = {};
        to_continue_.push_back(id);
        return;
      }
      job.reply.receipt = core_.ReceiptOf(job.partition, job.tally.succeeded(),
                                          job.set.required(), job.durability);
      core_.Reply(id, std::move(job.reply));
      End(it);
      return;
    case Verdict::kImpossible:
      DOVETAIL_MARK("write: W cannot be met any more");
      core_.Reply(id, MarkMaybe(absl::UnavailableError(absl::StrCat(
                          "W=", job.set.required(),
                          " cannot be met: ", job.tally.succeeded().size(),
                          " acknowledged, others did not: ", refusal.message(),
                          "; the write may still take effect"))));
      End(it);
      return;
  }
}

void WriteCoordinator::End(Jobs::iterator job) {
  by_delta_.erase(
      {{job->second.partition, job->second.waiting_for}, job->first});
  deadlines_.erase({job->second.deadline, job->first});
  jobs_.erase(job);
}

void WriteCoordinator::OnTimers(Now now) {
  for (RequestId id : std::exchange(to_continue_, {})) {
    auto job = jobs_.find(id);
    DOVETAIL_MARK_IF("write: a clear whose turn failed", job == jobs_.end());
    if (job == jobs_.end()) continue;  // its turn failed
    if (DOVETAIL_BUGGIFY("write: the rest of a clear waits")) {
      to_continue_.push_back(id);
      continue;
    }
    if (Mint(id, job->second, now)) {
      OnVerdict(job, job->second.tally.verdict(), absl::OkStatus());
    } else {
      End(job);
    }
  }
  HedgeDue(now);
  SendAgainDue(now);
  while (!deadlines_.empty() && deadlines_.begin()->first <= now.steady) {
    auto job = jobs_.find(deadlines_.begin()->second);
    DOVETAIL_CHECK(job != jobs_.end());
    DOVETAIL_MARK("write: its deadline passes");
    if (DOVETAIL_MUTANT("write: the deadline is success")) {
      job->second.more = false;
      OnVerdict(job, Verdict::kMet, absl::OkStatus());
      continue;
    }
    core_.Reply(job->first,
                absl::DeadlineExceededError(absl::StrCat(
                    "W=", job->second.set.required(),
                    " not met in time: ", job->second.tally.succeeded().size(),
                    " acknowledged; the write may still take effect")));
    End(job);
  }
}

void WriteCoordinator::OnTurnFailed(const absl::Status& why) {
  for (RequestId id : std::exchange(ran_in_turn_, {})) {
    auto job = jobs_.find(id);
    if (job == jobs_.end()) continue;  // replied to: the turn's own affair
    DOVETAIL_MARK("write: its turn failed");
    core_.Reply(id, why);
    End(job);
  }
}

bool WriteCoordinator::RanInTurn(RequestId id) const {
  return std::find(ran_in_turn_.begin(), ran_in_turn_.end(), id) !=
         ran_in_turn_.end();
}

absl::Duration WriteCoordinator::next_deadline() const {
  if (!to_continue_.empty()) return absl::ZeroDuration();
  absl::Duration next = absl::InfiniteDuration();
  if (!deadlines_.empty()) next = deadlines_.begin()->first;
  if (!hedges_.empty()) next = std::min(next, hedges_.front().at);
  if (!again_.empty()) next = std::min(next, again_.begin()->first);
  return next;
}

}  // namespace dovetail::replica
