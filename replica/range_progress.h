// How far a partition has come in being brought up to date by ranges, as it
// stands on disk beside the rows, so that it goes on after a restart.
#ifndef DOVETAIL_REPLICA_RANGE_PROGRESS_H_
#define DOVETAIL_REPLICA_RANGE_PROGRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/event_set.h"
#include "replica/key_ranges.h"

namespace dovetail::replica {

struct RangeProgress {
  // A sync is under way.
  bool active = false;
  // Rows with keys in here have been joined with a source's.
  KeyRanges done;
  // What every source that was read knew then, at least; its events are this
  // replica's when all is done. Nothing before the first answer.
  bool begun = false;
  crdt::Context common;
  // Events whose effects the rows may show: until all of them have been
  // applied, the rows are not those of E alone.
  crdt::EventSet ahead;
  // Rows with keys in here were damaged: a peer has to say what they were.
  KeyRanges lost;
  // It began with nothing, or had to be mended: until it is done, and nothing
  // is ahead, this replica answers no reads.
  bool filling = false;

  // It had to be mended: until that is over it mints nothing, since it would
  // observe rows that are not there.
  bool mending = false;

  // Grammar: docs/formats.md, "progress of a sync by ranges".
  std::string Encode() const;
  static absl::StatusOr<RangeProgress> Decode(absl::string_view bytes);

  // A source has been read whose context was `theirs`, and whose rows showed
  // `theirs_ahead`, too.
  void Read(const crdt::Context& theirs, const crdt::EventSet& theirs_ahead);
  // A dot is known to be superseded, if it is not in the row of `key`.
  bool Covers(absl::string_view key, crdt::Dot dot) const {
    return active && common.Contains(dot) && done.Contains(key);
  }
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_RANGE_PROGRESS_H_
