#include "replica/sync.h"

#include <algorithm>
#include <utility>

#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

// A source that has said nothing for so long may be replaced by another.
constexpr absl::Duration kPullPatience = absl::Seconds(2);
// Between two nudges of a peer, at the least. What a nudge asks for is mostly
// there within it, and a peer that is far behind sends the same chunk for each.
constexpr absl::Duration kNudgePauseMin = absl::Milliseconds(10);
// Before the same is streamed again, at the least: for a summary that was not
// on its way yet when it was streamed.
constexpr absl::Duration kStreamPauseMin = absl::Milliseconds(10);

// What a planted bug takes a peer for: one that has all events up to the last.
crdt::EventSet UpToTheLast(const crdt::EventSet& events) {
  crdt::EventSet all;
  events.ForEachRun([&](const crdt::DotRun& run) {
    all.InsertRun({run.actor, 1, run.last()});
    return true;
  });
  return all;
}

}  // namespace

void Sync::Open(Now now) {
  next_round_ = now.steady + core_.options.sync_period_min;
}

bool Sync::Concerns(NodeId peer, const Partition& partition) const {
  const PartitionId id = partition.id();
  if (core_.placement.Owns(peer, id)) {
    return core_.IsOwner(id) || !partition.empty();
  }
  return core_.placement.OwnedBefore(peer, id) && core_.IsOwner(id) &&
         core_.StandingOf(id) != Standing::kComplete;
}

void Sync::OnPlacement(Now now) {
  std::erase_if(peers_, [&](const auto& entry) {
    return !core_.placement.Concerns(entry.first.second, entry.first.first);
  });
  for (auto& [name, peer] : peers_) peer.heard = false;
  core_.standings.clear();
  pulls_.clear();
  for (const auto& [peer, incarnation] : core_.peers_up) OnPeerUp(peer, now);
}

void Sync::OnPeerUp(NodeId peer, Now now) {
  for (const auto& partition : core_.partitions) {
    // It may have lost what it was sent.
    const auto known = peers_.find({partition->id(), peer});
    if (known != peers_.end()) known->second.stream_again_at = now.steady;
    if (!Concerns(peer, *partition)) continue;
    PeerState& state = peers_[{partition->id(), peer}];
    state.period = core_.options.sync_period_min;
    state.next_send = now.steady + state.period;
  }
  Start(peer);
}

void Sync::OnPeerDown(NodeId peer) {
  const size_t ended = std::erase_if(
      pulls_, [&](const auto& pull) { return pull.second.from == peer; });
  DOVETAIL_MARK_IF("sync: the source goes down meanwhile", ended > 0);
}

void Sync::Start(NodeId peer) {
  for (const auto& partition : core_.partitions) {
    if (!Concerns(peer, *partition)) continue;
    SendSummary(peer, partition->id(), /*answer=*/true, /*periodic=*/false);
  }
}

void Sync::Nudge(NodeId peer, PartitionId partition) {
  if (!Concerns(peer, core_.Get(partition)) || !TakeNudge(peer, partition)) {
    return;
  }
  SendSummary(peer, partition, /*answer=*/true, /*periodic=*/false);
}

void Sync::PullFrom(NodeId peer, PartitionId partition) {
  if (!core_.IsOwner(partition)) return Nudge(peer, partition);
  if (!TakeNudge(peer, partition)) return;
  SendSummary(peer, partition, /*answer=*/true, /*periodic=*/false);
}

bool Sync::TakeNudge(NodeId peer, PartitionId partition) {
  PeerState& state = peers_[{partition, peer}];
  const absl::Duration now = core_.steady;
  DOVETAIL_MARK_IF("sync: nudged a moment ago", now < state.next_nudge);
  if (now < state.next_nudge &&
      !DOVETAIL_MUTANT("sync: every nudge is an exchange")) {
    return false;
  }
  // Nobody wanted one for as long again: whatever was in the way is over.
  if (now >= state.next_nudge + state.nudge_pause) {
    state.nudge_pause = kNudgePauseMin;
  }
  state.next_nudge = now + state.nudge_pause;
  state.nudge_pause =
      std::min(2 * state.nudge_pause,
               std::max(kNudgePauseMin, core_.options.sync_period_min));
  return true;
}

