// What a bucket says for requests that do not say it themselves. A bucket
// without properties is like any other: the node's defaults apply.
//
// There is no N of a bucket: the owners of a partition hold all buckets in it
// (docs/decisions.md).
#ifndef DOVETAIL_REPLICA_BUCKET_PROPERTIES_H_
#define DOVETAIL_REPLICA_BUCKET_PROPERTIES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "replica/request.h"
#include "replica/ring.h"

namespace dovetail::replica {

// The longest default deadline; also what a request may ask for by default
// (ShardOptions::request_timeout_max).
inline constexpr absl::Duration kBucketTimeoutMax = absl::Minutes(5);

// The longest time to live: what a time of expiry can be (crdt/limits.h), less
// what a clock shows in this millennium.
inline constexpr uint64_t kBucketTtlMsMax =
    uint64_t{365'000} * 24 * 60 * 60 * 1000;

struct BucketProperties {
  Level read;                                     // R
  Level write;                                    // W
  Quorums quorums = Quorums::kDefault;            // who counts
  std::optional<Durability> durability;           // of acknowledgements
  absl::Duration timeout = absl::ZeroDuration();  // whole milliseconds
  // Of one value or element that is written; 0: kValueBytesMax,
  // kElementBytesMax. A limit, not a default: no request can raise it.
  uint32_t value_bytes_max = 0;
  // How long objects live that a write begins without saying so, in
  // milliseconds; 0: for ever.
  uint64_t ttl_ms = 0;
  friend bool operator==(const BucketProperties&,
                         const BucketProperties&) = default;
};

// The numbers stand in files and on the wire, for ever.
enum class BucketProperty : uint8_t {
  kRead = 1,
  kWrite = 2,
  kQuorums = 3,
  kDurability = 4,
  kTimeout = 5,
  kValueBytesMax = 6,
  kTtl = 7,
};
inline constexpr uint8_t kBucketPropertyLast = 7;

// Some of the properties, each as one number; 0 is "nothing said".
//   levels      kind + 256 * count      quorums   the enum
//   durability  1 + the enum            timeout, ttl   milliseconds
using BucketSettings = std::map<BucketProperty, uint64_t>;

uint64_t LevelNumber(const Level& level);
// Requires: the number of a level (IsSetting).
Level LevelOfNumber(uint64_t number);
// Whether `value` can be that of `property` at all.
bool IsSetting(BucketProperty property, uint64_t value);

// Requires: IsSetting of each.
BucketProperties PropertiesOf(const BucketSettings& settings);
// Those that differ from the default.
BucketSettings SettingsOf(const BucketProperties& properties);

// Why a cluster with this ring cannot have a bucket with them. Errors:
// InvalidArgument (no such level, timeout, ...), which names the property.
absl::Status CheckSettings(const BucketSettings& settings,
                           const RingSpec& ring);

// Of every bucket that has any.
using BucketDefaults = absl::flat_hash_map<std::string, BucketProperties>;

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_BUCKET_PROPERTIES_H_
