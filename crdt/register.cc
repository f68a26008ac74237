#include "crdt/register.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"

namespace dovetail::crdt {
namespace {

// What a write at a leaf starts from.
struct Before {
  std::vector<Dot> observed;
  Timestamp stamp_max;  // of the observed writes that are here; else zero
};

absl::StatusOr<Before> ObserveBefore(DeltaBuilder& builder, const Path& path,
                                     bool blind) {
  DOVETAIL_ASSIGN_OR_RETURN(const Leaf held, builder.Read(path));
  Before before;
  if (!blind) before.observed = builder.Observe(path, held).dots;
  size_t siblings = 0;
  for (const auto& [dot, payload] : held.entries()) {
    if (!std::binary_search(before.observed.begin(), before.observed.end(),
                            dot)) {
      ++siblings;
    } else if (const auto* stamped = std::get_if<Stamped>(&payload)) {
      before.stamp_max = std::max(before.stamp_max, stamped->stamp);
    }
  }
  DOVETAIL_MARK_IF("register: values stay beside the new one", siblings > 0);
  if (siblings >= kSiblingsMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        siblings, " concurrent values would stay; the limit is ", kSiblingsMax,
        " (kSiblingsMax): read, then write with what was observed"));
  }
  return before;
}

absl::Status WriteValue(DeltaBuilder& builder, const Path& path, bool blind) {
  if (DOVETAIL_MUTANT("mv: a blind write sees what is there")) blind = false;
  DOVETAIL_ASSIGN_OR_RETURN(Before before, ObserveBefore(builder, path, blind));
  if (DOVETAIL_MUTANT("mv: a write supersedes nothing")) {
    before.observed.clear();
  }
  builder.Emit(path, Leaf(builder.Mint(), Value{builder.operation().value}),
               std::move(before.observed));
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteRegister(DeltaBuilder& builder, const Path& path) {
  DOVETAIL_ASSIGN_OR_RETURN(Before before,
                            ObserveBefore(builder, path, /*blind=*/false));
  Stamped stamped{builder.Stamp(before.stamp_max), builder.operation().value};
  builder.Emit(path, Leaf(builder.Mint(), std::move(stamped)),
               std::move(before.observed));
  return absl::OkStatus();
}

absl::Status WriteMultiValue(DeltaBuilder& builder, const Path& path) {
  return WriteValue(builder, path, /*blind=*/false);
}

absl::Status WriteMultiValueBlind(DeltaBuilder& builder, const Path& path) {
  return WriteValue(builder, path, /*blind=*/true);
}

const Stamped* WinnerOf(const Leaf& leaf) {
  const Stamped* winner = nullptr;
  for (const auto& [dot, payload] : leaf.entries()) {
    const auto& stamped = std::get<Stamped>(payload);
    DOVETAIL_MARK_IF("register: equal timestamps",
                     winner != nullptr && stamped.stamp == winner->stamp);
    // Dots ascend, so at equal stamps the greater dot comes later and wins.
    if (winner == nullptr || stamped.stamp >= winner->stamp ||
        DOVETAIL_MUTANT("register: the timestamp does not count")) {
      const bool tie = winner != nullptr && stamped.stamp == winner->stamp;
      if (tie && DOVETAIL_MUTANT("register: a tie goes to the first")) continue;
      winner = &stamped;
    }
  }
  return winner;
}

std::vector<std::string> SiblingsOf(const Leaf& leaf) {
  std::vector<std::string> values;
  for (const auto& [dot, payload] : leaf.entries()) {
    values.push_back(std::get<Value>(payload).bytes);
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

}  // namespace dovetail::crdt
