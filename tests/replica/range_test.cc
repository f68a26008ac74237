// Random schedules in which logs do not reach: disks are wiped, set back and
// damaged, logs forgotten, syncs by ranges begun and cut short at any place. In
// the end every delta that was ever made arrives everywhere, late as it may be;
// then all must hold what one replica holds that got each of them once.
//
// DOVETAIL_SEED runs one schedule, DOVETAIL_SEEDS that many from 1.
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "crdt/delta.h"
#include "doctest/doctest.h"
#include "replica/keys.h"
#include "replica/log_entry.h"
#include "tests/replica/cluster.h"
#include "tests/replica/random_operation.h"

namespace dovetail::replica {
namespace {

struct Profile {
  bool wipes = false;
  bool damages = false;
  uint32_t steps = 120;
};

class Schedule {
 public:
  Schedule(uint64_t seed, Profile profile)
      : rng_(seed),
        profile_(profile),
        partitions_(1u << rng_.Below(2)),
        cluster_(2 + rng_.Below(3), partitions_, Options()) {
    backup_.resize(cluster_.size());
  }

  void Run() {
    for (uint32_t step = 0; step < profile_.steps; ++step) Step();
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      if (!cluster_.running(node)) REQUIRE(cluster_.Start(node).ok());
      cluster_.Scrub(node);
    }
    EverythingArrives();
    const auto rounds = cluster_.Settle(200);
    CHECK(cluster_.Differences() == "");
    CHECK(rounds.has_value());
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      cluster_.Scrub(
          node);  // of the index, which the slow pass is too slow for
    }
    CompareWithOneThatSawAll();
  }

 private:
  ShardOptions Options() {
    ShardOptions options;
    options.row_cache_bytes = rng_.OneIn(3) ? 0 : 1 << rng_.Below(20);
    options.inline_leaves_max = 1 + rng_.Below(4);
    // Every delta is made by a write here, so that one replica can have all.
    options.expiry_grace = absl::Hours(1000);
    options.range_chunk_bytes = rng_.OneIn(2) ? 1 : 64 << 10;
    options.sync_chunk_bytes = rng_.OneIn(2) ? 1 : 64 << 10;
    options.checkpoint_deltas = 1 + rng_.Below(30);
    options.scrub_rows_per_round = rng_.Below(50);
    if (rng_.OneIn(2)) {
      options.big_leaf_rows = 1 + rng_.Below(6);
      options.piece_bits = static_cast<int>(rng_.Below(3));
      options.divide_rows_per_round = 1 + rng_.Below(10);
    }
    return options;
  }

  void Step() {
    const uint32_t node = rng_.Below(cluster_.size());
    const uint32_t kind = rng_.Below(100);
    auto& network = cluster_.network();
    if (kind < 35) {
      if (cluster_.running(node)) Write(node);
    } else if (kind < 65) {
      if (!network.empty()) cluster_.Deliver(PickMessage());
    } else if (kind < 70) {
      if (!network.empty()) {
        network.erase(network.begin() +
                      static_cast<std::ptrdiff_t>(PickMessage()));
      }
    } else if (kind < 73) {
      if (!network.empty()) network.push_back(network[PickMessage()]);
    } else if (kind < 78) {
      cluster_.Advance(absl::Milliseconds(rng_.Below(1500)));
    } else if (kind < 88) {
      const uint32_t source = rng_.Below(cluster_.size());
      if (source != node && cluster_.running(node)) {
        cluster_.StartRanges(node, source);
      }
    } else if (kind < 91) {
      if (cluster_.running(node)) cluster_.ForgetLog(node);
    } else if (!cluster_.running(node)) {
      REQUIRE(cluster_.Start(node).ok());
    } else {
      Fault(node);
    }
  }

  void Fault(uint32_t node) {
    const uint32_t kind = rng_.Below(6);
    const bool damages = kind >= 3 && profile_.damages && OthersHaveAllOf(node);
    if (kind == 0 && profile_.wipes) {
      backup_[node] = cluster_.disk(node);
      return;
    }
    cluster_.Crash(node, rng_.Below(static_cast<uint32_t>(
                             cluster_.disk(node).unsynced_batches() + 1)));
    if (kind == 1 && profile_.wipes) cluster_.disk(node).Wipe();
    if (kind == 2 && profile_.wipes && backup_[node]) {
      cluster_.disk(node) = *backup_[node];
    }
    if (damages) {
      Damage(node);
      REQUIRE(cluster_.Start(node).ok());
      cluster_.Scrub(node);  // before it can be a source
    }
  }

  // Two damages in one place are a loss, which nothing can mend.
  bool OthersHaveAllOf(uint32_t node) {
    for (uint32_t other = 0; other < cluster_.size(); ++other) {
      if (!cluster_.running(other)) return false;
      const ShardStats stats = cluster_.at(other).stats();
      if (stats.filling + stats.quarantined > 0) return false;
      for (uint32_t p = 0; p < partitions_; ++p) {
        const PartitionId id{static_cast<uint16_t>(p)};
        if (!cluster_.at(node).ContextOf(id).applied.IsSubsetOf(
                cluster_.at(other).DurableOf(id))) {
          return false;
        }
      }
    }
    return true;
  }

