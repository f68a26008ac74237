#include "tests/replica/cluster.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "tests/sim/seat.h"

namespace dovetail::replica {

crdt::Operation Op(crdt::Type type, crdt::Verb verb, std::string key) {
  crdt::Operation operation;
  operation.object = {"b", std::move(key), type};
  operation.verb = verb;
  return operation;
}
crdt::Operation AddTo(std::string set, std::vector<std::string> elements) {
  auto operation = Op(crdt::Type::kSet, crdt::Verb::kAdd, std::move(set));
  operation.elements = std::move(elements);
  return operation;
}
crdt::Operation RemoveFrom(std::string set, std::vector<std::string> elements) {
  auto operation = Op(crdt::Type::kSet, crdt::Verb::kRemove, std::move(set));
  operation.elements = std::move(elements);
  return operation;
}
crdt::Operation Count(std::string counter, int64_t amount) {
  auto operation =
      Op(crdt::Type::kCounter, crdt::Verb::kAdd, std::move(counter));
  operation.amount = amount;
  return operation;
}
crdt::Operation WriteTo(std::string reg, std::string value) {
  auto operation =
      Op(crdt::Type::kRegister, crdt::Verb::kWrite, std::move(reg));
  operation.value = std::move(value);
  return operation;
}

Cluster::Cluster(uint32_t nodes, uint32_t partitions, ShardOptions options)
    : Cluster(Placement(nodes, partitions), options) {}

Cluster::Cluster(Placement placement, ShardOptions options)
    : options_(options), placement_(std::move(placement)) {
  const auto nodes = static_cast<uint32_t>(placement_.members().size());
  nodes_.resize(nodes);
  for (Node& node : nodes_) node.disk = std::make_unique<sim::SimDisk>();
  for (uint32_t i = 0; i < nodes; ++i) {
    nodes_[i].region = placement_.RegionOf(NodeId{i});
    DOVETAIL_CHECK(Start(i).ok());
  }
  // They have heard of one another that there is nothing yet.
  DeliverAll();
}

void Cluster::Part(uint32_t a, uint32_t b) {
  at(a).HandlePeerDown(NodeId{b}, NowAt(a));
  at(b).HandlePeerDown(NodeId{a}, NowAt(b));
  EndTurn(a);
  EndTurn(b);
}

void Cluster::Meet(uint32_t a, uint32_t b) {
  at(a).HandlePeerUp(NodeId{b}, NowAt(a), nodes_[b].actor);
  at(b).HandlePeerUp(NodeId{a}, NowAt(b), nodes_[a].actor);
  EndTurn(a);
  EndTurn(b);
}

absl::Status Cluster::Start(uint32_t node) {
  Node& n = nodes_[node];
  DOVETAIL_CHECK(n.shard == nullptr);
  n.storage = std::make_unique<sim::SimStorage>(*n.disk);
  const crdt::ActorId actor =
      crdt::MakeActorId(crdt::ActorKind::kNode, next_actor_++);
  n.actor = actor;
  DOVETAIL_RETURN_IF_ERROR(RecordActor(*n.storage, actor));
  n.shard = std::make_unique<Shard>(
      options_, placement_,
      Shard::Identity{NodeId{node}, actor, 0, 1, n.region}, *n.storage);
  DOVETAIL_RETURN_IF_ERROR(n.shard->Open(NowAt(node)));
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (peer == node || !running(peer)) continue;
    n.shard->HandlePeerUp(NodeId{peer}, NowAt(node), nodes_[peer].actor);
    at(peer).HandlePeerUp(NodeId{node}, NowAt(peer), n.actor);
    EndTurn(peer);
  }
  EndTurn(node);
  return absl::OkStatus();
}

void Cluster::Place(Placement placement) {
  Announce(std::move(placement));
  for (uint32_t node = 0; node < size(); ++node) {
    if (running(node)) Tell(node);
  }
}

void Cluster::Tell(uint32_t node) {
  at(node).HandlePlacement(placement_, NowAt(node));
  EndTurn(node);
}

