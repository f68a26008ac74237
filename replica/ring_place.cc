#include "replica/ring_place.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <optional>
#include <queue>
#include <utility>

#include "absl/strings/string_view.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::replica {
namespace {

constexpr int kLogFractionBits = 28;

// 64 - log2(hash), in units of 2^-28: an exponential variable if `hash` is
// uniform. By repeated squaring, the textbook way.
uint64_t NegativeLog2(uint64_t hash) {
  if (hash == 0) hash = 1;
  const int zeros = std::countl_zero(hash);
  uint64_t mantissa = hash << zeros;  // in [2^63, 2^64), read as [1, 2)
  uint64_t log = static_cast<uint64_t>(63 - zeros);
  for (int i = 0; i < kLogFractionBits; ++i) {
    const unsigned __int128 square =
        static_cast<unsigned __int128>(mantissa) * mantissa;  // [1, 4)
    const bool two = (square >> 127) != 0;
    mantissa = static_cast<uint64_t>(square >> (two ? 64 : 63));
    log = log << 1 | (two ? 1 : 0);
  }
  return (uint64_t{64} << kLogFractionBits) - log;
}

void AppendFixed64(char* out, uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    out[i] = static_cast<char>(value >> (56 - 8 * i));
  }
}

uint64_t CeilDivide(uint64_t value, uint64_t by) {
  return (value + by - 1) / by;
}

}  // namespace

Distance DistanceOf(uint64_t place, uint32_t weight, uint32_t partition) {
  char input[16];
  AppendFixed64(input, place);
  AppendFixed64(input + 8, partition);
  const uint64_t hash = HashBytes(absl::string_view(input, sizeof input)).high;
  // At most 2^(6+28+28) before the division.
  return {(NegativeLog2(hash) << 28) / weight, ~hash};
}

// --- Shares -----------------------------------------------------------------

namespace {

// Shares are Q * w / x for one x, the weight that owns one whole copy of the
// key space, unless something stands against it: a node owns no partition
// twice (min(x, w)), and with at least as many zones as replicas no zone does
// (min(x, ...)), with at most as many every zone has one (max(x, ...)). So x is
// where  Σ over zones of what is left of their weight = replicas * x.
// The sum grows slower than x, so there is one such x; it is linear between
// two neighbours among all weights of nodes and zones.
class Water {
 public:
  Water(absl::Span<const PlaceNode> nodes, uint32_t zones, uint32_t replicas)
      : nodes_(nodes), zones_(zones), replicas_(replicas), weight_(zones, 0) {
    for (const PlaceNode& node : nodes) weight_[node.zone] += node.weight;
    std::vector<uint64_t> bends(weight_);
    for (const PlaceNode& node : nodes) bends.push_back(node.weight);
    std::sort(bends.begin(), bends.end());
    bends.erase(std::unique(bends.begin(), bends.end()), bends.end());
    const auto first_short = std::partition_point(
        bends.begin(), bends.end(), [&](uint64_t x) { return Suffices(x); });
    bend_ = first_short == bends.begin() ? 0 : *(first_short - 1);
    Solve();
  }

  uint64_t zone_weight(uint32_t zone) const { return weight_[zone]; }
  // Owns exactly one copy, whatever it weighs.
  bool OneCopy(uint32_t zone) const {
    return weight_[zone] > bend_ ? zones_ >= replicas_ : zones_ <= replicas_;
  }
  bool Full(const PlaceNode& node) const { return node.weight > bend_; }
  // x = divided_weight / divided_copies, for all that is not settled by the
  // two above.
  uint64_t divided_weight() const { return divided_weight_; }
  uint64_t divided_copies() const { return divided_copies_; }

