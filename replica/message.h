// The protocol between nodes: every message, who sends it, why, and what it
// means when it is lost.
//
// Links between two nodes may lose, repeat and reorder messages, also across
// restarts of either end. Nothing here depends on a message arriving: whatever
// is lost, the next summary finds and the delta log repairs. Each message
// concerns one partition, so that a receiver hands it to the shard that owns
// it; a node may send to itself, from shard to shard. net/peer_codec turns them
// into bytes.
#ifndef DOVETAIL_REPLICA_MESSAGE_H_
#define DOVETAIL_REPLICA_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "crdt/dot.h"
#include "crdt/event_set.h"
#include "crdt/query.h"
#include "replica/ids.h"
#include "replica/range_message.h"
#include "replica/request.h"
#include "replica/ring_stamp.h"
#include "replica/standing.h"

namespace dovetail::replica {

// Coordinator → every other owner, and stand-ins for those that cannot be
// reached, once per write: "apply this". Lost: the
// receiver lacks the events until the next sync; the write may miss its W.
struct Replicate {
  std::string delta;  // crdt::Delta::Encode()
  bool sync = false;  // answer only when it is on stable storage
};

// Owner → coordinator, after the commit: "these events are applied here" (also
// when they had been before). Lost: the coordinator waits until its deadline.
struct Ack {
  crdt::DotRun events;
  bool synced = false;
  // That the owner goes by. If it is newer than the coordinator's, this one
  // does not know yet who has to have the write.
  RingStamp ring;
};

// Owner → coordinator: "I cannot apply these", with the reason. Lost: as Ack.
struct Refuse {
  crdt::DotRun events;
  absl::Status reason;
};

// Any replica → any owner, on reconnect, after a failed send, when told to by a
// reader, and periodically: "this is what I have applied". The receiver
// streams what the sender lacks, and answers with its own summary if it lacks
// something itself and `answer` is set. Lost: the next one does it.
struct Summary {
  crdt::EventSet applied;  // E
  crdt::EventSet durable;  // the part of E that survives a power loss
  bool answer = false;
  // Whether the sender takes what it lacks. An owner does; a node that stands
  // in for owners only hands over what it holds, and always gets an answer,
  // for it forgets what all owners say that they have (hinted handoff).
  bool pull = true;
  // Events applied within the last moments may be on their way already: the
  // sender of a periodic summary is not sent those (sync.h).
  bool periodic = false;
  // By which the sender knows whether it is an owner.
  RingStamp ring;
  // Of rows and X; replicas with the same E have the same. Zero: not said,
  // since a sync by ranges has not come to its end here.
  Hash128 state;
  // What the sender's word is worth by that ring.
  Standing standing = Standing::kComplete;
  // The sender's wall clock, in milliseconds since 1970 (peer_clocks.h); 0: not
  // said.
  uint64_t wall_ms = 0;
};

// Replica → owner, in answer to a Summary: deltas from the log that the
// receiver lacked, at most SyncOptions::chunk_bytes of them. With `more` the
// receiver sends its summary again, which is the flow control. Lost: nothing
// but time.
struct SyncDeltas {
  std::vector<std::string> deltas;
  bool more = false;
  // Events that the receiver lacked and the sender has, but no longer in its
  // log. If no owner has them there, only ranges can bring them (RangeQuery).
  crdt::EventSet unlogged;
};

// Names one read of one coordinator incarnation, so that an answer from before
// a restart matches nothing.
struct ReadTicket {
  crdt::ActorId incarnation{};
  uint64_t sequence = 0;
  friend auto operator<=>(const ReadTicket&, const ReadTicket&) = default;
};

// Coordinator → R-1 owners: "what do you hold of this?" `digest` is of the
// coordinator's own page: an equal one comes back as two words, not as data.
struct ReadQuery {
  ReadTicket ticket;
  crdt::ReadSpec spec;
  Hash128 digest;
  // A third replica may differ, and then it matters what is known to be
  // deleted by one whose page is the same: it sends its context too.
  bool want_context = false;
};

// Owner → coordinator. Either `same`, or the page; and the whole context it is
// to be joined under, of the same moment (with `same` only if wanted). Or why
// there is neither.
struct ReadAnswer {
  ReadTicket ticket;
  absl::Status status;
  bool same = false;
  crdt::LeafPage page;
  crdt::Context context;
  // What the page is worth, by `ring`. If that is newer than the coordinator's,
  // this one does not know yet whom it has to ask.
  Standing standing = Standing::kComplete;
  RingStamp ring;
};

// A listing is of all partitions: its messages travel as partition 0's, whose
// shard knows the node's index. Tickets of listings are counted by themselves.

// Coordinator → as many nodes as make R owners of each partition: "which
// objects do you show?" `digest` is of the coordinator's own page. Lost: others
// are asked after a moment.
struct ListQuery {
  ReadTicket ticket;
  ListRequest request;
  Hash128 digest;
};

// An object of the bucket that was asked for.
struct Listed {
  std::string key;
  crdt::Type type = crdt::Type::kRegister;
  friend auto operator<=>(const Listed&, const Listed&) = default;
};

// Node → coordinator. Either `same`, or the page, in order; or why there is
// neither. Lost: as ListQuery.
struct ListAnswer {
  ReadTicket ticket;
  absl::Status status;
  bool same = false;
  std::vector<Listed> objects;
  bool more = false;  // not every object after the last one is named
  // Of these the answerer's index may lack objects: they are being filled, or
  // mended. In order.
  std::vector<PartitionId> unlisted = {};
};

// Coordinator of a listing → an owner, often itself: "does `required` of you,
// joined, show anything of this object?" The owner coordinates that read. Lost:
// the listing asks again.
struct PresenceQuery {
  ReadTicket ticket;
  uint32_t place = 0;  // of the object in the listing; comes back
  crdt::ObjectId object;
  uint32_t required = 1;   // R
  absl::Duration timeout;  // what is left of the listing's
  // What the listing's session has seen of the partition, if anything.
  std::optional<SessionToken> session = std::nullopt;
};

// Owner → coordinator of a listing. Lost: as PresenceQuery.
struct PresenceAnswer {
  ReadTicket ticket;
  uint32_t place = 0;
  absl::Status status;
  bool present = false;
};

// Coordinator of a listing with a session → owners of the partition, itself
// too: "have you applied all of this?" Who has not pulls it from the others.
// Before the pages are asked for, and once they are there. Lost: it asks again.
struct CoverQuery {
  ReadTicket ticket;
  crdt::EventSet seen;
};

// Owner → coordinator of a listing. Lost: as CoverQuery.
struct CoverAnswer {
  ReadTicket ticket;
  PartitionId partition{};
  absl::Status status;      // why it cannot say
  uint64_t missing = 0;     // so many of the events are not applied here
  crdt::ActorId process{};  // of this life alone is it true
};

// Node that owns nothing of the partition → an owner: "a client asked me for
// this; coordinate it in my stead". Unlike all others this message must not
// take effect twice: `number` counts those from one process to another, and one
// for an earlier process of the receiver is ignored. Lost: the client waits
// until its deadline; a write may or may not have taken effect.
struct Forward {
  ReadTicket ticket;
  uint64_t number = 0;       // 1, 2, … of this sender to this receiver
  crdt::ActorId receiver{};  // its incarnation
  RequestOptions options;
  std::variant<WriteRequest, ReadRequest> body;
};

// The owner → the node that asked: "this came of it". Lost: as Forward.
struct Forwarded {
  ReadTicket ticket;
  absl::StatusOr<std::variant<WriteReply, ReadReply>> reply;
};

// Replica that lacks what is in no log any more → an owner that has it: "where
// do we differ, and what do you hold there?" Nothing is remembered at the
// receiver. Lost: asked again, there or elsewhere (range_sync.h).
struct RangeQuery {
  ReadTicket ticket;
  uint64_t salt = 0;           // of the prints
  uint64_t context_print = 0;  // of the context that the asker has of it
  std::vector<RangeAsk> asks;
};

// Owner → asker: the answers to the first of its questions, as many as fit in a
// message; rows and context are of the same moment, and on stable storage.
// Lost: as RangeQuery.
struct RangeAnswer {
  ReadTicket ticket;
  absl::Status status;
  bool context_same = false;  // the asker has it; `context` is empty
  crdt::Context context;
  // Events beyond that whose effects its rows may show: it has been brought up
  // to date by ranges itself, and waits for them (RangeProgress::ahead).
  crdt::EventSet ahead = {};
  std::vector<RangePart> parts;
};

struct Message {
  PartitionId partition{};
  std::variant<Replicate, Ack, Refuse, Summary, SyncDeltas, ReadQuery,
               ReadAnswer, ListQuery, ListAnswer, PresenceQuery, PresenceAnswer,
               CoverQuery, CoverAnswer, Forward, Forwarded, RangeQuery,
               RangeAnswer>
      body;
};

// A message on its way out.
struct Envelope {
  NodeId to{};
  Message message;
};

}  // namespace dovetail::replica

#endif  // DOVETAIL_REPLICA_MESSAGE_H_
