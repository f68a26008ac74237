// The oracle against the product. Shards take random batches, with and without
// tokens; messages are lost, repeated and reordered, processes die, disks lose
// their unsynced tail. After every step some reader must see what the oracle
// says, and each batch must do what it expected.
//
// DOVETAIL_SEED runs one schedule, DOVETAIL_SEEDS that many from 1.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crdt/delta.h"
#include "crdt/path.h"
#include "crdt/text.h"
#include "doctest/doctest.h"
#include "tests/crdt/subject.h"
#include "tests/replica/cluster.h"
#include "tests/replica/random_operation.h"
#include "tests/sim/oracle.h"
#include "tests/sim/seat.h"

namespace dovetail::oracle {
namespace {

using replica::Rng;

using crdt::model::Subject;
using crdt::model::Target;
using replica::Cluster;

constexpr uint32_t kNodes = 3;
constexpr replica::PartitionId kPartition{0};
constexpr size_t kNetworkMax = 60;
// Replicas that a read joins at most.
// TODO(test): all three, once a replica that answers "same" brings its context
// along; until then such a read may show what that replica knows is removed.
constexpr uint32_t kJoinedMax = 2;

// --- The product's words in the oracle's ---

Kind KindOf(crdt::Type type) {
  return static_cast<Kind>(static_cast<uint8_t>(type) - 1);
}
static_assert(static_cast<uint8_t>(crdt::Type::kMap) - 1 ==
              static_cast<uint8_t>(Kind::kMap));
static_assert(static_cast<uint8_t>(crdt::Verb::kDelete) ==
              static_cast<uint8_t>(Verb::kDelete));

Object ObjectOf(const crdt::ObjectId& object) {
  return {object.bucket, object.key, KindOf(object.type)};
}

std::vector<Field> FieldsOf(const std::vector<crdt::Field>& fields) {
  std::vector<Field> same;
  for (const crdt::Field& field : fields) {
    same.push_back({field.name, KindOf(field.type)});
  }
  return same;
}

Events EventsOf(const crdt::EventSet& set) {
  Events events;
  set.ForEachRun([&](const crdt::DotRun& run) {
    events.Insert(crdt::ActorBits(run.actor), run.first, run.count);
    return true;
  });
  return events;
}

Mutation MutationOf(const crdt::Operation& operation) {
  Mutation mutation;
  mutation.object = ObjectOf(operation.object);
  mutation.fields = FieldsOf(operation.fields);
  mutation.verb = static_cast<Verb>(operation.verb);
  mutation.elements = operation.elements;
  mutation.value = operation.value;
  mutation.amount = operation.amount;
  if (operation.verb == crdt::Verb::kRemoveField) {
    mutation.child = FieldsOf({operation.child}).front();
  }
  return mutation;
}

// What the product shows, in words that tell "absent" from "empty".
std::string Shown(bool present, const std::string& text) {
  return text + (present ? "" : " (absent)");
}
std::string Shown(const crdt::View& view) {
  return Shown(view.present, crdt::ToString(view));
}
std::string Shown(const View& view) {
  return Shown(view.present, ToString(view));
}

struct Tally {
  uint64_t steps = 0;
  uint64_t writes = 0;
  uint64_t with_tokens = 0;
  uint64_t unobserved = 0;  // operations
  uint64_t undone = 0;      // batches that did something and minted nothing
  uint64_t reads = 0;
  uint64_t joined_reads = 0;
};

// One schedule of one seed.
class Schedule {
 public:
  Schedule(const Subject& subject, uint64_t seed, Tally& tally)
      : subject_(subject),
        rng_(seed),
        tally_(tally),
        cluster_(kNodes, 1, Options(rng_)) {
    for (uint64_t& actor : actors_) actor = ++last_actor_;
  }

  void Run(int steps) {
    for (int step = 0; step < steps; ++step) {
      Step();
      ++tally_.steps;
      if (step % 20 == 19) CompareAll();
    }
    for (uint32_t node = 0; node < kNodes; ++node) {
      if (!cluster_.running(node)) Start(node);
    }
    cluster_.Settle();
    CompareAll();
  }

 private:
  struct Token {
    crdt::ObservedToken observed;
    SightId sight{};
  };

  static replica::ShardOptions Options(Rng& rng) {
    replica::ShardOptions options;
    if (rng.Percent(30)) options.inline_leaves_max = 1;
    if (rng.Percent(30)) options.row_cache_bytes = 0;
    return options;
  }

