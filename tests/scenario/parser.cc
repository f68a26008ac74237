#include "tests/scenario/parser.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "crdt/check.h"

namespace dovetail::scenario {
namespace {

using Words = std::vector<Word>;

constexpr uint32_t kPartitionsMax = 65'536;

bool IsOneOf(const Word& word, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const char* name) { return word.Is(name); });
}

absl::Status ExpectWords(const Words& words, size_t min, size_t max) {
  if (words.size() < min) return CannotParse("the line ends too early");
  if (words.size() > max) {
    return CannotParse(
        absl::StrCat("\"", words[max].text, "\" is one word too many"));
  }
  return absl::OkStatus();
}

// `key=value` with that bare key: the value.
std::optional<Word> Option(const Word& word, absl::string_view key) {
  const std::optional<size_t> equals = word.Find('=');
  if (!equals || absl::string_view(word.text).substr(0, *equals) != key ||
      word.Slice(0, *equals).has_quotes) {
    return std::nullopt;
  }
  return word.Slice(*equals + 1, word.text.size());
}

absl::StatusOr<uint64_t> ParseCount(const Word& word, uint64_t min,
                                    uint64_t max) {
  const std::optional<int64_t> number = ParseNumber(word);
  if (!number || *number < 0 || static_cast<uint64_t>(*number) < min ||
      static_cast<uint64_t>(*number) > max) {
    return CannotParse(absl::StrCat("\"", word.text, "\" is no number from ",
                                    min, " to ", max));
  }
  return static_cast<uint64_t>(*number);
}

}  // namespace

absl::StatusOr<std::string> Parser::Name(const Word& word) const {
  if (!names_.contains(word.text)) {
    return CannotParse(absl::StrCat("no node \"", word.text, "\""));
  }
  return word.text;
}

absl::StatusOr<Link> Parser::ParseLink(const Word& word) const {
  const size_t arrow = word.text.find("->");
  if (arrow == std::string::npos) {
    return CannotParse(
        absl::StrCat("\"", word.text, "\" is no link, as A->B is one"));
  }
  Link link;
  DOVETAIL_ASSIGN_OR_RETURN(link.from, Name(word.Slice(0, arrow)));
  DOVETAIL_ASSIGN_OR_RETURN(link.to,
                            Name(word.Slice(arrow + 2, word.text.size())));
  if (link.from == link.to) return CannotParse("a link has two ends");
  return link;
}

absl::StatusOr<std::optional<Statement>> Parser::ParseLine(
    absl::string_view line, int number) {
  const absl::string_view text = absl::StripAsciiWhitespace(StripComment(line));
  if (text.empty()) return std::nullopt;
  Statement statement{.line = number, .text = std::string(text), .action = {}};
  DOVETAIL_ASSIGN_OR_RETURN(statement.action, ParseAction(text, number));
  return statement;
}

absl::StatusOr<Statement> Parser::ParseRound(const Repeat& repeat,
                                             uint64_t round, int number) {
  const std::string line =
      absl::StrReplaceAll(repeat.body, {{"%", absl::StrCat(round)}});
  DOVETAIL_ASSIGN_OR_RETURN(std::optional<Statement> statement,
                            ParseLine(line, number));
  if (!statement) return CannotParse("nothing to repeat");
  return *std::move(statement);
}

absl::StatusOr<Action> Parser::ParseAction(absl::string_view line, int number) {
  DOVETAIL_ASSIGN_OR_RETURN(const Words words, SplitWords(line));
  const Word& first = words.front();
  const bool keeps_token = words.size() > 1 && words[1].Is("=");
  if (!keeps_token) {
    if (IsOneOf(first, {"edges", "subscribe"})) {
      return NotSupported(first.text);
    }
    if (IsOneOf(first, {"nodes", "partitions", "bucket"})) {
      return ParseCast(words);
    }
    if (first.Is("repeat")) return ParseRepeat(line, words, number);
    begun_ = true;
    if (first.Is("expect")) {
      return ParseExpectation(*this, line.substr(first.text.size()));
    }
    if (IsOneOf(first, {"ship", "drop", "dup", "sync", "rangesync", "settle",
                        "wait"})) {
      return ParseMessages(words);
    }
    if (IsOneOf(first, {"cut", "heal"})) return ParseCutOrHeal(words);
    if (IsOneOf(first, {"crash", "durable", "start", "backup", "restore",
                        "clone", "wipe", "damage", "flip", "scrub", "stale"})) {
      return ParseFault(words);
    }
    if (IsOneOf(first, {"join", "leave", "remove", "replace", "weight"})) {
      return ParseRing(words);
    }
  }
  begun_ = true;
  return ParseOperation(*this, line);
}

