#include "tests/sim/checker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/check.h"
#include "replica/hash.h"
#include "tests/sim/convert.h"
#include "tests/sim/disk_faults.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using replica::NodeId;
using replica::PartitionId;
using replica::RequestId;
using replica::Shard;

namespace {

// Of no operation of the plan.
bool IsExtra(RequestId id) {
  return ListWatch::IsListing(id) || SessionWatch::IsSessions(id) ||
         QuorumWatch::IsQuorums(id);
}

bool FailsWrites(EventKind kind) {
  return kind == EventKind::kFailCommit || kind == EventKind::kFailSync ||
         kind == EventKind::kDiskFull || kind == EventKind::kReadError ||
         kind == EventKind::kCorruptRow || kind == EventKind::kDamage;
}

bool TakesWrites(const PlanEvent& event) {
  switch (event.kind) {
    case EventKind::kCrash:
    case EventKind::kRestartAll:
      return event.value > 0;
    case EventKind::kFailCommit:
    case EventKind::kFailSync:
      return true;
    default:
      return LosesRows(event.kind);
  }
}

// What the reply shows, against what it should: a page may stop early.
bool Shows(const crdt::ReadResult& result, const oracle::View& expected,
           const std::optional<std::string>& element) {
  if (element) {
    const bool contains =
        std::find(expected.values.begin(), expected.values.end(), *element) !=
        expected.values.end();
    return result.view.flag == contains;
  }
  if (!result.more) {
    return crdt::ToString(result.view) == oracle::ToString(expected);
  }
  const auto& values = result.view.values;
  if (!values.empty()) {
    return values.size() <= expected.values.size() &&
           std::equal(values.begin(), values.end(), expected.values.begin());
  }
  return result.view.fields.size() <= expected.fields.size();
}

std::string Listing(const std::vector<oracle::Listed>& list) {
  return absl::StrCat(
      "{",
      absl::StrJoin(list, ", ",
                    [](std::string* out, const auto& one) {
                      absl::StrAppend(out, absl::Hex(one.actor % 0x10000), ":",
                                      one.counter);
                      if (one.counter == 0) {
                        absl::StrAppend(out, " ", one.total, "-", one.reset);
                      }
                    }),
      "}");
}

}  // namespace

Checker::Checker(const Plan& plan, Scheduler& scheduler, Trace& trace)
    : plan_(plan),
      scheduler_(scheduler),
      trace_(trace),
      oracles_(static_cast<size_t>(plan.options.partitions)),
      actions_(plan.events.size()),
      ends_(static_cast<size_t>(plan.options.nodes)),
      ends_seen_(ends_.size()),
      clocks_(ends_.size()) {
  scenario::Parser parser;
  std::string cast = "nodes";
  for (int64_t i = 0; i < plan.options.nodes; ++i) {
    absl::StrAppend(&cast, " n", i);
  }
  DOVETAIL_CHECK(parser.ParseLine(cast, 1).ok());
  for (size_t i = 0; i < plan.events.size(); ++i) {
    const PlanEvent& event = plan.events[i];
    disk_faults_ |= FailsWrites(event.kind);
    losses_ |= TakesWrites(event);
    disks_replaced_ |= LosesRows(event.kind);
    damages_ |= event.kind == EventKind::kDamage;
    if (LosesRows(event.kind)) frail_.insert(event.node);
    moves_ |= event.kind == EventKind::kCommit;
    if (event.is_fault()) continue;
    auto action = scenario::ParseOperation(parser, event.text);
    if (!action.ok()) {
      OnViolation(
          absl::StrCat("\"", event.text, "\": ", action.status().message()));
      continue;
    }
    actions_[i] = *std::move(action);
    LearnWhatExpires(*actions_[i]);
  }
}

PartitionId Checker::PartitionOf(const crdt::ObjectId& object) const {
  return replica::PartitionOf(object.bucket, object.key,
                              static_cast<uint32_t>(plan_.options.partitions));
}

