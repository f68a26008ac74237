// Exactly once: how an operation becomes the same delta wherever it runs.
//
// A session is an actor without storage: its client draws the id and numbers
// the events of each partition itself. An operation under an OperationId is
// built from what it carries and from nothing else, never from what the
// coordinating replica holds:
//
//   events      from (session, sequence) on, as many as the delta needs
//   supersedes  exactly what its token lists
//   timestamp   the client's
//   counters    the session's one entry for the counter, cumulative, which the
//               client sends along in the operation's token
//
// So two coordinators build equal bytes, and the second application is the
// duplicate that every replica ignores. Without a token a removal observes
// nothing and mints nothing.
//
// How many events a delta takes: one for each element, value and flag written
// and for each counter entry begun; one for an operation that only removes or
// extends. A client must not use a sequence number for two operations.
// Source: edges of the delta-CRDT papers (Almeida, Shoker, Baquero,
// arXiv:1603.01529, section 6), with the client in the place of the disk.
#ifndef DOVETAIL_CRDT_SESSION_H_
#define DOVETAIL_CRDT_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "crdt/delta.h"
#include "crdt/dot.h"
#include "crdt/hlc.h"
#include "crdt/leaf.h"
#include "crdt/operation.h"
#include "crdt/path.h"
#include "crdt/state_view.h"

namespace dovetail::crdt {

// Names one operation, or one atomic batch, of a session for good.
struct OperationId {
  Dot first;  // session and sequence number: the first event
  Timestamp stamp;
  friend bool operator==(const OperationId&, const OperationId&) = default;
};

// Errors: InvalidArgument (no session, or a sequence number out of range).
absl::Status Validate(const OperationId& id);

struct SessionDelta {
  std::optional<Delta> delta;      // nullopt: it changes nothing
  std::vector<bool> not_observed;  // per operation
};

// The delta of `operations` under `id`: a function of the two alone. `stamp`
// is called when a timestamp is needed and must return id.stamp.
// Errors: InvalidArgument (a bad id or operation; a removal of more than
// kDotsPerClearDelta dots, which one delta cannot hold); ResourceExhausted.
absl::StatusOr<SessionDelta> BuildSessionDelta(
    absl::Span<const Operation> operations, const OperationId& id,
    absl::FunctionRef<Timestamp(Timestamp)> stamp);
// The same over a given state, which must be the same for equal arguments.
absl::StatusOr<SessionDelta> BuildSessionDeltaOver(
    StateView& state, absl::Span<const Operation> operations,
    const OperationId& id, absl::FunctionRef<Timestamp(Timestamp)> stamp);

// Whether `operation` has to carry the token of a read to act as it does
// without a session: what it is to remove or to replace must be in there.
bool NeedsToken(const Operation& operation);

// A session's own side in one partition: numbers its operations and remembers
// what it wrote. One operation at a time: the next is prepared when the fate
// of the last is known, or given up.
class SessionWriter {
 public:
  explicit SessionWriter(ActorId session) : session_(session) {}

  using LeafKey = std::pair<ObjectId, Path>;
  // What is to be sent, unchanged, as often as it takes.
  struct Prepared {
    OperationId id;
    std::vector<Operation> operations;
    std::vector<LeafKey> written;
  };

  // Gives `operations` the next id and, where they have no token of their own,
  // what this session wrote there before. Errors: as of BuildSessionDelta;
  // nothing has changed then.
  absl::StatusOr<Prepared> Prepare(std::vector<Operation> operations,
                                   Timestamp stamp);
  // `prepared` was refused everywhere and had no effect. Its numbers stay
  // unused, and what it wrote to is begun anew: were the refusal wrong, a
  // later addition would drown in the entry.
  void Forget(const Prepared& prepared);

  // Leaves remembered at the most; past it all are forgotten, which costs an
  // entry more for each counter that is written again. About 1 MiB.
  static constexpr size_t kLeavesMax = 4096;

 private:
  void CarryOwn(Operation& operation) const;
  void Remember(const Delta& delta, std::vector<LeafKey>& written);

  const ActorId session_;
  uint64_t next_ = 1;
  // Counters and set elements: the live dots of this session.
  std::map<LeafKey, Leaf> own_;
};

}  // namespace dovetail::crdt

#endif  // DOVETAIL_CRDT_SESSION_H_
