// Sets and flags: what concurrent adds and removes leave, in the stories that
// other stores got wrong.
#include <algorithm>
#include <vector>

#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

Operation Add(std::vector<std::string> elements) {
  return Elements(Type::kSet, Verb::kAdd, std::move(elements));
}
Operation Remove(std::vector<std::string> elements) {
  return Elements(Type::kSet, Verb::kRemove, std::move(elements));
}

TEST_CASE("Set: what is present on both sides is not kept for that alone") {
  ToyReplica a(1), b(2), c(3);
  a.Do(Add({"x"}));
  b.Do(Add({"x"}));
  c.Merge(a);
  a.Do(Remove({"x"}));
  a.Merge(b);
  b.Do(Remove({"x"}));
  a.Merge(c);
  b.Merge(a);
  CHECK(b.Show(Type::kSet) == "{}");
  CHECK(b.store.empty());
}

TEST_CASE("Set: merging with one that has seen less brings nothing back") {
  ToyReplica a(1), b(2);
  a.Do(Add({"foo", "bar"}));
  b.Do(Add({"baz"}));
  ToyReplica c = a;
  c.Merge(b);
  a.Do(Remove({"bar"}));
  a.Merge(c);
  CHECK(a.Show(Type::kSet) == "{baz, foo}");
}

TEST_CASE("Set: a concurrent re-add survives a remove") {
  ToyReplica a(1), b(2);
  a.Do(Add({"x"}));
  b.Merge(a);
  a.Do(Remove({"x"}));
  a.Do(Add({"x"}));
  b.Do(Remove({"x"}));
  a.Merge(b);
  b.Merge(a);
  CHECK(a.Show(Type::kSet) == "{x}");
  CHECK(a.SameAs(b));
}

TEST_CASE("Set: removing the last element leaves no row and nothing to see") {
  ToyReplica a(1);
  a.Do(Add({"x"}));
  a.Do(Remove({"x"}));
  CHECK(a.store.empty());
  ReadSpec contains;
  contains.object = kSetObject;
  contains.element = "x";
  CHECK_FALSE(a.Read(contains).view.flag);
  CHECK_FALSE(a.Read(contains).view.present);
}

TEST_CASE("Set: a remove that observed nothing mints nothing") {
  ToyReplica a(1), b(2);
  CHECK_FALSE(a.Do(Remove({"x"})).has_value());
  CHECK(a.outcome.not_observed);
  a.Do(Add({"x"}));
  const auto delta = a.Do(Remove({"x", "y"}));
  CHECK_FALSE(a.outcome.not_observed);
  REQUIRE(delta.has_value());
  CHECK(delta->leaves.size() == 1);
  CHECK(delta->events.count == 1);
}

