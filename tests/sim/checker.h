// The client side of a simulation and its judge: submits the operations of a
// plan, and holds everything that comes of them against the oracle.
//
// What is checked, and when:
//   a write      mints what the oracle expects; its answer says not_observed
//                where the oracle does                            (each answer)
//   a read       shows what the oracle says of the events that the replicas
//                which answered had applied                       (each answer)
//   a quorum     shows what a quorum has acknowledged, whoever owns what by
//                then (quorum_watch.h)                            (each answer)
//   a receipt    who is named in it holds the events              (each answer)
//   a restart    what a node acknowledged is still there, unless the plan took
//                it in a way that the acknowledgement did not cover
//   a message    no event in two different deltas                 (each delta);
//                the same is not sent again and again (storm_watch.h)
//   a turn       (checker_turn.cc) clocks rise, also beyond what they were told
//                by others; what a node calls durable no power failure takes;
//                what leaves a log is on the disk of every owner
//   a hand-over  (checker_handover.cc) a stand-in forgets only what the owners
//                have on disk
//   a removal    of what has expired (checker_expiry.cc) by a node whose clock
//                may do so, of what nobody let live longer
//   an error     has a cause in the plan
//   (what a replica answers in the middle of a sync by ranges is not judged:
//                checker_exact.cc)
//   at the end   (final_check.cc) everybody agrees, and with the oracle, and
//                nothing acknowledged is missing; every request was answered
#ifndef DOVETAIL_TESTS_SIM_CHECKER_H_
#define DOVETAIL_TESTS_SIM_CHECKER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "crdt/delta.h"
#include "crdt/session.h"
#include "crdt/token.h"
#include "tests/scenario/parser.h"
#include "tests/sim/expiry_watch.h"
#include "tests/sim/list_watch.h"
#include "tests/sim/message_watch.h"
#include "tests/sim/oracle.h"
#include "tests/sim/quorum_watch.h"
#include "tests/sim/read_watch.h"
#include "tests/sim/session_watch.h"
#include "tests/sim/sim_cluster.h"
#include "tests/sim/storm_watch.h"

namespace dovetail::sim {

// What became of the operations of a plan.
struct ClientStats {
  uint64_t operations = 0;  // submitted, reads too
  uint64_t refused = 0;     // nobody listened
  uint64_t skipped = 0;     // their token was never got
  uint64_t acknowledged = 0;
  uint64_t failed = 0;   // an error came back
  uint64_t unknown = 0;  // no answer: the node died
  uint64_t reads = 0;
  uint64_t probes = 0;
  uint64_t checks = 0;  // views compared with the oracle's
};

class Checker final : public Observer {
 public:
  Checker(const Plan& plan, Scheduler& scheduler, Trace& trace);
  void Attach(SimCluster& cluster) { cluster_ = &cluster; }

  // The operation of the plan at `index` is due.
  void Run(size_t index);
  // A read of `node`'s own copy of some object.
  void Probe(uint32_t node, const oracle::Object& object);
  // A random one.
  void ProbeAny(uint32_t node, Stream& chance);
  // A random page of a listing.
  void ListAny(uint32_t node, Stream& chance) {
    lists_.SubmitAny(*cluster_, node, chance);
  }
  // A read of a random session somewhere.
  void SessionReadAny(Stream& chance) { sessions_.ReadAny(*cluster_, chance); }
  // A random read at a quorum somewhere.
  void QuorumReadAny(Stream& chance) { quorums_.ReadAny(*cluster_, chance); }
  // The delta of the first write minted from `from_us` on never reaches `peer`
  // until ReleaseWithheld.
  void Withhold(uint32_t peer, int64_t from_us);
  void ReleaseWithheld() { withheld_until_released_.clear(); }
  // From then on every request to one of these nodes must succeed.
  void RequireAnswers(uint64_t nodes, int64_t from_us) {
    core_ = nodes;
    core_from_us_ = from_us;
  }
  // Whether these nodes run and hold the same events.
  bool Agree(uint64_t nodes);

