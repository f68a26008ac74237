// The oracle alone: stories that other stores got wrong, told as histories of
// events, and what everybody must see at their end.
#include "tests/sim/oracle.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "doctest/doctest.h"

namespace dovetail::oracle {
namespace {

const Object kSetObject{"b", "s", Kind::kSet};
const Object kCounterObject{"b", "c", Kind::kCounter};
const Object kRegisterObject{"b", "r", Kind::kRegister};
const Object kValuesObject{"b", "v", Kind::kMultiValue};
const Object kMapObject{"b", "m", Kind::kMap};
const Field kSetField{"s", Kind::kSet};

Mutation Do(const Object& object, Verb verb) {
  Mutation mutation;
  mutation.object = object;
  mutation.verb = verb;
  return mutation;
}
Mutation Elements(const Object& object, Verb verb,
                  std::vector<std::string> elements) {
  Mutation mutation = Do(object, verb);
  mutation.elements = std::move(elements);
  return mutation;
}
Mutation Add(std::vector<std::string> elements) {
  return Elements(kSetObject, Verb::kAdd, std::move(elements));
}
Mutation Remove(std::vector<std::string> elements) {
  return Elements(kSetObject, Verb::kRemove, std::move(elements));
}
Mutation Count(int64_t amount) {
  Mutation mutation = Do(kCounterObject, Verb::kAdd);
  mutation.amount = amount;
  return mutation;
}
Mutation Write(const Object& object, std::string value, uint64_t wall = 0) {
  Mutation mutation = Do(object, Verb::kWrite);
  mutation.value = std::move(value);
  mutation.stamp.wall = wall;
  return mutation;
}
// An operation on the set in the map's field.
Mutation InField(Verb verb, std::string element) {
  Mutation mutation = Elements(kMapObject, verb, {std::move(element)});
  mutation.fields = {kSetField};
  return mutation;
}
Mutation RemoveField(Field field = kSetField) {
  Mutation mutation = Do(kMapObject, Verb::kRemoveField);
  mutation.child = std::move(field);
  return mutation;
}
Mutation With(SightId token, Mutation mutation) {
  mutation.token = token;
  return mutation;
}

// Replicas by letter, each the actor of that letter, and what reached them.
class Tale {
 public:
  struct Run {
    uint64_t actor = 0;
    uint64_t first = 0;
    uint64_t count = 0;
  };

  // `who` runs the batch. Returns its events; count 0 if it minted none.
  Run Do(char who, const std::vector<Mutation>& batch) {
    const Events before = has_[who];
    const uint64_t actor = ActorOf(who);
    expected = oracle.Expect(batch, actor, before);
    if (!expected.mints()) return {actor, 0, 0};
    const Run run{actor, minted_[actor] + 1, expected.events};
    minted_[actor] += run.count;
    oracle.Record(batch, run.actor, run.first, run.count, before);
    has_[who].Insert(run.actor, run.first, run.count);
    return run;
  }
  Run Do(char who, Mutation mutation) {
    return Do(who, std::vector<Mutation>{std::move(mutation)});
  }
  void Deliver(const Run& run, char to) {
    has_[to].Insert(run.actor, run.first, run.count);
  }
  void Merge(char from, char into) { has_[into].UnionWith(has_[from]); }
  void MergeAll() {
    for (const auto& from : has_) {
      for (auto& into : has_) into.second.UnionWith(from.second);
    }
    for (const auto& from : has_) {
      for (auto& into : has_) into.second.UnionWith(from.second);
    }
  }
  // A new process on the disk of `who`.
  void Restart(char who) { ++incarnation_[who]; }

  SightId See(char who, const Object& object,
              const std::vector<Field>& fields = {}) {
    return oracle.See(object, fields, has_[who]);
  }
  std::string Show(char who, const Object& object) const {
    return ToString(View(who, object));
  }
  oracle::View View(char who, const Object& object) const {
    return oracle.Read(object, {}, has_.at(who));
  }
  // What all see, or "they differ".
  std::string ShowAll(const Object& object) const {
    const std::string shown = Show(has_.begin()->first, object);
    for (const auto& [who, events] : has_) {
      if (Show(who, object) != shown) return "they differ";
    }
    return shown;
  }
  Events& has(char who) { return has_[who]; }

  Oracle oracle;
  Expectation expected;  // of the last batch