void Sync::SendSummary(NodeId peer, PartitionId id, bool answer,
                       bool periodic) {
  const Partition& partition = core_.Get(id);
  DOVETAIL_MARK_IF("sync: nothing is said of what is damaged",
                   partition.quarantined());
  if (partition.quarantined()) return;
  peers_[{id, peer}].sent_version = partition.version();
  crdt::EventSet applied = partition.context().applied;
  if (DOVETAIL_MUTANT("sync: compares contexts")) {
    applied.UnionWith(partition.context().superseded);
  }
  core_.Send(peer, id,
             Summary{std::move(applied), partition.durable(),
                     answer && !DOVETAIL_BUGGIFY("sync: wants no answer"),
                     core_.IsOwner(id), periodic, core_.placement.ring(),
                     partition.StateDigest(), core_.StandingOf(id),
                     core_.time.wall_ms});
}

void Sync::TellAll(PartitionId partition) {
  for (NodeId node : core_.OwnersAndBefore(partition)) {
    if (!core_.IsUp(node)) continue;
    SendSummary(node, partition, /*answer=*/false, /*periodic=*/false);
  }
}

void Sync::OnSummary(NodeId from, PartitionId id, const Summary& summary,
                     Now now) {
  Partition& partition = core_.Get(id);
  core_.peer_clocks.Heard(from, summary.wall_ms, now);
  if (partition.quarantined()) return;
  PeerState& state = peers_[{id, from}];
  DOVETAIL_MARK_IF("sync: a peer has less than it once said",
                   !state.applied.IsSubsetOf(summary.applied));
  // Replaced, not joined: a peer that was restored from an old backup has
  // less than it once said.
  state.applied = summary.applied;
  state.durable = summary.durable;
  state.heard = true;
  state.owner = summary.pull;
  state.ring = summary.ring;
  state.standing = summary.standing;
  if (!IsNewerRing(core_.placement.ring(), summary.ring)) {
    core_.standings[{id, from}] = summary.standing;
  }
  state.lag.OnTheirs();

  // Unite() leaves it alone if nothing can be said of the rows here.
  if (summary.pull && core_.IsOwner(id) && summary.state != Hash128{} &&
      summary.applied == partition.context().applied &&
      summary.state != partition.StateDigest() &&
      !DOVETAIL_MUTANT("sync: equal events are taken for equal rows")) {
    unite_(from, id, now);
  }

  const bool held_back =
      summary.periodic && !DOVETAIL_BUGGIFY("sync: nothing is held back");
  crdt::EventSet missing =
      (held_back ? partition.settled() : partition.context().applied)
          .Minus(summary.applied);
  if (DOVETAIL_MUTANT("sync: a peer has all up to its last event")) {
    missing.Subtract(UpToTheLast(summary.applied));
  }
  DOVETAIL_MARK_IF(
      "sync: what may be on its way is held back",
      held_back && missing.empty() &&
          !partition.context().applied.IsSubsetOf(summary.applied));
  DOVETAIL_MARK_IF("sync: each lacks something of the other",
                   !missing.empty() && !summary.applied.IsSubsetOf(
                                           partition.context().applied));
  if (!missing.empty() && summary.pull &&
      !DOVETAIL_BUGGIFY("sync: a summary is answered without deltas")) {
    Stream(from, id, std::move(missing));
  }
  Answer(from, partition, summary, now);
}

void Sync::Answer(NodeId from, const Partition& partition,
                  const Summary& summary, Now now) {
  const PartitionId id = partition.id();
  // It has to know what there is, even if that is nothing.
  const bool filled = summary.pull && summary.standing != Standing::kComplete;
  if (!core_.IsOwner(id)) {  // it hands over, and takes nothing
    if (!filled || !summary.answer) return;
    DOVETAIL_MARK("sync: an owner of before says what it has");
    return SendSummary(from, id, /*answer=*/false, summary.periodic);
  }
  const bool lacks = !summary.applied.IsSubsetOf(partition.context().applied);
  if (!summary.answer || (!lacks && summary.pull && !filled)) return;
  DOVETAIL_MARK_IF("sync: a stand-in hears that all is here",
                   !lacks && !summary.pull);
  if (!lacks || MayPullFrom(from, id, now)) {
    SendSummary(from, id, /*answer=*/false, summary.periodic);
  }
}

bool Sync::MayPullFrom(NodeId peer, PartitionId partition, Now now) {
  if (DOVETAIL_BUGGIFY("sync: a pull waits for the next round")) return false;
  auto [pull, inserted] = pulls_.try_emplace(partition, Pull{peer, now.steady});
  DOVETAIL_MARK_IF("sync: a source is given up for another",
                   pull->second.from != peer &&
                       pull->second.since + kPullPatience < now.steady);
  if (inserted || pull->second.from == peer ||
      pull->second.since + kPullPatience < now.steady ||
      DOVETAIL_BUGGIFY("sync: two sources at once")) {
    pull->second = {peer, now.steady};
    return true;
  }
  DOVETAIL_MARK("sync: a second source has to wait");
  return false;
}