absl::StatusOr<Action> Parser::ParseCast(const Words& words) {
  if (words[0].Is("bucket")) {
    if (words.size() == 4 && words[2].Is("ttl")) {
      DOVETAIL_ASSIGN_OR_RETURN(const int64_t ms, ParseMilliseconds(words[3]));
      if (ms <= 0) return CannotParse("nothing lives for no time");
      return UseBucket{words[1].text, ms};
    }
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 2));
    return UseBucket{words[1].text};
  }
  if (begun_) {
    return CannotParse(absl::StrCat(words[0].text, ": the cast comes first"));
  }
  if (words[0].Is("partitions")) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 2));
    DOVETAIL_ASSIGN_OR_RETURN(const uint64_t count,
                              ParseCount(words[1], 1, kPartitionsMax));
    if ((count & (count - 1)) != 0) {
      return CannotParse("the number of partitions is a power of two");
    }
    return SetPartitions{static_cast<uint32_t>(count)};
  }
  AddNodes nodes;
  std::optional<uint64_t> owners;
  for (size_t i = 1; i < words.size(); ++i) {
    if (const std::optional<Word> n = Option(words[i], "n")) {
      DOVETAIL_ASSIGN_OR_RETURN(owners, ParseCount(*n, 1, 1'000));
      continue;
    }
    DOVETAIL_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                              ExpandRanges(words[i]));
    for (const std::string& name : names) {
      if (!names_.insert(name).second) {
        return CannotParse(absl::StrCat("two nodes \"", name, "\""));
      }
      nodes.names.push_back(name);
    }
  }
  if (nodes.names.empty()) return CannotParse("nodes without names");
  nodes.owners = static_cast<uint32_t>(owners.value_or(0));
  return nodes;
}

absl::StatusOr<Action> Parser::ParseRepeat(absl::string_view line,
                                           const Words& words, int number) {
  if (words.size() < 3) return CannotParse("repeat N STATEMENT");
  Repeat repeat;
  DOVETAIL_ASSIGN_OR_RETURN(repeat.rounds, ParseCount(words[1], 0, 10'000'000));
  repeat.body = std::string(line.substr(words[2].offset));
  // Every round, since a name may hold the round.
  for (uint64_t round = 1; round <= std::max<uint64_t>(repeat.rounds, 1);
       ++round) {
    DOVETAIL_RETURN_IF_ERROR(ParseRound(repeat, round, number).status());
  }
  return repeat;
}

absl::StatusOr<Action> Parser::ParseMessages(const Words& words) const {
  if (words[0].Is("settle")) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 1, 1));
    return Settle{};
  }
  if (words[0].Is("wait")) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 2));
    DOVETAIL_ASSIGN_OR_RETURN(const int64_t ms, ParseMilliseconds(words[1]));
    if (ms <= 0) return CannotParse("time passes forward");
    return Wait{ms};
  }
  if (words[0].Is("sync")) {
    if (words.size() == 2 && words[1].Is("all")) return SyncPair{};
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 3, 3));
    Link pair;
    DOVETAIL_ASSIGN_OR_RETURN(pair.from, Name(words[1]));
    DOVETAIL_ASSIGN_OR_RETURN(pair.to, Name(words[2]));
    if (pair.from == pair.to) return CannotParse("a pair is two nodes");
    return SyncPair{pair};
  }
  if (words[0].Is("rangesync")) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 3, 4));
    RangeSync ranges;
    DOVETAIL_ASSIGN_OR_RETURN(ranges.pair.from, Name(words[1]));
    DOVETAIL_ASSIGN_OR_RETURN(ranges.pair.to, Name(words[2]));
    if (ranges.pair.from == ranges.pair.to) {
      return CannotParse("a pair is two nodes");
    }
    if (words.size() == 3) return ranges;
    const std::optional<Word> until = Option(words[3], "until");
    if (!until || until->text.empty()) {
      return CannotParse("rangesync A B, or rangesync A B until=k");
    }
    ranges.until = until->text;
    return ranges;
  }
  DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 5));
  DOVETAIL_ASSIGN_OR_RETURN(const Link link, ParseLink(words[1]));
  Ship ship{.link = link, .only = std::nullopt};
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i].Is("reversed") && words[0].Is("ship")) {
      ship.reversed = true;
    } else if (words[i].Is("unanswered") && words[0].Is("ship")) {
      ship.answered = false;
    } else if (!ship.only) {
      DOVETAIL_ASSIGN_OR_RETURN(ship.only,
                                ParseCount(words[i], 1, uint64_t{1} << 32));
    } else {
      return CannotParse(absl::StrCat("\"", words[i].text, "\" here"));
    }
  }
  if (words[0].Is("ship")) return ship;
  if (words[0].Is("drop")) return Drop{link, ship.only};
  return Duplicate{link, ship.only.value_or(1)};
}

