#include "crdt/event_set.h"

#include <algorithm>
#include <limits>

#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/dot_codec.h"
#include "crdt/hooks.h"

namespace dovetail::crdt {
namespace {

using Interval = EventSet::Interval;
using Intervals = std::vector<Interval>;

constexpr uint64_t kCounterMax = std::numeric_limits<uint64_t>::max();

// The first interval that does not end before `counter`.
Intervals::const_iterator NotBefore(const Intervals& intervals,
                                    uint64_t counter) {
  return std::lower_bound(
      intervals.begin(), intervals.end(), counter,
      [](const Interval& interval, uint64_t c) { return interval.last < c; });
}

// Appends, melting with the last interval where they overlap or touch.
// Requires: `next` does not start before the last one does.
void Append(Intervals& out, Interval next) {
  if (!out.empty() && out.back().last >= next.first - 1) {
    out.back().last = std::max(out.back().last, next.last);
  } else {
    out.push_back(next);
  }
}

Intervals Unite(const Intervals& a, const Intervals& b) {
  Intervals out;
  out.reserve(a.size() + b.size());
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() || j != b.end()) {
    const bool take_a = j == b.end() || (i != a.end() && i->first <= j->first);
    Append(out, take_a ? *i++ : *j++);
  }
  return out;
}

Intervals Without(const Intervals& a, const Intervals& b) {
  Intervals out;
  auto j = b.begin();
  for (Interval rest : a) {
    bool any_left = true;
    while (j != b.end() && j->last < rest.first) ++j;
    for (auto k = j; k != b.end() && k->first <= rest.last; ++k) {
      if (k->first > rest.first) out.push_back({rest.first, k->first - 1});
      if (k->last >= rest.last) {
        any_left = false;
        break;
      }
      rest.first = k->last + 1;
    }
    if (any_left) out.push_back(rest);
  }
  return out;
}

Intervals Common(const Intervals& a, const Intervals& b) {
  Intervals out;
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() && j != b.end()) {
    const uint64_t first = std::max(i->first, j->first);
    const uint64_t last = std::min(i->last, j->last);
    if (first <= last) out.push_back({first, last});
    if (i->last < j->last) {
      ++i;
    } else {
      ++j;
    }
  }
  return out;
}

void CheckRun(const DotRun& run) {
  DOVETAIL_CHECK(run.first >= 1);
  DOVETAIL_CHECK(run.count >= 1);
  DOVETAIL_CHECK(run.count - 1 <= kCounterMax - run.first);
}

}  // namespace

bool EventSet::Contains(Dot dot) const {
  const auto actor = intervals_.find(dot.actor);
  if (actor == intervals_.end()) return false;
  const auto it = NotBefore(actor->second, dot.counter);
  return it != actor->second.end() && it->first <= dot.counter;
}

bool EventSet::ContainsRun(const DotRun& run) const {
  CheckRun(run);
  const auto actor = intervals_.find(run.actor);
  if (actor == intervals_.end()) return false;
  const auto it = NotBefore(actor->second, run.first);
  return it != actor->second.end() && it->first <= run.first &&
         it->last >= run.last();
}

bool EventSet::IntersectsRun(const DotRun& run) const {
  CheckRun(run);
  const auto actor = intervals_.find(run.actor);
  if (actor == intervals_.end()) return false;
  const auto it = NotBefore(actor->second, run.first);
  return it != actor->second.end() && it->first <= run.last();
}

void EventSet::InsertRun(const DotRun& run) {
  CheckRun(run);
  Intervals& intervals = intervals_[run.actor];
  Interval merged{run.first, run.last()};
  // All that overlap or touch melt into one: [begin, end).
  const auto begin = intervals.begin() +
                     (NotBefore(intervals, run.first - 1) - intervals.cbegin());
  auto end = begin;
  while (end != intervals.end() && end->first - 1 <= merged.last) {
    merged.first = std::min(merged.first, end->first);
    merged.last = std::max(merged.last, end->last);
    ++end;
  }
  DOVETAIL_MARK_IF("events: a gap is closed", end - begin > 1);
  if (begin == end) {
    intervals.insert(begin, merged);
  } else {
    *begin = merged;
    intervals.erase(begin + 1, end);
  }
}

void EventSet::EraseRun(const DotRun& run) {
  CheckRun(run);
  const auto actor = intervals_.find(run.actor);
  if (actor == intervals_.end()) return;
  actor->second = Without(actor->second, {{run.first, run.last()}});
  if (actor->second.empty()) intervals_.erase(actor);
}

void EventSet::UnionWith(const EventSet& other) {
  for (const auto& [actor, theirs] : other.intervals_) {
    const auto [it, inserted] = intervals_.try_emplace(actor, theirs);
    if (!inserted) it->second = Unite(it->second, theirs);
  }
}

