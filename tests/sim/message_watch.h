// Watches every delta that is ever sent: no event may be in two different
// deltas, and no dot may name two payloads, whatever crashed, was restored or
// copied in between.
#ifndef DOVETAIL_TESTS_SIM_MESSAGE_WATCH_H_
#define DOVETAIL_TESTS_SIM_MESSAGE_WATCH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "crdt/dot.h"
#include "replica/message.h"

namespace dovetail::sim {

class MessageWatch {
 public:
  // Looks at the deltas in `message`. Returns what is wrong; empty: nothing.
  std::string Look(const replica::Message& message);
  // The events of a delta that Look has seen.
  crdt::DotRun EventsOf(absl::string_view delta) const;
  uint64_t deltas() const { return known_.size(); }

 private:
  std::string LookAtPayloads(replica::PartitionId partition,
                             const crdt::ObjectId& object,
                             const crdt::Path& path, const crdt::Leaf& leaf);
  std::string LookAt(replica::PartitionId partition, absl::string_view delta);

  using Place = std::pair<replica::PartitionId, crdt::ActorId>;
  std::map<uint64_t, crdt::DotRun> known_;  // by hash of the bytes
  // By partition and actor: first event → (count, hash of the delta).
  std::map<Place, std::map<uint64_t, std::pair<uint64_t, uint64_t>>> runs_;
  std::map<std::pair<Place, uint64_t>, uint64_t> payloads_;  // no tallies
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_MESSAGE_WATCH_H_
