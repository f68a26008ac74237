// How the checker submits what a plan says, and looks at nodes on its own.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/sim/checker.h"
#include "tests/sim/convert.h"
#include "tests/sim/seat.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::RequestId;

namespace {
constexpr const char* kBucket = "b";
}  // namespace

void Checker::Run(size_t index) {
  if (!actions_[index]) return;
  ++stats_.operations;
  if (const auto* operate = std::get_if<scenario::Operate>(&*actions_[index])) {
    SubmitWrite(index, *operate);
  } else if (const auto* read =
                 std::get_if<scenario::ReadObject>(&*actions_[index])) {
    SubmitRead(index, *read);
  }
}

bool Checker::FillTokens(const scenario::Operate& operate,
                         replica::WriteRequest& write, Pending& pending) {
  for (const scenario::OperationStep& step : operate.steps) {
    crdt::Operation operation = step.operation;
    operation.object.bucket = kBucket;
    oracle::Mutation mutation = ToOracle(operation);
    if (!step.token.empty()) {
      const auto token = tokens_.find(step.token);
      if (token == tokens_.end()) return false;
      operation.observed = token->second.observed;
      mutation.token = token->second.sight;
    }
    write.operations.push_back(std::move(operation));
    pending.batch.push_back(std::move(mutation));
  }
  return true;
}

void Checker::SubmitWrite(size_t index, const scenario::Operate& operate) {
  const PlanEvent& event = plan_.events[index];
  Pending pending;
  pending.event = index;
  pending.node = static_cast<uint32_t>(std::stoul(operate.who.substr(1)));
  pending.at = pending.node;
  pending.fsync = (event.value & kWayFsync) != 0;
  replica::WriteRequest write;
  if (!FillTokens(operate, write, pending)) {
    ++stats_.skipped;
    return;
  }
  pending.partition = PartitionOf(write.operations.front().object);
  if (operate.id) {
    if (!Identify(*operate.id, write, pending)) {
      ++stats_.skipped;
      return;
    }
  } else if (write.operations.front().object.key == "exact") {
    exact_attempted_ += write.operations.front().amount;
  }
  for (const crdt::Operation& one : write.operations) {
    if (one.object.key != "unique" || one.verb == crdt::Verb::kAdd) continue;
    for (const std::string& element : one.elements) quorums_.MayRemove(element);
  }
  replica::ClientRequest request;
  pending.level = LevelFor(event, operate.terms.write, pending.partition);
  request.options.write = pending.level;
  // A node that owns nothing of it takes it all the same.
  request.options.here = (event.value & kWayForward) == 0;
  request.options.durability =
      pending.fsync ? replica::Durability::kFsync : replica::Durability::kWal;
  request.options.timeout = absl::Microseconds(event.for_us);
  if (!pending.must_refuse) {
    const bool after = (event.value & kWaySession) != 0;
    sessions_.BeforeWrite(index, after, write);
    if (write.session) pending.session = write.session->events;
  }
  request.body = std::move(write);
  Submit(std::move(pending), std::move(request));
}

void Checker::SubmitRead(size_t index, const scenario::ReadObject& read) {
  const PlanEvent& event = plan_.events[index];
  ++stats_.reads;
  Pending pending;
  pending.event = index;
  pending.node = static_cast<uint32_t>(std::stoul(read.who.substr(1)));
  pending.spec = read.spec;
  pending.spec->object.bucket = kBucket;
  pending.spec->want_token = !read.token.empty();
  pending.token = read.token;
  pending.partition = PartitionOf(pending.spec->object);
  replica::ClientRequest request;
  pending.level = LevelFor(event, read.terms.read, pending.partition);
  request.options.read = pending.level;
  request.options.here = (event.value & kWayForward) == 0;
  request.options.timeout = absl::Microseconds(event.for_us);
  request.body = replica::ReadRequest{*pending.spec, {}};
  Submit(std::move(pending), std::move(request));
}

void Checker::Probe(uint32_t node, const oracle::Object& object) {
  ++stats_.probes;
  Pending pending;
  pending.event = kProbe;
  pending.node = node;
  pending.spec.emplace();
  pending.spec->object = FromOracle(object);
  pending.partition = PartitionOf(pending.spec->object);
  replica::ClientRequest request;
  request.options.read = replica::Level::Count(1);
  request.options.here = true;
  request.options.timeout = absl::Seconds(30);
  request.body = replica::ReadRequest{*pending.spec, {}};
  Submit(std::move(pending), std::move(request));
}

void Checker::ProbeAny(uint32_t node, Stream& chance) {
  const oracle::Oracle& oracle =
      oracles_[static_cast<size_t>(chance.Below(oracles_.size()))];
  const std::vector<oracle::Object> objects = oracle.Objects();
  if (objects.empty() || !cluster_->node(node).running()) return;
  Probe(node, chance.Pick(objects));
}

void Checker::Submit(Pending pending, replica::ClientRequest request) {
  const RequestId id{next_request_++};
  request.id = id;
  pending.submitted_us = scheduler_.now_us();
  pending.starts = cluster_->node(pending.node).starts;
  const uint32_t node = pending.node;
  trace_.Add(scheduler_.now_us(), "request", node, next_request_, pending.event,
             [&] { return Story(pending); });
  pending_.emplace(id, std::move(pending));
  if (!cluster_->Submit(node, std::move(request))) {
    ++stats_.refused;
    if (MustSucceed(pending_.at(id))) {
      OnViolation(absl::StrCat(Story(pending_.at(id)), " meets nobody"));
    }
    pending_.erase(id);
  }
}

