// Whether a decoded value keeps the order that makes its encoding the only
// one. Encoding it again cannot tell: it writes what is there as it is there.
#ifndef DOVETAIL_TESTS_CRDT_CANONICAL_H_
#define DOVETAIL_TESTS_CRDT_CANONICAL_H_

#include "crdt/delta.h"
#include "crdt/event_set.h"
#include "crdt/token.h"

namespace dovetail::crdt::model {

bool IsCanonical(const Delta& delta);
bool IsCanonical(const ObservedToken& token);
bool IsCanonical(const EventSet& events);

}  // namespace dovetail::crdt::model

#endif  // DOVETAIL_TESTS_CRDT_CANONICAL_H_
