// Which write minted which events, as the nodes tell it (crdt/hooks.h): of
// several requests that are under way at a node, some of which wait for what
// their session saw, go on in later turns or are the node's own, nobody outside
// could say whose a delta is. What they tell is no evidence that it is right:
// it must be all that their partitions have got by themselves, and each part
// must do what the oracle says of whoever asked for it.
#include <utility>

#include "absl/strings/str_cat.h"
#include "replica/shard_core.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::Shard;

namespace {

crdt::EventSet Of(const crdt::DotRun& run) {
  crdt::EventSet events;
  if (run.count > 0) events.InsertRun(run);
  return events;
}

}  // namespace

void Checker::OnTaken(uint32_t node, Shard& shard, replica::RequestId id,
                      const replica::ReadTicket& ticket) {
  taken_[{node, IndexOf(node, shard)}][id] = ticket;
}

void Checker::OnRan(uint32_t node, Shard& shard,
                    const std::vector<Ran>& writes) {
  const crdt::ActorId actor = cluster_->node(node).process->actor;
  // What each of them saw: what is applied now, without it and those after it.
  // Deltas of others that came in the same call were applied before.
  std::map<PartitionId, crdt::EventSet> visible;
  for (const Ran& ran : writes) {
    const auto [its, first] = visible.try_emplace(ran.partition);
    if (first) its->second = shard.ContextOf(ran.partition).applied;
    if (ran.minted.count == 0 || ran.duplicate) continue;
    its->second.Subtract(Of(ran.minted));
    if (ran.minted.actor == actor) told_[ran.partition].InsertRun(ran.minted);
  }
  for (const auto& [partition, events] : visible) {
    const crdt::EventSet untold =
        shard.ContextOf(partition).applied.Minus(told_[partition]);
    untold.ForEachRun([&](const crdt::DotRun& run) {
      if (run.actor != actor) return true;
      OnViolation(absl::StrCat("node ", node, " mints events of partition ",
                               Index(partition), " that nobody asked for"));
      return false;
    });
  }
  const uint32_t lane = IndexOf(node, shard);
  for (const Ran& ran : writes) {
    crdt::EventSet& seen = visible[ran.partition];
    RanOne(node, lane, ran, seen);
    if (ran.minted.count > 0) seen.InsertRun(ran.minted);
  }
}

void Checker::RanOne(uint32_t node, uint32_t lane, const Ran& ran,
                     const crdt::EventSet& visible) {
  if (replica::ShardCore::IsOwnRequest(ran.id)) {
    if (ran.minted.count > 0) {
      reaped_.push_back({node, ran.partition, visible, ran.minted});
    }
    return;
  }
  auto its = pending_.find(ran.id);
  const auto& taken = taken_[{node, lane}];
  if (const auto ticket = taken.find(ran.id); ticket != taken.end()) {
    its = ByTicket(ran.partition, ticket->second);
  }
  if (its == pending_.end()) {
    return OnViolation(
        absl::StrCat("node ", node, " runs a write of partition ",
                     Index(ran.partition), " that nobody waits for"));
  }
  RanFor(node, its->second, ran, visible);
  if (!ran.more) Settle(its);
}

void Checker::RanFor(uint32_t node, Pending& pending, const Ran& ran,
                     const crdt::EventSet& visible) {
  const bool minted = ran.minted.count > 0;
  if (pending.settled && !ran.duplicate) {
    return OnViolation(absl::StrCat(Story(pending), " is done once more"));
  }
  if (pending.must_refuse) {
    if (!minted) return;
    return OnViolation(absl::StrCat(Story(pending), " took effect"));
  }
  pending.at = node;
  pending.visible = visible;
  pending.unknown = pending.unknown || !IsKnown(node, pending);
  if (pending.once) return RanOnce(pending, ran);
  ExpectNext(node, pending);
  if (minted) return Mints(node, pending, ran);
  pending.nothing_left = pending.minted.has_value();
  if (pending.expected.mints() && !pending.unknown) {
    OnViolation(absl::StrCat(Story(pending), " minted nothing; it should be ",
                             pending.expected.events, " events"));
  }
}

// What is cleared in parts goes on after the last one. Of what has expired
// meanwhile nothing is left by then, or it goes first, as before any write.
void Checker::ExpectNext(uint32_t node, Pending& pending) {
  if (!pending.expected.resume_after) return ExpectOf(node, pending);
  std::vector<bool> missed = std::move(pending.expected.not_observed);
  pending.first.clear();
  pending.batch.front().resume_after = pending.expected.resume_after;
  pending.expected =
      OracleOf(pending.partition)
          .Expect(pending.batch,
                  crdt::ActorBits(cluster_->node(node).process->actor),
                  ToOracle(pending.visible));
  pending.expected.not_observed = std::move(missed);
}

void Checker::Mints(uint32_t node, Pending& pending, const Ran& ran) {
  const crdt::DotRun& run = ran.minted;
  if (run.actor != cluster_->node(node).process->actor) {
    return OnViolation(
        absl::StrCat(Story(pending), " minted no run of its node's events"));
  }
  std::vector<oracle::Mutation> done = pending.first;
  oracle::Expectation expected = pending.expected;
  if (ran.first_alone) {
    // Large objects go one by one, in deltas of their own.
    pending.unknown = pending.unknown || done.size() > 1;
    pending.expected.resume_after.reset();
    expected = OracleOf(pending.partition)
                   .Expect(done, crdt::ActorBits(run.actor),
                           ToOracle(pending.visible));
  } else {
    done.insert(done.end(), pending.batch.begin(), pending.batch.end());
  }
  if (!pending.unknown && run.count != expected.events) {
    return OnViolation(absl::StrCat(Story(pending), " minted ", run.count,
                                    " events; it should be ", expected.events));
  }
  if (!pending.unknown && !ran.first_alone &&
      ran.more != expected.resume_after.has_value()) {
    return OnViolation(absl::StrCat(Story(pending),
                                    ran.more ? " goes on" : " is over",
                                    " after a part; it should not"));
  }
  pending.minted = run;
  CheckSession(pending);
  if (pending.unknown) {
    RecordUnknown(pending, run);
  } else {
    OracleOf(pending.partition)
        .Record(done, crdt::ActorBits(run.actor), run.first, run.count,
                ToOracle(pending.visible));
  }
  in_turn_.push_back({node, pending.partition, run, {}, ExpiresFrom(pending)});
  for (Withheld& withheld : withheld_until_released_) {
    if (withheld.events || withheld.from_us > scheduler_.now_us() ||
        withheld.peer == node) {
      continue;
    }
    withheld.partition = pending.partition;
    withheld.events = run;
  }
}

// It mints the very run of its id, wherever it is done, or nothing.
void Checker::RanOnce(Pending& pending, const Ran& ran) {
  if (!(Of(ran.minted) == Of(*pending.once))) {
    return OnViolation(absl::StrCat(
        Story(pending), " minted something else than the events of its id"));
  }
  if (!ran.duplicate) {
    LookForRoom(pending);
    CheckSession(pending);
  }
  if (ran.minted.count > 0) pending.minted = pending.once;
}

}  // namespace dovetail::sim
