// All that was ever written to one object, and what of it is live for somebody
// who has received some of the events. The rules of the types are here;
// oracle.h says how mutations make history.
//
// A write of the object is a Part; it counts for whoever has its events. Of
// what the parts hold, for a given set of events:
//
//   fact     an element put in or out, a value, a flag. Live if a part in the
//            set wrote it and no part in the set saw it.
//   entry    what one writer added to one counter. Its amounts are levels of a
//            ladder: each says how many there are and what they sum up to. A
//            part tells how far an entry had come and how far it was reset;
//            the furthest in the set holds. An entry whose writer retired it
//            is gone.
#ifndef DOVETAIL_TESTS_SIM_ORACLE_HISTORY_H_
#define DOVETAIL_TESTS_SIM_ORACLE_HISTORY_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/oracle_types.h"

namespace dovetail::oracle {

// Where in an object: the fields, then the element (sets only). Or beside all
// of it: when the object expires.
struct Place {
  std::vector<Field> fields;
  std::string element;
  bool expiry = false;
  friend auto operator<=>(const Place&, const Place&) = default;
};

// Places, facts and entries are named by their index in order of creation.
struct Fact {
  size_t place = 0;
  uint64_t actor = 0;
  uint64_t counter = 0;
  bool put_out = false;  // a remove that a remove-wins set remembers
  std::string value;
  Stamp stamp;
  // When the object expires, in wall clock milliseconds; 0: not known yet.
  uint64_t at_ms = 0;
};

struct Entry {
  size_t place = 0;
  uint64_t actor = 0;
};

struct Level {
  uint64_t position = 0;  // amounts so far
  int64_t total = 0;      // their sum
};

struct Tally {
  Level known;
  Level reset;  // never further than `known`
  bool spent() const { return known.position == reset.position; }
  int64_t number() const { return known.total - reset.total; }
  void Join(const Tally& other);
};

struct Part {
  uint64_t actor = 0;
  uint64_t first = 0;  // event; the others of its run come together with it
  std::vector<size_t> written;   // facts
  std::vector<size_t> seen;      // facts, of itself too
  std::map<size_t, Tally> told;  // by entry
  std::set<size_t> retired;      // entries
};

// What somebody has before him.
struct Live {
  std::vector<bool> facts;          // by fact
  std::map<size_t, Tally> tallies;  // by entry; spent ones too
};

class History {
 public:
  explicit History(Kind kind) : kind_(kind) {}

  // --- Making ---
  size_t AddPlace(Place place);
  void AddFact(Fact fact);
  void AddEntry(Entry entry) { entries_.push_back(entry); }
  void AddPart(Part part) { parts_.push_back(std::move(part)); }

  void SetStamp(uint64_t actor, uint64_t counter, Stamp stamp);
  void SetTime(uint64_t actor, uint64_t counter, uint64_t at_ms);

  // --- Asking ---
  Live LiveFor(const Events& visible) const;
  // What is at `fields` for somebody with `live` before him.
  View Read(const std::vector<Field>& fields, const Live& live) const;
  // The times that are set: of several the latest counts.
  std::vector<const Fact*> Settings(const Live& live) const;

  // The place, or place_count() if nothing was ever there.
  size_t Find(const Place& place) const;
  bool IsBelow(size_t place, const std::vector<Field>& fields) const;
  const Place& place(size_t id) const { return *sites_[id].place; }
  const std::vector<size_t>& facts_at(size_t place) const {
    return sites_[place].facts;
  }
  const Fact& fact(size_t id) const { return facts_[id]; }
  const Entry& entry(size_t id) const { return entries_[id]; }
  size_t place_count() const { return sites_.size(); }
  size_t fact_count() const { return facts_.size(); }
  size_t entry_count() const { return entries_.size(); }
  size_t part_count() const { return parts_.size(); }
  // Whether all of it is visible.
  bool IsWithin(const Events& visible) const;

 private:
  struct Site {
    const Place* place = nullptr;  // a key of places_
    std::vector<size_t> facts;
  };
  using TalliesAt = std::map<size_t, std::vector<const Tally*>>;

  Kind KindAt(const std::vector<Field>& fields) const {
    return fields.empty() ? kind_ : fields.back().kind;
  }
  // Shows what is at one place; false if a reader cannot see it.
  bool ShowValues(const std::vector<size_t>& facts, View& view) const;
  bool ShowElement(const Place& place, const std::vector<size_t>& facts,
                   View& view) const;
  bool Show(const Place& place, const std::vector<size_t>& facts,
            const std::vector<const Tally*>& tallies, View& view) const;

  Kind kind_;
  std::map<Place, size_t> places_;
  std::vector<Site> sites_;
  std::vector<Fact> facts_;
  std::vector<Entry> entries_;
  std::vector<Part> parts_;
};

// Whether `fields` begins with `prefix`.
bool StartsWith(const std::vector<Field>& fields,
                const std::vector<Field>& prefix);

}  // namespace dovetail::oracle

#endif  // DOVETAIL_TESTS_SIM_ORACLE_HISTORY_H_