  void Damage(uint32_t node) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : cluster_.disk(node).keys(Family::kRows)) {
      keys.push_back(key);
    }
    if (keys.empty()) return;
    WriteBatch batch;
    for (uint32_t i = 0; i <= rng_.Below(3); ++i) {
      const std::string& key =
          keys[rng_.Below(static_cast<uint32_t>(keys.size()))];
      std::string value = cluster_.disk(node).keys(Family::kRows).at(key);
      if (rng_.OneIn(2) || value.empty()) {
        batch.Delete(Family::kRows, key);
      } else {
        value[rng_.Below(static_cast<uint32_t>(value.size()))] ^=
            static_cast<char>(1 << rng_.Below(8));
        batch.Put(Family::kRows, key, value);
      }
    }
    sim::SimStorage storage(cluster_.disk(node));
    REQUIRE(storage.Commit(batch, CommitMode::kSynced).ok());
  }

  size_t PickMessage() {
    return rng_.Below(static_cast<uint32_t>(cluster_.network().size()));
  }

  void Write(uint32_t node) {
    RequestOptions options = Cluster::W(1);
    options.here = true;
    const RequestId id = cluster_.Begin(node, {RandomOperation(rng_)}, options);
    auto reply = cluster_.Take(id);
    // What has expired and is large goes first, in turns of its own.
    for (int part = 0; !reply.has_value(); ++part) {
      REQUIRE(part < 100);
      Record(node);
      cluster_.Advance(absl::Microseconds(1));
      reply = cluster_.Take(id);
    }
    // Not while it is damaged.
    if (reply->body.ok()) Record(node);
  }
  void Record(uint32_t node) {
    for (const auto& [key, value] : cluster_.disk(node).keys(Family::kLog)) {
      const auto entry = DecodeLogEntry(key, value);
      REQUIRE(entry.ok());
      made_.try_emplace(key, entry->delta);
    }
  }

  static PartitionId PartitionOfLogKey(const std::string& key) {
    return PartitionId{static_cast<uint16_t>(ReadBigEndian(key.substr(0, 2)))};
  }

  void EverythingArrives() {
    for (const auto& [key, delta] : made_) {
      for (uint32_t node = 0; node < cluster_.size(); ++node) {
        cluster_.network().push_back(
            {NodeId{(node + 1) % cluster_.size()}, NodeId{node},
             Message{PartitionOfLogKey(key), Replicate{delta, false}}});
      }
    }
    while (!cluster_.network().empty()) cluster_.Deliver(PickMessage());
  }

  void CompareWithOneThatSawAll() {
    Cluster one(2, partitions_);
    // Under an actor of its own: nobody else may mint as it.
    one.Crash(0);
    one.Crash(1);
    one.SkipActors(1000);
    REQUIRE(one.Start(0).ok());
    for (const auto& [key, delta] : made_) {
      one.network().push_back(
          {NodeId{1}, NodeId{0},
           Message{PartitionOfLogKey(key), Replicate{delta, false}}});
    }
    one.DeliverAll();
    for (uint32_t p = 0; p < partitions_; ++p) {
      const PartitionId id{static_cast<uint16_t>(p)};
      CHECK(one.at(0).ContextOf(id) == cluster_.at(0).ContextOf(id));
      const auto expected = one.at(0).DumpRows(id);
      const auto rows = cluster_.at(0).DumpRows(id);
      REQUIRE(expected.ok());
      REQUIRE(rows.ok());
      CHECK(*expected == *rows);
    }
    for (uint32_t node = 0; node < cluster_.size(); ++node) {
      CHECK(cluster_.at(node).VerifyDigests().ok());
      CHECK(cluster_.disk(node).keys(Family::kIndex) ==
            one.disk(0).keys(Family::kIndex));
    }
  }

  Rng rng_;
  const Profile profile_;
  const uint32_t partitions_;
  Cluster cluster_;
  std::vector<std::optional<sim::SimDisk>> backup_;
  std::map<std::string, std::string> made_;  // log key → delta
};

void RunProfile(const std::string& test, Profile profile) {
  RunSeeds(test, 300, [&](uint64_t seed) { Schedule(seed, profile).Run(); });
}

TEST_CASE("Ranges: whatever is forgotten by logs comes by ranges") {
  RunProfile("Ranges: whatever is forgotten*", {});
}

TEST_CASE("Ranges: wiped and restored disks are brought up to date") {
  RunProfile("Ranges: wiped and restored*", {.wipes = true});
}

TEST_CASE("Ranges: damaged rows are put back as they were") {
  RunProfile("Ranges: damaged rows*", {.damages = true});
}

TEST_CASE("Ranges: wiped, restored and damaged disks heal together") {
  RunProfile("Ranges: wiped, restored and damaged*",
             {.wipes = true, .damages = true});
}

}  // namespace
}  // namespace dovetail::replica
