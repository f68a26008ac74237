#include "crdt/map.h"

#include "crdt/counter.h"
#include "crdt/dot_codec.h"
#include "crdt/expiry.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"

namespace dovetail::crdt {
namespace {

// Leaves half of a delta to what the estimate below does not see.
constexpr size_t kClearBytesMax = kDeltaBytesMax / 2;

}  // namespace

absl::StatusOr<MutationOutcome> RemoveAll(DeltaBuilder& builder,
                                          const Path& place,
                                          const Path& resume_after) {
  const Type root = builder.operation().object.type;
  MutationOutcome outcome;
  Path last;
  size_t dots = 0;
  size_t bytes = 0;
  DOVETAIL_RETURN_IF_ERROR(builder.ObserveAll(
      place, resume_after, [&](const Path& path, const ObservedLeaf& leaf) {
        if (path.IsExpiry()) return true;
        const bool counter = LeafTypeOf(root, path.bytes()) == Type::kCounter;
        const size_t here = counter ? EntriesToReset(leaf) : leaf.dots.size();
        if (here == 0) return true;
        if (path != place && builder.operation().verb == Verb::kRemoveField &&
            DOVETAIL_MUTANT("map: what is nested in a field stays")) {
          return true;
        }
        const bool first = dots == 0;
        dots += here;
        bytes += path.bytes().size() + here * (kDotBytesMax + sizeof(Tally));
        if (!first && (dots > kDotsPerClearDelta || bytes > kClearBytesMax)) {
          DOVETAIL_MARK("clear: goes on in another delta");
          outcome.more = true;
          outcome.resume_after = last;
          return false;
        }
        last = path;
        DOVETAIL_MARK_IF("clear: a counter on the way is reset", counter);
        if (counter) {
          ResetCounter(builder, path, leaf);
        } else {
          builder.Emit(path, Leaf(), leaf.dots);
        }
        return true;
      }));
  // Last of all, so that what is left of an expired object stays expired.
  if (place.bytes().empty() && !outcome.more) {
    DOVETAIL_RETURN_IF_ERROR(RemoveExpiry(builder));
  }
  return outcome;
}

}  // namespace dovetail::crdt
