// dovetail-ring-table: how evenly a ring places, and how much moves when a
// member comes or goes, beside plain rendezvous hashing and random tokens. The
// table of docs/benchmarks.md is its output.
//
//   load    partitions of the fullest member over the mean
//   join    replicas that move when a member joins, in percent of all, and
//           over what the newcomer owns then, which is the least
//   leave   the same when one leaves, over what it owned
//   ms      CPU time of computing one ring
//
// Each figure is the mean of a few member lists with random ids, drawn from a
// fixed seed.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/check.h"
#include "replica/ring.h"
#include "replica/ring_place.h"

namespace dovetail {
namespace {

using replica::RingMember;

constexpr uint32_t kReplicas = 3;
constexpr int kRounds = 5;
constexpr uint64_t kTokensEach = 64;

using Members = std::vector<RingMember>;
// The places of the owners of each partition.
using Table = std::vector<std::set<uint64_t>>;
using Method = Table (*)(const Members&, uint32_t partitions);

Table Bounded(const Members& members, uint32_t partitions) {
  replica::RingSpec spec;
  spec.partitions = partitions;
  spec.replicas = kReplicas;
  spec.members = members;
  const auto ring = replica::Ring::Compute(spec);
  DOVETAIL_CHECK(ring.ok());
  Table table(partitions);
  for (uint32_t p = 0; p < partitions; ++p) {
    const auto id = static_cast<replica::PartitionId>(p);
    for (const replica::NodeId owner : ring->Owners(id)) {
      table[p].insert(replica::PlaceOf(*ring->Find(owner)));
    }
  }
  return table;
}

Table Rendezvous(const Members& members, uint32_t partitions) {
  Table table(partitions);
  for (uint32_t p = 0; p < partitions; ++p) {
    std::vector<std::pair<replica::Distance, uint64_t>> all;
    for (const RingMember& member : members) {
      const uint64_t place = replica::PlaceOf(member);
      all.emplace_back(replica::DistanceOf(place, 1, p), place);
    }
    std::sort(all.begin(), all.end());
    for (size_t i = 0; i < kReplicas && i < all.size(); ++i) {
      table[p].insert(all[i].second);
    }
  }
  return table;
}

// A partition is owned by the first members clockwise from its point.
Table Tokens(const Members& members, uint32_t partitions) {
  std::map<uint64_t, uint64_t> circle;
  for (const RingMember& member : members) {
    const uint64_t place = replica::PlaceOf(member);
    std::mt19937_64 tokens(place);
    for (uint64_t i = 0; i < kTokensEach; ++i) circle.emplace(tokens(), place);
  }
  const size_t owners = std::min<size_t>(kReplicas, members.size());
  Table table(partitions);
  for (uint32_t p = 0; p < partitions; ++p) {
    auto at = circle.lower_bound(replica::DistanceOf(0, 1, p).tie);
    while (table[p].size() < owners) {
      if (at == circle.end()) at = circle.begin();
      table[p].insert(at++->second);
    }
  }
  return table;
}

struct Figures {
  double load = 0;
  double join = 0;  // moved, and the least that could, as parts of all
  double join_least = 0;
  double leave = 0;
  double leave_least = 0;
  double ms = 0;
};

uint64_t Owned(const Table& table, uint64_t place) {
  uint64_t owned = 0;
  for (const auto& owners : table) owned += owners.contains(place);
  return owned;
}

uint64_t Moved(const Table& before, const Table& after) {
  uint64_t moved = 0;
  for (size_t p = 0; p < before.size(); ++p) {
    for (const uint64_t owner : after[p]) moved += !before[p].contains(owner);
  }
  return moved;
}

void Add(Method method, Members members, uint32_t partitions, Figures& sum) {
  const RingMember last = members.back();
  members.pop_back();
  const std::clock_t start = std::clock();
  const Table small = method(members, partitions);
  sum.ms += 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  std::map<uint64_t, uint64_t> loads;
  uint64_t most = 0;
  for (const auto& owners : small) {
    for (const uint64_t owner : owners) most = std::max(most, ++loads[owner]);
  }
  const double all = static_cast<double>(partitions) * kReplicas;
  sum.load +=
      static_cast<double>(most) * static_cast<double>(members.size()) / all;
  members.push_back(last);
  const Table big = method(members, partitions);
  sum.join += static_cast<double>(Moved(small, big)) / all;
  sum.join_least +=
      static_cast<double>(Owned(big, replica::PlaceOf(last))) / all;
  // Whoever owns something leaves, or there would be nothing to compare with.
  const uint64_t leaver = *big.front().begin();
  std::erase_if(members, [&](const RingMember& member) {
    return replica::PlaceOf(member) == leaver;
  });
  sum.leave +=
      static_cast<double>(Moved(big, method(members, partitions))) / all;
  sum.leave_least += static_cast<double>(Owned(big, leaver)) / all;
}

void PrintRow(uint32_t partitions, uint32_t nodes, uint32_t zones) {
  constexpr std::array<Method, 3> kMethods = {Bounded, Rendezvous, Tokens};
  std::array<Figures, 3> figures;
  std::mt19937_64 random(nodes);
  for (int round = 0; round < kRounds; ++round) {
    Members members;
    for (uint32_t i = 0; i < nodes + 1; ++i) {
      RingMember member;
      member.place = random();
      member.id = static_cast<replica::NodeId>(i);
      member.zone = std::to_string(i % zones);
      members.push_back(member);
    }
    for (size_t i = 0; i < kMethods.size(); ++i) {
      Add(kMethods[i], members, partitions, figures[i]);
    }
  }
  std::printf("| %u | %u | %u |", partitions, nodes, zones);
  for (const Figures& sum : figures) {
    std::printf(" %.2f, %.2f%% (%.2f), %.2f%% (%.2f) |", sum.load / kRounds,
                100 * sum.join / kRounds, sum.join / sum.join_least,
                100 * sum.leave / kRounds, sum.leave / sum.leave_least);
  }
  std::printf(" %.1f |\n", figures[0].ms / kRounds);
  std::fflush(stdout);
}

}  // namespace
}  // namespace dovetail

int main() {
  std::printf(
      "| Q | members | zones | ring: load, join, leave | rendezvous | tokens "
      "| ring, ms |\n|---|---|---|---|---|---|---|\n");
  for (const uint32_t partitions : {256u, 4096u}) {
    for (const uint32_t nodes : {3u, 4u, 5u, 10u, 30u, 100u, 300u, 1000u}) {
      dovetail::PrintRow(partitions, nodes, 1);
    }
    for (const uint32_t nodes : {6u, 12u, 30u, 300u}) {
      dovetail::PrintRow(partitions, nodes, 3);
    }
    for (const uint32_t nodes : {10u, 30u, 300u}) {
      dovetail::PrintRow(partitions, nodes, 5);
    }
  }
}
