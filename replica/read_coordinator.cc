#include "replica/read_coordinator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"

namespace dovetail::replica {

using crdt::LeafPage;

namespace {

bool ShowsNothing(const crdt::ReadSpec& spec, const crdt::View& view) {
  return !spec.element && view.values.empty() && view.fields.empty();
}

}  // namespace

void ReadCoordinator::Tell(const Asker& asker,
                           absl::StatusOr<ReadReply> reply) {
  if (const auto* client = std::get_if<RequestId>(&asker)) {
    if (!reply.ok()) return core_.Reply(*client, reply.status());
    return core_.Reply(*client, *std::move(reply));
  }
  if (const auto* reaper = std::get_if<ForReaper>(&asker)) {
    core_.reaped.push_back({reaper->partition, reaper->object,
                            reply.ok() ? reply->result.expires_ms : 0});
    return;
  }
  const auto& listing = std::get<ForListing>(asker);
  PresenceAnswer answer{listing.ticket, listing.place, reply.status(), false};
  if (absl::IsResourceExhausted(answer.status)) {
    // Its first field alone is over what a reply can hold: so it has one.
    answer.status = absl::OkStatus();
    answer.present = true;
  } else if (reply.ok()) {
    answer.present = reply->result.view.present;
  }
  core_.Send(listing.node, PartitionId{0}, std::move(answer));
}

void ReadCoordinator::AnswerHere(const Asker& asker,
                                 const RequestOptions& options,
                                 PartitionId partition,
                                 const ReadRequest& request) {
  const crdt::ReadSpec& spec = request.spec;
  Partition& mine = core_.Get(partition);
  absl::Status available = core_.Readable(partition);
  if (!available.ok()) return Tell(asker, std::move(available));
  absl::StatusOr<crdt::ReadResult> result =
      crdt::Query(mine.view(), spec, ShownAt(asker));
  if (!result.ok()) {
    if (absl::IsDataLoss(result.status())) ++core_.stats.corruptions;
    mine.Note(result.status());
    return Tell(asker, result.status());
  }
  const std::vector<NodeId> self = {core_.identity.self};
  if (!options.here) {  // else it is this very node that was asked
    absl::Status absence =
        CheckAbsence(partition, spec, result->view, core_.IsOwner(partition));
    if (!absence.ok()) return Tell(asker, std::move(absence));
  }
  ReadReply reply{
      core_.ReceiptOf(partition, self, 1,
                      options.durability.value_or(Durability::kWal)),
      *std::move(result)};
  if (request.session) {
    reply.session = SessionToken{core_.placement.partitions(), partition,
                                 mine.context().applied, core_.clock.last()};
  }
  Tell(asker, std::move(reply));
}

absl::Status ReadCoordinator::CheckAbsence(PartitionId partition,
                                           const crdt::ReadSpec& spec,
                                           const crdt::View& view,
                                           bool whole) const {
  const bool shown = spec.element ? view.flag : view.present;
  if (shown || whole || DOVETAIL_MUTANT("read: a stand-in says not found")) {
    return absl::OkStatus();
  }
  DOVETAIL_MARK("read: stand-ins alone cannot say that there is nothing");
  return absl::UnavailableError(absl::StrCat(
      "no owner of ", crdt::ToString(spec.object), " in partition ",
      Index(partition),
      " can be reached that has all of it, and others hold nothing of it"));
}

bool ReadCoordinator::AwaitOwner(Jobs::iterator it) {
  Job& job = it->second;
  const auto owns = [&](NodeId node) {
    return core_.placement.Owns(node, job.partition);
  };
  for (NodeId node : job.others) {
    if (owns(node) && job.tally.WasAsked(node) && !job.tally.Answered(node)) {
      return true;
    }
  }
  for (NodeId node : job.not_asked) {
    if (!owns(node) || !core_.IsUp(node)) continue;
    Ask(it->first, job, node);
    return true;
  }
  return false;
}

void ReadCoordinator::Start(Asker asker, const RequestOptions& options,
                            PartitionId partition, ReadRequest request,
                            Now now) {
  absl::StatusOr<ReplicaSet> set = ReplicaSet::Resolve(
      core_, partition, options.read, core_.options.read_default, options, "R");
  if (!set.ok()) return Tell(asker, set.status());
  const bool mine_counts =
      options.here || set->DemandOf(core_.identity.self) != Tally::kNoDemand;
  // A stand-in that holds nothing has to ask an owner.
  const bool mine_is_enough =
      options.here ||
      (core_.IsOwner(partition) &&
       (!core_.placement.moves() ||
        core_.StandingOf(partition) == Standing::kComplete ||
        DOVETAIL_MUTANT("moves: who is filled is read as if it had all")));
  const bool covered =
      !request.session || request.session->events.IsSubsetOf(
                              AppliedAt(core_.Get(partition).context()));
  if (set->required() == 1 && request.only.empty() && mine_counts &&
      mine_is_enough && covered &&
      !DOVETAIL_BUGGIFY("read: one replica by the long way")) {
    return AnswerHere(asker, options, partition, request);
  }
  Job job(*std::move(set));
  job.partition = partition;
  job.options = options;
  job.only = !request.only.empty();
  job.named = request.only;
  job.inspects = job.only || (options.here && job.set.required() == 1);
  ListOthers(job, std::move(request.only));
  absl::Status possible;
  if (!job.only) {
    possible = job.set.CheckReachable("");
  } else if (!job.others.empty() && !core_.IsUp(job.others.back())) {
    possible = absl::UnavailableError(absl::StrCat(
        "of the nodes that were named, ",
        core_.placement.NameOf(job.others.back()), " cannot be reached"));
  }
  DOVETAIL_MARK_IF("read: too few owners reachable", !possible.ok());
  if (!possible.ok()) return Tell(asker, std::move(possible));
  job.asker = asker;
  job.spec = std::move(request.spec);
  job.limit = job.spec.limit;
  if (request.session) {
    job.session.emplace();
    job.session->seen = *std::move(request.session);
    job.session->pause = core_.options.session_ask_again_min;
    job.session->patience = core_.options.session_ask_again_max;
  }
  job.deadline = now.steady + options.timeout;
  Launch(std::move(job));
}

void ReadCoordinator::Launch(Job job) {
  absl::StatusOr<LeafPage> page = LocalPage(job.partition, job.spec);
  if (!page.ok()) return Tell(job.asker, page.status());
  job.digest = DigestOf(job.spec.object.type, *page);
  job.page = *std::move(page);
  job.tally = job.only ? Tally(static_cast<uint32_t>(job.others.size()) + 1)
                       : job.set.NewTally();
  const NodeId self = core_.identity.self;
  job.before = job.only ? std::nullopt : job.set.NewTallyOfBefore();
  job.complete = job.set.NewTally();
  job.tally.Ask(self, DemandOf(job, self));
  job.complete.Ask(self, DemandOf(job, self));
  Count(job, self, core_.StandingOf(job.partition));
  // This node's own page is there even where it does not count.
  const bool counts = DemandOf(job, self) != Tally::kNoDemand;
  // Who owns nothing of it may have to wait for an owner after R answers.
  job.several = job.tally.required() > (counts ? 2u : 1u) || job.session ||
                job.before || !core_.IsOwner(job.partition);
  if (job.session) {
    job.session->answered = AppliedAt(core_.Get(job.partition).context());
    job.session->again_at = absl::InfiniteDuration();
  }
  job.not_asked = job.others;
  job.refused.clear();
  job.different.clear();
  job.same.reset();
  const uint64_t sequence = next_sequence_++;
  Job& placed = jobs_.emplace(sequence, std::move(job)).first->second;
  timers_.emplace(placed.deadline, sequence);
  AskFirst(sequence, placed);
  timers_.emplace(placed.hedge_at, sequence);
  while (!placed.not_asked.empty() &&
         DOVETAIL_BUGGIFY("read: one owner more is asked")) {
    Ask(sequence, placed, placed.not_asked.front());
  }
  // `only` was this node, or nobody else is left.
  switch (VerdictOf(placed)) {
    case Verdict::kPending:
      return;
    case Verdict::kMet:
      return Finish(jobs_.find(sequence));
    case Verdict::kImpossible:
      return Fail(jobs_.find(sequence),
                  absl::UnavailableError(absl::StrCat(
                      "R=", placed.tally.required(), ": too few replicas")));
  }
}

void ReadCoordinator::AskFirst(uint64_t sequence, Job& job) {
  PeerTimes& times = core_.peer_times;
  absl::Duration wait;
  job.pause = core_.options.read_hedge_min;
  for (NodeId peer : job.others) {
    if (!Wants(job, peer)) continue;
    Ask(sequence, job, peer);
    wait = std::max(wait, times.HedgeAfter(peer));
    job.pause = std::max(job.pause, times.AskAgainAfter(peer));
  }
  DOVETAIL_MARK_IF("read: hedged sooner than at the latest",
                   wait < core_.options.read_hedge_after);
  if (job.not_asked.empty()) wait = job.pause;
  job.hedge_at = core_.steady + wait;
  if (DOVETAIL_BUGGIFY("read: hedged at once")) job.hedge_at = core_.steady;
  if (DOVETAIL_BUGGIFY("read: not hedged")) job.hedge_at = job.deadline;
  if (!times.any_slow()) return;
  for (NodeId peer : std::vector<NodeId>(job.not_asked)) {
    if (!core_.IsUp(peer) || !times.TakeProbe(peer, core_.steady)) continue;
    DOVETAIL_MARK("read: asks who is slow, to see whether it still is");
    Ask(sequence, job, peer);
  }
}

void ReadCoordinator::Ask(uint64_t sequence, Job& job, NodeId peer) {
  std::erase(job.not_asked, peer);
  job.tally.Ask(peer, DemandOf(job, peer));
  if (job.before) {
    job.complete.Ask(peer, DemandOf(job, peer));
    if (core_.IsProbablyWhole(peer, job.partition)) {
      job.before->Ask(peer, job.set.DemandOfBefore(peer));
    }
  }
  core_.peer_times.Asked(peer, sequence, core_.steady);
  Send(sequence, job, peer);
}

void ReadCoordinator::Send(uint64_t sequence, const Job& job, NodeId peer) {
  core_.Send(
      peer, job.partition,
      ReadQuery{
          {core_.identity.actor, sequence}, job.spec, job.digest, job.several});
}

void ReadCoordinator::Replace(Jobs::iterator it, NodeId peer,
                              absl::Status why) {
  Job& job = it->second;
  if (absl::IsUnavailable(why) && !job.tally.Failed(peer)) {
    job.refused.push_back(peer);  // once, however often it refuses
  }
  job.last_error = std::move(why);
  job.tally.AddFailure(peer);
  job.complete.AddFailure(peer);
  if (job.before) job.before->AddFailure(peer);
  const auto next = std::find_if(
      job.not_asked.begin(), job.not_asked.end(), [&](NodeId node) {
        return DemandOf(job, node) == DemandOf(job, peer) || Wants(job, node);
      });
  DOVETAIL_MARK_IF("read: another owner is asked instead",
                   next != job.not_asked.end());
  if (next != job.not_asked.end()) {
    Ask(it->first, job, *next);
    AskWanted(it->first, job);
  } else if (VerdictOf(job) == Verdict::kMet) {
    // It waited for its session, or for an owner's word, and one less can help.
    DOVETAIL_MARK("read: who was waited for does not answer");
    Finish(it);
  } else if (VerdictOf(job) == Verdict::kImpossible) {
    DOVETAIL_MARK("read: R cannot be met any more");
    Fail(it, job.last_error);
  }
}

void ReadCoordinator::OnQuery(NodeId from, PartitionId partition,
                              const ReadQuery& query) {
  ReadAnswer answer;
  answer.ticket = query.ticket;
  answer.ring = core_.placement.ring();
  answer.standing = core_.StandingOf(partition);
  const absl::Status valid = crdt::Validate(query.spec);
  absl::StatusOr<LeafPage> page =
      valid.ok() ? LocalPage(partition, query.spec) : valid;
  if (!page.ok()) {
    DOVETAIL_MARK("read: an owner cannot answer");
    answer.status = page.status();
  } else if (DOVETAIL_BUGGIFY("read: refused by an owner")) {
    answer.status = absl::UnavailableError("as if it was not up to it");
  } else {
    answer.same = (DigestOf(query.spec.object.type, *page) == query.digest ||
                   DOVETAIL_MUTANT("read: an owner always agrees")) &&
                  !DOVETAIL_BUGGIFY("read: the same, in full");
    if (!answer.same) answer.page = *std::move(page);
    if (!answer.same || query.want_context) {
      answer.context = core_.Get(partition).context();
    }
  }
  core_.Send(from, partition, std::move(answer));
}

void ReadCoordinator::OnAnswer(NodeId from, PartitionId partition,
                               ReadAnswer answer) {
  DOVETAIL_MARK_IF("read: an answer from before the restart",
                   answer.ticket.incarnation != core_.identity.actor);
  if (answer.ticket.incarnation != core_.identity.actor) return;
  core_.peer_times.Answered(from, answer.ticket.sequence, core_.steady);
  auto it = jobs_.find(answer.ticket.sequence);
  DOVETAIL_MARK_IF("read: nobody waits for this answer", it == jobs_.end());
  if (it == jobs_.end() || it->second.partition != partition) return;
  Job& job = it->second;
  DOVETAIL_MARK_IF("read: an owner answers twice", job.tally.Answered(from));
  const bool late = job.tally.Failed(from) && answer.status.ok();
  if (!job.tally.WasAsked(from) || (job.tally.Answered(from) && !late)) return;
  if (!CountsByRing(answer.ring)) return;
  if (answer.status.ok() && !answer.same) {
    answer.status = CheckPage(job.spec.object.type, answer.page);
    core_.stats.corruptions += answer.status.ok() ? 0 : 1;
  }
  if (answer.status.ok() && !core_.placement.moves() && !job.only &&
      answer.standing == Standing::kPartial &&
      core_.placement.Owns(from, partition)) {
    DOVETAIL_MARK("read: an owner has lost what it had");
    answer.status = absl::UnavailableError(
        absl::StrCat(core_.placement.NameOf(from), " is being filled anew"));
  }
  if (!answer.status.ok()) {
    return Replace(it, from, std::move(answer.status));
  }
  if (job.session) {
    job.session->answered.UnionWith(AppliedAt(answer.context));
  }
  if (!answer.same && !DOVETAIL_MUTANT("read: another answer is not joined")) {
    job.different.emplace_back(
        from, Answer{std::move(answer.page), std::move(answer.context)});
  } else if (job.several) {
    if (!job.same) job.same.emplace();
    job.same->applied.UnionWith(answer.context.applied);
    job.same->superseded.UnionWith(answer.context.superseded);
  }
  Count(job, from, answer.standing);
  if (VerdictOf(job) == Verdict::kMet) return Finish(it);
  AskWanted(it->first, job);
  if (VerdictOf(job) == Verdict::kImpossible) {
    DOVETAIL_MARK("read: too few have all of it");
    Fail(it, absl::UnavailableError(absl::StrCat(
                 "partition ", Index(job.partition),
                 " is on its way to new owners, and too few that have all of "
                 "it can be reached; try again")));
  }
}

void ReadCoordinator::Finish(Jobs::iterator it) {
  Job& job = it->second;
  if (!Covered(job)) return AskMore(it);
  LeafPage page;
  if (job.different.empty()) {
    page = std::move(job.page);
  } else {
    DOVETAIL_MARK("read: replicas differ");
    ++core_.stats.read_mismatches;
    absl::StatusOr<LeafPage> joined = JoinPages(job);
    if (!joined.ok()) return Fail(it, joined.status());
    page = *std::move(joined);
    for (const auto& [peer, answer] : job.different) {
      nudge_(peer, job.partition);
    }
    if (std::holds_alternative<ForReaper>(job.asker)) {
      return Fail(it, absl::UnavailableError("replicas differ"));
    }
  }
  crdt::StoreView view(page.leaves);
  crdt::ReadSpec shown = job.spec;
  shown.limit = job.limit;
  absl::StatusOr<crdt::ReadResult> result =
      crdt::Query(view, shown, ShownAt(job.asker));
  if (!result.ok()) return Fail(it, result.status());
  const bool cut = page.truncated && !result->expired;
  result->more = result->more || cut;
  if (cut && ShowsNothing(job.spec, result->view)) {
    DOVETAIL_MARK("read: a page of nothing but removed elements");
    return PassOver(it, page);
  }
  if (!job.inspects) {
    const std::vector<NodeId>& answered = job.tally.succeeded();
    const bool whole =
        core_.placement.moves()
            ? job.before && !job.before->succeeded().empty()
            : std::any_of(answered.begin(), answered.end(), [&](NodeId node) {
                return core_.placement.Owns(node, job.partition);
              });
    absl::Status absence =
        CheckAbsence(job.partition, job.spec, result->view, whole);
    if (!absence.ok() && AwaitOwner(it)) {
      DOVETAIL_MARK("read: stand-ins show nothing, so it waits for an owner");
      if (job.different.empty()) job.page = std::move(page);
      return;
    }
    if (!absence.ok()) return Fail(it, std::move(absence));
  }
  Tell(job.asker,
       ReadReply{core_.ReceiptOf(job.partition, job.tally.succeeded(),
                                 job.tally.required(), Durability::kWal),
                 *std::move(result), TokenOf(job, page)});
  EraseJob(it, job);
}

void ReadCoordinator::Fail(Jobs::iterator it, absl::Status why) {
  Tell(it->second.asker, std::move(why));
  EraseJob(it, it->second);
}

void ReadCoordinator::EraseJob(Jobs::iterator it, const Job& times) {
  timers_.erase({times.deadline, it->first});
  timers_.erase({times.hedge_at, it->first});
  if (times.session) timers_.erase({times.session->again_at, it->first});
  jobs_.erase(it);
}

void ReadCoordinator::OnPeerDown(NodeId peer) {
  std::vector<uint64_t> concerned;
  for (const auto& [sequence, job] : jobs_) {
    if (job.tally.WasAsked(peer) && !job.tally.Answered(peer)) {
      concerned.push_back(sequence);
    }
  }
  for (uint64_t sequence : concerned) {
    DOVETAIL_MARK("read: an owner that was asked goes down");
    Replace(jobs_.find(sequence), peer,
            absl::UnavailableError(absl::StrCat(core_.placement.NameOf(peer),
                                                " cannot be reached")));
  }
}

void ReadCoordinator::OnTimers(Now now) {
  ScheduleAskingAgain(now);
  while (!timers_.empty() && timers_.begin()->first <= now.steady) {
    const uint64_t sequence = timers_.begin()->second;
    timers_.erase(timers_.begin());
    auto it = jobs_.find(sequence);
    if (it == jobs_.end()) continue;
    Job& job = it->second;
    if (job.deadline <= now.steady) {
      DOVETAIL_MARK("read: its deadline passes");
      Fail(it, DeadlineOf(job));
      continue;
    }
    if (job.session && job.session->again_at <= now.steady) {
      AskAgain(it);
      continue;
    }
    if (job.hedge_at <= now.steady) Hedge(sequence, job, now);
  }
}

void ReadCoordinator::OnTurnFailed(const absl::Status& why) {
  DOVETAIL_MARK_IF("read: a turn failed under it", !jobs_.empty());
  while (!jobs_.empty()) Fail(jobs_.begin(), why);
}

absl::Duration ReadCoordinator::next_deadline() const {
  if (!to_ask_again_.empty()) return absl::ZeroDuration();
  return timers_.empty() ? absl::InfiniteDuration() : timers_.begin()->first;
}

}  // namespace dovetail::replica