  // --- Observer ---
  void BeforeRequest(uint32_t node, replica::Shard& shard,
                     const replica::ClientRequest& request) override;
  void BeforeMessage(uint32_t node, replica::Shard& shard,
                     const replica::Message& message) override;
  void AfterMessage(uint32_t node, replica::Shard& shard, uint32_t from,
                    const replica::Message& message) override;
  void BeforePeerDown(uint32_t node, replica::Shard& shard) override;
  void BeforePlacement(uint32_t node, replica::Shard& shard) override;
  void OnPassedOn(uint32_t node, uint32_t to, replica::RequestId id,
                  const replica::ReadTicket& ticket) override;
  void OnTaken(uint32_t node, replica::Shard& shard, replica::RequestId id,
               const replica::ReadTicket& ticket) override;
  void OnRan(uint32_t node, replica::Shard& shard,
             const std::vector<Ran>& writes) override;
  void OnTurn(uint32_t node, replica::Shard& shard,
              const replica::Output& output) override;
  bool OnSend(uint32_t node, const replica::Envelope& envelope) override;
  void OnReply(uint32_t node, const replica::ClientReply& reply) override;
  void OnStopped(uint32_t node, Death death) override;
  void OnStarted(uint32_t node) override;
  void OnViolation(std::string what) override;

  // --- The end (final_check.cc) ---
  // Whether all nodes hold the same events and no request is under way.
  bool Converged();
  // Once everything healed and time has passed. `converged`: whether it did.
  void FinalCheck(bool converged);
  // Reads every object at every node; call before FinalCheck, then let the
  // cluster answer.
  void ProbeAll();

  // The first thing that was wrong; empty if nothing was.
  const std::string& violation() const { return violation_; }
  const ClientStats& stats() const { return stats_; }
  uint32_t busy_at(uint32_t node) const;  // requests under way
  // Whether some other node has events that this one has not.
  bool LacksEvents(uint32_t node);

 private:
  struct Pending {
    size_t event = 0;  // of the plan; kProbe: none
    uint32_t node = 0;
    uint64_t starts = 0;  // of the node, then
    int64_t submitted_us = 0;
    replica::PartitionId partition{};
    bool fsync = false;
    replica::Level level = replica::Level::One();  // W or R
    // Writes.
    std::vector<oracle::Mutation> batch;
    // Before it, in the same delta or in one of its own: what it finds expired.
    std::vector<oracle::Mutation> first;
    oracle::Expectation expected;  // of its last part
    // Of what goes in parts, its last delta.
    std::optional<crdt::DotRun> minted;
    bool nothing_left = false;  // for the part after it
    bool settled = false;       // it mints nothing any more
    crdt::EventSet session;     // it must come after these
    bool must_refuse = false;   // checker_once.cc: nobody may take it
    bool full = false;          // likewise, unless it was taken before
    bool unknown = false;  // checker_exact.cc: nobody can say what it acts on
    std::optional<crdt::DotRun> once;  // with op=: what it mints, or has minted
    // Reads.
    std::optional<crdt::ReadSpec> spec;
    std::string token;              // to keep it under
    std::optional<TimeSpan> shown;  // by what time it was answered
    crdt::EventSet visible;         // at the coordinator, when it began
    struct Try {
      uint32_t node = 0;
      crdt::ActorId actor{};
      crdt::EventSet visible;
    };
    std::vector<Try> tries;  // who may have coordinated it
    // Passed on (checker_elsewhere.cc).
    uint32_t at = 0;                            // who coordinates it
    std::optional<replica::ReadTicket> ticket;  // since it was
    uint32_t passed_to = 0;
    bool abandoned = false;  // nobody waits for the answer
    bool handled = false;
    int64_t handled_us = 0;  // when it came to who coordinates it
  };
  using PendingMap = std::map<replica::RequestId, Pending>;
  struct Acknowledged {
    size_t event = 0;
    replica::PartitionId partition{};
    crdt::DotRun events;
    bool fsync = false;
    std::set<uint32_t> holders;  // whose disk still answers for it
    // A majority of the owners by this ring had it, and none of these can have
    // lost it since.
    std::optional<replica::RingStamp> at_quorum_of;
    int64_t at_us = 0;
  };
  struct Token {
    crdt::ObservedToken observed;
    oracle::SightId sight{};
  };
  struct End {
    int64_t at_us = 0;
    Death death = Death::kProcess;
  };
  // The one exactly-once session of a plan: its writer and its events in each
  // partition, and what it sent.
  struct OnceSession {
    crdt::SessionWriter writer;
    crdt::EventSet events;
  };
  struct OnceSent {
    crdt::SessionWriter::Prepared prepared;
    std::vector<oracle::Mutation> batch;
    oracle::Expectation expected;
    crdt::DotRun run;
  };
  // Of a partition that others own.
  struct Held {
    crdt::EventSet events;
    bool as_owner = false;  // it owned it when it took them
  };
  static constexpr size_t kProbe = SIZE_MAX;

