// World: what a committed ring does. Data moves only when the script says so.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "tests/scenario/world.h"

namespace dovetail::scenario {

using replica::NodeId;

NodeId World::FindOrAdd(std::string name) {
  if (const std::optional<NodeId> known = Find(name)) return *known;
  Node node;
  node.name = std::move(name);
  node.disk = options_.make_disk();
  nodes_.push_back(std::move(node));
  return NodeId{static_cast<uint32_t>(nodes_.size() - 1)};
}

absl::Status World::Commit(std::vector<NodeId> members,
                           std::vector<NodeId> gone) {
  const bool owned =
      std::any_of(members.begin(), members.end(),
                  [&](NodeId node) { return !weightless_.contains(node); });
  if (!owned) return absl::InvalidArgumentError("nobody would own anything");
  owners_before_.clear();
  for (uint32_t p = 0; p < partitions_; ++p) {
    const auto owners =
        placement_.Owners(replica::PartitionId{static_cast<uint16_t>(p)});
    owners_before_.emplace_back(owners.begin(), owners.end());
  }
  members_ = std::move(members);
  gone_ = {gone.begin(), gone.end()};
  ++epoch_;
  placement_ = MakePlacement();
  for (NodeId running : RunningNodes()) {
    ShardOf(running).HandlePlacement(placement_, NowOf(At(running)));
    EndTurn(running,
            [](NodeId, const replica::Envelope&) { return Fate::kDrop; });
  }
  // Who is new starts with the ring that has it.
  for (NodeId member : members_) {
    if (At(member).actors.empty()) DOVETAIL_RETURN_IF_ERROR(Start(member));
  }
  return fatal_;
}

absl::Status World::Join(std::string name) {
  const NodeId node = FindOrAdd(std::move(name));
  std::vector<NodeId> members = members_;
  if (std::count(members.begin(), members.end(), node) > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(NameOf(node), " is a member already"));
  }
  members.push_back(node);
  return Commit(std::move(members), {});
}

absl::Status World::Leave(NodeId node, bool gone) {
  std::vector<NodeId> members = members_;
  if (std::erase(members, node) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(NameOf(node), " is no member"));
  }
  if (gone && IsRunning(node)) {
    return absl::InvalidArgumentError(absl::StrCat(NameOf(node), " runs"));
  }
  return Commit(std::move(members),
                gone ? std::vector<NodeId>{node} : std::vector<NodeId>{});
}

absl::Status World::Replace(NodeId node, std::string by) {
  const NodeId other = FindOrAdd(std::move(by));
  std::vector<NodeId> members = members_;
  const auto place = std::find(members.begin(), members.end(), node);
  if (place == members.end() ||
      std::count(members.begin(), members.end(), other) > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        NameOf(node), " is no member, or ", NameOf(other), " is one already"));
  }
  *place = other;
  return Commit(std::move(members), {});
}

absl::Status World::SetWeight(NodeId node, uint64_t weight) {
  if (std::count(members_.begin(), members_.end(), node) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(NameOf(node), " is no member"));
  }
  if (weight == 0) {
    weightless_.insert(node);
  } else {
    weightless_.erase(node);
  }
  return Commit(members_, {});
}

}  // namespace dovetail::scenario
