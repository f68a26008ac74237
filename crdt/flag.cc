#include "crdt/flag.h"

#include "crdt/hooks.h"

namespace dovetail::crdt {

absl::Status PlantFlag(DeltaBuilder& builder, const Path& path) {
  DOVETAIL_ASSIGN_OR_RETURN(ObservedLeaf observed, builder.Observe(path));
  builder.Emit(path, Leaf(builder.Mint(), Unit{}), std::move(observed.dots));
  return absl::OkStatus();
}

absl::Status LiftFlag(DeltaBuilder& builder, const Path& path) {
  DOVETAIL_ASSIGN_OR_RETURN(ObservedLeaf observed, builder.Observe(path));
  DOVETAIL_MARK_IF("flag: lifted where it is not up", observed.dots.empty());
  if (observed.dots.empty()) return absl::OkStatus();
  builder.Emit(path, Leaf(), std::move(observed.dots));
  return absl::OkStatus();
}

}  // namespace dovetail::crdt
