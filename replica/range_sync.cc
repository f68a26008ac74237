#include "replica/range_sync.h"

#include <algorithm>
#include <utility>

#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/hash.h"
#include "replica/splitmix.h"

namespace dovetail::replica {
namespace {

// A source that does not answer is given up after so many times.
constexpr int kFailuresMax = 3;
// So many rounds a partition waits for events that rows it was mended with show
// already. They come with the next summaries of who answered; if it is gone for
// good, perhaps nobody else has them.
constexpr uint64_t kAheadRoundsMax = 30;
// Rows that are read for one question, about: a few ms.
constexpr size_t kPrintsPerQuery = 1024;

}  // namespace

// --- The replica that lacks something ----------------------------------------

void RangeSync::Start(NodeId source, PartitionId id, Now now,
                      const std::optional<std::string>& until) {
  Partition& partition = core_.Get(id);
  if (Running(id) || !partition.Available().ok() ||
      source == core_.identity.self) {
    return;
  }
  core_.touched.push_back(id);
  if (partition.progress().active) {
    DOVETAIL_MARK("ranges: goes on where it had come to");
  } else {
    ++core_.stats.range_syncs;
    partition.BeginRanges();
  }
  Open(source, id, now, until, Kind::kCatchUp);
}

void RangeSync::Unite(NodeId peer, PartitionId id, Now now) {
  if (Running(id) || core_.Get(id).StateDigest() == Hash128{}) return;
  DOVETAIL_MARK("ranges: the same events, and not the same rows");
  ++core_.stats.divergences;
  Open(peer, id, now, std::nullopt, Kind::kUnite);
}

bool RangeSync::WaitsInVain(const Partition& partition) {
  const RangeProgress& progress = partition.progress();
  if (progress.active || !progress.lost.empty() || partition.exact()) {
    ahead_since_.erase(partition.id());
    return false;
  }
  const auto since = ahead_since_.try_emplace(partition.id(), rounds_).first;
  return rounds_ - since->second >= kAheadRoundsMax;
}

void RangeSync::Round(
    Now now, absl::FunctionRef<crdt::EventSet(PartitionId)> said_by_owners) {
  ++rounds_;
  for (const auto& partition : core_.partitions) {
    partition->VouchAgain();
    const PartitionId id = partition->id();
    if (WaitsInVain(*partition) && partition->Available().ok()) {
      DOVETAIL_MARK("ranges: what it is ahead by does not come");
      core_.touched.push_back(id);
      ++core_.stats.range_syncs;
      // Who is read from next may lack as well what the rows show already.
      const crdt::EventSet said =
          DOVETAIL_MUTANT("ranges: what is ahead is let go")
              ? crdt::EventSet()
              : said_by_owners(id);
      let_go_[id].UnionWith(partition->progress().ahead.Minus(said));
      partition->GiveUpAhead(said);
      partition->BeginRanges();
    }
    const RangeProgress& progress = partition->progress();
    if (progress.active && partition->empty() && !core_.IsOwner(id) &&
        !Running(id) && partition->Available().ok()) {
      // Another ring came before anything did.
      core_.touched.push_back(id);
      partition->AbandonRanges();
    }
    const bool mends = !progress.active && !progress.lost.empty();
    if (!mends && !HasRoom()) continue;
    if ((!progress.active && !mends) || Running(id) || !core_.IsOwner(id) ||
        !partition->Available().ok()) {
      continue;
    }
    std::vector<NodeId> sources = core_.OwnersAndBefore(id);
    if (sources.empty() && progress.active) {
      // Who held some of it for this node has handed that over and let go, or
      // says again what it has.
      DOVETAIL_MARK("ranges: nobody is left to read from");
      core_.touched.push_back(id);
      partition->AbandonRanges();
      continue;
    }
    sources = SourcesAmong(std::move(sources), id, mends);
    if (mends && core_.placement.Owners(id).size() == 1 && sources.empty() &&
        core_.options.accept_loss) {
      DOVETAIL_MARK("mend: nobody else ever had it");
      core_.touched.push_back(id);
      ++core_.stats.losses_accepted;
      partition->AcceptLoss();
    }
    if (sources.empty()) continue;
    const NodeId source = sources[rounds_ % sources.size()];
    DOVETAIL_MARK_IF("mend: begins", mends);
    core_.touched.push_back(id);
    Open(source, id, now, std::nullopt, mends ? Kind::kMend : Kind::kCatchUp);
    const auto opened = sessions_.find(id);
    if (mends && opened != sessions_.end()) {
      opened->second.accepts_loss = AcceptsLoss(id, sources);
    }
  }
}

std::vector<NodeId> RangeSync::SourcesAmong(std::vector<NodeId> nodes,
                                            PartitionId id, bool mends) const {
  if (core_.placement.moves() && (mends || core_.AnotherIsWhole(id))) {
    std::erase_if(
        nodes, [&](NodeId node) { return !core_.IsProbablyWhole(node, id); });
  } else if (core_.placement.moves()) {
    DOVETAIL_MARK("ranges: nobody is whole, so all are sources");
    for (auto said = core_.standings.lower_bound({id, NodeId{}});
         said != core_.standings.end() && said->first.first == id; ++said) {
      const NodeId node = said->first.second;
      if (!core_.placement.Concerns(node, id)) nodes.push_back(node);
    }
  }
  std::erase_if(nodes, [&](NodeId node) { return !core_.IsUp(node); });
  return nodes;
}

bool RangeSync::AcceptsLoss(PartitionId id,
                            const std::vector<NodeId>& sources) const {
  const auto lacking = lacking_.find(id);
  if (!core_.options.accept_loss || lacking == lacking_.end()) return false;
  return std::all_of(sources.begin(), sources.end(), [&](NodeId source) {
    return lacking->second.contains(source);
  });
}

bool RangeSync::HasRoom() const {
  if (paused_) return false;
  const auto transfers = std::count_if(
      sessions_.begin(), sessions_.end(),
      [](const auto& it) { return it.second.kind == Kind::kCatchUp; });
  const bool room =
      static_cast<size_t>(transfers) < core_.options.transfers_at_once;
  DOVETAIL_MARK_IF("ranges: one more has to wait", !room);
  return room;
}

Transfer RangeSync::ProgressOf(PartitionId id) const {
  Transfer transfer;
  transfer.partition = id;
  const auto session = sessions_.find(id);
  if (session != sessions_.end()) transfer.source = session->second.source;
  const auto bytes = bytes_.find(id);
  if (bytes != bytes_.end()) transfer.bytes = bytes->second;
  const Partition& partition = core_.Get(id);
  if (!partition.progress().active) return transfer;
  const uint32_t partitions = core_.placement.partitions();
  const KeyRange all = partition.RowRange();
  uint32_t leaves = 0;
  for (const KeyRange& done : partition.progress().done.All()) {
    const uint32_t end = done.end == all.end
                             ? kLeavesPerPartition
                             : LeafOfRowKey(done.end, partitions);
    leaves +=
        end -
        (done.begin == all.begin ? 0 : LeafOfRowKey(done.begin, partitions));
  }
  transfer.ranges_done = static_cast<double>(leaves) / kLeavesPerPartition;
  return transfer;
}

absl::Duration RangeSync::Pace(PartitionId id, const RangeAnswer& answer,
                               Now now) {
  size_t bytes = 0, rows = 0;
  for (const RangePart& part : answer.parts) {
    bytes += BytesOf(part);
    rows += part.rows.size();
  }
  bytes_[id] += bytes;
  pace_.Moved(rows, bytes, now.steady);
  return pace_.free_at();
}

void RangeSync::Open(NodeId source, PartitionId id, Now now,
                     const std::optional<std::string>& until, Kind kind) {
  const Partition& partition = core_.Get(id);
  Session& session = sessions_[id];
  session.source = source;
  session.until = until;
  session.kind = kind;
  session.loads = partition.loads();
  Plan(session, partition);
  Ask(id, session, now);
}

void RangeSync::Plan(Session& session, const Partition& partition) {
  session.todo.clear();
  session.asked.clear();
  const uint32_t partitions = core_.placement.partitions();
  if (session.kind == Kind::kMend) {
    for (KeyRange& lost : partition.progress().lost.All()) {
      session.todo.push_back({std::move(lost), true});
    }
    return;
  }
  KeyRange all = partition.RowRange();
  if (session.until && EndBefore(*session.until, all.end)) {
    all.end = *session.until;
  }
  if (!BeforeEnd(all.begin, all.end)) return;
  const KeyRanges none;
  const KeyRanges& done =
      session.kind == Kind::kCatchUp ? partition.progress().done : none;
  for (const KeyRange& missing : done.Missing(all)) {
    for (KeyRange& piece : AtLeaves(missing, partition.id(), partitions)) {
      session.todo.push_back({std::move(piece), false});
    }
  }
}

void RangeSync::Ask(PartitionId id, Session& session, Now now) {
  Partition& partition = core_.Get(id);
  if (session.todo.empty()) return Finish(id);
  session.sequence = next_sequence_++;
  session.salt =
      SplitMix(crdt::ActorBits(core_.identity.actor) + session.sequence).Next();
  RangeQuery query;
  query.ticket = {core_.identity.actor, session.sequence};
  query.salt = session.salt;
  query.context_print = PrintOfContext(session.context);
  partition.WatchAgain();
  size_t prints = 0;
  while (!session.todo.empty() && query.asks.size() < kRangePartsMax &&
         prints < kPrintsPerQuery) {
    const Session::Todo todo = std::move(session.todo.front());
    session.todo.pop_front();
    uint8_t print_bytes = todo.print_bytes;
    if (print_bytes == kPrintBytesShort &&
        DOVETAIL_BUGGIFY("ranges: prints of one byte")) {
      print_bytes = 1;
    }
    absl::StatusOr<RangeQuestion> question =
        todo.rows ? partition.AskForRows(todo.range, session.salt, print_bytes)
                  : partition.Ask(todo.range, session.salt, print_bytes);
    if (!question.ok()) {
      DOVETAIL_MARK("ranges: rows here cannot be read");
      ++core_.stats.corruptions;
      return End(id);
    }
    if (EndBefore(question->range.end, todo.range.end)) {
      session.todo.push_front({{question->range.end, todo.range.end},
                               session.kind == Kind::kMend,
                               todo.print_bytes});
    }
    prints += CostOf(*question);
    query.asks.push_back(question->ask);
    session.asked.push_back(*std::move(question));
    if (DOVETAIL_BUGGIFY("ranges: one question at a time")) break;
  }
  session.deadline = now.steady + kPatience;
  core_.Send(session.source, id, std::move(query));
}

void RangeSync::Resend(PartitionId id, Session& session, Now now) {
  Plan(session, core_.Get(id));
  Ask(id, session, now);
}

void RangeSync::OnAnswer(NodeId from, PartitionId id, RangeAnswer answer,
                         Now now) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second.source != from ||
      answer.ticket != ReadTicket{core_.identity.actor, it->second.sequence} ||
      it->second.asked.empty()) {
    DOVETAIL_MARK("ranges: an answer that nobody waits for");
    return;
  }
  Session& session = it->second;
  Partition& partition = core_.Get(id);
  if (session.loads != partition.loads() || partition.quarantined() ||
      (session.kind == Kind::kCatchUp && !partition.progress().active)) {
    return End(id);
  }
  if (!answer.status.ok()) {
    DOVETAIL_MARK("ranges: a source cannot answer");
    return End(id);  // the next round of anti-entropy looks for another
  }
  if (partition.watched_too_much()) {
    DOVETAIL_MARK("ranges: too much has changed since");
    return Resend(id, session, now);
  }
  if (!answer.context_same) session.context = std::move(answer.context);
  core_.touched.push_back(id);
  const absl::Status taken = Take(partition, session, answer);
  if (!taken.ok()) {
    if (!absl::IsUnavailable(taken)) ++core_.stats.corruptions;
    return End(id);
  }
  for (const RangePart& part : answer.parts) {
    for (const RangeRow& row : part.rows) core_.ReceiveStamps(row.leaf, now);
  }
  session.failures = 0;
  if (session.kind != Kind::kCatchUp) return Ask(id, session, now);
  const absl::Duration next = Pace(id, answer, now);
  // Less is not worth a timer.
  constexpr absl::Duration kShort = absl::Milliseconds(1);
  if (!paused_ && next <= now.steady + kShort) return Ask(id, session, now);
  DOVETAIL_MARK("ranges: the next question waits");
  session.waits = true;
  session.deadline = next;
}

