// Dot stores and the one causal join.
//
// A dot store holds what is alive, each piece under the dot of the event that
// wrote it. Next to it stands a context: all dots its holder knows of. A dot
// that the context covers and the store lacks is deleted; that is how deletes
// leave nothing behind. Joining (s, c) with (s', c'):
//
//   in both            keep, join the payloads
//   only in s          keep unless c' covers the dot (they saw it and dropped it)
//   only in s'         take unless c covers it
//   contexts           union, formed by the caller once, after all children
//
// Three stores share that join: DotFun (dot → payload), DotSet (the same with
// nothing to carry), DotMap (key → store; a key whose store is empty is gone).
// Nested maps flatten: DotMap<K, DotMap<L, S>> joins exactly as
// DotMap<(K, L), S>, because every child is joined against the same two
// contexts. So an object is one DotMap from path to DotFun (path.h).
//
// Source: Almeida, Shoker, Baquero, arXiv:1603.01529, section 7.
#ifndef DOVETAIL_CRDT_DOT_STORE_H_
#define DOVETAIL_CRDT_DOT_STORE_H_

#include <algorithm>
#include <concepts>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "crdt/check.h"
#include "crdt/dot.h"
#include "crdt/event_set.h"

namespace dovetail::crdt {

// A join-semilattice whose join may be partial: JoinPayload returns false when
// the two values cannot both belong to one dot, which is dot reuse or damage.
template <class V>
concept Lattice = std::regular<V> && requires(V mine, const V& theirs) {
  { JoinPayload(mine, theirs) } -> std::same_as<bool>;
};

// The payload of a DotSet.
struct Unit {
  friend auto operator<=>(Unit, Unit) = default;
};
inline bool JoinPayload(Unit&, Unit) { return true; }

template <Lattice V>
class DotFun {
 public:
  using Entry = std::pair<Dot, V>;
  // One entry is the rule, hence the inline slot.
  using Entries = absl::InlinedVector<Entry, 1>;

  DotFun() = default;
  DotFun(Dot dot, V payload) {
    entries_.emplace_back(dot, std::move(payload));
  }

  // Sorted by dot, each dot once.
  const Entries& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }

  const V* Find(Dot dot) const {
    auto it = LowerBound(dot);
    return it != entries_.end() && it->first == dot ? &it->second : nullptr;
  }
  bool Contains(Dot dot) const { return Find(dot) != nullptr; }

  // Sets the payload of `dot`, replacing one that is there.
  void Set(Dot dot, V payload) {
    auto it = entries_.begin() + (LowerBound(dot) - entries_.begin());
    if (it != entries_.end() && it->first == dot) {
      it->second = std::move(payload);
    } else {
      entries_.insert(it, Entry(dot, std::move(payload)));
    }
  }
  void Erase(Dot dot) {
    auto it = entries_.begin() + (LowerBound(dot) - entries_.begin());
    if (it != entries_.end() && it->first == dot) entries_.erase(it);
  }

  // Appends; requires `dot` greater than every dot here.
  void Append(Dot dot, V payload) {
    DOVETAIL_CHECK(entries_.empty() || entries_.back().first < dot);
    entries_.emplace_back(dot, std::move(payload));
  }

  std::vector<Dot> Dots() const {
    std::vector<Dot> dots;
    dots.reserve(entries_.size());
    for (const Entry& entry : entries_) dots.push_back(entry.first);
    return dots;
  }

  friend bool operator==(const DotFun&, const DotFun&) = default;

 private:
  typename Entries::const_iterator LowerBound(Dot dot) const {
    return std::lower_bound(
        entries_.begin(), entries_.end(), dot,
        [](const Entry& entry, Dot d) { return entry.first < d; });
  }
  Entries entries_;
};

using DotSet = DotFun<Unit>;

// Absent keys and keys with an empty store are the same thing; only the former
// is representable after Normalize/Join.
template <class K, class S>
class DotMap {
 public:
  const std::map<K, S>& children() const { return children_; }
  bool empty() const { return children_.empty(); }
  const S* Find(const K& key) const {
    auto it = children_.find(key);
    return it == children_.end() ? nullptr : &it->second;
  }
  // An empty `store` erases the key.
  void Set(const K& key, S store) {
    if (store.empty()) {
      children_.erase(key);
    } else {
      children_.insert_or_assign(key, std::move(store));
    }
  }
  friend bool operator==(const DotMap&, const DotMap&) = default;

 private:
  std::map<K, S> children_;
};

// Whether a causal join found one dot with two payloads that no join explains.
enum class [[nodiscard]] JoinResult { kOk, kDotReuse };

// Two payloads of one dot that do not join. A session numbers its own events
// and may break its word (session.h): the greater payload wins then,
// everywhere, so that no client can damage a replica or make an object
// unreadable. From any other actor it is damage: false.
template <Lattice V>
bool SettleReuse(Dot dot, V& mine, const V& theirs) {
  if constexpr (std::totally_ordered<V>) {
    if (KindOf(dot.actor) != ActorKind::kSession) return false;
    mine = std::max(mine, theirs);
    return true;
  }
  return false;
}

// mine := the store of (mine, my_context) ⊔ (theirs, their_context).
// The contexts are those of before the join; the caller unites them afterwards.
// On kDotReuse `mine` is unspecified and must be discarded.
// Cost: O(dots of both), and that many lookups in the contexts.
template <Lattice V, DotCover MyContext, DotCover TheirContext>
JoinResult Join(DotFun<V>& mine, const MyContext& my_context,
                const DotFun<V>& theirs, const TheirContext& their_context) {
  DotFun<V> out;
  auto a = mine.entries().begin();
  auto b = theirs.entries().begin();
  const auto a_end = mine.entries().end();
  const auto b_end = theirs.entries().end();
  while (a != a_end || b != b_end) {
    if (b == b_end || (a != a_end && a->first < b->first)) {
      if (!their_context.Contains(a->first)) out.Append(a->first, a->second);
      ++a;
    } else if (a == a_end || b->first < a->first) {
      if (!my_context.Contains(b->first)) out.Append(b->first, b->second);
      ++b;
    } else {
      V payload = a->second;
      if (!JoinPayload(payload, b->second) &&
          !SettleReuse(a->first, payload, b->second)) {
        return JoinResult::kDotReuse;
      }
      out.Append(a->first, std::move(payload));
      ++a;
      ++b;
    }
  }
  mine = std::move(out);
  return JoinResult::kOk;
}

// The same, key by key, against the same two contexts.
template <class K, class S, DotCover MyContext, DotCover TheirContext>
JoinResult Join(DotMap<K, S>& mine, const MyContext& my_context,
                const DotMap<K, S>& theirs,
                const TheirContext& their_context) {
  DotMap<K, S> out;
  auto a = mine.children().begin();
  auto b = theirs.children().begin();
  const auto a_end = mine.children().end();
  const auto b_end = theirs.children().end();
  const S bottom{};
  while (a != a_end || b != b_end) {
    const bool take_a = b == b_end || (a != a_end && !(b->first < a->first));
    const bool take_b = a == a_end || (b != b_end && !(a->first < b->first));
    const K& key = take_a ? a->first : b->first;
    S child = take_a ? a->second : bottom;
    if (Join(child, my_context, take_b ? b->second : bottom, their_context) ==
        JoinResult::kDotReuse) {
      return JoinResult::kDotReuse;
    }
    out.Set(key, std::move(child));
    if (take_a) ++a;
    if (take_b) ++b;
  }
  mine = std::move(out);
  return JoinResult::kOk;
}

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_DOT_STORE_H_
