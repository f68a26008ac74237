// Who is there, by all that was heard: for each member the largest claim
// (member.h), whatever the order in which claims came. Members leave the table
// only by Forget; being dead is no reason.
#ifndef DOVETAIL_REPLICA_MEMBER_TABLE_H_
#define DOVETAIL_REPLICA_MEMBER_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "replica/ids.h"
#include "replica/member.h"

namespace dovetail::replica {

enum class MergeResult : uint8_t {
  kOld,        // nothing new
  kSameClaim,  // the claim held, perhaps by other accusers
  kUnknown,    // about nobody known, and it does not say who that is
  kForgotten,  // about a member of before it was forgotten
  kFull,       // a new member beyond the limit
  kConflict,   // under this id is a node of another name
  kJoined,     // a new member
  kChanged,    // a larger claim
};

struct Merged {
  MergeResult result = MergeResult::kOld;
  // Of kChanged.
  MemberState before = MemberState::kAlive;
  bool info_changed = false;
};

class MemberTable {
 public:
  MemberTable(Member self, size_t members_max);

  // Takes `rumor` in if it is larger than what is held.
  // Requires: not about this node.
  Merged Merge(const Rumor& rumor, absl::Duration now);
  // This node's own word.
  void SetSelf(const Member& self);
  // Claims up to the incarnation it has now are not taken up again before
  // `until`.
  void Forget(NodeId id, absl::Duration until);
  void DropForgotten(absl::Duration now);

  const Member& self() const { return members_.at(self_); }
  const Member* Find(NodeId id) const;
  bool WasForgotten(NodeId id) const { return forgotten_.contains(id); }
  const std::map<NodeId, Member>& members() const { return members_; }
  // Alive or suspected, this node among them.
  size_t live() const { return live_; }
  size_t dead() const { return dead_; }
  // Equal claims about the same members have equal digests; whether one is
  // suspected does not count.
  Hash128 Digest() const;

 private:
  struct Forgotten {
    uint64_t incarnation = 0;
    absl::Duration until;
  };

  Merged Insert(const Rumor& rumor, absl::Duration now);
  void Count(MemberState state, int by);

  NodeId self_;
  size_t members_max_;
  std::map<NodeId, Member> members_;
  std::map<NodeId, Forgotten> forgotten_;
  size_t live_ = 0;
  size_t dead_ = 0;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_MEMBER_TABLE_H_
