#include "replica/list_coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "replica/hash.h"
#include "replica/keys.h"
#include "replica/replica_set.h"

namespace dovetail::replica {
namespace {

// What an object takes in a page beside its key, on any wire.
constexpr size_t kListedOverhead = 48;

bool Has(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

Hash128 DigestOfPage(const std::vector<Listed>& objects, bool more) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(more ? 1 : 0);
  for (const Listed& object : objects) {
    out.Bytes(object.key);
    out.Byte(static_cast<uint8_t>(object.type));
  }
  return HashBytes(bytes);
}

// A page is a peer's word: it must be one of what was asked for, in order.
absl::Status CheckAnswer(const ListRequest& request, const ListAnswer& answer) {
  const Listed* before = nullptr;
  Listed after;
  if (request.after && request.after->bucket == request.bucket) {
    after = {request.after->key, request.after->type};
    before = &after;
  }
  for (const Listed& object : answer.objects) {
    if (!absl::StartsWith(object.key, request.prefix) ||
        (before != nullptr && !(*before < object))) {
      return absl::InvalidArgumentError(
          "a peer lists what it was not asked for, or out of order");
    }
    before = &object;
  }
  if (answer.more && answer.objects.empty()) {
    return absl::InvalidArgumentError("a peer's listing has no end");
  }
  return absl::OkStatus();
}

std::vector<crdt::ObjectId> InBucket(const std::string& bucket,
                                     std::vector<Listed> objects) {
  std::vector<crdt::ObjectId> result;
  result.reserve(objects.size());
  for (Listed& object : objects) {
    result.push_back({bucket, std::move(object.key), object.type});
  }
  return result;
}

}  // namespace

absl::StatusOr<ListCoordinator::Page> ListCoordinator::LocalPage(
    const ListRequest& request) {
  KeyRange range = IndexRange(request.bucket, request.prefix);
  if (request.after) {
    range.begin = std::max(range.begin, IndexKey(*request.after) + '\0');
  }
  Page page;
  absl::Status damage;
  page.unlisted = core_.unlisted->All();  // before the index is read
  size_t bytes = 0;
  const uint64_t now_ms = core_.peer_clocks.Time(core_.time);
  absl::Status scanned = core_.storage.Scan(
      Family::kIndex, range.begin, range.end,
      [&](absl::string_view key, absl::string_view value) {
        if (crdt::HasExpired(ExpiresOfIndexValue(value), now_ms)) return true;
        if (page.objects.size() >= request.limit ||
            bytes >= crdt::kReplyBytesMax ||
            (!page.objects.empty() && DOVETAIL_BUGGIFY("list: a short page"))) {
          DOVETAIL_MARK("list: more than one page");
          page.more = true;
          return false;
        }
        absl::StatusOr<crdt::ObjectId> object = ParseIndexKey(key);
        if (!object.ok()) {
          damage = object.status();
          return false;
        }
        bytes += key.size() + kListedOverhead;
        page.objects.push_back({std::move(object->key), object->type});
        return true;
      });
  damage.Update(scanned);
  if (!damage.ok()) return damage;
  return page;
}

void ListCoordinator::Start(RequestId id, const RequestOptions& options,
                            ListRequest request, Now now) {
  if (request.limit == 0) {
    return core_.Reply(
        id, absl::InvalidArgumentError("a listing of no objects at the most"));
  }
  absl::StatusOr<std::vector<uint32_t>> required =
      RequiredOwners(core_.placement, options.read, core_.options.read_default,
                     core_.Region());
  if (!required.ok()) return core_.Reply(id, required.status());
  Job job;
  job.id = id;
  for (SessionToken& token : std::exchange(request.session, {})) {
    if (token.events.empty() || DOVETAIL_MUTANT("list: a session is ignored")) {
      continue;
    }
    const PartitionId partition = token.partition;
    job.seen[partition].token.MergeFrom(token);
  }
  job.request = std::move(request);
  job.required = *std::move(required);
  job.before = RequiredBefore(core_.placement, options.read,
                              core_.options.read_default, core_.Region());
  job.local = IsLocal(options.read);
  job.here = options.here;
  job.deadline = now.steady + options.timeout;
  if (job.seen.empty()) return Launch(std::move(job), now);
  FindCover(std::move(job), now);
}

void ListCoordinator::Launch(Job job, Now now) {
  absl::StatusOr<Page> page = LocalPage(job.request);
  if (!page.ok()) return core_.Reply(job.id, page.status());
  job.unlisted.clear();
  NoteUnlisted(job, core_.identity.self, page->unlisted);
  const bool enough = IsCovered(job, {core_.identity.self});
  if (enough && job.seen.empty()) {
    return core_.Reply(job.id, ListReply{InBucket(job.request.bucket,
                                                  std::move(page->objects)),
                                         page->more});
  }
  job.page = *std::move(page);
  job.digest = DigestOfPage(job.page.objects, job.page.more);
  job.asked = job.answered = {core_.identity.self};
  job.failed.clear();
  job.different.clear();
  job.deciding = false;
  job.candidates.clear();
  job.undecided = job.unconfirmed = 0;
  job.pause = core_.options.read_hedge_after;
  job.hedge_at = now.steady + job.pause;
  if (DOVETAIL_BUGGIFY("list: hedged at once")) job.hedge_at = now.steady;
  const uint64_t sequence = next_sequence_++;
  auto it = jobs_.emplace(sequence, std::move(job)).first;
  timers_.emplace(it->second.deadline, sequence);
  timers_.emplace(it->second.hedge_at, sequence);
  if (enough) return Decide(it, now);
  absl::Status asked = AskMore(sequence, it->second, it->second.answered);
  DOVETAIL_MARK_IF("list: too few owners reachable", !asked.ok());
  if (!asked.ok()) Fail(it, std::move(asked));
}

absl::Status ListCoordinator::AskMore(uint64_t sequence, Job& job,
                                      std::vector<NodeId> nodes) {
  const size_t given = nodes.size();
  const Placement& placement = core_.placement;
  const auto usable = [&](NodeId node) {
    return core_.IsUp(node) && !Has(job.asked, node) &&
           (!job.local || placement.RegionOf(node) == core_.Region());
  };
  // Local levels too may need to know what there was elsewhere.
  const auto reachable = [&](NodeId node) {
    return core_.IsUp(node) && !Has(job.asked, node);
  };
  const auto of_owners = ListsAll(job, CoverOf::kOwners);
  const auto of_before = ListsAll(job, CoverOf::kBefore);
  absl::Status lacking;
  nodes = WithCover(job, std::move(nodes));
  if (HasBefore(job)) {
    Cover before = GrowCover(placement, job.before, std::move(nodes), reachable,
                             of_before, CoverOf::kBefore);
    nodes = std::move(before.nodes);
    lacking = std::move(before.lacking);
  }
  if (core_.peer_times.any_slow()) {  // who is slow only as far as needed
    nodes = GrowCover(
                placement, job.required, std::move(nodes),
                [&](NodeId node) {
                  return usable(node) && !core_.peer_times.IsSlow(node);
                },
                of_owners)
                .nodes;
  }
  Cover cover =
      GrowCover(placement, job.required, std::move(nodes), usable, of_owners);
  for (size_t i = given; i < cover.nodes.size(); ++i) {
    Ask(sequence, job, cover.nodes[i]);
  }
  cover.lacking.Update(lacking);
  return cover.lacking;
}

bool ListCoordinator::HasBefore(const Job& job) const {
  return core_.placement.moves() && !job.before.empty();
}

bool ListCoordinator::IsCovered(const Job& job,
                                const std::vector<NodeId>& nodes) const {
  if (!ShowsSeen(job, nodes)) return false;
  if (job.here) return true;
  const auto of_owners = ListsAll(job, CoverOf::kOwners);
  const auto of_before = ListsAll(job, CoverOf::kBefore);
  return Covers(core_.placement, job.required, nodes, of_owners) &&
         (!HasBefore(job) ||
          DOVETAIL_MUTANT("moves: who is filled lists all there is") ||
          Covers(core_.placement, job.before, nodes, of_before,
                 CoverOf::kBefore));
}

void ListCoordinator::NoteUnlisted(Job& job, NodeId node,
                                   const std::vector<PartitionId>& unlisted) {
  for (PartitionId partition : unlisted) {
    job.unlisted.emplace(node, partition);
  }
}

// While partitions move an owner that is being filled counts for what has come
// since; what was there before is known to owners of before.
std::function<bool(NodeId, PartitionId)> ListCoordinator::ListsAll(
    const Job& job, CoverOf whose) const {
  const bool all =
      (whose == CoverOf::kOwners && core_.placement.moves()) ||
      DOVETAIL_MUTANT("moves: who lost its disk lists all there is");
  return [&job, all](NodeId node, PartitionId partition) {
    return all || !job.unlisted.contains({node, partition});
  };
}

void ListCoordinator::Ask(uint64_t sequence, Job& job, NodeId node) {
  job.asked.push_back(node);
  Send(sequence, job, node);
}

void ListCoordinator::Send(uint64_t sequence, const Job& job, NodeId node) {
  core_.Send(
      node, PartitionId{0},
      ListQuery{{core_.identity.actor, sequence}, job.request, job.digest});
}

void ListCoordinator::OnQuery(NodeId from, PartitionId partition,
                              const ListQuery& query) {
  ListAnswer answer;
  answer.ticket = query.ticket;
  absl::StatusOr<Page> page =
      query.request.limit > 0
          ? LocalPage(query.request)
          : absl::InvalidArgumentError("a listing of no objects at the most");
  if (!page.ok()) {
    DOVETAIL_MARK("list: a node cannot answer");
    answer.status = page.status();
  } else if (DOVETAIL_BUGGIFY("list: refused by a node")) {
    answer.status = absl::UnavailableError("as if it was not up to it");
  } else {
    answer.same = DigestOfPage(page->objects, page->more) == query.digest &&
                  !DOVETAIL_BUGGIFY("list: the same, in full");
    answer.unlisted = std::move(page->unlisted);
    if (!answer.same) {
      answer.objects = std::move(page->objects);
      answer.more = page->more;
    }
  }
  core_.Send(from, partition, std::move(answer));
}

void ListCoordinator::OnAnswer(NodeId from, ListAnswer answer, Now now) {
  if (answer.ticket.incarnation != core_.identity.actor) return;
  auto it = jobs_.find(answer.ticket.sequence);
  DOVETAIL_MARK_IF("list: nobody waits for this answer", it == jobs_.end());
  if (it == jobs_.end()) return;
  Job& job = it->second;
  if (job.covering || job.deciding || !Has(job.asked, from) ||
      Has(job.answered, from) || Has(job.failed, from)) {
    return;
  }
  if (answer.status.ok() && !answer.same) {
    answer.status = CheckAnswer(job.request, answer);
    core_.stats.corruptions += answer.status.ok() ? 0 : 1;
  }
  if (!answer.status.ok()) {
    job.failed.push_back(from);
    job.pageless.push_back(from);
    job.last_error = std::move(answer.status);
    // Those that may still answer count as if they had.
    std::vector<NodeId> hoped = job.asked;
    std::erase_if(hoped, [&](NodeId node) { return Has(job.failed, node); });
    if (!AskMore(it->first, job, std::move(hoped)).ok()) {
      DOVETAIL_MARK("list: R cannot be met any more");
      Fail(it, job.last_error);
    } else if (!MayShowSeen(job)) {
      DOVETAIL_MARK("list: who covers its session has no page");
      CoverAnew(it, now);
    }
    return;
  }
  job.answered.push_back(from);
  NoteUnlisted(job, from, answer.unlisted);
  if (!answer.same) {
    job.different.emplace_back(
        from, Page{std::move(answer.objects), answer.more, {}});
  }
  if (IsCovered(job, job.answered)) return Decide(it, now);
  if (answer.unlisted.empty()) return;
  DOVETAIL_MARK("list: a node is being filled, and others are asked");
  std::vector<NodeId> hoped = job.asked;
  std::erase_if(hoped, [&](NodeId node) { return Has(job.failed, node); });
  absl::Status asked = AskMore(it->first, job, std::move(hoped));
  if (!asked.ok()) Fail(it, std::move(asked));
}

void ListCoordinator::Decide(Jobs::iterator it, Now now) {
  Job& job = it->second;
  job.deciding = true;
  if (!job.different.empty()) {
    DOVETAIL_MARK("list: nodes differ");
    Gather(job);
    for (size_t i = 0; i < job.candidates.size(); ++i) {
      if (!job.candidates[i].present) AskPresence(it->first, job, i, now);
    }
  }
  BeginToConfirm(it->first, job);
  if (job.undecided == 0 && job.unconfirmed == 0) return Finish(it, now);
  HedgeLater(it->first, job, now);
}

// Makes the candidates of the pages, up to the least end.
void ListCoordinator::Gather(Job& job) const {
  std::map<Listed, std::vector<NodeId>> shown_by;
  job.more = false;
  job.end.reset();
  const auto add = [&](const Page& page, NodeId node) {
    for (const Listed& object : page.objects) shown_by[object].push_back(node);
    if (!page.more) return;
    job.more = true;
    const Listed& end = page.objects.back();
    if (!job.end || end < *job.end) job.end = end;
  };
  for (NodeId node : job.answered) {
    const auto other =
        std::find_if(job.different.begin(), job.different.end(),
                     [&](const auto& page) { return page.first == node; });
    add(other != job.different.end() ? other->second : job.page, node);
  }
  job.candidates.clear();
  job.undecided = 0;
  std::optional<Listed> last;
  for (const auto& [object, nodes] : shown_by) {
    if (job.end && *job.end < object &&
        !DOVETAIL_MUTANT("list: pages are not cut at the least end")) {
      return;
    }
    const PartitionId partition = PartitionOf(job.request.bucket, object.key,
                                              core_.placement.partitions());
    const auto owns = [&](NodeId node) {
      return core_.placement.Concerns(node, partition);
    };
    const auto shown = std::count_if(nodes.begin(), nodes.end(), owns);
    // A node that owned it long ago has no say.
    if (shown == 0) continue;
    // Who is being filled need not show it yet, unless its page counts (for
    // what came since a new ring, or what the session saw): then it may be gone
    // there.
    const auto says = [&](NodeId node) {
      return owns(node) && (!job.unlisted.contains({node, partition}) ||
                            CoversSeen(job, partition, node) ||
                            (core_.placement.moves() &&
                             core_.placement.Owns(node, partition)));
    };
    const auto should =
        std::count_if(job.answered.begin(), job.answered.end(), says);
    const bool agreed =
        should > 0 && should == std::count_if(nodes.begin(), nodes.end(), says);
    if (job.candidates.size() >= job.request.limit ||
        (!agreed &&
         job.undecided >= std::max<size_t>(1, core_.options.list_reads_max))) {
      DOVETAIL_MARK("list: the joined page ends early");
      job.more = true;
      job.end = last;
      return;
    }
    Candidate candidate{object, std::nullopt};
    if (agreed || DOVETAIL_MUTANT("list: what only some show is there")) {
      candidate.present = true;
    } else if (DOVETAIL_MUTANT("list: what only some show is left out")) {
      candidate.present = false;
    } else {
      ++job.undecided;
    }
    job.candidates.push_back(std::move(candidate));
    last = object;
  }
}

void ListCoordinator::AskPresence(uint64_t sequence, const Job& job,
                                  size_t place, Now now) {
  const Listed& object = job.candidates[place].object;
  PresenceQuery query;
  query.ticket = {core_.identity.actor, sequence};
  query.place = static_cast<uint32_t>(place);
  query.object = {job.request.bucket, object.key, object.type};
  query.timeout = job.deadline - now.steady;
  const PartitionId partition = PartitionOf(
      query.object.bucket, query.object.key, core_.placement.partitions());
  query.required = job.required[Index(partition)];
  const auto seen = job.seen.find(partition);
  if (seen != job.seen.end() &&
      !DOVETAIL_MUTANT("list: what some show is decided without the session")) {
    query.session = seen->second.token;
  }
  NodeId owner = core_.identity.self;
  if (!core_.placement.Owns(owner, partition)) {
    const absl::Span<const NodeId> owners = core_.placement.Owners(partition);
    const auto up = std::find_if(owners.begin(), owners.end(),
                                 [&](NodeId node) { return core_.IsUp(node); });
    owner = up != owners.end() ? *up : owners.front();
  }
  core_.Send(owner, partition, std::move(query));
}

void ListCoordinator::OnPresence(const PresenceAnswer& answer, Now now) {
  if (answer.ticket.incarnation != core_.identity.actor) return;
  auto it = jobs_.find(answer.ticket.sequence);
  if (it == jobs_.end()) return;
  Job& job = it->second;
  if (!job.deciding || answer.place >= job.candidates.size()) return;
  Candidate& candidate = job.candidates[answer.place];
  if (candidate.present) return;
  if (!answer.status.ok()) {
    DOVETAIL_MARK("list: an object cannot be decided");
    return Fail(it, answer.status);
  }
  DOVETAIL_MARK_IF("list: some node shows what is gone", !answer.present);
  candidate.present = answer.present;
  --job.undecided;
  if (job.undecided == 0 && job.unconfirmed == 0) Finish(it, now);
}

void ListCoordinator::Finish(Jobs::iterator it, Now now) {
  Job& job = it->second;
  if (job.different.empty()) {
    core_.Reply(job.id, ListReply{InBucket(job.request.bucket,
                                           std::move(job.page.objects)),
                                  job.page.more});
    return EraseJob(it, job);
  }
  std::vector<Listed> objects;
  for (Candidate& candidate : job.candidates) {
    if (*candidate.present) objects.push_back(std::move(candidate.object));
  }
  if (objects.empty() && job.more) {
    DOVETAIL_MARK("list: a page of nothing but deleted objects");
    // It would leave the client without a place to go on from.
    Job rest = std::move(job);
    rest.request.after =
        crdt::ObjectId{rest.request.bucket, rest.end->key, rest.end->type};
    EraseJob(it, rest);
    return Launch(std::move(rest), now);
  }
  core_.Reply(
      job.id,
      ListReply{InBucket(job.request.bucket, std::move(objects)), job.more});
  EraseJob(it, job);
}

void ListCoordinator::Fail(Jobs::iterator it, absl::Status why) {
  core_.Reply(it->second.id, std::move(why));
  EraseJob(it, it->second);
}

void ListCoordinator::EraseJob(Jobs::iterator it, const Job& times) {
  timers_.erase({times.deadline, it->first});
  timers_.erase({times.hedge_at, it->first});
  jobs_.erase(it);
}

void ListCoordinator::OnPeerDown(NodeId peer) {
  std::vector<uint64_t> uncovered;
  for (auto& [sequence, job] : jobs_) {
    if (job.covering) continue;
    if (!MayShowSeen(job)) {
      uncovered.push_back(sequence);
      continue;
    }
    if (job.deciding || !Has(job.asked, peer) || Has(job.answered, peer) ||
        Has(job.failed, peer)) {
      continue;
    }
    DOVETAIL_MARK("list: a node that was asked goes down");
    std::vector<NodeId> hoped = job.asked;
    const std::vector<NodeId>& failed = job.failed;
    std::erase_if(
        hoped, [&](NodeId node) { return node == peer || Has(failed, node); });
    // Without others, its answer may be on its way: the deadline decides.
    AskMore(sequence, job, std::move(hoped)).IgnoreError();
  }
  for (uint64_t sequence : uncovered) {
    DOVETAIL_MARK("list: who covers its session goes down");
    CoverAnew(jobs_.find(sequence), core_.time);
  }
}

void ListCoordinator::OnTimers(Now now) {
  LaunchCovered(now);
  while (!timers_.empty() && timers_.begin()->first <= now.steady) {
    const uint64_t sequence = timers_.begin()->second;
    timers_.erase(timers_.begin());
    auto it = jobs_.find(sequence);
    if (it == jobs_.end()) continue;
    Job& job = it->second;
    if (job.deadline <= now.steady) {
      DOVETAIL_MARK("list: its deadline passes");
      Fail(it, DeadlineOf(job));
      continue;
    }
    if (job.hedge_at <= now.steady) Hedge(sequence, job, now);
  }
}

// Questions and answers may get lost; an answer that comes twice counts once.
void ListCoordinator::Hedge(uint64_t sequence, Job& job, Now now) {
  if (!job.covering && !MayShowSeen(job)) {
    DOVETAIL_MARK("list: its session is to be covered anew");
    return CoverAnew(jobs_.find(sequence), now);
  }
  const std::vector<NodeId> asked = job.asked;
  if (job.covering) {
    AskAgainForCover(sequence, job);
  } else if (job.deciding) {
    DOVETAIL_MARK("list: what is undecided is asked again");
    for (size_t i = 0; i < job.candidates.size(); ++i) {
      if (!job.candidates[i].present) AskPresence(sequence, job, i, now);
    }
    AskToConfirm(sequence, job);
  } else {
    DOVETAIL_MARK("list: hedged");
    // As if those that are silent were not there; whoever comes first counts.
    AskMore(sequence, job, job.answered).IgnoreError();
    for (NodeId node : asked) {
      if (Has(job.answered, node) || Has(job.failed, node) ||
          !core_.IsUp(node) || asked.size() < job.asked.size()) {
        continue;
      }
      DOVETAIL_MARK("list: who is silent is asked again");
      Send(sequence, job, node);
    }
  }
  HedgeLater(sequence, job, now);
  job.pause *= 2;
  if (job.covering) {
    job.pause = std::min(job.pause, core_.options.session_ask_again_max);
  }
}

void ListCoordinator::HedgeLater(uint64_t sequence, Job& job, Now now) {
  if (job.hedge_at != job.deadline) timers_.erase({job.hedge_at, sequence});
  job.hedge_at = std::min(now.steady + job.pause, job.deadline);
  timers_.emplace(job.hedge_at, sequence);
}

void ListCoordinator::OnTurnFailed(const absl::Status& why) {
  DOVETAIL_MARK_IF("list: a turn failed under it", !jobs_.empty());
  while (!jobs_.empty()) Fail(jobs_.begin(), why);
}

absl::Duration ListCoordinator::next_deadline() const {
  if (!covered_.empty()) return absl::ZeroDuration();
  return timers_.empty() ? absl::InfiniteDuration() : timers_.begin()->first;
}

}  // namespace dovetail::replica
