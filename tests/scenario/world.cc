#include "tests/scenario/world.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/keys.h"

namespace dovetail::scenario {

using replica::Index;
using replica::NodeId;

namespace {

// 2030: so that clocks may be ten years off in both directions.
constexpr int64_t kWallStartMs = 1'893'456'000'000;

// An answer that needs more turns than this will never come.
constexpr int kRequestTurnsMax = 100'000;

// Between one sync and the next. What was sent by the one and lost is sent
// again by the other only if it can no longer be on its way.
constexpr absl::Duration kMoment = absl::Milliseconds(50);

uint64_t Mix(uint64_t x) {  // SplitMix64
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

template <class T>
bool Is(const replica::Envelope& envelope) {
  return std::holds_alternative<T>(envelope.message.body);
}

bool IsSync(const replica::Envelope& envelope) {
  return Is<replica::Summary>(envelope) || Is<replica::SyncDeltas>(envelope) ||
         Is<replica::RangeQuery>(envelope) ||
         Is<replica::RangeAnswer>(envelope);
}

bool IsRanges(const replica::Envelope& envelope) {
  return Is<replica::RangeQuery>(envelope) ||
         Is<replica::RangeAnswer>(envelope);
}

}  // namespace

// --- The cast ---

void World::AddNode(std::string name) {
  DOVETAIL_CHECK(!begun_);
  Node node;
  node.name = std::move(name);
  node.disk = options_.make_disk();
  nodes_.push_back(std::move(node));
}

void World::SetBucketTtl(const std::string& bucket, int64_t ttl_ms) {
  auto changed = std::make_shared<replica::BucketDefaults>(*buckets_);
  (*changed)[bucket].ttl_ms = static_cast<uint64_t>(ttl_ms);
  buckets_ = std::move(changed);
  if (!begun_) return;
  for (NodeId running : RunningNodes())
    ShardOf(running).HandleBuckets(buckets_);
}

absl::Status World::Begin() {
  DOVETAIL_CHECK(!begun_);
  begun_ = true;
  for (uint32_t i = 0; i < nodes_.size(); ++i) members_.push_back(NodeId{i});
  placement_ = MakePlacement();
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    DOVETAIL_RETURN_IF_ERROR(Start(NodeId{i}));
  }
  // They have heard of one another that there is nothing yet. From here on
  // only the script lets them talk.
  const Traffic all = [](NodeId, const replica::Envelope&) {
    return Fate::kDeliver;
  };
  for (NodeId node : RunningNodes()) TellReachable(node, all);
  for (NodeId node : RunningNodes()) {
    for (NodeId peer : RunningNodes()) {
      if (peer == node) continue;
      ShardOf(node).HandlePeerDown(peer, NowOf(At(node)));
    }
    EndTurn(node, all);
  }
  return fatal_;
}

replica::Placement World::MakePlacement() const {
  std::vector<replica::Placement::Member> members;
  std::vector<NodeId> named;
  std::vector<NodeId> clones;
  std::vector<NodeId> idle;  // members that weigh nothing
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    members.push_back({NodeId{i}, nodes_[i].name, "", ""});
    if (nodes_[i].clone) clones.push_back(NodeId{i});
  }
  for (NodeId member : members_) {
    (weightless_.contains(member) ? idle : named).push_back(member);
  }
  const size_t owners =
      owners_ == 0 ? named.size() : std::min<size_t>(owners_, named.size());
  std::vector<replica::Placement::Row> rows;
  for (uint32_t p = 0; p < partitions_; ++p) {
    replica::Placement::Row row;
    row.nodes = named;
    std::rotate(row.nodes.begin(),
                row.nodes.begin() + static_cast<std::ptrdiff_t>(
                                        p % std::max<size_t>(1, named.size())),
                row.nodes.end());
    // A clone counts as an owner, wherever its original stands.
    row.nodes.insert(row.nodes.begin() + static_cast<std::ptrdiff_t>(owners),
                     clones.begin(), clones.end());
    row.nodes.insert(row.nodes.end(), idle.begin(), idle.end());
    row.owners = static_cast<uint32_t>(owners + clones.size());
    if (epoch_ > 1) {
      row.owners_before = static_cast<uint32_t>(owners_before_[p].size());
      for (NodeId node : owners_before_[p]) {
        if (!gone_.contains(node)) row.before.push_back(node);
      }
    }
    rows.push_back(std::move(row));
  }
  return replica::Placement(epoch_, members, std::move(rows), epoch_ - 1);
}

