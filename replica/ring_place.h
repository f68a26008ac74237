// Which nodes of one region own which partitions: weighted rendezvous hashing
// with bounded loads and zones, in integers only, so that every machine and
// compiler computes the same.
//
// Every (partition, node) has a distance: a random exponential divided by the
// node's weight, so that the nearest node of a partition is each node with the
// probability of its share. Plain rendezvous gives a partition to its N
// nearest. Here nodes and zones have bounds besides, and all pairs are walked
// from the nearest on, over all partitions at once: a pair is taken if its
// partition still lacks an owner and its node has room. A partition at odds
// with a bound thus gives way to one that is nearer, whatever the order of
// partitions, and a node more or less disturbs little beside its own share.
//
// The fair share of a node is what it would own if partitions could be divided:
// in proportion to its weight as far as zones permit (of each partition a zone
// owns as near as possible the same, and no node owns one twice). Its bound is
// that, plus an eighth, rounded up. Shares are fractions for which the matching
// exists (every partition being divided alike), so the bounds hold always and
// need no second, looser try.
//
// Two matchings of the same kind make the whole:
//   1. partitions with zones: how many owners of a partition are in each zone,
//      one of the two numbers next to the zone's share;
//   2. within each zone, partitions with nodes.
//
// Sources: Mirrokni, Thorup, Zadimoghaddam, arXiv:1608.01350 (bounded loads);
// Thaler, Ravishankar 1998 (rendezvous); weights by exponentials:
// Schindelhauer, Schomaker, SPAA 2005.
#ifndef DOVETAIL_REPLICA_RING_PLACE_H_
#define DOVETAIL_REPLICA_RING_PLACE_H_

#include <compare>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"

namespace dovetail::replica {

// ε = 1 / kLoadSlackParts: how far a node may be above its fair share.
inline constexpr uint32_t kLoadSlackParts = 8;

// What weight divides in is limited so that no product below overflows.
inline constexpr uint32_t kWeightMax = 10'000;

// Less is nearer. Fixed for ever: changing it moves everybody's data.
struct Distance {
  uint64_t scaled = 0;
  uint64_t tie = 0;  // of equal ones, the order by the hash alone
  friend auto operator<=>(const Distance&, const Distance&) = default;
};

// Requires: 1 <= weight <= kWeightMax.
Distance DistanceOf(uint64_t place, uint32_t weight, uint32_t partition);

// A node that may own something, as placement sees it.
struct PlaceNode {
  uint64_t place = 0;   // what is hashed
  uint32_t weight = 0;  // 1 .. kWeightMax
  uint32_t zone = 0;    // 0 .. zones-1
};

// What nodes and zones may own. See the head of the file.
struct Shares {
  std::vector<uint32_t> node_max;     // by node, in partitions
  std::vector<uint32_t> zone_owners;  // by zone: of every partition at least
  // By zone: how many partitions may have one owner more in it. 0: none.
  std::vector<uint32_t> zone_extra_max;
};
// Requires: replicas < nodes; every zone has a node.
Shares ComputeShares(absl::Span<const PlaceNode> nodes, uint32_t zones,
                     uint32_t partitions, uint32_t replicas);

// Gives row r `demand[r]` different columns, and column c at most `room[c]`
// rows: all pairs from the nearest on are taken if the row still lacks one and
// the column has room (equal: the lower row, then column, first). A row that
// is left short takes the nearest column from which some row can be moved on
// to a column with room, and of such moves the one with the least distance.
// Requires: such a matching exists; demands differ by at most 1, or are 0.
// Cost: O(rows * columns) distances, most of them once.
std::vector<std::vector<uint32_t>> Match(
    absl::Span<const uint32_t> demand, std::vector<uint32_t> room,
    absl::FunctionRef<Distance(uint32_t row, uint32_t column)> distance);

// The owners of every partition as indexes into `nodes`, ascending.
std::vector<std::vector<uint32_t>> PlaceRegion(
    absl::Span<const PlaceNode> nodes, uint32_t zones, uint32_t partitions,
    uint32_t replicas);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RING_PLACE_H_
