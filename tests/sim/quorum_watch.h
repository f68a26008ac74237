// What a quorum has acknowledged a quorum must show, whoever owns what by then:
// reads of the two tight objects of draw_operations.cc, with strict quorums, at
// a majority, or at one replica where all had acknowledged. While partitions
// move these are what a client would notice first: that a new owner was taken
// for more than it had, or an old one for gone.
//
// A write counts from its answer on, if so many owners by the newest ring named
// in its receipt hold it, and everybody who ran knew of that ring. It no longer
// counts once a disk was replaced anywhere, or power lost where it was not
// fsynced, or a ring was forced on one whose owners were not complete, or a
// member removed. An answer is judged unless some node ran by a ring of before
// the write: nodes that all have not heard of a ring may miss what others wrote
// by it.
#ifndef DOVETAIL_TESTS_SIM_QUORUM_WATCH_H_
#define DOVETAIL_TESTS_SIM_QUORUM_WATCH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crdt/operation.h"
#include "replica/request.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/stream.h"

namespace dovetail::sim {

class QuorumWatch {
 public:
  // A strict read of one of the two objects at a random node.
  void ReadAny(SimCluster& cluster, Stream& chance);

  // A write of one operation was acknowledged; `copies` of the `owners` of its
  // partition hold it.
  void OnAcknowledged(const SimCluster& cluster, const crdt::Operation& what,
                      std::optional<uint64_t> id, uint32_t copies,
                      uint32_t owners, bool fsync);
  // Somebody is about to remove it.
  void MayRemove(const std::string& element) { removed_.insert(element); }
  void OnStopped(uint32_t node, Death death);

  // They have request numbers of their own.
  static bool IsQuorums(replica::RequestId id) {
    return static_cast<uint64_t>(id) >= kFirstRequest &&
           static_cast<uint64_t>(id) < 2 * kFirstRequest;
  }
  bool Awaits(replica::RequestId id) const { return asked_.contains(id); }
  void Forget(replica::RequestId id) { asked_.erase(id); }
  // Of which object, and when. Requires: it was asked for.
  std::pair<crdt::ObjectId, int64_t> AskedFor(replica::RequestId id) const;
  // What is wrong with the answer; empty: nothing. Requires: it was asked for.
  std::string Judge(const SimCluster& cluster, replica::RequestId id,
                    const replica::ReadReply& reply);
  // Answers that were judged with something to be seen.
  uint64_t judged() const { return judged_; }

 private:
  static constexpr uint64_t kFirstRequest = uint64_t{1} << 60;

  struct Write {
    bool exact = false;
    int64_t amount = 0;
    std::string element;
    std::optional<uint64_t> id;  // the same one again adds nothing
    bool all = false;            // every owner holds it, not a majority alone
    bool fsync = false;
    replica::RingStamp ring;
    int64_t at_us = 0;
  };
  struct Asked {
    uint32_t node = 0;
    bool exact = false;
    bool one = false;  // R = 1
    int64_t at_us = 0;
    replica::RingStamp ring;    // the newest of those of `writes`
    std::vector<Write> writes;  // that must show
  };

  std::vector<Write> writes_;
  std::map<replica::RequestId, Asked> asked_;
  std::set<std::string> removed_;
  uint64_t next_request_ = kFirstRequest;
  uint64_t judged_ = 0;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_QUORUM_WATCH_H_
