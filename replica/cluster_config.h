// What the nodes of a cluster have agreed on without ever voting: the committed
// ring, the changes that operators have staged for the next one, and the
// properties of buckets (bucket_table.h). A value that gossip spreads; any two
// meet in Merge(), in any order and any number of times, and everybody ends
// with the same.
//
// Committed rings are totally ordered by (epoch, digest). The greater wins
// everywhere. Two operators who commit at once both make epoch n+1; the digest
// decides, and who held the loser keeps it aside (`superseded`), so that its
// operator can be told and look at what it would have changed. A ring names the
// digests of the rings it grew from, so that a loser is told from an ancestor
// also when later commits have come meanwhile.
//
// Staged changes are an observed-remove map, as all data here: an entry has a
// stamp (counter, node), `seen` covers every stamp that was ever heard of, and
// an entry that one side holds and the other has seen but does not hold has
// been committed or aborted: it stays cleared, without tombstones. Entries for
// one member that were staged at the same time are all kept, or the outcome
// would depend on who met whom first; the one with the latest stamp counts.
#ifndef DOVETAIL_REPLICA_CLUSTER_CONFIG_H_
#define DOVETAIL_REPLICA_CLUSTER_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/codec.h"
#include "replica/bucket_table.h"
#include "replica/ids.h"
#include "replica/ring.h"
#include "replica/ring_stamp.h"
#include "replica/stamp.h"

namespace dovetail::replica {

inline constexpr size_t kMemberNameBytesMax = 64;
inline constexpr size_t kZoneBytesMax = 64;      // of a region's name too
inline constexpr size_t kAddressBytesMax = 262;  // a DNS name, ':', a port
// How many ancestors a ring names. Rings that went apart longer ago than that
// are not told from ancestors.
inline constexpr size_t kAncestorsMax = 16;
inline constexpr size_t kStagedMax = kMembersMax;
// Nodes at which something was ever staged.
inline constexpr size_t kStagingNodesMax = kMembersMax;
// A full cluster, every name as long as it may be, the one before it, as much
// staged, and as many properties of buckets.
inline constexpr size_t kClusterConfigBytesMax = size_t{7} << 20;

// A node as gossip introduces it, whether it owns anything or not. Known by its
// id: addresses may change from one start to the next.
struct MemberRecord {
  NodeId id{};
  std::string name;
  std::string peer_address;
  std::string client_address;
  std::string zone;
  std::string region;
  friend bool operator==(const MemberRecord&, const MemberRecord&) = default;
};
std::string EncodeMemberRecord(const MemberRecord& record);
absl::StatusOr<MemberRecord> DecodeMemberRecord(absl::string_view bytes);

// The ring before a committed one: where the data comes from. So a node that
// hears of a ring needs to have seen none before it.
struct RingBefore {
  RingSpec ring;
  // Its members that are none any more, and whose disks are lost: no data is
  // waited for from them. Ascending.
  std::vector<NodeId> gone;
  friend bool operator==(const RingBefore&, const RingBefore&) = default;
};

class CommittedRing {
 public:
  // Returns: InvalidArgument if a ring cannot be computed, is of epoch 0, or
  // has a name that is empty, too long or there twice; or if `before` is not of
  // the epoch before, or names as gone who is a member, or never was one.
  static absl::StatusOr<CommittedRing> Make(
      RingSpec ring, NodeId committed_by, std::vector<Hash128> ancestors,
      std::optional<RingBefore> before = std::nullopt);

  uint64_t epoch() const { return ring_.epoch; }
  NodeId committed_by() const { return committed_by_; }
  // Of the canonical encoding. Orders rings of one epoch.
  const Hash128& digest() const { return digest_; }
  // Members ascend by id, and each has its place filled in.
  const RingSpec& ring() const { return ring_; }
  RingStamp stamp() const { return {epoch(), digest_}; }
  RingLineage lineage() const {
    const auto before = [&](size_t back) {
      return back > ancestors_.size()
                 ? RingStamp{}
                 : RingStamp{epoch() - back, ancestors_[back - 1]};
    };
    return {stamp(), before(1), before(2)};
  }
  // Of the epochs before this one, the latest first.
  const std::vector<Hash128>& ancestors() const { return ancestors_; }
  // Absent: the first ring of a cluster, or one that an earlier version made.
  const std::optional<RingBefore>& before() const { return before_; }

  // Whether this one grew from `older`, or nobody can tell any more.
  bool GrewFrom(const CommittedRing& older) const;

  friend bool operator==(const CommittedRing&, const CommittedRing&) = default;