std::vector<NodeId> World::RunningOwners(replica::PartitionId partition) const {
  std::vector<NodeId> owners = RunningNodes();
  std::erase_if(owners, [&](NodeId node) { return !Owns(node, partition); });
  return owners;
}

std::optional<NodeId> World::Find(const std::string& name) const {
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].name == name) return NodeId{i};
  }
  return std::nullopt;
}

std::vector<NodeId> World::RunningNodes() const {
  std::vector<NodeId> running;
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    if (IsRunning(NodeId{i})) running.push_back(NodeId{i});
  }
  return running;
}

// --- Turns ---

replica::Now World::NowOf(const Node& node) const {
  const int64_t wall =
      kWallStartMs + absl::ToInt64Milliseconds(steady_) + node.clock_offset_ms;
  return {steady_, static_cast<uint64_t>(std::max<int64_t>(wall, 0))};
}

bool World::Reaches(Network::Way way) const {
  return IsRunning(way.second) && !network_.IsCut(way);
}

void World::Release(NodeId node, const Traffic& traffic) {
  replica::Output output = At(node).shard->EndTurn(NowOf(At(node)));
  fatal_.Update(output.fatal);
  for (replica::ClientReply& reply : output.replies) {
    const replica::RequestId id = reply.id;
    replies_.insert_or_assign(id, std::move(reply));
  }
  for (replica::Envelope& envelope : output.messages) {
    const Network::Way way{node, envelope.to};
    const Fate fate = traffic(node, envelope);
    if (fate == Fate::kDeliver && Reaches(way)) {
      in_flight_.push_back({node, std::move(envelope)});
    } else if (fate != Fate::kDrop && Is<replica::Replicate>(envelope)) {
      network_.queue(way).push_back(
          {envelope.message.partition,
           std::get<replica::Replicate>(std::move(envelope.message.body))});
    }
  }
}

void World::EndTurn(NodeId node, const Traffic& traffic) {
  Release(node, traffic);
  while (!in_flight_.empty()) {
    InFlight next = std::move(in_flight_.front());
    in_flight_.pop_front();
    const NodeId to = next.envelope.to;
    At(to).shard->HandleMessage(next.from, std::move(next.envelope.message),
                                NowOf(At(to)));
    Release(to, traffic);
  }
}

// --- Operations ---

void World::TellReachable(NodeId who, const Traffic& traffic) {
  for (uint32_t i = 0; i < nodes_.size(); ++i) {
    const NodeId peer{i};
    if (peer == who) continue;
    if (Reaches({who, peer})) {
      ShardOf(who).HandlePeerUp(peer, NowOf(At(who)));
    } else {
      ShardOf(who).HandlePeerDown(peer, NowOf(At(who)));
    }
  }
  EndTurn(who, traffic);
}

