// Reads in flight, in path order:
//
//   Start     take the local page; with R = 1 that is the answer. Else ask R-1
//             other owners, sending the digest of the page
//   OnAnswer  when R have answered: all equal, the local page is the answer;
//             else join the pages, each under its own context, and tell the
//             replicas that differ to sync (never on this request's time)
//
//             An equal page is joined too, for its context: of two that show
//             nothing one may know that what a third shows is deleted. Two
//             that are equal need no contexts, so these are sent from R = 3.
//
//   OnTimers  an owner that is slow is joined by the others; past the
//             deadline the read fails
//
// Pages of a large collection end at different places on different replicas.
// The joined page ends at the least of them: beyond it, some replica has said
// nothing, and silence is not absence.
#ifndef DOVETAIL_REPLICA_READ_COORDINATOR_H_
#define DOVETAIL_REPLICA_READ_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/query.h"
#include "replica/quorum.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

class ReadCoordinator {
 public:
  // `nudge(peer, partition)` asks for a sync with a replica found to differ.
  ReadCoordinator(ShardCore& core,
                  std::function<void(NodeId, PartitionId)> nudge)
      : core_(core), nudge_(std::move(nudge)) {}

  // Whom a read is for: a client, or a node's listing, which is told only
  // whether there is anything.
  struct ForListing {
    NodeId node{};
    ReadTicket ticket;
    uint32_t place = 0;
  };
  using Asker = std::variant<RequestId, ForListing>;

  void Start(Asker asker, const RequestOptions& options, PartitionId partition,
             ReadRequest request, Now now);
  // An owner's part: answers a coordinator's question.
  void OnQuery(NodeId from, PartitionId partition, const ReadQuery& query);
  void OnAnswer(NodeId from, PartitionId partition, ReadAnswer answer);
  void OnPeerDown(NodeId peer);
  void OnTimers(Now now);
  // The turn failed: what this turn read was never committed.
  void OnTurnFailed(const absl::Status& why);

  absl::Duration next_deadline() const;
  size_t in_flight() const { return jobs_.size(); }

 private:
  struct Answer {
    crdt::LeafPage page;
    crdt::Context context;
  };
  struct Job {
    Asker asker;
    PartitionId partition{};
    crdt::ReadSpec spec;
    absl::Duration deadline;
    absl::Duration hedge_at;  // when the owners not asked yet are asked too
    crdt::LeafPage page;      // the local one, at the start
    Hash128 digest;
    Tally tally{1, 1};
    std::vector<NodeId> others;  // all that may be asked
    std::vector<NodeId> not_asked;
    std::vector<std::pair<NodeId, Answer>> different;
    // What those know whose page equals `page`, united: one page under several
    // contexts joins to that page under their union. Kept from R = 3.
    std::optional<crdt::Context> same;
    absl::Status last_error;
  };
  using Jobs = std::map<uint64_t, Job>;

  void Tell(const Asker& asker, absl::StatusOr<ReadReply> reply);
  // Reads the page that job.spec names; again for the next one.
  void Launch(Job job);
  void Ask(uint64_t sequence, Job& job, NodeId peer);
  void Finish(Jobs::iterator job);
  void Fail(Jobs::iterator job, absl::Status why);
  absl::StatusOr<crdt::LeafPage> JoinPages(const Job& job);
  absl::StatusOr<crdt::LeafPage> LocalPage(PartitionId partition,
                                           const crdt::ReadSpec& spec);
  // `times` has the job's timers; it may have moved out of the map.
  void EraseJob(Jobs::iterator job, const Job& times);

  ShardCore& core_;
  std::function<void(NodeId, PartitionId)> nudge_;
  Jobs jobs_;
  uint64_t next_sequence_ = 1;
  std::set<std::pair<absl::Duration, uint64_t>> timers_;
};

// InvalidArgument unless every leaf is one that an object of `type` can have.
absl::Status CheckPage(crdt::Type type, const crdt::LeafPage& page);

// A hash of everything in a page that a reader could tell apart.
Hash128 DigestOf(crdt::Type type, const crdt::LeafPage& page);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_READ_COORDINATOR_H_