 private:
  uint64_t ActorOf(char who) {
    return static_cast<uint64_t>(who) * 1000 + incarnation_[who];
  }

  std::map<char, Events> has_;
  std::map<char, uint64_t> incarnation_;
  std::map<uint64_t, uint64_t> minted_;
};

TEST_CASE("Oracle: a clear of many elements goes on where it stopped") {
  Oracle oracle;
  Events events;
  std::vector<std::string> elements;
  for (int i = 0; i < 1500; ++i) {
    elements.push_back(std::to_string(10000 + i));
  }
  const std::vector<Mutation> add = {Add(elements)};
  CHECK(oracle.Expect(add, 1, events).events == 1500);
  oracle.Record(add, 1, 1, 1500, events);
  events.Insert(1, 1, 1500);

  std::vector<Mutation> clear = {Do(kSetObject, Verb::kClear)};
  const Expectation part = oracle.Expect(clear, 2, events);
  CHECK(part.events == 1);
  CHECK(part.resume_after == "10999");
  oracle.Record(clear, 2, 1, 1, events);
  events.Insert(2, 1, 1);
  const View half = oracle.Read(kSetObject, {}, events);
  CHECK(half.values.size() == 500);
  CHECK(half.values.front() == "11000");

  clear.front().resume_after = part.resume_after;
  CHECK(oracle.Expect(clear, 2, events).resume_after == std::nullopt);
  oracle.Record(clear, 2, 2, 1, events);
  events.Insert(2, 2, 1);
  CHECK_FALSE(oracle.Read(kSetObject, {}, events).present);
  CHECK(oracle.Expect(clear, 2, events).not_observed.front());
}

TEST_CASE("Oracle: what is present on both sides is not kept for that alone") {
  Tale tale;
  tale.Do('A', Add({"x"}));
  tale.Do('B', Add({"x"}));
  tale.Merge('A', 'C');
  tale.Do('A', Remove({"x"}));
  tale.Merge('B', 'A');
  tale.Do('B', Remove({"x"}));
  tale.Merge('C', 'A');
  tale.Merge('A', 'B');
  CHECK(tale.Show('B', kSetObject) == "{}");
  CHECK_FALSE(tale.View('B', kSetObject).present);
}

TEST_CASE("Oracle: a flag that each disabled for himself is off") {
  const Object flag{"b", "f", Kind::kEnableFlag};
  Tale tale;
  tale.Do('A', Do(flag, Verb::kEnable));
  tale.Do('B', Do(flag, Verb::kEnable));
  tale.Merge('A', 'C');
  tale.Do('A', Do(flag, Verb::kDisable));
  tale.Merge('B', 'A');
  CHECK(tale.Show('A', flag) == "true");
  tale.Do('B', Do(flag, Verb::kDisable));
  tale.MergeAll();
  CHECK(tale.ShowAll(flag) == "false");
}

TEST_CASE("Oracle: a disable-wins flag is on until a disable is live") {
  const Object flag{"b", "f", Kind::kDisableFlag};
  Tale tale;
  CHECK(tale.oracle.Read(flag, {}, Events()).flag);
  CHECK_FALSE(tale.oracle.Read(flag, {}, Events()).present);
  tale.Do('A', Do(flag, Verb::kDisable));
  tale.Merge('A', 'B');
  tale.Do('A', Do(flag, Verb::kEnable));
  tale.Do('B', Do(flag, Verb::kDisable));
  CHECK(tale.View('A', flag).flag);
  CHECK_FALSE(tale.View('A', flag).present);
  tale.MergeAll();
  CHECK(tale.ShowAll(flag) == "false");
  CHECK(tale.View('A', flag).present);
}

TEST_CASE("Oracle: a removed field keeps what the remove had not seen") {
  Tale tale;
  tale.Do('A', InField(Verb::kAdd, "0"));
  tale.Merge('A', 'B');
  tale.Do('A', RemoveField());
  tale.Do('B', InField(Verb::kAdd, "1"));
  tale.Merge('B', 'A');
  CHECK(tale.Show('A', kMapObject) == "{s:set: {1}}");
  tale.Do('B', InField(Verb::kAdd, "2"));
  tale.Merge('B', 'A');
  tale.Merge('B', 'A');
  CHECK(tale.Show('A', kMapObject) == "{s:set: {1, 2}}");
}

TEST_CASE("Oracle: a field made anew has nothing of the old one") {
  for (const bool concurrent : {false, true}) {
    CAPTURE(concurrent);
    Tale tale;
    tale.Do('A', InField(Verb::kAdd, "0"));
    tale.Merge('A', 'B');
    tale.Do('A', InField(Verb::kRemove, "0"));
    tale.Do('A', RemoveField());
    CHECK(tale.expected.not_observed == std::vector<bool>{true});
    CHECK_FALSE(tale.expected.mints());
    tale.Do('A', InField(Verb::kAdd, "2"));
    if (concurrent) tale.Do('B', InField(Verb::kAdd, "1"));
    tale.Merge('B', 'A');
    CHECK(tale.Show('A', kMapObject) ==
          (concurrent ? "{s:set: {1, 2}}" : "{s:set: {2}}"));
  }
}

TEST_CASE("Oracle: the order of merging does not matter to a removed field") {
  std::vector<char> order{'A', 'B', 'C'};
  do {
    Tale tale;
    tale.Do('A', InField(Verb::kAdd, "0"));
    tale.Merge('A', 'C');
    tale.Do('B', InField(Verb::kAdd, "0"));
    tale.Do('B', InField(Verb::kRemove, "0"));
    tale.Do('C', RemoveField());
    for (char from : order) tale.Merge(from, 'D');
    CHECK(tale.Show('D', kMapObject) == "{}");
    CHECK_FALSE(tale.View('D', kMapObject).present);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Oracle: values that each took away for himself are gone") {
  for (const Object& object : {kRegisterObject, kValuesObject}) {
    Tale tale;
    tale.Do('A', Write(object, "A", 1));
    tale.Do('B', Write(object, "B", 2));
    tale.Merge('A', 'C');
    tale.Do('A', Do(object, Verb::kClear));
    tale.Merge('B', 'A');
    tale.Do('B', Do(object, Verb::kClear));
    tale.Merge('C', 'B');
    tale.MergeAll();
    CHECK(tale.ShowAll(object) ==
          (object == kRegisterObject ? "absent" : "{}"));
    CHECK_FALSE(tale.View('A', object).present);
  }
}

TEST_CASE("Oracle: a write with a token replaces what the token saw") {
  Tale tale;
  tale.Do('A', Write(kValuesObject, "v1"));
  const SightId token = tale.See('A', kValuesObject);
  Mutation blind = Write(kValuesObject, "v2");
  blind.verb = Verb::kWriteBlind;
  tale.Do('A', blind);
  CHECK(tale.Show('A', kValuesObject) == "{\"v1\", \"v2\"}");
  tale.Do('A', With(token, Write(kValuesObject, "v3")));
  CHECK(tale.Show('A', kValuesObject) == "{\"v2\", \"v3\"}");
}

TEST_CASE("Oracle: concurrent register writes have one winner in any order") {
  std::vector<size_t> order{0, 1, 2};
  do {
    Tale tale;
    const std::vector<Tale::Run> writes{
        tale.Do('A', Write(kRegisterObject, "bar", 6)),
        tale.Do('B', Write(kRegisterObject, "baz", 6)),
        tale.Do('C', Write(kRegisterObject, "foo", 5))};
    for (size_t i : order) tale.Deliver(writes[i], 'D');
    CHECK(tale.Show('D', kRegisterObject) == "\"baz\"");
    // Causality beats clocks.
    tale.Do('D', Write(kRegisterObject, "late", 1));
    tale.MergeAll();
    CHECK(tale.ShowAll(kRegisterObject) == "\"late\"");
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Oracle: a register's loser shows once the winner is taken away") {
  Tale tale;
  tale.Do('A', Write(kRegisterObject, "loser", 1));
  tale.Do('B', Write(kRegisterObject, "winner", 2));
  tale.Merge('B', 'C');
  tale.Do('C', Do(kRegisterObject, Verb::kClear));
  tale.MergeAll();
  CHECK(tale.ShowAll(kRegisterObject) == "\"loser\"");
}

TEST_CASE("Oracle: a concurrent re-add survives a remove") {
  Tale tale;
  tale.Do('A', Add({"x"}));
  tale.Merge('A', 'B');
  tale.Do('A', Remove({"x"}));
  tale.Do('A', Add({"x"}));
  tale.Do('B', Remove({"x"}));
  tale.MergeAll();
  CHECK(tale.ShowAll(kSetObject) == "{x}");
}

TEST_CASE("Oracle: a remove that comes before its add takes the add away") {
  Tale tale;
  const Tale::Run add = tale.Do('A', Add({"x", "y"}));
  tale.Merge('A', 'B');
  const Tale::Run remove = tale.Do('B', Remove({"x"}));
  tale.Deliver(remove, 'C');
  CHECK(tale.Show('C', kSetObject) == "{}");
  tale.Deliver(add, 'C');
  CHECK(tale.Show('C', kSetObject) == "{y}");
}

TEST_CASE("Oracle: a token acts where nothing has arrived yet") {
  Tale tale;
  const Tale::Run add = tale.Do('A', Add({"x", "y"}));
  const SightId token = tale.See('A', kSetObject);
  tale.Do('A', Add({"x"}));  // the token did not see this one
  tale.Do('B', With(token, Remove({"x", "y"})));
  CHECK(tale.expected.not_observed == std::vector<bool>{false});
  tale.Deliver(add, 'B');
  CHECK(tale.Show('B', kSetObject) == "{}");
  tale.Merge('A', 'B');
  CHECK(tale.Show('B', kSetObject) == "{x}");
  // It saw nothing, so it takes nothing, whatever is there.
  const SightId nothing = tale.See('Z', kSetObject);
  tale.Do('B', With(nothing, Remove({"x"})));
  CHECK(tale.expected == Expectation{0, {true}, {}});
}

TEST_CASE("Oracle: merging with one that has seen less brings nothing back") {
  Tale tale;
  tale.Do('A', Add({"foo", "bar"}));
  tale.Do('B', Add({"baz"}));
  tale.Merge('A', 'C');
  tale.Merge('B', 'C');
  tale.Do('A', Remove({"bar"}));
  tale.Merge('C', 'A');
  CHECK(tale.Show('A', kSetObject) == "{baz, foo}");
}

TEST_CASE("Oracle: in a remove-wins set a concurrent remove hides") {
  const Object set{"b", "s", Kind::kRemoveSet};
  Tale tale;
  tale.Do('A', Elements(set, Verb::kAdd, {"x"}));
  tale.Merge('A', 'B');
  tale.Do('A', Elements(set, Verb::kAdd, {"x"}));
  tale.Do('B', Elements(set, Verb::kRemove, {"x", "never there"}));
  CHECK(tale.expected == Expectation{2, {false}, {}});
  tale.MergeAll();
  CHECK(tale.ShowAll(set) == "{}");
  CHECK_FALSE(tale.View('A', set).present);
  tale.Do('A', Elements(set, Verb::kAdd, {"x"}));
  CHECK(tale.Show('A', set) == "{x}");
  // What was removed is there to be cleared, though nobody sees it.
  tale.Do('B', Do(set, Verb::kClear));
  CHECK(tale.expected.mints());
}

TEST_CASE("Oracle: a hundred additions heard twice are a hundred") {
  Tale tale;
  for (int i = 0; i < 100; ++i) {
    const Tale::Run run = tale.Do('A', Count(1));
    CHECK(run.count == 1);
    tale.Deliver(run, 'B');
    tale.Deliver(run, 'B');
  }
  CHECK(tale.ShowAll(kCounterObject) == "100");
  tale.Do('B', Count(-5));
  tale.MergeAll();
  CHECK(tale.ShowAll(kCounterObject) == "95");
}

TEST_CASE("Oracle: a reset takes back what it saw and nothing else") {
  Tale tale;
  tale.Do('A', Count(5));
  tale.Merge('A', 'B');
  const Tale::Run addition = tale.Do('A', Count(1));
  const Tale::Run reset = tale.Do('B', Do(kCounterObject, Verb::kReset));
  tale.Deliver(addition, 'C');
  CHECK(tale.Show('C', kCounterObject) == "6");
  tale.Deliver(reset, 'C');
  CHECK(tale.Show('C', kCounterObject) == "1");
  tale.MergeAll();
  CHECK(tale.ShowAll(kCounterObject) == "1");
}

TEST_CASE("Oracle: a later addition brings the earlier ones of its writer") {
  Tale tale;
  tale.Do('A', Count(5));
  tale.Do('A', Count(-2));
  const Tale::Run last = tale.Do('A', Count(1));
  tale.Deliver(last, 'B');
  CHECK(tale.Show('B', kCounterObject) == "4");
  // A reset of that covers the ones that never came.
  tale.Do('B', Do(kCounterObject, Verb::kReset));
  tale.MergeAll();
  CHECK(tale.ShowAll(kCounterObject) == "0");
  CHECK_FALSE(tale.View('A', kCounterObject).present);
}

TEST_CASE("Oracle: additions that cancel each other out are still there") {
  Tale tale;
  tale.Do('A', Count(3));
  tale.Do('A', Count(-3));
  CHECK(tale.Show('A', kCounterObject) == "0");
  CHECK(tale.View('A', kCounterObject).present);
  tale.Do('A', Do(kCounterObject, Verb::kReset));
  CHECK(tale.expected.mints());
  CHECK_FALSE(tale.View('A', kCounterObject).present);
  tale.Do('A', Do(kCounterObject, Verb::kReset));
  CHECK_FALSE(tale.expected.mints());
}

TEST_CASE("Oracle: a restarted writer begins a new entry") {
  Tale tale;
  const Tale::Run first = tale.Do('A', Count(5));
  tale.Restart('A');
  const Tale::Run second = tale.Do('A', Count(2));
  tale.Deliver(second, 'B');
  CHECK(tale.Show('B', kCounterObject) == "2");
  tale.Deliver(first, 'B');
  CHECK(tale.Show('B', kCounterObject) == "7");
}

TEST_CASE("Oracle: a writer who resets his own additions retires the entry") {
  Tale tale;
  tale.Do('A', Count(5));
  const SightId token = tale.See('A', kCounterObject);
  const Tale::Run more = tale.Do('A', Count(2));
  const Tale::Run reset = tale.Do('A', Do(kCounterObject, Verb::kReset));
  tale.Deliver(reset, 'B');
  tale.Deliver(more, 'B');
  CHECK(tale.Show('B', kCounterObject) == "0");
  CHECK_FALSE(tale.View('B', kCounterObject).present);
  // With a token, only what it saw.
  tale.Deliver(more, 'C');
  tale.Do('C', With(token, Do(kCounterObject, Verb::kReset)));
  CHECK(tale.Show('C', kCounterObject) == "2");
}

TEST_CASE("Oracle: an entry reset again by its owner is retired again") {
  Tale tale;
  const Tale::Run one = tale.Do('A', Count(1));
  const SightId token = tale.See('A', kCounterObject);
  const Tale::Run two = tale.Do('A', Count(2));
  tale.Do('A', Do(kCounterObject, Verb::kReset));
  const Tale::Run batch =
      tale.Do('A', {With(token, Do(kCounterObject, Verb::kReset)), Count(7)});
  for (const Tale::Run& run : {batch, one, two}) tale.Deliver(run, 'B');
  CHECK(tale.ShowAll(kCounterObject) == "7");
}

TEST_CASE("Oracle: what was minted and never committed leaves no trace") {
  Tale tale;
  tale.Do('A', Count(5));
  const Events committed = tale.has('A');
  const Tale::Run lost = tale.Do('A', {Count(2), Add({"x"})});
  tale.has('A') = committed;
  const Tale::Run next = tale.Do('A', Count(-1));
  CHECK(next.first == lost.first + lost.count);
  tale.Deliver(next, 'B');
  CHECK(tale.ShowAll(kCounterObject) == "4");
  CHECK(tale.ShowAll(kSetObject) == "{}");
}

TEST_CASE("Oracle: a batch is one, and what undoes itself is nothing") {
  Tale tale;
  tale.Do('A', {Add({"x"}), Remove({"x"})});
  CHECK(tale.expected == Expectation{0, {false, false}, {}});
  tale.Do('A', {Count(5), Do(kCounterObject, Verb::kReset)});
  CHECK(tale.expected == Expectation{0, {false, false}, {}});
  const Tale::Run run =
      tale.Do('A', {Add({"x"}), Remove({"x", "y"}), Remove({"x"}), Count(7)});
  CHECK(tale.expected == Expectation{3, {false, false, true, false}, {}});
  tale.Deliver(run, 'B');
  CHECK(tale.ShowAll(kSetObject) == "{}");
  CHECK(tale.ShowAll(kCounterObject) == "7");
  CHECK(tale.oracle.Objects() ==
        std::vector<Object>{kCounterObject, kSetObject});
  CHECK(tale.oracle.AllEvents() == tale.has('B'));
}

TEST_CASE("Oracle: a map shows its fields in order, each kind by itself") {
  Tale tale;
  Mutation counter = Do(kMapObject, Verb::kAdd);
  counter.fields = {{"s", Kind::kCounter}};
  counter.amount = 5;
  Mutation deep = Elements(kMapObject, Verb::kAdd, {"a b", ""});
  deep.fields = {{"o", Kind::kMap}, {"s", Kind::kSet}};
  Mutation flag = Do(kMapObject, Verb::kDisable);
  flag.fields = {{"o", Kind::kMap}, {"d", Kind::kDisableFlag}};
  tale.Do('A', {counter, InField(Verb::kAdd, "1"), deep, flag});
  CHECK(tale.Show('A', kMapObject) ==
        "{o:map: {d:dwflag: false, s:set: {\"\", \"a b\"}}, s:set: {1}, "
        "s:counter: 5}");
  tale.Do('A', RemoveField({"o", Kind::kMap}));
  CHECK(tale.Show('A', kMapObject) == "{s:set: {1}, s:counter: 5}");
  tale.Do('A', Do(kMapObject, Verb::kDelete));
  CHECK(tale.Show('A', kMapObject) == "{}");
}

TEST_CASE("Oracle: of times set beside one another the latest counts") {
  Tale tale;
  const auto expires = [&](char who) {
    return tale.oracle.ExpiresAt(kSetObject, tale.has(who));
  };
  const auto expire = [&](char who, uint64_t at_ms) {
    const Tale::Run run = tale.Do(who, Do(kSetObject, Verb::kExpire));
    tale.oracle.SetTime(kSetObject, run.actor, run.first, at_ms);
  };
  tale.Do('A', Add({"x"}));
  tale.Merge('A', 'B');
  CHECK(expires('A') == 0);
  expire('A', 500);
  expire('B', 300);
  CHECK(expires('B') == 300);
  tale.MergeAll();
  CHECK(expires('A') == 500);
  // What saw both replaces both, and what was seen is what is taken back.
  expire('B', 100);
  CHECK(expires('B') == 100);
  tale.Do('A', Do(kSetObject, Verb::kPersist));
  CHECK(expires('A') == 0);
  tale.MergeAll();
  CHECK(expires('A') == 100);
  CHECK(tale.ShowAll(kSetObject) == "{x}");
}

TEST_CASE("Oracle: a time goes with all of its object, not with a part") {
  Tale tale;
  for (const Verb verb : {Verb::kClear, Verb::kDelete}) {
    tale.Do('A', {Add({"x"}), Do(kSetObject, Verb::kExpire)});
    tale.Do('A', Remove({"x"}));
    CHECK(tale.oracle.SettingsOf(kSetObject, tale.has('A')).size() == 1);
    tale.Do('A', Do(kSetObject, verb));
    CHECK(tale.expected.events == 1);
    CHECK(tale.oracle.SettingsOf(kSetObject, tale.has('A')).empty());
  }
  tale.Do('A', Do(kSetObject, Verb::kPersist));
  CHECK(tale.expected.not_observed.front());
}

TEST_CASE("Events: runs in any order make the set of their events") {
  std::vector<std::pair<uint64_t, uint64_t>> runs{
      {1, 2}, {3, 1}, {5, 3}, {2, 4}, {9, 1}};
  std::sort(runs.begin(), runs.end());
  do {
    Events events;
    events.Insert(8, 4, 1);
    for (const auto& [first, count] : runs) events.Insert(7, first, count);
    Events same;
    same.Insert(7, 1, 7);
    same.Insert(7, 9, 1);
    Events other;
    other.Insert(8, 4, 1);
    same.UnionWith(other);
    CHECK(events == same);
    for (uint64_t n = 0; n < 12; ++n) {
      CHECK(events.Contains(7, n) == (n >= 1 && n != 8 && n <= 9));
      CHECK(events.Contains(8, n) == (n == 4));
      CHECK_FALSE(events.Contains(6, n));
      CHECK_FALSE(events.Contains(9, n));
    }
  } while (std::next_permutation(runs.begin(), runs.end()));
}

}  // namespace
}  // namespace dovetail::oracle