absl::StatusOr<replica::ClientReply> World::Request(
    NodeId who, replica::ClientRequest request, const Traffic& traffic) {
  if (!IsRunning(who)) {
    return absl::UnavailableError(absl::StrCat(NameOf(who), " is stopped"));
  }
  const replica::RequestId id{next_request_++};
  request.id = id;
  ShardOf(who).HandleRequest(std::move(request), NowOf(At(who)));
  EndTurn(who, traffic);
  // A long clear goes on, turn by turn, without time passing.
  for (int turn = 0; !replies_.contains(id) && turn < kRequestTurnsMax &&
                     ShardOf(who).next_deadline() <= absl::ZeroDuration();
       ++turn) {
    ShardOf(who).HandleTimers(NowOf(At(who)));
    EndTurn(who, traffic);
  }
  // Whoever can be sent to but cannot answer is noticed to be gone, so that a
  // read asks somebody else.
  for (uint32_t i = 0; i < nodes_.size() && !replies_.contains(id); ++i) {
    if (NodeId{i} == who || Reaches({NodeId{i}, who})) continue;
    ShardOf(who).HandlePeerDown(NodeId{i}, NowOf(At(who)));
    EndTurn(who, traffic);
  }
  auto reply = replies_.extract(id);
  if (reply.empty()) {
    // Nobody is left to answer, and a deadline needs no time to pass to tell.
    return absl::DeadlineExceededError(
        "not all answered; the write may still take effect");
  }
  return std::move(reply.mapped());
}

absl::StatusOr<replica::WriteReply> World::Write(
    NodeId who, replica::WriteRequest request,
    const replica::RequestOptions& options, Reach reach) {
  const Traffic traffic = [this, reach](NodeId,
                                        const replica::Envelope& envelope) {
    if (IsSync(envelope)) return Fate::kDrop;
    if (reach == Reach::kAtOnce) return Fate::kDeliver;
    // What is queued goes to owners.
    return Owns(envelope.to, envelope.message.partition) ? Fate::kQueue
                                                         : Fate::kDrop;
  };
  if (reach == Reach::kAtOnce && IsRunning(who)) TellReachable(who, traffic);
  replica::ClientRequest message{
      .id = {}, .options = options, .body = std::move(request)};
  // A node that owns nothing of the key takes it all the same.
  message.options.here = true;
  DOVETAIL_ASSIGN_OR_RETURN(replica::ClientReply reply,
                            Request(who, std::move(message), traffic));
  if (!reply.body.ok()) return reply.body.status();
  return std::get<replica::WriteReply>(*std::move(reply.body));
}

absl::StatusOr<crdt::ReadResult> World::Read(
    NodeId who, replica::ReadRequest request,
    const replica::RequestOptions& options) {
  // A replica found to be behind is told to sync in production; here only the
  // script moves data.
  const Traffic traffic = [](NodeId, const replica::Envelope& envelope) {
    return IsSync(envelope) ? Fate::kDrop : Fate::kDeliver;
  };
  if (IsRunning(who) && (options.read.count > 1 || !request.only.empty())) {
    TellReachable(who, traffic);
  }
  replica::ClientRequest message{
      .id = {}, .options = options, .body = std::move(request)};
  // Alone, or with nodes that were named: what these hold is the answer.
  message.options.here = true;
  DOVETAIL_ASSIGN_OR_RETURN(replica::ClientReply reply,
                            Request(who, std::move(message), traffic));
  if (!reply.body.ok()) return reply.body.status();
  return std::get<replica::ReadReply>(*std::move(reply.body)).result;
}

absl::StatusOr<std::vector<crdt::ObjectId>> World::List(
    NodeId who, const std::string& bucket) {
  const Traffic nowhere = [](NodeId, const replica::Envelope&) {
    return Fate::kDrop;
  };
  replica::RequestOptions here;
  here.read = replica::Level::Count(1);
  here.here = true;
  std::vector<crdt::ObjectId> objects;
  for (;;) {
    replica::ListRequest list;
    list.bucket = bucket;
    if (!objects.empty()) list.after = objects.back();
    DOVETAIL_ASSIGN_OR_RETURN(
        replica::ClientReply reply,
        Request(who, {.id = {}, .options = here, .body = list}, nowhere));
    if (!reply.body.ok()) return reply.body.status();
    auto page = std::get<replica::ListReply>(*std::move(reply.body));
    DOVETAIL_CHECK(!page.more || !page.objects.empty());
    objects.insert(objects.end(), page.objects.begin(), page.objects.end());
    if (!page.more) return objects;
  }
}

uint64_t World::WallMs() const {
  return static_cast<uint64_t>(kWallStartMs +
                               absl::ToInt64Milliseconds(steady_));
}

