// Paths, leaves, deltas and tokens as bytes: what was written is read back,
// and nothing else is read.
#include "crdt/codec.h"

#include <functional>
#include <limits>
#include <set>

#include "crdt/limits.h"
#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

// More than a double holds, and with a kind of its own.
constexpr ActorId kActor = MakeActorId(ActorKind::kEdge, (1ull << 61) + 12345);

Delta SetDelta() {
  Delta delta;
  delta.events = {kActor, 7, 1};
  delta.leaves.push_back({kSetObject,
                          Path().Element("x"),
                          Leaf(Dot{kActor, 7}, Unit{}),
                          {Dot{kActor, 3}}});
  return delta;
}

bool Refused(const Delta& delta) {
  return Delta::Decode(delta.Encode()).status().code() ==
         absl::StatusCode::kInvalidArgument;
}

TEST_CASE("Codec: integers come back, and only their shortest form") {
  for (const uint64_t n :
       {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{1} << 53,
        (uint64_t{1} << 53) + 1, std::numeric_limits<uint64_t>::max()}) {
    std::string bytes;
    Writer out(&bytes);
    out.Varint(n);
    out.Fixed64(n);
    Reader in(bytes);
    CHECK(in.Varint() == n);
    CHECK(in.Fixed64() == n);
    CHECK(in.Finish().ok());
  }
  for (const std::string& bad :
       {std::string("\x80\x00", 2), std::string("\x80"), std::string(),
        std::string(9, '\xff') + '\x02', std::string(10, '\xff') + '\x01'}) {
    Reader in(bad);
    in.Varint();
    CHECK_FALSE(in.Finish().ok());
  }
}

TEST_CASE("Codec: an error says where, and the first one stays") {
  Reader in("\x01\x05zz");
  in.Byte();
  in.Bytes(4);
  in.Fail("another");
  CHECK(in.Finish().message() ==
        "at byte 2: string is 5 bytes; the limit is 4");
}

TEST_CASE("Path: any bytes survive, and order is the order of what they say") {
  const std::vector<std::string> names{std::string(),
                                       std::string(1, '\0'),
                                       std::string("\0\0", 2),
                                       std::string("\0\x01", 2),
                                       std::string("\0\xff", 2),
                                       "\x01",
                                       "a",
                                       std::string("a\0", 2),
                                       "a\x01",
                                       "ab",
                                       "\xff",
                                       "\xff\xff"};
  for (const std::string& a : names) {
    const Path path_a = Path().Element(a);
    const auto parsed = ParseLeafPath(Type::kSet, path_a.bytes());
    REQUIRE(parsed.ok());
    CHECK(parsed->element == a);
    for (const std::string& b : names) {
      const Path path_b = Path().Element(b);
      CHECK((path_a < path_b) == (a < b));
      CHECK(path_a.HasPrefix(path_b) == (a == b));
    }
  }
}

TEST_CASE("Path: a leaf path says its fields, element and type") {
  const std::vector<Field> fields{{"m", Type::kMap}, {"tags", Type::kSet}};
  const Path path = Path::OfFields(fields).Element("red");
  const auto parsed = ParseLeafPath(Type::kMap, path.bytes());
  REQUIRE(parsed.ok());
  CHECK(parsed->fields == fields);
  CHECK(parsed->element == "red");
  CHECK(parsed->leaf_type == Type::kSet);
  CHECK(LeafTypeOf(Type::kMap, path.bytes()) == Type::kSet);
  CHECK(DebugString(Type::kMap, path) == "m:map/tags:set/red");
}

TEST_CASE("Path: what is no leaf path is refused") {
  const auto refused = [](Type root, const std::string& bytes) {
    return ParseLeafPath(root, bytes).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  const auto field = [](std::string name, int type) {
    std::string out;
    AppendEscaped(out, name);
    return out + static_cast<char>(type);
  };
  CHECK(refused(Type::kMap, ""));
  CHECK(refused(Type::kSet, ""));
  CHECK(refused(Type::kCounter, "x"));
  CHECK(refused(Type::kMap, field("f", 0)));
  CHECK(refused(Type::kMap, field("f", 10)));
  CHECK(refused(Type::kMap, field("", 1)));
  CHECK(refused(Type::kMap, field("f", 9)));
  CHECK(refused(Type::kMap, field("f", 3)));
  CHECK(refused(Type::kMap, field("f", 1) + "x"));
  CHECK(refused(Type::kSet, std::string("x\0\x02", 3)));
  CHECK(refused(Type::kSet, std::string("x\0", 2)));
  CHECK(refused(Type::kMap, field(std::string(kFieldBytesMax + 1, 'f'), 1)));
  std::string deep;
  for (size_t i = 0; i < kNestingMax; ++i) deep += field("f", 9);
  CHECK(refused(Type::kMap, deep + field("f", 1)));
}

TEST_CASE("Delta: comes back bit for bit, large actor ids included") {
  const auto decoded = Delta::Decode(SetDelta().Encode());
  REQUIRE(decoded.ok());
  CHECK(*decoded == SetDelta());
  CHECK(ToString(decoded->events.actor == kActor ? Dot{kActor, 7} : Dot{}) ==
        "6000000000003039:7");
}

TEST_CASE("Delta: every truncation and every trailing byte is refused") {
  const std::string bytes = SetDelta().Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(Delta::Decode(absl::string_view(bytes).substr(0, size)).ok());
  }
  CHECK_FALSE(Delta::Decode(bytes + "x").ok());
}