 private:
  bool Suffices(uint64_t x) const {
    std::vector<uint64_t> left(zones_, 0);
    for (const PlaceNode& node : nodes_) {
      left[node.zone] += std::min<uint64_t>(x, node.weight);
    }
    uint64_t sum = 0;
    for (uint64_t weight : left) {
      if (zones_ <= replicas_) weight = std::max(weight, x);
      if (zones_ >= replicas_) weight = std::min(weight, x);
      sum += weight;
    }
    return sum >= replicas_ * x;
  }

  void Solve() {
    uint64_t settled = 0;  // whole copies
    for (uint32_t zone = 0; zone < zones_; ++zone) settled += OneCopy(zone);
    for (const PlaceNode& node : nodes_) {
      if (OneCopy(node.zone)) continue;
      // In a zone with room for more than one copy a heavy node has all of one;
      // in one with less there is no such node.
      if (Full(node)) {
        ++settled;
      } else {
        divided_weight_ += node.weight;
      }
    }
    DOVETAIL_CHECK(settled <= replicas_);
    divided_copies_ = replicas_ - settled;
    DOVETAIL_CHECK((divided_copies_ == 0) == (divided_weight_ == 0));
  }

  absl::Span<const PlaceNode> nodes_;
  uint64_t zones_;
  uint64_t replicas_;
  std::vector<uint64_t> weight_;
  uint64_t bend_ = 0;  // the greatest bend that is not above x
  uint64_t divided_weight_ = 0;
  uint64_t divided_copies_ = 0;
};

}  // namespace

Shares ComputeShares(absl::Span<const PlaceNode> nodes, uint32_t zones,
                     uint32_t partitions, uint32_t replicas) {
  DOVETAIL_CHECK(replicas < nodes.size());
  const Water water(nodes, zones, replicas);
  Shares shares;
  std::vector<uint64_t> room(zones, 0);
  std::vector<uint64_t> full(zones, 0);
  std::vector<uint64_t> divided(zones, 0);
  for (const PlaceNode& node : nodes) {
    uint64_t copies = 1;  // the share is copies * weight / of
    uint64_t of = node.weight;
    if (water.OneCopy(node.zone)) {
      of = water.zone_weight(node.zone);
    } else if (water.Full(node)) {
      ++full[node.zone];
    } else {
      copies = water.divided_copies();
      of = water.divided_weight();
      divided[node.zone] += node.weight;
    }
    const uint64_t most =
        CeilDivide((kLoadSlackParts + 1) * copies * node.weight * partitions,
                   kLoadSlackParts * of);
    shares.node_max.push_back(
        static_cast<uint32_t>(std::min<uint64_t>(most, partitions)));
    room[node.zone] += shares.node_max.back();
  }
  for (uint32_t zone = 0; zone < zones; ++zone) {
    uint64_t owners = 1;
    bool extra = false;
    if (!water.OneCopy(zone)) {
      owners = full[zone];
      if (divided[zone] > 0) {
        const uint64_t copies = divided[zone] * water.divided_copies();
        owners += copies / water.divided_weight();
        extra = copies % water.divided_weight() != 0;
      }
    }
    shares.zone_owners.push_back(static_cast<uint32_t>(owners));
    shares.zone_extra_max.push_back(
        !extra ? 0
               : static_cast<uint32_t>(std::min<uint64_t>(
                     partitions, room[zone] - owners * partitions)));
  }
  return shares;
}

// --- Matching ---------------------------------------------------------------

namespace {

struct Pair {
  Distance distance;
  uint32_t row = 0;
  uint32_t column = 0;
  friend auto operator<=>(const Pair&, const Pair&) = default;
};

class Matcher {
 public:
  using DistanceFunction = absl::FunctionRef<Distance(uint32_t, uint32_t)>;

  Matcher(absl::Span<const uint32_t> demand, std::vector<uint32_t> room,
          DistanceFunction distance)
      : demand_(demand),
        room_(std::move(room)),
        distance_(distance),
        rows_(demand.size()) {}

