#include "tests/sim/oracle.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace dovetail::oracle {
namespace {

constexpr size_t kClearDotsMax = 1'000;

// What a batch does to one object: a part of its history in the making. What
// is new is named as it will be once the draft is added to the history.
class Draft {
 public:
  // `past` must outlive the draft and stay as it is until AddTo.
  Draft(const History& past, uint64_t actor, const Events& before)
      : past_(past), live_(past.LiveFor(before)) {
    part_.actor = actor;
  }

  // Runs one operation, which sees those before it; its events are `next` and
  // following of the batch, and `next` is moved behind them. Returns whether
  // it did anything.
  bool Run(const Mutation& mutation, const Sight* token, uint64_t& next);

  // Where the rest of a clear begins.
  const std::optional<std::string>& resume_after() const {
    return resume_after_;
  }
  // Whether there is anything to tell others.
  bool HasEffect() const;
  // Moves it to the history it was made from, as the events from `first` on.
  void AddTo(History& history, uint64_t first) &&;

 private:
  bool RunOnElements(const Mutation& mutation, const Sight* token,
                     uint64_t& next);
  bool RemoveBelow(const std::vector<Field>& fields, const Sight* token);
  bool ClearSet(const std::optional<std::string>& after);
  void AddAmount(size_t place, int64_t amount, uint64_t& next);
  void Write(Fact fact, uint64_t& next);
  // Takes away the facts seen at one place; whether there were any.
  bool TakeAway(size_t place, const Sight* token);
  void TakeAwayFact(size_t fact);
  void Tell(size_t entry, const Tally& tally);
  void Retire(size_t entry);

  size_t PlaceOf(const Place& place);
  const Place& place(size_t id) const;
  const Fact& fact(size_t id) const;
  const Entry& entry(size_t id) const;

