#include "net/peer_codec.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <doctest/doctest.h>

#include <functional>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/limits.h"
#include "crdt/path.h"
#include "net/peer.capnp.h"
#include "tests/net/peer_messages.h"

namespace dovetail::net {
namespace {

using crdt::ActorId;
using crdt::Dot;
using crdt::Leaf;
using replica::PartitionId;

crdt::EventSet Events(uint64_t actor, uint64_t first, uint64_t count) {
  crdt::EventSet events;
  events.InsertRun({ActorId{actor}, first, count});
  events.Insert({ActorId{actor}, first + count + 5});
  return events;
}

crdt::LeafPage SomePage() {
  crdt::LeafPage page;
  const crdt::Path root;
  page.leaves.Set(root.Element("a"), Leaf({ActorId{1}, 1}, crdt::Unit{}));
  page.leaves.Set(root.Element("b"),
                  Leaf({ActorId{1}, 2}, crdt::Polarity::kAdded));
  page.leaves.Set(root.Element("c"),
                  Leaf({ActorId{1}, 3}, crdt::Value{"two\0words"}));
  Leaf stamped({ActorId{1}, 4}, crdt::Stamped{{1700, 3}, "x"});
  stamped.Set({ActorId{2}, 9}, crdt::Stamped{{1800, 0}, "y"});
  page.leaves.Set(root.Element("d"), stamped);
  page.leaves.Set(root.Element("e"),
                  Leaf({ActorId{7}, 5}, crdt::Tally{10, 4, 3, 2}));
  Leaf expiry({ActorId{3}, 1}, crdt::Expiry{1'767'225'600'000});
  expiry.Set({ActorId{4}, 2}, crdt::Expiry{1});
  page.leaves.Set(crdt::Path::OfExpiry(), expiry);
  page.end = root.Element("e");
  page.truncated = true;
  return page;
}

replica::ListAnswer MuchListed() {
  replica::ListAnswer answer;
  for (int i = 10'000; i < 20'000; ++i) {
    answer.objects.push_back({std::to_string(i), crdt::Type::kSet});
  }
  return answer;
}

const replica::RingStamp kRing{7, {18, 19}};

TEST_CASE("Peer codec: every message of writes and sync comes back") {
  const PartitionId p{255};
  SUBCASE("replicate") {
    const auto m = RoundTrip({p, replica::Replicate{"delta\0bytes", true}});
    CHECK(std::get<replica::Replicate>(m.body).sync);
  }
  SUBCASE("ack") {
    const auto m =
        RoundTrip({p, replica::Ack{{ActorId{3}, 4, 5}, true, kRing}});
    CHECK(std::get<replica::Ack>(m.body).events ==
          crdt::DotRun{ActorId{3}, 4, 5});
    CHECK(std::get<replica::Ack>(m.body).ring == kRing);
  }
  SUBCASE("refuse") {
    const auto m =
        RoundTrip({p, replica::Refuse{{ActorId{3}, 4, 5},
                                      absl::DataLossError("damaged")}});
    CHECK(std::get<replica::Refuse>(m.body).reason ==
          absl::DataLossError("damaged"));
  }
  SUBCASE("summary") {
    const auto m = RoundTrip(
        {p, replica::Summary{Events(1, 1, 9),
                             Events(1, 2, 8).Intersect(Events(1, 1, 9)),
                             true,
                             false,
                             false,
                             kRing,
                             {8, 9},
                             replica::Standing::kPartial,
                             1'767'225'600'000}});
    const auto& summary = std::get<replica::Summary>(m.body);
    CHECK(summary.applied == Events(1, 1, 9));
    CHECK(summary.answer);
    CHECK_FALSE(summary.pull);
    CHECK_FALSE(summary.periodic);
    CHECK(summary.ring == kRing);
    CHECK(summary.state == replica::Hash128{8, 9});
    CHECK(summary.standing == replica::Standing::kPartial);
    CHECK(summary.wall_ms == 1'767'225'600'000);
  }
  SUBCASE("summary of a node that holds nothing") {
    const auto m =
        RoundTrip({p, replica::Summary{{}, {}, false, true, false, {}, {}}});
    CHECK(std::get<replica::Summary>(m.body).applied.empty());
  }
  SUBCASE("sync deltas") {
    const auto m =
        RoundTrip({p, replica::SyncDeltas{{"one", "two", "three"}, true, {}}});
    CHECK(std::get<replica::SyncDeltas>(m.body).deltas ==
          std::vector<std::string>{"one", "two", "three"});
    CHECK(std::get<replica::SyncDeltas>(m.body).unlogged.empty());
  }
  SUBCASE("sync deltas of which some are in no log") {
    const auto m =
        RoundTrip({p, replica::SyncDeltas{{}, false, Events(1, 3, 4)}});
    CHECK(std::get<replica::SyncDeltas>(m.body).unlogged == Events(1, 3, 4));
  }
}

TEST_CASE("Peer codec: a sync by ranges comes back as it went") {
  const PartitionId p{3};
  SUBCASE("questions of all kinds") {
    replica::RangeQuery query;
    query.ticket = {ActorId{77}, 8};
    query.salt = 5;
    query.context_print = 6;
    query.asks = {
        replica::AskLeaves{{0, 4096}, 2, {1, 2, 3, 4, 5, 6, 7, 0xffff}},
        replica::AskCuts{"abc", {"abd", "abe", ""}, 1, {1, 2, 0xff}},
        replica::AskRows{{"abc", "abd"}, 2, {}},
        replica::AskRows{{"", ""}, 8, {uint64_t{9} << 60}},
    };
    const auto m = RoundTrip({p, query});
    const auto& got = std::get<replica::RangeQuery>(m.body);
    CHECK(got.ticket == query.ticket);
    CHECK(got.salt == 5);
    CHECK(got.context_print == 6);
    CHECK(got.asks == query.asks);
  }
  SUBCASE("answers") {
    replica::RangeAnswer answer;
    answer.ticket = {ActorId{77}, 8};
    answer.context = {Events(1, 1, 9), Events(2, 4, 1)};
    replica::RangePart rows;
    rows.differ = {0, 3, 4};
    rows.rows.push_back({{"b", "k", crdt::Type::kSet},
                         crdt::Path().Element("x"),
                         crdt::Leaf({ActorId{1}, 2}, crdt::Unit())});
    rows.rest = "abc";
    rows.rows.push_back(rows.rows.front());
    rows.rows.back().object.key = "l";
    rows.rows.push_back(rows.rows.back());
    rows.rows.back().object.bucket = "c";
    answer.parts = {rows, {}, {{7}, {}, "", uint64_t{1} << 63}};
    answer.ahead.Insert({ActorId{2}, 7});
    const auto m = RoundTrip({p, answer});
    const auto& got = std::get<replica::RangeAnswer>(m.body);
    CHECK_FALSE(got.context_same);
    CHECK(got.ahead == answer.ahead);
    CHECK(got.context == answer.context);
    CHECK(got.parts == answer.parts);
  }
  SUBCASE("an answer whose context the asker has") {
    replica::RangeAnswer answer;
    answer.context_same = true;
    const auto m = RoundTrip({p, answer});
    CHECK(std::get<replica::RangeAnswer>(m.body).context_same);
  }
  SUBCASE("an answer that is an error") {
    replica::RangeAnswer answer;
    answer.status = absl::UnavailableError("it is being filled itself");
    const auto m = RoundTrip({p, answer});
    CHECK(std::get<replica::RangeAnswer>(m.body).status == answer.status);
  }
}

TEST_CASE("Peer codec: every message of reads comes back as it went") {
  const PartitionId p{255};
  SUBCASE("read query") {
    replica::ReadQuery query;
    query.ticket = {ActorId{77}, 8};
    query.spec.object = {"shop", "cart:1", crdt::Type::kMap};
    query.spec.fields = {{"tags", crdt::Type::kSet}};
    query.spec.element = "";
    query.spec.after_element = "x";
    query.spec.after_field = crdt::Field{"f", crdt::Type::kMap};
    query.spec.limit = 10;
    query.spec.want_token = true;
    query.digest = {1, 2};
    query.want_context = true;
    const auto m = RoundTrip({p, query});
    const auto& got = std::get<replica::ReadQuery>(m.body);
    CHECK(got.ticket == query.ticket);
    CHECK(got.spec.element == "");
    CHECK(got.spec.after_field == query.spec.after_field);
    CHECK(got.digest == query.digest);
    CHECK(got.want_context);
  }
  SUBCASE("read answer with a page") {
    replica::ReadAnswer answer;
    answer.ticket = {ActorId{77}, 8};
    answer.page = SomePage();
    answer.context = {Events(1, 1, 9), Events(2, 30, 1)};
    answer.standing = replica::Standing::kBefore;
    answer.ring = kRing;
    const auto m = RoundTrip({p, answer});
    const auto& got = std::get<replica::ReadAnswer>(m.body);
    CHECK(got.standing == answer.standing);
    CHECK(got.ring == kRing);
    CHECK(got.page.leaves == answer.page.leaves);
    CHECK(got.page.end == answer.page.end);
    CHECK(got.page.truncated);
    CHECK(got.context == answer.context);
  }
  SUBCASE("read answer: the same, or an error") {
    replica::ReadAnswer answer;
    answer.same = true;
    CHECK(std::get<replica::ReadAnswer>(RoundTrip({p, answer}).body).same);
    const size_t bare = Encoded({{p, answer}}).size();
    answer.context = {Events(1, 1, 9), Events(2, 30, 1)};
    const auto m = RoundTrip({p, answer});
    CHECK(std::get<replica::ReadAnswer>(m.body).same);
    CHECK(std::get<replica::ReadAnswer>(m.body).context == answer.context);
    // Whoever did not ask for the context does not pay for it.
    CHECK(bare + 16 <= Encoded({{p, answer}}).size());
    answer.same = false;
    answer.context = {};
    answer.status = absl::ResourceExhaustedError("too large");
    CHECK(std::get<replica::ReadAnswer>(RoundTrip({p, answer}).body).status ==
          answer.status);
  }
}

TEST_CASE("Peer codec: hello, refusal and keepalive come back") {
  const PeerHello hello{
      kPeerProtocol, "test",           replica::NodeId{2}, kQ,  ActorId{99},
      "c",           "127.0.0.1:7000", "127.0.0.1:7100",   "z", "eu"};
  const auto decode = [](const std::string& wire) {
    auto frame = DecodePeerFrame(Cut(wire), kQ);
    REQUIRE(frame.ok());
    return *std::move(frame);
  };
  CHECK(std::get<PeerHello>(decode(EncodeHello(hello))) == hello);
  CHECK(std::get<PeerRefusal>(decode(EncodeRefusal({"no"}))).reason == "no");
  CHECK_FALSE(std::get<PeerKeepalive>(decode(EncodeKeepalive({}))).load);
  replica::NodeLoad load{.epoch = 1,
                         .data_bytes = ~uint64_t{0},
                         .entries = 3,
                         .hints = 4,
                         .hint_bytes = 5,
                         .held = 6,
                         .filling = 7,
                         .slow = {replica::NodeId{8}, replica::NodeId{9}}};
  CHECK(std::get<PeerKeepalive>(decode(EncodeKeepalive({load}))).load == load);
  load.slow.resize(replica::kMembersMax + 1);
  CHECK(DecodePeerFrame(Cut(EncodeKeepalive({load})), kQ).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Peer codec: gossip comes back, and the ring that placed messages") {
  using Kind = replica::ClusterEnvelope::Kind;
  for (const PeerGossip& gossip :
       {PeerGossip{Kind::kGossip, std::string("\0news", 5)},
        PeerGossip{Kind::kConfig, "ring"},
        PeerGossip{Kind::kConfigRequest, ""}}) {
    auto wire = EncodeGossip(gossip);
    REQUIRE(wire.ok());
    auto frame = DecodePeerFrame(Cut(*wire), kQ);
    REQUIRE(frame.ok());
    CHECK(std::get<PeerGossip>(*frame) == gossip);
  }
  CHECK(EncodeGossip({Kind::kConfig, std::string(kPeerFrameBytesMax, 'x')})
            .status()
            .code() == absl::StatusCode::kResourceExhausted);
  const Message message{PartitionId{3}, replica::Replicate{"d"}};
  const Message* pointer = &message;
  const replica::ConfigDigest ring{7, {8, 9}};
  auto frame = DecodePeerFrame(Cut(*EncodeMessages({&pointer, 1}, ring)), kQ);
  REQUIRE(frame.ok());
  CHECK(std::get<PeerMessages>(*frame).ring == ring);
}

TEST_CASE("Peer codec: the estimate covers what a message takes") {
  replica::ReadAnswer answer;
  answer.page = SomePage();
  answer.context = {Events(1, 1, 9), Events(2, 30, 1)};
  for (const Message& m : std::vector<Message>{
           {PartitionId{}, answer},
           {PartitionId{},
            replica::SyncDeltas{
                std::vector<std::string>(1000, "12345"), true, {}}},
           {PartitionId{}, replica::Replicate{std::string(100'000, 'x')}},
           {PartitionId{},
            replica::Summary{Events(1, 1, 9), {}, false, true, false, {}, {}}},
           {PartitionId{}, MuchListed()}}) {
    CHECK(Encoded({m}).size() <= EstimateBytes(m) + 64);
  }
}

TEST_CASE("Peer codec: a frame over the limit is not made") {
  const Message big{PartitionId{},
                    replica::Replicate{std::string(3 << 20, 'x')}};
  const std::vector<const Message*> six(6, &big);
  CHECK(EncodeMessages(six).status().code() ==
        absl::StatusCode::kResourceExhausted);
}

Spoil Asking(std::vector<uint8_t> asks) {
  return [asks = std::move(asks)](auto m) {
    m.initRangeQuery().setAsks(capnp::Data::Reader(asks.data(), asks.size()));
  };
}

TEST_CASE("Peer codec: what is out of range in a write is refused") {
  CheckRefused({
      {"partition",
       [](auto m) {
         m.setPartition(kQ);
         m.initReplicate().setDelta(Bytes("x"));
       }},
      {"an empty delta", [](auto m) { m.initReplicate(); }},
      {"a delta of",
       [](auto m) { m.initReplicate().initDelta(crdt::kDeltaBytesMax + 1); }},
      {"run of events", [](auto m) { m.initAck().initEvents().setFirst(1); }},
      {"run of events",
       [](auto m) {
         auto events = m.initAck().initEvents();
         events.setFirst(~uint64_t{0});
         events.setCount(2);
       }},
      {"unknown kind",
       [](auto m) {
         auto events = m.initAck().initEvents();
         events.setActor(~uint64_t{0});
         events.setFirst(1);
         events.setCount(1);
       }},
      {"unknown status code 13",
       [](auto m) {
         auto body = m.initRefuse();
         body.initEvents().setFirst(1);
         body.getEvents().setCount(1);
         body.initReason().setCode(13);
       }},
      {"without a reason",
       [](auto m) {
         auto body = m.initRefuse();
         body.initEvents().setFirst(1);
         body.getEvents().setCount(1);
       }},
  });
}

TEST_CASE("Peer codec: what is out of range in sync and reads is refused") {
  CheckRefused({
      {"peer frame",
       [](auto m) {
         auto body = m.initSummary();
         body.setApplied(Bytes("not an event set"));
       }},
      {"an empty delta", [](auto m) { m.initSyncDeltas().initDeltas(3); }},
      {"version is", [](auto m) { m.initRangeQuery().setAsks(Bytes("junk")); }},
      // Version, one question, for the rows from "b" to "a", without prints.
      {"a range of keys that is empty",
       Asking({1, 1, 2, 0, 1, 'b', 0, 1, 'a', 8, 0})},
      {"prints of a size that cannot be",
       Asking({1, 1, 2, 0, 1, 'a', 0, 1, 'b', 0, 0})},
      {"prints of a size that cannot be",
       Asking({1, 1, 2, 0, 1, 'a', 0, 1, 'b', 9, 0})},
      // "ab" after "a", of which it says that they share nothing, or two bytes.
      {"a key that cannot follow the one before",
       Asking({1, 1, 2, 0, 1, 'a', 0, 2, 'a', 'b', 8, 0})},
      {"a key that cannot follow the one before",
       Asking({1, 1, 2, 0, 1, 'a', 2, 1, 'b', 8, 0})},
      {"digest leaves that cannot be", Asking({1, 1, 0, 0, 3, 1, 2, 7, 7})},
      // One part, of nothing, whose check is neither there nor not.
      {"a check that cannot be",
       [](auto m) {
         const uint8_t bytes[] = {1, 1, 0, 0, 0, 2};
         m.initRangeAnswer().setParts(
             capnp::Data::Reader(bytes, sizeof(bytes)));
       }},
      {"version is",
       [](auto m) { m.initRangeAnswer().setParts(Bytes("junk")); }},
      {"unknown type",
       [](auto m) { m.initReadQuery().initSpec().setKey(Bytes("k")); }},
      {"a bucket of",
       [](auto m) {
         m.initReadQuery().initSpec().initBucket(crdt::kBucketBytesMax + 1);
       }},
      {"fields; the limit",
       [](auto m) {
         auto spec = m.initReadQuery().initSpec();
         spec.setType(9);
         spec.initFields(crdt::kNestingMax + 1);
       }},
      {"peer frame",
       [](auto m) {
         auto leaf = m.initReadAnswer().initPage().initLeaves(1)[0];
         leaf.setPath(Bytes("p"));
         leaf.setType(3);
         leaf.setLeaf(Bytes("junk"));
       }},
      {"leaf of a map",
       [](auto m) {
         m.initReadAnswer().initPage().initLeaves(1)[0].setType(9);
       }},
  });
}

TEST_CASE("Peer codec: a list of nothing costs nothing") {
  // Half a billion structs of no size: a few bytes on the wire.
  std::string wire;
  AppendFrameTable(wire, {4});
  const uint64_t words[] = {
      // root: struct at offset 0, one data word, one pointer
      0x0001'0001'0000'0000,
      // discriminant: messages
      2,
      // list pointer: offset 0, composite, no words
      0x0000'0007'0000'0001,
      // tag: 2^29 - 1 elements, structs of no words
      0x0000'0000'0000'0000 | ((uint64_t{1} << 31) - 4),
  };
  wire.append(reinterpret_cast<const char*>(words), sizeof(words));
  const auto frame = DecodePeerFrame(Cut(wire), kQ);
  CHECK(frame.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Peer codec: a damaged frame decodes or fails, and never throws") {
  const uint64_t seed = 4711;
  MESSAGE("seed " << seed);
  std::mt19937_64 random(seed);
  replica::ReadAnswer answer;
  answer.page = SomePage();
  answer.context = {Events(1, 1, 9), Events(2, 30, 1)};
  const std::string good = Encoded(
      {{PartitionId{1}, answer},
       {PartitionId{2}, replica::SyncDeltas{{"one", "two"}, true, {}}},
       {PartitionId{3},
        replica::Summary{Events(1, 1, 9), {}, false, true, false, {}, {}}}});
  int failed = 0;
  for (int round = 0; round < 20'000; ++round) {
    FrameWords frame = Cut(good);
    for (uint64_t i = 1 + random() % 3; i > 0; --i) {
      // Not the table: the parser has vouched for it.
      auto& word = frame[1 + random() % (frame.size() - 1)];
      word ^= uint64_t{1} << (random() % 64);
    }
    if (!DecodePeerFrame(frame, kQ).ok()) ++failed;
  }
  CHECK(failed > 1000);
}

}  // namespace
}  // namespace dovetail::net
