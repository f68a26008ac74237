#include "replica/range_source.h"

#include <algorithm>
#include <utility>

#include "crdt/hooks.h"
#include "replica/range_sync.h"

namespace dovetail::replica {
namespace {

// Rows that are compared with the digest for one answer, about: a few ms.
constexpr uint64_t kRowsPerAnswer = 1024;
// Rows that are read for sums, which is quicker: what the cuts of one question
// stand for that were made from rows.
constexpr uint64_t kSumRowsPerAnswer = 64 * 256;
// Questions that wait; who asks one more is not heard, and asks again.
constexpr size_t kWaitingMax = 1024;
// Who still waits has asked again within so many times its patience, however
// long the way here is.
constexpr int kPatiences = 2;
// Less is not worth a timer.
constexpr absl::Duration kShort = absl::Milliseconds(1);

}  // namespace

bool RangeSource::MayAnswer(Now now) const {
  return pace_.free_at() <= now.steady + kShort;
}

void RangeSource::OnQuery(NodeId from, PartitionId id, RangeQuery query,
                          Now now) {
  const auto same = [&](const Waiting& it) {
    return it.from == from && it.partition == id;
  };
  const auto waits = std::find_if(waiting_.begin(), waiting_.end(), same);
  if (waits != waiting_.end()) {  // it keeps its place
    waits->query = std::move(query);
    waits->asked_at = now.steady;
  } else if (waiting_.empty() && MayAnswer(now)) {
    Answer(from, id, query, now);
  } else if (waiting_.size() < kWaitingMax) {
    DOVETAIL_MARK("ranges: an answer waits");
    waiting_.push_back({from, id, std::move(query), now.steady});
  }
}

void RangeSource::OnTimers(Now now) {
  while (!waiting_.empty() && MayAnswer(now)) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    if (now.steady - next.asked_at > kPatiences * RangeSync::kPatience) {
      DOVETAIL_MARK("ranges: who asked has given up");
      continue;
    }
    Answer(next.from, next.partition, next.query, now);
  }
}

void RangeSource::OnPeerDown(NodeId peer) {
  std::erase_if(waiting_, [&](const Waiting& it) { return it.from == peer; });
  std::erase_if(unsynced_, [&](const Unsynced& it) { return it.to == peer; });
}

absl::Duration RangeSource::next_deadline() const {
  return waiting_.empty() ? absl::InfiniteDuration() : pace_.free_at();
}

absl::StatusOr<RangePart> RangeSource::PartOf(Partition& partition,
                                              const RangeAsk& ask,
                                              uint64_t salt, size_t bytes_max,
                                              uint64_t& rows_left,
                                              uint64_t& sum_rows) {
  const auto* in_rows = std::get_if<AskRows>(&ask);
  if (in_rows == nullptr) {
    return partition.Answer(ask, salt, bytes_max, sum_rows);
  }
  AskRows front = *in_rows;
  uint64_t left = rows_left;
  DOVETAIL_ASSIGN_OR_RETURN(
      front.range, partition.FrontOf(front.range, left, !front.prints.empty()));
  // A part of a large leaf counts as what the asker has of it.
  rows_left =
      front.prints.empty()
          ? left
          : rows_left - std::min<uint64_t>(rows_left, front.prints.size());
  // The asker takes it for the truth: what is not there it removes.
  if (!DOVETAIL_MUTANT("ranges: answers what is damaged")) {
    DOVETAIL_RETURN_IF_ERROR(partition.Vouch(front.range));
  }
  const std::string end = front.range.end;
  DOVETAIL_ASSIGN_OR_RETURN(RangePart part,
                            partition.Answer(front, salt, bytes_max, sum_rows));
  if (part.rest.empty() && end != in_rows->range.end) part.rest = end;
  return part;
}

void RangeSource::Answer(NodeId from, PartitionId id, const RangeQuery& query,
                         Now now) {
  Partition& partition = core_.Get(id);
  RangeAnswer answer;
  answer.ticket = query.ticket;
  // What is being filled itself is no source for others who are, while there is
  // a better one. Who owns nothing by two rings knows of none, and who asks it
  // knows why.
  const bool partial =
      core_.placement.moves() && core_.StandingOf(id) == Standing::kPartial &&
      core_.placement.Concerns(core_.identity.self, id) &&
      !core_.IsProbablyWhole(from, id) && core_.AnotherIsWhole(id);
  answer.status = partition.progress().filling || partial
                      ? absl::UnavailableError("it is being filled itself")
                      : partition.Available();
  size_t bytes = 0, rows = 0;
  uint64_t rows_left = kRowsPerAnswer;
  uint64_t sum_rows = DOVETAIL_BUGGIFY("ranges: few rows are read for sums")
                          ? 3
                          : kSumRowsPerAnswer;
  for (const RangeAsk& ask : query.asks) {
    if (!answer.status.ok()) break;
    if (bytes > core_.options.range_chunk_bytes || rows_left == 0 ||
        sum_rows == 0) {
      break;
    }
    absl::StatusOr<RangePart> part =
        PartOf(partition, ask, query.salt,
               core_.options.range_chunk_bytes - bytes, rows_left, sum_rows);
    if (!part.ok()) {
      if (absl::IsDataLoss(part.status())) ++core_.stats.corruptions;
      answer.status = part.status();
      break;
    }
    bytes += BytesOf(*part);
    rows += part->rows.size();
    answer.parts.push_back(*std::move(part));
    if (DOVETAIL_BUGGIFY("ranges: one answer at a time")) break;
  }
  if (answer.status.ok()) {
    answer.context_same =
        PrintOfContext(partition.context()) == query.context_print;
    if (!answer.context_same) answer.context = partition.context();
    if (!DOVETAIL_MUTANT("ranges: a source hides what it is ahead by")) {
      answer.ahead =
          partition.progress().ahead.Minus(partition.context().applied);
    }
    DOVETAIL_MARK_IF("ranges: a source is ahead itself", !answer.ahead.empty());
  } else {
    answer.parts.clear();
  }
  core_.stats.range_bytes_sent += bytes;
  pace_.Moved(rows, bytes, now.steady);
  if (!answer.status.ok() ||
      partition.context().applied.IsSubsetOf(partition.durable()) ||
      DOVETAIL_MUTANT("ranges: answers before it is durable")) {
    return core_.Send(from, id, std::move(answer));
  }
  if (core_.options.background_fsync && unsynced_.size() < kWaitingMax) {
    DOVETAIL_MARK("ranges: an answer waits for an fsync");
    unsynced_.push_back(
        {from, id, std::move(answer), partition.context().applied});
    return;
  }
  core_.turn_synced = true;
  core_.Send(from, id, std::move(answer));
}

void RangeSource::OnFsynced() {
  std::vector<Unsynced> later;
  for (Unsynced& it : std::exchange(unsynced_, {})) {
    if (it.events.IsSubsetOf(core_.Get(it.partition).durable())) {
      core_.Send(it.to, it.partition, std::move(it.answer));
    } else if (++it.fsyncs < 2) {
      later.push_back(std::move(it));  // that fsync had begun before it
    }
    // Else it is not of what is here any more; who waits for it asks again.
  }
  unsynced_ = std::move(later);
}

}  // namespace dovetail::replica