void Sync::NoteStreamed(PeerState& peer, const crdt::EventSet& events) {
  const absl::Duration now = core_.steady;
  // Less than the pause of rounds: the next one is answered.
  const absl::Duration max =
      std::max(kStreamPauseMin, core_.options.sync_period_min / 2);
  const bool quiet = now >= peer.stream_again_at + peer.stream_pause;
  const bool again = !quiet && !peer.streamed.Intersect(events).empty();
  peer.stream_pause =
      again ? std::min(2 * peer.stream_pause, max) : kStreamPauseMin;
  if (now >= peer.stream_again_at) peer.streamed = {};
  peer.streamed.UnionWith(events);
  peer.stream_again_at = now + peer.stream_pause;
}

void Sync::Stream(NodeId peer, PartitionId id, crdt::EventSet missing) {
  const Partition& partition = core_.Get(id);
  PeerState& state = peers_[{id, peer}];
  if (core_.steady < state.stream_again_at &&
      !DOVETAIL_MUTANT("sync: each summary is answered")) {
    missing.Subtract(state.streamed);
    DOVETAIL_MARK_IF("sync: it is on its way already", missing.empty());
  }
  const crdt::EventSet logged = missing.Intersect(partition.logged());
  if (!logged.empty() && !state.waits && pace().free_at() > core_.steady) {
    DOVETAIL_MARK("sync: a stream waits for its time");
    state.waits = true;
    waiting_.push_back({id, peer});
  }
  if (!logged.empty() && state.waits) return;
  SyncDeltas chunk;
  size_t bytes = 0;
  crdt::EventSet found;
  absl::Status read = partition.ReadLog(
      logged, [&](const crdt::DotRun& events, absl::string_view delta) {
        if (!chunk.deltas.empty() &&
            (bytes + delta.size() > core_.options.sync_chunk_bytes ||
             DOVETAIL_BUGGIFY("sync: a small chunk"))) {
          DOVETAIL_MARK("sync: more than one chunk");
          chunk.more = true;
          return false;
        }
        bytes += delta.size();
        chunk.deltas.emplace_back(delta);
        found.InsertRun(events);
        return true;
      });
  DOVETAIL_MARK_IF("sync: the log cannot be read", !read.ok());
  if (!read.ok()) ++core_.stats.corruptions;
  chunk.unlogged = missing.Minus(partition.logged());
  if (!chunk.unlogged.empty()) {
    DOVETAIL_MARK("sync: a peer lacks what the log here has lost");
    ++core_.stats.log_gaps;
  }
  if (chunk.deltas.empty() && chunk.unlogged.empty()) return;
  found.UnionWith(chunk.unlogged);
  NoteStreamed(state, found);
  if (DOVETAIL_BUGGIFY("sync: more, though that was all")) chunk.more = true;
  core_.stats.sync_deltas_sent += chunk.deltas.size();
  pace().Moved(chunk.deltas.size(), bytes, core_.steady);
  core_.Send(peer, id, std::move(chunk));
}

void Sync::StreamWaiting(Now now) {
  while (!waiting_.empty() && pace().free_at() <= now.steady) {
    const auto [id, peer] = waiting_.front();
    waiting_.pop_front();
    const auto state = peers_.find({id, peer});
    if (state == peers_.end() || !state->second.waits) continue;
    state->second.waits = false;
    const Partition& partition = core_.Get(id);
    if (!core_.IsUp(peer) || partition.quarantined()) continue;
    // What is newer than that the next summary is answered with.
    crdt::EventSet missing = partition.settled().Minus(state->second.applied);
    if (!missing.empty()) Stream(peer, id, std::move(missing));
  }
}

void Sync::OnChunkApplied(NodeId from, PartitionId partition, bool progress,
                          bool more, Now now) {
  if (progress) {  // to ask it again is worth while
    PeerState& state = peers_[{partition, from}];
    state.nudge_pause = kNudgePauseMin;
    state.next_nudge = std::min(state.next_nudge, now.steady + kNudgePauseMin);
  }
  auto pull = pulls_.find(partition);
  const bool is_source = pull == pulls_.end() || pull->second.from == from;
  if (!more) {
    if (pull != pulls_.end() && is_source) pulls_.erase(pull);
    return;
  }
  // The next chunk comes in answer to what is applied now: flow control.
  if (MayPullFrom(from, partition, now)) {
    SendSummary(from, partition, /*answer=*/false, /*periodic=*/false);
  }
}

