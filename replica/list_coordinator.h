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
//   With a session (list_session.cc), before: FindCover finds for each
//   partition of it a node whose page shows all that was seen of it, which is
//   then asked
//
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
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "replica/list_cover.h"
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
  void OnCoverAnswer(NodeId from, const CoverAnswer& answer, Now now);
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
    std::vector<PartitionId> unlisted;
  };
  struct Candidate {
    Listed object;
    // nullopt: a read of it is under way.
    std::optional<bool> present;
  };
  // A node has applied all of a session's events, and in which of its lives.
  struct Vouch {
    NodeId node{};
    crdt::ActorId process{};
  };
  // What a session has seen of a partition.
  struct Seen {
    SessionToken token;
    std::vector<Vouch> covered_by;       // in order of arrival
    std::map<NodeId, uint64_t> lacking;  // who answered, and lacks so many
    bool asked_all = false;              // not only this node
    // Once the pages are there.
    Vouch vouch;
    bool confirmed = false;
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
    // What is being filled there, of those that have answered.
    std::set<std::pair<NodeId, PartitionId>> unlisted;
    absl::Status last_error;
    // --- Of a session ---
    std::map<PartitionId, Seen> seen;
    bool covering = false;         // before pages are asked for
    std::vector<NodeId> pageless;  // could not answer with a page
    size_t unconfirmed = 0;
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
  static void NoteUnlisted(Job& job, NodeId node,
                           const std::vector<PartitionId>& unlisted);
  void Ask(uint64_t sequence, Job& job, NodeId node);
  void Send(uint64_t sequence, const Job& job, NodeId node);
  // Whether owners of before have to be asked, too.
  bool HasBefore(const Job& job) const;
  // Whether a node's page has all that it is to have of a partition, as far as
  // it has answered. Requires: `job` outlives the result.
  std::function<bool(NodeId, PartitionId)> ListsAll(const Job& job,
                                                    CoverOf whose) const;
  // Whether the pages of these are enough.
  bool IsCovered(const Job& job, const std::vector<NodeId>& nodes) const;
  // Asks usable nodes on top of `nodes` as far as the partitions need it.
  absl::Status AskMore(uint64_t sequence, Job& job, std::vector<NodeId> nodes);
  void Decide(Jobs::iterator job, Now now);
  void Gather(Job& job) const;
  void AskPresence(uint64_t sequence, const Job& job, size_t place, Now now);
  // --- Of a session ---
  // Asks who has applied what was seen; once somebody has, of each partition,
  // Launch. Again from the start where what was said does not hold any more.
  void FindCover(Job job, Now now);
  void CoverAnew(Jobs::iterator job, Now now);
  void AskCover(uint64_t sequence, PartitionId partition, const Seen& seen,
                NodeId node);
  void AskAllForCover(uint64_t sequence, const Job& job, PartitionId partition,
                      Seen& seen);
  void AskAgainForCover(uint64_t sequence, Job& job);
  void OnCover(Jobs::iterator job, NodeId from, const CoverAnswer& answer);
  // Whether the node's page says anything of the partition.
  bool Counts(const Job& job, NodeId node, PartitionId partition) const;
  // Whom to ask: this node first, if it is one.
  std::vector<NodeId> MayCover(const Job& job, PartitionId partition) const;
  const Vouch* VouchAmong(const Job& job, PartitionId partition,
                          const Seen& seen,
                          const std::vector<NodeId>& nodes) const;
  // Whether the session saw nothing of the partition that `node` lacks.
  bool CoversSeen(const Job& job, PartitionId partition, NodeId node) const;
  bool ShowsSeen(const Job& job, const std::vector<NodeId>& nodes) const;
  // Whether all of it may yet be among the pages.
  bool MayShowSeen(const Job& job) const;
  // `nodes` and those that cover what these do not.
  std::vector<NodeId> WithCover(const Job& job,
                                std::vector<NodeId> nodes) const;
  // Whether those whose pages are there still have what they had.
  void BeginToConfirm(uint64_t sequence, Job& job);
  void AskToConfirm(uint64_t sequence, const Job& job);
  void OnConfirmed(Jobs::iterator job, NodeId from, const CoverAnswer& answer,
                   Now now);
  void LaunchCovered(Now now);
  absl::Status DeadlineOf(const Job& job) const;

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
  // All of their sessions is covered. They take their pages in a later turn: a
  // page shows what was committed, and this node may vouch before that.
  std::vector<uint64_t> covered_;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_LIST_COORDINATOR_H_
