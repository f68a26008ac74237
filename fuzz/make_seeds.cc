// Writes the seeds of the corpora: fuzz_make_seeds DIRECTORY. They are real
// encodings, taken from one fixed schedule for each kind of state, and some of
// the schedules themselves.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/check.h"
#include "crdt/mutate.h"
#include "replica/gossip_message.h"
#include "replica/session_token.h"
#include "tests/crdt/world.h"

namespace dovetail::crdt::model {
namespace {

void Write(const std::filesystem::path& file, const std::string& bytes) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out << bytes;
  out.close();
  DOVETAIL_CHECK(out.good());
}

// The input of decode_context and decode_session: the length of the first one,
// then both.
std::string TwoSets(const std::string& a, const std::string& b) {
  DOVETAIL_CHECK(a.size() < 256);
  return static_cast<char>(a.size()) + a + b;
}

replica::SessionToken SeenBy(const Context& context, uint64_t wall_ms) {
  return {64, replica::PartitionId{9}, context.applied, {wall_ms, 1}};
}

template <class Encodable>
void WriteLongest(const std::filesystem::path& file,
                  const std::vector<Encodable>& all) {
  std::string longest;
  for (const Encodable& each : all) {
    std::string bytes = each.Encode();
    if (bytes.size() > longest.size()) longest = std::move(bytes);
  }
  if (!longest.empty()) Write(file, longest);
}

void WriteSeeds(const std::filesystem::path& root) {
  for (size_t i = 0; i < Subjects().size(); ++i) {
    const Subject& subject = Subjects()[i];
    std::minstd_rand random(static_cast<uint32_t>(i + 1));
    std::string schedule(1, static_cast<char>(i));
    World world(subject, 3);
    for (int step = 0; step < 30; ++step) {
      uint8_t m[6];
      for (uint8_t& byte : m) {
        byte = static_cast<uint8_t>(random() >> 8);
        schedule += static_cast<char>(byte);
      }
      DOVETAIL_CHECK(world.Do({m[0], m[1], m[2], m[3], m[4], m[5]}).empty());
    }
    Write(root / "join_three" / subject.name, schedule);
    WriteLongest(root / "decode_delta" / subject.name, world.deltas());
    WriteLongest(root / "decode_token" / subject.name, world.token_history());
    const Context& a = world.replicas()[0].context();
    const Context& b = world.replicas()[1].context();
    Write(root / "decode_context" / subject.name,
          TwoSets(a.applied.Encode(), b.applied.Encode()));
    Write(root / "decode_session" / subject.name,
          TwoSets(SeenBy(a, 7).Encode(), SeenBy(b, 300).Encode()));
  }
}

// When an object expires, which the schedules do not know of.
void WriteExpirySeeds(const std::filesystem::path& root) {
  Operation add;
  add.object = {"default", "k", Type::kSet};
  add.elements = {"a"};
  Operation expire;
  expire.object = add.object;
  expire.verb = Verb::kExpireAt;
  expire.amount = 1'767'225'600'000;
  const Store nothing;
  StoreView view(nothing);
  const auto stamp = [](Timestamp) { return Timestamp{}; };
  DeltaBuilder builder(view, {ActorId{7}, 1}, stamp);
  DOVETAIL_CHECK(builder.Add(add).ok() && builder.Add(expire).ok());
  const Delta delta = *builder.Finish();
  Write(root / "decode_delta" / "expiry", delta.Encode());
  ObservedToken token{add.object, Path(), {}};
  for (const DeltaLeaf& leaf : delta.leaves) {
    token.Observe(leaf.path, LeafTypeOf(Type::kSet, leaf.path.bytes()),
                  leaf.store);
  }
  Write(root / "decode_token" / "expiry", token.Encode());
}

// The node of decode_gossip is 1; the messages tell of it and of others.
void WriteGossipSeeds(const std::filesystem::path& folder) {
  using namespace dovetail::replica;
  const auto claim = [](NodeId id, uint64_t incarnation, MemberState state) {
    Rumor rumor;
    rumor.id = id;
    rumor.incarnation = incarnation;
    rumor.state = state;
    if (state == MemberState::kSuspect) rumor.accusers = {NodeId{2}, NodeId{3}};
    rumor.info = MemberInfo{id, "a", "10.0.0.1:71", "", "zone", "region", "x"};
    return rumor;
  };
  const NodeId self{1};
  const NodeId other{3};
  const std::vector<Rumor> rows = {claim(self, 7, MemberState::kDead),
                                   claim(other, 4, MemberState::kSuspect),
                                   claim(NodeId{4}, 1, MemberState::kLeft)};
  const ConfigDigest config{12, {34, 56}};
  Rumor bare = claim(self, 300, MemberState::kSuspect);
  bare.info.reset();
  const std::pair<std::string, GossipMessage> seeds[] = {
      {"ping", {Ping{1, self}, {claim(other, 1, MemberState::kAlive), bare}}},
      {"ping_req", {PingReq{200, other}, rows}},
      {"ack", {PingAck{1}, {}}},
      {"nack", {PingNack{1}, {bare}}},
      {"compare", {Compare{{1, 2}, config}, {}}},
      {"state_request", {StateRequest{config, rows}, {}}},
      {"state_reply", {StateReply{config, rows}, {}}},
      {"state_equal", {StateReply{config, {}}, {}}}};
  for (const auto& [name, message] : seeds) {
    Write(folder / name, EncodeGossip(message));
  }
}

}  // namespace
}  // namespace dovetail::crdt::model

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_make_seeds DIRECTORY\n");
    return 2;
  }
  dovetail::crdt::model::WriteSeeds(argv[1]);
  dovetail::crdt::model::WriteExpirySeeds(argv[1]);
  dovetail::crdt::model::WriteGossipSeeds(std::string(argv[1]) +
                                          "/decode_gossip");
  return 0;
}
