// What the checker looks at around each message and at the end of each turn:
// clocks, and what nodes claim of their disks.
//
//   clocks   the timestamps that a shard gives rise, over its restarts too, and
//            are beyond every one that it was told and may believe
//   disks    what is called durable (in summaries, acknowledgements, answers)
//            is among what no power failure can take, at that moment
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/delta.h"
#include "crdt/hlc.h"
#include "replica/keys.h"
#include "replica/log_entry.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"

namespace dovetail::sim {

using replica::Family;
using replica::PartitionId;
using replica::Shard;

namespace {

PartitionId PartitionOfLogKey(absl::string_view key) {
  return PartitionId{
      static_cast<uint16_t>(replica::ReadBigEndian(key.substr(0, 2)))};
}

}  // namespace

void Checker::BeforeMessage(uint32_t node, Shard& shard,
                            const replica::Message& message) {
  const auto* forward = std::get_if<replica::Forward>(&message.body);
  if (std::holds_alternative<replica::Replicate>(message.body) ||
      std::holds_alternative<replica::SyncDeltas>(message.body)) {
    before_message_ = shard.ContextOf(message.partition).applied;
  }
  if (forward != nullptr) {
    BeforeForward(node, message.partition, *forward,
                  shard.ContextOf(message.partition).applied);
  }
}

void Checker::AfterMessage(uint32_t node, Shard& shard, uint32_t from,
                           const replica::Message& message) {
  const crdt::EventSet& applied = shard.ContextOf(message.partition).applied;
  if (std::holds_alternative<replica::Summary>(message.body) && !losses_ &&
      shard.stats().divergences > 0) {
    return OnViolation(absl::StrCat(
        "node ", node, " and a peer have applied the same events and hold ",
        "different rows"));
  }
  const auto note = [&](const std::string& delta) {
    const crdt::DotRun events = messages_.EventsOf(delta);
    if (applied.ContainsRun(events) && !before_message_.ContainsRun(events)) {
      NoteReceived(node, message.partition, delta);
    }
  };
  if (const auto* query = std::get_if<replica::ReadQuery>(&message.body)) {
    reads_.OnQueryAnswered(node, message.partition, *query, applied);
  } else if (const auto* summary =
                 std::get_if<replica::Summary>(&message.body)) {
    expiry_.Heard(node, IndexOf(node, shard), from, summary->wall_ms,
                  NowAt(node));
  } else if (const auto* answer =
                 std::get_if<replica::ReadAnswer>(&message.body)) {
    reads_.OnAnswer(message.partition, *answer, applied);
  } else if (const auto* one = std::get_if<replica::Replicate>(&message.body)) {
    note(one->delta);
  } else if (const auto* chunk =
                 std::get_if<replica::SyncDeltas>(&message.body)) {
    for (const std::string& delta : chunk->deltas) note(delta);
  }
}

void Checker::NoteReceived(uint32_t node, PartitionId partition,
                           const std::string& bytes) {
  const auto delta = crdt::Delta::Decode(bytes);
  DOVETAIL_CHECK(delta.ok());  // message_watch.cc has seen it
  const uint64_t wall = cluster_->node(node).clock.WallMs(scheduler_.now_us());
  InTurn received{node, partition, delta->events, oracle::Stamp()};
  for (const crdt::DeltaLeaf& leaf : delta->leaves) {
    for (const auto& [dot, payload] : leaf.store.entries()) {
      const auto* stamped = std::get_if<crdt::Stamped>(&payload);
      if (stamped == nullptr) continue;
      const crdt::Timestamp& stamp = stamped->stamp;
      if (stamp.wall_ms > wall + crdt::HybridClock::kDriftMaxMs) continue;
      received.received = std::max(*received.received,
                                   oracle::Stamp{stamp.wall_ms, stamp.logical});
    }
  }
  if (*received.received != oracle::Stamp()) {
    in_turn_.push_back(std::move(received));
  }
}

void Checker::OnTurn(uint32_t node, Shard& shard,
                     const replica::Output& output) {
  const uint64_t wall = cluster_->node(node).clock.WallMs(scheduler_.now_us());
  clocks_[node].wall_max = std::max(clocks_[node].wall_max, wall);
  NoteShown(node, shard, output);
  LookAtReaped();
  for (const InTurn& one : std::exchange(in_turn_, {})) {
    if (!one.received) {
      if (!ReadStamps(node, one.partition, one.events)) {
        minted_in_vain_.push_back(one);
      }
      continue;
    }
    // A turn that failed leaves neither the delta on disk nor the clock.
    const std::string key =
        replica::LogKey(one.partition, {one.events.actor, one.events.first});
    if (!cluster_->node(node).disk.keys(Family::kLog).contains(key)) continue;
    oracle::Stamp& last = clocks_[node].last[ShardOf(one.partition)];
    last = std::max(last, *one.received);
  }
  for (const replica::Envelope& envelope : output.messages) {
    if (const auto* query =
            std::get_if<replica::ReadQuery>(&envelope.message.body)) {
      const PartitionId partition = envelope.message.partition;
      reads_.OnQuerySent(partition, *query, shard.ContextOf(partition).applied);
    }
  }
  // A process that gives up may have found what its disk does not say yet.
  if (output.fatal.ok()) LookAtDamage(node);
  LookAtExactness(node, &shard);
  CheckDurable(node, output);
  CheckTruncated(node);
  // A process that gives up may not know what it holds.
  if (output.fatal.ok()) {
    CheckHandedOver(node, shard);
    CheckFilled(node, shard);
  }
}

// The timestamps that a write to registers was given stand in its log entry;
// if there is none (false), the turn failed.
bool Checker::ReadStamps(uint32_t node, PartitionId partition,
                         const crdt::DotRun& minted) {
  const auto& log = cluster_->node(node).disk.keys(Family::kLog);
  const std::string key =
      replica::LogKey(partition, {minted.actor, minted.first});
  const auto row = log.find(key);
  if (row == log.end()) return false;
  const auto entry = replica::DecodeLogEntry(key, row->second);
  const auto delta = entry.ok() ? crdt::Delta::Decode(entry->delta)
                                : absl::StatusOr<crdt::Delta>(entry.status());
  if (!delta.ok()) {
    OnViolation(absl::StrCat("the log of node ", node,
                             " does not decode: ", delta.status().ToString()));
    return true;
  }
  std::vector<std::pair<uint64_t, oracle::Stamp>> stamps;
  for (const crdt::DeltaLeaf& leaf : delta->leaves) {
    for (const auto& [dot, payload] : leaf.store.entries()) {
      if (const auto* expiry = std::get_if<crdt::Expiry>(&payload)) {
        if (!IsJudged(leaf.object)) continue;
        OracleOf(partition).SetTime(ToOracle(leaf.object),
                                    crdt::ActorBits(dot.actor), dot.counter,
                                    expiry->at_ms);
        continue;
      }
      const auto* stamped = std::get_if<crdt::Stamped>(&payload);
      if (stamped == nullptr) continue;
      const oracle::Stamp stamp{stamped->stamp.wall_ms, stamped->stamp.logical};
      stamps.emplace_back(dot.counter, stamp);
      if (!IsJudged(leaf.object)) continue;
      OracleOf(partition).SetStamp(ToOracle(leaf.object),
                                   crdt::ActorBits(dot.actor), dot.counter,
                                   stamp);
    }
  }
  // In the order in which they were made.
  std::sort(stamps.begin(), stamps.end());
  for (const auto& [counter, stamp] : stamps) {
    CheckStamp(node, partition, stamp);
  }
  return true;
}

void Checker::CheckStamp(uint32_t node, PartitionId partition,
                         const oracle::Stamp& stamp) {
  ClockWatch& clock = clocks_[node];
  const auto [last, first] = clock.last.try_emplace(ShardOf(partition), stamp);
  if (!first && !(last->second < stamp)) {
    OnViolation(absl::StrCat("a clock of node ", node,
                             " that gave, or was told, ", last->second.wall,
                             "+", last->second.logical, " now gives ",
                             stamp.wall, "+", stamp.logical));
  }
  last->second = stamp;
  // Twice the drift: a site of BUGGIFY takes it for the wall clock, too.
  constexpr uint64_t kAheadMax = 2 * crdt::HybridClock::kDriftMaxMs + 1;
  if (!clock.foreign && stamp.wall > clock.wall_max + kAheadMax) {
    OnViolation(absl::StrCat("a clock of node ", node, " is ",
                             stamp.wall - clock.wall_max,
                             " ms ahead of its wall clock"));
  }
}

std::map<PartitionId, crdt::EventSet> Checker::FrailEvents(
    uint32_t node) const {
  std::map<PartitionId, crdt::EventSet> frail;
  cluster_->node(node).disk.ForEachUnsyncedPut(
      Family::kLog, [&](const std::string& key, const std::string& value) {
        const auto entry = replica::DecodeLogEntry(key, value);
        DOVETAIL_CHECK(entry.ok());
        frail[PartitionOfLogKey(key)].InsertRun(entry->events);
      });
  return frail;
}

// By the owners that it knows of. Where disks are replaced, one may be after it
// was said what it holds. The log of who stood in for others goes as a whole
// (checker_handover.cc).
void Checker::CheckTruncated(uint32_t node) {
  const DiskDoor::Rows rows =
      cluster_->node(node).process->door.TakeTruncated();
  // Beyond the budget of its logs a node gives up who lacks something.
  const PlanOptions defaults;
  const bool gives_up = plan_.options.log_bytes_max < defaults.log_bytes_max ||
                        plan_.options.log_age_max_us < defaults.log_age_max_us;
  if (rows.empty() || disks_replaced_ || gives_up) return;
  for (uint32_t owner = 0; owner < cluster_->size(); ++owner) {
    auto frail = FrailEvents(owner);
    for (const auto& [key, value] : rows) {
      const PartitionId partition = PartitionOfLogKey(key);
      const auto& known = cluster_->PlacementAt(node, partition);
      // Who has heard of a newer ring may have handed it over.
      if (!known.Owns(replica::NodeId{node}, partition) ||
          !known.Owns(replica::NodeId{owner}, partition) ||
          !GoesBySame(node, owner, partition)) {
        continue;
      }
      const auto entry = replica::DecodeLogEntry(key, value);
      DOVETAIL_CHECK(entry.ok());
      // It had handed the partition over, and owns it again.
      if (!Holds(node, partition, entry->events)) continue;
      const bool lacks = cluster_->node(owner).running() &&
                         !Holds(owner, partition, entry->events);
      if (!lacks && !frail[partition].IntersectsRun(entry->events)) continue;
      return OnViolation(
          absl::StrCat("node ", node, " drops an event from its log that node ",
                       owner, lacks ? " lacks" : " could still lose"));
    }
  }
}

void Checker::CheckDurable(uint32_t node, const replica::Output& output) {
  if (!output.fatal.ok() || cluster_->node(node).disk.unsynced_batches() == 0) {
    return;
  }
  const auto frail = FrailEvents(node);
  const auto claim = [&](PartitionId partition, const crdt::EventSet& events,
                         const char* how) {
    const auto its = frail.find(partition);
    if (its == frail.end() || its->second.Intersect(events).empty()) return;
    OnViolation(absl::StrCat("node ", node, " ", how,
                             " events as durable that a power failure could "
                             "still take from its disk"));
  };
  const auto answers_for = [&](const Pending& pending) {
    if (!pending.fsync || !pending.minted || pending.at != node) return;
    crdt::EventSet events;
    events.InsertRun(*pending.minted);
    claim(pending.partition, events, "answers for");
  };
  for (const replica::Envelope& envelope : output.messages) {
    const replica::Message& message = envelope.message;
    if (const auto* summary = std::get_if<replica::Summary>(&message.body)) {
      claim(message.partition, summary->durable, "names");
    } else if (const auto* ack = std::get_if<replica::Ack>(&message.body)) {
      if (!ack->synced) continue;
      crdt::EventSet events;
      events.InsertRun(ack->events);
      claim(message.partition, events, "acknowledges");
    } else if (const auto* ranges =
                   std::get_if<replica::RangeAnswer>(&message.body)) {
      // Where it does not say its context, that of then is not known: a site
      // of BUGGIFY may have held the message back.
      if (!ranges->status.ok() || ranges->context_same) continue;
      claim(message.partition, ranges->context.applied, "fills others with");
    } else if (const auto* forwarded =
                   std::get_if<replica::Forwarded>(&message.body)) {
      const auto pending = ByTicket(message.partition, forwarded->ticket);
      if (pending == pending_.end() || !forwarded->reply.ok()) continue;
      answers_for(pending->second);
    }
  }
  for (const replica::ClientReply& reply : output.replies) {
    const auto pending = pending_.find(reply.id);
    if (pending == pending_.end() || !reply.body.ok()) continue;
    answers_for(pending->second);
  }
}

}  // namespace dovetail::sim
