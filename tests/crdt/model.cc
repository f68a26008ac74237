#include "tests/crdt/model.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace dovetail::crdt::model {
namespace {

bool IsBelow(const Place& place, const ObjectId& object,
             const std::vector<Field>& fields) {
  return place.object == object && place.fields.size() >= fields.size() &&
         std::equal(fields.begin(), fields.end(), place.fields.begin());
}

}  // namespace

Sight Spec::Live(const Reached& reached) const {
  Sight live;
  for (GroupId id : reached) {
    live.insert(groups_[id].written.begin(), groups_[id].written.end());
    live.insert(groups_[id].carried.begin(), groups_[id].carried.end());
  }
  for (GroupId id : reached) {
    for (FactId seen : groups_[id].seen) live.erase(seen);
    for (FactId reset : groups_[id].reset) live.erase(reset);
  }
  const Sight retired = KnownRetired(reached);
  std::erase_if(live, [&](FactId id) {
    return facts_[id].kind == Fact::Kind::kAmount &&
           retired.count(facts_[id].entry) != 0;
  });
  return live;
}

Sight Spec::KnownReset(const Reached& reached) const {
  Sight known;
  for (GroupId id : reached) {
    known.insert(groups_[id].reset.begin(), groups_[id].reset.end());
  }
  return known;
}

Sight Spec::KnownRetired(const Reached& reached) const {
  Sight known;
  for (GroupId id : reached) {
    known.insert(groups_[id].retired.begin(), groups_[id].retired.end());
  }
  return known;
}

Sight Spec::See(const Reached& reached, const ObjectId& object,
                const std::vector<Field>& fields) const {
  Sight seen;
  for (FactId id : Live(reached)) {
    if (IsBelow(facts_[id].place, object, fields)) seen.insert(id);
  }
  return seen;
}

Sight Spec::SightOf(size_t replica, const Step& step,
                    const std::vector<Field>& fields,
                    const std::string* element) const {
  Sight sight;
  for (FactId id : step.token ? *step.token : Live(reached_[replica])) {
    const Place& place = facts_[id].place;
    if (!IsBelow(place, step.operation.object, fields)) continue;
    if (element != nullptr && place.element != *element) continue;
    sight.insert(id);
  }
  return sight;
}

bool Spec::Observe(GroupId group, const Sight& sight, const Step& step) {
  Group& made = groups_[group];
  for (FactId id : sight) {
    const Fact& fact = facts_[id];
    if (fact.kind != Fact::Kind::kAmount) {
      made.seen.insert(id);
      continue;
    }
    for (FactId other = fact.entry; other <= id; ++other) {
      if (facts_[other].kind == Fact::Kind::kAmount &&
          facts_[other].entry == fact.entry) {
        made.reset.insert(other);
      }
    }
    if (fact.replica == made.replica && step.token == nullptr) {
      made.retired.insert(fact.entry);
    }
  }
  return !sight.empty();
}

void Spec::Write(GroupId group, const Place& place, Fact fact) {
  fact.group = group;
  fact.replica = groups_[group].replica;
  fact.place = place;
  groups_[group].written.push_back(facts_.size());
  facts_.push_back(std::move(fact));
}

void Spec::WriteAmount(GroupId group, const Place& place, int64_t amount) {
  Group& made = groups_[group];
  const Sight reset = KnownReset(reached_[made.replica]);
  const Sight retired = KnownRetired(reached_[made.replica]);
  // Its writer's entry there that is not retired, if any.
  Sight entry;
  bool live = false;
  for (FactId id = 0; id < facts_.size(); ++id) {
    const Fact& other = facts_[id];
    if (other.kind != Fact::Kind::kAmount || other.replica != made.replica ||
        other.place != place || retired.count(other.entry) != 0) {
      continue;
    }
    entry.insert(id);
    live |= reset.count(id) == 0;
  }
  Fact fact;
  fact.kind = Fact::Kind::kAmount;
  fact.amount = amount;
  fact.entry = facts_.size();
  if (live) {
    fact.entry = facts_[*entry.begin()].entry;
    for (FactId id : entry) {
      (reset.count(id) == 0 ? made.carried : made.reset).insert(id);
    }
  } else {
    // An earlier step of the batch may have reset, by a token, the latest of
    // its entries that were retired long ago: then that is retired again.
    for (auto id = made.reset.rbegin(); id != made.reset.rend(); ++id) {
      const Fact& other = facts_[*id];
      if (!entry.empty()) break;
      if (other.replica == made.replica && other.place == place) {
        entry.insert(*id);
      }
    }
    if (!entry.empty()) made.retired.insert(facts_[*entry.begin()].entry);
  }
  Write(group, place, fact);
}

bool Spec::RunOnElements(size_t replica, GroupId group, const Step& step) {
  const Operation& operation = step.operation;
  const bool adds = operation.verb == Verb::kAdd;
  const bool writes = adds || operation.target_type() == Type::kRemoveSet;
  bool did = writes;
  const std::set<std::string> elements(operation.elements.begin(),
                                       operation.elements.end());
  for (const std::string& element : elements) {
    // Before the write, or it would see itself.
    did |= Observe(group, SightOf(replica, step, operation.fields, &element),
                   step);
    if (!writes) continue;
    Fact fact;
    fact.kind = adds ? Fact::Kind::kPutIn : Fact::Kind::kPutOut;
    Write(group, {operation.object, operation.fields, element}, fact);
  }
  return did;
}

