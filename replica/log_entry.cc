#include "replica/log_entry.h"

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/limits.h"
#include "replica/keys.h"

namespace dovetail::replica {

std::string EncodeLogValue(const LogEntry& entry) {
  std::string value;
  value.reserve(entry.delta.size() + 48);
  crdt::Writer out(&value);
  out.Byte(crdt::kCodecVersion);
  out.Varint(entry.sequence);
  out.Varint(entry.events.count);
  AppendSumChanges(out, entry.changes);
  out.Bytes(entry.delta);
  return value;
}

absl::StatusOr<LogEntry> DecodeLogEntry(absl::string_view key,
                                        absl::string_view value) {
  DOVETAIL_ASSIGN_OR_RETURN(const crdt::Dot first, ParseLogKey(key));
  crdt::Reader in(value);
  in.ExpectVersion();
  LogEntry entry;
  entry.sequence = in.Varint();
  entry.events = {first.actor, first.counter, in.Varint()};
  entry.changes = ReadSumChanges(in);
  entry.delta = in.Bytes(crdt::kDeltaBytesMax);
  if (entry.events.count == 0) in.Fail("an entry without events");
  if (absl::Status status = in.Finish(); !status.ok()) {
    return absl::DataLossError(
        absl::StrCat("the log entry of event ", crdt::ToString(first),
                     " does not decode: ", status.message()));
  }
  return entry;
}

}  // namespace dovetail::replica
