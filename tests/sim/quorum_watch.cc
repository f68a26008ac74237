#include "tests/sim/quorum_watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::sim {

using replica::Level;
using replica::RequestId;

namespace {

crdt::ObjectId ObjectOf(bool exact) {
  return exact ? crdt::ObjectId{"b", "exact", crdt::Type::kCounter}
               : crdt::ObjectId{"b", "unique", crdt::Type::kSet};
}

}  // namespace

void QuorumWatch::ReadAny(SimCluster& cluster, Stream& chance) {
  constexpr size_t kAtOnceMax = 2;
  const uint32_t node = chance.Below32(cluster.size());
  const bool one = chance.OneIn(3);
  Asked asked;
  asked.node = node;
  asked.exact = chance.Half();
  asked.one = one;
  if (asked_.size() >= kAtOnceMax || !cluster.node(node).running()) return;
  asked.at_us = cluster.now_us();
  for (const Write& write : writes_) {
    if (write.exact != asked.exact || (one && !write.all) ||
        !cluster.AllKnow(write.ring) || cluster.loose_us() >= write.at_us) {
      continue;
    }
    asked.writes.push_back(write);
    if (write.ring.epoch >= asked.ring.epoch) asked.ring = write.ring;
  }
  if (asked.writes.empty()) return;
  replica::ReadRequest read;
  read.spec.object = ObjectOf(asked.exact);
  read.spec.limit = 4'000;  // as no other read, so that it is told from them
  replica::ClientRequest request;
  request.id = RequestId{next_request_++};
  request.options.read = one ? Level::Count(1) : Level::Quorum();
  request.options.quorums = replica::Quorums::kStrict;
  request.options.timeout = absl::Seconds(2);
  request.body = std::move(read);
  const RequestId id = request.id;
  asked_.emplace(id, std::move(asked));
  if (!cluster.Submit(node, std::move(request))) asked_.erase(id);
}

void QuorumWatch::OnAcknowledged(const SimCluster& cluster,
                                 const crdt::Operation& what,
                                 std::optional<uint64_t> id, uint32_t copies,
                                 uint32_t owners, bool fsync) {
  Write write;
  write.exact = what.object == ObjectOf(true);
  if ((!write.exact && what.object != ObjectOf(false)) ||
      what.verb != crdt::Verb::kAdd || 2 * copies <= owners) {
    return;
  }
  if (write.exact) {
    write.amount = what.amount;
  } else {
    write.element = what.elements.front();
  }
  write.id = id;
  write.all = copies == owners;
  write.fsync = fsync;
  write.ring = cluster.newest_ring();
  write.at_us = cluster.now_us();
  writes_.push_back(std::move(write));
}

std::pair<crdt::ObjectId, int64_t> QuorumWatch::AskedFor(RequestId id) const {
  const Asked& asked = asked_.at(id);
  return {ObjectOf(asked.exact), asked.at_us};
}

std::string QuorumWatch::Judge(const SimCluster& cluster, RequestId id,
                               const replica::ReadReply& reply) {
  const auto it = asked_.find(id);
  DOVETAIL_CHECK(it != asked_.end());
  const Asked asked = std::move(it->second);
  asked_.erase(it);
  if (!cluster.AllKnow(asked.ring) || cluster.late_start_us() >= asked.at_us ||
      reply.result.more) {
    return "";
  }
  ++judged_;
  const std::string story = absl::StrCat("a read at node ", asked.node, " at ",
                                         asked.one ? "one owner" : "a quorum");
  if (asked.exact) {
    int64_t sum = 0;
    std::set<uint64_t> counted;
    for (const Write& write : asked.writes) {
      if (!write.id || counted.insert(*write.id).second) sum += write.amount;
    }
    if (reply.result.view.number >= sum) return "";
    return absl::StrCat(story, " shows ", reply.result.view.number,
                        "; acknowledged by as many as it takes were ", sum);
  }
  const std::vector<std::string>& shown = reply.result.view.values;
  for (const Write& write : asked.writes) {
    if (removed_.contains(write.element) ||
        std::find(shown.begin(), shown.end(), write.element) != shown.end()) {
      continue;
    }
    return absl::StrCat(story, " lacks ", write.element,
                        ", acknowledged by as many as it takes");
  }
  return "";
}

void QuorumWatch::OnStopped(uint32_t node, Death death) {
  std::erase_if(asked_,
                [&](const auto& item) { return item.second.node == node; });
  if (death == Death::kProcess) return;
  const auto lost = [&](const Write& write) {
    return death == Death::kDisk || !write.fsync;
  };
  std::erase_if(writes_, lost);
  for (auto& [id, asked] : asked_) std::erase_if(asked.writes, lost);
}

}  // namespace dovetail::sim
