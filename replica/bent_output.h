// What a bad link does to the messages of a turn. Only a simulator calls it.
#ifndef DOVETAIL_REPLICA_BENT_OUTPUT_H_
#define DOVETAIL_REPLICA_BENT_OUTPUT_H_

#include <vector>

#include "replica/message.h"

namespace dovetail::replica {

// Loses, repeats, delays and reorders: all that message.h says a link may do,
// each a buggify site of its own. What is delayed moves to `next_turn`.
void BendMessages(std::vector<Envelope>& messages,
                  std::vector<Envelope>& next_turn);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_BENT_OUTPUT_H_
