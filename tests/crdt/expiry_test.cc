// When an object expires: what settings come to that meet, and what takes them
// away.
#include "crdt/expiry.h"

#include <string>

#include "crdt/limits.h"
#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

Operation ExpireAt(Type type, int64_t at_ms) {
  Operation operation = Op(type, Verb::kExpireAt);
  operation.amount = at_ms;
  return operation;
}
Operation Add(std::vector<std::string> elements) {
  return Elements(Type::kSet, Verb::kAdd, std::move(elements));
}

ReadResult ReadAt(const ToyReplica& replica, Type type, uint64_t now_ms) {
  ReadSpec spec;
  spec.object = Object(type);
  spec.want_token = true;
  StoreView view(replica.store);
  absl::StatusOr<ReadResult> result = Query(view, spec, now_ms);
  REQUIRE(result.ok());
  return *std::move(result);
}
uint64_t ExpiresAt(const ToyReplica& replica, Type type) {
  return ReadAt(replica, type, 0).expires_ms;
}

TEST_CASE("Expiry: of concurrent settings the longest wins") {
  ToyReplica a(1), b(2);
  a.Do(Add({"x"}));
  b.Merge(a);
  a.Do(ExpireAt(Type::kSet, 5000));
  b.Do(ExpireAt(Type::kSet, 9000));
  a.Merge(b);
  b.Merge(a);
  CHECK(ExpiresAt(a, Type::kSet) == 9000);
  CHECK(ExpiresAt(b, Type::kSet) == 9000);
  CHECK(a.SameAs(b));
}

TEST_CASE("Expiry: an observed setting is replaced, by a shorter one too") {
  ToyReplica a(1), b(2);
  a.Do({Add({"x"}), ExpireAt(Type::kSet, 9000)});
  b.Merge(a);
  b.Do(ExpireAt(Type::kSet, 5000));
  a.Merge(b);
  CHECK(ExpiresAt(a, Type::kSet) == 5000);
}

TEST_CASE("Expiry: persist takes what it observed and no more") {
  ToyReplica a(1), b(2);
  a.Do({Add({"x"}), ExpireAt(Type::kSet, 5000)});
  b.Merge(a);
  a.Do(Op(Type::kSet, Verb::kPersist));
  CHECK(ExpiresAt(a, Type::kSet) == 0);
  b.Do(ExpireAt(Type::kSet, 9000));
  a.Merge(b);
  CHECK(ExpiresAt(a, Type::kSet) == 9000);
  a.Do(Op(Type::kSet, Verb::kPersist));
  b.Merge(a);
  CHECK(ExpiresAt(b, Type::kSet) == 0);
  a.Do(Op(Type::kSet, Verb::kPersist));
  CHECK(a.outcome.not_observed);
}

TEST_CASE("Expiry: an expired object is absent to the millisecond") {
  ToyReplica a(1);
  a.Do({Add({"x", "y"}), ExpireAt(Type::kSet, 5000)});
  CHECK(ToString(ReadAt(a, Type::kSet, 4999).view) == "{x, y}");
  CHECK_FALSE(ReadAt(a, Type::kSet, 4999).expired);
  const ReadResult gone = ReadAt(a, Type::kSet, 5000);
  CHECK(gone.expired);
  CHECK_FALSE(gone.view.present);
  CHECK(ToString(gone.view) == "{}");
  CHECK(gone.token->leaves.empty());
  // Nobody has passed a time: it is shown.
  CHECK(ToString(ReadAt(a, Type::kSet, 0).view) == "{x, y}");
}

TEST_CASE("Expiry: an expired dwflag reads as one that was never written") {
  ToyReplica a(1);
  a.Do({Op(Type::kDisableFlag, Verb::kDisable),
        ExpireAt(Type::kDisableFlag, 5000)});
  CHECK_FALSE(ReadAt(a, Type::kDisableFlag, 4999).view.flag);
  CHECK(ReadAt(a, Type::kDisableFlag, 5000).view.flag);
}

TEST_CASE("Expiry: it is no part of the value, of any type") {
  for (const Type type : kAllTypes) {
    CAPTURE(TypeName(type));
    ToyReplica a(1);
    const std::string absent = a.Show(type);
    a.Do(ExpireAt(type, 5000));
    CHECK(a.Show(type) == absent);
    CHECK_FALSE(ReadAt(a, type, 0).view.present);
    StoreView view(a.store);
    ReadSpec spec;
    spec.object = Object(type);
    const absl::StatusOr<LeafPage> page = CollectPage(view, spec);
    REQUIRE(page.ok());
    CHECK(page->leaves.Find(Path::OfExpiry()) != nullptr);
    a.Do(Op(type, Verb::kDelete));
    CHECK(a.store.children().empty());
  }
}

TEST_CASE("Expiry: every page of an object has it, and covers it") {
  ToyReplica a(1);
  a.Do({Add({"", "a", std::string("\0x", 2)}), ExpireAt(Type::kSet, 5000)});
  StoreView view(a.store);
  ReadSpec spec;
  spec.object = Object(Type::kSet);
  spec.limit = 1;
  for (const std::string after : {"", "a"}) {
    const absl::StatusOr<LeafPage> page = CollectPage(view, spec);
    REQUIRE(page.ok());
    CHECK(page->leaves.Find(Path::OfExpiry()) != nullptr);
    CHECK(page->Covers(Path::OfExpiry()));
    spec.after_element = after;
  }
  spec.after_element.reset();
  CHECK(ReadAt(a, Type::kSet, 0).view.values.size() == 3);
}