  std::string Story(const Pending& pending) const;
  oracle::Oracle& OracleOf(replica::PartitionId partition) {
    return oracles_[Index(partition)];
  }
  replica::PartitionId PartitionOf(const crdt::ObjectId& object) const;
  bool FillTokens(const scenario::Operate& operate,
                  replica::WriteRequest& write, Pending& pending);
  void SubmitWrite(size_t index, const scenario::Operate& operate);
  // --- checker_once.cc ---
  // Puts the id of op=`id` to `write`; what was sent under it before goes out
  // unchanged. False if it makes no sense.
  bool Identify(uint64_t id, replica::WriteRequest& write, Pending& pending);
  // Makes of a retry, now and then, what a broken client does: another
  // operation under an id that is in use.
  bool Misuse(const OnceSent& sent, replica::WriteRequest& write,
              Pending& pending);
  // Of a token that lists more than one delta may remove: no id covers it.
  bool IsTooMuchForOne(const Pending& pending);
  // Whether the value that it writes finds too many others.
  void LookForRoom(Pending& pending);

  void SubmitRead(size_t index, const scenario::ReadObject& read);
  void Submit(Pending pending, replica::ClientRequest request);

  // `pending` begins at a node that has applied `visible`.
  void Begin(uint32_t node, Pending& pending, const crdt::EventSet& visible);
  // --- What nodes tell (checker_ran.cc) ---
  void RanOne(uint32_t node, uint32_t lane, const Ran& ran,
              const crdt::EventSet& visible);
  void RanFor(uint32_t node, Pending& pending, const Ran& ran,
              const crdt::EventSet& visible);
  void RanOnce(Pending& pending, const Ran& ran);
  // What the next part of it does, which begins at pending.visible.
  void ExpectNext(uint32_t node, Pending& pending);
  void Mints(uint32_t node, Pending& pending, const Ran& ran);
  void CheckSession(const Pending& pending);

  // --- checker_elsewhere.cc ---
  PendingMap::iterator ByTicket(replica::PartitionId partition,
                                const replica::ReadTicket& ticket);
  void OnForwardedSent(replica::PartitionId partition,
                       const replica::Forwarded& forwarded);
  void BeforeForward(uint32_t node, replica::PartitionId partition,
                     const replica::Forward& forward,
                     const crdt::EventSet& applied);
  // Whether another node may still do it, whatever its client was told.
  static bool MayGoOn(const Pending& pending) {
    return !pending.spec && pending.ticket && !pending.settled;
  }
  void Settle(PendingMap::iterator pending);
  // Whether a client waits for something.
  bool AnyAwaited() const;

