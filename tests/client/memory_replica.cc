#include "tests/client/memory_replica.h"

#include <utility>
#include <variant>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "crdt/check.h"
#include "crdt/expiry.h"
#include "crdt/mutate.h"
#include "crdt/query.h"
#include "crdt/session.h"
#include "crdt/state_view.h"
#include "replica/hash.h"

namespace dovetail {
namespace {

constexpr crdt::ActorId kActor{0x1234};

replica::PartitionId PartitionOf(const crdt::ObjectId& object) {
  return replica::PartitionOf(object.bucket, object.key,
                              MemoryReplica::kPartitions);
}

replica::Receipt OwnReceipt() {
  return {{replica::NodeId{0}}, {}, 1, replica::Durability::kWal};
}

uint64_t NowMs() {
  return static_cast<uint64_t>(absl::ToUnixMillis(absl::Now()));
}

// As if it was one of this many partitions.
constexpr uint32_t kPartitions = 64;

replica::SessionToken TokenFor(const crdt::ObjectId& object) {
  replica::SessionToken token;
  token.partitions = kPartitions;
  token.partition =
      replica::PartitionOf(object.bucket, object.key, kPartitions);
  return token;
}

}  // namespace

// The StateView of all objects.
class MemoryReplica::State final : public crdt::StateView {
 public:
  explicit State(const std::map<crdt::ObjectId, crdt::Store>& objects)
      : objects_(objects) {}
  absl::StatusOr<crdt::Leaf> Get(const crdt::ObjectId& object,
                                 const crdt::Path& path) override {
    return crdt::StoreView(StoreOf(object)).Get(object, path);
  }
  absl::Status Scan(
      const crdt::ObjectId& object, const crdt::Path& prefix,
      const crdt::Path& after,
      absl::FunctionRef<bool(const crdt::Path&, const crdt::Leaf&)> visit)
      override {
    return crdt::StoreView(StoreOf(object)).Scan(object, prefix, after, visit);
  }

 private:
  const crdt::Store& StoreOf(const crdt::ObjectId& object) const {
    const auto it = objects_.find(object);
    return it == objects_.end() ? empty_ : it->second;
  }
  const std::map<crdt::ObjectId, crdt::Store>& objects_;
  const crdt::Store empty_;
};

net::ClientResult MemoryReplica::Run(const net::ClientOperation& operation) {
  if (const auto* write = std::get_if<replica::WriteRequest>(&operation)) {
    return Write(*write);
  }
  return Read(std::get<replica::ReadRequest>(operation));
}

net::ClientResult MemoryReplica::Write(const replica::WriteRequest& request) {
  replica::WriteReply reply;
  reply.receipt = OwnReceipt();
  if (request.id) {
    const auto given = [&](crdt::Timestamp) { return request.id->stamp; };
    DOVETAIL_ASSIGN_OR_RETURN(
        const crdt::SessionDelta built,
        crdt::BuildSessionDelta(request.operations, *request.id, given));
    reply.not_observed = built.not_observed;
    reply.deltas = built.delta ? 1 : 0;
    const replica::PartitionId partition =
        PartitionOf(request.operations.front().object);
    if (built.delta &&
        !applied_[partition].ContainsRun(built.delta->events)) {
      Apply(*built.delta);
    }
    return reply;
  }
  State state(objects_);
  const auto stamp = [this](crdt::Timestamp observed) {
    (void)clock_.Receive(observed, observed.wall_ms);
    return clock_.Next(0);
  };
  crdt::DeltaBuilder builder(state, {kActor, next_counter_}, stamp);
  for (crdt::Operation operation : request.operations) {
    crdt::MakeAbsolute(operation, NowMs());
    DOVETAIL_ASSIGN_OR_RETURN(auto outcome, builder.Add(operation));
    reply.not_observed.push_back(outcome.not_observed);
  }
  if (const auto delta = builder.Finish(); delta.has_value()) {
    Apply(*delta);
    reply.deltas = 1;
    if (request.session) {
      reply.session = TokenFor(request.operations.front().object);
      reply.session->events.InsertRun(delta->events);
      reply.session->stamp = clock_.last();
    }
  }
  return reply;
}

void MemoryReplica::Apply(const crdt::Delta& delta) {
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    crdt::Store& store = objects_[leaf.object];
    const crdt::Leaf* held = store.Find(leaf.path);
    crdt::Leaf joined = held == nullptr ? crdt::Leaf() : *held;
    DOVETAIL_CHECK(crdt::Join(joined, applied_[PartitionOf(leaf.object)],
                              leaf.store,
                              crdt::DeltaLeafContext(delta.events, leaf)) ==
                   crdt::JoinResult::kOk);
    store.Set(leaf.path, std::move(joined));
    if (store.empty()) objects_.erase(leaf.object);
  }
  for (const crdt::DeltaLeaf& leaf : delta.leaves) {
    applied_[PartitionOf(leaf.object)].InsertRun(delta.events);
  }
  if (delta.events.actor == kActor) next_counter_ = delta.events.last() + 1;
}

net::ClientResult MemoryReplica::Read(const replica::ReadRequest& request) {
  replica::ReadReply reply;
  reply.receipt = OwnReceipt();
  State state(objects_);
  DOVETAIL_ASSIGN_OR_RETURN(reply.result,
                            crdt::Query(state, request.spec, NowMs()));
  if (request.session) {
    reply.session = TokenFor(request.spec.object);
    reply.session->events = applied_[PartitionOf(request.spec.object)];
  }
  return reply;
}

replica::ListReply MemoryReplica::List(
    const replica::ListRequest& request) const {
  replica::ListReply reply;
  for (const auto& [object, store] : objects_) {
    if (object.bucket != request.bucket) continue;
    if (object.key.compare(0, request.prefix.size(), request.prefix) != 0) {
      continue;
    }
    if (request.after.has_value() && !(*request.after < object)) continue;
    if (reply.objects.size() == request.limit) {
      reply.more = true;
      break;
    }
    reply.objects.push_back(object);
  }
  return reply;
}

}  // namespace dovetail
