#include "crdt/set.h"

#include <set>
#include <string>

#include "crdt/hooks.h"

namespace dovetail::crdt {
namespace {

std::set<std::string> Distinct(const DeltaBuilder& builder) {
  const auto& elements = builder.operation().elements;
  return {elements.begin(), elements.end()};
}

absl::Status Write(DeltaBuilder& builder, const Path& place, Payload payload) {
  for (const std::string& element : Distinct(builder)) {
    const Path path = place.Element(element);
    DOVETAIL_ASSIGN_OR_RETURN(ObservedLeaf observed, builder.Observe(path));
    if (payload == Payload(Polarity::kAdded) &&
        DOVETAIL_MUTANT("rwset: an add leaves the removal")) {
      observed.dots.clear();
    }
    builder.Emit(path, Leaf(builder.Mint(), payload), std::move(observed.dots));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddElements(DeltaBuilder& builder, const Path& place) {
  return Write(builder, place, Unit{});
}

absl::Status RecordElements(DeltaBuilder& builder, const Path& place,
                            Polarity polarity) {
  return Write(builder, place, polarity);
}

absl::Status RemoveElements(DeltaBuilder& builder, const Path& place) {
  for (const std::string& element : Distinct(builder)) {
    const Path path = place.Element(element);
    DOVETAIL_ASSIGN_OR_RETURN(ObservedLeaf observed, builder.Observe(path));
    if (observed.dots.empty()) {
      DOVETAIL_MARK("set: a removal of what is not here");
      continue;
    }
    DOVETAIL_MARK_IF("set: an element with several dots is removed",
                     observed.dots.size() > 1);
    builder.Emit(path, Leaf(), std::move(observed.dots));
  }
  return absl::OkStatus();
}

}  // namespace dovetail::crdt