void EventSet::Subtract(const EventSet& other) {
  for (const auto& [actor, theirs] : other.intervals_) {
    const auto it = intervals_.find(actor);
    if (it == intervals_.end()) continue;
    Intervals left = Without(it->second, theirs);
    if (left.empty()) {
      intervals_.erase(it);
    } else {
      it->second = std::move(left);
    }
  }
}

EventSet EventSet::Minus(const EventSet& other) const {
  EventSet out;
  for (const auto& [actor, mine] : intervals_) {
    const auto it = other.intervals_.find(actor);
    Intervals left =
        it == other.intervals_.end() ? mine : Without(mine, it->second);
    if (!left.empty()) out.intervals_.emplace(actor, std::move(left));
  }
  return out;
}

EventSet EventSet::Intersect(const EventSet& other) const {
  EventSet out;
  for (const auto& [actor, mine] : intervals_) {
    const auto it = other.intervals_.find(actor);
    if (it == other.intervals_.end()) continue;
    Intervals common = Common(mine, it->second);
    if (!common.empty()) out.intervals_.emplace(actor, std::move(common));
  }
  return out;
}

bool EventSet::IsSubsetOf(const EventSet& other) const {
  for (const auto& [actor, mine] : intervals_) {
    const auto it = other.intervals_.find(actor);
    if (it == other.intervals_.end()) return false;
    auto theirs = it->second.begin();
    for (const Interval& interval : mine) {
      while (theirs != it->second.end() && theirs->last < interval.last) {
        ++theirs;
      }
      if (theirs == it->second.end() || theirs->first > interval.first) {
        return false;
      }
    }
  }
  return true;
}

size_t EventSet::interval_count() const {
  size_t count = 0;
  for (const auto& [actor, intervals] : intervals_) count += intervals.size();
  return count;
}

uint64_t EventSet::dot_count() const {
  uint64_t count = 0;
  ForEachRun([&](const DotRun& run) {
    count += std::min(run.count, kCounterMax - count);
    return true;
  });
  return count;
}

EventSet EventSet::OfActor(ActorId actor) const {
  EventSet out;
  const auto it = intervals_.find(actor);
  if (it != intervals_.end()) out.intervals_.insert(*it);
  return out;
}

void EventSet::ForEachRun(absl::FunctionRef<bool(const DotRun&)> visit) const {
  for (const auto& [actor, intervals] : intervals_) {
    for (const auto& [first, last] : intervals) {
      if (!visit({actor, first, last - first + 1})) return;
    }
  }
}

void EventSet::AppendTo(Writer& out) const {
  out.Varint(intervals_.size());
  for (const auto& [actor, intervals] : intervals_) {
    AppendActor(out, actor);
    out.Varint(intervals.size());
    uint64_t least = 1;  // the least counter the next interval may start at
    for (const auto& [first, last] : intervals) {
      out.Varint(first - least);
      out.Varint(last - first);
      least = last + 2;  // wraps only after the last interval
    }
  }
}

namespace {

Intervals ReadIntervals(Reader& in) {
  const size_t count = in.Count(2);
  if (in.ok() && count == 0) in.Fail("actor without events");
  Intervals intervals;
  intervals.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    uint64_t least = 1;
    if (i > 0) {
      if (intervals.back().last > kCounterMax - 2) {
        in.Fail("interval past the last counter");
        return {};
      }
      least = intervals.back().last + 2;
    }
    const uint64_t gap = in.Varint();
    const uint64_t length = in.Varint();
    if (!in.ok()) return {};
    if (gap > kCounterMax - least || length > kCounterMax - least - gap) {
      in.Fail("interval past the last counter");
      return {};
    }
    intervals.push_back({least + gap, least + gap + length});
  }
  return intervals;
}

}  // namespace

absl::StatusOr<EventSet> EventSet::ReadFrom(Reader& in) {
  EventSet out;
  const size_t actors = in.Count(11);
  for (size_t i = 0; i < actors && in.ok(); ++i) {
    const ActorId actor = ReadActor(in);
    if (in.ok() && !out.intervals_.empty() &&
        actor <= out.intervals_.rbegin()->first) {
      in.Fail("actors are not in ascending order");
    }
    Intervals intervals = ReadIntervals(in);
    if (!in.ok()) break;
    out.intervals_.emplace_hint(out.intervals_.end(), actor,
                                std::move(intervals));
  }
  if (!in.ok()) return in.status();
  return out;
}

std::string EventSet::Encode() const {
  std::string bytes;
  Writer out(&bytes);
  out.Byte(kCodecVersion);
  AppendTo(out);
  return bytes;
}

absl::StatusOr<EventSet> EventSet::Decode(absl::string_view bytes) {
  Reader in(bytes);
  in.ExpectVersion();
  absl::StatusOr<EventSet> set = ReadFrom(in);
  DOVETAIL_RETURN_IF_ERROR(in.Finish());
  return set;
}

}  // namespace dovetail::crdt
