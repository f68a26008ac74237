// Operations and reads: WHO TYPE VERB KEY ARGS… and, for what is in a map,
// WHO map PATH VERB ARGS….
#include <algorithm>
#include <cctype>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "tests/scenario/parser.h"
#include "tests/scenario/value.h"

namespace dovetail::scenario {
namespace {

using crdt::Operation;
using crdt::Type;
using crdt::Verb;

using Words = std::vector<Word>;

std::optional<Verb> VerbOf(const Word& word) {
  static constexpr std::pair<const char*, Verb> kVerbs[] = {
      {"add", Verb::kAdd},         {"remove", Verb::kRemove},
      {"clear", Verb::kClear},     {"write", Verb::kWrite},
      {"enable", Verb::kEnable},   {"write-blind", Verb::kWriteBlind},
      {"disable", Verb::kDisable}, {"reset", Verb::kReset},
      {"delete", Verb::kDelete}};
  for (const auto& [name, verb] : kVerbs) {
    if (word.Is(name)) return verb;
  }
  return std::nullopt;
}

// The options after the arguments.
struct Tail {
  RequestTerms terms;
  std::string token;
  std::optional<std::string> with;
};

bool HasBarePrefix(const Word& word, absl::string_view prefix) {
  return word.text.size() >= prefix.size() &&
         absl::string_view(word.text).substr(0, prefix.size()) == prefix &&
         !word.Slice(0, prefix.size()).has_quotes;
}

bool IsTail(const Word& word) {
  const auto numbered = [&](absl::string_view prefix) {
    return HasBarePrefix(word, prefix) && word.text.size() > prefix.size() &&
           std::isdigit(static_cast<unsigned char>(word.text[prefix.size()]));
  };
  return word.Is("with") || word.Is("fails") || numbered("w=") ||
         numbered("r=") || numbered("op=");
}

std::optional<absl::StatusCode> CodeOf(absl::string_view name) {
  // Upper case without underscores, so that InvalidArgument is one as well.
  std::string plain;
  for (const char c : name) {
    if (c != '_')
      plain.push_back(absl::ascii_toupper(static_cast<unsigned char>(c)));
  }
  static constexpr std::pair<const char*, absl::StatusCode> kCodes[] = {
      {"UNAVAILABLE", absl::StatusCode::kUnavailable},
      {"INVALIDARGUMENT", absl::StatusCode::kInvalidArgument},
      {"RESOURCEEXHAUSTED", absl::StatusCode::kResourceExhausted},
      {"OVERLOADED", absl::StatusCode::kResourceExhausted},
      {"FAILEDPRECONDITION", absl::StatusCode::kFailedPrecondition},
      {"DEADLINEEXCEEDED", absl::StatusCode::kDeadlineExceeded},
      {"DATALOSS", absl::StatusCode::kDataLoss},
      {"PERMISSIONDENIED", absl::StatusCode::kPermissionDenied},
  };
  for (const auto& [known, code] : kCodes) {
    if (plain == known) return code;
  }
  return std::nullopt;
}

absl::StatusOr<uint32_t> ParseLevel(const Word& word) {
  uint32_t level = 0;
  if (!absl::SimpleAtoi(word.text.substr(2), &level) || level == 0) {
    return CannotParse(absl::StrCat("\"", word.text, "\" is no level"));
  }
  return level;
}

absl::StatusOr<Tail> ParseTail(const Words& words, size_t begin) {
  Tail tail;
  for (size_t i = begin; i < words.size(); ++i) {
    const Word& word = words[i];
    if (word.Is("with")) {
      if (++i == words.size()) return CannotParse("with TOKEN");
      tail.with = words[i].text;
    } else if (word.Is("fails")) {
      tail.terms.must_fail = MustFail{};
      if (i + 1 < words.size() && !IsTail(words[i + 1])) {
        tail.terms.must_fail->code = CodeOf(words[++i].text);
        if (!tail.terms.must_fail->code) {
          return CannotParse(
              absl::StrCat("no error code \"", words[i].text, "\""));
        }
      }
    } else if (HasBarePrefix(word, "w=")) {
      DOVETAIL_ASSIGN_OR_RETURN(tail.terms.write, ParseLevel(word));
    } else if (HasBarePrefix(word, "r=")) {
      DOVETAIL_ASSIGN_OR_RETURN(tail.terms.read, ParseLevel(word));
    } else {
      return CannotParse(
          absl::StrCat("\"", word.text, "\" is one word too many"));
    }
  }
  return tail;
}

absl::Status ExpectArguments(const Words& args, size_t count) {
  if (args.size() < count) return CannotParse("an argument is missing");
  if (args.size() > count) {
    return CannotParse(
        absl::StrCat("\"", args[count].text, "\" is one word too many"));
  }
  return absl::OkStatus();
}

absl::Status ParseElementsInto(const Words& args, Operation& operation) {
  if (args.empty()) return CannotParse("an element is missing");
  for (const Word& arg : args) {
    DOVETAIL_ASSIGN_OR_RETURN(const std::vector<std::string> elements,
                              ExpandRanges(arg));
    operation.elements.insert(operation.elements.end(), elements.begin(),
                              elements.end());
  }
  return absl::OkStatus();
}

// Fills in what comes after verb and key. Whether verb and type go together is
// for the store to say.
absl::Status ParseArguments(const Words& args, Operation& operation) {
  const Type type = operation.target_type();
  switch (operation.verb) {
    case Verb::kAdd:
      if (crdt::HasElements(type)) return ParseElementsInto(args, operation);
      if (type == Type::kCounter) {
        DOVETAIL_RETURN_IF_ERROR(ExpectArguments(args, 1));
        const std::optional<int64_t> amount = ParseNumber(args[0]);
        if (!amount) {
          return CannotParse(
              absl::StrCat("\"", args[0].text, "\" is no number"));
        }
        operation.amount = *amount;
        return absl::OkStatus();
      }
      return CannotParse(absl::StrCat(crdt::TypeName(type), " has no add"));
    case Verb::kRemove:
      if (crdt::HasElements(type)) return ParseElementsInto(args, operation);
      if (type == Type::kMap) {
        DOVETAIL_RETURN_IF_ERROR(ExpectArguments(args, 1));
        operation.verb = Verb::kRemoveField;
        DOVETAIL_ASSIGN_OR_RETURN(operation.child, ParseField(args[0]));
        return absl::OkStatus();
      }
      return CannotParse(absl::StrCat(crdt::TypeName(type), " has no remove"));
    case Verb::kWrite:
    case Verb::kWriteBlind:
      DOVETAIL_RETURN_IF_ERROR(ExpectArguments(args, 1));
      operation.value = args[0].text;
      return absl::OkStatus();
    case Verb::kClear:
    case Verb::kEnable:
    case Verb::kDisable:
    case Verb::kReset:
    case Verb::kRemoveField:
    case Verb::kDelete:
    case Verb::kExpireIn:
    case Verb::kExpireAt:
    case Verb::kPersist:
      return ExpectArguments(args, 0);
  }
  DOVETAIL_CHECK(false);
  return absl::OkStatus();
}

// "TYPE VERB KEY ARGS…" in one order, whichever it was written in.
struct Sentence {
  Type root = Type::kRegister;
  Word verb;
  Place place;
  Words args;
  size_t tail = 0;  // index of the first option
};

absl::StatusOr<Sentence> ParseSentence(const Words& words, size_t begin) {
  Sentence sentence;
  if (begin >= words.size()) return CannotParse("the line ends too early");
  DOVETAIL_ASSIGN_OR_RETURN(sentence.root, ParseType(words[begin]));
  if (begin + 2 >= words.size()) return CannotParse("TYPE VERB KEY …");
  size_t verb = begin + 1;
  size_t key = begin + 2;
  if (sentence.root == Type::kMap) {
    // A path comes before its verb, but `map read k` is a form, too.
    const bool verb_first =
        words[verb].Is("read") || words[verb].Is("contains") ||
        words[verb].Is("clear") || words[verb].Is("delete") ||
        words[verb].Is("remove");
    if (!verb_first) std::swap(verb, key);
  }
  sentence.verb = words[verb];
  DOVETAIL_ASSIGN_OR_RETURN(sentence.place,
                            ParsePlace(words[key], sentence.root));
  size_t i = begin + 3;
  while (i < words.size() && !IsTail(words[i])) {
    sentence.args.push_back(words[i++]);
  }
  sentence.tail = i;
  return sentence;
}

absl::StatusOr<Operation> ToOperation(const Sentence& sentence) {
  Operation operation;
  operation.object.key = sentence.place.key;
  operation.object.type = sentence.root;
  operation.fields = sentence.place.fields;
  const std::optional<Verb> verb = VerbOf(sentence.verb);
  if (!verb) {
    return CannotParse(absl::StrCat("no verb \"", sentence.verb.text, "\""));
  }
  operation.verb = *verb;
  DOVETAIL_RETURN_IF_ERROR(ParseArguments(sentence.args, operation));
  return operation;
}

absl::StatusOr<crdt::ReadSpec> ToReadSpec(const Sentence& sentence) {
  crdt::ReadSpec spec;
  spec.object.key = sentence.place.key;
  spec.object.type = sentence.root;
  spec.fields = sentence.place.fields;
  Words args;
  for (const Word& arg : sentence.args) {
    DOVETAIL_ASSIGN_OR_RETURN(const bool paging, ParsePaging(arg, spec));
    if (!paging) args.push_back(arg);
  }
  if (sentence.verb.Is("read")) {
    DOVETAIL_RETURN_IF_ERROR(ExpectArguments(args, 0));
    return spec;
  }
  DOVETAIL_RETURN_IF_ERROR(ExpectArguments(args, 1));
  if (TargetType(spec) == Type::kMap) {
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Field field, ParseField(args[0]));
    spec.fields.push_back(std::move(field));
  } else {
    spec.element = args[0].text;
  }
  return spec;
}

// `delete k:set`, `persist k:set`, `expire k:set 60s`: of a whole object.
std::optional<Verb> ObjectVerb(const Word& word) {
  if (word.Is("delete")) return Verb::kDelete;
  if (word.Is("persist")) return Verb::kPersist;
  if (word.Is("expire")) return Verb::kExpireIn;
  return std::nullopt;
}

// One of these or any other operation, from words[begin] on. What the options
// say goes to `tail`.
absl::StatusOr<OperationStep> ParseStep(const Words& words, size_t begin,
                                        Tail& tail) {
  OperationStep step;
  size_t tail_begin = 0;
  const std::optional<Verb> verb =
      begin < words.size() ? ObjectVerb(words[begin]) : std::nullopt;
  if (verb) {
    const bool timed = *verb == Verb::kExpireIn;
    tail_begin = begin + (timed ? 3 : 2);
    if (tail_begin > words.size()) {
      return CannotParse(
          absl::StrCat(words[begin].text, " k:TYPE", timed ? " 60s" : ""));
    }
    DOVETAIL_ASSIGN_OR_RETURN(step.operation.object,
                              ParseObject(words[begin + 1]));
    step.operation.verb = *verb;
    if (timed) {
      DOVETAIL_ASSIGN_OR_RETURN(step.operation.amount,
                                ParseMilliseconds(words[begin + 2]));
    }
  } else {
    DOVETAIL_ASSIGN_OR_RETURN(const Sentence sentence,
                              ParseSentence(words, begin));
    DOVETAIL_ASSIGN_OR_RETURN(step.operation, ToOperation(sentence));
    tail_begin = sentence.tail;
  }
  DOVETAIL_ASSIGN_OR_RETURN(tail, ParseTail(words, tail_begin));
  step.token = tail.with.value_or("");
  return step;
}

absl::StatusOr<Action> ParseBatch(absl::string_view line,
                                  const std::string& who, const Word& batch) {
  Cursor cursor(line, batch.offset);
  DOVETAIL_CHECK(cursor.Consume("batch"));
  cursor.SkipSpaces();
  if (cursor.AtEnd() || cursor.rest()[0] != '{') {
    return CannotParse("batch { OPERATION ; OPERATION }");
  }
  DOVETAIL_ASSIGN_OR_RETURN(const auto braced, Braced(line, cursor.offset()));
  Operate operate{.who = who, .steps = {}, .terms = {}};
  for (const absl::string_view part : SplitStatements(braced.first)) {
    DOVETAIL_ASSIGN_OR_RETURN(const Words words, SplitWords(part));
    if (words.empty()) continue;  // a semicolon at the end
    Tail tail;
    DOVETAIL_ASSIGN_OR_RETURN(OperationStep step, ParseStep(words, 0, tail));
    if (tail.terms.write || tail.terms.read || tail.terms.must_fail) {
      return CannotParse("w=, r= and fails stand behind the batch");
    }
    operate.steps.push_back(std::move(step));
  }
  if (operate.steps.empty()) return CannotParse("an empty batch");
  DOVETAIL_ASSIGN_OR_RETURN(const Words rest,
                            SplitWords(line.substr(braced.second)));
  DOVETAIL_ASSIGN_OR_RETURN(const Tail tail, ParseTail(rest, 0));
  operate.terms = tail.terms;
  if (tail.with) {
    for (OperationStep& step : operate.steps) {
      if (step.token.empty()) step.token = *tail.with;
    }
  }
  return operate;
}

absl::StatusOr<Action> ParseClock(const std::string& who, const Words& words) {
  if (words.size() != 3) return CannotParse("WHO clock +3600s");
  DOVETAIL_ASSIGN_OR_RETURN(const int64_t ms, ParseMilliseconds(words[2]));
  return SetClock{who, ms};
}

}  // namespace

