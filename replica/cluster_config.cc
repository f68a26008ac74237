// The grammar stands in docs/formats.md, "Cluster configuration".
#include "replica/cluster_config.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

// What a configuration has of rings.
constexpr uint8_t kNoRing = 0;
constexpr uint8_t kRingAlone = 1;
constexpr uint8_t kRingAndBefore = 2;

void AppendId(crdt::Writer& out, NodeId id) {
  out.Fixed64(static_cast<uint64_t>(id));
}

NodeId ReadId(crdt::Reader& in) {
  const uint64_t bits = in.Fixed64();
  const auto id = static_cast<NodeId>(bits);
  if (static_cast<uint64_t>(id) != bits) in.Fail("node id out of range");
  return id;
}

std::string ReadString(crdt::Reader& in, size_t bytes_max) {
  return std::string(in.Bytes(bytes_max));
}

std::string ReadName(crdt::Reader& in) {
  std::string name = ReadString(in, kMemberNameBytesMax);
  if (in.ok() && name.empty()) in.Fail("a member without a name");
  return name;
}

uint32_t ReadUint32(crdt::Reader& in, uint32_t most) {
  const uint64_t value = in.Varint();
  if (value > most) {
    in.Fail(absl::StrCat(value, " is above the limit of ", most));
    return 0;
  }
  return static_cast<uint32_t>(value);
}

// A member takes at least its id, its place, its weight, three lengths and a
// name of one byte.
constexpr size_t kMemberBytesMin = 8 + 8 + 1 + 3 + 1;

void AppendMember(crdt::Writer& out, const RingMember& member) {
  AppendId(out, member.id);
  out.Fixed64(PlaceOf(member));
  out.Varint(member.weight);
  out.Bytes(member.zone);
  out.Bytes(member.region);
  out.Bytes(member.name);
}

RingMember ReadMember(crdt::Reader& in) {
  RingMember member;
  member.id = ReadId(in);
  member.place = in.Fixed64();
  member.weight = ReadUint32(in, kWeightMax);
  member.zone = ReadString(in, kZoneBytesMax);
  member.region = ReadString(in, kZoneBytesMax);
  member.name = ReadName(in);
  if (in.ok() && PlaceOf(member) != member.place) {
    in.Fail("a member without a place");
  }
  return member;
}

