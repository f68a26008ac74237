// What a partition says of itself after RocksDB lost the end of its history:
// never that it applied an event whose rows are gone.
#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/codec.h"
#include "replica/keys.h"
#include "replica/log_entry.h"
#include "replica/shard.h"
#include "tests/replica/storage_testing.h"
#include "tests/sim/fault_disk.h"
#include "tests/sim/sim_disk.h"

namespace dovetail::replica {
namespace {

using sim::PowerFailure;
using sim::UnsyncedNames;
using sim::UnsyncedPages;

constexpr PartitionId kPartition{0};
constexpr Now kNow{absl::Seconds(1), 1'700'000'000'000};

crdt::Operation RandomOperation(std::mt19937_64& random) {
  crdt::Operation operation;
  const std::string key = absl::StrCat("k", random() % 5);
  switch (random() % 4) {
    case 0:
      operation.object = {"b", key, crdt::Type::kCounter};
      operation.verb = crdt::Verb::kAdd;
      operation.amount = static_cast<int64_t>(1 + random() % 9);
      break;
    case 1:
      operation.object = {"b", key, crdt::Type::kRegister};
      operation.verb = crdt::Verb::kWrite;
      operation.value = std::string(random() % 200, 'v');
      break;
    case 2:
      operation.object = {"b", key, crdt::Type::kSet};
      operation.verb = crdt::Verb::kRemove;
      operation.elements = {absl::StrCat(random() % 6)};
      break;
    default:
      operation.object = {"b", key, crdt::Type::kSet};
      operation.verb = crdt::Verb::kAdd;
      operation.elements = {absl::StrCat(random() % 6)};
      break;
  }
  return operation;
}

// One of two replicas of one partition.
struct Replica {
  void Start(NodeId self, uint64_t actor) {
    const crdt::ActorId id = crdt::MakeActorId(crdt::ActorKind::kNode, actor);
    REQUIRE(RecordActor(*storage, id).ok());
    shard = std::make_unique<Shard>(options, placement,
                                    Shard::Identity{self, id, 0, 1}, *storage);
    const absl::Status opened = shard->Open(kNow);
    REQUIRE_MESSAGE(opened.ok(), opened.ToString());
  }
  void Stop() {
    shard.reset();
    storage.reset();
  }

  const ShardOptions options;
  const Placement placement{2, 1};
  std::unique_ptr<Storage> storage;
  std::unique_ptr<Shard> shard;
  std::deque<Message> inbox;
};

// A state that the replica was in between two turns.
struct Snapshot {
  crdt::EventSet applied;
  crdt::EventSet superseded;
  std::vector<std::string> rows;
};

// E as it stands on disk, read with none of the partition's code.
crdt::EventSet EventsOnDisk(Storage& storage) {
  crdt::EventSet events;
  const auto checkpoint =
      MustGet(storage, Family::kMeta, CheckpointKey(kPartition));
  if (checkpoint.has_value()) {
    crdt::Reader in(*checkpoint);
    in.ExpectVersion();
    in.Varint();
    auto stored = crdt::EventSet::ReadFrom(in);
    REQUIRE(stored.ok());
    events = *std::move(stored);
  }
  const std::string prefix = LogPrefix(kPartition);
  const absl::Status scanned =
      storage.Scan(Family::kLog, prefix, RangeEnd(prefix),
                   [&](absl::string_view key, absl::string_view value) {
                     const auto entry = DecodeLogEntry(key, value);
                     REQUIRE(entry.ok());
                     events.InsertRun(entry->events);
                     return true;
                   });
  REQUIRE(scanned.ok());
  return events;
}

class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed) {
    rocks_.storage = MustOpen(disk_);
    rocks_.Start(NodeId{0}, next_actor_++);
    other_.storage = MustOpen(other_disk_);
    other_.Start(NodeId{1}, next_actor_++);
    Note();
  }

  void Step() {
    switch (random_() % 16) {
      case 0:
        REQUIRE(rocks_.shard->SyncToDisk().ok());
        history_.erase(history_.begin(), history_.end() - 1);
        break;
      case 1:
        rocks_.shard->CheckpointAll();
        EndTurn(rocks_, other_);
        break;
      case 2:
        rocks_.shard->StartSync(NodeId{1}, kNow);
        EndTurn(rocks_, other_);
        other_.shard->StartSync(NodeId{0}, kNow);
        EndTurn(other_, rocks_);
        break;
      case 3:
        REQUIRE(other_.shard->SyncToDisk().ok());
        rocks_.shard->TruncateLogs();
        EndTurn(rocks_, other_);
        break;
      case 4:
      case 5:
      case 6:
        Write(other_, rocks_);
        break;
      case 7:
      case 8:
      case 9:
      case 10:
        Write(rocks_, other_);
        break;
      default:
        Deliver(random_() % 2 == 0 ? rocks_ : other_);
    }
    Note();
  }