void Sync::OnUnlogged(NodeId from, PartitionId id,
                      const crdt::EventSet& unlogged, Now now) {
  const Partition& partition = core_.Get(id);
  peers_[{id, from}].unlogged = unlogged;
  if (unlogged.empty() || !core_.IsOwner(id) || partition.quarantined()) return;
  const crdt::EventSet lacking = unlogged.Minus(partition.context().applied);
  if (lacking.empty()) return;
  crdt::EventSet out_of_reach = lacking;
  for (NodeId owner : core_.OwnersAndBefore(id)) {
    if (owner == from || !core_.IsUp(owner)) continue;
    const PeerState& peer = peers_[{id, owner}];
    const crdt::EventSet there = peer.applied.Intersect(lacking);
    if (there.empty() && peer.heard) continue;
    if (!peer.heard || !there.IsSubsetOf(peer.unlogged)) {
      DOVETAIL_MARK("sync: what one log has lost another may have");
      PullFrom(owner, id);
    }
    out_of_reach.Subtract(there.Minus(peer.unlogged));
  }
  if (out_of_reach.empty() &&
      !DOVETAIL_BUGGIFY("sync: ranges though a log would do")) {
    return;
  }
  if (DOVETAIL_MUTANT("sync: what no log has is not missed")) return;
  DOVETAIL_MARK_IF("sync: who is being filled is no source",
                   !MayBeSource(from, id));
  if (MayBeSource(from, id)) start_ranges_(from, id, now);
}

bool Sync::MayBeSource(NodeId node, PartitionId partition) const {
  if (!core_.placement.moves() || core_.IsProbablyWhole(node, partition)) {
    return true;
  }
  // It may have what is nowhere else: an owner that lost its place while it
  // took writes, or where rings followed one another before anything had come.
  return core_.IsProbablyWhole(core_.identity.self, partition) ||
         !core_.AnotherIsWhole(partition);
}

void Sync::OnTimers(Now now) {
  StreamWaiting(now);
  if (now.steady < next_round_) return;
  next_round_ = now.steady + core_.options.sync_period_min;
  for (const auto& partition : core_.partitions) {
    const PartitionId id = partition->id();
    for (NodeId peer : core_.placement.Owners(id)) {
      if (peer == core_.identity.self) continue;
      LookAtLag(peer, *partition, now);
      if (!core_.IsUp(peer)) continue;
      if (Concerns(peer, *partition)) Round(peer, *partition, now);
    }
    for (NodeId peer : core_.placement.Before(id)) {
      if (core_.placement.Owns(peer, id) || !core_.IsUp(peer)) continue;
      if (Concerns(peer, *partition)) Round(peer, *partition, now);
    }
    if (DOVETAIL_BUGGIFY("sync: settled a round later")) continue;
    partition->MarkSettled();
    if (DOVETAIL_BUGGIFY("sync: settled a round early")) {
      partition->MarkSettled();
    }
  }
}

void Sync::Round(NodeId peer, Partition& partition, Now now) {
  PeerState& state = peers_[{partition.id(), peer}];
  const bool changed = state.sent_version != partition.version();
  const bool equal =
      state.heard && state.applied == partition.context().applied;
  if (DOVETAIL_BUGGIFY("sync: a round is left out")) return;
  if (!changed && now.steady < state.next_send &&
      !DOVETAIL_BUGGIFY("sync: a summary though nothing changed")) {
    return;
  }
  if (changed) {
    state.period = core_.options.sync_period_min;
  } else {
    DOVETAIL_MARK_IF("sync: an unequal peer is asked less often", !equal);
    state.period = std::min(2 * state.period, core_.options.sync_period_max);
  }
  state.period = std::max(state.period, core_.options.sync_period_min);
  state.next_send = now.steady + state.period;
  if (equal && !changed) {
    state.period = core_.options.sync_period_max;
    state.next_send = now.steady + state.period;
  }
  SendSummary(peer, partition.id(),
              /*answer=*/!equal || !core_.IsOwner(partition.id()) ||
                  core_.StandingOf(partition.id()) != Standing::kComplete,
              /*periodic=*/true);
}

