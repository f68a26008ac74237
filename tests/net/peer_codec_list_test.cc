// The messages of listings between nodes.
#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

#include "crdt/limits.h"
#include "tests/net/peer_messages.h"

namespace dovetail::net {
namespace {

using replica::PartitionId;

TEST_CASE("Peer codec: every message of listings comes back as it went") {
  const PartitionId p{255};
  const replica::ReadTicket ticket{crdt::ActorId{77}, 8};
  SUBCASE("list query") {
    replica::ListQuery query{
        ticket, {"shop", "cart:", std::nullopt, 9}, {1, 2}};
    for (int i = 0; i < 2; ++i) {
      const auto m = RoundTrip({p, query});
      const auto& got = std::get<replica::ListQuery>(m.body);
      CHECK(got.ticket == ticket);
      CHECK(got.request.bucket == "shop");
      CHECK(got.request.prefix == "cart:");
      CHECK(got.request.after == query.request.after);
      CHECK(got.request.limit == 9);
      CHECK(got.digest == query.digest);
      query.request.after = {"shop", "cart:1", crdt::Type::kMap};
    }
  }
  SUBCASE("list answer") {
    replica::ListAnswer answer;
    answer.ticket = ticket;
    answer.objects = {{"a", crdt::Type::kSet}, {"a", crdt::Type::kMap}};
    answer.more = true;
    answer.unlisted = {replica::PartitionId{3}, replica::PartitionId{4000}};
    const auto m = RoundTrip({p, answer});
    const auto& got = std::get<replica::ListAnswer>(m.body);
    CHECK(got.unlisted == answer.unlisted);
    CHECK(got.objects == answer.objects);
    CHECK(got.more);
    CHECK_FALSE(got.same);
    answer.objects.clear();
    answer.more = false;
    answer.same = true;
    const auto same = RoundTrip({p, answer});
    CHECK(std::get<replica::ListAnswer>(same.body).same);
    CHECK(std::get<replica::ListAnswer>(same.body).unlisted == answer.unlisted);
    answer.same = false;
    answer.status = absl::UnavailableError("not now");
    CHECK(std::get<replica::ListAnswer>(RoundTrip({p, answer}).body).status ==
          answer.status);
  }
}

TEST_CASE("Peer codec: what a listing asks of partitions comes back") {
  const PartitionId p{255};
  const replica::ReadTicket ticket{crdt::ActorId{77}, 8};
  SUBCASE("presence query and answer") {
    const replica::PresenceQuery query{
        ticket, 5, {"b", "k", crdt::Type::kSet}, 2, absl::Microseconds(1500)};
    const auto m = RoundTrip({p, query});
    const auto& got = std::get<replica::PresenceQuery>(m.body);
    CHECK(got.ticket == ticket);
    CHECK(got.place == 5);
    CHECK(got.object == query.object);
    CHECK(got.required == 2);
    CHECK(got.timeout == query.timeout);
    const replica::PresenceAnswer answer{ticket, 5,
                                         absl::DataLossError("damaged"), true};
    const auto back = RoundTrip({p, answer});
    CHECK(std::get<replica::PresenceAnswer>(back.body).status == answer.status);
    CHECK(std::get<replica::PresenceAnswer>(back.body).place == 5);
    CHECK(std::get<replica::PresenceAnswer>(back.body).present);
    CHECK_FALSE(got.session.has_value());
    replica::PresenceQuery of_session = query;
    of_session.session = {kQ, p, {}, {12, 3}};
    of_session.session->events.InsertRun({crdt::ActorId{5}, 1, 7});
    const auto with = RoundTrip({p, of_session});
    CHECK(std::get<replica::PresenceQuery>(with.body).session ==
          of_session.session);
  }
  SUBCASE("cover query and answer") {
    replica::CoverQuery query{ticket, {}};
    query.seen.InsertRun({crdt::ActorId{5}, 1, 7});
    const auto m = RoundTrip({p, query});
    CHECK(std::get<replica::CoverQuery>(m.body).ticket == ticket);
    CHECK(std::get<replica::CoverQuery>(m.body).seen == query.seen);
    const replica::CoverAnswer answer{ticket, replica::PartitionId{3},
                                      absl::UnavailableError("not now"), 12,
                                      crdt::ActorId{77}};
    const auto back = RoundTrip({p, answer});
    const auto& got = std::get<replica::CoverAnswer>(back.body);
    CHECK(got.ticket == ticket);
    CHECK(got.partition == answer.partition);
    CHECK(got.status == answer.status);
    CHECK(got.missing == 12);
    CHECK(got.process == answer.process);
  }
}

TEST_CASE("Peer codec: what is out of range in a listing is refused") {
  CheckRefused({
      {"a listing without objects",
       [](auto m) { m.initListQuery().setBucket(Bytes("b")); }},
      {"a prefix of",
       [](auto m) { m.initListQuery().initPrefix(crdt::kKeyBytesMax + 1); }},
      {"objects that are not in ascending order",
       [](auto m) {
         auto objects = m.initListAnswer().initObjects(2);
         objects[0].setType(1);
         objects[1].setType(1);
       }},
      {"partitions that are not in ascending order",
       [](auto m) {
         auto unlisted = m.initListAnswer().initUnlisted(2);
         unlisted.set(0, 7);
         unlisted.set(1, 7);
       }},
      {"unknown type",
       [](auto m) { m.initPresenceQuery().initObject().setKey(Bytes("k")); }},
      {"peer frame", [](auto m) { m.initCoverQuery().setSeen(Bytes("junk")); }},
      {"actor of an unknown kind",
       [](auto m) { m.initCoverAnswer().setProcess(~uint64_t{0}); }},
      {"peer frame",
       [](auto m) {
         auto query = m.initPresenceQuery();
         query.initObject().setType(1);
         query.setSession(Bytes("junk"));
       }},
  });
}

}  // namespace
}  // namespace dovetail::net
