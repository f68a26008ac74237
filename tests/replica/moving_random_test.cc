// Random schedules in which rings follow one another, each with one owner
// replaced, while clients write and read with strict quorums, messages are
// lost, repeated and reordered, nodes hear of rings late, and one at a time
// crashes. A read must show what had been acknowledged when it began; in the
// end owners hold all of it, and others nothing.
//
// DOVETAIL_SEED runs one schedule, DOVETAIL_SEEDS that many from 1.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "doctest/doctest.h"
#include "tests/replica/moving.h"
#include "tests/replica/random_operation.h"

namespace dovetail::replica {
namespace {

constexpr uint32_t kNodes = 6;
constexpr uint32_t kKeys = 3;

class Schedule {
 public:
  explicit Schedule(uint64_t seed)
      : rng_(seed), cluster_(Made(kNodes, ring_), Options()) {}

  void Run() {
    for (int step = 0; step < 600; ++step) Step();
    if (down_) Restart();
    TellAll();
    for (int round = 0; round < 60 && !IsSettled(); ++round) {
      cluster_.DeliverAll();
      cluster_.Advance(absl::Seconds(1));
    }
    CHECK(IsSettled());
    CheckEnd();
  }
  int reads() const { return reads_; }

 private:
  ShardOptions Options() {
    ShardOptions options;
    options.range_chunk_bytes = rng_.OneIn(2) ? 1 : 64 << 10;
    options.sync_chunk_bytes = rng_.OneIn(2) ? 1 : 64 << 10;
    options.checkpoint_deltas = 1 + rng_.Below(30);
    options.request_timeout_default = absl::Seconds(10);
    return options;
  }

  void Step() {
    const uint32_t kind = rng_.Below(100);
    auto& network = cluster_.network();
    if (kind < 12) {
      Write();
    } else if (kind < 22) {
      Read();
    } else if (kind < 82) {
      for (uint32_t i = 0; i < 4 && !network.empty(); ++i) {
        cluster_.Deliver(Pick());
      }
    } else if (kind < 84) {
      if (!network.empty()) {
        network.erase(network.begin() + static_cast<std::ptrdiff_t>(Pick()));
      }
    } else if (kind < 85) {
      if (!network.empty()) network.push_back(network[Pick()]);
    } else if (kind < 91) {
      cluster_.Advance(absl::Milliseconds(rng_.Below(1200)));
    } else if (kind < 93) {
      if (down_) {
        Restart();
      } else {
        down_ = rng_.Below(kNodes);
        cluster_.Crash(*down_);
        Forget(*down_);
      }
    } else if (!late_.empty()) {
      Tell(*std::next(late_.begin(), rng_.Below(late_.size())));
    } else if (kind < 97) {
      Commit();
    } else if (!down_ && cluster_.running(0)) {
      cluster_.ForgetLog(rng_.Below(kNodes));
    }
    Collect();
  }

  size_t Pick() {
    return rng_.Below(static_cast<uint32_t>(cluster_.network().size()));
  }
  std::optional<uint32_t> RunningNode() {
    const uint32_t node = rng_.Below(kNodes);
    if (!cluster_.running(node)) return std::nullopt;
    return node;
  }
  static std::string KeyOf(uint32_t number) {
    return absl::StrCat("s", number % kKeys);
  }

  void Write() {
    const auto node = RunningNode();
    if (!node) return;
    const uint32_t number = next_element_++;
    const RequestId id = cluster_.Begin(
        *node, {AddTo(KeyOf(number), {absl::StrCat("e", number)})},
        Strict(Level::One()));
    writes_[id] = {*node, number};
  }

  void Read() {
    const auto node = RunningNode();
    // A read by nodes of which none has heard of a ring may miss what is
    // written by it.
    if (!node || !late_.empty()) return;
    const uint32_t key = rng_.Below(kKeys);
    crdt::ReadSpec spec;
    spec.object = AddTo(KeyOf(key), {"x"}).object;
    spec.limit = 1000;
    Expected expected;
    expected.node = *node;
    for (const uint32_t number : acknowledged_) {
      if (number % kKeys != key) continue;
      expected.elements.insert(absl::StrCat("e", number));
    }
    const RequestId id =
        cluster_.BeginRead(*node, spec, Strict(Level::Quorum()));
    pending_reads_[id] = std::move(expected);
  }