  void Crash() {
    rocks_.Stop();
    if (random_() % 2 == 0) {
      disk_.CrashLosingBatches(random_() % 12);
    } else {
      disk_.Crash({UnsyncedPages::kTorn, UnsyncedNames::kPrefix, random_()});
    }
    rocks_.storage = MustOpen(disk_);
    rocks_.Start(NodeId{0}, next_actor_++);
    rocks_.inbox.clear();
    CheckFound();
    history_.clear();
    Note();
  }

  int lost() const { return lost_; }

 private:
  void Write(Replica& at, Replica& peer) {
    std::vector<crdt::Operation> operations;
    for (uint64_t left = 1 + random_() % 2; left > 0; --left) {
      operations.push_back(RandomOperation(random_));
    }
    RequestOptions options;
    options.write = Level::Count(1);
    at.shard->HandleRequest({RequestId{next_request_++}, options,
                             WriteRequest{std::move(operations)}},
                            kNow);
    EndTurn(at, peer);
  }

  // Any of the messages, and now and then it stays for another time or is lost.
  void Deliver(Replica& to) {
    if (to.inbox.empty()) return;
    const auto at = static_cast<ptrdiff_t>(random_() % to.inbox.size());
    Message message = to.inbox[static_cast<size_t>(at)];
    const uint64_t fate = random_() % 8;
    if (fate != 0) to.inbox.erase(to.inbox.begin() + at);
    if (fate == 1) return;
    Replica& from = &to == &rocks_ ? other_ : rocks_;
    to.shard->HandleMessage(&to == &rocks_ ? NodeId{1} : NodeId{0},
                            std::move(message), kNow);
    EndTurn(to, from);
  }

  static void EndTurn(Replica& at, Replica& peer) {
    Output output = at.shard->EndTurn(kNow);
    REQUIRE(output.fatal.ok());
    for (Envelope& envelope : output.messages) {
      peer.inbox.push_back(std::move(envelope.message));
    }
  }

  void Note() {
    auto rows = rocks_.shard->DumpRows(kPartition);
    REQUIRE(rows.ok());
    const crdt::Context& context = rocks_.shard->ContextOf(kPartition);
    history_.push_back({context.applied, context.superseded, *std::move(rows)});
  }

  void CheckFound() {
    const crdt::Context& found = rocks_.shard->ContextOf(kPartition);
    CHECK(found.applied == EventsOnDisk(*rocks_.storage));
    CHECK(rocks_.shard->VerifyDigests().ok());
    // The newest first: a turn may change nothing of the events.
    const auto was = std::find_if(
        history_.rbegin(), history_.rend(), [&found](const Snapshot& snapshot) {
          return snapshot.applied == found.applied &&
                 snapshot.superseded == found.superseded;
        });
    REQUIRE_MESSAGE(was != history_.rend(), "events that never were all of E");
    const auto rows = rocks_.shard->DumpRows(kPartition);
    REQUIRE(rows.ok());
    CHECK(*rows == was->rows);
    if (!(found.applied == history_.back().applied)) ++lost_;
  }

  std::mt19937_64 random_;
  sim::FaultDisk disk_;
  sim::MemoryDisk other_disk_;
  Replica rocks_;
  Replica other_;
  uint64_t next_actor_ = 1;
  uint64_t next_request_ = 1;
  std::vector<Snapshot> history_;  // since the last sync, the oldest first
  int lost_ = 0;
};

TEST_CASE("Adapter: whatever a crash takes, E has no event without its rows") {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    Pair pair(seed);
    for (int crash = 0; crash < 8; ++crash) {
      for (int step = 0; step < 40; ++step) pair.Step();
      pair.Crash();
    }
    lost += pair.lost();
  }
  std::printf("events were lost in %d of 96 crashes\n", lost);
  CHECK(lost > 20);
}

}  // namespace
}  // namespace dovetail::replica
