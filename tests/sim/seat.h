// In tests nodes are numbered from 0 and kept in lists: a node's id as a place
// in such a list.
#ifndef DOVETAIL_TESTS_SIM_SEAT_H_
#define DOVETAIL_TESTS_SIM_SEAT_H_

#include <cstdint>

#include "replica/ids.h"

namespace dovetail::sim {

constexpr uint32_t SeatOf(replica::NodeId node) {
  return static_cast<uint32_t>(replica::Index(node));
}

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SEAT_H_