const Sync::PeerState* Sync::WordOf(NodeId owner, PartitionId partition) const {
  const auto peer = peers_.find({partition, owner});
  if (peer == peers_.end() || !peer->second.heard) return nullptr;
  const PeerState& state = peer->second;
  const bool by_this_ring =
      state.owner && !IsNewerRing(core_.placement.ring(), state.ring);
  DOVETAIL_MARK_IF("sync: the word of an owner by another ring", !by_this_ring);
  if (!by_this_ring &&
      !DOVETAIL_MUTANT("sync: takes the word of an old ring")) {
    return nullptr;
  }
  return &state;
}

crdt::EventSet Sync::StableEvents(PartitionId partition,
                                  KeptFor kept_for) const {
  if (DOVETAIL_BUGGIFY("sync: nothing is stable yet")) return {};
  const bool hasty = DOVETAIL_MUTANT("truncate: on what is not durable");
  const Partition& mine = core_.Get(partition);
  // What stands here for owners goes all at once (hints.h).
  if (!core_.IsOwner(partition)) return {};
  crdt::EventSet stable = hasty ? mine.context().applied : mine.durable();
  for (NodeId owner : core_.OtherOwners(partition)) {
    if (kept_for == KeptFor::kReachable && !core_.IsUp(owner)) continue;
    const PeerState* peer = WordOf(owner, partition);
    DOVETAIL_MARK_IF("truncate: waits for an owner never heard of",
                     peer == nullptr);
    if (peer == nullptr) {
      if (DOVETAIL_MUTANT("truncate: waits for nobody")) continue;
      return {};
    }
    stable = stable.Intersect(hasty ? peer->applied : peer->durable);
  }
  return stable;
}

Sync::Word Sync::WordOfAny(NodeId node, PartitionId partition) const {
  const auto peer = peers_.find({partition, node});
  if (peer == peers_.end() || !peer->second.heard ||
      IsNewerRing(core_.placement.ring(), peer->second.ring)) {
    return {};
  }
  return {&peer->second.applied, peer->second.standing};
}

std::vector<NodeId> Sync::OutsidersAhead(PartitionId partition) const {
  const crdt::EventSet& mine = core_.Get(partition).context().applied;
  std::vector<NodeId> ahead;
  for (auto peer = peers_.lower_bound({partition, NodeId{}});
       peer != peers_.end() && peer->first.first == partition; ++peer) {
    const NodeId node = peer->first.second;
    if (core_.placement.Concerns(node, partition) || !core_.IsUp(node)) {
      continue;
    }
    const Word word = WordOfAny(node, partition);
    if (word.events != nullptr && !word.events->IsSubsetOf(mine)) {
      ahead.push_back(node);
    }
  }
  return ahead;
}

crdt::EventSet Sync::SaidByOwners(PartitionId partition) const {
  crdt::EventSet there;
  for (NodeId node : core_.OwnersAndBefore(partition)) {
    const Word word = WordOfAny(node, partition);
    if (word.events != nullptr) there.UnionWith(*word.events);
  }
  return there;
}

uint64_t Sync::LackingOf(PartitionId partition) const {
  crdt::EventSet there;
  for (auto peer = peers_.lower_bound({partition, NodeId{}});
       peer != peers_.end() && peer->first.first == partition; ++peer) {
    there.UnionWith(peer->second.applied);
  }
  return there.Minus(core_.Get(partition).context().applied).dot_count();
}

uint32_t Sync::CompleteOwnersThatHave(PartitionId partition,
                                      const crdt::EventSet& events) const {
  uint32_t owners = 0;
  for (NodeId owner : core_.placement.Owners(partition)) {
    const PeerState* peer = WordOf(owner, partition);
    const bool has = peer != nullptr &&
                     (peer->standing == Standing::kComplete ||
                      DOVETAIL_MUTANT("moves: handed over to who is filled")) &&
                     events.IsSubsetOf(peer->durable);
    owners += has ? 1 : 0;
  }
  return owners;
}

uint32_t Sync::OwnersThatHave(PartitionId partition,
                              const crdt::EventSet& events) const {
  uint32_t owners = 0;
  for (NodeId owner : core_.placement.Owners(partition)) {
    const PeerState* peer = WordOf(owner, partition);
    const bool hasty = DOVETAIL_MUTANT("hints: dropped when applied");
    const bool has = peer != nullptr &&
                     events.IsSubsetOf(hasty ? peer->applied : peer->durable);
    owners += has ? 1 : 0;
  }
  return owners;
}

}  // namespace dovetail::replica
