#include "replica/lost_tables.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "crdt/hooks.h"
#include "replica/keys.h"

namespace dovetail::replica {

void LostTables::Round() {
  std::vector<DamagedTable> damaged = core_.storage.DamagedTables();
  if (damaged.empty() && tables_.empty()) return;
  std::map<uint64_t, Lost> before = std::exchange(tables_, {});
  for (DamagedTable& table : damaged) {
    const auto known = before.find(table.number);
    const bool suspected = known != before.end();
    if (suspected) {
      before.erase(known);
      if (core_.options.accept_loss || OthersHave(table)) {
        // An error means that the table is in use: the next round tries again,
        // and the metric of damaged tables stays up meanwhile.
        core_.storage
            .GiveUp(table.number, core_.identity.shard, core_.identity.shards)
            .IgnoreError();
      }
    } else {
      DOVETAIL_MARK("tables: what lies in one is suspected");
      ForEachIn(table,
                [&](Partition& partition) { partition.Suspect(table.number); });
      core_.turn_synced = true;
    }
    const uint64_t number = table.number;
    tables_.emplace(number, Lost{std::move(table), suspected});
  }
  for (const auto& [number, lost] : before) {
    ForEachIn(lost.table, [&, table = number](Partition& partition) {
      partition.TableIsGone(table);
    });
  }
}

void LostTables::OnTurnFailed() {
  std::erase_if(tables_,
                [](const auto& table) { return !table.second.suspected; });
}

bool LostTables::OthersHave(const DamagedTable& table) const {
  for (const auto& partition : core_.partitions) {
    const PartitionId id = partition->id();
    if (partition->empty() || !core_.IsOwner(id) ||
        !MayLieBetween(table.family, table.first, table.last, id,
                       core_.placement.partitions())) {
      continue;
    }
    const std::vector<NodeId> others = core_.OtherOwners(id);
    if (std::none_of(others.begin(), others.end(),
                     [&](NodeId owner) { return core_.IsUp(owner); })) {
      return false;
    }
  }
  return true;
}

void LostTables::ForEachIn(const DamagedTable& table,
                           absl::FunctionRef<void(Partition&)> visit) {
  for (const auto& partition : core_.partitions) {
    // What is being emptied is trusted by nobody.
    if (partition->emptying() ||
        !MayLieBetween(table.family, table.first, table.last, partition->id(),
                       core_.placement.partitions())) {
      continue;
    }
    core_.touched.push_back(partition->id());
    visit(*partition);
  }
}

}  // namespace dovetail::replica
