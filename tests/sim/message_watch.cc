#include "tests/sim/message_watch.h"

#include <variant>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "crdt/codec.h"
#include "crdt/delta.h"
#include "crdt/leaf.h"
#include "tests/sim/trace.h"

namespace dovetail::sim {

std::string MessageWatch::Look(const replica::Message& message) {
  if (const auto* one = std::get_if<replica::Replicate>(&message.body)) {
    return LookAt(message.partition, one->delta);
  }
  if (const auto* chunk = std::get_if<replica::SyncDeltas>(&message.body)) {
    for (const std::string& delta : chunk->deltas) {
      std::string wrong = LookAt(message.partition, delta);
      if (!wrong.empty()) return wrong;
    }
  }
  if (const auto* ranges = std::get_if<replica::RangeAnswer>(&message.body)) {
    for (const replica::RangePart& part : ranges->parts) {
      for (const replica::RangeRow& row : part.rows) {
        std::string wrong =
            LookAtPayloads(message.partition, row.object, row.path, row.leaf);
        if (!wrong.empty()) return wrong;
      }
    }
  }
  return "";
}

crdt::DotRun MessageWatch::EventsOf(absl::string_view delta) const {
  const auto known = known_.find(HashOf(delta));
  DOVETAIL_CHECK(known != known_.end());
  return known->second;
}

std::string MessageWatch::LookAt(replica::PartitionId partition,
                                 absl::string_view bytes) {
  const uint64_t hash = HashOf(bytes);
  if (known_.contains(hash)) return "";
  const auto delta = crdt::Delta::Decode(bytes);
  if (!delta.ok()) {
    return absl::StrCat("a delta that was sent does not decode: ",
                        delta.status().ToString());
  }
  known_[hash] = delta->events;
  const Place place{partition, delta->events.actor};
  const crdt::Dot first{delta->events.actor, delta->events.first};
  auto& runs = runs_[place];
  const auto next = runs.upper_bound(delta->events.last());
  if (next != runs.begin()) {
    const auto& [begin, of] = *std::prev(next);
    if (begin + of.first > delta->events.first) {
      return absl::StrCat("event ", crdt::ToString(first),
                          " is in two different deltas");
    }
  }
  runs[delta->events.first] = {delta->events.count, hash};
  for (const crdt::DeltaLeaf& leaf : delta->leaves) {
    std::string wrong =
        LookAtPayloads(partition, leaf.object, leaf.path, leaf.store);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

std::string MessageWatch::LookAtPayloads(replica::PartitionId partition,
                                         const crdt::ObjectId& object,
                                         const crdt::Path& path,
                                         const crdt::Leaf& leaf) {
  for (const crdt::Leaf::Entry& entry : leaf.entries()) {
    // The one payload that grows under its dot.
    if (std::holds_alternative<crdt::Tally>(entry.second)) continue;
    std::string payload;
    crdt::Writer out(&payload);
    out.Bytes(crdt::ToString(object));
    out.Bytes(path.bytes());
    crdt::AppendPayload(out, entry.second);
    const auto [known, inserted] = payloads_.try_emplace(
        {{partition, entry.first.actor}, entry.first.counter}, HashOf(payload));
    if (!inserted && known->second != HashOf(payload)) {
      return absl::StrCat("dot ", crdt::ToString(entry.first),
                          " names two payloads");
    }
  }
  return "";
}

}  // namespace dovetail::sim
