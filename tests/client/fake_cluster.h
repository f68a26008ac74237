// Fake nodes that show a client a cluster, for tests of how it follows rings.
#ifndef DOVETAIL_TESTS_CLIENT_FAKE_CLUSTER_H_
#define DOVETAIL_TESTS_CLIENT_FAKE_CLUSTER_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "replica/cluster_config.h"
#include "replica/hash.h"
#include "replica/ring.h"
#include "src/client/client.h"
#include "src/client/steady_clock.h"
#include "tests/client/fake_node.h"
#include "tests/client/submitting.h"

namespace dovetail {

using internal::SteadyNow;
using replica::NodeId;
using replica::PartitionId;

inline constexpr uint32_t kPartitions = 16;

// Until `done`, looking again and again; a test that waits in vain fails.
inline void Await(const std::function<bool()>& done) {
  const absl::Duration end = SteadyNow() + absl::Seconds(20);
  while (!done()) {
    if (SteadyNow() > end) FAIL("it never came about");
    std::this_thread::yield();
  }
}

inline replica::RingMember Member(uint64_t id, std::string zone = "",
                                  std::string region = "") {
  replica::RingMember member;
  member.id = NodeId{id};
  member.name = absl::StrCat("n", id);
  member.zone = std::move(zone);
  member.region = std::move(region);
  return member;
}

inline replica::CommittedRing RingOf(
    std::vector<replica::RingMember> members, uint32_t replicas,
    uint64_t epoch = 1, std::vector<replica::Hash128> ancestors = {}) {
  replica::RingSpec spec;
  spec.epoch = epoch;
  spec.partitions = kPartitions;
  spec.replicas = replicas;
  spec.members = std::move(members);
  auto ring =
      replica::CommittedRing::Make(spec, NodeId{1}, std::move(ancestors));
  REQUIRE_MESSAGE(ring.ok(), ring.status().ToString());
  return *std::move(ring);
}

// Nodes that agree on a ring. Each member is alive where nodes can see it.
class FakeCluster {
 public:
  explicit FakeCluster(const replica::CommittedRing& ring) : ring_(ring) {
    for (const replica::RingMember& member : ring.ring().members) {
      nodes_[member.id] = std::make_unique<FakeNode>();
      addresses_[member.id] = nodes_[member.id]->address();
    }
    Publish();
  }

  FakeNode& node(uint64_t id) { return *nodes_.at(NodeId{id}); }
  std::string address(uint64_t id) const { return addresses_.at(NodeId{id}); }
  void SetAddress(uint64_t id, std::string address) {
    addresses_[NodeId{id}] = std::move(address);
  }
  void SetCondition(uint64_t id, net::Condition condition) {
    conditions_[NodeId{id}] = condition;
  }

  void Kill(uint64_t id) { nodes_.erase(NodeId{id}); }
  // At its old address, empty.
  void Restart(uint64_t id) {
    const std::string address = addresses_.at(NodeId{id});
    nodes_[NodeId{id}] = std::make_unique<FakeNode>(static_cast<uint16_t>(
        std::stoi(address.substr(address.find(':') + 1))));
    Publish();
  }

  // All nodes go by `ring` from now on, or one of them alone.
  void Commit(const replica::CommittedRing& ring) {
    ring_ = ring;
    Publish();
  }
  void CommitAt(uint64_t id, const replica::CommittedRing& ring) {
    Tell(NodeId{id}, ring);
  }
  void Publish() {
    for (const auto& [id, node] : nodes_) Tell(id, ring_);
  }

  NodeId FirstOwner(const std::string& key) const {
    return Owners(key).front();
  }
  std::vector<NodeId> Owners(const std::string& key) const {
    const auto ring = replica::Ring::Compute(ring_.ring());
    const auto owners =
        ring->Owners(replica::PartitionOf("b", key, kPartitions));
    return {owners.begin(), owners.end()};
  }
  // The n-th key whose first owner is `id`.
  std::string KeyOf(uint64_t id, int n = 0) const {
    for (int i = 0;; ++i) {
      const std::string key = absl::StrCat("k", i);
      if (FirstOwner(key) == NodeId{id} && n-- == 0) return key;
    }
  }
  size_t Asked(uint64_t id, const std::string& key) {
    const std::vector<std::string> keys = node(id).keys();
    return static_cast<size_t>(std::count(keys.begin(), keys.end(), key));
  }

 private:
  void Tell(NodeId id, const replica::CommittedRing& ring) {
    net::ClusterView view;
    view.cluster = "fake";
    view.node = id;
    replica::ClusterConfig config;
    config.ring = ring;
    view.config = replica::EncodeClusterConfig(config);
    for (const replica::RingMember& member : ring_.ring().members) {
      net::ClusterMember row;
      row.id = member.id;
      row.name = member.name;
      row.zone = member.zone;
      row.region = member.region;
      row.client_address = addresses_.at(member.id);
      row.condition = net::Condition::kAlive;
      const auto condition = conditions_.find(member.id);
      if (condition != conditions_.end()) row.condition = condition->second;
      view.members.push_back(row);
    }
    nodes_.at(id)->SetView(view);
    nodes_.at(id)->SetHello(id, ring.epoch());
    nodes_.at(id)->SetRing(ring.stamp());
  }

  replica::CommittedRing ring_;
  std::map<NodeId, std::unique_ptr<FakeNode>> nodes_;
  std::map<NodeId, std::string> addresses_;
  std::map<NodeId, net::Condition> conditions_;
};

inline std::unique_ptr<Client> Open(const std::vector<std::string>& nodes,
                                    const ClientOptions& options = {}) {
  auto client = Client::Connect(nodes, options);
  REQUIRE_MESSAGE(client.ok(), client.status().ToString());
  return *std::move(client);
}

// Reads `key` until the read arrives at node `id`.
inline void AwaitRoute(Client& client, FakeCluster& cluster, uint64_t id,
                       const std::string& key) {
  Await([&] {
    const size_t before = cluster.Asked(id, key);
    const Result read = Start(client, ReadCounter(key)).get();
    REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    return cluster.Asked(id, key) > before;
  });
}

}  // namespace dovetail

#endif  // DOVETAIL_TESTS_CLIENT_FAKE_CLUSTER_H_
