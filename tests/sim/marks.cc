#include "tests/sim/marks.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace dovetail::sim {

const std::vector<MarkElsewhere>& MarksElsewhere() {
  // What two nodes under one name or address do is not drawn: an operator's
  // mistake, of which a plan would need many to meet each.
  static const std::vector<MarkElsewhere> marks = {
      {"membership: a ping for another node", nullptr,
       "Membership: a ping for another node at this address is not answered"},
      {"membership: a rumour about one forgotten", nullptr,
       "Membership: a forgotten node stays away until it starts again"},
      {"membership: another node with my id", nullptr,
       "Membership: two nodes with one id and two names are reported"},
      {"membership: my name from elsewhere, again", nullptr,
       "Membership: one last life is overruled and who claims again lives"},
      // As many as there are nodes of a large cluster.
      {"membership: many links broke at once", nullptr,
       "Membership: queues stay within their limits whatever comes"},
      {"membership: too many probes at once", nullptr,
       "Membership: with all probes in flight a period goes without one"},
      // The objects that expire in the workload have no exactly-once session.
      {"once: what has expired goes first", nullptr,
       "Expiry: an operation with an id finds an object that is gone"},
      {"reaper: an entry that outlived its object", nullptr,
       "Expiry: an entry by time that outlived its object goes"},
      // No bucket of the workload says how long its objects live.
      {"expiry: by what the bucket says", nullptr,
       "Buckets: what a write begins lives as long as its bucket says"},
      // Nobody measures how long requests take: they take no time.
      {"pace: transfers yield to requests", nullptr,
       "Pace: it halves while requests take longer than usual*"},
      {"sync: a stream waits for its time", nullptr,
       "Pace: a log that is streamed waits for its time"},
      // One in 2^16 rows.
      {"ranges: a short print hid a difference", nullptr,
       "Ranges: a short print that is another row's hides nothing"},
      // Rings that follow each other in a cluster in two: a seed of thousands.
      {"ranges: nobody is whole, so all are sources", nullptr,
       "Filling: where nobody is whole*"},
      // Plans move too little for an answer to take so long.
      {"ranges: who asked has given up", nullptr,
       "Filling: a source does not answer who has given up on it"},
      // Damage in a piece before anything else comes upon it.
      {"pieces: damage is found when a leaf is divided", nullptr,
       "Pieces: a leaf that lost a row is not divided"},
      {"pieces: damage is found when one is cut", nullptr,
       "Pieces: one that lost a row is not cut"},
      // No set of a plan is so large.
      {"pieces: several are asked about as one", nullptr,
       "Pieces: of a large set that differs in one element few rows are read"},
      {"ranges: too many rows for sums", nullptr,
       "Pieces: what would take too many rows is said to differ"},
      // The disks of plans lose rows, and no tables.
      {"tables: what lies in one is suspected", nullptr,
       "Lost table: its rows come back from the other owners"},
      {"load: rows may have gone with a table", nullptr,
       "Lost table: a restart takes nothing in it for absent"},
      // No operator of a plan accepts loss.
      {"mend: nobody else ever had it", nullptr,
       "Damage: the only copy is given up if an operator says so"},
      {"mend: the source lacks what no log here has", "damage", nullptr},
      {"ranges: a source cannot answer", "damage", nullptr},
      {"ranges: no longer the same events", "damage", nullptr},
      {"ranges: rows here cannot be read", "damage", nullptr},
      {"ranges: the same events, and not the same rows", "damage", nullptr},
      {"scrub: the index names what is not there", "damage", nullptr},
  };
  return marks;
}

bool MustReach(const std::string& mark, const std::string& profile) {
  const auto& marks = MarksElsewhere();
  const auto its =
      std::find_if(marks.begin(), marks.end(),
                   [&](const MarkElsewhere& one) { return mark == one.mark; });
  // A campaign of one that marks are declared for is asked about these alone.
  const bool has_own =
      std::any_of(marks.begin(), marks.end(), [&](const MarkElsewhere& one) {
        return one.profile != nullptr && profile == one.profile;
      });
  if (its == marks.end()) {
    // Too little expires elsewhere.
    const bool expires = absl::StartsWith(mark, "expiry: ") ||
                         absl::StartsWith(mark, "reaper: ");
    return expires ? profile == "expiry" : !has_own && profile != "expiry";
  }
  return its->profile != nullptr && profile == its->profile;
}

}  // namespace dovetail::sim