std::string Checker::Story(const Pending& pending) const {
  const std::string what = pending.event != kProbe
                               ? plan_.events[pending.event].text
                               : crdt::ToString(pending.spec->object);
  return absl::StrCat("\"", what, "\" at node ", pending.node, ", ",
                      pending.submitted_us, " µs");
}

void Checker::OnViolation(std::string what) {
  if (!violation_.empty()) return;
  trace_.Add(scheduler_.now_us(), "VIOLATION", 0, 0, HashOf(what),
             [&] { return what; });
  violation_ = absl::StrCat("at ", scheduler_.now_us(), " µs (event ",
                            trace_.events(), "): ", what);
}

// --- In the middle of a turn -------------------------------------------------

void Checker::BeforeRequest(uint32_t node, Shard& shard,
                            const replica::ClientRequest& request) {
  if (IsExtra(request.id)) return;
  const auto it = pending_.find(request.id);
  DOVETAIL_CHECK(it != pending_.end());
  Pending& pending = it->second;
  Begin(node, pending, shard.ContextOf(pending.partition).applied);
}

void Checker::Begin(uint32_t node, Pending& pending,
                    const crdt::EventSet& visible) {
  const crdt::ActorId actor = cluster_->node(node).process->actor;
  pending.handled = true;
  pending.handled_us = scheduler_.now_us();
  pending.at = node;
  pending.visible = visible;
  if (pending.spec) return pending.tries.push_back({node, actor, visible});
  pending.unknown = !IsKnown(node, pending);
  if (pending.must_refuse) return;
  if (pending.once) LookForRoom(pending);
}

bool Checker::OnSend(uint32_t node, const replica::Envelope& envelope) {
  const replica::Message& message = envelope.message;
  if (const auto* forwarded = std::get_if<replica::Forwarded>(&message.body)) {
    OnForwardedSent(message.partition, *forwarded);
  }
  std::string wrong = messages_.Look(message);
  if (wrong.empty()) wrong = storms_.Look(node, envelope, scheduler_.now_us());
  if (!wrong.empty()) {
    OnViolation(absl::StrCat("node ", node, " sends: ", wrong));
    return true;
  }
  for (const Withheld& withheld : withheld_until_released_) {
    if (!withheld.events || withheld.peer != SeatOf(envelope.to) ||
        withheld.partition != message.partition) {
      continue;
    }
    const auto is_it = [&](const std::string& delta) {
      return messages_.EventsOf(delta) == *withheld.events;
    };
    if (const auto* one = std::get_if<replica::Replicate>(&message.body)) {
      if (is_it(one->delta)) return false;
    } else if (const auto* chunk =
                   std::get_if<replica::SyncDeltas>(&message.body)) {
      if (std::any_of(chunk->deltas.begin(), chunk->deltas.end(), is_it)) {
        return false;
      }
    }
  }
  return true;
}

// --- Answers -----------------------------------------------------------------

void Checker::OnReply(uint32_t node, const replica::ClientReply& reply) {
  if (ListWatch::IsListing(reply.id)) return OnListReply(node, reply);
  if (SessionWatch::IsSessions(reply.id)) return OnSessionReply(node, reply);
  if (QuorumWatch::IsQuorums(reply.id)) return OnQuorumReply(node, reply);
  const auto it = pending_.find(reply.id);
  // One request can fail twice: in its turn, and with it.
  if (it == pending_.end() || it->second.abandoned) return;
  Pending pending = std::move(it->second);
  if (!reply.body.ok() && MayGoOn(pending)) {
    it->second = pending;
    it->second.abandoned = true;
  } else {
    pending_.erase(it);
  }
  trace_.Add(scheduler_.now_us(), "reply", node,
             static_cast<uint64_t>(reply.id),
             static_cast<uint64_t>(reply.body.status().code()), [&] {
               return absl::StrCat(Story(pending), ": ",
                                   reply.body.status().ToString());
             });
  if (!reply.body.ok()) return OnError(pending, reply.body.status());
  if (const auto* write = std::get_if<replica::WriteReply>(&*reply.body)) {
    OnWriteReply(pending, *write);
  } else if (const auto* read = std::get_if<replica::ReadReply>(&*reply.body)) {
    OnReadReply(pending, *read);
  }
}

