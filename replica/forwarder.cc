#include "replica/forwarder.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "replica/maybe.h"

namespace dovetail::replica {
namespace {

// Hosts count their requests from below.
constexpr uint64_t kForwardedBit = uint64_t{1} << 63;

// Of a request: well above what an owner takes that asks others in turn.
constexpr absl::Duration kForwardAgainAfter = absl::Milliseconds(200);

}  // namespace

std::optional<NodeId> Forwarder::PickOwner(PartitionId partition) const {
  const std::string& here = core_.Region();
  // Region before speed: a local level means the coordinator's region.
  // Before either, who is not being filled: a mutation sees what is there.
  const auto rank = [&](NodeId node) {
    return std::tuple(!core_.IsProbablyWhole(node, partition),
                      core_.placement.RegionOf(node) != here,
                      core_.peer_times.IsSlow(node));
  };
  std::optional<NodeId> picked;
  for (NodeId owner : core_.placement.Owners(partition)) {
    if (owner == core_.identity.self || !core_.IsUp(owner)) continue;
    DOVETAIL_MARK_IF("forward: past an owner that is slow",
                     picked && rank(owner) < rank(*picked));
    if (!picked || rank(owner) < rank(*picked)) picked = owner;
  }
  return picked;
}

bool Forwarder::Start(ClientRequest& request, PartitionId partition, Now now) {
  DOVETAIL_CHECK((static_cast<uint64_t>(request.id) & kForwardedBit) == 0 ||
                 request.options.forwarded);
  const bool mine = core_.IsOwner(partition);
  if (request.options.here || request.options.forwarded ||
      (mine && core_.StandingOf(partition) != Standing::kPartial)) {
    return false;
  }
  const std::optional<NodeId> owner = PickOwner(partition);
  if (!owner || (mine && !core_.IsProbablyWhole(*owner, partition))) {
    return false;
  }
  DOVETAIL_MARK_IF("forward: an owner that is being filled", mine);
  Job job;
  job.partition = partition;
  job.owner = *owner;
  job.deadline = now.steady + request.options.timeout;
  job.again_at = job.deadline;
  job.pause = kForwardAgainAfter;
  job.write = std::holds_alternative<WriteRequest>(request.body);
  job.request = std::move(request);
  const uint64_t sequence = next_sequence_++;
  Job& placed = jobs_.emplace(sequence, std::move(job)).first->second;
  timers_.emplace(placed.deadline, sequence);
  SendNew(sequence, placed, now);
  return true;
}

void Forwarder::SendNew(uint64_t sequence, Job& job, Now now) {
  job.receiver = core_.peers_up.at(job.owner);
  job.number = ++numbers_[{job.partition, job.receiver}];
  DOVETAIL_TELL("forward: sent", static_cast<uint64_t>(job.request.id),
                Index(job.partition), crdt::ActorBits(core_.identity.actor),
                sequence, Index(job.owner));
  Send(sequence, job, now);
}

void Forwarder::Send(uint64_t sequence, Job& job, Now now) {
  Forward forward{{core_.identity.actor, sequence},
                  job.number,
                  job.receiver,
                  job.request.options,
                  {}};
  forward.options.timeout =
      std::max(absl::Milliseconds(1), job.deadline - now.steady);
  if (const auto* write = std::get_if<WriteRequest>(&job.request.body)) {
    forward.body = *write;
  } else {
    forward.body = std::get<ReadRequest>(job.request.body);
  }
  core_.Send(job.owner, job.partition, std::move(forward));
  if (job.again_at < job.deadline) timers_.erase({job.again_at, sequence});
  job.again_at = now.steady + job.pause;
  job.pause *= 2;
  if (job.again_at < job.deadline) timers_.emplace(job.again_at, sequence);
}

void Forwarder::SendAgain(Jobs::iterator it, Now now) {
  if (it->second.write) {
    DOVETAIL_MARK("forward: a write is sent again");
    return Send(it->first, it->second, now);
  }
  // It may have been done and its answer lost; a read may be done twice.
  DOVETAIL_MARK("forward: a read is sent again");
  SendNew(it->first, it->second, now);
}

std::optional<ClientRequest> Forwarder::OnForward(NodeId from,
                                                  PartitionId partition,
                                                  Forward forward) {
  if (forward.receiver != core_.identity.actor) return std::nullopt;
  const crdt::Dot number{forward.ticket.incarnation, forward.number};
  crdt::EventSet& taken = taken_[partition];
  if (taken.Contains(number)) return std::nullopt;
  taken.Insert(number);
  ClientRequest request;
  request.id = RequestId{kForwardedBit | next_id_++};
  request.options = forward.options;
  request.options.forwarded = true;
  DOVETAIL_TELL("forward: taken", static_cast<uint64_t>(request.id),
                Index(partition), crdt::ActorBits(forward.ticket.incarnation),
                forward.ticket.sequence);
  if (auto* write = std::get_if<WriteRequest>(&forward.body)) {
    request.body = std::move(*write);
  } else {
    request.body = std::get<ReadRequest>(std::move(forward.body));
  }
  origins_[request.id] = {from, partition, forward.ticket};
  return request;
}

void Forwarder::Divert(Output& output) {
  const auto first = std::stable_partition(
      output.replies.begin(), output.replies.end(),
      [](const ClientReply& reply) {
        return (static_cast<uint64_t>(reply.id) & kForwardedBit) == 0;
      });
  for (auto reply = first; reply != output.replies.end(); ++reply) {
    const auto origin = origins_.find(reply->id);
    if (origin == origins_.end()) continue;
    Forwarded forwarded;
    forwarded.ticket = origin->second.ticket;
    if (!reply->body.ok()) {
      forwarded.reply = reply->body.status();
    } else if (auto* write = std::get_if<WriteReply>(&*reply->body)) {
      forwarded.reply = std::move(*write);
    } else {
      forwarded.reply = std::get<ReadReply>(*std::move(reply->body));
    }
    output.messages.push_back(
        {origin->second.node,
         Message{origin->second.partition, std::move(forwarded)}});
    origins_.erase(origin);
  }
  output.replies.erase(first, output.replies.end());
}

void Forwarder::OnForwarded(NodeId from, PartitionId partition,
                            Forwarded forwarded) {
  if (forwarded.ticket.incarnation != core_.identity.actor) return;
  const auto it = jobs_.find(forwarded.ticket.sequence);
  if (it == jobs_.end() || it->second.partition != partition ||
      it->second.owner != from) {
    return;
  }
  const RequestId id = it->second.request.id;
  if (!forwarded.reply.ok()) {
    core_.Reply(id, forwarded.reply.status());
  } else if (auto* write = std::get_if<WriteReply>(&*forwarded.reply)) {
    core_.Reply(id, std::move(*write));
  } else {
    core_.Reply(id, std::get<ReadReply>(*std::move(forwarded.reply)));
  }
  End(it);
}

std::vector<std::pair<ClientRequest, PartitionId>> Forwarder::OnPeerDown(
    NodeId peer, Now now) {
  std::vector<std::pair<ClientRequest, PartitionId>> mine;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    const auto current = it++;
    Job& job = current->second;
    if (job.owner != peer) continue;
    if (job.write) {
      core_.Reply(job.request.id,
                  MarkMaybe(absl::UnavailableError(absl::StrCat(
                      core_.placement.NameOf(peer),
                      ", which was to coordinate it, cannot be reached any "
                      "more; the write may still take effect"))));
      End(current);
      continue;
    }
    // The ring may have moved the partition to this very node meanwhile.
    const std::optional<NodeId> other =
        core_.IsOwner(job.partition) ? std::nullopt : PickOwner(job.partition);
    if (other) {
      job.owner = *other;
      job.pause = kForwardAgainAfter;
      SendNew(current->first, job, now);
      continue;
    }
    ClientRequest request = std::move(job.request);
    request.options.timeout =
        std::max(absl::Milliseconds(1), job.deadline - now.steady);
    mine.emplace_back(std::move(request), job.partition);
    End(current);
  }
  // Their answers would go nowhere.
  std::erase_if(origins_,
                [&](const auto& origin) { return origin.second.node == peer; });
  return mine;
}

void Forwarder::OnTimers(Now now) {
  while (!timers_.empty() && timers_.begin()->first <= now.steady) {
    const auto it = jobs_.find(timers_.begin()->second);
    DOVETAIL_CHECK(it != jobs_.end());
    if (it->second.deadline > now.steady) {
      SendAgain(it, now);
      continue;
    }
    core_.Reply(
        it->second.request.id,
        absl::DeadlineExceededError(absl::StrCat(
            core_.placement.NameOf(it->second.owner),
            ", which was to coordinate it, has not answered in time",
            it->second.write ? "; the write may still take effect" : "")));
    End(it);
  }
}

void Forwarder::End(Jobs::iterator job) {
  timers_.erase({job->second.deadline, job->first});
  timers_.erase({job->second.again_at, job->first});
  jobs_.erase(job);
}

absl::Duration Forwarder::next_deadline() const {
  return timers_.empty() ? absl::InfiniteDuration() : timers_.begin()->first;
}

}  // namespace dovetail::replica