  void Step() {
    const uint32_t choice = rng_.Below(100);
    std::deque<Cluster::InFlight>& network = cluster_.network();
    if (choice < 40) {
      WriteBatch(SomeNode());
    } else if (choice < 52) {
      TakeToken();
    } else if (choice < 96) {
      if (network.empty()) return;
      // A bound, or all there is to see is what nobody has heard of.
      while (network.size() > kNetworkMax) {
        network.erase(network.begin() + rng_.Below(network.size()));
      }
      const uint32_t index = rng_.Below(network.size());
      if (rng_.Percent(10)) {
        network.erase(network.begin() + index);
        return;
      }
      if (rng_.Percent(15)) network.push_back(network[index]);
      const uint32_t to = sim::SeatOf(network[index].to);
      cluster_.Deliver(index);
      if (cluster_.running(to)) Compare(to, SomeTarget());
    } else if (choice < 98) {
      cluster_.Advance(absl::Milliseconds(300));
    } else {
      CrashOrStart();
    }
  }

  // At most one is down, so that a write always leaves a message.
  void CrashOrStart() {
    for (uint32_t node = 0; node < kNodes; ++node) {
      if (cluster_.running(node)) continue;
      Start(node);
      return;
    }
    cluster_.Crash(SomeNode(), rng_.Percent(50) ? rng_.Below(4) : 0);
  }
  void Start(uint32_t node) {
    REQUIRE(cluster_.Start(node).ok());
    actors_[node] = ++last_actor_;
    CompareAll();
  }

  uint32_t SomeNode() {
    for (;;) {
      const uint32_t node = rng_.Below(kNodes);
      if (cluster_.running(node)) return node;
    }
  }
  const Target& SomeTarget() {
    return subject_.targets[rng_.Below(subject_.targets.size())];
  }

  crdt::Operation SomeOperation() {
    crdt::model::Move move;
    move.target = static_cast<uint8_t>(rng_.Below(256));
    move.verb = static_cast<uint8_t>(rng_.Below(256));
    move.detail = static_cast<uint8_t>(rng_.Below(256));
    crdt::Operation operation = crdt::model::OperationOf(subject_, move);
    // Each value once, so that a delta says which write got which timestamp.
    if (!operation.value.empty() && rng_.Percent(90)) {
      operation.value += std::to_string(++values_);
    } else if (operation.target_type() == crdt::Type::kRegister) {
      operation.value = "again" + std::to_string(++values_);
    }
    return operation;
  }

  // The newest tokens most of the time, of those that the product accepts.
  const Token* TokenFor(crdt::Operation operation) {
    std::vector<const Token*> fitting;
    for (const Token& token : tokens_) {
      operation.observed = token.observed;
      if (crdt::Validate(operation).ok()) fitting.push_back(&token);
    }
    if (fitting.empty()) return nullptr;
    const size_t newest = std::min<size_t>(fitting.size(), 4);
    return rng_.Percent(80) ? fitting[fitting.size() - 1 - rng_.Below(newest)]
                            : fitting[rng_.Below(fitting.size())];
  }

  void WriteBatch(uint32_t node) {
    std::vector<crdt::Operation> operations;
    std::vector<Mutation> batch;
    const uint32_t size = rng_.Percent(60) ? 1 : 1 + rng_.Below(5);
    for (uint32_t i = 0; i < size; ++i) {
      crdt::Operation operation = SomeOperation();
      Mutation mutation = MutationOf(operation);
      if (rng_.Percent(35)) {
        if (const Token* token = TokenFor(operation)) {
          operation.observed = token->observed;
          mutation.token = token->sight;
          ++tally_.with_tokens;
        }
      }
      operations.push_back(std::move(operation));
      batch.push_back(std::move(mutation));
    }
    ++tally_.writes;
    std::string story;
    for (const auto& operation : operations)
      story += crdt::model::Describe(operation) + "; ";
    INFO("node " << node << ": " << story);

    const crdt::EventSet applied = AppliedBy(node);
    const Events before = EventsOf(applied);
    const Expectation expected = oracle_.Expect(batch, actors_[node], before);
    const auto reply = cluster_.Take(cluster_.Begin(node, operations));
    REQUIRE(reply.has_value());
    REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
    CHECK(std::get<replica::WriteReply>(*reply->body).not_observed ==
          expected.not_observed);
    for (const bool unobserved : expected.not_observed) {
      tally_.unobserved += unobserved ? 1 : 0;
    }
    if (!expected.mints() && !expected.not_observed.back()) ++tally_.undone;

    uint64_t minted = 0;
    AppliedBy(node).Minus(applied).ForEachRun([&](const crdt::DotRun& run) {
      CHECK(minted == 0);
      CHECK(crdt::ActorBits(run.actor) == actors_[node]);
      minted = run.count;
      StampAll(operations, run, batch);
      oracle_.Record(batch, actors_[node], run.first, run.count, before);
      return true;
    });
    CHECK(minted == expected.events);
    for (const crdt::Operation& operation : operations) {
      Compare(node, {operation.object, operation.fields});
    }
  }

