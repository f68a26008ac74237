#include "replica/member_table.h"

#include <utility>

#include "crdt/check.h"
#include "crdt/codec.h"
#include "replica/hash.h"

namespace dovetail::replica {

MemberTable::MemberTable(Member self, size_t members_max)
    : self_(self.info.id), members_max_(members_max) {
  DOVETAIL_CHECK(members_max >= 1);
  Count(self.state, 1);
  members_.emplace(self_, std::move(self));
}

const Member* MemberTable::Find(NodeId id) const {
  const auto it = members_.find(id);
  return it == members_.end() ? nullptr : &it->second;
}

void MemberTable::Count(MemberState state, int by) {
  switch (state) {
    case MemberState::kAlive:
    case MemberState::kSuspect:
      live_ += static_cast<size_t>(by);
      return;
    case MemberState::kDead:
      dead_ += static_cast<size_t>(by);
      return;
    case MemberState::kLeft:
      return;
  }
}

Merged MemberTable::Insert(const Rumor& rumor, absl::Duration now) {
  const auto forgotten = forgotten_.find(rumor.id);
  if (forgotten != forgotten_.end() &&
      rumor.incarnation <= forgotten->second.incarnation) {
    return {MergeResult::kForgotten};
  }
  if (!rumor.info) return {MergeResult::kUnknown};
  if (members_.size() >= members_max_) return {MergeResult::kFull};
  if (forgotten != forgotten_.end()) forgotten_.erase(forgotten);
  members_.emplace(rumor.id,
                   Member{*rumor.info, rumor.state, rumor.incarnation, now});
  Count(rumor.state, 1);
  return {MergeResult::kJoined};
}

Merged MemberTable::Merge(const Rumor& rumor, absl::Duration now) {
  DOVETAIL_CHECK(rumor.id != self_);
  const auto it = members_.find(rumor.id);
  if (it == members_.end()) return Insert(rumor, now);
  Member& held = it->second;
  if (rumor.info && rumor.info->name != held.info.name) {
    return {MergeResult::kConflict};
  }
  const std::pair theirs(rumor.incarnation, rumor.state);
  const std::pair ours(held.incarnation, held.state);
  if (theirs == ours) return {MergeResult::kSameClaim};
  if (theirs < ours) return {MergeResult::kOld};
  Merged merged{MergeResult::kChanged, held.state};
  if (rumor.info && rumor.incarnation > held.incarnation) {
    merged.info_changed = *rumor.info != held.info;
    held.info = *rumor.info;
  }
  held.incarnation = rumor.incarnation;
  if (held.state != rumor.state) {
    Count(held.state, -1);
    Count(rumor.state, 1);
    held.state = rumor.state;
    held.since = now;
  }
  return merged;
}

void MemberTable::SetSelf(const Member& self) {
  Member& held = members_.at(self_);
  DOVETAIL_CHECK(self.info.id == self_);
  DOVETAIL_CHECK(self.incarnation >= held.incarnation);
  Count(held.state, -1);
  Count(self.state, 1);
  held = self;
}

void MemberTable::Forget(NodeId id, absl::Duration until) {
  DOVETAIL_CHECK(id != self_);
  const auto it = members_.find(id);
  if (it == members_.end()) return;
  // As many as members at the most; the oldest gives way.
  if (forgotten_.size() >= members_max_) {
    auto oldest = forgotten_.begin();
    for (auto other = oldest; other != forgotten_.end(); ++other) {
      if (other->second.until < oldest->second.until) oldest = other;
    }
    forgotten_.erase(oldest);
  }
  forgotten_[id] = {it->second.incarnation, until};
  Count(it->second.state, -1);
  members_.erase(it);
}

void MemberTable::DropForgotten(absl::Duration now) {
  std::erase_if(forgotten_,
                [now](const auto& entry) { return entry.second.until <= now; });
}

Hash128 MemberTable::Digest() const {
  Hash128 sum;
  for (const auto& [id, member] : members_) {
    std::string bytes;
    crdt::Writer out(&bytes);
    out.Fixed64(static_cast<uint64_t>(id));
    out.Varint(member.incarnation);
    // A suspicion passes: it is no reason to exchange whole views.
    const bool suspect = member.state == MemberState::kSuspect;
    out.Byte(
        static_cast<uint8_t>(suspect ? MemberState::kAlive : member.state));
    sum = Add(sum, HashBytes(bytes));
  }
  return sum;
}

}  // namespace dovetail::replica