absl::Status CheckNames(const RingSpec& ring) {
  auto longer = [](absl::string_view what, const std::string& text,
                   size_t most) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " \"", text, "\" is ", text.size(),
                     " bytes; the limit is ", most));
  };
  std::set<std::string> names;
  for (const RingMember& member : ring.members) {
    if (member.name.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "node ", static_cast<uint64_t>(member.id), " has no name"));
    }
    if (member.name.size() > kMemberNameBytesMax) {
      return longer("name", member.name, kMemberNameBytesMax);
    }
    if (member.zone.size() > kZoneBytesMax) {
      return longer("zone", member.zone, kZoneBytesMax);
    }
    if (member.region.size() > kZoneBytesMax) {
      return longer("region", member.region, kZoneBytesMax);
    }
    if (!names.insert(member.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "two members would have the name \"", member.name, "\""));
    }
  }
  for (const auto& [region, replicas] : ring.replicas_in_region) {
    if (region.size() > kZoneBytesMax) {
      return longer("region", region, kZoneBytesMax);
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeMemberRecord(const MemberRecord& record) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  AppendId(out, record.id);
  out.Bytes(record.name);
  out.Bytes(record.peer_address);
  out.Bytes(record.client_address);
  out.Bytes(record.zone);
  out.Bytes(record.region);
  return bytes;
}

absl::StatusOr<MemberRecord> DecodeMemberRecord(absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  MemberRecord record;
  record.id = ReadId(in);
  record.name = ReadName(in);
  record.peer_address = ReadString(in, kAddressBytesMax);
  record.client_address = ReadString(in, kAddressBytesMax);
  record.zone = ReadString(in, kZoneBytesMax);
  record.region = ReadString(in, kZoneBytesMax);
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return record;
}

// --- The committed ring -----------------------------------------------------

namespace {

// Members by id, each with its place: equal rings, equal bytes.
void Normalize(RingSpec& ring) {
  for (RingMember& member : ring.members) member.place = PlaceOf(member);
  std::sort(
      ring.members.begin(), ring.members.end(),
      [](const RingMember& a, const RingMember& b) { return a.id < b.id; });
}

bool IsMember(const RingSpec& ring, NodeId id) {
  return std::any_of(
      ring.members.begin(), ring.members.end(),
      [id](const RingMember& member) { return member.id == id; });
}

absl::Status CheckBefore(const RingBefore& before, const RingSpec& ring) {
  if (before.ring.epoch + 1 != ring.epoch ||
      before.ring.partitions != ring.partitions) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ring of epoch ", before.ring.epoch, " and ",
                     before.ring.partitions, " partitions before one of epoch ",
                     ring.epoch, " and ", ring.partitions));
  }
  DOVETAIL_RETURN_IF_ERROR(CheckRingSpec(before.ring));
  DOVETAIL_RETURN_IF_ERROR(CheckNames(before.ring));
  for (size_t i = 0; i < before.gone.size(); ++i) {
    const NodeId id = before.gone[i];
    if ((i > 0 && id <= before.gone[i - 1]) || IsMember(ring, id) ||
        !IsMember(before.ring, id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", static_cast<uint64_t>(id),
                       " cannot be gone by the ring of epoch ", ring.epoch));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommittedRing> CommittedRing::Make(
    RingSpec ring, NodeId committed_by, std::vector<Hash128> ancestors,
    std::optional<RingBefore> before) {
  if (ring.epoch < 1 || ring.epoch > kCounterMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a committed ring of epoch ", ring.epoch));
  }
  // All there are, up to the limit: otherwise a ring could disown one.
  if (ancestors.size() != std::min<uint64_t>(ring.epoch - 1, kAncestorsMax)) {
    return absl::InvalidArgumentError(absl::StrCat(
        ancestors.size(), " ancestors of a ring of epoch ", ring.epoch));
  }
  DOVETAIL_RETURN_IF_ERROR(CheckRingSpec(ring));
  DOVETAIL_RETURN_IF_ERROR(CheckNames(ring));
  CommittedRing made;
  made.ring_ = std::move(ring);
  Normalize(made.ring_);
  if (before.has_value()) {
    DOVETAIL_RETURN_IF_ERROR(CheckBefore(*before, made.ring_));
    Normalize(before->ring);
  }
  made.committed_by_ = committed_by;
  made.ancestors_ = std::move(ancestors);
  made.before_ = std::move(before);
  std::string bytes;
  crdt::Writer out(&bytes);
  AppendCommittedRing(out, made);
  made.digest_ = HashBytes(bytes);
  return made;
}

bool CommittedRing::GrewFrom(const CommittedRing& older) const {
  if (older.epoch() >= epoch()) return false;
  const uint64_t back = epoch() - older.epoch() - 1;
  return back >= ancestors_.size() || ancestors_[back] == older.digest_;
}

bool Precedes(const CommittedRing& a, const CommittedRing& b) {
  return std::make_pair(a.epoch(), a.digest()) <
         std::make_pair(b.epoch(), b.digest());
}

namespace {

void AppendSpec(crdt::Writer& out, const RingSpec& spec) {
  out.Varint(spec.epoch);
  out.Varint(spec.partitions);
  out.Varint(spec.replicas);
  out.Varint(spec.replicas_in_region.size());
  for (const auto& [region, replicas] : spec.replicas_in_region) {
    out.Bytes(region);
    out.Varint(replicas);
  }
  out.Varint(spec.members.size());
  for (const RingMember& member : spec.members) AppendMember(out, member);
}

RingSpec ReadSpec(crdt::Reader& in) {
  RingSpec spec;
  spec.epoch = in.Varint();
  spec.partitions = ReadUint32(in, kPartitionsMax);
  spec.replicas = ReadUint32(in, kReplicasMax);
  const size_t regions = in.Count(2);
  for (size_t i = 0; i < regions && in.ok(); ++i) {
    std::string region = ReadString(in, kZoneBytesMax);
    const uint32_t replicas = ReadUint32(in, kReplicasMax);
    if (i > 0 && region <= spec.replicas_in_region.rbegin()->first) {
      in.Fail("regions out of order");
    }
    spec.replicas_in_region[std::move(region)] = replicas;
  }
  const size_t members = in.Count(kMemberBytesMin);
  if (members > kMembersMax) in.Fail("more members than there may be");
  for (size_t i = 0; i < members && in.ok(); ++i) {
    spec.members.push_back(ReadMember(in));
    if (i > 0 && spec.members[i].id <= spec.members[i - 1].id) {
      in.Fail("members out of order");
    }
  }
  return spec;
}

RingBefore ReadBefore(crdt::Reader& in) {
  RingBefore before;
  before.ring = ReadSpec(in);
  before.gone.resize(in.Count(8));
  for (NodeId& id : before.gone) id = ReadId(in);
  return before;
}

}  // namespace

void AppendCommittedRing(crdt::Writer& out, const CommittedRing& ring) {
  AppendId(out, ring.committed_by());
  AppendSpec(out, ring.ring());
  out.Varint(ring.ancestors().size());
  for (const Hash128& ancestor : ring.ancestors()) {
    out.Fixed64(ancestor.high);
    out.Fixed64(ancestor.low);
  }
  if (!ring.before().has_value()) return;
  AppendSpec(out, ring.before()->ring);
  out.Varint(ring.before()->gone.size());
  for (const NodeId id : ring.before()->gone) AppendId(out, id);
}

std::optional<CommittedRing> ReadCommittedRing(crdt::Reader& in,
                                               bool with_before) {
  const NodeId committed_by = ReadId(in);
  RingSpec spec = ReadSpec(in);
  std::vector<Hash128> ancestors(in.Count(16));
  for (Hash128& ancestor : ancestors) {
    ancestor.high = in.Fixed64();
    ancestor.low = in.Fixed64();
  }
  std::optional<RingBefore> before;
  if (with_before) before = ReadBefore(in);
  if (!in.ok()) return std::nullopt;
  auto ring = CommittedRing::Make(std::move(spec), committed_by,
                                  std::move(ancestors), std::move(before));
  if (!ring.ok()) {
    in.Fail(ring.status().message());
    return std::nullopt;
  }
  return *std::move(ring);
}

// --- Staged changes ---------------------------------------------------------

StagedChange Join(RingMember member) {
  const NodeId id = member.id;
  return {ChangeKind::kJoin, id, std::move(member), 0};
}
StagedChange Leave(NodeId id) { return {ChangeKind::kLeave, id, {}, 0}; }
StagedChange Remove(NodeId id) { return {ChangeKind::kRemove, id, {}, 0}; }
StagedChange Replace(NodeId old, RingMember by) {
  return {ChangeKind::kReplace, old, std::move(by), 0};
}
StagedChange SetWeight(NodeId id, uint32_t weight) {
  return {ChangeKind::kWeight, id, {}, weight};
}

bool StagedChanges::Seen(const Stamp& stamp) const {
  const auto found = seen_.find(stamp.node);
  return found != seen_.end() && stamp.counter <= found->second;
}

absl::Status StagedChanges::Stage(NodeId node, StagedChange change) {
  // Later than all it has heard of, so that it wins where it is known.
  uint64_t counter = 0;
  for (const auto& [other, last] : seen_) counter = std::max(counter, last);
  if (counter >= kCounterMax) {
    return absl::ResourceExhaustedError("no stamp is left for a change");
  }
  ++counter;
  if (!seen_.contains(node) && seen_.size() >= kStagingNodesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("changes were staged at ", seen_.size(),
                     " nodes; the limit is ", kStagingNodesMax));
  }
  // What the codec writes is filled in at once: equal values, equal bytes.
  const bool has_member =
      change.kind == ChangeKind::kJoin || change.kind == ChangeKind::kReplace;
  if (has_member) change.member.place = PlaceOf(change.member);
  Abort(change.subject);
  if (entries_.size() >= kStagedMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        entries_.size(), " changes are staged; the limit is ", kStagedMax));
  }
  seen_[node] = counter;
  const Key key{change.subject, {counter, node}};
  entries_.emplace(key, std::move(change));
  return absl::OkStatus();
}

