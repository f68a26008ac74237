#include "tests/crdt/law.h"

#include "tests/crdt/property.h"

namespace dovetail::crdt::model {
namespace {

std::string Play(World& world, const std::vector<Move>& schedule) {
  for (const Move& move : schedule) {
    std::string wrong = world.Do(move);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace

bool LawHolds(const std::string& test, const char* subject, int runs, Law law) {
  return HoldsFor(test, runs, [&] {
    const auto schedule = *AnySchedule();
    const auto salt = *rc::gen::arbitrary<uint32_t>();
    World world(SubjectNamed(subject), kReplicas);
    std::string wrong = Play(world, schedule);
    if (wrong.empty()) wrong = law(world, salt);
    if (wrong.empty()) return;
    RC_LOG() << "\nThe story:\n";
    for (const std::string& line : world.story()) RC_LOG() << line << "\n";
    RC_FAIL(wrong);
  });
}

std::vector<Replica> StatesOf(const World& world) {
  std::vector<Replica> states = world.replicas();
  states.insert(states.end(), world.snapshots().begin(),
                world.snapshots().end());
  states.emplace_back(MakeActorId(ActorKind::kSession, 7));
  return states;
}

Replica Joined(Replica a, const Replica& b) {
  DOVETAIL_CHECK(a.JoinState(b) == JoinResult::kOk);
  return a;
}

}  // namespace dovetail::crdt::model