absl::Status RangeSync::Take(Partition& partition, Session& session,
                             const RangeAnswer& answer) {
  if (answer.parts.size() > session.asked.size()) {
    return absl::InvalidArgumentError("more answers than questions");
  }
  const std::vector<RangeQuestion> asked = std::exchange(session.asked, {});
  if (session.kind == Kind::kCatchUp) {
    // What was let go of here others may still wait for: they would go on
    // telling one another to.
    partition.ReadFrom(session.context,
                       answer.ahead.Minus(let_go_[partition.id()]));
  } else if (session.kind == Kind::kUnite &&
             !(session.context.applied == partition.context().applied)) {
    DOVETAIL_MARK("ranges: no longer the same events");
    return absl::UnavailableError("the events are not the same any more");
  }
  for (size_t i = 0; i < answer.parts.size(); ++i) {
    DOVETAIL_RETURN_IF_ERROR(
        TakePart(partition, session, asked[i], answer.parts[i]));
  }
  for (size_t i = answer.parts.size(); i < asked.size(); ++i) {
    DOVETAIL_MARK("ranges: a question is left for the next time");
    const bool rows = std::holds_alternative<AskRows>(asked[i].ask);
    session.todo.push_back({asked[i].range, rows, PrintBytesOf(asked[i].ask)});
  }
  return absl::OkStatus();
}

