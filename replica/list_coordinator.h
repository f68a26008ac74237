// Listings in flight: which objects of a bucket are there, as far as R owners
// of each partition know? In path order:
//
//   Start       take the page of this node's own index. If this node is enough
//               (R = 1), that is the answer; else ask nodes until each
//               partition has R owners among them (list_cover.h)
//   OnAnswer    when those have answered, join the pages: what every owner
//               that was asked shows is there; what only some show is decided
//               by a joined read of that object (read_coordinator.h), put to
//               an owner of its partition as a PresenceQuery
//   OnPresence  when all are decided, the page is the answer
//   OnTimers    a node that is slow is joined by others; without others, who
//               is silent is asked again, each time after twice as long; past
//               the deadline the listing fails
//
// An index tells that an object shows something at one node. That is no state
// that could be joined: of two nodes one may have applied a deletion that the
// other lacks, and the truth is "gone", or lack the object, and it is "there".
// Hence the reads; a page has so many of them at the most, and ends early.
//
// Pages end at different objects on different nodes. The joined page ends at
// the least of them: beyond it, some node has said nothing.
#ifndef DOVETAIL_REPLICA_LIST_COORDINATOR_H_
#define DOVETAIL_REPLICA_LIST_COORDINATOR_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

class ListCoordinator {
 public:
  explicit ListCoordinator(ShardCore& core) : core_(core) {}

  void Start(RequestId id, const RequestOptions& options, ListRequest request,
             Now now);
  // Any node's part: answers a coordinator's question.
  void OnQuery(NodeId from, PartitionId partition, const ListQuery& query);
  void OnAnswer(NodeId from, ListAnswer answer, Now now);
  void OnPresence(const PresenceAnswer& answer, Now now);
  void OnPeerDown(NodeId peer);
  void OnTimers(Now now);
  // The turn failed: what its reads decided was never committed.
  void OnTurnFailed(const absl::Status& why);

  absl::Duration next_deadline() const;
  size_t in_flight() const { return jobs_.size(); }

 private:
  struct Page {
    std::vector<Listed> objects;
    bool more = false;
  };
  struct Candidate {
    Listed object;
    // nullopt: a read of it is under way.
    std::optional<bool> present;
  };
  struct Job {
    RequestId id{};
    ListRequest request;
    absl::Duration deadline;
    absl::Duration hedge_at;         // when others are asked, or the silent
    absl::Duration pause;            // between that and the next time
    std::vector<uint32_t> required;  // R by partition
    std::vector<uint32_t> before;    // of owners of before, while it moves
    bool local = false;              // of this node's region alone
    bool here = false;               // what this node holds is the answer
    Page page;                       // this node's own
    Hash128 digest;
    std::vector<NodeId> asked;     // this node too; in order
    std::vector<NodeId> answered;  // this node too; in order of arrival
    std::vector<NodeId> failed;
    std::vector<std::pair<NodeId, Page>> different;
    absl::Status last_error;
    // --- Once they have answered ---
    bool deciding = false;
    std::vector<Candidate> candidates;
    size_t undecided = 0;
    bool more = false;
    std::optional<Listed> end;  // with `more`: how far the page goes
  };
  using Jobs = std::map<uint64_t, Job>;

  absl::StatusOr<Page> LocalPage(const ListRequest& request);
  // Takes the page that job.request names; again for the next one.
  void Launch(Job job, Now now);
  void Ask(uint64_t sequence, Job& job, NodeId node);
  void Send(uint64_t sequence, const Job& job, NodeId node);
  // Asks usable nodes on top of `nodes` as far as the partitions need it.
  // Whether owners of before have to be asked, too.
  bool HasBefore(const Job& job) const;
  bool IsCovered(const Job& job, const std::vector<NodeId>& nodes) const;
  absl::Status AskMore(uint64_t sequence, Job& job, std::vector<NodeId> nodes);
  void Decide(Jobs::iterator job, Now now);
  void Gather(Job& job) const;
  void AskPresence(uint64_t sequence, const Job& job, size_t place, Now now);
  void Hedge(uint64_t sequence, Job& job, Now now);
  void HedgeLater(uint64_t sequence, Job& job, Now now);
  void Finish(Jobs::iterator job, Now now);
  void Fail(Jobs::iterator job, absl::Status why);
  // `times` has the job's timers; it may have moved out of the map.
  void EraseJob(Jobs::iterator job, const Job& times);

  ShardCore& core_;
  Jobs jobs_;
  uint64_t next_sequence_ = 1;
  std::set<std::pair<absl::Duration, uint64_t>> timers_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_LIST_COORDINATOR_H_