  std::vector<std::vector<uint32_t>> Run() {
    TakeNearest();
    std::vector<std::vector<uint32_t>> taken;
    for (uint32_t row = 0; row < rows_.size(); ++row) {
      while (rows_[row].taken.size() < demand_[row]) Exchange(row);
    }
    for (Row& row : rows_) {
      std::sort(row.taken.begin(), row.taken.end());
      taken.push_back(std::move(row.taken));
    }
    return taken;
  }

 private:
  // The columns of a row from the nearest on; only the first few are worked
  // out until more are needed.
  struct Row {
    std::vector<Pair> nearest;
    size_t next = 0;
    bool complete = false;
    std::vector<uint32_t> taken;
  };
  static constexpr size_t kFirstFew = 24;

  // The walk over all pairs as a merge of the rows' own walks.
  void TakeNearest() {
    std::priority_queue<Pair, std::vector<Pair>, std::greater<>> queue;
    for (uint32_t row = 0; row < rows_.size(); ++row) PushNext(row, queue);
    while (!queue.empty()) {
      const Pair pair = queue.top();
      queue.pop();
      if (room_[pair.column] > 0) {
        --room_[pair.column];
        rows_[pair.row].taken.push_back(pair.column);
      }
      PushNext(pair.row, queue);
    }
  }

  template <class Queue>
  void PushNext(uint32_t index, Queue& queue) {
    Row& row = rows_[index];
    if (row.taken.size() == demand_[index]) return;
    while (true) {
      if (row.next == row.nearest.size()) {
        if (row.complete) return;
        FindNearest(index);
        continue;
      }
      const Pair& pair = row.nearest[row.next++];
      if (room_[pair.column] == 0) continue;
      queue.push(pair);
      return;
    }
  }

  void FindNearest(uint32_t index) {
    Row& row = rows_[index];
    const bool first = row.nearest.empty();
    row.nearest.clear();
    for (uint32_t column = 0; column < room_.size(); ++column) {
      row.nearest.push_back({distance_(index, column), index, column});
    }
    if (first && row.nearest.size() > 2 * kFirstFew) {
      std::nth_element(row.nearest.begin(), row.nearest.begin() + kFirstFew,
                       row.nearest.end());
      row.nearest.resize(kFirstFew);
      row.nearest.shrink_to_fit();
    } else {
      row.complete = true;
    }
    std::sort(row.nearest.begin(), row.nearest.end());
  }

  bool Has(uint32_t row, uint32_t column) const {
    const std::vector<uint32_t>& taken = rows_[row].taken;
    return std::find(taken.begin(), taken.end(), column) != taken.end();
  }

  // Every column with room is this row's already (or it would have taken it).
  // Let m be one. It has not all rows, and a row without m is not short, so it
  // has at least one column that this row lacks: that one can move on to m.
  void Exchange(uint32_t index) {
    std::vector<uint32_t> open;
    for (uint32_t column = 0; column < room_.size(); ++column) {
      if (room_[column] > 0) open.push_back(column);
    }
    std::vector<Pair> wishes;
    for (uint32_t column = 0; column < room_.size(); ++column) {
      if (Has(index, column)) continue;
      wishes.push_back({distance_(index, column), index, column});
    }
    std::sort(wishes.begin(), wishes.end());
    for (const Pair& wish : wishes) {
      std::optional<Pair> move;
      for (uint32_t row = 0; row < rows_.size(); ++row) {
        if (!Has(row, wish.column)) continue;
        for (const uint32_t column : open) {
          if (Has(row, column)) continue;
          const Pair candidate{distance_(row, column), row, column};
          if (!move.has_value() || candidate < *move) move = candidate;
        }
      }
      if (!move.has_value()) continue;
      std::vector<uint32_t>& moved = rows_[move->row].taken;
      *std::find(moved.begin(), moved.end(), wish.column) = move->column;
      --room_[move->column];
      rows_[index].taken.push_back(wish.column);
      return;
    }
    DOVETAIL_CHECK(false && "no matching within the bounds");
  }