 private:
  CommittedRing() = default;
  RingSpec ring_;
  NodeId committed_by_{};
  std::vector<Hash128> ancestors_;
  std::optional<RingBefore> before_;
  Hash128 digest_;
};
// The total order.
bool Precedes(const CommittedRing& a, const CommittedRing& b);
void AppendCommittedRing(crdt::Writer& out, const CommittedRing& ring);
// `with_before`: whether the encoding says what was before; it does not show.
std::optional<CommittedRing> ReadCommittedRing(crdt::Reader& in,
                                               bool with_before);

enum class ChangeKind : uint8_t {
  kJoin = 1,     // `member` becomes a member
  kLeave = 2,    // `subject` is one no longer
  kReplace = 3,  // `member` takes the place of `subject`
  kWeight = 4,   // `subject` weighs `weight` from now on
  kRemove = 5,   // as kLeave, and its disk is lost
};

struct StagedChange {
  ChangeKind kind = ChangeKind::kJoin;
  NodeId subject{};   // whose change it is: one for each member
  RingMember member;  // of kJoin (the subject itself) and kReplace
  uint32_t weight = 0;
  friend bool operator==(const StagedChange&, const StagedChange&) = default;
};
StagedChange Join(RingMember member);
StagedChange Leave(NodeId id);
StagedChange Remove(NodeId id);
StagedChange Replace(NodeId old, RingMember by);
StagedChange SetWeight(NodeId id, uint32_t weight);

class StagedChanges {
 public:
  using Key = std::pair<NodeId, Stamp>;  // subject first
  using Entries = std::map<Key, StagedChange>;

  // At `node`, in place of what was staged for the same member.
  // Returns: ResourceExhausted at kStagedMax changes, kStagingNodesMax nodes or
  // kCounterMax.
  absl::Status Stage(NodeId node, StagedChange change);
  // Takes back what is staged for `subject`; false if that is nothing.
  bool Abort(NodeId subject);
  void AbortAll() { entries_.clear(); }
  // Takes back exactly these, not what was staged since.
  void Clear(const std::set<Key>& committed);
  // What is beyond kStagedMax then counts as aborted, the last subjects first;
  // what comes from nodes beyond kStagingNodesMax, as not heard.
  void Merge(const StagedChanges& theirs);

  bool empty() const { return entries_.empty(); }
  const Entries& entries() const { return entries_; }
  // One for each member: those that count.
  std::map<NodeId, StagedChange> Effective() const;

  friend bool operator==(const StagedChanges&, const StagedChanges&) = default;

 private:
  friend void AppendStaged(crdt::Writer& out, const StagedChanges& staged);
  friend StagedChanges ReadStaged(crdt::Reader& in);
  bool Seen(const Stamp& stamp) const;

  Entries entries_;
  // By node, the last counter it stamped with.
  std::map<NodeId, uint64_t> seen_;
};
void AppendStaged(crdt::Writer& out, const StagedChanges& staged);
StagedChanges ReadStaged(crdt::Reader& in);

// Whether transfers rest, in the whole cluster. Who said so last holds.
struct TransferSwitch {
  Stamp changed;  // counter 0: never
  bool paused = false;
  friend auto operator<=>(const TransferSwitch&,
                          const TransferSwitch&) = default;
};

struct ClusterConfig {
  // Absent: a node that has just joined and heard of none yet.
  std::optional<CommittedRing> ring;
  StagedChanges staged;
  BucketTable buckets;
  TransferSwitch transfers;

  uint64_t epoch() const { return ring.has_value() ? ring->epoch() : 0; }
  friend bool operator==(const ClusterConfig&, const ClusterConfig&) = default;
};

struct ConfigMerge {
  // Whether `mine` is another than before.
  bool changed = false;
  // The ring of the two that lost, if the other did not grow from it: a commit
  // that was made at the same time as another and is void.
  std::optional<CommittedRing> superseded;
  // Records of buckets that went beyond kBucketRecordsMax and are void.
  size_t buckets_dropped = 0;
};
// Joins `theirs` into `mine`: commutative, associative and idempotent in what
// becomes of `mine`.
ConfigMerge Merge(ClusterConfig& mine, const ClusterConfig& theirs);

std::string EncodeClusterConfig(const ClusterConfig& config);
// Returns: InvalidArgument for anything that EncodeClusterConfig does not make.
absl::StatusOr<ClusterConfig> DecodeClusterConfig(absl::string_view bytes);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_CLUSTER_CONFIG_H_
