// A replica small enough to see through: one object, one context, the join.
// The stories in these tests are told with it.
#ifndef DOVETAIL_TESTS_CRDT_TOY_REPLICA_H_
#define DOVETAIL_TESTS_CRDT_TOY_REPLICA_H_

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "crdt/mutate.h"
#include "crdt/query.h"

namespace dovetail::crdt::testing {

inline const ObjectId kSetObject{"b", "k", Type::kSet};

inline ObjectId Object(Type type) { return {"b", "k", type}; }

// Operations in short.
inline Operation Op(Type type, Verb verb) {
  Operation operation;
  operation.object = Object(type);
  operation.verb = verb;
  return operation;
}
inline Operation Elements(Type type, Verb verb,
                          std::vector<std::string> elements) {
  Operation operation = Op(type, verb);
  operation.elements = std::move(elements);
  return operation;
}
inline Operation WriteOf(Type type, Verb verb, std::string value) {
  Operation operation = Op(type, verb);
  operation.value = std::move(value);
  return operation;
}
inline Operation Amount(Type type, int64_t amount) {
  Operation operation = Op(type, Verb::kAdd);
  operation.amount = amount;
  return operation;
}
// The same operation, below fields of a map.
inline Operation In(std::vector<Field> fields, Operation operation) {
  operation.object.type = Type::kMap;
  operation.fields = std::move(fields);
  return operation;
}
inline Operation RemoveField(Field child) {
  Operation operation = Op(Type::kMap, Verb::kRemoveField);
  operation.child = std::move(child);
  return operation;
}
inline Operation With(ObservedToken token, Operation operation) {
  operation.observed = std::move(token);
  return operation;
}

class ToyReplica {
 public:
  explicit ToyReplica(uint64_t actor)
      : actor_(MakeActorId(ActorKind::kNode, actor)) {}

  Store store;
  EventSet context;
  uint64_t wall_ms = 0;  // of the stamps it gives
  MutationOutcome outcome;  // of the latest operation

  ActorId actor() const { return actor_; }

  // Runs one operation, or several as one batch; the delta is applied here and
  // returned.
  std::optional<Delta> Do(const std::vector<Operation>& operations,
                          const Path& resume_after = Path()) {
    absl::StatusOr<std::optional<Delta>> delta = Try(operations, resume_after);
    REQUIRE_MESSAGE(delta.ok(), delta.status().ToString());
    return *std::move(delta);
  }
  std::optional<Delta> Do(const Operation& operation,
                          const Path& resume_after = Path()) {
    return Do(std::vector<Operation>{operation}, resume_after);
  }

  absl::StatusOr<std::optional<Delta>> Try(
      const std::vector<Operation>& operations,
      const Path& resume_after = Path()) {
    StoreView view(store);
    const auto stamp = [this](Timestamp) { return Timestamp{wall_ms, 0}; };
    DeltaBuilder builder(view, {actor_, next_}, stamp);
    for (const Operation& operation : operations) {
      DOVETAIL_ASSIGN_OR_RETURN(outcome, builder.Add(operation, resume_after));
    }
    std::optional<Delta> delta = builder.Finish();
    if (delta) {
      CHECK(delta->events.first == next_);
      next_ += delta->events.count;
      const std::string bytes = delta->Encode();
      const absl::StatusOr<Delta> decoded = Delta::Decode(bytes);
      REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
      CHECK(*decoded == *delta);
      Apply(*delta);
    }
    return delta;
  }

  void Apply(const Delta& delta) {
    EventSet seen = context;
    seen.InsertRun(delta.events);
    for (const DeltaLeaf& leaf : delta.leaves) {
      const Leaf* held = store.Find(leaf.path);
      Leaf joined = held == nullptr ? Leaf() : *held;
      REQUIRE(Join(joined, context, leaf.store,
                   DeltaLeafContext(delta.events, leaf)) == JoinResult::kOk);
      store.Set(leaf.path, std::move(joined));
      for (const Dot dot : leaf.superseded) seen.Insert(dot);
      for (const Dot dot : leaf.store.Dots()) seen.Insert(dot);
    }
    context = seen;
  }

  void Merge(const ToyReplica& other) {
    REQUIRE(Join(store, context, other.store, other.context) ==
            JoinResult::kOk);
    context.UnionWith(other.context);
  }

  ReadResult Read(const ReadSpec& spec) const {
    StoreView view(store);
    absl::StatusOr<ReadResult> result = Query(view, spec);
    REQUIRE_MESSAGE(result.ok(), result.status().ToString());
    return *std::move(result);
  }
  std::string Show(Type type) const {
    ReadSpec spec;
    spec.object = Object(type);
    return ToString(Read(spec).view);
  }
  ObservedToken Token(Type type) const {
    ReadSpec spec;
    spec.object = Object(type);
    spec.want_token = true;
    return *Read(spec).token;
  }
  bool SameAs(const ToyReplica& other) const {
    return store == other.store && context == other.context;
  }

 private:
  ActorId actor_;
  uint64_t next_ = 1;
};

}  // namespace dovetail::crdt::testing

#endif  // DOVETAIL_TESTS_CRDT_TOY_REPLICA_H_