absl::Status RangeSync::TakePart(Partition& partition, Session& session,
                                 const RangeQuestion& question,
                                 const RangePart& part) {
  const auto refuse = [] {
    return absl::InvalidArgumentError("an answer that fits no question");
  };
  if (!part.differ.empty() && part.differ.back() >= PrintsIn(question.ask)) {
    return refuse();
  }
  const bool rows = std::holds_alternative<AskRows>(question.ask);
  if (!rows && (!part.rows.empty() || !part.rest.empty())) return refuse();
  if (!IsEqualIndeed(question, part, session.salt) &&
      !DOVETAIL_MUTANT("ranges: short prints are believed")) {
    DOVETAIL_MARK("ranges: a short print hid a difference");
    session.todo.push_front({question.range, rows, kPrintBytesWhole});
    return absl::OkStatus();
  }
  if (rows) {
    return TakeRows(partition, session, question, part);
  }
  auto next = part.differ.begin();
  const auto differs = [&](uint32_t place) {
    if (next == part.differ.end() || *next != place) return false;
    ++next;
    return true;
  };
  if (const auto* leaves = std::get_if<AskLeaves>(&question.ask)) {
    const auto step = static_cast<uint32_t>(
        (leaves->leaves.end - leaves->leaves.first) / leaves->prints.size());
    for (uint32_t i = 0; i < leaves->prints.size(); ++i) {
      const uint32_t first = leaves->leaves.first + i * step;
      KeyRange span = RowsOfLeaves(partition.id(), core_.placement.partitions(),
                                   first, first + step);
      if (differs(i)) {
        session.todo.push_back({std::move(span), false});
      } else {
        DOVETAIL_RETURN_IF_ERROR(TakeEqual(partition, session, span));
      }
    }
    return absl::OkStatus();
  }
  const auto& cuts = std::get<AskCuts>(question.ask);
  std::string begin = cuts.begin;
  for (uint32_t i = 0; i < cuts.ends.size(); ++i) {
    KeyRange cut{begin, cuts.ends[i]};
    if (differs(i)) {
      session.todo.push_back({cut, !question.coarse});
    } else {
      DOVETAIL_RETURN_IF_ERROR(TakeEqual(partition, session, cut));
    }
    begin = cuts.ends[i];
  }
  return absl::OkStatus();
}

