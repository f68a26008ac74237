// Runner: what is expected against what is there. Nothing here changes what
// any replica holds.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "crdt/check.h"
#include "replica/hash.h"
#include "tests/scenario/runner.h"
#include "tests/scenario/value.h"

namespace dovetail::scenario {

using crdt::View;
using replica::NodeId;

namespace {

Judgement Fails(absl::string_view expected, absl::string_view got) {
  return Complaint{Complaint::Kind::kExpectation, std::string(expected),
                   std::string(got)};
}

// Appends the next page of a set or a map.
void Append(View& all, View page) {
  all.present |= page.present;
  std::move(page.values.begin(), page.values.end(),
            std::back_inserter(all.values));
  std::move(page.fields.begin(), page.fields.end(),
            std::back_inserter(all.fields));
}

size_t SizeOf(const View& view) {
  return view.values.size() + view.fields.size();
}

bool Contains(const View& view, const ContainsElement& what) {
  if (what.field) {
    return std::any_of(
        view.fields.begin(), view.fields.end(),
        [&](const auto& child) { return child.first == *what.field; });
  }
  return std::count(view.values.begin(), view.values.end(), what.element) > 0;
}

bool Holds(const Predicate& predicate, const View& view) {
  if (const auto* equals = std::get_if<EqualsView>(&predicate)) {
    return std::any_of(
        equals->any_of.begin(), equals->any_of.end(),
        [&](const View& literal) { return Matches(literal, view); });
  }
  if (const auto* compares = std::get_if<ComparesTo>(&predicate)) {
    return Holds(compares->value, view.number);
  }
  if (const auto* size = std::get_if<SizeIs>(&predicate)) {
    return Holds(size->size, static_cast<int64_t>(SizeOf(view)));
  }
  const auto& contains = std::get<ContainsElement>(predicate);
  return Contains(view, contains) == contains.wanted;
}

std::string Got(const Predicate& predicate, const View& view) {
  if (std::holds_alternative<SizeIs>(predicate)) {
    return absl::StrCat("size ", SizeOf(view));
  }
  return crdt::ToString(view);
}

// "k = {x}" of "expect A k = {x}".
std::string WithoutKeyword(const std::string& statement) {
  constexpr absl::string_view kKeyword = "expect ";
  DOVETAIL_CHECK(statement.size() > kKeyword.size());
  return statement.substr(kKeyword.size());
}

}  // namespace

absl::StatusOr<View> Runner::ReadView(const std::vector<NodeId>& who,
                                      crdt::ReadSpec spec) {
  replica::RequestOptions options;
  options.read = replica::Level::One();
  replica::ReadRequest request;
  request.only.assign(who.begin() + 1, who.end());
  const uint64_t limit = spec.limit;
  std::optional<View> all;
  for (;;) {
    request.spec = spec;
    DOVETAIL_ASSIGN_OR_RETURN(crdt::ReadResult page,
                              world_.Read(who.front(), request, options));
    const size_t shown = SizeOf(page.view);
    if (all) {
      Append(*all, std::move(page.view));
    } else {
      all = std::move(page.view);
    }
    if (!page.more || (limit > 0 && SizeOf(*all) >= limit)) return *all;
    if (shown == 0) {
      return absl::DataLossError(
          "a page with nothing in it that says there is more");
    }
    if (limit > 0) spec.limit = limit - SizeOf(*all);
    if (all->type == crdt::Type::kMap) {
      spec.after_field = all->fields.back().first;
    } else {
      spec.after_element = all->values.back();
    }
  }
}

Judgement Runner::JudgeObject(const ExpectObject& expect,
                              const std::vector<NodeId>& who) {
  const std::string expected = WithoutKeyword(current_);
  const std::string at = expect.who.empty()
                             ? absl::StrCat(" at ", world_.NameOf(who.front()))
                             : std::string();
  crdt::ReadSpec spec = expect.spec;
  spec.object.bucket = bucket_;
  const absl::StatusOr<View> view = ReadView(who, std::move(spec));
  if (!view.ok()) {
    return Fails(expected,
                 absl::StrCat(absl::StatusCodeToString(view.status().code()),
                              ": ", view.status().message(), at));
  }
  if (Holds(expect.predicate, *view)) return std::nullopt;
  return Fails(expected, absl::StrCat(Got(expect.predicate, *view), at));
}

Judgement Runner::Do(const ExpectObject& statement) {
  std::vector<NodeId> who;
  for (const std::string& name : statement.who) who.push_back(Node(name));
  if (!who.empty()) return JudgeObject(statement, who);
  const replica::PartitionId partition = replica::PartitionOf(
      bucket_, statement.spec.object.key, world_.partitions());
  for (NodeId node : world_.RunningOwners(partition)) {
    if (Judgement wrong = JudgeObject(statement, {node})) return wrong;
  }
  return std::nullopt;
}

// --- Numbers ---

absl::StatusOr<int64_t> Runner::CountRows(NodeId node) {
  int64_t rows = 0;
  DOVETAIL_RETURN_IF_ERROR(
      world_.StorageOf(node).Scan(replica::Family::kRows, "", "",
                                  [&](absl::string_view, absl::string_view) {
                                    ++rows;
                                    return true;
                                  }));
  return rows;
}

absl::StatusOr<int64_t> Runner::CountDots(NodeId node, crdt::ObjectId object) {
  object.bucket = bucket_;
  const std::string prefix = crdt::ToString(object) + "|";
  DOVETAIL_ASSIGN_OR_RETURN(
      const std::vector<std::string> rows,
      world_.ShardOf(node).DumpRows(replica::PartitionOf(
          object.bucket, object.key, world_.partitions())));
  return std::count_if(rows.begin(), rows.end(), [&](const std::string& row) {
    return row.compare(0, prefix.size(), prefix) == 0;
  });
}

// 0 for an object that never expires, or has.
absl::StatusOr<int64_t> Runner::MsLeft(NodeId node, crdt::ObjectId object) {
  object.bucket = bucket_;
  replica::ReadRequest read;
  read.spec.object = std::move(object);
  read.spec.limit = 1;
  replica::RequestOptions options;
  options.here = true;
  options.read = replica::Level::Count(1);
  DOVETAIL_ASSIGN_OR_RETURN(const crdt::ReadResult result,
                            world_.Read(node, std::move(read), options));
  if (result.expired || result.expires_ms == 0) return 0;
  const int64_t left = static_cast<int64_t>(result.expires_ms) -
                       static_cast<int64_t>(world_.WallMs());
  // A started second counts: syncs take some of one.
  return (left + 999) / 1000 * 1000;
}

// What the events of all lives of `of` take in the contexts of `node`.
absl::StatusOr<int64_t> Runner::EventBytes(NodeId node, NodeId of) {
  size_t bytes = 0;
  for (uint32_t p = 0; p < world_.partitions(); ++p) {
    crdt::EventSet known;
    for (crdt::ActorId actor : world_.ActorsOf(of)) {
      known.UnionWith(
          world_.ShardOf(node)
              .ContextOf(replica::PartitionId{static_cast<uint16_t>(p)})
              .applied.OfActor(actor));
    }
    if (!known.empty()) bytes += known.Encode().size();
  }
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<int64_t> Runner::Measure(const ExpectNumber& expect,
                                        NodeId node) {
  using What = ExpectNumber::What;
  if (expect.what == What::kActors) {
    return static_cast<int64_t>(world_.ActorsThatMinted(node));
  }
  if (!world_.IsRunning(node)) {
    return absl::UnavailableError(
        absl::StrCat(world_.NameOf(node), " is stopped"));
  }
  switch (expect.what) {
    case What::kObjects: {
      size_t objects = 0;
      for (const std::string& bucket : buckets_) {
        DOVETAIL_ASSIGN_OR_RETURN(const std::vector<crdt::ObjectId> found,
                                  world_.List(node, bucket));
        objects += found.size();
      }
      return static_cast<int64_t>(objects);
    }
    case What::kRows:
      return CountRows(node);
    case What::kDots:
      return CountDots(node, expect.object);
    case What::kLog: {
      uint64_t entries = 0;
      for (const auto& digest : world_.ShardOf(node).Digests()) {
        entries += digest.log_entries;
      }
      return static_cast<int64_t>(entries);
    }
    case What::kEventBytes:
      return EventBytes(node, Node(expect.of));
    case What::kAheadMs:
      return world_.ClockAheadMs(node);
    case What::kExpiresMs:
      return MsLeft(node, expect.object);
    case What::kQuarantined:
      return static_cast<int64_t>(world_.ShardOf(node).stats().quarantined);
    case What::kCorruptions:
      return static_cast<int64_t>(world_.CorruptionsOf(node));
    case What::kActors:
    case What::kQueued:
    case What::kQueuedBytes:
      break;
  }
  DOVETAIL_CHECK(false);
  return 0;
}

Judgement Runner::Do(const ExpectNumber& statement) {
  using What = ExpectNumber::What;
  const std::string expected = WithoutKeyword(current_);
  if (statement.what == What::kQueued || statement.what == What::kQueuedBytes) {
    const Network::Way way = Way(statement.link);
    const size_t number = statement.what == What::kQueued
                              ? world_.network().queue(way).size()
                              : world_.network().queued_bytes(way);
    if (Holds(statement.comparison, static_cast<int64_t>(number))) {
      return std::nullopt;
    }
    return Fails(expected, absl::StrCat(number));
  }
  const bool all = statement.who.empty();
  std::vector<NodeId> nodes = {};
  if (!all) {
    nodes.push_back(Node(statement.who));
  } else if (statement.what == What::kDots ||
             statement.what == What::kExpiresMs) {
    nodes = world_.RunningOwners(replica::PartitionOf(
        bucket_, statement.object.key, world_.partitions()));
  } else {
    nodes = world_.RunningNodes();
  }
  for (NodeId node : nodes) {
    const std::string at = all ? absl::StrCat(" at ", world_.NameOf(node)) : "";
    const absl::StatusOr<int64_t> number = Measure(statement, node);
    if (!number.ok()) {
      return Fails(
          expected,
          absl::StrCat(absl::StatusCodeToString(number.status().code()), ": ",
                       number.status().message(), at));
    }
    if (!Holds(statement.comparison, *number)) {
      return Fails(expected, absl::StrCat(*number, at));
    }
  }
  return std::nullopt;
}

// --- Identity ---

// What differs between two running nodes; empty if nothing does.
std::string Runner::Difference(NodeId a, NodeId b, bool named) {
  replica::Shard& mine = world_.ShardOf(a);
  replica::Shard& theirs = world_.ShardOf(b);
  const auto my_digests = mine.Digests();
  const auto their_digests = theirs.Digests();
  for (size_t i = 0; i < my_digests.size(); ++i) {
    const replica::PartitionId p = my_digests[i].partition;
    // Others hold what reached them, and forget it when the owners have it.
    if (!named && (!world_.Owns(a, p) || !world_.Owns(b, p))) continue;
    const auto differ = [&](absl::string_view what) {
      return absl::StrCat(what, " of ", world_.NameOf(a), " and ",
                          world_.NameOf(b), " differ in partition ",
                          replica::Index(p));
    };
    const auto my_rows = mine.DumpRows(p);
    const auto their_rows = theirs.DumpRows(p);
    if (!my_rows.ok()) return my_rows.status().ToString();
    if (!their_rows.ok()) return their_rows.status().ToString();
    if (*my_rows != *their_rows) return differ("the rows");
    if (mine.ContextOf(p) != theirs.ContextOf(p)) return differ("the contexts");
    if (my_digests[i].rows != their_digests[i].rows ||
        my_digests[i].row_entries != their_digests[i].row_entries ||
        my_digests[i].context != their_digests[i].context) {
      return differ("the digests");
    }
  }
  return "";
}

Judgement Runner::Do(const ExpectIdentical& statement) {
  std::vector<NodeId> nodes;
  for (const std::string& name : statement.names) {
    nodes.push_back(Node(name));
    if (Judgement wrong = Need(nodes.back(), true)) return wrong;
  }
  const bool named = !nodes.empty();
  if (!named) nodes = world_.RunningNodes();
  const std::string expected = WithoutKeyword(current_);
  for (NodeId node : nodes) {
    const absl::Status verified = world_.ShardOf(node).VerifyDigests();
    if (!verified.ok()) {
      return Fails(expected, absl::StrCat(verified.ToString(), " at ",
                                          world_.NameOf(node)));
    }
    for (NodeId other : nodes) {
      if (other == node) break;
      std::string difference = Difference(other, node, named);
      if (!difference.empty()) return Fails(expected, difference);
    }
  }
  return std::nullopt;
}

}  // namespace dovetail::scenario
