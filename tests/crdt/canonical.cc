#include "tests/crdt/canonical.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <tuple>
#include <vector>

namespace dovetail::crdt::model {
namespace {

// Ascending, each once.
bool Ascend(const std::vector<Dot>& dots) {
  return std::adjacent_find(dots.begin(), dots.end(),
                            std::greater_equal<Dot>()) == dots.end();
}

}  // namespace

bool IsCanonical(const Delta& delta) {
  if (delta.events.first == 0 || delta.events.count == 0) return false;
  if (delta.leaves.empty()) return false;
  for (size_t i = 0; i < delta.leaves.size(); ++i) {
    const DeltaLeaf& leaf = delta.leaves[i];
    if (i > 0) {
      const DeltaLeaf& before = delta.leaves[i - 1];
      if (std::tie(before.object, before.path) >=
          std::tie(leaf.object, leaf.path)) {
        return false;
      }
    }
    if (leaf.store.empty() && leaf.superseded.empty()) return false;
    if (!Ascend(leaf.store.Dots()) || !Ascend(leaf.superseded)) return false;
    for (Dot dot : leaf.superseded) {
      if (delta.events.Contains(dot) || leaf.store.Contains(dot)) return false;
    }
  }
  return true;
}

bool IsCanonical(const ObservedToken& token) {
  for (const auto& [path, leaf] : token.leaves) {
    if (leaf.dots.empty() || !Ascend(leaf.dots)) return false;
    const bool counter =
        LeafTypeOf(token.object.type, path.bytes()) == Type::kCounter;
    if (leaf.tallies.size() != (counter ? leaf.dots.size() : 0)) return false;
    if (!path.HasPrefix(token.scope)) return false;
  }
  return true;
}

bool IsCanonical(const EventSet& events) {
  std::optional<DotRun> before;
  bool canonical = true;
  events.ForEachRun([&](const DotRun& run) {
    canonical = canonical && run.first >= 1 && run.count >= 1;
    if (before) {
      // Runs of one actor that touch would be one run.
      canonical = canonical &&
                  (before->actor < run.actor ||
                   (before->actor == run.actor && run.first > before->last() &&
                    run.first - before->last() > 1));
    }
    before = run;
    return canonical;
  });
  return canonical;
}

}  // namespace dovetail::crdt::model
