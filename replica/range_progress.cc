#include "replica/range_progress.h"

#include <utility>

#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/hooks.h"

namespace dovetail::replica {
namespace {

constexpr uint8_t kActive = 1;
constexpr uint8_t kBegun = 2;
constexpr uint8_t kFilling = 4;
constexpr uint8_t kMending = 8;

crdt::EventSet All(const crdt::Context& context) {
  crdt::EventSet all = context.applied;
  all.UnionWith(context.superseded);
  return all;
}

}  // namespace

std::string RangeProgress::Encode() const {
  std::string bytes;
  crdt::Writer out(&bytes);
  out.Byte(crdt::kCodecVersion);
  out.Byte(static_cast<uint8_t>((active ? kActive : 0) | (begun ? kBegun : 0) |
                                (filling ? kFilling : 0) |
                                (mending ? kMending : 0)));
  common.applied.AppendTo(out);
  common.superseded.AppendTo(out);
  ahead.AppendTo(out);
  done.AppendTo(out);
  lost.AppendTo(out);
  return bytes;
}

absl::StatusOr<RangeProgress> RangeProgress::Decode(absl::string_view bytes) {
  crdt::Reader in(bytes);
  in.ExpectVersion();
  RangeProgress progress;
  const uint8_t flags = in.Byte();
  if (flags > (kActive | kBegun | kFilling | kMending))
    in.Fail("unknown flags");
  progress.active = (flags & kActive) != 0;
  progress.begun = (flags & kBegun) != 0;
  progress.filling = (flags & kFilling) != 0;
  progress.mending = (flags & kMending) != 0;
  DOVETAIL_ASSIGN_OR_RETURN(progress.common.applied,
                            crdt::EventSet::ReadFrom(in));
  DOVETAIL_ASSIGN_OR_RETURN(progress.common.superseded,
                            crdt::EventSet::ReadFrom(in));
  DOVETAIL_ASSIGN_OR_RETURN(progress.ahead, crdt::EventSet::ReadFrom(in));
  progress.done = KeyRanges::ReadFrom(in);
  progress.lost = KeyRanges::ReadFrom(in);
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return progress;
}

void RangeProgress::Read(const crdt::Context& theirs,
                         const crdt::EventSet& theirs_ahead) {
  ahead.UnionWith(theirs.applied);
  ahead.UnionWith(theirs_ahead);
  if (!begun || DOVETAIL_MUTANT("ranges: claims all of its last source")) {
    begun = true;
    common = theirs;
    return;
  }
  // A source never has less than before, unless it is another one, or was set
  // back: then only what all of them had can be claimed.
  if (common.applied.IsSubsetOf(theirs.applied)) return;
  DOVETAIL_MARK("ranges: goes on with a source that has less");
  crdt::EventSet known = All(common).Intersect(All(theirs));
  common.applied = common.applied.Intersect(theirs.applied);
  known.Subtract(common.applied);
  common.superseded = std::move(known);
}

}  // namespace dovetail::replica
