// One entry of the delta log: what a partition applied, in what place, and
// what it did to the sums.
//
//   key    partition:16 | actor:64 | first:64
//   value  = version | sequence | count | sum changes | delta bytes
#ifndef DOVETAIL_REPLICA_LOG_ENTRY_H_
#define DOVETAIL_REPLICA_LOG_ENTRY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/dot.h"
#include "replica/digest.h"

namespace dovetail::replica {

struct LogEntry {
  crdt::DotRun events;
  uint64_t sequence = 0;  // place in the order of application here
  SumChanges changes;
  absl::string_view delta;  // encoded; borrows what was decoded
};

std::string EncodeLogValue(const LogEntry& entry);
// DataLoss if it does not decode. The result borrows `value`.
absl::StatusOr<LogEntry> DecodeLogEntry(absl::string_view key,
                                        absl::string_view value);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_LOG_ENTRY_H_