  // Takes from the delta on its way what the clock gave each register write.
  void StampAll(const std::vector<crdt::Operation>& operations,
                const crdt::DotRun& events, std::vector<Mutation>& batch) {
    std::optional<crdt::Delta> delta;
    for (const Cluster::InFlight& item : cluster_.network()) {
      const auto* sent = std::get_if<replica::Replicate>(&item.message.body);
      if (sent == nullptr) continue;
      auto decoded = crdt::Delta::Decode(sent->delta);
      REQUIRE(decoded.ok());
      if (decoded->events == events) delta = *std::move(decoded);
    }
    REQUIRE(delta.has_value());
    for (size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].target_kind() != Kind::kRegister) continue;
      const auto path = crdt::Path::OfFields(operations[i].fields);
      for (const crdt::DeltaLeaf& leaf : delta->leaves) {
        if (leaf.object != operations[i].object || leaf.path != path) continue;
        for (const auto& [dot, payload] : leaf.store.entries()) {
          const auto& stamped = std::get<crdt::Stamped>(payload);
          if (stamped.bytes != batch[i].value) continue;
          batch[i].stamp = {stamped.stamp.wall_ms, stamped.stamp.logical};
        }
      }
    }
  }

  // Reads from one node or from several, with a token.
  void TakeToken() {
    const Target& target = SomeTarget();
    const uint32_t node = SomeNode();
    crdt::ReadSpec spec;
    spec.object = target.object;
    spec.fields = target.fields;
    spec.want_token = true;
    const auto& elements = crdt::model::Elements();
    if (crdt::HasElements(target.type()) && rng_.Percent(30)) {
      spec.element = elements[rng_.Below(elements.size())];
    }
    uint32_t running = 0;
    for (uint32_t i = 0; i < kNodes; ++i) running += cluster_.running(i);
    const uint32_t replicas = 1 + rng_.Below(std::min(running, kJoinedMax));
    const auto id = cluster_.BeginRead(node, spec, Cluster::R(replicas));
    // What is asked and answered overtakes everything else.
    cluster_.DeliverAll([](const Cluster::InFlight& item) {
      return !std::holds_alternative<replica::ReadQuery>(item.message.body) &&
             !std::holds_alternative<replica::ReadAnswer>(item.message.body);
    });
    const auto reply = cluster_.Take(id);
    REQUIRE(reply.has_value());
    REQUIRE_MESSAGE(reply->body.ok(), reply->body.status().ToString());
    const auto& read = std::get<replica::ReadReply>(*reply->body);
    crdt::EventSet visible;
    for (const replica::NodeId from : read.receipt.nodes) {
      visible.UnionWith(AppliedBy(sim::SeatOf(from)));
    }
    if (replicas > 1) ++tally_.joined_reads;
    const Events events = EventsOf(visible);
    const Object object = ObjectOf(spec.object);
    const std::vector<Field> fields = FieldsOf(spec.fields);
    const View view = oracle_.Read(object, fields, events);
    if (spec.element) {
      CHECK(read.result.view.flag ==
            std::count(view.values.begin(), view.values.end(), *spec.element));
    } else {
      CHECK(Shown(read.result.view) == Shown(view));
    }
    REQUIRE(read.result.token.has_value());
    tokens_.push_back(
        {*read.result.token, oracle_.See(object, fields, events)});
  }

  const crdt::EventSet& AppliedBy(uint32_t node) {
    return cluster_.at(node).ContextOf(kPartition).applied;
  }

