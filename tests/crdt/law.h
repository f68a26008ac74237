// A law of reachable states, checked at the end of random schedules: for each
// kind of state a test of its own, which can be run and replayed alone.
#ifndef DOVETAIL_TESTS_CRDT_LAW_H_
#define DOVETAIL_TESTS_CRDT_LAW_H_

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/crdt/world.h"

namespace dovetail::crdt::model {

inline constexpr size_t kReplicas = 3;

// Takes a world at the end of a schedule, and randomness of its own. Returns
// "" or what is wrong.
using Law = std::string (*)(World& world, uint32_t salt);

// Whether the law held in all of about `runs` schedules; `test` is the name of
// the test case.
bool LawHolds(const std::string& test, const char* subject, int runs, Law law);

// The final states of all replicas, some on the way, and last of all bottom.
std::vector<Replica> StatesOf(const World& world);

Replica Joined(Replica a, const Replica& b);

#define DOVETAIL_LAW_OF(subject, sentence, runs, law)           \
  TEST_CASE(subject ": " sentence) {                            \
    CHECK(LawHolds(subject ": " sentence, subject, runs, law)); \
  }
#define DOVETAIL_LAW(sentence, runs, law)              \
  DOVETAIL_LAW_OF("register", sentence, runs, law)     \
  DOVETAIL_LAW_OF("mv", sentence, runs, law)           \
  DOVETAIL_LAW_OF("set", sentence, runs, law)          \
  DOVETAIL_LAW_OF("rwset", sentence, runs, law)        \
  DOVETAIL_LAW_OF("gset", sentence, runs, law)         \
  DOVETAIL_LAW_OF("ewflag", sentence, runs, law)       \
  DOVETAIL_LAW_OF("dwflag", sentence, runs, law)       \
  DOVETAIL_LAW_OF("counter", sentence, runs, law)      \
  DOVETAIL_LAW_OF("map", sentence, runs, law)          \
  DOVETAIL_LAW_OF("nested", sentence, (runs) / 2, law) \
  DOVETAIL_LAW_OF("mixed", sentence, (runs) / 2, law)

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_LAW_H_
