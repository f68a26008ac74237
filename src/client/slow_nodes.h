// Which nodes answer this client far later than the others do? They are passed
// over where another owner will do. The judgement is that of the nodes about
// each other (replica/peer_times.h), by what this client sees: how long calls
// take. It says nothing about who is right or alive.
#ifndef DOVETAIL_SRC_CLIENT_SLOW_NODES_H_
#define DOVETAIL_SRC_CLIENT_SLOW_NODES_H_

#include <cstdint>

#include "replica/ids.h"
#include "replica/options.h"
#include "replica/peer_times.h"
#include "replica/placement.h"
#include "replica/ring.h"
#include "src/client/routes.h"

namespace dovetail::internal {

class SlowNodes {
 public:
  SlowNodes();
  SlowNodes(const SlowNodes&) = delete;
  SlowNodes& operator=(const SlowNodes&) = delete;

  // Nodes are compared with those of their region.
  void SetRing(const replica::RingSpec& ring);
  // `call` names it among all of this client's.
  void Sent(replica::NodeId node, uint64_t call);
  void Answered(replica::NodeId node, uint64_t call);
  // It is connected anew: what was is no measure any more.
  void Forget(replica::NodeId node) { times_.Forget(node); }

  bool IsSlow(replica::NodeId node) const { return times_.IsSlow(node); }
  // Whether an operation is to go to `other` because `slow` is: always, but to
  // another region only if that has not shown to be as slow.
  bool IsBetter(const Routes::Owner& other, const Routes::Owner& slow) const;
  // Whether this slow node is to be asked something, to see if it still is.
  bool TakeProbe(replica::NodeId node);

 private:
  replica::ShardOptions options_;
  replica::Placement placement_;
  replica::PeerTimes times_;
};

}  // namespace dovetail::internal

#endif  // DOVETAIL_SRC_CLIENT_SLOW_NODES_H_
