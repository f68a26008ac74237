#include "crdt/expiry.h"

#include <algorithm>
#include <utility>

#include "crdt/check.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"
#include "crdt/path.h"

namespace dovetail::crdt {

uint64_t ExpiresMs(const Leaf& leaf) {
  DOVETAIL_MARK_IF("expiry: concurrent settings", leaf.size() > 1);
  uint64_t latest = 0;
  for (const auto& [dot, payload] : leaf.entries()) {
    const uint64_t at_ms = std::get<Expiry>(payload).at_ms;
    latest = latest > 0 && DOVETAIL_MUTANT("expiry: the shortest wins")
                 ? std::min(latest, at_ms)
                 : std::max(latest, at_ms);
  }
  return latest;
}

bool HasExpired(uint64_t expires_ms, uint64_t now_ms) {
  return expires_ms > 0 && expires_ms <= now_ms;
}

void MakeAbsolute(Operation& operation, uint64_t now_ms) {
  // What is no time to live must not become a time.
  if (operation.verb != Verb::kExpireIn || operation.amount < 1) return;
  const auto in_ms = static_cast<uint64_t>(operation.amount);
  const uint64_t at_ms =
      std::min(kExpiresMsMax, std::min(now_ms, kExpiresMsMax) +
                                  std::min(in_ms, kExpiresMsMax));
  operation.verb = Verb::kExpireAt;
  operation.amount = static_cast<int64_t>(at_ms);
}

absl::Status SetExpiry(DeltaBuilder& builder) {
  const Operation& operation = builder.operation();
  if (operation.verb == Verb::kExpireIn) {
    return absl::InvalidArgumentError(
        "a time to live has to be made a time before it is written");
  }
  const Path path = Path::OfExpiry();
  DOVETAIL_ASSIGN_OR_RETURN(ObservedLeaf observed, builder.Observe(path));
  const Expiry expiry{static_cast<uint64_t>(operation.amount)};
  builder.Emit(path, Leaf(builder.Mint(), expiry), std::move(observed.dots));
  return absl::OkStatus();
}

absl::Status RemoveExpiry(DeltaBuilder& builder) {
  const Path path = Path::OfExpiry();
  DOVETAIL_ASSIGN_OR_RETURN(ObservedLeaf observed, builder.Observe(path));
  if (!observed.dots.empty()) {
    builder.Emit(path, Leaf(), std::move(observed.dots));
  }
  return absl::OkStatus();
}

}  // namespace dovetail::crdt
