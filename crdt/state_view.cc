#include "crdt/state_view.h"

#include <algorithm>

namespace dovetail::crdt {

absl::StatusOr<Leaf> StoreView::Get(const ObjectId&, const Path& path) {
  const Leaf* leaf = store_.Find(path);
  return leaf == nullptr ? Leaf() : *leaf;
}

absl::Status StoreView::Scan(
    const ObjectId&, const Path& prefix, const Path& after,
    absl::FunctionRef<bool(const Path&, const Leaf&)> visit) {
  const auto& leaves = store_.children();
  for (auto it = leaves.lower_bound(std::max(prefix, after));
       it != leaves.end() && it->first.HasPrefix(prefix); ++it) {
    const bool skipped = !after.bytes().empty() && it->first.HasPrefix(after);
    if (!skipped && !visit(it->first, it->second)) break;
  }
  return absl::OkStatus();
}

}  // namespace dovetail::crdt
