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
//             that are equal need no contexts, so these are sent where two
//             others must answer: from R = 3, or from R = 2 where the
//             coordinator does not count.
//
//   OnTimers  an owner that is slow is joined by the others; once all have been
//             asked, those who are silent, or could not answer yet, are asked
//             again, each time after twice as long, for questions and answers
//             may get lost; past the deadline the read fails
//
// Who is asked: owners that can be reached, then those who stand in for the
// others (replica_set.h). What a stand-in holds is a part of the truth: it
// joins, but if nobody else answered, "absent" cannot be said.
//
// While partitions move (standing.h), an owner that is being filled answers
// with what it has, which joins and says what has been written since; what was
// there before has to come from as many who are whole, among them former owners
// (ReplicaSet::NewTallyOfBefore). A newer ring than this node knows makes an
// answer void: all is asked again when it comes.
//
// With a session the answer has to show all that its client has seen: the
// events of the token must be among those that the nodes which answered have
// applied, together. If R of them do not do, everybody else who can be reached
// is asked too, this node catches up, and all is asked again after a while. So
// contexts are needed even with equal pages: they say what was applied.
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
#include "replica/replica_set.h"
#include "replica/ring_stamp.h"
#include "replica/shard_core.h"

namespace dovetail::replica {

class ReadCoordinator {
 public:
  // `nudge(peer, partition)` asks for a sync with a replica found to differ,
  // `pull(peer, partition)` asks a peer for what is missing here.
  ReadCoordinator(ShardCore& core,
                  std::function<void(NodeId, PartitionId)> nudge,
                  std::function<void(NodeId, PartitionId)> pull)
      : core_(core), nudge_(std::move(nudge)), pull_(std::move(pull)) {}

  // Whom a read is for: a client, or a node's listing, which is told only
  // whether there is anything.
  struct ForListing {
    NodeId node{};
    ReadTicket ticket;
    uint32_t place = 0;
  };
  // Or the reaper: when it expires, if all who answer hold the same of it.
  struct ForReaper {
    PartitionId partition{};
    crdt::ObjectId object;
  };
  using Asker = std::variant<RequestId, ForListing, ForReaper>;

  void Start(Asker asker, const RequestOptions& options, PartitionId partition,
             ReadRequest request, Now now);
  // An owner's part: answers a coordinator's question.
  void OnQuery(NodeId from, PartitionId partition, const ReadQuery& query);
  void OnAnswer(NodeId from, PartitionId partition, ReadAnswer answer);
  void OnPeerDown(NodeId peer);
  void OnTimers(Now now);
  // By a newer ring others have to be asked: reads begin anew.
  void OnPlacement(Now now);
  // The turn failed: what this turn read was never committed.
  void OnTurnFailed(const absl::Status& why);

  absl::Duration next_deadline() const;
  size_t in_flight() const { return jobs_.size(); }

 private:
  struct Answer {
    crdt::LeafPage page;
    crdt::Context context;
  };
  // Of a read with a session.
  struct Session {
    Session() {}              // clang 14 refuses emplace() without it, here
    SessionToken seen;        // what the answer has to show
    crdt::EventSet answered;  // E of those who have answered, united
    // What pages that showed nothing and were passed over have told.
    crdt::EventSet passed_over;
    uint64_t missing = 0;  // events that those who answered did not have
    absl::Duration again_at = absl::InfiniteDuration();  // all are asked again
    absl::Duration pause;     // before that, when all have answered
    absl::Duration patience;  // and when some are silent
  };
  struct Job {
    explicit Job(ReplicaSet who) : set(std::move(who)) {}

    ReplicaSet set;
    bool only = false;      // the asked nodes were named: each counts
    bool inspects = false;  // what these nodes hold is asked, not what is
    Asker asker;
    PartitionId partition{};
    RequestOptions options;
    crdt::ReadSpec spec;  // what replicas are asked for
    uint64_t limit = 0;   // the request's, which the reply keeps
    absl::Duration deadline;
    // When the owners not asked yet are asked too, or else the silent again.
    absl::Duration hedge_at;
    absl::Duration pause;  // before the silent are asked again
    crdt::LeafPage page;   // the local one, at the start
    Hash128 digest;
    Tally tally;
    // While the partition moves: who is whole, and who is complete.
    std::optional<Tally> before;
    Tally complete;
    std::vector<NodeId> former;  // asked for what was before alone
    std::vector<NodeId> named;   // by the request; empty: nobody
    std::vector<NodeId> others;  // all that may be asked, in this order
    std::vector<NodeId> not_asked;
    // Those that could not answer then: they may be able to by and by.
    std::vector<NodeId> refused;
    std::vector<std::pair<NodeId, Answer>> different;
    // What those know whose page equals `page`, united: one page under several
    // contexts joins to that page under their union. Kept if `several`.
    std::optional<crdt::Context> same;
    // Two others or more must answer, or may have to; or there is a session.
    bool several = false;
    std::optional<Session> session;
    absl::Status last_error;
  };
  using Jobs = std::map<uint64_t, Job>;

