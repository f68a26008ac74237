// Equality of what travels between clients and nodes, for tests alone: the
// structs themselves are bags of data that nothing else compares.
#ifndef DOVETAIL_TESTS_CLIENT_CLIENT_EQUALITY_H_
#define DOVETAIL_TESTS_CLIENT_CLIENT_EQUALITY_H_

#include <tuple>
#include <variant>

#include "net/client_types.h"

namespace dovetail::net {

inline bool Same(const crdt::Operation& a, const crdt::Operation& b) {
  return std::tie(a.object, a.fields, a.verb, a.elements, a.value, a.amount,
                  a.child, a.observed) ==
         std::tie(b.object, b.fields, b.verb, b.elements, b.value, b.amount,
                  b.child, b.observed);
}

inline bool Same(const ClientOperation& a, const ClientOperation& b) {
  if (a.index() != b.index()) return false;
  if (const auto* mine = std::get_if<replica::WriteRequest>(&a)) {
    const auto& theirs = std::get<replica::WriteRequest>(b);
    if (mine->operations.size() != theirs.operations.size()) return false;
    if (mine->id != theirs.id || mine->session != theirs.session) return false;
    for (size_t i = 0; i < mine->operations.size(); ++i) {
      if (!Same(mine->operations[i], theirs.operations[i])) return false;
    }
    return true;
  }
  const auto& mine = std::get<replica::ReadRequest>(a);
  const auto& theirs = std::get<replica::ReadRequest>(b);
  const auto parts = [](const replica::ReadRequest& read) {
    const crdt::ReadSpec& spec = read.spec;
    return std::tie(spec.object, spec.fields, spec.element, spec.after_element,
                    spec.after_field, spec.limit, spec.want_token, read.only,
                    read.session);
  };
  return parts(mine) == parts(theirs);
}

inline bool Same(const replica::Receipt& a, const replica::Receipt& b) {
  return std::tie(a.nodes, a.required, a.durability) ==
         std::tie(b.nodes, b.required, b.durability);
}

inline bool Same(const ClientResult& a, const ClientResult& b) {
  if (a.status() != b.status()) return false;
  if (!a.ok()) return true;
  if (a->index() != b->index()) return false;
  if (const auto* mine = std::get_if<replica::WriteReply>(&*a)) {
    const auto& theirs = std::get<replica::WriteReply>(*b);
    return Same(mine->receipt, theirs.receipt) &&
           std::tie(mine->not_observed, mine->deltas, mine->session) ==
               std::tie(theirs.not_observed, theirs.deltas, theirs.session);
  }
  const auto& mine = std::get<replica::ReadReply>(*a);
  const auto& theirs = std::get<replica::ReadReply>(*b);
  return Same(mine.receipt, theirs.receipt) &&
         std::tie(mine.result.view, mine.result.more, mine.result.token,
                  mine.session) ==
             std::tie(theirs.result.view, theirs.result.more,
                      theirs.result.token, theirs.session);
}

inline bool Same(const NodeStatus& a, const NodeStatus& b) {
  const auto same_members = [&] {
    if (a.members.size() != b.members.size()) return false;
    for (size_t i = 0; i < a.members.size(); ++i) {
      const MemberStatus& x = a.members[i];
      const MemberStatus& y = b.members[i];
      if (std::tie(x.id, x.name, x.address, x.up) !=
          std::tie(y.id, y.name, y.address, y.up)) {
        return false;
      }
    }
    return true;
  };
  const auto same_shards = [&] {
    if (a.shards.size() != b.shards.size()) return false;
    for (size_t i = 0; i < a.shards.size(); ++i) {
      const replica::ShardStats& x = a.shards[i];
      const replica::ShardStats& y = b.shards[i];
      const auto parts = [](const replica::ShardStats& s) {
        return std::tie(s.deltas_applied, s.deltas_duplicate,
                        s.operations_minted, s.commits, s.commits_failed,
                        s.fsyncs, s.cache_hits, s.cache_misses,
                        s.sync_deltas_sent, s.read_mismatches, s.clock_refusals,
                        s.corruptions, s.log_gaps);
      };
      if (parts(x) != parts(y)) return false;
    }
    return true;
  };
  return std::tie(a.id, a.name, a.version, a.uptime, a.actor, a.partitions,
                  a.storage) == std::tie(b.id, b.name, b.version, b.uptime,
                                         b.actor, b.partitions, b.storage) &&
         same_members() && same_shards();
}

}  // namespace dovetail::net

#endif  // DOVETAIL_TESTS_CLIENT_CLIENT_EQUALITY_H_
