// Joins of three reachable states are commutative, associative and idempotent.
// The bytes are a schedule: the first names the kind of state, every six after
// it are one step of three replicas (operation, delivery, state join), whose
// deltas travel encoded. In the end all laws of the world are checked, too.
#include <cstdint>
#include <cstdio>
#include <string>

#include "crdt/check.h"
#include "tests/crdt/world.h"

namespace dovetail::crdt::model {
namespace {

constexpr size_t kMovesMax = 40;

Replica Joined(Replica a, const Replica& b) {
  DOVETAIL_CHECK(a.JoinState(b) == JoinResult::kOk);
  return a;
}

void Play(const uint8_t* data, size_t size) {
  const Subject& subject = Subjects()[data[0] % Subjects().size()];
  World world(subject, 3, World::Checks::kOnDemand);
  std::string wrong;
  for (size_t i = 0; i < kMovesMax && 1 + (i + 1) * 6 <= size; ++i) {
    const uint8_t* m = data + 1 + i * 6;
    wrong = world.Do({m[0], m[1], m[2], m[3], m[4], m[5]});
    if (!wrong.empty()) break;
  }
  for (size_t i = 0; wrong.empty() && i < 3; ++i) wrong = world.Check(i);
  if (!wrong.empty()) {
    for (const std::string& line : world.story()) {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
    std::fprintf(stderr, "%s: %s\n", subject.name.c_str(), wrong.c_str());
    DOVETAIL_CHECK(wrong.empty());
  }
  const Replica& x = world.replicas()[0];
  const Replica& y = world.replicas()[1];
  const Replica& z = world.replicas()[2];
  DOVETAIL_CHECK(Joined(x, x).SameState(x));
  DOVETAIL_CHECK(Differences(Joined(x, y), Joined(y, x)).empty());
  DOVETAIL_CHECK(
      Differences(Joined(Joined(x, y), z), Joined(x, Joined(y, z))).empty());
}

}  // namespace
}  // namespace dovetail::crdt::model

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) dovetail::crdt::model::Play(data, size);
  return 0;
}
