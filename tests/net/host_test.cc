#include "net/host.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/operation.h"
#include "net/frame.h"
#include "net/peer_codec.h"
#include "replica/hash.h"
#include "replica/retry_after.h"
#include "tests/net/support.h"

namespace dovetail::net {
namespace {

using replica::ClientReply;
using replica::ClientRequest;
using replica::NodeId;
using replica::RequestId;

// Collects what shard threads let out.
class Outlet {
 public:
  void Take(HostOutput output) {
    std::lock_guard lock(mutex_);
    for (auto& reply : output.replies) {
      const RequestId id = reply.id;
      order_.push_back(id);
      frames_before_[id] = frames_.size();
      replies_.emplace(id, std::move(reply));
    }
    for (auto& frame : output.frames) frames_.push_back(std::move(frame));
    changed_.notify_all();
  }
  ClientReply Wait(RequestId id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return replies_.count(id) > 0; });
    return replies_.at(id);
  }
  size_t replies() {
    std::lock_guard lock(mutex_);
    return replies_.size();
  }
  // Of the replies so far, as they came.
  std::vector<RequestId> order() {
    std::lock_guard lock(mutex_);
    return order_;
  }
  // How many frames had come before that reply.
  size_t FramesBefore(RequestId id) {
    std::lock_guard lock(mutex_);
    return frames_before_.at(id);
  }
  std::vector<HostOutput::Frame> WaitForFrames(size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return frames_.size() >= n; });
    return frames_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, ClientReply> replies_;
  std::vector<RequestId> order_;
  std::map<RequestId, size_t> frames_before_;
  std::vector<HostOutput::Frame> frames_;
};

struct Fixture {
  sim::SimDisk disk;
  LockedStorage storage{disk};
  Outlet outlet;
  std::promise<absl::Status> fatal;

  std::unique_ptr<Host> Start(HostOptions options, uint32_t members = 1) {
    const crdt::ActorId actor{12345};
    REQUIRE(replica::RecordActor(storage, actor).ok());
    auto host = Host::Start(
        {options, {}, replica::Placement(members, 16), {}, NodeId{0}, actor},
        storage, [this](HostOutput output) { outlet.Take(std::move(output)); },
        [this](const absl::Status& why) { fatal.set_value(why); });
    REQUIRE(host.ok());
    return *std::move(host);
  }
};

ClientRequest Add(uint64_t id, const std::string& key, int64_t amount) {
  crdt::Operation operation;
  operation.object = {"b", key, crdt::Type::kCounter};
  operation.verb = crdt::Verb::kAdd;
  operation.amount = amount;
  return {RequestId{id}, {}, replica::WriteRequest{{operation}}};
}

ClientRequest Read(uint64_t id, const std::string& key) {
  replica::ReadRequest read;
  read.spec.object = {"b", key, crdt::Type::kCounter};
  return {RequestId{id}, {}, read};
}

TEST_CASE(
    "Host: requests reach the shard of their partition and are answered") {
  Fixture f;
  auto host = f.Start({.shards = 3});
  std::vector<ClientRequest> requests;
  for (uint64_t i = 0; i < 200; ++i) {
    requests.push_back(Add(i, "key" + std::to_string(i % 20), 1));
  }
  CHECK(host->Submit(std::move(requests)).empty());
  for (uint64_t i = 0; i < 200; ++i) {
    CHECK(f.outlet.Wait(RequestId{i}).body.ok());
  }
  for (uint64_t i = 0; i < 20; ++i) {
    CHECK(host->Submit({Read(1000 + i, "key" + std::to_string(i))}).empty());
    const auto reply = f.outlet.Wait(RequestId{1000 + i});
    REQUIRE(reply.body.ok());
    CHECK(std::get<replica::ReadReply>(*reply.body).result.view.number == 10);
  }
  CHECK(host->Stop().ok());
}