void World::SetClock(NodeId who, int64_t offset_ms) {
  At(who).clock_offset_ms = offset_ms;
}

// --- Messages ---

bool World::ShipOne(Network::Way way, size_t index, ShipTerms terms) {
  Network::Queue& queue = network_.queue(way);
  DOVETAIL_CHECK(index < queue.size());
  if (!Reaches(way)) return false;
  const auto at = queue.begin() + static_cast<std::ptrdiff_t>(index);
  replica::Message message{at->partition, at->replicate};
  if (!terms.keep) queue.erase(at);
  const NodeId to = way.second;
  ShardOf(to).HandleMessage(way.first, std::move(message), NowOf(At(to)));
  EndTurn(to, [&](NodeId, const replica::Envelope& envelope) {
    const bool answer =
        Is<replica::Ack>(envelope) || Is<replica::Refuse>(envelope);
    return answer && terms.answered ? Fate::kDeliver : Fate::kDrop;
  });
  return true;
}

void World::SyncPair(NodeId a, NodeId b) {
  steady_ += kMoment;
  const Traffic between = [&](NodeId from, const replica::Envelope& envelope) {
    const bool ours =
        (from == a && envelope.to == b) || (from == b && envelope.to == a);
    return ours && IsSync(envelope) ? Fate::kDeliver : Fate::kDrop;
  };
  for (const auto& [self, peer] : {std::pair(a, b), std::pair(b, a)}) {
    if (!IsRunning(self)) continue;
    ShardOf(self).StartSync(peer, NowOf(At(self)));
    EndTurn(self, between);
  }
}

void World::RangeSync(NodeId healthy, NodeId stale,
                      const std::optional<std::string>& until) {
  const Traffic between = [&](NodeId from, const replica::Envelope& envelope) {
    const bool ours = (from == healthy && envelope.to == stale) ||
                      (from == stale && envelope.to == healthy);
    return ours && IsRanges(envelope) ? Fate::kDeliver : Fate::kDrop;
  };
  ShardOf(stale).StartRanges(healthy, NowOf(At(stale)), until);
  EndTurn(stale, between);
  // Whoever does not answer is not waited for.
  ShardOf(stale).HandlePeerDown(healthy, NowOf(At(stale)));
  EndTurn(stale, between);
}

void World::Scrub(NodeId node) {
  const Traffic repairs = [](NodeId, const replica::Envelope& envelope) {
    return IsSync(envelope) ? Fate::kDeliver : Fate::kDrop;
  };
  TellReachable(node, repairs);
  ShardOf(node).ScrubAll(NowOf(At(node)));
  EndTurn(node, repairs);
}

absl::Status World::MakeStale(NodeId node) {
  const Traffic nowhere = [](NodeId, const replica::Envelope&) {
    return Fate::kDrop;
  };
  for (NodeId other : RunningNodes()) {
    if (other == node) continue;
    for (uint32_t p = 0; p < partitions_; ++p) {
      const replica::PartitionId id{static_cast<uint16_t>(p)};
      DOVETAIL_RETURN_IF_ERROR(
          ShardOf(other).ForgetLog(id, ShardOf(node).ContextOf(id).applied));
    }
    EndTurn(other, nowhere);
  }
  return absl::OkStatus();
}

uint64_t World::DeltasApplied() const {
  uint64_t applied = 0;
  for (const Node& node : nodes_) {
    if (node.shard) applied += node.shard->stats().deltas_applied;
  }
  return applied;
}

void World::SyncAll() {
  uint64_t before = 0;
  do {
    before = DeltasApplied();
    for (uint32_t a = 0; a < nodes_.size(); ++a) {
      for (uint32_t b = a + 1; b < nodes_.size(); ++b) {
        SyncPair(NodeId{a}, NodeId{b});
      }
    }
  } while (DeltasApplied() != before);
}

// --- Faults ---

