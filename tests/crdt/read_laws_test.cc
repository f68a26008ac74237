// Reads in parts give what reads of the whole give: pages of one replica, and
// the pages that replicas send each other for a quorum read.
#include <doctest/doctest.h>

#include <algorithm>
#include <optional>

#include "crdt/query.h"
#include "tests/crdt/law.h"

namespace dovetail::crdt::model {
namespace {

ReadSpec SpecOf(const Target& target, uint64_t limit) {
  ReadSpec spec;
  spec.object = target.object;
  spec.fields = target.fields;
  spec.limit = limit;
  return spec;
}

View ReadWhole(const Objects& objects, const Target& target) {
  ObjectsView state(objects);
  auto read = Query(state, SpecOf(target, 0));
  DOVETAIL_CHECK(read.ok());
  return read->view;
}

// All pages of `limit` elements or fields, put together.
std::string ReadInPages(const Replica& replica, const Target& target,
                        uint64_t limit, View& whole) {
  ReadSpec spec = SpecOf(target, limit);
  ObjectsView state = replica.view();
  whole.type = target.type();
  for (bool more = true; more;) {
    auto page = Query(state, spec);
    if (!page.ok()) return std::string(page.status().message());
    View& view = page->view;
    if (view.values.size() > limit || view.fields.size() > limit) {
      return "a page is over its limit";
    }
    more = page->more;
    if (more && view.values.empty() && view.fields.empty()) {
      return "an empty page with more after it";
    }
    if (!view.values.empty()) spec.after_element = view.values.back();
    if (!view.fields.empty()) spec.after_field = view.fields.back().first;
    whole.present |= view.present;
    whole.values.insert(whole.values.end(), view.values.begin(),
                        view.values.end());
    whole.fields.insert(whole.fields.end(), view.fields.begin(),
                        view.fields.end());
  }
  return "";
}

std::string PagesMakeTheWhole(World& world, uint32_t salt) {
  for (const Replica& replica : world.replicas()) {
    for (const Target& target : world.subject().targets) {
      if (!HasElements(target.type()) && target.type() != Type::kMap) continue;
      View pages;
      std::string wrong = ReadInPages(replica, target, 1 + salt % 3, pages);
      if (!wrong.empty()) return wrong;
      if (pages != ReadWhole(replica.objects(), target)) {
        return "the pages together are not the whole";
      }
    }
  }
  return "";
}

// The leaves that lie at or before `end`, or below it; all without an end.
Objects UpTo(const ObjectId& object, const Store& leaves,
             const std::optional<Path>& end) {
  Objects objects;
  for (const auto& [path, leaf] : leaves.children()) {
    if (end && *end < path && !path.HasPrefix(*end)) break;
    objects[object].Set(path, leaf);
  }
  return objects;
}

std::string QuorumReads(const Replica& x, const Replica& y,
                        const Target& target, uint64_t limit) {
  ObjectsView x_state = x.view();
  ObjectsView y_state = y.view();
  auto mine = CollectPage(x_state, SpecOf(target, limit));
  auto theirs = CollectPage(y_state, SpecOf(target, limit));
  if (!mine.ok() || !theirs.ok()) return "a page is refused";
  std::optional<Path> end;
  for (const LeafPage* page : {&*mine, &*theirs}) {
    if (page->truncated && (!end || page->end < *end)) end = page->end;
  }
  Store joined = mine->leaves;
  if (Join(joined, x.context(), theirs->leaves, y.context()) !=
      JoinResult::kOk) {
    return "dot reuse in a quorum read";
  }
  const Replica whole = Joined(x, y);
  const auto object = whole.objects().find(target.object);
  const View expected = ReadWhole(
      UpTo(target.object,
           object == whole.objects().end() ? Store() : object->second, end),
      target);
  const View view = ReadWhole(UpTo(target.object, joined, end), target);
  if (view == expected) return "";
  return "reads " + ToString(view) + ", the join has " + ToString(expected);
}

std::string QuorumReadsAreReadsOfTheJoin(World& world, uint32_t salt) {
  for (const Replica& x : world.replicas()) {
    for (const Replica& y : StatesOf(world)) {
      for (const Target& target : world.subject().targets) {
        std::string wrong = QuorumReads(x, y, target, salt % 4);
        if (!wrong.empty()) return wrong;
      }
    }
  }
  return "";
}

DOVETAIL_LAW("the pages of a read make the whole", 100, PagesMakeTheWhole)
DOVETAIL_LAW("a quorum read is a read of the join", 100,
             QuorumReadsAreReadsOfTheJoin)

}  // namespace
}  // namespace dovetail::crdt::model
