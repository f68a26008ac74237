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
      for (Partition* partition : Touch(table))
        partition->Suspect(table.number);
      core_.turn_synced = true;
    }
    const uint64_t number = table.number;
    tables_.emplace(number, Lost{std::move(table), suspected});
  }
  for (const auto& [number, lost] : before) {
    for (Partition* partition : Touch(lost.table)) {
      partition->TableIsGone(lost.table);
    }
  }
}

void LostTables::OnTurnFailed() {
  std::erase_if(tables_,
                [](const auto& table) { return !table.second.suspected; });
}

bool LostTables::OthersHave(const DamagedTable& table) const {
  for (const Partition* partition : Overlapped(table)) {
    const PartitionId id = partition->id();
    if (partition->empty() || !core_.IsOwner(id)) continue;
    const std::vector<NodeId> others = core_.OtherOwners(id);
    if (std::none_of(others.begin(), others.end(),
                     [&](NodeId owner) { return core_.IsUp(owner); })) {
      return false;
    }
  }
  return true;
}

std::vector<Partition*> LostTables::Overlapped(
    const DamagedTable& table) const {
  std::vector<Partition*> overlapped;
  for (const auto& partition : core_.partitions) {
    // What is being emptied is trusted by nobody.
    if (!partition->emptying() &&
        MayLieBetween(table.family, table.first, table.last, partition->id(),
                      core_.placement.partitions())) {
      overlapped.push_back(partition.get());
    }
  }
  return overlapped;
}

std::vector<Partition*> LostTables::Touch(const DamagedTable& table) {
  std::vector<Partition*> partitions = Overlapped(table);
  for (const Partition* partition : partitions) {
    core_.touched.push_back(partition->id());
  }
  return partitions;
}

}  // namespace dovetail::replica