bool StagedChanges::Abort(NodeId subject) {
  return std::erase_if(entries_, [&](const auto& entry) {
           return entry.first.first == subject;
         }) > 0;
}

void StagedChanges::Clear(const std::set<Key>& committed) {
  for (const Key& key : committed) entries_.erase(key);
}

void StagedChanges::Merge(const StagedChanges& theirs) {
  std::map<NodeId, uint64_t> seen = seen_;
  for (const auto& [node, counter] : theirs.seen_) {
    if (!seen.contains(node) && seen.size() >= kStagingNodesMax) continue;
    uint64_t& mine = seen[node];
    mine = std::max(mine, counter);
  }
  std::erase_if(entries_, [&](const auto& entry) {
    return theirs.Seen(entry.first.second) &&
           !theirs.entries_.contains(entry.first);
  });
  const auto rank = [](const StagedChange& change) {
    const RingMember& m = change.member;
    return std::tie(change.kind, change.weight, m.id, m.name, m.zone, m.region,
                    m.weight, m.place);
  };
  for (const auto& entry : theirs.entries_) {
    const Stamp& stamp = entry.first.second;
    const auto mine = entries_.find(entry.first);
    if (mine == entries_.end()) {
      if (!Seen(stamp) && seen.contains(stamp.node)) entries_.insert(entry);
    } else if (rank(mine->second) < rank(entry.second)) {
      // A node that lost its disk gave a stamp again before it heard of what
      // it had staged. Everywhere the same of the two stays.
      mine->second = entry.second;
    }
  }
  while (entries_.size() > kStagedMax) entries_.erase(--entries_.end());
  seen_ = std::move(seen);
}

