// What a shard's thread is handed: requests, messages, and what this node has
// to tell it. Private to host.cc and its tests.
#ifndef DOVETAIL_NET_LANE_INPUT_H_
#define DOVETAIL_NET_LANE_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "replica/bucket_properties.h"
#include "replica/ids.h"
#include "replica/message.h"
#include "replica/placement.h"
#include "replica/request.h"
#include "replica/ring_stamp.h"
#include "replica/shard.h"

namespace dovetail::net {

struct PeerInput {
  replica::NodeId from{};
  replica::Message message;
};
struct PeerChange {
  replica::NodeId peer{};
  bool up = false;
  crdt::ActorId incarnation{};
};
struct NewPlacement {
  std::shared_ptr<const replica::Placement> placement;
  replica::RingStamp ring;
};
struct NewBuckets {
  std::shared_ptr<const replica::BucketDefaults> buckets;
};
struct Fsynced {};
using ShardTask = std::function<void(replica::Shard&)>;
using Input = std::variant<replica::ClientRequest, PeerInput, PeerChange,
                           NewPlacement, NewBuckets, Fsynced, ShardTask>;
struct Queued {
  Input input;
  size_t bytes = 0;
  absl::Duration at;  // of requests and peers' messages: when it was queued
};

// What a queued input takes beside its strings.
inline constexpr size_t kInputBytes = 256;
size_t BytesOf(const replica::ClientRequest& request);
// Of a request, in operations.
uint64_t CostOf(const Input& input);
// Whether a peer sent it so that somebody catches up; nobody's request waits
// for that.
bool IsSync(const Input& input);
// Whose deltas it brings, and of which partition.
using DeltaSource = std::pair<replica::NodeId, replica::PartitionId>;
std::optional<DeltaSource> DeltaSourceOf(const Input& input);

}  // namespace dovetail::net

#endif  // DOVETAIL_NET_LANE_INPUT_H_
