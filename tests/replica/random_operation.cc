#include "tests/replica/random_operation.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "crdt/type.h"
#include "doctest/doctest.h"
#include "tests/replica/cluster.h"

namespace dovetail::replica {

using crdt::Operation;
using crdt::Type;
using crdt::Verb;

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 0);
}

Operation RandomOperation(Rng& rng) {
  const Type type = crdt::kAllTypes[rng.Below(9)];
  Operation operation;
  operation.object = {"b", absl::StrCat("k", rng.Below(3)), type};
  Type target = type;
  while (target == Type::kMap && operation.fields.size() < 3) {
    target = crdt::kAllTypes[rng.Below(9)];
    operation.fields.push_back({absl::StrCat("f", rng.Below(2)), target});
  }
  const std::string element = absl::StrCat("e", rng.Below(4));
  switch (target) {
    case Type::kRegister:
    case Type::kMultiValue:
      operation.verb = rng.OneIn(5) ? Verb::kClear : Verb::kWrite;
      if (operation.verb == Verb::kWrite) {
        operation.value = absl::StrCat("v", rng.Next());
      }
      break;
    case Type::kSet:
    case Type::kRemoveSet:
      operation.verb = rng.OneIn(3) ? Verb::kRemove : Verb::kAdd;
      operation.elements = {element};
      break;
    case Type::kGrowSet:
      operation.verb = Verb::kAdd;
      operation.elements = {element};
      break;
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      operation.verb = rng.OneIn(2) ? Verb::kEnable : Verb::kDisable;
      break;
    case Type::kCounter:
      operation.verb = rng.OneIn(5) ? Verb::kReset : Verb::kAdd;
      operation.amount = static_cast<int64_t>(rng.Below(9)) - 10;
      break;
    case Type::kMap:
      operation.verb = Verb::kRemoveField;
      operation.child = {absl::StrCat("f", rng.Below(2)),
                         crdt::kAllTypes[rng.Below(9)]};
      break;
    case Type::kExpiry:
      break;  // of no object
  }
  if (rng.OneIn(12)) {
    operation = Operation();
    operation.object = {"b", absl::StrCat("k", rng.Below(3)), type};
    operation.verb = Verb::kDelete;
  } else if (rng.OneIn(8)) {
    operation = Operation();
    operation.object = {"b", absl::StrCat("k", rng.Below(3)), type};
    operation.verb = rng.OneIn(4) ? Verb::kPersist : Verb::kExpireAt;
    // About the time in which these schedules play.
    if (operation.verb == Verb::kExpireAt) {
      operation.amount =
          static_cast<int64_t>(Cluster::kWallStartMs) + rng.Below(6000) - 1000;
    }
  }
  return operation;
}

void RunSeeds(const std::string& test, uint64_t count,
              absl::FunctionRef<void(uint64_t seed)> schedule) {
  const uint64_t one = FromEnvironment("DOVETAIL_SEED", 0);
  const uint64_t first = one == 0 ? 1 : one;
  const uint64_t last =
      one == 0 ? FromEnvironment("DOVETAIL_SEEDS", count) : one;
  std::printf("%s: seeds %llu to %llu\n", test.c_str(),
              static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(last));
  for (uint64_t seed = first; seed <= last; ++seed) {
    INFO("replay: DOVETAIL_SEED=" << seed << " build/dev/bin/replica_tests "
                                  << "-tc='" << test << "'");
    schedule(seed);
  }
}

}  // namespace dovetail::replica
