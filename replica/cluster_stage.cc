// The part of Cluster that is about changes which wait for a commit.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/cluster.h"

namespace dovetail::replica {
namespace {

bool IsGone(const Member& member) {
  return member.state == MemberState::kDead ||
         member.state == MemberState::kLeft;
}

RingMember MemberOf(const MemberInfo& info) {
  RingMember member;
  member.id = info.id;
  member.name = info.name;
  member.zone = info.zone;
  member.region = info.region;
  return member;
}

absl::Status NotKnown(const std::string& name) {
  return absl::InvalidArgumentError(
      absl::StrCat("no node \"", name,
                   "\" is known here; start it with --join, then stage it"));
}

absl::Status IsMember(const std::string& name) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" is a member already"));
}

}  // namespace

absl::Status Cluster::Stage(StagedChange change, absl::Duration now) {
  DOVETAIL_RETURN_IF_ERROR(
      config_.staged.Stage(membership_.self().info.id, std::move(change)));
  OnChanged(/*new_ring=*/false, std::nullopt, now);
  return absl::OkStatus();
}

const MemberInfo* Cluster::Known(const std::string& name) const {
  for (const auto& [id, member] : membership_.members()) {
    if (member.info.name == name) return &member.info;
  }
  return nullptr;
}

absl::StatusOr<NodeId> Cluster::MemberCalled(const std::string& name) const {
  for (const RingMember& member : ring_->spec().members) {
    if (member.name == name) return member.id;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", name, "\" is no member",
      Known(name) == nullptr ? "" : "; it is known, and owns nothing"));
}

absl::StatusOr<StagedChange> Cluster::Named(const NamedChange& change) const {
  DOVETAIL_ASSIGN_OR_RETURN(const NodeId subject, MemberCalled(change.name));
  switch (change.kind) {
    case ChangeKind::kJoin:
      break;
    case ChangeKind::kLeave:
      return replica::Leave(subject);
    case ChangeKind::kRemove:
      return Remove(subject);
    case ChangeKind::kWeight:
      if (change.weight > kWeightMax) {
        return absl::InvalidArgumentError(
            absl::StrCat("a weight of ", change.weight, "; the limit is ",
                         kWeightMax, ", and ", kWeightDefault,
                         " what members have that nobody weighed"));
      }
      return SetWeight(subject, change.weight);
    case ChangeKind::kReplace: {
      const MemberInfo* by = Known(change.by);
      if (by == nullptr) return NotKnown(change.by);
      if (ring_->Find(by->id) != nullptr) return IsMember(change.by);
      return Replace(subject, MemberOf(*by));
    }
  }
  return absl::InvalidArgumentError("members do not join");
}

absl::Status Cluster::StageNamed(const NamedChange& change,
                                 absl::Duration now) {
  DOVETAIL_ASSIGN_OR_RETURN(StagedChange staged, Named(change));
  // What could never be committed is not staged.
  ClusterConfig tried = config_;
  DOVETAIL_RETURN_IF_ERROR(
      tried.staged.Stage(membership_.self().info.id, staged));
  DOVETAIL_RETURN_IF_ERROR(replica::MakePlan(tried).status());
  return Stage(std::move(staged), now);
}

absl::StatusOr<std::vector<std::string>> Cluster::StageJoins(
    const std::vector<std::string>& names, absl::Duration now) {
  std::map<std::string, const Member*> known;
  for (const auto& [id, member] : membership_.members()) {
    known.emplace(member.info.name, &member);
  }
  std::vector<const MemberInfo*> joining;
  for (const std::string& name : names) {
    const auto found = known.find(name);
    if (found == known.end()) {
      return NotKnown(name);
    }
    if (ring_->Find(found->second->info.id) != nullptr) {
      return IsMember(name);
    }
    joining.push_back(&found->second->info);
  }
  if (names.empty()) {
    for (const auto& [name, member] : known) {
      if (IsGone(*member) || ring_->Find(member->info.id) != nullptr) continue;
      joining.push_back(&member->info);
    }
  }
  if (joining.empty()) {
    return absl::FailedPreconditionError(
        "every known node that is alive is a member already");
  }
  std::vector<std::string> staged;
  for (const MemberInfo* info : joining) {
    DOVETAIL_RETURN_IF_ERROR(config_.staged.Stage(membership_.self().info.id,
                                                  Join(MemberOf(*info))));
    staged.push_back(info->name);
  }
  OnChanged(/*new_ring=*/false, std::nullopt, now);
  return staged;
}

void Cluster::Abort(absl::Duration now) {
  if (config_.staged.empty()) return;
  config_.staged.AbortAll();
  OnChanged(/*new_ring=*/false, std::nullopt, now);
}

void Cluster::PauseTransfers(bool paused, uint64_t wall_ms,
                             absl::Duration now) {
  // Later than what is known here, whatever the clock says.
  const uint64_t counter = std::min(
      kCounterMax, std::max(wall_ms, config_.transfers.changed.counter + 1));
  config_.transfers = {{counter, membership_.self().info.id}, paused};
  OnChanged(/*new_ring=*/false, std::nullopt, now);
}

}  // namespace dovetail::replica
