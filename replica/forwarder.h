// Requests that came to a node which owns nothing of their partition: an owner
// coordinates in its stead, since it holds what the operation is to observe and
// is one of the replicas that must answer anyway.
//
//   Start        send the request to the owner that is preferred of those that
//                can be reached; none: the node stands in (it coordinates)
//   OnForward    at the owner: take it like a client's, under an id of its own
//   Divert       at the end of the owner's turn: the reply goes back as a
//                message, not to a client
//   OnForwarded  pass the reply on
//   OnPeerDown   a read goes to another owner, or is coordinated here. A write
//                is not tried again: the owner may have taken it
//   OnTimers     it may have been lost on the way: the same owner is sent it
//                again, each time after twice as long. Past the deadline: an
//                error that says the write may still take effect
//
// A message may come twice, or so late that the receiver has restarted since; a
// counter must not be added to twice for that. So requests are numbered from
// process to process, by partition, and a number is taken once. A write that is
// sent again keeps its number and the process that it was meant for.
//
// A request is forwarded once. Its receiver coordinates it even if it has
// another idea of who owns what; whoever takes a write hands it over.
#ifndef DOVETAIL_REPLICA_FORWARDER_H_
#define DOVETAIL_REPLICA_FORWARDER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "replica/shard_core.h"

namespace dovetail::replica {

class Forwarder {
 public:
  explicit Forwarder(ShardCore& core) : core_(core) {}

  // Whether the request is for somebody else: then it is on its way, and
  // `request` is used up.
  bool Start(ClientRequest& request, PartitionId partition, Now now);
  // The request to coordinate for `from`; nullopt: it has been here before, or
  // was meant for an earlier process of this node.
  std::optional<ClientRequest> OnForward(NodeId from, PartitionId partition,
                                         Forward forward);
  void OnForwarded(NodeId from, PartitionId partition, Forwarded forwarded);
  // Returns the requests that this node must now take care of itself.
  std::vector<std::pair<ClientRequest, PartitionId>> OnPeerDown(NodeId peer,
                                                                Now now);
  void OnTimers(Now now);
  // Turns the replies to other nodes' requests into messages.
  void Divert(Output& output);

  absl::Duration next_deadline() const;
  size_t in_flight() const { return jobs_.size(); }

 private:
  struct Job {
    ClientRequest request;  // of a read: to send it again; else id and options
    PartitionId partition{};
    NodeId owner{};
    absl::Duration deadline;
    bool write = false;
    uint64_t number = 0;
    crdt::ActorId receiver{};  // the process that the number is for
    absl::Duration again_at;   // when it is sent again
    absl::Duration pause;      // and how long after that once more
  };
  using Jobs = std::map<uint64_t, Job>;

  std::optional<NodeId> PickOwner(PartitionId partition) const;
  // To the process that its owner is now.
  void SendNew(uint64_t sequence, Job& job, Now now);
  void Send(uint64_t sequence, Job& job, Now now);
  void SendAgain(Jobs::iterator job, Now now);
  void End(Jobs::iterator job);

  ShardCore& core_;
  Jobs jobs_;
  std::set<std::pair<absl::Duration, uint64_t>> timers_;
  uint64_t next_sequence_ = 1;
  // Requests of other nodes, by the id they have here.
  struct Origin {
    NodeId node{};
    PartitionId partition{};
    ReadTicket ticket;
  };
  std::map<RequestId, Origin> origins_;
  uint64_t next_id_ = 1;
  // The numbers given out, by partition and receiving process; and those taken,
  // as if they were events of the sending process: a few intervals for each.
  // By partition, for the shards of two nodes need not be the same ones: two
  // of a sender may meet one of the receiver's.
  std::map<std::pair<PartitionId, crdt::ActorId>, uint64_t> numbers_;
  std::map<PartitionId, crdt::EventSet> taken_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_FORWARDER_H_