  absl::Span<const uint32_t> demand_;
  std::vector<uint32_t> room_;
  DistanceFunction distance_;
  std::vector<Row> rows_;
};

}  // namespace

std::vector<std::vector<uint32_t>> Match(
    absl::Span<const uint32_t> demand, std::vector<uint32_t> room,
    absl::FunctionRef<Distance(uint32_t row, uint32_t column)> distance) {
  return Matcher(demand, std::move(room), distance).Run();
}

// --- A region ---------------------------------------------------------------

namespace {

// For each zone and partition, how many owners of the partition are in it.
std::vector<std::vector<uint32_t>> MatchZones(
    absl::Span<const PlaceNode> nodes,
    absl::Span<const std::vector<uint32_t>> members, const Shares& shares,
    uint32_t partitions, uint32_t replicas) {
  std::vector<std::vector<uint32_t>> owners;
  uint32_t extras = replicas;
  std::vector<uint32_t> open;  // zones that may have one owner more
  std::vector<uint32_t> room;
  for (uint32_t zone = 0; zone < members.size(); ++zone) {
    owners.emplace_back(partitions, shares.zone_owners[zone]);
    extras -= shares.zone_owners[zone];
    if (shares.zone_extra_max[zone] == 0) continue;
    open.push_back(zone);
    room.push_back(shares.zone_extra_max[zone]);
  }
  if (extras == 0) return owners;
  // The distance of a zone is that of the node that would be its next: so a
  // node that is new to its zone draws what it will own, and nothing else.
  std::vector<Distance> found;
  auto distance = [&](uint32_t partition, uint32_t column) {
    const uint32_t zone = open[column];
    found.clear();
    for (const uint32_t node : members[zone]) {
      found.push_back(
          DistanceOf(nodes[node].place, nodes[node].weight, partition));
    }
    const auto next = found.begin() + shares.zone_owners[zone];
    std::nth_element(found.begin(), next, found.end());
    return *next;
  };
  const std::vector<uint32_t> demand(partitions, extras);
  const auto matched = Match(demand, std::move(room), distance);
  for (uint32_t partition = 0; partition < partitions; ++partition) {
    for (const uint32_t column : matched[partition]) {
      ++owners[open[column]][partition];
    }
  }
  return owners;
}

}  // namespace

std::vector<std::vector<uint32_t>> PlaceRegion(
    absl::Span<const PlaceNode> nodes, uint32_t zones, uint32_t partitions,
    uint32_t replicas) {
  std::vector<std::vector<uint32_t>> owners(partitions);
  if (nodes.size() <= replicas) {
    for (std::vector<uint32_t>& all : owners) {
      for (uint32_t node = 0; node < nodes.size(); ++node) all.push_back(node);
    }
    return owners;
  }
  if (replicas == 0) return owners;
  std::vector<std::vector<uint32_t>> members(zones);
  for (uint32_t node = 0; node < nodes.size(); ++node) {
    members[nodes[node].zone].push_back(node);
  }
  const Shares shares = ComputeShares(nodes, zones, partitions, replicas);
  const auto in_zone = MatchZones(nodes, members, shares, partitions, replicas);
  for (uint32_t zone = 0; zone < zones; ++zone) {
    std::vector<uint32_t> room;
    for (const uint32_t node : members[zone]) {
      room.push_back(shares.node_max[node]);
    }
    const auto matched = Match(
        in_zone[zone], std::move(room), [&](uint32_t row, uint32_t column) {
          const PlaceNode& node = nodes[members[zone][column]];
          return DistanceOf(node.place, node.weight, row);
        });
    for (uint32_t partition = 0; partition < partitions; ++partition) {
      for (const uint32_t column : matched[partition]) {
        owners[partition].push_back(members[zone][column]);
      }
    }
  }
  for (std::vector<uint32_t>& all : owners) std::sort(all.begin(), all.end());
  return owners;
}

}  // namespace dovetail::replica
