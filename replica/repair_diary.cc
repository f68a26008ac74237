#include "replica/repair_diary.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dovetail::replica {

std::vector<std::string> RepairDiary::EndTurn() {
  told_.resize(core_.partitions.size());
  if (std::exchange(all_, false)) {
    for (const auto& partition : core_.partitions) Look(*partition);
  } else {
    for (const PartitionId id : core_.touched) Look(core_.Get(id));
  }
  return std::exchange(lines_, {});
}

void RepairDiary::Tell(const Partition& partition, const std::string& what) {
  lines_.push_back(
      absl::StrCat("partition ", Index(partition.id()), ": ", what));
}

std::string RepairDiary::RangesBegin(const Partition& partition) const {
  const std::optional<NodeId> source =
      ranges_.ProgressOf(partition.id()).source;
  return absl::StrCat(
      "no log reaches what it lacks; it reads that from ",
      source ? core_.placement.NameOf(*source) : "another owner",
      partition.progress().filling ? ", and answers no reads until then" : "");
}

void RepairDiary::Look(const Partition& partition) {
  Told& told = told_[Index(partition.id()) / core_.identity.shards];
  const RangeProgress& progress = partition.progress();
  const States now{.quarantined = partition.quarantined(),
                   .quarantines = partition.quarantines(),
                   .mending = progress.mending,
                   .ranges = progress.active};
  const States before = std::exchange(told.states, now);
  if (now == before) return;
  // A read that meets damage changes nothing in its turn.
  const bool again = now.quarantines > before.quarantines;
  if (again && !before.quarantined) {
    Tell(partition, absl::StrCat("in quarantine, answers and takes nothing: ",
                                 partition.quarantine_reason()));
  }
  if ((again || before.quarantined) && !now.quarantined) {
    Tell(partition, partition.emptying()
                        ? "was in quarantine, and is held here no longer"
                        : "out of quarantine, all its rows were looked at");
  }
  if (now.mending && !before.mending) {
    told.restored = partition.restored();
    Tell(partition,
         "rows were lost or altered; other owners say what they were");
  }
  if (!now.mending && before.mending && !partition.emptying()) {
    Tell(partition,
         absl::StrCat("mended, with ", partition.restored() - told.restored,
                      " values put back"));
  }
  if (now.ranges && !before.ranges) Tell(partition, RangesBegin(partition));
  if (!now.ranges && before.ranges && !partition.emptying()) {
    Tell(partition, "has what it lacked, by ranges");
  }
}

}  // namespace dovetail::replica
