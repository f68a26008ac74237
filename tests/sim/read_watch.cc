#include "tests/sim/read_watch.h"

#include <algorithm>
#include <utility>

#include "tests/sim/seat.h"

namespace dovetail::sim {
namespace {

// More are possible only for a read of many that were asked again and again.
constexpr size_t kCandidatesMax = 512;

bool SamePlace(const crdt::ReadSpec& a, const crdt::ReadSpec& b) {
  return a.object == b.object && a.fields == b.fields && a.element == b.element;
}

void KeepNew(std::vector<crdt::EventSet>& sets, const crdt::EventSet& set) {
  if (sets.empty() || sets.back() != set) sets.push_back(set);
}

}  // namespace

void ReadWatch::OnQuerySent(replica::PartitionId partition,
                            const replica::ReadQuery& query,
                            const crdt::EventSet& applied) {
  // Sent again, it is still the question about the page of the first time.
  const auto [it, first] = reads_.try_emplace({partition, query.ticket});
  it->second.spec = query.spec;
  if (first) it->second.sent = applied;
}

void ReadWatch::OnQueryAnswered(uint32_t node, replica::PartitionId partition,
                                const replica::ReadQuery& query,
                                const crdt::EventSet& applied) {
  KeepNew(reads_[{partition, query.ticket}].answered[node], applied);
}

void ReadWatch::OnAnswer(replica::PartitionId partition,
                         const replica::ReadAnswer& answer,
                         const crdt::EventSet& applied) {
  KeepNew(reads_[{partition, answer.ticket}].at_answers, applied);
}

bool ReadWatch::WentOn(replica::PartitionId partition, crdt::ActorId actor,
                       const crdt::ReadSpec& spec) const {
  for (auto it = reads_.lower_bound({partition, {actor, 0}});
       it != reads_.end() && it->first.first == partition &&
       it->first.second.incarnation == actor;
       ++it) {
    const crdt::ReadSpec& its = it->second.spec;
    if (SamePlace(its, spec) && (its.after_element || its.after_field)) {
      return true;
    }
  }
  return false;
}

std::optional<std::vector<crdt::EventSet>> ReadWatch::Candidates(
    replica::PartitionId partition, crdt::ActorId actor, uint32_t self,
    const crdt::ReadSpec& spec, const crdt::EventSet& begun,
    const std::vector<replica::NodeId>& nodes) const {
  std::vector<crdt::EventSet> result;
  for (auto it = reads_.lower_bound({partition, {actor, 0}});
       it != reads_.end() && it->first.first == partition &&
       it->first.second.incarnation == actor;
       ++it) {
    const Read& read = it->second;
    if (!SamePlace(read.spec, spec)) continue;
    std::vector<crdt::EventSet> joined = {begun, read.sent};
    joined.insert(joined.end(), read.at_answers.begin(), read.at_answers.end());
    for (const replica::NodeId node : nodes) {
      if (SeatOf(node) == self) continue;
      const auto answers = read.answered.find(SeatOf(node));
      if (answers == read.answered.end()) {
        joined.clear();
        break;
      }
      std::vector<crdt::EventSet> next;
      for (const crdt::EventSet& so_far : joined) {
        for (const crdt::EventSet& theirs : answers->second) {
          crdt::EventSet both = so_far;
          both.UnionWith(theirs);
          if (std::find(next.begin(), next.end(), both) == next.end()) {
            next.push_back(std::move(both));
          }
        }
      }
      joined = std::move(next);
      if (joined.size() > kCandidatesMax) return std::nullopt;
    }
    result.insert(result.end(), joined.begin(), joined.end());
  }
  return result;
}

}  // namespace dovetail::sim
