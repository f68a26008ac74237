#include "crdt/delta.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/limits.h"

// delta  = version, actor, first:varint, count:varint, objects:varint,
//          object...
// object = bucket:bytes, key:bytes, type:8, leaves:varint, leaf...
// leaf   = path:bytes, entries, superseded:dots
namespace dovetail::crdt {
namespace {

// Far more than one delta's bytes can name; keeps counters away from overflow.
constexpr uint64_t kEventsMax = 1'000'000;
void AppendLeafOfDelta(Writer& out, const DeltaLeaf& leaf) {
  const std::string& path = leaf.path.bytes();
  out.Bytes(path);
  AppendEntries(out, LeafTypeOf(leaf.object.type, path), leaf.store);
  AppendDots(out, leaf.superseded);
}

DotRun ReadEvents(Reader& in) {
  DotRun events;
  events.actor = ReadActor(in);
  events.first = in.Varint();
  events.count = in.Varint();
  if (!in.ok()) return events;
  if (events.first == 0) in.Fail("events start at counter 0");
  if (events.count == 0 || events.count > kEventsMax) {
    in.Fail(
        absl::StrCat(events.count, " events; the range is 1 to ", kEventsMax));
  }
  if (events.first > std::numeric_limits<uint64_t>::max() - events.count) {
    in.Fail("events past the last counter");
  }
  return events;
}

ObjectId ReadObject(Reader& in) {
  ObjectId object;
  object.bucket = std::string(in.Bytes(kBucketBytesMax));
  object.key = std::string(in.Bytes(kKeyBytesMax));
  const uint8_t byte = in.Byte();
  if (!in.ok()) return object;
  const std::optional<Type> type = TypeFromByte(byte);
  if (!type) in.Fail(absl::StrCat("unknown type ", byte));
  if (object.bucket.empty() || object.key.empty()) {
    in.Fail("empty bucket or key");
  }
  object.type = type.value_or(Type::kRegister);
  return object;
}

DeltaLeaf ReadLeafOfDelta(Reader& in, const ObjectId& object,
                          const DotRun& events) {
  const absl::string_view path = in.Bytes(kPathBytesMax);
  if (!in.ok()) return {};
  const absl::StatusOr<ParsedPath> parsed = ParseLeafPath(object.type, path);
  if (!parsed.ok()) {
    in.Fail(parsed.status().message());
    return {};
  }
  DeltaLeaf leaf{object, Path::FromTrustedBytes(std::string(path)), {}, {}};
  leaf.store = ReadEntries(in, parsed->leaf_type);
  leaf.superseded = ReadDots(in);
  if (!in.ok()) return {};
  if (leaf.store.empty() && leaf.superseded.empty()) {
    in.Fail("leaf that changes nothing");
  }
  for (const auto& [dot, payload] : leaf.store.entries()) {
    if (parsed->leaf_type != Type::kCounter && !events.Contains(dot)) {
      in.Fail("payload of a dot that is no event of the delta");
    }
  }
  return leaf;
}

// A bound on the encoded delta; close where there are few objects.
size_t BytesMax(const Delta& delta) {
  size_t bytes = 8 + 3 * kVarintBytesMax;
  for (const DeltaLeaf& leaf : delta.leaves) {
    bytes += leaf.object.bucket.size() + leaf.object.key.size() +
             leaf.path.bytes().size() + 6 * kVarintBytesMax +
             kDotBytesMax * (leaf.store.size() + leaf.superseded.size());
    for (const auto& [dot, payload] : leaf.store.entries()) {
      bytes += PayloadBytesMax(payload);
    }
  }
  return bytes;
}

// Reads the leaves of one object into `leaves`.
void ReadObjectLeaves(Reader& in, const DotRun& events,
                      std::vector<DeltaLeaf>& leaves) {
  const ObjectId object = ReadObject(in);
  if (in.ok() && !leaves.empty() && object <= leaves.back().object) {
    in.Fail("objects are not in ascending order");
  }
  const size_t count = in.Count(3);
  if (in.ok() && count == 0) in.Fail("object without leaves");
  for (size_t i = 0; i < count && in.ok(); ++i) {
    DeltaLeaf leaf = ReadLeafOfDelta(in, object, events);
    if (in.ok() && i > 0 && leaf.path <= leaves.back().path) {
      in.Fail("leaves are not in ascending order");
    }
    leaves.push_back(std::move(leaf));
  }
}

// A payload dot belongs to one leaf, and nothing of the delta supersedes what
// the delta itself writes.
void CheckDots(Reader& in, const Delta& delta) {
  const std::vector<Dot> payloads = PayloadDots(delta.leaves);
  if (std::adjacent_find(payloads.begin(), payloads.end()) != payloads.end()) {
    in.Fail("one dot with payloads in two leaves");
  }
  for (const DeltaLeaf& leaf : delta.leaves) {
    for (const Dot dot : leaf.superseded) {
      if (delta.events.Contains(dot) ||
          std::binary_search(payloads.begin(), payloads.end(), dot)) {
        in.Fail("delta supersedes what it writes");
      }
    }
  }
}

}  // namespace

std::vector<Dot> PayloadDots(const std::vector<DeltaLeaf>& leaves) {
  std::vector<Dot> dots;
  for (const DeltaLeaf& leaf : leaves) {
    for (const auto& [dot, payload] : leaf.store.entries()) dots.push_back(dot);
  }
  std::sort(dots.begin(), dots.end());
  return dots;
}

std::string Delta::Encode() const {
  DOVETAIL_CHECK(!leaves.empty());
  std::string bytes;
  bytes.reserve(BytesMax(*this));
  Writer out(&bytes);
  out.Byte(kCodecVersion);
  AppendActor(out, events.actor);
  out.Varint(events.first);
  out.Varint(events.count);
  std::vector<size_t> starts;  // where each object's leaves start
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (i == 0 || leaves[i].object != leaves[i - 1].object) starts.push_back(i);
  }
  out.Varint(starts.size());
  starts.push_back(leaves.size());
  for (size_t k = 0; k + 1 < starts.size(); ++k) {
    const ObjectId& object = leaves[starts[k]].object;
    out.Bytes(object.bucket);
    out.Bytes(object.key);
    out.Byte(static_cast<uint8_t>(object.type));
    out.Varint(starts[k + 1] - starts[k]);
    for (size_t i = starts[k]; i < starts[k + 1]; ++i) {
      AppendLeafOfDelta(out, leaves[i]);
    }
  }
  return bytes;
}

absl::StatusOr<Delta> Delta::Decode(absl::string_view bytes) {
  if (bytes.size() > kDeltaBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("delta is ", bytes.size(), " bytes; the limit is ",
                     kDeltaBytesMax, " (kDeltaBytesMax)"));
  }
  Reader in(bytes);
  Delta delta;
  in.ExpectVersion();
  delta.events = ReadEvents(in);
  const size_t objects = in.Count(8);
  if (in.ok() && objects == 0) in.Fail("delta without leaves");
  for (size_t i = 0; i < objects && in.ok(); ++i) {
    ReadObjectLeaves(in, delta.events, delta.leaves);
  }
  if (in.ok()) CheckDots(in, delta);
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return delta;
}

}  // namespace dovetail::crdt
