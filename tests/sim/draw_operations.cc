// What clients do: typed operations on few keys by many nodes, with and
// without tokens, batches, big sets, deletes and re-creations; and two objects
// whose rules are so tight that any lost or doubled write breaks them:
//
//   exact   a counter that is only added to: its value is the sum of the
//           acknowledged amounts plus some of those without an answer
//   unique  a set; each element is added once, and maybe removed once by
//           somebody who saw it
//
// and, in some plans, on a few objects that expire ("x0" …).
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/sim/draw.h"

namespace dovetail::sim {
namespace {

constexpr std::array<const char*, 9> kTypes = {"register", "mv",      "set",
                                               "rwset",    "gset",    "ewflag",
                                               "dwflag",   "counter", "map"};
constexpr size_t kMap = 8;

bool HasPages(const std::string& type) {
  return type == "set" || type == "rwset" || type == "gset" || type == "map";
}

// Where an operation goes: an object and, in a map, a way into it.
struct Target {
  std::string type;   // of the object
  std::string key;    // as written
  std::string path;   // "/f0:map/f1:set", or nothing
  std::string inner;  // the type at the end of the path
  std::string Place() const { return key + path; }
};

struct TakenToken {
  std::string name;
  std::string type;
  std::string key;
};

class Drawer {
 public:
  Drawer(Plan& plan, bool expires)
      : plan_(plan),
        chance_(plan.seed, "operations"),
        nodes_(static_cast<uint32_t>(plan.options.nodes)) {
    for (const char* type : kTypes) {
      if (chance_.Half()) types_.emplace_back(type);
    }
    if (types_.empty()) types_.emplace_back(kTypes[chance_.Below(9)]);
    keys_ = static_cast<uint32_t>(chance_.LogBetween(1, 12));
    elements_ = static_cast<uint32_t>(chance_.LogBetween(2, 60));
    token_permille_ = chance_.Half() ? chance_.Between(50, 700) : 0;
    batch_permille_ = chance_.Half() ? chance_.Between(20, 300) : 0;
    delete_permille_ = chance_.Half() ? chance_.Between(20, 200) : 0;
    bulk_permille_ = chance_.Half() ? chance_.Between(20, 200) : 0;
    fsync_permille_ = chance_.Half() ? chance_.Between(20, 1000) : 0;
    read_permille_ = chance_.Between(50, 500);
    weak_ = chance_.Half();
    tight_permille_ = chance_.Half() ? chance_.Between(50, 500) : 0;
    cross_permille_ = chance_.Half() ? chance_.Between(10, 100) : 0;
    Stream once(plan_.seed, "exactly-once");
    once_permille_ = once.Half() ? once.Between(100, 900) : 0;
    Stream ways(plan_.seed, "ways");
    forward_permille_ = ways.Half() ? ways.Between(100, 1000) : 0;
    session_permille_ = ways.Between(0, 1000);
    Stream expiry(plan_.seed, "expiry");
    if (expires) {
      fleeting_permille_ = expiry.Between(50, 600);
      fleeting_ = static_cast<uint32_t>(expiry.LogBetween(1, 6));
      lives_ms_max_ = expiry.LogBetween(500, 60'000);
      // Clocks that agree differ by less than what is waited for.
      plan_.options.expiry_agreement_ms = expiry.LogBetween(100, 2'000);
      plan_.options.expiry_grace_ms =
          plan_.options.expiry_agreement_ms * expiry.Between(4, 6);
    }
    const bool regions = plan_.options.regions > 1;
    level_permille_ = ways.Half() ? ways.Between(50, regions ? 900 : 200) : 0;
  }

  void Run() {
    const auto count = chance_.LogBetween(10, 250);
    // The last tenth of the time is for faults without new writes.
    const int64_t end = plan_.options.duration_us * 9 / 10;
    std::vector<int64_t> times;
    // Bursts: most operations come close upon another one.
    for (int64_t i = 0; i < count; ++i) {
      if (!times.empty() && chance_.Permille(600)) {
        times.push_back(
            std::min(end, times.back() + chance_.Exponential(2'000)));
      } else {
        times.push_back(chance_.Between(0, end));
      }
    }
    std::sort(times.begin(), times.end());
    int64_t before = 0;
    for (const int64_t at : times) {
      // A stream of its own for each operation: one less changes no other.
      one_ = Stream(plan_.seed, "operation", static_cast<uint64_t>(number_));
      ++number_;
      // What is close in time is often about the same object: that is where
      // replicas that know different things meet.
      same_object_ =
          number_ > 1 && one_.Permille(at - before < 500'000 ? 700 : 200);
      before = at;
      Draw(at);
    }
    if (Stream(plan_.seed, "hoard").OneIn(15)) DrawHoard(end);
    if (Stream(plan_.seed, "pile").OneIn(40)) DrawPile(end);
    if (fleeting_permille_ > 0 && nodes_ > 2) DrawExtensions(end);
    plan_.events.insert(plan_.events.end(), retries_.begin(), retries_.end());
  }

 private:
  void Draw(int64_t at) {
    if (one_.Permille(tight_permille_)) return DrawTight(at);
    if (nodes_ > 2 && one_.Permille(cross_permille_)) return DrawCross(at);
    if (one_.Permille(fleeting_permille_)) return DrawFleeting(at);
    if (one_.Permille(read_permille_)) return DrawRead(at);
    if (one_.Permille(batch_permille_)) return DrawBatch(at);
    const Target target = DrawTarget(DrawKey());
    const std::string token = TokenFor(target);
    const std::string said = Sentence(target);
    const std::string sentence = absl::StrCat(said, " ", Level("w"), token);
    // A register's timestamps would be the client's; the fields of a map are
    // whatever it draws.
    const bool bare = target.type != "register" && target.path.empty() &&
                      target.type != "map" && target.type != "counter";
    if (bare && !token.empty()) return AddOnce(at, sentence);
    Add(at, sentence);
  }

  std::string DrawKey() {
    return same_object_ ? last_key_ : absl::StrCat("k", one_.Below(keys_));
  }

  Target DrawTarget(std::string key) {
    Target target;
    target.type = same_object_ ? last_type_ : one_.Pick(types_);
    target.key = std::move(key);
    last_type_ = target.type;
    last_key_ = target.key;
    target.inner = target.type;
    for (int depth = 0; target.inner == "map" && depth < 3; ++depth) {
      // Deeper levels are maps less often, so that leaves are reached.
      const std::string inner =
          depth == 2 ? kTypes[one_.Below(kMap)] : kTypes[one_.Below(9)];
      if (depth > 0 || one_.Permille(850)) {
        absl::StrAppend(&target.path, "/f", one_.Below(3), ":", inner);
        target.inner = inner;
      } else {
        break;  // an operation on the map itself
      }
    }
    return target;
  }

  std::string Elements() {
    size_t n = one_.OneIn(4) ? 1 + one_.Below(3) : 1;
    if (one_.Permille(bulk_permille_)) n = 5 + one_.Below(60);
    std::vector<std::string> words;
    for (size_t i = 0; i < n; ++i) {
      words.push_back(absl::StrCat("e", one_.Below(elements_)));
    }
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    return absl::StrJoin(words, " ");
  }

  // What was added there last, or anything: a removal of what is not there
  // removes nothing.
  std::string Lately(const Target& t) {
    const bool known = last_added_at_ == t.Place() && !last_added_.empty();
    return known && one_.Half() ? last_added_ : Elements();
  }

  // "set add k1 e3": the operation without its options.
  std::string Sentence(const Target& t) {
    if (one_.Permille(delete_permille_)) {
      return absl::StrCat("delete ", t.key, ":", t.type);
    }
    const auto say = [&](const std::string& verb, const std::string& args) {
      std::string text = t.path.empty()
                             ? absl::StrCat(t.type, " ", verb, " ", t.Place())
                             : absl::StrCat(t.type, " ", t.Place(), " ", verb);
      if (!args.empty()) absl::StrAppend(&text, " ", args);
      return text;
    };
    const std::string& type = t.inner;
    const std::string value = absl::StrCat("v", number_, ".", one_.Below(100));
    if (type == "register") {
      return one_.OneIn(6) ? say("clear", "") : say("write", value);
    }
    if (type == "mv") {
      if (one_.OneIn(6)) return say("clear", "");
      // Blind writes pile up siblings, of which there may be 100.
      return say(one_.OneIn(10) ? "write-blind" : "write", value);
    }
    if (type == "gset") return say("add", Elements());
    if (type == "set" || type == "rwset") {
      if (one_.OneIn(12)) return say("clear", "");
      if (one_.OneIn(3)) return say("remove", Lately(t));
      const std::string elements = Elements();
      last_added_ = elements;
      last_added_at_ = t.Place();
      return say("add", elements);
    }
    if (type == "ewflag" || type == "dwflag") {
      return say(one_.Half() ? "enable" : "disable", "");
    }
    if (type == "counter") {
      if (one_.OneIn(6)) return say("reset", "");
      const int64_t amount = one_.Between(1, 9);
      return say("add", absl::StrCat(one_.OneIn(3) ? -amount : amount));
    }
    // A map: take out one of its fields. Cleared as a whole now and then.
    if (one_.OneIn(8)) return say("clear", "");
    const uint64_t name = one_.Below(3);
    const std::string field =
        absl::StrCat("f", name, ":", kTypes[one_.Below(9)]);
    return t.path.empty() ? absl::StrCat("map ", t.key, " remove ", field)
                          : say("remove", field);
  }

  std::string Level(const char* name) {
    const uint32_t n = weak_ && one_.Half() ? 1 : 1 + one_.Below32(nodes_);
    return absl::StrCat(name, "=", n);
  }

  // " with T7", if there is a token of that object.
  std::string TokenFor(const Target& target) {
    if (!one_.Permille(token_permille_)) return "";
    std::vector<std::string> fitting;
    for (const TakenToken& token : tokens_) {
      if (token.type == target.type && token.key == target.key) {
        fitting.push_back(token.name);
      }
    }
    if (fitting.empty()) return "";
    // Mostly the newest, sometimes any: tokens may be old.
    return absl::StrCat(" with ",
                        one_.OneIn(4) ? one_.Pick(fitting) : fitting.back());
  }

  void DrawRead(int64_t at) {
    const Target target = DrawTarget(DrawKey());
    const bool whole = one_.Permille(target.path.empty() ? 800 : 500);
    if (!whole) {
      const std::string page = one_.OneIn(4) && HasPages(target.inner)
                                   ? absl::StrCat(" limit=", 1 + one_.Below(4))
                                   : "";
      return Add(at, absl::StrCat(target.type, " read ", target.Place(), page,
                                  " ", Level("r")));
    }
    TakeToken(at, target.type, target.key);
  }

  void TakeToken(int64_t at, const std::string& type, const std::string& key) {
    const std::string name = absl::StrCat("T", number_);
    tokens_.push_back({name, type, key});
    Add(at, absl::StrCat(type, " read ", key, " ", Level("r")), name);
  }

  void DrawBatch(int64_t at) {
    // Keys with a common tag lie in one partition.
    const uint64_t tag = one_.Below(3);
    const bool astray = one_.OneIn(30);  // of a client who does not know that
    std::vector<std::string> steps;
    const uint64_t n = 2 + one_.Below(4);
    for (uint64_t i = 0; i < n; ++i) {
      const Target target = DrawTarget(absl::StrCat(
          "\"{t", astray ? tag + i : tag, "}k", one_.Below(keys_), "\""));
      steps.push_back(Sentence(target));
    }
    Add(at, absl::StrCat("batch { ", absl::StrJoin(steps, " ; "), " } ",
                         Level("w")));
  }

  void DrawTight(int64_t at) {
    const uint64_t kind = one_.Below(4);
    if (kind == 0) {
      const int64_t amount = one_.Between(1, 100);
      return AddOnce(
          at, absl::StrCat("counter add exact ", amount, " ", Level("w")));
    }
    if (kind == 1) return TakeToken(at, "set", "unique");
    if (kind == 2 && !unremoved_.empty()) {
      for (auto token = tokens_.rbegin(); token != tokens_.rend(); ++token) {
        if (token->key != "unique") continue;
        const size_t i = static_cast<size_t>(one_.Below(unremoved_.size()));
        const std::string element = unremoved_[i];
        unremoved_.erase(unremoved_.begin() + static_cast<std::ptrdiff_t>(i));
        return AddOnce(at, absl::StrCat("set remove unique ", element, " ",
                                        Level("w"), " with ", token->name));
      }
    }
    const std::string element = absl::StrCat("u", number_);
    unremoved_.push_back(element);
    AddOnce(at, absl::StrCat("set add unique ", element, " ", Level("w")));
  }

  // Of an object that expires: times are set, most of them short, also by two
  // nodes at once; taken back; it is written before and after, read, deleted.
  void DrawFleeting(int64_t at) {
    Target target;
    const uint64_t number = one_.Below(fleeting_);
    target.key = absl::StrCat("x", number);
    target.type = target.inner = types_[number % types_.size()];
    if (target.type == "map") {
      target.inner = kTypes[one_.Below(kMap)];
      target.path = absl::StrCat("/f", one_.Below(2), ":", target.inner);
    }
    const std::string object = absl::StrCat(target.key, ":", target.type);
    const std::string expire = absl::StrCat(
        "expire ", object, " ", one_.LogBetween(20, lives_ms_max_), "ms");
    const std::string sentence = Sentence(target);
    const uint64_t kind = one_.Below(20);
    const uint32_t node = one_.Below32(nodes_);
    if (kind < 4) return TakeToken(at, target.type, target.key);
    const std::string end = absl::StrCat(" ", Level("w"));
    if (kind < 8) {
      AddBy(node, at,
            absl::StrCat("batch { ", sentence, " ; ", expire, " }", end));
    } else if (kind < 12) {
      AddBy(node, at, absl::StrCat(expire, end, TokenFor(target)));
      if (one_.OneIn(3)) {
        const int64_t longer = one_.LogBetween(20, lives_ms_max_);
        AddBy((node + 1) % nodes_, at + one_.LogBetween(1, 100'000),
              absl::StrCat("expire ", object, " ", longer, "ms", end));
      }
    } else if (kind < 14) {
      AddBy(node, at, absl::StrCat("persist ", object, end, TokenFor(target)));
    } else {
      AddBy(node, at, absl::StrCat(sentence, end, TokenFor(target)));
    }
  }

  // A short time that all know of, then a longer one that most of them know of.
  // One never hears of it (draw_faults.cc): if it is the one that removes what
  // has expired, it has to ask.
  void DrawExtensions(int64_t end) {
    Stream stories(plan_.seed, "extensions");
    for (uint64_t story = stories.Below(4); story > 0; --story) {
      one_ = Stream(plan_.seed, "extension", story);
      int64_t at = one_.Between(0, end / 2);
      const std::string key = absl::StrCat("y", story);
      const uint32_t node = one_.Below32(nodes_);
      AddBy(node, at,
            absl::StrCat("batch { set add ", key, " e1 ; expire ", key, ":set ",
                         one_.LogBetween(200, 2'000), "ms } w=1"));
      plan_.events.back().value = WayOf(WayLevel::kAll);
      at += one_.LogBetween(50'000, 200'000);
      AddBy(node, at, absl::StrCat("expire ", key, ":set 600000ms w=1"));
      plan_.events.back().value = WayOf(WayLevel::kQuorum);
    }
  }

  // As a client with an exactly-once session does, in some plans: the same
  // again, at any node, whatever became of the first.
  void AddOnce(int64_t at, const std::string& sentence) {
    Stream once(plan_.seed, "exactly-once", static_cast<uint64_t>(number_));
    if (!once.Permille(once_permille_)) return Add(at, sentence);
    const std::string identified = absl::StrCat("op=", number_, " ", sentence);
    Add(at, identified);
    for (uint64_t retries = once.Below(4); retries > 0; --retries) {
      at += once.Exponential(once.Half() ? 5'000 : 2'000'000);
      if (at >= plan_.options.duration_us) return;
      PlanEvent event = plan_.events.back();
      event.at_us = at;
      event.text = absl::StrCat("n", once.Below(nodes_), " ", identified);
      retries_.push_back(std::move(event));
    }
  }

  // One writes, another takes it away, a third one asks everybody: what it is
  // told depends on who knows of both, of one, or of neither.
  void DrawCross(int64_t at) {
    struct Pair {
      const char* type;
      const char* write;
      const char* undo;
    };
    static const std::vector<Pair> pairs = {
        {"set", "add", "remove"},        {"rwset", "add", "remove"},
        {"ewflag", "enable", "disable"}, {"register", "write", "clear"},
        {"mv", "write", "clear"},        {"counter", "add", "reset"}};
    const Pair& pair = one_.Pick(pairs);
    const std::string type = pair.type;
    const std::string key = DrawKey();
    std::string value;
    if (type == "counter") {
      value = "7";
    } else if (type != "ewflag") {
      value = absl::StrCat("x", number_);
    }
    const bool names_it = type == "set" || type == "rwset";
    const uint32_t first = one_.Below32(nodes_);
    AddBy(first, at,
          absl::StrCat(type, " ", pair.write, " ", key, " ", value, " w=1"));
    at += one_.LogBetween(1'000, 500'000);
    AddBy((first + 1) % nodes_, at,
          absl::StrCat(type, " ", pair.undo, " ", key, " ",
                       names_it ? value : "", " w=1"));
    at += one_.LogBetween(1'000, 500'000);
    AddBy((first + 2) % nodes_, at,
          absl::StrCat(type, " read ", key, " r=", nodes_));
  }

  // A set of more elements than one delta may clear, then a clear of it or two.
  void DrawHoard(int64_t end) {
    one_ = Stream(plan_.seed, "hoard");
    int64_t at = one_.Between(0, end / 2);
    const uint64_t adds = 3 + one_.Below(3);
    for (uint64_t i = 0; i < adds; ++i) {
      std::string words;
      const uint64_t first = one_.Below(900);
      const uint64_t count = 400 + one_.Below(500);
      for (uint64_t element = first; element < first + count; ++element) {
        absl::StrAppend(&words, " h", 1000 + element);
      }
      Add(at, absl::StrCat("set add hoard", words, " w=1"));
      at += one_.Exponential(200'000);
    }
    if (one_.Half()) {
      // All of it under one id, which no delta can hold.
      const std::string token = absl::StrCat("T", number_, "h");
      at += one_.Exponential(500'000);
      Add(at, "set read hoard r=1", token);
      at += one_.Exponential(500'000);
      Add(at, absl::StrCat("op=", number_ + 1'000'000, " set clear hoard w=1",
                           " with ", token));
    }
    const uint32_t node = one_.Below32(nodes_);
    for (uint32_t i = 0; i < std::min(nodes_, 2u); ++i) {
      at += one_.Exponential(500'000);
      AddBy((node + i) % nodes_, at,
            absl::StrCat("set clear hoard ", one_.Half() ? "w=1" : Level("w")));
      if (nodes_ > 1) {
        AddBy((node + i + 1) % nodes_, at + one_.LogBetween(1'000, 2'000'000),
              absl::StrCat("set read hoard limit=", 1 + one_.Below(2),
                           " r=", nodes_));
      }
      const uint64_t element = 1000 + one_.Below(1000);
      Add(at + one_.Exponential(20'000),
          absl::StrCat("set add hoard h", element, " w=1"));
    }
    Add(at + 200'000, absl::StrCat("set read hoard ", Level("r")));
  }

  // Blind writes under ids, more than may stand beside one another.
  void DrawPile(int64_t end) {
    one_ = Stream(plan_.seed, "pile");
    int64_t at = one_.Between(0, end / 2);
    const uint64_t writes = 101 + one_.Below(30);
    const uint32_t node = one_.Below32(nodes_);
    for (uint64_t i = 0; i < writes; ++i) {
      AddBy(one_.OneIn(10) ? one_.Below32(nodes_) : node, at,
            absl::StrCat("op=", 2'000'000 + i, " mv write-blind pile p", i,
                         " w=1"));
      at += one_.Exponential(20'000);
    }
    Add(at, absl::StrCat("mv read pile ", Level("r")));
    Add(at + one_.Exponential(100'000), "mv clear pile w=1");
  }

  void Add(int64_t at, const std::string& sentence,
           const std::string& token = "") {
    AddBy(one_.Below32(nodes_), at, sentence, token);
  }

  void AddBy(uint32_t node, int64_t at, const std::string& sentence,
             const std::string& token = "") {
    PlanEvent event;
    event.at_us = at;
    event.kind = EventKind::kOperation;
    event.value = one_.Permille(fsync_permille_) ? kWayFsync : 0;
    Stream way(plan_.seed, "way", plan_.events.size());
    if (way.Permille(forward_permille_)) event.value |= kWayForward;
    if (way.Permille(session_permille_)) event.value |= kWaySession;
    if (way.Permille(level_permille_)) {
      event.value |=
          WayOf(static_cast<WayLevel>(way.Between(1, kWayLevels - 1)));
    }
    event.for_us =
        one_.OneIn(5) ? one_.LogBetween(1'000, 1'000'000) : 2'000'000;
    event.text = absl::StrCat(token.empty() ? "" : token + " = ", "n", node,
                              " ", sentence);
    plan_.events.push_back(std::move(event));
  }

  Plan& plan_;
  Stream chance_;
  Stream one_{0, ""};
  const uint32_t nodes_;
  std::vector<std::string> types_;
  uint32_t keys_ = 1;
  uint32_t elements_ = 1;
  int64_t token_permille_ = 0;
  int64_t batch_permille_ = 0;
  int64_t delete_permille_ = 0;
  int64_t bulk_permille_ = 0;
  int64_t fsync_permille_ = 0;
  int64_t read_permille_ = 0;
  int64_t tight_permille_ = 0;
  int64_t cross_permille_ = 0;
  int64_t once_permille_ = 0;
  int64_t forward_permille_ = 0;
  int64_t session_permille_ = 0;
  int64_t level_permille_ = 0;
  int64_t fleeting_permille_ = 0;
  uint32_t fleeting_ = 1;  // so many objects
  int64_t lives_ms_max_ = 1;
  bool weak_ = false;
  int64_t number_ = 0;
  bool same_object_ = false;
  std::string last_type_ = "set";
  std::string last_key_ = "k0";
  std::string last_added_;
  std::string last_added_at_;
  std::vector<TakenToken> tokens_;
  std::vector<std::string> unremoved_;
  std::vector<PlanEvent> retries_;
};

}  // namespace

void DrawOperations(Plan& plan, bool expires) { Drawer(plan, expires).Run(); }

}  // namespace dovetail::sim