  void Compare(uint32_t node, const Target& target) {
    crdt::ReadSpec spec;
    spec.object = target.object;
    spec.fields = target.fields;
    const auto read = cluster_.Read(node, spec);
    REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    ++tally_.reads;
    INFO("node " << node << ", " << crdt::ToString(target.object));
    CHECK(Shown(read->view) ==
          Shown(oracle_.Read(ObjectOf(target.object), FieldsOf(target.fields),
                             EventsOf(AppliedBy(node)))));
  }
  void CompareAll() {
    for (uint32_t node = 0; node < kNodes; ++node) {
      if (!cluster_.running(node)) continue;
      for (const crdt::ObjectId& object : subject_.objects) {
        Compare(node, {object, {}});
      }
    }
  }

  const Subject& subject_;
  Rng rng_;
  Tally& tally_;
  Cluster cluster_;
  Oracle oracle_;
  uint64_t last_actor_ = 0;  // as Cluster draws them
  uint64_t actors_[kNodes] = {};
  uint64_t values_ = 0;
  std::vector<Token> tokens_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 0);
}

void RunSeeds(const std::string& subject) {
  const uint64_t one = FromEnvironment("DOVETAIL_SEED", 0);
  const uint64_t first = one == 0 ? 1 : one;
  const uint64_t count = one == 0 ? FromEnvironment("DOVETAIL_SEEDS", 50) : 1;
  Tally tally;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    INFO("replay: DOVETAIL_SEED=" << seed << " build/dev/bin/sim_oracle_tests "
                                  << "-tc='Oracle and product: " << subject
                                  << "*'");
    Schedule(crdt::model::SubjectNamed(subject), seed, tally).Run(300);
  }
  const auto n = [](uint64_t value) {
    return static_cast<unsigned long long>(value);
  };
  std::printf(
      "%s: seeds %llu to %llu; steps %llu, batches %llu, with tokens %llu, "
      "not observed %llu, undone %llu, reads %llu, joined %llu\n",
      subject.c_str(), n(first), n(first + count - 1), n(tally.steps),
      n(tally.writes), n(tally.with_tokens), n(tally.unobserved),
      n(tally.undone), n(tally.reads), n(tally.joined_reads));
  CHECK(tally.with_tokens > 0);
  CHECK(tally.joined_reads > 0);
}

TEST_CASE("Oracle and product: register agree") { RunSeeds("register"); }
TEST_CASE("Oracle and product: mv agree") { RunSeeds("mv"); }
TEST_CASE("Oracle and product: set agree") { RunSeeds("set"); }
TEST_CASE("Oracle and product: rwset agree") { RunSeeds("rwset"); }
TEST_CASE("Oracle and product: gset agree") { RunSeeds("gset"); }
TEST_CASE("Oracle and product: ewflag agree") { RunSeeds("ewflag"); }
TEST_CASE("Oracle and product: dwflag agree") { RunSeeds("dwflag"); }
TEST_CASE("Oracle and product: counter agree") { RunSeeds("counter"); }
TEST_CASE("Oracle and product: map agree") { RunSeeds("map"); }
TEST_CASE("Oracle and product: nested agree") { RunSeeds("nested"); }
TEST_CASE("Oracle and product: mixed agree") { RunSeeds("mixed"); }

TEST_CASE("Oracle and product: any bytes are shown the same") {
  Rng rng(1);
  const std::string alphabet[] = {
      "a",    "\"",   "\\",   "\n",   "\t",   "\r",   "\x7f", "\x1b",
      "\xc3", "\xa9", "z",    "-",    "\xe2", "\x82", "\xac", "\xed",
      "\xa0", "\xf0", "\x90", "\x80", "\xf4", "\xc0"};
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes;
    for (uint32_t n = rng.Below(7); n > 0; --n) {
      bytes += rng.Percent(5) ? std::string(1, static_cast<char>(rng.Next()))
                              : alphabet[rng.Below(std::size(alphabet))];
    }
    CAPTURE(bytes);
    crdt::View theirs;
    theirs.type = crdt::Type::kSet;
    theirs.values = {bytes};
    View mine;
    mine.kind = Kind::kSet;
    mine.values = {bytes};
    CHECK(Quoted(bytes) == crdt::QuoteJson(bytes));
    CHECK(ToString(mine) == crdt::ToString(theirs));
  }
}

}  // namespace
}  // namespace dovetail::oracle
