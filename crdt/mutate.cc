#include "crdt/mutate.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/counter.h"
#include "crdt/dot_codec.h"
#include "crdt/expiry.h"
#include "crdt/flag.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "crdt/map.h"
#include "crdt/register.h"
#include "crdt/set.h"

namespace dovetail::crdt {
namespace {

// The context of a leaf's part of a delta: what it writes and supersedes.
struct WrittenOrSuperseded {
  const Leaf& store;
  const std::vector<Dot>& superseded;  // sorted
  bool Contains(Dot dot) const {
    return store.Contains(dot) ||
           std::binary_search(superseded.begin(), superseded.end(), dot);
  }
};

// The context of a leaf as it was found: the dots that are there. What it once
// held and lost is the business of the partition, which joins with its own.
struct HeldOnly {
  const std::vector<Dot> dots;
  bool Contains(Dot dot) const {
    return std::binary_search(dots.begin(), dots.end(), dot);
  }
};

void SortUnique(std::vector<Dot>& dots) {
  std::sort(dots.begin(), dots.end());
  dots.erase(std::unique(dots.begin(), dots.end()), dots.end());
}

size_t LeafBytesMax(const Path& path, const Leaf& store,
                    const std::vector<Dot>& superseded) {
  size_t bytes = path.bytes().size() + 3 * kVarintBytesMax +
                 kDotBytesMax * (store.size() + superseded.size());
  for (const auto& [dot, payload] : store.entries()) {
    bytes += PayloadBytesMax(payload);
  }
  return bytes;
}

}  // namespace

DeltaBuilder::DeltaBuilder(StateView& state, Dot next_event,
                           absl::FunctionRef<Timestamp(Timestamp)> stamp)
    : state_(state), first_(next_event), next_(next_event), stamp_(stamp) {
  DOVETAIL_CHECK(next_event.counter >= 1);
}

absl::StatusOr<MutationOutcome> DeltaBuilder::Add(const Operation& operation,
                                                  const Path& resume_after) {
  DOVETAIL_RETURN_IF_ERROR(Validate(operation));
  operation_ = &operation;
  DOVETAIL_RETURN_IF_ERROR(CheckTokenDots());
  ++operations_;
  emitted_ = false;
  const Dot first_of_operation = next_;
  DOVETAIL_ASSIGN_OR_RETURN(MutationOutcome outcome, Dispatch(resume_after));
  if (emitted_ && next_ == first_of_operation) Mint();
  outcome.not_observed = !emitted_;
  more_ = more_ || outcome.more;
  if (more_ && operations_ > 1) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a batch removes all of a collection in one delta; the limit is ",
        kDotsPerClearDelta, " observed dots (kDotsPerClearDelta)"));
  }
  if (bytes_ > kDeltaBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("delta may take ", bytes_, " bytes; the limit is ",
                     kDeltaBytesMax, " (kDeltaBytesMax)"));
  }
  return outcome;
}

// The one switch over verbs and types.
absl::StatusOr<MutationOutcome> DeltaBuilder::Dispatch(
    const Path& resume_after) {
  const Type type = operation_->target_type();
  const Path place = Path::OfFields(operation_->fields);
  absl::Status status;
  switch (operation_->verb) {
    case Verb::kAdd:
      status = type == Type::kCounter ? AddToCounter(*this, place)
               : type == Type::kRemoveSet
                   ? RecordElements(*this, place, Polarity::kAdded)
                   : AddElements(*this, place);
      break;
    case Verb::kRemove:
      status = type == Type::kRemoveSet
                   ? RecordElements(*this, place, Polarity::kRemoved)
                   : RemoveElements(*this, place);
      break;
    case Verb::kWrite:
      status = type == Type::kRegister ? WriteRegister(*this, place)
                                       : WriteMultiValue(*this, place);
      break;
    case Verb::kWriteBlind:
      status = WriteMultiValueBlind(*this, place);
      break;
    case Verb::kEnable:
      status = type == Type::kEnableFlag ? PlantFlag(*this, place)
                                         : LiftFlag(*this, place);
      break;
    case Verb::kDisable:
      status = type == Type::kEnableFlag ? LiftFlag(*this, place)
                                         : PlantFlag(*this, place);
      break;
    case Verb::kRemoveField:
      return RemoveAll(*this, place.ChildField(operation_->child),
                       resume_after);
    case Verb::kClear:
    case Verb::kReset:
    case Verb::kDelete:
      return RemoveAll(*this, place, resume_after);
    case Verb::kExpireIn:
    case Verb::kExpireAt:
      status = SetExpiry(*this);
      break;
    case Verb::kPersist:
      status = RemoveExpiry(*this);
      break;
  }
  DOVETAIL_RETURN_IF_ERROR(status);
  return MutationOutcome();
}

