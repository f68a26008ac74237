#include "tests/sim/session_watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crdt/check.h"
#include "replica/hash.h"

namespace dovetail::sim {

using replica::PartitionId;
using replica::RequestId;
using replica::SessionToken;

namespace {

crdt::ObjectId ObjectOf(bool exact) {
  return exact ? crdt::ObjectId{"b", "exact", crdt::Type::kCounter}
               : crdt::ObjectId{"b", "unique", crdt::Type::kSet};
}

}  // namespace

void SessionWatch::Merge(Session& session, const SessionToken& token) {
  session.tokens[token.partition].MergeFrom(token);
}

void SessionWatch::ReadAny(SimCluster& cluster, Stream& chance) {
  const size_t which = static_cast<size_t>(chance.Below(sessions_.size()));
  const bool exact = chance.Half();
  const uint32_t node = chance.Below32(cluster.size());
  const bool one = chance.Permille(700);
  // One at a time: a read that waits makes turns, and turns make reads.
  const bool busy = std::any_of(
      asked_.begin(), asked_.end(),
      [&](const auto& item) { return item.second.session == which; });
  if (busy || !begun_ || !cluster.node(node).running()) return;
  Session& session = sessions_[which];
  replica::ReadRequest read;
  read.spec.object = ObjectOf(exact);
  const PartitionId partition = replica::PartitionOf(
      read.spec.object.bucket, read.spec.object.key, cluster.partitions());
  read.session = session.tokens[partition];
  replica::ClientRequest request;
  request.id = RequestId{next_request_++};
  request.options.read = replica::Level::Count(
      one ? 1 : std::min<uint32_t>(2, cluster.placement().replicas(partition)));
  request.options.timeout = absl::Seconds(2);
  request.body = std::move(read);
  const RequestId id = request.id;
  asked_[id] = {which, node, exact, session.seen, cluster.now_us(), partition};
  if (!cluster.Submit(node, std::move(request))) asked_.erase(id);
}

void SessionWatch::BeforeWrite(uint64_t event, bool after,
                               replica::WriteRequest& write) {
  if (write.operations.size() != 1) return;
  const crdt::Operation& operation = write.operations.front();
  if (operation.object != ObjectOf(true) &&
      operation.object != ObjectOf(false)) {
    return;
  }
  if (operation.verb == crdt::Verb::kRemove) {
    perhaps_removed_.insert(operation.elements.begin(),
                            operation.elements.end());
  }
  write.session.emplace();
  const auto which = static_cast<size_t>(event % sessions_.size());
  // Of its one partition, if the session has seen anything of it.
  for (const auto& [partition, token] : sessions_[which].tokens) {
    if (token.partitions == 0) continue;
    const PartitionId its = replica::PartitionOf(
        operation.object.bucket, operation.object.key, token.partitions);
    if (after && partition == its) write.session = token;
  }
  writes_[event] = {which, write};
}

void SessionWatch::OnWritten(uint64_t event, const replica::WriteReply& reply) {
  const auto it = writes_.find(event);
  if (it == writes_.end()) return;
  DOVETAIL_CHECK(reply.session.has_value());
  Session& session = sessions_[it->second.session];
  Merge(session, *reply.session);
  begun_ = true;
  const crdt::Operation& operation = it->second.request.operations.front();
  if (operation.object == ObjectOf(true)) {
    const auto& id = it->second.request.id;
    // The same operation again adds nothing.
    if (!id || counted_.insert(id->first).second) {
      session.seen.exact_added += operation.amount;
    }
  } else if (operation.verb == crdt::Verb::kAdd) {
    session.seen.added.insert(operation.elements.begin(),
                              operation.elements.end());
  }
}

std::string SessionWatch::Judge(RequestId id, const replica::ReadReply& reply) {
  const auto it = asked_.find(id);
  DOVETAIL_CHECK(it != asked_.end());
  const Asked asked = std::move(it->second);
  asked_.erase(it);
  const std::string story =
      absl::StrCat("session ", asked.session, " at node ", asked.node, " ");
  if (!reply.session) return absl::StrCat(story, "got no token");
  Session& session = sessions_[asked.session];
  Merge(session, *reply.session);
  if (asked.exact) {
    const int64_t value = reply.result.view.number;
    if (value < asked.seen.exact || value < asked.seen.exact_added) {
      return absl::StrCat(story, "reads ", value, " where it had read ",
                          asked.seen.exact, " and added ",
                          asked.seen.exact_added);
    }
    session.seen.exact = std::max(session.seen.exact, value);
    return "";
  }
  if (reply.result.more) return "";
  const std::vector<std::string>& list = reply.result.view.values;
  const std::set<std::string> now(list.begin(), list.end());
  for (const std::string& element : now) {
    if (asked.seen.gone.contains(element)) {
      return absl::StrCat(story, "sees ", element,
                          " again, which it had seen removed");
    }
  }
  for (const std::string& element : asked.seen.added) {
    if (!now.contains(element) && !perhaps_removed_.contains(element)) {
      return absl::StrCat(story, "does not see its own ", element);
    }
  }
  for (const std::string& element : asked.seen.there) {
    if (now.contains(element)) continue;
    if (!perhaps_removed_.contains(element)) {
      return absl::StrCat(story, "misses ", element, ", which it had seen");
    }
    session.seen.gone.insert(element);
  }
  session.seen.there.insert(now.begin(), now.end());
  return "";
}

void SessionWatch::OnStopped(uint32_t node) {
  std::erase_if(asked_,
                [&](const auto& item) { return item.second.node == node; });
}

}  // namespace dovetail::sim