absl::Status RangeSync::TakeRows(Partition& partition, Session& session,
                                 const RangeQuestion& question,
                                 const RangePart& part) {
  KeyRange range = question.range;
  if (!part.rest.empty()) {
    if (part.rest <= range.begin || !BeforeEnd(part.rest, range.end)) {
      return absl::InvalidArgumentError("an answer that fits no question");
    }
    // Pieces again: an empty stretch was asked about across digest leaves.
    for (KeyRange& piece : AtLeaves({part.rest, range.end}, partition.id(),
                                    core_.placement.partitions())) {
      session.todo.push_front({std::move(piece), session.kind == Kind::kMend});
    }
    range.end = part.rest;
  }
  core_.stats.range_rows += part.rows.size();
  if (session.kind == Kind::kUnite) {
    return partition.UniteRange(range, part.rows);
  }
  std::vector<std::string> differ;
  for (const uint32_t place : part.differ) {
    const std::string& key = question.keys[place];
    if (BeforeEnd(key, range.end)) differ.push_back(key);
  }
  if (session.kind == Kind::kMend) {
    DOVETAIL_ASSIGN_OR_RETURN(
        const bool mended,
        partition.MendRange(question, range, part.rows, differ, session.context,
                            session.accepts_loss));
    if (mended) {
      if (session.accepts_loss) ++core_.stats.losses_accepted;
      return absl::OkStatus();
    }
    lacking_[partition.id()].insert(session.source);
    return absl::UnavailableError("another source has to be asked, or later");
  }
  return partition.JoinRange(range, part.rows, differ, session.context);
}