absl::StatusOr<int64_t> ParseMilliseconds(const Word& word) {
  static constexpr std::pair<const char*, int64_t> kUnits[] = {
      {"ms", 1},
      {"s", 1'000},
      {"m", 60'000},
      {"h", 3'600'000},
      {"d", 86'400'000},
      {"w", 604'800'000},
      {"y", 31'536'000'000}};
  const std::string& text = word.text;
  const size_t unit_at = text.find_first_not_of("+-0123456789");
  int64_t number = 0;
  if (unit_at != std::string::npos &&
      absl::SimpleAtoi(text.substr(0, unit_at), &number) &&
      number > -1'000'000'000 && number < 1'000'000'000) {
    for (const auto& [unit, milliseconds] : kUnits) {
      if (text.substr(unit_at) == unit) {
        return number * milliseconds;
      }
    }
  }
  return CannotParse(absl::StrCat("\"", text, "\" is no time, as +3600s"));
}

absl::StatusOr<Place> ParsePlace(const Word& word, Type root) {
  Place place;
  if (root != Type::kMap) {
    place.key = word.text;
    return place;
  }
  const Words parts = word.Split('/');
  place.key = parts[0].text;
  for (size_t i = 1; i < parts.size(); ++i) {
    DOVETAIL_ASSIGN_OR_RETURN(crdt::Field field, ParseField(parts[i]));
    place.fields.push_back(std::move(field));
  }
  return place;
}

absl::StatusOr<crdt::ObjectId> ParseObject(const Word& word) {
  DOVETAIL_ASSIGN_OR_RETURN(crdt::Field field, ParseField(word));
  crdt::ObjectId object;
  object.key = std::move(field.name);
  object.type = field.type;
  return object;
}

Type TargetType(const crdt::ReadSpec& spec) {
  return spec.fields.empty() ? spec.object.type : spec.fields.back().type;
}

absl::StatusOr<bool> ParsePaging(const Word& word, crdt::ReadSpec& spec) {
  const auto value = [&](absl::string_view prefix) {
    return word.Slice(prefix.size(), word.text.size());
  };
  if (HasBarePrefix(word, "after=")) {
    if (TargetType(spec) == Type::kMap) {
      DOVETAIL_ASSIGN_OR_RETURN(spec.after_field, ParseField(value("after=")));
    } else {
      spec.after_element = value("after=").text;
    }
    return true;
  }
  if (HasBarePrefix(word, "limit=")) {
    if (!absl::SimpleAtoi(value("limit=").text, &spec.limit) ||
        spec.limit == 0) {
      return CannotParse(absl::StrCat("\"", word.text, "\" is no limit"));
    }
    return true;
  }
  return false;
}

namespace {

// The line without its op=, and that as the id of what it says.
absl::StatusOr<Action> ParseIdentified(const Parser& parser,
                                       absl::string_view line, const Word& word,
                                       bool keeps_token) {
  uint64_t id = 0;
  if (keeps_token || !absl::SimpleAtoi(word.text.substr(3), &id)) {
    return CannotParse(absl::StrCat("\"", word.text, "\" is no operation id"));
  }
  DOVETAIL_ASSIGN_OR_RETURN(
      Action action,
      ParseOperation(
          parser, absl::StrCat(line.substr(0, word.offset),
                               line.substr(word.offset + word.text.size()))));
  auto* operate = std::get_if<Operate>(&action);
  if (operate == nullptr || operate->id) {
    return CannotParse("op=N stands once, before an operation");
  }
  operate->id = id;
  return action;
}

}  // namespace

absl::StatusOr<Action> ParseOperation(const Parser& parser,
                                      absl::string_view line) {
  DOVETAIL_ASSIGN_OR_RETURN(const Words words, SplitWords(line));
  const bool keeps_token = words.size() > 1 && words[1].Is("=");
  const size_t begin = keeps_token ? 2 : 0;
  if (begin >= words.size()) return CannotParse("the line ends too early");
  DOVETAIL_ASSIGN_OR_RETURN(const std::string who, parser.Name(words[begin]));
  size_t next = begin + 1;
  if (next >= words.size()) return CannotParse("the line ends too early");
  if (HasBarePrefix(words[next], "op=")) {
    return ParseIdentified(parser, line, words[next], keeps_token);
  }
  const bool of_object = ObjectVerb(words[next]).has_value();
  if (!of_object && !keeps_token) {
    if (words[next].Is("clock")) return ParseClock(who, words);
    if (words[next].Is("batch") || HasBarePrefix(words[next], "batch{")) {
      return ParseBatch(line, who, words[next]);
    }
  }
  if (!of_object) {
    DOVETAIL_ASSIGN_OR_RETURN(const Sentence sentence,
                              ParseSentence(words, next));
    if (sentence.verb.Is("read") || sentence.verb.Is("contains")) {
      ReadObject read{.token = keeps_token ? words[0].text : "",
                      .who = who,
                      .spec = {},
                      .terms = {}};
      DOVETAIL_ASSIGN_OR_RETURN(read.spec, ToReadSpec(sentence));
      DOVETAIL_ASSIGN_OR_RETURN(const Tail tail,
                                ParseTail(words, sentence.tail));
      if (tail.with) return CannotParse("a read takes no token");
      read.spec.want_token = keeps_token;
      read.terms = tail.terms;
      return read;
    }
  }
  if (keeps_token) return CannotParse("only a read gives a token");
  Operate operate{.who = who, .steps = {}, .terms = {}};
  Tail tail;
  DOVETAIL_ASSIGN_OR_RETURN(OperationStep step, ParseStep(words, next, tail));
  operate.steps.push_back(std::move(step));
  operate.terms = tail.terms;
  return operate;
}

}  // namespace dovetail::scenario