void Cluster::Crash(uint32_t node, size_t losing_batches) {
  nodes_[node].shard.reset();
  nodes_[node].storage.reset();
  nodes_[node].fsynced = false;
  nodes_[node].disk->CrashLosing(losing_batches);
  for (uint32_t peer = 0; peer < size(); ++peer) {
    if (!running(peer)) continue;
    at(peer).HandlePeerDown(NodeId{node}, NowAt(peer));
    EndTurn(peer);
  }
}

void Cluster::EndTurn(uint32_t node) {
  Output output = at(node).EndTurn(NowAt(node));
  DOVETAIL_CHECK(output.fatal.ok());
  Node& n = nodes_[node];
  if (std::exchange(n.fsynced, false)) n.shard->HandleFsynced();
  if (output.fsync_due) {
    DOVETAIL_CHECK(n.storage->Sync().ok());
    n.fsynced = true;
  }
  n.said.insert(n.said.end(), output.notices.begin(), output.notices.end());
  for (Envelope& envelope : output.messages) {
    network_.push_back(
        {NodeId{node}, envelope.to, std::move(envelope.message)});
  }
  for (ClientReply& reply : output.replies) {
    const RequestId id = reply.id;
    replies_.insert_or_assign(id, std::move(reply));
  }
}

RequestId Cluster::Submit(uint32_t node, Body body, RequestOptions options) {
  const RequestId id{next_request_++};
  at(node).HandleRequest({id, options, std::move(body)}, NowAt(node));
  EndTurn(node);
  return id;
}

RequestId Cluster::BeginOnce(uint32_t node,
                             const crdt::SessionWriter::Prepared& prepared,
                             RequestOptions options) {
  const RequestId id{next_request_++};
  at(node).HandleRequest(
      {id, options, WriteRequest{prepared.operations, prepared.id}},
      NowAt(node));
  EndTurn(node);
  return id;
}

absl::StatusOr<WriteReply> Cluster::WriteOnce(
    uint32_t node, const crdt::SessionWriter::Prepared& prepared,
    RequestOptions options) {
  std::optional<ClientReply> reply = Take(BeginOnce(node, prepared, options));
  DOVETAIL_CHECK(reply.has_value());
  if (!reply->body.ok()) return reply->body.status();
  return std::get<WriteReply>(*std::move(reply->body));
}

RequestId Cluster::Begin(uint32_t node, std::vector<crdt::Operation> operations,
                         RequestOptions options) {
  return Submit(node, WriteRequest{std::move(operations)}, options);
}

RequestId Cluster::BeginRead(uint32_t node, crdt::ReadSpec spec,
                             RequestOptions options) {
  return Submit(node, ReadRequest{std::move(spec), {}}, options);
}

RequestId Cluster::BeginList(uint32_t node, ListRequest list,
                             RequestOptions options) {
  return Submit(node, std::move(list), options);
}

std::optional<ClientReply> Cluster::Take(RequestId id) {
  auto reply = replies_.extract(id);
  if (reply.empty()) return std::nullopt;
  return std::move(reply.mapped());
}

absl::StatusOr<WriteReply> Cluster::Write(uint32_t node,
                                          crdt::Operation operation,
                                          RequestOptions options) {
  std::optional<ClientReply> reply =
      Take(Begin(node, {std::move(operation)}, options));
  DOVETAIL_CHECK(reply.has_value());
  if (!reply->body.ok()) return reply->body.status();
  return std::get<WriteReply>(*std::move(reply->body));
}

absl::StatusOr<crdt::ReadResult> Cluster::Read(uint32_t node,
                                               crdt::ReadSpec spec,
                                               RequestOptions options) {
  std::optional<ClientReply> reply =
      Take(BeginRead(node, std::move(spec), options));
  DOVETAIL_CHECK(reply.has_value());
  if (!reply->body.ok()) return reply->body.status();
  return std::get<ReadReply>(*std::move(reply->body)).result;
}