absl::StatusOr<Action> Parser::ParseCutOrHeal(const Words& words) const {
  const bool heals = words[0].Is("heal");
  if (heals && words.size() == 2 && words[1].Is("all")) return Heal{};
  Link link;
  bool both_ways = false;
  if (words.size() == 2) {
    DOVETAIL_ASSIGN_OR_RETURN(link, ParseLink(words[1]));
  } else {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 3, 3));
    DOVETAIL_ASSIGN_OR_RETURN(link.from, Name(words[1]));
    DOVETAIL_ASSIGN_OR_RETURN(link.to, Name(words[2]));
    if (link.from == link.to) return CannotParse("a link has two ends");
    both_ways = true;
  }
  if (heals) return Heal{link, both_ways};
  return Cut{link, both_ways};
}

absl::StatusOr<Action> Parser::ParseFault(const Words& words) {
  DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 3));
  DOVETAIL_ASSIGN_OR_RETURN(const std::string who, Name(words[1]));
  const Word& verb = words[0];
  if (IsOneOf(verb, {"scrub", "stale"})) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 2));
    if (verb.Is("scrub")) return Scrub{who};
    return Stale{who};
  }
  if (IsOneOf(verb, {"damage", "flip"})) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 3, 3));
    Damage damage{who, {}, verb.Is("flip")};
    DOVETAIL_ASSIGN_OR_RETURN(damage.object, ParseObject(words[2]));
    return damage;
  }
  if (IsOneOf(verb, {"durable", "start", "wipe"})) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 2));
    if (verb.Is("durable")) return MakeDurable{who};
    if (verb.Is("start")) return Start{who};
    return Wipe{who};
  }
  if (verb.Is("crash")) {
    if (words.size() == 2) return Crash{who, std::nullopt};
    const std::optional<Word> losing = Option(words[2], "losing");
    if (!losing) return CannotParse("crash A, or crash A losing=2");
    if (losing->Is("all")) return Crash{who, Crash::kLoseAll};
    DOVETAIL_ASSIGN_OR_RETURN(const uint64_t count,
                              ParseCount(*losing, 0, Crash::kLoseAll - 1));
    return Crash{who, count};
  }
  DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 3, 3));
  if (verb.Is("backup")) return Backup{who, words[2].text};
  if (verb.Is("restore")) return Restore{who, words[2].text};
  DOVETAIL_CHECK(verb.Is("clone"));
  names_.insert(words[2].text);
  return Clone{who, words[2].text};
}

absl::StatusOr<Action> Parser::ParseRing(const Words& words) {
  using Kind = ChangeRing::Kind;
  const Word& verb = words[0];
  ChangeRing change;
  if (verb.Is("join")) {
    DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, 2, 2));
    change.who = words[1].text;
    names_.insert(change.who);
    return change;
  }
  const bool two = IsOneOf(verb, {"replace", "weight"});
  DOVETAIL_RETURN_IF_ERROR(ExpectWords(words, two ? 3 : 2, two ? 3 : 2));
  DOVETAIL_ASSIGN_OR_RETURN(change.who, Name(words[1]));
  if (verb.Is("leave") || verb.Is("remove")) {
    change.kind = verb.Is("leave") ? Kind::kLeave : Kind::kRemove;
  } else if (verb.Is("replace")) {
    change.kind = Kind::kReplace;
    change.by = words[2].text;
    names_.insert(change.by);
  } else {
    change.kind = Kind::kWeight;
    DOVETAIL_ASSIGN_OR_RETURN(change.weight,
                              ParseCount(words[2], 0, 1'000'000));
  }
  return change;
}

std::optional<Script> ParseScript(absl::string_view text,
                                  ParseFailure& failure) {
  Script script;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    absl::StatusOr<std::optional<Statement>> statement =
        script.parser.ParseLine(line, number);
    if (!statement.ok()) {
      failure = {number, statement.status()};
      return std::nullopt;
    }
    if (*statement) script.statements.push_back(**std::move(statement));
  }
  return script;
}

}  // namespace dovetail::scenario
