#include "crdt/session.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "crdt/mutate.h"
#include "crdt/token.h"

namespace dovetail::crdt {
namespace {

// Far above what anybody counts to, and far from the end of uint64.
constexpr uint64_t kSequenceMax = uint64_t{1} << 62;

bool IsCounterAdd(const Operation& operation) {
  return operation.verb == Verb::kAdd &&
         operation.target_type() == Type::kCounter;
}

// Shows of all state what the operations carry of the session's own counters.
class CarriedView final : public StateView {
 public:
  CarriedView(absl::Span<const Operation> operations, ActorId session) {
    for (const Operation& operation : operations) {
      if (!IsCounterAdd(operation) || !operation.observed) continue;
      for (const auto& [path, leaf] : operation.observed->leaves) {
        Leaf& own = own_[{operation.object, path}];
        const size_t tallies = std::min(leaf.dots.size(), leaf.tallies.size());
        for (size_t i = 0; i < tallies; ++i) {
          if (leaf.dots[i].actor != session) continue;
          Payload payload = leaf.tallies[i];
          if (const Payload* there = own.Find(leaf.dots[i])) {
            DOVETAIL_CHECK(JoinPayload(payload, *there));
          }
          own.Set(leaf.dots[i], std::move(payload));
        }
      }
    }
  }

  absl::StatusOr<Leaf> Get(const ObjectId& object, const Path& path) override {
    const auto it = own_.find({object, path});
    return it == own_.end() ? Leaf() : it->second;
  }
  // A removal without a token has observed nothing but its batch.
  absl::Status Scan(
      const ObjectId&, const Path&, const Path&,
      absl::FunctionRef<bool(const Path&, const Leaf&)>) override {
    return absl::OkStatus();
  }

 private:
  std::map<std::pair<ObjectId, Path>, Leaf> own_;
};

}  // namespace

absl::Status Validate(const OperationId& id) {
  if (KindOf(id.first.actor) != ActorKind::kSession) {
    return absl::InvalidArgumentError(
        absl::StrCat("operation id ", ToString(id.first),
                     " is not of a session: the two top bits of one are 10"));
  }
  if (id.first.counter < 1 || id.first.counter > kSequenceMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("operation id ", ToString(id.first),
                     ": sequence numbers go from 1 to ", kSequenceMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<SessionDelta> BuildSessionDeltaOver(
    StateView& state, absl::Span<const Operation> operations,
    const OperationId& id, absl::FunctionRef<Timestamp(Timestamp)> stamp) {
  DOVETAIL_RETURN_IF_ERROR(Validate(id));
  SessionDelta out;
  DeltaBuilder builder(state, id.first, stamp);
  for (const Operation& operation : operations) {
    DOVETAIL_ASSIGN_OR_RETURN(const MutationOutcome outcome,
                              builder.Add(operation));
    if (outcome.more) {
      DOVETAIL_MARK("once: a removal that one delta does not hold");
      return absl::InvalidArgumentError(absl::StrCat(
          "an operation with an id is one delta, which removes at most ",
          kDotsPerClearDelta,
          " observed dots (kDotsPerClearDelta): remove in parts, or without "
          "an id"));
    }
    out.not_observed.push_back(outcome.not_observed);
  }
  out.delta = builder.Finish();
  return out;
}

absl::StatusOr<SessionDelta> BuildSessionDelta(
    absl::Span<const Operation> operations, const OperationId& id,
    absl::FunctionRef<Timestamp(Timestamp)> stamp) {
  CarriedView carried(operations, id.first.actor);
  return BuildSessionDeltaOver(carried, operations, id, stamp);
}

bool NeedsToken(const Operation& operation) {
  if (operation.observed) return false;
  switch (operation.verb) {
    case Verb::kAdd:
      // Else the add would stay beside a removal, which wins.
      return operation.target_type() == Type::kRemoveSet;
    case Verb::kWriteBlind:
      return false;
    case Verb::kExpireIn:
    case Verb::kExpireAt:
    case Verb::kPersist:
    case Verb::kRemove:
    case Verb::kClear:
    case Verb::kWrite:
    case Verb::kEnable:
    case Verb::kDisable:
    case Verb::kReset:
    case Verb::kRemoveField:
    case Verb::kDelete:
      return true;
  }
  return true;
}

absl::StatusOr<SessionWriter::Prepared> SessionWriter::Prepare(
    std::vector<Operation> operations, Timestamp stamp) {
  Prepared prepared;
  prepared.id = {{session_, next_}, stamp};
  prepared.operations = std::move(operations);
  for (Operation& operation : prepared.operations) {
    MakeAbsolute(operation, stamp.wall_ms);
    CarryOwn(operation);
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      const SessionDelta built,
      BuildSessionDelta(prepared.operations, prepared.id,
                        [stamp](Timestamp) { return stamp; }));
  if (!built.delta) return prepared;
  next_ += built.delta->events.count;
  Remember(*built.delta, prepared.written);
  return prepared;
}

void SessionWriter::CarryOwn(Operation& operation) const {
  const bool counter = IsCounterAdd(operation);
  const bool elements =
      operation.verb == Verb::kAdd && HasElements(operation.target_type());
  // An addition to a counter observes nothing: its token is the session's.
  if (counter) operation.observed.reset();
  if (operation.observed || !(counter || elements)) return;
  const Path place = Path::OfFields(operation.fields);
  ObservedToken token{operation.object, place, {}};
  const auto carry = [&](const Path& path, Type leaf_type) {
    const auto it = own_.find({operation.object, path});
    if (it != own_.end()) token.Observe(path, leaf_type, it->second);
  };
  if (counter) {
    carry(place, Type::kCounter);
  } else {
    for (const std::string& element : operation.elements) {
      carry(place.Element(element), operation.target_type());
    }
  }
  if (!token.leaves.empty()) operation.observed = std::move(token);
}

void SessionWriter::Remember(const Delta& delta,
                             std::vector<LeafKey>& written) {
  if (own_.size() > kLeavesMax) own_.clear();
  for (const DeltaLeaf& leaf : delta.leaves) {
    LeafKey key(leaf.object, leaf.path);
    Leaf& own = own_[key];
    for (const Dot dot : leaf.superseded) own.Erase(dot);
    for (const auto& [dot, payload] : leaf.store.entries()) {
      if (dot.actor != session_ || std::holds_alternative<Value>(payload) ||
          std::holds_alternative<Stamped>(payload) ||
          std::holds_alternative<Expiry>(payload)) {
        continue;
      }
      Payload joined = payload;
      // A reset by token may know less of an entry than its writer does.
      if (const Payload* there = own.Find(dot)) {
        DOVETAIL_CHECK(JoinPayload(joined, *there));
      }
      own.Set(dot, std::move(joined));
    }
    if (own.empty()) own_.erase(key);
    written.push_back(std::move(key));
  }
}

void SessionWriter::Forget(const Prepared& prepared) {
  for (const LeafKey& key : prepared.written) own_.erase(key);
}

}  // namespace dovetail::crdt
