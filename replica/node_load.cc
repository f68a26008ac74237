#include "replica/node_load.h"

#include <algorithm>
#include <utility>

namespace dovetail::replica {
namespace {

// Who has been silent for longer finds nobody slow any more. Ten reports.
constexpr absl::Duration kLate = absl::Seconds(10);

}  // namespace

void Add(const NodeLoad& part, NodeLoad& load) {
  load.entries += part.entries;
  load.hints += part.hints;
  load.hint_bytes += part.hint_bytes;
  load.held += part.held;
  load.filling += part.filling;
  load.slow.insert(load.slow.end(), part.slow.begin(), part.slow.end());
  std::sort(load.slow.begin(), load.slow.end());
  load.slow.erase(std::unique(load.slow.begin(), load.slow.end()),
                  load.slow.end());
}

void LoadTable::Heard(NodeId node, NodeLoad load, absl::Duration now) {
  if (!known_.contains(node) && known_.size() >= kMembersMax) return;
  known_[node] = {std::move(load), now};
}

const LoadTable::Known* LoadTable::Of(NodeId node) const {
  const auto found = known_.find(node);
  return found == known_.end() ? nullptr : &found->second;
}

std::vector<NodeId> LoadTable::SlowFor(NodeId node, absl::Duration now) const {
  std::vector<NodeId> finders;
  for (const auto& [finder, known] : known_) {
    const std::vector<NodeId>& slow = known.load.slow;
    if (now - known.at <= kLate &&
        std::find(slow.begin(), slow.end(), node) != slow.end()) {
      finders.push_back(finder);
    }
  }
  return finders;
}

}  // namespace dovetail::replica
