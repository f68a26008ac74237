// Sessions that hop between nodes while everything goes wrong. They look at
// the two tight objects of draw_operations.cc alone, whose rules make wrong
// answers plain without asking the oracle:
//
//   exact   is only added to: it never falls, and is at least what the session
//           itself has added
//   unique  each element is added once and removed at most once: who was seen
//           there and then gone never comes back, and what the session added
//           is there unless somebody may have removed it
//
// An answer must agree with all that had been answered when it was asked for,
// whatever was lost or restored meanwhile: a session that cannot be served
// has to be told so.
#ifndef DOVETAIL_TESTS_SIM_SESSION_WATCH_H_
#define DOVETAIL_TESTS_SIM_SESSION_WATCH_H_

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "replica/request.h"
#include "replica/session_token.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/stream.h"

namespace dovetail::sim {

class SessionWatch {
 public:
  // A random session reads one of its objects at a random node.
  void ReadAny(SimCluster& cluster, Stream& chance);

  // A write of the plan is about to be submitted: one of a tight object becomes
  // that of a session. It takes along what the session has seen if it is to
  // come `after` that; else nothing, so it waits for nothing.
  void BeforeWrite(uint64_t event, bool after, replica::WriteRequest& write);
  // It was acknowledged.
  void OnWritten(uint64_t event, const replica::WriteReply& reply);

  // Reads of sessions have request numbers of their own.
  static bool IsSessions(replica::RequestId id) {
    return static_cast<uint64_t>(id) >= kFirstRequest &&
           static_cast<uint64_t>(id) < 2 * kFirstRequest;
  }
  bool Awaits(replica::RequestId id) const { return asked_.contains(id); }
  void Forget(replica::RequestId id) { asked_.erase(id); }
  int64_t AskedAt(replica::RequestId id) const { return asked_.at(id).at_us; }
  replica::PartitionId PartitionOf(replica::RequestId id) const {
    return asked_.at(id).partition;
  }
  // What is wrong with the answer; empty: nothing. Requires: it was asked for.
  std::string Judge(replica::RequestId id, const replica::ReadReply& reply);
  void OnStopped(uint32_t node);

 private:
  static constexpr uint64_t kFirstRequest = uint64_t{1} << 61;

  // What answers have told.
  struct Seen {
    int64_t exact = 0;
    int64_t exact_added = 0;  // by itself
    std::set<std::string> there;
    std::set<std::string> gone;
    std::set<std::string> added;  // by itself
  };
  struct Session {
    Seen seen;
    std::map<replica::PartitionId, replica::SessionToken> tokens;
  };
  struct Asked {
    size_t session = 0;
    uint32_t node = 0;
    bool exact = false;
    Seen seen;  // when it was asked for
    int64_t at_us = 0;
    replica::PartitionId partition{};
  };
  struct Write {
    size_t session = 0;
    replica::WriteRequest request;
  };

  static void Merge(Session& session, const replica::SessionToken& token);

  std::array<Session, 2> sessions_;
  std::map<replica::RequestId, Asked> asked_;
  std::map<uint64_t, Write> writes_;  // by plan event
  std::set<std::string> perhaps_removed_;
  std::set<crdt::Dot> counted_;  // operation ids whose amount is in a sum
  bool begun_ = false;           // something was acknowledged
  uint64_t next_request_ = kFirstRequest;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_SESSION_WATCH_H_
