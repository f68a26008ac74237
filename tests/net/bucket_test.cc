// The properties of buckets, asked for and changed as clients do.
#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "net/client_codec.h"
#include "tests/net/nodes.h"

namespace dovetail::net {
namespace {

TEST_CASE("Node: a bucket says what calls leave unsaid, at every node") {
  Cluster cluster(3);
  const auto a = cluster.Call(0);
  const auto b = cluster.Call(1);
  const auto ask = [&](Caller& caller, const BucketRequest& request) {
    auto call = caller.node.bucketsRequest();
    EncodeBucketRequest(request, call);
    auto reply = call.send().wait(cluster.loop.wait_scope());
    return DecodeBucketReply(reply);
  };
  const auto change = [](replica::BucketChange::Kind kind,
                         replica::BucketProperties is) {
    return replica::BucketChange{kind, "shop", replica::SettingsOf(is)};
  };
  using Kind = replica::BucketChange::Kind;
  replica::BucketProperties all_on_disk;
  all_on_disk.write = replica::Level::All();
  all_on_disk.durability = replica::Durability::kFsync;
  replica::BucketProperties too_many;
  too_many.write = replica::Level::Count(4);
  const auto made = ask(*a, change(Kind::kCreate, all_on_disk));
  REQUIRE_MESSAGE(made.ok(), made.status().ToString());
  CHECK(made->buckets.at(0).configured);
  // Stored before it was answered.
  CHECK(cluster.stored[0].buckets.Has("shop"));
  RunUntil(cluster.loop, [&] { return cluster.stored[1].buckets.Has("shop"); });
  replica::WriteRequest write;
  crdt::Operation add;
  add.object = {"shop", "likes", crdt::Type::kCounter};
  add.verb = crdt::Verb::kAdd;
  add.amount = 1;
  write.operations.push_back(add);
  const auto required = [&](const replica::RequestOptions& options) {
    const auto results = cluster.Execute(*b, {write}, options);
    REQUIRE(results.at(0).ok());
    return std::get<replica::WriteReply>(*results[0]).receipt;
  };
  CHECK(required({}).required == 3);
  CHECK(required({}).durability == replica::Durability::kFsync);
  replica::RequestOptions said;
  said.write = replica::Level::One();
  said.durability = replica::Durability::kWal;
  CHECK(required(said).required == 1);
  CHECK(required(said).durability == replica::Durability::kWal);
  // Refusals.
  CHECK(
      absl::IsFailedPrecondition(ask(*b, change(Kind::kCreate, {})).status()));
  CHECK(absl::IsInvalidArgument(
      ask(*b, change(Kind::kUpdate, too_many)).status()));
  const auto full = ask(*b, DeleteBucket{"shop", false});
  CHECK(absl::IsFailedPrecondition(full.status()));
  CHECK(full.status().message().find("likes") != std::string::npos);
  // With and without what is in use.
  write.operations[0].object.bucket = "plain";
  cluster.Execute(*b, {write}, {});
  const auto listed = ask(*a, ListBuckets{});
  REQUIRE(listed.ok());
  CHECK(listed->buckets.size() == 1);
  const auto in_use = ask(*b, ListBuckets{std::nullopt, true});
  REQUIRE(in_use.ok());
  REQUIRE(in_use->buckets.size() == 2);
  CHECK(in_use->buckets[0].bucket == "plain");
  CHECK(!in_use->buckets[0].configured);
  REQUIRE(ask(*b, DeleteBucket{"shop", true}).ok());
  CHECK(ask(*b, DescribeBucket{"shop"})->buckets.empty());
  write.operations[0].object.bucket = "shop";
  CHECK(required({}).required == 2);
}

}  // namespace
}  // namespace dovetail::net
