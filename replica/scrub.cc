#include "replica/scrub.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "crdt/hooks.h"
#include "replica/hash.h"
#include "replica/keys.h"

namespace dovetail::replica {
namespace {

// A partition in quarantine serves nobody: it is gone through faster than the
// slow pass. 20,000: about 20 ms of a shard's second.
constexpr uint64_t kRowsOfQuarantinePerRound = 20'000;

}  // namespace

bool Scrub::Look(Partition& partition, ScrubPlace& place, uint64_t rows) {
  const uint32_t first = place.leaf;
  const absl::StatusOr<std::vector<uint32_t>> damaged =
      partition.FindDamage(place, rows);
  if (!damaged.ok()) {
    DOVETAIL_MARK("scrub: rows that the disk does not let go of");
    ++core_.stats.corruptions;
    partition.Note(damaged.status());
    return false;
  }
  for (const uint32_t index : *damaged) {
    DOVETAIL_MARK("scrub: damage found");
    core_.touched.push_back(partition.id());
    const absl::StatusOr<uint64_t> cleared = partition.ClearDamage(index);
    ++core_.stats.corruptions;
    if (!cleared.ok()) {
      partition.Note(cleared.status());
      place = {first, ""};
      return false;
    }
    ++core_.stats.damaged_leaves;
    // The rest of it has been looked at, too.
    if (place.leaf == index) place = {index + 1, ""};
  }
  core_.stats.scrubbed_leaves += place.leaf - first;
  return true;
}

void Scrub::LookAtQuarantined(Partition& partition, uint64_t rows) {
  ScrubPlace& place = quarantined_[partition.id()];
  if (!Look(partition, place, rows)) {
    quarantined_.erase(partition.id());  // from the start, the next time
  } else if (place.at_end()) {
    DOVETAIL_MARK("scrub: a partition leaves quarantine");
    core_.touched.push_back(partition.id());
    quarantined_.erase(partition.id());
    partition.EndQuarantine();
  }
}

bool Scrub::MayLookAt(const Partition& partition) const {
  // What this turn wrote is not in the index yet.
  return !partition.emptying() &&
         std::count(core_.touched.begin(), core_.touched.end(),
                    partition.id()) == 0;
}

void Scrub::DivideLeaves() {
  for (const auto& partition : core_.partitions) {
    if (!partition->Available().ok()) continue;
    if (!partition->DivideSome(core_.options.divide_rows_per_round)) continue;
    core_.touched.push_back(partition->id());
    return;
  }
}

void Scrub::Round() {
  for (const auto& partition : core_.partitions) {
    if (partition->mendable() && MayLookAt(*partition)) {
      LookAtQuarantined(*partition, kRowsOfQuarantinePerRound);
    }
  }
  const uint64_t rows = core_.options.scrub_rows_per_round;
  if (core_.partitions.empty() || rows == 0) return;
  LookAtIndex(rows);
  Partition& partition =
      *core_.partitions[partition_ % core_.partitions.size()];
  const bool skip = partition.quarantined() || !MayLookAt(partition) ||
                    (place_.leaf == 0 && partition.empty());
  if (!skip) Look(partition, place_, rows);
  if (skip || place_.at_end() || partition.quarantined()) {
    place_ = {};
    ++partition_;
  }
}

// An entry may outlive its object, if damage took the object and its peers say
// that it had been removed meanwhile: nothing else names it then.
void Scrub::LookAtIndex(uint64_t entries) {
  std::vector<crdt::ObjectId> objects;
  std::string last;
  const absl::Status scanned =
      core_.storage.Scan(Family::kIndex, index_at_, "",
                         [&](absl::string_view key, absl::string_view) {
                           if (entries == 0) return false;
                           --entries;
                           last = std::string(key);
                           if (auto object = ParseIndexKey(key); object.ok()) {
                             objects.push_back(*std::move(object));
                           }
                           return true;
                         });
  if (!scanned.ok()) ++core_.stats.corruptions;
  // From the start again at the end, or where the disk does not let go.
  index_at_ = entries > 0 || !scanned.ok() ? "" : last + '\0';
  for (const crdt::ObjectId& object : objects) {
    const PartitionId id =
        PartitionOf(object.bucket, object.key, core_.placement.partitions());
    if (!core_.Owns(id)) continue;
    Partition& partition = core_.Get(id);
    if (!partition.Readable().ok() || !MayLookAt(partition)) continue;
    const absl::StatusOr<bool> listed = partition.Lists(object);
    if (!listed.ok()) {
      ++core_.stats.corruptions;
      partition.Note(listed.status());
    } else if (!*listed) {
      DOVETAIL_MARK("scrub: the index names what is not there");
      core_.rows.DeleteOther(Family::kIndex, IndexKey(object));
      ++core_.stats.corruptions;
    }
  }
}

void Scrub::All() {
  for (const auto& partition : core_.partitions) {
    if (partition->emptying()) continue;
    const bool was_quarantined = partition->mendable();
    ScrubPlace place;
    while (!place.at_end()) {
      if (!Look(*partition, place, uint64_t{1} << 20)) break;
    }
    if (place.at_end() && was_quarantined) {
      core_.touched.push_back(partition->id());
      partition->EndQuarantine();
    }
  }
  index_at_.clear();
  LookAtIndex(std::numeric_limits<uint64_t>::max());
}

}  // namespace dovetail::replica