TEST_CASE("Delta: a flipped bit is refused or decodes to what encodes to it") {
  const std::string bytes = SetDelta().Encode();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string other = bytes;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << (bit % 8)));
    const auto decoded = Delta::Decode(other);
    if (decoded.ok()) CHECK(decoded->Encode() == other);
  }
}

TEST_CASE("Delta: what no mutation can make is refused") {
  const auto broken = [](std::function<void(Delta&)> change) {
    Delta delta = SetDelta();
    change(delta);
    return Refused(delta);
  };
  const Dot other{MakeActorId(ActorKind::kNode, 1), 1};
  CHECK_FALSE(broken([](Delta&) {}));
  CHECK(broken([](Delta& d) { d.events.count = 0; }));
  CHECK(broken([](Delta& d) { d.events.count = 1'000'001; }));
  CHECK(broken([](Delta& d) { d.events.first = 0; }));
  CHECK(broken([](Delta& d) { d.events.first = ~uint64_t{0}; }));
  CHECK(broken([](Delta& d) { d.events.first = 8; }));
  CHECK(broken([&](Delta& d) { d.leaves[0].store = Leaf(other, Unit{}); }));
  CHECK(broken([](Delta& d) { d.leaves[0].superseded = {Dot{kActor, 7}}; }));
  CHECK(broken([](Delta& d) {
    d.leaves[0].superseded = {Dot{kActor, 3}, Dot{kActor, 3}};
  }));
  CHECK(broken([](Delta& d) {
    d.leaves[0].store = Leaf();
    d.leaves[0].superseded.clear();
  }));
  CHECK(broken([](Delta& d) {  // one payload dot in two leaves
    d.leaves.push_back(d.leaves[0]);
    d.leaves[1].path = Path().Element("y");
  }));
  CHECK(broken([](Delta& d) {  // not in order
    d.events.count = 2;
    d.leaves.push_back(d.leaves[0]);
    d.leaves[1].path = Path().Element("a");
    d.leaves[1].store = Leaf(Dot{kActor, 8}, Unit{});
  }));
  CHECK(broken([](Delta& d) { d.leaves[0].object.key.clear(); }));
}

TEST_CASE("Delta: only a counter may carry a payload of an older dot") {
  Delta delta = SetDelta();
  delta.leaves[0].object.type = Type::kCounter;
  delta.leaves[0].path = Path();
  const Dot other{MakeActorId(ActorKind::kNode, 1), 1};
  delta.leaves[0].store = Leaf(other, Tally{5, 0, 5, 0});
  CHECK_FALSE(Refused(delta));
  delta.leaves[0].store = Leaf(other, Tally{5, 0, 6, 0});
  CHECK(Refused(delta));
  delta.leaves[0].store = Leaf(other, Tally{kTallyMax + 1, 0, 0, 0});
  CHECK(Refused(delta));
}

TEST_CASE("Token: comes back, and every truncation is refused") {
  ToyReplica a(1);
  a.Do(In({{"c", Type::kCounter}}, Amount(Type::kCounter, 5)));
  a.Do(In({{"s", Type::kSet}}, Elements(Type::kSet, Verb::kAdd, {"x", "y"})));
  const ObservedToken token = a.Token(Type::kMap);
  CHECK(token.leaves.size() == 3);
  const std::string bytes = token.Encode();
  const auto decoded = ObservedToken::Decode(bytes);
  REQUIRE(decoded.ok());
  CHECK(*decoded == token);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(
        ObservedToken::Decode(absl::string_view(bytes).substr(0, size)).ok());
  }
  CHECK_FALSE(ObservedToken::Decode(std::string(kTokenBytesMax + 1, 'x')).ok());
}

}  // namespace
}  // namespace dovetail::crdt::testing