TEST_CASE("Host: what is on its way from a peer is not asked for again") {
  Fixture f;
  auto host = f.Start({.shards = 1}, 2);
  const replica::PartitionId partition{3};
  const auto deltas = [&](size_t bytes) {
    replica::SyncDeltas chunk;
    chunk.deltas.push_back(std::string(bytes, '?'));
    return replica::Message{partition, std::move(chunk)};
  };
  // It has what is lacking here, and wants an answer.
  replica::Summary summary;
  summary.applied.InsertRun({crdt::ActorId{9}, 1, 1});
  summary.answer = true;
  const replica::Message asks{partition, summary};
  std::vector<replica::Message> messages = {deltas(100'000), asks,
                                            deltas(100'000), deltas(100'000)};
  host->Deliver(NodeId{1}, std::move(messages));
  // The answer would have left before the last of the deltas was looked at.
  std::promise<void> all;
  const std::function<void()> look = [&] {
    host->Query(0, [&](replica::Shard& shard) {
      if (shard.stats().corruptions < 3) return look();
      all.set_value();
    });
  };
  look();
  all.get_future().wait();
  // Nothing waits any more.
  host->Deliver(NodeId{1}, {asks});
  CHECK(host->Stop().ok());  // which carries out what was delivered
  size_t summaries = 0;
  for (const auto& frame : f.outlet.WaitForFrames(1)) {
    FrameParser parser(kPeerFrameBytesMax);
    absl::string_view in = frame.bytes;
    auto words = parser.Next(in);
    REQUIRE(words.ok());
    const auto decoded = DecodePeerFrame(**words, 16);
    REQUIRE(decoded.ok());
    for (const auto& message : std::get<PeerMessages>(*decoded).messages) {
      summaries +=
          std::holds_alternative<replica::Summary>(message.body) ? 1 : 0;
    }
  }
  CHECK(summaries == 1);
}

TEST_CASE("Host: a full queue answers at once that it is overloaded") {
  Fixture f;
  auto host =
      f.Start({.shards = 1, .turn_inputs_max = 4, .queue_inputs_max = 10});
  std::vector<ClientReply> refused;
  {
    const auto blocked = f.storage.Block();
    std::vector<ClientRequest> requests;
    for (uint64_t i = 0; i < 100; ++i) requests.push_back(Add(i, "k", 1));
    refused = host->Submit(std::move(requests));
  }
  // A turn or so has been taken from the queue before it filled up.
  CHECK(refused.size() >= 100 - 10 - 2 * 4);
  CHECK(refused.size() <= 91);
  for (const ClientReply& reply : refused) {
    CHECK(reply.body.status().code() == absl::StatusCode::kResourceExhausted);
    CHECK(reply.body.status().message().find("overloaded") !=
          absl::string_view::npos);
  }
  CHECK(host->stats().requests_refused == refused.size());
  CHECK(host->Stop().ok());
  CHECK(f.outlet.replies() + refused.size() == 100);
}

TEST_CASE("Host: whoever is refused is told when to ask again") {
  Fixture f;
  auto host = f.Start({.shards = 1, .queue_inputs_max = 100});
  std::vector<ClientReply> refused;
  {
    const auto blocked = f.storage.Block();
    std::vector<ClientRequest> requests;
    for (uint64_t i = 0; i < 1'000; ++i) requests.push_back(Add(i, "k", 1));
    refused = host->Submit(std::move(requests));
  }
  REQUIRE(!refused.empty());
  for (const ClientReply& reply : refused) {
    const auto after = replica::RetryAfterOf(reply.body.status());
    REQUIRE(after.has_value());
    CHECK(*after >= absl::Milliseconds(5));
    CHECK(*after <= absl::Seconds(1));
  }
}

TEST_CASE("Host: one source with 10,000 requests holds up no other") {
  Fixture f;
  auto host = f.Start({.shards = 1, .turn_inputs_max = 16});
  const auto requests_of = [](uint64_t first, uint64_t count) {
    std::vector<ClientRequest> requests;
    for (uint64_t i = first; i < first + count; ++i) {
      requests.push_back(Add(i, "k" + std::to_string(i % 50), 1));
    }
    return requests;
  };
  {
    const auto blocked = f.storage.Block();
    CHECK(host->Submit(requests_of(0, 10'000), 1).empty());
    CHECK(host->Submit(requests_of(20'000, 10), 2).empty());
  }
  for (uint64_t i = 20'000; i < 20'010; ++i) {
    CHECK(f.outlet.Wait(RequestId{i}).body.ok());
  }
  // At most: a turn that had begun, ten of each in turn, and what is answered
  // while this thread wakes up, which is far less than all.
  const std::vector<RequestId> order = f.outlet.order();
  const auto last = std::find(order.begin(), order.end(), RequestId{20'009});
  CHECK(last - order.begin() <= 16 + 2 * 10 + 16);
  CHECK(host->Stop().ok());
}

TEST_CASE("Host: peers come before clients, and leave them an eighth") {
  Fixture f;
  auto host = f.Start({.shards = 1, .turn_inputs_max = 16}, 3);
  std::vector<replica::Message> messages;
  for (int i = 0; i < 2'000; ++i) {
    replica::ReadQuery query;
    query.ticket = {crdt::ActorId{7}, static_cast<uint64_t>(i)};
    query.spec.object = {"b", "k", crdt::Type::kCounter};
    messages.push_back({replica::PartitionOf("b", "k", 16), query});
  }
  {
    const auto blocked = f.storage.Block();
    host->Deliver(NodeId{1}, std::move(messages));
    ClientRequest request = Read(2, "k");
    request.options.here = true;
    CHECK(host->Submit({request}, 2).empty());
  }
  f.outlet.Wait(RequestId{2});
  // Of about 130 turns with answers for the peer.
  CHECK(f.outlet.FramesBefore(RequestId{2}) < 10);
}

TEST_CASE("Host: a queue full of bytes refuses, too") {
  Fixture f;
  auto host = f.Start({.shards = 1, .queue_bytes_max = 10'000});
  ClientRequest large;
  crdt::Operation operation;
  operation.object = {"b", "k", crdt::Type::kRegister};
  operation.verb = crdt::Verb::kWrite;
  operation.value = std::string(20'000, 'x');
  large.body = replica::WriteRequest{{operation}};
  CHECK(host->Submit({large}).size() == 1);
  CHECK(host->Submit({Add(7, "k", 1)}).empty());
  CHECK(f.outlet.Wait(RequestId{7}).body.ok());
}

TEST_CASE("Host: what a turn sends to one peer is one frame") {
  Fixture f;
  auto host = f.Start({.shards = 1}, 3);
  host->PeerUp(NodeId{1}, crdt::ActorId{8});
  host->PeerUp(NodeId{2}, crdt::ActorId{9});
  const auto frames = f.outlet.WaitForFrames(2);
  std::set<uint64_t> to;
  for (const auto& frame : frames) {
    to.insert(replica::Index(frame.to));
    FrameParser parser(kPeerFrameBytesMax);
    absl::string_view in = frame.bytes;
    auto words = parser.Next(in);
    REQUIRE(words.ok());
    REQUIRE(words->has_value());
    auto decoded = DecodePeerFrame(**words, 16);
    REQUIRE(decoded.ok());
    // A summary of each partition.
    CHECK(std::get<PeerMessages>(*decoded).messages.size() == 16);
  }
  CHECK(to == std::set<uint64_t>{1, 2});
}

TEST_CASE("Host: a failed fsync ends it, and nothing is acknowledged") {
  Fixture f;
  auto host = f.Start({.shards = 1});
  f.disk.FailSync(absl::DataLossError("the disk is gone"));
  ClientRequest request = Add(1, "k", 1);
  request.options.durability = replica::Durability::kFsync;
  CHECK(host->Submit({request}).empty());
  const absl::Status why = f.fatal.get_future().get();
  CHECK(why.message().find("the disk is gone") != absl::string_view::npos);
  CHECK_FALSE(host->Stop().ok());
  CHECK(f.outlet.replies() == 0);
}

TEST_CASE("Host: a failed background fsync ends it") {
  Fixture f;
  auto host = f.Start({.shards = 2});
  f.disk.FailSync(absl::DataLossError("the disk is gone"));
  CHECK(host->Submit({Add(1, "k", 1)}).empty());
  const absl::Status why = f.fatal.get_future().get();
  CHECK(why.message().find("the disk is gone") != absl::string_view::npos);
  CHECK_FALSE(host->Stop().ok());
}

TEST_CASE("Host: a query runs on the shard's thread after what was queued") {
  Fixture f;
  auto host = f.Start({.shards = 2});
  std::vector<ClientRequest> requests;
  for (uint64_t i = 0; i < 100; ++i) {
    requests.push_back(Add(i, "key" + std::to_string(i), 1));
  }
  CHECK(host->Submit(std::move(requests)).empty());
  uint64_t events = 0;
  for (uint32_t shard = 0; shard < 2; ++shard) {
    std::promise<uint64_t> sum;
    host->Query(shard, [&](replica::Shard& s) {
      uint64_t total = 0;
      for (const auto& digest : s.Digests()) total += digest.events;
      sum.set_value(total);
    });
    events += sum.get_future().get();
  }
  CHECK(events == 100);
}

TEST_CASE("Host: a clean stop finishes what is queued and makes it durable") {
  Fixture f;
  auto host = f.Start({.shards = 2});
  std::vector<ClientRequest> requests;
  for (uint64_t i = 0; i < 500; ++i) {
    requests.push_back(Add(i, "key" + std::to_string(i), 1));
  }
  CHECK(host->Submit(std::move(requests)).empty());
  CHECK(host->Stop().ok());
  CHECK(f.outlet.replies() == 500);
  CHECK(f.disk.unsynced_batches() == 0);
}

}  // namespace
}  // namespace dovetail::net