  // --- What expires (checker_expiry.cc) ---
  void LearnWhatExpires(const scenario::Action& action);
  replica::Now NowAt(uint32_t node) const;
  uint32_t IndexOf(uint32_t node, const replica::Shard& shard) const;
  // The earliest time that it can have set; 0: any.
  uint64_t ExpiresFrom(const Pending& pending) const;
  // Whether a time that nobody can say yet may have passed by `now`.
  bool MayHavePassed(const Pending& pending, const oracle::Object& object,
                     const TimeSpan& now) const;
  // What the write does at `node`, which has applied pending.visible.
  void ExpectOf(uint32_t node, Pending& pending);
  // What a reader who has `events` must be shown, if `there` is there: nothing
  // once it has expired; either of them where that is open.
  static bool IsHidden(const Pending& pending, const replica::ReadReply& reply,
                       uint64_t expires_ms);
  oracle::View ShownOf(const Pending& pending, const replica::ReadReply& reply,
                       const oracle::Events& events, oracle::View there);
  void NoteShown(uint32_t node, replica::Shard& shard,
                 const replica::Output& output);
  // What a node removed of its own accord.
  struct Reaped {
    uint32_t node = 0;
    replica::PartitionId partition{};
    crdt::EventSet before;
    crdt::DotRun minted;
  };
  // After the commit.
  void LookAtReaped();
  // False: the log has none of it, the turn failed. `in_time`: it is this turn.
  bool Attribute(const Reaped& reaped, bool in_time);
  void ForgetObject(replica::PartitionId partition,
                    const crdt::ObjectId& object, const crdt::DotRun& events);
  void OnRemoval(const Reaped& reaped, const crdt::ObjectId& object,
                 bool in_time);
  std::string WhyNotRemove(uint32_t node, replica::PartitionId partition,
                           const crdt::ObjectId& object,
                           const oracle::Events& before);
  // By some clock that there is, or was.
  bool MayHaveExpired(const crdt::ObjectId& object);
  // What should have been removed by now; empty: nothing.
  std::string Overdue();

  // --- Turns (checker_turn.cc) ---
  bool ReadStamps(uint32_t node, replica::PartitionId partition,
                  const crdt::DotRun& minted);
  void NoteReceived(uint32_t node, replica::PartitionId partition,
                    const std::string& delta);
  void OnWriteReply(const Pending& pending, const replica::WriteReply& reply);
  std::string WrongIn(const Pending& pending, const replica::WriteReply& reply);
  void OnReadReply(const Pending& pending, const replica::ReadReply& reply);
  // What those who answered may have applied, together; nullopt: nobody can
  // say.
  std::optional<std::vector<crdt::EventSet>> CandidatesOf(
      const Pending& pending, const replica::Receipt& receipt) const;
  void OnSessionReply(uint32_t node, const replica::ClientReply& reply);
  void OnListReply(uint32_t node, const replica::ClientReply& reply);
  void OnQuorumReply(uint32_t node, const replica::ClientReply& reply);
  // An acknowledged write: whether quorums must show it from now on.
  void WatchAtQuorums(const Pending& pending, const replica::Receipt& receipt,
                      Acknowledged& acknowledged);
  // A read of the checker's own failed.
  void OnErrorOfWatch(uint32_t node, const char* what,
                      const absl::Status& status);
  void OnError(const Pending& pending, const absl::Status& status);
  // Whether the nodes of a core are enough for it (RequireAnswers); if so, what
  // excuses an error.
  bool MustSucceed(const Pending& pending) const;
  bool Excuses(const Pending& pending, const absl::Status& status) const;
  bool HintsAreShort() const {
    return plan_.options.hint_bytes_max < PlanOptions().hint_bytes_max;
  }
  // Of a node's clock: it only rises, and is not ahead of what its wall clock
  // has ever shown by more than the drift that is allowed.
  void CheckStamp(uint32_t node, replica::PartitionId partition,
                  const oracle::Stamp& stamp);
  uint32_t ShardOf(replica::PartitionId partition) const {
    return Index(partition) % static_cast<uint32_t>(plan_.options.shards);
  }
  // What a power failure would take of a node's log.
  std::map<replica::PartitionId, crdt::EventSet> FrailEvents(
      uint32_t node) const;
  void CheckDurable(uint32_t node, const replica::Output& output);
  void CheckTruncated(uint32_t node);