// Nobody can have read what this replica has not minted yet; superseding it
// beforehand would swallow the write that mints it.
absl::Status DeltaBuilder::CheckTokenDots() const {
  if (!operation_->observed) return absl::OkStatus();
  for (const auto& [path, leaf] : operation_->observed->leaves) {
    for (const Dot dot : leaf.dots) {
      if (dot.actor == first_.actor && dot.counter >= first_.counter) {
        return absl::InvalidArgumentError(absl::StrCat(
            "token names ", ToString(dot), ", which has not happened"));
      }
    }
  }
  return absl::OkStatus();
}

std::optional<Delta> DeltaBuilder::Finish() {
  Delta delta;
  delta.events = {first_.actor, first_.counter, next_.counter - first_.counter};
  while (!pending_.empty()) {
    auto node = pending_.extract(pending_.begin());
    delta.leaves.push_back(
        {std::move(node.key().first), std::move(node.key().second),
         std::move(node.mapped().store), std::move(node.mapped().superseded)});
  }
  const std::vector<Dot> payloads = PayloadDots(delta.leaves);
  for (DeltaLeaf& leaf : delta.leaves) {
    std::erase_if(leaf.superseded, [&](Dot dot) {
      return delta.events.Contains(dot) ||
             std::binary_search(payloads.begin(), payloads.end(), dot);
    });
  }
  // What a batch wrote and removed again leaves nothing to say.
  std::erase_if(delta.leaves, [](const DeltaLeaf& leaf) {
    return leaf.store.empty() && leaf.superseded.empty();
  });
  DOVETAIL_MARK_IF("batch: what it wrote it removed again",
                   delta.leaves.empty() && delta.events.count > 0);
  if (delta.leaves.empty()) return std::nullopt;
  return delta;
}

Leaf DeltaBuilder::Working(Leaf leaf, const Pending& pending) {
  const HeldOnly held{leaf.Dots()};
  const WrittenOrSuperseded theirs{pending.store, pending.superseded};
  DOVETAIL_CHECK(Join(leaf, held, pending.store, theirs) == JoinResult::kOk);
  return leaf;
}

absl::StatusOr<Leaf> DeltaBuilder::Read(const Path& path) {
  DOVETAIL_ASSIGN_OR_RETURN(Leaf leaf, state_.Get(operation_->object, path));
  if (pending_.empty()) return leaf;
  const auto it = pending_.find({operation_->object, path});
  if (it == pending_.end()) return leaf;
  DOVETAIL_MARK("batch: an operation sees the one before it");
  return Working(std::move(leaf), it->second);
}

absl::StatusOr<ObservedLeaf> DeltaBuilder::Observe(const Path& path) {
  if (operation_->observed && !DOVETAIL_MUTANT("token: ignored")) {
    return Observe(path, Leaf());
  }
  DOVETAIL_ASSIGN_OR_RETURN(const Leaf leaf, Read(path));
  return Observe(path, leaf);
}

ObservedLeaf DeltaBuilder::Observe(const Path& path, const Leaf& held) const {
  if (operation_->observed && !DOVETAIL_MUTANT("token: ignored")) {
    const auto it = operation_->observed->leaves.find(path);
    DOVETAIL_MARK_IF("token: says nothing of a leaf",
                     it == operation_->observed->leaves.end());
    return it == operation_->observed->leaves.end() ? ObservedLeaf()
                                                    : it->second;
  }
  return ObserveLeaf(LeafTypeOf(operation_->object.type, path.bytes()), held);
}