void Checker::OnSessionReply(uint32_t node, const replica::ClientReply& reply) {
  if (!sessions_.Awaits(reply.id)) return;
  trace_.Add(scheduler_.now_us(), "session", node,
             static_cast<uint64_t>(reply.id),
             static_cast<uint64_t>(reply.body.status().code()),
             [&] { return reply.body.status().ToString(); });
  if (!reply.body.ok()) {
    sessions_.Forget(reply.id);
    return OnErrorOfWatch(node, "(of a session)", reply.body.status());
  }
  const auto& read = std::get<replica::ReadReply>(*reply.body);
  if (!ExactSince(read.receipt.nodes, sessions_.PartitionOf(reply.id),
                  sessions_.AskedAt(reply.id))) {
    return sessions_.Forget(reply.id);
  }
  ++stats_.checks;
  std::string wrong = sessions_.Judge(reply.id, read);
  if (!wrong.empty()) OnViolation(std::move(wrong));
}

void Checker::OnListReply(uint32_t node, const replica::ClientReply& reply) {
  if (!lists_.Awaits(reply.id)) return;
  trace_.Add(scheduler_.now_us(), "listing", node,
             static_cast<uint64_t>(reply.id),
             static_cast<uint64_t>(reply.body.status().code()),
             [&] { return reply.body.status().ToString(); });
  if (!reply.body.ok()) {
    lists_.Forget(reply.id);
    return OnErrorOfWatch(node, "(a listing)", reply.body.status());
  }
  ++stats_.checks;
  std::string wrong = lists_.Judge(
      *cluster_, reply.id, std::get<replica::ListReply>(*reply.body),
      [this](const crdt::ObjectId& object, int64_t since_us) {
        return IsListed(object, since_us);
      });
  if (!wrong.empty()) OnViolation(std::move(wrong));
}

void Checker::OnErrorOfWatch(uint32_t node, const char* what,
                             const absl::Status& status) {
  Pending pending;
  pending.event = kProbe;
  pending.node = node;
  pending.level = replica::Level::Count(2);  // or more
  pending.spec.emplace();
  pending.spec->object = {"b", what, crdt::Type::kMap};
  OnError(pending, status);
}

void Checker::WatchAtQuorums(const Pending& pending,
                             const replica::Receipt& receipt,
                             Acknowledged& acknowledged) {
  if (plan_.events[pending.event].text.find(" add exact ") !=
      std::string::npos) {
    exact_acknowledged_[pending.event] = pending.batch.front().amount;
  }
  if (!cluster_->RingKnownSince(pending.submitted_us)) return;
  uint32_t copies = 0;
  for (const replica::NodeId node : receipt.nodes) {
    const uint32_t id = SeatOf(node);
    if (Owns(id, pending.partition) && cluster_->node(id).running() &&
        Holds(id, pending.partition, *pending.minted)) {
      ++copies;
    }
  }
  const uint32_t owners = cluster_->placement().replicas(pending.partition);
  if (2 * copies > owners) {
    acknowledged.at_quorum_of = cluster_->newest_ring();
  }
  const auto& operate = std::get<scenario::Operate>(*actions_[pending.event]);
  if (operate.steps.size() != 1) return;
  crdt::Operation operation = operate.steps.front().operation;
  operation.object.bucket = kBucket;
  quorums_.OnAcknowledged(*cluster_, operation, operate.id, copies, owners,
                          pending.fsync);
}

void Checker::OnQuorumReply(uint32_t node, const replica::ClientReply& reply) {
  if (!quorums_.Awaits(reply.id)) return;
  trace_.Add(scheduler_.now_us(), "quorum", node,
             static_cast<uint64_t>(reply.id),
             static_cast<uint64_t>(reply.body.status().code()),
             [&] { return reply.body.status().ToString(); });
  if (!reply.body.ok()) {
    quorums_.Forget(reply.id);
    return OnErrorOfWatch(node, "(at a quorum)", reply.body.status());
  }
  const auto& read = std::get<replica::ReadReply>(*reply.body);
  const auto [object, asked_us] = quorums_.AskedFor(reply.id);
  // A row that is damaged, and was not looked at since, reads as removed.
  if (damages_ &&
      !ExactSince(read.receipt.nodes, PartitionOf(object), asked_us)) {
    return quorums_.Forget(reply.id);
  }
  ++stats_.checks;
  std::string wrong = quorums_.Judge(*cluster_, reply.id, read);
  if (!wrong.empty()) OnViolation(std::move(wrong));
}

void Checker::Withhold(uint32_t peer, int64_t from_us) {
  withheld_until_released_.push_back({peer, from_us, {}, std::nullopt});
}

uint32_t Checker::busy_at(uint32_t node) const {
  uint32_t busy = 0;
  for (const auto& [id, pending] : pending_) {
    busy += pending.node == node && !pending.abandoned;
  }
  return busy;
}

bool Checker::LacksEvents(uint32_t node) {
  if (!cluster_->node(node).running()) return true;
  for (uint32_t p = 0; p < cluster_->partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (!Owns(node, partition)) continue;
    const crdt::EventSet& mine =
        cluster_->ShardOf(node, partition).ContextOf(partition).applied;
    for (uint32_t peer = 0; peer < cluster_->size(); ++peer) {
      if (peer == node || !cluster_->node(peer).running()) continue;
      if (!cluster_->ShardOf(peer, partition)
               .ContextOf(partition)
               .applied.IsSubsetOf(mine)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace dovetail::sim
