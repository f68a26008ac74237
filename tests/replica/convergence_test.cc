// Random schedules over shards: any node takes any write at any time, messages
// are lost, repeated and reordered, processes die, disks lose their unsynced
// tail; in the end everybody must hold the same, byte for byte.
//
// DOVETAIL_SEED runs one schedule, DOVETAIL_SEEDS that many from 1.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/delta.h"
#include "doctest/doctest.h"
#include "tests/replica/cluster.h"
#include "tests/replica/random_operation.h"

namespace dovetail::replica {
namespace {

using crdt::Operation;
using crdt::Type;

struct Profile {
  bool power_loss = false;
  uint32_t steps = 80;
};

// One schedule of one seed.
class Schedule {
 public:
  Schedule(uint64_t seed, Profile profile)
      : rng_(seed),
        profile_(profile),
        cluster_(2 + rng_.Below(3), 1u << rng_.Below(3), Options()) {}

  void Run() {
    for (uint32_t step = 0; step < profile_.steps; ++step) Step();
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      if (!cluster_.running(node)) REQUIRE(cluster_.Start(node).ok());
    }
    Watch();
    const auto rounds = cluster_.Settle(80);
    CHECK(cluster_.Differences() == "");
    CHECK(rounds.has_value());
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      CHECK(cluster_.at(node).stats().corruptions == 0);
      if (!profile_.power_loss) {
        CHECK(cluster_.Show(node, Type::kCounter, "exact") ==
              absl::StrCat(counted_));
      }
    }
  }

 private:
  ShardOptions Options() {
    ShardOptions options;
    options.row_cache_bytes = rng_.OneIn(3) ? 0 : 1 << rng_.Below(20);
    options.inline_leaves_max = 1 + rng_.Below(4);
    options.sync_chunk_bytes = rng_.OneIn(2) ? 1 : 64 << 10;
    options.checkpoint_deltas = 1 + rng_.Below(30);
    options.truncate_entries_per_turn = 1 + rng_.Below(20);
    options.background_fsync = rng_.OneIn(2);
    options.big_leaf_rows = 1 + rng_.Below(8);
    options.piece_bits = static_cast<int>(rng_.Below(3));
    options.expiry_grace = absl::Milliseconds(rng_.Below(2000));
    return options;
  }

  void Step() {
    const uint32_t node = rng_.Below(cluster_.size());
    const uint32_t kind = rng_.Below(100);
    auto& network = cluster_.network();
    if (kind < 40) {
      if (cluster_.running(node)) Write(node);
    } else if (kind < 75) {
      if (!network.empty()) cluster_.Deliver(PickMessage());
    } else if (kind < 82) {
      if (!network.empty()) {
        network.erase(network.begin() +
                      static_cast<std::ptrdiff_t>(PickMessage()));
      }
    } else if (kind < 88) {
      if (!network.empty()) network.push_back(network[PickMessage()]);
    } else if (kind < 93) {
      cluster_.Advance(absl::Milliseconds(rng_.Below(1500)));
    } else if (cluster_.running(node)) {
      const auto lost = profile_.power_loss
                            ? rng_.Below(static_cast<uint32_t>(
                                  cluster_.disk(node).unsynced_batches() + 1))
                            : 0;
      cluster_.Crash(node, lost);
    } else {
      REQUIRE(cluster_.Start(node).ok());
    }
    Watch();
  }

  size_t PickMessage() {
    return rng_.Below(static_cast<uint32_t>(cluster_.network().size()));
  }

  void Write(uint32_t node) {
    if (rng_.OneIn(4)) {
      Operation count = Count("exact", 1 + rng_.Below(5));
      counted_ += count.amount;
      REQUIRE(cluster_.Write(node, count).ok());
      return;
    }
    std::vector<Operation> batch;
    batch.push_back(RandomOperation(rng_));
    if (rng_.OneIn(4)) {  // same key, so same partition
      Operation more = RandomOperation(rng_);
      more.object.key = batch[0].object.key;
      batch.push_back(more);
    }
    auto reply = cluster_.Take(cluster_.Begin(node, batch));
    // What has expired and is large goes first, in turns of its own.
    if (!reply.has_value()) return;
    // Has it expired? After a restart no clock is known but the own.
    if (absl::IsUnavailable(reply->body.status())) return;
    REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
  }

  // No event dot may ever name two different deltas.
  void Watch() {
    for (const Cluster::InFlight& item : cluster_.network()) {
      if (const auto* replicate = std::get_if<Replicate>(&item.message.body)) {
        WatchDelta(item.message.partition, replicate->delta);
      } else if (const auto* chunk =
                     std::get_if<SyncDeltas>(&item.message.body)) {
        for (const std::string& delta : chunk->deltas) {
          WatchDelta(item.message.partition, delta);
        }
      }
    }
  }
  void WatchDelta(PartitionId partition, const std::string& bytes) {
    const auto delta = crdt::Delta::Decode(bytes);
    REQUIRE(delta.ok());
    for (uint64_t i = 0; i < delta->events.count; ++i) {
      const crdt::Dot dot{delta->events.actor, delta->events.first + i};
      auto [it, first_time] = seen_.try_emplace({partition, dot}, bytes);
      REQUIRE(it->second == bytes);
    }
  }

  Rng rng_;
  const Profile profile_;
  Cluster cluster_;
  int64_t counted_ = 0;
  std::map<std::pair<PartitionId, crdt::Dot>, std::string> seen_;
};

void RunProfile(const std::string& test, Profile profile) {
  RunSeeds(test, 250, [&](uint64_t seed) { Schedule(seed, profile).Run(); });
}

TEST_CASE("Convergence: any schedule of writes, losses and crashes heals") {
  RunProfile("Convergence: any schedule*", {});
}

TEST_CASE("Convergence: power losses of unsynced writes heal too") {
  RunProfile("Convergence: power losses*", {.power_loss = true});
}

}  // namespace
}  // namespace dovetail::replica
