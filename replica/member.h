// What nodes tell one another about a member of the cluster.
//
// A claim about a member is ordered by (incarnation, state): the larger one
// holds, whoever said it and in whatever order it arrives. Only the member
// itself raises its incarnation, so only it can take back what others say of
// it. Of a suspicion the accusers are joined, too.
// Source: Das, Gupta, Motivala, "SWIM", DSN 2002, section 4.2.
#ifndef DOVETAIL_REPLICA_MEMBER_H_
#define DOVETAIL_REPLICA_MEMBER_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "replica/ids.h"
#include "replica/ring_stamp.h"

namespace dovetail::replica {

// Carried, never interpreted, but for the identity (`id`) and its name.
struct MemberInfo {
  NodeId id{};
  std::string name;  // one id, one name: another name is another node
  std::string peer_address;
  std::string client_address;
  std::string zone;
  std::string region;
  std::string payload;  // of the owner, such as what its build can do

  friend bool operator==(const MemberInfo&, const MemberInfo&) = default;
};

// In order of precedence at equal incarnations.
enum class MemberState : uint8_t {
  kAlive,
  kSuspect,  // somebody's probe failed; it has some time to refute
  kDead,     // unreachable; comes back whenever it says so
  kLeft,     // said itself that it goes
};
inline constexpr uint8_t kMemberStates = 4;

// Enough for `MembershipOptions::confirmations` and the first accuser.
inline constexpr size_t kAccusersMax = 8;

// One claim about one member.
struct Rumor {
  NodeId id{};
  uint64_t incarnation = 0;
  MemberState state = MemberState::kAlive;
  // Whose own probes failed; sorted; not empty exactly for kSuspect.
  std::vector<NodeId> accusers;
  // There if `state` is kAlive, and in every row of a full exchange.
  std::optional<MemberInfo> info;

  friend bool operator==(const Rumor&, const Rumor&) = default;
};

// Names the whole configuration that a node goes by, its ring's epoch first.
using ConfigDigest = RingStamp;

// What this node holds of a member.
struct Member {
  MemberInfo info;
  MemberState state = MemberState::kAlive;
  uint64_t incarnation = 0;
  absl::Duration since = {};  // when `state` was last entered
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_MEMBER_H_
