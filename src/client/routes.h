// Which owners of a partition a client asks, in which order: the cluster's ring
// as seen from one place. A value, made anew for each ring.
#ifndef DOVETAIL_SRC_CLIENT_ROUTES_H_
#define DOVETAIL_SRC_CLIENT_ROUTES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "replica/ids.h"
#include "replica/ring.h"

namespace dovetail::internal {

// Where a client is, in the words of the nodes' configurations.
struct Here {
  std::string zone;  // empty: in none
  std::string region;
  friend bool operator==(const Here&, const Here&) = default;
};

enum class Nearness : uint8_t { kZone, kRegion, kElsewhere };
Nearness NearnessOf(const Here& here, absl::string_view zone,
                    absl::string_view region);

class Routes {
 public:
  Routes(const replica::Ring& ring, const Here& here);

  struct Owner {
    replica::NodeId node{};
    Nearness nearness = Nearness::kElsewhere;
  };
  // The near ones first; among equally near ones the ring's preference, which
  // spreads the partitions over them.
  absl::Span<const Owner> Owners(replica::PartitionId partition) const;
  uint32_t partitions() const { return partitions_; }

 private:
  const uint32_t partitions_;
  const size_t replicas_;
  std::vector<Owner> owners_;  // replicas_ of each partition
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_ROUTES_H_