  const History& past_;
  Live live_;  // as the operations so far have left it
  Part part_;
  std::map<Place, size_t> new_places_;
  std::vector<const Place*> new_place_list_;
  std::vector<Fact> new_facts_;
  std::vector<Entry> new_entries_;
  std::optional<std::string> resume_after_;
};

const Place& Draft::place(size_t id) const {
  const size_t past = past_.place_count();
  return id < past ? past_.place(id) : *new_place_list_[id - past];
}
const Fact& Draft::fact(size_t id) const {
  const size_t past = past_.fact_count();
  return id < past ? past_.fact(id) : new_facts_[id - past];
}
const Entry& Draft::entry(size_t id) const {
  const size_t past = past_.entry_count();
  return id < past ? past_.entry(id) : new_entries_[id - past];
}

size_t Draft::PlaceOf(const Place& place) {
  const size_t past = past_.Find(place);
  if (past < past_.place_count()) return past;
  const auto [it, inserted] =
      new_places_.emplace(place, past_.place_count() + new_places_.size());
  if (inserted) new_place_list_.push_back(&it->first);
  return it->second;
}

void Draft::TakeAwayFact(size_t fact) {
  part_.seen.push_back(fact);
  live_.facts[fact] = false;
}

bool Draft::TakeAway(size_t place, const Sight* token) {
  std::vector<size_t> facts;
  if (token != nullptr) {
    for (size_t id : token->facts) {
      if (fact(id).place == place) facts.push_back(id);
    }
  } else {
    if (place < past_.place_count()) facts = past_.facts_at(place);
    for (size_t i = 0; i < new_facts_.size(); ++i) {
      if (new_facts_[i].place == place) facts.push_back(past_.fact_count() + i);
    }
    std::erase_if(facts, [this](size_t id) { return !live_.facts[id]; });
  }
  for (size_t id : facts) TakeAwayFact(id);
  return !facts.empty();
}

void Draft::Write(Fact fact, uint64_t& next) {
  fact.actor = part_.actor;
  fact.counter = next++;
  part_.written.push_back(past_.fact_count() + new_facts_.size());
  live_.facts.push_back(true);
  new_facts_.push_back(std::move(fact));
}

void Draft::Tell(size_t entry, const Tally& tally) {
  if (part_.retired.count(entry) != 0) return;
  part_.told[entry].Join(tally);
  // Here too, even if it was retired by an earlier write: see AddAmount.
  live_.tallies[entry].Join(tally);
}

void Draft::Retire(size_t entry) {
  part_.retired.insert(entry);
  part_.told.erase(entry);
  live_.tallies.erase(entry);
}

// A writer goes on with its latest entry there, unless all of it is reset: then
// it retires that one and begins anew. The latest is one that the writer has
// before it or, if there is none, one that it retired long ago and that a token
// reset earlier in this batch: that one is retired again, and so it is for
// those that have not heard of the first time.
void Draft::AddAmount(size_t place, int64_t amount, uint64_t& next) {
  Require(amount != 0, "amounts are not 0");
  std::optional<size_t> own;
  for (const auto& [id, tally] : live_.tallies) {
    if (entry(id).place == place && entry(id).actor == part_.actor) own = id;
  }
  if (own.has_value() && !live_.tallies[*own].spent()) {
    Tally tally = live_.tallies[*own];
    ++tally.known.position;
    tally.known.total += amount;
    Tell(*own, tally);
    ++next;
    return;
  }
  if (own.has_value()) Retire(*own);
  const size_t begun = past_.entry_count() + new_entries_.size();
  new_entries_.push_back({place, part_.actor});
  Tell(begun, {{1, amount}, {}});
  ++next;
}

bool Draft::RemoveBelow(const std::vector<Field>& fields, const Sight* token) {
  const auto is_below = [&](size_t id) {
    return StartsWith(place(id).fields, fields);
  };
  std::vector<size_t> facts;
  if (token != nullptr) {
    facts = token->facts;
  } else {
    for (size_t id = 0; id < live_.facts.size(); ++id) {
      if (live_.facts[id]) facts.push_back(id);
    }
  }
  std::erase_if(facts, [&](size_t id) { return !is_below(fact(id).place); });
  for (size_t id : facts) TakeAwayFact(id);

  size_t resets = 0;
  // A copy, as resetting changes what is live.
  const std::map<size_t, Tally> tallies =
      token != nullptr ? token->tallies : live_.tallies;
  for (const auto& [id, tally] : tallies) {
    if (tally.spent() || !is_below(entry(id).place)) continue;
    ++resets;
    if (token == nullptr && entry(id).actor == part_.actor) {
      Retire(id);
    } else {
      Tell(id, {tally.known, tally.known});
    }
  }
  Require(facts.size() + resets <= kClearDotsMax,
          "a clear takes one delta (1,000 dots)");
  return facts.size() + resets > 0;
}

// Whole elements in byte order, of up to 1,000 facts together.
bool Draft::ClearSet(const std::optional<std::string>& after) {
  std::map<std::string, std::vector<size_t>> by_element;
  for (size_t id = 0; id < live_.facts.size(); ++id) {
    const Place& at = place(fact(id).place);
    if (at.expiry || !live_.facts[id]) continue;
    if (!after || at.element > *after) {
      by_element[at.element].push_back(id);
    }
  }
  size_t taken = 0;
  std::string last;
  for (const auto& [element, facts] : by_element) {
    if (taken > 0 && taken + facts.size() > kClearDotsMax) {
      resume_after_ = last;
      break;
    }
    taken += facts.size();
    last = element;
    for (const size_t id : facts) TakeAwayFact(id);
  }
  const bool all = !resume_after_.has_value();
  const bool never = all && TakeAway(PlaceOf({{}, "", true}), nullptr);
  return taken > 0 || never;
}

bool Draft::RunOnElements(const Mutation& mutation, const Sight* token,
                          uint64_t& next) {
  const bool adds = mutation.verb == Verb::kAdd;
  const bool writes = adds || mutation.target_kind() == Kind::kRemoveSet;
  bool did = false;
  const std::set<std::string> elements(mutation.elements.begin(),
                                       mutation.elements.end());
  for (const std::string& element : elements) {
    const size_t at = PlaceOf({mutation.fields, element, false});
    did |= TakeAway(at, token);
    if (!writes) continue;
    Fact fact;
    fact.place = at;
    fact.put_out = !adds;
    Write(std::move(fact), next);
    did = true;
  }
  return did;
}

bool Draft::Run(const Mutation& mutation, const Sight* token, uint64_t& next) {
  const Kind kind = mutation.target_kind();
  const uint64_t first = next;
  bool did = true;
  Fact fact;
  switch (mutation.verb) {
    case Verb::kAdd:
    case Verb::kRemove:
      if (kind == Kind::kCounter) {
        AddAmount(PlaceOf({mutation.fields, "", false}), mutation.amount, next);
      } else {
        did = RunOnElements(mutation, token, next);
      }
      break;
    case Verb::kClear:
    case Verb::kReset:
    case Verb::kDelete:
      did = kind == Kind::kSet && mutation.fields.empty() && token == nullptr
                ? ClearSet(mutation.resume_after)
                : RemoveBelow(mutation.fields, token);
      break;
    case Verb::kRemoveField: {
      std::vector<Field> child = mutation.fields;
      child.push_back(mutation.child);
      did = RemoveBelow(child, token);
      break;
    }
    case Verb::kWrite:
    case Verb::kWriteBlind:
      fact.place = PlaceOf({mutation.fields, "", false});
      fact.value = mutation.value;
      if (kind == Kind::kRegister) fact.stamp = mutation.stamp;
      if (mutation.verb == Verb::kWrite) TakeAway(fact.place, token);
      Write(std::move(fact), next);
      break;
    case Verb::kEnable:
    case Verb::kDisable:
      fact.place = PlaceOf({mutation.fields, "", false});
      did = TakeAway(fact.place, token);
      if ((mutation.verb == Verb::kEnable) == (kind == Kind::kEnableFlag)) {
        Write(std::move(fact), next);
        did = true;
      }
      break;
    case Verb::kExpire:
      fact.place = PlaceOf({{}, "", true});
      TakeAway(fact.place, token);
      Write(std::move(fact), next);
      break;
    case Verb::kPersist:
      did = TakeAway(PlaceOf({{}, "", true}), token);
      break;
  }
  // What only takes away mints an event as well, or nobody could tell who has
  // not heard of it.
  if (did && next == first) ++next;
  return did;
}

bool Draft::HasEffect() const {
  const auto is_past_fact = [this](size_t id) {
    return id < past_.fact_count();
  };
  const auto is_past_entry = [this](size_t id) {
    return id < past_.entry_count();
  };
  return std::any_of(live_.facts.begin() +
                         static_cast<std::ptrdiff_t>(past_.fact_count()),
                     live_.facts.end(), [](bool live) { return live; }) ||
         std::any_of(part_.seen.begin(), part_.seen.end(), is_past_fact) ||
         !part_.told.empty() ||
         std::any_of(part_.retired.begin(), part_.retired.end(), is_past_entry);
}

void Draft::AddTo(History& history, uint64_t first) && {
  for (const Place* place : new_place_list_) history.AddPlace(*place);
  for (Fact& fact : new_facts_) {
    fact.counter += first;
    history.AddFact(std::move(fact));
  }
  for (const Entry& entry : new_entries_) history.AddEntry(entry);
  part_.first = first;
  history.AddPart(std::move(part_));
}

using Drafts = std::map<Object, Draft>;
using Histories = std::map<Object, History>;

// Runs the batch; the histories stay as they are.
Expectation Rehearse(const std::vector<Mutation>& batch, uint64_t actor,
                     const Events& before, const Histories& histories,
                     const std::vector<Sight>& sights, Drafts& drafts) {
  static const History& never_written = *new History(Kind::kMap);
  Expectation result;
  uint64_t next = 0;
  for (const Mutation& mutation : batch) {
    const Sight* token = nullptr;
    if (mutation.token.has_value()) {
      token = &sights.at(static_cast<size_t>(*mutation.token));
      Require(token->object == mutation.object, "a token is of its object");
    }
    auto draft = drafts.find(mutation.object);
    if (draft == drafts.end()) {
      const auto past = histories.find(mutation.object);
      draft = drafts
                  .try_emplace(
                      mutation.object,
                      past == histories.end() ? never_written : past->second,
                      actor, before)
                  .first;
    }
    result.not_observed.push_back(!draft->second.Run(mutation, token, next));
  }
  for (const auto& [object, draft] : drafts) {
    if (draft.HasEffect()) result.events = next;
    if (draft.resume_after()) result.resume_after = draft.resume_after();
  }
  return result;
}

}  // namespace

