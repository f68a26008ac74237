// What random and fuzzed schedules are made of: small numbers (a Move), and
// for each kind of state a Subject that turns them into operations. Numbers,
// since they shrink well and any bytes of a fuzzer are some schedule.
#ifndef DOVETAIL_TESTS_CRDT_SUBJECT_H_
#define DOVETAIL_TESTS_CRDT_SUBJECT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "crdt/operation.h"
#include "crdt/type.h"

namespace dovetail::crdt::model {

// One step of a schedule; every value of every field means something.
struct Move {
  uint8_t kind = 0;
  uint8_t who = 0;     // the replica that acts
  uint8_t target = 0;  // the place, or which delta, token or replica
  uint8_t verb = 0;
  uint8_t detail = 0;  // element, value or amount
  uint8_t stamp = 0;   // what the clock says
};

// A place that operations act on.
struct Target {
  ObjectId object;
  std::vector<Field> fields;
  Type type() const {
    return fields.empty() ? object.type : fields.back().type;
  }
};

struct Subject {
  std::string name;
  std::vector<Target> targets;
  // All objects of the targets, each once.
  std::vector<ObjectId> objects;
};

// One for each type by itself, "map" (a field of every type), "nested" (maps
// three deep) and "mixed" (several objects, so that batches span them).
const std::vector<Subject>& Subjects();
const Subject& SubjectNamed(const std::string& name);

// The elements that operations use; some need escaping in paths.
const std::vector<std::string>& Elements();

Operation OperationOf(const Subject& subject, const Move& move);

// "set add default/k1 [a]"; for counterexamples.
std::string Describe(const Operation& operation);

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_SUBJECT_H_