std::string Cluster::Show(uint32_t node, crdt::Type type, std::string key) {
  crdt::ReadSpec spec;
  spec.object = {"b", std::move(key), type};
  absl::StatusOr<crdt::ReadResult> result = Read(node, spec);
  return result.ok() ? crdt::ToString(result->view)
                     : result.status().ToString();
}

void Cluster::Deliver(size_t index) {
  DOVETAIL_CHECK(index < network_.size());
  InFlight item = network_[index];
  network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(index));
  const uint32_t to = sim::SeatOf(item.to);
  if (!running(to)) return;
  at(to).HandleMessage(item.from, std::move(item.message), NowAt(to));
  EndTurn(to);
}

void Cluster::DeliverAll(std::function<bool(const InFlight&)> block) {
  size_t index = 0;
  while (index < network_.size()) {
    if (block && block(network_[index])) {
      ++index;
    } else {
      Deliver(index);
    }
  }
}

void Cluster::Advance(absl::Duration by) {
  const absl::Duration end = steady_ + by;
  while (steady_ < end) {
    absl::Duration next = end;
    for (uint32_t node = 0; node < size(); ++node) {
      if (running(node)) next = std::min(next, at(node).next_deadline());
    }
    next = std::max(next, steady_);
    wall_ms_ +=
        static_cast<uint64_t>(absl::ToInt64Milliseconds(next - steady_));
    const bool stuck = next == steady_;
    steady_ = next;
    for (uint32_t node = 0; node < size(); ++node) {
      if (!running(node)) continue;
      at(node).HandleTimers(NowAt(node));
      EndTurn(node);
    }
    if (stuck) steady_ += absl::Nanoseconds(1);
  }
}

void Cluster::StartRanges(uint32_t node, uint32_t source) {
  at(node).StartRanges(NodeId{source}, NowAt(node));
  EndTurn(node);
}

void Cluster::ForgetLog(uint32_t node) {
  for (uint32_t p = 0; p < placement_.partitions(); ++p) {
    DOVETAIL_CHECK(
        at(node).ForgetLog(PartitionId{static_cast<uint16_t>(p)}, {}).ok());
  }
  EndTurn(node);
}

void Cluster::Scrub(uint32_t node) {
  at(node).ScrubAll(NowAt(node));
  EndTurn(node);
}

std::optional<int> Cluster::Settle(int rounds_max) {
  for (int round = 1; round <= rounds_max; ++round) {
    DeliverAll();
    Advance(absl::Seconds(1));
    DeliverAll();
    bool quiet = Differences().empty();
    for (uint32_t node = 0; node < size() && quiet; ++node) {
      if (!running(node)) continue;
      for (const PartitionDigest& digest : at(node).Digests()) {
        quiet = quiet && digest.log_entries == 0;
      }
    }
    if (quiet) return round;
  }
  return std::nullopt;
}

std::string Cluster::Differences() {
  std::optional<uint32_t> first;
  for (uint32_t node = 0; node < size(); ++node) {
    if (!running(node)) continue;
    if (absl::Status verified = at(node).VerifyDigests(); !verified.ok()) {
      return absl::StrCat("node ", node, ": ", verified.ToString());
    }
    if (!first) {
      first = node;
      continue;
    }
    const auto mine = at(*first).Digests();
    const auto theirs = at(node).Digests();
    for (size_t i = 0; i < mine.size(); ++i) {
      const PartitionId partition = mine[i].partition;
      if (at(*first).ContextOf(partition) != at(node).ContextOf(partition)) {
        return absl::StrCat("contexts of nodes ", *first, " and ", node,
                            " in partition ", Index(partition));
      }
      if (mine[i].rows != theirs[i].rows ||
          *at(*first).DumpRows(partition) != *at(node).DumpRows(partition)) {
        return absl::StrCat("rows of nodes ", *first, " and ", node,
                            " in partition ", Index(partition));
      }
    }
  }
  return "";
}

}  // namespace dovetail::replica
