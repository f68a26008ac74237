#include "replica/list_cover.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/replica_set.h"

namespace dovetail::replica {
namespace {

bool Has(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

uint32_t CountIn(const std::vector<NodeId>& nodes,
                 absl::Span<const NodeId> owners, PartitionId partition,
                 PageHasAll has_all) {
  return static_cast<uint32_t>(
      std::count_if(owners.begin(), owners.end(), [&](NodeId owner) {
        return Has(nodes, owner) && has_all(owner, partition);
      }));
}

absl::Span<const NodeId> Of(const Placement& placement, PartitionId partition,
                            CoverOf whose) {
  return whose == CoverOf::kOwners ? placement.Owners(partition)
                                   : placement.Before(partition);
}

}  // namespace

std::vector<uint32_t> RequiredBefore(const Placement& placement,
                                     const Level& level, uint32_t fallback,
                                     const std::string& region) {
  std::vector<uint32_t> required;
  if (!placement.moves()) return required;
  required.reserve(placement.partitions());
  for (uint32_t p = 0; p < placement.partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const absl::Span<const NodeId> before = placement.Before(partition);
    auto left = static_cast<uint32_t>(before.size());
    uint32_t all = placement.replicas_before(partition);
    const auto here = static_cast<uint32_t>(std::count_if(
        before.begin(), before.end(),
        [&](NodeId node) { return placement.RegionOf(node) == region; }));
    if (IsLocal(level) && here > 0) left = all = here;
    const absl::StatusOr<uint32_t> wanted =
        all > 0 ? ResolveCount(level, fallback, all, "R") : 0;
    required.push_back(wanted.ok() ? std::min(*wanted, left) : left);
  }
  return required;
}

absl::StatusOr<std::vector<uint32_t>> RequiredOwners(
    const Placement& placement, const Level& level, uint32_t fallback,
    const std::string& region) {
  if (level.kind == Level::Kind::kEachQuorum) {
    return absl::InvalidArgumentError(
        "R=each_quorum: a listing takes quorum or local_quorum instead");
  }
  std::vector<uint32_t> required;
  required.reserve(placement.partitions());
  for (uint32_t p = 0; p < placement.partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const absl::Span<const NodeId> owners = placement.Owners(partition);
    const auto counting = static_cast<uint32_t>(
        std::count_if(owners.begin(), owners.end(), [&](NodeId owner) {
          return !IsLocal(level) || placement.RegionOf(owner) == region;
        }));
    DOVETAIL_ASSIGN_OR_RETURN(const uint32_t its,
                              ResolveCount(level, fallback, counting, "R"));
    required.push_back(its);
  }
  return required;
}

Cover GrowCover(const Placement& placement,
                const std::vector<uint32_t>& required,
                std::vector<NodeId> nodes,
                absl::FunctionRef<bool(NodeId)> usable, PageHasAll has_all,
                CoverOf whose) {
  DOVETAIL_CHECK(required.size() == placement.partitions());
  Cover cover{std::move(nodes), {}};
  for (uint32_t p = 0; p < placement.partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    const absl::Span<const NodeId> all = Of(placement, partition, whose);
    std::vector<NodeId> owners(all.begin(), all.end());
    // Who owns it still covers both.
    std::stable_partition(owners.begin(), owners.end(), [&](NodeId node) {
      return placement.Owns(node, partition);
    });
    uint32_t have = CountIn(cover.nodes, owners, partition, has_all);
    for (NodeId owner : owners) {
      if (have >= required[p]) break;
      if (Has(cover.nodes, owner) || !usable(owner) ||
          !has_all(owner, partition)) {
        continue;
      }
      cover.nodes.push_back(owner);
      ++have;
    }
    if (have >= required[p] || !cover.lacking.ok()) continue;
    const auto partial =
        std::count_if(owners.begin(), owners.end(),
                      [&](NodeId owner) { return !has_all(owner, partition); });
    cover.lacking = absl::UnavailableError(absl::StrCat(
        "R=", required[p], ": ", have, " of ", owners.size(),
        " replicas reachable, of partition ", p,
        partial > 0 ? absl::StrCat("; ", partial, " are being filled") : ""));
  }
  return cover;
}

bool Covers(const Placement& placement, const std::vector<uint32_t>& required,
            const std::vector<NodeId>& nodes, PageHasAll has_all,
            CoverOf whose) {
  for (uint32_t p = 0; p < placement.partitions(); ++p) {
    const PartitionId partition{static_cast<uint16_t>(p)};
    if (CountIn(nodes, Of(placement, partition, whose), partition, has_all) <
        required[p]) {
      return false;
    }
  }
  return true;
}

}  // namespace dovetail::replica