  void Collect() {
    for (auto it = writes_.begin(); it != writes_.end();) {
      const auto reply = cluster_.Take(it->first);
      if (!reply) {
        ++it;
        continue;
      }
      if (reply->body.ok()) acknowledged_.insert(it->second.second);
      it = writes_.erase(it);
    }
    for (auto it = pending_reads_.begin(); it != pending_reads_.end();) {
      auto reply = cluster_.Take(it->first);
      if (!reply) {
        ++it;
        continue;
      }
      if (reply->body.ok()) {
        ++reads_;
        Compare(std::get<ReadReply>(*reply->body).result, it->second.elements);
      }
      it = pending_reads_.erase(it);
    }
  }

  static void Compare(const crdt::ReadResult& result,
                      const std::set<std::string>& expected) {
    const std::set<std::string> shown(result.view.values.begin(),
                                      result.view.values.end());
    for (const std::string& element : expected) {
      INFO("missing: " << element);
      REQUIRE(shown.contains(element));
    }
  }

  // Its process is gone, and with it whoever waited there.
  void Forget(uint32_t node) {
    std::erase_if(
        writes_, [&](const auto& write) { return write.second.first == node; });
    std::erase_if(pending_reads_,
                  [&](const auto& read) { return read.second.node == node; });
    late_.erase(node);
  }
  void Restart() {
    REQUIRE(cluster_.Start(*down_).ok());
    down_.reset();
  }

  bool AllComplete() {
    for (uint32_t node = 0; node < kNodes; ++node) {
      if (!cluster_.running(node) || cluster_.at(node).stats().incomplete > 0) {
        return false;
      }
    }
    return true;
  }

  void Commit() {
    if (!AllComplete()) return;  // as Cluster::Commit refuses it
    RingOf next{ring_.epoch + 1, ring_.owners, ring_.owners};
    uint32_t by = rng_.Below(kNodes);
    while (std::count(next.owners.begin(), next.owners.end(), by) > 0) {
      by = rng_.Below(kNodes);
    }
    next.owners[rng_.Below(3)] = by;
    ring_ = next;
    cluster_.Announce(Made(kNodes, ring_));
    for (uint32_t node = 0; node < kNodes; ++node) late_.insert(node);
  }
  void Tell(uint32_t node) {
    late_.erase(node);
    cluster_.Tell(node);
  }
  void TellAll() {
    while (!late_.empty()) Tell(*late_.begin());
  }

  bool IsOwner(uint32_t node) const {
    return std::count(ring_.owners.begin(), ring_.owners.end(), node) > 0;
  }
  bool IsSettled() {
    if (!AllComplete()) return false;
    const crdt::Context& first = cluster_.at(ring_.owners[0]).ContextOf(kOnly);
    for (uint32_t node = 0; node < kNodes; ++node) {
      const crdt::Context& its = cluster_.at(node).ContextOf(kOnly);
      if (IsOwner(node) ? its != first : !its.applied.empty()) return false;
    }
    return true;
  }

  void CheckEnd() {
    const auto rows = cluster_.at(ring_.owners[0]).DumpRows(kOnly);
    REQUIRE(rows.ok());
    for (uint32_t node = 0; node < kNodes; ++node) {
      CHECK(cluster_.at(node).VerifyDigests().ok());
      const auto its = cluster_.at(node).DumpRows(kOnly);
      REQUIRE(its.ok());
      if (IsOwner(node)) CHECK(*its == *rows);
    }
    for (const uint32_t number : acknowledged_) {
      const bool there =
          std::any_of(rows->begin(), rows->end(), [&](const std::string& row) {
            return row.find(absl::StrCat("|e", number, "\\")) !=
                   std::string::npos;
          });
      INFO("acknowledged and lost: e" << number);
      CHECK(there);
    }
  }

  struct Expected {
    uint32_t node = 0;
    std::set<std::string> elements;
  };

  Rng rng_;
  RingOf ring_{1, {0, 1, 2}};
  Cluster cluster_;
  std::optional<uint32_t> down_;
  std::set<uint32_t> late_;  // who has not heard of the newest ring
  uint32_t next_element_ = 0;
  std::map<RequestId, std::pair<uint32_t, uint32_t>> writes_;
  std::map<RequestId, Expected> pending_reads_;
  std::set<uint32_t> acknowledged_;
  int reads_ = 0;
};

TEST_CASE("Filling: whatever comes between, nothing acknowledged is missed") {
  int reads = 0;
  int seeds = 0;
  RunSeeds("Filling: whatever comes between*", 150, [&](uint64_t seed) {
    Schedule schedule(seed);
    schedule.Run();
    reads += schedule.reads();
    ++seeds;
  });
  CHECK(reads > 3 * seeds);
}

}  // namespace
}  // namespace dovetail::replica
