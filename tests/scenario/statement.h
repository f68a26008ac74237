// What a line of a scenario means: one struct for each kind of statement. Pure
// data; parser.h makes it, runner.h carries it out.
#ifndef DOVETAIL_TESTS_SCENARIO_STATEMENT_H_
#define DOVETAIL_TESTS_SCENARIO_STATEMENT_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "crdt/operation.h"
#include "crdt/query.h"
#include "crdt/type.h"

namespace dovetail::scenario {

// --- The cast ---
struct AddNodes {
  std::vector<std::string> names;
  uint32_t owners = 0;  // N; 0: all of them
};
struct SetPartitions {
  uint32_t count = 1;
};
struct UseBucket {
  std::string name;
  int64_t ttl_ms = 0;  // its property, from now on everywhere; 0: as it is
};

// `body` is parsed for each round, with the round in place of `%`.
struct Repeat {
  uint64_t rounds = 0;
  std::string body;
};

// --- Operations ---
// The operation must fail, with this code if one is named.
struct MustFail {
  std::optional<absl::StatusCode> code;
};

struct RequestTerms {
  std::optional<uint32_t> write;  // w=
  std::optional<uint32_t> read;   // r=
  std::optional<MustFail> must_fail;
};

// Buckets and observed tokens are filled in when it runs: both belong to the
// story so far.
struct OperationStep {
  crdt::Operation operation;
  std::string token;  // empty: none
};

// One operation, or several as one batch.
struct Operate {
  std::string who;
  std::vector<OperationStep> steps;
  RequestTerms terms;
  std::optional<uint64_t> id = std::nullopt;  // op=
};

struct ReadObject {
  std::string token;  // where to keep it; empty: nowhere
  std::string who;
  crdt::ReadSpec spec;
  RequestTerms terms;
};

struct SetClock {
  std::string who;
  int64_t offset_ms = 0;
};

// Time passes for everybody, and nothing else happens.
struct Wait {
  int64_t ms = 0;
};

// --- Messages ---
struct Link {
  std::string from;
  std::string to;
  friend auto operator<=>(const Link&, const Link&) = default;
};

struct Ship {
  Link link;
  std::optional<uint64_t> only;  // place in the queue, from 1
  bool reversed = false;
  bool answered = true;
};
struct Drop {
  Link link;
  std::optional<uint64_t> only;
};
struct Duplicate {
  Link link;
  uint64_t which = 1;
};
struct Cut {
  Link link;
  bool both_ways = true;
};
struct Heal {
  std::optional<Link> link;  // nullopt: all
  bool both_ways = true;
};
struct SyncPair {
  std::optional<Link> pair;  // nullopt: every pair
};
// By ranges; `pair` is from the healthy one to the stale one.
struct RangeSync {
  Link pair;
  std::string until;  // a key, after whose place it pauses; empty: to the end
};
struct Settle {};

// --- The ring ---
struct ChangeRing {
  enum class Kind { kJoin, kLeave, kRemove, kReplace, kWeight };
  Kind kind = Kind::kJoin;
  std::string who;
  std::string by;       // of kReplace
  uint64_t weight = 0;  // of kWeight
};

// --- Faults ---
struct Crash {
  static constexpr uint64_t kLoseAll = std::numeric_limits<uint64_t>::max();
  std::string who;
  // Applied deltas that the power loss takes; nullopt: the process only.
  std::optional<uint64_t> losing;
};
struct MakeDurable {
  std::string who;
};
struct Start {
  std::string who;
};
struct Backup {
  std::string who;
  std::string name;
};
struct Restore {
  std::string who;
  std::string name;
};
struct Clone {
  std::string who;
  std::string name;
};
struct Wipe {
  std::string who;
};
struct Damage {
  std::string who;
  crdt::ObjectId object;
  bool flips = false;  // a bit in each row; else the rows are gone
};
struct Scrub {
  std::string who;
};
struct Stale {
  std::string who;
};

// --- Expectations ---
struct Comparison {
  enum class Relation { kEqual, kAtMost, kAtLeast };
  Relation relation = Relation::kEqual;
  std::vector<int64_t> numbers;  // more than one: any of them, kEqual only
  std::string unit;              // as written: "", "bytes", "ms"
};

struct EqualsView {
  std::vector<crdt::View> any_of;
};
struct ComparesTo {
  Comparison value;
};
struct SizeIs {
  Comparison size;
};
// Of a set or a multi-value register an element, of a map a field.
struct ContainsElement {
  std::string element;
  std::optional<crdt::Field> field;
  bool wanted = true;
};
using Predicate = std::variant<EqualsView, ComparesTo, SizeIs, ContainsElement>;

struct ExpectObject {
  std::vector<std::string> who;  // empty: all, each alone
  crdt::ReadSpec spec;
  Predicate predicate;
};

struct ExpectNumber {
  enum class What {
    kObjects,
    kRows,
    kDots,
    kLog,
    kEventBytes,
    kAheadMs,
    kExpiresMs,
    kQuarantined,
    kCorruptions,
    kActors,
    kQueued,
    kQueuedBytes,
  };
  What what = What::kObjects;
  std::string who;        // empty: all, each alone; unused by kQueued*
  crdt::ObjectId object;  // kDots, kExpiresMs
  std::string of;         // kEventBytes: whose events
  Link link;              // kQueued*
  Comparison comparison;
};

struct ExpectIdentical {
  std::vector<std::string> names;  // empty: all running owners
};

using Action =
    std::variant<AddNodes, SetPartitions, UseBucket, Repeat, Operate,
                 ReadObject, SetClock, Wait, Ship, Drop, Duplicate, Cut, Heal,
                 SyncPair, RangeSync, Settle, Crash, MakeDurable, Start, Backup,
                 Restore, Clone, ChangeRing, Wipe, Damage, Scrub, Stale,
                 ExpectObject, ExpectNumber, ExpectIdentical>;

struct Statement {
  int line = 0;      // from 1
  std::string text;  // as written, without comment and outer spaces
  Action action;
};

}  // namespace dovetail::scenario

#endif  // DOVETAIL_TESTS_SCENARIO_STATEMENT_H_
