// From the product's words to the oracle's.
#ifndef DOVETAIL_TESTS_SIM_CONVERT_H_
#define DOVETAIL_TESTS_SIM_CONVERT_H_

#include <vector>

#include "crdt/event_set.h"
#include "crdt/operation.h"
#include "crdt/token.h"
#include "crdt/type.h"
#include "tests/sim/oracle.h"

namespace dovetail::sim {

oracle::Kind ToOracle(crdt::Type type);
crdt::Type FromOracle(oracle::Kind kind);
oracle::Object ToOracle(const crdt::ObjectId& object);
crdt::ObjectId FromOracle(const oracle::Object& object);
std::vector<oracle::Field> ToOracle(const std::vector<crdt::Field>& fields);
oracle::Mutation ToOracle(const crdt::Operation& operation);
oracle::Events ToOracle(const crdt::EventSet& events);
std::vector<oracle::Listed> ToOracle(const crdt::ObservedToken& token);

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_CONVERT_H_
