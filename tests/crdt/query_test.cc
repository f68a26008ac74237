// Reads: pages, tokens and how a view is shown; and what is refused before
// any of it.
#include "crdt/query.h"

#include <set>

#include "crdt/limits.h"
#include "tests/crdt/toy_replica.h"

namespace dovetail::crdt::testing {
namespace {

ReadSpec SpecOf(Type type) {
  ReadSpec spec;
  spec.object = Object(type);
  return spec;
}

TEST_CASE("Query: pages of a set join to the whole of it") {
  ToyReplica a(1);
  a.Do(Elements(Type::kRemoveSet, Verb::kAdd, {"a", "b", "c", "d", "e"}));
  a.Do(Elements(Type::kRemoveSet, Verb::kRemove, {"b", "e"}));
  ReadSpec spec = SpecOf(Type::kRemoveSet);
  spec.limit = 1;
  spec.want_token = true;
  std::vector<std::string> seen;
  std::set<Path> observed;
  ReadResult page;
  do {
    page = a.Read(spec);
    REQUIRE(page.view.values.size() == 1);
    StoreView view(a.store);
    const LeafPage leaves = *CollectPage(view, spec);
    StoreView part(leaves.leaves);
    CHECK(Query(part, spec)->view == page.view);
    CHECK(leaves.truncated == page.more);
    for (const auto& [path, leaf] : page.token->leaves) observed.insert(path);
    seen.push_back(page.view.values.front());
    spec.after_element = seen.back();
  } while (page.more);
  CHECK(seen == std::vector<std::string>{"a", "c", "d"});
  CHECK(observed.size() == 5);  // what is hidden was observed too
}

TEST_CASE("Query: a page ends before it passes the bytes of a reply") {
  ToyReplica a(1);
  size_t bytes = 0;
  for (char c = 'a'; bytes < kReplyBytesMax + kElementBytesMax; ++c) {
    for (char d = 'a'; d < 'a' + 10; ++d) {
      std::string element(kElementBytesMax, c);
      element.back() = d;
      bytes += element.size();
      a.Do(Elements(Type::kSet, Verb::kAdd, {element}));
    }
  }
  ReadSpec spec = SpecOf(Type::kSet);
  const ReadResult page = a.Read(spec);
  CHECK(page.more);
  CHECK(page.view.values.size() == kReplyBytesMax / kElementBytesMax - 1);
  spec.after_element = page.view.values.back();
  const ReadResult rest = a.Read(spec);
  CHECK(page.view.values.size() + rest.view.values.size() ==
        bytes / kElementBytesMax);
}

TEST_CASE("Query: a token of a page is small enough to come back") {
  ToyReplica a(1);
  const std::string filler(400, 'x');
  for (int round = 0; round < 4; ++round) {
    std::vector<std::string> elements;
    for (int i = 0; i < 1000; ++i) {
      elements.push_back(std::to_string(round * 1000 + i) + filler);
    }
    a.Do(Elements(Type::kSet, Verb::kAdd, std::move(elements)));
  }
  ReadSpec spec = SpecOf(Type::kSet);
  CHECK_FALSE(a.Read(spec).more);
  spec.want_token = true;
  const ReadResult page = a.Read(spec);
  CHECK(page.more);
  CHECK(ObservedToken::Decode(page.token->Encode()).ok());
}

TEST_CASE("Query: a map field over the limit is refused, not cut") {
  ToyReplica a(1);
  const Field f{"f", Type::kSet};
  const Field e{"e", Type::kCounter};
  a.Do(In({e}, Amount(Type::kCounter, 1)));
  for (char c = 'A'; c < 'A' + 33; ++c) {
    a.Do(In({f}, Elements(Type::kSet, Verb::kAdd,
                          {std::string(kElementBytesMax, c)})));
  }
  ReadSpec spec = SpecOf(Type::kMap);
  const ReadResult first = a.Read(spec);
  CHECK(ToString(first.view) == "{e:counter: 1}");
  CHECK(first.more);
  spec.after_field = e;
  StoreView view(a.store);
  CHECK(Query(view, spec).status().code() ==
        absl::StatusCode::kResourceExhausted);
  CHECK(CollectPage(view, spec).status().code() ==
        absl::StatusCode::kResourceExhausted);
  ReadSpec inside = SpecOf(Type::kMap);
  inside.fields = {f};
  CHECK(a.Read(inside).more);
}

TEST_CASE("Query: what is absent can be read, and its token observed nothing") {
  const ToyReplica a(1);
  const std::vector<std::pair<Type, std::string>> expected{
      {Type::kRegister, "absent"},
      {Type::kMultiValue, "{}"},
      {Type::kSet, "{}"},
      {Type::kRemoveSet, "{}"},
      {Type::kGrowSet, "{}"},
      {Type::kEnableFlag, "false"},
      {Type::kDisableFlag, "true"},
      {Type::kCounter, "0"},
      {Type::kMap, "{}"}};
  for (const auto& [type, text] : expected) {
    ReadSpec spec = SpecOf(type);
    spec.want_token = true;
    const ReadResult result = a.Read(spec);
    CHECK(ToString(result.view) == text);
    CHECK_FALSE(result.view.present);
    CHECK(result.token->leaves.empty());
  }
}

TEST_CASE("Query: a view is shown so that nothing can be mistaken") {
  ToyReplica a(1);
  a.Do(Elements(Type::kSet, Verb::kAdd,
                {"a-b:c", "two words", "q\"\\\n", "\xc3\xa4", "\xff", "{"}));
  CHECK(a.Show(Type::kSet) ==
        "{a-b:c, \"q\\\"\\\\\\n\", \"two words\", \"{\", \"\xc3\xa4\", "
        "\"\\udcff\"}");
}

TEST_CASE("Validate: what is over a limit is refused with its name") {
  Operation operation = Elements(Type::kSet, Verb::kAdd, {"x"});
  operation.object.key = std::string(5000, 'k');
  CHECK(Validate(operation) ==
        absl::ResourceExhaustedError(
            "key is 5000 bytes; the limit is 4096 (kKeyBytesMax)"));
  operation.object.key.clear();
  CHECK(Validate(operation) == absl::InvalidArgumentError("key is empty"));
  operation.object.key = "k";
  operation.elements.assign(kElementsPerOperationMax + 1, "x");
  CHECK(Validate(operation).code() == absl::StatusCode::kResourceExhausted);
  CHECK(Validate(WriteOf(Type::kRegister, Verb::kWrite,
                         std::string(kValueBytesMax + 1, 'v')))
            .code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("Validate: each type has its verbs and no others") {
  // Per type in the order of kAllTypes, per verb in the order of Verb.
  const std::vector<std::string> allowed{
      "..cw.....diop", "..cwb....diop", "arc......diop",
      "arc......diop", "a........diop", ".....ed..diop",
      ".....ed..diop", "a......r.diop", "..c.....fdiop"};
  for (size_t t = 0; t < std::size(kAllTypes); ++t) {
    for (size_t v = 0; v <= static_cast<size_t>(Verb::kPersist); ++v) {
      Operation operation = Op(kAllTypes[t], static_cast<Verb>(v));
      operation.elements = {"x"};
      operation.amount = 1;
      operation.child = {"f", Type::kSet};
      CHECK(Validate(operation).ok() == (allowed[t][v] != '.'));
    }
  }
}

TEST_CASE("Validate: a token is bound to its object and place") {
  const ToyReplica a(1);
  Operation operation =
      With(a.Token(Type::kSet), Elements(Type::kSet, Verb::kRemove, {"x"}));
  CHECK(Validate(operation).ok());
  operation.object.key = "other";
  CHECK(Validate(operation).code() == absl::StatusCode::kInvalidArgument);
  ReadSpec spec = SpecOf(Type::kSet);
  spec.element = "x";
  spec.want_token = true;
  operation = With(*a.Read(spec).token, Op(Type::kSet, Verb::kClear));
  CHECK(Validate(operation).code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Validate: fields lead through maps only") {
  Operation operation = Amount(Type::kCounter, 1);
  operation.fields = {{"f", Type::kCounter}};
  CHECK(Validate(operation).code() == absl::StatusCode::kInvalidArgument);
  operation.object.type = Type::kMap;
  CHECK(Validate(operation).ok());
  operation.fields = {{"f", Type::kSet}, {"g", Type::kCounter}};
  CHECK(Validate(operation).code() == absl::StatusCode::kInvalidArgument);
  operation.fields = {{"", Type::kCounter}};
  CHECK(Validate(operation).code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dovetail::crdt::testing