absl::Status DeltaBuilder::ObserveAll(
    const Path& prefix, const Path& after,
    absl::FunctionRef<bool(const Path&, const ObservedLeaf&)> visit) {
  const auto in_range = [&](const Path& path) {
    return path.HasPrefix(prefix) &&
           (after.bytes().empty() || !path.HasPrefix(after));
  };
  const Path least = std::max(prefix, after);
  if (operation_->observed && !DOVETAIL_MUTANT("token: ignored")) {
    const auto& leaves = operation_->observed->leaves;
    for (auto it = leaves.lower_bound(least); it != leaves.end(); ++it) {
      if (!it->first.HasPrefix(prefix)) break;
      if (in_range(it->first) && !visit(it->first, it->second)) break;
    }
    return absl::OkStatus();
  }

  const ObjectId& object = operation_->object;
  const auto show = [&](const Path& path, const Leaf& leaf) {
    const Type type = LeafTypeOf(object.type, path.bytes());
    return leaf.empty() || visit(path, ObserveLeaf(type, leaf));
  };
  // Leaves that only the operations before this one know of come in between.
  // `visit` may add to `pending_`, but only at the path it is shown.
  auto it = pending_.lower_bound({object, least});
  bool go_on = true;
  const auto show_pending_before = [&](const Path* bound) {
    for (; go_on && it != pending_.end() && it->first.first == object &&
           it->first.second.HasPrefix(prefix) &&
           (bound == nullptr || it->first.second < *bound);
         ++it) {
      if (!in_range(it->first.second)) continue;
      DOVETAIL_MARK("batch: a leaf that only the batch knows of");
      go_on = show(it->first.second, Working(Leaf(), it->second));
    }
  };
  DOVETAIL_RETURN_IF_ERROR(state_.Scan(
      object, prefix, after, [&](const Path& path, const Leaf& leaf) {
        show_pending_before(&path);
        if (!go_on) return false;
        if (it != pending_.end() && it->first == LeafKey(object, path)) {
          const auto mine = it++;
          go_on = show(path, Working(leaf, mine->second));
        } else {
          go_on = show(path, leaf);
        }
        return go_on;
      }));
  show_pending_before(nullptr);
  return absl::OkStatus();
}

Dot DeltaBuilder::Mint() {
  DOVETAIL_CHECK(next_.counter < std::numeric_limits<uint64_t>::max());
  const Dot dot = next_;
  ++next_.counter;
  return dot;
}

Timestamp DeltaBuilder::Stamp(Timestamp observed) { return stamp_(observed); }

size_t DeltaBuilder::ObjectBytesIfNew(const LeafKey& key) const {
  const auto next = pending_.lower_bound(key);
  if (next != pending_.end() && next->first.first == key.first) return 0;
  if (next != pending_.begin() && std::prev(next)->first.first == key.first) {
    return 0;
  }
  return key.first.bucket.size() + key.first.key.size() + 3 * kVarintBytesMax +
         1;
}

void DeltaBuilder::Emit(const Path& path, Leaf store,
                        std::vector<Dot> superseded) {
  emitted_ = true;
  SortUnique(superseded);
  LeafKey key(operation_->object, path);
  bytes_ += ObjectBytesIfNew(key);
  const auto [it, inserted] = pending_.try_emplace(std::move(key));
  Pending& pending = it->second;
  if (inserted) {  // as below, with nothing to join
    std::erase_if(superseded, [&](Dot dot) { return store.Contains(dot); });
    pending = {std::move(store), std::move(superseded)};
    bytes_ += LeafBytesMax(path, pending.store, pending.superseded);
    return;
  }
  bytes_ -= LeafBytesMax(path, pending.store, pending.superseded);

  // The delta's leaf is the join of what each operation says of it. Whatever
  // one of them wrote and the join has lost stays superseded.
  std::vector<Dot> covered = pending.store.Dots();
  const WrittenOrSuperseded mine{pending.store, pending.superseded};
  const WrittenOrSuperseded theirs{store, superseded};
  Leaf joined = pending.store;
  DOVETAIL_CHECK(Join(joined, mine, store, theirs) == JoinResult::kOk);
  for (const auto& [dot, payload] : store.entries()) covered.push_back(dot);
  covered.insert(covered.end(), pending.superseded.begin(),
                 pending.superseded.end());
  covered.insert(covered.end(), superseded.begin(), superseded.end());
  SortUnique(covered);
  std::erase_if(covered, [&](Dot dot) { return joined.Contains(dot); });
  pending.store = std::move(joined);
  pending.superseded = std::move(covered);
  bytes_ += LeafBytesMax(path, pending.store, pending.superseded);
}

}  // namespace dovetail::crdt