bool Spec::Run(size_t replica, GroupId group, const Step& step) {
  const Operation& operation = step.operation;
  const Type type = operation.target_type();
  const Place place{operation.object, operation.fields, ""};
  const auto observe = [&](const std::vector<Field>& fields) {
    return Observe(group, SightOf(replica, step, fields, nullptr), step);
  };
  Fact fact;
  switch (operation.verb) {
    case Verb::kAdd:
      if (type != Type::kCounter) return RunOnElements(replica, group, step);
      WriteAmount(group, place, operation.amount);
      return true;
    case Verb::kRemove:
      return RunOnElements(replica, group, step);
    case Verb::kClear:
    case Verb::kReset:
      return observe(operation.fields);
    case Verb::kDelete:
      return observe({});
    case Verb::kExpireIn:
    case Verb::kExpireAt:
    case Verb::kPersist:
      break;  // the model knows nothing of time
    case Verb::kRemoveField: {
      std::vector<Field> child = operation.fields;
      child.push_back(operation.child);
      return observe(child);
    }
    case Verb::kWrite:
    case Verb::kWriteBlind:
      if (operation.verb == Verb::kWrite) observe(operation.fields);
      fact.kind = Fact::Kind::kWrite;
      fact.value = operation.value;
      fact.stamp = type == Type::kRegister ? step.stamp : 0;
      Write(group, place, fact);
      return true;
    case Verb::kEnable:
    case Verb::kDisable: {
      const bool did = observe(operation.fields);
      const bool marks =
          (operation.verb == Verb::kEnable) == (type == Type::kEnableFlag);
      if (marks) Write(group, place, fact);
      return did || marks;
    }
  }
  return false;
}

Spec::Outcome Spec::Mutate(size_t replica, const std::vector<Step>& steps) {
  Outcome outcome;
  outcome.group = groups_.size();
  groups_.emplace_back();
  groups_.back().replica = replica;
  // So that each step sees those before it.
  reached_[replica].insert(outcome.group);
  for (const Step& step : steps) {
    const bool did = Run(replica, outcome.group, step);
    outcome.not_observed.push_back(!did);
    outcome.made |= did;
  }
  outcome.effect = outcome.made && HasEffect(outcome.group);
  if (!outcome.made) Withdraw();
  return outcome;
}

bool Spec::HasEffect(GroupId group) const {
  const Group& made = groups_[group];
  for (FactId id : made.written) {
    if (made.seen.count(id) == 0 && made.reset.count(id) == 0) return true;
  }
  for (const Sight* sight : {&made.seen, &made.reset}) {
    for (FactId id : *sight) {
      if (facts_[id].group != group) return true;
    }
  }
  return false;
}

void Spec::Withdraw() {
  reached_[groups_.back().replica].erase(groups_.size() - 1);
  while (!facts_.empty() && facts_.back().group == groups_.size() - 1) {
    facts_.pop_back();
  }
  groups_.pop_back();
}

void Spec::ViewSet(const Sight& here, View& view) const {
  std::set<std::string> in;
  std::set<std::string> out;
  for (FactId id : here) {
    const Fact& fact = facts_[id];
    (fact.kind == Fact::Kind::kPutOut ? out : in).insert(fact.place.element);
  }
  for (const std::string& element : in) {
    if (out.count(element) == 0) view.values.push_back(element);
  }
  view.present = !view.values.empty();
}

void Spec::ViewValues(const Sight& here, View& view) const {
  view.present = !here.empty();
  if (view.type == Type::kMultiValue) {
    for (FactId id : here) view.values.push_back(facts_[id].value);
    std::sort(view.values.begin(), view.values.end());
    view.values.erase(std::unique(view.values.begin(), view.values.end()),
                      view.values.end());
    return;
  }
  const auto order = [this](FactId a, FactId b) {
    return std::make_tuple(facts_[a].stamp, facts_[a].replica, a) <
           std::make_tuple(facts_[b].stamp, facts_[b].replica, b);
  };
  if (here.empty()) return;
  const FactId last = *std::max_element(here.begin(), here.end(), order);
  view.values.push_back(facts_[last].value);
}

View Spec::ViewOf(const Sight& live, const ObjectId& object,
                  const std::vector<Field>& fields) const {
  View view;
  view.type = fields.empty() ? object.type : fields.back().type;
  Sight here;
  std::set<Field> children;
  for (FactId id : live) {
    const Place& place = facts_[id].place;
    if (!IsBelow(place, object, fields)) continue;
    here.insert(id);
    if (place.fields.size() > fields.size()) {
      children.insert(place.fields[fields.size()]);
    }
  }
  switch (view.type) {
    case Type::kRegister:
    case Type::kMultiValue:
      ViewValues(here, view);
      break;
    case Type::kSet:
    case Type::kRemoveSet:
    case Type::kGrowSet:
      ViewSet(here, view);
      break;
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      view.present = !here.empty();
      view.flag = view.present == (view.type == Type::kEnableFlag);
      break;
    case Type::kCounter:
      view.present = !here.empty();
      for (FactId id : here) view.number += facts_[id].amount;
      break;
    case Type::kExpiry:
      break;  // of no object
    case Type::kMap:
      for (const Field& child : children) {
        std::vector<Field> below = fields;
        below.push_back(child);
        View inner = ViewOf(live, object, below);
        if (inner.present) view.fields.emplace_back(child, std::move(inner));
      }
      view.present = !view.fields.empty();
      break;
  }
  return view;
}

View Spec::Read(const Reached& reached, const ObjectId& object,
                const std::vector<Field>& fields) const {
  return ViewOf(Live(reached), object, fields);
}

}  // namespace dovetail::crdt::model
