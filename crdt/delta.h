// A delta: what one mutation (or one atomic batch) changes, and everything
// that ever travels between replicas. It is named by its run of event dots;
// applying it twice changes nothing.
//
//   events   the dots this mutation minted, one run of one actor. Removes mint
//            one too, or nobody could tell that a replica lacks them.
//   leaves   for each leaf it touches: the payloads it writes, and exactly the
//            dots it supersedes. The context of a leaf is
//            events ∪ dots(store) ∪ superseded.
//
// Two kinds of dots: a payload dot names a payload for good; an event dot
// names the delta. They coincide except for counter entries, where a later
// event of the same actor extends an earlier payload dot.
#ifndef DOVETAIL_CRDT_DELTA_H_
#define DOVETAIL_CRDT_DELTA_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "crdt/dot.h"
#include "crdt/leaf.h"
#include "crdt/path.h"
#include "crdt/type.h"

namespace dovetail::crdt {

struct DeltaLeaf {
  ObjectId object;
  Path path;
  Leaf store;
  // Sorted, each once, none of them an event or a payload dot of this delta.
  std::vector<Dot> superseded;
  friend bool operator==(const DeltaLeaf&, const DeltaLeaf&) = default;
};

struct Delta {
  DotRun events;
  // Sorted by (object, path), each once.
  std::vector<DeltaLeaf> leaves;

  std::string Encode() const;
  // Errors: InvalidArgument; nothing that is not canonical is accepted.
  static absl::StatusOr<Delta> Decode(absl::string_view bytes);
  friend bool operator==(const Delta&, const Delta&) = default;
};

// The dots of all payloads that `leaves` write, sorted.
std::vector<Dot> PayloadDots(const std::vector<DeltaLeaf>& leaves);

// The context of one leaf of a delta, for the join; borrows both.
class DeltaLeafContext {
 public:
  DeltaLeafContext(const DotRun& events, const DeltaLeaf& leaf)
      : events_(events), leaf_(leaf) {}
  bool Contains(Dot dot) const {
    return events_.Contains(dot) || leaf_.store.Contains(dot) ||
           std::binary_search(leaf_.superseded.begin(),
                              leaf_.superseded.end(), dot);
  }

 private:
  const DotRun& events_;
  const DeltaLeaf& leaf_;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_DELTA_H_