std::map<NodeId, StagedChange> StagedChanges::Effective() const {
  std::map<NodeId, StagedChange> effective;
  for (const auto& [key, change] : entries_) effective[key.first] = change;
  return effective;  // ascending by stamp: the latest stays
}

void AppendStaged(crdt::Writer& out, const StagedChanges& staged) {
  out.Varint(staged.entries_.size());
  for (const auto& [key, change] : staged.entries_) {
    const auto& [subject, stamp] = key;
    AppendId(out, subject);
    out.Varint(stamp.counter);
    AppendId(out, stamp.node);
    out.Byte(static_cast<uint8_t>(change.kind));
    switch (change.kind) {
      case ChangeKind::kJoin:
      case ChangeKind::kReplace:
        AppendMember(out, change.member);
        break;
      case ChangeKind::kLeave:
      case ChangeKind::kRemove:
        break;
      case ChangeKind::kWeight:
        out.Varint(change.weight);
        break;
    }
  }
  out.Varint(staged.seen_.size());
  for (const auto& [node, counter] : staged.seen_) {
    AppendId(out, node);
    out.Varint(counter);
  }
}

namespace {

StagedChange ReadChange(crdt::Reader& in, NodeId subject) {
  const uint8_t kind = in.Byte();
  switch (static_cast<ChangeKind>(kind)) {
    case ChangeKind::kJoin: {
      StagedChange change = Join(ReadMember(in));
      if (in.ok() && change.subject != subject) {
        in.Fail("a join of another member than its subject");
      }
      return change;
    }
    case ChangeKind::kReplace:
      return Replace(subject, ReadMember(in));
    case ChangeKind::kLeave:
      return Leave(subject);
    case ChangeKind::kRemove:
      return Remove(subject);
    case ChangeKind::kWeight:
      return SetWeight(subject, ReadUint32(in, kWeightMax));
  }
  in.Fail(absl::StrCat("no kind of change: ", kind));
  return {};
}

}  // namespace

StagedChanges ReadStaged(crdt::Reader& in) {
  StagedChanges staged;
  const size_t entries = in.Count(8 + 1 + 8 + 1);
  if (entries > kStagedMax) in.Fail("more staged changes than there may be");
  for (size_t i = 0; i < entries && in.ok(); ++i) {
    StagedChanges::Key key;
    key.first = ReadId(in);
    key.second.counter = in.Varint();
    key.second.node = ReadId(in);
    if (i > 0 && key <= staged.entries_.rbegin()->first) {
      in.Fail("staged changes out of order");
    }
    staged.entries_.emplace(key, ReadChange(in, key.first));
  }
  const size_t nodes = in.Count(8 + 1);
  if (nodes > kStagingNodesMax) in.Fail("more nodes than there may be");
  for (size_t i = 0; i < nodes && in.ok(); ++i) {
    const NodeId node = ReadId(in);
    if (i > 0 && node <= staged.seen_.rbegin()->first) {
      in.Fail("nodes out of order");
    }
    const uint64_t counter = in.Varint();
    if (counter < 1 || counter > kCounterMax) in.Fail("a stamp out of range");
    staged.seen_[node] = counter;
  }
  for (const auto& [key, change] : staged.entries_) {
    if (key.second.counter == 0 || !staged.Seen(key.second)) {
      in.Fail("a staged change that was not seen");
    }
  }
  return staged;
}

