#include "tests/crdt/replica_model.h"

#include <set>
#include <utility>

namespace dovetail::crdt::model {

absl::StatusOr<Leaf> ObjectsView::Get(const ObjectId& object,
                                      const Path& path) {
  auto it = objects_.find(object);
  const Leaf* leaf = it == objects_.end() ? nullptr : it->second.Find(path);
  return leaf == nullptr ? Leaf() : *leaf;
}

absl::Status ObjectsView::Scan(
    const ObjectId& object, const Path& prefix, const Path& after,
    absl::FunctionRef<bool(const Path&, const Leaf&)> visit) {
  auto it = objects_.find(object);
  if (it == objects_.end()) return absl::OkStatus();
  const bool from_start = after.bytes().empty();
  for (const auto& [path, leaf] : it->second.children()) {
    if (!path.HasPrefix(prefix)) continue;
    if (!from_start && (path <= after || path.HasPrefix(after))) continue;
    if (!visit(path, leaf)) break;
  }
  return absl::OkStatus();
}

uint64_t EntryHash(const ObjectId& object, const Path& path, Dot dot,
                   const Payload& payload) {
  std::string bytes;
  Writer out(&bytes);
  out.Bytes(object.bucket);
  out.Bytes(object.key);
  out.Byte(static_cast<uint8_t>(object.type));
  out.Bytes(path.bytes());
  out.Fixed64(ActorBits(dot.actor));
  out.Fixed64(dot.counter);
  AppendPayload(out, payload);
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

void Replica::Replace(const ObjectId& object, const Path& path, Leaf leaf) {
  Store& store = objects_[object];
  if (const Leaf* old = store.Find(path)) {
    for (const auto& [dot, payload] : old->entries()) {
      row_sum_ -= EntryHash(object, path, dot, payload);
    }
  }
  for (const auto& [dot, payload] : leaf.entries()) {
    row_sum_ += EntryHash(object, path, dot, payload);
  }
  store.Set(path, std::move(leaf));
  if (store.empty()) objects_.erase(object);
}

uint64_t Replica::RecomputeRowSum() const {
  uint64_t sum = 0;
  for (const auto& [object, store] : objects_) {
    for (const auto& [path, leaf] : store.children()) {
      for (const auto& [dot, payload] : leaf.entries()) {
        sum += EntryHash(object, path, dot, payload);
      }
    }
  }
  return sum;
}

Replica::Applied Replica::Apply(const Delta& delta) {
  if (context_.applied.ContainsRun(delta.events)) return Applied::kDuplicate;
  std::vector<Leaf> joined;
  for (const DeltaLeaf& leaf : delta.leaves) {
    auto object = objects_.find(leaf.object);
    const Leaf* mine =
        object == objects_.end() ? nullptr : object->second.Find(leaf.path);
    joined.push_back(mine == nullptr ? Leaf() : *mine);
    if (Join(joined.back(), context_, leaf.store,
             DeltaLeafContext(delta.events, leaf)) == JoinResult::kDotReuse) {
      return Applied::kDotReuse;
    }
  }
  for (size_t i = 0; i < joined.size(); ++i) {
    Replace(delta.leaves[i].object, delta.leaves[i].path, std::move(joined[i]));
    for (Dot dot : delta.leaves[i].superseded) context_.superseded.Insert(dot);
    for (Dot dot : delta.leaves[i].store.Dots()) {
      context_.superseded.Insert(dot);
    }
  }
  context_.applied.InsertRun(delta.events);
  context_.superseded.Subtract(context_.applied);
  return Applied::kNew;
}

absl::StatusOr<Replica::Mutation> Replica::Mutate(
    const std::vector<Operation>& batch,
    std::function<Timestamp(Timestamp)> stamp) {
  ObjectsView state(objects_);
  DeltaBuilder builder(state, {actor_, next_counter_}, stamp);
  Mutation mutation;
  for (const Operation& operation : batch) {
    auto outcome = builder.Add(operation);
    if (!outcome.ok()) return outcome.status();
    mutation.outcomes.push_back(*std::move(outcome));
  }
  mutation.delta = builder.Finish();
  if (mutation.delta.has_value()) {
    DOVETAIL_CHECK(mutation.delta->events.first == next_counter_);
    next_counter_ += mutation.delta->events.count;
    DOVETAIL_CHECK(Apply(*mutation.delta) == Applied::kNew);
  }
  return mutation;
}

JoinResult Replica::JoinState(const Replica& other) {
  std::set<ObjectId> names;
  for (const auto& [object, store] : objects_) names.insert(object);
  for (const auto& [object, store] : other.objects_) names.insert(object);
  const Store bottom;
  for (const ObjectId& object : names) {
    auto theirs = other.objects_.find(object);
    Store& mine = objects_[object];
    if (Join(mine, context_,
             theirs == other.objects_.end() ? bottom : theirs->second,
             other.context_) == JoinResult::kDotReuse) {
      return JoinResult::kDotReuse;
    }
    if (mine.empty()) objects_.erase(object);
  }
  context_.applied.UnionWith(other.context_.applied);
  context_.superseded.UnionWith(other.context_.superseded);
  context_.superseded.Subtract(context_.applied);
  row_sum_ = RecomputeRowSum();
  return JoinResult::kOk;
}

std::string Replica::Encode() const {
  std::string bytes;
  Writer out(&bytes);
  for (const auto& [object, store] : objects_) {
    out.Bytes(object.bucket);
    out.Bytes(object.key);
    out.Byte(static_cast<uint8_t>(object.type));
    for (const auto& [path, leaf] : store.children()) {
      out.Bytes(path.bytes());
      AppendLeaf(out, LeafTypeOf(object.type, path.bytes()), leaf);
    }
  }
  context_.applied.AppendTo(out);
  context_.superseded.AppendTo(out);
  return bytes;
}

std::vector<Dot> DotsOf(const Objects& objects) {
  std::vector<Dot> dots;
  for (const auto& [object, store] : objects) {
    for (const auto& [path, leaf] : store.children()) {
      for (const auto& [dot, payload] : leaf.entries()) dots.push_back(dot);
    }
  }
  return dots;
}

}  // namespace dovetail::crdt::model