void Checker::OnError(const Pending& pending, const absl::Status& status) {
  ++stats_.failed;
  const bool few_at_once = plan_.options.requests_in_flight_max <
                           PlanOptions().requests_in_flight_max;
  if (MustSucceed(pending) && !Excuses(pending, status)) {
    return OnViolation(absl::StrCat(
        Story(pending),
        " failed though a majority is healthy: ", status.ToString()));
  }
  bool explained = false;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      explained = true;
      break;
    case absl::StatusCode::kResourceExhausted:
      explained = disk_faults_ || plan_.options.buggify != 0 || few_at_once ||
                  HintsAreShort() || pending.full || pending.unknown;
      break;
    case absl::StatusCode::kInvalidArgument:
      explained =
          pending.must_refuse || LevelMayBeTooHigh(pending) ||
          std::any_of(pending.batch.begin(), pending.batch.end(),
                      [&](const oracle::Mutation& mutation) {
                        return PartitionOf(FromOracle(mutation.object)) !=
                               pending.partition;
                      });
      break;
    case absl::StatusCode::kDataLoss:
      explained = disk_faults_;
      break;
    default:
      break;
  }
  if (!explained) {
    OnViolation(absl::StrCat(Story(pending),
                             " failed, and nothing in the plan "
                             "explains it: ",
                             status.ToString()));
  }
}

void Checker::OnWriteReply(const Pending& pending,
                           const replica::WriteReply& reply) {
  if (pending.must_refuse) {
    return OnViolation(
        absl::StrCat(Story(pending),
                     " was taken, though its id is that of another "
                     "operation, or cannot cover all that it removes"));
  }
  if (pending.full) {
    return OnViolation(absl::StrCat(
        Story(pending), " was taken beside more values than there may be"));
  }
  sessions_.OnWritten(pending.event, reply);
  ++stats_.acknowledged;
  const std::string wrong = pending.unknown ? "" : WrongIn(pending, reply);
  if (!wrong.empty()) {
    return OnViolation(absl::StrCat(Story(pending), wrong));
  }
  if (!pending.minted || pending.nothing_left) return;
  CheckReceipt(pending, reply.receipt);
  Acknowledged acknowledged{pending.event,
                            pending.partition,
                            *pending.minted,
                            pending.fsync,
                            {},
                            {},
                            scheduler_.now_us()};
  for (const NodeId node : reply.receipt.nodes) {
    const uint32_t id = SeatOf(node);
    if (!cluster_->node(id).running()) {
      // Whether it is still there shows when the node starts again, unless it
      // lost it, as it may, between its acknowledgement and this answer.
      if (!LossIsLegal(id, pending.submitted_us, pending.fsync)) {
        acknowledged.holders.insert(id);
      }
    } else if (Holds(id, pending.partition, *pending.minted)) {
      // It may have lost it since its acknowledgement, and got it back from a
      // peer without an fsync.
      const bool lost = LossIsLegal(id, pending.submitted_us, pending.fsync);
      if (!lost || !pending.fsync ||
          cluster_->ShardOf(id, pending.partition)
              .DurableOf(pending.partition)
              .ContainsRun(*pending.minted)) {
        acknowledged.holders.insert(id);
      }
    } else if (!Owns(id, pending.partition) ||
               !cluster_->RingKnownSince(pending.submitted_us)) {
      // A stand-in that has handed it over meanwhile.
      AddHolders(acknowledged);
    } else if (!LossIsLegal(id, pending.submitted_us, pending.fsync)) {
      return OnViolation(absl::StrCat(Story(pending),
                                      " is acknowledged by node ", id,
                                      ", which does not hold it"));
    }
  }
  WatchAtQuorums(pending, reply.receipt, acknowledged);
  acknowledged_.push_back(std::move(acknowledged));
}

