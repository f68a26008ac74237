// Random tests that can be replayed: the seed is printed first, and when a
// property fails, the very last line is the command that fails the same way.
//
//   DOVETAIL_SEED=N            all properties of the process start from N;
//                              without it each has a fixed seed of its own
//   DOVETAIL_PROPERTY_RUNS=F   F times as many runs (a decimal number)
#ifndef DOVETAIL_TESTS_CRDT_PROPERTY_H_
#define DOVETAIL_TESTS_CRDT_PROPERTY_H_

#include <rapidcheck.h>
#include <rapidcheck/detail/TestListenerAdapter.h>

#include <iostream>
#include <ostream>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/crdt/subject.h"

namespace dovetail::crdt::model {

struct PropertyPlan {
  uint64_t seed = 0;
  int runs = 0;
};

// The seed and the number of runs of the test case called `name`; prints them.
PropertyPlan PlanProperty(const std::string& name, int runs);

// Has the replay line printed when the process ends. Call once a test failed.
void PrintReplayAtExit(const std::string& name, const PropertyPlan& plan);

// Whether `property` held in all of about `runs` random cases. `name` is the
// name of the test case.
template <class Property>
bool HoldsFor(const std::string& name, int runs, Property&& property) {
  const PropertyPlan plan = PlanProperty(name, runs);
  rc::detail::TestParams params;
  params.seed = plan.seed;
  params.maxSuccess = plan.runs;
  rc::detail::TestMetadata metadata;
  metadata.description = name;
  // All arguments, as the defaults would load a configuration of their own and
  // print its seed.
  rc::detail::TestListenerAdapter listener;
  const std::unordered_map<std::string, rc::detail::Reproduce> reproduce;
  const rc::detail::TestResult result = rc::detail::checkTestable(
      property, metadata, params, listener, reproduce);
  if (result.template is<rc::detail::SuccessResult>()) return true;
  rc::detail::printResultMessage(result, std::cerr);
  std::cerr << std::endl;
  PrintReplayAtExit(name, plan);
  return false;
}

// Schedules of up to about 100 moves.
rc::Gen<std::vector<Move>> AnySchedule();

std::ostream& operator<<(std::ostream& out, const Move& move);

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_PROPERTY_H_