Expectation Oracle::Expect(const std::vector<Mutation>& batch, uint64_t actor,
                           const Events& before) const {
  Drafts drafts;
  return Rehearse(batch, actor, before, histories_, sights_, drafts);
}

void Oracle::Record(const std::vector<Mutation>& batch, uint64_t actor,
                    uint64_t first, uint64_t count, const Events& before) {
  Drafts drafts;
  Rehearse(batch, actor, before, histories_, sights_, drafts);
  for (auto& [object, draft] : drafts) {
    History& history =
        histories_.try_emplace(object, object.kind).first->second;
    std::move(draft).AddTo(history, first);
  }
  all_.Insert(actor, first, count);
}

std::vector<Listed> Oracle::ListOf(SightId id) const {
  const Sight& sight = sights_[static_cast<size_t>(id)];
  const auto found = histories_.find(sight.object);
  if (found == histories_.end()) return {};
  const History& history = found->second;
  std::vector<Listed> list;
  for (const size_t fact : sight.facts) {
    list.push_back(
        {history.fact(fact).actor, history.fact(fact).counter, 0, 0});
  }
  for (const auto& [entry, tally] : sight.tallies) {
    list.push_back(
        {history.entry(entry).actor, 0, tally.known.total, tally.reset.total});
  }
  std::sort(list.begin(), list.end());
  return list;
}