TEST_CASE(
    "Expiry: deleting, clearing and resetting the object takes it along") {
  for (const auto& [type, verb] : {std::pair{Type::kSet, Verb::kDelete},
                                   {Type::kSet, Verb::kClear},
                                   {Type::kCounter, Verb::kReset},
                                   {Type::kMap, Verb::kClear}}) {
    ToyReplica a(1);
    a.Do(ExpireAt(type, 5000));
    a.Do(Op(type, verb));
    CHECK_FALSE(a.outcome.not_observed);
    CHECK(ExpiresAt(a, type) == 0);
  }
}

TEST_CASE("Expiry: taking the last element or field away leaves it") {
  ToyReplica a(1);
  a.Do({Add({"x"}), ExpireAt(Type::kSet, 5000)});
  a.Do(Elements(Type::kSet, Verb::kRemove, {"x"}));
  CHECK(ExpiresAt(a, Type::kSet) == 5000);
  a.Do(Add({"y"}));
  CHECK(ReadAt(a, Type::kSet, 5000).expired);
}

TEST_CASE("Expiry: a write beside a setting leaves it alone") {
  ToyReplica a(1), b(2);
  a.Do(WriteOf(Type::kRegister, Verb::kWrite, "v1"));
  b.Merge(a);
  a.Do(ExpireAt(Type::kRegister, 5000));
  b.Do(WriteOf(Type::kRegister, Verb::kWrite, "v2"));
  a.Merge(b);
  CHECK(a.Show(Type::kRegister) == "\"v2\"");
  CHECK(ExpiresAt(a, Type::kRegister) == 5000);
}

TEST_CASE("Expiry: a delete of what it observed leaves a later write alone") {
  ToyReplica a(1), b(2);
  a.Do({Add({"x"}), ExpireAt(Type::kSet, 5000)});
  b.Merge(a);
  a.Do(Op(Type::kSet, Verb::kDelete));
  b.Do(Add({"y"}));
  a.Merge(b);
  CHECK(a.Show(Type::kSet) == "{y}");
  CHECK(ExpiresAt(a, Type::kSet) == 0);
}

TEST_CASE("Expiry: a large object stays expired while it is deleted in parts") {
  ToyReplica a(1);
  a.Do(ExpireAt(Type::kSet, 5000));
  for (int i = 0; i < 3; ++i) {
    std::vector<std::string> elements;
    for (int j = 0; j < 900; ++j) {
      elements.push_back(std::to_string(i) + "-" + std::to_string(j));
    }
    a.Do(Add(elements));
  }
  int deltas = 1;
  a.Do(Op(Type::kSet, Verb::kDelete));
  while (a.outcome.more) {
    CHECK(ExpiresAt(a, Type::kSet) == 5000);
    a.Do(Op(Type::kSet, Verb::kDelete), Path(a.outcome.resume_after));
    ++deltas;
  }
  CHECK(deltas == 3);
  CHECK(a.store.children().empty());
}

TEST_CASE("Expiry: an operation with a token acts on what that observed") {
  ToyReplica a(1);
  a.Do({Add({"x"}), ExpireAt(Type::kSet, 5000)});
  const ObservedToken token = a.Token(Type::kSet);
  a.Do(ExpireAt(Type::kSet, 7000));
  // The one that replaced what was read is concurrent to this.
  a.Do(With(token, ExpireAt(Type::kSet, 6000)));
  CHECK(ExpiresAt(a, Type::kSet) == 7000);
  a.Do(With(token, Op(Type::kSet, Verb::kDelete)));
  CHECK(a.Show(Type::kSet) == "{}");
  CHECK(ExpiresAt(a, Type::kSet) == 7000);
}

TEST_CASE("Expiry: a time to live becomes a time, and no later than can be") {
  Operation operation = Op(Type::kSet, Verb::kExpireIn);
  operation.amount = 60'000;
  MakeAbsolute(operation, 1'000'000);
  CHECK(operation.verb == Verb::kExpireAt);
  CHECK(operation.amount == 1'060'000);
  MakeAbsolute(operation, 1'000'000);
  CHECK(operation.amount == 1'060'000);
  Operation far = Op(Type::kSet, Verb::kExpireIn);
  far.amount = static_cast<int64_t>(kExpiresMsMax);
  MakeAbsolute(far, 1'000'000);
  CHECK(far.amount == static_cast<int64_t>(kExpiresMsMax));
  CHECK(Validate(far).ok());
  Operation past = Op(Type::kSet, Verb::kExpireIn);
  past.amount = -1;
  MakeAbsolute(past, 1'000'000);
  CHECK_FALSE(Validate(past).ok());
}

TEST_CASE("Expiry: times that cannot be are refused") {
  for (const int64_t at_ms :
       {int64_t{0}, int64_t{-1}, static_cast<int64_t>(kExpiresMsMax) + 1}) {
    CHECK(Validate(ExpireAt(Type::kSet, at_ms)).code() ==
          absl::StatusCode::kInvalidArgument);
  }
  Operation below = ExpireAt(Type::kMap, 5000);
  below.fields = {{"f", Type::kSet}};
  CHECK(Validate(below) ==
        absl::InvalidArgumentError("expire-at takes no fields"));
  ToyReplica a(1);
  Operation relative = Op(Type::kSet, Verb::kExpireIn);
  relative.amount = 1;
  CHECK(a.Try({relative}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dovetail::crdt::testing