void World::Stop(NodeId node) {
  Node& n = At(node);
  DOVETAIL_CHECK(n.shard != nullptr);
  n.corruptions_before = CorruptionsOf(node);
  n.minting_lives = ActorsThatMinted(node);
  n.shard.reset();
  n.storage.reset();
}

void World::LoseDeltas(NodeId node, size_t count) {
  DOVETAIL_CHECK(!IsRunning(node));
  At(node).disk->CrashLosingDeltas(count);
}

crdt::ActorId World::DrawActor() {
  return crdt::MakeActorId(crdt::ActorKind::kNode,
                           Mix(Mix(options_.seed) + ++actors_drawn_));
}

absl::Status World::Start(NodeId node) {
  Node& n = At(node);
  DOVETAIL_CHECK(n.shard == nullptr);
  DOVETAIL_ASSIGN_OR_RETURN(n.storage, n.disk->Open());
  n.actors.push_back(DrawActor());
  absl::Status status = replica::RecordActor(*n.storage, n.actors.back());
  if (status.ok()) {
    n.shard = std::make_unique<replica::Shard>(
        shard_options_, placement_,
        replica::Shard::Identity{node, n.actors.back(), 0, 1}, *n.storage);
    status = n.shard->Open(NowOf(n));
    n.shard->HandleBuckets(buckets_);
  }
  if (!status.ok()) {
    n.shard.reset();
    n.storage.reset();
  }
  return status;
}

absl::Status World::MakeDurable(NodeId node) {
  return ShardOf(node).SyncToDisk();
}

std::unique_ptr<sim::Disk> World::CopyDisk(NodeId node) {
  return At(node).disk->Copy();
}

void World::ReplaceDisk(NodeId node, std::unique_ptr<sim::Disk> disk) {
  DOVETAIL_CHECK(!IsRunning(node));
  At(node).disk = std::move(disk);
}

void World::WipeDisk(NodeId node) {
  DOVETAIL_CHECK(!IsRunning(node));
  At(node).disk->Wipe();
}

absl::StatusOr<size_t> World::DamageRows(NodeId node,
                                         const crdt::ObjectId& object,
                                         bool flips) {
  DOVETAIL_CHECK(!IsRunning(node));
  const std::string begin = replica::MakeObjectKey(object).prefix;
  const std::string end = replica::RangeEnd(begin);
  sim::Disk& disk = *At(node).disk;
  return flips ? disk.Flip(replica::Family::kRows, begin, end)
               : disk.Erase(replica::Family::kRows, begin, end);
}

absl::Status World::Clone(NodeId node, std::string name) {
  Node copy;
  copy.name = std::move(name);
  copy.disk = CopyDisk(node);
  copy.clone = true;
  nodes_.push_back(std::move(copy));
  placement_ = MakePlacement();
  for (NodeId running : RunningNodes()) {
    ShardOf(running).HandlePlacement(placement_, NowOf(At(running)));
    // What it has to say to the newcomer, it says when the script lets it.
    EndTurn(running,
            [](NodeId, const replica::Envelope&) { return Fate::kDrop; });
  }
  return Start(NodeId{static_cast<uint32_t>(nodes_.size() - 1)});
}

// --- Inspection ---

replica::Shard& World::ShardOf(NodeId node) {
  DOVETAIL_CHECK(IsRunning(node));
  return *At(node).shard;
}

replica::Storage& World::StorageOf(NodeId node) {
  DOVETAIL_CHECK(IsRunning(node));
  return *At(node).storage;
}

int64_t World::ClockAheadMs(NodeId node) {
  return ShardOf(node).ClockAheadMs(NowOf(At(node)).wall_ms);
}

uint64_t World::CorruptionsOf(NodeId node) const {
  const Node& n = At(node);
  return n.corruptions_before + (n.shard ? n.shard->stats().corruptions : 0);
}

uint64_t World::ActorsThatMinted(NodeId node) const {
  const Node& n = At(node);
  const bool minted = n.shard && n.shard->stats().operations_minted > 0;
  return n.minting_lives + (minted ? 1 : 0);
}

}  // namespace dovetail::scenario