std::string Checker::WrongIn(const Pending& pending,
                             const replica::WriteReply& reply) {
  if (!pending.settled) return " ended before its last part";
  if (reply.not_observed != pending.expected.not_observed) {
    return ": wrong not_observed in its answer";
  }
  return "";
}

std::optional<std::vector<crdt::EventSet>> Checker::CandidatesOf(
    const Pending& pending, const replica::Receipt& receipt) const {
  const crdt::ReadSpec& spec = *pending.spec;
  std::vector<crdt::EventSet> candidates;
  for (const Pending::Try& one : pending.tries) {
    if (one.node != SeatOf(receipt.nodes.front())) continue;
    if (receipt.required == 1 && receipt.nodes.size() == 1) {
      candidates.push_back(one.visible);
      continue;
    }
    if (reads_.WentOn(pending.partition, one.actor, spec)) return std::nullopt;
    const auto its = reads_.Candidates(pending.partition, one.actor, one.node,
                                       spec, one.visible, receipt.nodes);
    if (!its) return std::nullopt;
    candidates.insert(candidates.end(), its->begin(), its->end());
  }
  return candidates;
}

void Checker::OnReadReply(const Pending& pending,
                          const replica::ReadReply& reply) {
  ++stats_.acknowledged;
  CheckReceipt(pending, reply.receipt);
  CheckReadable(pending, reply.receipt.nodes);
  // Whoever it was passed on to may have owned nothing by then, and asked
  // others in turn, who need not be those that are named.
  if (pending.ticket && !cluster_->RingKnownSince(pending.submitted_us)) return;
  const crdt::ReadSpec& spec = *pending.spec;
  if (!IsJudged(spec.object) ||
      !ExactSince(reply.receipt.nodes, pending.partition,
                  pending.submitted_us)) {
    return;
  }
  const oracle::Object object = ToOracle(spec.object);
  const std::vector<oracle::Field> fields = ToOracle(spec.fields);
  oracle::Oracle& oracle = OracleOf(pending.partition);
  const auto known = CandidatesOf(pending, reply.receipt);
  if (!known) return;
  const std::vector<crdt::EventSet>& candidates = *known;
  ++stats_.checks;
  if (reply.receipt.required > 1 && !reply.result.view.present &&
      !spec.element && !reply.result.expired &&
      reply.receipt.stand_ins.size() == reply.receipt.nodes.size() &&
      !MayKnowAbsence(pending, reply.receipt.nodes)) {
    return OnViolation(
        absl::StrCat(Story(pending), " shows nothing, and no owner was asked"));
  }
  std::string expected;
  for (const crdt::EventSet& candidate : candidates) {
    const oracle::Events events = ToOracle(candidate);
    const oracle::View view =
        ShownOf(pending, reply, events, oracle.Read(object, fields, events));
    const uint64_t at_ms = oracle.ExpiresAt(object, events);
    const bool hidden = IsHidden(pending, reply, at_ms);
    if (reply.result.expires_ms != at_ms && !hidden) {
      expected = absl::StrCat("shows ", crdt::ToString(reply.result.view),
                              ", which expires at ", reply.result.expires_ms,
                              "; the events say ", at_ms);
      continue;
    }
    if (!Shows(reply.result, view, spec.element)) {
      expected = absl::StrCat("shows ", crdt::ToString(reply.result.view),
                              "; the events say ", oracle::ToString(view));
      continue;
    }
    if (!reply.result.token || reply.result.more) return;
    const oracle::SightId sight =
        oracle.See(object, fields, hidden ? oracle::Events() : events);
    if (oracle.ListOf(sight) == ToOracle(*reply.result.token)) {
      tokens_.insert_or_assign(pending.token,
                               Token{*reply.result.token, sight});
      return;
    }
    const auto listed = ToOracle(*reply.result.token);
    const auto seen = oracle.ListOf(sight);
    // A site of BUGGIFY makes short pages of which a read of one replica skips
    // those that show nothing; its token is then of the last page alone.
    if (plan_.options.buggify != 0 && reply.receipt.required == 1 &&
        std::includes(seen.begin(), seen.end(), listed.begin(), listed.end())) {
      return;
    }
    expected = absl::StrCat("has a token of ", Listing(listed), "; seen were ",
                            Listing(seen));
  }
  OnViolation(absl::StrCat(Story(pending), " ", expected, " (",
                           candidates.size(), " candidates)"));
}

