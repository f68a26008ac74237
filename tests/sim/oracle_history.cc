#include "tests/sim/oracle_history.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace dovetail::oracle {
namespace {

bool IsSet(Kind kind) {
  return kind == Kind::kSet || kind == Kind::kRemoveSet ||
         kind == Kind::kGrowSet;
}

// What is read where nothing is.
View Absent(Kind kind) {
  View view;
  view.kind = kind;
  view.flag = kind == Kind::kDisableFlag;
  return view;
}

}  // namespace

bool StartsWith(const std::vector<Field>& fields,
                const std::vector<Field>& prefix) {
  return fields.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), fields.begin());
}

void Tally::Join(const Tally& other) {
  if (other.known.position > known.position) known = other.known;
  if (other.reset.position > reset.position) reset = other.reset;
}

size_t History::AddPlace(Place place) {
  const auto [it, inserted] = places_.emplace(std::move(place), places_.size());
  if (inserted) sites_.push_back({&it->first, {}});
  return it->second;
}

void History::AddFact(Fact fact) {
  sites_[fact.place].facts.push_back(facts_.size());
  facts_.push_back(std::move(fact));
}

size_t History::Find(const Place& place) const {
  const auto it = places_.find(place);
  return it == places_.end() ? place_count() : it->second;
}

bool History::IsBelow(size_t place, const std::vector<Field>& fields) const {
  return StartsWith(sites_[place].place->fields, fields);
}

void History::SetStamp(uint64_t actor, uint64_t counter, Stamp stamp) {
  for (Fact& fact : facts_) {
    if (fact.actor == actor && fact.counter == counter) fact.stamp = stamp;
  }
}

void History::SetTime(uint64_t actor, uint64_t counter, uint64_t at_ms) {
  for (Fact& fact : facts_) {
    if (fact.actor == actor && fact.counter == counter) fact.at_ms = at_ms;
  }
}

std::vector<const Fact*> History::Settings(const Live& live) const {
  std::vector<const Fact*> settings;
  const size_t at = Find({{}, "", true});
  if (at == place_count()) return settings;
  for (const size_t fact : facts_at(at)) {
    if (live.facts[fact]) settings.push_back(&facts_[fact]);
  }
  return settings;
}

bool History::IsWithin(const Events& visible) const {
  return std::all_of(parts_.begin(), parts_.end(), [&](const Part& part) {
    return visible.Contains(part.actor, part.first);
  });
}

Live History::LiveFor(const Events& visible) const {
  Live live;
  live.facts.resize(facts_.size());
  std::vector<const Part*> here;
  for (const Part& part : parts_) {
    if (!visible.Contains(part.actor, part.first)) continue;
    here.push_back(&part);
    for (size_t fact : part.written) live.facts[fact] = true;
    for (const auto& [entry, tally] : part.told) {
      live.tallies[entry].Join(tally);
    }
  }
  // Only now, as a part may have come before what it saw.
  for (const Part* part : here) {
    for (size_t fact : part->seen) live.facts[fact] = false;
    for (size_t entry : part->retired) live.tallies.erase(entry);
  }
  return live;
}

bool History::ShowValues(const std::vector<size_t>& facts, View& view) const {
  if (facts.empty()) return false;
  if (view.kind == Kind::kRegister) {
    const auto time = [this](size_t id) {
      const Fact& fact = facts_[id];
      return std::tie(fact.stamp, fact.actor, fact.counter);
    };
    const size_t last = *std::max_element(
        facts.begin(), facts.end(),
        [&](size_t a, size_t b) { return time(a) < time(b); });
    view.values = {facts_[last].value};
    return true;
  }
  std::set<std::string> values;
  for (size_t id : facts) values.insert(facts_[id].value);
  view.values.assign(values.begin(), values.end());
  return true;
}

bool History::ShowElement(const Place& place, const std::vector<size_t>& facts,
                          View& view) const {
  const bool put_out = std::any_of(facts.begin(), facts.end(), [&](size_t id) {
    return facts_[id].put_out;
  });
  if (facts.empty() || put_out) return false;
  view.values.push_back(place.element);
  return true;
}

bool History::Show(const Place& place, const std::vector<size_t>& facts,
                   const std::vector<const Tally*>& tallies, View& view) const {
  switch (view.kind) {
    case Kind::kRegister:
    case Kind::kMultiValue:
      return ShowValues(facts, view);
    case Kind::kSet:
    case Kind::kRemoveSet:
    case Kind::kGrowSet:
      return ShowElement(place, facts, view);
    case Kind::kEnableFlag:
    case Kind::kDisableFlag:
      view.flag = facts.empty() == (view.kind == Kind::kDisableFlag);
      return !facts.empty();
    case Kind::kCounter: {
      bool present = false;
      for (const Tally* tally : tallies) {
        present |= !tally->spent();
        view.number += tally->number();
      }
      return present;
    }
    case Kind::kMap:
      break;
  }
  Require(false, "nothing lies in a map but its fields");
  return false;
}

View History::Read(const std::vector<Field>& fields, const Live& live) const {
  View view = Absent(KindAt(fields));
  TalliesAt tallies;
  for (const auto& [entry, tally] : live.tallies) {
    tallies[entries_[entry].place].push_back(&tally);
  }
  for (auto it = places_.lower_bound(Place{fields, "", false});
       it != places_.end() && StartsWith(it->first.fields, fields); ++it) {
    const auto& [place, id] = *it;
    if (place.expiry) continue;
    std::vector<size_t> facts;
    for (size_t fact : sites_[id].facts) {
      if (live.facts[fact]) facts.push_back(fact);
    }
    View shown = Absent(KindAt(place.fields));
    if (!Show(place, facts, tallies[id], shown)) continue;
    // Down to where it belongs. Places come in order, so what is below one
    // field comes together.
    View* at = &view;
    at->present = true;
    for (size_t depth = fields.size(); depth < place.fields.size(); ++depth) {
      const Field& child = place.fields[depth];
      if (at->fields.empty() || at->fields.back().first != child) {
        at->fields.emplace_back(child, Absent(child.kind));
      }
      at = &at->fields.back().second;
      at->present = true;
    }
    if (IsSet(at->kind)) {
      at->values.push_back(std::move(shown.values.front()));
    } else {
      shown.present = true;
      *at = std::move(shown);
    }
  }
  return view;
}

}  // namespace dovetail::oracle
