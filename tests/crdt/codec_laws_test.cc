// P14: decode of encode is the identity (every step of every schedule checks
// that too), and bytes that were cut off or damaged are refused or are the one
// encoding of what they decode to.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "tests/crdt/canonical.h"
#include "tests/crdt/property.h"
#include "tests/crdt/world.h"

namespace dovetail::crdt::model {
namespace {

// "" if `bytes` is refused or encodes back to itself.
using Decoder = std::string (*)(const std::string& bytes);

template <class T>
std::string DecodeCanonically(const std::string& bytes) {
  auto decoded = T::Decode(bytes);
  if (!decoded.ok()) {
    return decoded.status().code() == absl::StatusCode::kInvalidArgument
               ? ""
               : "refused with another code than InvalidArgument";
  }
  if (!IsCanonical(*decoded)) return "accepts what is not in order";
  return decoded->Encode() == bytes ? "" : "accepts bytes that it never writes";
}

template <Type kType>
std::string DecodeLeafCanonically(const std::string& bytes) {
  Reader in(bytes);
  const Leaf leaf = ReadLeaf(in, kType);
  if (!in.Finish().ok()) return "";
  std::string again;
  Writer out(&again);
  AppendLeaf(out, kType, leaf);
  return again == bytes ? "" : "accepts bytes that it never writes";
}

Decoder LeafDecoder(Type type) {
  switch (type) {
    case Type::kRegister:
      return DecodeLeafCanonically<Type::kRegister>;
    case Type::kMultiValue:
      return DecodeLeafCanonically<Type::kMultiValue>;
    case Type::kSet:
    case Type::kGrowSet:
    case Type::kEnableFlag:
    case Type::kDisableFlag:
    case Type::kMap:  // has no leaves of its own
      return DecodeLeafCanonically<Type::kSet>;
    case Type::kRemoveSet:
      return DecodeLeafCanonically<Type::kRemoveSet>;
    case Type::kCounter:
      return DecodeLeafCanonically<Type::kCounter>;
    case Type::kExpiry:
      return DecodeLeafCanonically<Type::kExpiry>;
  }
  return nullptr;
}

struct Encoded {
  std::string what;
  std::string bytes;
  Decoder decoder;
};

std::vector<Encoded> EncodingsOf(const World& world) {
  std::vector<Encoded> all;
  for (const Delta& delta : world.deltas()) {
    all.push_back({"delta", delta.Encode(), DecodeCanonically<Delta>});
  }
  for (const ObservedToken& token : world.token_history()) {
    all.push_back({"token", token.Encode(), DecodeCanonically<ObservedToken>});
  }
  for (const Replica& replica : world.replicas()) {
    const Context& context = replica.context();
    all.push_back(
        {"event set", context.applied.Encode(), DecodeCanonically<EventSet>});
    for (const auto& [object, store] : replica.objects()) {
      for (const auto& [path, leaf] : store.children()) {
        const Type type = LeafTypeOf(object.type, path.bytes());
        Encoded encoded{"leaf", "", LeafDecoder(type)};
        Writer out(&encoded.bytes);
        AppendLeaf(out, type, leaf);
        all.push_back(std::move(encoded));
      }
    }
  }
  return all;
}

std::string TryDamaged(const Encoded& encoded, uint32_t salt) {
  if (encoded.bytes.empty()) return encoded.what + ": encodes to nothing";
  std::string wrong = encoded.decoder(encoded.bytes);
  for (size_t keep = 0; wrong.empty() && keep < encoded.bytes.size(); ++keep) {
    wrong = encoded.decoder(encoded.bytes.substr(0, keep));
  }
  for (uint32_t i = 0; wrong.empty() && i < 24; ++i) {
    std::string damaged = encoded.bytes;
    const size_t bit = (salt + i * 2654435761u) % (damaged.size() * 8);
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    wrong = encoded.decoder(damaged);
  }
  if (wrong.empty()) wrong = encoded.decoder(encoded.bytes + '\0');
  return wrong.empty() ? "" : encoded.what + ": " + wrong;
}

TEST_CASE("Codec: damaged bytes are refused or canonical") {
  const char* const name = "Codec: damaged bytes are refused or canonical";
  CHECK(HoldsFor(name, 300, [] {
    const auto schedule = *AnySchedule();
    const auto salt = *rc::gen::arbitrary<uint32_t>();
    const auto& subjects = Subjects();
    World world(subjects[salt % subjects.size()], 3);
    for (const Move& move : schedule) RC_ASSERT(world.Do(move) == "");
    for (const Encoded& encoded : EncodingsOf(world)) {
      RC_ASSERT(TryDamaged(encoded, salt) == "");
    }
  }));
}

// What random damage hardly ever hits: neighbours of equal length swapped, and
// a varint one byte longer than it need be.
std::string TryRearranged(const Encoded& encoded) {
  const std::string& bytes = encoded.bytes;
  std::string wrong;
  for (size_t at = 0; wrong.empty() && at < bytes.size(); ++at) {
    if (static_cast<uint8_t>(bytes[at]) < 0x80) {
      std::string longer = bytes;
      longer[at] = static_cast<char>(longer[at] | 0x80);
      longer.insert(at + 1, 1, '\0');
      wrong = encoded.decoder(longer);
    }
    for (size_t n = 1; wrong.empty() && n <= 32 && at + 2 * n <= bytes.size();
         ++n) {
      std::string swapped = bytes;
      std::swap_ranges(swapped.begin() + static_cast<ptrdiff_t>(at),
                       swapped.begin() + static_cast<ptrdiff_t>(at + n),
                       swapped.begin() + static_cast<ptrdiff_t>(at + n));
      wrong = encoded.decoder(swapped);
    }
  }
  return wrong.empty() ? "" : encoded.what + ": " + wrong;
}

TEST_CASE("Codec: another order or a longer varint is refused or canonical") {
  std::minstd_rand random(1);
  for (const Subject& subject : Subjects()) {
    CAPTURE(subject.name);
    World world(subject, 3, World::Checks::kOnDemand);
    for (int i = 0; i < 40; ++i) {
      Move move;
      for (uint8_t* field : {&move.kind, &move.who, &move.target, &move.verb,
                             &move.detail, &move.stamp}) {
        *field = static_cast<uint8_t>(random() >> 8);
      }
      REQUIRE(world.Do(move) == "");
    }
    for (const Encoded& encoded : EncodingsOf(world)) {
      CHECK(TryRearranged(encoded) == "");
    }
  }
}

TEST_CASE("Codec: every truncation of a delta is refused") {
  World world(SubjectNamed("mixed"), 1);
  for (uint8_t i = 0; i < 12; ++i) {
    REQUIRE(world.Do({.kind = 3, .target = i, .verb = i, .detail = i}) == "");
  }
  REQUIRE(world.deltas().size() > 5);
  for (const Delta& delta : world.deltas()) {
    const std::string bytes = delta.Encode();
    for (size_t keep = 0; keep < bytes.size(); ++keep) {
      CHECK_FALSE(Delta::Decode(bytes.substr(0, keep)).ok());
    }
  }
}

}  // namespace
}  // namespace dovetail::crdt::model
