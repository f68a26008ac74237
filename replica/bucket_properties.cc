#include "replica/bucket_properties.h"

#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/limits.h"

namespace dovetail::replica {
namespace {

constexpr uint64_t kKinds = 256;

Level::Kind KindOf(uint64_t number) {
  return static_cast<Level::Kind>(number % kKinds);
}

bool IsLevel(uint64_t number) {
  if (number % kKinds > static_cast<uint64_t>(Level::Kind::kEachQuorum)) {
    return false;
  }
  const uint64_t count = number / kKinds;
  if (KindOf(number) != Level::Kind::kCount) return count == 0;
  return count >= 1 && count <= kReplicasMax;
}

absl::Status CheckLevel(const Level& level, absl::string_view name,
                        const RingSpec& ring) {
  if (level.kind != Level::Kind::kCount || level.count <= ring.replicas) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(name, "=", level.count,
                                                 ": a key has ", ring.replicas,
                                                 " replicas in this cluster"));
}

}  // namespace

uint64_t LevelNumber(const Level& level) {
  return static_cast<uint64_t>(level.kind) + kKinds * level.count;
}

Level LevelOfNumber(uint64_t number) {
  DOVETAIL_CHECK(IsLevel(number));
  return {KindOf(number), static_cast<uint32_t>(number / kKinds)};
}

bool IsSetting(BucketProperty property, uint64_t value) {
  switch (property) {
    case BucketProperty::kRead:
    case BucketProperty::kWrite:
      return IsLevel(value);
    case BucketProperty::kQuorums:
      return value <= static_cast<uint64_t>(Quorums::kStrict);
    case BucketProperty::kDurability:
      return value <= 1 + static_cast<uint64_t>(Durability::kFsync);
    case BucketProperty::kTimeout:
      return value <= static_cast<uint64_t>(
                          absl::ToInt64Milliseconds(kBucketTimeoutMax));
    case BucketProperty::kValueBytesMax:
      return value <= crdt::kValueBytesMax;
    case BucketProperty::kTtl:
      return value <= kBucketTtlMsMax;
  }
  return false;
}

BucketProperties PropertiesOf(const BucketSettings& settings) {
  BucketProperties properties;
  for (const auto& [property, value] : settings) {
    DOVETAIL_CHECK(IsSetting(property, value));
    switch (property) {
      case BucketProperty::kRead:
        properties.read = LevelOfNumber(value);
        break;
      case BucketProperty::kWrite:
        properties.write = LevelOfNumber(value);
        break;
      case BucketProperty::kQuorums:
        properties.quorums = static_cast<Quorums>(value);
        break;
      case BucketProperty::kDurability:
        if (value > 0) {
          properties.durability = static_cast<Durability>(value - 1);
        }
        break;
      case BucketProperty::kTimeout:
        properties.timeout = absl::Milliseconds(static_cast<int64_t>(value));
        break;
      case BucketProperty::kValueBytesMax:
        properties.value_bytes_max = static_cast<uint32_t>(value);
        break;
      case BucketProperty::kTtl:
        properties.ttl_ms = value;
        break;
    }
  }
  return properties;
}

BucketSettings SettingsOf(const BucketProperties& properties) {
  BucketSettings settings;
  const auto set = [&](BucketProperty property, uint64_t value) {
    if (value != 0) settings.emplace(property, value);
  };
  set(BucketProperty::kRead, LevelNumber(properties.read));
  set(BucketProperty::kWrite, LevelNumber(properties.write));
  set(BucketProperty::kQuorums, static_cast<uint64_t>(properties.quorums));
  if (properties.durability) {
    set(BucketProperty::kDurability,
        1 + static_cast<uint64_t>(*properties.durability));
  }
  set(BucketProperty::kTimeout,
      static_cast<uint64_t>(absl::ToInt64Milliseconds(properties.timeout)));
  set(BucketProperty::kValueBytesMax, properties.value_bytes_max);
  set(BucketProperty::kTtl, properties.ttl_ms);
  return settings;
}

absl::Status CheckSettings(const BucketSettings& settings,
                           const RingSpec& ring) {
  const auto refuse = [](absl::string_view name, auto... may_be) {
    return absl::InvalidArgumentError(
        absl::StrCat("bucket property ", name, ": it is ", may_be...));
  };
  for (const auto& [property, value] : settings) {
    const bool fits = IsSetting(property, value);
    switch (property) {
      case BucketProperty::kRead:
      case BucketProperty::kWrite: {
        const char* name = property == BucketProperty::kRead ? "R" : "W";
        if (!fits) {
          return refuse(name, "a level or a number from 1 to ", ring.replicas);
        }
        DOVETAIL_RETURN_IF_ERROR(CheckLevel(LevelOfNumber(value), name, ring));
        break;
      }
      case BucketProperty::kQuorums:
        if (!fits) return refuse("quorums", "sloppy, strict or default");
        break;
      case BucketProperty::kDurability:
        if (!fits) return refuse("durability", "wal, fsync or default");
        break;
      case BucketProperty::kTimeout:
        if (!fits) {
          return refuse("timeout", "at most ",
                        absl::FormatDuration(kBucketTimeoutMax));
        }
        break;
      case BucketProperty::kValueBytesMax:
        if (!fits) {
          return refuse("value_bytes_max", "at most ", crdt::kValueBytesMax);
        }
        break;
      case BucketProperty::kTtl:
        if (!fits) return refuse("ttl", "at most 1000 years");
        break;
      default:
        return absl::InvalidArgumentError(absl::StrCat(
            "unknown bucket property ", static_cast<int>(property)));
    }
  }
  return absl::OkStatus();
}

}  // namespace dovetail::replica
