#include "crdt/leaf.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/hooks.h"
#include "crdt/limits.h"

namespace dovetail::crdt {
namespace {

void JoinTally(Tally& mine, const Tally& theirs) {
  DOVETAIL_MARK_IF(
      "counter: a reset comes to an add it had not seen",
      mine.added + mine.subtracted > theirs.added + theirs.subtracted &&
          mine.reset_added + mine.reset_subtracted <
              theirs.reset_added + theirs.reset_subtracted);
  mine.added = DOVETAIL_MUTANT("counter: joined by sum")
                   ? mine.added + theirs.added
                   : std::max(mine.added, theirs.added);
  mine.subtracted = std::max(mine.subtracted, theirs.subtracted);
  mine.reset_added = std::max(mine.reset_added, theirs.reset_added);
  mine.reset_subtracted =
      std::max(mine.reset_subtracted, theirs.reset_subtracted);
}

Polarity ReadPolarity(Reader& in) {
  const uint8_t byte = in.Byte();
  if (byte > 1) in.Fail(absl::StrCat("polarity ", byte));
  return static_cast<Polarity>(byte == 1);
}

Stamped ReadStamped(Reader& in) {
  Stamped stamped;
  stamped.stamp.wall_ms = in.Varint();
  const uint64_t logical = in.Varint();
  if (logical > 0xffff) in.Fail("logical clock over 16 bits");
  stamped.stamp.logical = static_cast<uint16_t>(logical);
  stamped.bytes = std::string(in.Bytes(kValueBytesMax));
  return stamped;
}

Expiry ReadExpiry(Reader& in) {
  const Expiry expiry{in.Varint()};
  if (expiry.at_ms < 1 || expiry.at_ms > kExpiresMsMax) {
    in.Fail("expires at a time that cannot be");
  }
  return expiry;
}

// A reset never exceeds what it reset: true of every tally written, and kept
// by the join, since both are raised by maximum.
Tally ReadTally(Reader& in) {
  Tally tally;
  tally.added = in.Varint();
  tally.subtracted = in.Varint();
  tally.reset_added = in.Varint();
  tally.reset_subtracted = in.Varint();
  if (tally.added > kTallyMax || tally.subtracted > kTallyMax) {
    in.Fail("tally over kTallyMax");
  }
  if (tally.reset_added > tally.added ||
      tally.reset_subtracted > tally.subtracted) {
    in.Fail("tally resets more than there is");
  }
  return tally;
}

}  // namespace

bool JoinPayload(Payload& mine, const Payload& theirs) {
  if (auto* tally = std::get_if<Tally>(&mine)) {
    const auto* other = std::get_if<Tally>(&theirs);
    if (other == nullptr) return false;
    JoinTally(*tally, *other);
    return true;
  }
  return mine == theirs;
}

bool PayloadMatches(Type leaf_type, const Payload& payload) {
  switch (leaf_type) {
    case Type::kSet:
    case Type::kGrowSet:
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      return std::holds_alternative<Unit>(payload);
    case Type::kRemoveSet:
      return std::holds_alternative<Polarity>(payload);
    case Type::kMultiValue:
      return std::holds_alternative<Value>(payload);
    case Type::kRegister:
      return std::holds_alternative<Stamped>(payload);
    case Type::kCounter:
      return std::holds_alternative<Tally>(payload);
    case Type::kExpiry:
      return std::holds_alternative<Expiry>(payload);
    case Type::kMap:
      return false;
  }
  return false;
}

bool IsVisible(Type leaf_type, const Leaf& leaf) {
  const auto& entries = leaf.entries();
  switch (leaf_type) {
    case Type::kRemoveSet:
      return !entries.empty() &&
             std::all_of(entries.begin(), entries.end(), [](const auto& entry) {
               return std::get<Polarity>(entry.second) == Polarity::kAdded;
             });
    case Type::kCounter:
      return std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
        return !std::get<Tally>(entry.second).fully_reset();
      });
    case Type::kRegister:
    case Type::kMultiValue:
    case Type::kSet:
    case Type::kGrowSet:
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      return !entries.empty();
    case Type::kExpiry:
      return false;
    case Type::kMap:
      break;
  }
  DOVETAIL_CHECK(leaf_type != Type::kMap);
  return false;
}

size_t PayloadBytesMax(const Payload& payload) {
  if (const auto* value = std::get_if<Value>(&payload)) {
    return kVarintBytesMax + value->bytes.size();
  }
  if (const auto* stamped = std::get_if<Stamped>(&payload)) {
    return 3 * kVarintBytesMax + stamped->bytes.size();
  }
  if (std::holds_alternative<Tally>(payload)) return 4 * kVarintBytesMax;
  return std::holds_alternative<Expiry>(payload) ? kVarintBytesMax : 1;
}

void AppendPayload(Writer& out, const Payload& payload) {
  struct Visitor {
    Writer& out;
    void operator()(Unit) const {}
    void operator()(Polarity p) const { out.Byte(static_cast<uint8_t>(p)); }
    void operator()(const Value& value) const { out.Bytes(value.bytes); }
    void operator()(const Stamped& stamped) const {
      out.Varint(stamped.stamp.wall_ms);
      out.Varint(stamped.stamp.logical);
      out.Bytes(stamped.bytes);
    }
    void operator()(const Tally& tally) const {
      out.Varint(tally.added);
      out.Varint(tally.subtracted);
      out.Varint(tally.reset_added);
      out.Varint(tally.reset_subtracted);
    }
    void operator()(Expiry expiry) const { out.Varint(expiry.at_ms); }
  };
  std::visit(Visitor{out}, payload);
}

Payload ReadPayload(Reader& in, Type leaf_type) {
  switch (leaf_type) {
    case Type::kSet:
    case Type::kGrowSet:
    case Type::kEnableFlag:
    case Type::kDisableFlag:
      return Unit{};
    case Type::kRemoveSet:
      return ReadPolarity(in);
    case Type::kMultiValue:
      return Value{std::string(in.Bytes(kValueBytesMax))};
    case Type::kRegister:
      return ReadStamped(in);
    case Type::kCounter:
      return ReadTally(in);
    case Type::kExpiry:
      return ReadExpiry(in);
    case Type::kMap:
      break;
  }
  in.Fail("a map has no payloads of its own");
  return Unit{};
}

void AppendEntries(Writer& out, Type leaf_type, const Leaf& leaf) {
  out.Varint(leaf.size());
  for (const auto& [dot, payload] : leaf.entries()) {
    DOVETAIL_CHECK(PayloadMatches(leaf_type, payload));
    AppendDot(out, dot);
    AppendPayload(out, payload);
  }
}

Leaf ReadEntries(Reader& in, Type leaf_type) {
  Leaf leaf;
  const size_t count = in.Count(kDotBytesMin);
  for (size_t i = 0; i < count; ++i) {
    const Dot dot = ReadDot(in);
    Payload payload = ReadPayload(in, leaf_type);
    if (!in.ok()) return {};
    if (!leaf.empty() && !(leaf.entries().back().first < dot)) {
      in.Fail("entries are not in ascending order");
      return {};
    }
    leaf.Append(dot, std::move(payload));
  }
  return leaf;
}

void AppendLeaf(Writer& out, Type leaf_type, const Leaf& leaf) {
  DOVETAIL_CHECK(!leaf.empty());
  AppendEntries(out, leaf_type, leaf);
}

Leaf ReadLeaf(Reader& in, Type leaf_type) {
  Leaf leaf = ReadEntries(in, leaf_type);
  if (in.ok() && leaf.empty()) in.Fail("leaf without entries");
  return leaf;
}

}  // namespace dovetail::crdt