  void Tell(const Asker& asker, absl::StatusOr<ReadReply> reply);
  // By what time the asker is shown objects; 0: those that have expired, too.
  uint64_t ShownAt(const Asker& asker) const {
    return std::holds_alternative<ForReaper>(asker)
               ? 0
               : core_.peer_clocks.Time(core_.time);
  }
  // Reads the page that job.spec names; again for the next one.
  void Launch(Job job);
  // Asks as many as are wanted, and says when more are to be asked.
  void AskFirst(uint64_t sequence, Job& job);
  void Ask(uint64_t sequence, Job& job, NodeId peer);
  void Send(uint64_t sequence, const Job& job, NodeId peer);
  // Some are silent: asks everybody else, or them again.
  void Hedge(uint64_t sequence, Job& job, Now now);
  size_t DemandOf(const Job& job, NodeId node) const;
  // Whether its answer could be of use now.
  bool Wants(const Job& job, NodeId node) const;
  // Whether an answer given by that ring says anything for a read by this one.
  bool CountsByRing(const RingStamp& ring) const;
  // Where who answered has turned out to be less than it was taken for.
  void AskWanted(uint64_t sequence, Job& job);
  // It has answered, and its answer is worth that.
  void Count(Job& job, NodeId node, Standing standing);
  static Verdict VerdictOf(const Job& job);
  void ListOthers(Job& job, std::vector<NodeId> named);
  // `peer` will not answer: another is asked in its place, or the read fails.
  void Replace(Jobs::iterator job, NodeId peer, absl::Status why);
  // OK if what these nodes hold shows that there is nothing.
  absl::Status CheckAbsence(PartitionId partition, const crdt::ReadSpec& spec,
                            const crdt::View& view, bool whole) const;
  // Only stand-ins have answered, with nothing. Whether an owner may still
  // answer; asks one if none was.
  bool AwaitOwner(Jobs::iterator job);
  // R = 1, and this node may answer for itself.
  void AnswerHere(const Asker& asker, const RequestOptions& options,
                  PartitionId partition, const ReadRequest& request);
  // Whether those who have answered cover the session.
  static bool Covered(const Job& job);
  // They do not: asks who was not asked, or everybody again after a while.
  void AskMore(Jobs::iterator job);
  void ScheduleAskingAgain(Now now);
  void AskAgain(Jobs::iterator job);
  bool AnySilent(const Job& job) const;
  absl::Status DeadlineOf(const Job& job) const;
  // For the reply; `page` is what it shows.
  std::optional<SessionToken> TokenOf(const Job& job,
                                      const crdt::LeafPage& page) const;
  void Finish(Jobs::iterator job);
  void Fail(Jobs::iterator job, absl::Status why);
  // Goes on after a page that shows nothing.
  void PassOver(Jobs::iterator job, const crdt::LeafPage& page);
  absl::StatusOr<crdt::LeafPage> JoinPages(const Job& job);
  absl::StatusOr<crdt::LeafPage> LocalPage(PartitionId partition,
                                           const crdt::ReadSpec& spec);
  // `times` has the job's timers; it may have moved out of the map.
  void EraseJob(Jobs::iterator job, const Job& times);

  ShardCore& core_;
  std::function<void(NodeId, PartitionId)> nudge_;
  std::function<void(NodeId, PartitionId)> pull_;
  Jobs jobs_;
  uint64_t next_sequence_ = 1;
  std::set<std::pair<absl::Duration, uint64_t>> timers_;
  // All have answered and do not cover the session: they are asked again.
  std::vector<uint64_t> to_ask_again_;
};

// InvalidArgument unless every leaf is one that an object of `type` can have.
absl::Status CheckPage(crdt::Type type, const crdt::LeafPage& page);

// A hash of everything in a page that a reader could tell apart.
Hash128 DigestOf(crdt::Type type, const crdt::LeafPage& page);

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_READ_COORDINATOR_H_
