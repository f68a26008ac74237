// The words of the oracle (oracle.h): what was asked, which events happened,
// what a reader sees. Written anew on purpose: nothing here comes from crdt/ or
// replica/, so that a mistake there is not made here too.
#ifndef DOVETAIL_TESTS_SIM_ORACLE_TYPES_H_
#define DOVETAIL_TESTS_SIM_ORACLE_TYPES_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dovetail::oracle {

// Fields of one name are read in this order.
enum class Kind : uint8_t {
  kRegister,
  kMultiValue,
  kSet,
  kRemoveSet,
  kGrowSet,
  kEnableFlag,
  kDisableFlag,
  kCounter,
  kMap,
};

enum class Verb : uint8_t {
  kAdd,
  kRemove,
  kClear,
  kWrite,
  kWriteBlind,
  kEnable,
  kDisable,
  kReset,
  kRemoveField,
  kDelete,
  kExpire,   // the whole object; `amount` ms from now, see SetTime
  kPersist,  // never
};

struct Field {
  std::string name;
  Kind kind = Kind::kRegister;
  friend auto operator<=>(const Field&, const Field&) = default;
};

struct Object {
  std::string bucket;
  std::string key;
  Kind kind = Kind::kRegister;
  friend auto operator<=>(const Object&, const Object&) = default;
};

// What a clock says.
struct Stamp {
  uint64_t wall = 0;
  uint32_t logical = 0;
  friend auto operator<=>(const Stamp&, const Stamp&) = default;
};

// Given out by Oracle::See.
enum class SightId : size_t {};

struct Mutation {
  Object object;
  std::vector<Field> fields;  // from the object to what is changed
  Verb verb = Verb::kAdd;
  std::vector<std::string> elements;  // sets: kAdd, kRemove
  std::string value;                  // kWrite, kWriteBlind
  int64_t amount = 0;                 // counters: kAdd; never 0; kExpire
  Field child;                        // kRemoveField
  // Acts on exactly this; without it, on what the replica shows.
  std::optional<SightId> token;
  // kClear: the rest of it, after this element (Expectation::resume_after).
  std::optional<std::string> resume_after;
  // Registers: the timestamp that the write got; not needed by Expect.
  Stamp stamp;

  Kind target_kind() const {
    return fields.empty() ? object.kind : fields.back().kind;
  }
};

// What a batch does at one replica.
struct Expectation {
  // Events it mints; 0 if it changes nothing or its operations undo each other.
  uint64_t events = 0;
  bool mints() const { return events > 0; }
  // For each mutation: what it was to take away was not there.
  std::vector<bool> not_observed;
  // A clear of a set that has more to take, beyond this element.
  std::optional<std::string> resume_after;
  friend bool operator==(const Expectation&, const Expectation&) = default;
};

// A set of events, each named by (actor, counter). A value: one flat vector,
// so copies are cheap.
class Events {
 public:
  // Requires: first >= 1, count >= 1.
  void Insert(uint64_t actor, uint64_t first, uint64_t count);
  void UnionWith(const Events& other);
  bool Contains(uint64_t actor, uint64_t counter) const;
  bool empty() const { return runs_.empty(); }
  friend bool operator==(const Events&, const Events&) = default;

 private:
  // [first, last] of one actor. Sorted, disjoint, no two of them touch.
  struct Run {
    uint64_t actor = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    friend bool operator==(const Run&, const Run&) = default;
  };
  std::vector<Run> runs_;
};

struct View {
  Kind kind = Kind::kRegister;
  bool present = false;
  bool flag = false;
  int64_t number = 0;  // does not saturate: keep amounts small
  // register: at most one; mv: distinct values in byte order; sets: elements
  // in byte order.
  std::vector<std::string> values;
  std::vector<std::pair<Field, View>> fields;
  friend bool operator==(const View&, const View&) = default;
};

// "{a, b}", "7", "\"v\"", "{f:set: {x}, g:counter: 3}", "absent": the notation
// of scenarios and of the command line.
std::string ToString(const View& view);
// "shop/cart:map", for stories.
std::string ToString(const Object& object);
// set, counter, ...
const char* NameOf(Kind kind);

// As a JSON string; bytes that are not UTF-8 become \udcXX.
std::string Quoted(const std::string& bytes);

// Ends the process with a message: the caller asks what the oracle does not
// model, or breaks a rule of oracle.h.
void Require(bool holds, const char* rule);

}  // namespace dovetail::oracle

#endif  // DOVETAIL_TESTS_SIM_ORACLE_TYPES_H_
