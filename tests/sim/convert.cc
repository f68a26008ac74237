#include "tests/sim/convert.h"

#include <algorithm>

#include "crdt/check.h"

namespace dovetail::sim {
namespace {

oracle::Verb ToOracle(crdt::Verb verb) {
  switch (verb) {
    case crdt::Verb::kAdd:
      return oracle::Verb::kAdd;
    case crdt::Verb::kRemove:
      return oracle::Verb::kRemove;
    case crdt::Verb::kClear:
      return oracle::Verb::kClear;
    case crdt::Verb::kWrite:
      return oracle::Verb::kWrite;
    case crdt::Verb::kWriteBlind:
      return oracle::Verb::kWriteBlind;
    case crdt::Verb::kEnable:
      return oracle::Verb::kEnable;
    case crdt::Verb::kDisable:
      return oracle::Verb::kDisable;
    case crdt::Verb::kReset:
      return oracle::Verb::kReset;
    case crdt::Verb::kRemoveField:
      return oracle::Verb::kRemoveField;
    case crdt::Verb::kDelete:
      return oracle::Verb::kDelete;
    case crdt::Verb::kExpireIn:
    case crdt::Verb::kExpireAt:
      return oracle::Verb::kExpire;
    case crdt::Verb::kPersist:
      return oracle::Verb::kPersist;
  }
  DOVETAIL_CHECK(false);
  return oracle::Verb::kAdd;
}

}  // namespace

oracle::Kind ToOracle(crdt::Type type) {
  switch (type) {
    case crdt::Type::kRegister:
      return oracle::Kind::kRegister;
    case crdt::Type::kMultiValue:
      return oracle::Kind::kMultiValue;
    case crdt::Type::kSet:
      return oracle::Kind::kSet;
    case crdt::Type::kRemoveSet:
      return oracle::Kind::kRemoveSet;
    case crdt::Type::kGrowSet:
      return oracle::Kind::kGrowSet;
    case crdt::Type::kEnableFlag:
      return oracle::Kind::kEnableFlag;
    case crdt::Type::kDisableFlag:
      return oracle::Kind::kDisableFlag;
    case crdt::Type::kCounter:
      return oracle::Kind::kCounter;
    case crdt::Type::kMap:
      return oracle::Kind::kMap;
    case crdt::Type::kExpiry:
      break;  // of no object
  }
  DOVETAIL_CHECK(false);
  return oracle::Kind::kMap;
}

crdt::Type FromOracle(oracle::Kind kind) {
  for (const crdt::Type type : crdt::kAllTypes) {
    if (ToOracle(type) == kind) return type;
  }
  DOVETAIL_CHECK(false);
  return crdt::Type::kMap;
}

oracle::Object ToOracle(const crdt::ObjectId& object) {
  return {object.bucket, object.key, ToOracle(object.type)};
}

crdt::ObjectId FromOracle(const oracle::Object& object) {
  return {object.bucket, object.key, FromOracle(object.kind)};
}

std::vector<oracle::Field> ToOracle(const std::vector<crdt::Field>& fields) {
  std::vector<oracle::Field> result;
  for (const crdt::Field& field : fields) {
    result.push_back({field.name, ToOracle(field.type)});
  }
  return result;
}

oracle::Mutation ToOracle(const crdt::Operation& operation) {
  oracle::Mutation mutation;
  mutation.object = ToOracle(operation.object);
  mutation.fields = ToOracle(operation.fields);
  mutation.verb = ToOracle(operation.verb);
  mutation.elements = operation.elements;
  mutation.value = operation.value;
  mutation.amount = operation.amount;
  mutation.child = {operation.child.name, ToOracle(operation.child.type)};
  return mutation;
}

oracle::Events ToOracle(const crdt::EventSet& events) {
  oracle::Events result;
  events.ForEachRun([&](const crdt::DotRun& run) {
    result.Insert(crdt::ActorBits(run.actor), run.first, run.count);
    return true;
  });
  return result;
}

std::vector<oracle::Listed> ToOracle(const crdt::ObservedToken& token) {
  std::vector<oracle::Listed> list;
  for (const auto& [path, leaf] : token.leaves) {
    for (size_t i = 0; i < leaf.dots.size(); ++i) {
      const crdt::Dot dot = leaf.dots[i];
      const uint64_t actor = crdt::ActorBits(dot.actor);
      if (leaf.tallies.empty()) {
        list.push_back({actor, dot.counter, 0, 0});
        continue;
      }
      const crdt::Tally& tally = leaf.tallies[i];
      list.push_back({actor, 0,
                      static_cast<int64_t>(tally.added) -
                          static_cast<int64_t>(tally.subtracted),
                      static_cast<int64_t>(tally.reset_added) -
                          static_cast<int64_t>(tally.reset_subtracted)});
    }
  }
  std::sort(list.begin(), list.end());
  return list;
}

}  // namespace dovetail::sim
