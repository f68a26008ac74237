// A replica of one partition in memory, as small as it can be: the rows, the
// context of two sets, and how a delta is applied. It is what replica/ does on
// disk, without anything that is not the algebra, so that the laws of crdt/
// can be checked on it.
//
// Applying a delta (docs/ARCHITECTURE.md, "Two sets"): one whose events are
// all applied is a duplicate; every leaf is joined under the context of before;
// then E takes the events, and X takes the other dots that the delta knows of.
#ifndef DOVETAIL_TESTS_CRDT_REPLICA_MODEL_H_
#define DOVETAIL_TESTS_CRDT_REPLICA_MODEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "crdt/codec.h"
#include "crdt/delta.h"
#include "crdt/event_set.h"
#include "crdt/leaf.h"
#include "crdt/mutate.h"
#include "crdt/state_view.h"

namespace dovetail::crdt::model {

using Objects = std::map<ObjectId, Store>;

// The rows of all objects, as mutators and queries see them.
class ObjectsView final : public StateView {
 public:
  explicit ObjectsView(const Objects& objects) : objects_(objects) {}
  absl::StatusOr<Leaf> Get(const ObjectId& object, const Path& path) override;
  absl::Status Scan(
      const ObjectId& object, const Path& prefix, const Path& after,
      absl::FunctionRef<bool(const Path&, const Leaf&)> visit) override;

 private:
  const Objects& objects_;
};

class Replica {
 public:
  enum class Applied { kNew, kDuplicate, kDotReuse };

  explicit Replica(ActorId actor) : actor_(actor) {}

  Applied Apply(const Delta& delta);

  struct Mutation {
    std::optional<Delta> delta;
    std::vector<MutationOutcome> outcomes;
  };
  // Runs the batch and applies its delta. `stamp` is asked in order.
  // Errors: whatever the builder refuses; nothing has changed then.
  absl::StatusOr<Mutation> Mutate(const std::vector<Operation>& batch,
                                  std::function<Timestamp(Timestamp)> stamp);

  // This replica := this ⊔ other, as whole states. kDotReuse leaves it
  // unspecified.
  JoinResult JoinState(const Replica& other);

  // The canonical bytes of rows, E and X.
  std::string Encode() const;
  // The sum over all rows that Apply keeps up to date, and the same computed
  // from nothing.
  uint64_t row_sum() const { return row_sum_; }
  uint64_t RecomputeRowSum() const;

  bool SameState(const Replica& other) const {
    return objects_ == other.objects_ && context_ == other.context_;
  }
  const Objects& objects() const { return objects_; }
  const Context& context() const { return context_; }
  ActorId actor() const { return actor_; }
  ObjectsView view() const { return ObjectsView(objects_); }

 private:
  void Replace(const ObjectId& object, const Path& path, Leaf leaf);

  ActorId actor_;
  uint64_t next_counter_ = 1;
  Objects objects_;
  Context context_;
  uint64_t row_sum_ = 0;
};

// A 64-bit hash of one entry of one leaf: place, dot and payload.
uint64_t EntryHash(const ObjectId& object, const Path& path, Dot dot,
                   const Payload& payload);

// All dots of the rows.
std::vector<Dot> DotsOf(const Objects& objects);

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_REPLICA_MODEL_H_