  // --- Levels (checker_levels.cc) ---
  // That of the plan's event, which says `number` if it says no other.
  replica::Level LevelFor(const PlanEvent& event,
                          std::optional<uint32_t> number,
                          replica::PartitionId partition) const;
  // What a level demands: so many of the nodes of a bit mask, of which some own
  // the partition.
  struct Demand {
    uint64_t nodes = 0;
    uint32_t required = 0;
    uint32_t owners = 0;
  };
  std::vector<Demand> DemandsOf(const replica::Level& level, uint32_t node,
                                replica::PartitionId partition) const;
  // By some ring there may be fewer replicas, or none in the node's region; and
  // who is no member yet is in none.
  bool LevelMayBeTooHigh(const Pending& pending) const {
    return (moves_ || plan_.options.joiners > 0) &&
           pending.level != replica::Level::One() &&
           pending.level.kind != replica::Level::Kind::kQuorum &&
           pending.level.kind != replica::Level::Kind::kAll;
  }
  // Whether those who answered meet the level.
  void CheckLevel(const Pending& pending, const replica::Receipt& receipt);

  // --- Who can be judged (checker_exact.cc) ---
  // Whether the rows are those of what was applied, as of the last commit.
  bool Exact(uint32_t node, replica::PartitionId partition) const;
  // Whether all are that can be: what every owner's disk may have lost nobody
  // can bring.
  bool AllExact() const;
  // Of all partitions of the node, or of the one shard.
  void LookAtExactness(uint32_t node, const replica::Shard* shard);
  // Whether listings are judged by it.
  bool IsListed(const crdt::ObjectId& object, int64_t since_us);
  void LookAtDamage(uint32_t node);
  // The RangeProgress that its disk holds, if any.
  std::optional<std::string> ProgressOnDisk(
      uint32_t node, replica::PartitionId partition) const;
  std::string WhyInexact(uint32_t node, replica::PartitionId partition) const;
  bool ExactSince(uint32_t node, replica::PartitionId partition,
                  int64_t since_us) const;
  // A read of these was answered that began at `since_us`.
  void CheckReadable(const Pending& pending,
                     const std::vector<replica::NodeId>& nodes);
  bool ExactSince(const std::vector<replica::NodeId>& nodes,
                  replica::PartitionId partition, int64_t since_us) const;
  // Whether the oracle can say what the write acts on at `node`.
  bool IsKnown(uint32_t node, const Pending& pending) const;
  void RecordUnknown(const Pending& pending, const crdt::DotRun& minted);
  bool IsJudged(const crdt::ObjectId& object) const;

  // --- Stand-ins (checker_handover.cc) ---
  void CheckReceipt(const Pending& pending, const replica::Receipt& receipt);
  static bool MayCoordinate(const Pending& pending, uint32_t node);
  // Of nodes that own nothing: who owned it before may know that there is
  // nothing.
  bool MayKnowAbsence(const Pending& pending,
                      const std::vector<replica::NodeId>& nodes) const;
  // A stand-in forgets what it held only when the owners have it on disk.
  void CheckHandedOver(uint32_t node, replica::Shard& shard);
  void OnForgotten(uint32_t node, replica::PartitionId partition);
  // A new owner that says it is complete has what quorums had acknowledged by
  // the rings before.
  void CheckFilled(uint32_t node, replica::Shard& shard);
  // Empty: it may. Else which owners are not up to it.
  std::string WhyNotForget(uint32_t node, replica::PartitionId partition,
                           const Held& held);
  // Whether `other` went by the ring of `node` all the time.
  bool GoesBySame(uint32_t node, uint32_t other,
                  replica::PartitionId partition) const;
  void AddHolders(Acknowledged& write);
  bool LossIsLegal(uint32_t node, int64_t since_us, bool fsync) const;
  bool Owns(uint32_t node, replica::PartitionId partition) const {
    return cluster_->placement().Owns(replica::NodeId{node}, partition);
  }
  // One of them; for what must be equal at all.
  uint32_t FirstOwner(replica::PartitionId partition) const;
  bool Holds(uint32_t node, replica::PartitionId partition,
             const crdt::DotRun& events);
  void CheckExact();
  void CheckUnique();
  void CheckReplicas();
  void CheckIndexes();
  void CheckAcknowledged();
  void CheckAnswered();
  bool LossIsLoud();
  bool Unfinished(replica::PartitionId partition) const;

