#include "tests/scenario/parser.h"

#include <string>
#include <variant>
#include <vector>

#include "doctest/doctest.h"
#include "tests/scenario/value.h"

namespace dovetail::scenario {
namespace {

using crdt::Type;
using crdt::Verb;
using Strings = std::vector<std::string>;

// Parses "nodes A B C" and then `line`.
absl::StatusOr<Statement> Parse(absl::string_view line) {
  Parser parser;
  REQUIRE(parser.ParseLine("nodes A B C", 1).ok());
  auto statement = parser.ParseLine(line, 2);
  if (!statement.ok()) return statement.status();
  REQUIRE(statement->has_value());
  return **statement;
}

template <class T>
T As(absl::string_view line) {
  INFO("line: " << std::string(line));
  const absl::StatusOr<Statement> statement = Parse(line);
  REQUIRE_MESSAGE(statement.ok(), statement.status().ToString());
  REQUIRE(std::holds_alternative<T>(statement->action));
  return std::get<T>(statement->action);
}

crdt::Operation TheOperation(absl::string_view line) {
  const Operate operate = As<Operate>(line);
  REQUIRE(operate.steps.size() == 1);
  return operate.steps[0].operation;
}

bool Fails(absl::string_view line) {
  const auto statement = Parse(line);
  return !statement.ok() && !IsNotSupported(statement.status());
}
bool Unsupported(absl::string_view line) {
  const auto statement = Parse(line);
  return !statement.ok() && IsNotSupported(statement.status());
}

TEST_CASE("Lexer: quotes make a word literal, escapes are JSON's") {
  const auto words = SplitWords(R"(a "b c" d"e f" "\u00e9\n\"" "")");
  REQUIRE(words.ok());
  REQUIRE(words->size() == 5);
  CHECK((*words)[1].text == "b c");
  CHECK((*words)[2].text == "de f");
  CHECK((*words)[3].text == "\xC3\xA9\n\"");
  CHECK((*words)[4].text.empty());
  CHECK(SplitWords(R"("\ud83d\ude00\udcff")")->front().text ==
        "\xF0\x9F\x98\x80\xFF");
  CHECK(!SplitWords("a \"b").ok());
  CHECK(!SplitWords(R"("\x")").ok());
}

TEST_CASE("Lexer: a comment starts at a bare number sign only") {
  CHECK(StripComment("a # b") == "a ");
  CHECK(StripComment("a \"#\" # c") == "a \"#\" ");
  CHECK(StripComment(R"(a "\"#" b)") == R"(a "\"#" b)");
}

TEST_CASE("Lexer: a bare range stands for its words") {
  const auto expand = [](absl::string_view text) {
    const auto words = SplitWords(text);
    REQUIRE(words.ok());
    const auto expanded = ExpandRanges(words->front());
    REQUIRE(expanded.ok());
    return *expanded;
  };
  CHECK(expand("e{1..3}") == Strings{"e1", "e2", "e3"});
  CHECK(expand("e{08..10}x") == Strings{"e08x", "e09x", "e10x"});
  CHECK(expand("{1..2}{a}{3..4}") ==
        Strings{"1{a}3", "1{a}4", "2{a}3", "2{a}4"});
  CHECK(expand("\"e{1..3}\"") == Strings{"e{1..3}"});
  CHECK(expand("{x}") == Strings{"{x}"});
  CHECK(expand("e{1..100}").size() == 100);
  CHECK(!ExpandRanges(SplitWords("e{1..9999999}")->front()).ok());
}

TEST_CASE("Parser: the cast") {
  Parser parser;
  const auto nodes = parser.ParseLine("nodes A B n=2   # two", 1);
  REQUIRE(nodes.ok());
  CHECK(std::get<AddNodes>((*nodes)->action).names == Strings{"A", "B"});
  const auto partitions = parser.ParseLine("partitions 4", 2);
  REQUIRE(partitions.ok());
  CHECK(std::get<SetPartitions>((*partitions)->action).count == 4);
  CHECK(!parser.ParseLine("partitions 3", 2).ok());
  CHECK(parser.ParseLine("bucket shop", 2).ok());
  CHECK(parser.ParseLine("A set add k x", 3).ok());
  CHECK(!parser.ParseLine("nodes C", 4).ok());
  CHECK(parser.ParseLine("bucket other", 5).ok());
  CHECK(!parser.ParseLine("   # nothing", 6)->has_value());
  const auto few = Parser().ParseLine("nodes A B C n=2", 1);
  REQUIRE(few.ok());
  CHECK(std::get<AddNodes>((*few)->action).owners == 2);
}

TEST_CASE("Parser: operations on sets, counters, registers and flags") {
  const crdt::Operation add = TheOperation("A set add k x y e{1..2}");
  CHECK(add.object.key == "k");
  CHECK(add.object.type == Type::kSet);
  CHECK(add.verb == Verb::kAdd);
  CHECK(add.elements == Strings{"x", "y", "e1", "e2"});
  CHECK(TheOperation("A rwset remove k x").verb == Verb::kRemove);
  CHECK(TheOperation("A gset add k \"with\"").elements == Strings{"with"});
  CHECK(TheOperation("A set clear k").verb == Verb::kClear);
  CHECK(TheOperation("A counter add k -2").amount == -2);
  CHECK(TheOperation("A counter add k +2").amount == 2);
  CHECK(TheOperation("A counter reset k").verb == Verb::kReset);
  CHECK(TheOperation("A register write k \"a b\"").value == "a b");
  CHECK(TheOperation("A register clear k").verb == Verb::kClear);
  CHECK(TheOperation("A mv write k v").verb == Verb::kWrite);
  CHECK(TheOperation("A mv write-blind k v").verb == Verb::kWriteBlind);
  CHECK(TheOperation("A ewflag enable k").verb == Verb::kEnable);
  CHECK(TheOperation("A dwflag disable k").verb == Verb::kDisable);
  CHECK(TheOperation("A set add cart:1/x y").object.key == "cart:1/x");
  const crdt::Operation gone = TheOperation("A delete cart:1:set");
  CHECK(gone.verb == Verb::kDelete);
  CHECK(gone.object.key == "cart:1");
  CHECK(gone.object.type == Type::kSet);
}

TEST_CASE("Parser: map paths, whose quotes hide slashes and colons") {
  const crdt::Operation add = TheOperation("A map k/f:set add x");
  CHECK(add.object.type == Type::kMap);
  CHECK(add.fields == std::vector<crdt::Field>{{"f", Type::kSet}});
  CHECK(add.elements == Strings{"x"});
  const crdt::Operation deep = TheOperation("A map k/f:map/g:counter add 3");
  CHECK(deep.fields.size() == 2);
  CHECK(deep.amount == 3);
  const crdt::Operation remove = TheOperation("A map k remove f:set");
  CHECK(remove.verb == Verb::kRemoveField);
  CHECK(remove.child == crdt::Field{"f", Type::kSet});
  const crdt::Operation inner = TheOperation("A map k/f:map remove g:counter");
  CHECK(inner.fields.size() == 1);
  CHECK(inner.child == crdt::Field{"g", Type::kCounter});
  CHECK(TheOperation("A map clear k").verb == Verb::kClear);
  CHECK(TheOperation("A map k clear").verb == Verb::kClear);
  const crdt::Operation quoted =
      TheOperation("A map \"a/b\"/\"c:d\":register write v");
  CHECK(quoted.object.key == "a/b");
  CHECK(quoted.fields == std::vector<crdt::Field>{{"c:d", Type::kRegister}});
}

TEST_CASE("Parser: options come after the arguments, in any order") {
  const Operate operate = As<Operate>("A set remove k x with T w=2 r=3 fails");
  CHECK(operate.steps[0].token == "T");
  CHECK(operate.terms.write == 2);
  CHECK(operate.terms.read == 3);
  REQUIRE(operate.terms.must_fail);
  CHECK(!operate.terms.must_fail->code);
  CHECK(As<Operate>("A counter add k 1 fails UNAVAILABLE w=3")
            .terms.must_fail->code == absl::StatusCode::kUnavailable);
  CHECK(As<Operate>("A counter add k 1 fails RESOURCE_EXHAUSTED")
            .terms.must_fail->code == absl::StatusCode::kResourceExhausted);
  CHECK(As<Operate>("A delete k:set with T").steps[0].token == "T");
  CHECK(Fails("A counter add k 1 fails SURPRISED"));
  CHECK(Fails("A set add k x w=0"));
}

TEST_CASE("Parser: batches") {
  const Operate batch = As<Operate>(
      "A batch { set add k \"a;b}\" e{1..2} ; counter add c 1; delete m:map } "
      "w=2");
  REQUIRE(batch.steps.size() == 3);
  CHECK(batch.steps[0].operation.elements == Strings{"a;b}", "e1", "e2"});
  CHECK(batch.steps[1].operation.amount == 1);
  CHECK(batch.steps[2].operation.verb == Verb::kDelete);
  CHECK(batch.terms.write == 2);
  CHECK(
      As<Operate>("A batch {set add k x with T;set add k y}").steps[0].token ==
      "T");
  CHECK(Fails("A batch { }"));
  CHECK(Fails("A batch { set add k x"));
  CHECK(Fails("A batch { set add k x w=2 }"));
  CHECK(Fails("A batch { A set add k x }"));
}

TEST_CASE("Parser: reads and tokens") {
  const ReadObject read = As<ReadObject>("T = A set read k after=x limit=10");
  CHECK(read.token == "T");
  CHECK(read.spec.want_token);
  CHECK(read.spec.after_element == "x");
  CHECK(read.spec.limit == 10);
  CHECK(As<ReadObject>("T = A set contains k x").spec.element == "x");
  CHECK(As<ReadObject>("T = A map read k/f:set").spec.fields.size() == 1);
  CHECK(As<ReadObject>("T = A map k/f:set read").spec.fields.size() == 1);
  CHECK(As<ReadObject>("A counter read k r=2 fails UNAVAILABLE").terms.read ==
        2);
  CHECK(As<ReadObject>("T = A map read k after=f:set").spec.after_field ==
        crdt::Field{"f", Type::kSet});
  CHECK(Fails("T = A set add k x"));
  CHECK(Fails("T = A set read k with U"));
  CHECK(Fails("A set read k x"));
}

TEST_CASE("Parser: clocks") {
  CHECK(As<SetClock>("A clock +3600s").offset_ms == 3'600'000);
  CHECK(As<SetClock>("A clock -5s").offset_ms == -5'000);
  CHECK(As<SetClock>("A clock +10y").offset_ms == 315'360'000'000);
  CHECK(Fails("A clock"));
  CHECK(Fails("A clock +5parsecs"));
}

TEST_CASE("Parser: messages") {
  const Ship ship = As<Ship>("ship A->B 2");
  CHECK(ship.link == Link{"A", "B"});
  CHECK(ship.only == 2);
  CHECK(ship.answered);
  CHECK(As<Ship>("ship A->B reversed").reversed);
  CHECK(!As<Ship>("ship A->B unanswered").answered);
  CHECK(!As<Drop>("drop A->B").only);
  CHECK(As<Drop>("drop A->B 2").only == 2);
  CHECK(As<Duplicate>("dup A->B 1").which == 1);
  CHECK(As<Cut>("cut A B").both_ways);
  CHECK(!As<Cut>("cut A->B").both_ways);
  CHECK(!As<Heal>("heal all").link);
  CHECK(As<Heal>("heal A B").link == Link{"A", "B"});
  CHECK(As<SyncPair>("sync A B").pair == Link{"A", "B"});
  CHECK(!As<SyncPair>("sync all").pair);
  As<Settle>("settle");
  CHECK(Fails("ship A-B"));
  CHECK(Fails("ship A->X"));
  CHECK(Fails("drop A->B reversed"));
  CHECK(Fails("cut A"));
  CHECK(Fails("sync A A"));
  CHECK(Fails("settle now"));
}

TEST_CASE("Parser: faults") {
  CHECK(!As<Crash>("crash A").losing);
  CHECK(As<Crash>("crash A losing=2").losing == 2);
  CHECK(As<Crash>("crash A losing=all").losing == Crash::kLoseAll);
  CHECK(As<MakeDurable>("durable A").who == "A");
  CHECK(As<Start>("start A").who == "A");
  CHECK(As<Backup>("backup A b1").name == "b1");
  CHECK(As<Restore>("restore A b1").name == "b1");
  CHECK(As<Wipe>("wipe A").who == "A");
  CHECK(Fails("crash A gently"));
  CHECK(Fails("wipe X"));
  Parser parser;
  REQUIRE(parser.ParseLine("nodes A", 1).ok());
  CHECK(!parser.ParseLine("A2 set add k x", 2).ok());
  REQUIRE(parser.ParseLine("clone A A2", 3).ok());
  CHECK(parser.ParseLine("A2 set add k x", 4).ok());
}

const EqualsView& Equals(const ExpectObject& expect) {
  REQUIRE(std::holds_alternative<EqualsView>(expect.predicate));
  return std::get<EqualsView>(expect.predicate);
}

TEST_CASE("Parser: expectations of values") {
  const auto set = As<ExpectObject>("expect A set k = {y, \"x, 1\", e{1..2}}");
  CHECK(set.who == Strings{"A"});
  CHECK(Equals(set).any_of[0].values == Strings{"e1", "e2", "x, 1", "y"});
  CHECK(As<ExpectObject>("expect all set k = {}").who.empty());
  CHECK(As<ExpectObject>("expect A,B set k = {}").who == Strings{"A", "B"});
  CHECK(
      Equals(As<ExpectObject>("expect A counter k = 7 | 8")).any_of[1].number ==
      8);
  CHECK(!Equals(As<ExpectObject>("expect A register k = absent"))
             .any_of[0]
             .present);
  CHECK(Equals(As<ExpectObject>("expect A register k = \"absent\""))
            .any_of[0]
            .present);
  CHECK(Equals(As<ExpectObject>("expect A mv k = {\"v1\", \"v2\"}"))
            .any_of[0]
            .values == Strings{"v1", "v2"});
  CHECK(Equals(As<ExpectObject>("expect A ewflag k = true")).any_of[0].flag);
  const auto map = As<ExpectObject>(
      "expect A map k = {f:set: {x}, g:counter: 3, m:map: {r:register: v}}");
  const crdt::View view = Equals(map).any_of[0];
  REQUIRE(view.fields.size() == 3);
  CHECK(view.fields[0].second.values == Strings{"x"});
  CHECK(view.fields[1].second.number == 3);
  CHECK(view.fields[2].second.fields[0].first.name == "r");
  const auto path = As<ExpectObject>("expect A map k/f:set = {x}");
  CHECK(path.spec.fields.size() == 1);
  CHECK(Equals(path).any_of[0].type == Type::kSet);
  const auto page = As<ExpectObject>("expect A set k after=x limit=1 = {y}");
  CHECK(page.spec.after_element == "x");
  CHECK(page.spec.limit == 1);
  CHECK(Fails("expect A set k"));
  CHECK(Fails("expect A set k = "));
  CHECK(Fails("expect A set k = x"));
  CHECK(Fails("expect A set k = {x} y"));
  CHECK(Fails("expect A set k = {x y}"));
  CHECK(Fails("expect A ewflag k = yes"));
  CHECK(Fails("expect A set k >= 3"));
  CHECK(Fails("expect X set k = {}"));
}

TEST_CASE("Parser: expectations of sizes, elements and numbers") {
  const auto size = As<ExpectObject>("expect A set k size >= 2");
  CHECK(std::get<SizeIs>(size.predicate).size.numbers[0] == 2);
  CHECK(std::get<ContainsElement>(
            As<ExpectObject>("expect A set k contains x").predicate)
            .element == "x");
  CHECK(!std::get<ContainsElement>(
             As<ExpectObject>("expect all set k lacks x").predicate)
             .wanted);
  CHECK(std::holds_alternative<ComparesTo>(
      As<ExpectObject>("expect A counter k >= 3").predicate));
  using What = ExpectNumber::What;
  const auto what = [](absl::string_view line) {
    return As<ExpectNumber>(line).what;
  };
  CHECK(what("expect A objects = 3") == What::kObjects);
  CHECK(what("expect all rows = 0") == What::kRows);
  CHECK(what("expect A dots k:mv = 1") == What::kDots);
  CHECK(what("expect A log = 0") == What::kLog);
  CHECK(what("expect A events B <= 64 bytes") == What::kEventBytes);
  CHECK(what("expect A ahead <= 500 ms") == What::kAheadMs);
  CHECK(what("expect A expires k:set <= 60 s") == What::kExpiresMs);
  CHECK(what("expect A quarantined = 0") == What::kQuarantined);
  CHECK(what("expect A corruptions = 1") == What::kCorruptions);
  CHECK(what("expect actors A >= 2") == What::kActors);
  CHECK(what("expect queued A->B = 3") == What::kQueued);
  CHECK(what("expect queued A->B <= 200 bytes") == What::kQueuedBytes);
  CHECK(As<ExpectIdentical>("expect identical").names.empty());
  CHECK(As<ExpectIdentical>("expect identical A B").names == Strings{"A", "B"});
  CHECK(Fails("expect identical A"));
  CHECK(Fails("expect A,B rows = 0"));
  CHECK(Fails("expect A rows = 0 bytes"));
}

TEST_CASE("Parser: repeat replaces the percent sign by the round") {
  const Repeat repeat = As<Repeat>("repeat 3 A set add k e% \"%\"");
  CHECK(repeat.rounds == 3);
  Parser parser;
  REQUIRE(parser.ParseLine("nodes A", 1).ok());
  const auto round = parser.ParseRound(repeat, 2, 7);
  REQUIRE(round.ok());
  CHECK(round->line == 7);
  CHECK(round->text == "A set add k e2 \"2\"");
  CHECK(Fails("repeat 3"));
  CHECK(Fails("repeat x A set add k y"));
  CHECK(Fails("repeat 2 A nonsense"));
}

TEST_CASE("Parser: changes of the ring") {
  const auto change = [](const char* line) { return As<ChangeRing>(line); };
  using Kind = ChangeRing::Kind;
  CHECK(change("join D").kind == Kind::kJoin);
  CHECK(change("join D").who == "D");
  CHECK(change("leave B").kind == Kind::kLeave);
  CHECK(change("remove B").kind == Kind::kRemove);
  CHECK(change("replace B D").who == "B");
  CHECK(change("replace B D").by == "D");
  CHECK(change("weight A 0").weight == 0);
  CHECK(change("weight A 7").kind == Kind::kWeight);
  for (const char* line :
       {"join", "leave Z", "remove Z", "replace B", "replace Z B", "weight A",
        "weight A much"}) {
    INFO("line: " << line);
    CHECK(Fails(line));
  }
}

TEST_CASE(
    "Parser: what comes later is not supported, nonsense does not parse") {
  for (const char* line :
       {"edges E1 E2", "subscribe E1 shop prefix=\"cart/\"", "A bounded add k 10",
        "A bounded transfer k 3 to=B", "A hll add k x",
        "A zset add k member 2.5", "A list insert k 0 \"v\"",
        "A map k/z:zset add m 1", "expect A bounded k rights = 4",
        "expect A list k = [\"a\", \"b\"]", "expect A zset k = [a 1, b 2.5]",
        "expect A hll k within 2% of 1000", "A delete k:list"}) {
    INFO("line: " << line);
    CHECK(Unsupported(line));
  }
  for (const char* line : {"A",
                           "A set",
                           "A set add",
                           "A set add k",
                           "A set frobnicate k x",
                           "A blob add k x",
                           "X set add k x",
                           "A counter add k 1 op=7",
                           "A op=x counter add k 1",
                           "A op=7 set read k",
                           "A op=7 clock +1s",
                           "A op=7 op=8 counter add k 1",
                           "T = A op=7 set read k",
                           "A counter add k many",
                           "A counter add k 1 2",
                           "A register write k",
                           "A register write k a b",
                           "A delete k",
                           "A map k/f add x",
                           "A map k remove f",
                           "expect",
                           "expect A",
                           "expect A banana k = 1",
                           "=",
                           "A set add k \"x"}) {
    INFO("line: " << line);
    CHECK(Fails(line));
  }
}

TEST_CASE("Parser: a script stops at its first wrong line") {
  ParseFailure failure;
  CHECK(!ParseScript("nodes A\n\n# fine\nA sett add k x\n", failure));
  CHECK(failure.line == 4);
  const auto script = ParseScript("nodes A\nA set add k x\n", failure);
  REQUIRE(script);
  CHECK(script->statements.size() == 2);
  CHECK(script->statements[1].line == 2);
}

TEST_CASE("Values: an empty collection is absent, and absent has a reading") {
  const auto literal = [](Type type, absl::string_view text) {
    Cursor cursor(text);
    const auto view = ParseView(cursor, type);
    REQUIRE(view.ok());
    return *view;
  };
  crdt::View absent;
  absent.type = Type::kCounter;
  CHECK(Matches(literal(Type::kCounter, "0"), absent));
  CHECK(Matches(literal(Type::kCounter, "absent"), absent));
  CHECK(!Matches(literal(Type::kCounter, "1"), absent));
  crdt::View zero = absent;
  zero.present = true;
  CHECK(Matches(literal(Type::kCounter, "0"), zero));
  CHECK(!Matches(literal(Type::kCounter, "absent"), zero));
  crdt::View flag;
  flag.type = Type::kDisableFlag;
  flag.flag = true;
  CHECK(Matches(literal(Type::kDisableFlag, "true"), flag));
  CHECK(Matches(literal(Type::kDisableFlag, "absent"), flag));
  CHECK(!Matches(literal(Type::kDisableFlag, "false"), flag));
  crdt::View map;
  map.type = Type::kMap;
  CHECK(Matches(literal(Type::kMap, "{}"), map));
  CHECK(Matches(literal(Type::kMap, "absent"), map));
  CHECK(Matches(literal(Type::kMap, "{f:set: {}, g:counter: 0}"), map));
  CHECK(!Matches(literal(Type::kMap, "{f:set: {x}}"), map));
  crdt::View child;
  child.type = Type::kSet;
  child.present = true;
  child.values = {"x"};
  map.present = true;
  map.fields.emplace_back(crdt::Field{"f", Type::kSet}, child);
  CHECK(Matches(literal(Type::kMap, "{f:set: {x}}"), map));
  CHECK(!Matches(literal(Type::kMap, "{}"), map));
}

TEST_CASE("Values: comparisons hold for what they say") {
  const auto holds = [](absl::string_view text, int64_t number) {
    Cursor cursor(text);
    const auto comparison = ParseComparison(cursor);
    REQUIRE(comparison.ok());
    return Holds(*comparison, number);
  };
  CHECK(holds("= 3", 3));
  CHECK(!holds("= 3", 4));
  CHECK(holds("= 3 | 4", 4));
  CHECK(holds("<= 64 bytes", 64));
  CHECK(!holds("<= 64 bytes", 65));
  CHECK(holds(">= -1", 0));
  CHECK(!holds(">= 1", 0));
}

}  // namespace
}  // namespace dovetail::scenario
