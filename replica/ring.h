// Who owns what: the ring as a pure value of the member list. Every node
// computes it for itself and all compute the same (ring_place.h has the
// method and what it promises). The epoch only names a ring: two epochs with
// the same members place alike.
//
// For each partition and region, with n the members of the region that weigh
// something and N the replicas asked for there:
//   1. min(n, N) different owners: fewer members than N is legal;
//   2. in min(n, N, zones) different zones;
//   3. no member owns more than its fair share plus an eighth, rounded up. The
//      fair share is Q * N * weight / (weight of the region), but where a zone
//      weighs more than one part in N, it owns one replica of each partition
//      and no more, and its members share that by weight (and likewise where
//      it must own one because there are no more zones than N).
#ifndef DOVETAIL_REPLICA_RING_H_
#define DOVETAIL_REPLICA_RING_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "replica/ids.h"
#include "replica/ring_place.h"

namespace dovetail::replica {

inline constexpr uint32_t kPartitionsMax = 4096;
inline constexpr uint32_t kRegionsMax = 64;
// Of one region.
inline constexpr uint32_t kReplicasMax = 32;
inline constexpr uint32_t kWeightDefault = 100;

struct RingMember {
  NodeId id{};
  std::string zone;
  std::string region;
  // In proportion to it a member owns partitions; 0: none. Up to kWeightMax.
  uint32_t weight = kWeightDefault;
  // What is hashed in the member's stead; 0 stands for its id. A member that
  // replaces another takes over its place, and with it exactly its partitions.
  uint64_t place = 0;
  // For people. Placement does not look at it.
  std::string name;

  friend bool operator==(const RingMember&, const RingMember&) = default;
};
uint64_t PlaceOf(const RingMember& member);

struct RingSpec {
  uint64_t epoch = 0;
  uint32_t partitions = 256;                           // Q, a power of two
  uint32_t replicas = 3;                               // N of each region,
  std::map<std::string, uint32_t> replicas_in_region;  // but of these
  std::vector<RingMember> members;

  friend bool operator==(const RingSpec&, const RingSpec&) = default;
};

// Whether it is one that a ring can be computed of. InvalidArgument: a limit
// above is exceeded, two members with one id or place, none that may own.
absl::Status CheckRingSpec(const RingSpec& spec);

class Ring {
 public:
  // The order of `spec.members` does not matter.
  // Returns: InvalidArgument as CheckRingSpec.
  // Cost: O(partitions * members); 1,000 members, 4096 partitions: see
  // docs/benchmarks.md.
  static absl::StatusOr<Ring> Compute(RingSpec spec);

  // Members ascend by id.
  const RingSpec& spec() const { return spec_; }
  uint64_t epoch() const { return spec_.epoch; }
  uint32_t partitions() const { return spec_.partitions; }

  // How many owners each partition has: of all regions together, and of one.
  uint32_t replicas() const { return replicas_; }
  uint32_t replicas(absl::string_view region) const;
  // N of the region: what the number above would be with enough members.
  uint32_t replicas_wanted(absl::string_view region) const;
  // The regions that have a member, in order.
  std::vector<std::string> regions() const;

  // In order of preference, spread so that no owner is the first choice of
  // more than its part. Regions alternate; within one, the order of a region's
  // own clients is that of its owners in this list.
  absl::Span<const NodeId> Owners(PartitionId partition) const;
  bool Owns(NodeId node, PartitionId partition) const;

  // Owners, then all others in the order in which they should stand in: those
  // in zones without an owner first, near ones (ring_place.h) first; regions
  // alternate; last whoever weighs nothing. Cost: O(m log m) in the members.
  std::vector<NodeId> Preference(PartitionId partition) const;
  // Those that are no owners, in the order in which they should stand in for
  // `owner`: members of its region before all others, in zones where no owner
  // but `owner` is before others.
  std::vector<NodeId> StandIns(PartitionId partition, NodeId owner) const;

  // Null if it is no member.
  const RingMember* Find(NodeId id) const;

 private:
  // Members of one region, as indexes into spec_.members.
  struct Region {
    std::string name;
    std::vector<uint32_t> members;  // that may own something
    uint32_t replicas = 0;
  };

  Ring() = default;
  void FindRegions();
  void Place();
  std::vector<NodeId> Others(PartitionId partition,
                             const RingMember* absent) const;

  RingSpec spec_;
  std::vector<Region> regions_;
  uint32_t replicas_ = 0;
  std::vector<NodeId> owners_;  // replicas_ of each partition
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RING_H_