TEST_CASE("Set: a token removes what it observed where nobody holds it") {
  ToyReplica a(1), b(2);
  const auto add = a.Do(Add({"x", "y"}));
  ReadSpec spec;
  spec.object = kSetObject;
  spec.element = "x";
  spec.want_token = true;
  const ObservedToken token = *a.Read(spec).token;
  // b removes before the add reaches it, which then must not show x.
  b.Do(With(token, Remove({"x"})));
  b.Apply(*add);
  CHECK(b.Show(Type::kSet) == "{y}");
  // The token of one element says nothing about another.
  CHECK(b.Try({With(token, Remove({"y"}))}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Set: a token that names the future is refused") {
  ToyReplica a(1);
  ObservedToken token{kSetObject, Path(), {}};
  token.Observe(Path().Element("x"), Type::kSet,
                Leaf(Dot{a.actor(), 1}, Unit{}));
  CHECK(a.Try({With(token, Remove({"x"}))}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Set: an element named twice in one operation counts once") {
  ToyReplica a(1);
  const auto delta = a.Do(Add({"x", "x"}));
  CHECK(delta->events.count == 1);
  CHECK(a.Show(Type::kSet) == "{x}");
}

TEST_CASE("Set: the empty string is an element and no elements are an error") {
  ToyReplica a(1);
  a.Do(Add({""}));
  CHECK(a.Show(Type::kSet) == "{\"\"}");
  CHECK(a.Try({Add({})}).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Set: a large clear is a series of deltas that keeps later adds") {
  ToyReplica a(1);
  for (int round = 0; round < 5; ++round) {
    std::vector<std::string> elements;
    for (int i = 0; i < 500; ++i) {
      elements.push_back(std::to_string(round * 500 + i));
    }
    a.Do(Add(std::move(elements)));
  }
  const Operation clear = Op(Type::kSet, Verb::kClear);
  std::vector<size_t> sizes;
  Path resume_after;
  do {
    const auto delta = a.Do(clear, resume_after);
    REQUIRE(delta.has_value());
    CHECK(delta->events.count == 1);
    sizes.push_back(delta->leaves.size());
    resume_after = a.outcome.resume_after;
  } while (a.outcome.more);
  CHECK(sizes == std::vector<size_t>{1000, 1000, 500});
  CHECK(a.store.empty());
}

TEST_CASE("Set: a clear over the limit does not fit a batch") {
  ToyReplica a(1);
  for (const char* prefix : {"a", "b"}) {
    std::vector<std::string> elements;
    for (int i = 0; i < 600; ++i) {
      elements.push_back(prefix + std::to_string(i));
    }
    a.Do(Add(std::move(elements)));
  }
  const Operation clear = Op(Type::kSet, Verb::kClear);
  for (const auto& batch :
       {std::vector{clear, Add({"x"})}, std::vector{Add({"x"}), clear}}) {
    CHECK(a.Try(batch).status().code() == absl::StatusCode::kResourceExhausted);
  }
}

TEST_CASE("Batch: operations see those before them, in one leaf per path") {
  ToyReplica a(1), b(2);
  const auto first = a.Do(Add({"x", "z"}));
  const auto batch =
      a.Do({Add({"x"}), Remove({"x"}), Add({"y", "x"}), Remove({"z"})});
  REQUIRE(batch.has_value());
  CHECK(batch->leaves.size() == 3);
  CHECK(a.Show(Type::kSet) == "{x, y}");
  b.Apply(*batch);
  b.Apply(*first);
  CHECK(b.SameAs(a));
}

TEST_CASE("Batch: a clear sees what the batch added") {
  ToyReplica a(1);
  a.Do(Add({"b", "d"}));
  const Operation clear = Op(Type::kSet, Verb::kClear);
  a.Do({Add({"a", "b", "c", "e"}), clear, Add({"f"})});
  CHECK(a.Show(Type::kSet) == "{f}");
  ToyReplica b(2);
  CHECK_FALSE(b.Do({Add({"a"}), clear}).has_value());
}

TEST_CASE("RemoveWinsSet: a concurrent remove hides it until the next add") {
  const auto add = Elements(Type::kRemoveSet, Verb::kAdd, {"x"});
  const auto remove = Elements(Type::kRemoveSet, Verb::kRemove, {"x"});
  ToyReplica a(1), b(2);
  a.Do(add);
  b.Do(remove);  // recorded although b observed nothing
  CHECK_FALSE(b.outcome.not_observed);
  a.Merge(b);
  b.Merge(a);
  CHECK(a.Show(Type::kRemoveSet) == "{}");
  CHECK(a.SameAs(b));
  a.Do(add);
  CHECK(a.Show(Type::kRemoveSet) == "{x}");
  a.Do(remove);
  a.Do(Op(Type::kRemoveSet, Verb::kClear));
  CHECK(a.store.empty());
}

TEST_CASE("EnableFlag: a flag that all disabled is off everywhere") {
  const auto enable = Op(Type::kEnableFlag, Verb::kEnable);
  const auto disable = Op(Type::kEnableFlag, Verb::kDisable);
  ToyReplica a(1), b(2), c(3);
  a.Do(enable);
  b.Do(enable);
  c.Merge(a);
  a.Do(disable);
  a.Merge(b);
  b.Do(disable);
  a.Merge(b);
  a.Merge(c);
  b.Merge(a);
  CHECK(b.Show(Type::kEnableFlag) == "false");
  CHECK_FALSE(b.Do(disable).has_value());
}

TEST_CASE("DisableFlag: absent reads true and a concurrent disable wins") {
  const auto enable = Op(Type::kDisableFlag, Verb::kEnable);
  const auto disable = Op(Type::kDisableFlag, Verb::kDisable);
  ToyReplica a(1), b(2);
  CHECK(a.Show(Type::kDisableFlag) == "true");
  a.Do(disable);
  b.Merge(a);
  a.Do(enable);
  b.Do(disable);
  a.Merge(b);
  CHECK(a.Show(Type::kDisableFlag) == "false");
  CHECK_FALSE(ToyReplica(3).Do(enable).has_value());
}

}  // namespace
}  // namespace dovetail::crdt::testing
