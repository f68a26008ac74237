// Watches how often nodes say and ask the same, for there are to be no storms
// of repair: whatever lags, is lost, cannot be applied or is asked for by
// however many clients, a node asks another one for it a few times a second,
// and is sent it a few times.
//
// Counted is what repeats, not what there is: a backlog of any size may travel
// as fast as it can, once.
#ifndef DOVETAIL_TESTS_SIM_STORM_WATCH_H_
#define DOVETAIL_TESTS_SIM_STORM_WATCH_H_

#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/strings/string_view.h"
#include "replica/message.h"

namespace dovetail::sim {

class StormWatch {
 public:
  // Between two nodes, in one second of virtual time:
  // summaries that show the same events of a partition and want an answer: one
  // for each time that a link came up, all of which a node that stood still
  // hears of at once, or that an operator asks for;
  static constexpr uint32_t kSameSummaryMax = 500;
  // one delta, by sync;
  static constexpr uint32_t kSameDeltaMax = 200;
  // questions about one object, for all the reads there are: pages grow. Six
  // hundred at one node whose owner was just cut off ask ten times each, after
  // 1 ms, 2 ms, 4 ms and so on.
  static constexpr uint32_t kQuestionsMax = 8000;

  // A node that is to be `node` sends it. Returns what is wrong; empty:
  // nothing.
  std::string Look(uint32_t node, const replica::Envelope& envelope,
                   int64_t now_us);

 private:
  std::string Count(char what, uint32_t node, const replica::Envelope& envelope,
                    absl::string_view content, uint32_t max);

  int64_t second_ = 0;
  std::unordered_map<uint64_t, uint32_t> counts_;  // of this second
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_STORM_WATCH_H_