  const Plan& plan_;
  Scheduler& scheduler_;
  Trace& trace_;
  SimCluster* cluster_ = nullptr;
  bool disk_faults_ = false;             // the plan has some
  bool losses_ = false;                  // it may take what was written
  bool disks_replaced_ = false;          // or all that some disk holds
  bool damages_ = false;                 // or rows of one go silently
  std::set<uint32_t> frail_;             // whose disks those are
  bool moves_ = false;                   // it changes the ring
  std::vector<oracle::Oracle> oracles_;  // by partition
  std::vector<std::optional<scenario::Action>> actions_;  // by plan event
  PendingMap pending_;
  uint64_t next_request_ = 1;
  // What a turn minted, or was sent by another node.
  struct InTurn {
    uint32_t node = 0;
    replica::PartitionId partition{};
    crdt::DotRun events;
    // Of another node: the greatest timestamp that moves the clock here.
    std::optional<oracle::Stamp> received;
    // Of the times that it sets, which nobody can say until it is on disk.
    uint64_t expires_from_ms = 0;
  };
  std::vector<InTurn> in_turn_;    // in the order in which it happened
  crdt::EventSet before_message_;  // applied then, if it brings events
  // By node and shard: requests of other nodes, by the numbers they have there.
  std::map<std::pair<uint32_t, uint32_t>,
           std::map<replica::RequestId, replica::ReadTicket>>
      taken_;
  // What nodes have said that they minted.
  std::map<replica::PartitionId, crdt::EventSet> told_;
  // Their turns failed; what they wrote may turn up after a restart.
  std::vector<InTurn> minted_in_vain_;
  std::map<std::string, Token> tokens_;
  std::vector<Acknowledged> acknowledged_;
  std::vector<std::vector<End>> ends_;  // of each node, in order
  std::vector<size_t> ends_seen_;       // of those, before its last start
  struct ClockWatch {
    // By shard: what it gave last, or was told since.
    std::map<uint32_t, oracle::Stamp> last;
    uint64_t wall_max = 0;
    // That it can have taken it to be; of peers' clocks that were set back
    // since it may know how they were before.
    uint64_t taken_max = 0;
    bool foreign = false;  // its disk may hold the time of another node
  };
  std::vector<ClockWatch> clocks_;  // by node
  MessageWatch messages_;
  StormWatch storms_;
  ReadWatch reads_;
  ListWatch lists_{oracles_};
  SessionWatch sessions_;
  QuorumWatch quorums_;
  ExpiryWatch expiry_;
  std::set<crdt::ObjectId> expiring_objects_;  // for which a time may be set
  std::set<replica::PartitionId> expiring_;    // and where they are
  std::vector<Reaped> reaped_;                 // in this turn
  std::vector<Reaped> reaped_in_vain_;         // as minted_in_vain_
  struct Withheld {
    uint32_t peer = 0;
    int64_t from_us = 0;
    replica::PartitionId partition{};
    std::optional<crdt::DotRun> events;
  };
  std::vector<Withheld> withheld_until_released_;
  // Who is being filled, by what ring.
  std::map<std::pair<uint32_t, replica::PartitionId>, replica::RingStamp>
      filled_;
  // What each node holds of partitions that others own.
  std::map<std::pair<uint32_t, replica::PartitionId>, Held> held_;
  std::map<replica::PartitionId, OnceSession> once_sessions_;
  std::map<uint64_t, OnceSent> once_sent_;
  struct Exactness {
    bool now = true;
    int64_t not_until_us = -1;  // when it was not for the last time
    // Since then it says that it is being filled, and may answer no read.
    std::optional<int64_t> filling_since_us;
  };
  std::map<std::pair<uint32_t, replica::PartitionId>, Exactness> exactness_;
  // Written by who saw nobody knows what.
  std::set<oracle::Object> unjudged_;
  // The tight objects of draw_operations.cc.
  int64_t exact_attempted_ = 0;
  std::map<size_t, int64_t> exact_acknowledged_;  // by plan event
  uint64_t core_ = 0;
  int64_t core_from_us_ = 0;
  std::string violation_;
  ClientStats stats_;
};

}  // namespace dovetail::sim

#endif  // DOVETAIL_TESTS_SIM_CHECKER_H_