// --- Processes ---------------------------------------------------------------

void Checker::OnStopped(uint32_t node, Death death) {
  ends_[node].push_back({scheduler_.now_us(), death});
  const auto its = [&](const auto& item) { return item.first.first == node; };
  std::erase_if(held_, its);
  std::erase_if(filled_, its);
  for (Acknowledged& write : acknowledged_) {
    const bool lost =
        death == Death::kDisk || (death == Death::kPower && !write.fsync);
    if (lost) write.at_quorum_of.reset();
  }
  expiry_.OnStopped(node);
  std::erase_if(taken_, its);
  lists_.OnStopped(node);
  sessions_.OnStopped(node);
  quorums_.OnStopped(node, death);
  for (auto it = pending_.begin(); it != pending_.end();) {
    const auto current = it++;
    Pending& pending = current->second;
    if (pending.ticket && pending.passed_to == node) pending.settled = true;
    if (pending.node == node && !pending.abandoned) {
      ++stats_.unknown;
      pending.abandoned = true;
    }
    if (pending.abandoned && !MayGoOn(pending)) pending_.erase(current);
  }
}

void Checker::OnStarted(uint32_t node) {
  LookAtDamage(node);
  LookAtExactness(node, nullptr);
  // What may be gone: several ends may lie before one start that works.
  bool disk = false;
  bool power = false;
  for (size_t i = ends_seen_[node]; i < ends_[node].size(); ++i) {
    disk |= ends_[node][i].death == Death::kDisk;
    power |= ends_[node][i].death == Death::kPower;
  }
  ends_seen_[node] = ends_[node].size();
  // The clock is stored with each commit, and lost with it.
  if (disk || power) clocks_[node].last.clear();
  clocks_[node].foreign |= disk;
  // What a turn that failed had written may be there, also at another node that
  // starts on a copy of that disk.
  std::erase_if(minted_in_vain_, [&](const InTurn& minted) {
    return ReadStamps(node, minted.partition, minted.events);
  });
  std::erase_if(reaped_in_vain_, [&](Reaped& reaped) {
    reaped.node = node;
    return Attribute(reaped, /*in_time=*/false);
  });
  for (Acknowledged& write : acknowledged_) {
    if (!write.holders.contains(node) ||
        Holds(node, write.partition, write.events)) {
      continue;
    }
    write.holders.erase(node);
    if (disk || (power && !write.fsync)) continue;
    const bool moved = disk_faults_ && cluster_->ring_changed();
    if (!Owns(node, write.partition) || moved) {
      // It may have forgotten it in a turn that failed and came true.
      AddHolders(write);
      continue;
    }
    OnViolation(absl::StrCat(
        "\"", plan_.events[write.event].text, "\" was acknowledged by node ",
        node, write.fsync ? " as synced" : "", ", which lost it in a restart"));
  }
}

bool Checker::LossIsLegal(uint32_t node, int64_t since_us, bool fsync) const {
  return std::any_of(ends_[node].begin(), ends_[node].end(),
                     [&](const End& end) {
                       return end.at_us >= since_us &&
                              (end.death == Death::kDisk ||
                               (end.death == Death::kPower && !fsync));
                     });
}

bool Checker::Holds(uint32_t node, PartitionId partition,
                    const crdt::DotRun& events) {
  return cluster_->ShardOf(node, partition)
      .ContextOf(partition)
      .applied.ContainsRun(events);
}

}  // namespace dovetail::sim