// The source holds there what was held here when it was asked.
absl::Status RangeSync::TakeEqual(Partition& partition, const Session& session,
                                  const KeyRange& range) {
  if (session.kind != Kind::kCatchUp) return absl::OkStatus();
  return partition.JoinRange(range, {}, {}, session.context);
}

void RangeSync::End(PartitionId id) {
  sessions_.erase(id);
  core_.Get(id).StopWatching();
}

void RangeSync::Finish(PartitionId id) {
  Partition& partition = core_.Get(id);
  const Session session = std::move(sessions_.at(id));
  End(id);
  if (session.kind == Kind::kMend) {
    DOVETAIL_MARK("mend: done");
    lacking_.erase(id);
    ++core_.stats.mended;
    return;
  }
  if (session.kind == Kind::kUnite) {
    if (session.context.applied == partition.context().applied) {
      partition.UniteSuperseded(session.context.superseded);
    }
    return;
  }
  if (!partition.RangesDone()) return;  // it was to stop here
  DOVETAIL_MARK("ranges: done");
  partition.FinishRanges();
  ++core_.stats.range_syncs_done;
}

// --- What happens meanwhile --------------------------------------------------

void RangeSync::OnPeerDown(NodeId peer) {
  EndWhere([&](PartitionId, const Session& session) {
    return session.source == peer;
  });
}

void RangeSync::OnPlacement() {
  EndWhere([&](PartitionId id, const Session& session) {
    return !core_.IsOwner(id) || !core_.IsUp(session.source);
  });
}

void RangeSync::OnTurnFailed() {
  EndWhere([&](PartitionId id, const Session& session) {
    return session.loads != core_.Get(id).loads();
  });
}

void RangeSync::EndWhere(
    absl::FunctionRef<bool(PartitionId, const Session&)> over) {
  std::vector<PartitionId> ended;
  for (const auto& [id, session] : sessions_) {
    if (over(id, session)) ended.push_back(id);
  }
  for (const PartitionId id : ended) End(id);
}

void RangeSync::OnTimers(Now now) {
  std::vector<PartitionId> due;
  for (const auto& [id, session] : sessions_) {
    if (now.steady >= session.deadline) due.push_back(id);
  }
  for (const PartitionId id : due) {
    Session& session = sessions_.at(id);
    if (session.waits && session.loads == core_.Get(id).loads()) {
      if (paused_) {
        session.deadline = now.steady + kPatience;
        continue;
      }
      session.waits = false;
      core_.touched.push_back(id);
      Ask(id, session, now);
      continue;
    }
    if (++session.failures >= kFailuresMax ||
        session.loads != core_.Get(id).loads()) {
      DOVETAIL_MARK("ranges: a source is given up");
      End(id);
      continue;
    }
    DOVETAIL_MARK("ranges: asked again");
    Resend(id, session, now);
  }
}

absl::Duration RangeSync::next_deadline() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [id, session] : sessions_) {
    next = std::min(next, session.deadline);
  }
  return next;
}

}  // namespace dovetail::replica
