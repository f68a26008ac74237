#include "crdt/counter.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/numeric/int128.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"

namespace dovetail::crdt {
namespace {

// This actor's latest entry: earlier ones cannot come from a live writer.
std::optional<std::pair<Dot, Tally>> OwnEntry(const Leaf& leaf, ActorId actor) {
  std::optional<std::pair<Dot, Tally>> own;
  for (const auto& [dot, payload] : leaf.entries()) {
    if (dot.actor == actor || DOVETAIL_MUTANT("counter: extends any entry")) {
      own.emplace(dot, std::get<Tally>(payload));
    }
  }
  return own;
}

absl::Status Raise(uint64_t& total, uint64_t amount) {
  if (amount > kTallyMax || total > kTallyMax - amount) {
    return absl::ResourceExhaustedError(
        absl::StrCat("adding ", amount, " to this writer's total of ", total,
                     " passes the limit of ", kTallyMax, " (kTallyMax)"));
  }
  total += amount;
  return absl::OkStatus();
}

}  // namespace

absl::Status AddToCounter(DeltaBuilder& builder, const Path& path) {
  DOVETAIL_ASSIGN_OR_RETURN(const Leaf leaf, builder.Read(path));
  const int64_t amount = builder.operation().amount;
  // Unsigned negation: the least int64 has no positive twin.
  const auto size = amount < 0 ? -static_cast<uint64_t>(amount)
                               : static_cast<uint64_t>(amount);
  const auto own = OwnEntry(leaf, builder.actor());
  const bool extend = own && !own->second.fully_reset();
  Tally tally = extend ? own->second : Tally();
  DOVETAIL_RETURN_IF_ERROR(
      Raise(amount < 0 ? tally.subtracted : tally.added, size));
  if (extend) {
    builder.Emit(path, Leaf(own->first, tally), {});
  } else {
    DOVETAIL_MARK_IF("counter: an entry beside those of other writers",
                     !own && !leaf.empty());
    DOVETAIL_MARK_IF("counter: a new entry retires the reset one",
                     own.has_value());
    std::vector<Dot> retired;
    if (own) retired.push_back(own->first);
    builder.Emit(path, Leaf(builder.Mint(), tally), std::move(retired));
  }
  return absl::OkStatus();
}

size_t EntriesToReset(const ObservedLeaf& observed) {
  return static_cast<size_t>(
      std::count_if(observed.tallies.begin(), observed.tallies.end(),
                    [](const Tally& tally) { return !tally.fully_reset(); }));
}

void ResetCounter(DeltaBuilder& builder, const Path& path,
                  const ObservedLeaf& observed) {
  DOVETAIL_CHECK(observed.dots.size() == observed.tallies.size());
  const bool by_token = builder.operation().observed.has_value();
  Leaf store;
  std::vector<Dot> retired;
  for (size_t i = 0; i < observed.dots.size(); ++i) {
    const Dot dot = observed.dots[i];
    Tally tally = observed.tallies[i];
    if (tally.fully_reset()) continue;
    if ((dot.actor == builder.actor() && !by_token) ||
        DOVETAIL_MUTANT("counter: a reset retires every entry")) {
      DOVETAIL_MARK("counter: a reset retires its own entry");
      retired.push_back(dot);
      continue;
    }
    DOVETAIL_MARK_IF("counter: a reset by token", by_token);
    tally.reset_added = tally.added;
    if (!DOVETAIL_MUTANT("counter: a reset forgets the subtractions")) {
      tally.reset_subtracted = tally.subtracted;
    }
    store.Append(dot, tally);
  }
  if (store.empty() && retired.empty()) return;
  builder.Emit(path, std::move(store), std::move(retired));
}

int64_t CounterValue(const Leaf& leaf) {
  absl::int128 value = 0;
  for (const auto& [dot, payload] : leaf.entries()) {
    const auto& tally = std::get<Tally>(payload);
    value += absl::int128(tally.added) - absl::int128(tally.reset_added);
    value -=
        absl::int128(tally.subtracted) - absl::int128(tally.reset_subtracted);
  }
  const absl::int128 least = std::numeric_limits<int64_t>::min();
  const absl::int128 greatest = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::clamp(value, least, greatest));
}

}  // namespace dovetail::crdt
