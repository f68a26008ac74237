// Maps: observed reset of fields, and the stories about it.
#include <algorithm>
#include <array>

#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

const Field kS{"s", Type::kSet};

Operation Add(std::vector<std::string> elements) {
  return In({kS}, Elements(Type::kSet, Verb::kAdd, std::move(elements)));
}
Operation Remove(std::vector<std::string> elements) {
  return In({kS}, Elements(Type::kSet, Verb::kRemove, std::move(elements)));
}

TEST_CASE("Map: a removed field comes back with the unobserved part alone") {
  ToyReplica a(1), b(2);
  a.Do(Add({"0"}));
  b.Merge(a);
  a.Do(RemoveField(kS));
  b.Do(Add({"1"}));
  a.Merge(b);
  CHECK(a.Show(Type::kMap) == "{s:set: {1}}");
  b.Do(Add({"2"}));
  a.Merge(b);
  a.Merge(b);
  CHECK(a.Show(Type::kMap) == "{s:set: {1, 2}}");
}

TEST_CASE("Map: a field removed and made again has no old parts") {
  for (const bool b_adds : {false, true}) {
    ToyReplica a(1), b(2);
    a.Do(Add({"0"}));
    b.Merge(a);
    a.Do(Remove({"0"}));
    a.Do(RemoveField(kS));
    a.Do(Add({"2"}));
    if (b_adds) b.Do(Add({"1"}));
    a.Merge(b);
    CHECK(a.Show(Type::kMap) == (b_adds ? "{s:set: {1, 2}}" : "{s:set: {2}}"));
  }
}

TEST_CASE("Map: removes merge to the same in every order") {
  ToyReplica a(1), b(2);
  a.Do(Add({"0"}));
  b.Do(Add({"0"}));
  b.Do(Remove({"0"}));
  ToyReplica c(3);
  c.Merge(a);
  c.Do(RemoveField(kS));
  std::array<const ToyReplica*, 3> order{&a, &b, &c};
  std::sort(order.begin(), order.end());
  do {
    ToyReplica merged(9);
    for (const ToyReplica* replica : order) merged.Merge(*replica);
    CHECK(merged.Show(Type::kMap) == "{}");
    CHECK(merged.store.empty());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Map: values that all removed leave nothing without a dot") {
  const Field v{"v", Type::kMultiValue};
  const auto write = [&](const char* value) {
    return In({v}, WriteOf(Type::kMultiValue, Verb::kWrite, value));
  };
  ToyReplica a(1), b(2), c(3);
  a.Do(write("A"));
  b.Do(write("B"));
  c.Merge(a);
  a.Do(RemoveField(v));
  a.Merge(b);
  b.Do(RemoveField(v));
  b.Merge(c);
  a.Merge(b);
  a.Merge(c);
  CHECK(a.Show(Type::kMap) == "{}");
  CHECK(a.store.empty());
}

TEST_CASE("Map: one name with two types is two fields") {
  const Field as_set{"k", Type::kSet};
  const Field as_counter{"k", Type::kCounter};
  ToyReplica a(1), b(2);
  a.Do(In({as_set}, Elements(Type::kSet, Verb::kAdd, {"1"})));
  b.Do(In({as_counter}, Amount(Type::kCounter, 5)));
  a.Merge(b);
  b.Merge(a);
  CHECK(a.Show(Type::kMap) == "{k:set: {1}, k:counter: 5}");
  CHECK(a.SameAs(b));
  a.Do(RemoveField(as_set));
  CHECK(a.Show(Type::kMap) == "{k:counter: 5}");
  b.Do(RemoveField(as_counter));
  a.Merge(b);
  CHECK(a.Show(Type::kMap) == "{}");
}

TEST_CASE("Map: a field removal resets counters exactly, at any depth") {
  const Field m{"m", Type::kMap};
  const Field n{"n", Type::kCounter};
  const auto add = [&](int64_t amount) {
    return In({m, n}, Amount(Type::kCounter, amount));
  };
  ToyReplica a(1), b(2);
  a.Do(add(5));
  b.Merge(a);
  a.Do(add(1));
  b.Do(RemoveField(m));
  CHECK(b.Show(Type::kMap) == "{}");
  a.Merge(b);
  b.Merge(a);
  CHECK(a.Show(Type::kMap) == "{m:map: {n:counter: 1}}");
  CHECK(a.SameAs(b));
}

TEST_CASE("Map: delete takes all that was observed in one delta and event") {
  ToyReplica a(1), b(2);
  a.Do(Add({"0", "1"}));
  a.Do(In({{"d", Type::kDisableFlag}}, Op(Type::kDisableFlag, Verb::kDisable)));
  a.Do(In({{"r", Type::kRegister}},
          WriteOf(Type::kRegister, Verb::kWrite, "v")));
  CHECK(a.Show(Type::kMap) ==
        "{d:dwflag: false, r:register: \"v\", s:set: {0, 1}}");
  b.Merge(a);
  const auto token = b.Token(Type::kMap);
  a.Do(Add({"2"}));
  const auto delta = b.Do(With(token, Op(Type::kMap, Verb::kDelete)));
  CHECK(delta->events.count == 1);
  CHECK(b.store.empty());
  a.Merge(b);
  CHECK(a.Show(Type::kMap) == "{s:set: {2}}");
}

TEST_CASE("Map: pages hold whole fields and go on after the last") {
  ToyReplica a(1);
  for (const char* name : {"f", "g", "h"}) {
    a.Do(
        In({{name, Type::kSet}}, Elements(Type::kSet, Verb::kAdd, {"x", "y"})));
  }
  ReadSpec spec;
  spec.object = Object(Type::kMap);
  spec.limit = 2;
  ReadResult page = a.Read(spec);
  CHECK(ToString(page.view) == "{f:set: {x, y}, g:set: {x, y}}");
  CHECK(page.more);
  StoreView view(a.store);
  const LeafPage leaves = *CollectPage(view, spec);
  CHECK(leaves.truncated);
  CHECK(leaves.end == Path().ChildField({"g", Type::kSet}));
  CHECK(leaves.Covers(Path().ChildField({"g", Type::kSet}).Element("z")));
  CHECK_FALSE(leaves.Covers(Path().ChildField({"h", Type::kSet}).Element("")));
  spec.after_field = page.view.fields.back().first;
  page = a.Read(spec);
  CHECK(ToString(page.view) == "{h:set: {x, y}}");
  CHECK_FALSE(page.more);
}

TEST_CASE("Map: nesting deeper than the limit is refused by name") {
  ToyReplica a(1);
  std::vector<Field> fields(8, Field{"m", Type::kMap});
  fields.push_back({"n", Type::kCounter});
  const auto delta = a.Try({In(fields, Amount(Type::kCounter, 1))});
  CHECK(delta.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(delta.status().message() ==
        "path is 9 fields deep; the limit is 8 (kNestingMax)");
}

}  // namespace
}  // namespace dovetail::crdt::testing