void Oracle::SetStamp(const Object& object, uint64_t actor, uint64_t counter,
                      Stamp stamp) {
  const auto history = histories_.find(object);
  Require(history != histories_.end(), "a stamp is of something written");
  history->second.SetStamp(actor, counter, stamp);
}

SightId Oracle::See(const Object& object, const std::vector<Field>& fields,
                    const Events& visible) {
  Sight sight{object, {}, {}};
  const auto it = histories_.find(object);
  if (it != histories_.end()) {
    const History& history = it->second;
    const Live live = history.LiveFor(visible);
    for (size_t id = 0; id < live.facts.size(); ++id) {
      if (live.facts[id] && history.IsBelow(history.fact(id).place, fields)) {
        sight.facts.push_back(id);
      }
    }
    for (const auto& [id, tally] : live.tallies) {
      if (history.IsBelow(history.entry(id).place, fields)) {
        sight.tallies.emplace(id, tally);
      }
    }
  }
  sights_.push_back(std::move(sight));
  return SightId{sights_.size() - 1};
}

void Oracle::SetTime(const Object& object, uint64_t actor, uint64_t counter,
                     uint64_t at_ms) {
  const auto history = histories_.find(object);
  Require(history != histories_.end(), "a time is of something written");
  history->second.SetTime(actor, counter, at_ms);
}

std::vector<Oracle::Setting> Oracle::SettingsOf(const Object& object,
                                                const Events& visible) const {
  std::vector<Setting> settings;
  const auto it = histories_.find(object);
  if (it == histories_.end()) return settings;
  const Live live = it->second.LiveFor(visible);
  for (const Fact* fact : it->second.Settings(live)) {
    settings.push_back({fact->actor, fact->counter, fact->at_ms});
  }
  return settings;
}

uint64_t Oracle::ExpiresAt(const Object& object, const Events& visible) const {
  uint64_t latest = 0;
  for (const Setting& setting : SettingsOf(object, visible)) {
    if (setting.at_ms == 0) return 0;
    latest = std::max(latest, setting.at_ms);
  }
  return latest;
}

View Oracle::Read(const Object& object, const std::vector<Field>& fields,
                  const Events& visible) const {
  const auto it = histories_.find(object);
  if (it != histories_.end()) {
    return it->second.Read(fields, it->second.LiveFor(visible));
  }
  const History never_written(object.kind);
  return never_written.Read(fields, Live());
}

std::vector<Object> Oracle::Objects() const {
  std::vector<Object> objects;
  for (const auto& [object, history] : histories_) objects.push_back(object);
  return objects;
}

size_t Oracle::WritesOf(const Object& object) const {
  const auto it = histories_.find(object);
  return it == histories_.end() ? 0 : it->second.part_count();
}

bool Oracle::HasAllWritesOf(const Object& object, const Events& visible) const {
  const auto it = histories_.find(object);
  return it == histories_.end() || it->second.IsWithin(visible);
}

}  // namespace dovetail::oracle
