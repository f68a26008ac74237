#include "src/client/routes.h"

#include <algorithm>

namespace dovetail::internal {

Nearness NearnessOf(const Here& here, absl::string_view zone,
                    absl::string_view region) {
  if (region != here.region) return Nearness::kElsewhere;
  return !here.zone.empty() && zone == here.zone ? Nearness::kZone
                                                 : Nearness::kRegion;
}

Routes::Routes(const replica::Ring& ring, const Here& here)
    : partitions_(ring.partitions()), replicas_(ring.replicas()) {
  owners_.reserve(partitions_ * replicas_);
  for (uint32_t p = 0; p < partitions_; ++p) {
    const auto first = static_cast<ptrdiff_t>(owners_.size());
    for (replica::NodeId node :
         ring.Owners(replica::PartitionId{static_cast<uint16_t>(p)})) {
      const replica::RingMember& member = *ring.Find(node);
      owners_.push_back({node, NearnessOf(here, member.zone, member.region)});
    }
    std::stable_sort(
        owners_.begin() + first, owners_.end(),
        [](const Owner& a, const Owner& b) { return a.nearness < b.nearness; });
  }
}

absl::Span<const Routes::Owner> Routes::Owners(
    replica::PartitionId partition) const {
  return absl::MakeConstSpan(owners_).subspan(
      replica::Index(partition) * replicas_, replicas_);
}

}  // namespace dovetail::internal
