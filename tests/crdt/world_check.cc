// The checks of world.h.
#include <algorithm>
#include <set>
#include <tuple>

#include "crdt/query.h"
#include "tests/crdt/world.h"

namespace dovetail::crdt::model {
namespace {

std::string At(const ObjectId& object, const Path& path) {
  return ToString(object) + " " + DebugString(object.type, path);
}

std::string BytesOf(const Payload& payload) {
  std::string bytes;
  Writer out(&bytes);
  AppendPayload(out, payload);
  return bytes;
}

std::set<Dot> DotsIn(const EventSet& events) {
  std::set<Dot> dots;
  events.ForEachRun([&](const DotRun& run) {
    for (uint64_t n = run.first; n <= run.last(); ++n) {
      dots.insert({run.actor, n});
    }
    return true;
  });
  return dots;
}

// What the naive fact must look like in a row.
bool Matches(const Fact& naive, const Payload& real) {
  const Type type = naive.place.leaf_type();
  const auto* polarity = std::get_if<Polarity>(&real);
  const auto* value = std::get_if<Value>(&real);
  const auto* stamped = std::get_if<Stamped>(&real);
  switch (naive.kind) {
    case Fact::Kind::kMark:
      return std::holds_alternative<Unit>(real);
    case Fact::Kind::kPutIn:
      return type == Type::kRemoveSet
                 ? polarity != nullptr && *polarity == Polarity::kAdded
                 : std::holds_alternative<Unit>(real);
    case Fact::Kind::kPutOut:
      return polarity != nullptr && *polarity == Polarity::kRemoved;
    case Fact::Kind::kWrite:
      return type == Type::kRegister
                 ? stamped != nullptr && stamped->bytes == naive.value &&
                       stamped->stamp == Timestamp{naive.stamp, 0}
                 : value != nullptr && value->bytes == naive.value;
    case Fact::Kind::kAmount:
      return false;
  }
  return false;
}

}  // namespace

Path PathOf(const Place& place) {
  const Path path = Path::OfFields(place.fields);
  return HasElements(place.leaf_type()) ? path.Element(place.element) : path;
}

std::string Differences(const Replica& a, const Replica& b) {
  if (a.context().applied != b.context().applied) return "E differs";
  if (a.context().superseded != b.context().superseded) return "X differs";
  if (a.objects() != b.objects()) return "rows differ";
  if (a.Encode() != b.Encode()) return "equal states have different bytes";
  if (a.row_sum() != b.row_sum()) return "row sums differ";
  return "";
}

std::string World::CheckBuilder(const Replica& before, size_t replica,
                                const std::vector<Operation>& batch,
                                const Delta& delta, uint64_t stamp) const {
  ObjectsView state = before.view();
  const auto clock = [stamp](Timestamp) { return Timestamp{stamp, 0}; };
  DeltaBuilder builder(state, {delta.events.actor, delta.events.first}, clock);
  for (const Operation& operation : batch) {
    if (!builder.Add(operation).ok()) return "P2: a mutator changed its mind";
  }
  // A token may name what this replica has dropped already, which a builder
  // cannot know; the join of its delta does.
  const bool by_token =
      std::any_of(batch.begin(), batch.end(), [](const Operation& operation) {
        return operation.observed.has_value();
      });
  const ObjectId& last = batch.back().object;
  for (const DeltaLeaf& leaf : delta.leaves) {
    if (leaf.object != last || by_token) continue;
    auto working = builder.Read(leaf.path);
    if (!working.ok()) return std::string(working.status().message());
    ObjectsView after = replicas_[replica].view();
    if (*working != *after.Get(leaf.object, leaf.path)) {
      return "P2: m(X) is not X joined with its delta at " +
             At(leaf.object, leaf.path);
    }
  }
  if (builder.Finish() != delta) return "P2: a mutator is not deterministic";
  Replica again = replicas_[replica];
  if (again.JoinState(before) != JoinResult::kOk ||
      !again.SameState(replicas_[replica])) {
    return "P2: X is not below m(X)";
  }
  return "";
}

std::string World::CheckNewDelta(GroupId group, const Delta& delta) {
  if (group != deltas_.size()) return "the specification counts differently";
  for (uint64_t n = delta.events.first; n <= delta.events.last(); ++n) {
    if (!minted_.insert({delta.events.actor, n}).second) {
      return "P5: an event dot in two deltas";
    }
  }
  auto decoded = Delta::Decode(delta.Encode());
  if (!decoded.ok()) {
    return "P14: a delta does not decode: " +
           std::string(decoded.status().message());
  }
  if (*decoded != delta) return "P14: decode of encode is another delta";
  for (const DeltaLeaf& leaf : delta.leaves) {
    const bool counter =
        LeafTypeOf(leaf.object.type, leaf.path.bytes()) == Type::kCounter;
    for (const auto& [dot, payload] : leaf.store.entries()) {
      // A counter entry grows under its dot; all else belongs to it for good.
      const std::string bytes = counter ? "" : BytesOf(payload);
      const auto entry = std::pair(RowKey(leaf.object, leaf.path), bytes);
      if (payload_of_.emplace(dot, entry).first->second != entry) {
        return "P5: a dot with two payloads";
      }
      if (!counter && !delta.events.Contains(dot)) {
        return "a payload dot that is no event of its delta";
      }
    }
    superseded_somewhere_.insert(leaf.superseded.begin(),
                                 leaf.superseded.end());
  }
  // Deltas travel encoded.
  deltas_.push_back(*std::move(decoded));
  return "";
}

std::string World::NameDots(GroupId group, const Delta& delta) {
  std::map<RowKey, std::vector<FactId>> facts;
  for (FactId id : spec_.group(group).written) {
    const Fact& fact = spec_.fact(id);
    if (fact.kind == Fact::Kind::kAmount) continue;
    if (spec_.group(group).seen.count(id) != 0) continue;
    facts[{fact.place.object, PathOf(fact.place)}].push_back(id);
  }
  for (const DeltaLeaf& leaf : delta.leaves) {
    if (LeafTypeOf(leaf.object.type, leaf.path.bytes()) == Type::kCounter) {
      continue;
    }
    // Dots are minted in the order of the operations.
    const std::vector<FactId>& here = facts[{leaf.object, leaf.path}];
    const std::vector<Dot> dots = leaf.store.Dots();
    if (dots.size() != here.size()) {
      return "a delta writes other payloads than its mutation at " +
             At(leaf.object, leaf.path);
    }
    for (size_t i = 0; i < dots.size(); ++i) dots_[here[i]] = dots[i];
    facts.erase({leaf.object, leaf.path});
  }
  return facts.empty() ? "" : "a delta lacks a leaf that its mutation writes";
}

std::string World::CheckSuperseded(GroupId group, const Delta& delta) const {
  std::set<std::pair<RowKey, Dot>> expected;
  std::set<std::pair<RowKey, Dot>> actual;
  for (FactId id : spec_.group(group).seen) {
    const Fact& fact = spec_.fact(id);
    if (fact.group == group) continue;  // never left the batch
    const RowKey row(fact.place.object, PathOf(fact.place));
    expected.emplace(row, dots_.at(id));
  }
  for (const DeltaLeaf& leaf : delta.leaves) {
    const bool counter =
        LeafTypeOf(leaf.object.type, leaf.path.bytes()) == Type::kCounter;
    for (Dot dot : leaf.superseded) {
      if (!counter) {
        actual.emplace(RowKey(leaf.object, leaf.path), dot);
      } else if (dot.actor != delta.events.actor) {
        return "a counter entry is retired by another than its owner";
      }
    }
  }
  if (expected != actual) {
    return "P11: a delta supersedes other dots than its mutation saw";
  }
  return "";
}

std::string World::CheckPassage(const Replica& before, size_t replica,
                                const Delta* delta) {
  const std::vector<Dot> old_dots = DotsOf(before.objects());
  const std::vector<Dot> new_dots = DotsOf(replicas_[replica].objects());
  std::set<Dot> left(old_dots.begin(), old_dots.end());
  for (Dot dot : new_dots) {
    left.erase(dot);
    if (gone_[replica].count(dot) != 0) {
      return "P9: a removed dot is back: " + ToString(dot);
    }
  }
  for (Dot dot : left) {
    bool told = superseded_somewhere_.count(dot) != 0;
    if (delta != nullptr) {
      told =
          std::any_of(delta->leaves.begin(), delta->leaves.end(),
                      [dot](const DeltaLeaf& leaf) {
                        return std::binary_search(leaf.superseded.begin(),
                                                  leaf.superseded.end(), dot);
                      });
    }
    if (!told) return "P10: a dot left that no delta supersedes";
  }
  gone_[replica].insert(left.begin(), left.end());
  return "";
}

std::string World::CheckStep(const Replica& before, size_t replica,
                             const Delta* delta) {
  if (checks_ == Checks::kOnDemand) return "";
  std::string wrong = CheckPassage(before, replica, delta);
  return wrong.empty() ? Check(replica) : wrong;
}

std::string World::Check(size_t replica) const {
  if (replicas_[replica].RecomputeRowSum() != replicas_[replica].row_sum()) {
    return "P13: the sum kept along differs from the one recomputed";
  }
  std::string wrong = CheckContext(replica);
  if (wrong.empty()) wrong = CheckRows(replica);
  if (wrong.empty()) wrong = CheckViews(replica);
  if (wrong.empty()) wrong = CheckEqualEvents(replica);
  return wrong;
}

std::string World::CheckContext(size_t replica) const {
  std::set<Dot> applied;
  std::set<Dot> superseded;
  for (GroupId id : spec_.reached(replica)) {
    const Delta& delta = deltas_[id];
    for (uint64_t n = delta.events.first; n <= delta.events.last(); ++n) {
      applied.insert({delta.events.actor, n});
    }
    for (const DeltaLeaf& leaf : delta.leaves) {
      superseded.insert(leaf.superseded.begin(), leaf.superseded.end());
      for (Dot dot : leaf.store.Dots()) superseded.insert(dot);
    }
  }
  std::erase_if(superseded, [&](Dot dot) { return applied.count(dot) != 0; });
  const Context& context = replicas_[replica].context();
  if (DotsIn(context.applied) != applied) return "P4: E is wrong";
  if (DotsIn(context.superseded) != superseded) return "P4: X is wrong";
  for (Dot dot : DotsOf(replicas_[replica].objects())) {
    if (!context.Contains(dot)) return "P4: a row's dot is not in the context";
  }
  for (const EventSet* set : {&context.applied, &context.superseded}) {
    auto decoded = EventSet::Decode(set->Encode());
    if (!decoded.ok() || *decoded != *set) {
      return "P14: an event set changes by encoding and decoding it";
    }
  }
  return "";
}

std::string World::CheckCounterRow(const RowKey& row, const Leaf& leaf,
                                   const Sight& live) const {
  std::map<ActorId, int64_t> expected;
  std::map<ActorId, int64_t> actual;
  for (const Replica& replica : replicas_) expected[replica.actor()] = 0;
  actual = expected;
  for (FactId id : live) {
    const Fact& fact = spec_.fact(id);
    if (fact.kind != Fact::Kind::kAmount || fact.place.object != row.first ||
        PathOf(fact.place) != row.second) {
      continue;
    }
    expected[replicas_[fact.replica].actor()] += fact.amount;
  }
  for (const auto& [dot, payload] : leaf.entries()) {
    const Tally* tally = std::get_if<Tally>(&payload);
    if (tally == nullptr) return "a counter row without a tally";
    if (tally->reset_added > tally->added ||
        tally->reset_subtracted > tally->subtracted) {
      return "a reset of more than was added";
    }
    actual[dot.actor] += static_cast<int64_t>(tally->added) -
                         static_cast<int64_t>(tally->reset_added) -
                         static_cast<int64_t>(tally->subtracted) +
                         static_cast<int64_t>(tally->reset_subtracted);
  }
  return expected == actual ? "" : "P11: a writer's part of a counter differs";
}

std::string World::CheckRows(size_t replica) const {
  const Sight live = spec_.Live(spec_.reached(replica));
  // Row → its naive payloads in order of creation, and its real dots in order.
  std::map<RowKey, std::vector<FactId>> expected;
  for (FactId id : live) {
    const Fact& fact = spec_.fact(id);
    if (fact.kind == Fact::Kind::kAmount) continue;
    expected[{fact.place.object, PathOf(fact.place)}].push_back(id);
  }
  for (const auto& [object, store] : replicas_[replica].objects()) {
    for (const auto& [path, leaf] : store.children()) {
      const RowKey row(object, path);
      if (LeafTypeOf(object.type, path.bytes()) == Type::kCounter) {
        std::string wrong = CheckCounterRow(row, leaf, live);
        if (!wrong.empty()) return wrong + " at " + At(object, path);
        continue;
      }
      auto it = expected.find(row);
      if (it == expected.end()) return "P11: a dead row at " + At(object, path);
      std::set<Dot> dots;
      for (FactId id : it->second) {
        const Payload* payload = leaf.Find(dots_.at(id));
        if (payload == nullptr || !Matches(spec_.fact(id), *payload)) {
          return "P11: a live payload is missing or wrong at " +
                 At(object, path);
        }
        dots.insert(dots_.at(id));
      }
      if (dots.size() != leaf.size()) {
        return "P11: a dead payload at " + At(object, path);
      }
      expected.erase(it);
    }
  }
  if (!expected.empty()) return "P11: a live row is missing";
  return "";
}

std::string World::CheckViews(size_t replica) const {
  ObjectsView state = replicas_[replica].view();
  for (const Target& target : subject_.targets) {
    ReadSpec read;
    read.object = target.object;
    read.fields = target.fields;
    auto result = Query(state, read);
    if (!result.ok()) return std::string(result.status().message());
    const View expected =
        spec_.Read(spec_.reached(replica), target.object, target.fields);
    if (result->view != expected) {
      return "P11: reads " + ToString(result->view) + ", specified is " +
             ToString(expected);
    }
  }
  return "";
}

std::string World::CheckEqualEvents(size_t replica) const {
  for (const Replica& other : replicas_) {
    if (other.context().applied != replicas_[replica].context().applied) {
      continue;
    }
    std::string wrong = Differences(replicas_[replica], other);
    if (!wrong.empty()) return "P6: with equal events, " + wrong;
  }
  return "";
}

}  // namespace dovetail::crdt::model
