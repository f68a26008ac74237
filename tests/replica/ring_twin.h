// The slow twin of the ring: follows the words of replica/ring_place.h with no
// thought of cost. Shares by bisection in floating point, the walk over all
// pairs by sorting every one of them, exchanges by trying every one of them.
#ifndef DOVETAIL_TESTS_REPLICA_RING_TWIN_H_
#define DOVETAIL_TESTS_REPLICA_RING_TWIN_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "replica/ring.h"
#include "replica/ring_place.h"

namespace dovetail::replica {

struct TwinShare {
  double copies_of_zone = 0;  // of the key space
  uint32_t node_max = 0;
};

// The members of one region that weigh something, ascending by id.
class Twin {
 public:
  Twin(std::vector<RingMember> members, uint32_t partitions, uint32_t replicas)
      : members_(std::move(members)),
        partitions_(partitions),
        replicas_(replicas) {
    for (const RingMember& member : members_) zones_.insert(member.zone);
    if (members_.size() > replicas_) FindShares();
  }

  std::vector<std::set<NodeId>> Place() const {
    std::vector<std::set<NodeId>> owners(partitions_);
    if (members_.size() <= replicas_) {
      for (auto& all : owners) {
        for (const RingMember& member : members_) all.insert(member.id);
      }
      return owners;
    }
    const auto in_zone = PlaceZones();
    for (const std::string& zone : zones_) {
      std::vector<RingMember> there;
      std::vector<uint32_t> room;
      for (const RingMember& member : members_) {
        if (member.zone != zone) continue;
        there.push_back(member);
        room.push_back(shares_.at(member.id).node_max);
      }
      Distances distances(partitions_);
      std::vector<uint32_t> demand;
      for (uint32_t p = 0; p < partitions_; ++p) {
        demand.push_back(in_zone.at(zone)[p]);
        for (const RingMember& member : there) {
          distances[p].push_back(DistanceOf(PlaceOf(member), member.weight, p));
        }
      }
      const auto taken = Take(distances, demand, room);
      for (const auto& [p, column] : taken) owners[p].insert(there[column].id);
    }
    return owners;
  }

  uint32_t node_max(NodeId id) const {
    return members_.size() <= replicas_ ? partitions_ : shares_.at(id).node_max;
  }

  int made_room() const { return made_room_; }

 private:
  using Distances = std::vector<std::vector<Distance>>;
  using Taken = std::set<std::pair<uint32_t, uint32_t>>;  // row, column

  // What the zone's members may own together if `x` of weight owns one copy.
  double Held(const std::string& zone, double x) const {
    double sum = 0;
    for (const RingMember& member : members_) {
      if (member.zone == zone) sum += std::min<double>(x, member.weight);
    }
    if (zones_.size() <= replicas_) sum = std::max(sum, x);
    if (zones_.size() >= replicas_) sum = std::min(sum, x);
    return sum;
  }

  void FindShares() {
    double low = 1e-3;
    double high = 1e9;
    for (int i = 0; i < 200; ++i) {
      const double x = (low + high) / 2;
      double sum = 0;
      for (const std::string& zone : zones_) sum += Held(zone, x);
      (sum >= replicas_ * x ? low : high) = x;
    }
    for (const RingMember& member : members_) {
      double weight = 0;
      double free = 0;
      for (const RingMember& other : members_) {
        if (other.zone != member.zone) continue;
        weight += other.weight;
        free += std::min<double>(low, other.weight);
      }
      TwinShare& share = shares_[member.id];
      share.copies_of_zone = Held(member.zone, low) / low;
      // Where the zone's bounds say one copy, its members divide that.
      const bool bent = std::abs(Held(member.zone, low) - free) > 1e-6 ||
                        std::abs(share.copies_of_zone - 1) < 1e-9;
      const double copies = bent ? member.weight / weight
                                 : std::min<double>(low, member.weight) / low;
      share.node_max = std::min(
          partitions_, static_cast<uint32_t>(
                           std::ceil(copies * partitions_ * 9 / 8 - 1e-6)));
    }
  }

  std::map<std::string, std::vector<uint32_t>> PlaceZones() const {
    std::map<std::string, std::vector<uint32_t>> in_zone;
    std::vector<std::string> open;
    std::vector<uint32_t> room;
    uint32_t extras = replicas_;
    for (const std::string& zone : zones_) {
      double copies = 0;
      uint32_t together = 0;
      for (const RingMember& member : members_) {
        if (member.zone != zone) continue;
        copies = shares_.at(member.id).copies_of_zone;
        together += shares_.at(member.id).node_max;
      }
      const auto whole = static_cast<uint32_t>(copies + 1e-9);
      in_zone[zone].assign(partitions_, whole);
      extras -= whole;
      if (copies - whole < 1e-9) continue;
      open.push_back(zone);
      room.push_back(std::min(partitions_, together - whole * partitions_));
    }
    Distances distances(partitions_);
    for (uint32_t p = 0; p < partitions_; ++p) {
      for (const std::string& zone : open) {
        std::vector<Distance> there;
        for (const RingMember& member : members_) {
          if (member.zone != zone) continue;
          there.push_back(DistanceOf(PlaceOf(member), member.weight, p));
        }
        std::sort(there.begin(), there.end());
        distances[p].push_back(there.at(in_zone[zone][p]));
      }
    }
    const std::vector<uint32_t> demand(partitions_, extras);
    for (const auto& [p, column] : Take(distances, demand, room)) {
      ++in_zone[open[column]][p];
    }
    return in_zone;
  }

  Taken Take(const Distances& distances, const std::vector<uint32_t>& demand,
             std::vector<uint32_t> room) const {
    std::vector<std::tuple<Distance, uint32_t, uint32_t>> pairs;
    for (uint32_t row = 0; row < distances.size(); ++row) {
      for (uint32_t column = 0; column < room.size(); ++column) {
        pairs.emplace_back(distances[row][column], row, column);
      }
    }
    std::sort(pairs.begin(), pairs.end());
    Taken taken;
    auto held = [&](uint32_t row) {
      uint32_t count = 0;
      for (const auto& [other, column] : taken) count += other == row;
      return count;
    };
    for (const auto& [distance, row, column] : pairs) {
      if (room[column] == 0 || held(row) == demand[row]) continue;
      --room[column];
      taken.emplace(row, column);
    }
    for (uint32_t row = 0; row < demand.size(); ++row) {
      while (held(row) < demand[row]) {
        MakeRoom(pairs, row, room, taken);
        ++made_room_;
      }
    }
    return taken;
  }

  static void MakeRoom(
      const std::vector<std::tuple<Distance, uint32_t, uint32_t>>& pairs,
      uint32_t row, std::vector<uint32_t>& room, Taken& taken) {
    for (const auto& [wish, wisher, wished] : pairs) {
      if (wisher != row || taken.contains({row, wished})) continue;
      for (const auto& [move, mover, onto] : pairs) {
        if (room[onto] == 0 || taken.contains({mover, onto})) continue;
        if (!taken.contains({mover, wished})) continue;
        taken.erase({mover, wished});
        taken.emplace(mover, onto);
        taken.emplace(row, wished);
        --room[onto];
        return;
      }
    }
    FAIL("the twin finds no way within the bounds");
  }

  std::vector<RingMember> members_;
  uint32_t partitions_;
  uint32_t replicas_;
  std::set<std::string> zones_;
  std::map<NodeId, TwinShare> shares_;
  mutable int made_room_ = 0;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_TESTS_REPLICA_RING_TWIN_H_
