#include "tests/sim/storm_watch.h"

#include <variant>

#include "absl/strings/str_cat.h"
#include "tests/sim/seat.h"
#include "tests/sim/stream.h"
#include "tests/sim/trace.h"

namespace dovetail::sim {

std::string StormWatch::Look(uint32_t node, const replica::Envelope& envelope,
                             int64_t now_us) {
  if (now_us / 1'000'000 != second_) {
    second_ = now_us / 1'000'000;
    counts_.clear();
  }
  const auto& body = envelope.message.body;
  if (const auto* summary = std::get_if<replica::Summary>(&body)) {
    if (!summary->answer) return "";
    return Count('s', node, envelope, summary->applied.Encode(),
                 kSameSummaryMax);
  }
  if (const auto* chunk = std::get_if<replica::SyncDeltas>(&body)) {
    for (const std::string& delta : chunk->deltas) {
      std::string wrong = Count('d', node, envelope, delta, kSameDeltaMax);
      if (!wrong.empty()) return wrong;
    }
  } else if (const auto* query = std::get_if<replica::ReadQuery>(&body)) {
    return Count('q', node, envelope, crdt::ToString(query->spec.object),
                 kQuestionsMax);
  }
  return "";
}

std::string StormWatch::Count(char what, uint32_t node,
                              const replica::Envelope& envelope,
                              absl::string_view content, uint32_t max) {
  const auto place = static_cast<uint64_t>(what) << 48 | uint64_t{node} << 32 |
                     SeatOf(envelope.to);
  const uint64_t key =
      Mix(Mix(HashOf(content) ^ place) ^ Index(envelope.message.partition));
  if (++counts_[key] <= max) return "";
  const char* const name = what == 's'   ? "the same summary"
                           : what == 'd' ? "the same delta"
                                         : "questions about one object";
  return absl::StrCat("a storm: ", name, " to node ", SeatOf(envelope.to),
                      ", partition ", Index(envelope.message.partition),
                      ", more than ", max, " times within a second");
}

}  // namespace dovetail::sim