// --- The whole --------------------------------------------------------------

ConfigMerge Merge(ClusterConfig& mine, const ClusterConfig& theirs) {
  ConfigMerge result;
  if (theirs.ring.has_value() && mine.ring != theirs.ring) {
    const bool mine_loses =
        !mine.ring.has_value() || Precedes(*mine.ring, *theirs.ring);
    const CommittedRing& winner = mine_loses ? *theirs.ring : *mine.ring;
    const std::optional<CommittedRing>& loser =
        mine_loses ? mine.ring : theirs.ring;
    if (loser.has_value() && !winner.GrewFrom(*loser)) {
      result.superseded = loser;
    }
    if (mine_loses) {
      mine.ring = theirs.ring;
      result.changed = true;
    }
  }
  StagedChanges staged = mine.staged;
  staged.Merge(theirs.staged);
  if (!(staged == mine.staged)) {
    mine.staged = std::move(staged);
    result.changed = true;
  }
  BucketTable buckets = mine.buckets;
  result.buckets_dropped = buckets.Merge(theirs.buckets);
  if (!(buckets == mine.buckets)) {
    mine.buckets = std::move(buckets);
    result.changed = true;
  }
  if (mine.transfers < theirs.transfers) {
    mine.transfers = theirs.transfers;
    result.changed = true;
  }
  return result;
}

namespace {

void AppendSwitch(crdt::Writer& out, const TransferSwitch& transfers) {
  out.Varint(transfers.changed.counter);
  AppendId(out, transfers.changed.node);
  out.Byte(transfers.paused ? 1 : 0);
}

TransferSwitch ReadSwitch(crdt::Reader& in) {
  TransferSwitch transfers;
  transfers.changed.counter = in.Varint();
  transfers.changed.node = ReadId(in);
  const uint8_t paused = in.Byte();
  if (transfers.changed.counter < 1 ||
      transfers.changed.counter > kCounterMax || paused > 1) {
    in.Fail("transfers neither paused nor not");
  }
  transfers.paused = paused == 1;
  return transfers;
}

}  // namespace

std::string EncodeClusterConfig(const ClusterConfig& config) {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  if (config.ring.has_value()) {
    out.Byte(config.ring->before().has_value() ? kRingAndBefore : kRingAlone);
    AppendCommittedRing(out, *config.ring);
  } else {
    out.Byte(kNoRing);
  }
  AppendStaged(out, config.staged);
  // Nodes of before buckets had properties understand it until one has.
  const bool switched = config.transfers.changed.counter > 0;
  if (!config.buckets.unused() || switched) AppendBuckets(out, config.buckets);
  if (switched) AppendSwitch(out, config.transfers);
  DOVETAIL_CHECK(bytes.size() <= kClusterConfigBytesMax);
  return bytes;
}

absl::StatusOr<ClusterConfig> DecodeClusterConfig(absl::string_view bytes) {
  if (bytes.size() > kClusterConfigBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster configuration of ", bytes.size(),
                     " bytes; the limit is ", kClusterConfigBytesMax));
  }
  crdt::Reader in(bytes);
  in.ExpectVersion();
  ClusterConfig config;
  const uint8_t rings = in.Byte();
  if (rings > kRingAndBefore) in.Fail("neither with nor without a ring");
  if (rings != kNoRing && in.ok()) {
    config.ring = ReadCommittedRing(in, rings == kRingAndBefore);
  }
  config.staged = ReadStaged(in);
  if (in.ok() && in.remaining() > 0) {
    config.buckets = ReadBuckets(in);
    if (in.ok() && in.remaining() > 0) {
      config.transfers = ReadSwitch(in);
    } else if (config.buckets.unused()) {
      in.Fail("no buckets, and nothing behind them");
    }
  }
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return config;
}

}  // namespace dovetail::replica
