#include "tests/sim/node.h"

#include <algorithm>

namespace dovetail::sim {
namespace {
// Somewhere in 2023, so that clocks can go back by years.
constexpr int64_t kEpochMs = 1'700'000'000'000;
}  // namespace

absl::Status DiskDoor::Commit(const replica::WriteBatch& batch,
                              replica::CommitMode mode) {
  if (full_ && !batch.empty()) {
    return absl::ResourceExhaustedError("the disk is full");
  }
  ++calls_.commits;
  if (mode == replica::CommitMode::kSynced) ++calls_.fsyncs;
  Rows leaving;
  for (const replica::WriteBatch::Entry& entry : batch.entries()) {
    if (entry.family != replica::Family::kLog || entry.value) continue;
    auto value = storage_.Get(entry.family, entry.key);
    if (value.ok() && *value) leaving.emplace_back(entry.key, **value);
  }
  DOVETAIL_RETURN_IF_ERROR(storage_.Commit(batch, mode));
  truncated_.insert(truncated_.end(), leaving.begin(), leaving.end());
  return absl::OkStatus();
}

uint64_t NodeClock::WallMs(int64_t now_us) const {
  const int64_t drift_us = now_us / 1'000'000 * drift_ppm;
  const int64_t wall = kEpochMs + offset_ms + (now_us + drift_us) / 1000;
  return static_cast<uint64_t>(std::max<int64_t>(wall, 0));
}

}  // namespace dovetail::sim
